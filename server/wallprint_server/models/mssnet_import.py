"""Takes a published MSSNet checkpoint, `{'model_state_dict': ...}`, without running what is in it.

As every file from elsewhere it is opened in a child process by a reader that takes tensors only
(`user_import`). Knows nothing of pipelines.

`python -m wallprint_server.models.mssnet_import FILE FOLDER` is that child.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional as F

from wallprint_protocol.errors import BadInput

from . import catalog, store, user_import
from .folders import user_models_dir
from .networks import mssnet_tensors
from .networks.mssnet import MULTIPLE, MSSNet, half_input

KEPT = "network.safetensors"
# Multiples of 16, so that a tile's parts of the half-size picture are whole pixels.
REACHES_PX = (64, 96, 128, 160, 192)
CORE_PX = 32
TILE_ERROR = 1e-3
# Measured: time per px on a CPU (span-x4 = 1) and working memory of the faster way, ncnn.
COSTS: dict[str, dict[str, float]] = {
    "small": {"cost": 1.1, "bytes_per_px": 2200, "window_px": 640},
    "base": {"cost": 3.9, "bytes_per_px": 5500, "window_px": 512},
    "large": {"cost": 7.8, "bytes_per_px": 8500, "window_px": 512},
}


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


def add(name: str, path: Path) -> str:
    """Make a checkpoint the deblurring network; how far it reaches is measured (a minute or two).

    Args:
        name: lower-case letters, digits, hyphens; for the user.
        path: of the checkpoint, see `load_official`.

    Returns:
        `user-<name>`, for `catalog.get`.

    Raises:
        BadInput: the name, or as `load_official`.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", name):
        raise BadInput(
            f"The name {name!r} will not do; use up to 40 lower-case letters, digits and hyphens, "
            "for example mssnet-gopro."
        )
    user_import.require_file(path)
    with tempfile.TemporaryDirectory(prefix="wallprint-model-") as folder:
        about = user_import.in_child(path, Path(folder), __name__, "measure")
        content = Path(folder, KEPT).read_bytes()
    record = {
        "title": f"{path.name} (deblurring, MSSNet {about['variant']})",
        "path": str(path.absolute()),
        "architecture": "mssnet",
        "role": "deblur",
        "scale": 1,
        "multiple": MULTIPLE,
        "exact": False,
        "half": True,
        "reach_px": about["reach_px"],
        **COSTS[about["variant"]],
    }
    full_name = f"{catalog.USER_PREFIX}{name}"
    store.write_network(user_models_dir(), full_name, content, record)
    return full_name


def measured_reach(network: MSSNet) -> int:
    """Border in px that a tile must discard so that it agrees with the whole picture.

    The least of `REACHES_PX` at which a tile's middle differs from the whole's by at most
    `TILE_ERROR` of what the network changes, both as root mean squares; else the largest.
    """
    side = CORE_PX + 2 * REACHES_PX[-1] + 2 * MULTIPLE
    x = _blurred_shapes(side)
    with torch.inference_mode():
        b2 = half_input(x)
        whole = network(x, b2)
        for reach in REACHES_PX:
            a, b = (side - CORE_PX) // 2 - reach, (side + CORE_PX) // 2 + reach
            half = slice(a // 2, b // 2)
            tile = network(x[..., a:b, a:b], b2[..., half, half])
            inner = slice(reach, reach + CORE_PX)
            middle = slice(a + reach, b - reach)
            error = tile[..., inner, inner] - whole[..., middle, middle]
            change = (whole - x)[..., middle, middle]
            if float(error.square().mean().sqrt() / change.square().mean().sqrt()) <= TILE_ERROR:
                return reach
    return REACHES_PX[-1]


def _blurred_shapes(side: int) -> Tensor:
    """A picture to measure with: shapes and grain of several sizes, shaken by 9 px."""
    generator = torch.Generator().manual_seed(5)
    x = torch.zeros(1, 3, side, side)
    for cell in (4, 16, 64):
        noise = torch.rand(1, 3, side // cell + 1, side // cell + 1, generator=generator)
        x += F.interpolate(noise, scale_factor=cell, mode="nearest")[..., :side, :side] / 3
    padded = F.pad(x, (4, 4, 0, 0), mode="replicate")
    return F.avg_pool2d(padded, (1, 9), 1)


def _check_and_keep(path: Path, folder: Path, *, measure: bool) -> dict[str, Any]:
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
    if not measure:
        return about
    network = MSSNet(*mssnet_tensors.sizes_of(tensors))
    network.load_state_dict(tensors)
    return {**about, "reach_px": measured_reach(network.eval())}


if __name__ == "__main__":
    target = Path(sys.argv[2])
    wanted = sys.argv[3:] == ["measure"]
    user_import.child(target, lambda: _check_and_keep(Path(sys.argv[1]), target, measure=wanted))
