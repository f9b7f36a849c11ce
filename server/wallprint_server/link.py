"""The I/O process's end of the worker: start it, hand it jobs, hear from it, see it die.

Knows no torch and no zmq. The worker is a child process on a socketpair; pixel files go over as
descriptors, so pixels never pass through this channel. A driver crash takes only the worker down.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

from wallprint_protocol.errors import ProtocolError
from wallprint_protocol.request import Request
from wallprint_protocol.wire import RecordReader, frame_record

from .pairing import Place

log = logging.getLogger(__name__)
SEND_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 1.0
DEATH_TIMEOUT_S = 0.2
_WORKER = (sys.executable, "-m", "wallprint_server.worker")
# glibc alone heeds it. Left to itself its limit rises to 32 MB, the planes of a tile then share the
# heap with everything else, and what they leave there is never given back: 570 MiB between tiles
# instead of 490, at the same CPU time.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(4 << 20)}


class WorkerDied(Exception):
    """The worker process is gone; `str()` says how."""


class WorkerLink:
    """At most one worker process; started on demand, restarted after it died."""

    def __init__(self, pipeline: str, engine: str) -> None:
        self._options = ["--pipeline", pipeline, "--engine", engine]
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._reader = RecordReader()

    @property
    def running(self) -> bool:
        """Whether there is a worker process."""
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """The worker's process id."""
        return self._process.pid if self._process else None

    def fileno(self) -> int:
        """Descriptor to poll for reading, -1 without worker."""
        return self._channel.fileno() if self._channel else -1

    def start(self) -> None:
        """Start the worker unless it runs."""
        if self.running:
            return
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [*_WORKER, "--fd", str(theirs.fileno()), *self._options],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**_MALLOC, **os.environ},
            )
        ours.settimeout(SEND_TIMEOUT_S)
        self._channel, self._reader = ours, RecordReader()
        log.info("worker %d started", self._process.pid)

    def warm(self, device: str) -> None:
        """Have the worker import torch and set the device up."""
        self._send({"t": "warm", "device": device})

    def run(self, run: int, request: Request, files: Sequence[int], place: Place) -> None:
        """Hand a job over.

        Args:
            run: number of this run; a job that is tried again is another run.
            request: what is to be done.
            files: descriptors of source, result and, if any, selection.
            place: where it is computed.
        """
        record = {
            "t": "job",
            "run": run,
            "files": len(files),
            "w": request.source.width,
            "h": request.source.height,
            "out_w": request.out.width,
            "out_h": request.out.height,
            "fmt": request.layout.to_map(),
            "selection": request.selection.to_map() if request.selection else None,
            "params": request.options.to_map(),
            "host": place.host.to_map() if place.host else None,
            "or_local": place.or_local,
        }
        self._send(record, files)

    def cancel(self, run: int) -> None:
        """Have the worker stop a run at the next tile."""
        self._send({"t": "cancel", "run": run})

    def receive(self) -> list[dict[str, Any]]:
        """What the worker said; call it when `fileno()` is readable.

        Raises:
            WorkerDied: it is gone; the next `start` makes a new one.
        """
        if self._channel is None:
            return []
        try:
            data = self._channel.recv(1 << 16)
            if data:
                return self._reader.feed(data)
            problem = ""
        except (OSError, ProtocolError) as error:
            problem = f"{error}, "
        raise WorkerDied(problem + self._reap(DEATH_TIMEOUT_S))

    def stop(self, *, kill: bool = False) -> None:
        """End the worker: it sees the end of its channel and leaves, or is killed."""
        if self._process is not None:
            pid = self._process.pid
            if kill:
                self._process.kill()
            log.info("worker %d %s", pid, self._reap(DEATH_TIMEOUT_S if kill else STOP_TIMEOUT_S))

    def _send(self, record: dict[str, Any], files: Sequence[int] = ()) -> None:
        self.start()
        data = frame_record(record)
        try:
            if self._channel is None:
                raise OSError("no channel")
            if files:
                sent = socket.send_fds(self._channel, [data], list(files))
                data = data[sent:]
            self._channel.sendall(data)
        except OSError as error:
            # Nothing is lost by not raising here: the channel is at its end, so `receive` follows.
            log.warning("worker %s does not take a message: %s", self.pid, error)
            if self._process is not None:
                self._process.kill()

    def _reap(self, timeout_s: float) -> str:
        """Close the channel, wait for the end of the process; how it ended, in words."""
        process, self._process = self._process, None
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
        if process is None:
            return "was not running"
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            # A driver may take seconds to let go of a process; the I/O loop does not wait for it.
            threading.Thread(target=process.wait, name="worker-reaper").start()
            return "was killed"
        if code == -signal.SIGKILL:
            return "was killed (SIGKILL), as the system does when memory runs out"
        return f"ended by {signal.Signals(-code).name}" if code < 0 else f"left with code {code}"
