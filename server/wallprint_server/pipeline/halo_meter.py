"""How wide and how high the halos of a print really are, at its strongest straight edges.

Where the print has such edges, a part of it is kept as it was before the output sharpening. In the
finished print the change beside each edge is averaged along the edge; the median of all edges gives
one profile, whose peak and width are those of the print, whatever was planned. Knows nothing of
networks and files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wallprint_protocol.print_size import Rect, px_to_mm

from .edge_fit import DISC_PX, PLACE_PX, EdgeFit, Floats, Luma, noise_of, sharpest_sigma, steepest
from .sharpen import luma_of

# How many places of a print are kept, and the cells in which a place's straightness is told.
PLACES, STRAIGHT_CELL_PX = 32, 8
# Candidates, of how straight a line (1: all slopes around point the same way), and how many of them
# must turn out to be edges. Edges much wider or narrower than the sharp ones have other halos.
CANDIDATES, STRAIGHT, EDGES_NEEDED, ALIKE = 1200, 0.8, 8, 1.5
# What an edge's fit may leave unexplained, in units of its contrast: more than where its width is
# wanted, as only its place, direction and contrast are.
MISFIT = 0.1
# Beside an edge: steps of distance, px, and how far along it is averaged.
STEP_PX, ALONG_PX = 0.25, 6
# Pixels this near to black or white, levels, had no room for a halo.
ROOM = 2.0
# A lower halo than this, levels of 255, cannot be told from rounding.
LEAST_PEAK = 0.5


@dataclass(frozen=True)
class Halo:
    """The halo of a print's edges.

    Attributes:
        width_px: one side, from the edge's centre to where the change has fallen to a tenth; 0
            where the change is too low or too unsteady to have a width.
        overshoot: height of the change as a share of the edge's contrast.
        edge_px: Gaussian width of those edges before the sharpening, px.
        edges: on how many that rests; 0 when there are too few, and all else is 0 then.
    """

    width_px: float
    overshoot: float
    edge_px: float
    edges: int

    def to_map(self, ppi: float) -> dict[str, float | int]:
        """Plain values, for messages and JSON; `ppi` of the print."""
        return {
            "width_px": round(self.width_px, 3),
            "width_mm": round(px_to_mm(1, ppi) * self.width_px, 4),
            "overshoot": round(self.overshoot, 4),
            "edge_px": round(self.edge_px, 3),
            "edges": self.edges,
        }


NO_HALO = Halo(0.0, 0.0, 0.0, 0)


class StraightPlaces:
    """The parts of a print with the strongest straight edges, as they were before its sharpening.

    `best` gives them; `look` is called with each tile.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], tuple[float, Luma]] = {}

    def look(self, x: int, y: int, colour: Tensor) -> None:
        """Keep what is worth it of (1, C, h, w) pixels at (x, y) of the print, [0, 1]."""
        luma = luma_of(colour)
        height, width = luma.shape[2] // PLACE_PX, luma.shape[3] // PLACE_PX
        if not height or not width:
            return
        luma = luma[..., : height * PLACE_PX, : width * PLACE_PX]
        scores = _straightness(luma)
        least = self._least()
        for index in scores.flatten().topk(min(PLACES, scores.numel())).indices.tolist():
            row, column = divmod(index, width)
            score = float(scores[row, column])
            if score <= least:
                continue
            top, left = row * PLACE_PX, column * PLACE_PX
            place = luma[0, 0, top : top + PLACE_PX, left : left + PLACE_PX]
            levels = (place * 255).float().cpu().numpy().copy()
            self._kept[x + left, y + top] = score, levels
        best = sorted(self._kept, key=lambda at: (-self._kept[at][0], at))
        self._kept = {at: self._kept[at] for at in best[:PLACES]}

    def best(self) -> list[tuple[Rect, Luma]]:
        """Where they lie on the print, from top to bottom, and their luma in levels of 255."""
        places = sorted(self._kept, key=lambda at: (at[1], at[0]))
        return [(Rect(x, y, PLACE_PX, PLACE_PX), self._kept[x, y][1]) for x, y in places]

    def _least(self) -> float:
        if len(self._kept) < PLACES:
            return 0.0
        return min(score for score, _ in self._kept.values())


def _straightness(luma: Tensor) -> Tensor:
    """(h / 128, w / 128): how much of each place is straight, strong edges.

    From the structure tensor of cells: the strength of their slopes where those have one direction.
    """
    gx = luma[..., 1:-1, 2:] - luma[..., 1:-1, :-2]
    gy = luma[..., 2:, 1:-1] - luma[..., :-2, 1:-1]
    xx, yy, xy = (
        F.avg_pool2d(F.pad(product, (1, 1, 1, 1)), STRAIGHT_CELL_PX)
        for product in (gx * gx, gy * gy, gx * gy)
    )
    both, apart = xx + yy, torch.hypot(xx - yy, 2 * xy)
    straight = (apart / both.clamp_min(1e-9)) ** 4 * both.sqrt()
    return F.avg_pool2d(straight, PLACE_PX // STRAIGHT_CELL_PX)[0, 0]


def measure_halo(before: Floats, after: Floats, about_px: float) -> Halo:
    """Measure the halos of a print; deterministic.

    Args:
        before: (N, h, w) luma of places before the sharpening, levels of 255, perceptual.
        after: the same places of the finished print.
        about_px: how wide the halo is meant to be; decides only how far around an edge is looked.
    """
    radius = max(DISC_PX, round(2.2 * about_px) + 2)
    if not before.size or min(before.shape[1:]) <= 2 * (radius + 1) + STRAIGHT_CELL_PX:
        return NO_HALO
    noise = noise_of(before)
    (z, y, x), angle = steepest(before, noise, radius, CANDIDATES)
    straight = _coherence(before, (z, y, x)) >= STRAIGHT
    z, y, x, angle = z[straight], y[straight], x[straight], angle[straight]
    fit = EdgeFit.at(before, (z, y, x), angle)
    good = fit.good(noise, MISFIT)
    if good.sum() < EDGES_NEEDED:
        return NO_HALO
    edge_px = sharpest_sigma(fit.sigma[good], fit.width_error[good])
    good &= (fit.sigma <= ALIKE * edge_px) & (fit.sigma >= edge_px / ALIKE)
    if good.sum() < EDGES_NEEDED:
        return NO_HALO
    profiles = [
        _beside(before[z[i]], after[z[i]], (y[i], x[i]), fit, int(i), radius)
        for i in np.flatnonzero(good)
    ]
    stack = np.stack(profiles)
    if np.isnan(stack).all(0).any():  # black on white: no room beside any edge
        return NO_HALO
    profile = np.nanmedian(stack, axis=0)
    peak = int(profile.argmax())
    contrast = float(np.median(np.abs(fit.contrast[good])))
    height = _top(profile, peak)
    below = np.flatnonzero(profile[peak:] <= 0.1 * height)
    if height * contrast < LEAST_PEAK or not len(below):
        return Halo(0.0, max(0.0, height), edge_px, int(good.sum()))
    last = peak + int(below[0])  # the first step under a tenth; the crossing lies before it
    upper, lower = profile[last - 1], profile[last]
    part = (upper - 0.1 * height) / max(1e-9, upper - lower)
    width = STEP_PX * (last - 1 + 0.5 + float(part))
    return Halo(width, float(height), float(edge_px), int(good.sum()))


def _coherence(places: Floats, at: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Floats:
    """How far all slopes within ALONG_PX of each spot have one direction, 0..1."""
    gy, gx = (np.asarray(np.gradient(places, axis=axis)) for axis in (1, 2))
    around = np.arange(-ALONG_PX + 1, ALONG_PX)
    z, y, x = (index[:, None, None] for index in at)
    dy, dx = around[None, :, None], around[None, None, :]
    gy, gx = gy[z, y + dy, x + dx], gx[z, y + dy, x + dx]
    xx, yy, xy = ((a * b).sum((1, 2)) for a, b in ((gx, gx), (gy, gy), (gx, gy)))
    return np.asarray(np.hypot(xx - yy, 2 * xy) / np.maximum(xx + yy, 1e-9))


def _beside(
    before: Floats,
    after: Floats,
    at: tuple[int, int],
    fit: EdgeFit,
    index: int,
    radius: int,
) -> Floats:
    """Change beside an edge by distance in steps of STEP_PX, outwards, as a share of its contrast.

    The mean of both sides: what the bright one gains and the dark one loses.
    """
    y, x = at
    around = np.arange(-radius, radius + 1)
    dy, dx = np.meshgrid(around, around, indexing="ij")
    cut = np.s_[y - radius : y + radius + 1, x - radius : x + radius + 1]
    was, change = before[cut], after[cut] - before[cut]
    cos, sin = np.cos(fit.angle[index]), np.sin(fit.angle[index])
    across = dx * cos + dy * sin - fit.offset[index]
    along = dy * cos - dx * sin
    roomy = (was > ROOM) & (was < 255 - ROOM)
    used = roomy & (np.abs(along) <= ALONG_PX) & (np.abs(across) < radius - 1)
    step = (np.abs(across[used]) / STEP_PX).astype(int)
    gained = change[used] * np.sign(across[used]) / fit.contrast[index]
    length = int((radius - 1) / STEP_PX)
    count = np.bincount(step, minlength=length)[:length]
    total = np.bincount(step, gained, minlength=length)[:length]
    profile: Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return profile


def _top(profile: Floats, index: int) -> float:
    """Height of the parabola through a peak and its neighbours."""
    if not 0 < index < len(profile) - 1:
        return float(profile[index])
    low, top, high = profile[index - 1 : index + 2]
    bend = low - 2 * top + high
    return float(top - (low - high) ** 2 / (8 * bend)) if bend < 0 else float(top)
