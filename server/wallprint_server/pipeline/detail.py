"""How far real detail reaches in a picture, and how large a print it carries. Knows no networks.

What is looked for is the frequency at which a tenth of the contrast is left (MTF10), the usual
limit of what is still seen. Two readings of the sharpest places, by numpy alone, so that a command
line answers at once. The *spectrum* bends away from a power law where the lens gives out, above
the noise floor. *Edges*, where there are any, are ramps whose width says it more exactly: a model
is fitted to discs around them, whose many pixels average the noise away.

An enlarged picture's edges are softer than its pixels and sharper than what they were made of; the
period that interpolation leaves in the second differences gives it away, also through a JPEG of
good quality. Networks that double leave one, too; of those that quadruple it cannot be told from
what other pictures have, so that they are recognised seldom, and then with another factor.

References:
    ISO 12233:2017 (MTF from slanted edges). Elder and Zucker, Local scale control for edge
    detection and blur estimation, PAMI 20 (1998). Field, Relations between the statistics of
    natural images and the response properties of cortical cells, JOSA A 4 (1987): the power law.
    Gallagher, Detection of linear and cubic interpolation in JPEG compressed images, CRV (2005).
"""

from __future__ import annotations

from collections.abc import Callable
from math import log, pi, sqrt

import numpy as np

from wallprint_protocol.detail_budget import NYQUIST, Detail
from wallprint_protocol.print_size import Rect, Size, Window

from .edge_fit import PLACE_PX, Floats, Luma, edge_sigma, noise_of, sample_places, sharpest

MTF10 = sqrt(log(10.0) / 2.0) / pi  # c/px at which a Gaussian of sigma 1 px leaves a tenth: 0.3415
LEAST_PX = 48  # side of a picture that has room for edges
# A wider blur than this (sigma, px) is measured on the picture at half its size, up to four times.
WIDEST_PX, MOST_HALVINGS = 2.5, 4
# Spectrum: side of a patch; its lowest bin is the picture's composition, not its texture.
PATCH_PX, LOWEST_BIN = 64, 3
POWERS = (2.0, 2.5, 3.0)  # of natural pictures' power, f^-p
SIGMAS = np.concatenate([[0.0], np.geomspace(0.3, 6.0, 60)])
# Edges that contradict the spectrum by more lie elsewhere than the detail, or are noise.
AGREE = 1.5
# A pixel's own aperture has variance 1/12. A picture sampled by area has it, one drawn at points
# has not; half of it is taken off, so that either is at most 6 % wrong.
APERTURE = 1 / 24
# Traces of interpolation are looked for from this frequency (an enlargement of 6 times) up, and
# count from this height over what is around. A JPEG's blocks leave their own at multiples of 1/8;
# second differences at those of simple factors (3, 1.5, 2.5, 5) have at most 0.6 in 240 pictures
# that were not enlarged, JPEGs among them.
LOWEST_TRACE, TRACE_HEIGHT, OVER_JPEG = 0.16, 4.0, 4.0
SIMPLE, SIMPLE_WITHIN, SIMPLE_HEIGHT = (1 / 3, 1 / 5, 2 / 5), 0.003, 1.0
# A network that doubles leaves the period of two pixels, and edges as sharp as a camera's; up to 21
# has been seen in pictures that no network had enlarged.
NETWORK_HEIGHT = 25.0
STRIPS, NARROW, NEARBY = 4, 4, 24  # strips of a place; bins of a peak, and around it
# No interpolation leaves a tenth of the contrast at a higher frequency, in units of the old pixels'
# own rate (repeated pixels: 0.91; of three times and more it is measured with a larger error).
FASTEST, FASTEST_OF_MANY, MANY = 0.95, 1.05, 2.5


def measure_detail(
    size: Size, luma: Callable[[Rect], Luma], window: Window | None = None
) -> Detail:
    """Measure the detail of a picture from samples of it; deterministic.

    Args:
        size: of the picture.
        luma: rectangle -> (H, W) float32 in levels of 255, perceptual.
        window: the part that is used, source px; the whole by default.
    """
    part = _whole_pixels(size, window)
    period, height = 0.0, 0.0
    for halvings in range(MOST_HALVINGS + 1):
        factor = 1 << halvings
        if min(part.width, part.height) < LEAST_PX * factor:
            break
        places = sharpest(sample_places(part, luma, factor))
        if not halvings:
            period, height = _interpolation(places)
        noise = noise_of(places)
        blur = _spectral_sigma(places)
        if blur is None:
            continue
        may_halve = (
            halvings < MOST_HALVINGS and min(part.width, part.height) >= 2 * LEAST_PX * factor
        )
        if blur > WIDEST_PX and may_halve:
            continue
        found, edges = edge_sigma(places, noise)
        if edges and blur / AGREE <= found <= max(blur, 0.5) * AGREE:
            blur = found
        else:
            edges = 0
        # Halving averages 2 x 2 pixels, which is itself a blur of variance (4^n - 1) / 12.
        variance = (factor * blur) ** 2 - (factor**2 - 1) / 12 - APERTURE
        reach = min(NYQUIST, MTF10 / sqrt(max(variance, 1e-6)))
        enlarged = _enlargement(period, height, reach)
        return Detail(float(min(reach, NYQUIST / enlarged)), edges, float(enlarged))
    return Detail(0.0, 0)


def _whole_pixels(size: Size, window: Window | None) -> Rect:
    """The window's whole pixels."""
    if window is None:
        return Rect(0, 0, size.width, size.height)
    x, y = max(0, round(window.x)), max(0, round(window.y))
    right = min(size.width, round(window.x + window.width))
    bottom = min(size.height, round(window.y + window.height))
    return Rect(x, y, max(1, right - x), max(1, bottom - y))


# Spectrum --------------------------------------------------------------------------------------


def _spectral_sigma(places: Floats) -> float | None:
    """Gaussian blur, sigma in px, that best explains the spectrum; None without any detail.

    Power of a natural picture behind a Gaussian lens: A f^-p exp(-(2 pi sigma f)^2) + noise.
    """
    f, power = _radial_power(places)
    if power.size == 0 or power[0] < 1e-3:
        return None
    best, sigma = float("inf"), None
    for s in SIGMAS:
        for p in POWERS:
            shape = f**-p * np.exp(-((2 * pi * s * f) ** 2))
            model = _with_floor(shape, power)
            misfit = float(((np.log(model) - np.log(power)) ** 2).sum())
            if misfit < best:
                best, sigma = misfit, float(s)
    return sigma


def _radial_power(places: Floats) -> tuple[Floats, Floats]:
    """Frequencies (c/px) and mean power of rings, over the liveliest patches of the places."""
    side = min(PATCH_PX, *places.shape[1:])
    rows, columns = (length // side for length in places.shape[1:])
    patches = places[:, : rows * side, : columns * side]
    patches = patches.reshape(-1, rows, side, columns, side).swapaxes(2, 3).reshape(-1, side, side)
    spread = patches.std((1, 2))
    keep = np.argsort(-spread, kind="stable")[: max(4, len(patches) // 2)]
    patches = patches[keep] - patches[keep].mean((1, 2), keepdims=True)
    hann = np.hanning(side)
    taper = np.outer(hann, hann)
    taper /= sqrt(float((taper**2).sum()))
    power = (np.abs(np.fft.rfft2(patches * taper)) ** 2).mean(0)
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]) * side
    ring = np.round(radius).astype(int)
    rings = np.arange(LOWEST_BIN, side // 2 + 1)
    means = [float(np.exp(np.log(np.maximum(power[ring == k], 1e-9)).mean())) for k in rings]
    return rings / side, np.array(means)


def _with_floor(shape: Floats, power: Floats) -> Floats:
    """A * shape + N with A, N >= 0 nearest to `power`, relatively."""
    a, b = shape / power, 1.0 / power
    aa, ab, bb, ra, rb = a @ a, a @ b, b @ b, a.sum(), b.sum()
    det = aa * bb - ab * ab
    gain, floor = ra / aa, 0.0
    if det > 1e-12 * aa * bb:
        both = (ra * bb - rb * ab) / det, (rb * aa - ra * ab) / det
        if both[0] > 0 and both[1] > 0:
            gain, floor = both
    model: Floats = np.maximum(gain * shape + floor, 1e-12)
    return model


# Enlarged before -------------------------------------------------------------------------------


def _interpolation(places: Floats) -> tuple[float, float]:
    """Frequency, c/px up to 0.5, at which interpolated pixels repeat their behaviour, and how much.

    0, 0 where they do not.

    Pixels computed nearer to an old pixel differ more from their neighbours than those half-way.
    The second difference shows it; the first one where two times exactly makes all alike.
    """
    length = 2 * PLACE_PX
    frequencies = np.fft.rfftfreq(length)
    looked_at = np.flatnonzero(frequencies >= LOWEST_TRACE).tolist()
    of_a_block = np.abs(8 * frequencies - np.round(8 * frequencies)) < 0.1
    best, where = (False, 0.0), 0.0  # the best is one that no JPEG's blocks leave, then the highest
    for order in (1, 2):
        heights = np.minimum(*(_periods(places, axis, order, length) for axis in (1, 2)))
        eighths = {k: float(heights[round(k * length / 8)]) for k in (1, 2, 3)}
        for index in looked_at:
            height, own = float(heights[index]), not bool(of_a_block[index])
            simple = order == 2 and np.abs(frequencies[index] - SIMPLE).min() < SIMPLE_WITHIN
            least = SIMPLE_HEIGHT if simple else TRACE_HEIGHT
            if not own:
                near = round(8 * float(frequencies[index]))
                others = max(h for k, h in eighths.items() if k != near)
                if near == 3 or height < OVER_JPEG * others:  # 8/3 is rare, a block's 3/8 is not
                    continue
            beside = np.abs(np.arange(len(heights)) - index)
            around = (beside > NARROW) & (beside <= NEARBY)
            comb = heights[around & ~of_a_block].max()  # a drawn grid's
            if height > max(least, 2 * comb) and (own, height) > best:
                best, where = (own, height), _vertex(heights, index) / length
    return where, best[1]


def _periods(places: Floats, axis: int, order: int, length: int) -> Floats:
    """How much of the columns' (or rows') activity repeats alike all along them, over frequency.

    Interpolation has the same phase in every strip of a place; slanted edges and texture have not.
    Relative to the activity at frequencies nearby.
    """
    bends = np.abs(np.diff(places, order, axis=axis))
    bends = bends if axis == 2 else bends.swapaxes(1, 2)
    typical = np.median(bends, axis=(1, 2), keepdims=True)
    bends = np.minimum(bends, 4 * typical + 1)  # no single edge dominates
    rows = bends.shape[1] // STRIPS
    activity = bends[:, : rows * STRIPS].reshape(len(bends), STRIPS, rows, -1).mean(2)
    activity /= np.maximum(activity.mean(2, keepdims=True), 1e-6)
    activity -= activity.mean(2, keepdims=True)
    waves = np.fft.rfft(activity * np.hanning(activity.shape[2]), n=length)
    power = (np.abs(waves) ** 2).sum(1)
    alike = (np.abs(waves.sum(1)) ** 2 - power).mean(0) / (STRIPS - 1)
    around = np.pad(power.mean(0), NEARBY, mode="reflect")
    floor = np.median(np.lib.stride_tricks.sliding_window_view(around, 2 * NEARBY + 1), axis=1)
    heights: Floats = np.maximum(alike, 0.0) / np.maximum(floor, 1e-12)
    return heights


def _vertex(heights: Floats, index: int) -> float:
    """Where the parabola through a peak and its neighbours has its top."""
    if index + 1 >= len(heights):
        return float(index)
    low, top, high = np.sqrt(heights[index - 1 : index + 2])
    bend = low - 2 * top + high
    return index + (float(0.5 * (low - high) / bend) if bend < 0 else 0.0)


def _enlargement(period: float, height: float, reach: float) -> float:
    """The factor behind a period: 1 / s shows as itself, or mirrored at 0.5 when s < 2."""
    if not period:
        return 1.0
    for factor in (1 / period, 1 / (1 - period)):
        if reach <= (FASTEST if factor < MANY else FASTEST_OF_MANY) / factor:
            return factor
    # Too sharp for any interpolation: a network, or chance.
    return 2.0 if period > 0.49 and height >= NETWORK_HEIGHT else 1.0
