"""The grid of a JPEG is told from the picture: in small ones too, and not where there is none."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from wallprint_protocol.print_size import Size
from wallprint_server.pipeline.repair import Blocking, estimate_blocking
from wallprint_testing.scenes import scene


def estimate(picture: np.ndarray) -> Blocking:
    luma = picture.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    size = Size(picture.shape[1], picture.shape[0])
    return estimate_blocking(size, lambda r: luma[r.y : r.y + r.height, r.x : r.x + r.width])


def as_jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


@pytest.mark.parametrize("quality", [10, 20])
def test_grid_is_found_in_small_pictures(quality: int) -> None:
    found = [estimate(as_jpeg(scene(120, seed), quality)) for seed in range(8)]
    assert all(blocking.amount > 0 for blocking in found)
    assert all(blocking.phase == (0, 0) for blocking in found)


def test_no_grid_is_found_where_there_is_none() -> None:
    assert [estimate(scene(120, seed)).amount for seed in range(24)] == [0] * 24


def test_cropped_pictures_have_their_grid_elsewhere() -> None:
    cropped = as_jpeg(scene(190, 3), 15)[3:, 5:]
    blocking = estimate(cropped)
    assert blocking.amount > 0
    assert blocking.phase == (3, 5)


def test_at_the_origin_less_certainty_will_do() -> None:
    """Chance puts a maximum there once in 64 times, so it may be believed sooner."""
    assert Blocking(2.0, 2.6, (0, 0)).amount > 0
    assert Blocking(2.0, 2.6, (0, 3)).amount == 0
    assert Blocking(2.0, 3.6, (0, 3)).amount == Blocking(2.0, 2.6, (0, 0)).amount
    assert Blocking(2.0, 2.4, (0, 0)).amount == 0


@pytest.mark.parametrize("step", [0.3, 25.0])
def test_steps_that_no_jpeg_has_are_left(step: float) -> None:
    assert Blocking(step, 9.0, (0, 0)).amount == 0


@pytest.mark.parametrize("quality", [60, 75, 85])
def test_mild_jpegs_are_told_where_their_steps_are_not(quality: int) -> None:
    found = [estimate(as_jpeg(scene(120, seed), quality)) for seed in range(8)]
    assert sum(blocking.coarse for blocking in found) >= 7
    assert all(blocking.phase == (0, 0) for blocking in found if blocking.coarse)
    assert all(blocking.compressed for blocking in found if blocking.coarse)


@pytest.mark.parametrize("quality", [97, 100])
def test_the_best_jpegs_count_as_clean(quality: int) -> None:
    found = [estimate(as_jpeg(scene(120, seed), quality)) for seed in range(8)]
    assert sum(blocking.compressed for blocking in found) <= 1


def test_clean_and_flat_pictures_have_no_vanished_grid() -> None:
    assert not any(estimate(scene(120, seed)).coarse for seed in range(24))
    assert not estimate(np.full((64, 64, 3), 90, np.uint8)).compressed
    page = np.full((128, 128, 3), 255, np.uint8)
    page[20:100:7, 10:110:3] = 0
    assert not estimate(page).compressed


def test_grid_of_a_cropped_mild_jpeg_is_found_in_its_place() -> None:
    blocking = estimate(as_jpeg(scene(190, 3), 75)[3:, 5:])
    assert blocking.coarse
    assert blocking.phase == (3, 5)
