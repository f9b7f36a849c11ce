"""`wallprint doctor`: looks at everything a print needs and names the cure for each fault."""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wallprint_protocol import __version__, client, endpoint
from wallprint_protocol.errors import (
    EXIT_DONE,
    EXIT_SERVER,
    LinkClosed,
    LinkTimeout,
    NotInstalled,
    WallprintError,
)

from ..install import plugins
from ..models import store
from ..models.folders import models_dir
from ..terminal import tell

if TYPE_CHECKING:
    from . import Subparsers

OK, WARNING, FAULT = "ok", "warning", "FAULT"
MIN_PYTHON = (3, 10)
PACKAGES = ("pyzmq", "msgpack", "torch", "numpy", "pillow", "safetensors", "pyvips", "tqdm")
_INSTALL = 'python -m pip install "wallprint[server]"'
_NEEDED_DISK_BYTES = 4 << 30  # a 1 m print at 200 ppi in 16 bits, with its temporary files
_NEEDED_MEMORY_BYTES = 3 << 30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        state: OK, WARNING (prints can be made) or FAULT (they cannot).
        what: what was found.
        cure: what to do, "" when all is well.
    """

    state: str
    what: str
    cure: str = ""


def add_to(subparsers: Subparsers, parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add the parser."""
    parser = subparsers.add_parser(
        "doctor",
        parents=list(parents),
        help="check that everything is there, and name the cure for what is not",
        description="Checks Python, packages, devices, networks, state directory, server, disk and "
        "memory. Exit code 3 when no print could be made.",
    )
    parser.add_argument("--json", action="store_true", help="one line on stdout")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check everything; EXIT_SERVER when something essential is broken."""
    findings = []
    for check in CHECKS:
        for finding in _safely(check):
            findings.append(finding)
            if not options.json:
                tell(f"{finding.state:8} {finding.what}")
                if finding.cure:
                    tell(f"{'':8} -> {finding.cure}")
    faults = sum(finding.state == FAULT for finding in findings)
    exit_code = EXIT_SERVER if faults else EXIT_DONE
    if options.json:
        tell(json.dumps({"findings": [asdict(f) for f in findings], "exit_code": exit_code}))
    else:
        tell(f"\n{faults} fault(s): no print can be made." if faults else "\nPrints can be made.")
    return exit_code


def _safely(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """A check must not end the others: whatever it raises is a finding."""
    try:
        yield from check()
    except Exception as error:  # a broken package may raise anything while it is imported
        name = check.__name__.replace("_", " ").strip()
        yield Finding(FAULT, f"{name}: {type(error).__name__}: {error}", _INSTALL)


def _python() -> Iterator[Finding]:
    found = f"Python {platform.python_version()} ({sys.executable}), wallprint {__version__}"
    if sys.version_info < MIN_PYTHON:
        yield Finding(FAULT, found, "install Python 3.10 or newer and wallprint in it")
    else:
        yield Finding(OK, found)


def _packages() -> Iterator[Finding]:
    versions, missing = [], []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        yield Finding(FAULT, f"missing packages: {', '.join(missing)}", _INSTALL)
    yield Finding(OK, ", ".join(versions))


def _picture_library() -> Iterator[Finding]:
    from ..imaging.vips import vips

    library = vips()
    version = ".".join(str(library.version(i)) for i in range(3))
    missing = [
        name
        for name in ("jpegload", "jpegsave", "pngload", "pngsave", "tiffload", "tiffsave")
        if not library.type_find("VipsOperation", name)
    ]
    if missing:
        yield Finding(FAULT, f"libvips {version} lacks {', '.join(missing)}", _INSTALL)
    else:
        yield Finding(OK, f"libvips {version} reads and writes JPEG, PNG and TIFF")


def _devices() -> Iterator[Finding]:
    import torch

    devices = []
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            memory = torch.cuda.get_device_properties(i).total_memory / 2**30
            devices.append(f"{torch.cuda.get_device_name(i)} (CUDA, {memory:.0f} GiB)")
    if torch.backends.mps.is_available():
        devices.append("Apple GPU (MPS)")
    threads = torch.get_num_threads()
    yield Finding(OK, f"devices: {', '.join([*devices, f'CPU ({threads} threads)'])}")
    if not devices:
        yield Finding(
            WARNING,
            "no GPU that PyTorch can use: prints are made on the CPU, which takes minutes",
            "with an NVIDIA card: install its driver and a CUDA build of torch "
            "(pytorch.org, Get Started)",
        )


def _networks() -> Iterator[Finding]:
    for spec, state in store.installed():
        title = f"network {spec.name} ({spec.role})"
        cure = f"wallprint models pull {spec.name}"
        if state == store.MISSING:
            yield Finding(WARNING, f"{title} is fetched at its first use", cure)
        elif state == store.READY and not _intact(spec.name):
            yield Finding(WARNING, f"{title} is damaged; the next use makes it anew", cure)
        else:
            yield Finding(OK, f"{title}: {state}")


def _intact(name: str) -> bool:
    """Whether a converted network's bytes are those that its manifest vouches for."""
    path = models_dir() / f"{name}.safetensors"
    if not path.is_file():
        return True  # used from its package, and verified at each load
    manifest = json.loads((models_dir() / f"{name}.json").read_text("utf-8"))
    return bool(hashlib.sha256(path.read_bytes()).hexdigest() == manifest["sha256"])


def _state_directory() -> Iterator[Finding]:
    directory = endpoint.state_dir()
    if not directory.exists():
        yield Finding(OK, f"state directory {directory} (made with the first print)")
        return
    try:
        endpoint.check_private(directory)
        for name in (endpoint.CONNECTION_FILE, endpoint.LOCK_FILE):
            if (directory / name).exists():
                endpoint.check_private(directory / name)
    except WallprintError as error:
        yield Finding(FAULT, f"state directory: {error.message}", "do that, then `wallprint serve`")
    else:
        yield Finding(OK, f"state directory {directory} is private")


def _server() -> Iterator[Finding]:
    try:
        with client.connect("auto", start=False) as connection:
            status = connection.status()
    except (LinkClosed, LinkTimeout):
        yield Finding(OK, "no server is running; it starts with the first print")
    except WallprintError as error:
        yield Finding(FAULT, f"server: {error.message}", "wallprint stop, or end its process")
    else:
        what = f"server {status['version']} runs at {', '.join(status['endpoints'])}"
        if status["version"] != __version__:
            cure = "wallprint stop; the next print starts the right one"
            yield Finding(FAULT, f"{what}, this program is {__version__}", cure)
        else:
            yield Finding(OK, what)


def _launcher() -> Iterator[Finding]:
    try:
        argv = endpoint.find_launcher(endpoint.state_dir())
    except NotInstalled:
        yield Finding(
            WARNING,
            "the editors cannot start the server: `wallprint` is not on the PATH",
            f"put {Path(sys.executable).parent} on the PATH, or set WALLPRINT_SERVER",
        )
    except WallprintError as error:
        yield Finding(WARNING, f"the editors cannot start the server: {error.message}")
    else:
        yield Finding(OK, f"the editors start the server with: {' '.join(argv)}")


def _editors() -> Iterator[Finding]:
    for editor in plugins.EDITORS:
        for in_order, what, cure in plugins.check(editor):
            yield Finding(OK if in_order else WARNING, f"{editor}: {what}", cure)


def _room() -> Iterator[Finding]:
    state = endpoint.state_dir()
    existing = next(path for path in (state, *state.parents) if path.exists())
    for folder in dict.fromkeys((existing, Path(tempfile.gettempdir()), Path.cwd())):
        free = shutil.disk_usage(folder).free
        what = f"{free / 1e9:.0f} GB free in {folder}"
        if free < _NEEDED_DISK_BYTES:
            yield Finding(WARNING, what, "free some: a large print takes several GB for a while")
        else:
            yield Finding(OK, what)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    what = f"{total / 2**30:.0f} GiB of memory"
    if total < _NEEDED_MEMORY_BYTES:
        yield Finding(WARNING, what, "close other programs while a print is made")
    else:
        yield Finding(OK, what)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _python,
    _packages,
    _picture_library,
    _devices,
    _networks,
    _state_directory,
    _server,
    _launcher,
    _editors,
    _room,
)
