"""Networks that the user has added: their records, as catalogue rows.

With `--model PATH` (`user_import` makes the record), or for deblurring with `wallprint models add`
(`mssnet_import`). Torch-free.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .catalog import USER_PREFIX, NetworkSpec, Package, SourceFile
from .folders import user_models_dir

OWN = Package("", "")


def find(name: str) -> NetworkSpec | None:
    """The row of a network that the user has added, or None."""
    if not name.startswith(USER_PREFIX) or Path(name).name != name:
        return None
    try:
        record = json.loads((user_models_dir() / f"{name}.json").read_text())
        return to_spec(name, record)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def all_specs() -> list[NetworkSpec]:
    """All of them, by name."""
    names = sorted(path.stem for path in user_models_dir().glob(f"{USER_PREFIX}*.json"))
    return [spec for name in names if (spec := find(name)) is not None]


def newest_deblurrer() -> NetworkSpec | None:
    """The deblurring network that was added last, or None."""
    files = sorted(user_models_dir().glob(f"{USER_PREFIX}*.json"), key=lambda p: -p.stat().st_mtime)
    found = (find(path.stem) for path in files)
    return next((spec for spec in found if spec is not None and spec.role == "deblur"), None)


def to_spec(name: str, record: dict[str, Any]) -> NetworkSpec:
    """A catalogue row from a record."""
    return NetworkSpec(
        name=name,
        title=str(record["title"]),
        architecture=str(record.get("architecture", "spandrel")),
        role=str(record.get("role") or ("repair" if int(record["scale"]) == 1 else "enlarge")),
        style="",
        scale=int(record["scale"]),
        multiple=int(record["multiple"]),
        reach_px=int(record["reach_px"]),
        exact=bool(record["exact"]),
        half=bool(record.get("half", False)),
        licence="the user's own affair",
        source=str(record["path"]),
        paper="",
        package=OWN,
        files=(SourceFile(str(user_models_dir() / f"{name}.safetensors"), str(record["sha256"])),),
        cost=float(record["cost"]),
        bytes_per_px=int(record["bytes_per_px"]),
        window_px=int(record["window_px"]),
    )
