"""Private files that hold the pixels of a job between socket and worker.

Knows tiles as rectangles of bytes, nothing of jobs. Room is reserved when a file is made, so a full
disk is told before work starts and never in the middle of it; a sparse file would end in SIGBUS or
ENOSPC halfway. A file has no name: whatever happens, nothing stays on the disk.
"""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
import threading
from pathlib import Path

from wallprint_protocol.errors import OutOfResources
from wallprint_protocol.messages import Buffer
from wallprint_protocol.print_size import Rect, Size

from .host_memory import lies_in_memory
from .raster import Raster

_ZEROS_BYTES = 1 << 20


class Spool:
    """One picture in one nameless file."""

    def __init__(self, raster: Raster, room: SpoolRoom) -> None:
        self.raster = raster
        self._room = room

    def write(self, rect: Rect, pixels: Buffer) -> None:
        """Put a tile in place."""
        self.raster.write(rect, pixels)

    def view(self, rect: Rect) -> memoryview:
        """A tile for sending, of a whole number of rows or a part of one, without a copy.

        The file's pages are mapped for as long as the view lives: sending from them spares a copy
        into fresh memory (0.14 s of 400 MB), and only what is under way counts as memory.
        """
        raster = self.raster
        pixel = raster.bytes_per_pixel
        start = (rect.y * raster.size.width + rect.x) * pixel
        length = rect.size.pixels * pixel
        if rect.width != raster.size.width and rect.height != 1:
            raise ValueError(f"{rect} is not contiguous in {raster.size}")
        aligned = start - start % mmap.ALLOCATIONGRANULARITY
        pages = mmap.mmap(
            raster.fd,
            start - aligned + length,
            flags=mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0),
            prot=mmap.PROT_READ,
            offset=aligned,
        )
        return memoryview(pages)[start - aligned :]

    def close(self) -> None:
        """Give the room back (the worker's own descriptor keeps what it still works on).

        In a thread: closing is what frees the file, 25 ms for 400 MB, and a job may have 64 GiB.
        """
        threading.Thread(target=os.close, args=(self.raster.fd,), name="spool-close").start()
        self._room.used_bytes -= self.raster.nbytes


class SpoolRoom:
    """Makes spool files in one directory.

    Files on disk, although the pixels are wanted back in seconds: a file that is unlinked before
    the system writes it out never reaches the disk, and filling one took 0.09 s for 400 MB, a
    memfd 0.23 s (4 KiB pages). A job larger than memory is no special case either.

    Args:
        directory: mode 0700.

    Attributes:
        in_memory: whether files there take the computer's memory.
        used_bytes: of all files.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.in_memory = lies_in_memory(directory)
        self.used_bytes = 0

    def make(self, size: Size, bytes_per_pixel: int) -> Spool:
        """A file with room for the whole picture.

        Raises:
            OutOfResources: E_DISK_FULL.
        """
        needed = size.pixels * bytes_per_pixel
        try:
            descriptor, path = tempfile.mkstemp(prefix="spool-", dir=self._directory)
        except OSError as error:
            raise _no_room(error, needed, self._directory) from None
        os.unlink(path)
        spool = Spool(self._reserve(descriptor, size, bytes_per_pixel), self)
        self.used_bytes += needed
        return spool

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


def _no_room(error: OSError, needed: int, directory: Path) -> OutOfResources:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM):
        raise error
    return OutOfResources(
        f"{needed / 1e6:.0f} MB are needed in {directory} and are not free.",
        code="E_DISK_FULL",
        detail={"needed_bytes": needed},
    )
