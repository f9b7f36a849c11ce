"""The paper of a proof: where its crops and labels go, and how it is put together.

Everything is laid out in pixels of the print, so that a crop is pasted as it is and the sheet has
true scale. Knows nothing of jobs and servers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from wallprint_protocol.errors import BadInput
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import NM_PER_MM, Rect, Size, length_to_px

PAPERS_MM = {"a4": (210.0, 297.0), "letter": (215.9, 279.4)}
MARGIN_MM, GAP_MM = 12.0, 5.0
TEXT_MM, TITLE_MM, LEADING = 2.6, 4.2, 1.35
LEAST_TEXT_PX = 9
RULER_MM = 50.0
HEADER_LINES, LABEL_LINES = 7, 3
LEAST_CROP_PX = 64
_NUMPY = {"u8": "<u1", "u16": "<u2", "f32": "<f4"}
_FULL = {"u8": 255, "u16": 65535, "f32": 1.0}


@dataclass(frozen=True)
class Sheet:
    """A sheet with cells for crops.

    Attributes:
        size: of the paper, px.
        ppi_milli: thousandths of a ppi.
        columns, rows: of cells.
        crop: largest crop that a cell takes, px.
    """

    size: Size
    ppi_milli: int
    columns: int
    rows: int
    crop: Size

    def px(self, mm: float) -> int:
        """A length on paper, px."""
        return length_to_px(round(mm * NM_PER_MM), self.ppi_milli)

    @property
    def text_px(self) -> int:
        """Height of the small letters' line."""
        return max(LEAST_TEXT_PX, self.px(TEXT_MM))

    @property
    def line_px(self) -> int:
        """From one line of text to the next."""
        return round(self.text_px * LEADING)

    @property
    def header_px(self) -> int:
        """Height of the sheet's own lines and its ruler."""
        return self.px(TITLE_MM * LEADING) + self.line_px * HEADER_LINES

    def place(self, row: int, column: int) -> tuple[int, int]:
        """Left upper corner of the crop of a cell, px."""
        gap = self.px(GAP_MM)
        x = self.px(MARGIN_MM) + column * (self.crop.width + gap)
        pitch = self.crop.height + self.line_px * LABEL_LINES + gap
        top = self.px(MARGIN_MM) + self.header_px + self.line_px * LABEL_LINES
        return x, top + row * pitch


def lay_out(paper: str, ppi_milli: int, columns: int, rows: int) -> Sheet:
    """A sheet whose cells share what header and labels leave.

    Args:
        paper: a key of PAPERS_MM; upright.
        ppi_milli: thousandths of a ppi of the print.
        columns: of cells.
        rows: of cells.

    Raises:
        BadInput: no room for crops at this ppi.
    """
    width, height = (length_to_px(round(mm * NM_PER_MM), ppi_milli) for mm in PAPERS_MM[paper])
    empty = Sheet(Size(width, height), ppi_milli, columns, rows, Size(1, 1))
    margin, gap = empty.px(MARGIN_MM), empty.px(GAP_MM)
    labels = rows * (empty.line_px * LABEL_LINES + gap)
    crop = Size(
        (width - 2 * margin - (columns - 1) * gap) // columns,
        (height - 2 * margin - empty.header_px - labels) // rows,
    )
    if min(crop.width, crop.height) < LEAST_CROP_PX:
        raise BadInput(
            f"At {ppi_milli / 1000:g} ppi a sheet has no room for crops with legible labels; "
            "choose a higher --ppi."
        )
    return Sheet(Size(width, height), ppi_milli, columns, rows, crop)


class SheetPixels:
    """A sheet's pixels while it is put together: paper white, crops as bytes, text in black.

    Args:
        sheet: the layout.
        layout: of the pixels; that of the picture.
    """

    def __init__(self, sheet: Sheet, layout: PixelLayout) -> None:
        self.sheet, self.layout = sheet, layout
        full = _FULL[layout.dtype]
        inks = layout.model.startswith("CMYK")
        white = [0 if inks else full] * layout.colour_channels
        black = [0, 0, 0, full] if inks else [0] * layout.colour_channels
        self._white = np.array(white + [full] * layout.has_alpha, dtype=np.float64)
        self._black = np.array(black + [full] * layout.has_alpha, dtype=np.float64)
        shape = (sheet.size.height, sheet.size.width, layout.channels)
        self.pixels: npt.NDArray[Any] = np.empty(shape, dtype=_NUMPY[layout.dtype])
        self.pixels[:] = self._white.astype(self.pixels.dtype)

    def paste(self, x: int, y: int, size: Size, data: bytes) -> None:
        """Put a crop in place, byte for byte."""
        crop = np.frombuffer(data, self.pixels.dtype)
        self.pixels[y : y + size.height, x : x + size.width] = crop.reshape(
            size.height, size.width, -1
        )

    def header(self, title: str, lines: Sequence[str]) -> None:
        """The sheet's own lines, and a ruler to check its scale with."""
        sheet = self.sheet
        x = y = sheet.px(MARGIN_MM)
        room = sheet.size.width - 2 * x
        big = max(LEAST_TEXT_PX, sheet.px(TITLE_MM))
        self._text(x, y, [_shortened(title, big, room)], big)
        y += sheet.px(TITLE_MM * LEADING)
        wrapped = [part for line in lines for part in _wrapped(line, sheet.text_px, room)]
        self._text(x, y, wrapped[: HEADER_LINES - 2], sheet.text_px)
        # The ruler has the last line of the header; one of space follows.
        length, thick = sheet.px(RULER_MM), max(1, sheet.px(0.2))
        low = y + sheet.line_px * (HEADER_LINES - 1) - thick - sheet.px(1.0)
        tick = max(2, sheet.px(1.5))
        black = self._black.astype(self.pixels.dtype)
        self.pixels[low : low + thick, x : x + length] = black
        for at in (x, x + length - thick):
            self.pixels[low - tick : low + thick, at : at + thick] = black
        text = f"This line is {RULER_MM:g} mm long when the sheet is printed at its true size."
        self._text(x + length + sheet.px(3.0), low - sheet.text_px + thick, [text], sheet.text_px)

    def label(self, row: int, column: int, lines: Sequence[str]) -> None:
        """Text above the crop of a cell."""
        sheet = self.sheet
        x, y = sheet.place(row, column)
        wrapped = [
            part for line in lines for part in _wrapped(line, sheet.text_px, sheet.crop.width)
        ]
        wrapped = wrapped[:LABEL_LINES]
        # Nearest to its crop, which lies below.
        top = y - sheet.line_px * len(wrapped)
        self._text(x, top, wrapped, sheet.text_px)

    def _text(self, x: int, y: int, lines: Sequence[str], size_px: int) -> None:
        """Black letters on what is there."""
        font = ImageFont.load_default(size_px)
        step = round(size_px * LEADING)
        height = min(step * len(lines), self.sheet.size.height - y)
        width = self.sheet.size.width - x
        if height <= 0 or width <= 0:
            return
        mask = Image.new("L", (width, height), 0)
        draw = ImageDraw.Draw(mask)
        for number, line in enumerate(lines):
            draw.text((0, number * step + step // 2), line, fill=255, font=font, anchor="lm")
        cover = np.asarray(mask, dtype=np.float64)[..., None] / 255
        inked = cover[..., 0] > 0
        there = self.pixels[y : y + height, x : x + width]
        mixed = self._white + cover[inked] * (self._black - self._white)
        if self.layout.dtype != "f32":
            mixed = np.rint(mixed)
        there[inked] = mixed.astype(self.pixels.dtype)

    def strips(self) -> list[tuple[Rect, bytes]]:
        """The whole sheet from top to bottom."""
        size = self.sheet.size
        return [
            (Rect(0, y, size.width, min(64, size.height - y)), self.pixels[y : y + 64].tobytes())
            for y in range(0, size.height, 64)
        ]


def _wrapped(text: str, size_px: int, room_px: int) -> list[str]:
    """Lines that fit into the room; a word that does not is cut."""
    font = ImageFont.load_default(size_px)
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > room_px:
            lines.append(line)
            longer = word
        line = _shortened(longer, size_px, room_px)
    return [*lines, line]


def _shortened(text: str, size_px: int, room_px: int) -> str:
    """The text, its end cut off where it does not fit."""
    font = ImageFont.load_default(size_px)
    if font.getlength(text) <= room_px:
        return text
    while text and font.getlength(f"{text}...") > room_px:
        text = text[:-1]
    return f"{text}..."
