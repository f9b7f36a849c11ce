"""The plain TIFF that an editor writes is read back with its very samples, profile and ppi."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from wallprint_protocol import tiff_file
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Rect, Size
from wallprint_protocol.tiff_file import TiffFile, profile_of
from wallprint_server.imaging.files_in import open_source
from wallprint_server.imaging.relaid import reader_in

SIZE = Size(37, 150)
NUMPY = {"u8": "<u1", "u16": "<u2", "f16": "<f2", "f32": "<f4"}


def picture(layout: PixelLayout) -> np.ndarray:
    generator = np.random.default_rng(5)
    shape = (SIZE.height, SIZE.width, layout.channels)
    if layout.dtype.startswith("f"):
        return generator.random(shape, dtype=np.float32).astype(NUMPY[layout.dtype])
    top = 255 if layout.dtype == "u8" else 65535
    return generator.integers(0, top, shape, endpoint=True).astype(NUMPY[layout.dtype])


def write(path: Path, layout: PixelLayout, pixels: np.ndarray, icc: bytes = b"") -> None:
    with TiffFile(path, SIZE, layout, ppi=72.5, icc=icc) as file:
        for y, height in ((0, 64), (64, 64), (0, 64), (128, 22)):  # the first came twice
            file.write(Rect(0, y, SIZE.width, height), pixels[y : y + height].tobytes())


@pytest.mark.parametrize(
    "layout",
    [
        PixelLayout("BGRA", "u8", "straight"),
        PixelLayout("BGRA", "u16", "straight"),
        PixelLayout("RGBA", "f16", "straight", "linear"),
        PixelLayout("RGBA", "f32", "straight", "linear"),
        PixelLayout("RGB", "u16"),
        PixelLayout("GRAYA", "u16", "straight"),
        PixelLayout("GRAY", "u8"),
        PixelLayout("CMYKA", "u8", "straight"),
    ],
    ids=lambda layout: f"{layout.model}-{layout.dtype}",
)
@pytest.mark.parametrize("big", [False, True], ids=["tiff", "bigtiff"])
def test_the_same_samples(
    tmp_path: Path, layout: PixelLayout, big: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if big:
        monkeypatch.setattr(tiff_file, "_BIG_FROM_BYTES", 1)
    pixels = picture(layout)
    write(tmp_path / "layer.tif", layout, pixels)
    assert (tmp_path / "layer.tif").read_bytes()[2] == (43 if big else 42)
    with open_source(tmp_path / "layer.tif") as source:
        assert source.size == SIZE
        assert source.layout.has_alpha == layout.has_alpha
        whole = Rect(0, 0, SIZE.width, SIZE.height)
        assert reader_in(source, layout)(whole) == pixels.tobytes()


def test_profile_and_resolution(tmp_path: Path) -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    layout = PixelLayout("BGRA", "u8", "straight")
    write(tmp_path / "layer.tif", layout, picture(layout), icc)
    with open_source(tmp_path / "layer.tif") as source:
        assert source.metadata.icc == icc
    assert profile_of((tmp_path / "layer.tif").read_bytes()) == icc

    with Image.open(tmp_path / "layer.tif") as opened:
        assert opened.info["dpi"] == (72.5, 72.5)
    for broken in (b"", b"II*\0\xff\xff\xff\x7f", b"II*\0\x08\0\0\0\0\0"):
        assert profile_of(broken) == b""
