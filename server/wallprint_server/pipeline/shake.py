"""How the camera moved while a picture was taken, from the picture alone.

Kernels are looked for in some windows; each is read as a way of the camera, and one motion of the
whole camera - shift, roll and zoom over the exposure - must explain them all. A picture that is
sharp, out of focus, or moved in parts has no such motion, and then nothing is to be done.

References:
    Whyte et al., Non-uniform deblurring for shaken images, IJCV 98 (2012): one motion of the camera
    blurs each place of a picture by a kernel of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wallprint_protocol.print_size import Rect, Size

from ..imaging.color import decode_srgb
from .blind_kernel import KERNEL_PX, TUNINGS, find_kernel
from .exposure_path import Floats, Path, distance, fit_path, places_of
from .repair import Luma, sample_rects

Way = tuple[tuple[float, float], Path]  # where its window's middle is, px, and the way there

# Below this a kernel has no direction: of 21 sharp pictures two read more, which have no blurred
# edges and so are not looked at.
LEAST_PX = 4.5
# Of 34 shaken pictures 30 miss their kernels by no more, and two of the other four were read wrong.
# A sharp photograph of hardly anything but upright edges misses by 0.21, tangles by more.
MOST_MISFIT = 0.2
# A way that differs from the other tunings' by its own size is that much worse.
DISAGREEMENT = 0.3
# A way as broad as long is how a defocus is read: Gaussians at 0.78 and more, discs at 0.92.
MOST_ROUND = 0.7
SURE = 2  # tunings that see no shake: the others would not either
WINDOW_PX = 512
LEAST_WINDOW_PX = 2 * KERNEL_PX
WINDOWS, WINDOWS_A_SIDE = 4, 3
# A kernel of KERNEL_PX should have room around it; else the picture is looked at smaller.
MOST_PX = 0.8 * KERNEL_PX
MOST_REDUCTION = 4
# How far the way in a window may be from what one motion of the camera gives there: px and part.
STRAY_PX, STRAY = 1.0, 0.12
AGREEING = 0.6  # of the windows
# A roll is only believed from windows that are farther from the middle than this.
LEVER_PX = 150.0
KNOWN = 8

# By the pixels looked at; in one process, the oldest first.
_known: dict[bytes, Shake | None] = {}


@dataclass(frozen=True)
class Shake:
    """A motion of the camera that blurred a picture.

    Attributes:
        shift: (TERMS, 2) Legendre terms of the way of the picture's middle, px.
        roll: (TERMS,) of the camera's roll, radians.
        zoom: (TERMS,) of its zoom, parts.
        size: of the picture.
        misfit: of the best window, see `Path`; above 0.2 it would not be believed.
        windows: how many places of the picture it explains.
    """

    shift: Floats
    roll: Floats
    zoom: Floats
    size: Size
    misfit: float
    windows: int

    def places(self, x: float, y: float) -> Floats:
        """(MOMENTS, 2): where the light of source pixel (x, y) lies over the exposure, px."""
        dx, dy = x - (self.size.width - 1) / 2, y - (self.size.height - 1) / 2
        return places_of(self.shift + _turned(self.roll, self.zoom, dx, dy))

    @cached_property
    def extent_px(self) -> float:
        """The larger side of the box around the way of the picture's middle."""
        places = self.places((self.size.width - 1) / 2, (self.size.height - 1) / 2)
        return float(np.ptp(places, 0).max())

    @property
    def roll_degrees(self) -> float:
        """How far the camera rolled, from one extreme to the other."""
        terms = np.stack([self.roll, np.zeros_like(self.roll)], 1)
        return float(np.degrees(np.ptp(places_of(terms)[:, 0])))


def estimate_shake(
    size: Size,
    luma: Callable[[Rect], Luma],
    device: torch.device,
    between: Callable[[], None] = lambda: None,
) -> Shake | None:
    """The motion of the camera that blurred a picture; None when there is none that explains it.

    Takes some ten seconds of a processor for each window, once: what was found is remembered, for
    the first look at a print and the print.

    Args:
        size: of the picture.
        luma: rectangle -> (H, W) float32 in levels of 255, perceptual.
        device: where to compute.
        between: called often; what it raises ends the work.
    """
    rects = _window_rects(size, luma, 1)
    key = hashlib.sha256(repr((size, rects, device)).encode())
    for rect in rects:
        key.update(luma(rect).tobytes())
    if key.digest() not in _known:
        shake = _estimated(size, luma, device, between)
        while len(_known) >= KNOWN:
            del _known[next(iter(_known))]
        _known[key.digest()] = shake
    return _known[key.digest()]


def _estimated(
    size: Size, luma: Callable[[Rect], Luma], device: torch.device, between: Callable[[], None]
) -> Shake | None:
    """A way longer than a kernel's side is looked for in the picture made smaller."""
    for reduction in range(1, MOST_REDUCTION + 1):
        rects = _window_rects(size, luma, reduction)
        found: list[Way] = []
        still = 0
        for rect in rects:
            path = _path_of(_linear(luma(rect), reduction).to(device), between)
            if path.extent_px > MOST_PX:
                break  # it may go on outside of the kernel
            if _is_still(path):
                still += 1
                if still > (1 - AGREEING) * len(rects):
                    return None
            elif path.misfit <= MOST_MISFIT:
                centre = (rect.x + (rect.width - 1) / 2, rect.y + (rect.height - 1) / 2)
                found.append((centre, Path(path.terms * reduction, path.misfit)))
        else:
            return _motion(size, found, len(rects))
    return None


def _path_of(linear: Tensor, between: Callable[[], None]) -> Path:
    """The way in one window: of those by several tunings the one that fits, and is not alone.

    Its misfit has the disagreement of the others in it.
    """
    ways: list[Path] = []
    for tuning in TUNINGS:
        ways.append(fit_path(find_kernel(linear, tuning, between), between))
        if len(ways) == SURE and all(map(_is_still, ways)):
            break
    usual = max(1.0, float(np.median([way.extent_px for way in ways])))

    def doubted(way: Path) -> Path:
        apart = float(np.mean([distance(way, other) for other in ways]))
        return Path(way.terms, way.misfit + DISAGREEMENT * apart / usual)

    return min(map(doubted, ways), key=lambda way: way.misfit)


def _is_still(path: Path) -> bool:
    return path.extent_px < LEAST_PX or path.roundness > MOST_ROUND


def _motion(size: Size, found: list[Way], windows: int) -> Shake | None:
    """The motion of the camera that explains most of the windows' ways."""
    if not found:
        return None
    best = min((path for _, path in found), key=lambda path: path.misfit)
    turned = [
        (centre, min((path, path.backwards()), key=lambda way: _apart(way.places, best.places)))
        for centre, path in found
    ]
    while True:
        shift, roll, zoom = _least_squares(size, turned)
        shake = Shake(shift, roll, zoom, size, best.misfit, len(turned))
        stray = [_apart(shake.places(*centre), path.places) for centre, path in turned]
        if max(stray) <= max(STRAY_PX, STRAY * shake.extent_px):
            break
        del turned[int(np.argmax(stray))]
        if not turned:
            return None
    return shake if len(turned) >= AGREEING * windows else None


def _least_squares(size: Size, ways: list[Way]) -> tuple[Floats, Floats, Floats]:
    """Shift (TERMS, 2), roll and zoom (TERMS,) of the camera."""
    rows, answers = [], []
    for (x, y), path in ways:
        dx, dy = x - (size.width - 1) / 2, y - (size.height - 1) / 2
        rows += [[1.0, 0.0, -dy, dx], [0.0, 1.0, dx, dy]]
        answers += [path.terms[:, 0], path.terms[:, 1]]
    rows += [[0.0, 0.0, LEVER_PX, 0.0], [0.0, 0.0, 0.0, LEVER_PX]]
    answers += [np.zeros_like(answers[0])] * 2
    solved: Any = np.linalg.lstsq(np.array(rows), np.array(answers), rcond=None)[0]
    return solved[:2].T, solved[2], solved[3]


def _turned(roll: Floats, zoom: Floats, dx: float, dy: float) -> Floats:
    """(TERMS, 2): what roll and zoom add to the way of a place (dx, dy) px from the middle."""
    return np.stack([zoom * dx - roll * dy, zoom * dy + roll * dx], 1)


def _apart(a: Floats, b: Floats) -> float:
    """Root mean square distance in px of two ways moment by moment, wherever they lie."""
    p, q = (places - places.mean(0) for places in (a, b))
    return float(np.sqrt(((p - q) ** 2).sum(1).mean()))


def _window_rects(size: Size, luma: Callable[[Rect], Luma], reduction: int) -> list[Rect]:
    """Where to look: of windows spread over the picture those with the most texture."""
    if min(size.width, size.height) < LEAST_WINDOW_PX * reduction:
        return []
    rects = list(sample_rects(size, WINDOWS_A_SIDE, WINDOW_PX * reduction))
    rects.sort(key=lambda rect: -_texture(luma(rect)))
    return rects[:WINDOWS]


def _texture(plane: Luma) -> float:
    return float(np.abs(np.diff(plane, axis=0)).mean() + np.abs(np.diff(plane, axis=1)).mean())


def _linear(plane: Luma, reduction: int) -> Tensor:
    """(H, W) in linear light, at a whole part of its size."""
    linear = decode_srgb(torch.from_numpy(np.ascontiguousarray(plane)).float() / 255)
    if reduction == 1:
        return linear
    return torch.nn.functional.avg_pool2d(linear[None, None], reduction)[0, 0]
