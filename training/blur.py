"""Blurs sharp pieces as hands and lenses do: a smooth path of the camera, in linear light.

The answer to a blurred piece is the sharp one *at the middle of the exposure*; a network that was
trained towards the path's centre of gravity learns to move the picture. Knows nothing of networks.

References:
    Whyte et al., "Non-uniform deblurring for shaken images", IJCV 98 (2012): blur as a mean over
    camera poses; Rim et al., "Realistic Blur Synthesis for Learning Image Deblurring", ECCV 2022,
    arXiv 2202.08771: saturation, noise and the camera's curve decide whether it carries over.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor
from torch.nn import functional as F

from . import jpeg
from .degrade import chance, uniform

MOST_PX = 44.0  # of what is longer so little comes back that it would cost the rest
REACH_PX = 24  # of a kernel: half of that, and what roll and zoom add
TYPICAL_PX = 7.0  # long enough to have a direction, short enough to be undone
PLACE_PX = 200.0  # where in a photograph a piece may have been, from the middle
ROLL_DEG, ZOOM = 0.7, 0.006
BRIGHT = 0.96
GAMMA = (1.8, 2.4)
FRAMES = 65  # of a path; odd


@dataclass(frozen=True)
class BlurMix:
    """How often what is done.

    Attributes:
        still: share with at most 3 px, a third of them none: sharp pictures must stay as they are.
        long: share with 20 px and more.
        moving: share with a foreground that moves on a path of its own.
        defocused: share with a defocus instead of a motion.
        coded: share that is compressed.
        sigma: largest noise, of 1; small ones are more frequent.
        spread: of the lengths around TYPICAL_PX; 1 for all that the other shares say.
        bend: of the paths; 0 for even motions straight on.
    """

    still: float = 0.08
    long: float = 0.4
    moving: float = 0.2
    defocused: float = 0.08
    coded: float = 0.2
    sigma: float = 0.012
    spread: float = 1.0
    bend: float = 1.0


def lengths(draw: torch.Generator, count: int, mix: BlurMix) -> Tensor:
    """(count,) extents of the blur, px."""
    kind = uniform(draw, 0, 1, count)
    short, middle = uniform(draw, -1.5, 3, count).clamp(min=0), uniform(draw, 3, 20, count)
    far = uniform(draw, 20, MOST_PX, count)
    chosen = torch.where(kind < mix.still, short, torch.where(kind < 1 - mix.long, middle, far))
    return TYPICAL_PX + (chosen - TYPICAL_PX) * mix.spread


def paths(draw: torch.Generator, extent: Tensor, frames: int, bend: float = 1.0) -> Tensor:
    """Poses of the camera over the exposure; the middle frame is the sharp picture itself.

    Args:
        draw: on the CPU.
        extent: (B,) largest extent in px.
        frames: odd.
        bend: see `BlurMix`.

    Returns:
        (B, frames, 4): shift x and y in px, roll in radians, zoom as a part.
    """
    count = len(extent)
    t = torch.linspace(-0.5, 0.5, frames).view(1, -1, 1)
    g, g2 = (torch.randn(count, 1, 4, generator=draw) for _ in range(2))
    waves, phase = (
        low + (high - low) * torch.rand(count, 1, 4, generator=draw)
        for low, high in ((0.5, 1.3), (0.0, 1.0))
    )
    pose = g * t + bend * 0.35 * g2 * torch.sin(2 * pi * (t * waves + phase))
    pose = pose - pose[:, frames // 2 : frames // 2 + 1]
    reach = pose[..., :2].abs().amax((1, 2)).clamp(min=1e-6)
    shift = pose[..., :2] * (extent / 2 / reach).view(-1, 1, 1)
    most = torch.tensor((ROLL_DEG * pi / 180, ZOOM)) * torch.rand(count, 2, generator=draw)
    small = (extent / 3).clamp(max=1.0).view(-1, 1)  # a still camera does not roll either
    largest = pose[..., 2:].abs().amax(1).clamp(min=1e-6)
    rest = pose[..., 2:] * (most * small / largest).unsqueeze(1)
    return torch.cat((shift, rest), 2)


def kernels(draw: torch.Generator, extent: Tensor, bend: float = 1.0) -> Tensor:
    """What the paths of `paths` do to the surroundings of a point somewhere in a photograph.

    Roll and zoom move a point the farther, the farther it is from the middle. Within a piece that
    is nearly the same for all its pixels (0.7 degrees over 64 px: 0.8 px), so that a piece is
    blurred by one kernel, in a tenth of the time of warping it for each pose.

    Args:
        draw: on the CPU.
        extent: (B,) of the paths, px.
        bend: see `BlurMix`.

    Returns:
        As `drawn_along`.
    """
    pose = paths(draw, extent, FRAMES, bend)
    x, y = (PLACE_PX * (2 * torch.rand(2, len(extent), 1, generator=draw) - 1)).unbind()
    right = pose[..., 0] - pose[..., 2] * y + pose[..., 3] * x
    down = pose[..., 1] + pose[..., 2] * x + pose[..., 3] * y
    return drawn_along(right, down)


def lines(extent: Tensor, angle: Tensor) -> Tensor:
    """Kernels of a camera that moves evenly and straight on.

    Args:
        extent: (B,) px from end to end.
        angle: (B,) radians, 0 for a level motion.

    Returns:
        As `drawn_along`.
    """
    t = torch.linspace(-0.5, 0.5, FRAMES) * extent.unsqueeze(1)
    return drawn_along(t * angle.cos().unsqueeze(1), t * angle.sin().unsqueeze(1))


def drawn_along(right: Tensor, down: Tensor) -> Tensor:
    """Kernels of paths.

    Args:
        right: (B, F) px from where the picture is sharp; cut off at REACH_PX.
        down: the same.

    Returns:
        (B, 2 R + 1, 2 R + 1) with R = REACH_PX, of sum 1, for `convolved`.
    """
    side = 2 * REACH_PX + 1
    # Light comes from where the path leads: the kernel is the path turned around.
    column, row = (REACH_PX - way.clamp(-REACH_PX + 0.001, REACH_PX) for way in (right, down))
    left, top = column.floor(), row.floor()
    kernel = torch.zeros(len(right), side * side)
    for below in (0, 1):
        for beside in (0, 1):
            share = (1 - (row - top - below).abs()) * (1 - (column - left - beside).abs())
            kernel.scatter_add_(1, ((top + below) * side + left + beside).long(), share)
    return (kernel / right.shape[1]).view(-1, side, side)


def convolved(x: Tensor, kernel: Tensor) -> Tensor:
    """Blur by one kernel for each picture; what is beyond a border comes from the opposite one.

    Args:
        x: (B, C, H, W), sides not smaller than the kernel's.
        kernel: (B, K, K), K odd, on x's device.
    """
    height, width = x.shape[-2:]
    half = kernel.shape[-1] // 2
    grown = F.pad(kernel, (0, width - 2 * half - 1, 0, height - 2 * half - 1))
    spectrum = torch.fft.rfft2(grown.roll((-half, -half), (1, 2))).unsqueeze(1)
    result: Tensor = torch.fft.irfft2(torch.fft.rfft2(x) * spectrum, s=(height, width))
    return result


def defocused(x: Tensor, radius: Tensor, round_one: Tensor) -> Tensor:
    """Blur by a disc (`round_one`) or a Gaussian, one for each picture.

    Args:
        x: (B, C, H, W).
        radius: (B,) of the disc in px; the Gaussian's sigma is 0.6 of it.
        round_one: (B,) bool.
    """
    reach = 10
    at = torch.arange(-reach, reach + 1, device=x.device).float()
    distance = (at.view(-1, 1).square() + at.square()).sqrt()
    r = radius.view(-1, 1, 1)
    disc = (r + 0.5 - distance).clamp(0, 1)
    gauss = torch.exp(-0.5 * (distance / (0.6 * r).clamp(min=1e-3)).square())
    kernel = torch.where(round_one.view(-1, 1, 1), disc, gauss)
    kernel = kernel / kernel.sum((1, 2), keepdim=True)
    b, c, h, w = x.shape
    grown = F.pad(x, (reach,) * 4, mode="reflect").reshape(1, b * c, h + 2 * reach, w + 2 * reach)
    weights = kernel.repeat_interleave(c, 0).unsqueeze(1)
    return F.conv2d(grown, weights, groups=b * c).view(b, c, h, w)


def blobs(draw: torch.Generator, count: int, side: int) -> Tensor:
    """Soft masks of random shapes, (B, 1, side, side) in [0, 1], a third to a half of the area."""
    coarse = torch.randn(count, 1, 5, 5, generator=draw)
    smooth = F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False)
    return ((smooth - 0.15) * 4 + 0.5).clamp(0, 1)


def blurred(
    sharp: Tensor, draw: torch.Generator, noise: torch.Generator, mix: BlurMix
) -> tuple[Tensor, Tensor]:
    """Blur pieces in every respect.

    Args:
        sharp: (B, 3, H, H) in [0, 1], display-encoded.
        draw: on the CPU; decides.
        noise: on the pieces' device.
        mix: what is done how often.

    Returns:
        The blurred (B, 3, H, H) in [0, 1], and the extents (B,) in px, 0 for a defocus.
    """
    count, _, side, _ = sharp.shape
    device = sharp.device
    light, gamma = lit(sharp, draw)
    extent = lengths(draw, count, mix)
    soft = convolved(light, kernels(draw, extent, mix.bend).to(device))
    moving = chance(draw, mix.moving, count).nonzero().flatten()
    if moving.numel():
        # The foreground covers what is behind it for as long as it is there.
        at = moving.to(device)
        mask = blobs(draw, len(moving), side).to(device)
        own = kernels(draw, extent.roll(1)[moving], mix.bend).to(device)
        covered = convolved(torch.cat((light[at] * mask, mask), 1), own)
        soft[at] = soft[at] * (1 - covered[:, 3:]) + covered[:, :3]
    lens = chance(draw, mix.defocused, count)
    radius, disc = uniform(draw, 1.0, 5.0, count), chance(draw, 0.5, count)
    chosen = lens.nonzero().flatten()
    if chosen.numel():
        at = chosen.to(device)
        soft[at] = defocused(light[at], radius[chosen].to(device), disc[chosen].to(device))
    seen = photographed(soft, gamma, draw, noise, mix)
    return seen, torch.where(lens, 0 * extent, extent)


def lit(sharp: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Light of display-encoded pieces (B, 3, H, H), and the curve of each one's camera."""
    count, device = len(sharp), sharp.device
    gamma = uniform(draw, *GAMMA, count).view(-1, 1, 1, 1).to(device)
    light = sharp.clamp(0, 1) ** gamma
    gain = uniform(draw, 1.0, 2.5, count).view(-1, 1, 1, 1).to(device)
    # Lamps are brighter than white.
    return torch.where(sharp > BRIGHT, light * gain, light), gamma


def photographed(
    soft: Tensor, gamma: Tensor, draw: torch.Generator, noise: torch.Generator, mix: BlurMix
) -> Tensor:
    """Blurred light (B, 3, H, H) as a camera stores it: clipped, noisy, rounded, compressed."""
    count, device = len(soft), soft.device
    soft = soft.clamp(0, 1)
    sigma = (uniform(draw, 0, 1, count).square() * mix.sigma).view(-1, 1, 1, 1).to(device)
    grain = torch.randn(soft.shape, generator=noise, device=device)
    soft = soft + grain * (sigma.square() * soft + (sigma / 3).square()).sqrt()
    seen = soft.clamp(0, 1) ** (1 / gamma)
    seen = (seen * 255).round() / 255
    quality = uniform(draw, 60, 97, count).floor()
    half = chance(draw, 0.7, count)
    coded = chance(draw, mix.coded, count).nonzero().flatten()
    if coded.numel():
        at = coded.to(device)
        seen[at] = jpeg.compress(seen[at], quality[coded].to(device), half[coded].to(device))
    return seen
