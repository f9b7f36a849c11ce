"""`wallprint plan`: the numbers of print.md, in words and as JSON; what cannot be is refused."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from wallprint_server import cli
from wallprint_server.server_access import ServerAccess


@pytest.fixture(autouse=True)
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a 12-megapixel photograph; no server is ever asked for."""
    monkeypatch.setenv("WALLPRINT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("WALLPRINT_CONFIG_DIR", str(tmp_path / "config"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Image.new("RGB", (4000, 3000), "teal").save("photo.jpg")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a server was asked for")

    monkeypatch.setattr(ServerAccess, "connection", never)
    return folder


def plan(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert cli.main(["plan", *arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert err == ""
    return json.loads(out)


def words(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(["plan", *arguments]) == 0
    return capsys.readouterr().out


def test_the_example_of_the_print_specification(capsys: pytest.CaptureFixture[str]) -> None:
    """print.md 1.1, 1.3: 4000x3000 to 100 cm at 200 ppi."""
    found = plan(capsys, "photo.jpg")
    assert found["picture"]["width"] == 4000
    printed = found["print"]
    assert (printed["width"], printed["height"]) == (7874, 5906)
    assert printed["megapixels"] == pytest.approx(46.5, abs=0.05)
    assert printed["scale"] == pytest.approx(1.97, abs=0.005)
    assert printed["width_mm"] == pytest.approx(1000, abs=0.1)
    viewing = found["viewing"]
    assert viewing["distance_mm"] == pytest.approx(1875, abs=1)
    assert round(viewing["needed_ppi"]) == 47
    assert viewing["needed_ppi_sharp"] == pytest.approx(1.67 * viewing["needed_ppi"], abs=0.02)
    assert round(viewing["holds_to_mm"] / 10) == 44
    assert found["sharpening"]["halo_px"] == pytest.approx(4.0)
    assert (found["edges"], found["notes"], found["exit_code"]) == (None, [], 0)
    assert found["files"]["TIFF"] == {"holds": True, "bytes": 7874 * 5906 * 3, "reason": None}
    said = words(capsys, "photo.jpg")
    for part in ("100.0 x 75.0 cm", "7874 x 5906 px", "46.5 megapixels", "1.97 times", "47 ppi"):
        assert part in said
    assert "Panels" not in said


def test_bleed_keeps_the_trim_exact(capsys: pytest.CaptureFixture[str]) -> None:
    """print.md 3: A4 + 3 mm at 300 ppi is 2550 x 3578."""
    options = ("--print", "A4", "--ppi", "300", "--fit", "crop", "--orientation", "portrait")
    found = plan(capsys, "photo.jpg", *options, "--bleed", "3mm")
    assert (found["print"]["width"], found["print"]["height"]) == (2480, 3508)
    assert (found["edges"]["width"], found["edges"]["height"]) == (2550, 3578)
    assert found["edges"]["mm"] == pytest.approx(3, abs=0.1)
    assert "--orientation landscape" in found["notes"][0]


def test_panels_wrap_and_marks(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--print", "200x150cm", "--wrap", "4cm", "--wrap-fill", "stretch")
    cut = ("--sheet-width", "61cm", "--overlap", "1in", "--crop-marks", "-o", "p.tif")
    found = plan(capsys, "photo.jpg", *options, *cut)
    assert found["edges"]["fill"] == "stretch"
    panels = found["panels"]
    assert (panels["rows"], panels["columns"], panels["overlap"]) == (1, 4, 200)
    assert all(sheet["width_mm"] <= 610 for sheet in panels["sheets"])
    assert panels["sheets"][3]["file"] == "p_r1c4.tif"
    last = panels["sheets"][3]["rect"]
    assert last[0] + last[2] == found["edges"]["width"]
    said = words(capsys, "photo.jpg", *options, *cut[:-1], "p.pdf")
    for part in ("4 (1 x 4)", "overlap 25.4 mm", "Wrap:", "stretch", "8.0 mm of white paper"):
        assert part in said
    assert list(Path().iterdir()) == [Path("photo.jpg")]


def test_printer_anchor_distance_and_own_sizes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "presets.json").write_text('{"Hall": "50x50cm"}')
    options = ("--print", "hall", "--fit", "crop", "--anchor", "0,50", "--printer", "360")
    found = plan(capsys, "photo.jpg", *options, "--distance", "3m")
    assert found["print"]["ppi"] == 360
    assert found["print"]["window"] == [0, 0, 3000, 3000]
    assert found["print"]["width_mm"] == pytest.approx(500, abs=0.1)
    assert found["viewing"]["distance_mm"] == 3000
    said = words(capsys, "photo.jpg", *options)
    assert "360 instead of 200 ppi" in said
    assert "keeps 3000 x 3000 px" in said


def test_formats_and_their_limits(capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (8000, 100)).save("strip.png")
    files = plan(capsys, "strip.png", "--print", "70000px")["files"]
    assert not files["JPEG"]["holds"]
    assert "65500" in files["JPEG"]["reason"]
    assert files["TIFF"]["holds"]
    # Cut into panels it holds: the limit is that of a file.
    files = plan(capsys, "strip.png", "--print", "70000px", "--panels", "1x2")["files"]
    assert files["JPEG"]["holds"]
    Image.new("RGB", (7000, 5000)).save("big.png")
    files = plan(capsys, "big.png", "--print", "70000px")["files"]
    assert not files["PDF"]["holds"]
    assert "10 GB" in files["PDF"]["reason"]
    assert files["TIFF"]["bigtiff"]
    assert "BigTIFF" in words(capsys, "big.png", "--print", "70000px")
    Image.new("CMYK", (400, 300)).save("ink.tif")
    files = plan(capsys, "ink.tif", "--print", "10cm")["files"]
    assert [name for name, form in files.items() if not form["holds"]] == ["PNG"]


@pytest.mark.parametrize("command", ["plan", "enhance"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--print", "A13"], ["Cannot read the print size 'A13'", "A0..A10"]),
        (["--print", "Living room"], ["'Living room'", "such as A3"]),
        (["--print", "10x8cm", "--bleed", "9cm"], ["bleed of 90 mm", "wider than the print"]),
        (["--print", "10x8cm", "--wrap", "9cm"], ["wrap of 90 mm", "narrower"]),
        (["--panels", "1x2", "--overlap", "101cm"], ["overlap of 1010 mm", "leaves nothing"]),
        (["--panels", "1x3", "--overlap", "40cm"], ["overlap of 400 mm", "fewer panels"]),
        (["--panels", "20x20"], ["20 x 20 panels", "100"]),
        (["--panels", "3"], ["rows x columns", "1x3"]),
        (["--panels", "0x3"], ["rows x columns"]),
        (["--panels", "1x2", "--sheet-width", "61cm"], ["not allowed with"]),
        (["--sheet-width", "0"], ["sheet width of 0", "61cm"]),
        (["--sheet-width", "1cm", "--overlap", "2cm"], ["wider sheet"]),
        (["--overlap", "2cm"], ["--panels 1x3"]),
        (["--bleed", "3", "--wrap", "4cm"], ["not allowed with"]),
        (["--bleed", "wide"], ["bleed 'wide'", "3mm"]),
        (["--wrap-fill", "mirror"], ["--wrap 4cm"]),
        (["--wrap", "4cm", "--wrap-fill", "red"], ["#ffffff"]),
        (["--wrap", "4cm", "--wrap-fill", "#11223344"], ["#RRGGBB"]),
        (["--anchor", "middle"], ["top-left", "30,50"]),
        (["--orientation", "upright"], ["portrait"]),
        (["--print", "1m", "--orientation", "portrait"], ["one length"]),
        (["--printer", "720"], ["360"]),
        (["--print", "1300x20cm", "--fit", "crop", "-o", "o.jpg"], ["JPEG", "65500", "o.tif"]),
        (["--print", "320x240cm", "--ppi", "600", "-o", "o.tif"], ["4096 megapixels", "smaller"]),
        (["--print", "190x142cm", "--ppi", "900", "-o", "o.pdf"], ["PDF", "at most 10 GB"]),
        (["-o", "o.psd"], ["wallprint writes no PSD files", "-o o.tif"]),
        (["--print", "400cm", "-o", "o.psd"], ["31496x23622", "most 30000 px", "-o o.tif"]),
        (["--print", "254cm", "--ppi", "300", "-o", "o.psd"], ["PSD", "most 2 GB", "-o o.tif"]),
        (["-o", "o.webp"], ["'.webp'", ".pdf"]),
    ],
)
def test_bad_input_is_one_sentence(
    capsys: pytest.CaptureFixture[str], command: str, arguments: list[str], said: list[str]
) -> None:
    if command == "enhance" and "-o" not in arguments:
        arguments = [*arguments, "-o", "o.tif"]
    assert cli.main([command, "photo.jpg", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("wallprint: ")
    assert err.count("\n") == 1
    for part in said:
        assert part in err
    assert [path.name for path in Path().iterdir()] == ["photo.jpg"]


def test_an_earlier_panel_is_not_replaced_unless_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("photo_10x7.5cm_200ppi_r1c2.tif").write_bytes(b"mine")
    assert cli.main(["enhance", "photo.jpg", "--print", "10cm", "--panels", "1x2"]) == 2
    assert "photo_10x7.5cm_200ppi_r1c2.tif exists already" in capsys.readouterr().err


def test_a_panel_is_not_written_over_the_picture(capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (400, 300)).save("p_r1c1.tif")
    before = Path("p_r1c1.tif").read_bytes()
    arguments = ["p_r1c1.tif", "--print", "10cm", "--panels", "1x2", "-o", "p.tif"]
    assert cli.main(["enhance", *arguments]) == 2
    assert "is the input" in capsys.readouterr().err
    assert Path("p_r1c1.tif").read_bytes() == before


def test_a_plan_is_made_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """24 megapixels, and no detail anywhere, so that it is looked for at every scale: under 3 s."""
    Image.new("RGB", (6000, 4000), "teal").save("large.jpg")
    seconds = []
    for _ in range(3):  # beside other programs one may take longer
        began_s = time.process_time()
        plan(capsys, "large.jpg", "--print", "A1", "--panels", "2x3", "--crop-marks")
        seconds.append(time.process_time() - began_s)
    assert min(seconds) < 2.0  # 0.6 s alone; both threads of a core busy make it twice as long
