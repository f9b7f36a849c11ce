"""What will be done, as arithmetic: stages, ladder of networks, tiles, memory. No torch.

A plan is a pure function of the request, the catalogue and a memory budget, so dialogs and tests
can ask for it without computing a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, lcm, prod

from wallprint_protocol.errors import BadInput
from wallprint_protocol.print_size import px_to_mm, viewing_distance_mm
from wallprint_protocol.request import Request

from ..imaging.reach import (
    ANCHOR_REACH_PX,
    FILL_REACH_PX,
    FLAT_REACH_PX,
    SEAM_PX,
    kernel_reach,
)
from ..imaging.tiles import Axis, Span, cut_axis
from ..models import catalog
from ..models.catalog import NetworkSpec
from .halo import EDGE_SIGMA_PX, OutputSharpening, output_sharpening

# Tiles of networks that reach further than their border share this many pixels with a neighbour.
BLEND_PX = 16
# Up to this much beyond a ladder the last resample enlarges: nobody sees half a percent.
TOLERANCE = 1.005
MAX_STEPS = 4
# An automatic repair of less than this takes more than it gives when the next network copes with
# blocks by itself: JPEG quality 40 and better (docs/measurements.md).
LEAST_REPAIR = 63
MIN_TILE_PX = 64
# A tile that the user makes smaller than this beyond its border is raised: it would be all border.
LEAST_OWN_PX = MIN_TILE_PX // 2
# Without a network any window will do that keeps the border small.
PLAIN_WINDOW_PX = 512
# float32 planes that live at once at final resolution (tile, blur, delta, bytes), per channel.
FINAL_COPIES = 10


@dataclass(frozen=True)
class Plan:
    """Everything about a job but the pixels.

    Attributes:
        ladder: enlarging networks in order; empty when the print is not larger than the source.
        repair: network and amount (1..100), or None.
        deblur: network and amount (1..100), or None; a network of the role "dering" comes after a
            deconvolution (`deconvolve.py`).
        sharpening: output sharpening, or None.
        axes: (x, y) mapping from the source to the picture's part of the result.
        columns, rows: spans of the tiles.
        blend_px: see tiles.Mosaic.
        cell_px: tiles begin at multiples of this in the source.
        reach_px: source pixels around a result pixel that decide it, all stages together.
        reaches: see `grid_reaches`.
        tile_bytes: working memory of one tile, estimated.
        notes: sentences for the user, where a wish could not be granted.
    """

    ladder: tuple[NetworkSpec, ...]
    repair: tuple[NetworkSpec, int] | None
    deblur: tuple[NetworkSpec, int] | None
    sharpening: OutputSharpening | None
    axes: tuple[Axis, Axis]
    columns: list[Span]
    rows: list[Span]
    blend_px: int
    cell_px: int
    reach_px: float
    reaches: tuple[float, ...]
    tile_bytes: int
    notes: tuple[str, ...] = ()

    @property
    def scale(self) -> int:
        """Product of the ladder's scales."""
        return prod(spec.scale for spec in self.ladder)

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return len(self.columns) * len(self.rows)

    @property
    def window_px(self) -> tuple[int, int]:
        """Width and height of a tile's source window."""
        (a, b), (c, d) = self.columns[0].source, self.rows[0].source
        return b - a, d - c


def cheapest_ladder(scale: float, specs: Sequence[NetworkSpec]) -> tuple[NetworkSpec, ...]:
    """The cheapest sequence of networks whose scales multiply to at least `scale`.

    Cost of a step is its time per input pixel times the pixels it gets; an early small step makes
    a later large one dear, so the order matters: x2 then x4 costs 5 units, x4 then x2 costs 17.
    """
    if scale <= TOLERANCE:
        return ()
    best: tuple[float, int, tuple[NetworkSpec, ...]] | None = None
    front: list[tuple[float, int, tuple[NetworkSpec, ...]]] = [(0.0, 1, ())]
    for _ in range(MAX_STEPS):
        grown = []
        for cost, reached, steps in front:
            for spec in specs:
                step = (cost + spec.cost * reached**2, reached * spec.scale, (*steps, spec))
                if step[1] * TOLERANCE < scale:
                    grown.append(step)
                elif best is None or step[:2] < best[:2]:  # same cost: the smaller detour
                    best = step
        front = grown
    if best is None:
        raise BadInput(
            f"No ladder of {', '.join(s.name for s in specs) or 'no networks'} reaches "
            f"{scale:.1f}x; choose a smaller print.",
            code="E_LIMIT",
        )
    return best[2]


def grid_reaches(ladder: Sequence[NetworkSpec], step: float) -> tuple[float, ...]:
    """What each step of the ladder needs around a result pixel, in px of its own input grid.

    Args:
        ladder: enlarging networks.
        step: source px per result px (the larger axis).

    Returns:
        One reach per network, in order, and last that of the final resampling.
    """
    scale = prod(spec.scale for spec in ladder)
    reaches = [kernel_reach(step * scale) + 1]
    for spec in reversed(ladder):
        reaches.append(max(spec.reach_px, ANCHOR_REACH_PX) + 1 + reaches[-1] / spec.scale)
    return tuple(reversed(reaches))


@dataclass(frozen=True)
class TileCost:
    """Working memory of a tile by the side of its core, the source pixels that are its own.

    Attributes:
        stages: (scale of the stage's input grid, its reach there, bytes per input px).
        reach_px: source px that a tile discards per side.
        final_bytes: per core source px, at final resolution.
    """

    stages: tuple[tuple[int, float, float], ...]
    reach_px: float
    final_bytes: float

    def memory(self, width_px: float, height_px: float) -> float:
        """Bytes at the worst moment of a tile with a core of that size, source px."""
        worst = max(
            (b * (width_px * s + 2 * r) * (height_px * s + 2 * r) for s, r, b in self.stages),
            default=0.0,
        )
        return worst + self.final_bytes * width_px * height_px

    def fitting(self, memory_bytes: float) -> float:
        """Side of the largest square core that fits, source px, by bisection; at least 1."""
        low, high = 1.0, float(1 << 16)
        while high - low > 0.5:
            middle = (low + high) / 2
            low, high = (
                (middle, high) if self.memory(middle, middle) <= memory_bytes else (low, middle)
            )
        return low


def best_window(
    ladder: Sequence[NetworkSpec], before: Sequence[NetworkSpec], cost: TileCost
) -> int:
    """Side of the source window that costs least: the dearest network's own optimum."""
    dearest, window = 0.0, float(PLAIN_WINDOW_PX)
    for spec, (scale, reach, _) in zip([*before, *ladder], cost.stages, strict=True):
        if spec.cost * scale**2 > dearest:
            dearest = spec.cost * scale**2
            window = 2 * cost.reach_px + max(spec.window_px / 4, spec.window_px - 2 * reach) / scale
    return round(window)


def tile_cost(
    request: Request,
    ladder: Sequence[NetworkSpec],
    before: Sequence[NetworkSpec],
    step: float,
    reach: float,
) -> TileCost:
    """What tiles of this job cost; arguments as in `make_plan`."""
    channels = request.layout.channels
    stages: list[tuple[int, float, float]] = [(1, reach, float(s.bytes_per_px)) for s in before]
    scale = 1
    for spec, around in zip(ladder, grid_reaches(ladder, step), strict=False):
        # Plain enlargement, detail, anchor and answer live beside the network's own memory.
        planes = 4 * 4 * channels * spec.scale**2
        stages.append((scale, around, float(max(spec.bytes_per_px, planes))))
        scale *= spec.scale
    return TileCost(tuple(stages), reach, 4 * channels * FINAL_COPIES / step**2)


def make_plan(
    request: Request,
    *,
    repair_amount: int,
    memory_bytes: int,
    most_bytes: int = 0,
    compressed: bool = False,
    deblur: tuple[NetworkSpec, int] | None = None,
    tile_px: int = 0,
    opaque: bool = False,
    sharpening: OutputSharpening | None = None,
) -> Plan:
    """Decide stages, networks and tiles.

    Args:
        request: the job, checked.
        repair_amount: 0..100, automatic already resolved.
        memory_bytes: what a tile may use.
        most_bytes: what it may use where it would otherwise be mostly border, or where the user
            wants large tiles; 0: no more than that.
        compressed: the picture was found to be a JPEG; the first network of the ladder is then one
            that does not magnify blocks, and does without a repair where there is little to do.
        deblur: as in `Plan`, automatic already resolved; it has tiles of its own, which take
            the repair along, so that this plan's need no border for either.
        tile_px: preferred side of a source window, 0 for the one that the networks run best
            with on a CPU; the request's own wish comes first, and memory before both.
        opaque: the layer has an alpha channel and no transparent pixel, as every layer of Krita's
            that is just a photograph: nothing hidden has to be filled.
        sharpening: fitted to the picture; by default the one for the options and usual edges.

    Raises:
        BadInput: unknown network, or one that does not enlarge.
    """
    options, out, window = request.options, request.rect, request.window
    step = max(window.width / out.width, window.height / out.height)
    wanted = max(out.width / window.width, out.height / window.height)
    ladder = cheapest_ladder(wanted, _enlargers(options.model, options.style))
    robust = catalog.robust_twin(ladder[0]) if compressed and ladder and not options.model else None
    if robust and robust.robust:
        ladder = (robust, *ladder[1:])
        if repair_amount < LEAST_REPAIR and not deblur:
            repair_amount = 0
    repair = None
    if repair_amount:
        repair = (catalog.repairer(), repair_amount)
    before = [repair[0]] if repair and not deblur else []
    sharpening = sharpening or sharpening_for(request)
    networks = [*before, *ladder]
    reaches = grid_reaches(ladder, step)
    reach = reaches[0] + sum(max(spec.reach_px, FLAT_REACH_PX) for spec in before)
    reach += sharpening.reach_px * step if sharpening else 0.0
    reach += FILL_REACH_PX if request.layout.has_alpha and not opaque else 0.0
    blend_px = 0 if all(spec.exact for spec in networks) else BLEND_PX
    cell_px = lcm(*(spec.multiple for spec in before))
    cost = tile_cost(request, ladder, before, step, reach + blend_px * step)
    border_px = 2 * ceil(reach + (SEAM_PX + blend_px) * step + cell_px)
    core_px = cost.fitting(memory_bytes)
    most_px = max(core_px, cost.fitting(most_bytes))
    if options.tile_px:
        side, core_px = max(options.tile_px, border_px + LEAST_OWN_PX), most_px
    else:
        side = tile_px or best_window(ladder, before, cost)
        core_px = max(core_px, min(most_px, reach))
    x_axis = Axis(request.source.width, window.x, window.width, out.width)
    y_axis = Axis(request.source.height, window.y, window.height, out.height)
    columns, rows = (
        cut_axis(
            axis,
            tile_px=side,
            reach=reach + SEAM_PX * step,
            blend_px=blend_px,
            core_px=core_px,
            cell_px=cell_px,
        )
        for axis in (x_axis, y_axis)
    )
    width_px, height_px = (
        max(b - a for a, b in (span.core for span in spans)) * axis.step
        for spans, axis in ((columns, x_axis), (rows, y_axis))
    )
    notes: tuple[str, ...] = ()
    if options.tile_px and len(columns) * len(rows) > 1:
        window_px = max(b - a for a, b in (columns[0].source, rows[0].source))
        notes = _tile_notes(options.tile_px, border_px, core_px, window_px)
    return Plan(
        ladder=ladder,
        repair=repair,
        deblur=deblur,
        sharpening=sharpening,
        axes=(x_axis, y_axis),
        columns=columns,
        rows=rows,
        blend_px=blend_px,
        cell_px=cell_px,
        reach_px=reach,
        reaches=reaches,
        tile_bytes=ceil(cost.memory(width_px, height_px)),
        notes=notes,
    )


def _tile_notes(wanted_px: int, border_px: int, core_px: float, window_px: int) -> tuple[str, ...]:
    """What became of the wish for tiles of a size."""
    if wanted_px < border_px + LEAST_OWN_PX:
        problem = f"would be mostly border here ({border_px} px of it)"
    elif wanted_px - border_px > core_px:
        problem = "do not fit into the memory"
    else:
        return ()
    return (f"Tiles of {wanted_px} px {problem}; they have {window_px} px.",)


def sharpening_for(
    request: Request, halo_mm: float = 0.0, edge_px: float = EDGE_SIGMA_PX
) -> OutputSharpening | None:
    """The output sharpening of a job, or None where there is to be none.

    Args:
        request: the job.
        halo_mm: to aim at instead of the request's own.
        edge_px: Gaussian width of the picture's edges on the print, px.
    """
    options, out = request.options, request.rect
    distance = options.distance_mm or viewing_distance_mm(
        px_to_mm(out.width, options.ppi), px_to_mm(out.height, options.ppi)
    )
    return output_sharpening(
        options.sharpen,
        options.strength,
        options.ppi,
        distance,
        halo_mm=halo_mm or options.halo_mm,
        spread_mm=options.spread_mm,
        edge_px=edge_px,
    )


def _enlargers(model: str, style: str) -> list[NetworkSpec]:
    """The networks a ladder may use: one named network, or all of a style."""
    if not model:
        return catalog.enlargers(style)
    spec = catalog.get(model)
    if spec.role != "enlarge":
        raise BadInput(
            f"The network {model} does not enlarge (it is for: {spec.role}); "
            "`wallprint models` lists those that do.",
            code="E_MODEL_NOT_FOUND",
        )
    return [spec]
