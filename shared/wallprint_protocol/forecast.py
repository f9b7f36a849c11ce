"""How long a print will take, and what room: remembered from runs on this computer, else estimated.

Time grows with the *work*: source pixels times what the ladder of networks costs for each, and
result pixels. Seconds per work, kept by style and device, foretell the next job at any size. Knows
nothing of how they come about.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from .endpoint import state_dir
from .pixels import PixelLayout
from .print_plan import Settings
from .print_size import Placement, Size

FILE = "speed.json"
_WEIGHT_OF_NEW = 0.5  # one odd run (computer busy) must not spoil the next forecast
_LEAST_WORK = 0.05  # below, the fixed cost of a job is all that is measured
# One unit of work: a megapixel of the source through one network of the faithful style. On one
# core of a desktop processor, seconds (docs/measurements.md); more than 8 cores hardly help.
_CPU_S = 10.0
_MOST_CORES = 8
# Work of the ladders that the planner chooses, by the scale that they reach.
_LADDERS = {
    "faithful": ((1, 0.0), (4, 1.0), (8, 5.0), (16, 17.0), (32, 69.0), (64, 273.0)),
    "enhanced": ((1, 0.0), (4, 40.0), (16, 680.0), (64, 10_920.0)),
}
# Both processes of the server; a tile decides, not the size of the print (docs/measurements.md).
_SERVER_BYTES = {"faithful": 1 << 30, "enhanced": 4 << 30}
_REPAIR_WORK = 0.8
_RESULT_WORK = 0.03  # resampling and sharpening, for each megapixel of the result


def work(settings: Settings, placement: Placement) -> float:
    """Units of work of a job; the networks' own costs are those of `models/catalog.py`."""
    source = placement.window.width * placement.window.height / 1e6
    ladder, wanted = _LADDERS[settings.style], placement.scale / 1.005
    network = next((units for scale, units in ladder if wanted <= scale), ladder[-1][1])
    repair = 0.0 if settings.repair == 0 else _REPAIR_WORK
    return source * (network + repair) + _RESULT_WORK * placement.rect.size.pixels / 1e6


def _path() -> Path:
    return state_dir() / FILE


def _read() -> dict[str, float]:
    try:
        values = json.loads(_path().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(values, dict):
        return {}
    return {k: float(v) for k, v in values.items() if isinstance(v, (int, float)) and v > 0}


def _key(settings: Settings) -> str:
    return f"per work/{settings.style}/{settings.device}"


def remember(settings: Settings, placement: Placement, ms: int) -> None:
    """A job took so long; quietly nothing when the file cannot be written."""
    amount = work(settings, placement)
    if amount < _LEAST_WORK:
        return
    values = _read()
    new = ms / 1000 / amount
    old = values.get(_key(settings), new)
    values[_key(settings)] = old + _WEIGHT_OF_NEW * (new - old)
    temporary = _path().with_name(f"{FILE}.{os.getpid()}")
    with contextlib.suppress(OSError):
        temporary.write_text(json.dumps(values, indent=1), "utf-8")
        os.replace(temporary, _path())


def seconds(settings: Settings, placement: Placement) -> tuple[float, bool]:
    """Expected time of the job, and whether it rests on runs of this computer.

    Without any run the estimate is for this computer's processor; a graphics card is faster.
    """
    amount = work(settings, placement)
    rate = _read().get(_key(settings))
    if rate is not None:
        return rate * amount, True
    return _CPU_S / min(os.cpu_count() or 1, _MOST_CORES) * amount, False


@dataclass(frozen=True)
class Room:
    """Bytes that a job takes.

    Attributes:
        result: pixels of the print, in the document from then on.
        disk: source and result, in files while the job runs.
        server: working memory of the server, on a processor; of a tile, whatever the print's size.
    """

    result: int
    disk: int
    server: int


def room(settings: Settings, layout: PixelLayout, source: Size, placement: Placement) -> Room:
    """What the job will take.

    Args:
        settings: the style and the selection count.
        layout: of the source and of the result.
        source: the layer, px.
        placement: of the job.
    """
    result = placement.out.pixels * layout.bytes_per_pixel
    mask = source.pixels if settings.source == "selection" else 0
    disk = source.pixels * layout.bytes_per_pixel + mask + result
    return Room(result, disk, _SERVER_BYTES[settings.style])
