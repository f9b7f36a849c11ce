"""The estimate of blur: right in pixels, blind to soft backgrounds, silent about sharp pictures."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch

from wallprint_protocol.print_size import Rect, Size
from wallprint_server.imaging.local import gaussian_blur
from wallprint_server.pipeline.blur import Blur, estimate_blur
from wallprint_testing.data import eval_data


def estimate(picture: np.ndarray) -> Blur:
    luma = np.ascontiguousarray(picture, dtype=np.float32)

    def cut(rect: Rect) -> np.ndarray:
        return luma[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width]

    return estimate_blur(Size(luma.shape[1], luma.shape[0]), cut)


def drawing(size: int = 600) -> np.ndarray:
    """Discs of many greys: long edges of every direction."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:size, :size] + 0.0
    picture = np.full((size, size), 120.0)
    for _ in range(60):
        cx, cy, radius = *rng.uniform(0, size, 2), rng.uniform(25, 90)
        inside = np.clip(radius - np.hypot(x - cx, y - cy) + 0.5, 0, 1)
        picture += inside * (rng.uniform(20, 235) - picture)
    return picture


def shaken(picture: np.ndarray, length: int, axis: int) -> np.ndarray:
    return np.mean([np.roll(picture, i, axis) for i in range(length)], axis=0)


def softened(picture: np.ndarray, sigma: float) -> np.ndarray:
    plane = torch.from_numpy(np.ascontiguousarray(picture, dtype=np.float32))[None, None]
    return gaussian_blur(plane, sigma)[0, 0].numpy()


@pytest.mark.parametrize("sigma", [1.5, 2.0, 3.0])
def test_a_gaussian_is_measured(sigma: float) -> None:
    wanted = np.sqrt(12) * sigma
    assert estimate(softened(drawing(), sigma)).width_px == pytest.approx(wanted, rel=0.25)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("length", [7, 11])
def test_a_shake_is_measured_in_its_own_direction(axis: int, length: int) -> None:
    assert estimate(shaken(drawing(), length, axis)).width_px == pytest.approx(length, rel=0.4)


def test_more_blur_reads_as_more() -> None:
    widths = [estimate(softened(drawing(), s)).width_px for s in (0.5, 1.0, 1.5, 2.0, 3.0, 4.0)]
    assert widths == sorted(widths)


@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_sharp_pictures_are_left_alone(noise: float) -> None:
    rng = np.random.default_rng(1)
    for picture in (skimage.data.camera(), skimage.data.astronaut().mean(2), drawing()):
        noisy = picture + rng.normal(0, noise, picture.shape)
        assert estimate(noisy).amount == 0


def test_a_sharp_subject_before_a_soft_background_is_sharp() -> None:
    picture = softened(drawing(1400), 5.0)
    assert estimate(picture).amount == 100
    picture[560:760, 900:1100] = drawing()[200:400, 200:400]
    assert estimate(picture).amount == 0


@pytest.mark.parametrize("shape", [(1, 1), (5, 400), (64, 64), (300, 47)])
def test_pictures_without_room_or_edges_say_nothing(shape: tuple[int, int]) -> None:
    assert estimate(np.full(shape, 99.0)) == Blur(0.0, 0)


@pytest.mark.data
def test_real_pictures() -> None:
    """20 Kodak crops, sharp and shaken: none of the sharp is touched, most of the others are."""
    from PIL import Image

    folder = eval_data("deblur", "kodak_synth")
    found: dict[str, list[int]] = {"sharp.webp": [], "blur.png": []}
    for kind, amounts in found.items():
        for path in sorted(folder.glob(f"*_{kind}")):
            luma = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32)
            amounts.append(estimate(luma @ np.array([0.2126, 0.7152, 0.0722])).amount)
    assert found["sharp.webp"] == [0] * 20
    assert sum(amount > 0 for amount in found["blur.png"]) >= 12
