"""Checkpoints: in files that are small enough, whole or not there, the same numbers back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training import checkpoint


def test_same_back_in_small_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "PART_BYTES", 1000)
    tensors = {f"t{i}": torch.randn(10, i + 1) for i in range(30)}
    tensors["adam-step/t0"] = torch.tensor(7.0)
    checkpoint.save(tmp_path, tensors, {"step": 3, "progress": 0.1 + 0.2})
    files = sorted((tmp_path / "checkpoint").glob("*.safetensors"))
    assert len(files) > 5
    found = checkpoint.load(tmp_path)
    assert found is not None
    back, numbers = found
    assert back.keys() == tensors.keys()
    for key, tensor in tensors.items():
        assert torch.equal(back[key], tensor)
    assert numbers == {"step": 3, "progress": 0.1 + 0.2}


def test_parts_of_the_largest_network_stay_below_16_mib() -> None:
    tensors = {str(i): torch.empty(180, 180, 3, 3, dtype=torch.float32) for i in range(60)}
    sizes = [sum(t.numel() * 4 for t in part.values()) for part in checkpoint.split(tensors)]
    assert sum(sizes) == 60 * 180 * 180 * 9 * 4
    assert max(sizes) <= (16 << 20) - 65536
    assert len(sizes) < 7


def test_ended_while_putting_in_place(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, {"a": torch.ones(2)}, {"step": 1})
    (tmp_path / "checkpoint").rename(tmp_path / "checkpoint.old")
    (tmp_path / "checkpoint.new").mkdir()  # half written
    found = checkpoint.load(tmp_path)
    assert found is not None
    assert found[1]["step"] == 1
    checkpoint.save(tmp_path, {"a": torch.zeros(2)}, {"step": 2})
    found = checkpoint.load(tmp_path)
    assert found is not None
    assert found[1]["step"] == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint"]


def test_none_without_one(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path) is None
