"""How long a print will take: remembered from the runs on this computer, never guessed.

A job's time in the worker grows with the source's pixels, so seconds per source megapixel, kept by
style and device, foretell the next one. Knows nothing of how they come about.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from .endpoint import state_dir
from .print_plan import Settings
from .print_size import Size

FILE = "speed.json"
_WEIGHT_OF_NEW = 0.5  # one odd run (computer busy) must not spoil the next forecast
_LEAST_MEGAPIXELS = 0.05  # below, the fixed cost of a job is all that is measured


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
    repair = "repair" if settings.repair != 0 else "plain"
    return f"{settings.style}/{settings.device}/{repair}"


def remember(settings: Settings, source: Size, ms: int) -> None:
    """A job of this size took so long; quietly nothing when the file cannot be written."""
    megapixels = source.pixels / 1e6
    if megapixels < _LEAST_MEGAPIXELS:
        return
    values = _read()
    new = ms / 1000 / megapixels
    old = values.get(_key(settings), new)
    values[_key(settings)] = old + _WEIGHT_OF_NEW * (new - old)
    temporary = _path().with_name(f"{FILE}.{os.getpid()}")
    with contextlib.suppress(OSError):
        temporary.write_text(json.dumps(values, indent=1), "utf-8")
        os.replace(temporary, _path())


def seconds(settings: Settings, source: Size) -> float | None:
    """Expected time of the job; None before the first run with these settings."""
    rate = _read().get(_key(settings))
    return None if rate is None else rate * source.pixels / 1e6
