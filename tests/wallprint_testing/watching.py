"""A server of one's own, watched from outside: memory, descriptors, children, what it leaves."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from wallprint_testing.servers import LASTING_FILES, RunningServer, alive, wait_until

MIB = 1 << 20


@dataclass(frozen=True)
class Usage:
    """What one process takes.

    Attributes:
        rss_mib: resident memory.
        descriptors: open files and sockets.
        threads: of it.
    """

    rss_mib: float
    descriptors: int
    threads: int


def usage(pid: int) -> Usage:
    """Now; a process that ends meanwhile raises psutil.NoSuchProcess."""
    process = psutil.Process(pid)
    return Usage(process.memory_info().rss / MIB, process.num_fds(), process.num_threads())


class PeakMemory:
    """Highest resident memory of a process while the block runs, looked at every 5 ms, MiB."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._going = True
        self.start = self.peak = self._now()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def growth(self) -> float:
        """Over the start, MiB."""
        return self.peak - self.start

    def _now(self) -> float:
        return self._process.memory_info().rss / MIB

    def _watch(self) -> None:
        while self._going:
            self.peak = max(self.peak, self._now())
            time.sleep(0.005)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._going = False
        self._thread.join()


def wait_for_rest(server: RunningServer, timeout_s: float = 5.0) -> dict:
    """The status once no job, no spool and no other client is left; asserts that it comes.

    One connection asks all the time: the server must find those that are gone by itself.
    """
    with server.connect() as connection:

        def at_rest() -> dict | None:
            status = connection.status()
            quiet = not status["jobs"] and not status["spool_bytes"]
            return status if quiet and status["clients"] == 1 else None

        try:
            return wait_until(at_rest, timeout_s, 0.02)
        except AssertionError:
            raise AssertionError(f"still not at rest: {connection.status()}") from None


def log_text(server: RunningServer) -> str:
    """All of the log, files that were rotated away included, oldest first."""
    files = sorted(server.state_dir.glob("server.log*"), reverse=True)
    return "".join(path.read_text() for path in files)


@contextmanager
def private_directory() -> Iterator[Path]:
    """A state directory with a short name; afterwards nothing but logs and the lock may be left."""
    directory = Path(tempfile.mkdtemp(prefix="wp-", dir="/tmp"))
    try:
        yield directory
        names = {p.name for p in directory.iterdir() if not p.name.startswith("server.log")}
        assert not names - LASTING_FILES, f"left in the state directory: {names - LASTING_FILES}"
    finally:
        shutil.rmtree(directory)


@contextmanager
def private_server(**settings) -> Iterator[RunningServer]:
    """A server that must end well and take its children along."""
    with private_directory() as directory:
        server = RunningServer(directory, **settings)
        try:
            yield server
        finally:
            end(server)


def end(server: RunningServer) -> None:
    """Stop a server that may be dead already; nothing of it may stay."""
    if server.process.poll() is None:
        children = psutil.Process(server.process.pid).children(recursive=True)
        assert server.stop() == 0, log_text(server)[-3000:]
        wait_until(lambda: not any(map(alive, children)), 5)
