"""The main job with the real networks: a JPEG becomes a print through a server of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wallprint_server.models import store


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """64 x 48 px: a bright disc on a gradient, with a soft and a hard edge."""
    y, x = np.mgrid[0:48, 0:64]
    base = np.stack([60 + x, 90 + y, 150 - x / 2], axis=-1)
    base[np.hypot(x - 30, y - 24) < 14] = (230, 220, 200)
    Image.fromarray(base.astype(np.uint8)).save(tmp_path / "photo.jpg", quality=92)
    return tmp_path / "photo.jpg"


def test_jpeg_to_print_with_the_real_networks(photograph: Path) -> None:
    """`--server embedded`, started by this program itself: exact size, true tones, sharper edge."""
    states = {spec.name: state for spec, state in store.installed()}
    if states["span-x4"] == store.MISSING:
        pytest.skip("span-x4 is not here: wallprint models pull span-x4")
    target = photograph.with_name("print.tif")
    command = [
        sys.executable, "-m", "wallprint_server", "enhance", str(photograph), "-o", str(target),
        "--print", "4x3cm", "--ppi", "150", "--device", "cpu", "--server", "embedded", "--json",
    ]  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if k != "WALLPRINT_SERVER"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=180)
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["width"], summary["height"]) == (236, 177)  # 40 mm, 30 mm at 150 ppi
    # The photograph is a JPEG of quality 92 and shows it.
    assert summary["networks"]["span-robust-x4"]
    assert summary["device"].startswith("CPU")
    with Image.open(target) as picture:
        assert picture.info["dpi"] == (150, 150)
        found = np.asarray(picture).astype(float)
    with Image.open(photograph) as picture:
        small = np.asarray(picture).astype(float)
        plain = np.asarray(picture.resize((236, 177), Image.Resampling.BICUBIC)).astype(float)
    assert found.shape == (177, 236, 3)
    assert np.abs(found.mean((0, 1)) - small.mean((0, 1))).max() < 1
    row = 177 * 24 // 48
    steepest = [np.abs(np.diff(rows[row, :, 1])).max() for rows in (found, plain)]
    assert steepest[0] > 1.2 * steepest[1]
