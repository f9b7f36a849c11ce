"""The commands: one for each network, in slices, with weights, card and credits at the end."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from training import __main__ as command
from training import result, span
from training.gates import Gate
from wallprint_server.models.networks import mssnet_tensors
from wallprint_server.models.networks.cleaner import Cleaner
from wallprint_server.models.networks.mssnet import MSSNet
from wallprint_server.models.networks.span import Span
from wallprint_testing.scenes import scene


def arguments(network: str, pack: Path, out: Path, *more: str) -> list[str]:
    common = ["--tiles", str(pack), "--out", str(out), "--device", "cpu", "--threads", "1"]
    return [network, *common, *more]


def test_repair_in_slices(pack: Path, tmp_path: Path) -> None:
    line = arguments("repair", pack, tmp_path, "--steps", "2", "--batch", "2", "--side", "16")
    line += ["--slice", "1e-9"]
    assert command.main(line) == command.GIVE_AGAIN
    assert command.main(line) == command.FINISHED
    weights = tmp_path / "repair.safetensors"
    assert weights.stat().st_size < 16 << 20
    Cleaner().load_state_dict(result.read_weights([weights]))
    card = (tmp_path / "repair.md").read_text()
    for expected in ("2 steps", "seed 1", "CPU", "| CC0-1.0 | 6 |", "| CC-BY-4.0 | 2 |", "--slice"):
        assert expected in card
    assert "Not measured" in card
    credits = (tmp_path / "ATTRIBUTION.tsv").read_text()
    assert credits == (pack / "ATTRIBUTION.tsv").read_text()


def test_mssnet(pack: Path, tmp_path: Path) -> None:
    line = arguments("mssnet", pack, tmp_path, "--steps", "1", "--batch", "1", "--side", "16")
    assert command.main([*line, "--sizes", "3,2,1"]) == command.FINISHED
    tensors = result.read_weights([tmp_path / "mssnet.safetensors"])
    assert len(tensors) == 242
    MSSNet(3, 2, 1).load_state_dict(mssnet_tensors.unpacked(tensors))


def test_span(pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = Span(4).state_dict()

    def without_files(scale: int) -> Span:
        net = Span(scale)
        net.load_state_dict(start)
        return net

    monkeypatch.setattr(span, "published", without_files)
    line = arguments("span-robust", pack, tmp_path, "--steps", "1", "--batch", "1", "--side", "16")
    assert command.main(line) == command.FINISHED
    tensors = result.read_weights([tmp_path / "span-robust-x4.safetensors"])
    assert tensors.keys() == start.keys()
    moved = max(float((tensors[key] - start[key]).abs().max()) for key in start)
    assert 0 < moved < 1e-2
    assert command.main([*line, "--keep", "1"]) == command.FINISHED  # trained, but not kept
    tensors = result.read_weights([tmp_path / "span-robust-x4.safetensors"])
    for key, value in start.items():
        assert torch.equal(tensors[key], value.half().float())


def test_begins_with_earlier_weights(pack: Path, tmp_path: Path) -> None:
    more = ("--steps", "1", "--batch", "1", "--side", "16", "--rate", "1e-9", "--sizes", "3,2,1")
    assert command.main(arguments("mssnet", pack, tmp_path / "a", *more)) == command.FINISHED
    first = tmp_path / "a" / "mssnet.safetensors"
    line = arguments("mssnet", pack, tmp_path / "b", *more, "--seed", "2", "--start", str(first))
    assert command.main(line) == command.FINISHED
    old, new = (result.read_weights([tmp_path / x / "mssnet.safetensors"]) for x in "ab")
    for key, tensor in old.items():
        torch.testing.assert_close(new[key], tensor, atol=1e-5, rtol=1e-3)


def test_keeps_a_share_of_earlier_weights(pack: Path, tmp_path: Path) -> None:
    more = ("--steps", "2", "--batch", "2", "--side", "16")
    assert command.main(arguments("repair", pack, tmp_path / "a", *more)) == command.FINISHED
    first = tmp_path / "a" / "repair.safetensors"
    line = arguments("repair", pack, tmp_path / "b", *more, "--seed", "2")
    with pytest.raises(SystemExit, match="needs --start"):
        command.main([*line, "--keep", "0.5"])
    found = []
    for keep in ("0", "0.5", "1"):
        assert command.main([*line, "--start", str(first), "--keep", keep]) == command.FINISHED
        found.append(result.read_weights([tmp_path / "b" / "repair.safetensors"])["tail.weight"])
    start = result.read_weights([first])["tail.weight"]
    assert not torch.equal(found[0], start)
    assert torch.equal(found[2], start)
    torch.testing.assert_close(found[1], (found[0] + start) / 2, atol=1e-4, rtol=2e-3)


def test_measures_again_what_a_run_left(pack: Path, tmp_path: Path) -> None:
    """On another machine: no picture is trained on, the card keeps the facts and gets numbers."""
    eval_folder = tmp_path / "eval"
    (eval_folder / "jpeg").mkdir(parents=True)
    Image.fromarray(scene(64, 3)).save(eval_folder / "jpeg" / "a.png")
    run = tmp_path / "run"
    line = arguments("repair", pack, run, "--steps", "1", "--batch", "2", "--side", "16")
    assert command.main(line) == command.FINISHED
    weights = (run / "repair.safetensors").read_bytes()
    again = ["measure", "--tiles", str(pack), "--out", str(run), "--eval", str(eval_folder)]
    assert command.main(again) == command.NOT_GOOD_ENOUGH
    card = (run / "repair.md").read_text()
    assert "JPEG Q10, gain in dB of Y" in card
    assert "1 steps" in card
    assert (run / "repair.safetensors").read_bytes() == weights


def test_a_profile_tells_where_the_time_goes(
    pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = arguments("repair", pack, tmp_path, "--batch", "1", "--side", "16", "--profile")
    assert command.main(line) == command.FINISHED
    text = capsys.readouterr().out
    assert "convolution" in text
    assert "for the next batch" in text
    assert not list(tmp_path.glob("*.safetensors"))


def test_gates_measure_what_was_written_and_decide(pack: Path, tmp_path: Path) -> None:
    """An untrained network gains nothing: it is written, and the command says that it fails."""
    eval_folder = tmp_path / "eval"
    (eval_folder / "jpeg").mkdir(parents=True)
    Image.fromarray(scene(64, 3)).save(eval_folder / "jpeg" / "a.png")
    line = arguments("repair", pack, tmp_path, "--steps", "1", "--batch", "2", "--side", "16")
    assert command.main([*line, "--eval", str(eval_folder)]) == command.NOT_GOOD_ENOUGH
    card = (tmp_path / "repair.md").read_text()
    assert "| JPEG Q10, gain in dB of Y |" in card
    assert "failed" in card


def test_gates_know_their_side() -> None:
    assert Gate("gain", 1.2, 1.1).passed
    assert not Gate("gain", 1.0, 1.1).passed
    assert Gate("loss", 0.01, 0.05, most=True).passed
    assert not Gate("loss", 0.2, 0.05, most=True).passed
    assert not Gate("gain", float("nan"), 1.1).passed
    assert not Gate("loss", float("nan"), 0.05, most=True).passed


def test_weights_beyond_float16_are_not_written(tmp_path: Path) -> None:
    facts = result.Facts("a", "b", "c", "d", 1, 1.0, "e", "f", 1, "CC0-1.0", 8, "2")
    with pytest.raises(SystemExit, match="float16"):
        result.write_weights(tmp_path, facts, {"w": torch.tensor([1e6])})
    assert list(tmp_path.iterdir()) == []


def test_large_networks_are_written_in_parts(tmp_path: Path) -> None:
    facts = result.Facts("big", "b", "c", "d", 1, 1.0, "e", "f", 1, "CC0-1.0", 8, "2")
    tensors = {str(i): torch.randn(1 << 20) for i in range(20)}
    files = result.write_weights(tmp_path, facts, tensors)
    assert [file.name for file in files] == [f"big-{i}-of-3.safetensors" for i in range(1, 4)]
    assert max(file.stat().st_size for file in files) <= 16 << 20
    back = result.read_weights(files)
    assert all(torch.equal(back[key], tensors[key].half().float()) for key in tensors)
    shutil.rmtree(tmp_path)
