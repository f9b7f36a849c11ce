"""The way a camera went during the exposure, from the blur kernel that it left.

A kernel says where light fell and how much, not when. The hand that held the camera moved
smoothly, so of all ways that leave such a kernel the smooth one is taken, and with it come: a
kernel without the noise of the measured one, where the picture stood in the middle of the exposure,
and a misfit that tells whether the kernel is a way at all. Knows nothing of pictures.

Reference:
    Whyte et al., Non-uniform deblurring for shaken images, IJCV 98 (2012): blur as a path.
"""

from __future__ import annotations

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
TERMS = 7  # Legendre polynomials over time: standing, even motion, and what bends it
PROPOSALS, TRIED = 8000, 48
STEPS, RATE = 120, 0.3
LIGHT_PX = 1.0  # Gaussian width of the pen that draws a path
# Kernel and path are compared coarsely first: in parts of the kernel's size.
COARSE = 0.12
BEND_WEIGHT = 1e-3
SEED = 0  # the same picture must give the same print


@dataclass(frozen=True)
class Path:
    """A camera's way, as shifts of the kernel's light.

    Attributes:
        terms: (TERMS, 2) coefficients of the Legendre polynomials over the exposure, x and y, px.
        misfit: squared difference between its kernel and the measured one, as a part of the
            latter, and what its bends weigh.
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
    places = _polynomials().double().numpy().T @ terms
    middle: Floats = places - places[MOMENTS // 2]
    return middle


def distance(a: Path, b: Path) -> float:
    """How far apart two ways are, root mean square in px, wherever they lie and begin."""
    p, q = (path.places - path.places.mean(0) for path in (a, b))
    return min(float(np.sqrt(((p - way) ** 2).sum(1).mean())) for way in (q, q[::-1]))


def fit_path(kernel: Tensor, between: Callable[[], None] = lambda: None) -> Path:
    """The smooth way whose kernel is most like a measured one.

    Args:
        kernel: (k, k), k odd, >= 0, of sum 1; the light's distribution around the middle.
        between: called between steps; what it raises ends the work.
    """
    # Gradients, also for a caller in inference mode.
    with torch.inference_mode(False), torch.enable_grad():
        return _fitted(_cropped(kernel.clone()), between)


def _fitted(kernel: Tensor, between: Callable[[], None]) -> Path:
    device, side = kernel.device, kernel.shape[0]
    at = (torch.arange(side, device=device) - side // 2).float()
    shares = torch.stack([kernel.sum(0), kernel.sum(1)])  # over x, over y
    middle = (shares * at).sum(1)
    size = sqrt(float((shares * (at - middle[:, None]).square()).sum()))
    polynomials = _polynomials().to(device)
    coarse = max(LIGHT_PX, COARSE * size)
    draw = _Pen(kernel, polynomials)
    with torch.no_grad():
        terms = _proposals(size).to(device)
        terms[:, 0] += middle
        likeness = torch.cat([draw.likeness(some, coarse) for some in torch.split(terms, 400)])
        terms = terms[likeness.topk(TRIED).indices].clone()
    weights = torch.arange(TERMS, device=device).float().square()
    weights[:2] = 0.0  # an even motion bends nowhere
    bend = BEND_WEIGHT / (size**2 + 1)

    def costs(light_px: float) -> Tensor:
        bends = (terms * weights[:, None]).square().sum((1, 2))
        return draw.misfit(terms, light_px) + bend * bends

    terms.requires_grad_(True)
    optimizer: Any = torch.optim.Adam([terms], lr=RATE)
    for step in range(STEPS):
        between()
        done = step / STEPS
        optimizer.param_groups[0]["lr"] = RATE * (1 + cos(pi * done)) / 2 + 0.01
        optimizer.zero_grad()
        loss: Any = costs(LIGHT_PX + (coarse - LIGHT_PX) * max(0.0, 1 - 2 * done)).sum()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        cost = costs(LIGHT_PX)
        best = int(cost.argmin())
        return Path(terms[best].double().cpu().numpy(), float(cost[best]))


class _Pen:
    """Draws ways as light, many at once, and compares it with a kernel's."""

    def __init__(self, kernel: Tensor, polynomials: Tensor) -> None:
        self._kernel, self._polynomials = kernel, polynomials
        side = kernel.shape[0]
        self._at = (torch.arange(side, device=kernel.device) - side // 2).float()

    def misfit(self, terms: Tensor, light_px: float) -> Tensor:
        """(B,) of (B, TERMS, 2): squared difference as a part of the kernel's own square."""
        wanted = self._soft(light_px)
        drawn = self._drawn(terms, light_px)
        return (drawn - wanted).square().sum((1, 2)) / wanted.square().sum()

    def likeness(self, terms: Tensor, light_px: float) -> Tensor:
        """(B,): correlation, but for a factor that is the same for all."""
        drawn = self._drawn(terms, light_px)
        return (drawn * self._soft(light_px)).sum((1, 2)) / drawn.square().sum((1, 2)).sqrt()

    def _drawn(self, terms: Tensor, light_px: float) -> Tensor:
        """(B, k, k): the light along each way."""
        places = torch.einsum("bjc,jt->btc", terms, self._polynomials)
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


def _proposals(size: float) -> Tensor:
    """(PROPOSALS, TERMS, 2): ways that hands go, even motion and a swing, of a root mean square."""
    random = torch.Generator().manual_seed(SEED)
    t = torch.linspace(-0.5, 0.5, MOMENTS).view(1, -1, 1)

    def uniform(axes: int) -> Tensor:
        return torch.rand(PROPOSALS, 1, axes, generator=random)

    even, swing = (torch.randn(PROPOSALS, 1, 2, generator=random) for _ in range(2))
    waves, phase = 0.4 + 1.2 * uniform(2), uniform(2)
    places = even * t + 2 * uniform(1) * swing * torch.sin(tau * (t * waves + phase))
    places = places - places.mean(1, keepdim=True)
    places = places * (size / places.square().sum(2).mean(1).sqrt()).view(-1, 1, 1)
    inverse = torch.linalg.pinv(_polynomials().T)
    return torch.einsum("jt,btc->bjc", inverse, places)


def _polynomials() -> Tensor:
    """(TERMS, MOMENTS): Legendre polynomials over the exposure."""
    x = torch.linspace(-1.0, 1.0, MOMENTS)
    found = [torch.ones(MOMENTS), x]
    for n in range(1, TERMS - 1):
        found.append(((2 * n + 1) * x * found[n] - n * found[n - 1]) / (n + 1))
    return torch.stack(found)


def _cropped(kernel: Tensor, border: int = 4) -> Tensor:
    """As small as leaves `border` px around its light, still odd and around the same middle."""
    half = kernel.shape[0] // 2
    reach = int((torch.nonzero(kernel) - half).abs().max()) + border
    grown = torch.nn.functional.pad(kernel, (border,) * 4)
    start = half + border - reach
    return grown[start : start + 2 * reach + 1, start : start + 2 * reach + 1]
