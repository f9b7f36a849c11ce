"""What will be done, as arithmetic: stages, ladder of networks, tiles, memory. No torch.

A plan is a pure function of the request, the catalogue and a memory budget, so dialogs and tests
can ask for it without computing a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod, sqrt

from wallprint_protocol.errors import BadInput
from wallprint_protocol.print_size import px_to_mm, viewing_distance_mm
from wallprint_protocol.request import Request

from ..imaging.reach import ANCHOR_REACH_PX, FILL_REACH_PX, kernel_reach
from ..imaging.tiles import Axis, Span, cut_axis
from ..models import catalog
from ..models.catalog import NetworkSpec
from .halo import OutputSharpening, output_sharpening

# The picture is continued by reflection beyond its border, so that no network sees the edge of
# the world (they pad with black or grey); 16 px leave 5e-7 of that edge in SPAN.
BORDER_PX = 16
# Tiles of networks that reach further than their border share this many pixels with a neighbour.
BLEND_PX = 16
# Up to this much beyond a ladder the last resample enlarges: nobody sees half a percent.
TOLERANCE = 1.005
MAX_STEPS = 4
MIN_TILE_PX = 64
# Without a network any window will do that keeps the border small.
PLAIN_WINDOW_PX = 512
# float32 planes that live at once at final resolution (tile, blur, delta, bytes), per channel.
FINAL_COPIES = 10


@dataclass(frozen=True)
class Plan:
    """Everything about a job but the pixels.

    Attributes:
        ladder: enlarging networks in order; empty when the print is not larger than the source.
        repair: network and its share, or None.
        sharpening: output sharpening, or None.
        axes: (x, y) mapping from the *continued* source (border included) to the picture's part
            of the result.
        border_px: by how much the source is continued on each side.
        columns, rows: spans of the tiles.
        blend_px: see tiles.Mosaic.
        reach_px: source pixels around a result pixel that decide it.
        tile_bytes: working memory of one tile, estimated.
        notes: what a user should know.
    """

    ladder: tuple[NetworkSpec, ...]
    repair: tuple[NetworkSpec, float] | None
    sharpening: OutputSharpening | None
    axes: tuple[Axis, Axis]
    border_px: int
    columns: list[Span]
    rows: list[Span]
    blend_px: int
    reach_px: float
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
    best: tuple[float, tuple[NetworkSpec, ...]] | None = None
    front: list[tuple[float, int, tuple[NetworkSpec, ...]]] = [(0.0, 1, ())]
    for _ in range(MAX_STEPS):
        grown = []
        for cost, reached, steps in front:
            for spec in specs:
                total = cost + spec.cost * reached**2
                if best is not None and total >= best[0]:
                    continue
                ladder = (*steps, spec)
                if reached * spec.scale * TOLERANCE >= scale:
                    best = (total, ladder)
                else:
                    grown.append((total, reached * spec.scale, ladder))
        front = grown
    if best is None:
        raise BadInput(
            f"No ladder of {', '.join(s.name for s in specs) or 'no networks'} reaches "
            f"{scale:.1f}x; choose a smaller print.",
            code="E_LIMIT",
        )
    return best[1]


def level_and_blend(amount: int) -> tuple[int, float]:
    """Network level 1..3 and its share for a repair of 1..100.

    The three denoising levels take a third of the scale each; within the first the result is
    blended in, so that a small amount does little.
    """
    return min(3, 1 + amount * 3 // 101), min(1.0, amount / 33)


def reach_of(
    ladder: Sequence[NetworkSpec], before: Sequence[NetworkSpec], step: float, sharpen_px: int
) -> float:
    """Source pixels around a result pixel that decide it: the sum of the stages' reaches.

    Args:
        ladder: enlarging networks.
        before: networks at source resolution.
        step: source px per result px (the larger axis).
        sharpen_px: reach of the output sharpening, result px.
    """
    reach = float(sum(spec.reach_px for spec in before))
    scale = 1
    for spec in ladder:
        reach += max(spec.reach_px, ANCHOR_REACH_PX) / scale
        scale *= spec.scale
    reach += (kernel_reach(step * scale) + 1) / scale
    return reach + sharpen_px * step


def best_window(ladder: Sequence[NetworkSpec], before: Sequence[NetworkSpec], reach: float) -> int:
    """Side of the source window that costs least: the dearest network's own optimum.

    Args:
        ladder: enlarging networks.
        before: networks at source resolution.
        reach: source px that a tile discards per side; a window is never mostly border.
    """
    dearest, window = 0.0, float(PLAIN_WINDOW_PX)
    scale = 1
    for spec in [*before, *ladder]:
        if spec.cost * scale**2 > dearest:
            dearest, window = spec.cost * scale**2, spec.window_px / scale
        scale *= spec.scale
    return round(max(window, 4 * reach))


def tile_memory(
    tile_px: float,
    ladder: Sequence[NetworkSpec],
    before: Sequence[NetworkSpec],
    step: float,
    channels: int,
) -> float:
    """Bytes that a square tile of `tile_px` source pixels needs at its worst moment."""
    worst = max((spec.bytes_per_px for spec in before), default=0.0)
    scale = 1
    for spec in ladder:
        worst = max(worst, spec.bytes_per_px * scale**2)
        scale *= spec.scale
    network_grid = 4 * channels * 4 * scale**2  # plain, detail, anchor and answer in float32
    final = 4 * channels * FINAL_COPIES / step**2
    return tile_px**2 * (max(worst, network_grid) + final)


def make_plan(request: Request, *, repair_amount: int, memory_bytes: int, tile_px: int) -> Plan:
    """Decide stages, networks and tiles.

    Args:
        request: the job, checked.
        repair_amount: 0..100, automatic already resolved.
        memory_bytes: what a tile may use.
        tile_px: preferred side of a source window, 0 for the one that the networks run best
            with on a CPU; memory and the request's own wish come first.

    Raises:
        BadInput: unknown network, or one that does not enlarge.
    """
    options, out, window = request.options, request.rect, request.window
    step = max(window.width / out.width, window.height / out.height)
    wanted = max(out.width / window.width, out.height / window.height)
    ladder = cheapest_ladder(wanted, _enlargers(options.model, options.style))
    repair = None
    if repair_amount:
        level, blend = level_and_blend(repair_amount)
        repair = (catalog.get(f"waifu2x-photo-denoise{level}"), blend)
    before = [repair[0]] if repair else []
    distance = options.distance_mm or viewing_distance_mm(
        px_to_mm(out.width, options.ppi), px_to_mm(out.height, options.ppi)
    )
    sharpening = output_sharpening(options.sharpen, options.strength, options.ppi, distance)
    networks = [*before, *ladder]
    reach = reach_of(ladder, before, step, sharpening.reach_px if sharpening else 0)
    if request.layout.has_alpha:
        reach += FILL_REACH_PX
    border = BORDER_PX if networks else 0
    blend_px = 0 if all(spec.exact for spec in networks) else BLEND_PX
    per_px = tile_memory(1.0, ladder, before, step, request.layout.channels)
    side = options.tile_px or min(
        tile_px or best_window(ladder, before, reach), int(sqrt(memory_bytes / per_px))
    )
    side = max(MIN_TILE_PX, side)
    x_axis = Axis(request.source.width + 2 * border, window.x + border, window.width, out.width)
    y_axis = Axis(request.source.height + 2 * border, window.y + border, window.height, out.height)
    columns = cut_axis(x_axis, tile_px=side, reach=reach, blend_px=blend_px)
    rows = cut_axis(y_axis, tile_px=side, reach=reach, blend_px=blend_px)
    return Plan(
        ladder=ladder,
        repair=repair,
        sharpening=sharpening,
        axes=(x_axis, y_axis),
        border_px=border,
        columns=columns,
        rows=rows,
        blend_px=blend_px,
        reach_px=reach,
        tile_bytes=ceil(per_px * side**2),
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
