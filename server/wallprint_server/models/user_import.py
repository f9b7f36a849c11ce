"""Takes a network file that the user brings (`--model PATH`) into the user's folder, if it is safe.

A `.pth` is a pickle, and anything may be in it. The file is therefore opened in a child process of
its own, by readers that take tensors only, under a memory limit; what leaves the child is a
.safetensors file and a record of what was measured. Knows nothing of pipelines.

`python -m wallprint_server.models.user_import FILE FOLDER` is that child.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wallprint_protocol.errors import BadInput

from . import catalog, store
from .folders import user_models_dir

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")
MAX_FILE_BYTES = 2 << 30
MEMORY_BYTES = 6 << 30
CHECK_TIMEOUT_S = 900.0
MAX_SCALE = 8
REACHES_PX = (8, 16, 24, 32, 48, 64, 96)
TEST_SIDE_PX = 256
KEPT_PX = 32
EXACT, NEARLY = 1e-5, 2.5e-3
SPAN_EAGER_US_PER_PX = 11.0


def add(path: Path) -> str:
    """Check a network file and make it usable under the returned name.

    Args:
        path: .safetensors, or a .pth/.pt/.ckpt that torch reads with `weights_only`.

    Returns:
        `user-<stem>-<first 8 digits of the SHA-256>`, for `catalog.get`.

    Raises:
        BadInput: no such file, not a network that fits, or not to be trusted; one sentence.
    """
    require_file(path)
    stem = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-")[:40] or "network"
    digest = _sha256(path)
    name = f"{catalog.USER_PREFIX}{stem}-{digest[:8]}"
    with tempfile.TemporaryDirectory(prefix="wallprint-model-") as folder:
        record = in_child(path, Path(folder), __spec__.name)
        content = Path(folder, "network.safetensors").read_bytes()
    record |= {
        "title": f"{path.name} (your own)",
        "path": str(path.absolute()),
        "file_sha256": digest,
    }
    store.write_network(user_models_dir(), name, content, record)
    return name


def require_file(path: Path) -> None:
    """Raise BadInput unless `path` is a file that may hold a network."""
    size = path.stat().st_size if path.is_file() else -1
    if size < 0:
        raise BadInput(f"There is no network file {path}.", code="E_MODEL_NOT_FOUND")
    if path.suffix.lower() not in SUFFIXES:
        raise refused(path, f"its name must end in one of {', '.join(SUFFIXES)}")
    if not 0 < size <= MAX_FILE_BYTES:
        raise refused(path, f"it has {size} bytes (1 to {MAX_FILE_BYTES} are allowed)")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def in_child(path: Path, folder: Path, module: str, *more: str) -> dict[str, Any]:
    """Have `module` check a file in a process of its own.

    Args:
        path: of the file, the process's first argument.
        folder: takes what the process writes, its second argument; `answer.json` is its record.
        module: to run.
        more: further arguments.

    Raises:
        BadInput: with the reason that the record names under "refused" or "missing".
    """
    command = [sys.executable, "-m", module, str(path.absolute()), str(folder), *more]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CHECK_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise refused(path, f"checking it took more than {CHECK_TIMEOUT_S:.0f} s") from None
    try:
        answer: dict[str, Any] = json.loads(Path(folder, "answer.json").read_text())
    except (OSError, ValueError):
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise refused(path, f"checking it ended with {done.returncode} ({lines[-1]})") from None
    if "missing" in answer:
        raise BadInput(answer["missing"], code="E_MODEL_LOAD")
    if "refused" in answer:
        raise refused(path, answer["refused"])
    return answer


def refused(path: Path, why: str) -> BadInput:
    """The error of a file that is not taken; `why` ends its sentence."""
    return BadInput(f"The network file {path.name} was refused: {why}.", code="E_MODEL_UNTRUSTED")


class Refused(Exception):
    """Inside the child: why the file is refused, as the end of a sentence."""


def child(folder: Path, work: Callable[[], dict[str, Any]]) -> None:
    """What the child does; its answer goes into a file, as libraries may print.

    Args:
        folder: takes `answer.json`.
        work: gives the record, or raises `Refused`.
    """
    answer: dict[str, Any]
    try:
        answer = work()
    except Refused as error:
        answer = {"refused": str(error)}
    except ModuleNotFoundError as error:
        answer = {"missing": str(error)}
    except Exception as error:  # the edge of the child: the parent turns it into one sentence
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if isinstance(error, MemoryError) or "allocate memory" in first:
            answer = {"refused": f"it needs more than {MEMORY_BYTES >> 30} GiB of memory"}
        else:
            answer = {"refused": f"it cannot be used ({first[:200]})"}
    Path(folder, "answer.json").write_text(json.dumps(answer))


def _check_and_keep(path: Path, folder: Path) -> dict[str, Any]:
    """In the child: everything about the file; its tensors go into `network.safetensors`."""
    import safetensors.torch
    import torch

    from .networks.user import open_user_network

    limit_memory()
    tensors = read_tensors(path)
    module, answer = open_user_network(tensors)
    _check_contract(answer)
    with torch.inference_mode():
        answer |= _measure(module, answer["scale"], answer["multiple"])
    content = safetensors.torch.save({k: v.contiguous().clone() for k, v in tensors.items()})
    Path(folder, "network.safetensors").write_bytes(content)
    return answer


def limit_memory() -> None:
    """Let the process grow by MEMORY_BYTES from here on; the libraries are mapped already."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of the file; never runs code from it."""
    import pickle

    import safetensors.torch
    import torch

    try:
        if path.suffix.lower() == ".safetensors":
            loaded: Any = safetensors.torch.load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise Refused("it holds code or objects, not only tensors") from None
    except (safetensors.SafetensorError, EOFError, ValueError, KeyError):
        raise Refused("it is damaged or not a network file") from None
    except (RuntimeError, OSError) as error:
        if "allocate memory" in str(error):
            raise
        raise Refused("it is damaged or not a network file") from None
    tensors = _unwrapped(loaded)
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise Refused(f"its tensor {key!r} has numbers that are not finite")
    return tensors


def _unwrapped(loaded: Any) -> dict[str, Tensor]:
    """The tensors out of the wrappers that training programs put around them."""
    import torch

    for key in ("params_ema", "params", "state_dict", "model_state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict):
        raise Refused("it holds no table of tensors")
    tensors = {
        str(key).removeprefix("module."): value
        for key, value in loaded.items()
        if isinstance(value, torch.Tensor)
    }
    if not tensors:
        raise Refused("it holds no tensors")
    return tensors


def _check_contract(found: dict[str, Any]) -> None:
    """Picture in, picture out, whole scale."""
    if (found["channels_in"], found["channels_out"]) != (3, 3):
        raise Refused(
            f"it maps {found['channels_in']} to {found['channels_out']} channels; "
            "RGB to RGB is needed"
        )
    if not 1 <= found["scale"] <= MAX_SCALE:
        raise Refused(f"its scale {found['scale']} is not within 1 to {MAX_SCALE}")


def _measure(module: Any, scale: int, multiple: int) -> dict[str, Any]:
    """Speed, and the border that a tile must discard, by cutting tiles out of a picture.

    Returns:
        reach_px, exact, cost, bytes_per_px, window_px (see catalog.NetworkSpec).
    """
    import torch
    from torch.nn import functional as F

    side = -(-TEST_SIDE_PX // multiple) * multiple
    generator = torch.Generator().manual_seed(3)
    x = torch.zeros(1, 3, side, side)
    for cell in (4, 32):  # detail and large shapes
        noise = torch.rand(1, 3, side // cell, side // cell, generator=generator)
        x += F.interpolate(noise, size=(side, side), mode="bicubic").clamp(0, 1) / 2
    began = time.perf_counter()
    whole = module(x)
    us_per_px = (time.perf_counter() - began) * 1e6 / side**2
    if tuple(whole.shape) != (1, 3, side * scale, side * scale):
        raise Refused(f"it turns {side} px into a result of {tuple(whole.shape)}")
    if not bool(torch.isfinite(whole).all()):
        raise Refused("its result on a test picture is not finite")
    # Off any grid of windows inside the network (but for the multiple that it states).
    start = (side // 2 - 3) // multiple * multiple
    centre = slice(start * scale, (start + KEPT_PX) * scale)
    errors: dict[int, float] = {}
    for wanted in REACHES_PX:
        reach = -(-wanted // multiple) * multiple
        window = slice(start - reach, start + -(-(KEPT_PX + reach) // multiple) * multiple)
        kept = slice(reach * scale, (reach + KEPT_PX) * scale)
        tile = module(x[..., window, window].contiguous())[..., kept, kept]
        errors[reach] = float((tile - whole[..., centre, centre]).abs().max())
        if errors[reach] <= EXACT:
            break
    # The smallest border that is exact, else the smallest that is nearly so, else the largest.
    reach = next((r for limit in (EXACT, NEARLY) for r, e in errors.items() if e <= limit), reach)
    error = errors[reach]
    return {
        "reach_px": reach,
        "exact": error <= EXACT,
        "tile_error": error,
        "cost": max(0.1, us_per_px / SPAN_EAGER_US_PER_PX),
        "bytes_per_px": 50_000,
        "window_px": -(-(256 + 2 * reach) // multiple) * multiple,
    }


if __name__ == "__main__":
    child(Path(sys.argv[2]), lambda: _check_and_keep(Path(sys.argv[1]), Path(sys.argv[2])))
