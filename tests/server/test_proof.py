"""The proof: crops with the full run's very bytes, chosen by the grid, on a sheet of true scale."""

from __future__ import annotations

import numpy as np
import pytest

from wallprint_protocol.errors import BadInput
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_plan import part_of
from wallprint_protocol.print_size import Placement, Rect, Size
from wallprint_server.proof_sheet import SheetPixels, lay_out
from wallprint_server.proof_spots import block_maps, choose_spots, zoom_views
from wallprint_testing.engines import FakeEngine, run_pipeline, whole


@pytest.mark.parametrize("style", ["faithful", "enhanced"])
@pytest.mark.parametrize("fit", ["keep", "pad"])
def test_a_part_has_the_pixels_of_the_full_run(fit: str, style: str) -> None:
    """Bit for bit, also across tiles that are blended, and in the padding."""
    rng = np.random.default_rng(2)
    picture = rng.integers(0, 65535, (150, 170, 3), dtype=np.uint16)
    layout = PixelLayout("RGB", "u16")
    full = whole(Size(170, 150), Size(391, 345))
    if fit == "pad":
        full = Placement(Size(431, 365), full.window, Rect(20, 10, 391, 345))
    options = {"sharpen": "matte", "tile_px": 96, "distance_mm": 1000.0, "style": style}
    expected, _ = run_pipeline(picture, layout, full, engine=FakeEngine(), **options)
    for rect in (Rect(0, 0, 60, 50), Rect(150, 101, 97, 88), Rect(300, 250, 91, 95)):
        part = part_of(full, rect)
        got, report = run_pipeline(picture, layout, part, engine=FakeEngine(), **options)
        cut = expected[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width]
        assert np.array_equal(got, cut), rect
        assert report.detail is None


def test_the_views_are_the_published_ones() -> None:
    """perception.md 3.1: a 3:2 picture whose shorter side is made 512 px."""
    views = [(view.x, view.y) for _, _, view in zoom_views(Size(6000, 4000), 512)]
    assert views == [(x, y) for y in (-27, 143, 313) for x in (16, 272, 528)]
    assert {view.size for _, _, view in zoom_views(Size(6000, 4000), 512)} == {Size(224, 224)}


def spots_of(picture: np.ndarray, crop: Size) -> dict[str, Rect]:
    part = Rect(0, 0, picture.shape[1], picture.shape[0])
    levels = picture.astype(np.float32)
    maps = block_maps(part, lambda r: levels[r.y : r.y + r.height, r.x : r.x + r.width])
    return {spot.kind: spot.rect for spot in choose_spots(part, maps, crop)}


def scene() -> np.ndarray:
    """A sky that brightens upwards, grain lower left, a red ball right, one hard step."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:600, :900]
    picture = np.repeat((200.0 - y[..., None] / 6), 3, 2)
    picture[420:560, 60:200] += rng.normal(0, 40, (140, 140, 1))
    ball = np.hypot(x - 700, y - 150) < 40
    picture[ball] = (220, 30, 30)
    picture[380:, 560:] = 20.0
    return np.clip(picture, 0, 255)


def test_spots_are_where_they_were_planted() -> None:
    spots = spots_of(scene(), Size(120, 100))
    assert set(spots) == {"detail", "telling", "gradient", "edge"}

    def overlaps(rect: Rect, x: int, y: int, width: int, height: int) -> bool:
        return (
            rect.x < x + width
            and x < rect.x + rect.width
            and rect.y < y + height
            and y < rect.y + rect.height
        )

    assert overlaps(spots["detail"], 60, 420, 140, 140)
    for kind in ("gradient",):
        calm = scene()[
            spots[kind].y : spots[kind].y + spots[kind].height,
            spots[kind].x : spots[kind].x + spots[kind].width,
        ]
        assert np.abs(np.diff(calm, axis=1)).max() < 1
        assert np.ptp(calm) > 5
    rects = list(spots.values())
    for i, one in enumerate(rects):
        for other in rects[i + 1 :]:
            assert not overlaps(one, other.x, other.y, other.width, other.height)
    assert spots == spots_of(scene(), Size(120, 100))


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 700, 3), (40, 40, 4)])
def test_small_pictures_have_a_spot_that_fits(shape: tuple[int, ...]) -> None:
    spots = spots_of(np.full(shape, 90.0), Size(300, 300))
    assert spots
    for rect in spots.values():
        assert rect.x + rect.width <= shape[1]
        assert rect.y + rect.height <= shape[0]


@pytest.mark.parametrize("paper", ["a4", "letter"])
@pytest.mark.parametrize("columns", [2, 3])
def test_cells_lie_on_the_paper_and_apart(paper: str, columns: int) -> None:
    rows = 2 if columns == 2 else 4
    sheet = lay_out(paper, 200_000, columns, rows)
    size_mm = {"a4": (210, 297), "letter": (215.9, 279.4)}[paper]
    for px, mm in zip((sheet.size.width, sheet.size.height), size_mm, strict=True):
        assert abs(px * 25.4 / 200 - mm) < 0.1
    taken = np.zeros((sheet.size.height, sheet.size.width), dtype=int)
    taken[: sheet.px(12) + sheet.header_px] += 1
    for row in range(rows):
        for column in range(columns):
            x, y = sheet.place(row, column)
            label = sheet.line_px * 3
            taken[y - label : y + sheet.crop.height, x : x + sheet.crop.width] += 1
            assert x + sheet.crop.width <= sheet.size.width - sheet.px(11)
            assert y + sheet.crop.height <= sheet.size.height - sheet.px(11)
    assert taken.max() == 1


@pytest.mark.parametrize("model", ["RGB", "GRAY", "CMYK", "RGBA"])
@pytest.mark.parametrize("dtype", ["u8", "u16", "f32"])
def test_text_is_black_on_white_and_crops_stay_as_they_are(model: str, dtype: str) -> None:
    layout = PixelLayout(model, dtype, "straight" if model == "RGBA" else "none")
    canvas = SheetPixels(lay_out("a4", 100_000, 2, 2), layout)
    sheet = canvas.sheet
    white = canvas.pixels[0, 0].copy()
    data = np.random.default_rng(0).random((30, 40, layout.channels))
    data = (data * 200).astype(canvas.pixels.dtype)
    x, y = sheet.place(1, 1)
    canvas.paste(x, y, Size(40, 30), data.tobytes())
    canvas.label(1, 1, ["3 Smooth gradient", "a position " * 30])
    canvas.header("A title " * 60, ["a line " * 90, "another"])
    assert np.array_equal(canvas.pixels[y : y + 30, x : x + 40], data)
    full = {"u8": 255, "u16": 65535, "f32": 1.0}[dtype]
    paper = 0 if model == "CMYK" else full
    assert (white[: layout.colour_channels] == paper).all()
    inked = (canvas.pixels[: y - 1] != white).any(2)
    assert inked.mean() > 0.001
    rim = sheet.px(11)
    assert not inked[:, :rim].any()
    assert not inked[:, -rim:].any()


def test_too_few_pixels_for_labels_are_refused() -> None:
    with pytest.raises(BadInput, match="choose a higher --ppi"):
        lay_out("a4", 30_000, 3, 4)
