"""One enhancement: everything that decides the result's pixels, in one object.

The dialogs and the command line build it, `params` carries it over the wire, the pipeline reads
it. The result is a pure function of the source pixels and this object (and of the network files).
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from operator import mul
from typing import Any

from .pixels import PixelLayout
from .print_size import MAX_SIDE_PX, Placement, Rect, Size, Window

STYLES = ("faithful", "enhanced")
MEDIA = ("none", "glossy", "matte", "canvas", "backlit")
STRENGTHS = ("low", "standard", "high")
DEVICES = ("auto", "cpu", "cuda", "mps")
EDGE_FILLS = ("mirror", "stretch", "colour", "average")
MOST_HALO_MM, MOST_SPREAD_MM = 5.0, 1.0  # posters seen from afar; rough canvas
_COLOUR = re.compile(r"^#(?:[0-9a-fA-F]{6}|[0-9a-fA-F]{8})$")
_LUMA = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709


@dataclass(frozen=True)
class Options:
    """The stage options of one job (`params` of `job.open`).

    Attributes:
        style: "faithful" adds nothing that is not in the source; "enhanced" may invent detail.
        model: name of an enlarging network from the catalogue, or "" for the style's own.
        repair: removal of JPEG artefacts and noise, 0..100, or None for automatic.
        deblur: removal of blur, 0..100, or None for automatic.
        sharpen: medium of the output sharpening; "none" switches it off.
        strength: of the output sharpening.
        ppi: print resolution; turns the millimetres below into pixels.
        distance_mm: viewing distance, or 0 for 1.5 diagonals of the print.
        halo_mm: width of the output sharpening's halo, or 0 for what suits the distance; it is
            fitted to the picture's own edges.
        spread_mm: how far ink spreads on the medium, Gaussian sigma, or 0 when it was not measured;
            decides the amount of the output sharpening.
        window: part of the source (x, y, w, h in source px) that is used.
        rect: part of the result (x, y, w, h in px) that it fills; the rest is paper white. It may
            reach beyond the result: then the result is a cut-out of the print, computed by the
            tiles of the whole, so with its very pixels.
        mirror: margins of the result (left, top, right, bottom in px) that are filled after the
            output sharpening: bleed and gallery wrap.
        edge_fill: with what, an entry of EDGE_FILLS. "mirror" repeats what lies within, flipped;
            "stretch" does so with a quarter of it, drawn out to the margin's width; "colour";
            "average" is the mean colour of the picture that is printed.
        edge_colour: for "colour", #RRGGBB on the document's own curve (a grey document takes its
            luma), or #CCMMYYKK ink for a CMYK document.
        feather_mm: soft edge of the selection on the print, Gaussian sigma; 0 is a hard edge.
        device: where to compute.
        tile_px: side of a tile in source pixels, or 0 for automatic.
        draft: for a first look at a spot: deblurring in a sixth of the time, less of it.
    """

    window: tuple[float, float, float, float]
    rect: tuple[int, int, int, int]
    mirror: tuple[int, int, int, int] = (0, 0, 0, 0)
    ppi: float = 200.0
    style: str = "faithful"
    model: str = ""
    repair: int | None = None
    deblur: int | None = None
    sharpen: str = "matte"
    strength: str = "standard"
    distance_mm: float = 0.0
    halo_mm: float = 0.0
    spread_mm: float = 0.0
    feather_mm: float = 0.0
    device: str = "auto"
    tile_px: int = 0
    draft: bool = False
    edge_fill: str = "mirror"
    edge_colour: str = "#ffffff"

    def to_map(self) -> dict[str, Any]:
        """The `params` map of the protocol."""
        values = asdict(self)
        return {**values, **{k: list(values[k]) for k in ("window", "rect", "mirror")}}

    @classmethod
    def from_map(cls, value: dict[str, Any], *, source: Size, out: Size) -> Options:
        """Inverse of `to_map`, checked; unknown keys are ignored.

        Raises:
            ValueError: a value is missing, ill-typed or out of range; names it.
        """
        known = {f.name for f in fields(cls)}
        try:
            options = cls(
                **{
                    **{k: v for k, v in value.items() if k in known},
                    "window": tuple(float(v) for v in value["window"]),
                    "rect": tuple(int(v) for v in value["rect"]),
                    "mirror": tuple(int(v) for v in value.get("mirror", (0, 0, 0, 0))),
                }
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"params: {error}") from None
        options.check(source=source, out=out)
        return options

    def check(self, *, source: Size, out: Size) -> None:
        """Refuse values that no pipeline can work with.

        Raises:
            ValueError: names the field, its value and the allowed range.
        """
        for name, allowed in (
            ("style", STYLES),
            ("sharpen", MEDIA),
            ("strength", STRENGTHS),
            ("device", DEVICES),
            ("edge_fill", EDGE_FILLS),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"params: {name} {getattr(self, name)!r} is none of {', '.join(allowed)}"
                )
        if not isinstance(self.model, str) or len(self.model) > 80:
            raise ValueError("params: model must be a name of at most 80 characters")
        for name in ("repair", "deblur"):
            amount = getattr(self, name)
            if amount is not None and (type(amount) is not int or not 0 <= amount <= 100):
                raise ValueError(f"params: {name} {amount!r} is neither null nor 0..100")
        for name, low, high in (
            ("ppi", 30.0, 1200.0),
            ("distance_mm", 0.0, 1e6),
            ("halo_mm", 0.0, MOST_HALO_MM),
            ("spread_mm", 0.0, MOST_SPREAD_MM),
            ("feather_mm", 0.0, 1000.0),
        ):
            number = getattr(self, name)
            if not isinstance(number, (int, float)) or isinstance(number, bool):
                raise ValueError(f"params: {name} {number!r} is not a number")
            if not low <= number <= high:
                raise ValueError(f"params: {name} {number:g} is outside {low:g}..{high:g}")
        if type(self.tile_px) is not int or not (self.tile_px == 0 or 64 <= self.tile_px <= 4096):
            raise ValueError(f"params: tile_px {self.tile_px!r} is neither 0 nor 64..4096")
        if not isinstance(self.edge_colour, str) or not _COLOUR.match(self.edge_colour):
            raise ValueError(
                f"params: edge colour {self.edge_colour!r} is neither #RRGGBB nor #CCMMYYKK"
            )
        if type(self.draft) is not bool:
            raise ValueError(f"params: draft {self.draft!r} is neither true nor false")
        if len(self.window) != 4 or len(self.rect) != 4:
            raise ValueError("params: window and rect have four numbers each")
        x, y, w, h = self.window
        slack = 1e-6 * max(source.width, source.height)
        inside = (
            x >= -slack
            and y >= -slack
            and w > 0
            and h > 0
            and x + w <= source.width + slack
            and y + h <= source.height + slack
        )
        if not inside:
            raise ValueError(f"params: window {self.window} is not inside the source")
        rx, ry, rw, rh = self.rect
        if not (0 < rw <= MAX_SIDE_PX and 0 < rh <= MAX_SIDE_PX):
            raise ValueError(f"params: rect {self.rect} has no side of 1..{MAX_SIDE_PX} px")
        if rx >= out.width or ry >= out.height or rx + rw <= 0 or ry + rh <= 0:
            raise ValueError(f"params: rect {self.rect} does not meet the result")
        self._check_mirror(out)
        for scale in (rw / w, rh / h):
            if not 1 / 64 - 1e-9 <= scale <= 64 + 1e-9:
                raise ValueError(
                    f"params: a scale of {scale:.4g} is outside 1/64..64; choose another print size"
                )

    def _check_mirror(self, out: Size) -> None:
        if len(self.mirror) != 4 or min(self.mirror) < 0:
            raise ValueError("params: mirror has four margins of at least 0 px")
        (x, y, w, h), (left, top, right, bottom) = self.rect, self.mirror
        width, height = out.width - left - right, out.height - top - bottom
        if max(left, right) > width or max(top, bottom) > height:
            raise ValueError(
                f"params: margins of {self.mirror} px are wider than the picture that they repeat"
            )
        inside = x >= left and y >= top and x + w <= left + width and y + h <= top + height
        if any(self.mirror) and not inside:
            raise ValueError(f"params: rect {self.rect} reaches into the margins {self.mirror}")


def edge_samples(colour: str, layout: PixelLayout) -> tuple[float, ...]:
    """`Options.edge_colour` as colour channels, 0..1: grey; red, green, blue; or four inks.

    Raises:
        ValueError: a colour of light for inks, or the other way round; names the cure.
    """
    values = tuple(int(colour[i : i + 2], 16) / 255 for i in range(1, len(colour), 2))
    if layout.model.startswith("CMYK") != (len(values) == 4):
        wanted = "#CCMMYYKK (ink)" if layout.model.startswith("CMYK") else "#RRGGBB"
        raise ValueError(
            f"The colour {colour} of the edges does not suit a {layout.model} picture; "
            f"write it as {wanted}."
        )
    if layout.colour_channels == 1:
        return (sum(map(mul, _LUMA, values)),)
    return values


@dataclass(frozen=True)
class Request:
    """A whole job: source, result and options.

    Attributes:
        source: size of the layer, px.
        layout: of the source's bytes and, the same, of the result's.
        out: exact size of the result, px.
        options: what to do.
        selection: layout of the selection's bytes (GRAY, same size as the source, full scale =
            selected), or None when the whole layer is enhanced.
        icc: profile bytes; they only travel, the server never converts colours.
    """

    source: Size
    layout: PixelLayout
    out: Size
    options: Options
    selection: PixelLayout | None = None
    icc: bytes = b""

    @classmethod
    def build(
        cls,
        source: Size,
        layout: PixelLayout,
        placement: Placement,
        *,
        selection: PixelLayout | None = None,
        icc: bytes = b"",
        **options: Any,
    ) -> Request:
        """From a `Placement` (print_size.place) and the fields of `Options`."""
        w, r = placement.window, placement.rect
        chosen = Options(
            window=(w.x, w.y, w.width, w.height),
            rect=(r.x, r.y, r.width, r.height),
            mirror=placement.mirror,
            **options,
        )
        chosen.check(source=source, out=placement.out)
        if chosen.edge_fill == "colour":
            edge_samples(chosen.edge_colour, layout)
        return cls(source, layout, placement.out, chosen, selection, icc)

    @property
    def window(self) -> Window:
        """Part of the source that is used."""
        return Window(*self.options.window)

    @property
    def rect(self) -> Rect:
        """Part of the result that it fills."""
        return Rect(*self.options.rect)
