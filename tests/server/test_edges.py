"""Bleed and gallery wrap: margins are the finished picture, mirrored, and told final in order."""

from __future__ import annotations

import numpy as np
import pytest

from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_plan import Settings, layer_job, make_plan
from wallprint_protocol.print_size import Placement, Rect, Size, Window
from wallprint_protocol.request import Options, Request
from wallprint_server.pipeline.edges import Margins
from wallprint_testing.engines import FakeEngine, raster_of, run_pipeline


def options(mirror: tuple[int, int, int, int], **fill: str) -> Options:
    return Options((0.0, 0.0, 1.0, 1.0), (0, 0, 1, 1), mirror, **fill)


def filled(face: np.ndarray, layout: PixelLayout, chosen: Options, step: int = 7) -> np.ndarray:
    """The face with its margins, its rows becoming final `step` at a time."""
    left, top, right, bottom = chosen.mirror
    height, width = face.shape[0] + top + bottom, face.shape[1] + left + right
    size = Size(width, height)
    raster, file = raster_of(bytes(size.pixels * layout.bytes_per_pixel), size, layout)
    with file:
        margins = Margins(raster, layout, chosen)
        margins.extend(0)
        for y in range(0, face.shape[0], step):
            rows = face[y : y + step]
            raster.write(Rect(left, top + y, face.shape[1], len(rows)), rows.tobytes())
            done = margins.extend(top + y + len(rows))
        assert done == height
        data = raster.read(Rect(0, 0, width, height))
    return np.frombuffer(data, face.dtype).reshape(height, width, -1)


@pytest.mark.parametrize(
    "layout", [PixelLayout("RGB", "u8"), PixelLayout("RGBA", "u16", "straight")]
)
def test_mirrored_margins_repeat_the_finished_picture(layout: PixelLayout) -> None:
    rng = np.random.default_rng(2)
    coarse = rng.integers(0, 255, (44, 30, layout.channels))
    picture = np.kron(coarse, np.ones((10, 10, 1), int)) * (257 if layout.dtype == "u16" else 1)
    chosen = {"engine": FakeEngine(), "sharpen": "matte", "tile_px": 128}
    face, _ = run_pipeline(picture, layout, Size(600, 880), **chosen)
    left, top, right, bottom = mirror = (7, 90, 130, 11)
    out = Size(600 + left + right, 880 + top + bottom)
    window = Window(0.0, 0.0, float(picture.shape[1]), float(picture.shape[0]))
    placement = Placement(out, window, Rect(left, top, 600, 880), mirror)
    rows: list[int] = []
    sheet, _ = run_pipeline(
        picture, layout, placement, **chosen, on_progress=lambda *news: rows.append(news[3])
    )
    expected = np.pad(face, ((top, bottom), (left, right), (0, 0)), mode="symmetric")
    assert np.array_equal(sheet, expected)
    assert rows == sorted(rows)
    assert rows[-1] == out.height
    assert len(set(rows)) > 2, "rows should leave while the next are computed"


def test_rows_are_told_final_only_when_their_mirror_is() -> None:
    """What was told final must never change: the client has it already."""
    size = Size(40, 60)
    layout = PixelLayout("GRAY", "u8")
    raster, file = raster_of(bytes(size.pixels), size, layout)
    with file:
        rng = np.random.default_rng(4)
        margins = Margins(raster, layout, options((5, 20, 3, 10)))
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


@pytest.mark.parametrize("dtype", ["u8", "u16", "f16", "f32"])
def test_stretched_margins_draw_the_rim_out(dtype: str) -> None:
    """Four margin pixels for one of the picture, continuous with it, through the corners."""
    layout = PixelLayout("RGB", dtype)
    number = {"u8": np.uint8, "u16": np.uint16, "f16": np.float16, "f32": np.float32}[dtype]
    down, across = np.mgrid[0:40, 0:50].astype(float)
    face = np.stack([4 * across, 3 * down, across + down], -1).astype(number)
    left, top, right, bottom = mirror = (24, 16, 8, 20)
    sheet = filled(face, layout, options(mirror, edge_fill="stretch")).astype(float)
    assert np.array_equal(sheet[top:-bottom, left:-right], face)

    def within(length: int, before: int, after: int) -> np.ndarray:
        """Where in the face each pixel of the sheet takes its value from."""
        k = np.arange(before)[::-1], np.arange(after)
        low = np.clip((k[0] + 0.5) / 4 - 0.5, 0, before / 4 - 1)
        high = length - 1 - np.clip((k[1] + 0.5) / 4 - 0.5, 0, after / 4 - 1)
        return np.concatenate([low, np.arange(length), high])

    xs, ys = within(50, left, right), within(40, top, bottom)
    expected = np.stack(
        np.broadcast_arrays(4 * xs[None], 3 * ys[:, None], xs[None] + ys[:, None]), -1
    )
    # A ramp is linear, so the mean between two pixels is the ramp's own value.
    tolerance = 1.0 if dtype[0] == "u" else 0.13
    assert np.abs(sheet - expected).max() <= tolerance
    assert np.abs(np.diff(sheet[top:-bottom, : left + 1, 0], axis=1)).max() <= 2, "a step"


def test_a_stretched_margin_narrower_than_four_pixels_repeats_the_border() -> None:
    face = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    sheet = filled(face, PixelLayout("RGB", "u8"), options((3, 2, 1, 0), edge_fill="stretch"))
    assert np.array_equal(sheet, np.pad(face, ((2, 0), (3, 1), (0, 0)), mode="edge"))


@pytest.mark.parametrize(
    ("layout", "colour", "pixel"),
    [
        (PixelLayout("RGB", "u8"), "#2040Ff", [0x20, 0x40, 0xFF]),
        (PixelLayout("BGRA", "u8", "straight"), "#204080", [0x80, 0x40, 0x20, 0xFF]),
        (PixelLayout("RGBA", "u16", "premul"), "#204080", [0x2020, 0x4040, 0x8080, 0xFFFF]),
        (PixelLayout("GRAY", "u8"), "#ff0000", [54]),
        (PixelLayout("CMYK", "u8"), "#10203040", [0x10, 0x20, 0x30, 0x40]),
        (PixelLayout("RGB", "f32", trc="linear"), "#808080", [0.21586] * 3),
    ],
)
def test_a_wrap_of_one_colour(layout: PixelLayout, colour: str, pixel: list[float]) -> None:
    number = {"u8": np.uint8, "u16": np.uint16, "f32": np.float32}[layout.dtype]
    face = np.zeros((9, 11, layout.channels), number)
    chosen = options((2, 5, 3, 1), edge_fill="colour", edge_colour=colour)
    sheet = filled(face, layout, chosen)
    assert np.array_equal(sheet[5:-1, 2:-3], face)
    sheet = sheet.copy()
    sheet[5:-1, 2:-3] = np.array(pixel, number)
    assert np.allclose(sheet, np.array(pixel, number), atol=1e-5 if layout.dtype == "f32" else 0)


@pytest.mark.parametrize(
    ("fill", "text"),
    [
        ({"edge_fill": "colour", "edge_colour": "#10203040"}, "#RRGGBB"),
        ({"edge_colour": "white"}, "neither #RRGGBB nor #CCMMYYKK"),
        ({"edge_fill": "smear"}, "mirror, stretch, colour, average"),
    ],
)
def test_fills_that_cannot_be_are_refused(fill: dict[str, str], text: str) -> None:
    placement = Placement(Size(80, 60), Window(0, 0, 40, 30), Rect(0, 0, 80, 60))
    with pytest.raises(ValueError, match=text):
        Request.build(Size(40, 30), PixelLayout("RGB", "u8"), placement, **fill)


def test_the_pipeline_fills_as_the_request_says() -> None:
    """Options reach the margins."""
    picture = np.full((30, 40, 3), 90)
    placement = Placement(
        Size(100, 80), Window(0, 0, 40, 30), Rect(10, 10, 80, 60), (10, 10, 10, 10)
    )
    sheet, _ = run_pipeline(
        picture, PixelLayout("RGB", "u8"), placement, engine=FakeEngine(), sharpen="none",
        edge_fill="colour", edge_colour="#010203",
    )  # fmt: skip
    assert (sheet[:10] == (1, 2, 3)).all()
    assert (sheet[:, -10:] == (1, 2, 3)).all()
    assert (sheet[10:-10, 10:-10] == 90).all()


@pytest.mark.parametrize("model", ["RGB", "RGBA", "CMYK", "GRAY"])
def test_a_wrap_of_the_picture_s_average(model: str) -> None:
    """Of what is printed and visible, not of what a crop leaves out."""
    layout = PixelLayout(model, "u8", "straight" if model == "RGBA" else "none")
    picture = np.zeros((40, 60, layout.channels))
    picture[:, :30], picture[:, 30:] = 40, 90
    picture[:, :10] = 255  # not in the window
    if model == "RGBA":
        picture[..., 3] = 255
        picture[20:, 30:] = (250, 0, 0, 0)  # hidden
    placement = Placement(Size(110, 90), Window(10, 0, 40, 40), Rect(15, 5, 80, 80), (15, 5, 15, 5))
    sheet, _ = run_pipeline(picture, layout, placement, engine=FakeEngine(), edge_fill="average")
    # Of 40 columns 20 are dark, and of the other half only 20 rows are visible with alpha.
    expected = round((40 * 2 + 90) / 3) if model == "RGBA" else 65
    rim = np.concatenate([sheet[:5].reshape(-1, layout.channels), sheet[30, :15]])
    assert np.abs(rim[:, : layout.colour_channels].astype(int) - expected).max() <= 1
    if model == "RGBA":
        assert (rim[:, 3] == 255).all()
    assert np.ptp(sheet[5:-5, 15:-15, 0]) > 20


def test_a_wrap_that_goes_on_with_the_picture() -> None:
    """What the crop has left goes round the bar, mirrored where nothing is left; the front is the
    same as with any other wrap."""
    rng = np.random.default_rng(4)
    picture = np.kron(rng.integers(20, 230, (12, 24, 3)), np.ones((10, 10, 1), int))
    canvas, layout = Size(240, 120), PixelLayout("RGB", "u8")
    sheets = {}
    for fill in ("mirror", "image"):
        settings = Settings(
            preset="40x40mm", ppi=254.0, fit="crop", edges="wrap", edge_mm=5.0, wrap_fill=fill
        )
        plan = make_plan(canvas, settings)
        placement = layer_job(plan, Rect(0, 0, 240, 120)).placement
        made = settings.job_options(plan)
        assert made["edge_fill"] == "mirror"
        sheets[fill], _ = run_pipeline(
            picture, layout, placement, engine=FakeEngine(),
            **{**made, "sharpen": "none", "repair": 0, "deblur": 0},
        )  # fmt: skip
    edge, side = 50, 400
    assert sheets["image"].shape == (side + 2 * edge, side + 2 * edge, 3)
    front = np.s_[edge:-edge, edge:-edge]
    apart = np.abs(sheets["image"][front].astype(int) - sheets["mirror"][front])
    assert apart[2:-2, 8:-8].max() <= 1  # a network sees beyond the front now
    # Left and right the crop has left something: 15 px of the picture lie under each 50 px.
    row = edge + 183  # 55 px of the picture: the middle of one of its squares
    rim = sheets["image"][row, :edge].astype(int)
    assert np.abs(rim[18] - picture[55, 54]).max() < 40
    assert not np.array_equal(rim, sheets["mirror"][row, :edge])
    # Above and below it has left nothing.
    whole = sheets["image"]
    assert np.array_equal(whole[:edge], whole[edge : 2 * edge][::-1])
