"""A print as an eye sees it from a distance.

The eye is a Gaussian that leaves a tenth of the contrast at the finest lines it is said to resolve:
30 cycles per degree for an eye of 20/20, of whose line pairs one is two arcminutes wide, and 1.67
times as many for the sharpest. Light is averaged, not coded values. One pixel of what comes out is
the finest thing that such an eye resolves, so a print twice as large seen from twice as far gives
the same picture. Knows nothing of files and pages.

References:
    Snellen acuity, 20/20: one arcminute. Watson, A formula for the mean human optical modulation
    transfer function as a function of pupil size, J. Vision 13 (2013): near a tenth to a fifth at
    30 c/deg. IEC 61966-2-1 (the curve of coded values).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from math import ceil

import numpy as np
import numpy.typing as npt
from PIL import Image

from wallprint_protocol.errors import BadInput
from wallprint_protocol.print_size import NORMAL_EYE, SHARP_EYE, Rect, Size, ppi_needed
from wallprint_protocol.request import Request

from .imaging.luma import LUMA, Levels, Read, shown_icc, shown_levels
from .pipeline.detail import MTF10

Light = npt.NDArray[np.float32]

# Sigma of the eye in units of the finest thing it resolves: 10 % at half a cycle per unit.
EYE_SIGMA = MTF10 / 0.5
CUT = 4.0  # sigmas
# A change that is seen: this part of the light there and of the little that black paper reflects.
SEEN_CONTRAST, BLACK_PAPER = 0.02, 0.01
# Print pixels are averaged in blocks first, of at most this part of the eye's sigma.
BLOCK = 0.7
MOST_PX = 100_000_000
EYES = {"20/20": NORMAL_EYE, "20/12": SHARP_EYE}
_STRIP_FLOATS = 12_000_000
_STEPS = 16  # of a level of 255, in the table of light
_LEVEL = np.arange(255 * _STEPS + 1) / (255 * _STEPS)
_LIGHT = np.where(_LEVEL <= 0.04045, _LEVEL / 12.92, ((_LEVEL + 0.055) / 1.055) ** 2.4).astype("f4")


def eye_sigma_px(ppi: float, distance_mm: float, eye: float = NORMAL_EYE) -> float:
    """Gaussian by which an eye blurs a print of that ppi, px of the print."""
    return EYE_SIGMA * ppi / ppi_needed(distance_mm, eye)


def seen_size(printed: Size, ppi: float, distance_mm: float, eye: float = NORMAL_EYE) -> Size:
    """Pixels of a print as seen: as many as the eye resolves, at most its own.

    Args:
        printed: the print or a part of it, px.
        ppi: of the print.
        distance_mm: from which it is seen.
        eye: acuity, 1 for 20/20 (`print_size.NORMAL_EYE`, `SHARP_EYE`).
    """
    share = min(1.0, ppi_needed(distance_mm, eye) / ppi)
    return Size(max(1, round(printed.width * share)), max(1, round(printed.height * share)))


def seen(
    part: Rect,
    levels: Callable[[Rect], Levels],
    ppi: float,
    distance_mm: float,
    eye: float = NORMAL_EYE,
    out: Size | None = None,
) -> Light:
    """A part of a print as seen from a distance, (h, w, C) light in [0, 1].

    Args:
        part: px of the print.
        levels: rectangle -> (H, W, 1 or 3) levels of 255 on the perceptual curve.
        ppi: of the print.
        distance_mm: from which it is seen.
        eye: acuity, 1 for 20/20.
        out: w and h, by default `seen_size`.
    """
    out = out or seen_size(part.size, ppi, distance_mm, eye)
    sigma = eye_sigma_px(ppi, distance_mm, eye)
    block = max(1, int(BLOCK * sigma))
    # Blocks blur by their own width, which the Gaussian then need not.
    sigma = (sigma**2 - (block**2 - 1) / 12) ** 0.5 / block
    width, height = -(-part.width // block), -(-part.height // block)
    columns = _taps(width, out.width, part.width / block, sigma)
    first_row, row_weights = _taps(height, out.height, part.height / block, sigma)
    rows_at_once = max(1, _STRIP_FLOATS // (3 * width * block**2))  # of blocks
    strips, top = [], 0
    while top < out.height:
        # As many result rows as the strip's print rows decide, one at least.
        stop = top + 1
        while stop < out.height and first_row[stop] - first_row[top] < rows_at_once:
            stop += 1
        low, high = int(first_row[top]), int(first_row[stop - 1]) + row_weights.shape[1]
        light = _blocks(part, levels, (max(0, low), min(height, high)), block)
        light = _clamped(light, low, high, height)
        rows = _weighted(light, first_row[top:stop] - low, row_weights[top:stop])
        strips.append(_across(rows, *columns))
        top = stop
    return np.concatenate(strips)


def check_seen(printed: Size, ppi: float, distance_mm: float, eye: float = NORMAL_EYE) -> None:
    """Refuse what no screen shows; arguments as of `seen_size`.

    Raises:
        BadInput: from so near the print would have more than MOST_PX pixels.
    """
    size = seen_size(printed, ppi, distance_mm, eye)
    if size.pixels > MOST_PX:
        raise BadInput(
            f"From {distance_mm / 10:.0f} cm an eye sees {size.width}x{size.height} px of the "
            "print, too many for a screen; choose a greater --seen-from, or look at parts of it "
            "with `wallprint proof`."
        )


def seen_png(
    request: Request,
    read_print: Read,
    distance_mm: float,
    eye: float = NORMAL_EYE,
    icc: bytes = b"",
) -> bytes:
    """A whole print as seen from a distance, as a PNG of 8 bits.

    Args:
        request: of the print.
        read_print: gives rectangles of it.
        distance_mm: from which it is seen.
        eye: acuity, 1 for 20/20.
        icc: profile of the print's pixels.
    """
    out, layout = request.out, request.layout
    light = seen(
        Rect(0, 0, out.width, out.height),
        lambda rect: shown_levels(read_print(rect), rect.size, layout),
        request.options.ppi,
        distance_mm,
        eye,
    )
    levels = np.rint(light_levels(light)).astype(np.uint8)
    file = io.BytesIO()
    picture = Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)
    picture.save(file, "PNG", icc_profile=shown_icc(icc, layout) or None)
    return file.getvalue()


def visible_share(one: Light, other: Light) -> float:
    """Part of a picture, 0..1, in which an eye sees a difference between two (h, w, C) lights."""
    a, b = (light @ LUMA if light.shape[2] == 3 else light[..., 0] for light in (one, other))
    return float((np.abs(a - b) > SEEN_CONTRAST * (np.minimum(a, b) + BLACK_PAPER)).mean())


def light_levels(light: Light) -> Levels:
    """(h, w, C) light as levels of 255 on the perceptual curve."""
    light = light.clip(0.0, 1.0)
    curve = 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055
    return np.asarray(255 * np.where(light <= 0.0031308, 12.92 * light, curve), dtype=np.float32)


def _taps(length: int, out: int, span: float, sigma: float) -> tuple[npt.NDArray[np.intp], Light]:
    """For each of `out` pixels the first of the `length` it is made of, and (out, n) weights.

    The `length` pixels lie on a grid of which `span` is the picture's own, fractional, width.
    """
    centre = (np.arange(out) + 0.5) * span / out - 0.5
    reach = max(1, ceil(CUT * sigma))
    first = np.floor(centre).astype(np.intp) - reach
    at = first[:, None] + np.arange(2 * reach + 2) - centre[:, None]
    weights = np.exp(-0.5 * (at / max(sigma, 1e-3)) ** 2)
    weights /= weights.sum(1, keepdims=True)
    return first, weights.astype(np.float32)


def _blocks(
    part: Rect, levels: Callable[[Rect], Levels], rows: tuple[int, int], block: int
) -> Light:
    """Rows of blocks [start, stop) as light, (rows, columns, C); the last ones may be narrower."""
    y, below = rows[0] * block, min(part.height, rows[1] * block)
    shown = levels(Rect(part.x, part.y + y, part.width, below - y))
    steps = (shown * np.float32(_STEPS) + np.float32(0.5)).astype(np.int32)
    light: Light = np.take(_LIGHT, steps)
    if block == 1:
        return light
    lacking = (-light.shape[0] % block, -light.shape[1] % block)
    light = np.pad(light, ((0, lacking[0]), (0, lacking[1]), (0, 0)), mode="edge")
    height, width, channels = light.shape
    cells = light.reshape(height // block, block, width // block, block, channels)
    return np.asarray(cells.sum(1).sum(2) / np.float32(block**2), dtype=np.float32)


def _clamped(light: Light, low: int, high: int, height: int) -> Light:
    """Rows [low, high) of which those in [0, height) are there; the border's are repeated."""
    before, after = max(0, -low), max(0, high - height)
    if not before and not after:
        return light
    return np.pad(light, ((before, after), (0, 0), (0, 0)), mode="edge")


def _weighted(lines: Light, first: npt.NDArray[np.intp], weights: Light) -> Light:
    """(n, ...) lines -> (out, ...): of each `weights.shape[1]` lines from `first` on the sum."""
    taps = weights.shape[1]
    found = [
        np.tensordot(own, lines[at : at + taps], 1)
        for at, own in zip(first.tolist(), weights, strict=True)
    ]
    return np.stack(found)


def _across(rows: Light, first: npt.NDArray[np.intp], weights: Light) -> Light:
    """(n, width, C) -> (n, out, C)."""
    low, high = int(first[0]), int(first[-1]) + weights.shape[1]
    columns = np.ascontiguousarray(rows.swapaxes(0, 1))[max(0, low) : high]
    columns = _clamped(columns, low, high, rows.shape[1])
    return np.ascontiguousarray(_weighted(columns, first - low, weights).swapaxes(0, 1))
