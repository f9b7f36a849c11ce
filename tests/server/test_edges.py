"""Bleed and gallery wrap: margins are the finished picture, mirrored, and told final in order."""

from __future__ import annotations

import numpy as np
import pytest

from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Placement, Rect, Size, Window
from wallprint_protocol.request import Request
from wallprint_server.pipeline.edges import MirroredMargins
from wallprint_testing.engines import FakeEngine, raster_of, run_pipeline


@pytest.mark.parametrize(
    "layout", [PixelLayout("RGB", "u8"), PixelLayout("RGBA", "u16", "straight")]
)
def test_mirrored_margins_repeat_the_finished_picture(layout: PixelLayout) -> None:
    rng = np.random.default_rng(2)
    coarse = rng.integers(0, 255, (22, 30, layout.channels))
    picture = np.kron(coarse, np.ones((10, 10, 1), int)) * (257 if layout.dtype == "u16" else 1)
    options = {"engine": FakeEngine(), "sharpen": "matte", "tile_px": 128}
    face, _ = run_pipeline(picture, layout, Size(600, 440), **options)
    left, top, right, bottom = mirror = (7, 90, 130, 11)
    out = Size(600 + left + right, 440 + top + bottom)
    window = Window(0.0, 0.0, float(picture.shape[1]), float(picture.shape[0]))
    placement = Placement(out, window, Rect(left, top, 600, 440), mirror)
    rows: list[int] = []
    sheet, _ = run_pipeline(
        picture, layout, placement, **options, on_progress=lambda *news: rows.append(news[3])
    )
    expected = np.pad(face, ((top, bottom), (left, right), (0, 0)), mode="symmetric")
    assert np.array_equal(sheet, expected)
    assert rows == sorted(rows)
    assert rows[-1] == out.height
    assert len(set(rows)) > 3, "rows should leave while the next are computed"


def test_rows_are_told_final_only_when_their_mirror_is() -> None:
    """What was told final must never change: the client has it already."""
    size = Size(40, 60)
    raster, file = raster_of(bytes(size.pixels), size, PixelLayout("GRAY", "u8"))
    with file:
        rng = np.random.default_rng(4)
        margins = MirroredMargins(raster, (5, 20, 3, 10))
        told: list[tuple[int, bytes]] = []
        for y in range(20, 50, 3):
            rows = min(3, 50 - y)
            raster.write(Rect(5, y, 32, rows), rng.integers(0, 255, 32 * rows, np.uint8).tobytes())
            final = margins.extend(y + rows)
            told.append((final, bytes(raster.read(Rect(0, 0, 40, final))) if final else b""))
        end = np.frombuffer(raster.read(Rect(0, 0, 40, 60)), np.uint8).reshape(60, 40)
    for final, then in told:
        assert then == end[:final].tobytes()
    assert [final for final, _ in told][:6] == [0] * 6
    assert told[-1][0] == 60
    inner = end[20:50, 5:37]
    assert np.array_equal(end, np.pad(inner, ((20, 10), (5, 3)), mode="symmetric"))


@pytest.mark.parametrize(
    ("rect", "mirror", "text"),
    [
        (Rect(0, 0, 80, 60), (10, 0, 0, 0), "reaches into"),
        (Rect(50, 0, 30, 60), (45, 0, 0, 0), "wider than the picture"),
        (Rect(0, 0, 80, 60), (0, 0, 0, -1), "at least 0"),
    ],
)
def test_margins_that_cannot_be_filled_are_refused(rect, mirror, text) -> None:
    placement = Placement(Size(80, 60), Window(0, 0, 40, 30), rect, mirror)
    with pytest.raises(ValueError, match=text):
        Request.build(Size(40, 30), PixelLayout("RGB", "u8"), placement)
