"""From the values of a dialog to one job: the arithmetic both editors' plug-ins share.

Pure functions on sizes and settings; knows nothing of widgets, editors, pixels or languages. The
print is the *document's canvas*; a layer is carried along at the canvas's scale, so that it stays
in register with the other layers wherever it lies.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .pixels import PixelLayout
from .print_size import (
    FRAMES_IN,
    ISO_MM,
    Placement,
    PrintSize,
    PrintSizeError,
    Rect,
    Size,
    Window,
    parse_print_size,
    place,
    ppi_needed,
    ppi_to_milli,
    px_to_mm,
    viewing_distance_mm,
)

CUSTOM = "custom"
PRESETS = (
    CUSTOM,
    *(name for name in ("A4", "A3", "A2", "A1", "A0") if name in ISO_MM),
    *("30x40cm", "50x70cm", "70x100cm", "100x150cm"),
    *(f"{width}x{height}in" for width, height in FRAMES_IN),
)
DEFAULT_LONG_SIDE = "100cm"
SOURCES = ("layer", "visible", "selection")
RESULTS = ("new-layer", "new-image")
SPOT_MARGIN_PX = 48  # print px around a previewed spot: more than the output sharpening reaches


@dataclass(frozen=True)
class Settings:
    """What the dialog holds, with its defaults.

    Attributes:
        preset: an entry of PRESETS.
        width: of the print in `unit`, 0 when it follows the height; used with CUSTOM only.
        height: likewise. Both 0 means 100 cm on the long side.
        unit: mm, cm, in or px.
        ppi: print resolution.
        fit: keep, crop or pad (print_size.FITS).
        distance_cm: viewing distance, 0 for 1.5 diagonals of the print.
        style: see `Options`.
        repair: 0..100, None for automatic.
        deblur: 0..100, None for automatic.
        source: an entry of SOURCES: what is enlarged, or where it is enhanced.
        feather_mm: soft edge of the selection on the print.
        medium: output sharpening; "none" switches it off.
        strength: of the output sharpening.
        result: an entry of RESULTS.
        device: see `Options`.
    """

    preset: str = CUSTOM
    width: float = 0.0
    height: float = 0.0
    unit: str = "cm"
    ppi: float = 200.0
    fit: str = "keep"
    distance_cm: float = 0.0
    style: str = "faithful"
    repair: int | None = None
    deblur: int | None = None
    source: str = "layer"
    feather_mm: float = 1.0
    medium: str = "matte"
    strength: str = "standard"
    result: str = "new-layer"
    device: str = "auto"

    def job_options(self, plan: Plan) -> dict[str, Any]:
        """The fields of `Options` that do not depend on the layer."""
        return {
            "ppi": self.ppi,
            "style": self.style,
            "repair": self.repair,
            "deblur": self.deblur,
            "sharpen": self.medium,
            "strength": self.strength,
            # Always explicit: a job for a part of the print must not judge by the part's size.
            "distance_mm": plan.distance_mm,
            "feather_mm": self.feather_mm if self.source == "selection" else 0.0,
            "device": self.device,
        }


@dataclass(frozen=True)
class Plan:
    """A canvas on paper.

    Attributes:
        canvas: of the document, px.
        placement: result size, and which part of the canvas goes where.
        ppi: print resolution.
        distance_mm: from which the print will be seen.
    """

    canvas: Size
    placement: Placement
    ppi: float
    distance_mm: float

    @property
    def out(self) -> Size:
        """The print, px."""
        return self.placement.out

    @property
    def width_mm(self) -> float:
        """Width on paper."""
        return px_to_mm(self.out.width, self.ppi)

    @property
    def height_mm(self) -> float:
        """Height on paper."""
        return px_to_mm(self.out.height, self.ppi)

    @property
    def megapixels(self) -> float:
        """Of the print, 10^6 px."""
        return self.out.pixels / 1e6

    @property
    def needed_ppi(self) -> float:
        """What an eye of 20/20 can use from the viewing distance."""
        return ppi_needed(self.distance_mm)

    @property
    def holds_to_mm(self) -> float:
        """How near one may step before an eye of 20/20 outdoes the resolution (print.md 1.3)."""
        return ppi_needed(1.0) / self.ppi

    def bytes(self, layout: PixelLayout) -> int:
        """Of the result's pixels."""
        return self.out.pixels * layout.bytes_per_pixel


def make_plan(canvas: Size, settings: Settings) -> Plan:
    """The print that the settings ask for.

    Raises:
        PrintSizeError: it cannot be made; the text says what to do now.
    """
    ppi_milli = ppi_to_milli(settings.ppi)
    placement = place(canvas, _box(canvas, settings, ppi_milli), settings.fit)
    width_scale = placement.rect.width / placement.window.width
    height_scale = placement.rect.height / placement.window.height
    for scale in (width_scale, height_scale):
        if not 1 / 64 <= scale <= 64:
            raise PrintSizeError(
                f"The print would be {scale:.3g} times the picture; between 1/64 and 64 is "
                "possible. Choose another size or ppi."
            )
    ppi = ppi_milli / 1000
    distance_mm = settings.distance_cm * 10 or viewing_distance_mm(
        px_to_mm(placement.out.width, ppi), px_to_mm(placement.out.height, ppi)
    )
    return Plan(canvas, placement, ppi, distance_mm)


def _box(canvas: Size, settings: Settings, ppi_milli: int) -> Size:
    if settings.preset != CUSTOM:
        preset = replace(parse_print_size(settings.preset), free_orientation=True)
        return preset.box(canvas, ppi_milli)
    if not settings.width and not settings.height:
        return parse_print_size(DEFAULT_LONG_SIDE).box(canvas, ppi_milli)
    width, height = _text(settings.width), _text(settings.height)
    if settings.width and settings.height:
        return parse_print_size(f"{width}x{height}{settings.unit}").box(canvas, ppi_milli)
    # The other side comes from source pixels, not from rounded lengths (print.md 1.1).
    edited = parse_print_size(f"{width if settings.width else height}{settings.unit}")
    side = PrintSize(edited.width, edited.width, edited.in_px).box(Size(1, 1), ppi_milli).width
    if settings.width:
        return Size(side, max(1, _scaled(side, canvas.height, canvas.width)))
    return Size(max(1, _scaled(side, canvas.width, canvas.height)), side)


def _text(value: float) -> str:
    """A length as parse_print_size reads it: no exponent, no noise after a micrometre."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _scaled(value: int, numerator: int, denominator: int) -> int:
    return (2 * value * numerator + denominator) // (2 * denominator)


@dataclass(frozen=True)
class LayerJob:
    """One layer's part of the print.

    Attributes:
        placement: for `Request.build`: result, window of the layer, rectangle of the result.
        offset: (x, y) of the result in the new canvas, px.
    """

    placement: Placement
    offset: tuple[int, int]


def layer_job(plan: Plan, layer: Rect) -> LayerJob:
    """Where a layer (in canvas px, maybe partly outside) goes.

    keep: the whole layer, also what lies outside the canvas. crop: what falls on the print. pad:
    a whole sheet with the layer's part of the print on it.

    Raises:
        PrintSizeError: nothing of the layer is on the print.
    """
    window, rect = plan.placement.window, plan.placement.rect
    left, top = float(layer.x), float(layer.y)
    right, bottom = left + layer.width, top + layer.height
    whole = rect == Rect(0, 0, plan.out.width, plan.out.height) and (
        window == Window(0.0, 0.0, float(plan.canvas.width), float(plan.canvas.height))
    )
    if not whole:
        left, right = max(left, window.x), min(right, window.x + window.width)
        top, bottom = max(top, window.y), min(bottom, window.y + window.height)
        if right <= left or bottom <= top:
            raise PrintSizeError(
                "Nothing of this layer is on the print; choose another layer or keep the ratio."
            )
    x_scale, y_scale = rect.width / window.width, rect.height / window.height
    x0 = rect.x + round((left - window.x) * x_scale)
    y0 = rect.y + round((top - window.y) * y_scale)
    x1 = max(x0 + 1, rect.x + round((right - window.x) * x_scale))
    y1 = max(y0 + 1, rect.y + round((bottom - window.y) * y_scale))
    part = Window(left - layer.x, top - layer.y, right - left, bottom - top)
    size = Size(x1 - x0, y1 - y0)
    on_sheet = rect != Rect(0, 0, plan.out.width, plan.out.height)
    if on_sheet:
        return LayerJob(Placement(plan.out, part, Rect(x0, y0, size.width, size.height)), (0, 0))
    return LayerJob(Placement(size, part, Rect(0, 0, size.width, size.height)), (x0, y0))


def canvas_geometry(plan: Plan) -> tuple[Size, tuple[int, int]]:
    """How the other layers follow: size to scale the canvas to, and where it then lies.

    Returns:
        The scaled canvas, and its offset within the print (negative when it is cropped).
    """
    window, rect = plan.placement.window, plan.placement.rect
    x_scale, y_scale = rect.width / window.width, rect.height / window.height
    scaled = Size(
        max(1, round(plan.canvas.width * x_scale)), max(1, round(plan.canvas.height * y_scale))
    )
    return scaled, (rect.x - round(window.x * x_scale), rect.y - round(window.y * y_scale))


@dataclass(frozen=True)
class Spot:
    """A small part of the print, computed alone.

    Attributes:
        placement: for `Request.build`; its result is larger than the spot by a margin.
        inner: the spot within that result, px.
    """

    placement: Placement
    inner: Rect


def spot(job: LayerJob, centre: tuple[float, float], size: Size) -> Spot:
    """The job that computes one spot of a layer's print with the pixels of the full run.

    Args:
        job: the full run.
        centre: of the spot, 0..1 of the layer's part on either axis.
        size: of the spot, print px; smaller when the print is.
    """
    window, rect = job.placement.window, job.placement.rect
    x, width, x0, x1 = _cut(centre[0], size.width, rect.width)
    y, height, y0, y1 = _cut(centre[1], size.height, rect.height)
    x_scale, y_scale = window.width / rect.width, window.height / rect.height
    part = Window(
        window.x + x0 * x_scale, window.y + y0 * y_scale, (x1 - x0) * x_scale, (y1 - y0) * y_scale
    )
    out = Size(x1 - x0, y1 - y0)
    placement = Placement(out, part, Rect(0, 0, out.width, out.height))
    return Spot(placement, Rect(x - x0, y - y0, width, height))


def _cut(centre: float, wanted: int, length: int) -> tuple[int, int, int, int]:
    """First pixel and length of a spot on one axis, and both ends with the margin."""
    size = min(wanted, length)
    first = min(max(0, round(centre * length - size / 2)), length - size)
    return first, size, max(0, first - SPOT_MARGIN_PX), min(length, first + size + SPOT_MARGIN_PX)


def sharpen_options(layer: Size, settings: Settings, print_long_side_mm: float) -> dict[str, Any]:
    """Sharpen Selection for Print: the fields of `Options`; radii are those of the print.

    Args:
        layer: px; keeps its size.
        settings: medium, strength, deblur, feather and viewing distance count.
        print_long_side_mm: length that the layer's long side will have on paper; gives the ppi.

    Raises:
        PrintSizeError: the resolution on paper would be outside 30..1200 ppi.
    """
    long_px = max(layer.width, layer.height)
    ppi = ppi_to_milli(round(long_px * 25.4 / print_long_side_mm, 3)) / 1000
    width_mm, height_mm = px_to_mm(layer.width, ppi), px_to_mm(layer.height, ppi)
    return {
        "ppi": ppi,
        "repair": 0,
        "deblur": settings.deblur,
        "sharpen": settings.medium,
        "strength": settings.strength,
        "distance_mm": settings.distance_cm * 10 or viewing_distance_mm(width_mm, height_mm),
        "feather_mm": settings.feather_mm,
        "device": settings.device,
    }


def same_size(size: Size) -> Placement:
    """A picture that keeps its size."""
    window = Window(0.0, 0.0, float(size.width), float(size.height))
    return Placement(size, window, Rect(0, 0, size.width, size.height))


__all__ = [
    "CUSTOM",
    "PRESETS",
    "RESULTS",
    "SOURCES",
    "LayerJob",
    "Plan",
    "Settings",
    "Spot",
    "canvas_geometry",
    "layer_job",
    "make_plan",
    "same_size",
    "sharpen_options",
    "spot",
]
