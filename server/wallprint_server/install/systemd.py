"""The systemd user units that start the server when a client knocks. Knows files, no sockets.

For editors that may not start programs, as in a Flatpak: there is nothing to start for them.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from wallprint_protocol import endpoint

SOCKET_UNIT, SERVICE_UNIT = "wallprint.socket", "wallprint.service"
_SOCKET = """[Unit]
Description=wallprint enlarges photographs for wall prints: where it is called

[Socket]
ListenStream={socket}
SocketMode=0600
DirectoryMode=0700

[Install]
WantedBy=sockets.target
"""
_SERVICE = """[Unit]
Description=wallprint enlarges photographs for wall prints
Requires=wallprint.socket

[Service]
Environment="WALLPRINT_STATE_DIR={state_dir}"
ExecStart={command}
"""


def unit_folder() -> Path:
    """Where the user's own units are (systemd.unit(5))."""
    config = os.environ.get("XDG_CONFIG_HOME")
    return (Path(config) if config else Path.home() / ".config") / "systemd" / "user"


def unit_files(launcher: Sequence[str], state_dir: Path) -> dict[Path, str]:
    """Path -> text of both units.

    Args:
        launcher: the command that is the `wallprint` program.
        state_dir: of the server; absolute.
    """
    command = shlex.join([*launcher, "serve", "--systemd"]).replace("%", "%%")
    directory = str(state_dir).replace("%", "%%")
    folder = unit_folder()
    return {
        folder / SOCKET_UNIT: _SOCKET.format(socket=f"{directory}/{endpoint.SOCKET_FILE}"),
        folder / SERVICE_UNIT: _SERVICE.format(command=command, state_dir=directory),
    }


def install(launcher: Sequence[str], *, dry_run: bool = False) -> list[str]:
    """Write the units; what was done, one sentence each; raises OSError."""
    files = unit_files(launcher, endpoint.state_dir().absolute())
    names = " and ".join(str(path) for path in files)
    if dry_run:
        return [f"Would write {names}."]
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return [
        f"Wrote {names}.",
        f"Now run: systemctl --user daemon-reload && systemctl --user enable --now {SOCKET_UNIT}",
    ]


def uninstall(*, dry_run: bool = False) -> list[str]:
    """Remove the units; what was done, one sentence each; raises OSError."""
    paths = (unit_folder() / SOCKET_UNIT, unit_folder() / SERVICE_UNIT)
    there = [path for path in paths if path.exists()]
    if not there:
        return ["There are no units of wallprint."]
    names = " and ".join(str(path) for path in there)
    if dry_run:
        return [f"Would remove {names}."]
    for path in there:
        path.unlink()
    return [
        f"Removed {names}.",
        f"Now run: systemctl --user stop {SOCKET_UNIT}; systemctl --user daemon-reload",
    ]
