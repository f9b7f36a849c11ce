"""Bleed and gallery wrap: margins that repeat the picture, flipped, after all other work.

Copies finished pixels within the result's file, so a mirrored margin has the very bytes of what it
mirrors. Knows bytes per pixel, nothing of colour.
"""

from __future__ import annotations

import numpy as np

from wallprint_protocol.print_size import Rect

from ..raster import Raster

_ROWS = 64


class MirroredMargins:
    """Fills the margins as the rows within become final.

    Margin pixel k beside the border (k = 0, 1, ...) repeats pixel k within, the border pixel
    itself included: first left and right, then whole rows at top and bottom with the corners.

    Args:
        result: the picture, margins included.
        mirror: left, top, right, bottom, px; each at most what lies within.
    """

    def __init__(self, result: Raster, mirror: tuple[int, int, int, int]) -> None:
        self._result = result
        self._left, self._top, self._right, self._bottom = mirror
        self._stop = result.size.height - self._bottom  # first row of the lower margin
        self._widened = self._top  # rows above have their left and right margins

    def extend(self, rows_done: int) -> int:
        """Rows above `rows_done` are final between the margins; how many are final in all."""
        done = min(max(rows_done, self._top), self._stop)
        for y in range(self._widened, done, _ROWS):
            self._widen(y, min(_ROWS, done - y))
        self._widened = max(self._widened, done)
        if done < min(2 * self._top, self._stop):
            return 0  # the upper margin is not known yet, and rows leave in order
        for k in range(self._top):
            self._copy_row(self._top + k, self._top - 1 - k)
        self._top = 0
        if done < self._stop:
            return done
        for k in range(self._bottom):
            self._copy_row(self._stop - 1 - k, self._stop + k)
        return self._result.size.height

    def _widen(self, y: int, rows: int) -> None:
        width = self._result.size.width
        if self._left:
            self._flip(Rect(self._left, y, self._left, rows), 0)
        if self._right:
            inside = width - self._right
            self._flip(Rect(inside - self._right, y, self._right, rows), inside)

    def _flip(self, source: Rect, x: int) -> None:
        """Copy a rectangle to column `x` with its columns reversed."""
        shape = (source.height, source.width, self._result.bytes_per_pixel)
        pixels = np.frombuffer(self._result.read(source), np.uint8).reshape(shape)
        target = Rect(x, source.y, source.width, source.height)
        self._result.write(target, pixels[:, ::-1].tobytes())

    def _copy_row(self, source: int, target: int) -> None:
        width = self._result.size.width
        self._result.write(Rect(0, target, width, 1), self._result.read(Rect(0, source, width, 1)))
