"""Picture files for tests, made by hand or by Pillow: never by the code under test."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Rect, Size

NUMPY = {"u8": np.uint8, "u16": np.uint16, "f32": np.float32}


def random_pixels(size: Size, layout: PixelLayout, seed: int = 0) -> np.ndarray:
    """(H, W, C) noise over the whole range; floats from -0.5 to 3."""
    rng = np.random.default_rng(seed)
    shape = (size.height, size.width, layout.channels)
    if layout.dtype == "f32":
        return (rng.random(shape) * 3.5 - 0.5).astype(np.float32)
    full = np.iinfo(NUMPY[layout.dtype]).max
    return rng.integers(0, full, shape, endpoint=True).astype(NUMPY[layout.dtype])


def strips(size: Size, rows: int = 7) -> list[Rect]:
    """Full-width strips from top to bottom."""
    return [Rect(0, y, size.width, min(rows, size.height - y)) for y in range(0, size.height, rows)]


def read_all(read: Callable[[Rect], bytes], size: Size, layout: PixelLayout) -> np.ndarray:
    """(H, W, C) through `read`, strip by strip."""
    data = b"".join(bytes(read(rect)) for rect in strips(size))
    array = np.frombuffer(data, NUMPY[layout.dtype])
    return array.reshape(size.height, size.width, layout.channels)


def tiff_bytes(
    pixels: np.ndarray,
    photometric: int,
    *,
    sample_format: int | None = None,
    order: str = "<",
    big: bool = False,
    tags: dict[int, tuple[int, tuple[int, ...] | bytes]] | None = None,
) -> bytes:
    """An uncompressed one-strip TIFF of (H, W, C).

    `tags` = {tag: (type, values)} with type SHORT 3 or LONG 4 and numbers, or any type and bytes.
    """
    height, width, channels = pixels.shape
    kinds = {"u": 1, "i": 2, "f": 3}
    fmt = sample_format or kinds[pixels.dtype.kind]
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    head = 16 if big else 8
    table: dict[int, tuple[int, tuple[int, ...] | bytes]] = {
        256: (4, (width,)),
        257: (4, (height,)),
        258: (3, (pixels.dtype.itemsize * 8,) * channels),
        259: (3, (1,)),
        262: (3, (photometric,)),
        273: (4, (head,)),
        277: (3, (channels,)),
        278: (4, (height,)),
        279: (4, (len(data),)),
        339: (3, (fmt,) * channels),
        **(tags or {}),
    }
    counts, entry, offset = ("Q", "HHQ", "Q") if big else ("H", "HHI", "I")
    inline = struct.calcsize(offset)
    where = head + len(data)
    end = where + struct.calcsize(order + counts) + len(table) * (20 if big else 12) + inline
    entries, values = b"", b""
    for tag in sorted(table):
        kind, numbers = table[tag]
        packed = numbers
        if not isinstance(packed, bytes):
            packed = struct.pack(f"{order}{len(packed)}{'H' if kind == 3 else 'I'}", *packed)
        if len(packed) > inline:
            place, values = end + len(values), values + packed
            packed = struct.pack(order + offset, place)
        entries += struct.pack(order + entry, tag, kind, len(numbers)) + packed.ljust(inline, b"\0")
    mark = b"II" if order == "<" else b"MM"
    header = struct.pack(order + ("HHHQ" if big else "HI"), *((43, 8, 0) if big else (42,)), where)
    count = struct.pack(order + counts, len(table))
    return mark + header + data + count + entries + b"\0" * inline + values


def icc_profile(space: bytes = b"RGB ", curve: bytes = b"", tag: bytes = b"rTRC") -> bytes:
    """A profile of one tone curve tag, enough to be recognised as one."""
    size = 144 + len(curve)
    header = struct.pack(">I4sI4s4s4s", size, b"test", 0x04400000, b"mntr", space, b"XYZ ")
    header = header.ljust(36, b"\0") + b"acsp"
    table = struct.pack(">I4sII", 1, tag, 144, len(curve))
    return header.ljust(128, b"\0") + table + curve


def gamma_curve(gamma: float) -> bytes:
    """A curveType of one gamma value."""
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def save(path: Path, data: bytes) -> Path:
    """Write and return the path."""
    path.write_bytes(data)
    return path
