"""Generated pictures with what compression and blur care about: edges, texture, gradients."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F


def scene(side: int, seed: int) -> np.ndarray:
    """(side, side, 3) uint8: soft colours, slanted edges, fine texture in places."""
    generator = torch.Generator().manual_seed(seed)
    soft = F.interpolate(
        torch.rand(1, 3, 5, 5, generator=generator), size=(side, side), mode="bicubic"
    )[0]
    rows, columns = torch.arange(side).view(-1, 1), torch.arange(side)
    edges = ((rows * (2 + seed) + columns * 5) // 90 % 2).float() * 0.3
    fine = torch.rand(1, side, side, generator=generator) * 0.2 * (columns > side // 2)
    picture = (soft * 0.6 + edges + fine).clamp(0, 1)
    return (picture.permute(1, 2, 0) * 255).round().byte().numpy()
