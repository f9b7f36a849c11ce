"""Golden pictures: the whole pipeline with the real networks must not change unnoticed.

The source is made by a formula; the results lie beside this file. After a change that is meant to
change pixels: look at the new result, then `PYTHONPATH=tests python tests/golden/test_golden.py`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Size
from wallprint_server.models.engine import Engine
from wallprint_testing.engines import run_pipeline

HERE = Path(__file__).parent
# Levels of 255. Other processors and thread counts round differently, and a network amplifies that.
MAX_DIFFERENCE, MEAN_DIFFERENCE = 3, 0.05
CASES = {
    "faithful-x2": (Size(64, 64), {"sharpen": "none"}),
    "faithful-x1.6-matte": (Size(51, 51), {"sharpen": "matte"}),
    "faithful-x2-repair": (Size(64, 64), {"sharpen": "none", "repair": 80}),
    "smaller": (Size(20, 20), {"sharpen": "glossy"}),
}


def source() -> np.ndarray:
    """(32, 32, 3) with a hard slanted edge, fine lines, a gradient and a coloured dot."""
    y, x = np.mgrid[:32, :32].astype(float)
    picture = np.repeat((60 + 3 * x)[..., None], 3, 2)
    picture[(x + 0.4 * y) > 26] = [200, 190, 170]
    picture[20:30, 2:14] = np.where((x + y)[20:30, 2:14, None] % 3 < 1, 30, 220)
    picture[np.hypot(x - 8, y - 8) < 4] = [190, 40, 50]
    return np.clip(picture, 0, 255).round()


def render(name: str) -> np.ndarray:
    """The result of a case, (H, W, 3) uint8."""
    out, options = CASES[name]
    result, _ = run_pipeline(
        source(), PixelLayout("RGB", "u8"), out, engine=Engine("cpu"), **options
    )
    return result


@pytest.mark.parametrize("name", sorted(CASES))
def test_golden(name: str, tmp_path: Path) -> None:
    result = render(name)
    expected = np.asarray(Image.open(HERE / f"{name}.png"))
    difference = np.abs(result.astype(int) - expected)
    histogram = np.bincount(difference.ravel(), minlength=8)
    if difference.max() > MAX_DIFFERENCE or difference.mean() > MEAN_DIFFERENCE:
        Image.fromarray(result).save(tmp_path / "found.png")
        Image.fromarray(expected).save(tmp_path / "expected.png")
        pytest.fail(f"differences by level: {histogram.tolist()}; both pictures in {tmp_path}")


if __name__ == "__main__":
    for case in CASES:
        Image.fromarray(render(case)).save(HERE / f"{case}.png")
