"""A network file that the user brought: its architecture is recognised by the library spandrel.

spandrel (and with it torchvision) is an optional extra, imported here and nowhere else, only when
such a network is used.
"""

from __future__ import annotations

import importlib
from typing import Any

from torch import Tensor, nn

SPANDREL_MISSING = (
    "Network files of your own need the package spandrel, which is not installed or cannot be "
    "loaded; install it with: pip install 'wallprint[models]'."
)


class UserNetwork(nn.Module):
    """spandrel's description of a network, as a module.

    Args:
        descriptor: spandrel's ImageModelDescriptor.
    """

    def __init__(self, descriptor: Any) -> None:
        super().__init__()
        self.model: nn.Module = descriptor.model
        self.descriptor = descriptor

    def forward(self, x: Tensor) -> Tensor:
        """(1, 3, H, W) in [0, 1] -> (1, 3, sH, sW) in [0, 1]; pads to sizes that it needs."""
        y: Tensor = self.descriptor(x)
        return y


def open_user_network(tensors: dict[str, Tensor]) -> tuple[UserNetwork, dict[str, Any]]:
    """Recognise the architecture and build it.

    Args:
        tensors: as in the file, wrappers of training programs allowed.

    Returns:
        The network, and `architecture`, `scale`, `multiple`, `channels_in`, `channels_out`.

    Raises:
        ModuleNotFoundError: spandrel is not installed, or its torchvision does not fit.
        ValueError: not a network that turns a picture into a picture.
    """
    try:
        spandrel = importlib.import_module("spandrel")
    except (ImportError, RuntimeError) as error:  # a mismatched torchvision raises RuntimeError
        raise ModuleNotFoundError(SPANDREL_MISSING) from error
    try:
        descriptor = spandrel.ModelLoader(device="cpu").load_from_state_dict(
            spandrel.canonicalize_state_dict(dict(tensors))
        )
    except spandrel.UnsupportedModelError as error:
        raise ValueError("its architecture is not known to spandrel") from error
    if not isinstance(descriptor, spandrel.ImageModelDescriptor):
        raise ValueError("it does not turn one picture into another")
    return UserNetwork(descriptor), {
        "architecture": str(descriptor.architecture.name),
        "scale": int(descriptor.scale),
        "multiple": max(1, int(descriptor.size_requirements.multiple_of)),
        "channels_in": int(descriptor.input_channels),
        "channels_out": int(descriptor.output_channels),
    }
