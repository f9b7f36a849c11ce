"""Layers as files, for commands of the `wallprint` program; where files about a document go."""

from __future__ import annotations

import tempfile
from pathlib import Path

from wallprint_protocol.errors import Cancelled
from wallprint_protocol.job_run import Buffer, Read
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Rect, Size
from wallprint_protocol.request import Request
from wallprint_protocol.tiff_file import TiffFile

from .job import BlockReader, Job
from .qt import QStandardPaths

_STRIP_BYTES = 1 << 20


def usual_folder(document_folder: str) -> Path:
    """Where files about a document go: beside it, else among the user's documents."""
    if document_folder:
        return Path(document_folder)
    kind = QStandardPaths.StandardLocation.DocumentsLocation
    found = Path(QStandardPaths.writableLocation(kind) or Path.home())
    return found if found.is_dir() else Path.home()


def new_file(folder: Path, stem: str, suffix: str) -> Path:
    """A name that no file has yet."""
    path, number = folder / f"{stem}{suffix}", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    return path


class KeptRows:
    """A copy of a source as it was, while the document goes on; in a file without a name.

    A print needs no copy. So when the disk is full there is none, and no error.

    Args:
        request: of the job that reads the source.
    """

    def __init__(self, request: Request) -> None:
        self.size, self.layout = request.source, request.layout
        self._row_bytes = self.size.width * self.layout.bytes_per_pixel
        self._file = None

    @property
    def whole(self) -> bool:
        """Whether `read` can be called."""
        return self._file is not None

    def reading(self, read: Read) -> Read:
        """`read`, with its strips kept."""
        self._file = tempfile.TemporaryFile(prefix="wallprint-")  # noqa: SIM115

        def read_and_keep(rect: Rect) -> Buffer:
            pixels = read(rect)
            if self._file is not None:
                try:
                    self._file.seek(rect.y * self._row_bytes)
                    self._file.write(pixels)
                except OSError:
                    self.forget()
            return pixels

        return read_and_keep

    def read(self, rect: Rect) -> bytes:
        """A full-width strip."""
        self._file.seek(rect.y * self._row_bytes)
        return self._file.read(rect.height * self._row_bytes)

    def forget(self) -> None:
        """Nothing is left."""
        if self._file is not None:
            self._file.close()
            self._file = None


def write_layer(
    job: Job, path: Path, read, size: Size, layout: PixelLayout, *, ppi: float, icc: bytes = b""
) -> None:
    """Write what `read` gives (in the main thread) into a TIFF; in the job's thread.

    Raises:
        Cancelled: the job was.
    """
    row_bytes = size.width * layout.bytes_per_pixel
    rows = max(1, _STRIP_BYTES // row_bytes)
    reader = BlockReader(job.main, read, size, layout.bytes_per_pixel)
    with TiffFile(path, size, layout, ppi=ppi, icc=icc) as file:
        for y in range(0, size.height, rows):
            if job.cancelled:
                raise Cancelled
            strip = Rect(0, y, size.width, min(rows, size.height - y))
            file.write(strip, reader(strip))
