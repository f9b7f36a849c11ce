"""How near a picture comes to the truth, as the literature counts it. Knows nothing of networks.

Pictures are (H, W, 3) uint8, display-encoded RGB.

References:
    Wang, Bovik, Sheikh and Simoncelli, Image quality assessment: from error visibility to
    structural similarity, IEEE TIP 13 (2004).
"""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.signal import correlate
from skimage.metrics import structural_similarity

MOST_SHIFT_PX = 10


@dataclass(frozen=True)
class Score:
    """A picture against the truth, or the difference of two such (a gain).

    Attributes:
        psnr: dB of all channels; infinite for equal pictures.
        ssim: mean of the channels, Gaussian window of sigma 1.5, 8-bit constants.
        psnr_moved: the best dB over whole shifts of up to MOST_SHIFT_PX: forgives a moved picture,
            which an estimate of blur cannot place.
        ssim_moved: at that shift.
    """

    psnr: float
    ssim: float
    psnr_moved: float
    ssim_moved: float

    def __sub__(self, other: Score) -> Score:
        return Score(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))


def load(path: Path) -> np.ndarray:
    """(H, W, 3) uint8."""
    return np.asarray(Image.open(path).convert("RGB"))


def as_jpeg(picture: np.ndarray, quality: int, *, half_chroma: bool = True) -> np.ndarray:
    """Through a JPEG file in memory, with colour at half resolution or in full."""
    buffer = io.BytesIO()
    subsampling = 2 if half_chroma else 0
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(buffer).convert("RGB"))


def luma(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> Y of BT.601 in 16..235, float64."""
    return picture.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / 255 + 16


def psnr_y(picture: np.ndarray, truth: np.ndarray, border: int = 0) -> float:
    """PSNR of Y in dB without `border` px."""
    return _decibels(luma(inside(picture, border)) - luma(inside(truth, border)))


def psnr(picture: np.ndarray, truth: np.ndarray, border: int = 0) -> float:
    """PSNR of all channels in dB without `border` px."""
    return _decibels(inside(picture, border).astype(np.float64) - inside(truth, border))


def ssim(picture: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity, the mean of the three channels'."""
    return float(
        structural_similarity(
            picture,
            truth,
            data_range=255,
            channel_axis=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def score(picture: np.ndarray, truth: np.ndarray, border: int) -> Score:
    """All four numbers without `border` px; those with a shift lose MOST_SHIFT_PX more."""
    plain = inside(picture, border), inside(truth, border)
    dx, dy = best_shift(picture, truth, border)
    moved = _moved(picture, truth, border, dx, dy)
    return Score(psnr(*plain), ssim(*plain), psnr(*moved), ssim(*moved))


def best_shift(
    picture: np.ndarray, truth: np.ndarray, border: int, most: int = MOST_SHIFT_PX
) -> tuple[int, int]:
    """Whole pixels (dx, dy) by which the picture's content lies left and above of the truth's.

    The shift of up to `most` px with the least squared error, over the same pixels of `picture`
    for every shift: those `border` + `most` away from its edge.
    """
    fixed = inside(picture, border + most).astype(np.float64)
    around = inside(truth, border).astype(np.float64)
    height, width = fixed.shape[:2]
    # (a - b)^2 = a^2 - 2ab + b^2, for all shifts at once; a^2 is the same for all.
    cross = sum(
        correlate(around[..., c], fixed[..., c], mode="valid", method="fft") for c in range(3)
    )
    sums = np.pad((around**2).sum(2), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    power = (
        sums[height:, width:]
        - sums[:-height, width:]
        - sums[height:, :-width]
        + sums[:-height, :-width]
    )
    row, column = np.unravel_index(np.argmin(power - 2 * cross), power.shape)
    return int(column) - most, int(row) - most


def inside(picture: np.ndarray, border: int) -> np.ndarray:
    """Without `border` px on each side."""
    return picture[border : picture.shape[0] - border, border : picture.shape[1] - border]


def _moved(
    picture: np.ndarray, truth: np.ndarray, border: int, dx: int, dy: int
) -> tuple[np.ndarray, np.ndarray]:
    fixed = inside(picture, border + MOST_SHIFT_PX)
    y, x = border + MOST_SHIFT_PX + dy, border + MOST_SHIFT_PX + dx
    return fixed, truth[y : y + fixed.shape[0], x : x + fixed.shape[1]]


def _decibels(difference: np.ndarray) -> float:
    error = float(np.mean(difference**2))
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))
