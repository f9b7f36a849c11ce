"""A print made again from its passport, with the real networks through a server of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wallprint_server import cli
from wallprint_server.models import store


def wallprint(*arguments: str | Path, code: int = 0) -> tuple[dict[str, Any], str]:
    """The line of --json and stderr; a server of this run only."""
    command = [
        sys.executable, "-m", "wallprint_server", *map(str, arguments), "--server", "embedded",
        "--json",
    ]  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if k != "WALLPRINT_SERVER"}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=180)
    assert run.returncode == code, run.stderr
    assert "Traceback" not in run.stderr
    return json.loads(run.stdout), run.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photo.jpg, its print in TIFF and the passport beside it."""
    states = {spec.name: state for spec, state in store.installed()}
    if states["span-x2"] == store.MISSING:
        pytest.skip("span-x2 is not here: wallprint models pull span-x2")
    folder = tmp_path_factory.mktemp("made")
    y, x = np.mgrid[0:48, 0:64]
    base = np.stack([60 + x, 90 + y, 150 - x / 2], axis=-1)
    base[np.hypot(x - 30, y - 24) < 14] = (230, 220, 200)
    Image.fromarray(base.astype(np.uint8)).save(folder / "photo.jpg", quality=92)
    summary, _ = wallprint(
        "enhance", folder / "photo.jpg", "-o", folder / "print.tif", "--print", "128px",
        "--device", "cpu", "--passport",
    )  # fmt: skip
    assert summary["passport"] == str(folder / "print.tif.passport.json")
    return folder


def passport(made: Path) -> dict[str, Any]:
    return json.loads((made / "print.tif.passport.json").read_text())


def test_the_passport_says_what_was_done(made: Path) -> None:
    found = passport(made)
    assert [stage["stage"] for stage in found["stages"]] == ["enlarge", "sharpen"]
    assert found["stages"][0]["network"] == "span-robust-x2"  # it was a JPEG
    assert len(found["stages"][0]["sha256"]) == 64
    assert found["digital_source_type"].endswith("/algorithmicallyEnhanced")
    assert found["output_sharpening"]["medium"] == "matte"
    assert found["software"]["torch"]
    assert (found["source"]["width"], found["print"]["width"]) == (64, 128)


@pytest.mark.parametrize("name", ["print.tif.passport.json", "print.tif"])
def test_the_same_pixels_again(made: Path, name: str) -> None:
    """From the JSON file, and from the print that carries the passport itself."""
    summary, _ = wallprint("reproduce", made / name, made / "photo.jpg")
    assert summary["same"] is True
    assert summary["differences"] == []
    assert summary["pixels_sha256"] == passport(made)["print"]["pixels_sha256"]


def test_other_pixels_and_why(made: Path, tmp_path: Path) -> None:
    """A passport of older software and other options: exit code 1, and the reasons."""
    changed = passport(made)
    changed["options"]["sharpen"] = "none"
    changed["software"]["torch"] = "1.0"
    (tmp_path / "p.json").write_text(json.dumps(changed))
    summary, _ = wallprint("reproduce", tmp_path / "p.json", made / "photo.jpg", code=1)
    assert summary["same"] is False
    text = " ".join(summary["differences"])
    assert "torch: 1.0 then" in text
    assert "sharpen, medium matte" in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be used"),
        ('{"passport": 9}', "format 9"),
        ('{"passport": 1}', "missing"),
        ("hello", "neither a passport nor a picture"),
        (None, "cannot be read"),
    ],
)
def test_an_unreadable_passport(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, words: str
) -> None:
    if content is not None:
        (tmp_path / "p.json").write_text(content)
    assert words in refused(capsys, tmp_path / "p.json", tmp_path / "photo.jpg")


def refused(capsys: pytest.CaptureFixture[str], *arguments: Path) -> str:
    """The one sentence with which `reproduce` refuses, exit code 2."""
    assert cli.main(["reproduce", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_another_picture(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(made / "photo.jpg", tmp_path / "photo.jpg")
    with (tmp_path / "photo.jpg").open("ab") as file:
        file.write(b"\0")
    words = refused(capsys, made / "print.tif", tmp_path / "photo.jpg")
    assert "is not the picture" in words
    assert "carries no passport" in refused(capsys, made / "photo.jpg", made / "photo.jpg")


def test_a_print_of_a_print_warns(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "again.tif"
    arguments = ("enhance", made / "print.tif", "-o", out, "--print", "150px", "--deblur", "0")
    summary, _ = wallprint(*arguments)
    assert any("sharpened again" in note for note in summary["notes"])
    summary, _ = wallprint(*arguments, "--sharpen", "none")
    assert not any("sharpened again" in note for note in summary["notes"])
