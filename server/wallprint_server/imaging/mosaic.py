"""Joining tiles that share a border. Knows nothing of where the pixels come from."""

from __future__ import annotations

import torch
from torch import Tensor

from .tiles import Span


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
        ramp = (torch.arange(shared, device=tile.device, dtype=tile.dtype) + 0.5) / shared
        if column:
            tile = torch.cat(
                [torch.lerp(self._side, tile[..., :shared], ramp), tile[..., shared:]], -1
            )
        if column < len(self._columns) - 1:
            self._side = tile[..., -shared:].clone()
            tile, x_end = tile[..., :-shared], x_end - shared
        if row:
            above = self._below[..., x:x_end]
            tile = torch.cat(
                [torch.lerp(above, tile[..., :shared, :], ramp[:, None]), tile[..., shared:, :]], -2
            )
        if row < len(self._rows) - 1:
            if not self._below.numel():
                width = self._columns[-1].out[1]
                self._below = tile.new_empty((*tile.shape[:2], shared, width))
            self._below[..., x:x_end] = tile[..., -shared:, :]
            tile = tile[..., :-shared, :]
        return x, y, tile

    def rows_done(self, row: int) -> int:
        """Result rows that are final once every tile of `row` has been put."""
        last = row == len(self._rows) - 1
        return self._rows[row].out[1] - (0 if last else self._shared)
