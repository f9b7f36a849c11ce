"""One job: the client in a thread of its own, Krita's API in the main thread, a timer between them.

libkis may only be called from the main thread, and the main thread must never wait. So the client's
thread asks for strips through a queue, and a QTimer of 20 ms answers for a few milliseconds at a
time. Knows nothing of dialogs.
"""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable

from wallprint_protocol import client
from wallprint_protocol.errors import Cancelled, WallprintError
from wallprint_protocol.print_size import Rect, Size

from .qt import QTimer

TICK_MS = 20
_SLICE_S = 0.06  # the main thread's longest turn; a block below takes about 5 ms
_BLOCK_BYTES = 4 << 20


class MainThread:
    """Calls from a worker thread that are carried out in the main thread."""

    def __init__(self):
        self._calls = queue.Queue()
        self._closed = threading.Event()

    def call(self, function):
        """From the worker: have the main thread do it, return what it returned."""
        answer = queue.Queue()
        self._calls.put((function, answer))
        while True:
            try:
                value, error = answer.get(timeout=0.2)
            except queue.Empty:
                if self._closed.is_set():
                    raise Cancelled from None
                continue
            if error is not None:
                raise error
            return value

    def serve(self):
        """From the main thread: do what was asked for, for a moment."""
        end = time.monotonic() + _SLICE_S
        while time.monotonic() < end:
            try:
                function, answer = self._calls.get_nowait()
            except queue.Empty:
                return
            try:
                answer.put((function(), None))
            except Exception as error:
                answer.put((None, error))

    def close(self):
        """Nobody serves any more: waiting workers are released with Cancelled."""
        self._closed.set()


class BlockReader:
    """Reads ahead: one turn of the main thread fetches a block of many strips.

    Args:
        main: the bridge.
        read: reads a rectangle, in the main thread.
        size: of the picture.
        bytes_per_pixel: of its layout.
    """

    def __init__(self, main, read, size: Size, bytes_per_pixel: int):
        self._main, self._read, self._size = main, read, size
        self._row_bytes = size.width * bytes_per_pixel
        self._rows = max(1, _BLOCK_BYTES // self._row_bytes)
        self._top, self._bottom, self._block = 0, 0, memoryview(b"")

    def __call__(self, rect: Rect) -> memoryview:
        """One strip."""
        bottom = rect.y + rect.height
        if not (self._top <= rect.y and bottom <= self._bottom):
            last = min(self._size.height, max(bottom, rect.y + self._rows))
            block = Rect(0, rect.y, self._size.width, last - rect.y)
            self._block = memoryview(self._main.call(lambda: self._read(block)))
            self._top, self._bottom = rect.y, last
        start = (rect.y - self._top) * self._row_bytes
        return self._block[start : start + rect.height * self._row_bytes]


class BlockWriter:
    """Collects strips, and has the main thread put them into a node block by block."""

    def __init__(self, main, node, x: int, y: int):
        self._main, self._node, self._x, self._y = main, node, x, y
        self._left = self._top = self._rows = self._width = 0
        self._block = bytearray()

    def __call__(self, rect: Rect, pixels: memoryview) -> None:
        """One strip, top to bottom."""
        if not self._rows:
            self._left, self._top, self._width = rect.x, rect.y, rect.width
        self._block += pixels
        self._rows += rect.height
        if len(self._block) >= _BLOCK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand over what is left."""
        if not self._rows:
            return
        block, rows = bytes(self._block), self._rows
        left, top, width = self._left, self._top, self._width
        self._main.call(
            lambda: self._node.setPixelData(block, self._x + left, self._y + top, width, rows)
        )
        self._rows, self._block = 0, bytearray()


def cropped(write, bytes_per_pixel: int, inner: Rect):
    """A writer of strips that passes on only what falls into `inner`, in the same coordinates."""

    def write_inner(rect: Rect, strip: memoryview) -> None:
        top, bottom = max(rect.y, inner.y), min(rect.y + rect.height, inner.y + inner.height)
        if top >= bottom:
            return
        row_bytes = rect.width * bytes_per_pixel
        first, last = inner.x * bytes_per_pixel, (inner.x + inner.width) * bytes_per_pixel
        rows = ((y - rect.y) * row_bytes for y in range(top, bottom))
        pixels = b"".join(strip[row + first : row + last] for row in rows)
        write(Rect(inner.x, top, inner.width, bottom - top), memoryview(pixels))

    return write_inner


class Job:
    """Runs `work(job)` in a thread; reports in the main thread.

    Args:
        work: the client's calls; gets this object and returns a result.
        on_progress: gets a `client.Progress` or a sentence.
        on_end: gets (result, error), once, one of them None.
    """

    def __init__(self, work: Callable, on_progress: Callable, on_end: Callable):
        self.main = MainThread()
        self._on_progress, self._on_end = on_progress, on_end
        self._cancel = threading.Event()
        self._news = queue.Queue()
        self._outcome = None
        self._thread = threading.Thread(
            target=self._run, args=(work,), name="wallprint", daemon=True
        )
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)
        self._timer.start(TICK_MS)
        self._thread.start()

    # -- for the worker ----------------------------------------------------------------------------

    def connect(self, version: str) -> client.Connection:
        """A logged-in connection; starts the server when none runs."""
        return client.connect(
            on_status=self._news.put,
            should_cancel=self._cancel.is_set,
            editor="Krita",
            editor_version=version,
        )

    def options(self) -> dict:
        """The callbacks of `client.enhance`."""
        return {"on_progress": self._news.put, "should_cancel": self._cancel.is_set}

    def tell(self, news) -> None:
        """Progress of another kind, or a sentence."""
        self._news.put(news)

    # -- for the main thread -----------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Until `on_end` has been called."""
        return self._timer.isActive()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancel.is_set()

    def cancel(self) -> None:
        """The client looks at it every 40 ms and tells the server."""
        self._cancel.set()

    def _run(self, work) -> None:
        try:
            self._outcome = (work(self), None)
        except WallprintError as error:
            self._outcome = (None, error)
        except Exception as error:
            traceback.print_exc()
            self._outcome = (None, error)

    def _tick(self) -> None:
        self.main.serve()
        news = None
        while not self._news.empty():
            news = self._news.get_nowait()
        if news is not None:
            self._on_progress(news)
        if self._outcome is not None and not self._thread.is_alive():
            self._timer.stop()
            self.main.close()
            self._on_end(*self._outcome)
