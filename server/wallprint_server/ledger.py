"""Which jobs ended the worker or the server, so that none may do it again and again.

Knows jobs by their number alone. The file outlives the server, as a job that takes the whole
process down is found at the next start: it had begun and never ended. It holds random numbers, no
names and no pixels, and exists only while there is something to remember.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)
MAX_CRASHES = 2
_MAX_ENTRIES = 200
_RUNNING = "running"


class CrashLedger:
    """Counts of crashes by job.

    Args:
        path: the file, in a private directory; lines `NUMBER running` or `NUMBER CRASHES`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._running: set[bytes] = set()
        self._crashes: dict[bytes, int] = {}  # oldest first
        for j in self._read():
            self.crashed(j)

    def begin(self, j: bytes) -> None:
        """The job goes to the worker."""
        self._running.add(j)
        self._write()

    def end(self, j: bytes) -> None:
        """The job is over, well or badly, and everybody is alive."""
        if j in self._running:
            self._running.discard(j)
            self._write()

    def crashed(self, j: bytes) -> int:
        """The job took the worker or the server with it; how often it has by now."""
        self._running.discard(j)
        self._crashes[j] = self._crashes.pop(j, 0) + 1
        while len(self._crashes) > _MAX_ENTRIES:
            del self._crashes[next(iter(self._crashes))]
        self._write()
        return self._crashes[j]

    def is_poison(self, j: bytes) -> bool:
        """Whether the job must not be tried again."""
        return self._crashes.get(j, 0) >= MAX_CRASHES

    def _read(self) -> list[bytes]:
        """Fill the counts; the jobs that were running when the last server went down."""
        try:
            lines = self._path.read_text("ascii").splitlines()
        except (OSError, ValueError):
            return []
        interrupted = []
        for line in lines[-_MAX_ENTRIES:]:
            number, _, what = line.partition(" ")
            try:
                j = bytes.fromhex(number)
                if what == _RUNNING:
                    interrupted.append(j)
                else:
                    self._crashes[j] = int(what)
            except ValueError:
                log.warning("a line of the crash ledger cannot be read")
        return interrupted

    def _write(self) -> None:
        """Bring the file up to date in one step; without it crashes of the worker still count."""
        lines = [f"{j.hex()} {count}\n" for j, count in self._crashes.items()]
        lines += [f"{j.hex()} {_RUNNING}\n" for j in self._running]
        temporary = self._path.with_suffix(".new")
        try:
            if lines:
                temporary.write_text("".join(lines), "ascii")
                os.replace(temporary, self._path)
            else:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("the crash ledger cannot be written: %s", error.strerror)
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
