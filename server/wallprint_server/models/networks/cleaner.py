"""Removes JPEG artefacts and noise: a small residual network at half resolution, with a strength.

Knows nothing of files, devices or tiles. Ours; no published network is like it in detail.

The strength says how bad the damage may be that is to be removed: at 1 anything down to JPEG
quality 5, near 0 only traces, so that texture is left alone. It enters as a constant channel, which
for a fixed strength is nothing but other biases (`at_strength`). Half resolution makes each
convolution a quarter of the work and lets it see twice as far; the picture itself passes by in
float32.

References:
    Zhang et al., "Beyond a Gaussian Denoiser" (DnCNN), IEEE TIP 2017, arXiv 1608.03981: the
    residual of the picture; Zhang, Zuo and Zhang, "FFDNet", IEEE TIP 2018, arXiv 1710.04026: half
    resolution and a map of the strength.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .residual import Residual, conv3

MULTIPLE = 2
WIDTH, BLOCKS = 64, 12
# Below this strength the whole change fades out: 0 is the picture itself, bit for bit.
FADE = 1 / 16


def reach_px(blocks: int = BLOCKS) -> int:
    """Pixels of the input around a pixel on which its result depends (with the 2x2 cells)."""
    return 2 * (2 * blocks + 2) + 1


class Block(Residual):
    """A residual block with a bias for each strength.

    Args:
        width: channels in and out.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.by_strength = nn.Parameter(torch.zeros(width))

    def bias(self, strength: Tensor) -> Tensor:
        """(B, 1, 1, 1) -> (B, C, 1, 1)."""
        return strength * self.by_strength.view(1, -1, 1, 1)


class Cleaner(nn.Module):
    """A picture and a strength to the picture without blocks, ringing and noise.

    Args:
        width: channels inside.
        blocks: residual blocks, two convolutions each.
    """

    def __init__(self, width: int = WIDTH, blocks: int = BLOCKS) -> None:
        super().__init__()
        self.head = conv3(12, width)
        self.by_strength = nn.Parameter(torch.zeros(width))
        self.body = nn.ModuleList(Block(width) for _ in range(blocks))
        self.tail = conv3(width, 12)
        with torch.no_grad():
            self.tail.weight *= 0.1

    def forward(self, x: Tensor, strength: float | Tensor = 1.0) -> Tensor:
        """Clean a picture.

        Args:
            x: (B, 3, H, W) in [0, 1], H and W even.
            strength: 0..1, or one for each picture, (B,).

        Returns:
            (B, 3, H, W), not clamped; `x` itself where the strength is 0.
        """
        s = torch.as_tensor(strength, dtype=x.dtype, device=x.device).expand(x.shape[0])
        s = s.view(-1, 1, 1, 1)
        h = first = self.head(F.pixel_unshuffle(x, 2)) + s * self.by_strength.view(1, -1, 1, 1)
        for block in self.body:
            assert isinstance(block, Block)
            h = block(h, block.bias(s))
        # No activation before the last convolution: it could die and leave the picture as it is.
        change = F.pixel_shuffle(self.tail(h + first), 2)
        return x + (s / FADE).clamp(max=1.0) * change


def at_strength(tensors: Mapping[str, Tensor], strength: float) -> dict[str, Tensor]:
    """Tensors of a network that gives, at strength 1, what the given one gives at `strength`.

    Args:
        tensors: of `Cleaner`, float32.
        strength: FADE..1; below, where the change fades out, a fixed network is no longer the same.
    """
    if not FADE <= strength <= 1:
        raise ValueError(f"a strength of {strength} is not within {FADE} to 1")
    result = dict(tensors)
    for key, tensor in tensors.items():
        if key.endswith("by_strength"):
            stem = key.removesuffix("by_strength")
            bias = f"{stem}conv1.bias" if stem else "head.bias"
            result[bias] = tensors[bias] + strength * tensor
            result[key] = torch.zeros_like(tensor)
    return result
