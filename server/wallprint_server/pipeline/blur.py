"""How blurred a picture is, read from its edges. Knows nothing of networks or tiles.

An edge blurred by a Gaussian of sigma has, seen through a Gaussian derivative of scale s, a slope
in proportion to 1 / sqrt(sigma^2 + s^2). Two scales give sigma without knowing the contrast.

References:
    Elder and Zucker, Local scale control for edge detection and blur estimation, PAMI 20 (1998).
    Zhuo and Sim, Defocus map estimation from a single image, Pattern Recognition 44 (2011).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi, sqrt

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wallprint_protocol.print_size import Rect, Size

from ..imaging.local import gaussian_blur
from .repair import SAMPLE_PX, Luma, sample_rects

Floats = npt.NDArray[np.float64]

# Scales of the finer derivative, px; the coarser's is twice that. Below 1 noise drowns it, and a
# large one sees the neighbours. A shake is no Gaussian: seen much finer than it is wide, the middle
# of its ramp has no end, so a blur that looks wide is looked at again at the next scale.
SCALES_PX = (1.0, 2.0, 4.0)
WIDE = 1.2  # sigma, in units of the scale, from which the next is better
# Edges of less contrast are texture, noise, or JPEG (levels of 255).
CONTRAST = 16.0
DIRECTIONS = 8
# A direction with fewer edges says nothing.
EDGES_NEEDED = 40
# Of the edges of a direction, the sharpest count: the others are soft things, or lie out of focus.
SHARPEST_EDGES = 0.3
# Where to look: of up to 24 x 24 places those with the hardest changes.
PLACE_PX, PLACES_A_SIDE, SAMPLES = 128, 24, 12
LEAST_PX = 48  # side of a picture that has room for edges
# What a sharp photograph's edges have by themselves (lens, sensor, reduction), sigma in px.
SHARP_SIGMA_PX = 0.75
# Width of blur from which deblurring starts, and from which it is done in full, px.
VISIBLE_PX, STRONG_PX = 2.5, 4.5
# Pictures that are sharp read 0; bent shakes, whose ends are blurred least, may read as little.
NOTICED_PX = 1.0


@dataclass(frozen=True)
class Blur:
    """How far a point is smeared.

    Attributes:
        width_px: length of a straight shake, or diameter of a disc, that would blur as much; 0
            when the picture is sharp or has no edges to tell from.
        edges: on how many edges that rests.
    """

    width_px: float
    edges: int

    @property
    def amount(self) -> int:
        """Deblurring, 0..100, that suits it; sharp pictures are left alone."""
        share = (self.width_px - VISIBLE_PX) / (STRONG_PX - VISIBLE_PX)
        return round(100 * min(1.0, max(0.0, share)))

    @property
    def may_be_shake(self) -> bool:
        """Whether it is worth the time to look for a movement of the camera."""
        return self.width_px >= NOTICED_PX


def estimate_blur(size: Size, luma: Callable[[Rect], Luma]) -> Blur:
    """Measure the blur of a picture from samples of it.

    A shake blurs the edges that lie across it and spares those along it, so each direction is
    judged by its sharpest edges, and a sample by its most blurred direction. A shake blurs all of
    a picture; one that is sharp somewhere was taken so, and is judged by its sharpest sample.

    Args:
        size: of the picture.
        luma: rectangle -> (H, W) float32 in levels of 255, perceptual.
    """
    widths, edges = [], 0
    for rect in _sharpest_rects(size, luma):
        variance, count = _variance(torch.from_numpy(luma(rect))[None, None])
        edges += count
        if variance is not None:
            widths.append(sqrt(12.0 * max(0.0, variance - SHARP_SIGMA_PX**2)))
    if not widths:
        return Blur(0.0, edges)
    return Blur(min(widths), edges)


def _sharpest_rects(size: Size, luma: Callable[[Rect], Luma]) -> list[Rect]:
    """Squares around the places with the hardest changes: the subject, wherever it is."""
    if min(size.width, size.height) < LEAST_PX:
        return []
    places = []
    for rect in sample_rects(size, PLACES_A_SIDE, PLACE_PX):
        bend = np.abs(np.diff(luma(rect), 2, axis=1))
        places.append((float(np.quantile(bend, 0.98)), rect))
    places.sort(key=lambda place: -place[0])
    side = Size(min(SAMPLE_PX, size.width), min(SAMPLE_PX, size.height))
    squares = []
    for _, rect in places[:SAMPLES]:
        x = min(max(0, rect.x + (rect.width - side.width) // 2), size.width - side.width)
        y = min(max(0, rect.y + (rect.height - side.height) // 2), size.height - side.height)
        squares.append(Rect(x, y, side.width, side.height))
    return list(dict.fromkeys(squares))


def _variance(plane: Tensor) -> tuple[float | None, int]:
    """Blur of (1, 1, H, W) as a variance, px^2, None without edges; and how many edges told."""
    least: float | None = None
    edges = 0
    for scale in SCALES_PX:
        variances, angles = _edges(plane, scale)
        edges = edges or variances.size
        found = _most_blurred_direction(variances, angles)
        if found is None:
            break
        least = found if least is None else min(least, found)
        if found <= (WIDE * scale) ** 2:
            break
    return least, edges


def _most_blurred_direction(variance: Floats, angle: Floats) -> float | None:
    """Variance of the direction whose sharpest edges are the least sharp; None without edges."""
    found = None
    for k in range(DIRECTIONS):
        # Overlapping sectors, or the most blurred direction would fall between two.
        away = np.abs((angle - pi * k / DIRECTIONS + pi / 2) % pi - pi / 2)
        part = variance[away <= pi / DIRECTIONS]
        if part.size >= EDGES_NEEDED:
            found = max(found or 0.0, float(np.quantile(part, SHARPEST_EDGES)))
    return found


def _edges(plane: Tensor, scale: float) -> tuple[Floats, Floats]:
    """Variance (px^2) of the blur and direction (0..pi) of the strong edges of (1, 1, H, W)."""
    (fx, fy), (cx, cy) = (_gradient(gaussian_blur(plane, s)) for s in (scale, 2 * scale))
    fine, coarse = torch.hypot(fx, fy), torch.hypot(cx, cy)
    ridge = _on_ridge(fine, fx, fy)
    ratio = (fine / coarse.clamp_min(1e-6)) ** 2
    variance = scale**2 * (4 - ratio) / (ratio - 1).clamp_min(1e-3)
    contrast = fine * (2 * pi * (variance.clamp_min(0.0) + scale**2)).sqrt()
    # A ratio beyond that of a step is a thin line, one at 1 a ramp without end: neither tells.
    usable = ridge & (contrast > CONTRAST) & (ratio > 1.02) & (ratio < 4.4)
    margin = round(8 * scale)
    usable[..., :margin, :] = usable[..., -margin:, :] = False
    usable[..., :margin] = usable[..., -margin:] = False
    angle = torch.atan2(fy, fx)[usable] % pi
    return variance[usable].double().numpy(), angle.double().numpy()


def _gradient(x: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences of (1, 1, H, W) along x and y, 0 at the border."""
    gx, gy = torch.zeros_like(x), torch.zeros_like(x)
    gx[..., 1:-1] = 0.5 * (x[..., 2:] - x[..., :-2])
    gy[..., 1:-1, :] = 0.5 * (x[..., 2:, :] - x[..., :-2, :])
    return gx, gy


def _on_ridge(g: Tensor, gx: Tensor, gy: Tensor) -> Tensor:
    """Whether a pixel's slope is not less than that of its two neighbours across the edge."""
    across = gx.abs() >= gy.abs()
    left, right = torch.roll(g, 1, 3), torch.roll(g, -1, 3)
    up, down = torch.roll(g, 1, 2), torch.roll(g, -1, 2)
    by_x = (g >= left) & (g > right)
    by_y = (g >= up) & (g > down)
    return torch.where(across, by_x, by_y)
