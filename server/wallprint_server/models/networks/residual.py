"""The residual block of the small networks of our own.

Reference:
    Lim et al., "EDSR", CVPR 2017 workshops, arXiv 1707.02921: no normalisation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.1


def conv3(n_in: int, n_out: int) -> nn.Conv2d:
    """A convolution of 3 x 3 that keeps the size."""
    return nn.Conv2d(n_in, n_out, 3, padding=1)


class Residual(nn.Module):
    """`x + conv(act(conv(x)))`.

    Args:
        width: channels in and out.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv3(width, width), conv3(width, width)
        with torch.no_grad():  # begins as almost nothing: the depth can be trained at once
            self.conv2.weight *= 0.1

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """(B, C, H, W), and what else is added before the activation, -> (B, C, H, W)."""
        inner = self.conv1(x) if bias is None else self.conv1(x) + bias
        y: Tensor = x + self.conv2(F.leaky_relu(inner, SLOPE))
        return y
