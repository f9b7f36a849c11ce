"""Where the user's server is: the state directory, the connection file, finding and launching it.

Knows nothing of messages. What is private is checked as ssh checks its keys: the directory and the
file must be ours and closed to everyone else, or nothing is trusted.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import PROTOCOL_MAJOR
from .errors import LinkRefused, NotInstalled, StartFailed


def file_name(plain: str) -> str:
    """The name in the state directory: WPP/1's is plain, a later major puts its number in.

    So servers of different majors run side by side, each found by its own clients.
    """
    stem, dot, suffix = plain.partition(".")
    return plain if PROTOCOL_MAJOR == 1 else f"{stem}-{PROTOCOL_MAJOR}{dot}{suffix}"


CONNECTION_FILE = file_name("server.json")
LOCK_FILE = file_name("server.lock")
SOCKET_FILE = file_name("s.sock")
SPAWN_LOG = file_name("spawn.log")
SERVER_LOG = file_name("server.log")
LAUNCHER_FILE = "launcher.json"
_KNOCK_TIMEOUT_S = 1.0
_LOCAL = ("ipc://", "tcp://127.0.0.1:", "tcp://localhost:", "tcp://[::1]:")
_DROPPED = (
    "PYTHON", "LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_", "QT_", "GI_", "GTK_", "GIO_",
    "APPDIR", "APPIMAGE",
)  # fmt: skip


@dataclass(frozen=True)
class CurveKeys:
    """The keys of a link to a paired host (CurveZMQ, rfc.zeromq.org/spec/26), 32 bytes each.

    Attributes:
        server: the host's public key, pinned when the two were paired.
        public: this computer's public key for that host.
        secret: the secret key of `public`.
    """

    server: bytes
    public: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class ConnectionInfo:
    """What `server.json` says; for a paired host, what the pairing says.

    Attributes:
        boot: 16 random bytes, new at each start.
        pid: of the server; for people, never trusted.
        start_id: what the starter passed on, or "".
        endpoints: ZeroMQ addresses.
        gate: PLAIN password, keeps strangers' bytes out.
        key: 32 bytes, proves both sides to each other; never sent.
        version: of the server.
        log: path of its log.
        curve: keys of an encrypted link to a paired host; None on this computer, where alone the
            connection file leads.
    """

    boot: bytes
    pid: int
    start_id: str
    endpoints: tuple[str, ...]
    gate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    version: str
    log: str
    curve: CurveKeys | None = None

    @classmethod
    def new(
        cls, endpoints: tuple[str, ...], *, start_id: str, version: str, log: str
    ) -> ConnectionInfo:
        """With fresh secrets, for this process."""
        return cls(
            boot=secrets.token_bytes(16),
            pid=os.getpid(),
            start_id=start_id,
            endpoints=endpoints,
            gate=secrets.token_hex(32).encode(),
            key=secrets.token_bytes(32),
            version=version,
            log=log,
        )

    def at(self, endpoints: tuple[str, ...]) -> ConnectionInfo:
        """The same server at other addresses (a port that the system has chosen)."""
        return replace(self, endpoints=endpoints)

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(
            {
                "v": 1,
                "boot": self.boot.hex(),
                "pid": self.pid,
                "start_id": self.start_id,
                "endpoints": list(self.endpoints),
                "gate": self.gate.decode(),
                "key": self.key.hex(),
                "version": self.version,
                "log": self.log,
            },
            indent=1,
        )

    @classmethod
    def from_json(cls, text: str) -> ConnectionInfo:
        """Inverse of `to_json`; raises ValueError when it is not such a file."""
        try:
            value = json.loads(text)
            return cls(
                boot=bytes.fromhex(value["boot"]),
                pid=int(value["pid"]),
                start_id=str(value["start_id"]),
                endpoints=tuple(str(e) for e in value["endpoints"]),
                gate=str(value["gate"]).encode(),
                key=bytes.fromhex(value["key"]),
                version=str(value["version"]),
                log=str(value["log"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a connection file: {error!r}") from None


def state_dir() -> Path:
    """The user's state directory (not created).

    `WALLPRINT_STATE_DIR` overrides it. Inside a Flatpak `XDG_STATE_HOME` points to the sandbox's
    own folder, so only `HOST_XDG_STATE_HOME` is looked at (protocol.md 5).
    """
    chosen = os.environ.get("WALLPRINT_STATE_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "wallprint"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "wallprint"
    host = os.environ.get("HOST_XDG_STATE_HOME")
    return (Path(host) if host else Path.home() / ".local" / "state") / "wallprint"


def make_private(directory: Path) -> None:
    """Create the directory, mode 0700.

    Raises:
        LinkRefused: it exists and is not ours alone.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_private(directory)


def check_private(path: Path) -> None:
    """Refuse what others may enter or change.

    Raises:
        LinkRefused: not ours, or with permissions for group or others.
    """
    if os.name != "posix":
        return
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise LinkRefused(f"{path} is a symbolic link; remove it.")
    if status.st_uid != os.geteuid():
        raise LinkRefused(f"{path} belongs to user {status.st_uid}, not to you; remove it.")
    if status.st_mode & 0o077:
        raise LinkRefused(
            f"{path} is open to other users (mode {stat.S_IMODE(status.st_mode):o}); "
            f"run: chmod go-rwx {shlex.quote(str(path))}"
        )


def check_local(address: str) -> None:
    """Refuse an address that is not on this computer, wherever it was read.

    Raises:
        LinkRefused: it is not; PLAIN and unencrypted pixels must not leave the computer.
    """
    if not address.startswith(_LOCAL):
        raise LinkRefused(
            f"{address} is not on this computer. Leave the address out to use your own server; to "
            "have prints computed by another computer, pair the two with `wallprint pair`."
        )


def read_connection(directory: Path) -> ConnectionInfo | None:
    """What the directory's connection file says, None when there is none (or half of one).

    Raises:
        LinkRefused: the directory or the file is not private.
    """
    path = directory / CONNECTION_FILE
    try:
        check_private(directory)
        check_private(path)
        return ConnectionInfo.from_json(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def write_connection(directory: Path, info: ConnectionInfo) -> None:
    """Put the file in place in one step, mode 0600."""
    write_private(directory / CONNECTION_FILE, info.to_json())


def write_private(path: Path, text: str) -> None:
    """Write a file in one step, mode 0600; whoever reads it sees the old or the new one."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)


def find_launcher(directory: Path) -> list[str]:
    """The command that is the `wallprint` program.

    Never `sys.executable`: inside Krita that is Krita. `$WALLPRINT_SERVER`, then `launcher.json`
    of the state directory, then `wallprint` on the PATH, then the default virtual environment.

    Raises:
        NotInstalled: none of them.
    """
    chosen = os.environ.get("WALLPRINT_SERVER")
    if chosen:
        return [chosen] if os.path.exists(chosen) else shlex.split(chosen)
    file = directory / LAUNCHER_FILE
    if file.exists():
        check_private(file)
        try:
            argv = json.loads(file.read_text("utf-8"))["argv"]
        except (ValueError, KeyError, TypeError) as error:
            raise NotInstalled(f"{file} is damaged ({error}); install the server again.") from None
        if isinstance(argv, list) and argv and all(isinstance(a, str) for a in argv):
            return argv
    on_path = shutil.which("wallprint")
    if on_path:
        return [on_path]
    folder = "Scripts/wallprint.exe" if os.name == "nt" else "bin/wallprint"
    default = Path.home() / ".local" / "share" / "wallprint" / "venv" / folder
    if default.exists():
        return [str(default)]
    raise NotInstalled(
        "The wallprint server is not installed; install it with `pip install wallprint[server]`, "
        "or name it in WALLPRINT_SERVER."
    )


def knock(directory: Path) -> bool:
    """Whether someone listens at the socket file; where that is systemd, it starts the server.

    The connection is closed at once: gate and key are new at each start, so the file comes first.
    """
    path = directory / SOCKET_FILE
    if not hasattr(socket, "AF_UNIX") or not path.is_socket():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(_KNOCK_TIMEOUT_S)
        try:
            check_private(directory)
            link.connect(os.fsencode(path))
        except OSError:
            return False
    return True


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what an editor's bundle sets for its own Python and libraries."""
    return {k: v for k, v in environment.items() if not k.startswith(_DROPPED)}


def launch(launcher: Sequence[str], directory: Path, start_id: str) -> subprocess.Popen[bytes]:
    """Start `LAUNCHER serve --ensure --start-id ID`, detached; its output goes to `spawn.log`.

    Raises:
        NotInstalled: the program is not there.
        StartFailed: it cannot be executed.
    """
    make_private(directory)
    argv = [*launcher, "serve", "--ensure", "--start-id", start_id]
    options: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        options = {
            "creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
        }
    log = os.open(directory / SPAWN_LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=directory,
            env={**clean_environment(os.environ), "WALLPRINT_STATE_DIR": str(directory)},
            **options,
        )
    except FileNotFoundError:
        raise NotInstalled(f"The server's program {argv[0]} is not there.") from None
    except OSError as error:
        raise StartFailed(f"The server's program {argv[0]} cannot be started: {error}") from None
    finally:
        os.close(log)
    # Someone must take the exit status, or the server stays a zombie while the editor lives.
    threading.Thread(target=process.wait, name="wallprint-server-reaper", daemon=True).start()
    return process


def last_words(directory: Path) -> str:
    """The last line of `spawn.log`, for the message of a failed start."""
    try:
        lines = (directory / SPAWN_LOG).read_text("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")[:300]
