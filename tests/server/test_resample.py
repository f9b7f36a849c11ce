"""The exact resampler: mean, phase, ramps, antialiasing, and independence from the tiling."""

from __future__ import annotations

import pytest
import torch

from wallprint_server.imaging.tiles import Axis
from wallprint_server.pipeline.resample import resample_axis


def _whole(x: torch.Tensor, axis: Axis, dim: int = 3) -> torch.Tensor:
    return resample_axis(
        x,
        dim,
        offset=axis.at(0),
        step=axis.step,
        out=(0, axis.out_px),
        source=(0, axis.source_px),
        length=axis.source_px,
    )


@pytest.mark.parametrize("out", [37, 64, 100, 131, 640])
def test_tiles_equal_the_whole_bit_for_bit(out: int) -> None:
    x = torch.rand(1, 2, 5, 64, generator=torch.Generator().manual_seed(1))
    axis = Axis(64, 0.0, 64.0, out)
    whole = _whole(x, axis)
    for start in range(0, out, 17):
        stop = min(out, start + 17)
        a, b = axis.support(start, stop, 3 * max(1.0, axis.step) + 1)
        part = resample_axis(
            x[..., a:b],
            3,
            offset=axis.at(0),
            step=axis.step,
            out=(start, stop),
            source=(a, b),
            length=64,
        )
        assert torch.equal(part, whole[..., start:stop])


def test_a_missing_neighbourhood_is_an_error_and_not_a_guess() -> None:
    with pytest.raises(ValueError, match="needs input"):
        resample_axis(
            torch.rand(1, 1, 1, 8), 3, offset=0.0, step=0.5, out=(10, 20), source=(5, 8), length=64
        )


def test_flat_stays_flat_and_the_mean_stays() -> None:
    x = torch.full((1, 1, 4, 50), 0.3)
    assert float((_whole(x, Axis(50, 0, 50, 77)) - 0.3).abs().max()) < 1e-6
    noise = torch.rand(1, 1, 200, 50, generator=torch.Generator().manual_seed(2))
    for out in (25, 50, 77, 200):
        assert float(_whole(noise, Axis(50, 0, 50, out)).mean()) == pytest.approx(
            float(noise.mean()), abs=2e-3
        )


@pytest.mark.parametrize("out", [30, 64, 90, 192])
def test_phase_is_that_of_the_page(out: int) -> None:
    # A ramp over the page must stay the same ramp: pixel centres map to pixel centres.
    x = ((torch.arange(64) + 0.5) / 64).view(1, 1, 1, 64)
    y = _whole(x, Axis(64, 0, 64, out))[0, 0, 0]
    expected = (torch.arange(out) + 0.5) / out
    margin = max(4, out // 8)
    assert float((y - expected)[margin:-margin].abs().max()) < 1.5e-3


def test_crop_window_shifts_by_fractions_of_a_pixel() -> None:
    x = ((torch.arange(64) + 0.5) / 64).view(1, 1, 1, 64)
    y = _whole(x, Axis(64, 10.25, 32.0, 64))[0, 0, 0]
    expected = (10.25 + (torch.arange(64) + 0.5) / 2) / 64
    assert float((y - expected).abs().max()) < 1.5e-3


def test_reduction_is_antialiased() -> None:
    # A pattern above the new Nyquist frequency must vanish, not turn into a slower one.
    x = (torch.arange(400) % 2).float().view(1, 1, 1, 400)
    y = _whole(x, Axis(400, 0, 400, 130))[0, 0, 0, 5:-5]
    assert float((y - 0.5).abs().max()) < 0.02


def test_identity_is_a_plain_cut() -> None:
    x = torch.rand(1, 3, 7, 20)
    assert torch.equal(_whole(x, Axis(20, 0, 20, 20)), x)
    assert torch.equal(_whole(x, Axis(20, 4.0, 9.0, 9)), x[..., 4:13])
