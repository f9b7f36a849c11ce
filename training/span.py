"""How SPAN, the enlarging network, is made robust: the published weights learn from damaged input.

The published network was trained on clean small pictures and magnifies JPEG blocks and noise with
all else. Here it begins with its own weights and sees, in part, small pictures that went through a
JPEG; what it has to give is the clean large one. Its structure stays, so it costs the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wallprint_server.models import catalog, networks, store

from . import jpeg, measure
from .data import Tiles, drawn
from .degrade import Mix, spoil
from .gates import Gate
from .loop import Draw
from .repair import charbonnier

GATE_QUALITY = 60
RUNAWAY = 0.9
# Set14: what must be kept on clean pictures, and gained on those of quality 60, in dB of Y.
CLEAN_LEAST = {4: 28.2, 2: 32.9}
GAIN_LEAST = {4: 0.3, 2: 0.3}


@dataclass
class SpanRecipe:
    """SPAN at a scale of 2 or 4; see `loop.Recipe`."""

    tiles: Tiles
    scale: int = 4
    batch: int = 8
    side: int = 48
    drawn_share: float = 0.15
    name: str = ""
    rate: float = 2e-4
    last_rate: float = 1e-6
    clip: float = 1.0
    warm_up: float = 0.03
    decay: float | None = None
    mix: Mix = Mix(  # noqa: RUF009 (frozen)
        clean=0.3,
        coded=0.95,
        twice=0.15,
        noisy=0.3,
        resized=0.0,
        quality=(30.0, 95.0),
        sigma=8.0,
    )

    def __post_init__(self) -> None:
        self.name = f"span-robust-x{self.scale}"

    def build(self) -> nn.Module:
        """The published network."""
        return published(self.scale)

    def entry(self, net: nn.Module) -> Callable[..., Any]:
        """The network itself."""
        return net

    def batch_of(self, draw: Draw) -> tuple[Tensor, ...]:
        """Small damaged pieces and large clean ones."""
        s, margin = self.scale, 2 * jpeg.BLOCK
        side = (self.side + margin) * s
        large = self.tiles.crops(draw.decide, self.batch, side)
        count = round(self.batch * self.drawn_share)
        if count:
            large[:count] = drawn(draw.decide, count, side).to(large.device)
        small = reduced(large, s)
        bad, (y, x), _ = spoil(small, draw.decide, draw.noise, self.side, self.mix)
        truth = large[..., y * s : (y + self.side) * s, x * s : (x + self.side) * s]
        return bad.contiguous(memory_format=torch.channels_last), truth.contiguous()

    def loss(self, call: Callable[..., Any], *batch: Tensor) -> Tensor:
        """Charbonnier between the enlarged damaged picture and the large clean one."""
        bad, truth = batch
        return charbonnier(call(bad) - truth)

    def look(self, net: nn.Module) -> dict[str, float]:
        """PSNR of Y on held-out tiles, clean and from this program's own JPEG."""
        large = self.tiles.held_out(64 * self.scale)
        if not len(large):
            return {}
        small = reduced(large, self.scale)
        count = len(small)
        half = torch.ones(count, dtype=torch.bool, device=small.device)
        bad = jpeg.compress(small, torch.full((count,), GATE_QUALITY).to(small.device), half)
        found = {}
        for name, x in (("clean", small), (f"q{GATE_QUALITY}", bad)):
            found[name] = measure.psnr_y(measure.to_8_bit(net(x)), large, self.scale)
        return found

    def gates(self, net: nn.Module, folder: Path) -> list[Gate]:
        """Set14, clean and through Pillow's JPEG; `folder` holds `sr_x4/Set14`."""
        clean, damaged = on_pairs(net, folder / "sr_x4" / "Set14", self.scale, GATE_QUALITY)
        before = on_pairs(published(self.scale).eval(), folder / "sr_x4" / "Set14", self.scale)
        gain = damaged - before[1]
        worst = extremes(net)
        return [
            Gate("Set14 clean, PSNR of Y in dB", clean, CLEAN_LEAST[self.scale]),
            Gate(f"Set14 JPEG Q{GATE_QUALITY}, dB over SPAN", gain, GAIN_LEAST[self.scale]),
            Gate("hard edges of opposite colours, farthest from 0..1", worst, RUNAWAY, True),
        ]


def extremes(net: nn.Module) -> float:
    """How far the answer to hard edges leaves [0, 1]; tens where a network runs away."""
    rows, columns = torch.arange(96).view(-1, 1), torch.arange(96)
    stripes = ((rows * 3 + columns * 5) // 160 % 2).float()
    halves = (columns >= 48).float().expand(96, 96)
    worst = 0.0
    for planes in ([stripes] * 3, [halves, 1 - halves, 1 - halves], [1 - halves, halves, halves]):
        with torch.inference_mode():
            y = net(torch.stack(planes)[None].contiguous())
        worst = max(worst, float(y.max()) - 1, -float(y.min()))
    return worst


def published(scale: int) -> nn.Module:
    """SPAN with the published weights, as wallprint uses it."""
    name = f"span-x{scale}"
    net = networks.load(catalog.get(name), store.load(name))
    return net.requires_grad_(True)


def reduced(x: Tensor, scale: int) -> Tensor:
    """The small picture that belongs to a large one: bicubic without aliasing, 8 bits."""
    size = (x.shape[-2] // scale, x.shape[-1] // scale)
    y = F.interpolate(x, size=size, mode="bicubic", align_corners=False, antialias=True)
    return measure.to_8_bit(y)


def on_pairs(
    net: nn.Module, folder: Path, scale: int, quality: int = GATE_QUALITY
) -> tuple[float, float]:
    """Mean PSNR of Y over a set of pairs: clean input, and input of a JPEG quality."""
    clean: list[float] = []
    damaged: list[float] = []
    for path in sorted(folder.glob(f"*_LRx{scale}.png")):
        stem = path.name.split("_")[0]
        found = sorted(folder.glob(f"{stem}_HRx{scale}.*")) or sorted(folder.glob(f"{stem}_HR.*"))
        small, large = measure.load(path), measure.load(found[0])
        large = large[..., : small.shape[-2] * scale, : small.shape[-1] * scale]
        with torch.inference_mode():
            for values, x in ((clean, small), (damaged, measure.as_jpeg(small, quality))):
                values.append(measure.psnr_y(measure.to_8_bit(net(x)), large, scale))
    return sum(clean) / len(clean), sum(damaged) / len(damaged)
