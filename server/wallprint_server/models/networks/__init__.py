"""Network definitions, one file each, and the table that builds them by architecture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wallprint_protocol.errors import ServerTrouble

from ..catalog import NetworkSpec
from . import cleaner, mssnet_tensors
from .cleaner import Cleaner
from .deringer import Deringer
from .mssnet import MSSNet
from .rrdb import Rrdb
from .span import Span, calmed
from .user import open_user_network
from .waifu2x import Repairer


def build(spec: NetworkSpec) -> nn.Module:
    """The network of a catalogue row, with random weights.

    Raises:
        KeyError: no such architecture.
    """
    if spec.architecture == "span":
        return Span(spec.scale)
    if spec.architecture == "rrdb":
        return Rrdb()
    if spec.architecture == "waifu2x":
        return Repairer()
    if spec.architecture == "cleaner":
        return Cleaner()
    if spec.architecture == "deringer":
        return Deringer()
    raise KeyError(spec.architecture)


def load(spec: NetworkSpec, tensors: dict[str, Tensor], strength: float = 1.0) -> nn.Module:
    """The network with the given tensors (`store.load`).

    Args:
        spec: its row of the catalogue.
        tensors: float32.
        strength: of networks that have one, cleaner.FADE..1; others do not look at it.

    Raises:
        ServerTrouble: a user's network, and spandrel is not there (E_MODEL_LOAD).
    """
    if spec.architecture == "spandrel":
        try:
            return open_user_network(tensors)[0]
        except ModuleNotFoundError as error:
            raise ServerTrouble(str(error), code="E_MODEL_LOAD") from error
    if spec.architecture == "mssnet":  # of what width, only its tensors tell
        with torch.device("meta"):
            deblurrer = MSSNet(*mssnet_tensors.sizes_of(tensors))
        deblurrer.load_state_dict(mssnet_tensors.unpacked(tensors), assign=True)
        return deblurrer
    with torch.device("meta"):  # no random weights that are thrown away at once
        module = build(spec)
    if spec.architecture == "cleaner":
        tensors = cleaner.at_strength(tensors, strength)
    if spec.contrast != 1.0:
        tensors = calmed(tensors, spec.contrast)
    module.load_state_dict(tensors, assign=True)
    return module
