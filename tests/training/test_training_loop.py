"""The loop: learns, stops and goes on bit for bit, is ready in time, survives a bad batch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from training import loop
from training.data import Tiles
from training.degrade import Mix
from training.loop import Draw, Options, Run
from training.mssnet import MssnetRecipe
from training.repair import RepairRecipe


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tiles(pack: Path) -> Tiles:
    return Tiles(pack, torch.device("cpu"))


def repair(tiles: Tiles, **changes: Any) -> RepairRecipe:
    mix = Mix(clean=0, resized=0, quality=(10.0, 30.0), noisy=0.5)
    recipe = RepairRecipe(tiles, batch=4, side=32, width=8, blocks=1, rate=3e-3, mix=mix)
    return replace(recipe, **changes)


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / loop.LOG).read_text().splitlines()]


def test_a_short_training_improves_pictures_never_seen(tiles: Tiles, tmp_path: Path) -> None:
    run = Run(repair(tiles), tmp_path, Options(steps=120))
    before = run.look()
    assert run.go()
    after = run.look()
    assert after["gain_q10"] > before["gain_q10"] + 0.1
    assert after["gain_q10"] > 0.1


@pytest.mark.parametrize("which", ["repair", "mssnet"])
def test_goes_on_bit_for_bit(tiles: Tiles, tmp_path: Path, which: str) -> None:
    if which == "repair":
        recipe: Any = repair(tiles)
    else:
        recipe = MssnetRecipe(tiles, (3, 2, 1), batch=2, batch_b=1, side=32, side_b=48)
    whole = Run(recipe, tmp_path / "whole", Options(steps=10))
    assert whole.go()
    slices = 0
    while True:
        part = Run(recipe, tmp_path / "parts", Options(steps=10, slice_s=1e-9))
        slices += 1
        if part.go():
            break
    assert slices == 10
    assert part.step == whole.step == 10
    for key, tensor in whole.net.state_dict().items():
        assert torch.equal(tensor, part.net.state_dict()[key]), key
    for key, tensor in whole.averaged().state_dict().items():
        assert torch.equal(tensor, part.averaged().state_dict()[key]), key
    for key, tensor in whole.average.items():
        assert torch.equal(tensor, part.average[key]), key


def test_another_seed_is_another_run(tiles: Tiles, tmp_path: Path) -> None:
    runs = []
    for seed in (1, 1, 2):
        run = Run(repair(tiles), tmp_path / f"{len(runs)}", Options(steps=3, seed=seed))
        run.go()
        runs.append(run.average["tail.weight"])
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_another_run_in_the_folder_is_refused(tiles: Tiles, tmp_path: Path) -> None:
    Run(repair(tiles), tmp_path, Options(steps=2)).go()
    with pytest.raises(SystemExit, match="seed 1, not 2"):
        Run(repair(tiles), tmp_path, Options(steps=2, seed=2))


def test_is_ready_in_time_with_the_rate_at_its_end(tiles: Tiles, tmp_path: Path) -> None:
    began = time.monotonic()
    run = Run(repair(tiles), tmp_path, Options(budget_s=3.0))
    assert run.go()
    assert 2.0 < run.seconds < 4.5
    assert time.monotonic() - began < 20
    assert run.step > 20
    last = log(tmp_path)[-1]
    assert last["rate"] < 2e-5
    assert last["progress"] == 1.0


def test_schedule_follows_a_machine_that_becomes_slower(tiles: Tiles, tmp_path: Path) -> None:
    run = Run(repair(tiles), tmp_path, Options(budget_s=100.0))
    for _ in range(400):
        run._advance(0.1)
    assert run.progress == pytest.approx(0.4, abs=0.02)
    for _ in range(60):
        run._advance(1.0)
    assert run.progress == 1.0
    assert 99 < run.seconds <= 101


def test_a_pause_is_no_part_of_the_training(tiles: Tiles, tmp_path: Path) -> None:
    run = Run(repair(tiles), tmp_path, Options(budget_s=100.0))
    for _ in range(400):
        run._advance(0.1)
    run._advance(500.0)
    assert run.progress == pytest.approx(0.4, abs=0.02)
    assert run.seconds == pytest.approx(40.1, abs=0.1)


def test_rate_rises_then_falls(tiles: Tiles) -> None:
    recipe = repair(tiles)
    rates = [loop.rate_at(recipe, p) for p in (0.0, 0.01, 0.02, 0.3, 0.7, 1.0)]
    assert rates[0] < rates[1] < rates[2] == recipe.rate
    assert rates[2] > rates[3] > rates[4] > rates[5] == recipe.last_rate


class Broken:
    """A recipe whose third batch has no number for a loss."""

    name, rate, last_rate, clip, warm_up = "broken", 1e-2, 1e-4, 1.0, 0.1
    decay: float | None = None

    def build(self) -> nn.Module:
        return nn.Linear(1, 1)

    def entry(self, net: nn.Module) -> Callable[..., Any]:
        return net

    def batch_of(self, draw: Draw) -> tuple[Tensor, ...]:
        return (torch.full((1, 1), float("nan") if draw.number == 2 else 1.0),)

    def loss(self, call: Callable[..., Any], *batch: Tensor) -> Tensor:
        value: Tensor = call(batch[0]).square().mean()
        return value

    def look(self, _net: nn.Module) -> dict[str, float]:
        return {}


def test_one_bad_batch_does_not_spoil_the_weights(tmp_path: Path) -> None:
    run = Run(Broken(), tmp_path, Options(steps=5))
    assert run.go()
    assert all(bool(torch.isfinite(p).all()) for p in run.net.parameters())
    assert any("skipped" in entry for entry in log(tmp_path))


def test_half_precision_is_inside_the_network_alone(tiles: Tiles, tmp_path: Path) -> None:
    seen: list[torch.dtype] = []
    recipe = repair(tiles)
    run = Run(recipe, tmp_path, Options(steps=1, half=True))
    run.net.get_submodule("head").register_forward_hook(lambda *a: seen.append(a[2].dtype))
    losses: list[torch.dtype] = []
    original = recipe.loss

    def spy(call: Callable[..., Any], *batch: Tensor) -> Tensor:
        loss = original(call, *batch)
        losses.append(loss.dtype)
        return loss

    recipe.loss = spy  # type: ignore[method-assign]
    run.go()
    assert seen[0] == torch.bfloat16
    assert losses == [torch.float32]
