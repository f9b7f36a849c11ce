"""Private files that hold the pixels of a job between socket and worker.

Knows tiles as rectangles of bytes, nothing of jobs. Room is reserved when a file is made, so a full
disk is told before work starts and never in the middle of it; a sparse file would end in SIGBUS or
ENOSPC halfway. A file has no name: whatever happens, nothing stays on the disk.
"""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from wallprint_protocol.errors import OutOfResources
from wallprint_protocol.messages import Buffer
from wallprint_protocol.print_size import Rect, Size

from .raster import Raster

_ZEROS_BYTES = 1 << 20


class Spool:
    """One picture in one nameless file."""

    def __init__(self, raster: Raster, room: SpoolRoom, memory_bytes: int) -> None:
        self.raster = raster
        self._room = room
        self._memory_bytes = memory_bytes

    def write(self, rect: Rect, pixels: Buffer) -> None:
        """Put a tile in place."""
        self.raster.write(rect, pixels)

    def read(self, rect: Rect) -> bytearray:
        """Fetch a tile."""
        return self.raster.read(rect)

    def close(self) -> None:
        """Give the room back (the worker's own descriptor keeps what it still works on)."""
        os.close(self.raster.fd)
        self._room.memory_used -= self._memory_bytes


class SpoolRoom:
    """Makes spool files; those that fit a budget in memory, the others in the state directory.

    Args:
        directory: where files on disk are made, mode 0700.
        memory_bytes: budget of all files in memory together.
    """

    def __init__(self, directory: Path, memory_bytes: int) -> None:
        self._directory = directory
        self._memory_bytes = memory_bytes
        self.memory_used = 0

    def make(self, size: Size, bytes_per_pixel: int) -> Spool:
        """A file with room for the whole picture.

        Raises:
            OutOfResources: E_DISK_FULL.
        """
        needed = size.pixels * bytes_per_pixel
        if self._fits_memory(needed):
            try:
                spool = self._reserve(os.memfd_create("wallprint-spool"), size, bytes_per_pixel)
            except OutOfResources:
                pass  # less memory than it seemed: the disk may do
            else:
                self.memory_used += needed
                return Spool(spool, self, needed)
        try:
            descriptor, path = tempfile.mkstemp(prefix="spool-", dir=self._directory)
        except OSError as error:
            raise _no_room(error, needed, self._directory) from None
        os.unlink(path)
        return Spool(self._reserve(descriptor, size, bytes_per_pixel), self, 0)

    def _fits_memory(self, needed: int) -> bool:
        return (
            hasattr(os, "memfd_create")
            and self.memory_used + needed <= self._memory_bytes
            and needed <= available_memory_bytes() // 4
        )

    def _reserve(self, descriptor: int, size: Size, bytes_per_pixel: int) -> Raster:
        raster = Raster(descriptor, size, bytes_per_pixel)
        try:
            reserve(descriptor, raster.nbytes)
        except OSError as error:
            os.close(descriptor)
            raise _no_room(error, raster.nbytes, self._directory) from None
        return raster


def reserve(descriptor: int, nbytes: int) -> None:
    """Make the file `nbytes` long with every block allocated; raises OSError when it cannot."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, nbytes)
        return
    zeros = bytes(_ZEROS_BYTES)  # macOS has no posix_fallocate
    for offset in range(0, nbytes, _ZEROS_BYTES):
        os.pwrite(descriptor, zeros[: nbytes - offset], offset)


def available_memory_bytes() -> int:
    """Memory that can be taken without swapping; 0 when the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        pass
    return 0


def _no_room(error: OSError, needed: int, directory: Path) -> OutOfResources:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM):
        raise error
    return OutOfResources(
        f"{needed / 1e6:.0f} MB are needed in {directory} and are not free.",
        code="E_DISK_FULL",
        detail={"needed_bytes": needed},
    )
