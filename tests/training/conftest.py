"""A small pack of generated pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from wallprint_testing.scenes import scene


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tile pack of eight pictures of 192 x 192."""
    folder = tmp_path_factory.mktemp("pack")
    (folder / "tiles").mkdir()
    rows = ["tile\tsource\tauthor\tlicence"]
    for i in range(8):
        name = f"tiles/scene-{i}.jpg"
        Image.fromarray(scene(192, i)).save(folder / name, quality=97, subsampling=0)
        rows.append(f"{name}\tgenerated\t\t{'CC0-1.0' if i < 6 else 'CC-BY-4.0'}")
    (folder / "ATTRIBUTION.tsv").write_text("\n".join(rows) + "\n")
    return folder
