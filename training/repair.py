"""How the removal network is trained, and what it must reach.

Pieces of photographs with JPEG blocks and noise, the clean ones as the answer. The network is also
told a strength: how bad the damage may be. In half of the draws that is 1 ("anything"), so that
it can be used without knowing; in the others it lies between the damage and 1, or is the damage.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from wallprint_server.models import catalog, networks, store
from wallprint_server.models.networks.cleaner import (
    BLOCKS,
    GUIDED_WIDTH,
    WIDTH,
    Cleaner,
    GuidedCleaner,
)

from . import jpeg, measure
from .data import Tiles
from .degrade import Mix, chance, severity, spoiled, uniform
from .gates import Gate
from .loop import Draw

EPSILON = 2e-3
START = "waifu2x-photo-denoise3"
QUALITIES = (10, 20, 30, 40)
# Gain in dB of Y at those qualities that must be reached: with a GPU, and on two CPU cores.
GAINS = (1.5, 1.6, 1.7, 1.7), (1.1, 1.2, 1.3, 1.3)
CLEAN_LOSS_DB, CLEAN_CHANGE = 0.05, 1 / 255


@dataclass
class RepairRecipe:
    """The removal network; see `loop.Recipe`."""

    tiles: Tiles
    batch: int = 16
    side: int = 80
    width: int = WIDTH
    blocks: int = BLOCKS
    name: str = "repair"
    rate: float = 1e-3
    last_rate: float = 1e-6
    clip: float = 0.5
    warm_up: float = 0.02
    on_gpu: bool = False
    # Mostly JPEG: a small network cannot learn everything, and noise is the harder to tell from
    # texture.
    mix: Mix = Mix(twice=0.25, noisy=0.25, resized=0.06, sigma=12.0)  # noqa: RUF009 (frozen)

    def build(self) -> nn.Module:
        """A new network."""
        return Cleaner(self.width, self.blocks)

    def entry(self, net: nn.Module) -> Callable[..., Any]:
        """The network itself."""
        return net

    def batch_of(self, draw: Draw) -> tuple[Tensor, ...]:
        """Damaged and clean pieces, and the strength that is told."""
        bad, clean, how_bad = spoiled(
            self.tiles, draw.decide, draw.noise, self.batch, self.side, self.mix
        )
        strength = told_strength(how_bad.cpu(), draw.decide).to(bad.device)
        return bad.contiguous(memory_format=torch.channels_last), clean.contiguous(), strength

    def loss(self, call: Callable[..., Any], *batch: Tensor) -> Tensor:
        """See `restoration_loss`."""
        bad, clean, strength = batch
        return restoration_loss(call(bad, strength) - clean)

    def look(self, net: nn.Module) -> dict[str, float]:
        """Gain in dB of Y on held-out tiles, by this program's own JPEG."""
        clean = self.tiles.held_out(128)
        if not len(clean):
            return {}
        found = {}
        for quality in (10, 40):
            half = torch.ones(len(clean), dtype=torch.bool, device=clean.device)
            bad = jpeg.compress(clean, torch.full((len(clean),), quality).to(clean.device), half)
            better = measure.to_8_bit(net(bad))
            gain = measure.psnr_y(better, clean) - measure.psnr_y(bad, clean)
            found[f"gain_q{quality}"] = gain
        return found

    def gates(self, net: nn.Module, folder: Path) -> list[Gate]:
        """The 12 crops of the evaluation pack through Pillow's JPEG.

        Args:
            net: float32 on the CPU.
            folder: with `jpeg/*.png`, and `val_tiles/*.jpg`.
        """
        crops = [measure.load(path) for path in sorted((folder / "jpeg").glob("*.png"))]
        gates = []
        for quality, least in zip(QUALITIES, GAINS[0 if self.on_gpu else 1], strict=True):
            gain = mean_gain(net, crops, quality, 1.0)
            gates.append(Gate(f"JPEG Q{quality}, gain in dB of Y at strength 1", gain, least))
        change, loss = on_clean(net, crops)
        gates.append(Gate("clean crops, mean change at their strength", change, CLEAN_CHANGE, True))
        gates.append(
            Gate("JPEG Q95 4:4:4, dB of Y lost at its strength", loss, CLEAN_LOSS_DB, True)
        )
        return gates


def charbonnier(difference: Tensor) -> Tensor:
    """Mean of a smooth absolute value."""
    return (difference.square() + EPSILON**2).sqrt().mean()


def restoration_loss(difference: Tensor) -> Tensor:
    """Charbonnier on the colours and on the brightness, which the eye sees most."""
    red, green, blue = difference.unbind(1)
    return charbonnier(difference) + charbonnier(0.299 * red + 0.587 * green + 0.114 * blue)


@dataclass
class GuidedRecipe(RepairRecipe):
    """A removal network that corrects waifu2x, whose weights stay; see `loop.Recipe`.

    For a machine without a GPU: it begins where waifu2x is. waifu2x's answers are most of the work,
    so a pool of batches is made once, each from its own number, and seen again, turned and
    mirrored.
    """

    name: str = "repair-guided"
    width: int = GUIDED_WIDTH
    pool: int = 750
    folder: Path | None = None

    def build(self) -> nn.Module:
        """waifu2x as published, and behind it a network that at first changes nothing."""
        net = GuidedCleaner(self.width, self.blocks)
        net.first.load_state_dict(published().state_dict())
        net.first.requires_grad_(False)
        for parameter in net.second.tail.parameters():
            nn.init.zeros_(parameter)
        return net

    def entry(self, net: nn.Module) -> Callable[..., Any]:
        """The second network; the first one's answers come from the pool."""
        assert isinstance(net, GuidedCleaner)
        self.first = net.first
        return net.second

    def batch_of(self, draw: Draw) -> tuple[Tensor, ...]:
        """As without a guide, from the pool; and waifu2x's answer."""
        bad, clean, guide, how_bad = self.pooled(draw.number % self.pool)
        strength = told_strength(how_bad, draw.decide).to(bad.device)
        turn, mirror = torch.randint(4, (2,), generator=draw.decide).tolist()
        parts = (torch.rot90(x, turn, (2, 3)) for x in (bad, clean, guide))
        bad, clean, guide = (x.flip(-1) if mirror % 2 else x for x in parts)
        nearly = torch.channels_last
        bad, guide = bad.contiguous(memory_format=nearly), guide.contiguous(memory_format=nearly)
        return bad, clean.contiguous(), strength, guide

    def loss(self, call: Callable[..., Any], *batch: Tensor) -> Tensor:
        """As without a guide."""
        bad, clean, strength, guide = batch
        return restoration_loss(call(bad, strength, guide) - clean)

    def pooled(self, number: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One batch of the pool: damaged, clean, waifu2x's answer, severity; kept in `folder`."""
        file = None if self.folder is None else self.folder / f"{number:05d}.safetensors"
        device = self.tiles.pixels.device
        if file is not None and file.is_file():
            kept = safetensors.torch.load_file(file)
        else:
            decide = torch.Generator().manual_seed(number)
            noise = torch.Generator(device).manual_seed(number)
            bad, clean, how_bad = spoiled(
                self.tiles, decide, noise, self.batch, self.side, self.mix
            )
            with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
                guide = self.first(bad.contiguous(memory_format=torch.channels_last))
            bytes_of = {"bad": bad, "clean": clean}
            kept = {k: (x * 255).round().byte().contiguous() for k, x in bytes_of.items()}
            kept |= {"guide": guide.half().contiguous(), "how_bad": how_bad.float()}
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                fresh = file.with_suffix(f".{os.getpid()}")
                safetensors.torch.save_file({k: v.cpu() for k, v in kept.items()}, fresh)
                fresh.replace(file)
        kept = {k: v.to(device).clone() for k, v in kept.items()}
        bad, clean = kept["bad"].float() / 255, kept["clean"].float() / 255
        return bad, clean, kept["guide"].float(), kept["how_bad"].cpu()


def published() -> nn.Module:
    """waifu2x with the published weights."""
    return networks.load(catalog.get(START), store.load(START))


def told_strength(how_bad: Tensor, decide: torch.Generator) -> Tensor:
    """(B,) severities -> the strengths that the network is told, 0..1."""
    count = len(how_bad)
    between = how_bad + (1 - how_bad) * uniform(decide, 0, 1, count)
    known = (how_bad + uniform(decide, 0, 0.1, count)).clamp(0, 1)
    told = torch.where(chance(decide, 0.4, count), between, known)
    return torch.where(chance(decide, 0.5, count), torch.ones(count), told)


def mean_gain(
    net: Callable[..., Tensor], crops: list[Tensor], quality: int, strength: float | None
) -> float:
    """Mean gain in dB of Y; `strength` None takes the one that belongs to the quality."""
    gains = []
    strength = strength_of(quality) if strength is None else strength
    for clean in crops:
        bad = measure.as_jpeg(clean, quality)
        better = measure.to_8_bit(net(bad, strength))
        gains.append(measure.psnr_y(better, clean) - measure.psnr_y(bad, clean))
    return sum(gains) / len(gains)


def on_clean(net: nn.Module, crops: list[Tensor]) -> tuple[float, float]:
    """Mean absolute change of clean pictures, and what nearly clean ones (Q95, 4:4:4) lose.

    A perfectly clean picture has an infinite PSNR; one of quality 95 has one to lose. Both get the
    strength that belongs to quality 95.
    """
    strength = strength_of(95)
    changes, losses = [], []
    for clean in crops:
        changes.append(float((measure.to_8_bit(net(clean, strength)) - clean).abs().mean()))
        bad = measure.as_jpeg(clean, 95, half_chroma=False)
        better = measure.to_8_bit(net(bad, strength))
        losses.append(measure.psnr_y(bad, clean) - measure.psnr_y(better, clean))
    return sum(changes) / len(changes), sum(losses) / len(losses)


def strength_of(quality: int) -> float:
    """The strength that belongs to a JPEG quality."""
    return float(severity(torch.tensor([float(quality)]), torch.zeros(1)))
