"""A shake of the camera is read from the picture and taken back out; nothing else is taken for one.

The pictures are scikit-image's, shaken by known motions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import radians
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data
from torch import Tensor

from wallprint_protocol.errors import Cancelled
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Rect, Size
from wallprint_server.imaging.color import decode_srgb, encode_srgb
from wallprint_server.pipeline import shake as shake_module
from wallprint_server.pipeline.blind_kernel import TUNINGS, find_kernel, spectrum_of
from wallprint_server.pipeline.deblur import TINT, Deblurring, ShakeRestorer, tinted_as_before
from wallprint_server.pipeline.deconvolve import Deconvolution, drawn
from wallprint_server.pipeline.exposure_path import (
    MOMENTS,
    TERMS,
    Floats,
    Path,
    fit_path,
    places_of,
)
from wallprint_server.pipeline.seams import SeamCheck
from wallprint_server.pipeline.shake import Shake, estimate_shake
from wallprint_testing.engines import FakeEngine, FakeNetwork, run_pipeline

RGB8 = PixelLayout("RGB", "u8")
CPU = torch.device("cpu")
# Legendre terms, px: a straight line to the right and down, and a bow.
LINE = np.array([[0, 0], [6, 3], *[[0, 0]] * (TERMS - 2)], float)
BOW = np.array([[0, 0], [7, 2], [1, -5], [0.5, 1], *[[0, 0]] * (TERMS - 4)], float)
STILL = np.zeros(TERMS)


def shake_of(terms: Floats, size: Size, roll_degrees: float = 0.0) -> Shake:
    roll = np.zeros(TERMS)
    roll[1] = radians(roll_degrees) / 2
    return Shake(terms, roll, STILL, size, 0.0, 1)


@pytest.fixture(scope="module")
def sharp() -> Tensor:
    """(1, 3, 384, 448), a photograph in [0, 1]."""
    picture = data.astronaut()[:384, 40:488]
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255


def shaken(picture: Tensor, shake: Shake) -> Tensor:
    """As the camera would have taken it: the mean of its views, in linear light."""
    height, width = picture.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    linear, middle = decode_srgb(picture), ((width - 1) / 2, (height - 1) / 2)
    total = torch.zeros_like(linear)
    ways = [shake.places(*middle), shake.places(middle[0] + 100, middle[1])]
    moments = np.linspace(0, MOMENTS - 1, 3 * MOMENTS)
    for moment in moments:
        (dx, dy), (_, dy_beside) = (
            [np.interp(moment, range(MOMENTS), way[:, axis]) for axis in (0, 1)] for way in ways
        )
        roll = (dy_beside - dy) / 100
        # Light at a place came from where the way, turned round, leads.
        from_x = x - dx + roll * (y - middle[1])
        from_y = y - dy - roll * (x - middle[0])
        grid = torch.stack([2 * from_x / (width - 1) - 1, 2 * from_y / (height - 1) - 1], -1)
        total += torch.nn.functional.grid_sample(
            linear, grid[None].float(), mode="bicubic", padding_mode="reflection",
            align_corners=True,
        )  # fmt: skip
    return encode_srgb((total / len(moments)).clamp(0, 1))


def psnr(a: Tensor, b: Tensor, border: int = 16) -> float:
    inside = (..., slice(border, -border), slice(border, -border))
    return float(-10 * (a[inside].clamp(0, 1) - b[inside]).square().mean().log10())


def luma_of(picture: Tensor) -> Callable[[Rect], np.ndarray]:
    plane = 255 * picture[0].mean(0).numpy()
    return lambda r: np.ascontiguousarray(plane[r.y : r.y + r.height, r.x : r.x + r.width])


def size_of(picture: Tensor) -> Size:
    return Size(picture.shape[3], picture.shape[2])


# -- the way from a kernel -------------------------------------------------------------------------


@pytest.mark.parametrize("terms", [LINE, BOW])
def test_a_way_is_read_from_its_kernel(terms: Floats) -> None:
    places = places_of(terms)
    kernel = drawn(torch.from_numpy(places - places.mean(0))[None])[0]
    path = fit_path(kernel)
    found = path.places
    if np.abs(found[0] - places[0]).max() > np.abs(found[-1] - places[0]).max():
        found = found[::-1]
    assert path.misfit < 0.15
    # The bow is no drift and swing, so its ends come out a little short.
    assert np.sqrt(((found - places) ** 2).sum(1).mean()) < 1.0
    assert path.extent_px == pytest.approx(np.ptp(places, 0).max(), rel=0.15)


def test_a_picture_stands_where_it_was_in_the_middle_of_the_exposure() -> None:
    for terms in (LINE, BOW):
        assert np.abs(places_of(terms)[MOMENTS // 2]).max() < 1e-9
        assert np.abs(places_of(terms).mean(0)).max() > 1.0 or terms is LINE


def test_the_same_kernel_gives_the_same_way_and_a_tangle_none() -> None:
    kernel = drawn(torch.from_numpy(places_of(BOW))[None])[0]
    assert np.array_equal(fit_path(kernel).terms, fit_path(kernel).terms)
    tangle = torch.zeros(41, 41)
    tangle[::8, ::8] = 1.0
    assert fit_path(tangle / tangle.sum()).misfit > shake_module.MOST_MISFIT


def test_kernels_are_drawn_where_the_way_leads() -> None:
    way = np.zeros((MOMENTS, 2))
    way[:, 0] = 3.25  # always 3.25 px to the right
    kernel = drawn(torch.from_numpy(way)[None])[0]
    assert kernel.sum() == pytest.approx(1.0)
    half = kernel.shape[0] // 2
    assert kernel[half, half + 3] == pytest.approx(0.75)
    assert kernel[half, half + 4] == pytest.approx(0.25)
    spectrum = spectrum_of(kernel, 32, 32)
    picture = torch.zeros(32, 32)
    picture[10, 10] = 1.0
    moved = torch.fft.irfft2(torch.fft.rfft2(picture) * spectrum, s=(32, 32))
    assert moved[10, 13] == pytest.approx(0.75, abs=1e-5)


# -- the kernel from a picture ---------------------------------------------------------------------


def test_a_kernel_is_found_blindly(sharp: Tensor) -> None:
    shake = shake_of(BOW, size_of(sharp))
    linear = decode_srgb(shaken(sharp, shake)).mean(1)[0]
    kernel = find_kernel(linear, TUNINGS[0])
    assert kernel.sum() == pytest.approx(1.0, abs=1e-4)
    assert float(kernel.min()) >= 0.0
    places = places_of(BOW)
    true = drawn(torch.from_numpy(places - places.mean(0))[None])[0]
    border = (kernel.shape[0] - true.shape[0]) // 2
    true = torch.nn.functional.pad(true, (border,) * 4)
    soft = [torch.nn.functional.avg_pool2d(k[None, None], 3, 1, 1)[0, 0] for k in (kernel, true)]
    both = torch.fft.irfft2(torch.fft.rfft2(soft[0]) * torch.fft.rfft2(soft[1]).conj())
    assert float(both.max() / (soft[0].norm() * soft[1].norm())) > 0.8


def test_a_shake_is_found_and_undone_and_a_sharp_picture_is_none(sharp: Tensor) -> None:
    size = size_of(sharp)
    taken = shaken(sharp, shake_of(BOW, size))
    shake = estimate_shake(size, luma_of(taken), CPU)
    assert shake is not None
    assert shake.extent_px == pytest.approx(shake_of(BOW, size).extent_px, rel=0.2)
    restored = Deconvolution(shake, lambda: None).light(taken, 0, 0)
    assert psnr(restored, sharp) > psnr(taken, sharp) + 2.0
    assert estimate_shake(size, luma_of(sharp), CPU) is None


def test_a_defocus_is_no_shake(sharp: Tensor) -> None:
    at = torch.arange(-4, 5).float()
    disc = ((at[:, None].square() + at.square()).sqrt() <= 3.2).float()
    weights = (disc / disc.sum()).expand(3, 1, -1, -1)
    soft = torch.nn.functional.conv2d(decode_srgb(sharp), weights, padding=4, groups=3)
    assert estimate_shake(size_of(sharp), luma_of(encode_srgb(soft)), CPU) is None


def test_nothing_is_found_where_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = torch.full((1, 3, 200, 300), 0.4)
    assert estimate_shake(Size(300, 200), luma_of(flat), CPU) is None
    monkeypatch.setattr(shake_module, "find_kernel", None)  # too small to look
    assert estimate_shake(Size(60, 400), luma_of(torch.rand(1, 3, 400, 60)), CPU) is None


def test_the_search_is_done_once_and_can_be_cancelled(
    sharp: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancel() -> None:
        raise Cancelled

    taken = shaken(sharp, shake_of(LINE, size_of(sharp)))[..., :200, :200]
    monkeypatch.setattr(shake_module, "TUNINGS", TUNINGS[:1])
    with pytest.raises(Cancelled):
        estimate_shake(Size(200, 200), luma_of(taken), CPU, cancel)
    first = estimate_shake(Size(200, 200), luma_of(taken), CPU)
    assert estimate_shake(Size(200, 200), luma_of(taken), CPU, cancel) is first


# -- one motion of the camera ----------------------------------------------------------------------


def windows_of(shake: Shake, reverse: int = -1) -> list[tuple[tuple[float, float], Path]]:
    """What the windows of a 3000 x 2000 picture would say, one of them back to front."""
    found = []
    for number, (x, y) in enumerate(((300, 300), (2700, 300), (1500, 1000), (300, 1700))):
        dx, dy = x - 1499.5, y - 999.5
        path = Path(shake.shift + np.stack([-shake.roll * dy, shake.roll * dx], 1), 0.05)
        found.append(((float(x), float(y)), path.backwards() if number == reverse else path))
    return found


def test_windows_tell_the_roll_of_the_camera() -> None:
    true = shake_of(BOW, Size(3000, 2000), roll_degrees=0.3)
    found = shake_module._motion(true.size, windows_of(true, reverse=1), 4)
    assert found is not None
    assert found.windows == 4
    assert found.roll_degrees == pytest.approx(0.3, rel=0.05)
    for x, y in ((0, 0), (2999, 1999)):
        ways = [found.places(x, y), true.places(x, y)]
        assert min(np.abs(ways[0] - way).max() for way in (ways[1], ways[1][::-1])) < 0.5


def test_a_window_that_moved_otherwise_is_left_out_and_two_are_too_many() -> None:
    true = shake_of(LINE, Size(3000, 2000))
    found = windows_of(true)
    other = Path(np.array([[0, 0], [-3, 8], *[[0, 0]] * (TERMS - 2)], float), 0.2)
    found[3] = found[3][0], other
    shake = shake_module._motion(true.size, found, 4)
    assert shake is not None
    assert shake.windows == 3
    assert shake.extent_px == pytest.approx(true.extent_px, rel=0.1)
    found[2] = found[2][0], replace(other, terms=np.roll(other.terms, 1, 1))
    assert shake_module._motion(true.size, found, 4) is None
    assert shake_module._motion(true.size, [], 4) is None


# -- taking it out ---------------------------------------------------------------------------------


def test_a_known_shake_with_a_roll_is_taken_out_by_tiles_that_do_not_show(sharp: Tensor) -> None:
    size = size_of(sharp)
    true = shake_of(BOW, size, roll_degrees=0.8)
    taken = shaken(sharp, true)
    results = {}
    for name, shake in (("with", true), ("without", shake_of(BOW, size))):
        results[name] = Deconvolution(shake, lambda: None).light(taken, 0, 0)
    before = psnr(taken, sharp)
    assert psnr(results["with"], sharp) > before + 4.0
    assert psnr(results["with"], sharp) > psnr(results["without"], sharp) + 0.5
    seams = SeamCheck()
    network: Any = FakeNetwork("dering", lambda x, _taken: x)
    restorer = ShakeRestorer(Deconvolution(true, lambda: None), network, size)
    stage = Deblurring(
        size,
        lambda xs, ys: taken[..., ys[0] : ys[1], xs[0] : xs[1]],
        restorer,
        100,
        window_px=2 * restorer.border_px + 224,
        seams=seams,
    )
    tiled = stage.planes((0, size.width), (0, size.height))
    assert seams.borders >= 4
    assert seams.left == 0
    assert psnr(tiled, sharp) > before + 4.0


def test_clipped_lamps_do_not_ring(sharp: Tensor) -> None:
    """A lamp ten times brighter than white; what it really was nobody knows."""
    dark = 0.1 + 0.2 * sharp.mean(1, keepdim=True)
    lamp = decode_srgb(dark)
    lamp[..., 190:196, 220:226] = 10.0
    shake = shake_of(LINE, size_of(sharp))
    height, width = dark.shape[-2:]
    way = torch.from_numpy(shake.places(0, 0))[None]
    spectrum = spectrum_of(drawn(way)[0], height, width)
    seen = torch.fft.irfft2(torch.fft.rfft2(lamp) * spectrum, s=(height, width))
    taken = encode_srgb(seen.clamp(0, 1))
    result = Deconvolution(shake, lambda: None).light(taken, 0, 0)
    around = result[..., 150:240, 170:280].clone()
    around[..., 30:56, 30:80] = 0.2  # the lamp and its streak
    assert float(around.min()) > 0.02
    assert float(around.max()) < 0.6


@pytest.mark.parametrize("size", [Size(1, 1), Size(3, 40), Size(64, 2)])
def test_every_size_is_possible(size: Size) -> None:
    picture = torch.rand(1, 1, size.height, size.width)
    result = Deconvolution(shake_of(BOW, size), lambda: None).light(picture, 0, 0)
    assert result.shape == picture.shape
    assert bool(result.isfinite().all())


def test_what_a_shake_brings_in_from_beyond_the_border_does_not_streak(sharp: Tensor) -> None:
    """A strip along the border is hardly worse off than the middle of the picture."""
    wide, cut = size_of(sharp), 48
    shake = shake_of(BOW, wide)
    taken = shaken(sharp, shake)[..., cut:-cut, cut:-cut]  # what is beyond was no mirror image
    truth = sharp[..., cut:-cut, cut:-cut]
    result = Deconvolution(shake, lambda: None).light(taken, 0, 0)
    error, before = ((x - truth).square() for x in (result, taken))
    strip = torch.ones_like(truth, dtype=torch.bool)
    strip[..., 8:-8, 8:-8] = False
    assert float(error[strip].mean()) < 0.3 * float(before[strip].mean())
    assert float(result.min()) >= 0
    assert float(result.max()) <= 1


def test_no_tint_is_stronger_than_those_around_it_were() -> None:
    """A blue ring in grey beside yellow becomes grey as dark as it was; the yellow stays."""
    taken = torch.full((1, 3, 40, 80), 0.4)
    taken[..., 40:] = torch.tensor([0.9, 0.8, 0.1])[:, None, None]
    sharp = taken.clone()
    sharp[..., 30] = torch.tensor([0.1, 0.1, 0.4])[:, None]
    result = tinted_as_before(sharp, taken, 16)
    ring = result[..., 30]
    assert torch.allclose(ring.mean(1), sharp[..., 30].mean(1), atol=2e-3)
    assert float(ring[:, 2].max() - ring.mean()) < 1.2 * TINT
    kept = [x for x in range(80) if x != 30]
    torch.testing.assert_close(result[..., kept], sharp[..., kept])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [Size(1, 1), Size(3, 40), Size(67, 50)])
def test_the_network_sees_both_pictures_in_whole_cells(size: Size, channels: int) -> None:
    """Padding up to whole cells of the network is not deconvolved, as nobody has seen it."""
    seen: list[tuple[Tensor, Tensor]] = []

    def watched(light: Tensor, taken: Tensor) -> Tensor:
        seen.append((light, taken))
        return light

    picture = torch.rand(1, channels, size.height, size.width)
    deconvolution = Deconvolution(shake_of(BOW, size), lambda: None)
    network: Any = FakeNetwork("dering", watched)
    stage = Deblurring(
        size, lambda xs, ys: picture[..., ys[0] : ys[1], xs[0] : xs[1]],
        ShakeRestorer(deconvolution, network, size), 100,
        window_px=4096, seams=SeamCheck(),
    )  # fmt: skip
    result = stage.planes((0, size.width), (0, size.height))
    assert result.shape == picture.shape
    light, taken = seen[0]
    assert light.shape == taken.shape
    assert (light.shape[1], light.shape[2] % 8, light.shape[3] % 8) == (3, 0, 0)
    expected = deconvolution.light(picture, 0, 0).expand(-1, 3, -1, -1)
    torch.testing.assert_close(light[..., : size.height, : size.width], expected)


# -- in the pipeline -------------------------------------------------------------------------------


def printed(picture: Tensor, **options: object) -> tuple[np.ndarray, dict]:
    pixels = (255 * picture[0]).round().permute(1, 2, 0).numpy()
    result, report = run_pipeline(
        pixels, RGB8, size_of(picture), engine=FakeEngine(), ppi=100.0, **options
    )
    return result.astype(int), {**report.to_map(), "notes": report.notes}


def test_auto_takes_out_a_shake_and_says_so(sharp: Tensor) -> None:
    taken = shaken(sharp, shake_of(BOW, size_of(sharp)))
    whole, report = printed(taken, deblur=None)
    assert report["deblur"] == 100
    wall_mm = report["shake"]["px"] * 25.4 / 100
    assert report["shake"]["px"] == pytest.approx(shake_of(BOW, size_of(sharp)).extent_px, rel=0.2)
    assert f"{wall_mm:.1f} mm on the wall" in report["notes"][0]
    stage = report["stages"][0]
    assert (stage["stage"], stage["network"], stage["strength"]) == ("deblur", "dering", 100)
    assert stage["shake"] == report["shake"]
    # The search is remembered: the other amounts take no time.
    half, full, off = (printed(taken, deblur=amount)[0] for amount in (50, 100, 0))
    assert np.array_equal(full, whole)
    steep = [np.abs(np.diff(result, axis=1)).mean() for result in (off, half, full)]
    assert steep[0] < steep[1] < steep[2]


def test_a_picture_without_a_shake_stays_as_it_is(sharp: Tensor) -> None:
    off, _ = printed(sharp, deblur=0)
    auto, report = printed(sharp, deblur=None)
    assert np.array_equal(auto, off)
    assert (report["deblur"], report["shake"]) == (0, None)
    asked, report = printed(sharp, deblur=100)
    assert np.array_equal(asked, off)
    assert report["deblur"] == 0
    assert "no blur was seen in the edges; nothing was deblurred" in report["notes"][0]


def test_noise_is_not_deblurred_and_an_unexplained_blur_is_told(sharp: Tensor) -> None:
    torch.manual_seed(0)
    _, report = printed(torch.rand(1, 3, 200, 300), deblur=100)
    assert (report["deblur"], report["shake"]) == (0, None)
    soft = torch.nn.functional.avg_pool2d(sharp, 7, 1, 3, count_include_pad=False)
    result, report = printed(soft[..., :256, :256], deblur=None)
    assert (report["deblur"], report["shake"]) == (0, None)
    assert "no movement of the camera explains it, so it stays" in report["notes"][0]
    assert np.array_equal(result, printed(soft[..., :256, :256], deblur=0)[0])
