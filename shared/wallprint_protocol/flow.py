"""Flow control and tile geometry, the arithmetic that both sides do (protocol.md 2.5, 2.6).

Knows no sockets. A tile costs at least 64 KiB of credit, so credit also bounds the number of
messages in a queue; limits are absolute, so a repeated or late credit does no harm.
"""

from __future__ import annotations

import zlib
from typing import Union

from .errors import ProtocolError
from .messages import OutTile, Tile
from .pixels import Grid
from .print_size import Rect, Size
from .wire import MAX_CHUNK_BYTES

WINDOW_BYTES = 16 << 20
MAX_WINDOW_BYTES = 64 << 20
LEAST_COST_BYTES = 64 << 10
MAX_DAMAGED_TILES = 3
AnyTile = Union[Tile, OutTile]  # noqa: UP007 (Python 3.9 evaluates it)


def cost(payload_bytes: int) -> int:
    """Credit that a tile of so many bytes uses up."""
    return max(payload_bytes, LEAST_COST_BYTES)


class SendCredit:
    """The sender's account of one job and direction, bytes; starts at nothing."""

    def __init__(self) -> None:
        self.allowed = 0
        self.used = 0

    def allows(self, payload_bytes: int) -> bool:
        """Whether a tile of so many bytes may go out now."""
        return self.used + cost(payload_bytes) <= self.allowed

    def spend(self, payload_bytes: int) -> None:
        """A tile went out."""
        self.used += cost(payload_bytes)

    def raise_to(self, allowed: int) -> None:
        """A credit message came in; an older one than the last changes nothing."""
        self.allowed = max(self.allowed, allowed)


class ReceiveCredit:
    """The receiver's account of one job and direction, bytes.

    Args:
        window_bytes: how much may be under way; at least two tiles are always granted.
        tile_bytes: size of a whole tile.
    """

    def __init__(self, window_bytes: int, tile_bytes: int) -> None:
        self._window = min(max(window_bytes, 2 * cost(tile_bytes)), MAX_WINDOW_BYTES)
        self.granted = self._window
        self._received = 0
        self._consumed = 0

    def renewed(self) -> ReceiveCredit:
        """A fresh account with the same window, for a job that goes on over another connection."""
        return ReceiveCredit(self._window, 0)

    def receive(self, payload_bytes: int) -> None:
        """A tile came in.

        Raises:
            ProtocolError: E_CREDIT, the sender exceeded what was granted.
        """
        self._received += cost(payload_bytes)
        if self._received > self.granted:
            raise ProtocolError(
                f"{self._received} bytes sent, {self.granted} granted", code="E_CREDIT"
            )

    def consume(self, payload_bytes: int) -> int | None:
        """A tile is out of memory; the new absolute limit when it is time to send one."""
        self._consumed += cost(payload_bytes)
        if self._consumed + self._window - self.granted < self._window // 4:
            return None
        self.granted = self._consumed + self._window
        return self.granted


def check_grid(size: Size, cell: Size, bytes_per_pixel: int, what: str) -> Grid:
    """The grid of a picture whose tiles must fit into a chunk.

    Raises:
        ProtocolError: E_BAD_FIELD for an empty cell or one larger than the picture, E_LIMIT for a
            tile over 4 MiB.
    """
    if not (1 <= cell.width <= size.width and 1 <= cell.height <= size.height):
        raise ProtocolError(
            f"{what}: a tile of {cell.width} x {cell.height} px in a picture of "
            f"{size.width} x {size.height} px",
            code="E_BAD_FIELD",
        )
    if cell.pixels * bytes_per_pixel > MAX_CHUNK_BYTES:
        raise ProtocolError(
            f"{what}: a tile of {cell.pixels * bytes_per_pixel} bytes; "
            f"{MAX_CHUNK_BYTES} are allowed",
            code="E_LIMIT",
            detail={"limit": "chunk", "max": MAX_CHUNK_BYTES},
        )
    return Grid(size, cell)


def check_tile(tile: AnyTile, grid: Grid, bytes_per_pixel: int) -> Rect:
    """The rectangle of a tile, after all but its checksum has been found in order.

    Raises:
        ProtocolError: E_BAD_FIELD: not a cell of the grid, or a wrong number of bytes.
    """
    if tile.s >= len(grid):
        raise ProtocolError(f"tile {tile.s} of {len(grid)}", code="E_BAD_FIELD")
    rect = grid.rect(tile.s)
    if (tile.x, tile.y, tile.w, tile.h) != (rect.x, rect.y, rect.width, rect.height):
        raise ProtocolError(
            f"tile {tile.s} claims {tile.w} x {tile.h} px at {tile.x}, {tile.y}; "
            f"the grid has {rect}",
            code="E_BAD_FIELD",
        )
    expected = rect.size.pixels * bytes_per_pixel
    if not tile.n == expected == len(tile.payload or b""):
        raise ProtocolError(
            f"tile {tile.s} claims {tile.n} bytes and has {len(tile.payload or b'')}; "
            f"{rect} takes {expected}",
            code="E_BAD_FIELD",
        )
    return rect


def intact(tile: AnyTile) -> bool:
    """Whether the checksum, if there is one, fits the payload."""
    return tile.crc is None or zlib.crc32(tile.payload or b"") == tile.crc


class TileSet:
    """Which tiles of a grid are here; one bit each, row-major, least significant bit first."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.held = 0
        self._bits = bytearray(-(-count // 8))

    def __contains__(self, index: int) -> bool:
        return bool(self._bits[index >> 3] >> (index & 7) & 1)

    def add(self, index: int) -> None:
        """Mark one; a second time changes nothing."""
        if index not in self:
            self._bits[index >> 3] |= 1 << (index & 7)
            self.held += 1

    @property
    def complete(self) -> bool:
        """Whether all are here."""
        return self.held == self.count

    def bitmap(self) -> bytes:
        """1 = held."""
        return bytes(self._bits)

    def missing_bitmap(self) -> bytes:
        """The payload of E_INCOMPLETE: 1 = missing."""
        bits = bytearray(byte ^ 0xFF for byte in self._bits)
        if self.count % 8:
            bits[-1] &= (1 << self.count % 8) - 1
        return bytes(bits)
