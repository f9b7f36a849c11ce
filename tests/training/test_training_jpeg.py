"""Our JPEG against a real one, and what follows from its grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from training import jpeg, measure
from wallprint_testing.scenes import scene


def picture(height: int = 176, width: int = 187, seed: int = 1) -> Tensor:
    pixels = np.array(scene(192, seed)[:height, :width])
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def ours(x: Tensor, quality: int, half: bool) -> Tensor:
    return jpeg.compress(x, torch.tensor([quality]), torch.tensor([half]))


@pytest.mark.parametrize("half", [False, True], ids=["4:4:4", "4:2:0"])
@pytest.mark.parametrize("quality", [5, 10, 30, 60, 80, 95])
def test_equals_pillow_nearly(quality: int, half: bool) -> None:
    """A decoder may round otherwise (the standard allows it), but by no more than that."""
    x = picture()
    theirs = measure.as_jpeg(x, quality, half_chroma=half)
    found = ours(x, quality, half)
    assert found.shape == x.shape
    off = (found - theirs).abs() * 255
    damage = float((theirs - x).abs().mean() * 255)
    assert float(off.mean()) < min(0.6, 0.35 * damage)
    assert float((off <= 1.01).float().mean()) > 0.85


def test_halves_differ_from_full_colour_as_pillows_do() -> None:
    """Taking one for the other would be seen by the comparison above."""
    x = picture()
    own = (ours(x, 80, True) - ours(x, 80, False)).abs().mean() * 255
    off = (ours(x, 80, True) - measure.as_jpeg(x, 80, half_chroma=True)).abs().mean() * 255
    assert float(own) > 2 * float(off)


def test_each_picture_has_its_own_quality_and_colour() -> None:
    x = torch.cat([picture(seed=1), picture(seed=2), picture(seed=3)])
    quality, half = torch.tensor([10, 50, 90]), torch.tensor([True, False, True])
    together = jpeg.compress(x, quality, half)
    for i in range(3):
        one = jpeg.compress(x[i : i + 1], quality[i : i + 1], half[i : i + 1])
        assert torch.equal(together[i : i + 1], one)


def test_tables_are_those_of_the_library() -> None:
    tables = jpeg.quality_tables(torch.tensor([50, 10, 90, 100]))
    assert tables[0, 0].flatten().int().tolist() == list(jpeg.LUMA_TABLE)
    assert tables[1, 0, 0, 0] == 80  # 16 at 500 %
    assert tables[1, 1, 7, 7] == 255  # 495, but no more than a byte
    assert tables[2, 0, 0, 0] == 3
    assert tables[3].eq(1).all()


def test_a_second_time_on_the_same_grid_costs_nothing_and_on_another_it_does() -> None:
    x = picture(176, 176)
    once = ours(x, 30, False)
    again = (ours(once, 30, False) - once).abs().mean()
    moved = once[..., 3:, 5:]
    shifted = (ours(moved, 30, False) - moved).abs().mean()
    assert float(shifted) > 4 * float(again)


def test_flat_grey_stays() -> None:
    x = torch.full((1, 3, 20, 20), 128 / 255)
    assert torch.equal(ours(x, 5, True), x)
