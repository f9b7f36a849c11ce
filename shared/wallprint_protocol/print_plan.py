"""From the values of a dialog to one job: the arithmetic both editors' plug-ins share.

Pure functions on sizes and settings; knows nothing of widgets, editors, pixels or languages. The
print is the *document's canvas*; a layer is carried along at the canvas's scale, so that it stays
in register with the other layers wherever it lies.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .panels import Panels, Sheet, choose_panels, cut_sheets
from .pixels import PixelLayout
from .print_size import (
    NM_PER_MM,
    SHARP_EYE,
    Placement,
    PrintSize,
    PrintSizeError,
    Rect,
    Size,
    Window,
    length_to_px,
    parse_print_size,
    place,
    ppi_needed,
    ppi_to_milli,
    printer_ppi,
    px_to_mm,
    viewing_distance_mm,
    wanted_halo_mm,
)

CUSTOM = "custom"
PRESETS = (
    CUSTOM,
    *("A4", "A3", "A2", "A1", "A0"),
    *("30x40cm", "50x70cm", "70x100cm", "100x150cm"),
    *("8x10in", "11x14in", "16x20in", "18x24in", "20x30in", "24x36in"),
)
DEFAULT_LONG_SIDE = "100cm"
SOURCES = ("layer", "visible", "selection")
RESULTS = ("new-layer", "new-image", "replace")
EDGES = ("none", "bleed", "wrap")
WRAP_FILLS = ("mirror", "image", "stretch", "colour", "average")
MAX_SCALE = 64  # of each axis, either way
EDGE_MM = {"none": 0.0, "bleed": 3.0, "wrap": 40.0}  # what is usual: print shops, stretcher bars
OVERLAP_MM = 20.0  # of panels that are hung by hand; 0.5 to 1 in is usual
ONE_PANEL = Panels()
SPOT_MARGIN_PX = 48  # print px around a previewed spot: more than the output sharpening reaches


@dataclass(frozen=True)
class Settings:
    """What the dialog holds, with its defaults.

    Attributes:
        preset: CUSTOM, or a size in words (`parse_print_size`) such as an entry of PRESETS.
        width: of the print in `unit`, 0 when it follows the height; used with CUSTOM only.
        height: likewise. Both 0 means 100 cm on the long side.
        unit: mm, cm, in or px.
        ppi: print resolution.
        orientation: of the paper (print_size.ORIENTATIONS); "auto" turns a preset with the picture.
        fit: keep, crop or pad (print_size.FITS).
        anchor: what crop keeps and where pad puts the picture (print_size.parse_anchor).
        edges: an entry of EDGES: picture beyond the trim, to be cut off (bleed) or folded round a
            stretcher bar (wrap). The print size is that of the trim, or of the front.
        edge_mm: width of the edges on each side.
        wrap_fill: an entry of WRAP_FILLS: what goes round the bar; "image" is what a crop has left
            of the picture there, mirrored where it left nothing. A bleed is always that.
        wrap_colour: for "colour", see `request.Options.edge_colour`.
        panel_rows: panels on top of each other.
        panel_columns: panels side by side; not looked at with a sheet width.
        sheet_width_mm: the widest that the printer takes, 0 for any; gives the columns.
        overlap_mm: what neighbouring panels share.
        crop_marks: whether marks stand around the print, or each of its panels.
        distance_cm: viewing distance, 0 for 1.5 diagonals of the print.
        style: see `Options`.
        repair: 0..100, None for automatic.
        deblur: 0..100, None for automatic.
        source: an entry of SOURCES: what is enlarged, or where it is enhanced.
        feather_mm: soft edge of the selection on the print.
        medium: what it is printed on; "screen" and "none" are not sharpened.
        strength: of the output sharpening.
        halo_mm: see `Options`.
        spread_mm: see `Options`.
        result: an entry of RESULTS.
        device: see `Options`.
        model: see `Options`.
        tile_px: see `Options`.
        printer: family of printers whose own resolution is used (print_size.PRINTER_FAMILIES).
    """

    preset: str = CUSTOM
    width: float = 0.0
    height: float = 0.0
    unit: str = "cm"
    ppi: float = 200.0
    orientation: str = "auto"
    fit: str = "keep"
    anchor: str = "centre"
    edges: str = "none"
    edge_mm: float = 3.0
    wrap_fill: str = "mirror"
    wrap_colour: str = "#ffffff"
    panel_rows: int = 1
    panel_columns: int = 1
    sheet_width_mm: float = 0.0
    overlap_mm: float = OVERLAP_MM
    crop_marks: bool = False
    distance_cm: float = 0.0
    style: str = "faithful"
    repair: int | None = None
    deblur: int | None = None
    source: str = "layer"
    feather_mm: float = 1.0
    medium: str = "matte"
    strength: str = "standard"
    halo_mm: float = 0.0
    spread_mm: float = 0.0
    result: str = "new-layer"
    device: str = "auto"
    model: str = ""
    tile_px: int = 0
    printer: str = "none"

    @property
    def sharpen(self) -> str:
        """`Options.sharpen`."""
        return "none" if self.medium == "screen" else self.medium

    @property
    def fits_halo(self) -> bool:
        """Whether the output sharpening is fitted to the picture, for a halo that was asked for."""
        return self.sharpen != "none" and self.halo_mm > 0

    @property
    def halo_options(self) -> dict[str, float]:
        """`Options.halo_mm` and `spread_mm`, 0 where nothing is sharpened for paper."""
        counts = self.sharpen != "none"
        return {
            "halo_mm": self.halo_mm if counts else 0.0,
            "spread_mm": self.spread_mm if counts else 0.0,
        }

    def job_options(self, plan: Plan) -> dict[str, Any]:
        """The fields of `Options` that do not depend on the layer."""
        return {
            "ppi": plan.ppi,
            "style": self.style,
            "model": self.model,
            "repair": self.repair,
            "deblur": self.deblur,
            "sharpen": self.sharpen,
            "strength": self.strength,
            **self.halo_options,
            # Always explicit: a job for a part of the print must not judge by the part's size.
            "distance_mm": plan.distance_mm,
            "feather_mm": self.feather_mm if self.source == "selection" else 0.0,
            "device": self.device,
            "tile_px": self.tile_px,
            "edge_fill": self.wrap_fill
            if self.edges == "wrap" and self.wrap_fill != "image"
            else "mirror",
            "edge_colour": self.wrap_colour,
        }


@dataclass(frozen=True)
class Plan:
    """A canvas on paper.

    Attributes:
        canvas: of the document, px.
        placement: of the canvas on the trimmed print, without edges.
        ppi: print resolution.
        distance_mm: from which the print will be seen.
        edges: an entry of EDGES.
        edge_px: width of the edges on each side.
        panels: how the sheet is cut.
        asked_halo_mm: `Settings.halo_mm`.
        wrap_fill: `Settings.wrap_fill`.
    """

    canvas: Size
    placement: Placement
    ppi: float
    distance_mm: float
    edges: str = "none"
    edge_px: int = 0
    panels: Panels = ONE_PANEL
    asked_halo_mm: float = 0.0
    wrap_fill: str = "mirror"

    @property
    def sheets(self) -> tuple[Sheet, ...]:
        """The papers that are printed, row by row; one without panels."""
        ppi_milli, bleed = round(self.ppi * 1000), self.edges == "bleed"
        return cut_sheets(self.out, self.trim, self.panels, ppi_milli, bleed=bleed)

    @property
    def trim(self) -> Rect:
        """The print as it will hang: the sheet without its edges, px of the sheet."""
        size = self.placement.out
        return Rect(self.edge_px, self.edge_px, size.width, size.height)

    @property
    def out(self) -> Size:
        """The sheet, edges included, px."""
        size, edge = self.placement.out, 2 * self.edge_px
        return Size(size.width + edge, size.height + edge)

    @property
    def rect(self) -> Rect:
        """Where the canvas, or what is used of it, lies on the sheet, px."""
        rect = self.placement.rect
        return Rect(rect.x + self.edge_px, rect.y + self.edge_px, rect.width, rect.height)

    @property
    def width_mm(self) -> float:
        """Width on paper, trimmed."""
        return px_to_mm(self.trim.width, self.ppi)

    @property
    def height_mm(self) -> float:
        """Height on paper, trimmed."""
        return px_to_mm(self.trim.height, self.ppi)

    @property
    def halo_mm(self) -> float:
        """Width of the output sharpening's halo: as asked for, else what the distance hides."""
        return self.asked_halo_mm or wanted_halo_mm(self.distance_mm)

    @property
    def megapixels(self) -> float:
        """Of the print, 10^6 px."""
        return self.out.pixels / 1e6

    @property
    def needed_ppi(self) -> float:
        """What an eye of 20/20 can use from the viewing distance."""
        return ppi_needed(self.distance_mm)

    @property
    def needed_ppi_sharp(self) -> float:
        """What the sharpest eyes, 20/12, can use from there."""
        return ppi_needed(self.distance_mm, SHARP_EYE)

    @property
    def holds_to_mm(self) -> float:
        """How near one may step before an eye of 20/20 outdoes the resolution (print.md 1.3)."""
        return ppi_needed(1.0) / self.ppi

    @property
    def holds_to_mm_sharp(self) -> float:
        """Likewise for an eye of 20/12."""
        return ppi_needed(1.0, SHARP_EYE) / self.ppi

    def bytes(self, layout: PixelLayout) -> int:
        """Of the result's pixels."""
        return self.out.pixels * layout.bytes_per_pixel


def make_plan(
    canvas: Size, settings: Settings, *, resolution: tuple[float, float] = (1, 1)
) -> Plan:
    """The print that the settings ask for.

    Args:
        canvas: of the document, px.
        settings: as in the dialog.
        resolution: the document's, horizontal and vertical; only their ratio counts. Where they
            differ its pixels are not square; those of the print always are.

    Raises:
        PrintSizeError: it cannot be made; the text says what to do now.
    """
    ppi_milli = ppi_to_milli(printer_ppi(settings.ppi, settings.printer))
    shape = _shape(canvas, resolution)
    box = _box(shape, settings, ppi_milli)
    placement = place(canvas, box, settings.fit, anchor=settings.anchor, shape=shape)
    window, rect = placement.window, placement.rect
    for scale in (rect.width / window.width, rect.height / window.height):
        if not 1 / MAX_SCALE <= scale <= MAX_SCALE:
            raise PrintSizeError(
                "The print would be {scale:.3g} times the picture ({width}x{height} px to "
                "{to_width}x{to_height} px); between 1/{most} and {most} is possible. "
                "Choose another size or ppi.",
                scale=scale,
                width=canvas.width,
                height=canvas.height,
                to_width=rect.width,
                to_height=rect.height,
                most=MAX_SCALE,
            )
    ppi = ppi_milli / 1000
    distance_mm = settings.distance_cm * 10 or viewing_distance_mm(
        px_to_mm(placement.out.width, ppi), px_to_mm(placement.out.height, ppi)
    )
    edge_px = _edge_px(placement.out, settings, ppi_milli)
    panels = choose_panels(
        Size(placement.out.width + 2 * edge_px, placement.out.height + 2 * edge_px),
        ppi_milli,
        rows=settings.panel_rows,
        columns=settings.panel_columns,
        sheet_width_mm=settings.sheet_width_mm,
        overlap_mm=settings.overlap_mm,
        crop_marks=settings.crop_marks,
        bleed=bool(edge_px) and settings.edges == "bleed",
    )
    return Plan(
        canvas,
        placement,
        ppi,
        distance_mm,
        settings.edges,
        edge_px,
        panels,
        settings.halo_mm,
        settings.wrap_fill,
    )


def _shape(canvas: Size, resolution: tuple[float, float]) -> Size:
    """Proportions of the canvas on paper, w / xres : h / yres, as whole numbers."""
    x_milli, y_milli = (round(1000 * value) for value in resolution)
    if x_milli == y_milli or min(x_milli, y_milli) <= 0:
        return canvas
    return Size(canvas.width * y_milli, canvas.height * x_milli)


def _edge_px(trim: Size, settings: Settings, ppi_milli: int) -> int:
    if settings.edges not in EDGES:
        raise PrintSizeError(
            "Unknown edges {name!r}; use one of {known}.",
            name=settings.edges,
            known=", ".join(EDGES),
        )
    if settings.wrap_fill not in WRAP_FILLS:
        known = ", ".join(WRAP_FILLS)
        raise PrintSizeError(
            "Unknown wrap {name!r}; use one of {known}.", name=settings.wrap_fill, known=known
        )
    if settings.edges == "none":
        return 0
    edge_px = length_to_px(round(settings.edge_mm * NM_PER_MM), ppi_milli)
    if edge_px > min(trim.width, trim.height):
        if settings.edges == "bleed":
            raise PrintSizeError(
                "A bleed of {edge:g} mm is wider than the print, which it repeats; "
                "choose a narrower one.",
                edge=settings.edge_mm,
            )
        raise PrintSizeError(
            "A wrap of {edge:g} mm is wider than the print, which it repeats; "
            "choose a narrower one.",
            edge=settings.edge_mm,
        )
    return edge_px


def _box(canvas: Size, settings: Settings, ppi_milli: int) -> Size:
    if settings.preset != CUSTOM:
        size = parse_print_size(settings.preset)
        return size.turned(settings.orientation).box(canvas, ppi_milli)
    if not settings.width and not settings.height:
        size = parse_print_size(DEFAULT_LONG_SIDE)
        return size.turned(settings.orientation).box(canvas, ppi_milli)
    width, height = _text(settings.width), _text(settings.height)
    if settings.width and settings.height:
        size = parse_print_size(f"{width}x{height}{settings.unit}")
        size = replace(size, free_orientation=False)  # two fields say which side is which
        return size.turned(settings.orientation).box(canvas, ppi_milli)
    # The other side comes from source pixels, not from rounded lengths (print.md 1.1).
    edited = parse_print_size(f"{width if settings.width else height}{settings.unit}")
    edited.turned(settings.orientation)
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
    a whole sheet with the layer's part of the print on it. Edges are filled for a layer that
    covers the print, from what it has beyond the trim (bleed) and by mirroring; a smaller layer
    ends where it ends.

    Raises:
        PrintSizeError: nothing of the layer is on the print.
    """
    window, rect, trim = plan.placement.window, plan.rect, plan.trim
    left, top = float(layer.x), float(layer.y)
    right, bottom = left + layer.width, top + layer.height
    whole = rect == trim and (
        window == Window(0.0, 0.0, float(plan.canvas.width), float(plan.canvas.height))
    )
    covers = (
        left <= window.x
        and top <= window.y
        and right >= window.x + window.width
        and bottom >= window.y + window.height
    )
    if plan.edge_px and covers:
        return _with_edges(plan, layer)
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
    if rect != trim:  # pad
        inside = Rect(x0 - trim.x, y0 - trim.y, size.width, size.height)
        return LayerJob(Placement(trim.size, part, inside), (trim.x, trim.y))
    return LayerJob(Placement(size, part, Rect(0, 0, size.width, size.height)), (x0, y0))


def _with_edges(plan: Plan, layer: Rect) -> LayerJob:
    """The job of a layer that covers the print: the sheet, edges included."""
    window, rect, edge = plan.placement.window, plan.rect, plan.edge_px
    x_step, y_step = window.width / rect.width, window.height / rect.height
    goes_on = plan.edges == "bleed" or plan.wrap_fill == "image"
    goes_on = goes_on and rect == plan.trim
    # What the picture itself has beyond the trim, px of the sheet: left, top, right, bottom.
    more = tuple(
        min(edge, int(px / step + 1e-6)) if goes_on else 0
        for px, step in (
            (window.x - layer.x, x_step),
            (window.y - layer.y, y_step),
            (layer.x + layer.width - window.x - window.width, x_step),
            (layer.y + layer.height - window.y - window.height, y_step),
        )
    )
    left, top, right, bottom = more
    part = Window(
        window.x - left * x_step - layer.x,
        window.y - top * y_step - layer.y,
        window.width + (left + right) * x_step,
        window.height + (top + bottom) * y_step,
    )
    filled = Rect(
        rect.x - left, rect.y - top, rect.width + left + right, rect.height + top + bottom
    )
    mirror = (edge - left, edge - top, edge - right, edge - bottom)
    return LayerJob(Placement(plan.out, part, filled, mirror), (0, 0))


def canvas_geometry(plan: Plan) -> tuple[Size, tuple[int, int]]:
    """How the other layers follow: size to scale the canvas to, and where it then lies.

    Returns:
        The scaled canvas, and its offset on the sheet (negative when it is cropped).
    """
    window, rect = plan.placement.window, plan.rect
    x_scale, y_scale = rect.width / window.width, rect.height / window.height
    scaled = Size(
        max(1, round(plan.canvas.width * x_scale)), max(1, round(plan.canvas.height * y_scale))
    )
    return scaled, (rect.x - round(window.x * x_scale), rect.y - round(window.y * y_scale))


@dataclass(frozen=True)
class Spot:
    """A small part of the print, computed alone.

    Attributes:
        placement: for `Request.build`; its result is larger than the spot by a margin, and its
            picture may reach beyond that.
        inner: the spot within that result, px.
    """

    placement: Placement
    inner: Rect


def spot(job: LayerJob, centre: tuple[float, float], size: Size, *, fitted: bool = False) -> Spot:
    """The job that computes one spot of a layer's print with the pixels of the full run.

    Args:
        job: the full run.
        centre: of the spot, 0..1 of the layer's part on either axis.
        size: of the spot, print px; smaller when the print is.
        fitted: whether the sharpening is fitted to the whole picture (`Settings.halo_mm`); then the
            spot is a cut-out of the whole print, which takes longer.
    """
    window, rect = job.placement.window, job.placement.rect
    x, width, x0, x1 = _cut(centre[0], size.width, rect.width)
    y, height, y0, y1 = _cut(centre[1], size.height, rect.height)
    inner = Rect(x - x0, y - y0, width, height)
    if fitted:
        whole = Placement(rect.size, window, Rect(0, 0, rect.width, rect.height))
        return Spot(part_of(whole, Rect(x0, y0, x1 - x0, y1 - y0)), inner)
    x_scale, y_scale = window.width / rect.width, window.height / rect.height
    part = Window(
        window.x + x0 * x_scale, window.y + y0 * y_scale, (x1 - x0) * x_scale, (y1 - y0) * y_scale
    )
    out = Size(x1 - x0, y1 - y0)
    placement = Placement(out, part, Rect(0, 0, out.width, out.height))
    return Spot(placement, inner)


def part_of(placement: Placement, rect: Rect) -> Placement:
    """The job that computes only a part of a print, with the pixels of the full run bit for bit.

    The picture keeps its place and size and reaches beyond the result; the same tiles are computed,
    as far as they fall on the part. Takes the time of whole tiles, so `spot` is quicker.

    Args:
        placement: of the full run, without edges.
        rect: the part, px of its result.
    """
    r = placement.rect
    moved = Rect(r.x - rect.x, r.y - rect.y, r.width, r.height)
    return Placement(rect.size, placement.window, moved)


def _cut(centre: float, wanted: int, length: int) -> tuple[int, int, int, int]:
    """First pixel and length of a spot on one axis, and both ends with the margin."""
    size = min(wanted, length)
    first = min(max(0, round(centre * length - size / 2)), length - size)
    return first, size, max(0, first - SPOT_MARGIN_PX), min(length, first + size + SPOT_MARGIN_PX)


def sharpen_options(layer: Size, settings: Settings, print_long_side_mm: float) -> dict[str, Any]:
    """Sharpen Selection for Print: the fields of `Options`; radii are those of the print.

    Args:
        layer: px; keeps its size.
        settings: medium, strength, halo, spread, deblur, feather and viewing distance count.
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
        "sharpen": settings.sharpen,
        "strength": settings.strength,
        **settings.halo_options,
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
    "EDGES",
    "EDGE_MM",
    "OVERLAP_MM",
    "PRESETS",
    "RESULTS",
    "SOURCES",
    "WRAP_FILLS",
    "LayerJob",
    "Plan",
    "Settings",
    "Spot",
    "canvas_geometry",
    "layer_job",
    "make_plan",
    "part_of",
    "same_size",
    "sharpen_options",
    "spot",
]
