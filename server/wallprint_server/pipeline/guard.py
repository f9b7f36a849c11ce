"""Guards around every network call: answers that cannot be right, and spots that run away.

Knows nothing of tiles; `enhance.py` counts and reports.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from wallprint_protocol.errors import WallprintError

from ..models.engine import Network
from .enlarge import plain_enlarge

# A tile whose mean is this far from its input's is not an enhancement of it. Real networks stay
# within 0.03 even on noise; a black tile of a mid-grey picture is 0.5 off.
MAX_MEAN_CHANGE = 0.2
# Farther from mid-grey than this no detail of a picture can be: hard text reaches 1.3, while SPAN
# on a checkerboard of magenta and green gives values in the hundreds.
RUNAWAY = 1.5


def plausible(x: Tensor, y: Tensor) -> bool:
    """Whether `y` can be a network's answer to `x`: all finite, and about as bright."""
    # One transfer from the device. NaN and inf survive a mean, and compare as false.
    after, before = torch.stack([y.mean(), x.mean()]).tolist()
    return bool(abs(after - before) < MAX_MEAN_CHANGE)


def calmed(x: Tensor, y: Tensor, scale: int) -> tuple[Tensor, bool]:
    """Put the plain enlargement where a network ran away; whether that was so anywhere."""
    low, high = torch.stack(y.aminmax()).tolist()
    if low >= 0.5 - RUNAWAY and high <= 0.5 + RUNAWAY:
        return y, False
    return torch.where((y - 0.5).abs() > RUNAWAY, plain_enlarge(x, scale), y), True


def sound(
    network: Network, x: Tensor, *more: Any, on_redone: Callable[[], None] = lambda: None
) -> Tensor:
    """What a network of scale 1 makes of a picture, or the picture itself when that cannot be used.

    Args:
        network: as the engine gives it.
        x: (1, 3, H, W), its first input.
        more: its others.
        on_redone: called when it was computed again in float32.
    """
    y = network(x, *more)
    if plausible(x, y):
        return y
    on_redone()
    y = network.eager(x, *more)
    return y if plausible(x, y) else x  # nothing is better than a black spot


def guarded(network: Network, on_event: Callable[[str], None]) -> Callable[[Tensor], Tensor]:
    """Wrap a network.

    A black or NaN tile is computed again in plain float32. Pixels that ran away become those of
    the plain enlargement: less sharp, but the picture's own.

    Args:
        network: as the engine gives it.
        on_event: called with "redone" or "calmed" when that happened to a tile.

    Returns:
        A function that raises WallprintError (E_BACKEND) when float32 fails as well.
    """

    def run(x: Tensor) -> Tensor:
        for attempt in (network, network.eager):
            y, ran_away = calmed(x, attempt(x), network.spec.scale)
            if plausible(x, y):
                if ran_away:
                    on_event("calmed")
                return y
            on_event("redone")
        raise WallprintError(
            f"The network {network.spec.name} gave a black or undefined tile even in float32; "
            f"its file may be damaged: run `wallprint models pull {network.spec.name}`, "
            "or choose another.",
            code="E_BACKEND",
        )

    return run
