"""Print size in millimetres and ppi -> exact pixels: the only rounding rule of the project.

Knows nothing of pictures, sockets or editors. Lengths are whole nanometres and resolutions whole
thousandths of a ppi, so that 1/64 in and 0.01 mm are both exact and no float ever decides a pixel.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from math import hypot, isfinite

NM_PER_MM = 1_000_000
NM_PER_INCH = 25_400_000
MIN_PPI, MAX_PPI = 30, 1200
MAX_SIDE_PX = 262_144

_UNIT_NM = {"mm": NM_PER_MM, "cm": 10 * NM_PER_MM, "in": NM_PER_INCH, "m": 1000 * NM_PER_MM}
UNITS = ("mm", "cm", "in", "px")
_NUMBER = r"(\d+(?:[.,]\d+)?(?:/\d+)?)"
_SIZE = re.compile(rf"^{_NUMBER}\s*(?:[xX×*]\s*{_NUMBER})?\s*([a-zA-Z]*)$")

# ISO 216 sizes, portrait, mm.
ISO_MM = {
    "A0": (841, 1189), "A1": (594, 841), "A2": (420, 594), "A3": (297, 420), "A4": (210, 297),
    "A5": (148, 210), "B0": (1000, 1414), "B1": (707, 1000), "B2": (500, 707), "B3": (353, 500),
    "B4": (250, 353),
}  # fmt: skip


# Frame sizes in inches, portrait. Like the ISO sizes they turn with the picture.
FRAMES_IN = ((8, 10), (11, 14), (16, 20), (18, 24), (20, 30), (24, 36))


class PrintSizeError(ValueError):
    """A print size, ppi or geometry that cannot be printed; the text says what to do now."""


@dataclass(frozen=True)
class Size:
    """Width and height in pixels."""

    width: int
    height: int

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.width * self.height


@dataclass(frozen=True)
class Rect:
    """A rectangle of whole pixels."""

    x: int
    y: int
    width: int
    height: int

    @property
    def size(self) -> Size:
        """Width and height."""
        return Size(self.width, self.height)


@dataclass(frozen=True)
class Window:
    """A rectangle in source pixels whose borders may lie between pixels (crop to fill)."""

    x: float
    y: float
    width: float
    height: float


def ppi_to_milli(ppi: float) -> int:
    """Whole thousandths of a ppi; raises PrintSizeError outside 30..1200."""
    milli = round(Fraction(str(ppi)) * 1000) if isfinite(ppi) else 0
    if not MIN_PPI * 1000 <= milli <= MAX_PPI * 1000:
        raise PrintSizeError(
            f"{ppi:g} ppi is outside {MIN_PPI}..{MAX_PPI}; "
            "200 suits a wall print, 300 one held in hand."
        )
    return milli


def length_to_px(length_nm: int, ppi_milli: int) -> int:
    """Nearest pixel, halves up: floor(mm * ppi / 25.4 + 1/2), in integers."""
    return (length_nm * ppi_milli + 12_700_000_000) // 25_400_000_000


def px_to_mm(px: int, ppi: float) -> float:
    """Length on paper of `px` pixels, mm."""
    return px * 25.4 / ppi


@dataclass(frozen=True)
class PrintSize:
    """What was asked for: two lengths, or only the long side, in nm or in pixels.

    `width` and `height` are nanometres, or pixels when `in_px`. `height` is None when only the long
    side was given. A `free_orientation` size (a paper preset) turns with the picture.
    """

    width: int
    height: int | None
    in_px: bool = False
    free_orientation: bool = False

    def box(self, source: Size, ppi_milli: int) -> Size:
        """The pixels that the print may fill, for a picture of size `source`.

        With one length the box has exactly the picture's proportions: the long side is
        `length_to_px`, the other `round(long * short / long of the source)`.
        """
        if self.height is None:
            long_px = self._px(self.width, ppi_milli)
            if source.width >= source.height:
                return Size(long_px, max(1, _round(long_px * source.height, source.width)))
            return Size(max(1, _round(long_px * source.width, source.height)), long_px)
        box = Size(self._px(self.width, ppi_milli), self._px(self.height, ppi_milli))
        turned = (box.width > box.height) != (source.width > source.height)
        if self.free_orientation and turned and source.width != source.height:
            return Size(box.height, box.width)
        return box

    def _px(self, length: int, ppi_milli: int) -> int:
        px = length if self.in_px else length_to_px(length, ppi_milli)
        if not 1 <= px <= MAX_SIDE_PX:
            raise PrintSizeError(
                f"A side of {px} px is outside 1..{MAX_SIDE_PX}; choose another size or ppi."
            )
        return px


def _round(numerator: int, denominator: int) -> int:
    """Numerator / denominator to the nearest integer, halves up."""
    return (2 * numerator + denominator) // (2 * denominator)


def _length(text: str) -> Fraction:
    return Fraction(text.replace(",", "."))


def parse_print_size(text: str) -> PrintSize:
    """`100x70cm`, `100cm` (long side), `24x36in`, `3000x2000px` or a preset such as `A3`.

    Raises:
        PrintSizeError: unknown unit or preset, zero or absurd length.
    """
    name = text.strip()
    if name.upper() in ISO_MM:
        w_mm, h_mm = ISO_MM[name.upper()]
        return PrintSize(w_mm * NM_PER_MM, h_mm * NM_PER_MM, free_orientation=True)
    for w_in, h_in in FRAMES_IN:
        if name.lower().replace(" ", "") == f"{w_in}x{h_in}in":
            return PrintSize(w_in * NM_PER_INCH, h_in * NM_PER_INCH, free_orientation=True)
    match = _SIZE.match(name)
    if match is None:
        raise PrintSizeError(
            f"Cannot read the print size {text!r}; write 100x70cm, 100cm for the long side, "
            f"24x36in, 3000x2000px, or a paper size ({', '.join(sorted(ISO_MM))})."
        )
    first, second, unit = match.groups()
    unit = unit.lower()
    if unit not in _UNIT_NM and unit != "px":
        raise PrintSizeError(
            f"The print size {text!r} has "
            + (f"the unknown unit {unit!r}" if unit else "no unit")
            + f"; use one of {', '.join(UNITS)}, for example 100x70cm."
        )
    lengths: list[int] = []
    for part in (first, second):
        if part is None:
            continue
        try:
            value = _length(part)
        except (ValueError, ZeroDivisionError):
            raise PrintSizeError(f"{part!r} in {text!r} is not a length.") from None
        if unit == "px":
            if value.denominator != 1:
                raise PrintSizeError(f"{text!r}: a pixel count must be a whole number.")
            length = int(value)
        else:
            length = round(value * _UNIT_NM[unit])
        if length <= 0:
            raise PrintSizeError(f"The print size {text!r} is zero; both sides must be longer.")
        lengths.append(length)
    # 100 m at 1200 ppi is already far beyond MAX_SIDE_PX; refuse before any product grows.
    if max(lengths) > 100_000 * NM_PER_MM:
        raise PrintSizeError(f"The print size {text!r} is more than 100 m; check the unit.")
    return PrintSize(lengths[0], lengths[1] if len(lengths) == 2 else None, in_px=unit == "px")


@dataclass(frozen=True)
class Placement:
    """Where the picture lands on the sheet.

    Attributes:
        out: size of the result, px.
        window: part of the source that is used, source px.
        rect: part of the result that it fills; outside it lies the pad colour.
        mirror: margins of the result (left, top, right, bottom) that repeat what lies within.
    """

    out: Size
    window: Window
    rect: Rect
    mirror: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def scale(self) -> float:
        """Enlargement shown to the user: the larger of both axes."""
        return max(self.rect.width / self.window.width, self.rect.height / self.window.height)


FITS = ("keep", "crop", "pad")


def place(source: Size, box: Size, fit: str = "keep", *, shape: Size | None = None) -> Placement:
    """Fit a picture into a box of pixels (print.md section 3).

    keep: one side exact, the other follows the picture's proportions. crop: the whole box is
    filled, the picture loses a centred margin. pad: keep, centred in the box.

    Args:
        source: the picture, px.
        box: what it may fill, px of the print, which are square.
        fit: an entry of FITS.
        shape: the picture's proportions on paper, in any unit; those of `source` when its pixels
            are square.
    """
    if fit not in FITS:
        raise PrintSizeError(f"Unknown fit {fit!r}; use one of {', '.join(FITS)}.")
    shape = shape or source
    sw, sh = shape.width, shape.height
    whole = Window(0.0, 0.0, float(source.width), float(source.height))
    if fit == "crop":
        if box.width * sh <= box.height * sw:  # height is filled exactly, the sides are cut
            part = box.width * sh * source.width / (box.height * sw)
            window = Window((source.width - part) / 2, 0.0, part, float(source.height))
        else:
            part = box.height * sw * source.height / (box.width * sh)
            window = Window(0.0, (source.height - part) / 2, float(source.width), part)
        return Placement(box, window, Rect(0, 0, box.width, box.height))
    # Either side may be the exact one. Compared after rounding, so that a box which was made from
    # one length is filled exactly.
    by_width = Size(box.width, max(1, _round(box.width * sh, sw)))
    by_height = Size(max(1, _round(box.height * sw, sh)), box.height)
    fitting = [s for s in (by_width, by_height) if s.width <= box.width and s.height <= box.height]
    inner = max(fitting, key=lambda s: s.pixels)
    if fit == "keep":
        return Placement(inner, whole, Rect(0, 0, inner.width, inner.height))
    left, top = (box.width - inner.width) // 2, (box.height - inner.height) // 2
    return Placement(box, whole, Rect(left, top, inner.width, inner.height))


def viewing_distance_mm(width_mm: float, height_mm: float) -> float:
    """1.5 diagonals, the distance from which a wall print is looked at, mm."""
    return 1.5 * hypot(width_mm, height_mm)


def ppi_needed(distance_mm: float) -> float:
    """Ppi that an eye of 20/20 (one arcminute) can use from this distance: 8732 / D[cm]."""
    return 87_320.0 / distance_mm


# 1/100 in seen from 18 in, rad: the halo that the eye just does not see as one.
HALO_ANGLE_RAD = 0.00056
MIN_HALO_MM, MAX_HALO_MM = 0.254, 0.508


def wanted_halo_mm(distance_mm: float) -> float:
    """Width of the sharpening's halo for a viewing distance: 1.9 arcminutes, 1/100 to 1/50 in.

    References:
        Fraser and Schewe, Real World Image Sharpening, 2nd ed., 2009.
    """
    return min(MAX_HALO_MM, max(MIN_HALO_MM, HALO_ANGLE_RAD * distance_mm))


# Printer drivers work at these resolutions or twice them: Canon and HP, Epson.
PRINTER_FAMILIES = {"none": 0, "300": 300, "360": 360}


def printer_ppi(ppi: float, family: str) -> float:
    """The resolution that a printer of this family works at (print.md 1.4); `ppi` for "none".

    The base where at most that was asked for, else twice the base. The size on paper stays.
    """
    if family not in PRINTER_FAMILIES:
        known = ", ".join(PRINTER_FAMILIES)
        raise PrintSizeError(f"Unknown printer family {family!r}; use one of {known}.")
    base = PRINTER_FAMILIES[family]
    if not base:
        return ppi
    return float(base if ppi <= base else 2 * base)
