"""The evaluation pictures: used where WALLPRINT_DATA points to them, else skipped and counted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def eval_data(*parts: str) -> Path:
    """A path below WALLPRINT_DATA/eval; skips the test where it is not."""
    root = os.environ.get("WALLPRINT_DATA")
    if not root:
        pytest.skip("WALLPRINT_DATA is not set: no evaluation pictures")
    path = Path(root, "eval", *parts)
    if not path.exists():
        pytest.skip(f"no {path}")
    return path
