"""Picture files in: what each kind of file means, and the sentence for each that cannot be used."""

from __future__ import annotations

import csv
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wallprint_protocol.errors import BadInput
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Rect, Size
from wallprint_server.imaging import files_in
from wallprint_server.imaging.files_in import open_selection, open_source
from wallprint_server.imaging.vips import vips
from wallprint_testing.data import eval_data
from wallprint_testing.picture_files import (
    gamma_curve,
    icc_profile,
    random_pixels,
    read_all,
    save,
    tiff_bytes,
)

SIZE = Size(23, 17)


def pixels_of(path: Path) -> np.ndarray:
    with open_source(path) as source:
        return read_all(source.read, source.size, source.layout)


def layout_of(path: Path) -> dict[str, str]:
    with open_source(path) as source:
        return source.layout.to_map()


def refusal(path: Path) -> str:
    """The sentence with which a file is refused, at once or when its pixels are read."""
    with pytest.raises(BadInput) as caught:
        pixels_of(path)
    message = caught.value.message
    assert caught.value.exit_code == 2
    assert "\n" not in message
    assert len(message) < 250
    return message


# -- what files mean ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [(m, s) for m in ("L", "LA", "RGB", "RGBA") for s in (".png", ".tif")]
    + [("RGB", ".webp"), ("RGBA", ".webp")],  # WebP has no grey
)
def test_eight_bit_pixels_come_as_they_are(tmp_path: Path, mode: str, suffix: str) -> None:
    model = {"L": "GRAY", "LA": "GRAYA", "RGB": "RGB", "RGBA": "RGBA"}[mode]
    layout = PixelLayout(model, "u8", "straight" if mode.endswith("A") else "none")
    pixels = random_pixels(SIZE, layout)
    path = tmp_path / f"picture{suffix}"
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    Image.fromarray(pixels.squeeze(), mode).save(path, **options)
    assert layout_of(path) == layout.to_map()
    assert np.array_equal(pixels_of(path), pixels)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("dtype", ["u8", "u16", "f32"])
@pytest.mark.parametrize(("model", "photometric"), [("GRAY", 1), ("RGB", 2), ("CMYK", 5)])
def test_tiff_of_any_depth_order_and_size_class(
    tmp_path: Path, order: str, big: bool, dtype: str, model: str, photometric: int
) -> None:
    pixels = random_pixels(SIZE, PixelLayout(model, dtype))
    path = save(tmp_path / "a.tif", tiff_bytes(pixels, photometric, order=order, big=big))
    linear = dtype == "f32" and model != "CMYK"
    assert layout_of(path) == {
        "model": model,
        "dtype": dtype,
        "alpha": "none",
        "trc": "linear" if linear else "perceptual",
    }
    assert np.array_equal(pixels_of(path), pixels)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u8", "u16", "f32"])
def test_premultiplied_tiff_is_not_divided(
    tmp_path: Path, dtype: str, order: str, big: bool
) -> None:
    """libvips divides by alpha on loading; light without cover (alpha 0) would be lost."""
    pixels = random_pixels(SIZE, PixelLayout("RGBA", dtype, "premul"))
    pixels[3, 4, 3] = 0
    data = tiff_bytes(pixels, 2, order=order, big=big, tags={338: (3, (1,))})
    path = save(tmp_path / "a.tif", data)
    assert layout_of(path)["alpha"] == "premul"
    assert np.array_equal(pixels_of(path), pixels)


def test_sixteen_bit_png_keeps_its_levels(tmp_path: Path) -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    assert layout_of(tmp_path / "ramp.png")["dtype"] == "u16"
    assert np.array_equal(pixels_of(tmp_path / "ramp.png")[..., 0], ramp)


def test_half_float_becomes_float(tmp_path: Path) -> None:
    pixels = np.linspace(-1, 5, 8 * 8 * 3).reshape(8, 8, 3).astype(np.float16)
    path = save(tmp_path / "half.tif", tiff_bytes(pixels, 2))
    assert layout_of(path)["dtype"] == "f32"
    assert np.array_equal(pixels_of(path), pixels.astype(np.float32))


def test_tiled_tiff(tmp_path: Path) -> None:
    pixels = random_pixels(Size(300, 200), PixelLayout("RGB", "u16"))
    image = vips().Image.new_from_memory(pixels.tobytes(), 300, 200, 3, "ushort")
    image = image.copy(interpretation="rgb16")
    image.tiffsave(str(tmp_path / "t.tif"), tile=True, tile_width=64, tile_height=64, bigtiff=True)
    assert np.array_equal(pixels_of(tmp_path / "t.tif"), pixels)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_palette_is_expanded(tmp_path: Path, suffix: str) -> None:
    colours = random_pixels(SIZE, PixelLayout("RGB", "u8")) // 128 * 255
    Image.fromarray(colours).convert("P", palette=Image.Palette.ADAPTIVE).save(
        tmp_path / f"p{suffix}"
    )
    assert layout_of(tmp_path / f"p{suffix}")["model"] == "RGB"
    assert np.array_equal(pixels_of(tmp_path / f"p{suffix}"), colours)


def test_palette_with_transparency(tmp_path: Path) -> None:
    picture = Image.new("P", (4, 1))
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    picture.putdata([0, 1, 2, 1])
    picture.save(tmp_path / "p.png", transparency=bytes([0, 128, 255]))
    assert layout_of(tmp_path / "p.png")["alpha"] == "straight"
    expected = [[255, 0, 0, 0], [0, 255, 0, 128], [0, 0, 255, 255], [0, 255, 0, 128]]
    assert pixels_of(tmp_path / "p.png").reshape(4, 4).tolist() == expected


def test_one_bit_becomes_black_and_white(tmp_path: Path) -> None:
    bits = np.arange(64).reshape(8, 8) % 3 == 0
    for name in ("b.png", "b.tif"):
        Image.fromarray(bits).convert("1").save(tmp_path / name)
        assert np.array_equal(pixels_of(tmp_path / name)[..., 0], bits * np.uint8(255))


def test_white_is_zero_tiff_is_turned(tmp_path: Path) -> None:
    pixels = random_pixels(SIZE, PixelLayout("GRAY", "u16"))
    path = save(tmp_path / "w.tif", tiff_bytes(pixels, 0))
    assert np.array_equal(pixels_of(path), 65535 - pixels)


def test_cmyk_jpeg_has_zero_for_no_ink(tmp_path: Path) -> None:
    """Adobe stores CMYK JPEGs inverted; Pillow writes them so."""
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[..., 3] = 200
    Image.fromarray(ink, "CMYK").save(tmp_path / "c.jpg", quality=100)
    assert layout_of(tmp_path / "c.jpg")["model"] == "CMYK"
    assert np.abs(pixels_of(tmp_path / "c.jpg").astype(int) - ink).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    """Four corners of different grey, in the place where EXIF says they belong."""
    upright = np.kron(np.array([[0, 85], [170, 255]], np.uint8), np.ones((24, 32), np.uint8))
    undo = {  # from upright to stored
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: np.transpose,
        6: np.rot90,
        7: lambda a: np.rot90(a, 2).T,
        8: lambda a: np.rot90(a, -1),
    }
    stored = np.ascontiguousarray(undo[orientation](upright))
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"o{suffix}"
    Image.fromarray(np.stack([stored] * 3, axis=-1)).save(path, exif=exif, quality=95)
    with open_source(path) as source:
        assert source.size == Size(64, 48)
        assert 274 not in source.metadata.exif
        found = read_all(source.read, source.size, source.layout)[..., 1]
    assert np.abs(found.astype(int) - upright).max() <= 12


def test_linear_light_is_told_by_the_profile(tmp_path: Path) -> None:
    pixels = random_pixels(SIZE, PixelLayout("RGB", "u16"))
    for gamma, trc in ((1.0, "linear"), (2.2, "perceptual")):
        for name, kind in (("u16", np.uint16), ("f32", np.float32)):
            profile = icc_profile(curve=gamma_curve(gamma))
            data = tiff_bytes(pixels.astype(kind), 2, tags={34675: (7, profile)})
            path = save(tmp_path / f"{name}.tif", data)
            with open_source(path) as source:
                assert source.layout.trc == trc
                assert source.metadata.icc == profile


@pytest.mark.parametrize(("kind", "extra"), [("unspecified", {338: (3, (0,))}), ("untold", {})])
def test_extra_channels_that_are_no_alpha_are_left_out_with_a_note(
    tmp_path: Path, kind: str, extra: dict[int, tuple[int, tuple[int, ...]]]
) -> None:
    pixels = random_pixels(SIZE, PixelLayout("RGBA", "u8", "straight"))
    path = save(tmp_path / f"{kind}.tif", tiff_bytes(pixels, 2, tags=extra))
    with open_source(path) as source:
        assert source.layout.model == "RGB"
        assert len(source.notes) == 1
        assert "left out" in source.notes[0]
        assert np.array_equal(read_all(source.read, SIZE, source.layout), pixels[..., :3])


def test_pages_are_told(tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (8, 8), c) for c in ("red", "blue"))
    first.save(tmp_path / "two.tif", save_all=True, append_images=[second])
    with open_source(tmp_path / "two.tif") as source:
        assert "2 pages" in source.notes[0]
        assert source.read(Rect(0, 0, 1, 1)) == b"\xff\0\0"


def test_a_step_back_reads_the_same_pixels(tmp_path: Path) -> None:
    """A client that must send a strip again gets the very same bytes."""
    pixels = random_pixels(Size(64, 600), PixelLayout("RGB", "u8"))
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with open_source(tmp_path / "a.png") as source:
        first = source.read(Rect(0, 0, 64, 16))
        source.read(Rect(0, 584, 64, 16))
        assert source.read(Rect(0, 0, 64, 16)) == first == pixels[:16].tobytes()
        assert source.read(Rect(5, 300, 9, 1)) == pixels[300, 5:14].tobytes()


# -- selections --------------------------------------------------------------------------------


def test_selection_of_any_kind_becomes_grey(tmp_path: Path) -> None:
    grey = random_pixels(SIZE, PixelLayout("GRAY", "u8"))
    Image.fromarray(grey[..., 0]).save(tmp_path / "grey.png")
    Image.fromarray(np.repeat(grey, 3, axis=2)).save(tmp_path / "rgb.png")
    for name in ("grey.png", "rgb.png"):
        with open_selection(tmp_path / name, SIZE) as mask:
            assert mask.layout == PixelLayout("GRAY", "u8")
            found = read_all(mask.read, SIZE, mask.layout)
        assert np.abs(found.astype(int) - grey).max() <= 1


def test_transparent_part_of_a_selection_is_not_selected(tmp_path: Path) -> None:
    mask = np.full((4, 4, 4), 255, np.uint8)
    mask[:2, :, 3] = 0
    Image.fromarray(mask).save(tmp_path / "m.png")
    with open_selection(tmp_path / "m.png", Size(4, 4)) as found:
        rows = read_all(found.read, Size(4, 4), found.layout)
    assert rows[:2].max() == 0
    assert rows[2:].min() == 255


def test_selection_of_another_size_names_both(tmp_path: Path) -> None:
    Image.new("L", (5, 6)).save(tmp_path / "m.png")
    with pytest.raises(BadInput, match=r"5x6 px.*23x17 px"):
        open_selection(tmp_path / "m.png", SIZE)


def test_selection_is_compared_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.new("L", (17, 23)).save(tmp_path / "m.png", exif=exif)
    with open_selection(tmp_path / "m.png", SIZE) as mask:
        assert mask.size == SIZE


# -- what cannot be used -----------------------------------------------------------------------


def test_missing_folder_and_empty(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "none.jpg")
    assert "is a folder" in refusal(tmp_path)
    assert "0 bytes" in refusal(save(tmp_path / "empty.jpg", b""))


def test_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "secret.png", b"x")
    path.chmod(0)
    if os.geteuid() == 0:  # root reads everything: let the system say no

        def refuse(self: Path, *_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
    assert "may not be read" in refusal(path)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"Dear reader, " * 20, "not a picture"),
        (b"%PDF-1.7\n", "PDF"),
        (b"8BPS\0\1" + b"\0" * 30, "Photoshop"),
        (b"gimp xcf v011\0", "GIMP"),
        (b"\0\0\0\x18ftypheic", "HEIF"),
    ],
)
def test_foreign_content_is_named_whatever_the_name(tmp_path: Path, data: bytes, what: str) -> None:
    message = refusal(save(tmp_path / "photo.jpg", data))
    assert what in message
    assert "JPEG, PNG, TIFF or WebP" in message


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("part", [0.02, 0.4, 0.9])
def test_truncated(tmp_path: Path, suffix: str, part: float) -> None:
    path = tmp_path / f"cut{suffix}"
    Image.fromarray(random_pixels(Size(300, 200), PixelLayout("RGB", "u8"))).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    assert "damaged or cut short" in refusal(path)


def _claiming(width: int, height: int) -> bytes:
    """A PNG whose header claims a size, with next to no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 4096))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("width", "height"), [(60000, 60000), (16001, 16000), (262145, 1)])
def test_bomb_is_refused_by_its_header(
    tmp_path: Path, width: int, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a pixel was decoded")

    monkeypatch.setattr(vips().Region, "new", never)
    message = refusal(save(tmp_path / "bomb.png", _claiming(width, height)))
    assert f"{width}x{height}" in message


def test_largest_allowed_size_is_not_a_bomb(tmp_path: Path) -> None:
    path = save(tmp_path / "large.png", _claiming(16000, 16000))
    assert open_source(path).size.pixels == files_in.MAX_INPUT_PX


def test_raw_and_foreign_samples_are_refused(tmp_path: Path) -> None:
    pixels = random_pixels(SIZE, PixelLayout("RGB", "u8"))
    dng = tiff_bytes(pixels, 2, tags={50706: (4, (1,))})
    assert "camera raw" in refusal(save(tmp_path / "a.tif", dng))
    assert "camera raw" in refusal(save(tmp_path / "a.nef", tiff_bytes(pixels, 2)))
    assert "YCbCr" in refusal(save(tmp_path / "y.tif", tiff_bytes(pixels, 6)))
    assert "Lab" in refusal(save(tmp_path / "l.tif", tiff_bytes(pixels, 8)))
    inks = tiff_bytes(random_pixels(SIZE, PixelLayout("CMYK", "u8")), 5, tags={332: (3, (2,))})
    assert "inks" in refusal(save(tmp_path / "i.tif", inks))
    for kind in (np.float64, np.int16, np.int8, np.uint32):
        data = tiff_bytes(pixels.astype(kind), 2)
        assert "samples" in refusal(save(tmp_path / "k.tif", data))


@pytest.mark.data
def test_odd_specimens() -> None:
    """Every specimen of the evaluation pack behaves as its table says."""
    folder = eval_data("odd")
    with (folder / "EXPECT.tsv").open() as file:
        names = [row["file"] for row in csv.DictReader(file, delimiter="\t")]
    refused = {"truncated.jpg", "bomb_60000.png", "text_named.jpg"}
    for name in names:
        if name in refused:
            refusal(folder / name)
    found = {name: layout_of(folder / name) for name in names if name not in refused}
    assert found["ramp_rgb16.png"]["dtype"] == found["gray16.tif"]["dtype"] == "u16"
    assert found["rgba_soft_hidden.png"]["model"] == "RGBA"
    assert found["cmyk.tif"]["model"] == "CMYK"
    assert found["gray_alpha.png"]["model"] == "GRAYA"
    palette = pixels_of(folder / "palette_transparent.png")
    assert {0, 128} <= set(np.unique(palette[..., 3]))
    assert np.unique(pixels_of(folder / "ramp_rgb16.png")).size > 256
    turned = pixels_of(folder / "exif_orient6.jpg")
    assert turned.shape == (120, 200, 3)
    blue = turned[5, 5].astype(int)
    assert blue[2] > 200
    assert blue[:2].max() < 60
    with open_source(folder / "adobergb_icc.jpg") as source:
        assert len(source.metadata.icc) > 128
    assert pixels_of(folder / "strip_3x2000.png").shape == (2000, 3, 3)
    assert pixels_of(folder / "one_pixel.png").shape == (1, 1, 3)
