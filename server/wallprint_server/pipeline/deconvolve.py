"""Taking a known shake back out of a picture: Richardson-Lucy with total variation.

Each round asks which light, shaken, would give the picture that was taken, and cannot make anything
darker than black. What a shake has averaged away it does not invent: it stays soft. Knows nothing
of tiles or of where the shake is known from (`shake.py`).

References:
    Richardson, JOSA 62 (1972); Lucy, Astronomical Journal 79 (1974). Dey et al., Richardson-Lucy
    algorithm with total variation regularization for 3D confocal microscope deconvolution,
    Microscopy Research and Technique 69 (2006). Whyte, Sivic and Zisserman, Deblurring shaken and
    partially saturated images, IJCV 110 (2014): what is clipped says only "at least". Bertero and
    Boccacci, A simple method for the reduction of boundary effects in the Richardson-Lucy approach,
    Astronomy & Astrophysics 437 (2005). Nagy and O'Leary, Restoring images degraded by spatially
    variant blur, SIAM J. Sci. Comput. 19 (1998): kernels that change over the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor, inf

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..imaging.color import decode_srgb, encode_srgb
from .blind_kernel import spectrum_of
from .exposure_path import Floats
from .shake import Shake

ROUNDS, DRAFT_ROUNDS = 30, 8
SMOOTH = 0.005  # weight of the total variation
CLIPPED = 0.98  # brighter than this a sensor may have been full
# A roll or zoom changes the kernel from place to place. Kernels are drawn at the crossings of a
# grid over the whole picture, so that tiles agree, and mixed between them; from one to the next the
# ends of the way move by this, px.
KERNEL_STEP_PX = 1.0
SAME_PX = 0.05  # less than this over the whole picture is nothing
DARKEST = 1e-5
HARDLY = 1e-3  # light of which less than this part falls into the picture stays as it was
MIRRORED_PX = 32  # of a picture beyond its border, and a kernel


class Deconvolution:
    """Takes a shake out of windows of a picture.

    Attributes:
        border_px: of a window, within which what it cannot see matters; a multiple of 16.
        extent_px: of the shake in the picture's middle.

    Args:
        shake: the camera's motion.
        between: called between rounds; what it raises ends the work.
        draft: for a first look: fewer rounds.
    """

    def __init__(self, shake: Shake, between: Callable[[], None], draft: bool = False) -> None:
        self._shake, self._between = shake, between
        self._rounds = DRAFT_ROUNDS if draft else ROUNDS
        self.border_px, self._pitch_px = border_for(shake), pitch_for(shake)
        self.extent_px = shake.extent_px

    def light(self, taken: Tensor, x0: int, y0: int) -> Tensor:
        """A window of the picture without the shake, rings and all.

        Args:
            taken: (1, C, h, w) in [0, 1], perceptual.
            x0: its place in the picture.
            y0: the same.

        Returns:
            The same, in [0, 1].
        """
        height, width = taken.shape[-2:]
        (xs, x_shares), (ys, y_shares) = self._nodes(x0, width), self._nodes(y0, height)
        ways = np.array([self._shake.places(x, y) for y in ys for x in xs])
        shares = y_shares[:, None, :, None] * x_shares[None, :, None]
        kernels = drawn(torch.from_numpy(ways)).to(taken)
        return deconvolved(
            taken, kernels, shares.flatten(0, 1).to(taken), self._rounds, self._between
        )

    def _nodes(self, start: int, length: int) -> tuple[Floats, Tensor]:
        """Crossings along one axis of a window, and (n, length) how much each counts."""
        if self._pitch_px == inf:
            return np.zeros(1), torch.ones(1, length)
        first, last = (floor(at / self._pitch_px) for at in (start, start + length - 1))
        nodes = np.arange(first, last + 2, dtype=np.float64) * self._pitch_px
        at = torch.arange(start, start + length).double()
        apart = (at - torch.from_numpy(nodes)[:, None]).abs() / self._pitch_px
        return nodes, (1 - apart).clamp_min(0.0).float()


def deconvolved(
    taken: Tensor, kernels: Tensor, shares: Tensor, rounds: int, between: Callable[[], None]
) -> Tensor:
    """A picture without a known blur; what it cannot tell of its borders stays as it is.

    Args:
        taken: (1, C, h, w) in [0, 1], perceptual.
        kernels: (K, k, k), k odd, of sum 1.
        shares: (K, h, w) how much each kernel counts where; of sum 1.
        rounds: of Richardson and Lucy.
        between: called between rounds; what it raises ends the work.

    Returns:
        (1, C, h, w) in [0, 1], perceptual.
    """
    blur = _Blur(kernels, shares, *taken.shape[-2:])
    return encode_srgb(_unshaken(decode_srgb(taken), blur, rounds, between)).clamp(0.0, 1.0)


def pitch_for(shake: Shake) -> float:
    """Distance in px of the places for which kernels are drawn; infinite for one kernel."""
    # The way changes evenly over the picture, so any place tells.
    here, there = shake.places(0, 0), shake.places(1000, 0)
    per_px = float(np.sqrt(((there - here) ** 2).sum(1)).max()) / 1000
    if per_px * max(shake.size.width, shake.size.height) < SAME_PX:
        return inf
    return KERNEL_STEP_PX / per_px


def border_for(shake: Shake) -> int:
    """Pixels around a tile that its neighbours cannot do without, a multiple of 16."""
    return 16 * ceil((48 + 2 * shake.extent_px) / 16)


def drawn(ways: Tensor) -> Tensor:
    """Kernels of ways.

    Args:
        ways: (B, T, 2) places of the light over the exposure, x and y, px.

    Returns:
        (B, k, k) float32 of sum 1, k odd; each moment's light is shared by four pixels.
    """
    # Moments are up to a pixel apart: without those between them a kernel would be dots.
    fine = F.interpolate(ways.transpose(1, 2), scale_factor=4, mode="linear", align_corners=True)
    x, y = fine.unbind(1)
    half = ceil(float(fine.abs().max())) + 1
    side = 2 * half + 1
    column, row = x + half, y + half
    left, top = column.floor(), row.floor()
    kernels = torch.zeros(len(ways), side * side, dtype=ways.dtype)
    for below in (0, 1):
        for beside in (0, 1):
            share = (1 - (row - top - below).abs()) * (1 - (column - left - beside).abs())
            kernels.scatter_add_(1, ((top + below) * side + left + beside).long(), share)
    return (kernels / fine.shape[2]).view(-1, side, side).float()


class _Blur:
    """The shake of a window, by kernels at some places that are mixed between them."""

    def __init__(self, kernels: Tensor, shares: Tensor, height: int, width: int) -> None:
        # Opposite borders must not meet: mirrored farther than a kernel, to a size that is fast.
        before = kernels.shape[-1] // 2 + MIRRORED_PX
        beside, below = (
            -(-(length + 2 * before) // 32) * 32 - length - before for length in (width, height)
        )
        self.pad = (before, beside, before, below)
        self.rows, self.columns = (slice(before, before + length) for length in (height, width))
        self._size = (height + self.pad[2] + self.pad[3], width + self.pad[0] + self.pad[1])
        self._shares = F.pad(shares[None], self.pad, mode="replicate")[0]
        self._spectra = spectrum_of(kernels, *self._size)

    def shaken(self, x: Tensor) -> Tensor:
        """(1, C, H, W) as the camera would see it."""
        spectrum, total = torch.fft.rfft2(x), torch.zeros_like(x)
        for kernel, share in zip(self._spectra, self._shares, strict=True):
            total += share * self._back(spectrum * kernel)
        return total

    def returned(self, x: Tensor) -> Tensor:
        """The transpose of `shaken`: light of the picture back to where it may have come from."""
        total: Tensor = sum(
            torch.fft.rfft2(x * share) * kernel.conj()
            for kernel, share in zip(self._spectra, self._shares, strict=True)
        )
        return self._back(total)

    def _back(self, spectrum: Tensor) -> Tensor:
        back: Tensor = torch.fft.irfft2(spectrum, s=self._size)
        return back


def _unshaken(taken: Tensor, blur: _Blur, rounds: int, between: Callable[[], None]) -> Tensor:
    """(1, C, h, w) linear light that, shaken, is `taken`."""
    shape = taken.shape[-2:]
    # What lies beyond a border nobody has seen: it begins mirrored and must only explain what is
    # inside. Taken as seen, it would streak what is near (Bertero and Boccacci).
    known = F.pad(torch.ones_like(taken), blur.pad)
    room = min(shape) > max(blur.pad)
    taken = F.pad(taken, blur.pad, mode="reflect" if room else "replicate")
    full = taken >= CLIPPED
    light, weight = taken, blur.returned(known) + HARDLY
    for _ in range(rounds):
        between()
        seen = blur.shaken(light).clamp_min(DARKEST)
        ratio = taken.clamp_min(DARKEST) / seen
        ratio = torch.where(full & (seen > taken), 1.0, ratio)
        light = light * (blur.returned(ratio * known) + HARDLY) / weight
        light = (light / (1 - SMOOTH * _curvature(light)).clamp_min(0.5)).clamp(0.0, 4.0)
    return light[..., blur.rows, blur.columns]


def _curvature(x: Tensor) -> Tensor:
    """Divergence of the direction of the slopes."""
    right, down = (x.roll(-1, dim) - x for dim in (3, 2))
    steep = (right.square() + down.square() + 1e-6).sqrt()
    right, down = right / steep, down / steep
    return right - right.roll(1, 3) + down - down.roll(1, 2)
