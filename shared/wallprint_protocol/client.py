"""The client: connect to the server (or start it) and have one picture enhanced. Blocking.

Knows nothing of files or editors: pixels come from and go to two callables. Times out everywhere;
an editor calls it from a thread of its own and cancels through `should_cancel`.
"""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Union

from . import endpoint
from .connection import Connection, Reconnect
from .errors import (
    Cancelled,
    GateRefused,
    LinkClosed,
    LinkError,
    LinkRefused,
    LinkTimeout,
    StartFailed,
    WallprintError,
)
from .job_run import Buffer, JobRun, Progress, Read, Result, Write
from .request import Request

__all__ = [
    "Buffer",
    "Connection",
    "Progress",
    "Read",
    "Result",
    "Write",
    "connect",
    "enhance",
]

START_TIMEOUT_S = 20.0
_POLL_S = 0.02
_LAUNCH_EVERY_S = 1.0
_WAKING_S = 5.0
_REFUSED_FOR_S = 3.0
Where = Union[str, Path]  # noqa: UP007 (Python 3.9 evaluates it)


def enhance(
    request: Request,
    read: Read,
    write: Write,
    *,
    read_selection: Read | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    should_cancel: Callable[[], bool] | None = None,
    connection: Connection | None = None,
) -> Result:
    """Send the picture, wait, receive the print. Blocking.

    Args:
        request: the whole job; `request.selection` exactly when `read_selection` is given.
        read: asked for full-width strips of the source, top to bottom, each once (again only if
            one was damaged on its way or the job is repeated, see below); returns
            `rect.width * rect.height * bytes_per_pixel` contiguous bytes. The memory must not
            change until `enhance` returns; a view of the whole picture is best, nothing is copied
            then.
        write: gets full-width strips of the result, top to bottom, each once; the view is only
            valid during the call. The result is whole only when `enhance` has returned, so an
            editor collects first and touches its document afterwards.
        read_selection: the same for the selection (GRAY, the size of the source).
        on_progress: called in this thread, at most about ten times a second.
        should_cancel: polled at least every 50 ms while waiting, and between strips.
        connection: a logged-in one, left open; None connects (and starts the server) itself.

    A connection that breaks is replaced, and the job goes on where it was. When the server or the
    computation ended in the middle, the job is repeated once, with a server started anew if
    `connect` may start one; strips that `write` has are not written again.

    Raises:
        Cancelled: `should_cancel()` was true; the server has acknowledged.
        WallprintError: anything else that went wrong; `code` tells. What `read` or `write` raise
            goes through; the job is cancelled first.
    """
    if (request.selection is None) != (read_selection is None):
        raise ValueError("request.selection and read_selection go together")
    if connection is None:
        with connect(should_cancel=should_cancel) as own:
            return JobRun(
                own, request, read, write, read_selection, on_progress, should_cancel
            ).run()
    return JobRun(
        connection, request, read, write, read_selection, on_progress, should_cancel
    ).run()


def connect(
    where: Where = "auto",
    *,
    start: bool = True,
    launcher: Sequence[str] | None = None,
    on_status: Callable[[str], None] | None = None,
    should_cancel: Callable[[], bool] | None = None,
    host: str = "",
    editor: str = "",
    editor_version: str = "",
) -> Connection:
    """Find the user's server, or start it, and log in.

    Args:
        where: "auto" (this user's state directory), another state directory, or an address
            `ipc://...` / `tcp://127.0.0.1:PORT` that this user's connection file names.
        start: launch the server when none answers (never for an address).
        launcher: the command that is the `wallprint` program, to which `serve --ensure
            --start-id ID` is added; None searches (endpoint.find_launcher).
        on_status: gets a sentence to show ("Starting the server ...").
        should_cancel: polled at least every 50 ms while waiting for a start.
        host: where the server has jobs computed, see `Connection`.
        editor: for the server's log.
        editor_version: for the server's log.

    Raises:
        NotInstalled, StartFailed: it could not be started.
        LinkError: it could not be reached (with `start=False` also: there is none), or whoever
            answered could not prove to be the user's server.
        Cancelled: `should_cancel()`.
    """
    text = str(where)
    is_address = "://" in text
    if is_address:
        endpoint.check_local(text)
    directory = endpoint.state_dir() if is_address or text == "auto" else Path(where)
    directory = directory.absolute()
    about = {"host": host, "editor": editor, "editor_version": editor_version}
    finder = _Finder(directory, text if is_address else "", about)

    def find(should_cancel: Callable[[], bool] | None) -> Connection:
        try:
            return finder.log_in()
        except (LinkClosed, LinkTimeout):
            if is_address or not start:
                raise
        tell = on_status or (lambda sentence: None)
        tell("Starting the wallprint server ...")
        return finder.start(launcher, should_cancel)

    finder.again = find
    return find(should_cancel)


class _Finder:
    """Finds or starts the server of one state directory."""

    def __init__(self, directory: Path, address: str, about: dict[str, Any]) -> None:
        """`about`: arguments of `Connection`."""
        self._directory = directory
        self._address = address
        self._about = about
        self._failed_boot = b""
        self.again: Reconnect | None = None

    def log_in(self) -> Connection:
        """Try what the connection file names; once more when a new start has replaced it.

        A gate that refuses is tried for a moment: the server may have ended during the handshake,
        or be one that was just started and has not written its file yet.
        """
        deadline = time.monotonic() + _REFUSED_FOR_S
        while True:
            try:
                return self._try()
            except (LinkClosed, LinkTimeout, GateRefused) as error:
                info = endpoint.read_connection(self._directory)
                replaced = info is not None and info.boot != self._failed_boot
                refused = isinstance(error, GateRefused) and time.monotonic() < deadline
                if not replaced and not refused:
                    raise
            time.sleep(_POLL_S)

    def start(
        self, launcher: Sequence[str] | None, should_cancel: Callable[[], bool] | None
    ) -> Connection:
        """Launch, or have systemd launch, and wait for a connection file that works."""
        process: subprocess.Popen[bytes] | None = None
        deadline = time.monotonic() + START_TIMEOUT_S
        launch_s = 0.0
        waking_until_s = time.monotonic() + _WAKING_S
        stale_boot = self._failed_boot
        problem: LinkError | None = None
        while time.monotonic() < deadline:
            if should_cancel is not None and should_cancel():
                raise Cancelled
            if process is not None and process.returncode:
                raise StartFailed(
                    "The wallprint server did not start: "
                    f"{endpoint.last_words(self._directory) or f'exit code {process.returncode}'}"
                )
            # Exit code 0 means that another server held the lock: one whose file comes presently,
            # or one that was just ending, and then nobody would come.
            now_s = time.monotonic()
            if (process is None or process.returncode == 0) and now_s >= launch_s:
                launch_s = now_s + _LAUNCH_EVERY_S
                if now_s < waking_until_s and endpoint.knock(self._directory):
                    continue
                argv = launcher or endpoint.find_launcher(self._directory)
                process = endpoint.launch(argv, self._directory, secrets.token_hex(8))
            info = endpoint.read_connection(self._directory)
            if info is not None and info.boot != stale_boot:
                try:
                    return self._try()
                except (LinkClosed, LinkTimeout, GateRefused) as error:
                    problem = error
            time.sleep(_POLL_S)
        raise StartFailed(
            f"The wallprint server was started and does not answer ({problem or 'no sign of it'}); "
            f"see {self._directory / endpoint.SPAWN_LOG}."
        )

    def _try(self) -> Connection:
        info = endpoint.read_connection(self._directory)
        if info is None:
            raise LinkClosed(f"No wallprint server is running (none in {self._directory}).")
        if self._address and self._address not in info.endpoints:
            raise LinkRefused(
                f"{self._address} is not this user's server, which is at "
                f"{', '.join(info.endpoints)}."
            )
        self._failed_boot = info.boot
        try:
            return Connection(info, again=self.again, **self._about)
        except WallprintError as error:
            if error.code != "E_SHUTDOWN":
                raise
            raise LinkClosed("The wallprint server has just ended.") from None
