"""Whether a picture was a JPEG, told from the coefficients that vanish on its 8 x 8 grid.

A JPEG rounds most of its middle and high frequencies to nothing. In blocks cut along its grid they
are still next to nothing, in blocks cut anywhere else they are not. That shows at quality 90 and in
pictures of a hundred pixels, where the steps between the blocks (`repair.estimate_blocking`) are
lost in the picture; of strong compression, where all blocks are nearly flat, the steps tell more.
Knows nothing of what is done about it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BLOCK = 8
Plane = npt.NDArray[np.float32]

# Sums of the two frequencies (0..7 each) that are looked at.
LOWEST, HIGHEST = 4, 9
# A coefficient that vanished is within the rounding of the pixels; levels of 255.
VANISHED, SMALL = 0.8, 3.2
# How far the grid's place must stand out from the 63 others, in their deviations, where most
# pictures have it and anywhere; and by how much at least, which flat drawings do not reach. Of 28
# clean crops none reaches 2.6 at the origin and 5.0 elsewhere; of qualities 60 to 90 all do 3.2.
CERTAIN_AT_ORIGIN, CERTAIN, LEAST_SHARE = 3.2, 5.5, 0.02
LEAST_COUNT = 200
# Coefficients in between are rare where the JPEG's steps are wider than that: their share on the
# grid relative to other places is 0.10 at quality 95, 0.02 at 93, 0 at 90 (medians of 29 pictures).
BETWEEN = (1.3, 2.1)
COARSE_SHARE = 0.06
# The same further up: 0.12 at quality 90, 0.04 at 85, 0.01 at 80 and less.
FURTHER = (3.5, 6.0)
MILD_SHARE = 0.03


@dataclass
class Vanished:
    """Coefficients counted by the place of their block, modulo 8.

    Attributes:
        vanished: (8, 8) by row and column of the block's corner, in the whole picture.
        small: the same, of all that are small.
        between: the same, of those that a coarse JPEG leaves none of.
        further: the same, of those that a coarser one leaves none of.
    """

    vanished: npt.NDArray[np.float64]
    small: npt.NDArray[np.float64]
    between: npt.NDArray[np.float64]
    further: npt.NDArray[np.float64]

    @staticmethod
    def none() -> Vanished:
        """Nothing counted yet."""
        return Vanished(*(np.zeros((BLOCK, BLOCK)) for _ in range(4)))

    def count(self, luma: Plane, x: int, y: int) -> None:
        """Add a part of the picture.

        Args:
            luma: (H, W) float32 in levels of 255, perceptual.
            x: column of its first pixel in the picture.
            y: row of the same.
        """
        if min(luma.shape) < 2 * BLOCK:
            return
        frequencies = np.abs(_all_blocks(luma))
        wanted = np.add.outer(np.arange(BLOCK), np.arange(BLOCK))
        chosen = frequencies[..., (wanted >= LOWEST) & (wanted <= HIGHEST)]
        for sums, (low, high) in (
            (self.vanished, (-1.0, VANISHED)),
            (self.small, (-1.0, SMALL)),
            (self.between, BETWEEN),
            (self.further, FURTHER),
        ):
            found = ((chosen > low) & (chosen < high)).sum(-1)
            for row in range(min(BLOCK, found.shape[0])):
                for column in range(min(BLOCK, found.shape[1])):
                    part = found[row::BLOCK, column::BLOCK].sum()
                    sums[(y + row) % BLOCK, (x + column) % BLOCK] += part

    def place(self) -> tuple[int, int] | None:
        """(x, y) of the grid, 0..7, or None where there is none."""
        if self.small.min() < LEAST_COUNT:
            return None
        share = self.vanished / self.small
        best = int(share.argmax())
        ahead = float(share.max() - np.median(np.delete(share.ravel(), best)))
        needed = CERTAIN if best else CERTAIN_AT_ORIGIN
        if ahead <= LEAST_SHARE or ahead <= needed * float(share.std()):
            return None
        return best % BLOCK, best // BLOCK

    def coarse(self) -> bool:
        """Whether the JPEG was of quality 93 or less; False where there is no grid."""
        return self._share_on_grid(self.between) < COARSE_SHARE

    def mild(self) -> bool:
        """Whether the JPEG was of quality 83 or more; False where there is no grid."""
        return MILD_SHARE <= self._share_on_grid(self.further) < np.inf

    def _share_on_grid(self, counted: npt.NDArray[np.float64]) -> float:
        """Share of coefficients on the grid, relative to other places; infinite without a grid."""
        place = self.place()
        if place is None:
            return float("inf")
        share = counted / np.maximum(self.vanished, 1)
        return float(share[place[1], place[0]] / max(float(np.median(share)), 1e-9))


def _all_blocks(luma: Plane) -> Plane:
    """Cosine transform of the block at every place, (H - 7, W - 7, 8, 8).

    References:
        ITU-T T.81 (1992), annex A.3.3.
    """
    k = np.arange(BLOCK)
    matrix = np.cos((2 * k + 1) * k[:, None] * np.pi / (2 * BLOCK)) * np.sqrt(2 / BLOCK)
    matrix[0] /= np.sqrt(2)
    turned = matrix.T.astype(np.float32)
    rows = np.lib.stride_tricks.sliding_window_view(luma, BLOCK, 1) @ turned
    blocks: Plane = np.lib.stride_tricks.sliding_window_view(rows, BLOCK, 0) @ turned
    return blocks
