"""Network files that users bring: nothing in them runs, nothing of them is believed."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch

from wallprint_protocol.errors import BadInput, ServerTrouble
from wallprint_server.models import catalog, store, user_import, user_models


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WALLPRINT_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


class Evil:
    """Unpickled, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def evil(folder: Path) -> Path:
    torch.save({"params": Evil(folder / "pwned")}, folder / "evil.pth")
    return folder / "evil.pth"


def plain_pickle(folder: Path) -> Path:
    (folder / "old.ckpt").write_bytes(pickle.dumps(Evil(folder / "pwned")))
    return folder / "old.ckpt"


def bomb(folder: Path) -> Path:
    """One number that claims to be 8 GiB."""
    torch.save({"a": torch.zeros(1).expand(1 << 31)}, folder / "bomb.pth")
    return folder / "bomb.pth"


def truncated(folder: Path) -> Path:
    path = folder / "half.pth"
    torch.save({"a.weight": torch.zeros(64, 3, 3, 3)}, path)
    path.write_bytes(path.read_bytes()[:3000])
    return path


def not_finite(folder: Path) -> Path:
    safetensors.torch.save_file(
        {"a.weight": torch.tensor([1.0, float("nan")])}, folder / "nan.safetensors"
    )
    return folder / "nan.safetensors"


def huge_header(folder: Path) -> Path:
    table = b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'
    (folder / "claim.safetensors").write_bytes(len(table).to_bytes(8, "little") + table)
    return folder / "claim.safetensors"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (evil, "code or objects"),
        (plain_pickle, "code or objects"),
        (bomb, "more than 6 GiB"),
        (truncated, "damaged"),
        (not_finite, "'a.weight' has numbers that are not finite"),
        (huge_header, "damaged"),
    ],
)
def test_bad_files_are_refused_in_one_sentence(make, says: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=says) as caught:
        user_import.add(make(tmp_path))
    assert caught.value.code == "E_MODEL_UNTRUSTED"
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "pwned").exists()
    assert user_models.all_specs() == []


def test_the_evil_file_would_have_worked(tmp_path: Path) -> None:
    """Without the child's reader it does run: the test above can fail."""
    torch.load(evil(tmp_path), weights_only=False)
    assert (tmp_path / "pwned").is_dir()


def test_files_that_are_no_networks_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    (tmp_path / "empty.pth").write_bytes(b"")
    for name, code in (
        ("none.pth", "E_MODEL_NOT_FOUND"),
        ("photo.jpg", "E_MODEL_UNTRUSTED"),
        ("empty.pth", "E_MODEL_UNTRUSTED"),
    ):
        with pytest.raises(BadInput, match=name) as caught:
            user_import.add(tmp_path / name)
        assert caught.value.code == code


@pytest.mark.skipif(
    importlib.util.find_spec("spandrel") is not None, reason="spandrel is installed here"
)
def test_without_spandrel_the_message_says_how_to_get_it(tmp_path: Path) -> None:
    path = tmp_path / "fine.pth"
    torch.save({"params": {"a.weight": torch.zeros(3, 3)}}, path)
    assert zipfile.is_zipfile(path)
    with pytest.raises(BadInput, match=r"pip install 'wallprint\[models\]'"):
        user_import.add(path)


def keep(data: Path, name: str, content: bytes) -> None:
    record = {
        "title": "mine.pth (your own)",
        "path": "/home/me/mine.pth",
        "scale": 3,
        "multiple": 8,
        "reach_px": 32,
        "exact": False,
        "cost": 2.5,
        "bytes_per_px": 50_000,
        "window_px": 320,
    }
    store.write_network(data / "user-models", name, content, record)


def test_a_kept_network_is_a_row_of_the_catalogue(data: Path) -> None:
    content = safetensors.torch.save({"a": torch.ones(2)})
    keep(data, "user-mine-01234567", content)
    spec = catalog.get("user-mine-01234567")
    assert (spec.scale, spec.multiple, spec.reach_px, spec.role) == (3, 8, 32, "enlarge")
    assert (spec, store.READY) in store.installed()
    assert torch.equal(store.load(spec.name)["a"], torch.ones(2))
    path = Path(spec.files[0].path)
    path.write_bytes(content[:-1] + b"\x01")
    with pytest.raises(ServerTrouble, match="add it again"):
        store.load(spec.name)
    record = path.with_suffix(".json")
    record.write_text(json.dumps({"scale": 3}))
    with pytest.raises(BadInput, match="There is no network"):
        catalog.get(spec.name)


class Shrug(torch.nn.Module):
    """Enlarges by 2; reaches `reach` px when `reach` is not 0, else over the whole tile."""

    def __init__(self, reach: int) -> None:
        super().__init__()
        self.reach = reach

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.reach:
            x = torch.nn.functional.avg_pool2d(
                x, 2 * self.reach + 1, stride=1, padding=self.reach, count_include_pad=False
            )
        else:
            x = x - x.mean() + 0.5
        return torch.nn.functional.interpolate(x, scale_factor=2.0)


@pytest.mark.parametrize(("reach", "border", "exact"), [(3, 8, True), (20, 24, True)])
def test_the_border_is_measured(reach: int, border: int, exact: bool) -> None:
    found = user_import._measure(Shrug(reach), 2, 1)
    assert (found["reach_px"], found["exact"]) == (border, exact)


def test_a_network_that_sees_the_whole_tile_is_not_exact() -> None:
    found = user_import._measure(Shrug(0), 2, 8)
    assert found["exact"] is False
    assert found["tile_error"] > 1e-5


def test_a_wrong_scale_is_refused() -> None:
    with pytest.raises(user_import.Refused, match="256 px"):
        user_import._measure(Shrug(3), 3, 1)
    facts = {"channels_in": 3, "channels_out": 3, "scale": 16}
    with pytest.raises(user_import.Refused, match="scale 16"):
        user_import._check_contract(facts)
    with pytest.raises(user_import.Refused, match="1 to 3 channels"):
        user_import._check_contract({**facts, "channels_in": 1})
