"""A job that a paired host computes: this computer is the host's client, over an encrypted link.

Runs in the worker process in the pipeline's place and, like the pipeline, knows nothing of who
asked. It is the editors' own client (`wallprint_protocol.client`) with the keys of the pairing:
mutual proof, limits, credit, checksums, resume and cancel are the same on both hops.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from wallprint_protocol import client
from wallprint_protocol.connection import Connection
from wallprint_protocol.errors import (
    GateRefused,
    LinkClosed,
    LinkError,
    LinkTimeout,
    ServerTrouble,
    WallprintError,
    from_code,
)
from wallprint_protocol.job_run import Progress
from wallprint_protocol.print_size import Rect
from wallprint_protocol.request import Request

from .pairing import PairedHost
from .raster import Raster

SIGN_OF_LIFE_S = 5.0
_AGAIN = "`wallprint pair --list` shows whom this computer knows."


@dataclass
class Relayed:
    """What the host said at the end; has what the worker wants of a pipeline's report.

    Attributes:
        notes: sentences for the user.
        report: of the host's pipeline.
    """

    notes: list[str]
    report: dict[str, Any] = field(default_factory=dict)

    def to_map(self) -> dict[str, Any]:
        """The host's report."""
        return self.report


def enhance(
    host: dict[str, Any],
    request: Request,
    source: Raster,
    selection: Raster | None,
    result: Raster,
    *,
    on_progress: Callable[[str, int, int, int], None],
    should_cancel: Callable[[], bool],
) -> Relayed:
    """Send the picture to the host, wait, and put the print's rows into `result` as they come.

    Args:
        host: `PairedHost.to_map()`.
        request: what is to be done; its profile stays here.
        source: the picture.
        selection: GRAY, of the source's size, or None.
        result: the print.
        on_progress: (phase, done, total, finished rows), at least every 5 s.
        should_cancel: polled every 50 ms.

    Raises:
        Cancelled: the host has acknowledged.
        ServerTrouble: E_HOST_AWAY, it cannot be reached, does not know us, is not whom we know, or
            was lost in the middle.
        WallprintError: what the host says.
    """
    paired = PairedHost.from_map(host)
    hop = _Hop(result, on_progress, should_cancel)
    try:
        with Connection(paired.connection_info(), checksums=True) as link:
            done = client.enhance(
                replace(request, icc=b""),
                source.read,
                hop.write,
                read_selection=selection.read if selection is not None else None,
                on_progress=hop.show,
                should_cancel=hop.look,
                connection=link,
            )
    except WallprintError as error:
        raise _as_seen_from_here(error, paired.name) from None
    return Relayed(list(done.notes), done.report)


class _Hop:
    """The two callables of the client, turned into rows and progress of the worker."""

    def __init__(
        self,
        result: Raster,
        on_progress: Callable[[str, int, int, int], None],
        should_cancel: Callable[[], bool],
    ) -> None:
        self._result = result
        self._on_progress = on_progress
        self._should_cancel = should_cancel
        self._shown = Progress("upload", 0, 0)
        self._rows = 0
        self._told_s = time.monotonic()

    def write(self, rect: Rect, pixels: memoryview) -> None:
        """The next strip of the print."""
        self._result.write(rect, pixels)
        self._rows = rect.y + rect.height
        self._tell()

    def show(self, progress: Progress) -> None:
        """Where the job is at the host."""
        self._shown = progress
        self._tell()

    def look(self) -> bool:
        """Whether to stop; also keeps the server from taking a long queue for a stuck worker."""
        if time.monotonic() - self._told_s > SIGN_OF_LIFE_S:
            self._tell()
        return self._should_cancel()

    def _tell(self) -> None:
        self._told_s = time.monotonic()
        shown = self._shown
        total = shown.queue_pos if shown.phase == "queued" else shown.total
        self._on_progress(shown.phase, shown.done, total, self._rows)


def _as_seen_from_here(error: WallprintError, name: str) -> WallprintError:
    """What went wrong with the host, without its address."""
    if isinstance(error, GateRefused) and error.detail.get("wrong_key"):
        text = (
            f"What answers in the place of {name} is not the computer that was paired; nothing was "
            f"sent. {_AGAIN}"
        )
    elif isinstance(error, GateRefused) or error.code in ("E_AUTH", "LINK_REFUSED"):
        text = (
            f"{name} does not let this computer in: it is not (or no longer) paired there, or not "
            f"allowed from this address. {_AGAIN}"
        )
    elif isinstance(error, (LinkClosed, LinkTimeout)) or error.code == "E_SHUTDOWN":
        text = f"{name} does not answer or has broken off; start wallprint there and try again."
    elif isinstance(error, LinkError):
        text = f"{name} does not keep to the protocol; update wallprint on both computers."
    elif error.code in ("E_GPU_LOST", "E_BACKEND"):  # the client has repeated the job once already
        return ServerTrouble(error.message, code="E_POISON")
    elif error.code == "E_MODEL_NOT_FOUND":
        return from_code(error.code, f"{name} has no such network; add it there with `models add`.")
    else:
        return error
    return ServerTrouble(text, code="E_HOST_AWAY")
