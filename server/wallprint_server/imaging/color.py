"""Tone curves and the colours under transparent pixels.

Works on planes `(1, C, H, W)` float32. Knows nothing of profiles: a document's own encoded values
go through unchanged, only linear light is moved to a perceptual curve for the networks and back.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .reach import FILL_RADII_PX


def encode_srgb(linear: Tensor) -> Tensor:
    """Linear light -> sRGB curve, odd-symmetric below 0, continued above 1.

    References:
        IEC 61966-2-1:1999, amendment 1 (the symmetric extension is that of scRGB).
    """
    a = linear.abs()
    return torch.where(
        a <= 0.0031308, 12.92 * a, 1.055 * a.clamp_min(1e-9).pow(1 / 2.4) - 0.055
    ).copysign(linear)


def decode_srgb(encoded: Tensor) -> Tensor:
    """Inverse of `encode_srgb`."""
    a = encoded.abs()
    return torch.where(a <= 0.04045, a / 12.92, ((a + 0.055) / 1.055).pow(2.4)).copysign(encoded)


def _box(x: Tensor, radius: int) -> Tensor:
    """Mean over (2 r + 1)^2 with zeros outside; only ratios of two such means are used."""
    return F.avg_pool2d(x, 2 * radius + 1, stride=1, padding=radius, count_include_pad=True)


def fill_hidden(colour: Tensor, alpha: Tensor) -> Tensor:
    """Replace colours that nobody can see (alpha 0) by those of the nearest visible pixels.

    Editors leave arbitrary colours under alpha 0; convolutions would mix them into the visible
    edge as a fringe. Normalised averaging over growing boxes fills outward, each pixel from the
    smallest box that contains something visible; what lies further than `FILL_REACH_PX` from
    anything visible becomes mid-grey, which no network can stumble over.

    Args:
        colour: (1, C, H, W).
        alpha: (1, 1, H, W) in [0, 1].

    Returns:
        (1, C, H, W), equal to `colour` bit for bit wherever alpha > 0.

    References:
        Knutsson and Westin, Normalized and differential convolution, CVPR 1993.
    """
    known = (alpha > 0).to(colour.dtype)
    if bool(known.all()):
        return colour
    filled = colour
    weight = known * alpha  # faint pixels carry rounding noise in their colour: count them less
    for radius in FILL_RADII_PX:
        total = _box(weight, radius)
        mean = _box(filled * weight, radius) / total.clamp_min(1e-12)
        new = (known == 0) & (total > 1e-9)
        filled = torch.where(new, mean, filled)
        weight = torch.where(new, total.clamp(max=1.0), weight)
        known = torch.where(new, torch.ones_like(known), known)
    return torch.where(known > 0, filled, torch.full_like(filled, 0.5))
