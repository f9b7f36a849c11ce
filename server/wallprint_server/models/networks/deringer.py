"""Removes what a deconvolution leaves beside edges: a small U-Net. Knows nothing of kernels.

A shake that is not known exactly comes back as rings and doubled edges, which lie as far from their
edge as the shake was long; so it looks far, at an eighth of the size. It sees the deconvolved
picture and the one that was taken: what neither has, it has no reason to add. Ours; no published
network is like it in detail.

References:
    Ronneberger, Fischer and Brox, "U-Net", MICCAI 2015, arXiv 1505.04597; Schuler et al., "A
    machine learning approach for non-blind image deconvolution", CVPR 2013: a network after a
    deconvolution.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .residual import Residual, conv3

MULTIPLE = 8
WIDTHS = (32, 64, 96)  # at a half, a quarter and an eighth of the size
BLOCKS = (1, 2, 3)


class Deringer(nn.Module):
    """A deconvolved picture, and the one that was taken, to one without rings.

    Args:
        widths: channels at each size, from half the size on, halved each time.
        blocks: residual blocks at each, going down; as many going up.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS, blocks: tuple[int, ...] = BLOCKS) -> None:
        super().__init__()
        self.head = conv3(24, widths[0])
        self.tail = conv3(widths[0], 12)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.smaller, self.larger = nn.ModuleList(), nn.ModuleList()
        for width, count in zip(widths, blocks, strict=True):
            self.down.append(nn.Sequential(*(Residual(width) for _ in range(count))))
            self.up.append(nn.Sequential(*(Residual(width) for _ in range(count))))
        for fine, coarse in pairwise(widths):
            self.smaller.append(nn.Conv2d(4 * fine, coarse, 1))
            self.larger.append(nn.Conv2d(coarse, 4 * fine, 1))
        with torch.no_grad():
            self.tail.weight *= 0.1

    def forward(self, x: Tensor, taken: Tensor | None = None) -> Tensor:
        """Remove the rings.

        Args:
            x: (B, 3, H, W) in [0, 1], deconvolved, perceptual; H and W multiples of MULTIPLE.
            taken: the same before; None for a picture that was not deconvolved.

        Returns:
            (B, 3, H, W), not clamped.
        """
        both = torch.cat((x, x if taken is None else taken), 1)
        h = self.head(F.pixel_unshuffle(both, 2))
        kept = []
        for level, blocks in enumerate(self.down):
            h = blocks(h)
            if level < len(self.smaller):
                kept.append(h)
                h = self.smaller[level](F.pixel_unshuffle(h, 2))
        for level in reversed(range(len(self.up))):
            h = self.up[level](h)
            if level:
                h = F.pixel_shuffle(self.larger[level - 1](h), 2) + kept[level - 1]
        return x + F.pixel_shuffle(self.tail(h), 2)
