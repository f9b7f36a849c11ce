"""Small stand-ins for the pipeline, without numpy and torch, each with one behaviour.

`by_model` does what the request's `model` says, so that one server serves many tests.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field

from wallprint_protocol.errors import Cancelled, WallprintError
from wallprint_protocol.print_size import Rect


class NoEngine:
    """An engine that computes nothing."""

    device = "cpu"

    def __init__(self, device: str = "auto") -> None:
        if device == "mps":
            raise WallprintError("There is no mps here.", code="E_DEVICE")

    def describe(self) -> str:
        return "no engine"


class LateEngine(NoEngine):
    """The same, but it takes its time to be there."""

    def __init__(self, device: str = "auto") -> None:
        time.sleep(4.0)
        super().__init__(device)


class NoGpu(NoEngine):
    """The same, but it claims to be a GPU."""

    device = "cuda:0"


@dataclass
class Report:
    notes: list[str] = field(default_factory=list)
    report: dict = field(default_factory=dict)

    def to_map(self):
        return self.report


def nearest(request, source, selection, result, *, engine, on_progress, should_cancel, pause_s=0.0):
    """Nearest neighbour, eight rows at a time; outside the selection everything is 0."""
    width = source.bytes_per_pixel
    columns = [x * source.size.width // result.size.width for x in range(result.size.width)]
    height = result.size.height
    for top in range(0, height, 8):
        if should_cancel():
            raise Cancelled
        time.sleep(pause_s)
        for y in range(top, min(top + 8, height)):
            rect = Rect(0, y * source.size.height // height, source.size.width, 1)
            row = source.read(rect)
            if selection is not None:
                mask = selection.read(rect)
                size = selection.bytes_per_pixel
                for x in range(source.size.width):
                    if not any(mask[x * size : x * size + size]):
                        row[x * width : x * width + width] = bytes(width)
            line = b"".join([row[x * width : x * width + width] for x in columns])
            result.write(Rect(0, y, result.size.width, 1), line)
        done = min(top + 8, height)
        on_progress("run", done, height, done)
    return Report(["a note"], {"stages": [{"stage": "nearest"}], "device": "cpu"})


def identity(request, source, selection, result, *, engine, on_progress, should_cancel):
    """Copy, about a megabyte at a time."""
    size = source.size
    rows = max(1, (1 << 20) // (size.width * source.bytes_per_pixel))
    for y in range(0, size.height, rows):
        if should_cancel():
            raise Cancelled
        rect = Rect(0, y, size.width, min(rows, size.height - y))
        result.write(rect, source.read(rect))
        on_progress("run", y + rect.height, size.height, y + rect.height)
    return Report()


def by_model(request, source, selection, result, *, engine, on_progress, should_cancel):
    name = request.options.model
    more = {"engine": engine, "on_progress": on_progress, "should_cancel": should_cancel}
    if name == "slow":
        return nearest(request, source, selection, result, pause_s=0.05, **more)
    if name == "hang":
        on_progress("run", 0, 10, 0)
        while True:
            time.sleep(1)
    elif name == "half-then-exit":
        half = result.size.height // 2
        result.write(Rect(0, 0, result.size.width, half), bytes(result.nbytes // 2))
        on_progress("run", 5, 10, half)
        time.sleep(0.2)
        os._exit(9)
    elif name == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(10)
    elif name == "bug":
        raise ValueError("a secret bug")
    elif name == "no-memory":
        raise MemoryError
    elif name == "disk-full":
        raise OSError(28, "No space left on device")
    elif name == "no-device":
        raise WallprintError("There is no CUDA here.", code="E_DEVICE", detail={"have": ["cpu"]})
    elif name.startswith("raise-"):
        raise WallprintError("It went wrong here.", code=name.removeprefix("raise-"))
    elif name == "long-report":
        report = nearest(request, source, selection, result, **more)
        report.report = {"text": "x" * 5000}
        return report
    return nearest(request, source, selection, result, **more)
