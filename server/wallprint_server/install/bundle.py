"""What a plug-in folder consists of: our files, the protocol package, msgpack, translations.

Plug-ins ship no binary module: msgpack is its pure-Python files (Apache-2.0), taken from the
installed package, and every file is the same for all systems.
"""

from __future__ import annotations

import sys
from importlib import metadata, util
from pathlib import Path, PurePosixPath

import wallprint_protocol

from . import catalogues

DOMAIN = "wallprint"
GIMP_FOLDER = "wallprint-gimp"
KRITA_FOLDER = "wallprint_krita"
_MSGPACK_FILES = ("__init__.py", "exceptions.py", "ext.py", "fallback.py")

Files = dict[PurePosixPath, bytes]
"""Path inside the editor's plug-in folder -> content."""


class SourcesMissing(Exception):
    """The plug-ins' own files, or msgpack, cannot be found."""


def plugin_sources() -> Path:
    """The folder that holds `plugin_gimp` and `plugin_krita`: the checkout, or `share/wallprint`.

    Raises:
        SourcesMissing: neither is there.
    """
    for folder in (Path(__file__).parents[3], Path(sys.prefix) / "share" / "wallprint"):
        if (folder / "plugin_gimp").is_dir():
            return folder
    raise SourcesMissing(
        "The plug-ins' files are not part of this installation; run this from a checkout of "
        "wallprint (git clone, then pip install -e .)."
    )


def gimp_files() -> Files:
    """Everything that goes into GIMP's `plug-ins` folder."""
    root = plugin_sources()
    files = _tree(root / "plugin_gimp" / GIMP_FOLDER, PurePosixPath(GIMP_FOLDER))
    return files | _common(root, PurePosixPath(GIMP_FOLDER))


def krita_files() -> Files:
    """Everything that goes into Krita's resource folder (`pykrita`, `actions`)."""
    root = plugin_sources()
    folder = PurePosixPath("pykrita")
    files = _tree(root / "plugin_krita" / KRITA_FOLDER, folder / KRITA_FOLDER)
    files |= _common(root, folder / KRITA_FOLDER)
    desktop = root / "plugin_krita" / f"{KRITA_FOLDER}.desktop"
    action = root / "plugin_krita" / f"{KRITA_FOLDER}.action"
    files[folder / desktop.name] = desktop.read_bytes()
    files[PurePosixPath("actions") / action.name] = action.read_bytes()
    return files


def _common(root: Path, folder: PurePosixPath) -> Files:
    own = Path(wallprint_protocol.__file__).parent
    files = _tree(own, folder / "vendor" / "wallprint_protocol")
    files |= _msgpack(folder / "vendor")
    for language, mo in catalogues.compile_all(root / "shared" / "po").items():
        files[folder / "locale" / language / "LC_MESSAGES" / f"{DOMAIN}.mo"] = mo
    licence = root / "LICENSE"
    if licence.is_file():
        files[folder / "LICENSE"] = licence.read_bytes()
    return files


def _msgpack(folder: PurePosixPath) -> Files:
    spec = util.find_spec("msgpack")
    if spec is None or spec.origin is None:
        raise SourcesMissing("msgpack is not installed; run pip install msgpack.")
    package = Path(spec.origin).parent
    files = {folder / "msgpack" / name: (package / name).read_bytes() for name in _MSGPACK_FILES}
    for file in metadata.files("msgpack") or []:
        if file.name in ("COPYING", "LICENSE"):  # the notice that Apache-2.0 asks for
            files[folder / "msgpack" / "COPYING"] = Path(str(file.locate())).read_bytes()
    return files


def _tree(source: Path, target: PurePosixPath) -> Files:
    return {
        target / path.relative_to(source).as_posix(): path.read_bytes()
        for path in sorted(source.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
