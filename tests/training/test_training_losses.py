"""What the trainings minimise, and what the gates count."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from training import measure, mssnet, repair
from training.degrade import severity


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_spectra_are_compared_by_real_and_imaginary_part() -> None:
    """The moduli would give another number (and another network)."""
    a, b = noise(2, 3, 16, 16), noise(2, 3, 16, 16, seed=2)
    spectrum = torch.fft.fft2(a) - torch.fft.fft2(b)
    expected = (spectrum.real.abs().mean() + spectrum.imag.abs().mean()) / 2
    found = mssnet.spectrum_distance(a, b)
    torch.testing.assert_close(found, expected)
    assert float((found - spectrum.abs().mean()).abs()) > 0.1 * float(found)


def test_six_images_count_and_the_last_counts_twice() -> None:
    sharp = noise(1, 3, 16, 16)
    half = mssnet.half_input(sharp)
    right = [half, *[sharp] * 5]
    least = float(mssnet.six_losses(right, sharp))
    rises = []
    for i in range(6):
        wrong = [image + 0.1 if k == i else image for k, image in enumerate(right)]
        rises.append(float(mssnet.six_losses(wrong, sharp)) - least)
    assert min(rises) > 0
    assert rises[5] == pytest.approx(2 * rises[4], rel=1e-4)


def test_strength_told_is_never_below_the_damage_and_often_1() -> None:
    how_bad = torch.linspace(0, 1, 1000)
    told = repair.told_strength(how_bad, torch.Generator().manual_seed(1))
    assert (told >= how_bad).all()
    assert float(told.max()) <= 1
    assert 0.4 < float(told.eq(1).float().mean()) < 0.65
    assert float(told[how_bad < 0.1].min()) < 0.2


def test_gain_uses_the_strength_of_the_quality_when_none_is_given() -> None:
    seen: list[float] = []

    class Spy(nn.Module):
        def forward(self, x: Tensor, strength: float) -> Tensor:
            seen.append(strength)
            return x

    crops = [noise(1, 3, 32, 32)]
    assert repair.mean_gain(Spy(), crops, 40, None) == 0.0
    assert repair.mean_gain(Spy(), crops, 40, 1.0) == 0.0
    expected = float(severity(torch.tensor([40.0]), torch.zeros(1)))
    assert seen == [pytest.approx(expected), 1.0]


def test_psnr_of_known_pictures() -> None:
    flat = torch.full((1, 3, 20, 20), 0.5)
    assert measure.psnr(flat + 0.1, flat) == pytest.approx(20.0, abs=1e-3)
    assert measure.psnr(flat, flat) == float("inf")
    # Y of grey runs from 16 to 235 only.
    expected = 20 - 20 * torch.log10(torch.tensor(219 / 255))
    assert measure.psnr_y(flat + 0.1, flat) == pytest.approx(float(expected), abs=1e-3)
    edge = flat.clone()
    edge[..., :2, :] = 1
    assert measure.psnr(edge, flat, 2) == float("inf")


def test_best_shift_forgives_a_moved_picture() -> None:
    x = noise(1, 3, 64, 64)
    moved = x.roll((3, -2), (2, 3))
    assert measure.psnr(moved, x, 8) < 12
    assert measure.psnr_shift(moved, x, 8, 4) == float("inf")


def test_gain_of_deblurring_is_counted_without_the_border(tmp_path: Path) -> None:
    from PIL import Image

    class Same(mssnet.MSSNet):
        def forward(self, x: Tensor, b2: Tensor | None = None) -> Tensor:
            y = x.clone()
            y[..., :16, :] = 0  # nonsense where it is not looked at
            return y

    pixels = (noise(64, 64, 3) * 255).byte().numpy()
    Image.fromarray(pixels).save(tmp_path / "a_blur.png")
    Image.fromarray(pixels // 2).save(tmp_path / "a_sharp.webp", lossless=True)
    assert mssnet.gains(Same(2, 1, 1), [tmp_path / "a_blur.png"]) == (0.0, 0.0)
