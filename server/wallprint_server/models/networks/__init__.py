"""Network definitions, one file each, and the table that builds them by architecture."""

from __future__ import annotations

from torch import Tensor, nn

from ..catalog import NetworkSpec
from .rrdb import Rrdb
from .span import Span, calmed
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
    raise KeyError(spec.architecture)


def load(spec: NetworkSpec, tensors: dict[str, Tensor]) -> nn.Module:
    """The network with the given tensors (`store.load`)."""
    module = build(spec)
    if spec.contrast != 1.0:
        tensors = calmed(tensors, spec.contrast)
    module.load_state_dict(tensors)
    return module
