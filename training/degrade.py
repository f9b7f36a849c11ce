"""Spoils clean pieces as cameras, programs and web sites do: noise, JPEG, again JPEG, resizing.

Knows nothing of networks. All that is drawn comes from the generator given.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from . import jpeg
from .data import Tiles

# What a strength of 1 stands for.
WORST_QUALITY, WORST_SIGMA = 5.0, 20.0


@dataclass(frozen=True)
class Mix:
    """How often what is done.

    Attributes:
        clean: share of the pieces that stay as they are.
        coded: share of the others that are compressed.
        twice: share of the compressed that had been compressed before, on another grid.
        half_chroma: share with colour at half resolution.
        noisy: share of the others with noise, before the last compression.
        resized: share of all that was compressed at another size before.
        quality: lowest and highest quality; half of the draws are in the lower 60 %.
        sigma: largest noise, levels of 255.
    """

    clean: float = 0.1
    coded: float = 0.88
    twice: float = 0.3
    half_chroma: float = 0.7
    noisy: float = 0.4
    resized: float = 0.12
    quality: tuple[float, float] = (5.0, 95.0)
    sigma: float = 15.0


def uniform(generator: torch.Generator, low: float, high: float, count: int) -> Tensor:
    """(count,) numbers, on the generator's device."""
    drawn = torch.rand(count, generator=generator, device=generator.device)
    return low + (high - low) * drawn


def chance(generator: torch.Generator, share: float, count: int) -> Tensor:
    """(count,) bool, True with the given probability."""
    return torch.rand(count, generator=generator, device=generator.device) < share


def severity(quality: Tensor, sigma: Tensor) -> Tensor:
    """Strength that suits a damage: 0 for none, 1 for JPEG quality 5 or noise of 20 levels.

    Args:
        quality: (B,), 100 for none.
        sigma: (B,) levels of 255.
    """
    by_quality = (100 - quality) / (100 - WORST_QUALITY)
    return torch.maximum(by_quality, sigma / WORST_SIGMA).clamp(0.0, 1.0)


def add_noise(x: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
    """Noise of a sensor after development: partly common to the channels, rounded to 8 bits.

    Args:
        x: (B, 3, H, W).
        sigma: (B,) levels of 255.
        generator: on x's device.
    """
    own = torch.randn(x.shape, generator=generator, device=x.device)
    common = torch.randn(x[:, :1].shape, generator=generator, device=x.device)
    share = torch.rand(x.shape[0], 1, 1, 1, generator=generator, device=x.device) * 0.7
    noise = (1 - share**2).sqrt() * own + share * common
    noisy = x + noise * (sigma.view(-1, 1, 1, 1) / 255)
    return (noisy.clamp(0, 1) * 255).round() / 255


def resized(x: Tensor, side: int) -> Tensor:
    """To `side` px, without aliasing."""
    y = F.interpolate(x, size=(side, side), mode="bicubic", align_corners=False, antialias=True)
    return y.clamp(0, 1)


def spoiled(
    tiles: Tiles, draw: torch.Generator, noise: torch.Generator, count: int, side: int, mix: Mix
) -> tuple[Tensor, Tensor, Tensor]:
    """Pieces before and after.

    Args:
        tiles: where they are cut from.
        draw: on the CPU; decides.
        noise: on the tiles' device.
        count: B.
        side: of the pieces, px.
        mix: what is done how often.

    Returns:
        spoiled and clean, (B, 3, side, side) in [0, 1], and the severity, (B,).
    """
    odd = max(1, round(count * mix.resized)) if mix.resized else 0
    parts = []
    if odd < count:
        parts.append(_plain(tiles, draw, noise, count - odd, side, mix))
    if odd:
        parts.append(_from_another_size(tiles, draw, noise, odd, side, mix))
    bad, clean, how_bad = (torch.cat(values) for values in zip(*parts, strict=True))
    return bad, clean, how_bad


def _qualities(draw: torch.Generator, count: int, mix: Mix) -> Tensor:
    low, high = mix.quality
    middle = low + 0.6 * (high - low)
    lower = chance(draw, 0.7, count)
    return torch.where(
        lower, uniform(draw, low, middle, count), uniform(draw, middle, high, count)
    ).floor()


def _damaged(
    clean: Tensor, draw: torch.Generator, noise: torch.Generator, mix: Mix
) -> tuple[Tensor, Tensor]:
    """Noise, JPEG, and again JPEG; gives the result without its first 8 px, and the severity."""
    count, device = clean.shape[0], clean.device
    none = torch.full((count,), 100.0)
    sigma = uniform(draw, 0, 1, count).square() * mix.sigma
    untouched = chance(draw, mix.clean, count)
    sigma = torch.where(chance(draw, mix.noisy, count) & ~untouched, sigma, 0 * sigma)
    coded = chance(draw, mix.coded, count) & ~untouched
    twice = coded & chance(draw, mix.twice, count)
    first = torch.where(twice, _qualities(draw, count, mix).clamp(min=20), none)
    last = torch.where(coded, _qualities(draw, count, mix), none)
    halves = [chance(draw, mix.half_chroma, count) for _ in range(2)]
    shift_x, shift_y = torch.randint(jpeg.BLOCK, (2,), generator=draw).tolist()
    x = add_noise(clean, sigma.to(device), noise)
    for step, (quality, half) in enumerate(zip((first, last), halves, strict=True)):
        if step:  # the second grid lies elsewhere
            x = x[..., shift_y:, shift_x:]
        chosen = (quality < 100).nonzero().flatten().to(device)
        if chosen.numel():
            x = x.clone()
            q, h = quality.to(device)[chosen], half.to(device)[chosen]
            x[chosen] = jpeg.compress(x[chosen], q, h)
    rest_y, rest_x = jpeg.BLOCK - shift_y, jpeg.BLOCK - shift_x
    return x[..., rest_y:, rest_x:], severity(torch.minimum(first, last), sigma)


def spoil(
    clean: Tensor, draw: torch.Generator, noise: torch.Generator, side: int, mix: Mix
) -> tuple[Tensor, tuple[int, int], Tensor]:
    """Damage pieces that are larger than needed, so that a JPEG's grid may lie anywhere.

    Args:
        clean: (B, 3, side + 16, side + 16).
        draw: on the CPU.
        noise: on the pieces' device.
        side: of the result, px.
        mix: what is done how often.

    Returns:
        The damaged (B, 3, side, side), the row and column of `clean` at which it begins, and the
        severity (B,).
    """
    margin = jpeg.BLOCK
    bad, how_bad = _damaged(clean, draw, noise, mix)
    y, x = torch.randint(margin, (2,), generator=draw).tolist()
    bad = bad[..., y : y + side, x : x + side]
    return bad, (margin + y, margin + x), how_bad.to(clean.device)


def _plain(
    tiles: Tiles, draw: torch.Generator, noise: torch.Generator, count: int, side: int, mix: Mix
) -> tuple[Tensor, Tensor, Tensor]:
    clean = tiles.crops(draw, count, side + 2 * jpeg.BLOCK)
    bad, (y, x), how_bad = spoil(clean, draw, noise, side, mix)
    return bad, clean[..., y : y + side, x : x + side], how_bad


def _from_another_size(
    tiles: Tiles, draw: torch.Generator, noise: torch.Generator, count: int, side: int, mix: Mix
) -> tuple[Tensor, Tensor, Tensor]:
    """Compressed at 0.8 to 1.7 times the size, then resized: the grid is no longer one of 8 px."""
    factor = float(uniform(draw, 0.8, 1.7, 1))
    before = max(16, round(side * factor))
    bad, clean, how_bad = _plain(tiles, draw, noise, count, before, mix)
    return resized(bad, side), resized(clean, side), how_bad
