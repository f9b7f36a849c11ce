"""The arithmetic behind the tables of benchmarks/quality.py, on generated pictures."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from html.parser import HTMLParser
from math import pi, radians

import numpy as np
import pytest
import quality
import quality_blur
import quality_page
import quality_scores
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

from wallprint_testing.data import eval_data
from wallprint_testing.engines import FakeEngine


def texture(seed: int, side: int = 160) -> np.ndarray:
    """(side, side, 3) uint8 of blobs of about 3 px, in the middle of the range."""
    noise = np.random.default_rng(seed).normal(size=(side, side, 3))
    smooth = gaussian_filter(noise, (1.5, 1.5, 0))
    return (128 + 40 * smooth / smooth.std()).clip(1, 254).astype(np.uint8)


def blurred(sharp: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """In linear light, as a camera blurs."""
    linear = quality_blur._decoded(sharp / 255)
    mixed = [fftconvolve(linear[..., c], kernel, mode="same") for c in range(3)]
    return quality_blur._to_8_bit(quality_blur._encoded(np.stack(mixed, 2)))


# Scores ------------------------------------------------------------------------------------------


def test_psnr_is_that_of_the_definition_and_leaves_the_border_out():
    truth = np.full((40, 40, 3), 100, np.uint8)
    worse = truth + np.uint8(5)
    assert quality_scores.psnr(worse, truth) == pytest.approx(20 * np.log10(255 / 5))
    spoiled = worse.copy()
    spoiled[:16] = spoiled[-16:] = spoiled[:, :16] = spoiled[:, -16:] = 255
    assert quality_scores.psnr(spoiled, truth, 16) == quality_scores.psnr(worse, truth)
    assert quality_scores.psnr(spoiled, truth, 15) < quality_scores.psnr(worse, truth)
    assert quality_scores.psnr(truth, truth) == float("inf")


def test_psnr_of_luma_weighs_the_channels_as_bt_601_does():
    truth = np.full((8, 8, 3), 100, np.uint8)
    for channel, weight in enumerate((65.481, 128.553, 24.966)):
        other = truth.copy()
        other[..., channel] += 10
        expected = 20 * np.log10(255 / (10 * weight / 255))
        assert quality_scores.psnr_y(other, truth) == pytest.approx(expected)


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (3, -2), (-10, 10)])
def test_the_best_shift_is_the_one_that_was_made(dx, dy):
    truth = texture(1)
    picture = np.roll(truth, (-dy, -dx), (0, 1))
    assert quality_scores.best_shift(picture, truth, 16) == (dx, dy)
    found = quality_scores.score(picture, truth, 16)
    assert found.psnr_moved == float("inf")
    assert found.ssim_moved == pytest.approx(1)
    assert (found.psnr == float("inf")) == (dx == dy == 0)


def test_the_best_shift_is_that_of_all_tried_one_by_one():
    rng = np.random.default_rng(5)
    truth = texture(2, 80)
    picture = (np.roll(truth, (2, 1), (0, 1)) + rng.normal(0, 20, truth.shape)).clip(0, 255)
    picture = picture.astype(np.uint8)
    most, border = 4, 6
    edge = most + border
    inner = picture[edge:-edge, edge:-edge].astype(float)
    errors = {
        (dx, dy): np.mean(
            (inner - truth[edge + dy : 80 - edge + dy, edge + dx : 80 - edge + dx]) ** 2
        )
        for dx in range(-most, most + 1)
        for dy in range(-most, most + 1)
    }
    best = min(errors, key=errors.get)
    assert quality_scores.best_shift(picture, truth, border, most) == best == (-1, -2)


# Kernels -----------------------------------------------------------------------------------------


def test_a_kernel_is_the_mean_of_what_the_camera_saw_on_its_path():
    """Frames that look at sharp[p + path] are what the kernel's convolution gives."""
    sharp = texture(3).astype(float)
    path = np.array([[0.0, 0.0], [3, 1], [5, -2], [5, -2]])
    frames = [np.roll(sharp, (-int(y), -int(x)), (0, 1)) for x, y in path]
    kernel = quality_blur.kernel_of(path)
    assert kernel.sum() == pytest.approx(1)
    assert kernel.shape[0] == kernel.shape[1] == 13
    found = fftconvolve(sharp[..., 0], kernel, mode="same")
    assert np.abs(found - np.mean(frames, 0)[..., 0])[10:-10, 10:-10].max() < 1e-6


def test_a_shift_between_pixels_is_shared_by_them():
    kernel = quality_blur.kernel_of(np.array([[0.25, -0.5]]))
    middle = len(kernel) // 2
    rows, columns = np.nonzero(kernel)
    assert set(columns - middle) == {-1, 0}
    assert set(rows - middle) == {0, 1}
    assert (kernel.sum(0) @ np.arange(len(kernel)) - middle) == pytest.approx(-0.25)
    assert (kernel.sum(1) @ np.arange(len(kernel)) - middle) == pytest.approx(0.5)


def test_a_straightened_path_has_its_ends_direction_and_place():
    bent = np.array([[3.0, 1.0], [7, 1.5], [11, 0.5], [15, 1.0]])
    line = quality_blur.straightened(bent)
    ends = line[[0, -1]][np.argsort(line[[0, -1], 0])]
    assert np.allclose(ends, [[3, 1], [15, 1]], atol=0.5)
    assert np.allclose(np.diff(line, 2, axis=0), 0)


@pytest.mark.parametrize(("length", "degrees"), [(9, 0), (15, 90), (13, 45), (21, 120)])
def test_a_straight_blur_is_read_from_the_picture(length, degrees):
    sharp = texture(4, 320)
    soft = blurred(sharp, quality_blur.line_kernel(length, radians(degrees)))
    found_length, found_angle = quality_blur.read_line(soft)
    away = abs((found_angle - radians(degrees) + pi / 2) % pi - pi / 2)
    assert away <= radians(10)
    assert found_length == pytest.approx(length, abs=2)


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        (quality_blur.by_wiener, {"balance": 0.01, "linear": 1}),
        (quality_blur.by_richardson_lucy, {"rounds": 20, "linear": 1}),
    ],
)
def test_a_rival_that_knows_the_kernel_restores_the_picture_in_its_place(method, parameters):
    """A kernel turned round, or moved by a pixel, would lose instead."""
    sharp = texture(6)
    kernel = quality_blur.kernel_of(np.array([[0.0, 0], [1, 1], [2, 1], [3, 0], [5, -1], [7, -1]]))
    soft = blurred(sharp, kernel)
    before = quality_scores.score(soft, sharp, 16)
    after = quality_scores.score(method(soft, kernel, parameters), sharp, 16)
    assert after.psnr > before.psnr + 5
    assert after.psnr_moved == pytest.approx(after.psnr, abs=0.7)  # fewer pixels, no shift
    turned = quality_scores.score(method(soft, kernel[::-1, ::-1], parameters), sharp, 16)
    assert turned.psnr < before.psnr


def test_parameters_are_the_best_of_the_grid_on_the_given_pairs(monkeypatch):
    sharp = texture(7, 400)
    soft = gaussian_filter(sharp, (1.2, 1.2, 0))
    pair = quality_blur.Pair("a01", soft, sharp, np.zeros((1, 2)))
    grid = [{"radius": 1.2, "amount": amount} for amount in (0.0, 1.0, 8.0)]
    monkeypatch.setitem(quality_blur.GRIDS, quality_blur.by_unsharp_mask, grid)
    chosen = quality_blur.tuned(quality_blur.by_unsharp_mask, [(pair, np.ones((1, 1)))])
    assert chosen["amount"] == 1.0


# Tables ------------------------------------------------------------------------------------------


def test_pairs_are_found_and_the_odd_synthetic_ones_tune(tmp_path):
    for folder, name in (("gopro", "Flower"), ("made", "kodak01"), ("made", "kodak02")):
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        Image.fromarray(texture(1, 32)).save(place / f"{name}_blur.png")
        Image.fromarray(texture(2, 32)).save(place / f"{name}_sharp.webp", lossless=True)
        if folder == "made":
            (place / f"{name}.json").write_text(json.dumps({"tx_ty_px": [[0, 0], [1.5, 2]]}))
    found = quality_blur.pairs(tmp_path)
    assert [p.name for p in found] == ["Flower", "kodak01", "kodak02"]
    assert [p.tunes for p in found] == [False, True, False]
    assert np.array_equal(found[0].sharp, texture(2, 32))
    assert quality_blur.KERNELS["known"](found[0]) is None


def test_gains_keep_real_and_synthetic_pairs_apart():
    truth = texture(8)
    soft = gaussian_filter(truth, (1, 1, 0))
    real = quality_blur.Pair("real", soft, truth, None)
    made = quality_blur.Pair("made01", soft, truth, np.zeros((1, 2)))
    before = {
        p.name: quality_scores.score(p.blurred, p.sharp, quality_blur.BORDER_PX)
        for p in (real, made)
    }
    worse = gaussian_filter(soft, (1, 1, 0))
    cells = quality.gains([real, made], before, {"real": soft, "made01": worse})
    assert cells["real dB"] == cells["real SSIM"] == 0
    assert cells["synthetic dB"] == cells["worst dB"] < -1
    assert cells["synthetic SSIM moved"] < 0
    assert quality.gains([real, made], before, {"made01": worse})["real dB"] is None


def test_without_a_network_there_is_the_movement_of_the_camera(monkeypatch):
    monkeypatch.setattr(quality.catalog, "deblurrer", lambda: None)
    monkeypatch.setattr(quality, "available", lambda _role: [])
    ways = quality.ways_to_deblur(FakeEngine())
    assert [name.removeprefix("wallprint, movement of the camera ") for name in ways] == [
        "100", "auto",
    ]  # fmt: skip
    sharp = texture(1)
    for apply in ways.values():
        assert np.array_equal(apply(sharp), sharp)


# Page --------------------------------------------------------------------------------------------


class Reader(HTMLParser):
    """What a page shows and where it gets it from."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag not in ("meta", "img", "input"):
            self.open.append(tag)
        if tag == "img":
            self.images.append(found)
        self.links += [found[key] for key in ("href", "src") if key in found]
        self.ids += [found["id"]] if "id" in found else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def chapter(side: int = 300) -> quality_page.Chapter:
    before, truth = texture(9, side), texture(10, side)
    ours = before.copy()
    ours[side - 100 :, 20:120] = 0
    exhibit = quality_page.Exhibit("A & B", {"before": before, "ours": ours, "truth": truth})
    rows = [{"method": "none", "dB": 1.234, "SSIM": 0.5}, {"method": "<ours>", "dB": None}]
    spot = quality_page.Spot("A & B", 0, 0, "a face")
    gone = quality_page.Spot("not there", 0, 0, "text")
    return quality_page.Chapter("T", "How.", rows, [exhibit], "ours", (spot, gone))


def test_the_largest_difference_is_where_it_was_made():
    a = texture(11, 300)
    b = a.copy()
    b[230:250, 40:60] ^= 64
    x, y, difference = quality_page.largest_difference(a, b, 64)
    assert x <= 40
    assert x + 64 >= 60
    assert y <= 230
    assert y + 64 >= 250
    assert difference == pytest.approx(64 * 400 / 64**2)
    assert quality_page.largest_difference(a[:50], a[:50], 64) == (0, 0, 0.0)


def test_a_picture_that_ours_was_not_made_of_is_compared_nowhere():
    given = chapter()
    bare = quality_page.Exhibit("bare", {"before": texture(1), "truth": texture(2)})
    both = dataclasses.replace(given, exhibits=[bare, *given.exhibits])
    assert quality_page.spots(both) == quality_page.spots(given)
    assert len(quality_page.spots(given)) == 2


def test_the_page_is_whole_and_needs_nothing_from_outside(tmp_path):
    path = quality_page.write(tmp_path / "new", "Title <1>", "About", [chapter()])
    page = Reader(path.read_text("utf-8"))
    assert page.open == []
    assert len(page.images) == 6  # three versions of two places; the missing picture has none
    assert all(link.startswith(("data:image/", "#")) for link in page.links)
    assert all(link[1:] in page.ids for link in page.links if link.startswith("#"))
    text = path.read_text("utf-8")
    assert "Title &lt;1&gt;" in text
    assert "&lt;ours&gt;" in text
    assert ">1.23<" in text
    assert ">0.500<" in text
    assert ">–<" in text
    assert "<script" not in text


def test_crops_are_the_pictures_own_pixels_and_say_what_they_are(tmp_path):
    given = chapter()
    page = Reader(quality_page.write(tmp_path, "T", "A", [given]).read_text("utf-8"))
    x, y, _ = quality_page.largest_difference(
        given.exhibits[0].versions["before"], given.exhibits[0].versions["ours"]
    )
    side = quality_page.CROP_PX
    for image, (label, picture) in zip(
        page.images, given.exhibits[0].versions.items(), strict=False
    ):
        data = base64.b64decode(image["src"].partition(",")[2])
        shown = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        assert np.array_equal(shown, picture[y : y + side, x : x + side])
        assert (image["width"], image["height"]) == (str(side), str(side))
        assert label in image["alt"]
        assert "A & B" in image["alt"]


@pytest.mark.data
def test_the_shakes_of_the_evaluation_pairs_blur_as_their_kernels_do():
    """Above 36 dB from the blurred picture; turned round, a kernel is 5 to 20 dB away."""
    for pair in quality_blur.pairs(eval_data("deblur", "kodak_synth"))[:3]:
        found = []
        for kernel in (quality_blur.kernel_of(pair.path), quality_blur.kernel_of(-pair.path)):
            again = blurred(pair.sharp, kernel)
            found.append(quality_scores.psnr(again, pair.blurred, 40))
        assert found[0] > 36
        assert found[0] > found[1] + 5
