"""How the removal network is trained, and what it must reach.

Pieces of photographs with JPEG blocks and noise, the clean ones as the answer. The network is also
told a strength: how bad the damage may be. In half of the draws that is 1 ("anything"), so that
it can be used without knowing; in the others it lies between the damage and 1, or is the damage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wallprint_server.models.networks.cleaner import BLOCKS, WIDTH, Cleaner

from . import jpeg, measure
from .data import Tiles
from .degrade import Mix, chance, severity, spoiled, uniform
from .gates import Gate
from .loop import Draw

EPSILON = 2e-3
QUALITIES = (10, 20, 30, 40)
# Gain in dB of Y at those qualities, told them, without which a network is not worth shipping; ten
# minutes of a GPU should give 1.5, 1.6, 1.7 and 1.7.
GAINS = (1.1, 1.2, 1.3, 1.3)
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
    decay: float | None = None
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
        for quality, least in zip(QUALITIES, GAINS, strict=True):
            gain = mean_gain(net, crops, quality, None)
            gates.append(Gate(f"JPEG Q{quality}, gain in dB of Y", gain, least))
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
