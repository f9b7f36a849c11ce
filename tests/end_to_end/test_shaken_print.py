"""A shaken photograph through the command: sharp again, told, and the same when made again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import shift
from skimage import data


def wallprint(*arguments: str | Path) -> dict[str, Any]:
    """The line of --json; a server of this run only."""
    command = [
        sys.executable, "-m", "wallprint_server", *map(str, arguments), "--server", "embedded",
        "--json",
    ]  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if k != "WALLPRINT_SERVER"}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def shaken(picture: np.ndarray) -> np.ndarray:
    """By 12 px to the right, 4 px down, and a swing across, in linear light."""
    light = (picture / 255.0) ** 2.2
    t = np.linspace(-0.5, 0.5, 25)
    ways = zip(4 * t + 5 * np.sin(np.pi * t) ** 2, 12 * t, strict=True)
    views = [shift(light, (y, x, 0), order=3, mode="mirror").clip(0, 1) for y, x in ways]
    return (255 * np.mean(views, 0) ** (1 / 2.2)).round().astype(np.uint8)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    inside = np.s_[16:-16, 16:-16]
    return float(10 * np.log10(255**2 / ((a[inside].astype(float) - b[inside]) ** 2).mean()))


@pytest.mark.slow
def test_a_shaken_photograph_becomes_sharp_and_the_print_can_be_made_again(tmp_path: Path) -> None:
    sharp = data.astronaut()[:384, 40:488]
    taken = shaken(sharp)
    Image.fromarray(taken).save(tmp_path / "photo.png")
    made = wallprint(
        "enhance", tmp_path / "photo.png", "-o", tmp_path / "print.tif", "--print", "448x384px",
        "--sharpen", "none", "--device", "cpu", "--passport",
    )  # fmt: skip
    assert len(made["networks"]["dering"]) == 64
    with Image.open(tmp_path / "print.tif") as picture:
        result = np.asarray(picture)
    assert psnr(result, sharp) > psnr(taken, sharp) + 2.5
    passport = json.loads((tmp_path / "print.tif.passport.json").read_text())
    stage = passport["stages"][0]
    assert (stage["stage"], stage["network"]) == ("deblur", "dering")
    assert stage["shake"]["px"] == pytest.approx(12, rel=0.25)
    again = wallprint("reproduce", tmp_path / "print.tif", tmp_path / "photo.png")
    assert again["same"] is True
