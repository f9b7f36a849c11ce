"""The client: connect to the server (or start it) and have one picture enhanced. Blocking.

Knows nothing of files or editors: pixels come from and go to two callables. Times out everywhere;
an editor calls it from a thread of its own and cancels through `should_cancel`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Union

from .print_size import Rect
from .request import Request

Buffer = Union[bytes, bytearray, memoryview]  # noqa: UP007 (Python 3.9 evaluates it)
Read = Callable[[Rect], Buffer]
Write = Callable[[Rect, memoryview], None]


@dataclass(frozen=True)
class Progress:
    """Where a job is.

    Attributes:
        phase: "upload", "queued", "load", "run", "download"; the pipeline may name others.
        done: of `total`, in the phase's own unit (tiles); never falls within a phase.
        total: 0 while it is not known.
        eta_s: seconds left in this phase, or None.
        queue_pos: jobs before this one; 0 when it is its turn.
    """

    phase: str
    done: int
    total: int
    eta_s: float | None = None
    queue_pos: int = 0


@dataclass(frozen=True)
class Result:
    """What the server says about a finished job.

    Attributes:
        notes: sentences for the user (a tile was halved, the CPU was used instead ...).
        report: the pipeline's `Report.to_map()`.
        ms: time in the worker, milliseconds.
    """

    notes: tuple[str, ...]
    report: dict[str, Any]
    ms: int


class Connection:
    """A logged-in connection; owned by one thread, closed by `close()` or `with`."""

    def models(self) -> list[dict[str, Any]]:
        """The networks the server knows, one map each (fields: protocol.md, `models`)."""
        raise NotImplementedError

    def status(self) -> dict[str, Any]:
        """State, version, uptime, worker, device, jobs and clients of the server."""
        raise NotImplementedError

    def stop(self) -> None:
        """End the server; returns when it has said goodbye and its connection file is gone."""
        raise NotImplementedError

    def close(self) -> None:
        """End the connection; jobs of this connection that still run are cancelled."""
        raise NotImplementedError

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def connect(
    where: str | Path = "auto",
    *,
    start: bool = True,
    launcher: Sequence[str] | None = None,
    on_status: Callable[[str], None] | None = None,
    should_cancel: Callable[[], bool] | None = None,
) -> Connection:
    """Find the user's server, or start it, and log in.

    Args:
        where: "auto" (this user's state directory), another state directory, or an address
            `ipc://...` / `tcp://127.0.0.1:PORT` that this user's connection file names.
        start: launch the server when none answers.
        launcher: command that starts the server (`wallprint serve` without further arguments is
            what is looked for otherwise; see endpoint.find_launcher).
        on_status: gets a sentence to show ("starting the server", ...).
        should_cancel: polled at least every 50 ms while waiting.

    Raises:
        NotInstalled, StartFailed: it could not be started.
        LinkError: it could not be reached (with `start=False` also: there is none), or whoever
            answered could not prove to be the user's server.
        Cancelled: `should_cancel()`.
    """
    raise NotImplementedError


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
        read: asked for full-width strips of the source, top to bottom, each once; returns
            `rect.width * rect.height * bytes_per_pixel` contiguous bytes. The memory must not
            change until `enhance` returns (a view of the whole picture is best: nothing is copied).
        write: gets full-width strips of the result, top to bottom, each once; the view is only
            valid during the call. The result is whole only when `enhance` has returned, so an
            editor collects first and touches its document afterwards.
        read_selection: the same for the selection (GRAY, the size of the source).
        on_progress: called in this thread, at most about ten times a second.
        should_cancel: polled at least every 50 ms while waiting, and between strips.
        connection: a logged-in one, left open; None connects (and starts the server) itself.

    Raises:
        Cancelled: `should_cancel()` was true; the server has acknowledged.
        WallprintError: anything else that went wrong; `code` tells. What `read` or `write` raise
            goes through; the job is cancelled first.
    """
    raise NotImplementedError
