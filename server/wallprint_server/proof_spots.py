"""Which parts of a picture decide whether its print holds up. Knows no paper and no jobs.

The picture is looked at through a grid of zoomed views, nine anchors at several scales, as a person
would who leans in here and there: a picture judged by its centre alone is judged wrongly. The
best view of each kind is then searched for the best place in it. Works on maps of small blocks,
made in one pass over the rows.

References:
    Taesiri et al., ImageNet-Hard: the hardest images remaining from a study of the power of zoom,
    NeurIPS Datasets and Benchmarks 2023 (the views). Achanta et al., Frequency-tuned salient
    region detection, CVPR 2009 (difference from the surroundings' mean colour).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wallprint_protocol.print_size import Rect, Size

from .imaging.luma import Levels, luma_levels

Map = npt.NDArray[np.float64]

VIEW_PX = 224
SCALES = (320, 512, 768, 1024)  # length of the shorter side at which a view is 224 px
BLOCKS = 256  # along the shorter side
CLIPPED = 3.0  # levels from black and white within which nothing is left to judge
DARK = 60.0  # level below which a gradient tells less
KINDS = {
    "detail": "Finest detail",
    "telling": "Most telling spot",
    "gradient": "Smooth gradient",
    "edge": "Strong edge",
}


@dataclass(frozen=True)
class ProofSpot:
    """One part to be looked at.

    Attributes:
        kind: a key of KINDS.
        rect: source px, inside the part of the picture that was asked about.
        view: the zoomed view (shorter side in px, row, column) that it was found in.
    """

    kind: str
    rect: Rect
    view: tuple[int, int, int]

    @property
    def name(self) -> str:
        """For people."""
        return KINDS[self.kind]


def zoom_views(size: Size, shorter: int) -> Iterator[tuple[int, int, Rect]]:
    """(row, column, view) of the nine views of a picture whose shorter side is made `shorter` px.

    Views are 224 px wide and high, in px of the scaled picture, and may reach beyond it.
    """
    scale = shorter / min(size.width, size.height)
    width, height = (max(1, round(side * scale)) for side in (size.width, size.height))
    for row in range(3):
        for column in range(3):
            x = column * (width // 3) + (width // 3) // 2
            y = row * (height // 3) + (height // 3) // 2
            half = VIEW_PX // 2
            yield row, column, Rect(x - half, y - half, VIEW_PX, VIEW_PX)


@dataclass(frozen=True)
class BlockMaps:
    """What the blocks of a picture are like.

    Attributes:
        block_px: side of a block, source px.
        fine: mean absolute second difference of luma, levels: detail at the limit of the pixels.
        colour: (rows, columns, C) mean levels.
    """

    block_px: int
    fine: Map
    colour: Map


def block_maps(part: Rect, colours: Callable[[Rect], Levels]) -> BlockMaps:
    """Read a part of a picture once, from top to bottom.

    Args:
        part: source px; at least 1 x 1.
        colours: full-width strip -> (H, W, C) levels of 255, perceptual.
    """
    block = max(1, min(part.width, part.height) // BLOCKS)
    columns = part.width // block
    rows_a_strip = max(1, 64 // block) * block
    fine, colour = [], []
    for y in range(0, part.height // block * block, rows_a_strip):
        height = min(rows_a_strip, part.height // block * block - y)
        strip = colours(Rect(part.x, part.y + y, part.width, height))
        luma = luma_levels(strip)
        bend = np.zeros_like(luma)
        bend[:, 1:-1] += np.abs(np.diff(luma, 2, axis=1))
        bend[1:-1] += np.abs(np.diff(luma, 2, axis=0))
        fine.append(_block_means(bend[..., None], block, columns)[..., 0])
        colour.append(_block_means(strip, block, columns))
    return BlockMaps(block, np.concatenate(fine), np.concatenate(colour))


def _block_means(plane: Levels, block: int, columns: int) -> Map:
    """(H, W, C) -> means of blocks."""
    rows = plane.shape[0] // block
    cut = plane[: rows * block, : columns * block]
    means: Map = cut.reshape(rows, block, columns, block, -1).mean((1, 3), dtype=np.float64)
    return means


def choose_spots(part: Rect, maps: BlockMaps, crop: Size) -> list[ProofSpot]:
    """The spots that a proof shows, at most one of each kind, none on another; deterministic.

    Args:
        part: of the picture that is printed, source px, as given to `block_maps`.
        maps: of that part.
        crop: size of a spot, source px; cut to the part.
    """
    width, height = min(crop.width, part.width), min(crop.height, part.height)
    spots: list[ProofSpot] = []
    for kind, score in _scores(maps).items():
        rows, columns = score.shape
        tall, wide = (
            min(blocks, max(1, round(side / maps.block_px)))
            for blocks, side in ((rows, height), (columns, width))
        )
        means = _window_means(score, tall, wide)
        free = np.ones(means.shape, dtype=bool)
        for spot in spots:
            left, top = (
                (spot.rect.x - part.x) / maps.block_px,
                (spot.rect.y - part.y) / maps.block_px,
            )
            down, across = np.ogrid[: means.shape[0], : means.shape[1]]
            free &= (np.abs(down - top) >= tall) | (np.abs(across - left) >= wide)
        found = _best(part, maps, score, np.where(free, means, -np.inf), Size(wide, tall))
        if found is None:
            continue
        (row, column), view = found
        x = part.x + min(column * maps.block_px, part.width - width)
        y = part.y + min(row * maps.block_px, part.height - height)
        spots.append(ProofSpot(kind, Rect(x, y, width, height), view))
    return spots


def _best(
    part: Rect, maps: BlockMaps, score: Map, places: Map, crop: Size
) -> tuple[tuple[int, int], tuple[int, int, int]] | None:
    """(row, column) of the best free place in the best view that has one, in blocks; the view."""
    views = []
    rows, columns = score.shape
    for shorter in SCALES:
        factor = min(part.width, part.height) / shorter / maps.block_px
        for row, column, view in zoom_views(part.size, shorter):
            left, top = max(0, int(view.x * factor)), max(0, int(view.y * factor))
            right = min(columns, max(left + 1, round((view.x + view.width) * factor)))
            below = min(rows, max(top + 1, round((view.y + view.height) * factor)))
            mean = float(score[top:below, left:right].mean())
            views.append((mean, (shorter, row, column), (left, top, right, below)))
    views.sort(key=lambda view: -view[0])  # stable: the earlier of equals
    for _, name, (left, top, right, below) in views:
        # Places that lie in the view, or around its middle when it is smaller than a place.
        low_x, low_y = (
            min(left, max(0, (left + right - crop.width) // 2)),
            min(top, max(0, (top + below - crop.height) // 2)),
        )
        high_x, high_y = max(low_x, right - crop.width), max(low_y, below - crop.height)
        inside = places[low_y : high_y + 1, low_x : high_x + 1]
        if inside.size and np.isfinite(inside.max()):
            best_row, best_column = divmod(int(inside.argmax()), inside.shape[1])
            return (low_y + best_row, low_x + best_column), name
    return None


def _scores(maps: BlockMaps) -> dict[str, Map]:
    """For each kind, how much a block speaks for it."""
    luma = maps.colour.mean(2)
    around = np.stack([_box_mean(plane, 2) for plane in np.moveaxis(maps.colour, 2, 0)], 2)
    everything = maps.colour.mean((0, 1))
    salient = np.sqrt(((around - everything) ** 2).sum(2))
    typical = float(np.median(maps.fine)) + 0.5
    crisp = np.minimum(maps.fine / typical, 4.0)
    slow = _box_mean(luma, 2)
    gy, gx = (np.gradient(slow, axis=a) if slow.shape[a] > 1 else 0 * slow for a in (0, 1))
    slope = np.hypot(gx, gy)
    hard_y, hard_x = (np.gradient(luma, axis=a) if luma.shape[a] > 1 else 0 * luma for a in (0, 1))
    hard = np.hypot(hard_x, hard_y)
    clipped = (luma < CLIPPED) | (luma > 255.0 - CLIPPED)
    return {
        "detail": maps.fine,
        "telling": salient * (0.25 + crisp),
        # Smooth, but going somewhere: a flat white wall shows no banding, and nobody sees it in
        # the shadows.
        "gradient": 0.5 * np.minimum(slope, 0.5)
        - maps.fine / typical
        - np.maximum(0.0, hard - 1.5)
        - np.maximum(0.0, 1.0 - luma / DARK)
        - 4.0 * clipped,
        "edge": hard**2,
    }


def _box_mean(plane: Map, reach: int) -> Map:
    """Mean over (2 reach + 1)^2 blocks, border repeated."""
    padded = np.pad(plane, reach, mode="edge")
    return _window_means(padded, 2 * reach + 1, 2 * reach + 1)


def _window_means(plane: Map, tall: int, wide: int) -> Map:
    """Mean of every `tall` x `wide` window, by a summed-area table."""
    table = np.zeros((plane.shape[0] + 1, plane.shape[1] + 1))
    table[1:, 1:] = plane.cumsum(0).cumsum(1)
    total = (
        table[tall:, wide:] - table[:-tall, wide:] - table[tall:, :-wide] + table[:-tall, :-wide]
    )
    means: Map = total / (tall * wide)
    return means
