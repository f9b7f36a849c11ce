"""A picture in a file descriptor: read and write rectangles of raw pixels.

The I/O process and the worker hand pixels to each other through such files (spool), so that
neither ever holds a whole picture. Knows nothing of colour or numpy.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from wallprint_protocol.print_size import Rect, Size


@dataclass(frozen=True)
class Raster:
    """Row-major pixels of `size`, `bytes_per_pixel` each, from offset 0 of `fd`."""

    fd: int
    size: Size
    bytes_per_pixel: int

    @property
    def nbytes(self) -> int:
        """Bytes of the whole picture."""
        return self.size.pixels * self.bytes_per_pixel

    def _span(self, rect: Rect) -> tuple[int, int, int]:
        """Offset of the first byte, bytes of one row of the file, bytes of one row of the rect."""
        if (
            min(rect.x, rect.y) < 0
            or min(rect.width, rect.height) < 1
            or rect.x + rect.width > self.size.width
            or rect.y + rect.height > self.size.height
        ):
            raise ValueError(f"{rect} is not inside {self.size}")
        pitch = self.size.width * self.bytes_per_pixel
        return (
            rect.y * pitch + rect.x * self.bytes_per_pixel,
            pitch,
            rect.width * self.bytes_per_pixel,
        )

    def read(self, rect: Rect) -> bytearray:
        """The rectangle's bytes, rows joined."""
        offset, pitch, row = self._span(rect)
        data = bytearray(row * rect.height)
        view = memoryview(data)
        if row == pitch:
            self._read_into(view, offset)
        else:
            for y in range(rect.height):
                self._read_into(view[y * row : (y + 1) * row], offset + y * pitch)
        return data

    def write(self, rect: Rect, data: bytes | bytearray | memoryview) -> None:
        """Put the rectangle's bytes (rows joined) in place."""
        offset, pitch, row = self._span(rect)
        view = memoryview(data).cast("B")
        if len(view) != row * rect.height:
            raise ValueError(f"{len(view)} bytes for {rect}, {row * rect.height} expected")
        if row == pitch:
            self._write_all(view, offset)
        else:
            for y in range(rect.height):
                self._write_all(view[y * row : (y + 1) * row], offset + y * pitch)

    def _read_into(self, view: memoryview, offset: int) -> None:
        while len(view):
            got = os.preadv(self.fd, [view], offset)
            if got == 0:
                raise OSError(f"picture file ends at byte {offset}, {self.nbytes} expected")
            view, offset = view[got:], offset + got

    def _write_all(self, view: memoryview, offset: int) -> None:
        while len(view):
            put = os.pwrite(self.fd, view, offset)
            view, offset = view[put:], offset + put
