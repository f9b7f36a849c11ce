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
from wallprint_protocol.print_size import PrintSizeError, Rect, Size
from wallprint_protocol.request import Request

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


def test_forecast_is_what_was_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("WALLPRINT_STATE_DIR", str(tmp_path))
    settings = Settings()
    assert forecast.seconds(settings, PHOTO) is None
    forecast.remember(settings, Size(2000, 1500), 6000)
    assert forecast.seconds(settings, PHOTO) == pytest.approx(24.0)
    forecast.remember(settings, Size(2000, 1500), 12000)
    assert forecast.seconds(settings, PHOTO) == pytest.approx(36.0), "half way to the new one"
    assert forecast.seconds(replace(settings, style="enhanced"), PHOTO) is None
    (tmp_path / forecast.FILE).write_text("nonsense")
    assert forecast.seconds(settings, PHOTO) is None


def test_spot_has_the_pixels_of_the_full_run(tmp_path):
    """To one level of 255, which float rounding at other tile borders may cost."""
    size, layout = Size(300, 220), PixelLayout("RGB", "u8")
    photograph = skimage.data.astronaut()[20 : 20 + size.height, 110 : 110 + size.width]
    data = np.ascontiguousarray(photograph).tobytes()
    settings = Settings(width=720.0, unit="px", repair=0, deblur=0)
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
                part = spot(job, centre, Size(120, 80))
                got, inner = run(part.placement, link), part.inner
                width, stride = part.placement.out.width, plan.out.width
                window, scale = part.placement.window, plan.placement.scale
                left = round(window.x * scale) + inner.x
                top = round(window.y * scale) + inner.y
                worst = 0
                for y in range(inner.height):
                    at, whole = (y + inner.y) * width + inner.x, (y + top) * stride + left
                    mine = got[3 * at : 3 * (at + inner.width)]
                    theirs = full[3 * whole : 3 * (whole + inner.width)]
                    worst = max(worst, *(abs(a - b) for a, b in zip(mine, theirs, strict=True)))
                assert worst <= 1, (centre, worst)
        finally:
            link.stop()
