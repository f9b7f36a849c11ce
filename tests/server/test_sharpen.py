"""Output sharpening: the closed form, what it does to edges, and what it must leave alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wallprint_server.imaging.local import gaussian_blur, inner_mean_3x3, local_max
from wallprint_server.pipeline.halo import (
    EDGE_SIGMA_PX,
    edge_change,
    halo_width_px,
    output_sharpening,
    peak_px,
    sigma_for_halo,
)
from wallprint_server.pipeline.sharpen import sharpen, within_headroom


def _edge(sigma: float, low: float = 0.3, high: float = 0.7, width: int = 129) -> torch.Tensor:
    from math import erf, sqrt

    x = np.arange(width) - (width - 1) / 2 + 0.5
    profile = [low + (high - low) * 0.5 * (1 + erf(v / sigma / sqrt(2))) for v in x]
    return torch.tensor(profile, dtype=torch.float32).view(1, 1, 1, -1).expand(1, 3, 40, -1)


@pytest.mark.parametrize(
    ("ppi", "distance_mm", "halo", "sigma", "overshoot"),
    [  # print.md 2.3, e = 0.6 px
        (200, 500, 2.20, 0.76, 0.11),
        (200, 1500, 4.00, 1.98, 0.27),
        (300, 500, 3.31, 1.54, 0.23),
        (300, 1500, 6.00, 3.22, 0.34),
        (360, 1500, 7.20, 3.96, 0.36),
    ],
)
def test_closed_form_gives_the_published_table(
    ppi: float, distance_mm: float, halo: float, sigma: float, overshoot: float
) -> None:
    how = output_sharpening("glossy", "standard", ppi, distance_mm)
    assert how is not None
    assert how.halo_px == pytest.approx(halo, abs=0.01)
    assert how.sigma_px == pytest.approx(sigma, abs=0.01)
    assert how.overshoot == pytest.approx(overshoot, abs=0.006)


def test_no_sigma_is_narrower_than_the_edge_allows() -> None:
    assert sigma_for_halo(1.0) == pytest.approx(0.3)
    assert halo_width_px(EDGE_SIGMA_PX, 0.01) == pytest.approx(2.76 * EDGE_SIGMA_PX, rel=0.01)


def test_halo_on_pixels_is_the_one_of_the_closed_form() -> None:
    how = output_sharpening("glossy", "standard", 300, 1500)
    assert how is not None
    edge = _edge(EDGE_SIGMA_PX)
    change = (sharpen(edge, how) - edge)[0, 0, 20].numpy() / 0.4
    x = np.arange(change.size) - (change.size - 1) / 2 + 0.5
    expected = np.array([edge_change(abs(v), EDGE_SIGMA_PX, how.sigma_px) for v in x])
    assert np.abs(np.abs(change) - how.amount * expected).max() < 0.01
    # No pixel lies exactly on the peak: half a pixel beside it, it is a few percent lower.
    assert how.overshoot * 0.93 < change.max() < how.overshoot * 1.01
    right = x > peak_px(EDGE_SIGMA_PX, how.sigma_px)
    width = np.interp(-0.1 * how.overshoot, -change[right], x[right])
    assert width == pytest.approx(how.halo_px, abs=0.2)


def test_edges_gain_contrast_and_flat_fields_stay() -> None:
    for medium, strength in (("glossy", "low"), ("matte", "standard"), ("canvas", "high")):
        how = output_sharpening(medium, strength, 200, 1000)
        assert how is not None
        edge = _edge(1.0)
        assert float(sharpen(edge, how).diff(dim=-1).max()) > 1.15 * float(edge.diff(dim=-1).max())
        flat = torch.full((1, 3, 50, 50), 0.37)
        assert float((sharpen(flat, how) - flat).abs().max()) < 1e-6


def test_strengths_are_ordered_and_none_is_none() -> None:
    assert output_sharpening("none", "high", 200, 1000) is None
    amounts = [output_sharpening("matte", s, 200, 1000) for s in ("low", "standard", "high")]
    assert [a.amount for a in amounts if a] == sorted(a.amount for a in amounts if a)


def test_colour_does_not_move() -> None:
    how = output_sharpening("matte", "high", 300, 1500)
    assert how is not None
    x = torch.rand(1, 3, 60, 60, generator=torch.Generator().manual_seed(3)) * 0.4 + 0.3
    y = sharpen(x, how)
    assert torch.allclose(y[:, 0] - y[:, 1], x[:, 0] - x[:, 1], atol=1e-6)
    assert torch.allclose(y[:, 2] - y[:, 1], x[:, 2] - x[:, 1], atol=1e-6)


def test_no_pixel_is_clipped_that_was_not() -> None:
    how = output_sharpening("canvas", "high", 300, 1500)
    assert how is not None
    edge = _edge(0.6, 0.01, 0.99)
    sharpened = sharpen(edge, how)
    assert float(sharpened.max()) < 1.0
    assert float(sharpened.min()) > 0.0
    assert float((sharpened - edge).abs().max()) > 0.003


def test_headroom_limit_is_smooth_and_monotone() -> None:
    delta = torch.linspace(-2, 2, 4001)
    limited = within_headroom(delta, torch.tensor(0.4))
    assert torch.equal(limited[1900:2101], delta[1900:2101])
    assert float(limited.abs().max()) < 0.4
    assert float(limited.diff().min()) >= 0
    assert float(limited.diff().diff().abs().max()) < 1e-4


def test_ink_planes_are_sharpened_on_their_own() -> None:
    how = output_sharpening("glossy", "standard", 300, 1500)
    assert how is not None
    inks = torch.ones(1, 4, 40, 129)
    inks[:, 3:] = _edge(0.6)[:, :1]  # text in K alone
    sharpened = sharpen(inks, how)
    assert torch.equal(sharpened[:, :3], inks[:, :3])
    assert float((sharpened[:, 3] - inks[:, 3]).abs().max()) > 0.05


def test_gaussian_keeps_the_mean_and_has_its_sigma() -> None:
    x = torch.zeros(1, 1, 41, 41)
    x[..., 20, 20] = 1.0
    y = gaussian_blur(x, 2.0)[0, 0]
    assert float(y.sum()) == pytest.approx(1.0, abs=1e-4)
    t = torch.arange(41) - 20.0
    assert float((y.sum(0) * t**2).sum()) == pytest.approx(4.0, rel=0.01)


def test_strips_change_nothing() -> None:
    x = torch.rand(1, 3, 700, 300, generator=torch.Generator().manual_seed(4))
    whole = gaussian_blur(x, 1.5)
    assert torch.allclose(gaussian_blur(x[:, :, :200], 1.5)[:, :, :150], whole[:, :, :150])
    kernel = torch.exp(-0.5 * (torch.arange(-6, 7) / 1.5) ** 2)
    kernel = kernel / kernel.sum()
    inner = torch.nn.functional.conv2d(
        x.transpose(0, 1), kernel.view(1, 1, 13, 1) * kernel.view(1, 1, 1, 13)
    ).transpose(0, 1)
    assert torch.allclose(whole[:, :, 6:-6, 6:-6], inner, atol=1e-6)


def test_local_mean_and_maximum() -> None:
    x = torch.rand(1, 2, 20, 30, generator=torch.Generator().manual_seed(5))
    pool = torch.nn.functional
    assert torch.allclose(inner_mean_3x3(x), pool.avg_pool2d(x, 3, 1), atol=1e-6)
    for reach in (1, 2, 6, 9):
        assert torch.equal(local_max(x, reach), pool.max_pool2d(x, 2 * reach + 1, 1, reach))
