"""Joining tiles that share a border. Knows nothing of where the pixels come from."""

from __future__ import annotations

import torch
from torch import Tensor

from .tiles import Span


def fade_in(before: Tensor, tile: Tensor, dim: int) -> Tensor:
    """`tile`, whose first columns or rows go over from what its neighbour has there.

    Args:
        before: (1, C, h, w), the neighbour's pixels of what both share.
        tile: (1, C, H, W), begins with the shared pixels along `dim`.
        dim: 3 for columns, 2 for rows.
    """
    shared = before.shape[dim]
    ramp = (torch.arange(shared, device=tile.device, dtype=tile.dtype) + 0.5) / shared
    ramp = ramp if dim == 3 else ramp[:, None]
    rest = tile.narrow(dim, shared, tile.shape[dim] - shared)
    return torch.cat([torch.lerp(before, tile.narrow(dim, 0, shared), ramp), rest], dim)


class Mosaic:
    """Joins tiles that share a border into final pixels, in the order they are computed.

    Tiles come row by row. Two neighbours share `2 * blend_px` columns or rows; there the result
    goes linearly from one to the other by `torch.lerp`, which keeps equal inputs bit for bit (a
    sum of weights changes 3.5 % of float32 values by one unit in the last place). Only the
    shared right border of one tile and the shared lower border of one row are kept in memory.

    Args:
        columns: spans of the horizontal axis.
        rows: spans of the vertical axis.
        blend_px: as given to `cut_axis`.
    """

    def __init__(self, columns: list[Span], rows: list[Span], blend_px: int) -> None:
        self._columns, self._rows = columns, rows
        self._shared = 2 * blend_px
        self._side = torch.empty(0)
        self._below = torch.empty(0)

    def put(self, row: int, column: int, tile: Tensor) -> tuple[int, int, Tensor]:
        """Take the tile at (row, column); return (x, y, pixels) that are final now.

        Args:
            row: index into rows.
            column: index into columns.
            tile: (1, C, H, W), covers `out` of both spans.

        Returns:
            Position in the result and a (1, C, h, w) part of the tile, blended.
        """
        x, x_end = self._columns[column].out
        y = self._rows[row].out[0]
        shared = self._shared
        if not shared:
            return x, y, tile
        if column:
            tile = fade_in(self._side, tile, 3)
        if column < len(self._columns) - 1:
            self._side = tile[..., -shared:].clone()
            tile, x_end = tile[..., :-shared], x_end - shared
        if row:
            tile = fade_in(self._below[..., x:x_end], tile, 2)
        if row < len(self._rows) - 1:
            if not self._below.numel():
                width = self._columns[-1].out[1]
                self._below = tile.new_empty((*tile.shape[:2], shared, width))
            self._below[..., x:x_end] = tile[..., -shared:, :]
            tile = tile[..., :-shared, :]
        return x, y, tile

    def overlaps(self, row: int, column: int, tile: Tensor) -> list[tuple[Tensor, int]]:
        """What the neighbours have of the pixels that `tile` shares with them, and along which dim.

        Before `put`; empty where tiles share nothing.
        """
        found = []
        if self._shared and column:
            found.append((self._side, 3))
        if self._shared and row:
            x = self._columns[column].out[0]
            found.append((self._below[..., x : x + tile.shape[3]], 2))
        return found

    def rows_done(self, row: int) -> int:
        """Result rows that are final once every tile of `row` has been put."""
        last = row == len(self._rows) - 1
        return self._rows[row].out[1] - (0 if last else self._shared)
