"""How far real detail reaches in a picture, and how large a print it carries. Knows no networks.

What is looked for is the frequency at which a tenth of the contrast is left (MTF10), the usual
limit of what is still seen. Two readings of the sharpest places, by numpy alone, so that a command
line answers at once. The *spectrum* bends away from a power law where the lens gives out, above
the noise floor. *Edges*, where there are any, are ramps whose width says it more exactly: a model
is fitted to discs around them, whose many pixels average the noise away.

An enlarged picture's edges are softer than its pixels and sharper than what they were made of; the
period that interpolation leaves in the second differences gives it away. Enlargements by networks
leave none and are not recognised.

References:
    ISO 12233:2017 (MTF from slanted edges). Elder and Zucker, Local scale control for edge
    detection and blur estimation, PAMI 20 (1998). Field, Relations between the statistics of
    natural images and the response properties of cortical cells, JOSA A 4 (1987): the power law.
    Gallagher, Detection of linear and cubic interpolation in JPEG compressed images, CRV (2005).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import erf, log, pi, sqrt

import numpy as np
import numpy.typing as npt

from wallprint_protocol.print_size import Rect, Size, Window, px_to_mm

Luma = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

NYQUIST = 0.5
MTF10 = sqrt(log(10.0) / 2.0) / pi  # c/px at which a Gaussian of sigma 1 px leaves a tenth: 0.3415
# Where to look: of up to 10 x 10 places those with the hardest changes.
PLACE_PX, PLACES_A_SIDE, SHARPEST_PLACES = 128, 10, 24
LEAST_PX = 48  # side of a picture that has room for edges
# A wider blur than this (sigma, px) is measured on the picture at half its size, up to four times.
WIDEST_PX, MOST_HALVINGS = 2.5, 4
# Spectrum: side of a patch; its lowest bin is the picture's composition, not its texture.
PATCH_PX, LOWEST_BIN = 64, 3
POWERS = (2.0, 2.5, 3.0)  # of natural pictures' power, f^-p
SIGMAS = np.concatenate([[0.0], np.geomspace(0.3, 6.0, 60)])
# Edges: at most one in a cell, and how many are looked at.
CELL_PX, DISC_PX, MOST_EDGES, EDGES_NEEDED = 16, 7, 400, 12
# What counts as one: its contrast (levels of 255), the relative error of its width, what the model
# leaves unexplained beyond the noise, in units of the contrast, and its distance from the middle.
CONTRAST, WIDTH_ERROR, MISFIT, OFF_PX = 24.0, 0.1, 0.06, 2.0
# The sharpest quarter counts, the others lie out of focus: 0.67 deviations below the median.
SHARPEST, BELOW_MEDIAN = 0.25, 0.6745
# Edges that contradict the spectrum by more lie elsewhere than the detail, or are noise.
AGREE = 1.5
# A pixel's own aperture has variance 1/12. A picture sampled by area has it, one drawn at points
# has not; half of it is taken off, so that either is at most 6 % wrong.
APERTURE = 1 / 24
FIT_STEPS = 9
# Traces of interpolation are looked for from this frequency (an enlargement of 6 times) up, and
# count from this height over what is around. A JPEG's blocks leave their own at multiples of 1/8.
LOWEST_TRACE, TRACE_HEIGHT, OVER_JPEG = 0.16, 4.0, 4.0
STRIPS, NARROW, NEARBY = 4, 4, 24  # strips of a place; bins of a peak, and around it
# No interpolation leaves a tenth of the contrast at a higher frequency, in units of the old pixels'
# own rate (repeated pixels: 0.91).
FASTEST = 0.95


@dataclass(frozen=True)
class Detail:
    """How far real detail reaches.

    Attributes:
        reach: cycles per source pixel at which a tenth of the contrast is left, at most 0.5, beyond
            which pixels hold nothing; 0 when the picture shows no detail to tell from.
        edges: on how many edges that rests; 0 when on the spectrum alone.
        enlarged: how many times the picture was enlarged before it came here; 1 when nothing
            tells of it.
    """

    reach: float
    edges: int
    enlarged: float = 1.0

    @property
    def share(self) -> float:
        """Of the picture's resolution that is real, 0..1."""
        return self.reach / NYQUIST

    def budget(self, window: Window, printed: Size, ppi: float) -> DetailBudget:
        """What that is on paper.

        Args:
            window: the part of the source that is printed, source px.
            printed: its size on the print, px.
            ppi: of the print.
        """
        step = max(window.width / printed.width, window.height / printed.height)
        return DetailBudget(self, min(ppi, self.share * step * ppi), printed, ppi)


@dataclass(frozen=True)
class DetailBudget:
    """A picture's detail on a print.

    Attributes:
        detail: as measured.
        true_ppi: the print resolution that real detail fills, at most that of the print.
        printed: the picture's size on the print, px.
        ppi: of the print.
    """

    detail: Detail
    true_ppi: float
    printed: Size
    ppi: float

    @property
    def size_mm(self) -> tuple[float, float]:
        """The picture's width and height on paper."""
        return px_to_mm(self.printed.width, self.ppi), px_to_mm(self.printed.height, self.ppi)

    @property
    def honest_mm(self) -> tuple[float, float]:
        """Width and height up to which every pixel of the print is filled: L * true / ppi."""
        width, height = self.size_mm
        return width * self.true_ppi / self.ppi, height * self.true_ppi / self.ppi

    def to_map(self) -> dict[str, float | int | list[float]]:
        """Plain values, for messages and JSON."""
        return {
            "reach_cycles_per_px": round(self.detail.reach, 4),
            "edges": self.detail.edges,
            "enlarged_before": round(self.detail.enlarged, 2),
            "true_ppi": round(self.true_ppi, 1),
            "honest_mm": [round(mm, 1) for mm in self.honest_mm],
        }

    def sentence(self) -> str:
        """For people."""
        if not self.detail.reach:
            return "The picture shows no edge or texture from which its detail could be told."
        size = " x ".join(f"{mm / 10:.0f}" for mm in self.size_mm)
        if self.true_ppi >= self.ppi * 0.995:
            text = f"True detail for all {self.ppi:g} ppi at {size} cm"
        else:
            honest = " x ".join(f"{mm / 10:.0f}" for mm in self.honest_mm)
            text = (
                f"True detail for {self.true_ppi:.0f} ppi at {size} cm; honest up to {honest} cm "
                f"at {self.ppi:g} ppi"
            )
        if self.detail.enlarged > 1.0:
            text += f". The picture was enlarged before, about {self.detail.enlarged:.1f} times"
        return f"{text}."


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
    period = 0.0
    for halvings in range(MOST_HALVINGS + 1):
        factor = 1 << halvings
        if min(part.width, part.height) < LEAST_PX * factor:
            break
        places = _sharpest(_places(part, luma, factor))
        if not halvings:
            period = _interpolation(places)
        noise = _noise(places)
        blur = _spectral_sigma(places)
        if blur is None:
            continue
        may_halve = (
            halvings < MOST_HALVINGS and min(part.width, part.height) >= 2 * LEAST_PX * factor
        )
        if blur > WIDEST_PX and may_halve:
            continue
        found, edges = _edge_sigma(places, noise)
        if edges and blur / AGREE <= found <= max(blur, 0.5) * AGREE:
            blur = found
        else:
            edges = 0
        # Halving averages 2 x 2 pixels, which is itself a blur of variance (4^n - 1) / 12.
        variance = (factor * blur) ** 2 - (factor**2 - 1) / 12 - APERTURE
        reach = min(NYQUIST, MTF10 / sqrt(max(variance, 1e-6)))
        enlarged = _enlargement(period, reach)
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


def _places(part: Rect, luma: Callable[[Rect], Luma], factor: int) -> Floats:
    """(N, h, w) squares spread evenly over a part of the picture, at 1 / `factor` of its size."""
    width, height = (min(PLACE_PX * factor, side) for side in (part.width, part.height))
    columns, rows = (
        min(PLACES_A_SIDE, -(-side // length))
        for side, length in ((part.width, width), (part.height, height))
    )
    found = []
    for row in range(rows):
        for column in range(columns):
            x = part.x + (part.width - width) * column // max(1, columns - 1)
            y = part.y + (part.height - height) * row // max(1, rows - 1)
            plane = luma(Rect(x, y, width, height))
            if factor > 1:
                h, w = height // factor, width // factor
                plane = plane[: h * factor, : w * factor]
                plane = plane.reshape(h, factor, w, factor).mean((1, 3))
            found.append(plane)
    return np.stack(found).astype(np.float64)


def _sharpest(places: Floats) -> Floats:
    """The places with the hardest changes: the subject, wherever it is."""
    bends = np.abs(np.diff(places, 2, axis=2))
    order = np.argsort(-np.quantile(bends, 0.98, axis=(1, 2)), kind="stable")
    return places[np.sort(order[:SHARPEST_PLACES])]


def _noise(places: Floats) -> float:
    """Deviation of the noise from the mixed second difference, which edges hardly touch.

    References:
        Immerkaer, Fast noise variance estimation, CVIU 64 (1996).
    """
    mixed = np.diff(np.diff(places, 2, axis=1), 2, axis=2)
    return float(np.median(np.abs(mixed))) / 0.6745 / 6


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


# Edges -----------------------------------------------------------------------------------------

_AROUND = np.arange(-DISC_PX, DISC_PX + 1)
_INSIDE = np.hypot(*np.meshgrid(_AROUND, _AROUND, indexing="ij")) <= DISC_PX + 0.5
_DISC_Y, _DISC_X = (axis[_INSIDE] for axis in np.meshgrid(_AROUND, _AROUND, indexing="ij"))
_PHI_AT = np.linspace(-6.0, 6.0, 2401)
_PHI = np.array([0.5 * (1 + erf(t / sqrt(2))) for t in _PHI_AT])  # the normal distribution


def _edge_sigma(places: Floats, noise: float) -> tuple[float, int]:
    """Width (sigma, px) of the sharpest quarter of the edges, and how many there are; 0, 0: few."""
    where, angle = _candidates(places, noise)
    if len(angle) < EDGES_NEEDED:
        return 0.0, 0
    z, y, x = where
    pixels = places[z[:, None], y[:, None] + _DISC_Y, x[:, None] + _DISC_X]
    fit = _Fit(pixels, angle)
    good = (
        (np.abs(fit.contrast) >= CONTRAST)
        & (fit.width_error <= WIDTH_ERROR)
        & (fit.left_over**2 <= (MISFIT * fit.contrast) ** 2 + (1.3 * noise) ** 2)
        & (np.abs(fit.offset) < OFF_PX)
        & (fit.sigma < DISC_PX / 2)
    )
    count = int(good.sum())
    if count < EDGES_NEEDED:
        return 0.0, 0
    sigma = fit.sigma[good]
    quarter, median = np.quantile(sigma, [SHARPEST, 0.5])
    # The fits' own errors spread the widths, too; without them the quarter lies nearer.
    error = float(np.median(fit.width_error[good] * sigma))
    spread = (median - quarter) / BELOW_MEDIAN
    return float(median - BELOW_MEDIAN * sqrt(max(0.0, spread**2 - error**2))), count


def _candidates(places: Floats, noise: float) -> tuple[tuple[Ints, Ints, Ints], Floats]:
    """(place, row, column) of the steepest pixel of each cell, and its slope's direction."""
    smooth = places
    for axis in (1, 2):
        smooth = _gaussian(smooth, axis)
    gy, gx = (np.asarray(np.gradient(smooth, axis=axis)) for axis in (1, 2))
    slope = np.hypot(gx, gy)
    border = DISC_PX + 1
    inner = slope[:, border:-border, border:-border]
    count, rows, columns = inner.shape[0], inner.shape[1] // CELL_PX, inner.shape[2] // CELL_PX
    if not rows or not columns:
        none = np.empty(0, dtype=np.intp)
        return (none, none, none), np.empty(0)
    cells = inner[:, : rows * CELL_PX, : columns * CELL_PX]
    cells = cells.reshape(count, rows, CELL_PX, columns, CELL_PX).swapaxes(2, 3)
    steepest = cells.reshape(count, rows, columns, -1).argmax(-1)
    z, row, column = (index.ravel() for index in np.indices(steepest.shape))
    y = border + row * CELL_PX + steepest.ravel() // CELL_PX
    x = border + column * CELL_PX + steepest.ravel() % CELL_PX
    steepness = slope[z, y, x]
    order = np.argsort(-steepness, kind="stable")[:MOST_EDGES]
    # A slope of noise alone, after the smoothing, hardly passes its own size.
    order = order[steepness[order] > max(2.0, noise)]
    z, y, x = z[order], y[order], x[order]
    return (z, y, x), np.arctan2(gy[z, y, x], gx[z, y, x])


def _gaussian(planes: Floats, axis: int) -> Floats:
    """Gaussian of sigma 1 px along an axis, border pixels repeated."""
    weights = np.exp(-0.5 * np.arange(-3, 4) ** 2.0)
    weights /= weights.sum()
    length = planes.shape[axis]
    pad = [(3, 3) if i == axis else (0, 0) for i in range(3)]
    padded = np.pad(planes, pad, mode="edge")
    total = np.zeros_like(planes)
    for i, weight in enumerate(weights):
        total += weight * np.take(padded, np.arange(i, i + length), axis)
    return total


class _Fit:
    """Least squares of `a + c Phi((n . p - d) / sigma)` over a disc around each candidate.

    Levenberg-Marquardt for all at once in angle, offset d and log sigma; level and contrast are
    solved for.

    Attributes:
        sigma: width of each edge, px.
        contrast: c, levels.
        offset: d, px from the middle.
        left_over: deviation of what the model does not explain, levels.
        width_error: standard error of log sigma.

    Args:
        pixels: (N, P) levels, over `_DISC_X`, `_DISC_Y`.
        angle: (N,) direction of the slope to begin with.
    """

    def __init__(self, pixels: Floats, angle: Floats) -> None:
        self._pixels = pixels
        count = len(angle)
        at = np.stack([angle, np.zeros(count), np.zeros(count)], 1)  # angle, d, log sigma
        damping = np.full(count, 1e-3)
        slopes, rest, contrast = self._linearised(at)
        cost = (rest**2).sum(1)
        limit = np.array([0.3, 1.0, 0.5])
        for _ in range(FIT_STEPS):
            normal = np.einsum("npi,npj->nij", slopes, slopes)
            towards = np.einsum("npi,np->ni", slopes, rest)
            diagonal = np.einsum("nii->ni", normal) * damping[:, None] + 1e-9
            damped = normal + diagonal[:, :, None] * np.eye(5)
            step = np.linalg.solve(damped, towards[..., None])[:, 2:, 0]
            tried = at + np.clip(step, -limit, limit)
            tried[:, 1] = np.clip(tried[:, 1], -3.0, 3.0)
            tried[:, 2] = np.clip(tried[:, 2], log(0.15), log(6.0))
            new_slopes, new_rest, new_contrast = self._linearised(tried)
            new_cost = (new_rest**2).sum(1)
            better = new_cost <= cost
            at[better], cost[better] = tried[better], new_cost[better]
            slopes[better], rest[better] = new_slopes[better], new_rest[better]
            contrast[better] = new_contrast[better]
            damping = np.where(better, damping * 0.3, damping * 10)
        normal = np.einsum("npi,npj->nij", slopes, slopes) + 1e-9 * np.eye(5)
        variance = cost / (pixels.shape[1] - 5)
        self.sigma = np.exp(at[:, 2])
        self.contrast, self.offset = contrast, at[:, 1]
        self.left_over = np.sqrt(variance)
        self.width_error = np.sqrt(np.maximum(0, np.linalg.inv(normal)[:, 4, 4] * variance))

    def _linearised(self, at: Floats) -> tuple[Floats, Floats, Floats]:
        """Slopes (N, P, 5) of the model in level, contrast and `at`; what is left; contrast."""
        angle, offset, sigma = at[:, :1], at[:, 1:2], np.exp(at[:, 2:])
        across = _DISC_X * np.cos(angle) + _DISC_Y * np.sin(angle) - offset
        along = _DISC_Y * np.cos(angle) - _DISC_X * np.sin(angle)
        z = across / sigma
        step = np.interp(z, _PHI_AT, _PHI)
        density = np.exp(-0.5 * np.minimum(z**2, 64.0)) / sqrt(2 * pi)
        centred = step - step.mean(1, keepdims=True)
        pixels = self._pixels - self._pixels.mean(1, keepdims=True)
        contrast = (centred * pixels).sum(1) / np.maximum((centred**2).sum(1), 1e-9)
        ramp = contrast[:, None] * density
        slopes = np.stack(
            [np.ones_like(step), step, ramp * along / sigma, -ramp / sigma, -ramp * z], 2
        )
        return slopes, pixels - contrast[:, None] * centred, contrast


# Enlarged before -------------------------------------------------------------------------------


def _interpolation(places: Floats) -> float:
    """Frequency, c/px up to 0.5, at which interpolated pixels repeat their behaviour; 0: none.

    Pixels computed nearer to an old pixel differ more from their neighbours than those half-way.
    The second difference shows it; the first one where two times exactly makes all alike.
    """
    length = 2 * PLACE_PX
    frequencies = np.fft.rfftfreq(length)
    looked_at = frequencies >= LOWEST_TRACE
    best, where = 0.0, 0.0
    for order in (1, 2):
        heights = np.minimum(*(_periods(places, axis, order, length) for axis in (1, 2)))
        eighths = [float(heights[round(k * length / 8)]) for k in (1, 2, 3)]
        for index in np.flatnonzero(looked_at).tolist():
            f, height = float(frequencies[index]), float(heights[index])
            near = round(8 * f)
            if abs(8 * f - near) < 0.1:
                others = [h for k, h in zip((1, 2, 3), eighths, strict=True) if k != near]
                if height < OVER_JPEG * max(others):
                    continue
            beside = np.abs(np.arange(len(heights)) - index)
            comb = heights[(beside > NARROW) & (beside <= NEARBY)].max()  # a drawn grid's
            if height > max(best, TRACE_HEIGHT, 2 * comb):
                best, where = height, _vertex(heights, index) / length
    return where


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


def _enlargement(period: float, reach: float) -> float:
    """The factor behind a period: 1 / s shows as itself, or mirrored at 0.5 when s < 2."""
    if not period:
        return 1.0
    for factor in (1 / period, 1 / (1 - period)):
        if reach <= FASTEST / factor:
            return factor
    return 1.0
