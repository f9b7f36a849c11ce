"""Where a picture is sharpest, and how wide its edges are there. Knows no networks.

Places spread over the picture, the liveliest of them, and in those the steepest pixels. An edge is
a ramp whose width is fitted to all pixels of a disc around it, which averages the noise away.

References:
    ISO 12233:2017 (MTF from slanted edges). Elder and Zucker, Local scale control for edge
    detection and blur estimation, PAMI 20 (1998).
"""

from __future__ import annotations

from collections.abc import Callable
from math import erf, log, pi, sqrt

import numpy as np
import numpy.typing as npt

from wallprint_protocol.print_size import Rect

Luma = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

# Where to look: of up to 10 x 10 places those with the hardest changes.
PLACE_PX, PLACES_A_SIDE, SHARPEST_PLACES = 128, 10, 24
# Edges: at most one in a cell, and how many are looked at.
CELL_PX, DISC_PX, MOST_EDGES, EDGES_NEEDED = 16, 7, 400, 12
# What counts as one: its contrast (levels of 255), the relative error of its width, what the model
# leaves unexplained beyond the noise, in units of the contrast, and its distance from the middle.
CONTRAST, WIDTH_ERROR, MISFIT, OFF_PX = 24.0, 0.1, 0.06, 2.0
# The sharpest quarter counts, the others lie out of focus: 0.67 deviations below the median.
SHARPEST, BELOW_MEDIAN = 0.25, 0.6745
FIT_STEPS = 9


def sample_places(part: Rect, luma: Callable[[Rect], Luma], factor: int) -> Floats:
    """(N, h, w) squares spread evenly over a part of the picture, at 1 / `factor` of its size."""
    width, height = (min(PLACE_PX * factor, side) for side in (part.width, part.height))
    columns, rows = (
        min(PLACES_A_SIDE, -(-side // length))
        for side, length in ((part.width, width), (part.height, height))
    )
    found = []
    for row in range(rows):
        for column in range(columns):
            x = part.x + (part.width - width) * column // max(1, columns - 1)
            y = part.y + (part.height - height) * row // max(1, rows - 1)
            plane = luma(Rect(x, y, width, height))
            if factor > 1:
                h, w = height // factor, width // factor
                plane = plane[: h * factor, : w * factor]
                plane = plane.reshape(h, factor, w, factor).mean((1, 3))
            found.append(plane)
    return np.stack(found).astype(np.float64)


def sharpest(places: Floats) -> Floats:
    """The places with the hardest changes: the subject, wherever it is."""
    bends = np.abs(np.diff(places, 2, axis=2))
    order = np.argsort(-np.quantile(bends, 0.98, axis=(1, 2)), kind="stable")
    return places[np.sort(order[:SHARPEST_PLACES])]


def noise_of(places: Floats) -> float:
    """Deviation of the noise from the mixed second difference, which edges hardly touch.

    References:
        Immerkaer, Fast noise variance estimation, CVIU 64 (1996).
    """
    mixed = np.diff(np.diff(places, 2, axis=1), 2, axis=2)
    return float(np.median(np.abs(mixed))) / 0.6745 / 6


_AROUND = np.arange(-DISC_PX, DISC_PX + 1)
_INSIDE = np.hypot(*np.meshgrid(_AROUND, _AROUND, indexing="ij")) <= DISC_PX + 0.5
_DISC_Y, _DISC_X = (axis[_INSIDE] for axis in np.meshgrid(_AROUND, _AROUND, indexing="ij"))
PHI_AT = np.linspace(-6.0, 6.0, 2401)
PHI = np.array([0.5 * (1 + erf(t / sqrt(2))) for t in PHI_AT])  # the normal distribution


def edge_sigma(places: Floats, noise: float) -> tuple[float, int]:
    """Width (sigma, px) of the sharpest quarter of the edges, and how many there are; 0, 0: few."""
    where, angle = steepest(places, noise)
    if len(angle) < EDGES_NEEDED:
        return 0.0, 0
    fit = EdgeFit.at(places, where, angle)
    good = fit.good(noise)
    count = int(good.sum())
    if count < EDGES_NEEDED:
        return 0.0, 0
    return sharpest_sigma(fit.sigma[good], fit.width_error[good]), count


def edge_width(places: Floats) -> tuple[float, int]:
    """`edge_sigma` at the scale that suits the edges: soft ones are measured on halved places."""
    for factor in (1, 2, 4):
        rows, columns = (length // factor for length in places.shape[1:])
        part = places[:, : rows * factor, : columns * factor]
        part = part.reshape(len(part), rows, factor, columns, factor).mean((2, 4))
        sigma, count = edge_sigma(part, noise_of(part))
        if count:
            # Halving averages 2 x 2 pixels, which is itself a blur of variance (4^n - 1) / 12.
            return sqrt(max(0.01, (factor * sigma) ** 2 - (factor**2 - 1) / 12)), count
    return 0.0, 0


def sharpest_sigma(sigma: Floats, width_error: Floats) -> float:
    """Width of the sharpest quarter of edges.

    Args:
        sigma: (N,) widths, px.
        width_error: (N,) standard errors of their logarithms.
    """
    quarter, median = np.quantile(sigma, [SHARPEST, 0.5])
    # The fits' own errors spread the widths, too; without them the quarter lies nearer.
    error = float(np.median(width_error * sigma))
    spread = (median - quarter) / BELOW_MEDIAN
    return float(median - BELOW_MEDIAN * sqrt(max(0.0, spread**2 - error**2)))


def steepest(
    places: Floats, noise: float, disc_px: int = DISC_PX, most: int = MOST_EDGES
) -> tuple[tuple[Ints, Ints, Ints], Floats]:
    """Where there may be edges: the steepest pixel of each cell, the steepest cells first.

    Args:
        places: (N, h, w) levels.
        noise: its deviation, levels.
        disc_px: how far from the border an edge must lie, at least DISC_PX.
        most: how many to give at most.

    Returns:
        (place, row, column), each (M,), and the (M,) directions of the slopes, rad.
    """
    smooth = places
    for axis in (1, 2):
        smooth = _gaussian(smooth, axis)
    gy, gx = (np.asarray(np.gradient(smooth, axis=axis)) for axis in (1, 2))
    slope = np.hypot(gx, gy)
    border = max(DISC_PX, disc_px) + 1
    inner = slope[:, border:-border, border:-border]
    count, rows, columns = inner.shape[0], inner.shape[1] // CELL_PX, inner.shape[2] // CELL_PX
    if not rows or not columns:
        none = np.empty(0, dtype=np.intp)
        return (none, none, none), np.empty(0)
    cells = inner[:, : rows * CELL_PX, : columns * CELL_PX]
    cells = cells.reshape(count, rows, CELL_PX, columns, CELL_PX).swapaxes(2, 3)
    highest = cells.reshape(count, rows, columns, -1).argmax(-1)
    z, row, column = (index.ravel() for index in np.indices(highest.shape))
    y = border + row * CELL_PX + highest.ravel() // CELL_PX
    x = border + column * CELL_PX + highest.ravel() % CELL_PX
    steepness = slope[z, y, x]
    order = np.argsort(-steepness, kind="stable")[:most]
    # A slope of noise alone, after the smoothing, hardly passes its own size.
    order = order[steepness[order] > max(2.0, noise)]
    z, y, x = z[order], y[order], x[order]
    return (z, y, x), np.arctan2(gy[z, y, x], gx[z, y, x])


def _gaussian(planes: Floats, axis: int) -> Floats:
    """Gaussian of sigma 1 px along an axis, border pixels repeated."""
    weights = np.exp(-0.5 * np.arange(-3, 4) ** 2.0)
    weights /= weights.sum()
    length = planes.shape[axis]
    pad = [(3, 3) if i == axis else (0, 0) for i in range(3)]
    padded = np.pad(planes, pad, mode="edge")
    total = np.zeros_like(planes)
    for i, weight in enumerate(weights):
        total += weight * np.take(padded, np.arange(i, i + length), axis)
    return total


class EdgeFit:
    """Least squares of `a + c Phi((n . p - d) / sigma)` over a disc around each candidate.

    Levenberg-Marquardt for all at once in angle, offset d and log sigma; level and contrast are
    solved for.

    Attributes:
        angle: direction of each edge's slope, rad.
        sigma: width of each edge, px.
        contrast: c, levels.
        offset: d, px from the middle.
        left_over: deviation of what the model does not explain, levels.
        width_error: standard error of log sigma.

    Args:
        pixels: (N, P) levels, over `_DISC_X`, `_DISC_Y`.
        angle: (N,) direction of the slope to begin with.
    """

    def __init__(self, pixels: Floats, angle: Floats) -> None:
        self._pixels = pixels
        count = len(angle)
        at = np.stack([angle, np.zeros(count), np.zeros(count)], 1)  # angle, d, log sigma
        damping = np.full(count, 1e-3)
        slopes, rest, contrast = self._linearised(at)
        cost = (rest**2).sum(1)
        limit = np.array([0.3, 1.0, 0.5])
        for _ in range(FIT_STEPS):
            normal = np.einsum("npi,npj->nij", slopes, slopes)
            towards = np.einsum("npi,np->ni", slopes, rest)
            diagonal = np.einsum("nii->ni", normal) * damping[:, None] + 1e-9
            damped = normal + diagonal[:, :, None] * np.eye(5)
            step = np.linalg.solve(damped, towards[..., None])[:, 2:, 0]
            tried = at + np.clip(step, -limit, limit)
            tried[:, 1] = np.clip(tried[:, 1], -3.0, 3.0)
            tried[:, 2] = np.clip(tried[:, 2], log(0.15), log(6.0))
            new_slopes, new_rest, new_contrast = self._linearised(tried)
            new_cost = (new_rest**2).sum(1)
            better = new_cost <= cost
            at[better], cost[better] = tried[better], new_cost[better]
            slopes[better], rest[better] = new_slopes[better], new_rest[better]
            contrast[better] = new_contrast[better]
            damping = np.where(better, damping * 0.3, damping * 10)
        normal = np.einsum("npi,npj->nij", slopes, slopes) + 1e-9 * np.eye(5)
        variance = cost / (pixels.shape[1] - 5)
        self.angle, self.sigma = at[:, 0], np.exp(at[:, 2])
        self.contrast, self.offset = contrast, at[:, 1]
        self.left_over = np.sqrt(variance)
        self.width_error = np.sqrt(np.maximum(0, np.linalg.inv(normal)[:, 4, 4] * variance))

    @classmethod
    def at(cls, places: Floats, where: tuple[Ints, Ints, Ints], angle: Floats) -> EdgeFit:
        """The fit around pixels (place, row, column) of places (N, h, w)."""
        z, y, x = (index[:, None] for index in where)
        return cls(places[z, y + _DISC_Y, x + _DISC_X], angle)

    def good(self, noise: float, misfit: float = MISFIT) -> npt.NDArray[np.bool_]:
        """Which of them are edges: hard enough, fitted well, in the middle of their discs."""
        return np.asarray(
            (np.abs(self.contrast) >= CONTRAST)
            & (self.width_error <= WIDTH_ERROR)
            & (self.left_over**2 <= (misfit * self.contrast) ** 2 + (1.3 * noise) ** 2)
            & (np.abs(self.offset) < OFF_PX)
            & (self.sigma < DISC_PX / 2)
        )

    def _linearised(self, at: Floats) -> tuple[Floats, Floats, Floats]:
        """Slopes (N, P, 5) of the model in level, contrast and `at`; what is left; contrast."""
        angle, offset, sigma = at[:, :1], at[:, 1:2], np.exp(at[:, 2:])
        across = _DISC_X * np.cos(angle) + _DISC_Y * np.sin(angle) - offset
        along = _DISC_Y * np.cos(angle) - _DISC_X * np.sin(angle)
        z = across / sigma
        step = np.interp(z, PHI_AT, PHI)
        density = np.exp(-0.5 * np.minimum(z**2, 64.0)) / sqrt(2 * pi)
        centred = step - step.mean(1, keepdims=True)
        pixels = self._pixels - self._pixels.mean(1, keepdims=True)
        contrast = (centred * pixels).sum(1) / np.maximum((centred**2).sum(1), 1e-9)
        ramp = contrast[:, None] * density
        slopes = np.stack(
            [np.ones_like(step), step, ramp * along / sigma, -ramp / sigma, -ramp * z], 2
        )
        return slopes, pixels - contrast[:, None] * centred, contrast
