"""Tile geometry. Knows nothing of networks, pixels or torch.

A tile is a rectangle of the *result* together with the window of the source that decides it. The
two axes are independent, so an axis is cut once into spans and a tile is a pair of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, inf


@dataclass(frozen=True)
class Axis:
    """How one axis of the source maps to one axis of the result.

    Result pixel X lies at source coordinate `offset + (X + 1/2) * step - 1/2` (pixel centres at
    whole numbers), for X in [0, out_px).

    Attributes:
        source_px: length of the source.
        offset: start of the used window, source px.
        window: length of the used window, source px.
        out_px: length of the result.
    """

    source_px: int
    offset: float
    window: float
    out_px: int

    @property
    def step(self) -> float:
        """Source px per result px."""
        return self.window / self.out_px

    def at(self, out: float) -> float:
        """Source coordinate of the centre of result pixel `out`."""
        return self.offset + (out + 0.5) * self.step - 0.5

    def coarser(self, factor: int) -> Axis:
        """The same mapping for a result of which one pixel spans `factor` of this one's."""
        if factor == 1:
            return self
        length = ceil(self.out_px / factor)
        return Axis(self.source_px, self.offset, self.step * factor * length, length)

    def support(self, start: int, stop: int, reach: float, cell_px: int = 1) -> tuple[int, int]:
        """Source pixels [a, b) that decide result pixels [start, stop), `reach` source px around.

        Clipped to the source; a and b never depend on other result pixels; a is a multiple of
        `cell_px`.
        """
        low = max(0, floor(self.at(start) - reach))
        low = min(low, self.source_px - 1) // cell_px * cell_px
        high = min(self.source_px, ceil(self.at(stop - 1) + reach) + 1)
        return low, max(high, 1)


@dataclass(frozen=True)
class Span:
    """One step of tiles along an axis.

    Attributes:
        source: window of the source [start, stop), border included.
        out: result pixels [start, stop) that this tile writes, shared pixels included.
        core: result pixels that belong to this tile; out is core widened by the blend.
    """

    source: tuple[int, int]
    out: tuple[int, int]
    core: tuple[int, int]


def cut_axis(
    axis: Axis,
    *,
    tile_px: int,
    reach: float,
    blend_px: int = 0,
    core_px: float = inf,
    cell_px: int = 1,
) -> list[Span]:
    """Cut an axis into spans of equal cores whose source windows all have the same length.

    One constant window length lets an accelerated network be prepared once. Every result pixel
    has at least `reach` source pixels around it inside its window, or the picture's true border.

    Args:
        axis: the mapping.
        tile_px: longest source window; raised where the border leaves no room.
        reach: border in source px that a tile must discard on each inner side.
        blend_px: neighbours share twice this many result pixels; 0 for exact networks.
        core_px: longest core in source px. What a tile costs at network scale is decided by its
            core; at the picture's border, where nothing is discarded, a window does not limit it.
        cell_px: windows begin at multiples of this in the source, for networks of cells, whose
            result depends on where the cells lie.
    """
    border = reach + blend_px * axis.step + cell_px
    # Room for some result pixels of its own, and none that three tiles share.
    least_px = max(2.0, 8 * axis.step, (4 * blend_px + 4) * axis.step)
    tile_px = max(tile_px, ceil(2 * border + least_px) + 1)
    core_px = max(core_px, least_px)
    low, high = axis.support(0, axis.out_px, reach, cell_px)
    count = ceil(max((high - low - 2 * border) / (tile_px - 2 * border), axis.window / core_px))
    while True:
        spans = _even_spans(axis, max(1, count), reach, blend_px, cell_px)
        if len(spans) == 1 or spans[0].source[1] - spans[0].source[0] <= tile_px:
            return spans
        count += 1


def _even_spans(axis: Axis, count: int, reach: float, blend_px: int, cell_px: int) -> list[Span]:
    """`count` equal cores, windows as long as the longest need be."""
    cuts = [axis.out_px * i // count for i in range(count + 1)]
    outs = [
        (a - (blend_px if a else 0), b + (blend_px if b < axis.out_px else 0))
        for a, b in pairwise(cuts)
    ]
    needs = [axis.support(*out, reach, cell_px) for out in outs]
    low, high = axis.support(0, axis.out_px, reach, cell_px)
    length = max(b - a for a, b in needs)
    length += (high - length) % cell_px  # so that the last window too begins at a cell
    starts = [max(low, min(a, high - length)) for a, _ in needs]
    return [
        Span((start, start + length), out, core)
        for start, out, core in zip(starts, outs, pairwise(cuts), strict=True)
    ]


def order(columns: list[Span], rows: list[Span]) -> Iterator[tuple[int, int]]:
    """(row, column) of every tile, row by row: the order in which rows become final soonest."""
    for row in range(len(rows)):
        for column in range(len(columns)):
            yield row, column
