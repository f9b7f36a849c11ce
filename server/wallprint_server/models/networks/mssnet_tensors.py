"""What a table of tensors must be to be an MSSNet: names, shapes, the one PReLU, finite numbers.

Knows nothing of files. A full table has 328 names, 87 of which are the same PReLU; a packed one,
as in our own files (safetensors keeps no two names for one tensor), has 242.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .mssnet import VARIANTS, MSSNet

PRELU = "shallow_feat1.1.body.1.weight"
PRELU_SUFFIX = ".body.1.weight"
# The tensors whose first sides are the three widths.
WIDTH_KEYS = ("shallow_feat1.0.weight", "E1_1.down12.down.1.weight", "E1_1.down23.down.1.weight")
MAX_WIDTH = 1024


def sizes_of(tensors: Mapping[str, Tensor]) -> tuple[int, int, int]:
    """Arguments of `MSSNet` (width, scale, vscale) that fit a table.

    Raises:
        ValueError: the end of a sentence that says why none fit.
    """
    widths = []
    for key in WIDTH_KEYS:
        if key not in tensors:
            raise ValueError(f"it is no MSSNet, it lacks {key!r}")
        if tensors[key].dim() != 4 or not 1 <= tensors[key].shape[0] <= MAX_WIDTH:
            raise ValueError(f"its {key!r} has the shape {tuple(tensors[key].shape)}")
        widths.append(tensors[key].shape[0])
    return widths[0], widths[1] - widths[0], widths[2] - widths[1]


def variant_of(tensors: Mapping[str, Tensor]) -> str:
    """Name of the published variant, "small", "base" or "large", that a full table is.

    Raises:
        ValueError: the end of a sentence: the first name or shape that does not fit.
    """
    sizes = sizes_of(tensors)
    for name, known in VARIANTS.items():
        if sizes == known:
            check(tensors, sizes)
            return name
    known_sizes = ", ".join(f"{name} {sizes}" for name, sizes in VARIANTS.items())
    raise ValueError(f"its width, scale, vscale are {sizes}; published are {known_sizes}")


def check(tensors: Mapping[str, Tensor], sizes: tuple[int, int, int]) -> None:
    """Raise ValueError unless the full table fits `MSSNet(*sizes)` and can be used.

    Raises:
        ValueError: the end of a sentence that names the first tensor that is missing, unknown, of
            another shape or type, not finite, or a PReLU that differs from the others.
    """
    with torch.device("meta"):
        expected = {k: tuple(v.shape) for k, v in MSSNet(*sizes).state_dict().items()}
    for key in sorted(expected.keys() ^ tensors.keys()):
        raise ValueError(f"it {'lacks' if key in expected else 'has the unknown'} {key!r}")
    for key, shape in expected.items():
        found = tuple(tensors[key].shape)
        if found != shape:
            raise ValueError(f"its {key!r} has the shape {found} where {shape} is needed")
        if not tensors[key].is_floating_point():
            raise ValueError(f"its {key!r} holds {tensors[key].dtype}, not real numbers")
        if not bool(torch.isfinite(tensors[key]).all()):
            raise ValueError(f"its tensor {key!r} has numbers that are not finite")
        if key.endswith(PRELU_SUFFIX) and not torch.equal(tensors[key], tensors[PRELU]):
            raise ValueError(
                f"its {key!r} is {tensors[key].item():g} and {PRELU!r} {tensors[PRELU].item():g}, "
                "which must be one number"
            )


def packed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A full table (328 names) with the PReLU under one name (242)."""
    return {k: v for k, v in tensors.items() if k == PRELU or not k.endswith(PRELU_SUFFIX)}


def unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A packed table with the PReLU under all of its names; a full one unchanged.

    Raises:
        ValueError: the end of a sentence; no MSSNet.
    """
    sizes = sizes_of(tensors)
    if PRELU not in tensors:
        raise ValueError(f"it lacks {PRELU!r}")
    with torch.device("meta"):
        names = MSSNet(*sizes).state_dict().keys()
    aliases = {name: tensors[PRELU] for name in names if name.endswith(PRELU_SUFFIX)}
    return aliases | dict(tensors)
