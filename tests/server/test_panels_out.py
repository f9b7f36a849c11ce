"""Panels as files: re-joined bit for bit, marks only on paper, all of them or none."""

from __future__ import annotations

import errno
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from wallprint_protocol.errors import BadInput, Cancelled
from wallprint_protocol.panels import Sheet
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_plan import Settings, make_plan
from wallprint_protocol.print_size import Rect, Size
from wallprint_server.imaging import files_out
from wallprint_server.imaging.files_in import open_source
from wallprint_server.imaging.files_out import PrintFile
from wallprint_server.imaging.metadata import Metadata
from wallprint_testing.picture_files import icc_profile, random_pixels, read_all, strips

SIZE = Size(241, 173)


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path) -> Iterator[None]:
    """No temporary file survives a test, however it went."""
    yield
    assert [p.name for p in tmp_path.rglob(".wallprint*")] == []


def sheets_of(size: Size = SIZE, **settings: object) -> tuple[Sheet, ...]:
    """Panels of a print of this size at 200 ppi; by default 2 x 3 that share 9 px."""
    chosen = {"panel_rows": 2, "panel_columns": 3, "overlap_mm": 1.2, **settings}
    edge_px = 24 if chosen.get("edges") == "bleed" else 0
    plan = make_plan(
        size,
        Settings(
            width=size.width - 2 * edge_px,
            height=size.height - 2 * edge_px,
            unit="px",
            fit="crop",
            **chosen,
        ),
    )
    assert plan.out == size
    return plan.sheets


def write(
    path: Path, pixels: np.ndarray, layout: PixelLayout, sheets: tuple[Sheet, ...], **commit: object
) -> PrintFile:
    size = Size(pixels.shape[1], pixels.shape[0])
    metadata = Metadata(icc=icc_profile() if layout.colour_channels == 3 else b"")
    with PrintFile(path, size, layout, ppi_milli=200_000, metadata=metadata, sheets=sheets) as file:
        for rect in strips(size):
            file.write(rect, pixels[rect.y : rect.y + rect.height].tobytes())
        file.commit(**commit)
        return file


def read(path: Path) -> np.ndarray:
    with open_source(path) as source:
        pixels = read_all(source.read, source.size, source.layout)
        return pixels.reshape(source.size.height, source.size.width, -1)


def joined(parts: list[np.ndarray], sheets: tuple[Sheet, ...], like: np.ndarray) -> np.ndarray:
    """The panels put together; where they overlap they must agree."""
    whole = np.zeros_like(like)
    known = np.zeros(like.shape[:2], bool)
    for part, sheet in zip(parts, sheets, strict=True):
        rect, margin = sheet.rect, sheet.margin_px
        assert part.shape[:2] == (sheet.size.height, sheet.size.width)
        panel = part[margin : margin + rect.height, margin : margin + rect.width]
        place = np.s_[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width]
        assert np.array_equal(whole[place][known[place]], panel[known[place]])
        whole[place], known[place] = panel, True
    assert known.all()
    return whole


@pytest.mark.parametrize("marks", [False, True])
@pytest.mark.parametrize(
    ("ending", "layout"),
    [
        (".tif", PixelLayout("RGB", "u8")),
        (".tif", PixelLayout("RGB", "u16")),
        (".tif", PixelLayout("RGBA", "u16", "straight")),
        (".tif", PixelLayout("CMYK", "u8")),
        (".tif", PixelLayout("RGB", "f32", trc="linear")),
        (".png", PixelLayout("RGB", "u16")),
        (".png", PixelLayout("GRAY", "u8")),
    ],
)
def test_rejoined_panels_are_the_whole(
    tmp_path: Path, ending: str, layout: PixelLayout, marks: bool
) -> None:
    pixels = random_pixels(SIZE, layout).reshape(SIZE.height, SIZE.width, -1)
    sheets = sheets_of(crop_marks=marks)
    file = write(tmp_path / f"p{ending}", pixels, layout, sheets)
    names = [f"p_r{row}c{column}{ending}" for row in (1, 2) for column in (1, 2, 3)]
    assert [path.name for path in file.files] == names
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    parts = [read(path) for path in file.files]
    assert np.array_equal(joined(parts, sheets, pixels), pixels)


def test_marks_and_letters_stand_on_white_paper(tmp_path: Path) -> None:
    """Exactly the planned lines are black, besides one label; CMYK has them on the black plate."""
    size = Size(1700, 900)
    for layout, white, black in (
        (PixelLayout("RGB", "u8"), [255] * 3, [0] * 3),
        (PixelLayout("CMYK", "u8"), [0] * 4, [0, 0, 0, 255]),
        (PixelLayout("RGBA", "u16", "straight"), [65535] * 4, [0, 0, 0, 65535]),
    ):
        sheets = sheets_of(size, edges="bleed", panel_rows=1, crop_marks=True, overlap_mm=10)
        pixels = random_pixels(size, layout).reshape(size.height, size.width, -1)
        file = write(tmp_path / f"{layout.model}.tif", pixels, layout, sheets)
        parts = [read(path) for path in file.files]
        assert np.array_equal(joined(parts, sheets, pixels), pixels)
        for part, sheet in zip(parts, sheets, strict=True):
            margin, rect = sheet.margin_px, sheet.rect
            expected = np.zeros(part.shape[:2], bool)
            for line in sheet.lines():
                expected[line.y : line.y + line.height, line.x : line.x + line.width] = True
            paper = np.ones(part.shape[:2], bool)
            paper[margin : margin + rect.height, margin : margin + rect.width] = False
            label = sheet.label_rect(20)
            assert label is not None
            letters = np.zeros_like(paper)
            letters[label.y : label.y + label.height, label.x : label.x + label.width] = True
            is_black = (part == black).all(-1)
            is_white = (part == white).all(-1)
            assert (is_black | is_white)[paper].all()
            assert np.array_equal(is_black[paper & ~letters], expected[paper & ~letters])
            assert 0.05 < is_black[letters].mean() < 0.5, "no letters"


def test_one_print_with_marks_is_one_file(tmp_path: Path) -> None:
    layout = PixelLayout("RGB", "u8")
    sheets = sheets_of(panel_rows=1, panel_columns=1, crop_marks=True)
    pixels = random_pixels(SIZE, layout)
    file = write(tmp_path / "p.tif", pixels, layout, sheets)
    assert [path.name for path in tmp_path.iterdir()] == ["p.tif"]
    assert np.array_equal(joined([read(file.files[0])], sheets, pixels), pixels)


def test_panels_keep_ppi_profile_and_their_own_size(tmp_path: Path) -> None:
    import tifffile

    layout = PixelLayout("RGB", "u16")
    sheets = sheets_of()
    file = write(tmp_path / "p.tif", random_pixels(SIZE, layout), layout, sheets)
    for path, sheet in zip(file.files, sheets, strict=True):
        with tifffile.TiffFile(path) as tiff:
            tags = tiff.pages[0].tags
            assert tags[282].value == (200, 1)
            assert tags[34675].value == icc_profile()
            exif = tags[34665].value
            assert (exif["PixelXDimension"], exif["PixelYDimension"]) == (
                sheet.size.width,
                sheet.size.height,
            )


# -- all or none -------------------------------------------------------------------------------


def test_cancelled_at_the_third_panel_nothing_changes(tmp_path: Path) -> None:
    layout = PixelLayout("RGB", "u8")
    (tmp_path / "p_r1c1.tif").write_bytes(b"old")
    fractions: list[float] = []
    with pytest.raises(Cancelled):
        write(
            tmp_path / "p.tif", random_pixels(SIZE, layout), layout, sheets_of(),
            on_progress=fractions.append, should_cancel=lambda: fractions[-1:] > [2.2 / 6],
        )  # fmt: skip
    assert fractions[-1] > 2 / 6
    assert [p.name for p in tmp_path.iterdir()] == ["p_r1c1.tif"]
    assert (tmp_path / "p_r1c1.tif").read_bytes() == b"old"


@pytest.mark.parametrize("ending", [".tif", ".pdf"])
def test_a_full_disk_in_the_middle_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    layout = PixelLayout("RGB", "u8")
    calls = 0

    def full(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == (4 if ending == ".tif" else 1):  # of six files, or of one
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files_out.os, "fsync", full)
    with pytest.raises(files_out.OutOfResources, match="not enough room"):
        write(tmp_path / f"p{ending}", random_pixels(SIZE, layout), layout, sheets_of())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fails_at", range(6))
@pytest.mark.parametrize("there", [(), (0, 1, 3), tuple(range(6))])
def test_a_place_that_cannot_be_taken_gives_the_others_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int, there: tuple[int, ...]
) -> None:
    layout = PixelLayout("GRAY", "u8")
    sheets = sheets_of()
    names = [tmp_path / f"p_r{sheet.row}c{sheet.column}.png" for sheet in sheets]
    for i in there:
        names[i].write_bytes(b"old %d" % i)
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target == names[fails_at] and self.suffix == ".png":
            raise OSError(errno.EACCES, "Permission denied")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(BadInput, match="cannot be written"):
        write(tmp_path / "p.png", random_pixels(SIZE, layout), layout, sheets)
    assert sorted(tmp_path.iterdir()) == sorted(names[i] for i in there)
    assert all(names[i].read_bytes() == b"old %d" % i for i in there)


def test_panels_replace_earlier_ones(tmp_path: Path) -> None:
    layout = PixelLayout("RGB", "u8")
    (tmp_path / "p_r1c2.tif").write_bytes(b"old")
    pixels = random_pixels(SIZE, layout)
    file = write(tmp_path / "p.tif", pixels, layout, sheets_of())
    assert len(list(tmp_path.iterdir())) == 6
    assert np.array_equal(joined([read(p) for p in file.files], sheets_of(), pixels), pixels)


# -- PDF ---------------------------------------------------------------------------------------


class Pdf:
    """As much of ISO 32000 as reading our pages takes: cross references, Flate, PNG's Up."""

    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        assert self.data.startswith(b"%PDF-1.7\n")
        at = int(re.search(rb"startxref\n(\d+)\n%%EOF\n$", self.data)[1])
        head, *rows = self.data[at:].split(b"trailer")[0].splitlines()[1:]
        assert int(head.split()[1]) == len(rows)
        self.offsets = [int(row[:10]) for row in rows]
        assert all(len(row) == 19 for row in rows), "20 bytes with the line's end"
        trailer = self.data[at:].split(b"trailer")[1]
        root = self.entry(trailer, b"Root")
        pages = self.object(self.entry(self.object(root), b"Pages"))
        self.pages = [int(n) for n in re.findall(rb"(\d+) 0 R", pages.split(b"/Kids")[1])]

    def object(self, number: int) -> bytes:
        """Its bytes up to the end of its dictionary or value."""
        body = self.data[self.offsets[number] :]
        assert body.startswith(b"%d 0 obj\n" % number)
        return re.split(rb"\nendobj|\nstream\n", body.split(b"obj\n", 1)[1], maxsplit=1)[0]

    @staticmethod
    def entry(body: bytes, name: bytes) -> int:
        return int(re.search(rb"/" + name + rb" (\d+)", body)[1])

    def stream(self, number: int) -> bytes:
        body = self.object(number)
        length = int(self.object(self.entry(body, b"Length")))
        start = self.data.index(b"\nstream\n", self.offsets[number]) + 8
        assert self.data[start + length :].startswith(b"\nendstream")
        data = self.data[start : start + length]
        return zlib.decompress(data) if b"/FlateDecode" in body else data

    def image(self, number: int) -> np.ndarray:
        """(h, w, c) samples."""
        body = self.object(number)
        width, height = self.entry(body, b"Width"), self.entry(body, b"Height")
        bits, colours = self.entry(body, b"BitsPerComponent"), self.entry(body, b"Colors")
        assert self.entry(body, b"Columns") == width
        rows = np.frombuffer(self.stream(number), np.uint8).reshape(height, -1)
        assert (rows[:, 0] == 2).all()
        samples = np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8)
        return samples.view(">u2" if bits == 16 else np.uint8).reshape(height, width, colours)

    def box(self, page: bytes, name: bytes) -> list[float]:
        return [float(n) for n in re.search(rb"/" + name + rb" \[([^\]]+)\]", page)[1].split()]


@pytest.mark.parametrize(
    "layout",
    [
        PixelLayout("RGB", "u8"),
        PixelLayout("RGB", "u16"),
        PixelLayout("GRAY", "u16"),
        PixelLayout("CMYK", "u8"),
        PixelLayout("RGBA", "u16", "straight"),
        PixelLayout("RGBA", "u8", "premul"),
        PixelLayout("CMYKA", "u8", "straight"),
    ],
)
def test_pdf_pages_hold_the_panels_bit_for_bit(tmp_path: Path, layout: PixelLayout) -> None:
    pixels = random_pixels(SIZE, layout).reshape(SIZE.height, SIZE.width, -1)
    sheets = sheets_of(crop_marks=True)
    file = write(tmp_path / "p.pdf", pixels, layout, sheets)
    assert [path.name for path in tmp_path.iterdir()] == ["p.pdf"]
    assert file.notes == []
    pdf = Pdf(tmp_path / "p.pdf")
    assert len(pdf.pages) == 6
    parts = []
    for number, sheet in zip(pdf.pages, sheets, strict=True):
        page = pdf.object(number)
        image = pdf.object(pdf.entry(page, b"Picture"))
        part = pdf.image(pdf.entry(page, b"Picture"))
        if layout.has_alpha:
            mask = pdf.entry(image, b"SMask")
            part = np.concatenate([part, pdf.image(mask)], -1)
            assert (b"/Matte" in pdf.object(mask)) == (layout.alpha == "premul")
        if layout.colour_channels == 3:
            assert pdf.stream(pdf.entry(image, rb"ColorSpace \[/ICCBased")) == icc_profile()
        frame = np.zeros((sheet.size.height, sheet.size.width, layout.channels), pixels.dtype)
        margin = sheet.margin_px
        frame[margin:-margin, margin:-margin] = part
        parts.append(frame)
    assert np.array_equal(joined(parts, sheets, pixels), pixels)


def test_pdf_pages_are_true_to_scale(tmp_path: Path) -> None:
    """Boxes and marks in points, to a hundredth of a millimetre."""
    layout = PixelLayout("RGB", "u8")
    size = Size(1700, 900)
    sheets = sheets_of(size, edges="bleed", crop_marks=True, overlap_mm=10.0)
    write(tmp_path / "p.pdf", random_pixels(size, layout), layout, sheets)
    pdf = Pdf(tmp_path / "p.pdf")
    mm = 72 / 25.4
    for number, sheet in zip(pdf.pages, sheets, strict=True):
        page = pdf.object(number)
        margin = sheet.margin_px * 25.4 / 200
        width, height = (n * 25.4 / 200 for n in (sheet.rect.width, sheet.rect.height))
        for name, wanted in (
            (b"MediaBox", [0, 0, width + 2 * margin, height + 2 * margin]),
            (b"BleedBox", [margin, margin, margin + width, margin + height]),
        ):
            assert np.allclose(np.array(pdf.box(page, name)) / mm, wanted, atol=0.01)
        trim = np.array(pdf.box(page, b"TrimBox")) / mm
        bleed = np.array(pdf.box(page, b"BleedBox")) / mm
        cut = np.abs(trim - bleed) > 0.01
        assert list(cut) == [sheet.column == 1, sheet.row == 2, sheet.column == 3, sheet.row == 1]
        assert np.allclose(np.abs(trim - bleed)[cut], 24 * 25.4 / 200, atol=0.01)
        content = pdf.stream(pdf.entry(page, b"Contents")).decode()
        assert sheet.label in content
        lines = re.findall(r"(\S+) (\S+) m (\S+) (\S+) l S", content)
        assert len(lines) == len(sheet.lines())
        upright = {float(x) / mm for x, y, x2, y2 in lines if x == x2}
        wanted = sorted(margin + at * 25.4 / 200 for at in sheet.x_marks)
        assert np.allclose(sorted(upright), wanted, atol=0.01)
        matrix = re.search(r"q (\S+) 0 0 (\S+) (\S+) (\S+) cm", content)
        placed = np.array([float(n) for n in matrix.groups()]) / mm
        assert np.allclose(placed, [width, height, margin, margin], atol=0.01)


def test_a_pdf_page_longer_than_five_metres_has_a_larger_unit(tmp_path: Path) -> None:
    layout = PixelLayout("GRAY", "u8")
    size = Size(7000, 10)
    sheets = (Sheet(1, 1, Rect(0, 0, 7000, 10)),)
    with PrintFile(
        tmp_path / "p.pdf", size, layout, ppi_milli=30_000, metadata=Metadata(), sheets=sheets
    ) as file:
        file.write(Rect(0, 0, 7000, 10), bytes(70_000))
        file.commit()
    pdf = Pdf(tmp_path / "p.pdf")
    page = pdf.object(pdf.pages[0])
    unit = pdf.entry(page, b"UserUnit")
    assert pdf.box(page, b"MediaBox")[2] <= 14_400
    assert pdf.box(page, b"MediaBox")[2] * unit == pytest.approx(7000 / 30 * 72)


def test_a_pdf_that_was_cut_short_is_noticed(tmp_path: Path) -> None:
    from wallprint_server.imaging.pdf import page_count

    layout = PixelLayout("RGB", "u8")
    write(tmp_path / "p.pdf", random_pixels(SIZE, layout), layout, sheets_of())
    assert page_count(tmp_path / "p.pdf") == 6
    data = (tmp_path / "p.pdf").read_bytes()
    (tmp_path / "q.pdf").write_bytes(data[:-40])
    assert page_count(tmp_path / "q.pdf") == 0
