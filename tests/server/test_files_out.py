"""Picture files out: exact pixels, exact ppi, everything kept, all or nothing, memory bounded."""

from __future__ import annotations

import gc
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from wallprint_protocol.errors import BadInput, Cancelled, WallprintError
from wallprint_protocol.file_formats import check_output
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Rect, Size
from wallprint_server.imaging import encode as encode_module
from wallprint_server.imaging import files_out
from wallprint_server.imaging.files_in import open_source
from wallprint_server.imaging.files_out import PrintFile
from wallprint_server.imaging.metadata import Metadata
from wallprint_server.imaging.tiff_tags import Directory, Entry
from wallprint_testing.picture_files import icc_profile, random_pixels, read_all, strips

SIZE = Size(41, 29)
MODELS = ["GRAY", "GRAYA", "RGB", "RGBA", "CMYK", "CMYKA"]


def layout(model: str, dtype: str = "u8", alpha: str = "straight", trc: str = "") -> PixelLayout:
    if not model.endswith("A"):
        alpha = "none"
    default = "linear" if dtype == "f32" and not model.startswith("CMYK") else "perceptual"
    return PixelLayout(model, dtype, alpha, trc or default)


def write(
    path: Path,
    pixels: np.ndarray,
    pixel_layout: PixelLayout,
    *,
    ppi_milli: int = 200_000,
    metadata: Metadata | None = None,
) -> list[str]:
    size = Size(pixels.shape[1], pixels.shape[0])
    with PrintFile(
        path, size, pixel_layout, ppi_milli=ppi_milli, metadata=metadata or Metadata()
    ) as file:
        for rect in strips(size):
            file.write(rect, pixels[rect.y : rect.y + rect.height].tobytes())
        file.commit()
        return file.notes


def read_back(path: Path) -> tuple[np.ndarray, PixelLayout]:
    with open_source(path) as source:
        return read_all(source.read, source.size, source.layout), source.layout


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path) -> Iterator[None]:
    """No temporary file and no descriptor survives a test, however it went."""

    def open_here() -> list[str]:
        links = (os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd"))
        return [link for link in links if link.startswith(str(tmp_path))]

    yield
    gc.collect()
    assert open_here() == []
    assert [p.name for p in tmp_path.rglob(".wallprint*")] == []


def pillow(path: Path) -> Image.Image:
    """The file as Pillow reads it, loaded and closed."""
    with Image.open(path) as picture:
        picture.load()
        return picture


# -- pixels ------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", ["straight", "premul"])
@pytest.mark.parametrize("dtype", ["u8", "u16", "f32"])
@pytest.mark.parametrize("model", MODELS)
def test_tiff_round_trip_is_exact(tmp_path: Path, model: str, dtype: str, alpha: str) -> None:
    wanted = layout(model, dtype, alpha)
    pixels = random_pixels(SIZE, wanted)
    assert write(tmp_path / "a.tif", pixels, wanted) == []
    found, found_layout = read_back(tmp_path / "a.tif")
    assert found_layout == wanted
    assert np.array_equal(found, pixels)


@pytest.mark.parametrize("dtype", ["u8", "u16"])
@pytest.mark.parametrize("model", ["GRAY", "RGB", "RGBA", "CMYK"])
def test_another_program_reads_the_same_tiff(tmp_path: Path, model: str, dtype: str) -> None:
    wanted = layout(model, dtype)
    pixels = random_pixels(SIZE, wanted)
    write(tmp_path / "a.tif", pixels, wanted)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        page = file.pages[0]
        assert np.array_equal(page.asarray().reshape(pixels.shape), pixels)
        assert page.photometric.name == {"GRAY": "MINISBLACK", "CMYK": "SEPARATED"}.get(
            model, "RGB"
        )
        assert [e.name for e in page.extrasamples] == (["UNASSALPHA"] if model == "RGBA" else [])
        assert page.compression.name == "ADOBE_DEFLATE"


@pytest.mark.parametrize(("alpha", "flag"), [("straight", 2), ("premul", 1)])
def test_kind_of_alpha_is_flagged(tmp_path: Path, alpha: str, flag: int) -> None:
    wanted = layout("RGBA", "u16", alpha)
    write(tmp_path / "a.tif", random_pixels(SIZE, wanted), wanted)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages[0].tags[338].value in (flag, (flag,))


@pytest.mark.parametrize("dtype", ["u8", "u16"])
@pytest.mark.parametrize("model", ["GRAY", "GRAYA", "RGB", "RGBA"])
def test_png_round_trip_is_exact(tmp_path: Path, model: str, dtype: str) -> None:
    wanted = layout(model, dtype)
    pixels = random_pixels(SIZE, wanted)
    assert write(tmp_path / "a.png", pixels, wanted) == []
    found, found_layout = read_back(tmp_path / "a.png")
    assert found_layout == wanted
    assert np.array_equal(found, pixels)


def test_png_rounds_floating_point_with_a_note(tmp_path: Path) -> None:
    wanted = layout("RGB", "f32", trc="perceptual")
    pixels = random_pixels(SIZE, wanted)
    assert "16 bits" in write(tmp_path / "a.png", pixels, wanted)[0]
    found, _ = read_back(tmp_path / "a.png")
    assert np.array_equal(found, np.rint(np.clip(pixels, 0, 1) * np.float32(65535)))


@pytest.mark.parametrize("dtype", ["u8", "u16"])
def test_png_divides_premultiplied_colours(tmp_path: Path, dtype: str) -> None:
    wanted = layout("RGBA", dtype, "premul")
    full = 255 if dtype == "u8" else 65535
    pixels = np.zeros((*reversed((SIZE.width, SIZE.height)), 4), f"uint{8 if full == 255 else 16}")
    pixels[..., :3], pixels[..., 3] = full // 5, full // 5 * 2
    assert "straight alpha" in write(tmp_path / "a.png", pixels, wanted)[0]
    found, found_layout = read_back(tmp_path / "a.png")
    assert found_layout.dtype == dtype
    assert np.abs(found[..., :3].astype(int) - full / 2).max() <= 1
    assert np.array_equal(found[..., 3], pixels[..., 3])


def smooth(model: str, dtype: str) -> np.ndarray:
    """Gradients that JPEG keeps well."""
    wanted = layout(model, dtype)
    y, x = np.mgrid[0 : SIZE.height, 0 : SIZE.width]
    planes = [
        (x / SIZE.width + y / SIZE.height * (i + 1)) / (i + 2) for i in range(wanted.channels)
    ]
    full = {"u8": 255, "u16": 65535, "f32": 1}[dtype]
    kind = {"u8": np.uint8, "u16": np.uint16, "f32": np.float32}[dtype]
    return (np.stack(planes, axis=-1) * full).astype(kind)


@pytest.mark.parametrize("dtype", ["u8", "u16", "f32"])
@pytest.mark.parametrize("model", ["GRAY", "RGB", "CMYK"])
def test_jpeg_keeps_channels_and_values(tmp_path: Path, model: str, dtype: str) -> None:
    pixels = smooth(model, dtype)
    notes = write(tmp_path / "a.jpg", pixels, layout(model, dtype, trc="perceptual"))
    assert len(notes) == (dtype != "u8")
    picture = pillow(tmp_path / "a.jpg")
    assert picture.mode == {"GRAY": "L"}.get(model, model)
    found = np.asarray(picture).reshape(SIZE.height, SIZE.width, -1)
    full = {"u8": 255, "u16": 65535, "f32": 1}[dtype]
    assert np.abs(found - pixels / full * 255).max() <= 4
    if model == "RGB":
        assert [c[1:3] for c in picture.layer] == [(1, 1)] * 3  # 4:4:4


@pytest.mark.parametrize("alpha", ["straight", "premul"])
@pytest.mark.parametrize("model", ["GRAYA", "RGBA"])
def test_jpeg_lays_transparency_on_white(tmp_path: Path, model: str, alpha: str) -> None:
    wanted = layout(model, "u8", alpha)
    pixels = np.zeros((SIZE.height, SIZE.width, wanted.channels), np.uint8)
    pixels[:8, :, :-1] = 0 if alpha == "premul" else 200  # hidden colour under alpha 0
    pixels[16:, :, -1] = 255
    notes = write(tmp_path / "a.jpg", pixels, wanted)
    assert notes == ["JPEG has no transparency: the picture was laid on white."]
    found = np.asarray(pillow(tmp_path / "a.jpg")).reshape(SIZE.height, SIZE.width, -1)
    assert found.shape[2] == wanted.colour_channels
    assert found[:8].min() >= 250
    assert found[24:].max() <= 5


# -- resolution and metadata -------------------------------------------------------------------


@pytest.mark.parametrize("ppi_milli", [30_000, 72_000, 199_995, 200_000, 254_321, 1_200_000])
@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg"])
def test_ppi_is_written(tmp_path: Path, suffix: str, ppi_milli: int) -> None:
    path = tmp_path / f"a{suffix}"
    write(path, random_pixels(SIZE, layout("RGB")), layout("RGB"), ppi_milli=ppi_milli)
    picture = pillow(path)
    exact = picture.getexif() if suffix == ".jpg" else picture.tag_v2 if suffix == ".tif" else None
    if exact is not None:
        assert exact[296] == 2
        for tag in (282, 283):
            assert exact[tag] * 1000 == ppi_milli
    if suffix == ".jpg":
        assert picture.info["jfif_unit"] == 1
        assert abs(picture.info["jfif_density"][0] - ppi_milli / 1000) <= 0.5
    if suffix == ".png":
        assert picture.info["dpi"][0] == pytest.approx(ppi_milli / 1000, abs=0.03)


def photo_with_metadata(path: Path) -> Metadata:
    """A JPEG as a camera and a photo manager leave it; its metadata as read."""
    exif = Image.Exif()
    exif[271], exif[272], exif[306] = "Maker", "Model X", "2020:01:02 03:04:05"
    exif[315], exif[33432], exif[274] = "Ann", "(c) Ann", 6
    details = exif.get_ifd(34665)
    details[33434], details[36867] = 0.008, "2020:01:02 03:04:05"
    details[37500] = b"MAKERNOTE\0" + bytes(range(200))
    details[40962], details[40963] = 99, 98
    details[49152] = "a tag that no library knows"
    gps = exif.get_ifd(34853)
    gps[1], gps[2] = "N", (52.0, 30.0, 12.34)
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" '
        b'exif:PixelXDimension="99" dc:title="Sea &amp; sky"><tiff:ImageWidth>99</tiff:ImageWidth>'
        b"</rdf:Description></x:xmpmeta>"
    )
    Image.fromarray(random_pixels(SIZE, layout("RGB"))).save(
        path, exif=exif, xmp=xmp, icc_profile=icc_profile(), quality=95
    )
    with open_source(path) as source:
        return source.metadata


def exif_of(path: Path) -> tuple[dict[int, object], dict[int, object], dict[int, object]]:
    """(IFD0, EXIF, GPS) as Pillow reads them."""
    exif = pillow(path).getexif()
    return dict(exif), dict(exif.get_ifd(34665)), dict(exif.get_ifd(34853))


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg"])
def test_metadata_is_kept_and_brought_up_to_date(
    tmp_path: Path, suffix: str, big: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if big:
        monkeypatch.setattr(encode_module, "BIGTIFF_FROM_BYTES", 0)
    metadata = photo_with_metadata(tmp_path / "in.jpg")
    path = tmp_path / f"out{suffix}"
    write(path, random_pixels(SIZE, layout("RGB")), layout("RGB"), metadata=metadata)
    main, details, gps = exif_of(path)
    assert main[271] == "Maker"
    assert main[272] == "Model X"
    assert main[306] == "2020:01:02 03:04:05"
    assert main[315] == "Ann"
    assert main[33432] == "(c) Ann"
    assert main[274] == 1
    assert details[33434] == pytest.approx(0.008)
    assert details[36867] == "2020:01:02 03:04:05"
    assert details[37500] == b"MAKERNOTE\0" + bytes(range(200))
    assert details[49152] == "a tag that no library knows"
    assert (details[40962], details[40963]) == (SIZE.width, SIZE.height)
    assert gps[1] == "N"
    assert tuple(float(v) for v in gps[2]) == pytest.approx((52.0, 30.0, 12.34))
    with open_source(path) as source:
        xmp = source.metadata.xmp
        assert source.metadata.icc == icc_profile()
    assert b'tiff:Orientation="1"' in xmp
    assert b'exif:PixelXDimension="41"' in xmp
    assert b"<tiff:ImageWidth>41</tiff:ImageWidth>" in xmp
    assert b'dc:title="Sea &amp; sky"' in xmp
    if suffix == ".tif":
        head = path.read_bytes()[:4]
        assert head == (b"II+\0" if big else b"II*\0")


def test_metadata_survives_a_second_print(tmp_path: Path) -> None:
    """TIFF in, TIFF out: EXIF is found in the tags again."""
    metadata = photo_with_metadata(tmp_path / "in.jpg")
    for name in ("one.tif", "two.tif"):
        write(tmp_path / name, random_pixels(SIZE, layout("RGB")), layout("RGB"), metadata=metadata)
        with open_source(tmp_path / name) as source:
            metadata = source.metadata
    assert exif_of(tmp_path / "one.tif")[1:] == exif_of(tmp_path / "two.tif")[1:]
    assert exif_of(tmp_path / "two.tif")[0][33432] == "(c) Ann"


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg"])
@pytest.mark.parametrize("model", ["GRAY", "RGB"])
def test_profile_bytes_are_identical(tmp_path: Path, model: str, suffix: str) -> None:
    """Also where the profile does not suit the channels, and where it fills several segments."""
    profile = icc_profile(b"RGB ", os.urandom(150_000), b"desc")
    path = tmp_path / f"a{suffix}"
    write(path, random_pixels(SIZE, layout(model)), layout(model), metadata=Metadata(icc=profile))
    found = pillow(path).info["icc_profile"]
    assert hashlib.sha256(found).digest() == hashlib.sha256(profile).digest()


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg"])
def test_no_profile_in_none_out(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"a{suffix}", random_pixels(SIZE, layout("RGB")), layout("RGB"))
    assert "icc_profile" not in pillow(tmp_path / f"a{suffix}").info


def test_captions_go_from_jpeg_to_tiff_and_back(tmp_path: Path) -> None:
    iptc = b"\x1c\x02\x78\x00\x0bSea and sky"
    for name in ("a.jpg", "a.tif"):
        meta = Metadata(iptc=iptc)
        write(tmp_path / name, random_pixels(SIZE, layout("RGB")), layout("RGB"), metadata=meta)
        with open_source(tmp_path / name) as source:
            assert source.metadata.iptc == iptc


def test_a_maker_note_too_long_for_jpeg_does_not_cost_the_other_tags(tmp_path: Path) -> None:
    exif: Directory = {
        271: Entry(2, 6, b"Maker\0"),
        34665: {37500: Entry.undefined(bytes(70_000)), 34855: Entry.short(400)},
    }
    pixels, meta = random_pixels(SIZE, layout("RGB")), Metadata(exif=exif)
    notes = write(tmp_path / "a.jpg", pixels, layout("RGB"), metadata=meta)
    assert notes == ["The camera's maker note is too long for JPEG and was left out."]
    main, details, _ = exif_of(tmp_path / "a.jpg")
    assert (main[271], details[34855]) == ("Maker", 400)
    assert 37500 not in details
    write(tmp_path / "a.tif", pixels, layout("RGB"), metadata=meta)
    assert len(exif_of(tmp_path / "a.tif")[1][37500]) == 70_000


def test_what_jpeg_and_png_cannot_keep_is_said(tmp_path: Path) -> None:
    pixels = random_pixels(SIZE, layout("RGB"))
    long_xmp = Metadata(xmp=b"<x>" + b"y" * 70_000 + b"</x>")
    notes = write(tmp_path / "a.jpg", pixels, layout("RGB"), metadata=long_xmp)
    assert notes == ["The XMP data are too long for JPEG and were left out; TIFF keeps them."]
    notes = write(tmp_path / "a.png", pixels, layout("RGB"), metadata=Metadata(iptc=b"\x1c"))
    assert notes == ["PNG has no place for IPTC captions; they were left out."]


# -- what cannot be written --------------------------------------------------------------------


def refused(path: Path, size: Size = SIZE, pixel_layout: PixelLayout | None = None) -> str:
    with pytest.raises(BadInput) as caught:
        PrintFile(path, size, pixel_layout or layout("RGB"), ppi_milli=200_000, metadata=Metadata())
    assert caught.value.exit_code == 2
    return caught.value.message


def test_folder_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "does not exist" in refused(tmp_path / "none" / "a.tif")
    assert "is a folder" in refused(_folder(tmp_path / "b.tif"))
    (tmp_path / "file").write_bytes(b"")
    assert "is not a folder" in refused(tmp_path / "file" / "a.tif")
    os.mkfifo(tmp_path / "pipe.tif")
    assert "ordinary file" in refused(tmp_path / "pipe.tif")

    def read_only(*_: object, **__: object) -> None:  # root could write: let the system say no
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(files_out.tempfile, "mkstemp", read_only)
    assert "cannot be written (Read-only file system)" in refused(tmp_path / "a.tif")


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize("name", ["a.gif", "a", "a.webp", "a.tif.part"])
def test_unknown_ending_names_ours(tmp_path: Path, name: str) -> None:
    assert ".tif, .png, .jpg and .pdf" in refused(tmp_path / name)


def test_format_too_small_for_the_print_names_tiff() -> None:
    rgb = layout("RGB")
    check_output(Path("a.jpg"), Size(65_500, 10), rgb)
    with pytest.raises(BadInput, match=r"JPEG.*65500 px.*a\.tif"):
        check_output(Path("a.jpg"), Size(65_501, 10), rgb)
    with pytest.raises(BadInput, match="4096 megapixels"):
        check_output(Path("a.tif"), Size(64_001, 64_000), layout("GRAY"))
    with pytest.raises(BadInput, match="262144 px"):
        check_output(Path("a.tif"), Size(262_145, 10), rgb)


@pytest.mark.parametrize(
    ("name", "pixel_layout"),
    [
        ("a.png", layout("CMYK")),
        ("a.jpg", layout("CMYKA")),
        ("a.jpg", layout("RGB", "u16", trc="linear")),
        ("a.png", layout("RGB", "f32", trc="linear")),
    ],
)
def test_pixels_that_a_format_cannot_hold_name_tiff(name: str, pixel_layout: PixelLayout) -> None:
    with pytest.raises(BadInput, match=r"a\.tif"):
        check_output(Path(name), SIZE, pixel_layout)
    check_output(Path("a.tif"), SIZE, pixel_layout)


# -- all or nothing ----------------------------------------------------------------------------


def test_existing_file_is_replaced_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"old")
    path.chmod(0o640)
    pixels = random_pixels(SIZE, layout("RGB"))
    with PrintFile(path, SIZE, layout("RGB"), ppi_milli=200_000, metadata=Metadata()) as file:
        file.write(Rect(0, 0, SIZE.width, SIZE.height), pixels.tobytes())
        assert path.read_bytes() == b"old"
        file.commit()
    assert np.array_equal(read_back(path)[0], pixels)
    assert path.stat().st_mode & 0o777 == 0o640


def test_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.tif").write_bytes(b"old")
    (tmp_path / "link.tif").symlink_to("real.tif")
    write(tmp_path / "link.tif", random_pixels(SIZE, layout("RGB")), layout("RGB"))
    assert (tmp_path / "link.tif").is_symlink()
    assert read_back(tmp_path / "real.tif")[0].shape == (29, 41, 3)


def test_missing_pixels_write_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"old")
    with PrintFile(path, SIZE, layout("GRAY"), ppi_milli=200_000, metadata=Metadata()) as file:
        file.write(Rect(0, 0, SIZE.width, SIZE.height - 1), bytes(41 * 28))
        with pytest.raises(WallprintError, match="1148 of 1189 pixels"):
            file.commit()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg"])
def test_cancelled_while_encoding(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")
    size = Size(2000, 2000)
    heard: list[float] = []
    with PrintFile(path, size, layout("GRAY"), ppi_milli=200_000, metadata=Metadata()) as file:
        file.write(Rect(0, 0, 2000, 2000), bytes(4_000_000))
        with pytest.raises(Cancelled):
            file.commit(on_progress=heard.append, should_cancel=lambda: len(heard) > 3)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert heard[-1] < 1


def limited(tmp_path: Path, limit: int, suffix: str, work: str) -> str:
    """Run `work` where no file may pass `limit` bytes; a stand-in for a full disk."""
    code = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
from wallprint_protocol.errors import OutOfResources
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Rect, Size
from wallprint_server.imaging import files_out
from wallprint_server.imaging.metadata import Metadata
from wallprint_server.imaging.tiff_tags import Directory, Entry
import os
try:
    {work}
except OutOfResources as error:
    print(error.code, error.exit_code, error.message)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    return result.stdout


OPEN = "f = files_out.PrintFile('a{}', Size(1000, 1000), PixelLayout('RGB', 'u8'), " \
    "ppi_milli=200000, metadata=Metadata())"  # fmt: skip


def test_full_disk_shows_before_the_work(tmp_path: Path) -> None:
    said = limited(tmp_path, 4_000_000, ".tif", OPEN.format(".tif"))
    assert said.startswith("E_DISK_FULL 4 There is not enough room")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg"])
def test_disk_that_fills_up_while_encoding(tmp_path: Path, suffix: str) -> None:
    """Something else took the room in the meantime."""
    (tmp_path / f"a{suffix}").write_bytes(b"old")
    work = (
        "files_out._reserve, kept = (lambda *a: None), files_out._reserve; "
        + OPEN.format(suffix)
        + "; files_out._reserve = kept; f.write(Rect(0, 0, 1000, 1000), os.urandom(3000000)); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 3000000)); f.commit()"
    )
    said = limited(tmp_path, 3_000_000, suffix, work)
    assert said.startswith("E_DISK_FULL 4 There is not enough room")
    assert (tmp_path / f"a{suffix}").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == [f"a{suffix}"]


_PEAK = """
import sys
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Rect, Size
from wallprint_server.imaging.files_out import PrintFile
from wallprint_server.imaging.metadata import Metadata
from wallprint_server.imaging.tiff_tags import Directory, Entry
path, megapixels = sys.argv[1], int(sys.argv[2])
size = Size(10_000, megapixels * 100)
strip = bytes(i * 7 % 251 for i in range(10_000)) * 100
with PrintFile(path, size, PixelLayout('GRAY', 'u8'), ppi_milli=200_000,
               metadata=Metadata()) as file:
    for y in range(0, size.height, 100):
        file.write(Rect(0, y, 10_000, 100), strip)
    file.commit()
print([line for line in open('/proc/self/status') if line.startswith('VmHWM')][0].split()[1])
"""


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg"])
def test_memory_does_not_grow_with_the_print(tmp_path: Path, suffix: str) -> None:
    """20 against 200 megapixels: 180 MB more pixels, less than 20 MB more memory."""

    def peak_mb(megapixels: int) -> float:
        command = [sys.executable, "-c", _PEAK, str(tmp_path / f"a{suffix}"), str(megapixels)]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(result.stdout) / 1024

    small, large = peak_mb(20), peak_mb(200)
    print(f"{suffix}: {small:.0f} MB for 20 MP, {large:.0f} MB for 200 MP")
    assert large - small < 20
