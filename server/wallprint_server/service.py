"""The server process from start to end: lock, bind, self-test, announce, serve, clean up.

Knows nothing of messages. Imports no torch: the first client is answered within half a second of
the launch, while the worker process is still warming up.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import logging.handlers
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from wallprint_protocol import __version__, endpoint
from wallprint_protocol.errors import EXIT_DONE, ServerTrouble, StartFailed, WallprintError

from .config import ServerConfig
from .hub import Hub
from .link import WorkerLink
from .pairing import AllowList, Pairings, lan_address
from .privacy import PrivateFormatter, forbid_core_dumps
from .transport import LanDoor, Transport

log = logging.getLogger(__name__)
_LOG_BYTES, _LOG_FILES = 2_000_000, 5
_FIRST_FD = 3  # SD_LISTEN_FDS_START
_MAX_SOCKET_PATH_BYTES = 103  # macOS has the shortest: 104 with the final zero


def serve(
    *,
    ensure: bool = False,
    start_id: str = "",
    systemd: bool = False,
    config: ServerConfig | None = None,
) -> int:
    """Run the server until it is stopped; the exit code.

    Args:
        ensure: be content when another server of this user runs already.
        start_id: what a starter gave, to recognise its child by.
        systemd: listen at the socket that systemd hands over, and leave it in place at the end.
        config: settings; None loads them.

    Raises:
        WallprintError: it cannot run; says why.
    """
    config = config or ServerConfig.load()
    os.umask(0o077)
    forbid_core_dumps()
    endpoint.make_private(config.state_dir)
    with _lock(config.state_dir) as held:
        if not held:
            if ensure:
                return EXIT_DONE
            raise StartFailed(
                f"A wallprint server runs already in {config.state_dir}; "
                "`wallprint status` shows it, `wallprint stop` ends it."
            )
        if not systemd and endpoint.knock(config.state_dir):
            # The lock is ours, so it is no server. Binding would take the address from it.
            if ensure:
                return EXIT_DONE
            raise StartFailed(
                f"systemd listens at {config.state_dir / endpoint.SOCKET_FILE} and has now been "
                "woken; to run a server by hand: systemctl --user stop wallprint.socket"
            )
        with _logging(config.state_dir):
            try:
                return _serve(config, start_id, systemd)
            except WallprintError as error:
                log.error("%s", error)
                raise
            except Exception as error:  # an edge: nobody sees this process's stderr
                log.exception("the server ends")
                raise ServerTrouble(f"The server broke off: {error}; see its log.") from error


def _serve(config: ServerConfig, start_id: str, systemd: bool) -> int:
    """Everything that happens while the lock is held."""
    socket_file = config.state_dir / endpoint.SOCKET_FILE
    listener = _socket_of_systemd(socket_file) if systemd else None
    address = f"ipc://{socket_file}" if systemd else _address(config, socket_file)
    info = endpoint.ConnectionInfo.new(
        (address,),
        start_id=start_id,
        version=__version__,
        log=str(config.state_dir / endpoint.SERVER_LOG),
    )
    hub: Hub | None = None
    pairings = Pairings(config.state_dir)
    transport = Transport(
        address,
        info.gate,
        lambda: hub is None or hub.may_enter(),
        listener,
        _lan_door(config, pairings) if config.lan else None,
    )
    worker = WorkerLink(config.pipeline, config.engine)
    try:
        transport.self_test()
        info = info.at((transport.endpoint,))
        hub = Hub(config, info, transport, worker, list_models, pairings)
        stop = _Stopper()
        endpoint.write_connection(config.state_dir, info)
        log.info("serving at %s, process %d", transport.endpoint, os.getpid())
        if transport.lan_endpoint:
            log.info("paired computers may come in from the network")
        if transport.lan_problem:  # whoever typed `serve --lan` sees no log
            print(f"wallprint: no network: {transport.lan_problem}", file=sys.stderr, flush=True)
        if config.prestart:
            hub.prestart()
        while not hub.stopping and not stop.requested:
            hub.turn()
        hub.say_goodbye()
        return EXIT_DONE
    finally:
        # In this order, so that a client which sees the connection end finds nothing left.
        with contextlib.suppress(FileNotFoundError):
            (config.state_dir / endpoint.CONNECTION_FILE).unlink()
        worker.stop()
        if listener is None:
            with contextlib.suppress(FileNotFoundError):
                socket_file.unlink()
        transport.close()
        log.info("ended")


def _lan_door(config: ServerConfig, pairings: Pairings) -> LanDoor:
    """The door to the network, as configured; raises BadInput for addresses that are none."""
    allowed = AllowList(pairings, config.lan_allow)
    public, secret = pairings.server_keys()
    return LanDoor(f"tcp://{lan_address(config.lan)}", public, secret, allowed.refusal)


def list_models() -> list[dict[str, Any]]:
    """The catalogue in the shape of the message `models`."""
    from .models import catalog  # not needed until someone asks

    return [
        {
            "id": spec.name,
            "name": spec.title,
            "scales": [float(spec.scale)],
            "channels": 3,
            "dtypes": ["f32"],
            "kind": spec.role,
            "style": spec.style,
            "licence": spec.licence,
            "trusted": True,
        }
        for spec in catalog.SPECS
    ]


def _address(config: ServerConfig, socket_file: Path) -> str:
    """Where to listen: a socket file, or loopback where its path would be too long."""
    if config.tcp or len(os.fsencode(socket_file)) > _MAX_SOCKET_PATH_BYTES:
        return "tcp://127.0.0.1:*"
    # After a crash the file is still there; the lock says that nobody uses it.
    with contextlib.suppress(FileNotFoundError):
        socket_file.unlink()
    return f"ipc://{socket_file}"


def _socket_of_systemd(socket_file: Path) -> int:
    """The listening descriptor that systemd hands over (sd_listen_fds(3)): the third, one only.

    Raises:
        StartFailed: there is none, or it is not the socket that the clients look for.
    """
    handed = (os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", ""))
    os.environ.pop("LISTEN_FDNAMES", None)
    if handed != (str(os.getpid()), "1"):
        raise StartFailed(
            "`wallprint serve --systemd` is for systemd, which hands the socket over; "
            "`wallprint serve` runs a server by hand."
        )
    os.set_inheritable(_FIRST_FD, False)
    with socket.socket(fileno=os.dup(_FIRST_FD)) as listener:
        is_ours = listener.family == socket.AF_UNIX and listener.getsockname() == str(socket_file)
    if not is_ours:
        raise StartFailed(
            f"systemd hands over another socket than the clients look for; "
            f"set ListenStream={socket_file} in wallprint.socket."
        )
    endpoint.check_private(socket_file)
    return _FIRST_FD


class _Stopper:
    """Turns SIGTERM and SIGINT into a flag that the loop looks at."""

    def __init__(self) -> None:
        self.requested = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.requested = True


@contextlib.contextmanager
def _lock(directory: Path) -> Iterator[bool]:
    """Whether this process is the directory's only server; the lock is the truth, not a pid."""
    descriptor = os.open(directory / endpoint.LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _logging(directory: Path) -> Iterator[None]:
    """The rotating log of the server; five files of 2 MB, never a pixel in them."""
    handler = logging.handlers.RotatingFileHandler(
        directory / endpoint.SERVER_LOG,
        maxBytes=_LOG_BYTES,
        backupCount=_LOG_FILES - 1,
        encoding="utf-8",
    )
    handler.setFormatter(PrivateFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger("wallprint_server")
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
