"""RRDBNet x4, the generator of ESRGAN and Real-ESRGAN: 23 residual-in-residual dense blocks.

Knows nothing of files, devices or tiles.

References:
    Wang et al., "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks",
    ECCV 2018 workshops, arXiv 1809.00219; Wang et al., "Real-ESRGAN", arXiv 2107.10833.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RESIDUAL_SCALE = 0.2
SLOPE = 0.2


def _conv(n_in: int, n_out: int) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 3, padding=1)


def _lrelu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE, inplace=True)


class DenseBlock(nn.Module):
    """Five convolutions, each of the first four seeing all that came before it.

    Args:
        width: channels in and out.
        growth: channels that each of the first four adds.
    """

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        for k in range(1, 5):
            self.add_module(f"conv{k}", _conv(width + (k - 1) * growth, growth))
        self.conv5 = _conv(width + 4 * growth, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        seen = x
        for k in range(1, 5):
            seen = torch.cat((seen, _lrelu(self.get_submodule(f"conv{k}")(seen))), dim=1)
        return torch.add(x, self.conv5(seen), alpha=RESIDUAL_SCALE)


class ResidualBlock(nn.Module):
    """Three dense blocks inside one more residual."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (DenseBlock(width, growth) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return torch.add(x, self.rdb3(self.rdb2(self.rdb1(x))), alpha=RESIDUAL_SCALE)


class Rrdb(nn.Module):
    """Enlarges by 4.

    Args:
        blocks: residual-in-residual blocks, 23 in the published files.
        width: channels inside.
        growth: channels added by each dense convolution.
    """

    def __init__(self, blocks: int = 23, width: int = 64, growth: int = 32) -> None:
        super().__init__()
        self.conv_first = _conv(3, width)
        self.body = nn.Sequential(*(ResidualBlock(width, growth) for _ in range(blocks)))
        self.conv_body, self.conv_up1, self.conv_up2, self.conv_hr = (
            _conv(width, width) for _ in range(4)
        )
        self.conv_last = _conv(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, 3, 4 H, 4 W), not clamped."""
        first = self.conv_first(x)
        t = first + self.conv_body(self.body(first))
        t = _lrelu(self.conv_up1(F.interpolate(t, scale_factor=2.0, mode="nearest")))
        t = _lrelu(self.conv_up2(F.interpolate(t, scale_factor=2.0, mode="nearest")))
        t = _lrelu(self.conv_hr(t))
        # No residual follows: the last convolution stays in the weights' own precision, else
        # autocast would leave a few thousand of the 65,536 levels of a 16-bit picture.
        with torch.autocast(t.device.type, enabled=False):
            y: Tensor = self.conv_last(t.to(self.conv_last.weight.dtype))
        return y
