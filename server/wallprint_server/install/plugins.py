"""`wallprint install|uninstall gimp|krita` and `wallprint package`: finds the editors' folders.

Every editor reads plug-ins from a folder of the user's; which one depends on how it was packaged.
A folder that exists is an editor that has run here; without any, the plain package's is made.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from wallprint_protocol import endpoint

from . import bundle

EDITORS = ("gimp", "krita")
_GIMP_MINORS = ("3.0", "3.2")
_MARK = ".wallprint-files"  # lists what was installed, so that uninstall removes just that
_ENABLE = "enable_wallprint_krita"


@dataclass(frozen=True)
class Target:
    """One place that an editor reads plug-ins from.

    Attributes:
        editor: an entry of EDITORS.
        folder: GIMP's `plug-ins`, or Krita's resource folder (the one with `pykrita`).
        packaging: how that editor was installed, for people.
        krita_config: Krita's `kritarc`, in which Python plug-ins are switched on.
    """

    editor: str
    folder: Path
    packaging: str
    krita_config: Path | None = None


def find_targets(
    editor: str,
    *,
    home: Path | None = None,
    platform: str = sys.platform,
    environment: Mapping[str, str] = os.environ,
) -> list[Target]:
    """Where this user's editors look for plug-ins; the plain package's place if none has run."""
    home = home or Path.home()
    found = (_gimp if editor == "gimp" else _krita)(home, platform, environment)
    present = [target for target, exists in found if exists]
    return present or [found[0][0]]


def _gimp(home: Path, platform: str, environment: Mapping[str, str]) -> list[tuple[Target, bool]]:
    if platform == "win32":
        roaming = Path(environment.get("APPDATA") or home / "AppData" / "Roaming")
        bases = [(roaming / "GIMP", "Windows")]
    elif platform == "darwin":
        bases = [(home / "Library" / "Application Support" / "GIMP", "macOS")]
    else:
        config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
        bases = [
            (config / "GIMP", "package, AppImage or Flatpak"),
            (home / ".var" / "app" / "org.gimp.GIMP" / "config" / "GIMP", "Flatpak"),
            (home / "snap" / "gimp" / "current" / ".config" / "GIMP", "snap"),
        ]
    found = []
    for base, packaging in bases:
        minors = set(_GIMP_MINORS)
        if base.is_dir():  # a later version that is there already counts too
            minors |= {p.name for p in base.iterdir() if re.fullmatch(r"3\.\d+", p.name)}
        for minor in sorted(minors):
            target = Target("gimp", base / minor / "plug-ins", f"GIMP {minor}, {packaging}")
            found.append((target, (base / minor).is_dir()))
    own = environment.get("GIMP3_DIRECTORY")
    if own:
        target = Target("gimp", Path(own) / "plug-ins", "GIMP3_DIRECTORY")
        found.insert(0, (target, True))
    return found


def _krita(home: Path, platform: str, environment: Mapping[str, str]) -> list[tuple[Target, bool]]:
    if platform == "win32":
        roaming = Path(environment.get("APPDATA") or home / "AppData" / "Roaming")
        local = Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local")
        places = [(roaming / "krita", local / "kritarc", "Windows")]
    elif platform == "darwin":
        library = home / "Library"
        places = [
            (
                library / "Application Support" / "krita",
                library / "Preferences" / "kritarc",
                "macOS",
            )
        ]
    else:
        data = Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share")
        config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
        flatpak = home / ".var" / "app" / "org.kde.krita"
        snap = home / "snap" / "krita" / "current"
        places = [
            (data / "krita", config / "kritarc", "package or AppImage"),
            (flatpak / "data" / "krita", flatpak / "config" / "kritarc", "Flatpak"),
            (snap / ".local" / "share" / "krita", snap / ".config" / "kritarc", "snap"),
        ]
    return [
        (Target("krita", folder, f"Krita, {packaging}", config), folder.is_dir())
        for folder, config, packaging in places
    ]


def target_at(editor: str, path: Path) -> Target:
    """A folder named by the user; Krita's settings are looked for beside it."""
    config = path.parent.parent / "config" / "kritarc" if editor == "krita" else None
    return Target(editor, path, "as asked", config if config and config.is_file() else None)


def _files(editor: str) -> bundle.Files:
    return bundle.gimp_files() if editor == "gimp" else bundle.krita_files()


def install(target: Target, *, dry_run: bool = False) -> list[str]:
    """Put the plug-in in place; what an older version left is removed first.

    Returns:
        What was done, one sentence each.

    Raises:
        OSError: the folder cannot be written.
        bundle.SourcesMissing: there is nothing to install.
    """
    files = _files(target.editor)
    done = [] if dry_run else uninstall(target, keep_enabled=True)
    what = f"{len(files)} files into {target.folder} ({target.packaging})"
    if dry_run:
        return [f"Would put {what}."]
    for path, content in files.items():
        place = target.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        if path.name == f"{bundle.GIMP_FOLDER}.py":
            place.chmod(0o755)  # GIMP starts it as a program
    _mark(target).write_text("\n".join(str(path) for path in files), "utf-8")
    done = [f"Put {what}."]
    if target.editor == "krita":
        done.append(_enable(target))
    return [*done, f"Restart {'GIMP' if target.editor == 'gimp' else 'Krita'} to see it."]


def uninstall(target: Target, *, dry_run: bool = False, keep_enabled: bool = False) -> list[str]:
    """Remove what `install` put there, and nothing else.

    Returns:
        What was done, one sentence each.
    """
    mark = _mark(target)
    if not mark.is_file():
        return [f"Nothing of wallprint in {target.folder}."]
    names = [PurePosixPath(line) for line in mark.read_text("utf-8").splitlines()]
    # The list is our own file; still nothing outside the folder may go.
    names = [name for name in names if not name.is_absolute() and ".." not in name.parts]
    if dry_run:
        return [f"Would remove {len(names)} files from {target.folder}."]
    folders: set[Path] = set()
    for name in names:
        (target.folder / name).unlink(missing_ok=True)
        folders |= {target.folder / parent for parent in name.parents if parent.parts}
    mark.unlink()
    for folder in sorted(folders, key=lambda f: len(f.parts), reverse=True):
        shutil.rmtree(folder / "__pycache__", ignore_errors=True)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    if target.krita_config and not keep_enabled:
        _set_enabled(target.krita_config, enabled=False)
    return [f"Removed {len(names)} files from {target.folder}."]


def launcher() -> list[str]:
    """The command that is this installation's `wallprint` program."""
    return [sys.executable, "-m", "wallprint_server.cli"]


def write_launcher() -> str:
    """Tell the editors how this installation's server is started; they rarely have its PATH."""
    directory = endpoint.state_dir()
    endpoint.make_private(directory)
    path = directory / endpoint.LAUNCHER_FILE
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    argv = launcher()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"argv": argv}, file)
    os.replace(temporary, path)
    return f"The editors start the server with: {' '.join(argv)}"


def _mark(target: Target) -> Path:
    inner = bundle.GIMP_FOLDER if target.editor == "gimp" else f"pykrita/{bundle.KRITA_FOLDER}"
    return target.folder / inner / _MARK


def _enable(target: Target) -> str:
    if target.krita_config is None:
        return "Switch it on in Krita: Settings > Configure Krita > Python Plugin Manager."
    _set_enabled(target.krita_config, enabled=True)
    return f"Switched it on in {target.krita_config}."


def _set_enabled(config: Path, *, enabled: bool) -> None:
    """Set the plug-in's switch in `kritarc`, leaving every other line as it is."""
    text = config.read_text("utf-8") if config.is_file() else ""
    lines = [line for line in text.splitlines() if not line.startswith(f"{_ENABLE}=")]
    if enabled:
        if "[python]" not in lines:
            lines += ["", "[python]"] if lines else ["[python]"]
        lines.insert(lines.index("[python]") + 1, f"{_ENABLE}=true")
    new = "\n".join(lines) + "\n"
    if new != text and (enabled or text):
        config.parent.mkdir(parents=True, exist_ok=True)
        temporary = config.with_name(config.name + ".wallprint")
        temporary.write_text(new, "utf-8")
        os.replace(temporary, config)


def is_enabled(config: Path) -> bool:
    """Whether Krita will load the plug-in."""
    text = config.read_text("utf-8") if config.is_file() else ""
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line
        elif section == "[python]" and line == f"{_ENABLE}=true":
            return True
    return False


def _stale(target: Target) -> bool:
    """Whether any file differs from what would be installed now."""
    for path, content in _files(target.editor).items():
        place = target.folder / path
        if not place.is_file() or place.read_bytes() != content:
            return True
    return False


def package(folder: Path) -> list[Path]:
    """`wallprint-gimp.zip` (unpack into `plug-ins`) and `wallprint-krita.zip` (Krita imports it).

    Krita's importer wants the `.desktop` file, the module's folder and the `.action` file at the
    top of the archive.
    """
    folder.mkdir(parents=True, exist_ok=True)
    krita = {
        PurePosixPath(*path.parts[1:]): content for path, content in bundle.krita_files().items()
    }
    made = []
    for name, files in (
        ("wallprint-gimp.zip", bundle.gimp_files()),
        ("wallprint-krita.zip", krita),
    ):
        path = folder / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for inner, content in sorted(files.items()):
                # A fixed date: the same sources give the same archive.
                info = zipfile.ZipInfo(str(inner), (2026, 1, 1, 0, 0, 0))
                executable = inner.name == f"{bundle.GIMP_FOLDER}.py"
                info.external_attr = (0o755 if executable else 0o644) << 16
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, content)
        made.append(path)
    return made


def check(editor: str) -> list[tuple[bool, str, str]]:
    """For `wallprint doctor`: (in order, what was looked at, the cure) for each place."""
    results = []
    for target in find_targets(editor):
        place = f"{target.packaging}: {target.folder}"
        mark = _mark(target)
        cure = f"wallprint install {editor}"
        home = target.folder.parent if editor == "gimp" else target.folder
        if not home.is_dir():
            results.append((True, "has never run here", ""))
        elif not mark.is_file():
            results.append((False, f"plug-in is not in {place}", cure))
        elif _stale(target):
            results.append((False, f"plug-in in {place} is of another version", cure))
        elif target.krita_config and not is_enabled(target.krita_config):
            results.append((False, f"plug-in in {place} is switched off", cure))
        else:
            results.append((True, f"plug-in in {place}", ""))
    return results
