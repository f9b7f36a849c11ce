"""What the program makes of a print that an editor has made: its report page and its files."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wallprint_protocol import client
from wallprint_protocol.passport import Passport
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_plan import Settings, layer_job, make_plan
from wallprint_protocol.print_record import PrintRecord
from wallprint_protocol.print_size import Rect, Size
from wallprint_protocol.request import Request
from wallprint_protocol.row_hash import RowHash
from wallprint_protocol.tiff_file import TiffFile
from wallprint_server import cli
from wallprint_server.imaging.files_in import open_source
from wallprint_server.imaging.xmp import passport_of
from wallprint_server.server_access import ServerAccess

SOURCE = Size(96, 72)
LAYOUTS = [
    PixelLayout("BGRA", "u16", "straight"),
    PixelLayout("RGB", "f16"),
    PixelLayout("GRAY", "u8"),
]
SETTINGS = Settings(
    width=192.0, height=144.0, unit="px", edges="bleed", edge_mm=1.0, panel_columns=2,
    overlap_mm=2.0, crop_marks=True, repair=0, deblur=0, device="cpu",
)  # fmt: skip


def picture(layout: PixelLayout) -> np.ndarray:
    """A ramp with a sharp disc, opaque, in that layout."""
    y, x = np.mgrid[: SOURCE.height, : SOURCE.width]
    disc = np.hypot(x - 40, y - 30) < 18
    planes = np.stack([x / 96, y / 72, np.where(disc, 0.9, 0.2)], 2)
    if layout.model == "GRAY":
        planes = planes[..., 2:]
    if layout.has_alpha:
        planes = np.dstack([planes, np.ones(planes.shape[:2])])
    kinds = {"u8": (np.uint8, 255), "u16": (np.uint16, 65535), "f16": (np.float16, 1)}
    dtype, full = kinds[layout.dtype]
    return np.ascontiguousarray((planes * full).astype(dtype))


def make(folder: Path, layout: PixelLayout) -> tuple[Path, Path, Path, bytes]:
    """(record, print, source) as files, and the print's bytes: what a plug-in does."""
    data = memoryview(picture(layout)).cast("B")
    row = SOURCE.width * layout.bytes_per_pixel
    plan = make_plan(SOURCE, SETTINGS)
    job = layer_job(plan, Rect(0, 0, SOURCE.width, SOURCE.height))
    request = Request.build(SOURCE, layout, job.placement, **SETTINGS.job_options(plan))
    rows, parts = RowHash(plan.out.width * layout.bytes_per_pixel), []
    source_file, print_file = folder / "source.tif", folder / "print.tif"
    with (
        TiffFile(source_file, SOURCE, layout, ppi=200) as before,
        TiffFile(print_file, plan.out, layout, ppi=200) as after,
        ServerAccess("embedded") as access,
    ):
        before.write(Rect(0, 0, SOURCE.width, SOURCE.height), data)
        result = client.enhance(
            request,
            lambda r: data[r.y * row : (r.y + r.height) * row],
            rows.writing(lambda _rect, pixels: parts.append(bytes(pixels))),
            connection=access.connection(),
        )
        after.write(Rect(0, 0, plan.out.width, plan.out.height), b"".join(parts))
    passport = Passport(
        request,
        hashlib.sha256(data).hexdigest(),
        "pixels",
        rows.hexdigest(),
        result.report,
        icc="sRGB (built in)",
    )
    record = PrintRecord(
        passport, SETTINGS, SOURCE, name="Photo <1>", seconds=3.0, notes=tuple(result.notes)
    )
    (folder / "record.json").write_text(record.to_json(), "utf-8")
    return folder / "record.json", print_file, source_file, b"".join(parts)


@pytest.fixture(scope="module", params=LAYOUTS, ids=lambda layout: f"{layout.model}-{layout.dtype}")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make(tmp_path_factory.mktemp("print"), request.param), request.param


def run(
    capsys: pytest.CaptureFixture[str], *arguments: str | Path, code: int = 0
) -> dict[str, Any]:
    found = cli.main([*(os.fspath(a) for a in arguments), "--json", "--quiet", "--progress-json"])
    summary = dict(json.loads(capsys.readouterr().out))
    assert found == code, summary
    return summary


def test_record_is_the_same_after_a_file(made: Any) -> None:
    (record, *_rest), _layout = made
    read = PrintRecord.from_map(json.loads(record.read_text("utf-8")))
    assert read.to_json() == record.read_text("utf-8")
    assert read.plan == make_plan(SOURCE, SETTINGS)


def test_report_page(made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (record, print_file, source_file, _pixels), _layout = made
    page = tmp_path / "page.html"
    summary = run(
        capsys, "report", record, source_file, print_file, "-o", page, "--server", "embedded"
    )
    assert summary["output"] == str(page)
    text = page.read_text("utf-8")
    assert "Photo &lt;1&gt;" in text
    assert text.count("data:image/jpeg") >= 6, "overview, a crop before and after, the stages"
    assert json.loads(record.read_text())["passport"]["print"]["pixels_sha256"] in text


def test_saved_panels_are_the_print(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cut at the panels, marks around, the passport inside; joined again the print's pixels."""
    (record, print_file, _source, pixels), layout = made
    plan = make_plan(SOURCE, SETTINGS)
    summary = run(capsys, "save", record, print_file, "-o", tmp_path / "wall.tif")
    assert [Path(name).name for name in summary["files"]] == ["wall_r1c1.tif", "wall_r1c2.tif"]
    kinds = {"u8": np.uint8, "u16": np.uint16, "f16": np.float16}
    whole = np.frombuffer(pixels, kinds[layout.dtype])
    whole = whole.reshape(plan.out.height, plan.out.width, layout.channels)
    if layout.model == "BGRA":
        whole = whole[..., [2, 1, 0, 3]]
    for name, sheet in zip(summary["files"], plan.sheets, strict=True):
        with open_source(name) as panel:
            assert panel.size == sheet.size
            margin, rect = sheet.margin_px, sheet.rect
            assert margin > 0
            data = panel.read(Rect(margin, margin, rect.width, rect.height))
            kind = np.float32 if layout.dtype == "f16" else kinds[layout.dtype]
            cut = np.frombuffer(data, kind).reshape(rect.height, rect.width, -1)
            wanted = whole[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width]
            assert np.array_equal(cut, wanted.astype(kind))
            passport = passport_of(panel.metadata.xmp)
        assert passport is not None
        assert passport.to_map() == json.loads(record.read_text())["passport"]


def test_saved_as_one_document(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (record, print_file, _source, _pixels), _layout = made
    run(capsys, "save", record, print_file, "-o", tmp_path / "wall.pdf")
    assert (tmp_path / "wall.pdf").read_bytes().count(b"/TrimBox") == 2


def test_what_does_not_fit_is_refused(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (record, print_file, _source, _pixels), _layout = made
    output = tmp_path / "wall.tif"
    small = tmp_path / "small.png"
    Image.new("L", (5, 5)).save(small)
    assert (
        "but the print has"
        in run(capsys, "save", record, small, "-o", output, code=2)["error"]["message"]
    )
    broken = tmp_path / "record.json"
    broken.write_text('{"passport": 1}')
    for text in ("cannot be used", "in the editor"):
        assert (
            text
            in run(capsys, "save", broken, print_file, "-o", output, code=2)["error"]["message"]
        )
    read = PrintRecord.from_map(json.loads(record.read_text("utf-8")))
    part = replace(read, canvas=Size(80, 72))
    broken.write_text(part.to_json(), "utf-8")
    message = run(capsys, "save", broken, print_file, "-o", output, code=2)["error"]["message"]
    assert "does not cover the print" in message
    assert sorted(tmp_path.iterdir()) == sorted([small, broken])


def test_proof_with_the_dialogs_values_in_two_formats(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same sheet as PDF and TIFF, of the size that the settings say."""
    (_record, _print, source_file, _pixels), layout = made
    if layout.dtype == "f16":
        pytest.skip("a PDF has too few levels for linear light, which a float TIFF is taken for")
    values = tmp_path / "settings.json"
    values.write_text(json.dumps(asdict(replace(SETTINGS, crop_marks=False))), "utf-8")
    sheet, also = tmp_path / "sheet.pdf", tmp_path / "sheet.tif"
    summary = run(
        capsys, "proof", source_file, "--settings", values, "-o", sheet, "--also", also,
        "--paper", "letter", "--server", "embedded",
    )  # fmt: skip
    assert (summary["output"], summary["also"]) == (str(sheet), [str(also)])
    assert sheet.read_bytes().startswith(b"%PDF")
    with open_source(also) as page:
        assert page.size == Size(summary["width"], summary["height"]) == Size(1700, 2200)
        at, rect = summary["crops"][0]["at"][0], summary["crops"][0]["rect"]
        crop = page.read(Rect(*at, rect[2], rect[3]))
    assert len(set(crop)) > 8, "there is a picture on it"
