"""The worker process: owns the device, runs one job at a time, turns every exception into a code.

Imports zmq only to relay a job to a paired host. Pixels are read from and written to descriptors
that come with the job. A second thread reads the channel, so a cancel is seen while the pipeline
computes; when the channel ends, the server is gone and this process ends at once.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

from wallprint_protocol.errors import CODES, Cancelled, ProtocolError, WallprintError
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Size
from wallprint_protocol.request import Options, Request
from wallprint_protocol.wire import RecordReader, frame_record, pack

from . import host_memory
from .privacy import PrivateFormatter, forbid_core_dumps
from .raster import Raster

log = logging.getLogger(__name__)
REPORT_EVERY_S = 0.05
MAX_FILES = 3
# After these the device's state cannot be trusted: a fresh process for the next job.
_LEAVE_AFTER = {"E_INTERNAL", "E_GPU_LOST", "E_BACKEND"}


class Worker:
    """The loop around the pipeline.

    Args:
        channel: stream socket to the I/O process.
        pipeline: `module:function`, signature of pipeline.enhance.enhance.
        engine: `module:class`, called with the device's name.
    """

    def __init__(self, channel: socket.socket, pipeline: str, engine: str) -> None:
        self._channel = channel
        self._pipeline = pipeline
        self._engine = engine
        self._engines: dict[str, Any] = {}
        self._orders: queue.SimpleQueue[tuple[dict[str, Any], list[int]]] = queue.SimpleQueue()
        self._cancelled: set[int] = set()
        self._relaying = False  # what goes wrong meanwhile is the host's
        self._send_lock = threading.Lock()

    def run(self) -> int:
        """Work until told otherwise; the exit code."""
        threading.Thread(target=self._listen, name="channel", daemon=True).start()
        while True:
            order, files = self._orders.get()
            if order["t"] == "warm":
                self._warm(order["device"])
            else:
                try:
                    leaving = self._job(order, files)
                finally:
                    for descriptor in files:
                        os.close(descriptor)
                if leaving:
                    return 1

    def _listen(self) -> None:
        """Read orders; end the process when the channel ends."""
        reader, files = RecordReader(), deque[int]()
        try:
            while True:
                data, descriptors, _, _ = socket.recv_fds(self._channel, 1 << 16, MAX_FILES)
                if not data:
                    break
                files.extend(descriptors)
                for order in reader.feed(data):
                    if order["t"] == "cancel":
                        self._cancelled.add(order["run"])
                    else:
                        count = order.get("files", 0)
                        self._orders.put((order, [files.popleft() for _ in range(count)]))
        except (OSError, ProtocolError) as error:  # a server that is killed resets its channel
            log.info("the server is gone: %s", error)
        # Whatever the pipeline computes, nobody waits for it any more. No clean-up can be needed:
        # the files have no names and the device's memory goes with the process.
        os._exit(0)

    def _warm(self, device: str) -> None:
        """Import everything and set the device up; an error is told again by the first job."""
        began_s = time.monotonic()
        try:
            _load(self._pipeline)
            self._tell_ready(self._engine_for(device))
        except Exception as error:
            log.exception("warming up for %s failed", device)
            self._tell({"t": "ready", "device": "", "kind": "", "problem": str(error)[:500]})
        log.info("warmed up in %.1f s", time.monotonic() - began_s)

    def _job(self, order: dict[str, Any], files: list[int]) -> bool:
        """Run one job and tell how it ended; whether the process should end after it."""
        run = order["run"]
        began_s = time.monotonic()
        try:
            report = self._enhance(order, files, run)
            outcome = {"t": "done", "run": run, **_packable(report.notes, report.to_map())}
        except Cancelled:
            outcome = {"t": "cancelled", "run": run}
        except Exception as error:
            code, message, detail = describe(error)
            outcome = {"t": "error", "run": run, "code": code, "msg": message[:1000]}
            if code in _LEAVE_AFTER and not self._relaying:
                outcome["trace"] = "".join(traceback.format_exception(error))[-4000:]
            with contextlib.suppress(ProtocolError):
                pack({"detail": detail})
                outcome["detail"] = detail
        self._cancelled.clear()  # also what came too late for an earlier run
        outcome["ms"] = int((time.monotonic() - began_s) * 1000)
        outcome["leaving"] = outcome.get("code") in _LEAVE_AFTER and not self._relaying
        self._tell(outcome)
        return bool(outcome["leaving"])

    def _enhance(self, order: dict[str, Any], files: list[int], run: int) -> Any:
        request = _request(order)
        layout = request.layout
        source = Raster(files[0], request.source, layout.bytes_per_pixel)
        result = Raster(files[1], request.out, layout.bytes_per_pixel)
        selection = None
        if request.selection is not None:
            selection = Raster(files[2], request.source, request.selection.bytes_per_pixel)
        if run in self._cancelled:
            raise Cancelled
        report = _Reporter(run, self._tell)
        report("load", 0, 0, 0)
        away = ""
        self._relaying = order["host"] is not None
        if self._relaying:
            try:
                return self._relay(order["host"], request, source, selection, result, report, run)
            except WallprintError as error:
                # What the host computed stays the host's: two devices agree but for the last bits.
                if error.code != "E_HOST_AWAY" or not order["or_local"] or report.rows_done:
                    raise
                self._relaying = False
                away = "The other computer could not be used, so this one made the print."
        enhance = _load(self._pipeline)
        engine = self._engine_for(request.options.device)
        self._tell_ready(engine)
        host_memory.check(request, on_cpu=_kind(engine) == "cpu")
        done = enhance(
            request,
            source,
            selection,
            result,
            engine=engine,
            on_progress=report,
            should_cancel=lambda: run in self._cancelled,
        )
        done.notes[:0] = [away] if away else []
        return done

    def _relay(
        self,
        host: dict[str, Any],
        request: Request,
        source: Raster,
        selection: Raster | None,
        result: Raster,
        report: _Reporter,
        run: int,
    ) -> Any:
        """Have another computer do it; no torch is imported for that."""
        from . import relay  # a client, with zmq: only where one is needed

        return relay.enhance(
            host,
            request,
            source,
            selection,
            result,
            on_progress=report,
            should_cancel=lambda: run in self._cancelled,
        )

    def _engine_for(self, device: str) -> Any:
        """The warm engine of a device."""
        if device not in self._engines:
            self._engines[device] = _load(self._engine)(device)
        return self._engines[device]

    def _tell_ready(self, engine: Any) -> None:
        device = str(engine.describe())[:500]
        self._tell({"t": "ready", "device": device, "kind": _kind(engine)})

    def _tell(self, record: dict[str, Any]) -> None:
        data = frame_record(record)
        try:
            with self._send_lock:
                self._channel.sendall(data)
        except OSError:
            os._exit(0)  # the server is gone; see _listen


class _Reporter:
    """`on_progress` of the pipeline: passes on twenty times a second at most.

    Attributes:
        rows_done: finished rows of the result that were told of, from the top.
    """

    def __init__(self, run: int, tell: Callable[[dict[str, Any]], None]) -> None:
        self._run = run
        self._tell = tell
        self._sent_s = 0.0
        self._phase = ""
        self.rows_done = 0

    def __call__(self, phase: str, done: int, total: int, rows_done: int) -> None:
        now_s = time.monotonic()
        if phase == self._phase and done < total and now_s - self._sent_s < REPORT_EVERY_S:
            return
        self._phase, self._sent_s, self.rows_done = phase, now_s, rows_done
        self._tell(
            {
                "t": "progress",
                "run": self._run,
                "phase": phase[:40],
                "done": done,
                "total": total,
                "rows": rows_done,
            }
        )


def _kind(engine: Any) -> str:
    """Of its device: "cpu", "cuda" or "mps"."""
    return str(engine.device).partition(":")[0]


def describe(error: BaseException) -> tuple[str, str, dict[str, Any]]:
    """(code, message, detail) of an exception that left the pipeline."""
    torch = sys.modules.get("torch")
    if isinstance(error, WallprintError):
        code = error.code if error.code in CODES else "E_INTERNAL"
        return code, error.message, error.detail
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return "E_OOM_GPU", f"The device's memory does not suffice: {error}", {}
    accelerator_error = getattr(torch, "AcceleratorError", None)
    if accelerator_error is not None and isinstance(error, accelerator_error):
        return "E_GPU_LOST", f"The device failed: {error}", {}
    if isinstance(error, MemoryError):
        return "E_OOM_HOST", "The computer's memory does not suffice.", {}
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "E_DISK_FULL", f"The disk is full: {error}", {}
    return "E_INTERNAL", f"{type(error).__name__}: {error}", {}


def _request(order: dict[str, Any]) -> Request:
    """The job's request; the I/O process has checked it, the profile stays there."""
    source = Size(order["w"], order["h"])
    out = Size(order["out_w"], order["out_h"])
    selection = order["selection"]
    return Request(
        source,
        PixelLayout.from_map(order["fmt"]),
        out,
        Options.from_map(order["params"], source=source, out=out),
        PixelLayout.from_map(selection) if selection else None,
    )


def _packable(notes: list[str], report: dict[str, Any]) -> dict[str, Any]:
    """Notes and report in the shape that fits into one message."""
    value = {"notes": [note[:1000] for note in notes[:20]], "report": report}
    try:
        pack(value)
    except ProtocolError as error:
        log.warning("the report does not fit into a message: %s", error)
        value["report"] = {}
    return value


def _load(name: str) -> Any:
    """The object that `module:attribute` names."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def main(argv: list[str] | None = None) -> int:
    """Entry of the process; started by link.py."""
    parser = argparse.ArgumentParser(prog="wallprint-worker")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--pipeline", required=True)
    parser.add_argument("--engine", required=True)
    options = parser.parse_args(argv)
    handler = logging.StreamHandler()
    handler.setFormatter(PrivateFormatter("%(asctime)s worker %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then ends us
    forbid_core_dumps()
    with socket.socket(fileno=options.fd) as channel:
        return Worker(channel, options.pipeline, options.engine).run()


if __name__ == "__main__":
    sys.exit(main())
