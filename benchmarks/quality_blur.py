"""Deblurring without a network, tuned in their favour: what a network has to beat.

Unsharp mask, Wiener filter and Richardson-Lucy of scikit-image. The last two must be told the
kernel: *known* is the true one, which nobody has outside a laboratory and which bounds what they
can do; *measured* a straight line of the true length, angle and place, as one might take from the
streak of a lamp; *guessed* a straight line whose length and angle are read from the blurred picture
alone. Pictures are (H, W, 3) uint8, display-encoded RGB; kernels (k, k) float64 of odd side, sum 1.

References:
    Yitzhaky and Kopeika, Identification of blur parameters from motion blurred images, CVGIP:
    Graphical Models and Image Processing 59 (1997): angle and length of a straight blur.
    Orieux, Giovannelli and Rodet, Bayesian estimation of regularization and point spread function
    parameters for Wiener-Hunt deconvolution, JOSA A 27 (2010). Richardson, JOSA 62 (1972); Lucy,
    Astronomical Journal 79 (1974).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, cos, floor, pi, sin
from pathlib import Path

import numpy as np
from quality_scores import inside, load, luma, psnr
from skimage.filters import unsharp_mask
from skimage.restoration import richardson_lucy, wiener

# The pairs' borders were made by reflection.
BORDER_PX = 16
# Where the parameters are chosen: the middle of the odd-numbered pairs, this wide without border.
TUNING_PX = 256
# Beyond the picture it is continued by reflection: without that both filters ring along the border.
PAD_PX = 48
LONGEST_LINE_PX, ANGLES = 45, 36

Parameters = dict[str, float]


@dataclass(frozen=True)
class Pair:
    """A blurred picture, the sharp one, and the shake between them if it is known.

    Attributes:
        name: of the files.
        blurred: what a method is given.
        sharp: what it should find.
        path: (N, 2) float, the camera's shift at equal intervals, px; None for a real picture.
    """

    name: str
    blurred: np.ndarray
    sharp: np.ndarray
    path: np.ndarray | None

    @property
    def tunes(self) -> bool:
        """Whether parameters may be chosen by it: the odd-numbered synthetic pairs."""
        return self.path is not None and int(self.name[-2:]) % 2 == 1


def pairs(folder: Path) -> list[Pair]:
    """Every NAME_blur.png with NAME_sharp.webp; NAME.json, if there is one, tells the shake."""
    found = []
    for blurred in sorted(folder.rglob("*_blur.png")):
        name = blurred.name.removesuffix("_blur.png")
        facts = blurred.with_name(f"{name}.json")
        path = np.array(json.loads(facts.read_text())["tx_ty_px"]) if facts.exists() else None
        sharp = load(blurred.with_name(f"{name}_sharp.webp"))
        found.append(Pair(name, load(blurred), sharp, path))
    return found


def kernel_of(path: np.ndarray) -> np.ndarray:
    """Kernel of a camera that looks at sharp[p + path[i]] for the same time each.

    Its middle is the place without a shift, which is that of the sharp picture and not in general
    the kernel's centre of mass. Roll and zoom of the shake are left out.

    Args:
        path: (N, 2) float, x and y in px.
    """
    radius = ceil(float(np.abs(path).max())) + 1
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1))
    for x, y in -path:  # a kernel's point at u takes what lies at -u
        left, top = floor(x), floor(y)
        for row, row_share in ((top, 1 - (y - top)), (top + 1, y - top)):
            for column, share in ((left, 1 - (x - left)), (left + 1, x - left)):
                kernel[radius + row, radius + column] += row_share * share
    return kernel / kernel.sum()


def straightened(path: np.ndarray) -> np.ndarray:
    """(N, 2): the straight line that a shake is most like, end to end at an even pace."""
    middle = path.mean(0)
    direction = np.linalg.svd(path - middle)[2][0]
    places = (path - middle) @ direction
    return middle + np.outer(np.linspace(places.min(), places.max(), len(path)), direction)


def line_kernel(length_px: float, angle: float) -> np.ndarray:
    """Kernel of a straight blur through its middle; the angle in radians from x towards y."""
    steps = np.linspace(-length_px / 2, length_px / 2, max(2, ceil(4 * length_px)))
    return kernel_of(np.outer(steps, (cos(angle), sin(angle))))


def read_line(blurred: np.ndarray) -> tuple[float, float]:
    """Length in px and angle in radians (0..pi) of a straight blur, read from the picture.

    A blur takes most from the differences along it: there their energy is least. Along it each
    edge became a ramp, whose two ends are one length apart and of opposite bend, so that the
    autocorrelation of the differences is least at that distance.
    """
    plane = luma(blurred)
    plane = plane - plane.mean()
    height, width = plane.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    power = np.abs(np.fft.rfft2(plane * window)) ** 2
    power[:, 1:-1] *= 2  # the half that a real picture's spectrum repeats
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]

    def along(angle: float) -> np.ndarray:
        return fx * cos(angle) + fy * sin(angle)

    def differences(angle: float) -> np.ndarray:
        return power * (2 * np.sin(pi * along(angle))) ** 2

    angles = [pi * k / ANGLES for k in range(ANGLES)]
    angle = min(angles, key=lambda a: float(differences(a).sum()))
    spectrum, cycles = differences(angle), along(angle)
    lengths = range(2, LONGEST_LINE_PX + 1)
    length = min(lengths, key=lambda r: float((spectrum * np.cos(2 * pi * r * cycles)).sum()))
    return float(length), angle


# What a method is told of a pair's blur; None where that is not to be had.
KERNELS: dict[str, Callable[[Pair], np.ndarray | None]] = {
    "known": lambda pair: None if pair.path is None else kernel_of(pair.path),
    "measured": lambda pair: None if pair.path is None else kernel_of(straightened(pair.path)),
    "guessed": lambda pair: line_kernel(*read_line(pair.blurred)),
}


# The three methods: (blurred, kernel, parameters) -> picture -----------------------------------


def by_unsharp_mask(blurred: np.ndarray, _kernel: np.ndarray, p: Parameters) -> np.ndarray:
    """Adds the difference from a Gaussian of sigma `radius`, `amount` times."""
    sharper = unsharp_mask(blurred, radius=p["radius"], amount=p["amount"], channel_axis=2)
    return _to_8_bit(sharper)


def by_wiener(blurred: np.ndarray, kernel: np.ndarray, p: Parameters) -> np.ndarray:
    """Wiener-Hunt deconvolution; `balance` weighs smoothness, `linear` 1 works in linear light."""
    return _by_channel(
        blurred,
        bool(p["linear"]),
        lambda x: wiener(x, kernel.astype(x.dtype), p["balance"], clip=False),
    )


def by_richardson_lucy(blurred: np.ndarray, kernel: np.ndarray, p: Parameters) -> np.ndarray:
    """Richardson-Lucy, `rounds` of it; `linear` 1 works in linear light."""
    return _by_channel(
        blurred,
        bool(p["linear"]),
        lambda x: richardson_lucy(x, kernel.astype(x.dtype), int(p["rounds"]), filter_epsilon=1e-6),
    )


Method = Callable[[np.ndarray, np.ndarray, Parameters], np.ndarray]
# What is tried; the best on the odd-numbered pairs is used for all.
GRIDS: dict[Method, list[Parameters]] = {
    by_unsharp_mask: [
        {"radius": r, "amount": a}
        for r in (0.7, 1.0, 1.5, 2.0, 3.0, 5.0)
        for a in (0.25, 0.5, 1.0, 1.5, 2.0)
    ],
    by_wiener: [
        {"balance": b, "linear": linear}
        for b in (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
        for linear in (0, 1)
    ],
    by_richardson_lucy: [
        {"rounds": n, "linear": linear} for n in (2, 5, 10, 20, 40) for linear in (0, 1)
    ],
}


def tuned(method: Method, given: list[tuple[Pair, np.ndarray]]) -> Parameters:
    """The parameters of the grid with the best mean PSNR on the middles of the given pairs.

    Args:
        method: one of GRIDS.
        given: pairs, each with the kernel that the method is told.
    """

    def mean(p: Parameters) -> float:
        scores = []
        for pair, kernel in given:
            blurred, sharp = (_middle(x) for x in (pair.blurred, pair.sharp))
            scores.append(psnr(method(blurred, kernel, p), sharp, BORDER_PX))
        return float(np.mean(scores))

    return max(GRIDS[method], key=mean)


def _middle(picture: np.ndarray) -> np.ndarray:
    side = TUNING_PX + 2 * BORDER_PX
    top, left = (max(0, length - side) // 2 for length in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def _by_channel(
    blurred: np.ndarray, linear: bool, restore: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    x = np.pad(
        blurred.astype(np.float32) / 255,
        ((PAD_PX, PAD_PX), (PAD_PX, PAD_PX), (0, 0)),
        mode="reflect",
    )
    x = _decoded(x) if linear else x
    y = np.stack([restore(x[..., c]) for c in range(3)], 2)
    return _to_8_bit(inside(_encoded(y) if linear else y, PAD_PX))


def _decoded(x: np.ndarray) -> np.ndarray:
    """SRGB values to linear light, IEC 61966-2-1."""
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def _encoded(x: np.ndarray) -> np.ndarray:
    """Linear light to sRGB values."""
    x = x.clip(0, 1)
    return np.where(x <= 0.0031308, x * 12.92, 1.055 * x ** (1 / 2.4) - 0.055)


def _to_8_bit(x: np.ndarray) -> np.ndarray:
    return (x.clip(0, 1) * 255).round().astype(np.uint8)
