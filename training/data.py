"""The pack of photograph tiles: decoded once, cut into random pieces.

    PACK/tiles/*.jpg        512 x 512
    PACK/ATTRIBUTION.tsv    source, author and licence of each tile

Knows nothing of what is done to the pieces. What is drawn depends on the generator alone.
"""

from __future__ import annotations

import csv
from collections import Counter
from math import pi
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

HELD_OUT = 16


class Tiles:
    """Tiles in memory, one byte a value.

    Attributes:
        pixels: (N, 3, H, W) uint8, on the device.
        folder: of the pack.
    """

    def __init__(self, folder: Path, device: torch.device, limit: int | None = None) -> None:
        """Decode the pack.

        Args:
            folder: of the pack.
            device: where the pixels are kept.
            limit: use only so many tiles, spread over the pack.

        Raises:
            SystemExit: no tiles there.
        """
        files = sorted((folder / "tiles").glob("*.jpg"))
        if not files:
            raise SystemExit(f"There are no tiles in {folder / 'tiles'}; give the pack's folder.")
        if limit is not None and limit < len(files):
            files = [files[i * len(files) // limit] for i in range(limit)]
        pictures = [np.asarray(Image.open(file).convert("RGB")) for file in files]
        self.pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).to(device)
        self.pixels = self.pixels.contiguous()
        self.folder = folder
        # For a look at the progress: spread over the pack, never trained on.
        held = min(HELD_OUT, len(files) // 4)
        every = len(files) // held if held else len(files) + 1
        self.held = [i for i in range(len(files)) if held and i % every == every // 2][:held]
        self.used = [i for i in range(len(files)) if i not in set(self.held)]

    def crops(self, generator: torch.Generator, count: int, side: int) -> Tensor:
        """Random pieces, turned and mirrored.

        Args:
            generator: on the CPU.
            count: B.
            side: of each piece, px.

        Returns:
            (B, 3, side, side) float32 in [0, 1].
        """
        height, width = self.pixels.shape[-2:]
        which = torch.randint(len(self.used), (count,), generator=generator)
        tops = torch.randint(height - side + 1, (count, 1, 1), generator=generator)
        lefts = torch.randint(width - side + 1, (count, 1, 1), generator=generator)
        turned, up, left = (torch.randint(2, (3, count, 1, 1), generator=generator) > 0).unbind()
        tile = torch.tensor(self.used)[which].view(-1, 1, 1)
        # Where each pixel comes from, for all pieces at once: a GPU would wait for single cuts.
        device = self.pixels.device
        at = torch.arange(side, device=device)
        tile, tops, lefts, turned, up, left = (
            t.to(device) for t in (tile, tops, lefts, turned, up, left)
        )
        rows = torch.where(turned, at.view(1, 1, -1), at.view(1, -1, 1))
        columns = torch.where(turned, at.view(1, -1, 1), at.view(1, 1, -1))
        rows = torch.where(up, side - 1 - rows, rows) + tops
        columns = torch.where(left, side - 1 - columns, columns) + lefts
        pieces = self.pixels[tile, :, rows, columns]  # (B, side, side, 3)
        return pieces.permute(0, 3, 1, 2).float().contiguous() / 255

    def held_out(self, side: int) -> Tensor:
        """The middle of every tile that is never trained on, (n, 3, side, side) in [0, 1]."""
        height, width = self.pixels.shape[-2:]
        top, left = (height - side) // 2, (width - side) // 2
        return self.pixels[self.held, :, top : top + side, left : left + side].float() / 255


def drawn(generator: torch.Generator, count: int, side: int) -> Tensor:
    """Pieces that no photograph has: hard edges and stripes in the strongest colours.

    A network that has never met them may answer with values far beyond black and white.

    Args:
        generator: on the CPU.
        count: B.
        side: of each piece, px.

    Returns:
        (B, 3, side, side) float32 in [0, 1], on the CPU, edges one pixel soft.
    """

    def uniform(low: float, high: float) -> Tensor:
        drawn = torch.rand(count, 1, 1, generator=generator)
        return low + (high - low) * drawn

    rows, columns = torch.arange(side).view(1, -1, 1).float(), torch.arange(side).view(1, 1, -1)
    masks = []
    for _ in range(2):
        angle = uniform(0.0, 2 * pi)
        # Upright and level edges are the most frequent ones in screens and in print.
        angle = torch.where(uniform(0, 1) < 0.4, (angle / (pi / 2)).round() * (pi / 2), angle)
        across = rows * angle.sin() + columns * angle.cos()
        period = side / 2 ** uniform(-1.0, 5.0)
        wave = ((across / period + uniform(0, 1)) % 1.0 - 0.5).abs() - 0.25
        masks.append((wave * period + 0.5).clamp(0, 1).unsqueeze(1))
    colours = torch.rand(count, 3, 3, 1, 1, generator=generator)
    pure = torch.rand(count, 3, 1, 1, 1, generator=generator) < 0.7
    colours = torch.where(pure, colours.round(), colours)
    first, second, third = colours.unbind(1)
    return torch.lerp(torch.lerp(first, second, masks[0]), third, masks[1] * 0.5 * pure[:, 2])


def licences(folder: Path) -> dict[str, int]:
    """Number of tiles for each licence, the most frequent first; {} without a list."""
    path = folder / "ATTRIBUTION.tsv"
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return dict(Counter(row["licence"] for row in rows).most_common())
