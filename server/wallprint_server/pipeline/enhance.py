"""The whole pixel work of a job: tile by tile, from source pixels to print pixels.

Reads one window of the source, carries it through repair, deblurring, enlarging, the exact
resampling and the output sharpening, and writes the finished rectangle. No picture at network
scale and no whole result ever exists in memory. Knows nothing of sockets or processes.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil, floor

import numpy as np
import torch
from torch import Tensor

from wallprint_protocol.detail_budget import DetailBudget
from wallprint_protocol.errors import Cancelled, OutOfResources
from wallprint_protocol.print_size import Rect
from wallprint_protocol.request import Request

from ..host_memory import STRIP_ROWS, tile_budget
from ..imaging.color import fill_hidden
from ..imaging.convert import Planes, is_opaque, mask_to_plane, to_bytes, to_planes
from ..imaging.local import gaussian_blur, local_max
from ..imaging.luma import luma_levels, luma_reader
from ..imaging.mosaic import Mosaic, fade_in
from ..imaging.reach import (
    FILL_REACH_PX,
    FLAT_REACH_PX,
    INK_REACH_PX,
    KERNEL_LOBES,
    SEAM_PX,
    gaussian_reach,
)
from ..imaging.tiles import Axis, Span, order
from ..models import catalog
from ..models.catalog import NetworkSpec
from ..models.engine import Engine
from ..raster import Raster
from . import halo_fit
from .blur import Blur, estimate_blur
from .deblur import Deblurring, NetworkRestorer, Restorer, ShakeRestorer, window_for
from .deconvolve import Deconvolution
from .detail import measure_detail
from .edge_fit import edge_width
from .edges import Margins, average_colour
from .enlarge import Apply, anchored
from .guard import guarded
from .halo_meter import StraightPlaces, measure_halo
from .noise import estimate_noise, noise_amount
from .plan import MIN_TILE_PX, make_plan, sharpening_for
from .repair import Blocking, Luma, estimate_blocking, repair, strength_and_blend
from .report import Report
from .resample import resample_axis
from .seams import MAX_STEP, step_between, step_of_blend
from .shake import Shake, estimate_shake
from .sharpen import sharpen

Progress = Callable[[str, int, int, int], None]
# A GPU wants large tiles; memory decides below that.
GPU_TILE_PX = 1024
GPU_SHARE = 0.6
# Ink may pass its surroundings' heaviest by this much (print.md 4.2).
INK_TOLERANCE = 1.01
# A feather wider than twice this sigma is computed on a coarser grid, where it has about this one.
FEATHER_SIGMA_PX = 8.0


def enhance(
    request: Request,
    source: Raster,
    selection: Raster | None,
    result: Raster,
    *,
    engine: Engine,
    on_progress: Progress,
    should_cancel: Callable[[], bool],
) -> Report:
    """Compute the print.

    Args:
        request: the job, checked.
        source: the layer's bytes, `request.layout`.
        selection: bytes of the selection, `request.selection`, or None.
        result: takes the print's bytes, `request.layout`, size `request.out`.
        engine: where the networks run.
        on_progress: called with (phase "load" or "run", tiles done, tiles in all, rows of the
            result that are final) after each tile.
        should_cancel: asked before each tile.

    Returns:
        What was done.

    Raises:
        Cancelled: `should_cancel()`; the result is incomplete.
        WallprintError: with the code that the client gets.
    """
    with torch.inference_mode():
        return _Job(request, source, selection, result, engine, on_progress, should_cancel).run()


class _Job:
    """State of one job: what is kept from tile to tile."""

    def __init__(
        self,
        request: Request,
        source: Raster,
        selection: Raster | None,
        result: Raster,
        engine: Engine,
        on_progress: Progress,
        should_cancel: Callable[[], bool],
    ) -> None:
        self.request, self.source, self.selection, self.result = request, source, selection, result
        self.engine, self.on_progress, self.should_cancel = engine, on_progress, should_cancel
        self.places = StraightPlaces()
        self.overlap = 1  # borders of tiles, as a multiple of what the plan says
        amount, blocking, noise = self._repair_amount()
        start = time.perf_counter()
        deblur, blur, shake = self._deblur_amount()
        measured_s = time.perf_counter() - start
        self.opaque = self._is_opaque()
        usual, most = _memory_budget(engine.device, request)
        self.planned = functools.partial(
            make_plan,
            request,
            repair_amount=amount,
            memory_bytes=usual,
            most_bytes=most,
            compressed=blocking is not None and blocking.compressed,
            deblur=deblur,
            tile_px=0 if engine.device.type == "cpu" else GPU_TILE_PX,
            opaque=self.opaque,
        )
        self.plan = self.planned()
        amount = amount if self.plan.repair else 0
        self.report = Report(
            self.plan, engine.describe(), request.options.ppi, blocking, amount, blur, noise, shake
        )
        self.report.seconds["measure"] += measured_s
        self.report.detail = self._detail_budget()
        # Of a whole print, all of which is sharpened and can be seen; not of a first look.
        self.measures_halo = (
            self.report.detail is not None
            and selection is None
            and (self.opaque or not request.layout.has_alpha)
        )

    def run(self) -> Report:
        plan, rect = self.plan, self.request.rect
        self.on_progress("load", 0, plan.tiles, 0)
        with self._timed("load"):
            self.repairing: tuple[Apply, float] | None = None
            if plan.repair is not None:
                strength, blend = strength_and_blend(plan.repair[1])
                self.repairing = self._network(plan.repair[0].name, strength), blend
            self.ladder = [(self._network(spec.name), spec) for spec in plan.ladder]
            self.deblurring = self._deblurring()
        self._fit_sharpening()
        plan = self.plan
        self._fill_padding()
        out = self.request.out
        self.columns = _meeting(plan.columns, -rect.x, out.width - rect.x)
        self.rows = _meeting(plan.rows, -rect.y, out.height - rect.y)
        tiles = len(self.columns) * len(self.rows)
        mosaic = Mosaic(self.columns, self.rows, plan.blend_px)
        options = self.request.options
        average = None
        if options.edge_fill == "average":
            average = average_colour(self.request.window, self._read)
        margins = Margins(self.result, self.request.layout, options, average)
        rows_done = margins.extend(rect.y)
        for done, (row, column) in enumerate(order(self.columns, self.rows)):
            self._stop_if_cancelled()
            tile = self._checked(row, column, mosaic)
            with self._timed("write"):
                x, y, pixels = mosaic.put(row, column, tile)
                self._write(x, y, pixels)
            # Rows leave when the row of tiles below has been compared with them: until then a seam
            # can be mended.
            if column == len(self.columns) - 1 and row:
                rows_done = margins.extend(rect.y + mosaic.rows_done(row - 1))
            if done == tiles - 1:
                rows_done = margins.extend(out.height)
            self.on_progress("run", done + 1, tiles, rows_done)
        self._measure_halo()
        self.report.add_notes(self.request.options)
        return self.report

    # Seams ------------------------------------------------------------------------------------

    def _checked(self, row: int, column: int, mosaic: Mosaic) -> Tensor:
        """A tile that agrees with its neighbours, both computed again with more overlap if need be.

        Neighbours that share a blend are written already and stay; only this tile is made again.
        """
        tile, steps = self._compared(row, column, mosaic)
        if max(steps.values(), default=0.0) > MAX_STEP:
            with self._more_overlap():
                for place, step in steps.items():
                    if step > MAX_STEP and not self.plan.blend_px:
                        again = self._tile(*self._drawn(*place))
                        self._write_own(*place, again)
                        self.report.seams.redone += 1
                tile, steps = self._compared(row, column, mosaic)
                self.report.seams.redone += 1
        for step in steps.values():
            self.report.seams.note(step)
        return tile

    def _compared(
        self, row: int, column: int, mosaic: Mosaic
    ) -> tuple[Tensor, dict[tuple[int, int], float]]:
        """A tile, and the step to each of its neighbours (row, column) that are there already."""
        xs, ys = self._drawn(row, column)
        drawn = self._tile(xs, ys)
        x, y = self.columns[column].out[0], self.rows[row].out[0]
        left, top = x - xs[0], y - ys[0]
        tile = drawn[..., top:, left:]
        with self._timed("seams"):
            if self.plan.blend_px:
                steps = {
                    ((row, column - 1) if dim == 3 else (row - 1, column)): step_of_blend(
                        before, tile, dim
                    )
                    for before, dim in mosaic.overlaps(row, column, tile)
                }
                return tile, steps
            steps = {}
            if left and column:
                strip = drawn[..., top:, :left]
                steps[row, column - 1] = self._step(strip, xs[0], y, 2)
            if top and row:
                strip = drawn[..., :top, left:]
                steps[row - 1, column] = self._step(strip, x, ys[0], 3)
        return tile, steps

    def _drawn(self, row: int, column: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Result columns and rows that a tile computes: its own, and some of its neighbours'."""
        return _with_seam(self.columns[column].out), _with_seam(self.rows[row].out)

    def _step(self, strip: Tensor, x: int, y: int, dim: int) -> float:
        """Step between a strip and what the result has at (x, y); along `dim`, levels of 255."""
        part, strip = self._on_result(x, y, strip)
        if not strip.numel():
            return 0.0
        # Both rounded to the document's depth: half a level of 8 bits is not a step.
        here, there = (
            to_planes(data, part.size, self.request.layout, torch.device("cpu"))
            for data in (self._bytes(strip), self.result.read(part))
        )
        steps = [step_between(here.colour, there.colour, dim)]
        if here.alpha is not None and there.alpha is not None:
            steps.append(step_between(here.alpha, there.alpha, dim))
        return max(steps)

    def _write_own(self, row: int, column: int, drawn: Tensor) -> None:
        """Put what is a tile's own in place of what it was."""
        x, y = self.columns[column].out[0], self.rows[row].out[0]
        (x0, _), (y0, _) = self._drawn(row, column)
        self._write(x, y, drawn[..., y - y0 :, x - x0 :])

    @contextmanager
    def _more_overlap(self) -> Iterator[None]:
        """Tiles look twice as far around within this block."""
        self.overlap = 2
        try:
            yield
        finally:
            self.overlap = 1

    # One tile ---------------------------------------------------------------------------------

    def _tile(self, xs: tuple[int, int], ys: tuple[int, int]) -> Tensor:
        """(1, C, h, w) final pixels of result columns `xs` and rows `ys`, alpha last.

        When memory runs out the tile is started again in halves, and later tiles at once.
        """
        while True:
            try:
                return self._in_pieces(xs, ys, self.report.pieces)
            except torch.OutOfMemoryError:
                pass  # not here: while the error is handled, its traceback keeps the tensors alive
            self._halve(xs, ys)

    def _in_pieces(self, xs: tuple[int, int], ys: tuple[int, int], pieces: int) -> Tensor:
        if pieces == 1:
            return self._render(xs, ys)
        self._stop_if_cancelled()
        across = xs[1] - xs[0] >= ys[1] - ys[0]
        start, stop = xs if across else ys
        middle = (start + stop) // 2
        # The halves share what neighbouring tiles share, and are joined in the same way.
        blend = min(self.plan.blend_px, (stop - start) // 4)
        parts = [
            self._in_pieces(part if across else xs, ys if across else part, pieces // 2)
            for part in ((start, middle + blend), (middle - blend, stop))
        ]
        dim = 3 if across else 2
        own = middle - blend - start
        shared = parts[0].narrow(dim, own, 2 * blend)
        return torch.cat([parts[0].narrow(dim, 0, own), fade_in(shared, parts[1], dim)], dim)

    def _halve(self, xs: tuple[int, int], ys: tuple[int, int]) -> None:
        if self.engine.device.type == "cuda":
            torch.cuda.empty_cache()
        self.report.pieces *= 2
        self.report.halved += 1
        step_x, step_y = (axis.step for axis in self.plan.axes)
        area = (xs[1] - xs[0]) * step_x * (ys[1] - ys[0]) * step_y / self.report.pieces
        if area < (MIN_TILE_PX / 2) ** 2:
            raise OutOfResources(
                f"Memory of {self.engine.describe()} does not suffice even for a tile of "
                f"{MIN_TILE_PX} px; close other programs, or compute with --device cpu.",
                code="E_OOM_GPU",
            )

    def _render(self, xs: tuple[int, int], ys: tuple[int, int]) -> Tensor:
        """`_tile` in one piece: every stage in order."""
        plan, (x_axis, y_axis) = self.plan, self.plan.axes
        how = plan.sharpening
        margin = how.reach_px if how else 0
        # The sharpening looks beyond the tile: render that much more, cut it off afterwards.
        wide_x = (max(0, xs[0] - margin), min(x_axis.out_px, xs[1] + margin))
        wide_y = (max(0, ys[0] - margin), min(y_axis.out_px, ys[1] + margin))
        src_x = self._source_span(0, xs)
        src_y = self._source_span(1, ys)
        with self._timed("read"):
            planes = self._read(src_x, src_y)
            visible = self._visible(planes)
        mask = self._mask(xs, ys)
        cut = (slice(None), slice(None), _within(wide_y, ys), _within(wide_x, xs))
        if mask is None or bool(mask.any()):
            colour = self._enlarged(
                self._restored(visible, src_x, src_y), src_x, src_y, wide_x, wide_y
            )
            with self._timed("sharpen"):
                if how is not None:
                    if self.measures_halo:
                        self.places.look(xs[0], ys[0], colour[cut])
                    colour = sharpen(colour, how)
                colour = colour[cut]
        if mask is not None:
            # At the same size what is not selected stays as it is, hidden colours included.
            untouched = planes.colour if x_axis.step == y_axis.step == 1.0 else visible
            plain = self._resample(untouched, 1, src_x, src_y, xs, ys)
            colour = torch.lerp(plain, colour, mask) if bool(mask.any()) else plain
        if colour.shape[1] == 4:
            colour = self._limit_ink(colour, visible, src_x, src_y, xs, ys)
        if planes.alpha is None:
            return colour
        if self.opaque:
            return torch.cat([colour, torch.ones_like(colour[:, :1])], 1)
        # Within the range of the nearest pixels: otherwise every cut-out would ring, with a ghost
        # of its outline (8 levels of 255) three source pixels outside.
        reach = ceil(max(1.0, x_axis.step, y_axis.step))
        highest = self._nearby(local_max(planes.alpha, reach), src_x, src_y, xs, ys)
        lowest = self._nearby(-local_max(-planes.alpha, reach), src_x, src_y, xs, ys)
        alpha = self._resample(planes.alpha, 1, src_x, src_y, xs, ys)
        alpha = torch.minimum(torch.maximum(alpha, lowest), highest)
        return torch.cat([colour, alpha], 1)

    def _enlarged(
        self,
        x: Tensor,
        src_x: tuple[int, int],
        src_y: tuple[int, int],
        xs: tuple[int, int],
        ys: tuple[int, int],
    ) -> Tensor:
        """Enlarge and resample: source planes to result planes."""
        grid = 1
        with self._timed("enlarge"):
            for (network, spec), reach in zip(self.ladder, self.plan.reaches, strict=False):
                x, src_x, src_y = self._needed(x, grid, reach, (src_x, src_y), (xs, ys))
                x = anchored(x, network, spec.scale, spec.style)
                grid *= spec.scale
                src_x, src_y = (
                    (src_x[0] * spec.scale, src_x[1] * spec.scale),
                    (src_y[0] * spec.scale, src_y[1] * spec.scale),
                )
        with self._timed("resample"):
            return self._resample(x, grid, src_x, src_y, xs, ys)

    def _restored(self, x: Tensor, xs: tuple[int, int], ys: tuple[int, int]) -> Tensor:
        """Repair, deblur: the visible source planes of columns `xs` and rows `ys`."""
        if self.deblurring is not None:
            with self._timed("deblur"):
                return self.deblurring.planes(xs, ys)
        with self._timed("repair"):
            return self._repaired(x)

    def _repaired(self, x: Tensor) -> Tensor:
        return repair(x, *self.repairing) if self.repairing is not None else x

    def _needed(
        self,
        x: Tensor,
        grid: int,
        reach: float,
        have: tuple[tuple[int, int], tuple[int, int]],
        out: tuple[tuple[int, int], tuple[int, int]],
    ) -> tuple[Tensor, tuple[int, int], tuple[int, int]]:
        """Cut planes on the network grid `grid` to what the next step needs of them.

        A window of the source carries the border of all stages; the later ones do without most
        of it, and on their finer grid it would be the larger part of the work.
        """
        spans = []
        for dim, axis, (start, stop), part in zip((3, 2), self.plan.axes, have, out, strict=True):
            reach_px = self.overlap * reach
            low = floor((axis.at(part[0]) + 0.5) * grid - 0.5 - reach_px)
            high = ceil((axis.at(part[1] - 1) + 0.5) * grid - 0.5 + reach_px) + 1
            # As few sizes as can be (tiles at the picture's border are larger), so that an
            # accelerated network is prepared seldom: room for the rounding, in steps of 8.
            room = min(stop - start, -(-(high - low + 2) // 8) * 8)
            low = max(start, min(low, stop - room))
            x = x.narrow(dim, low - start, room)
            spans.append((low, low + room))
        return x, spans[0], spans[1]

    def _resample(
        self,
        x: Tensor,
        scale: int,
        src_x: tuple[int, int],
        src_y: tuple[int, int],
        xs: tuple[int, int],
        ys: tuple[int, int],
    ) -> Tensor:
        """Planes that cover (src_x, src_y) of the network grid `scale` -> result columns, rows."""
        return _resampled(x, self.plan.axes, scale, (src_x, src_y), (xs, ys))

    def _nearby(
        self,
        x: Tensor,
        src_x: tuple[int, int],
        src_y: tuple[int, int],
        xs: tuple[int, int],
        ys: tuple[int, int],
    ) -> Tensor:
        """What source planes that cover (src_x, src_y) have nearest to each result pixel."""
        x_axis, y_axis = self.plan.axes
        index_x, index_y = _nearest(x_axis, xs, src_x), _nearest(y_axis, ys, src_y)
        return x[..., index_y[:, None], index_x]

    def _source_span(self, which: int, out: tuple[int, int]) -> tuple[int, int]:
        """Source window of result pixels `out`: the span's own, or a smaller one for a piece."""
        spans = (self.plan.columns, self.plan.rows)[which]
        for span in spans:
            if _with_seam(span.out) == out and self.overlap == 1:
                return span.source
        reach_px = self.overlap * self.plan.reach_px + 1
        return self.plan.axes[which].support(*out, reach_px, self.plan.cell_px)

    # Pixels in and out ------------------------------------------------------------------------

    def _read(self, xs: tuple[int, int], ys: tuple[int, int]) -> Planes:
        """Window of the source (columns xs, rows ys) as planes."""
        rect = _rect(xs, ys)
        return to_planes(self.source.read(rect), rect.size, self.request.layout, self.engine.device)

    def _clean(self, xs: tuple[int, int], ys: tuple[int, int]) -> Tensor:
        """Visible colours of a window of the source after the repair, for the deblurring."""
        margin, cell = FILL_REACH_PX if self.request.layout.has_alpha and not self.opaque else 0, 1
        if self.plan.repair is not None:
            cell = self.plan.repair[0].multiple
            margin += max(self.plan.repair[0].reach_px, FLAT_REACH_PX)
        wide_x, wide_y = (
            (max(0, a - margin) // cell * cell, min(length, b + margin))
            for (a, b), length in (
                (xs, self.request.source.width),
                (ys, self.request.source.height),
            )
        )
        visible = self._visible(self._read(wide_x, wide_y))
        return self._repaired(visible)[..., _within(wide_y, ys), _within(wide_x, xs)]

    def _visible(self, planes: Planes) -> Tensor:
        """Colours; under alpha 0 the nearest visible ones."""
        if planes.alpha is None or self.opaque:
            return planes.colour
        return fill_hidden(planes.colour, planes.alpha)

    def _is_opaque(self) -> bool:
        """Whether a layer that has an alpha channel has no transparent pixel."""
        layout, size = self.request.layout, self.request.source
        if not layout.has_alpha:
            return False
        strips = (
            Rect(0, y, size.width, min(STRIP_ROWS, size.height - y))
            for y in range(0, size.height, STRIP_ROWS)
        )
        return all(is_opaque(self.source.read(strip), layout) for strip in strips)

    def _mask(self, xs: tuple[int, int], ys: tuple[int, int]) -> Tensor | None:
        """(1, 1, h, w) feathered selection in [0, 1] of result columns and rows, or None."""
        layout = self.request.selection
        if self.selection is None or layout is None:
            return None
        sigma = self.request.options.feather_mm / 25.4 * self.request.options.ppi
        # Otherwise a feather of 20 mm takes a hundred times longer than all the rest.
        coarse = max(1, int(sigma / FEATHER_SIGMA_PX))
        sigma /= coarse
        margin = gaussian_reach(sigma) if sigma else 0
        margin += KERNEL_LOBES + 2 if coarse > 1 else 0
        x_axis, y_axis = (axis.coarser(coarse) for axis in self.plan.axes)
        wide_x, wide_y = (
            (max(0, a // coarse - margin), min(axis.out_px, -(-b // coarse) + margin))
            for axis, (a, b) in ((x_axis, xs), (y_axis, ys))
        )
        reach = 4 * max(1.0, x_axis.step, y_axis.step)
        src_x, src_y = x_axis.support(*wide_x, reach), y_axis.support(*wide_y, reach)
        rect = _rect(src_x, src_y)
        plane = mask_to_plane(self.selection.read(rect), rect.size, layout, self.engine.device)
        mask = _resampled(plane, (x_axis, y_axis), 1, (src_x, src_y), (wide_x, wide_y))
        mask.clamp_(0.0, 1.0)
        if sigma:
            mask = gaussian_blur(mask, sigma)
        fine_x, fine_y = (
            Axis(wide.out_px, 0.0, axis.out_px / coarse, axis.out_px)
            for wide, axis in zip((x_axis, y_axis), self.plan.axes, strict=True)
        )
        return _resampled(mask, (fine_x, fine_y), 1, (wide_x, wide_y), (xs, ys)).clamp_(0.0, 1.0)

    def _write(self, x: int, y: int, pixels: Tensor) -> None:
        part, pixels = self._on_result(x, y, pixels)
        if pixels.numel():
            self.result.write(part, self._bytes(pixels))

    def _on_result(self, x: int, y: int, pixels: Tensor) -> tuple[Rect, Tensor]:
        """Where pixels at (x, y) of the picture lie on the result, and those of them that do."""
        rect, out = self.request.rect, self.request.out
        x, y = rect.x + x, rect.y + y
        height, width = pixels.shape[-2:]
        left, top = max(0, -x), max(0, -y)
        right, below = max(left, min(width, out.width - x)), max(top, min(height, out.height - y))
        part = Rect(x + left, y + top, right - left, below - top)
        return part, pixels[..., top:below, left:right]

    def _bytes(self, pixels: Tensor) -> bytes:
        """(1, C, h, w) final pixels, alpha last, as the document has them."""
        layout = self.request.layout
        channels = layout.colour_channels
        planes = Planes(pixels[:, :channels], pixels[:, channels:] if layout.has_alpha else None)
        return to_bytes(planes, layout)

    def _fill_padding(self) -> None:
        """Paper white around the picture (`--fit pad`)."""
        out, whole = self.request.out, self.request.rect
        left, top = max(0, whole.x), max(0, whole.y)
        right = min(out.width, whole.x + whole.width)
        below = min(out.height, whole.y + whole.height)
        r = Rect(left, top, right - left, below - top)
        for pad in (
            (0, 0, out.width, r.y),
            (0, below, out.width, out.height - below),
            (0, r.y, r.x, r.height),
            (right, r.y, out.width - right, r.height),
        ):
            x, y, width, height = pad
            for row in range(y, y + height if width > 0 else y, STRIP_ROWS):
                part = Rect(x, row, width, min(STRIP_ROWS, y + height - row))
                white = torch.ones(1, self.request.layout.colour_channels, part.height, width)
                alpha = torch.ones(1, 1, part.height, width)
                self.result.write(part, to_bytes(Planes(white, alpha), self.request.layout))

    def _limit_ink(
        self,
        colour: Tensor,
        source: Tensor,
        src_x: tuple[int, int],
        src_y: tuple[int, int],
        xs: tuple[int, int],
        ys: tuple[int, int],
    ) -> Tensor:
        """Scale inks down where their sum passes the source's heaviest nearby (1, 4, h, w)."""
        x_axis, y_axis = self.plan.axes
        # A result pixel of a reduced print is made of that many more source pixels.
        reach = ceil(INK_REACH_PX * max(1.0, x_axis.step, y_axis.step))
        heaviest = local_max((1.0 - source).sum(1, keepdim=True), reach)
        limit = self._nearby(heaviest, src_x, src_y, xs, ys) * INK_TOLERANCE
        ink = 1.0 - colour
        total = ink.clamp_min(0.0).sum(1, keepdim=True)
        return 1.0 - ink * (limit / total.clamp_min(1e-6)).clamp(max=1.0)

    # Before and after -------------------------------------------------------------------------

    def _repair_amount(self) -> tuple[int, Blocking | None, float]:
        """How much repair, and what it was decided by: the JPEG's grid and the noise."""
        if self.request.options.repair is not None:
            return self.request.options.repair, None, 0.0
        blocking = estimate_blocking(self.request.source, self._luma)
        noise = estimate_noise(self.request.source, self._luma)
        return max(blocking.amount, noise_amount(noise)), blocking, noise

    def _deblur_amount(
        self,
    ) -> tuple[tuple[NetworkSpec, int] | None, Blur | None, Shake | None]:
        """Network and amount (see `Plan`), and what it was decided by: the blur and the shake.

        A network that the user has added is what he wants; without one only a shake of the camera
        that explains the picture is taken out of it.
        """
        wanted, spec = self.request.options.deblur, catalog.deblurrer()
        if wanted == 0:
            return None, None, None
        if wanted and spec is not None:
            return (spec, wanted), None, None
        blur = estimate_blur(self.request.source, self._luma)
        if spec is not None:
            return (spec, blur.amount) if blur.amount else None, blur, None
        shake = None
        if blur.may_be_shake:
            shake = estimate_shake(
                self.request.source, self._luma, self.engine.device, self._stop_if_cancelled
            )
        return (catalog.deringer(), wanted or 100) if shake else None, blur, shake

    def _detail_budget(self) -> DetailBudget | None:
        """What the picture holds on this print; a first look and a cut-out do without."""
        request = self.request
        r, out = request.rect, request.out
        inside = min(r.x, r.y) >= 0 and r.x + r.width <= out.width and r.y + r.height <= out.height
        if request.options.draft or not inside:
            return None
        with self._timed("measure"):
            detail = measure_detail(request.source, self._luma, request.window)
        return detail.budget(request.window, r.size, request.options.ppi)

    def _fit_sharpening(self) -> None:
        """With a halo that was asked for: fit the sharpening to the picture's own edges.

        They are measured on the print before its sharpening, at some spots that depend on source
        and plan alone, so that a cut-out of the print is sharpened as the whole.
        """
        if not self.request.options.halo_mm or self.plan.sharpening is None:
            return
        with self._timed("measure"):
            at = halo_fit.spots(self.plan.axes, lambda xs, ys: self._luma(_rect(xs, ys)))
            planes = np.stack([self._probe(*spot) for spot in at]).astype(np.float64)
            edge_px, edges = edge_width(planes)
            self.report.fitted_edges = edges
            if edges:
                request, options = self.request, self.request.options
                how = halo_fit.fitted(
                    planes,
                    options.halo_mm,
                    options.ppi,
                    lambda halo_mm: sharpening_for(request, halo_mm, edge_px),
                )
                self.plan = self.report.plan = self.planned(sharpening=how)

    def _probe(self, xs: tuple[int, int], ys: tuple[int, int]) -> Luma:
        """(h, w) luma of print pixels before the sharpening, levels of 255."""
        self._stop_if_cancelled()
        reach_px = self.plan.reach_px + 1
        src_x, src_y = (
            axis.support(*part, reach_px, self.plan.cell_px)
            for axis, part in zip(self.plan.axes, (xs, ys), strict=True)
        )
        visible = self._visible(self._read(src_x, src_y))
        colour = self._enlarged(self._restored(visible, src_x, src_y), src_x, src_y, xs, ys)
        return luma_levels(colour[0].permute(1, 2, 0).cpu().numpy() * np.float32(255))

    def _measure_halo(self) -> None:
        """Read the halo off the finished print."""
        how, request = self.plan.sharpening, self.request
        if how is None or not self.measures_halo:
            return
        with self._timed("measure"):
            luma, rect = luma_reader(self.result.read, request.layout), request.rect
            places = self.places.best()
            before = np.array([was for _, was in places], np.float64)
            after = np.array(
                [luma(Rect(rect.x + r.x, rect.y + r.y, r.width, r.height)) for r, _ in places],
                np.float64,
            )
            self.report.halo = measure_halo(before, after, how.halo_px)

    def _deblurring(self) -> Deblurring | None:
        """The deblurring stage, when there is to be one."""
        if self.plan.deblur is None:
            return None
        spec, amount = self.plan.deblur
        restorer = self._restorer(spec)
        device = self.engine.device
        usual, _ = _memory_budget(device, self.request)
        return Deblurring(
            self.request.source,
            self._clean,
            restorer,
            amount,
            window_px=window_for(restorer, usual, 0 if device.type == "cpu" else GPU_TILE_PX),
            seams=self.report.seams,
        )

    def _restorer(self, spec: NetworkSpec) -> Restorer:
        network, source = self.engine.network(spec.name), self.request.source
        self.report.networks[spec.name] = network.sha256
        draft, redone = self.request.options.draft, functools.partial(self._count, "redone")
        if self.report.shake is None:
            return NetworkRestorer(network, source, self._stop_if_cancelled, draft, redone)
        deconvolution = Deconvolution(self.report.shake, self._stop_if_cancelled, draft)
        return ShakeRestorer(deconvolution, network, source, redone)

    def _stop_if_cancelled(self) -> None:
        if self.should_cancel():
            raise Cancelled

    def _luma(self, rect: Rect) -> Luma:
        """Rectangle of the source on white as luma in levels of 255; for grey and inks too."""
        return luma_reader(self.source.read, self.request.layout)(rect)

    def _network(self, name: str, strength: float = 1.0) -> Apply:
        network = self.engine.network(name, strength)
        self.report.networks[name] = network.sha256
        return guarded(network, self._count)

    def _count(self, event: str) -> None:
        setattr(self.report, event, getattr(self.report, event) + 1)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            if self.engine.device.type == "cuda":
                torch.cuda.synchronize(self.engine.device)
            self.report.seconds[stage] += time.perf_counter() - start


def _memory_budget(device: torch.device, request: Request) -> tuple[int, int]:
    """Bytes that one tile may use: usually, and at most."""
    if device.type == "cuda":
        free = int(GPU_SHARE * torch.cuda.mem_get_info(device)[0])
        return free, free
    return tile_budget(request)


def _resampled(
    x: Tensor,
    axes: tuple[Axis, Axis],
    scale: int,
    have: tuple[tuple[int, int], tuple[int, int]],
    out: tuple[tuple[int, int], tuple[int, int]],
) -> Tensor:
    """Planes that cover `have` (columns, rows) of the grid `scale` -> columns and rows `out`."""
    for dim, axis, source, part in zip((3, 2), axes, have, out, strict=True):
        x = resample_axis(
            x,
            dim,
            # Pixel centres: source coordinate u is network coordinate (u + 1/2) s - 1/2.
            offset=(axis.at(0) + 0.5) * scale - 0.5,
            step=axis.step * scale,
            out=part,
            source=source,
            length=axis.source_px * scale,
        )
    return x


def _meeting(spans: list[Span], start: int, stop: int) -> list[Span]:
    """The spans that decide result pixels [start, stop): all that compute one of them."""
    return [span for span in spans if span.out[0] < stop and span.out[1] > start]


def _with_seam(out: tuple[int, int]) -> tuple[int, int]:
    """Result pixels of a tile with those of the neighbour before it that it computes again."""
    return max(0, out[0] - SEAM_PX), out[1]


def _within(wide: tuple[int, int], part: tuple[int, int]) -> slice:
    return slice(part[0] - wide[0], part[1] - wide[0])


def _rect(xs: tuple[int, int], ys: tuple[int, int]) -> Rect:
    return Rect(xs[0], ys[0], xs[1] - xs[0], ys[1] - ys[0])


def _nearest(axis: Axis, out: tuple[int, int], source: tuple[int, int]) -> Tensor:
    """Index into the cut `source` of the pixel nearest to each result pixel of `out`."""
    at = axis.at(0) + axis.step * torch.arange(out[0], out[1], dtype=torch.float64)
    return (at.round().to(torch.int64) - source[0]).clamp(0, source[1] - source[0] - 1)
