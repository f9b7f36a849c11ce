"""waifu2x "upconv_7" as a repairer: enlarge by 2 with the denoising weights, average back to 1.

Knows nothing of files, devices or tiles.

References:
    nagadomi, waifu2x (model `upconv_7`, photo); the convolutional enlarger of Dong et al.,
    "Image Super-Resolution Using Deep Convolutional Networks", arXiv 1501.00092.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (3, 16, 32, 64, 128, 128, 256)
SLOPE = 0.1
BORDER_PX = 7


class Repairer(nn.Module):
    """Removes JPEG blocks and noise at the picture's own size.

    Args:
        widths: channels of the six convolutions, the input's first.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        for k, (n_in, n_out) in enumerate(pairwise(widths), start=1):
            self.add_module(f"conv{k}_layer", nn.Conv2d(n_in, n_out, 3))
        self.depth = len(widths) - 1
        self.conv7_layer = nn.ConvTranspose2d(widths[-1], 3, 4, stride=2, padding=3)

    def enlarge(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, 3, 2 H, 2 W), not clamped."""
        t = F.pad(x, (BORDER_PX,) * 4, mode="replicate")  # the convolutions take no border
        for k in range(1, self.depth + 1):
            t = F.leaky_relu(self.get_submodule(f"conv{k}_layer")(t), SLOPE, inplace=True)
        # In the weights' own precision: nothing is added afterwards (see networks.span).
        with torch.autocast(t.device.type, enabled=False):
            y: Tensor = self.conv7_layer(t.to(self.conv7_layer.weight.dtype))
        return y

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, 3, H, W) in [0, 1]."""
        # Clamped before the mean: overshoot of 1.48 was seen, which an average would smear.
        return F.avg_pool2d(self.enlarge(x).clamp(0.0, 1.0), 2)
