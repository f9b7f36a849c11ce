"""How the bytes of a layer are laid out, and how a picture is cut into tiles.

Declares, never computes on pixels: the plug-ins send the editor's own bytes and say what they are;
the server converts. Pixels are interleaved, rows are contiguous, samples little-endian.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .print_size import Rect, Size

CHANNELS = {"GRAY": 1, "GRAYA": 2, "RGB": 3, "RGBA": 4, "BGRA": 4, "CMYK": 4, "CMYKA": 5}
SAMPLE_BYTES = {"u8": 1, "u16": 2, "f16": 2, "f32": 4}
ALPHAS = ("straight", "premul", "none")
CURVES = ("perceptual", "linear")


@dataclass(frozen=True)
class PixelLayout:
    """Layout of one pixel.

    Attributes:
        model: channel order, a key of CHANNELS. CMYK is 0 = no ink, as Krita and TIFF have it.
        dtype: sample type, a key of SAMPLE_BYTES. Integers span 0..full scale, floats 0..1 (and
            beyond, for scene-referred documents).
        alpha: "none" exactly when the model has no alpha.
        trc: "perceptual" (sRGB-like curve) or "linear" light.

    Raises:
        ValueError: unknown value, or alpha that contradicts the model.
    """

    model: str
    dtype: str
    alpha: str = "none"
    trc: str = "perceptual"

    def __post_init__(self) -> None:
        for value, allowed, name in (
            (self.model, tuple(CHANNELS), "model"),
            (self.dtype, tuple(SAMPLE_BYTES), "dtype"),
            (self.alpha, ALPHAS, "alpha"),
            (self.trc, CURVES, "trc"),
        ):
            if value not in allowed:
                raise ValueError(f"pixel layout: {name} {value!r} is none of {', '.join(allowed)}")
        if (self.alpha != "none") != self.has_alpha:
            raise ValueError(f"pixel layout: model {self.model} with alpha {self.alpha!r}")

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is alpha."""
        return self.model.endswith("A")

    @property
    def channels(self) -> int:
        """Samples of one pixel, alpha included."""
        return CHANNELS[self.model]

    @property
    def colour_channels(self) -> int:
        """Samples of one pixel without alpha: 1, 3 or 4."""
        return self.channels - self.has_alpha

    @property
    def bytes_per_pixel(self) -> int:
        """Bytes of one pixel."""
        return self.channels * SAMPLE_BYTES[self.dtype]

    def to_map(self) -> dict[str, str]:
        """The `fmt` map of the protocol."""
        return {"model": self.model, "dtype": self.dtype, "alpha": self.alpha, "trc": self.trc}

    @classmethod
    def from_map(cls, value: dict[str, Any]) -> PixelLayout:
        """Inverse of `to_map`; unknown keys are ignored.

        Raises:
            ValueError: a key is missing or its value is not allowed.
        """
        fields = {}
        for key in ("model", "dtype", "alpha", "trc"):
            if not isinstance(value.get(key), str):
                raise ValueError(f"pixel layout: {key} is missing")
            fields[key] = value[key]
        return cls(**fields)


@dataclass(frozen=True)
class Grid:
    """A picture cut into equal cells, row-major; cells at the right and lower edge are clipped."""

    size: Size
    cell: Size

    @property
    def columns(self) -> int:
        """Cells side by side."""
        return -(-self.size.width // self.cell.width)

    @property
    def rows(self) -> int:
        """Cells on top of each other."""
        return -(-self.size.height // self.cell.height)

    def __len__(self) -> int:
        return self.columns * self.rows

    def rect(self, index: int) -> Rect:
        """Cell `index` (row * columns + column)."""
        row, column = divmod(index, self.columns)
        x, y = column * self.cell.width, row * self.cell.height
        return Rect(
            x,
            y,
            min(self.cell.width, self.size.width - x),
            min(self.cell.height, self.size.height - y),
        )

    def __iter__(self) -> Iterator[Rect]:
        return (self.rect(i) for i in range(len(self)))


def strip_cell(size: Size, bytes_per_pixel: int, target_bytes: int = 1 << 20) -> Size:
    """Cell for transfer: full-width strips of about `target_bytes`, so both ends copy whole rows.

    A row longer than `target_bytes` is split into equal parts of one row.
    """
    row_bytes = size.width * bytes_per_pixel
    if row_bytes <= target_bytes:
        return Size(size.width, max(1, min(size.height, target_bytes // row_bytes)))
    parts = -(-row_bytes // target_bytes)
    return Size(-(-size.width // parts), 1)
