"""Noise is measured where there is nothing else, and texture is not taken for it."""

from __future__ import annotations

import numpy as np
import pytest

from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Rect, Size
from wallprint_server.pipeline.noise import LEAST_SIGMA, estimate_noise, noise_amount
from wallprint_testing.engines import FakeEngine, run_pipeline

RGB8 = PixelLayout("RGB", "u8")


def measured(plane: np.ndarray) -> float:
    def luma(rect: Rect) -> np.ndarray:
        cut = plane[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width]
        return cut.astype(np.float32)

    return estimate_noise(Size(plane.shape[1], plane.shape[0]), luma)


def slopes(height: int = 300, width: int = 420) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return 40 + 0.3 * x + 0.2 * y + 30.0 * (x > 200)


def noisy(picture: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, sigma, picture.shape)
    return np.clip(picture + noise, 0, 255).round()


@pytest.mark.parametrize("sigma", [3.0, 5.0, 8.0, 15.0])
def test_noise_is_measured_beside_slopes_and_edges(sigma: float) -> None:
    # One channel's noise is larger than that of the brightness, which is what is measured here.
    assert measured(noisy(slopes(), sigma * 0.76)) == pytest.approx(sigma, rel=0.12)


def test_a_clean_picture_has_none() -> None:
    assert measured(slopes().round()) < 0.7
    assert noise_amount(measured(slopes().round())) == 0


def test_texture_everywhere_is_not_noise() -> None:
    """Grass and gravel: random, but stronger the coarser one looks."""
    noise = np.random.default_rng(2).normal(0, 1, (256, 256))
    y, x = np.meshgrid(np.fft.fftfreq(256), np.fft.rfftfreq(256), indexing="ij")
    lens = np.exp(-2 * (np.pi * 0.6) ** 2 * (x**2 + y**2))
    smooth = np.fft.irfft2(np.fft.rfft2(noise) * lens / np.maximum(np.hypot(y, x), 1 / 256))
    texture = 128 + 30 * smooth / smooth.std()
    assert measured(texture.round()) == 0


@pytest.mark.parametrize("level", [0.0, 255.0])
def test_what_is_cut_off_at_black_or_white_tells_nothing(level: float) -> None:
    plane = noisy(np.full((300, 300), level), 10)
    assert measured(plane) == 0


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (20, 20)])
def test_small_pictures_are_no_trouble(size: tuple[int, int]) -> None:
    assert measured(noisy(np.full(size, 100.0), 10)) == 0


def test_amount_follows_the_noise() -> None:
    assert noise_amount(LEAST_SIGMA - 0.01) == 0
    assert noise_amount(5.0) == 25
    assert noise_amount(50.0) == 100


def test_automatic_repair_removes_noise_and_says_so() -> None:
    clean = np.repeat(slopes(320, 320)[..., None], 3, 2).round()
    reports = [
        run_pipeline(picture, RGB8, Size(640, 640), engine=FakeEngine(), repair=None)[1]
        for picture in (noisy(clean, 9), clean)
    ]
    assert 25 < reports[0].repair_amount < 60
    assert any("Noise of" in note and "was found and removed" in note for note in reports[0].notes)
    assert reports[1].repair_amount == 0
