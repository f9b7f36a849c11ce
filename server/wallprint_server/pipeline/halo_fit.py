"""Fits the output sharpening to the picture's own edges, for a halo that was asked for.

Chooses the spots of the print that are measured, and moves the aim until the meter reads what was
wanted. Knows nothing of networks and tiles: who asks renders the spots.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ..imaging.tiles import Axis
from .edge_fit import Floats, Luma
from .halo import OutputSharpening
from .halo_meter import measure_halo
from .sharpen import sharpen

Part = tuple[int, int]
# The best so many of the spots on a grid; each as large as a few places of the meter.
PROBE_PX, PROBES_A_SIDE, PROBES, ROUNDS = 160, 8, 6, 3
LEAST_AIM_MM = 0.05


def spots(axes: tuple[Axis, Axis], luma: Callable[[Part, Part], Luma]) -> list[tuple[Part, Part]]:
    """Print columns and rows of the spots with the hardest changes, spread over the whole print.

    Args:
        axes: across and down, from print to source.
        luma: (h, w) levels of 255 of source columns and rows.
    """
    width, height = (min(PROBE_PX, axis.out_px) for axis in axes)
    found = []
    for y in _starts(axes[1].out_px, height):
        for x in _starts(axes[0].out_px, width):
            xs, ys = (x, x + width), (y, y + height)
            levels = luma(axes[0].support(*xs, 1.0), axes[1].support(*ys, 1.0))
            bends = (np.abs(np.diff(levels, 2, axis)) for axis in (0, 1))
            hardest = max(float(np.quantile(bend, 0.98)) if bend.size else 0.0 for bend in bends)
            found.append((hardest, xs, ys))
    found.sort(key=lambda spot: -spot[0])
    return [(xs, ys) for _, xs, ys in sorted(found[:PROBES], key=lambda spot: spot[2])]


def _starts(length: int, part: int) -> list[int]:
    """Where parts begin, from one end to the other: as many as fill it, PROBES_A_SIDE at most."""
    count = min(PROBES_A_SIDE, -(-length // part))
    return [(length - part) * i // max(1, count - 1) for i in range(count)]


def fitted(
    before: Floats, wanted_mm: float, ppi: float, make: Callable[[float], OutputSharpening | None]
) -> OutputSharpening | None:
    """The sharpening that gives spots of the print the halo that was asked for.

    The closed form begins; what real edges, which are no Gaussians, make of it is measured, and the
    aim moved by what is missing.

    Args:
        before: (N, h, w) luma of the spots without sharpening, levels of 255.
        wanted_mm: width of the halo.
        ppi: of the print.
        make: the closed form, for a halo in mm.
    """
    aim_mm = wanted_mm
    how = make(aim_mm)
    planes = torch.from_numpy(before[:, None] / 255).float()
    for _ in range(ROUNDS):
        if how is None or how.narrowest:
            break
        made = torch.cat([sharpen(plane[None], how) for plane in planes])
        found = measure_halo(before, made[:, 0].double().numpy() * 255, how.halo_px)
        if not found.edges:
            break
        aim_mm += wanted_mm - found.width_px / ppi * 25.4
        how = make(min(max(aim_mm, LEAST_AIM_MM), 2 * wanted_mm))
    return how
