"""Print size in millimetres and ppi -> exact pixels: the only rounding rule of the project.

Knows nothing of pictures, sockets or editors. Lengths are whole nanometres and resolutions whole
thousandths of a ppi, so that 1/64 in and 0.01 mm are both exact and no float ever decides a pixel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import floor, hypot, isfinite

from . import presets
from .words import Refusal

NM_PER_MM = 1_000_000
NM_PER_INCH = 25_400_000
MIN_PPI, MAX_PPI = 30, 1200
MAX_SIDE_PX = 262_144

_UNIT_NM = {"mm": NM_PER_MM, "cm": 10 * NM_PER_MM, "in": NM_PER_INCH, "m": 1000 * NM_PER_MM}
UNITS = ("mm", "cm", "in", "px")
ORIENTATIONS = ("auto", "portrait", "landscape")  # auto: a preset turns with the picture
_NUMBER = r"(\d+(?:[.,]\d+)?(?:/\d+)?)"
_SIZE = re.compile(rf"^{_NUMBER}\s*(?:[xX×*]\s*{_NUMBER})?\s*([a-zA-Z]*)$")


class PrintSizeError(Refusal):
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
            "{ppi:g} ppi is outside {least}..{most}; 200 suits a wall print, 300 one held in hand.",
            ppi=ppi,
            least=MIN_PPI,
            most=MAX_PPI,
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
    side was given. A `free_orientation` size (a preset) turns with the picture.
    """

    width: int
    height: int | None
    in_px: bool = False
    free_orientation: bool = False

    def turned(self, orientation: str) -> PrintSize:
        """The size as `orientation`, an entry of ORIENTATIONS, wants it.

        Raises:
            PrintSizeError: unknown orientation, or a size of one length, which has the picture's.
        """
        if orientation not in ORIENTATIONS:
            known = ", ".join(ORIENTATIONS)
            raise PrintSizeError(
                "Unknown orientation {name!r}; use one of {known}.", name=orientation, known=known
            )
        if orientation == "auto":
            return self
        if self.height is None:
            raise PrintSizeError(
                "A print size of one length is turned as the picture is; "
                "give width and height to choose the orientation."
            )
        short, long = sorted((self.width, self.height))
        width, height = (short, long) if orientation == "portrait" else (long, short)
        return PrintSize(width, height, self.in_px)

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
                "A side of {px} px is outside 1..{most}; choose another size or ppi.",
                px=px,
                most=MAX_SIDE_PX,
            )
        return px


def _round(numerator: int, denominator: int) -> int:
    """Numerator / denominator to the nearest integer, halves up."""
    return (2 * numerator + denominator) // (2 * denominator)


def _length(text: str) -> Fraction:
    """`1.5`, `1,5`, `1/2` or `1.5/2`."""
    number, _, divisor = text.replace(",", ".").partition("/")
    return Fraction(number) / Fraction(divisor or 1)


def parse_print_size(text: str) -> PrintSize:
    """`100x70cm`, `100cm` (long side), `24x36in`, `3000x2000px` or a name, built in or the user's.

    A size that `presets` lists turns with the picture, under whatever name; any other is as typed.

    Raises:
        PrintSizeError: unknown unit or preset, zero or absurd length.
    """
    name = text.strip()
    if name.upper() in presets.ISO_MM:
        w_mm, h_mm = presets.ISO_MM[name.upper()]
        return PrintSize(w_mm * NM_PER_MM, h_mm * NM_PER_MM, free_orientation=True)
    match = _SIZE.match(name)
    if match is None:
        return _own_size(name)
    size = _typed_size(match)
    for listed, unit_nm in (
        (presets.PHOTO_CM, _UNIT_NM["cm"]),
        (presets.PHOTO_IN, _UNIT_NM["in"]),
    ):
        if (size.width, size.height) in {(w * unit_nm, h * unit_nm) for w, h in listed}:
            return PrintSize(size.width, size.height, size.in_px, free_orientation=not size.in_px)
    return size


def _own_size(name: str) -> PrintSize:
    """A size that the user has given a name to."""
    try:
        own = presets.own()
    except presets.PresetsError as error:
        raise PrintSizeError(error.sentence.text, **error.sentence.values) from None
    for known, text in own.items():
        if known.casefold() != name.casefold():
            continue
        match = _SIZE.match(text.strip())
        if match is None:
            raise PrintSizeError(
                "Your own print size {name!r} is {text!r}, which is no size; "
                "write it like 60x90cm in {file}.",
                name=known,
                text=text,
                file=presets.own_file(),
            )
        size = _typed_size(match)
        return PrintSize(size.width, size.height, size.in_px, size.height is not None)
    raise PrintSizeError(
        "Cannot read the print size {name!r}; write 100x70cm, 100cm for the long side, "
        "24x36in, 3000x2000px, or a name such as A3 ({known}).",
        name=name,
        known=", ".join([*_series(presets.ISO_MM), *own]),
    )


def _series(names: Iterable[str]) -> list[str]:
    """A0..A10 and B0..B10 instead of 22 names."""
    series: dict[str, list[str]] = {}
    for name in names:
        series.setdefault(name[0], []).append(name)
    return [f"{members[0]}..{members[-1]}" for members in series.values()]


def _typed_size(match: re.Match[str]) -> PrintSize:
    """Numbers and a unit, as `_SIZE` has matched them."""
    text = match.string
    first, second, unit = match.groups()
    unit = unit.lower()
    if unit not in _UNIT_NM and unit != "px":
        if not unit:
            raise PrintSizeError(
                "The print size {text!r} has no unit; use one of {known}, for example 100x70cm.",
                text=text,
                known=", ".join(UNITS),
            )
        raise PrintSizeError(
            "The print size {text!r} has the unknown unit {unit!r}; use one of {known}, "
            "for example 100x70cm.",
            text=text,
            unit=unit,
            known=", ".join(UNITS),
        )
    lengths: list[int] = []
    for part in (first, second):
        if part is None:
            continue
        try:
            value = _length(part)
        except (ValueError, ZeroDivisionError):
            raise PrintSizeError(
                "{part!r} in {text!r} is not a length; write a number such as 12.5.",
                part=part,
                text=text,
            ) from None
        if unit == "px":
            if value.denominator != 1:
                raise PrintSizeError("{text!r}: a pixel count must be a whole number.", text=text)
            length = int(value)
        else:
            length = round(value * _UNIT_NM[unit])
        if length <= 0:
            raise PrintSizeError(
                "The print size {text!r} is zero; both sides must be longer.", text=text
            )
        lengths.append(length)
    # 100 m at 1200 ppi is already far beyond MAX_SIDE_PX; refuse before any product grows.
    if max(lengths) > 100_000 * NM_PER_MM:
        raise PrintSizeError(
            "The print size {text!r} is more than 100 m; check the unit.", text=text
        )
    return PrintSize(lengths[0], lengths[1] if len(lengths) == 2 else None, in_px=unit == "px")


def parse_length_mm(text: str, name: str = "length") -> float:
    """`3`, `3mm`, `1.5cm`, `1/2in` -> mm; a bare number is millimetres.

    Args:
        text: as typed.
        name: of the value, for the error's sentence.

    Raises:
        PrintSizeError: no length, a negative one, or more than 100 m.
    """
    match = re.match(rf"^{_NUMBER}\s*([a-zA-Z]*)$", text.strip())
    unit = match[2].lower() or "mm" if match else ""
    try:
        value = _length(match[1]) * _UNIT_NM[unit] if match else Fraction(-1)
    except (KeyError, ZeroDivisionError):
        value = Fraction(-1)
    if not 0 <= value <= 100_000 * NM_PER_MM:
        raise PrintSizeError(
            "The {name} {text!r} is not a length; write 3mm, 2cm or 0.5in.", name=name, text=text
        )
    return float(value / NM_PER_MM)


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

# Where the picture lies in what it does not fill, or what is kept of it: 0..1 across and down.
ANCHORS = {
    "centre": (0.5, 0.5),
    "top": (0.5, 0.0),
    "bottom": (0.5, 1.0),
    "left": (0.0, 0.5),
    "right": (1.0, 0.5),
    "top-left": (0.0, 0.0),
    "top-right": (1.0, 0.0),
    "bottom-left": (0.0, 1.0),
    "bottom-right": (1.0, 1.0),
}
_ANCHOR = re.compile(r"^(\d+(?:\.\d+)?)%?\s*,\s*(\d+(?:\.\d+)?)%?$")


def parse_anchor(text: str) -> tuple[float, float]:
    """`top-left` or `30,50` (per cent across and down) -> 0..1 across and down.

    Raises:
        PrintSizeError: neither a name of ANCHORS nor two numbers of 0 to 100.
    """
    if text in ANCHORS:
        return ANCHORS[text]
    match = _ANCHOR.match(text.strip())
    across, down = (float(match[1]), float(match[2])) if match else (-1.0, -1.0)
    if not (0 <= across <= 100 and 0 <= down <= 100):
        raise PrintSizeError(
            "Unknown anchor {text!r}; use one of {known}, or per cent "
            "from the left and the top such as 30,50.",
            text=text,
            known=", ".join(ANCHORS),
        )
    return across / 100, down / 100


def place(
    source: Size, box: Size, fit: str = "keep", *, anchor: str = "centre", shape: Size | None = None
) -> Placement:
    """Fit a picture into a box of pixels (print.md section 3).

    keep: one side exact, the other follows the picture's proportions. crop: the whole box is
    filled, the picture loses a margin. pad: keep, with paper around it to fill the box.

    Args:
        source: the picture, px.
        box: what it may fill, px of the print, which are square.
        fit: an entry of FITS.
        anchor: which part crop keeps, and where pad puts the picture; see `parse_anchor`.
        shape: the picture's proportions on paper, in any unit; those of `source` when its pixels
            are square.

    Raises:
        PrintSizeError: unknown fit or anchor.
    """
    if fit not in FITS:
        raise PrintSizeError(
            "Unknown fit {name!r}; use one of {known}.", name=fit, known=", ".join(FITS)
        )
    across, down = parse_anchor(anchor)
    shape = shape or source
    sw, sh = shape.width, shape.height
    whole = Window(0.0, 0.0, float(source.width), float(source.height))
    if fit == "crop":
        if box.width * sh <= box.height * sw:  # height is filled exactly, the sides are cut
            part = box.width * sh * source.width / (box.height * sw)
            window = Window((source.width - part) * across, 0.0, part, float(source.height))
        else:
            part = box.height * sw * source.height / (box.width * sh)
            window = Window(0.0, (source.height - part) * down, float(source.width), part)
        return Placement(box, window, Rect(0, 0, box.width, box.height))
    # Either side may be the exact one. Compared after rounding, so that a box which was made from
    # one length is filled exactly.
    by_width = Size(box.width, max(1, _round(box.width * sh, sw)))
    by_height = Size(max(1, _round(box.height * sw, sh)), box.height)
    fitting = [s for s in (by_width, by_height) if s.width <= box.width and s.height <= box.height]
    inner = max(fitting, key=lambda s: s.pixels)
    if fit == "keep":
        return Placement(inner, whole, Rect(0, 0, inner.width, inner.height))
    left = floor((box.width - inner.width) * across)
    top = floor((box.height - inner.height) * down)
    return Placement(box, whole, Rect(left, top, inner.width, inner.height))


def viewing_distance_mm(width_mm: float, height_mm: float) -> float:
    """1.5 diagonals, the distance from which a wall print is looked at, mm."""
    return 1.5 * hypot(width_mm, height_mm)


# Eyes: one arcminute resolved (20/20), and the sharpest that are common (20/12).
NORMAL_EYE, SHARP_EYE = 1.0, 1.67


def ppi_needed(distance_mm: float, eye: float = NORMAL_EYE) -> float:
    """Ppi that an eye can use from this distance: 8732 / D[cm] at 20/20, `eye` times as many."""
    return 87_320.0 * eye / distance_mm


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
        raise PrintSizeError(
            "Unknown printer family {name!r}; use one of {known}.", name=family, known=known
        )
    base = PRINTER_FAMILIES[family]
    if not base:
        return ppi
    return float(base if ppi <= base else 2 * base)
