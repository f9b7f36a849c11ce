"""Reads the weights in a pair of ncnn files (`.param` text, `.bin` bytes). Strict, and no torch.

Knows nothing of particular networks. Every byte of the `.bin` must be accounted for: a reader that
guesses gives a network that is wrong without a sign of it.

References:
    ncnn wiki, "param-and-model-file-structure" and "operation-param-weight-table".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MAGIC = "7767517"
FLAG_FLOAT32 = (0, 0x0002C056)
FLAG_FLOAT16 = 0x01306B47
ARRAY_KEY = -23300  # keys k <= this hold arrays for parameter id -k - 23300

WITHOUT_WEIGHTS = frozenset(
    {
        *("Input", "Split", "Concat", "BinaryOp", "Eltwise", "Swish", "Sigmoid", "Clip"),
        *("Interp", "PixelShuffle", "Padding", "Pooling"),
    }
)


class NcnnFormatError(ValueError):
    """The files are not a pair that this reader understands; the message says where."""


@dataclass(frozen=True)
class Layer:
    """One layer that has weights.

    Attributes:
        kind: "Convolution", "Deconvolution" or "MemoryData".
        name: as in the file.
        weight: (out, in, kh, kw) for both convolutions, float16 or float32 as stored; the
            dimensions of the parameters for MemoryData.
        bias: (out,) float32, or None.
    """

    kind: str
    name: str
    weight: Array
    bias: Array | None


def read(param: str, blob: bytes) -> list[Layer]:
    """The layers with weights, in file order.

    Raises:
        NcnnFormatError: unknown layer type or flag, bad number, or bytes missing or left over.
    """
    lines = [line.split() for line in param.splitlines() if line.strip()]
    if len(lines) < 2 or lines[0] != [MAGIC] or len(lines[1]) != 2:
        raise NcnnFormatError("not an ncnn .param file")
    if lines[1][0] != str(len(lines) - 2):
        raise NcnnFormatError(f"{len(lines) - 2} layers where {lines[1][0]} are announced")
    reader = _Reader(blob)
    layers = []
    for words in lines[2:]:
        try:
            kind, name, n_in, n_out = words[0], words[1], int(words[2]), int(words[3])
            values = _parameters(words[4 + n_in + n_out :])
            layer = _layer(kind, name, values, reader)
        except (IndexError, KeyError, ValueError) as error:
            raise NcnnFormatError(f"layer {' '.join(words[:2])!r}: {error}") from error
        if layer is not None:
            layers.append(layer)
    if reader.offset != len(blob):
        raise NcnnFormatError(f"{len(blob) - reader.offset} bytes are left over at the end")
    return layers


def _parameters(words: list[str]) -> dict[int, int]:
    """`key=value` words with whole values; others (slopes, scalars) belong to the graph."""
    values = {}
    for word in words:
        key_text, value = word.split("=")
        key = int(key_text)
        if key > ARRAY_KEY and "." not in value and "e" not in value:
            values[key] = int(value)
    return values


def _layer(kind: str, name: str, p: dict[int, int], reader: _Reader) -> Layer | None:
    if kind in WITHOUT_WEIGHTS:
        return None
    if kind == "MemoryData":
        shape = tuple(p[k] for k in (2, 1, 0) if p.get(k, 0))
        return Layer(kind, name, reader.take(np.dtype("<f4"), _count(shape)).reshape(shape), None)
    if kind in ("Convolution", "Deconvolution"):
        n_out, kw = p[0], p[1]
        kh = p.get(11, kw)
        n_in, rest = divmod(p[6], max(1, n_out * kh * kw))
        if rest or min(n_in, n_out, kh, kw) < 1:
            raise NcnnFormatError(f"{p[6]} weights do not divide by {n_out} x {kh} x {kw}")
        weight = reader.weights(p[6]).reshape(n_out, n_in, kh, kw)
        bias = reader.take(np.dtype("<f4"), n_out) if p.get(5) else None
        return Layer(kind, name, weight, bias)
    raise NcnnFormatError("this type is not known")


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count


class _Reader:
    """Walks through the bytes of a `.bin`."""

    def __init__(self, blob: bytes) -> None:
        self.blob = blob
        self.offset = 0

    def take(self, dtype: np.dtype[Any], count: int) -> Array:
        """The next `count` numbers."""
        end = self.offset + count * dtype.itemsize
        if count < 1 or end > len(self.blob):
            raise NcnnFormatError(f"{count} numbers asked for, the file ends before")
        values = np.frombuffer(self.blob, dtype, count, self.offset)
        self.offset = end
        return values

    def weights(self, count: int) -> Array:
        """Numbers behind a flag that says how they are stored."""
        flag = int(self.take(np.dtype("<u4"), 1)[0])
        if flag == FLAG_FLOAT16:
            values = self.take(np.dtype("<f2"), count)
            self.offset += count % 2 * 2  # padded to a multiple of four bytes
            return values
        if flag in FLAG_FLOAT32:
            return self.take(np.dtype("<f4"), count)
        raise NcnnFormatError(f"weights are stored in the unknown way {flag:#010x}")
