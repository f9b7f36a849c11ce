"""The way a camera went during the exposure, from the blur kernel that it left.

A kernel says where light fell and how much, not when. The hand that held the camera moved
smoothly, so of all ways that leave such a kernel the likeliest is taken, and with it come: a
kernel without the noise of the measured one, where the picture stood in the middle of the exposure,
and a misfit that tells whether the kernel is a way at all. Knows nothing of pictures.

Reference:
    Whyte et al., Non-uniform deblurring for shaken images, IJCV 98 (2012): blur as a path.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi, sqrt, tau
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Floats = npt.NDArray[np.float64]

MOMENTS = 49  # of a path, evenly in time; odd, so that one is the middle
TERMS = 9  # Legendre polynomials over time that hold a path; seven do within a part in a hundred
PROPOSALS, TRIED = 8000, 48
STEPS, RATE = 120, 0.06
LIGHT_PX = 1.0  # Gaussian width of the pen that draws a path
# Kernel and path are compared coarsely first: in parts of the kernel's size.
COARSE = 0.12
# A hand drifts evenly and swings once or so in each direction; of ways that leave the same kernel
# that of the least drift and swing is the likeliest. Swings are this much smaller than drifts.
SWING = 0.35
UNLIKELY = 5e-3
WAVES = (0.5, 1.3)  # swings over the exposure
SEED = 0  # the same picture must give the same print


@dataclass(frozen=True)
class Path:
    """A camera's way, as shifts of the kernel's light.

    Attributes:
        terms: (TERMS, 2) coefficients of the Legendre polynomials over the exposure, x and y, px.
        misfit: squared difference between its kernel and the measured one, as a part of the
            latter, and what makes it unlikely before the kernel is seen.
    """

    terms: Floats
    misfit: float

    @property
    def places(self) -> Floats:
        """(MOMENTS, 2): where the light lies at even intervals; the exposure's middle at 0, 0."""
        return places_of(self.terms)

    @property
    def extent_px(self) -> float:
        """The larger side of the box around the way."""
        return float(np.ptp(self.places, 0).max())

    @property
    def roundness(self) -> float:
        """How broad the way is, as a part of how long: 0 for a line, 1 for what fills a disc."""
        broad, long = np.linalg.eigvalsh(np.cov(self.places.T))
        return sqrt(max(0.0, float(broad)) / max(float(long), 1e-12))

    def backwards(self) -> Path:
        """The same way from its end; a kernel cannot tell."""
        signs = (-1.0) ** np.arange(TERMS)
        return Path(self.terms * signs[:, None], self.misfit)


def places_of(terms: Floats) -> Floats:
    """(MOMENTS, 2) of (TERMS, 2): see `Path.places`."""
    places = _polynomials().T @ terms
    middle: Floats = places - places[MOMENTS // 2]
    return middle


def distance(a: Path, b: Path) -> float:
    """How far apart two ways are, root mean square in px, wherever they lie and begin."""
    p, q = (path.places - path.places.mean(0) for path in (a, b))
    return min(float(np.sqrt(((p - way) ** 2).sum(1).mean())) for way in (q, q[::-1]))


def fit_path(kernel: Tensor, between: Callable[[], None] = lambda: None) -> Path:
    """The drift and swing whose kernel is most like a measured one.

    Args:
        kernel: (k, k), k odd, >= 0, of sum 1; the light's distribution around the middle.
        between: called between steps; what it raises ends the work.
    """
    # Gradients, also for a caller in inference mode.
    with torch.inference_mode(False), torch.enable_grad():
        return _fitted(_cropped(kernel.clone()), between)


def _fitted(kernel: Tensor, between: Callable[[], None]) -> Path:
    side = kernel.shape[0]
    at = (torch.arange(side, device=kernel.device) - side // 2).float()
    shares = torch.stack([kernel.sum(0), kernel.sum(1)])  # over x, over y
    middle = (shares * at).sum(1)
    size = sqrt(float((shares * (at - middle[:, None]).square()).sum()))
    pen, coarse = _Pen(kernel), max(LIGHT_PX, COARSE * size)
    with torch.no_grad():
        hands = _Hands.proposed(kernel.device, size, middle)
        likeness = torch.cat(
            [pen.likeness(some, coarse) for some in torch.split(hands.places(), 400)]
        )
        hands = hands.chosen(likeness.topk(TRIED).indices)

    def costs(light_px: float) -> Tensor:
        return pen.misfit(hands.places(), light_px) + UNLIKELY * hands.unlikeliness()

    optimizer: Any = torch.optim.Adam(hands.numbers, lr=RATE)
    for step in range(STEPS):
        between()
        done = step / STEPS
        optimizer.param_groups[0]["lr"] = RATE * (1 + cos(pi * done)) / 2 + 0.002
        optimizer.zero_grad()
        loss: Any = costs(LIGHT_PX + (coarse - LIGHT_PX) * max(0.0, 1 - 2 * done)).sum()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        cost = costs(LIGHT_PX)
        best = int(cost.argmin())
        places = hands.places()[best].double().cpu().numpy()
    terms: Floats = np.linalg.pinv(_polynomials().T) @ places
    return Path(terms, float(cost[best]))


class _Hands:
    """Many hands that drift and swing; what each does along x and y.

    Args:
        size: px.
        numbers: five of (B, 1, 2): the drift over the exposure, in `size`; the swing's amplitude,
            in `size`; its waves over the exposure; its phase in the middle, in turns; the mean
            place, in `size`.
    """

    def __init__(self, size: float, *numbers: Tensor) -> None:
        self._size, self.numbers = size, list(numbers)

    @classmethod
    def proposed(cls, device: torch.device, size: float, middle: Tensor) -> _Hands:
        """PROPOSALS of them around `middle` (2,), all of root mean square `size` px."""
        random = torch.Generator().manual_seed(SEED)

        def normal() -> Tensor:
            return torch.randn(PROPOSALS, 1, 2, generator=random)

        def uniform(axes: int = 2) -> Tensor:
            return torch.rand(PROPOSALS, 1, axes, generator=random)

        drift, swing = normal(), SWING * 2 * uniform(1) * normal()
        waves, phase = 0.4 + uniform(), uniform()
        nowhere = torch.zeros_like(drift)
        shape = cls(1.0, drift, swing, waves, phase, nowhere).places()
        scale = shape.square().sum(2).mean(1).sqrt().view(-1, 1, 1)
        numbers = (drift / scale, swing / scale, waves, phase)
        where = (middle / size).expand(PROPOSALS, 1, 2)
        return cls(size, *(x.to(device) for x in numbers), where.clone())

    def chosen(self, which: Tensor) -> _Hands:
        """Some of them, ready to be bettered."""
        return _Hands(self._size, *(x[which].clone().requires_grad_() for x in self.numbers))

    def places(self) -> Tensor:
        """(B, MOMENTS, 2) px."""
        drift, swing, waves, phase, where = self.numbers
        t = torch.linspace(-0.5, 0.5, MOMENTS, device=drift.device).view(1, -1, 1)
        way = drift * t + swing * torch.sin(tau * (t * waves + phase))
        return self._size * (way - way.mean(1, keepdim=True) + where)

    def unlikeliness(self) -> Tensor:
        """(B,): what speaks against each before a kernel is seen."""
        drift, swing, waves, _, _ = self.numbers
        low, high = WAVES
        strange = (waves - (low + high) / 2).abs() - (high - low) / 2
        return (
            drift.square() + (swing / SWING).square() + 10 * strange.clamp_min(0.0).square()
        ).sum((1, 2))


class _Pen:
    """Draws ways as light, many at once, and compares it with a kernel's."""

    def __init__(self, kernel: Tensor) -> None:
        self._kernel = kernel
        side = kernel.shape[0]
        self._at = (torch.arange(side, device=kernel.device) - side // 2).float()

    def misfit(self, places: Tensor, light_px: float) -> Tensor:
        """(B,) of (B, T, 2): squared difference as a part of the kernel's own square."""
        wanted = self._soft(light_px)
        drawn = self._drawn(places, light_px)
        return (drawn - wanted).square().sum((1, 2)) / wanted.square().sum()

    def likeness(self, places: Tensor, light_px: float) -> Tensor:
        """(B,): correlation, but for a factor that is the same for all."""
        drawn = self._drawn(places, light_px)
        return (drawn * self._soft(light_px)).sum((1, 2)) / drawn.square().sum((1, 2)).sqrt()

    def _drawn(self, places: Tensor, light_px: float) -> Tensor:
        """(B, k, k): the light along each way."""
        x, y = (
            torch.exp(-0.5 * ((self._at - places[..., c : c + 1]) / light_px).square())
            for c in (0, 1)
        )
        return torch.einsum("bty,btx->byx", y, x) / (MOMENTS * tau * light_px**2)

    def _soft(self, light_px: float) -> Tensor:
        """The kernel as a pen of that width would have drawn it."""
        pen = torch.exp(-0.5 * ((self._at[:, None] - self._at) / light_px).square())
        pen = pen / (sqrt(tau) * light_px)
        return pen @ self._kernel @ pen.T


@functools.cache
def _polynomials() -> Floats:
    """(TERMS, MOMENTS): Legendre polynomials over the exposure."""
    found: Floats = np.polynomial.legendre.legvander(np.linspace(-1, 1, MOMENTS), TERMS - 1).T
    return found


def _cropped(kernel: Tensor, border: int = 4) -> Tensor:
    """As small as leaves `border` px around its light, still odd and around the same middle."""
    half = kernel.shape[0] // 2
    reach = int((torch.nonzero(kernel) - half).abs().max()) + border
    grown = torch.nn.functional.pad(kernel, (border,) * 4)
    start = half + border - reach
    return grown[start : start + 2 * reach + 1, start : start + 2 * reach + 1]
