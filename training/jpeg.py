"""JPEG without a file: what compressing and reading back does to pixels, on any device.

Blocks of 8 x 8, the standard's example tables scaled to a quality, chroma at full or half
resolution, and all roundings to whole numbers where a decoder has them. Knows nothing of Huffman
codes, which lose nothing. No gradient flows through the roundings.

References:
    ITU-T T.81 (1992), annexes A and K; JFIF 1.02 (colour). The scaling of the tables with quality
    is that of the Independent JPEG Group's library, as are the chroma filters: a mean over 2 x 2
    pixels, and a triangle back.
"""

from __future__ import annotations

from math import cos, pi, sqrt

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK = 8
# T.81, tables K.1 (brightness) and K.2 (colour), row by row.
LUMA_TABLE = (
    *(16, 11, 10, 16, 24, 40, 51, 61),
    *(12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77),
    *(24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101),
    *(72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA_TABLE = (
    *(17, 18, 24, 47, 99, 99, 99, 99),
    *(18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99),
    *(47, 66, 99, 99, 99, 99, 99, 99),
    *(99,) * 32,
)
# JFIF: RGB to Y, Cb, Cr, and back.
TO_YCC = (
    (0.299, 0.587, 0.114),
    (-0.168735892, -0.331264108, 0.5),
    (0.5, -0.418687589, -0.081312411),
)
TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))


def quality_tables(quality: Tensor) -> Tensor:
    """Divisors of the 64 coefficients.

    Args:
        quality: (B,), 1..100.

    Returns:
        (B, 2, 8, 8) whole numbers 1..255, of brightness and of colour.
    """
    q = quality.float().clamp(1, 100).floor()
    percent = torch.where(q < 50, (5000 / q).floor(), 200 - 2 * q).view(-1, 1, 1, 1)
    tables = torch.tensor((LUMA_TABLE, CHROMA_TABLE), device=quality.device).float()
    tables = tables.view(1, 2, BLOCK, BLOCK)
    return ((tables * percent + 50) / 100).floor().clamp(1, 255)


def compress(x: Tensor, quality: Tensor, half_chroma: Tensor) -> Tensor:
    """Compress and read back.

    Args:
        x: (B, 3, H, W) RGB in [0, 1], display-encoded.
        quality: (B,), 1..100, as in the usual programs.
        half_chroma: (B,) bool; colour at half resolution ("4:2:0"), else at full ("4:4:4").

    Returns:
        (B, 3, H, W) in [0, 1], multiples of 1/255.
    """
    height, width = x.shape[-2:]
    side = 2 * BLOCK
    x = F.pad(x, (0, -width % side, 0, -height % side), mode="replicate")
    whole = (x * 255).round().clamp(0, 255)
    ycc = torch.einsum("ij,bjhw->bihw", whole.new_tensor(TO_YCC), whole)
    ycc[:, 1:] += 128
    ycc = ycc.round().clamp(0, 255)
    tables = quality_tables(quality)
    luma = _coded(ycc[:, :1], tables[:, :1])
    chroma = ycc[:, 1:].clone()
    for half in (False, True):
        chosen = half_chroma.nonzero().flatten() if half else (~half_chroma).nonzero().flatten()
        if chosen.numel():
            planes, divisors = ycc[chosen, 1:], tables[chosen, 1:]
            chroma[chosen] = (
                _enlarged(_coded(_halved(planes), divisors)) if half else _coded(planes, divisors)
            )
    back = torch.einsum("ij,bjhw->bihw", x.new_tensor(TO_RGB), torch.cat((luma, chroma - 128), 1))
    return back.round().clamp(0, 255)[..., :height, :width] / 255


def _halved(planes: Tensor) -> Tensor:
    """Mean over 2 x 2, rounded alternately down and up along a row, so that it has no bias."""
    means = F.avg_pool2d(planes, 2)
    bias = 0.25 + 0.25 * (torch.arange(means.shape[-1], device=planes.device) % 2)
    return (means + bias).floor()


def _enlarged(planes: Tensor) -> Tensor:
    """Twice as large by a triangle filter, 9 : 3 : 3 : 1."""
    return F.interpolate(planes, scale_factor=2.0, mode="bilinear", align_corners=False).round()


def _dct(device: torch.device) -> Tensor:
    """The orthonormal matrix of the transform, (8, 8): row = frequency."""
    rows = []
    for k in range(BLOCK):
        norm = sqrt((1 if k == 0 else 2) / BLOCK)
        rows.append([norm * cos((2 * i + 1) * k * pi / (2 * BLOCK)) for i in range(BLOCK)])
    return torch.tensor(rows, device=device)


def _coded(planes: Tensor, divisors: Tensor) -> Tensor:
    """Through the transform, rounding and back.

    Args:
        planes: (B, C, H, W) in 0..255, multiples of 8.
        divisors: (B, 1, 8, 8).
    """
    b, c, h, w = planes.shape
    row = _dct(planes.device)
    both = torch.kron(row, row)  # rows and columns as one product of 64: what a GPU is good at
    cells = (planes - 128).view(b, c, h // BLOCK, BLOCK, w // BLOCK, BLOCK)
    cells = cells.permute(0, 1, 2, 4, 3, 5).reshape(b, -1, BLOCK * BLOCK)
    divisors = divisors.reshape(b, 1, BLOCK * BLOCK)
    coefficients = (cells @ both.T / divisors).round() * divisors
    cells = (coefficients @ both + 128).round().clamp(0, 255)
    cells = cells.view(b, c, h // BLOCK, w // BLOCK, BLOCK, BLOCK)
    return cells.permute(0, 1, 2, 4, 3, 5).reshape(b, c, h, w)
