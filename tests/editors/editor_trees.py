"""Debian trees with the real GIMP and Krita in them: built once, cached, entered by chroot.

Knows nothing of wallprint. A tree is read-mostly: every test keeps its state in folders outside,
which `enter_command` makes visible at the same place. Building needs root, a Debian mirror (the
host's own sources file names it) and mmdebstrap; where one of them is missing `get_tree` raises
`TreeUnavailable` with the reason, and the tests skip with it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# What each suite is for. python3-pyqt5 is only a Recommends of krita, yet without it Krita has no
# Python at all; python3-zmq lets the plug-ins run on libzmq too; locales is for the German texts.
PACKAGES = (
    "gimp", "gir1.2-gimp-3.0", "krita", "python3-pyqt5", "python3-zmq", "fonts-dejavu-core",
    "locales",
)  # fmt: skip
SUITES = {"trixie": "GIMP 3.0, Krita 5.2", "sid": "GIMP 3.2, Krita 5.3"}
HOST_TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "Xvfb": "xvfb",
    "xdotool": "xdotool",
    "openbox": "openbox",
    "import": "imagemagick",
}
NOT_NEEDED = ("man", "doc", "info", "locale", "help", "proj")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class TreeUnavailable(Exception):
    """No tree can be had here; the text says why."""


def cache_folder() -> Path:
    """$WALLPRINT_EDITOR_TREES, or ~/.cache/wallprint-editors."""
    chosen = os.environ.get("WALLPRINT_EDITOR_TREES")
    return Path(chosen) if chosen else Path.home() / ".cache" / "wallprint-editors"


def tree_folder(suite: str) -> Path:
    """Where the tree lies; the hash of the package list is part of the name."""
    digest = hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:10]
    return cache_folder() / f"{suite}-{digest}"


def get_tree(suite: str) -> Path:
    """The tree of a suite, built when it is not there yet (two minutes, 400 MB).

    Raises:
        TreeUnavailable: not root, no mirror, or the build failed.
    """
    if os.geteuid() != 0:
        raise TreeUnavailable("entering a Debian tree needs root")
    folder = tree_folder(suite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs at once build one tree
        if not folder.is_dir():
            _install_host_tools()
            part = folder.with_name(folder.name + ".part")
            _remove_tree(part)
            _build(suite, part)
            part.rename(folder)  # a half-built tree never has the final name
    _install_host_tools()
    return folder


def _remove_tree(folder: Path) -> None:
    if folder.exists():
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for point in sorted(mounted, reverse=True):
            if point.startswith(str(folder) + "/"):
                subprocess.run(["umount", "-l", point], check=False)
        shutil.rmtree(folder)


def _install_host_tools() -> None:
    missing = [package for tool, package in HOST_TOOLS.items() if shutil.which(tool) is None]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise TreeUnavailable(f"not a Debian system and {', '.join(missing)} not installed")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-qq", "-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=20"]
    subprocess.run([*apt, "update"], env=env, check=False, capture_output=True)
    install = [*apt, "install", "-y", "--no-install-recommends", *missing]
    done = subprocess.run(install, env=env, check=False, capture_output=True, text=True)
    if done.returncode:
        raise TreeUnavailable(f"cannot install {' '.join(missing)}: {_last_line(done.stderr)}")


def _mirror() -> str:
    """The host's own mirror (deb822 or one-line sources), never the security one."""
    folder = Path("/etc/apt")
    files = [*folder.glob("sources.list.d/*.sources"), folder / "sources.list"]
    for file in files:
        text = file.read_text() if file.is_file() else ""
        for line in text.splitlines():
            match = re.match(r"(?:URIs:|deb(?: \[[^\]]*\])?)\s+(\S+debian/?)(\s|$)", line)
            if match and "security" not in match[1]:
                return match[1]
    raise TreeUnavailable("no Debian mirror in /etc/apt")


def _build(suite: str, folder: Path) -> None:
    if not KEYRING.is_file():
        raise TreeUnavailable(f"{KEYRING} is missing (package debian-archive-keyring)")
    command = [
        "mmdebstrap", "--variant=apt", "--mode=root", f"--keyring={KEYRING}",
        '--aptopt=Acquire::Languages "none"',
        '--aptopt=Acquire::Check-Valid-Until "false"',
        '--aptopt=APT::Install-Recommends "false"',
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in NOT_NEEDED),
        f"--include={','.join(PACKAGES)}",
        '--customize-hook=chroot "$1" localedef -i de_DE -f UTF-8 de_DE.UTF-8',
        suite, str(folder), f"deb {_mirror()} {suite} main",
    ]  # fmt: skip
    print(f"building the {suite} tree ({SUITES[suite]}) in {folder} ...", file=sys.stderr)
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        _remove_tree(folder)
        raise TreeUnavailable(f"mmdebstrap {suite}: {_last_line(done.stderr)}")


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("E:")]
    return (errors or lines or ["no message"])[-1]


# Private mounts and process ids: what the command starts dies with it, nothing stays mounted.
_ENTER = """
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
for d in $bind; do mkdir -p "$root$d"; mount --rbind "$d" "$root$d"; done
exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
  NO_AT_BRIDGE=1 "$@"
"""


def enter_command(
    root: Path, command: Sequence[str], *, env: dict[str, str], bind: Sequence[Path]
) -> tuple[list[str], dict[str, str]]:
    """Argument list and environment that run `command` inside the tree.

    Args:
        root: the tree.
        command: what to run there, with its arguments.
        env: the whole environment inside; nothing of the host's leaks in.
        bind: host folders (no blanks in their names) that are visible at the same place inside.
    """
    settings = [f"{name}={value}" for name, value in env.items()]
    arguments = [
        "unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private",
        "sh", "-euc", _ENTER, "enter", *settings, *command,
    ]  # fmt: skip
    outside = {
        "PATH": os.environ["PATH"],
        "root": str(root),
        "bind": " ".join(str(path) for path in bind),
    }
    return arguments, outside


if __name__ == "__main__":
    for name in sys.argv[1:] or ["trixie"]:
        print(get_tree(name))
