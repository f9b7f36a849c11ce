"""Checkpoints of a training run: everything that a run needs to go on as if it had not stopped.

    RUN/checkpoint/state.json                    numbers of the run, names of the parts
    RUN/checkpoint/part-NN.safetensors           weights, their average, optimiser; <= 16 MiB each

Written beside the old one and put in its place at once. Knows nothing of networks.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

PART_BYTES = 15 << 20  # leaves room for the header within 16 MiB
FOLDER = "checkpoint"


def save(run: Path, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
    """Put a checkpoint in place of the last one.

    Args:
        run: folder of the run.
        tensors: any, by name.
        numbers: plain values.
    """
    fresh, old, final = (run / f"{FOLDER}{suffix}" for suffix in (".new", ".old", ""))
    for folder in (fresh, old):
        shutil.rmtree(folder, ignore_errors=True)
    fresh.mkdir(parents=True)
    parts = split(tensors)
    for i, part in enumerate(parts):
        safetensors.torch.save_file(part, fresh / f"part-{i:02d}.safetensors")
    state = {**numbers, "parts": len(parts)}
    (fresh / "state.json").write_text(json.dumps(state, indent=1))
    if final.exists():
        final.rename(old)
    fresh.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def split(tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """In order, in parts of at most PART_BYTES (but at least one tensor each), on the CPU."""
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        grown = size + tensor.numel() * tensor.element_size()
        if parts[-1] and grown > PART_BYTES:
            parts.append({})
            grown -= size
        parts[-1][name] = tensor.detach().cpu().contiguous().clone()
        size = grown
    return parts


def load(run: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and numbers of the last checkpoint, or None if there is none.

    A run that was ended while a checkpoint was put in place has it under its other name.
    """
    for suffix in ("", ".old"):
        folder = run / f"{FOLDER}{suffix}"
        if (folder / "state.json").is_file():
            numbers: dict[str, Any] = json.loads((folder / "state.json").read_text())
            tensors: dict[str, Tensor] = {}
            for i in range(numbers.pop("parts")):
                tensors |= safetensors.torch.load_file(folder / f"part-{i:02d}.safetensors")
            return tensors, numbers
    return None
