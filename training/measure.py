"""Numbers that tell how good a picture is, as the literature computes them.

Knows nothing of networks.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def load(path: Path) -> Tensor:
    """A picture file, (1, 3, H, W) float32 in [0, 1]."""
    pixels = np.array(Image.open(path).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def to_8_bit(x: Tensor) -> Tensor:
    """Clamped and rounded to 1/255, as a file has it."""
    return (x.clamp(0, 1) * 255).round() / 255


def luma(x: Tensor) -> Tensor:
    """Y of BT.601 in 16..235 of (B, 3, H, W) in [0, 1]: (B, 1, H, W)."""
    weights = x.new_tensor((65.481, 128.553, 24.966)).view(1, 3, 1, 1)
    return (x * weights).sum(1, keepdim=True) + 16


def psnr(x: Tensor, truth: Tensor, border: int = 0) -> float:
    """PSNR in dB of all channels, without `border` px; infinite for equal pictures."""
    return _decibels(_inside(x - truth, border), 1.0)


def psnr_y(x: Tensor, truth: Tensor, border: int = 0) -> float:
    """PSNR of Y in dB, 255 being the peak, without `border` px."""
    return _decibels(_inside(luma(x) - luma(truth), border), 255.0)


def psnr_shift(x: Tensor, truth: Tensor, border: int, most: int = 10) -> float:
    """The best PSNR over all whole shifts of up to `most` px: forgives a moved picture."""
    h, w = x.shape[-2:]
    edge = border + most
    fixed = x[..., edge : h - edge, edge : w - edge]
    best = -float("inf")
    for dy in range(-most, most + 1):
        for dx in range(-most, most + 1):
            moved = truth[..., edge + dy : h - edge + dy, edge + dx : w - edge + dx]
            best = max(best, _decibels(fixed - moved, 1.0))
    return best


def as_jpeg(x: Tensor, quality: int, *, half_chroma: bool = True) -> Tensor:
    """Through a real JPEG file in memory (Pillow), (1, 3, H, W)."""
    pixels = (x[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()
    file = io.BytesIO()
    subsampling = 2 if half_chroma else 0
    Image.fromarray(pixels).save(file, "jpeg", quality=quality, subsampling=subsampling)
    back = np.array(Image.open(file).convert("RGB"))
    return torch.from_numpy(back).permute(2, 0, 1)[None].float() / 255


def _inside(difference: Tensor, border: int) -> Tensor:
    h, w = difference.shape[-2:]
    return difference[..., border : h - border, border : w - border]


def _decibels(difference: Tensor, peak: float) -> float:
    mse = float(difference.double().square().mean())
    return float("inf") if mse == 0 else float(10 * np.log10(peak**2 / mse))
