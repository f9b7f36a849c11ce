"""Output sharpening: one luminance unsharp mask, last, at final size.

Makes up for what ink and paper take away; it is not a restoration. `halo.py` decides the numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..imaging.local import gaussian_blur
from .halo import OutputSharpening

# Rec. ITU-R BT.709 luma, on encoded values.
LUMA = (0.2126, 0.7152, 0.0722)


def within_headroom(delta: Tensor, headroom: Tensor) -> Tensor:
    """Limit a change so that it never reaches white or black.

    Up to half of the headroom the change is untouched; beyond, it approaches the headroom
    smoothly (h - h^2 / 4d, continuous with its slope), so a halo near white loses height, not
    form, and sharpening clips no pixel that was not clipped before.
    """
    h = headroom.clamp_min(0.0)
    d = delta.abs()
    limited = torch.where(d <= 0.5 * h, d, h - h * h / (4 * d).clamp_min(1e-12))
    return limited.clamp_min(0.0).copysign(delta)


def luma_of(colour: Tensor) -> Tensor:
    """(1, 1, H, W) luma of (1, C, H, W) planes; of grey and inks their mean."""
    if colour.shape[1] != 3:
        return colour.mean(1, keepdim=True)
    weights = colour.new_tensor(LUMA).view(1, 3, 1, 1)
    return (colour * weights).sum(1, keepdim=True)


def sharpen(colour: Tensor, how: OutputSharpening) -> Tensor:
    """Sharpen (1, C, H, W) planes for print.

    RGB gets one delta, made from luma, on all three channels, so no colour moves. Grey is its own
    luma. Inks (C = 4) are sharpened each on their own, so that black text stays in K.
    """
    base = luma_of(colour) if colour.shape[1] == 3 else colour
    delta = how.amount * (base - gaussian_blur(base, how.sigma_px))
    top = colour.amax(1, keepdim=True) if colour.shape[1] == 3 else colour
    bottom = colour.amin(1, keepdim=True) if colour.shape[1] == 3 else colour
    headroom = torch.where(delta > 0, 1.0 - top, bottom)
    return colour + within_headroom(delta, headroom)
