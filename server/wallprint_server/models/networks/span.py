"""SPAN, a small and fast enlarging network, in its fused form: 22 plain convolutions.

Knows nothing of files, devices or tiles.

References:
    Wan et al., "Swift Parameter-free Attention Network for Efficient Super-Resolution",
    CVPR 2024 workshops, arXiv 2311.12770. The training-time branches of each convolution are
    already folded into one kernel in the published files; the fused form is exact.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLOCKS = 6


def _conv(n_in: int, n_out: int, side: int = 3) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, side, padding=side // 2)


class Block(nn.Module):
    """Three convolutions and the parameter-free attention `sigmoid(o) - 1/2`.

    Args:
        width: channels in and out.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c1_r, self.c2_r, self.c3_r = (_conv(width, width) for _ in range(3))

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> the block's output and its first activation, both (B, C, H, W)."""
        a = F.silu(self.c1_r(h))
        o = self.c3_r(F.silu(self.c2_r(a)))
        return (o + h) * (torch.sigmoid(o) - 0.5), a


class Span(nn.Module):
    """Enlarges by `scale`; a pixel of the result depends on 21 px of the input around it.

    Args:
        scale: 2 or 4.
        width: channels inside, 48 in the published files.
    """

    mean: Tensor

    def __init__(self, scale: int, width: int = 48) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("mean", torch.tensor((0.4488, 0.4371, 0.4040)).view(3, 1, 1))
        self.conv_1 = _conv(3, width)
        for i in range(1, BLOCKS + 1):
            self.add_module(f"block_{i}", Block(width))
        self.conv_2 = _conv(width, width)
        self.conv_cat = _conv(4 * width, width, 1)
        self.upsampler = nn.Sequential(_conv(width, 3 * scale * scale), nn.PixelShuffle(scale))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, 3, s H, s W), not clamped; no mean is added back."""
        # The attention is not scale-free, so the range 0..255 is part of the network.
        f = h = self.conv_1((x - self.mean) * 255.0)
        b1 = a = h
        for i in range(1, BLOCKS + 1):
            h, a = self.get_submodule(f"block_{i}")(h)
            b1 = h if i == 1 else b1
        # The last input is the *activated* first convolution of block 6: the reference's SiLU
        # works in place.
        return self._head(self.conv_cat(torch.cat((f, self.conv_2(h), b1, a), dim=1)))

    def _head(self, features: Tensor) -> Tensor:
        """Last convolution and the shuffle to pixels, in the weights' own precision.

        Nothing is added to the result afterwards, so under autocast it would be limited to
        half precision's steps: 7,169 of 65,536 levels in float16, 1,281 in bfloat16.
        """
        with torch.autocast(features.device.type, enabled=False):
            result: Tensor = self.upsampler(features.to(self.mean.dtype))
        return result


def calmed(tensors: dict[str, Tensor], contrast: float) -> dict[str, Tensor]:
    """The weights of a network that works on a picture of less contrast and restores it after.

    net(x) becomes (net(1/2 + c (x - 1/2)) - 1/2) / c + 1/2, at no cost, as all of it is linear and
    goes into the first and the last convolution.

    Args:
        tensors: of `Span`, float32.
        contrast: c; 1 changes nothing.
    """
    c = contrast
    return {
        **tensors,
        "mean": (tensors["mean"] - 0.5 * (1 - c)) / c,
        "conv_1.weight": tensors["conv_1.weight"] * c,
        "upsampler.0.weight": tensors["upsampler.0.weight"] / c,
        "upsampler.0.bias": (tensors["upsampler.0.bias"] - 0.5) / c + 0.5,
    }
