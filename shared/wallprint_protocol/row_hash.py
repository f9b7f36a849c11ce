"""SHA-256 of a picture that passes by in strips, for passports of prints made in an editor.

What is hashed is what `Passport.pixels_sha256` says: rows from the top, one after the other, each
once, however they are cut into strips. Knows nothing of files and editors.
"""

from __future__ import annotations

import hashlib

from .job_run import Buffer, Read, Write
from .print_size import Rect


class RowHash:
    """Hash of a picture's rows.

    Args:
        row_bytes: of one row of the picture.
    """

    def __init__(self, row_bytes: int) -> None:
        self._row_bytes = row_bytes
        self._digest = hashlib.sha256()
        self._next_y = 0

    def take(self, rect: Rect, pixels: Buffer) -> None:
        """A full-width strip; rows that were taken before, as when a job is repeated, are skipped.

        Raises:
            ValueError: rows between this strip and the last one are missing.
        """
        if rect.y > self._next_y:
            raise ValueError(f"row {rect.y} came, row {self._next_y} was expected")
        known = (self._next_y - rect.y) * self._row_bytes
        bottom = rect.y + rect.height
        if bottom > self._next_y:
            self._digest.update(memoryview(pixels).cast("B")[known:])
            self._next_y = bottom

    def hexdigest(self) -> str:
        """Of all rows until now, 64 hexadecimal digits."""
        return self._digest.hexdigest()

    def reading(self, read: Read) -> Read:
        """`read`, with its strips hashed on their way."""

        def read_and_take(rect: Rect) -> Buffer:
            pixels = read(rect)
            self.take(rect, pixels)
            return pixels

        return read_and_take

    def writing(self, write: Write) -> Write:
        """`write`, likewise."""

        def take_and_write(rect: Rect, pixels: memoryview) -> None:
            self.take(rect, pixels)
            write(rect, pixels)

        return take_and_write
