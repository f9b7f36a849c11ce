"""Pieces with the rings of a deconvolution: what is missed, what is left, and that all belong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training import __main__ as command
from training import dering, measure, result
from training.blur import BlurMix
from training.data import Tiles
from training.dering import DeringRecipe, Stock
from training.loop import Draw
from wallprint_server.models.networks.deringer import Deringer

CPU = torch.device("cpu")
PURE = BlurMix(coded=0, sigma=0)


def draw(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_way_is_missed_by_a_little_and_not_by_its_place() -> None:
    real, found = dering.ways(draw(), 400)
    apart = found - real
    missed = apart.square().sum(2).mean(1).sqrt()
    inside = real.abs().amax((1, 2)) < dering.REACH_PX - 3  # not cut off
    assert float(missed[inside].min()) > 0.15
    assert float(missed.max()) <= dering.FAR_MISS_PX[1]
    assert 0.05 < float((missed > dering.MISS_PX[1]).float().mean()) < 0.2
    assert float(apart.mean(1)[inside].abs().max()) < 1e-4
    # A short way is known better.
    extent = (real.amax(1) - real.amin(1)).amax(1)
    assert float((missed / extent)[inside].max()) < 0.25


def test_what_is_deconvolved_is_nearer_to_the_truth_and_has_rings(pack: Path) -> None:
    tiles = Tiles(pack, CPU)
    stock = dering.stocked(tiles.held_out(192), draw(), draw(), PURE)
    assert stock.light.shape == stock.taken.shape == stock.sharp.shape == (2, 3, 128, 128)
    assert stock.light.dtype == torch.uint8
    for light, taken, sharp in zip(stock.light, stock.taken, stock.sharp, strict=True):
        before = measure.psnr(taken / 255, sharp / 255, 16)
        assert measure.psnr(light / 255, sharp / 255, 16) > before + 1
    assert not torch.equal(stock.light, stock.sharp)


def test_the_three_pieces_of_a_batch_lie_at_the_same_place(pack: Path) -> None:
    recipe = DeringRecipe(Tiles(pack, CPU), batch=3, side=24)
    same = torch.randint(256, (5, 3, 40, 40), generator=draw()).byte()
    recipe._stock = Stock(same, same, same)
    seen = set()
    for number in range(12):
        light, taken, sharp = recipe.batch_of(Draw(number, 0.0, draw(number), draw(number)))
        assert light.shape == (3, 3, 24, 24)
        assert torch.equal(light, sharp)
        assert torch.equal(taken, sharp)
        seen.add(float(light[0, 0, 0, 0]))
    assert len(seen) > 6


def test_the_stock_is_the_same_for_everyone(pack: Path) -> None:
    first, second = (dering.stock_of(Tiles(pack, CPU), 3, BlurMix(coded=1.0)) for _ in range(2))
    assert torch.equal(first.light, second.light)
    assert torch.equal(first.taken, second.taken)


def test_the_command(pack: Path, tmp_path: Path) -> None:
    line = ["dering", "--tiles", str(pack), "--out", str(tmp_path), "--device", "cpu"]
    line += ["--threads", "1", "--steps", "2", "--batch", "2", "--side", "32", "--pieces", "2"]
    assert command.main(line) == command.FINISHED
    weights = tmp_path / "dering.safetensors"
    assert weights.stat().st_size < 16 << 20
    Deringer().load_state_dict(result.read_weights([weights]))
    assert "rings" in (tmp_path / "dering.md").read_text()
    assert '"more"' in (tmp_path / "log.jsonl").read_text()


def test_the_gates_count_what_the_network_adds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two pictures, one without a shake; a network that does nothing adds nothing."""
    found = {"a_blur.png": (3.0, 0.4), "b_blur.png": (0.0, 0.0)}
    monkeypatch.setattr(dering, "gains", lambda _net, path: found[path.name])
    folder = tmp_path / "deblur" / "kodak_synth"
    folder.mkdir(parents=True)
    for name in found:
        (folder / name).touch()
    recipe = DeringRecipe(None)  # type: ignore[arg-type]
    gates = recipe.gates(Deringer(), tmp_path)
    assert [gate.value for gate in gates] == pytest.approx([1.5, 0.2])
