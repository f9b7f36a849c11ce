"""A print made again from its passport, with the real networks through a server of its own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wallprint_protocol import client
from wallprint_protocol.passport import Passport
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Size, place
from wallprint_protocol.request import Request
from wallprint_protocol.row_hash import RowHash
from wallprint_server import cli
from wallprint_server.models import store
from wallprint_server.server_access import ServerAccess


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


@pytest.fixture(scope="module")
def of_a_layer(made: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(Krita document, picture): what Krita saves of a print made from a B, G, R, A layer."""
    folder = tmp_path_factory.mktemp("layer")
    Image.open(made / "photo.jpg").save(folder / "photo.png")
    rgb = np.asarray(Image.open(folder / "photo.png"))
    bgra = np.dstack([rgb[..., ::-1], np.full(rgb.shape[:2], 255, np.uint8)])
    layout = PixelLayout("BGRA", "u8", "straight")
    placement = place(Size(64, 48), Size(128, 96))
    request = Request.build(
        Size(64, 48), layout, placement, repair=0, deblur=0, device="cpu", ppi=200.0
    )
    rows, parts = RowHash(128 * 4), []
    with ServerAccess("embedded") as access:
        result = client.enhance(
            request,
            lambda r: np.ascontiguousarray(bgra[r.y : r.y + r.height]).tobytes(),
            rows.writing(lambda _rect, pixels: parts.append(bytes(pixels))),
            connection=access.connection(),
        )
    assert rows.hexdigest() == hashlib.sha256(b"".join(parts)).hexdigest()
    print_ = Passport(
        request,
        source_sha256=hashlib.sha256(bgra.tobytes()).hexdigest(),
        source_is="pixels",
        pixels_sha256=rows.hexdigest(),
        report=result.report,
        icc="sRGB",
    )
    other = replace(print_, source_sha256="0" * 64, pixels_sha256="1" * 64)
    layers = {"{a}": print_.to_map(), "{b}": other.to_map()}
    with zipfile.ZipFile(folder / "print.kra", "w") as archive:
        archive.writestr("mimetype", "application/x-krita")
        archive.writestr("name/annotations/wallprint", json.dumps({"layers": layers}))
    return folder / "print.kra", folder / "photo.png"


def test_a_print_made_in_krita_again(of_a_layer: tuple[Path, Path]) -> None:
    """Found among two, from a picture with other channels, bit for bit."""
    summary, _ = wallprint("reproduce", *of_a_layer)
    assert summary["same"] is True


def test_a_krita_document_and_what_does_not_fit(
    of_a_layer: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document, picture = of_a_layer
    changed = Image.open(picture)
    changed.putpixel((3, 3), (1, 2, 3))
    changed.save(tmp_path / "changed.png")
    assert "None of the 2 prints" in refused(capsys, document, tmp_path / "changed.png")
    with zipfile.ZipFile(document) as archive:
        layers = json.loads(archive.read("name/annotations/wallprint"))["layers"]
    (tmp_path / "p.json").write_text(json.dumps(layers["{a}"]))
    words = refused(capsys, tmp_path / "p.json", tmp_path / "changed.png")
    assert "is not the picture" in words
    Image.open(picture).convert("L").save(tmp_path / "grey.png")
    assert "GRAY pixels of u8" in refused(capsys, tmp_path / "p.json", tmp_path / "grey.png")
    Image.open(picture).crop((0, 0, 60, 48)).save(tmp_path / "small.png")
    assert "60x48 px, but the layer" in refused(capsys, tmp_path / "p.json", tmp_path / "small.png")
    with zipfile.ZipFile(tmp_path / "plain.kra", "w") as archive:
        archive.writestr("mimetype", "application/x-krita")
    assert "carries no passport" in refused(capsys, tmp_path / "plain.kra", picture)
    (tmp_path / "cut.kra").write_bytes(document.read_bytes()[:100])
    assert "no whole Krita document" in refused(capsys, tmp_path / "cut.kra", picture)


def test_a_report_of_a_print_that_is_there(made: Path, tmp_path: Path) -> None:
    """From the passport alone, and with what an editor knows of the run."""
    page = tmp_path / "page.html"
    arguments = made / "photo.jpg", made / "print.tif", "-o", page
    summary, _ = wallprint("report", made / "print.tif.passport.json", *arguments)
    assert summary["output"] == str(page)
    text = page.read_text()
    assert "print.tif: how this print was made" in text
    assert text.count("data:image/jpeg;base64,") >= 5
    page.unlink()
    record = {
        "passport": passport(made),
        "report": {"stages": passport(made)["stages"], "seams": {"borders": 7, "worst_levels": 0}},
        "name": "My layer",
        "seconds": 12.5,
        "notes": ["A note of the server."],
    }
    (tmp_path / "r.json").write_text(json.dumps(record))
    wallprint("report", tmp_path / "r.json", *arguments)
    text = page.read_text()
    for words in ("My layer: how this print", "A note of the server.", "compared: 7"):
        assert words in text


def test_what_a_report_refuses(made: Path, tmp_path: Path) -> None:
    page, record = tmp_path / "page.html", made / "print.tif.passport.json"
    photo, printed = made / "photo.jpg", made / "print.tif"
    other = tmp_path / "other.tif"
    changed = Image.open(printed)
    changed.putpixel((1, 1), (1, 2, 3))
    changed.save(other)
    (tmp_path / "r.json").write_text('{"passport": {}, "report": {}}')
    for arguments, words in (
        ((record, photo, other), "is not the print of the passport"),
        ((record, photo, photo), "name the whole print"),
        ((tmp_path / "r.json", photo, printed), "cannot be used"),
        ((tmp_path / "none.json", photo, printed), "cannot be read"),
    ):
        _, said = wallprint("report", *arguments, "-o", page, code=2)
        assert words in said
        assert not page.exists()
