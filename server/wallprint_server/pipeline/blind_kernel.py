"""The blur kernel of a picture, found from the picture alone: blind deconvolution.

Between two steps it goes from coarse to fine: with the kernel so far, the sharp picture is guessed
as one of few, hard edges; with that guess, the kernel is what turns its differences into those of
the blurred picture. Texture and noise are left out of the guess, which keeps "no blur at all" from
being the best answer. Where a kernel lies cannot be told (a moved kernel blurs a moved picture), so
it comes back around its centre of mass. Knows nothing of files, tiles or cameras.

References:
    Cho and Lee, Fast motion deblurring, ACM TOG 28 (2009): coarse to fine, kernel from differences.
    Xu, Zheng and Jia, Unnatural L0 sparse representation for natural image deblurring, CVPR 2013;
    Pan, Hu, Su and Yang, Deblurring text images via L0-regularized intensity and gradient prior,
    CVPR 2014: the guess and its half-quadratic splitting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, log, pi, sqrt

import torch
from torch import Tensor
from torch.nn import functional as F

KERNEL_PX = 49  # side, odd; a shake of up to about 40 px
SMALLEST_PX = 5  # side of the kernel on the coarsest level
RATIO = sqrt(0.5)  # from level to level
ROUNDS = 5  # on each level
# Weight of the edges' number in the guess; falls with every round, so that finer ones come in.
EDGES_FALL, LEAST_EDGES = 1.1, 1e-4
STIFFEST = 1e3  # where the splitting ends
LEAST_BLOB = 0.15  # of the largest connected part of a kernel; smaller ones are noise


@dataclass(frozen=True)
class Tuning:
    """What is weighed against what.

    Attributes:
        edges: weight of the number of edges in the guess, for values in [0, 1].
        smooth: weight of the kernel's energy.
        cut: of its largest value, below which a kernel's value is noise.
    """

    edges: float = 4e-3
    smooth: float = 2.0
    cut: float = 0.05


# No single tuning suits every picture; who asks for a kernel tries several and compares.
TUNINGS = (
    Tuning(),
    Tuning(edges=8e-3),
    Tuning(cut=0.1),
    Tuning(smooth=1.0),
    Tuning(edges=8e-3, smooth=1.0, cut=0.1),
)


def find_kernel(
    blurred: Tensor, tuning: Tuning, between: Callable[[], None] = lambda: None
) -> Tensor:
    """The kernel that blurred a picture.

    Args:
        blurred: (H, W) float32, linear light in [0, 1], sides of at least 2 KERNEL_PX.
        tuning: see there.
        between: called between rounds; what it raises ends the work.

    Returns:
        (KERNEL_PX, KERNEL_PX), >= 0, of sum 1, its centre of mass within half a pixel of the
        middle; on the device of `blurred`.
    """
    levels = int(log(SMALLEST_PX / KERNEL_PX) / log(RATIO)) + 1
    edges = tuning.edges
    kernel = blurred.new_full((1, 2), 0.5)
    for level in reversed(range(levels)):
        shrink = RATIO**level
        side = ceil(KERNEL_PX * shrink) // 2 * 2 + 1
        picture = _reduced(blurred, shrink)
        window = _window(picture, min(side, min(picture.shape) // 4))
        pads = _pads(picture, side)
        wide = _continued(picture, pads)
        inside = F.pad(window, pads)
        kernel = (
            _resized(kernel, side)
            if kernel.shape[0] > 1
            else F.pad(kernel, (side // 2 - 1, side // 2, side // 2, side // 2))
        )
        for _ in range(ROUNDS):
            between()
            guess = _few_edges(wide, kernel, edges)
            kernel = _cleaned(_kernel_between(guess, wide, inside, side, tuning.smooth), tuning.cut)
            edges = max(edges / EDGES_FALL, LEAST_EDGES)
        kernel = _centred(kernel)
    return kernel


def spectrum_of(kernel: Tensor, height: int, width: int) -> Tensor:
    """Half spectrum, (..., height, width // 2 + 1), of (..., k, k) kernels around their middles."""
    half = kernel.shape[-1] // 2
    grown = F.pad(kernel, (0, width - kernel.shape[-1], 0, height - kernel.shape[-2]))
    spectrum: Tensor = torch.fft.rfft2(grown.roll((-half, -half), (-2, -1)))
    return spectrum


def _few_edges(blurred: Tensor, kernel: Tensor, edges: float) -> Tensor:
    """The picture with few edges that, blurred by the kernel, is most like `blurred`."""
    height, width = blurred.shape
    blur = spectrum_of(kernel, height, width)
    right, down = (
        torch.exp(2j * pi * frequency) - 1
        for frequency in (
            torch.fft.rfftfreq(width, device=blurred.device)[None],
            torch.fft.fftfreq(height, device=blurred.device)[:, None],
        )
    )
    wanted, weight = blur.conj() * torch.fft.rfft2(blurred), blur.abs().square()
    slopes = right.abs().square() + down.abs().square()
    guess, stiffness = blurred, 2 * edges
    while stiffness < STIFFEST:
        dx, dy = _difference(guess, 1), _difference(guess, 0)
        kept = dx.square() + dy.square() > edges / stiffness
        pull = right.conj() * torch.fft.rfft2(dx * kept) + down.conj() * torch.fft.rfft2(dy * kept)
        answer = (wanted + stiffness * pull) / (weight + stiffness * slopes + 1e-9)
        guess = torch.fft.irfft2(answer, s=(height, width))
        stiffness *= 2
    return guess


def _kernel_between(
    sharp: Tensor, blurred: Tensor, inside: Tensor, side: int, smooth: float
) -> Tensor:
    """(side, side): least squares, in the Fourier domain, over both directions' differences."""
    both = energy = torch.zeros((), device=sharp.device)
    for dim in (0, 1):
        a, b = (torch.fft.rfft2(_difference(x, dim) * inside) for x in (sharp, blurred))
        both = both + a.conj() * b
        energy = energy + a.abs().square()
    whole: Tensor = torch.fft.irfft2(both / (energy + smooth), s=sharp.shape)
    return whole.roll((side // 2, side // 2), (0, 1))[:side, :side]


def _cleaned(kernel: Tensor, cut: float) -> Tensor:
    """Without what is negative, faint, or far from the rest; of sum 1."""
    kernel = kernel.clamp_min(0.0)
    if float(kernel.max()) == 0.0:  # a picture without anything in it
        kernel[kernel.shape[0] // 2, kernel.shape[1] // 2] = 1.0
    kernel = kernel * (kernel >= cut * kernel.max())
    labels = _labels(kernel > 0)
    masses = torch.zeros(int(labels.max()) + 1, device=kernel.device)
    masses = masses.scatter_add(0, labels.flatten(), kernel.flatten())
    kernel = kernel * (masses[labels] >= LEAST_BLOB * masses[1:].max())
    return kernel / kernel.sum()


def _labels(mask: Tensor) -> Tensor:
    """(k, k) int64: a number above 0 for each connected part, diagonals included; 0 outside."""
    number = torch.arange(1, mask.numel() + 1, device=mask.device).view_as(mask).float() * mask
    while True:
        spread = F.max_pool2d(number[None, None], 3, 1, 1)[0, 0] * mask
        if torch.equal(spread, number):
            return number.long()
        number = spread


def _centred(kernel: Tensor) -> Tensor:
    """Moved by whole pixels until its centre of mass is in the middle."""
    at = torch.arange(kernel.shape[0], device=kernel.device) - kernel.shape[0] // 2
    moves = [-round(float((kernel.sum(dim) * at).sum())) for dim in (1, 0)]
    return kernel.roll(moves, (0, 1))


def _difference(x: Tensor, dim: int) -> Tensor:
    return x.roll(-1, dim) - x


def _reduced(x: Tensor, scale: float) -> Tensor:
    """(H, W) at `scale` of its size."""
    if scale == 1.0:
        return x
    return F.interpolate(
        x[None, None], scale_factor=scale, mode="bilinear", antialias=True, align_corners=False
    )[0, 0]


def _resized(kernel: Tensor, side: int) -> Tensor:
    grown = F.interpolate(
        kernel[None, None], size=(side, side), mode="bicubic", align_corners=False
    )[0, 0].clamp_min(0.0)
    return grown / grown.sum()


def _window(like: Tensor, ramp: int) -> Tensor:
    """(H, W) weights: 1 inside, down to 0 over `ramp` px at each border."""
    fade = 0.5 - 0.5 * torch.cos(pi * (torch.arange(ramp, device=like.device) + 0.5) / ramp)
    sides = []
    for length in like.shape:
        side = torch.ones(length, device=like.device)
        side[:ramp], side[length - ramp :] = fade, fade.flip(0)
        sides.append(side)
    return sides[0][:, None] * sides[1]


def _pads(like: Tensor, least: int) -> tuple[int, int, int, int]:
    """Borders, left, right, top and bottom, to a size that is fast to transform."""
    height, width = like.shape
    beside, below = (
        # There is no more to mirror than the picture itself.
        min(-(-(length + 2 * least) // 32) * 32 - length - least, length - 1)
        for length in (width, height)
    )
    return least, beside, least, below


def _continued(x: Tensor, pads: tuple[int, int, int, int]) -> Tensor:
    """Mirrored beyond its borders and faded into its mean there, so that opposite ones meet."""
    wide = F.pad(x[None, None], pads, mode="reflect")[0, 0]
    share = _window(wide, pads[0])
    return wide * share + (1 - share) * x.mean()
