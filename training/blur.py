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

MOST_PX = 36.0  # of what is longer so little comes back that it would cost the rest
ROLL_DEG, ZOOM = 0.7, 0.006
BRIGHT = 0.96
GAMMA = (1.8, 2.4)
POSES_PER_PX, GROUPS = 1.6, 4


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
        longest_px: no path is longer.
    """

    still: float = 0.15
    long: float = 0.25
    moving: float = 0.25
    defocused: float = 0.12
    coded: float = 0.35
    sigma: float = 0.02
    longest_px: float = MOST_PX


def lengths(draw: torch.Generator, count: int, mix: BlurMix) -> Tensor:
    """(count,) extents of the blur, px."""
    kind = uniform(draw, 0, 1, count)
    short, middle = uniform(draw, -1.5, 3, count).clamp(min=0), uniform(draw, 3, 20, count)
    far = uniform(draw, 20, MOST_PX, count)
    chosen = torch.where(kind < mix.still, short, torch.where(kind < 1 - mix.long, middle, far))
    return chosen.clamp(max=mix.longest_px)


def paths(draw: torch.Generator, extent: Tensor, frames: int) -> Tensor:
    """Poses of the camera over the exposure; the middle frame is the sharp picture itself.

    Args:
        draw: on the CPU.
        extent: (B,) largest extent in px.
        frames: odd.

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
    pose = g * t + 0.35 * g2 * torch.sin(2 * pi * (t * waves + phase))
    pose = pose - pose[:, frames // 2 : frames // 2 + 1]
    reach = pose[..., :2].abs().amax((1, 2)).clamp(min=1e-6)
    shift = pose[..., :2] * (extent / 2 / reach).view(-1, 1, 1)
    most = torch.tensor((ROLL_DEG * pi / 180, ZOOM)) * torch.rand(count, 2, generator=draw)
    small = (extent / 3).clamp(max=1.0).view(-1, 1)  # a still camera does not roll either
    largest = pose[..., 2:].abs().amax(1).clamp(min=1e-6)
    rest = pose[..., 2:] * (most * small / largest).unsqueeze(1)
    return torch.cat((shift, rest), 2)


def exposed(x: Tensor, path: Tensor) -> Tensor:
    """Mean of the picture over the poses.

    Args:
        x: (B, C, H, W), linear light.
        path: (B, frames, 4) of `paths`, on x's device.
    """
    _, _, h, w = x.shape
    dx, dy, roll, zoom = path.unbind(-1)
    cos, sin = torch.cos(roll) * (1 + zoom), torch.sin(roll) * (1 + zoom)
    # Maps of a point (x, y, 1) to (x, y), where a side runs from -1 to 1: (B, frames, 3, 2).
    across = torch.stack((cos, -sin * (h / w), dx * (2 / w)), -1)
    down = torch.stack((sin * (w / h), cos, dy * (2 / h)), -1)
    poses = torch.stack((across, down), -1)
    ys, xs = (
        torch.linspace(-1 + 1 / n, 1 - 1 / n, n, device=x.device) for n in (h, w)
    )  # centres of pixels
    grid_y, grid_x = torch.meshgrid(ys, xs, indexing="ij")
    points = torch.stack((grid_x, grid_y, torch.ones_like(grid_x)), -1).view(1, h * w, 3)
    total = torch.zeros_like(x)
    for k in range(path.shape[1]):
        grid = (points @ poses[:, k]).view(-1, h, w, 2)
        total += F.grid_sample(
            x, grid, mode="bilinear", padding_mode="reflection", align_corners=False
        )
    return total / path.shape[1]


def exposures(x: Tensor, extent: Tensor, draw: torch.Generator) -> Tensor:
    """`exposed` on random paths; pieces with short ones, which need few poses, go apart.

    Args:
        x: (B, C, H, W), linear light.
        extent: (B,) of the paths in px, on the CPU.
        draw: on the CPU.
    """
    result = torch.empty_like(x)
    for chosen in extent.argsort().tensor_split(GROUPS):
        if len(chosen):
            far = extent[chosen]
            path = paths(draw, far, max(5, round(POSES_PER_PX * float(far.max()))) | 1)
            at = chosen.to(x.device)
            result[at] = exposed(x[at], path.to(x.device))
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
    gamma = uniform(draw, *GAMMA, count).view(-1, 1, 1, 1).to(device)
    light = sharp.clamp(0, 1) ** gamma
    gain = uniform(draw, 1.0, 2.5, count).view(-1, 1, 1, 1).to(device)
    light = torch.where(sharp > BRIGHT, light * gain, light)  # lamps are brighter than white
    extent = lengths(draw, count, mix)
    soft = exposures(light, extent, draw)
    moving = chance(draw, mix.moving, count).nonzero().flatten()
    if moving.numel():
        # The foreground covers what is behind it for as long as it is there.
        at = moving.to(device)
        mask = blobs(draw, len(moving), side).to(device)
        covered = exposures(torch.cat((light[at] * mask, mask), 1), extent.roll(1)[moving], draw)
        soft[at] = soft[at] * (1 - covered[:, 3:]) + covered[:, :3]
    lens = chance(draw, mix.defocused, count)
    radius, disc = uniform(draw, 1.0, 5.0, count), chance(draw, 0.5, count)
    chosen = lens.nonzero().flatten()
    if chosen.numel():
        at = chosen.to(device)
        soft[at] = defocused(light[at], radius[chosen].to(device), disc[chosen].to(device))
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
    return seen, torch.where(lens, 0 * extent, extent)
