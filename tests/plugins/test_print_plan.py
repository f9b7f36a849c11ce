"""From dialog values to jobs: sizes, offsets, the spot, the forecast."""

from __future__ import annotations

import sys
from dataclasses import replace
from fractions import Fraction
from random import Random

import numpy as np
import pytest
import skimage.data

from wallprint_protocol import client, forecast
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_plan import (
    PRESETS,
    Settings,
    canvas_geometry,
    layer_job,
    make_plan,
    same_size,
    sharpen_options,
    spot,
)
from wallprint_protocol.print_size import PrintSizeError, Rect, Size, Window, place
from wallprint_protocol.request import Request
from wallprint_server.models import catalog
from wallprint_server.pipeline.plan import cheapest_ladder

PHOTO = Size(4000, 3000)
WHOLE = Rect(0, 0, 4000, 3000)


def test_default_is_a_metre_on_the_long_side_at_200_ppi():
    plan = make_plan(PHOTO, Settings())
    assert plan.out == Size(7874, 5906)
    assert make_plan(Size(3000, 4000), Settings()).out == Size(5906, 7874)
    assert plan.distance_mm == pytest.approx(1875.1, abs=0.1)
    assert (round(plan.needed_ppi), round(plan.holds_to_mm)) == (47, 437)


def test_the_edited_side_is_exact_and_the_other_follows_source_pixels():
    rng = Random(3)
    for _ in range(2000):
        canvas = Size(rng.randrange(100, 9000), rng.randrange(100, 9000))
        millimetres, ppi = round(rng.uniform(100, 900), 2), rng.randrange(72, 400)
        exact = Fraction(str(millimetres)) * ppi / Fraction("25.4")
        side = int(exact + Fraction(1, 2))
        try:
            wide = make_plan(canvas, Settings(width=millimetres, unit="mm", ppi=ppi)).out
            high = make_plan(canvas, Settings(height=millimetres, unit="mm", ppi=ppi)).out
        except PrintSizeError:
            continue
        assert wide.width == side
        assert abs(wide.height - Fraction(side * canvas.height, canvas.width)) <= Fraction(1, 2)
        assert high.height == side


@pytest.mark.parametrize("preset", PRESETS[1:])
def test_presets_turn_with_the_picture(preset):
    across = make_plan(PHOTO, Settings(preset=preset, fit="crop")).out
    upright = make_plan(Size(3000, 4000), Settings(preset=preset, fit="crop")).out
    assert across.width > across.height
    assert (upright.width, upright.height) == (across.height, across.width)


@pytest.mark.parametrize("fit", ["keep", "crop", "pad"])
def test_a_layer_as_large_as_the_canvas_fills_the_print(fit):
    plan = make_plan(PHOTO, Settings(preset="30x40cm", fit=fit))
    job = layer_job(plan, WHOLE)
    assert job.offset == (0, 0)
    assert job.placement.out == plan.out
    assert job.placement.rect == plan.placement.rect
    assert job.placement.window == plan.placement.window


@pytest.mark.parametrize("fit", ["keep", "crop"])
def test_layers_stay_in_register_to_half_a_pixel(fit):
    rng = Random(5)
    plan = make_plan(PHOTO, Settings(preset="50x70cm", fit=fit))
    scaled, (x0, y0) = canvas_geometry(plan)
    for _ in range(300):
        layer = Rect(
            rng.randrange(-500, 3500), rng.randrange(-500, 2500),
            rng.randrange(600, 3000), rng.randrange(600, 3000),
        )  # fmt: skip
        job = layer_job(plan, layer)
        window, rect = job.placement.window, job.placement.rect
        for got, source, scale, origin in (
            (job.offset[0], layer.x + window.x, scaled.width / 4000, x0),
            (job.offset[1], layer.y + window.y, scaled.height / 3000, y0),
            (
                job.offset[0] + rect.width,
                layer.x + window.x + window.width,
                scaled.width / 4000,
                x0,
            ),
        ):
            assert abs(got - (source * scale + origin)) <= 1.01  # both roundings


def test_nothing_on_the_print_is_refused():
    plan = make_plan(PHOTO, Settings(preset="A4", fit="crop"))
    with pytest.raises(PrintSizeError, match="Nothing of this layer"):
        layer_job(plan, Rect(5000, 0, 100, 100))


def test_scale_beyond_the_limit_names_the_cure():
    with pytest.raises(PrintSizeError, match="Choose another size"):
        make_plan(Size(20, 15), Settings())


def test_sharpening_takes_the_ppi_from_the_paper():
    options = sharpen_options(PHOTO, Settings(), 508.0)
    assert options["ppi"] == 200.0
    assert same_size(PHOTO).out == PHOTO


def test_pixels_that_are_not_square_keep_the_picture_s_proportions():
    """Scanned at 300 x 150 ppi, 3000 x 1000 px: 10 x 6.67 in, and so is the print."""
    canvas, resolution = Size(3000, 1000), (300.0, 150.0)
    plan = make_plan(canvas, Settings(width=30.0), resolution=resolution)
    assert (plan.out.width, plan.out.height) == (2362, 1575)
    assert plan.placement.window == Window(0, 0, 3000, 1000)
    crop = make_plan(canvas, Settings(width=20.0, height=20.0, fit="crop"), resolution=resolution)
    assert crop.out == Size(1575, 1575)
    assert crop.placement.window == Window(500, 0, 2000, 1000)
    same = make_plan(canvas, Settings(width=30.0), resolution=(300.0, 300.0))
    assert same == make_plan(canvas, Settings(width=30.0))


@pytest.mark.parametrize(
    ("ppi", "family", "expected"),
    [
        (200, "none", 200),
        (200, "300", 300),
        (300, "300", 300),
        (301, "300", 600),
        (360, "360", 360),
        (400, "360", 720),
    ],
)
def test_matching_the_printer_changes_the_pixels_and_not_the_paper(ppi, family, expected):
    plan = make_plan(PHOTO, Settings(width=40.0, ppi=ppi, printer=family))
    assert plan.ppi == expected
    assert plan.width_mm == pytest.approx(400, abs=25.4 / expected / 2)
    assert Settings().job_options(plan)["ppi"] == expected


def test_bleed_keeps_the_trim_exact_and_takes_what_the_picture_has_beyond():
    """print.md 3: A4 + 3 mm at 300 ppi is 2550 x 3578, the trim 2480 x 3508."""
    upright = Size(3000, 4000)
    settings = Settings(preset="A4", ppi=300.0, fit="crop", edges="bleed", edge_mm=3.0)
    plan = make_plan(upright, settings)
    assert (plan.trim, plan.out) == (Rect(35, 35, 2480, 3508), Size(2550, 3578))
    placement = layer_job(plan, Rect(0, 0, 3000, 4000)).placement
    # The crop cut the sides: there is picture beyond them, and none above and below.
    assert placement.mirror == (0, 35, 0, 35)
    assert placement.rect == Rect(0, 35, 2550, 3508)
    step = plan.placement.window.width / 2480
    assert placement.window.x == pytest.approx(plan.placement.window.x - 35 * step)
    assert placement.window.width == pytest.approx(2550 * step)
    # A layer that reaches beyond the canvas fills the rest as well, as far as it goes.
    placement = layer_job(plan, Rect(0, -20, 3000, 4020)).placement
    assert placement.mirror == (0, 35 - int(20 / step), 0, 35)


def test_wrap_loses_nothing_of_the_front_and_mirrors_it():
    plan = make_plan(PHOTO, Settings(width=40.0, fit="keep", edges="wrap", edge_mm=38.1))
    assert plan.trim == Rect(300, 300, 3150, 2363)
    job = layer_job(plan, Rect(-50, -50, 4100, 3100))
    assert (job.placement.out, job.offset) == (Size(3750, 2963), (0, 0))
    assert job.placement.mirror == (300, 300, 300, 300)
    assert job.placement.window == Window(50, 50, 4000, 3000)
    # The others keep their place under the front, and a small layer its own.
    assert canvas_geometry(plan) == (Size(3150, 2363), (300, 300))
    small = layer_job(plan, Rect(1000, 600, 400, 400))
    assert small.placement.mirror == (0, 0, 0, 0)
    assert small.offset == (300 + round(1000 * 3150 / 4000), 300 + round(600 * 2363 / 3000))


def test_padded_print_with_bleed_keeps_its_white_border():
    settings = Settings(preset="30x40cm", fit="pad", edges="bleed", edge_mm=3.0)
    plan = make_plan(Size(4000, 4000), settings)
    placement = layer_job(plan, Rect(0, 0, 4000, 4000)).placement
    assert placement.mirror == (24, 24, 24, 24)
    assert placement.rect == plan.rect
    assert placement.window == Window(0, 0, 4000, 4000)


def test_edges_wider_than_the_print_are_refused():
    with pytest.raises(PrintSizeError, match="wider than the print"):
        make_plan(PHOTO, Settings(width=5.0, edges="wrap", edge_mm=60.0))


def test_screen_is_not_sharpened():
    plan = make_plan(PHOTO, Settings(medium="screen"))
    assert Settings(medium="screen").job_options(plan)["sharpen"] == "none"
    assert Settings(medium="backlit").job_options(plan)["sharpen"] == "backlit"
    assert make_plan(PHOTO, Settings()).halo_mm == pytest.approx(0.508)


def test_halo_and_ink_spread_go_into_the_request():
    """Of a print, of a selection that is sharpened, and of neither where nothing is sharpened."""
    wanted = {"halo_mm": 0.35, "spread_mm": 0.045}
    for medium, expected in (("matte", wanted), ("none", dict.fromkeys(wanted, 0.0))):
        settings = Settings(medium=medium, **wanted)
        options = settings.job_options(make_plan(PHOTO, settings))
        assert {name: options[name] for name in wanted} == expected
        options = sharpen_options(PHOTO, settings, 508.0)
        assert {name: options[name] for name in wanted} == expected
        assert settings.fits_halo == (medium == "matte")


def test_forecast_is_what_was_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("WALLPRINT_STATE_DIR", str(tmp_path))
    settings = Settings(repair=0)

    def placement(source, scale):
        return place(source, Size(round(source.width * scale), round(source.height * scale)))

    small, large = placement(Size(2000, 1500), 2), placement(PHOTO, 2)
    first, known = forecast.seconds(settings, large)
    assert not known
    assert 10 < first < 150, "12 megapixels on this computer's processor"
    forecast.remember(settings, small, 6000)
    assert forecast.seconds(settings, large) == (pytest.approx(24.0), True)
    forecast.remember(settings, small, 12000)
    assert forecast.seconds(settings, large)[0] == pytest.approx(36.0), "half way to the new one"
    # x8 takes two networks, the second on four times the pixels.
    assert 4 < forecast.seconds(settings, placement(Size(2000, 1500), 8))[0] / 9 < 8
    assert not forecast.seconds(replace(settings, style="enhanced"), large)[1]
    (tmp_path / forecast.FILE).write_text("nonsense")
    assert forecast.seconds(settings, large) == (first, False)


def test_forecast_knows_the_planner_s_ladders():
    """The simplified table against the planner and the catalogue, SPAN x4 = 1."""
    for style in ("faithful", "enhanced"):
        for scale in (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 40.0, 64.0):
            source = Size(1000, 1000)
            box = Size(round(1000 * scale), round(1000 * scale))
            grid, units = 1, 0.0
            for spec in cheapest_ladder(scale, catalog.enlargers(style)):
                units, grid = units + spec.cost * grid**2, grid * spec.scale
            found = forecast.work(Settings(style=style, repair=0), place(source, box))
            assert found - 0.03 * scale**2 == pytest.approx(units, rel=0.01, abs=0.01), (
                style,
                scale,
            )


@pytest.mark.parametrize("halo_mm", [0.0, 0.6])
def test_spot_has_the_pixels_of_the_full_run(tmp_path, halo_mm):
    """To one level of 255, which float rounding at other tile borders may cost."""
    size, layout = Size(300, 220), PixelLayout("RGB", "u8")
    photograph = skimage.data.astronaut()[20 : 20 + size.height, 110 : 110 + size.width]
    data = np.ascontiguousarray(photograph).tobytes()
    settings = Settings(width=720.0, unit="px", repair=0, deblur=0, halo_mm=halo_mm)
    plan = make_plan(size, settings)
    job = layer_job(plan, Rect(0, 0, size.width, size.height))

    def run(placement, link):
        request = Request.build(size, layout, placement, **settings.job_options(plan))
        rows = []
        row_bytes = size.width * 3
        client.enhance(
            request,
            lambda rect: data[rect.y * row_bytes : (rect.y + rect.height) * row_bytes],
            lambda _rect, pixels: rows.append(bytes(pixels)),
            connection=link,
        )
        return b"".join(rows)

    state = tmp_path / "state"
    with client.connect(state, launcher=[sys.executable, "-m", "wallprint_server.cli"]) as link:
        try:
            full = run(job.placement, link)
            for centre in ((0.5, 0.5), (0.0, 0.0), (1.0, 0.7)):
                part = spot(job, centre, Size(120, 80), fitted=settings.fits_halo)
                got, inner = run(part.placement, link), part.inner
                width, stride = part.placement.out.width, plan.out.width
                window, scale = part.placement.window, plan.placement.scale
                left = round(window.x * scale) - part.placement.rect.x + inner.x
                top = round(window.y * scale) - part.placement.rect.y + inner.y
                worst = 0
                for y in range(inner.height):
                    at, whole = (y + inner.y) * width + inner.x, (y + top) * stride + left
                    mine = got[3 * at : 3 * (at + inner.width)]
                    theirs = full[3 * whole : 3 * (whole + inner.width)]
                    worst = max(worst, *(abs(a - b) for a, b in zip(mine, theirs, strict=True)))
                assert worst <= 1, (centre, worst)
        finally:
            link.stop()


def test_room_counts_source_mask_and_result_on_disk_and_the_result_in_the_document():
    layout = PixelLayout("BGRA", "u16", "straight", "perceptual")
    source = Size(400, 300)
    job = layer_job(make_plan(source, Settings(width=800, unit="px")), Rect(0, 0, 400, 300))
    room = forecast.room(Settings(), layout, source, job.placement)
    assert (room.result, room.disk) == (800 * 600 * 8, 800 * 600 * 8 + 400 * 300 * 8)
    masked = forecast.room(Settings(source="selection"), layout, source, job.placement)
    assert masked.disk == room.disk + 400 * 300
    inventing = forecast.room(Settings(style="enhanced"), layout, source, job.placement)
    assert inventing.server > room.server
