"""Crop marks on white paper around a panel, as pixels, for formats that hold nothing else.

The panel itself is never touched: what is drawn are the four strips of paper around it. Knows
nothing of where marks belong (`wallprint_protocol.panels` does).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wallprint_protocol.panels import LABEL_MM, Sheet
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import NM_PER_MM, Rect, length_to_px

_DTYPE = {"u8": np.uint8, "u16": np.uint16, "f32": np.float32}
_FULL = {"u8": 255, "u16": 65535, "f32": 1}


class Paper:
    """The strips of paper around a panel.

    Attributes:
        above: (margin, sheet width, channels) samples, corners included.
        below: likewise.
        left: (panel height, margin, channels).
        right: likewise.

    Args:
        sheet: has a margin.
        layout: of the samples.
        ppi_milli: thousandths of a ppi; the letters' height is in millimetres.
    """

    def __init__(self, sheet: Sheet, layout: PixelLayout, ppi_milli: int) -> None:
        size, margin, panel = sheet.size, sheet.margin_px, sheet.rect
        white, black = _white_and_black(layout)

        def strip(height: int, width: int) -> np.ndarray:
            return np.tile(white, (height, width, 1))

        self.above, self.below = strip(margin, size.width), strip(margin, size.width)
        self.left, self.right = strip(panel.height, margin), strip(panel.height, margin)
        low, far = margin + panel.height, margin + panel.width
        for line in sheet.lines():
            for pixels, x, y in (
                (self.above, 0, 0),
                (self.below, 0, low),
                (self.left, 0, margin),
                (self.right, far, margin),
            ):
                _inside(pixels, line, x, y)[...] = black
        letters_px = length_to_px(round(LABEL_MM * NM_PER_MM), ppi_milli)
        place = sheet.label_rect(letters_px)
        if place is not None:
            target = _inside(self.above, place, 0, 0)
            ink = _letters(sheet, place)[..., None]
            target[...] = np.where(ink > 127, black, target)


def _white_and_black(layout: PixelLayout) -> tuple[np.ndarray, np.ndarray]:
    """Opaque paper and the ink of marks: black, for CMYK of the black plate alone."""
    full = _FULL[layout.dtype]
    colours = layout.colour_channels
    white, black = [full] * colours, [0] * colours
    if layout.model.startswith("CMYK"):
        white, black = [0] * 4, [0, 0, 0, full]
    opaque = [full] if layout.has_alpha else []
    dtype = _DTYPE[layout.dtype]
    return np.array(white + opaque, dtype), np.array(black + opaque, dtype)


def _inside(pixels: np.ndarray, rect: Rect, x: int, y: int) -> np.ndarray:
    """The view of a rectangle of the sheet in a strip that begins at (x, y) of it."""
    rows = slice(max(0, rect.y - y), max(0, rect.y + rect.height - y))
    columns = slice(max(0, rect.x - x), max(0, rect.x + rect.width - x))
    return pixels[rows, columns]


def _letters(sheet: Sheet, place: Rect) -> np.ndarray:
    """(height, width) ink 0..255 of the label, or of the number alone; nothing if too narrow."""
    from PIL import Image, ImageDraw, ImageFont  # slow to import, and rarely needed

    font: Any = ImageFont.load_default(max(4, round(place.height * 0.9)))
    mask = Image.new("L", (place.width, place.height))
    for text in (sheet.label, sheet.short_label):
        if font.getlength(text) <= place.width:
            ImageDraw.Draw(mask).text((0, place.height / 2), text, 255, font, anchor="lm")
            break
    return np.asarray(mask)
