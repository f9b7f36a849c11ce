"""The seam check: do neighbouring tiles agree where they meet?

Every tile computes a few pixels beyond its own, which a neighbour has written already. Where the
two differ there is a step between the tiles, whatever the picture shows there; an edge of the
picture that happens to lie on a border is the same in both and is none. Knows nothing of networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

# A step of half a level of 255 over this length of a border is the least that rounding to 8 bits
# can show; single pixels that round the other way are no seam.
RUN_PX = 32
MAX_STEP = 0.5


@dataclass
class SeamCheck:
    """What was found so far at the borders between tiles.

    Attributes:
        borders: how many were compared.
        worst: largest step that is left, levels of 255.
        redone: tiles computed again with more overlap.
        left: borders at which a step is left even so.
    """

    borders: int = 0
    worst: float = 0.0
    redone: int = 0
    left: int = 0

    def note(self, step: float) -> None:
        """A border that is final."""
        self.borders += 1
        self.worst = max(self.worst, step)
        self.left += step > MAX_STEP

    def to_map(self) -> dict[str, float]:
        """Plain values, for messages and JSON."""
        return {
            "borders": self.borders,
            "worst_levels": round(self.worst, 3),
            "redone_tiles": self.redone,
            "left": self.left,
        }


def step_between(here: Tensor, there: Tensor, dim: int) -> float:
    """Largest step along a border, levels of 255.

    Args:
        here: (1, C, h, w) in [0, 1], what one tile has of the pixels at its border.
        there: the same pixels by the other tile.
        dim: along which the border runs: 2 (left neighbour) or 3 (upper neighbour).

    Returns:
        Mean difference over the strip's thickness and the worst RUN_PX of its length, in the worst
        channel.
    """
    difference = (here.clamp(0.0, 1.0) - there.clamp(0.0, 1.0)).abs().mean(5 - dim)
    run = min(RUN_PX, difference.shape[-1])
    return float(F.avg_pool1d(difference, run, max(1, run // 2), ceil_mode=True).max() * 255)


def step_of_blend(before: Tensor, tile: Tensor, dim: int) -> float:
    """The same where neighbours are faded into each other over what they share.

    The fade spreads their difference evenly, so from one pixel to the next it makes this step.
    """
    shared = before.shape[dim]
    across = (before - tile.narrow(dim, 0, shared)).mean(dim, keepdim=True).abs()
    return step_between(across / shared, torch.zeros_like(across), 5 - dim)
