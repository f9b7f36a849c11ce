"""Halos: the solver gives what was asked for, and the meter finds on pixels what is there."""

from __future__ import annotations

import json
from math import exp, pi

import numpy as np
import pytest
import torch
from scipy.special import ndtr

from wallprint_protocol.passport import Passport
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_plan import part_of
from wallprint_protocol.print_size import Rect, Size
from wallprint_protocol.request import Request
from wallprint_server.imaging.tiles import Axis
from wallprint_server.pipeline import halo_fit
from wallprint_server.pipeline.halo import (
    MOST_AMOUNT,
    OutputSharpening,
    amount_for_spread,
    edge_change,
    halo_width_px,
    output_sharpening,
    peak_px,
)
from wallprint_server.pipeline.halo_meter import NO_HALO, Halo, StraightPlaces, measure_halo
from wallprint_server.pipeline.sharpen import sharpen
from wallprint_testing.engines import FakeEngine, run_pipeline, whole
from wallprint_testing.networks import picture


def stripes(edge_px: float, size: int = 512, low: float = 80, high: float = 170) -> np.ndarray:
    """(size, size) levels: slanted stripes whose edges have a known width."""
    y, x = np.mgrid[:size, :size]
    turn = np.deg2rad(7)
    across = x * np.cos(turn) + y * np.sin(turn)
    number = np.round(across / 70)
    rising = np.where(number % 2, 1.0, -1.0)
    return low + (high - low) * ndtr(rising * (across - 70 * number) / edge_px)


def measured(before: np.ndarray, how: OutputSharpening, grain: float = 0.0) -> Halo:
    """What the meter says of a picture (levels) after its sharpening.

    With grain, the print has whole levels; without, they would all be rounded the same way, which
    moves the end of a faint halo, so that it has 16 bits.
    """
    before = before + np.random.default_rng(1).normal(0, grain, before.shape)
    planes = torch.tensor(before / 255, dtype=torch.float32)[None, None]
    after = sharpen(planes, how)[0, 0].numpy() * 255
    after = np.rint(after) if grain else np.rint(after * 257) / 257
    places = StraightPlaces()
    places.look(0, 0, planes)
    best = places.best()
    cut = [after[r.y : r.y + r.height, r.x : r.x + r.width] for r, _ in best]
    return measure_halo(np.array([was for _, was in best], float), np.array(cut), how.halo_px)


@pytest.mark.parametrize("grain", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("edge_px", [0.6, 1.0, 1.5])
@pytest.mark.parametrize(
    ("ppi", "distance_mm"), [(200, 500), (200, 1500), (300, 500), (300, 1500), (360, 1500)]
)
def test_the_meter_reads_the_closed_form(
    ppi: float, distance_mm: float, edge_px: float, grain: float
) -> None:
    """Width within 0.2 px, overshoot within 1 % of the contrast; also of edges that the sharpening
    was not made for. Where whole levels of 255 make less than a half of a halo's tenth, they
    cannot say where it ends, so only the height is asked for."""
    how = output_sharpening("glossy", "standard", ppi, distance_mm)
    assert how is not None
    found = measured(stripes(edge_px), how, grain)
    overshoot = how.amount * edge_change(peak_px(edge_px, how.sigma_px), edge_px, how.sigma_px)
    assert found.edges > 50
    assert found.edge_px == pytest.approx(edge_px, rel=0.04)
    assert found.overshoot == pytest.approx(overshoot, abs=0.01)
    if not grain or 0.1 * overshoot * 90 > 0.5:
        assert found.width_px == pytest.approx(halo_width_px(edge_px, how.sigma_px), abs=0.2)


@pytest.mark.parametrize("edge_px", [0.5, 0.6, 0.8, 1.0])
@pytest.mark.parametrize(("ppi", "halo_mm"), [(150, 0.5), (200, 0.4), (200, 0.6), (300, 0.4)])
def test_the_solver_makes_the_halo_that_was_asked_for(
    ppi: float, halo_mm: float, edge_px: float
) -> None:
    """On pixels, within 0.2 px."""
    how = output_sharpening("glossy", "high", ppi, 1000, halo_mm=halo_mm, edge_px=edge_px)
    assert how is not None
    wanted_px = halo_mm / 25.4 * ppi
    assert wanted_px > 2.76 * edge_px  # else no sigma makes it
    assert how.halo_px == pytest.approx(wanted_px, abs=0.01)
    found = measured(stripes(edge_px), how, grain=1.0)
    assert found.width_px == pytest.approx(wanted_px, abs=0.2)
    assert found.overshoot == pytest.approx(how.overshoot, abs=0.015)


@pytest.mark.parametrize("strength", ["low", "standard"])
@pytest.mark.parametrize("spread_px", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("halo_mm", [0.3, 0.5])
def test_a_measured_medium_loses_nothing_at_half_of_nyquist(
    halo_mm: float, spread_px: float, strength: str
) -> None:
    """Contrast of a grating of 0.25 c/px after sharpening and ink: 1.0 +- 0.05."""
    ppi = 300.0
    how = output_sharpening(
        "matte", strength, ppi, 1000, halo_mm=halo_mm, spread_mm=spread_px * 25.4 / ppi
    )
    assert how is not None
    x = torch.arange(256, dtype=torch.float32)
    wave = (0.5 + 0.1 * torch.cos(2 * pi * 0.25 * x + 0.3)).expand(1, 1, 64, 256)
    gain = float(sharpen(wave, how)[..., 100:156].std() / wave[..., 100:156].std())
    ink = exp(-2 * (pi * spread_px * 0.25) ** 2)
    lost = 1 - ink
    restored = gain * ink
    expected = 1.0 if strength == "standard" else 1 - lost / 2
    assert restored == pytest.approx(expected, abs=0.05)


def test_a_medium_that_swallows_the_detail_is_not_overdone() -> None:
    assert amount_for_spread(2.0, 5.0) == MOST_AMOUNT
    assert amount_for_spread(2.0, 0.0) == 0.0


def test_without_edges_or_halo_nothing_is_measured() -> None:
    how = output_sharpening("glossy", "standard", 200, 1000)
    assert how is not None
    assert measured(np.full((300, 300), 90.0), how) == NO_HALO
    assert measured(np.random.default_rng(0).normal(120, 20, (300, 300)), how) == NO_HALO
    edges = stripes(0.6)
    flat = np.array([edges[:128, :128], edges[128:256, 128:256]])
    unsharpened = measure_halo(flat, flat, 4.0)
    assert (unsharpened.width_px, unsharpened.overshoot) == (0.0, 0.0)
    assert unsharpened.edges >= 8
    black_on_white = stripes(0.6, low=0, high=255)
    assert measured(black_on_white, how).width_px < how.halo_px  # no room but on the ramp itself
    assert measure_halo(np.empty((0, 128, 128)), np.empty((0, 128, 128)), 4.0) == NO_HALO


def plainly(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.interpolate(x, scale_factor=4, mode="bicubic")


def printed(small: np.ndarray, **options: object):
    """A print three times the picture, by a network that enlarges plainly."""
    size = Size(small.shape[1] * 3, small.shape[0] * 3)
    engine = FakeEngine(span_x4=plainly)
    return run_pipeline(
        np.repeat(small[..., None], 3, 2),
        PixelLayout("RGB", "u16"),
        size,
        engine=engine,
        **{"sharpen": "glossy", "ppi": 300.0, "tile_px": 160, **options},
    )


def test_a_print_has_the_halo_that_was_asked_for() -> None:
    """The whole way: edges measured on the enlarged picture, sharpening fitted, print measured."""
    small = np.rint(stripes(0.6, 256) * 257)
    plain, report = printed(small, distance_mm=2000.0)
    assert report.halo is not None
    # Enlarging widens the edges, so the halo is wider than for the edges of sharp pixels.
    assert report.halo.edge_px > 1.0
    assert report.halo.width_px > report.plan.sharpening.halo_px + 0.3
    print_, report = printed(small, distance_mm=2000.0, halo_mm=0.6)
    assert report.fitted_edges
    assert not any("narrower" in note for note in report.notes)
    assert report.plan.sharpening.edge_px == pytest.approx(report.halo.edge_px, rel=0.1)
    wanted_px = 0.6 / 25.4 * 300
    assert report.halo.width_px == pytest.approx(wanted_px, abs=0.2)
    assert not np.array_equal(plain, print_)
    said = report.to_map()["halo"]
    assert said["width_mm"] == pytest.approx(0.6, abs=0.2 / 300 * 25.4)


@pytest.mark.parametrize("size", [100, 160, 170, 400, 900, 3000])
@pytest.mark.parametrize("level", [False, True])
def test_spots_are_looked_for_everywhere(size: int, level: bool) -> None:
    """The hardest changes count wherever they are, in small prints and large ones, level or not."""
    source = np.full((size // 2, size // 2), 90.0)
    corner = source[-40:, -40:]
    corner[(np.arange(len(corner)) // 5 % 2).astype(bool)] = 200.0
    if not level:
        source = source.T.copy()
    axis = Axis(size // 2, 0.0, size // 2, size)
    asked: list[tuple[int, int]] = []

    def luma(xs: tuple[int, int], ys: tuple[int, int]) -> np.ndarray:
        asked.append((xs[1], ys[1]))
        return source[slice(*ys), slice(*xs)]

    found = halo_fit.spots((axis, axis), luma)
    assert 1 <= len(found) <= halo_fit.PROBES
    assert any(xs[1] == ys[1] == size for xs, ys in found)
    assert max(asked) == (size // 2, size // 2)
    assert len(set(asked)) == min(halo_fit.PROBES_A_SIDE, -(-size // halo_fit.PROBE_PX)) ** 2


def test_a_cut_out_is_fitted_as_the_whole() -> None:
    """A proof's crop has the pixels of the full run, also with a halo of its own."""
    small = np.rint(stripes(0.7, 200) * 257)
    distance_mm = 1500.0
    full, report = printed(small, halo_mm=0.5, distance_mm=distance_mm)
    assert report.fitted_edges
    rect = Rect(130, 90, 200, 150)
    placement = part_of(whole(Size(200, 200), Size(600, 600)), rect)
    got, _ = run_pipeline(
        np.repeat(small[..., None], 3, 2),
        PixelLayout("RGB", "u16"),
        placement,
        engine=FakeEngine(span_x4=plainly),
        sharpen="glossy",
        ppi=300.0,
        tile_px=160,
        distance_mm=distance_mm,
        halo_mm=0.5,
    )
    assert np.array_equal(got, full[rect.y : rect.y + 150, rect.x : rect.x + 200])


def test_what_is_sharpened_or_seen_in_parts_is_not_measured() -> None:
    """There the print differs from what was kept by more than its sharpening."""
    small = np.rint(stripes(0.6, 128) * 257)
    mask = np.zeros((128, 128, 1), np.uint8)
    mask[:64] = 255
    _, report = printed(small, mask=mask)
    assert report.halo is None
    rgba = np.repeat(small[..., None], 4, 2)
    for alpha, measured_there in ((65535, True), (30000, False)):
        rgba[..., 3] = alpha
        layout = PixelLayout("RGBA", "u16", "straight")
        _, report = run_pipeline(
            rgba, layout, Size(384, 384), engine=FakeEngine(span_x4=plainly), sharpen="glossy"
        )
        assert (report.halo is not None) == measured_there


def test_what_cannot_be_is_told() -> None:
    """Edges too soft for the halo, and a picture without edges."""
    _, report = printed(np.rint(stripes(1.5, 256) * 257), halo_mm=0.26)
    assert report.fitted_edges
    assert any("narrower than these edges allow" in note for note in report.notes)
    _, report = printed(np.full((200, 200), 30_000), halo_mm=0.4)
    assert not report.fitted_edges
    assert any("too few edges" in note for note in report.notes)
    waves = np.rint(picture(120, 160)[0, 0].numpy() * 65535)
    _, report = printed(waves)
    assert not any("halo" in note for note in report.notes)


def test_the_passport_carries_what_was_measured() -> None:
    small = np.rint(stripes(0.6, 256) * 257)
    _, report = printed(small, halo_mm=0.6, spread_mm=0.03)
    placement = whole(Size(256, 256), Size(768, 768))
    request = Request.build(
        Size(256, 256), PixelLayout("RGB", "u16"), placement, halo_mm=0.6, spread_mm=0.03
    )
    passport = Passport(request, "0" * 64, "file", "1" * 64, report.to_map())
    back = Passport.from_map(json.loads(passport.to_json()))
    assert back.request.options.halo_mm == 0.6
    assert back.request.options.spread_mm == 0.03
    assert back.output_sharpening is not None
    found = back.output_sharpening["measured"]
    assert found["width_px"] == pytest.approx(report.halo.width_px, abs=1e-3)
    assert found["edges"] > 50


@pytest.mark.parametrize(("name", "value"), [("halo_mm", 5.1), ("spread_mm", -0.1)])
def test_absurd_lengths_are_refused(name: str, value: float) -> None:
    placement = whole(Size(10, 10), Size(20, 20))
    with pytest.raises(ValueError, match=name):
        Request.build(Size(10, 10), PixelLayout("RGB", "u8"), placement, **{name: value})
