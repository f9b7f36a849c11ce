"""Two guards around every network call: answers that cannot be right, and memory that runs out.

Knows nothing of tiles; `enhance.py` decides what is computed again.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from wallprint_protocol.errors import WallprintError

from ..models.engine import Network

# A tile whose mean is this far from its input's is not an enhancement of it. Real networks stay
# within 0.03 even on noise; a black tile of a mid-grey picture is 0.5 off.
MAX_MEAN_CHANGE = 0.2


def plausible(x: Tensor, y: Tensor) -> bool:
    """Whether `y` can be a network's answer to `x`: all finite, and about as bright."""
    # One transfer from the device. NaN and inf survive a mean, and compare as false.
    after, before = torch.stack([y.mean(), x.mean()]).tolist()
    return bool(abs(after - before) < MAX_MEAN_CHANGE)


def guarded(network: Network, on_redo: Callable[[str], None]) -> Callable[[Tensor], Tensor]:
    """Wrap a network: a black or NaN tile is computed again in plain float32.

    Args:
        network: as the engine gives it.
        on_redo: called with the network's name when a tile had to be computed again.

    Returns:
        A function that raises WallprintError (E_BACKEND) when float32 fails as well.
    """

    def run(x: Tensor) -> Tensor:
        y = network(x)
        if plausible(x, y):
            return y
        on_redo(network.spec.name)
        y = network.eager(x)
        if not plausible(x, y):
            raise WallprintError(
                f"The network {network.spec.name} gave a black or undefined tile even in float32; "
                "its file may be damaged: run `wallprint models pull "
                f"{network.spec.name}`, or choose another.",
                code="E_BACKEND",
            )
        return y

    return run
