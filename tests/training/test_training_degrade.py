"""Spoiled pieces: in register with the clean ones, spoiled as often and as much as was said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training import degrade, measure
from training.data import Tiles
from training.degrade import Mix

NOTHING = Mix(clean=1.0, resized=0.0)


@pytest.fixture(scope="module")
def tiles(pack: Path) -> Tiles:
    return Tiles(pack, torch.device("cpu"))


def generators(seed: int = 1) -> tuple[torch.Generator, torch.Generator]:
    return torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed)


def test_what_is_not_spoiled_is_the_clean_piece_itself(tiles: Tiles) -> None:
    bad, clean, how_bad = degrade.spoiled(tiles, *generators(), 8, 32, NOTHING)
    assert torch.equal(bad, clean)
    assert bad.shape == (8, 3, 32, 32)
    assert how_bad.eq(0).all()


@pytest.mark.parametrize("mix", [Mix(), Mix(resized=1.0, clean=0.0), Mix(twice=1.0, clean=0.0)])
def test_spoiled_pieces_stay_in_register(tiles: Tiles, mix: Mix) -> None:
    """A shift by one pixel would cost far more than the damage of good qualities."""
    mild = replace(mix, quality=(90.0, 96.0), sigma=1.0)
    bad, clean, _ = degrade.spoiled(tiles, *generators(3), 16, 48, mild)
    for one, truth in zip(bad.split(1), clean.split(1), strict=True):
        here = measure.psnr(one, truth, 4)
        moved = [measure.psnr(one.roll(s, d), truth, 4) for d in (2, 3) for s in (-1, 1)]
        assert here > max(moved)


def test_grid_lies_anywhere(tiles: Tiles) -> None:
    """A network that always sees the grid at the same place would learn the place."""
    phases = set()
    for seed in range(12):
        mix = Mix(clean=0, coded=1, twice=0, noisy=0, resized=0, quality=(5, 6))
        bad, _, _ = degrade.spoiled(tiles, *generators(seed), 8, 64, mix)
        steps = bad.diff(dim=3).abs().mean((0, 1, 2))
        phases.add(int(torch.stack([steps[k::8].mean() for k in range(8)]).argmax()))
    assert len(phases) >= 4


def test_shares_are_kept(tiles: Tiles) -> None:
    bad, clean, how_bad = degrade.spoiled(tiles, *generators(), 400, 16, Mix(clean=0.5, resized=0))
    same = (bad == clean).flatten(1).all(1)
    assert 0.4 < float(same.float().mean()) < 0.65
    assert how_bad[~same].gt(0).all()


def test_severity_is_the_worse_of_the_two() -> None:
    quality, sigma = torch.tensor([100.0, 5.0, 100.0, 52.5]), torch.tensor([0.0, 0.0, 20.0, 4.0])
    torch.testing.assert_close(degrade.severity(quality, sigma), torch.tensor([0.0, 1.0, 1.0, 0.5]))


def test_noise_is_as_strong_as_asked() -> None:
    x = torch.full((2, 3, 128, 128), 0.5)
    noisy = degrade.add_noise(x, torch.tensor([10.0, 0.0]), torch.Generator().manual_seed(1))
    assert float((noisy[0] - x[0]).std() * 255) == pytest.approx(10.0, rel=0.05)
    assert float((noisy[1] - x[1]).abs().max()) <= 0.5 / 255 + 1e-6


def test_same_generators_same_pieces(tiles: Tiles) -> None:
    first, second = (degrade.spoiled(tiles, *generators(5), 8, 32, Mix()) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


def test_held_out_tiles_are_never_trained_on(tiles: Tiles) -> None:
    assert len(tiles.held) == 2
    assert sorted(tiles.held + tiles.used) == list(range(8))
    assert tiles.held_out(64).shape == (2, 3, 64, 64)


def test_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no tiles"):
        Tiles(tmp_path, torch.device("cpu"))
