"""Reads a published MSSNet checkpoint, `{'model_state_dict': ...}`, without running what is in it.

As every file from elsewhere it is opened in a child process by a reader that takes tensors only
(`user_import`). Knows nothing of what the network is used for.

`python -m wallprint_server.models.mssnet_import FILE FOLDER` is that child.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import safetensors.torch

from . import user_import
from .networks import mssnet_tensors
from .networks.mssnet import MSSNet

KEPT = "network.safetensors"


def load_official(path: Path) -> MSSNet:
    """The network of a checkpoint, its variant found from the shapes.

    Args:
        path: a .pt, .pth or .ckpt with `model_state_dict` (names may begin with `module.`).

    Raises:
        BadInput: no such file (E_MODEL_NOT_FOUND), or not to be used (E_MODEL_UNTRUSTED): damaged,
            holds code, needs too much memory, a name or shape that does not fit, PReLUs that
            differ, numbers that are not finite; one sentence.
    """
    user_import.require_file(path)
    with tempfile.TemporaryDirectory(prefix="wallprint-model-") as folder:
        user_import.in_child(path, Path(folder), __name__)
        tensors = safetensors.torch.load_file(Path(folder, KEPT))
    network = MSSNet(*mssnet_tensors.sizes_of(tensors))
    network.load_state_dict(mssnet_tensors.unpacked(tensors))
    return network.eval()


def _check_and_keep(path: Path, folder: Path) -> dict[str, Any]:
    """In the child: the checked tensors go into a file of plain tensors, float32."""
    user_import.limit_memory()
    tensors = user_import.read_tensors(path)
    try:
        variant = mssnet_tensors.variant_of(tensors)
    except ValueError as error:
        raise user_import.Refused(str(error)) from None
    kept = {k: v.float().contiguous().clone() for k, v in mssnet_tensors.packed(tensors).items()}
    about = {"arch": "mssnet", "variant": variant}
    safetensors.torch.save_file(kept, folder / KEPT, metadata=about)
    return about


if __name__ == "__main__":
    target = Path(sys.argv[2])
    user_import.child(target, lambda: _check_and_keep(Path(sys.argv[1]), target))
