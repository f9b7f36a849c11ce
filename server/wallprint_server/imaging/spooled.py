"""A picture file's pixels in a file without a name: any rectangle, at once, decoded only once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable

from wallprint_protocol.errors import Cancelled
from wallprint_protocol.print_size import Rect

from ..raster import Raster
from .files_in import Source

_ROWS = 64


class Spooled:
    """Decodes a source from top to bottom; a context manager, after which nothing is left.

    Attributes:
        raster: the pixels, in the source's layout.

    Args:
        source: the open picture.
        should_cancel: looked at every few rows.

    Raises:
        BadInput: the file is damaged.
        Cancelled: `should_cancel()`.
    """

    def __init__(
        self, source: Source, *, should_cancel: Callable[[], bool] = lambda: False
    ) -> None:
        self._file = tempfile.TemporaryFile(prefix="wallprint-")  # noqa: SIM115
        size = source.size
        self.raster = Raster(self._file.fileno(), size, source.layout.bytes_per_pixel)
        try:
            for y in range(0, size.height, _ROWS):
                if should_cancel():
                    raise Cancelled
                rect = Rect(0, y, size.width, min(_ROWS, size.height - y))
                self.raster.write(rect, source.read(rect))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Spooled:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
