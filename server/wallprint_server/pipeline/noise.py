"""How much noise a picture has, read from where it has nothing else.

Knows nothing of tiles or networks.

References:
    The operator that answers to neither slopes nor edges: Immerkaer, "Fast noise variance
    estimation", CVIU 64 (1996). Taking the quietest blocks: Olsen, "Estimation of noise in images:
    an evaluation", CVGIP 55 (1993).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from wallprint_protocol.print_size import Rect, Size

from .repair import WORST_SIGMA, Luma, sample_rects

Deviations = npt.NDArray[np.float64]

BLOCK_PX = 16
QUIETEST = 10  # percent of the blocks
# The quietest tenth of blocks of pure noise has this part of its deviation.
OF_THE_QUIETEST = 0.90
# The brightness of noise that is partly the same in R, G and B, as a part of one channel's.
OF_BRIGHTNESS = 0.76
GAIN = 6.0  # of the operator, on white noise
DARK, BRIGHT = 6.0, 249.0  # mean of blocks that are not cut off at black or white
LEAST_BLOCKS = 12
LEAST_SIGMA = 3.5  # less is not seen in a print
# In a picture of half the size noise is half as strong, texture is not weaker. Of 69 clean pictures
# the three that seem to have noise, being texture all over, have ratios of 1.27 to 1.5; of
# photographs with noise of 5 levels nine in ten have less than 0.85.
MOST_RATIO = 0.85


def estimate_noise(size: Size, luma: Callable[[Rect], Luma]) -> float:
    """Deviation of the noise of one channel, in levels of 255.

    Args:
        size: of the picture.
        luma: rectangle -> (H, W) float32 in levels of 255, perceptual.

    Returns:
        0 where it cannot be told: too few blocks, or texture everywhere.
    """
    planes = [luma(rect) for rect in sample_rects(size)]
    full, half = (
        np.concatenate([_deviations(plane) for plane in some] or [np.empty(0)])
        for some in (planes, [_halved(plane) for plane in planes])
    )
    if min(full.size, half.size) < LEAST_BLOCKS:
        return 0.0
    quiet, quiet_half = (float(np.percentile(d, QUIETEST)) for d in (full, half))
    if quiet_half > MOST_RATIO * quiet:
        return 0.0
    return quiet / (OF_THE_QUIETEST * OF_BRIGHTNESS)


def noise_amount(sigma: float) -> int:
    """Repair, 0..100, that suits a noise; 0 for one that nobody sees."""
    return 0 if sigma < LEAST_SIGMA else round(100 * min(1.0, sigma / WORST_SIGMA))


def _halved(plane: Luma) -> Luma:
    height, width = (n // 2 * 2 for n in plane.shape)
    cells = plane[:height, :width].reshape(height // 2, 2, width // 2, 2)
    half: Luma = cells.mean((1, 3), dtype=np.float32)
    return half


def _deviations(plane: Luma) -> Deviations:
    """Of the operator's answer in each block that is not cut off."""
    x = plane.astype(np.float64)
    rows = x[:-2] - 2 * x[1:-1] + x[2:]
    answer = (rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]) / GAIN
    height, width = (n // BLOCK_PX for n in answer.shape)
    if not height or not width:
        return np.empty(0)

    def cells(values: Deviations) -> Deviations:
        cut = values[: height * BLOCK_PX, : width * BLOCK_PX]
        blocks = cut.reshape(height, BLOCK_PX, width, BLOCK_PX).swapaxes(1, 2)
        flat: Deviations = blocks.reshape(-1, BLOCK_PX**2)
        return flat

    mean = cells(x[1:-1, 1:-1]).mean(1)
    deviation: Deviations = cells(answer).std(1)[(mean > DARK) & (mean < BRIGHT)]
    return deviation
