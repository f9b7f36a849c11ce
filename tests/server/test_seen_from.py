"""A print as seen from a distance: what the eye leaves of gratings, and of sizes and distances."""

from __future__ import annotations

from math import pi, radians, tan

import numpy as np
import pytest

from wallprint_protocol.print_size import NORMAL_EYE, SHARP_EYE, Rect, Size
from wallprint_server.seen_from import (
    EYE_SIGMA,
    light_levels,
    seen,
    seen_size,
    visible_share,
)


def reader(levels: np.ndarray):
    """The levels of a rectangle of an array (H, W, C); records the largest that was read."""

    def read(r: Rect) -> np.ndarray:
        assert r.x >= 0
        assert r.y >= 0
        assert r.y + r.height <= levels.shape[0]
        return levels[r.y : r.y + r.height, r.x : r.x + r.width]

    return read


def whole(levels: np.ndarray) -> Rect:
    return Rect(0, 0, levels.shape[1], levels.shape[0])


def grating(cycles_per_degree: float, ppi: float, distance_mm: float, side: int) -> np.ndarray:
    """(64, side, 1) levels of a grating whose light is 0.5 +- 0.4."""
    degree_px = 2 * distance_mm * tan(radians(0.5)) / 25.4 * ppi
    wave = 0.5 + 0.4 * np.cos(2 * pi * cycles_per_degree * np.arange(side) / degree_px)
    return light_levels(np.repeat(wave[None, :, None], 64, 0))


@pytest.mark.parametrize("eye", [NORMAL_EYE, SHARP_EYE])
@pytest.mark.parametrize("cycles", [5.0, 10.0, 15.0, 20.0])
@pytest.mark.parametrize(
    ("ppi", "distance_mm"), [(200.0, 1900.0), (300.0, 1000.0), (150.0, 1500.0)]
)
def test_gratings_lose_what_the_eye_loses(
    ppi: float, distance_mm: float, cycles: float, eye: float
) -> None:
    """A tenth of the contrast is left at 30 c/deg times the acuity, a Gaussian's share before."""
    levels = grating(cycles, ppi, distance_mm, 4000)
    light = seen(whole(levels), reader(levels), ppi, distance_mm, eye)[8, :, 0]
    middle = light[len(light) // 5 : -len(light) // 5]
    left = 10 ** -((cycles / (30 * eye)) ** 2)
    assert float(middle.std()) * 2**0.5 / 0.4 == pytest.approx(left, rel=0.05)
    assert float(middle.mean()) == pytest.approx(0.5, abs=0.01)


def test_sixty_cycles_are_gone_for_one_eye_and_faint_for_the_other() -> None:
    """Of 60 c/deg a ten-thousandth is left at 20/20 and 3.7 % at 20/12, +-5 % of that."""
    ppi, distance_mm = 400.0, 1500.0
    levels = grating(60.0, ppi, distance_mm, 6000)
    one = seen(whole(levels), reader(levels), ppi, distance_mm)[8, 100:-100, 0]
    other = seen(whole(levels), reader(levels), ppi, distance_mm, SHARP_EYE)[8, 100:-100, 0]
    assert float(np.ptp(one)) < 0.001
    left = 10 ** -((60 / (30 * SHARP_EYE)) ** 2)
    assert float(other.std()) * 2**0.5 / 0.4 == pytest.approx(left, rel=0.05)


@pytest.mark.parametrize("eye", [NORMAL_EYE, SHARP_EYE])
def test_twice_as_large_from_twice_as_far_is_the_same(eye: float) -> None:
    """The same pixels at half the ppi; and twice the pixels: the same picture within a level."""
    rng = np.random.default_rng(3)
    waves = [(*rng.uniform(0.02, 0.12, 2), rng.uniform(0, 6)) for _ in range(9)]

    def scene(scale: int) -> np.ndarray:
        y, x = (np.indices((240 * scale, 300 * scale)) + 0.5) / scale
        total = sum(np.sin(2 * pi * (a * x + b * y) + c) for a, b, c in waves)
        return np.repeat(128 + 12 * total[..., None], 3, 2).astype(np.float32)

    small, large = scene(1), scene(2)
    near = seen(whole(small), reader(small), 200.0, 1000.0, eye)
    far = seen(whole(small), reader(small), 100.0, 2000.0, eye)
    assert np.array_equal(near, far)
    finer = seen(whole(large), reader(large), 200.0, 2000.0, eye)
    assert finer.shape == near.shape
    apart = np.abs(light_levels(finer) - light_levels(near))
    assert apart[2:-2, 2:-2].max() <= 1.0  # at the rim the border pixel is repeated


def test_as_many_pixels_as_the_eye_resolves_and_no_more() -> None:
    """8732 / D[cm] ppi (print.md 1.3); near the print, its own pixels."""
    assert seen_size(Size(7874, 5512), 200.0, 1830.0) == Size(1879, 1315)
    assert seen_size(Size(7874, 5512), 200.0, 1830.0, SHARP_EYE) == Size(3137, 2196)
    assert seen_size(Size(7874, 5512), 200.0, 200.0) == Size(7874, 5512)
    assert pytest.approx(0.683, abs=0.001) == EYE_SIGMA


def test_light_is_averaged_not_levels() -> None:
    checks = np.indices((80, 80)).sum(0) % 2 * 255.0
    levels = np.repeat(checks[..., None], 3, 2).astype(np.float32)
    found = light_levels(seen(whole(levels), reader(levels), 200.0, 4000.0))
    assert found.mean() == pytest.approx(187.5, abs=1.0)  # half the light
    flat = np.full((50, 70, 1), 93.0, np.float32)
    assert np.abs(light_levels(seen(whole(flat), reader(flat), 200.0, 900.0)) - 93).max() < 0.1


def test_strips_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = np.random.default_rng(1).uniform(0, 255, (331, 257, 3)).astype(np.float32)
    at_once = seen(whole(levels), reader(levels), 200.0, 1500.0)
    monkeypatch.setattr("wallprint_server.seen_from._STRIP_FLOATS", 30_000)
    assert np.allclose(seen(whole(levels), reader(levels), 200.0, 1500.0), at_once, atol=1e-6)


def test_what_is_visible() -> None:
    """Two per cent of the light, and of black a little more."""
    grey = np.full((10, 10, 3), 0.2, np.float32)
    changed = grey.copy()
    changed[:3] *= 1.05
    changed[3:6] *= 1.01
    assert visible_share(grey, changed) == pytest.approx(0.3)
    black = np.zeros((4, 4, 1), np.float32)
    assert visible_share(black, black + 1e-4) == 0
    assert visible_share(black, black + 1e-3) == 1
