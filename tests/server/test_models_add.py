"""`wallprint models add NAME FILE`: a published checkpoint becomes the deblurring network."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Size
from wallprint_server.cli import main
from wallprint_server.models import catalog, mssnet_import, store
from wallprint_server.models.engine import Engine
from wallprint_server.models.networks.mssnet import MSSNet
from wallprint_testing.engines import run_pipeline


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WALLPRINT_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small variant with random weights, as the training writes it."""
    torch.manual_seed(0)
    net = MSSNet.small()
    for parameter in net.parameters():
        if parameter.dim() == 4:
            torch.nn.init.xavier_normal_(parameter, 0.5)
    path = tmp_path_factory.mktemp("official") / "gopro.pt"
    torch.save({"model_state_dict": net.state_dict(), "epoch": 3000}, path)
    return path


@pytest.mark.slow
def test_a_checkpoint_becomes_the_deblurring_network(
    data: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = catalog.deblurrer()
    assert main(["models", "add", "mssnet-gopro", str(checkpoint)]) == 0
    assert "user-mssnet-gopro is now the deblurring network" in capsys.readouterr().out
    spec = catalog.deblurrer()
    assert spec is not None
    assert (spec.name, spec.role, spec.architecture) == ("user-mssnet-gopro", "deblur", "mssnet")
    assert spec.reach_px in mssnet_import.REACHES_PX
    assert spec.name in [row.name for row, _ in store.installed()]

    picture = np.random.default_rng(1).integers(0, 255, (70, 90, 3))
    layout, size = PixelLayout("RGB", "u8"), Size(90, 70)
    engine = Engine("cpu", threads=1)
    off, _ = run_pipeline(picture, layout, size, engine=engine, deblur=0)
    on, report = run_pipeline(picture, layout, size, engine=engine, deblur=100)
    assert np.array_equal(off, picture)
    assert not np.array_equal(on, picture)
    assert report.to_map()["networks"][spec.name] == spec.files[-1].sha256

    assert main(["models", "remove", spec.name]) == 0
    assert catalog.deblurrer() == before
    assert not list((data / "user-models").glob("*mssnet*"))


@pytest.mark.parametrize("kind", ["truncated", "another network", "not a number"])
def test_a_bad_checkpoint_is_one_sentence_and_changes_nothing(
    data: Path,
    checkpoint: Path,
    tmp_path: Path,
    kind: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "bad.pt"
    if kind == "truncated":
        path.write_bytes(checkpoint.read_bytes()[:100_000])
    else:
        state = torch.load(checkpoint, weights_only=True)["model_state_dict"]
        if kind == "another network":
            state["fusion12.weight"] = state["fusion12.weight"][:, :-1].clone()
        else:
            state["fusion12.weight"] = state["fusion12.weight"] * float("nan")
        torch.save({"model_state_dict": state}, path)
    before = catalog.deblurrer()
    assert main(["models", "add", "mssnet-gopro", str(path)]) == 2
    shown = capsys.readouterr().err
    assert "bad.pt was refused" in shown
    assert "Traceback" not in shown
    assert catalog.deblurrer() == before
    assert not list(data.glob("user-models/*"))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["add"], "needs a name and a file"),
        (["add", "../x", "file.pt"], "will not do"),
        (["add", "good", "missing.pt"], "no network file"),
        (["remove", "span-x4"], "cannot be removed"),
        (["remove", "user-nothing"], "no network"),
    ],
)
def test_wrong_calls_say_what_is_wanted(
    data: Path, arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", *arguments]) == 2
    assert text in capsys.readouterr().err


def test_the_newest_of_several_is_used(data: Path) -> None:
    record = {
        "title": "x", "architecture": "mssnet", "role": "deblur", "scale": 1, "multiple": 16,
        "reach_px": 128, "exact": False, "cost": 1.0, "bytes_per_px": 1, "window_px": 512,
        "path": "x",
    }  # fmt: skip
    for age, name in ((100, "user-old"), (10, "user-new"), (1000, "user-oldest")):
        store.write_network(data / "user-models", name, b"x", record)
        stamp = 2e9 - age
        os.utime(data / "user-models" / f"{name}.json", (stamp, stamp))
    spec = catalog.deblurrer()
    assert spec is not None
    assert spec.name == "user-new"
    assert json.loads((data / "user-models" / "user-new.json").read_text())["role"] == "deblur"
