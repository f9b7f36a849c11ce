"""Blur as cameras make it: smooth, in linear light, the sharp picture in the middle of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training import blur, measure, mssnet
from training.blur import BlurMix
from training.data import Tiles

PURE = BlurMix(still=0, long=0, moving=0, defocused=0, coded=0, sigma=0)


def draw(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_middle_of_the_exposure_is_the_sharp_picture() -> None:
    path = blur.paths(draw(), torch.full((16,), 20.0), 33)
    assert path[:, 16].eq(0).all()
    assert float(path[:, 0].abs().amax()) > 0


def test_paths_have_their_extent_and_are_smooth() -> None:
    extent = torch.tensor([0.0, 3.0, 20.0, 36.0])
    path = blur.paths(draw(), extent, 73)
    torch.testing.assert_close(path[..., :2].abs().amax((1, 2)), extent / 2)
    assert path[0].eq(0).all()  # a camera that does not move does not roll either
    assert float(path[..., 2].abs().max()) <= blur.ROLL_DEG * torch.pi / 180
    assert float(path[..., 3].abs().max()) <= blur.ZOOM
    turn = path[3, :, :2].diff(dim=0).diff(dim=0).abs().max()
    assert float(turn) < 0.2  # px: no corners, as a random walk has


def warped(x: torch.Tensor, path: torch.Tensor) -> torch.Tensor:
    """The mean of the picture over the poses of one path, pose by pose; (1, C, H, W), (F, 4)."""
    h, w = x.shape[-2:]
    ys, xs = torch.meshgrid(torch.arange(h) - h / 2, torch.arange(w) - w / 2, indexing="ij")
    total = torch.zeros_like(x)
    for right, down, roll, zoom in path.tolist():
        at_x = xs + right - roll * ys + zoom * xs
        at_y = ys + down + roll * xs + zoom * ys
        grid = torch.stack(((2 * at_x + w + 1) / w - 1, (2 * at_y + h + 1) / h - 1), -1)
        total += torch.nn.functional.grid_sample(
            x, grid.unsqueeze(0), mode="bilinear", padding_mode="reflection", align_corners=False
        )
    return total / len(path)


def test_no_motion_changes_nothing() -> None:
    x = torch.rand(2, 3, 52, 64, generator=draw())
    kernel = blur.kernels(draw(), torch.zeros(2))
    torch.testing.assert_close(blur.convolved(x, kernel), x, atol=1e-5, rtol=0)


def test_a_kernel_is_what_the_camera_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a photograph, compared with the picture warped pose by pose."""
    monkeypatch.setattr(blur, "PLACE_PX", 0.0)
    x = torch.rand(1, 3, 128, 128, generator=draw())
    x = torch.nn.functional.avg_pool2d(x, 3, 1, 1)
    extent = torch.tensor([18.0])
    path = blur.paths(draw(5), extent, blur.FRAMES)
    kernel = blur.kernels(draw(5), extent)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    near = (slice(None), slice(None), slice(60, 68), slice(60, 68))
    wanted = warped(x, path[0])[near]
    assert float((wanted - x[near]).abs().max()) > 0.05
    torch.testing.assert_close(blur.convolved(x, kernel)[near], wanted, atol=0.02, rtol=0)
    turned = blur.convolved(x, kernel.flip(1, 2))[near]
    assert float((turned - wanted).abs().max()) > 0.03


def test_a_line_blurs_along_itself_alone() -> None:
    level, upright = (
        blur.convolved(stripes, blur.lines(torch.tensor([9.0]), torch.tensor([0.0])))
        for stripes in (
            (torch.arange(64) // 3 % 2).float().expand(1, 1, 64, 64),
            (torch.arange(64) // 3 % 2).float().view(64, 1).expand(1, 1, 64, 64),
        )
    )
    assert float(level[..., 24:40, 24:40].std()) < 0.2
    assert float(upright[..., 24:40, 24:40].std()) > 0.48


def test_blur_happens_in_linear_light() -> None:
    """Black and white stripes, blurred away, are brighter than the mean of their values."""
    x = (torch.arange(64) // 2 % 2).float().expand(1, 3, 64, 64).contiguous()
    seen = torch.cat([blur.blurred(x * 0.9, draw(s), draw(s), PURE)[0] for s in range(12)])
    flat = seen[..., 16:48, 16:48].std((1, 2, 3)) < 0.1
    assert flat.any()
    assert float(seen[flat][..., 16:48, 16:48].mean()) > 0.9 * 0.6


def test_defocus_keeps_the_mean_and_the_place() -> None:
    x = torch.zeros(2, 1, 41, 41)
    x[..., 20, 20] = 1
    y = blur.defocused(x, torch.tensor([4.0, 4.0]), torch.tensor([True, False]))
    torch.testing.assert_close(y.sum((1, 2, 3)), torch.ones(2))
    at = torch.arange(41.0)
    torch.testing.assert_close((y.sum(2) * at).sum(2), torch.full((2, 1), 20.0))
    assert int((y[0] > 1e-4).sum()) < int((y[1] > 1e-4).sum())  # a disc ends, a Gaussian does not


def test_pieces_are_blurred_as_far_as_said(pack: Path) -> None:
    sharp = Tiles(pack, torch.device("cpu")).crops(draw(), 24, 96)
    seen, extent = blur.blurred(sharp, draw(2), draw(2), BlurMix(coded=0, sigma=0, moving=0))
    assert seen.shape == sharp.shape
    assert float(seen.min()) >= 0
    assert float(seen.max()) <= 1
    values = [measure.psnr(a, b, 8) for a, b in zip(seen.split(1), sharp.split(1), strict=True)]
    still = [v for v, e in zip(values, extent.tolist(), strict=True) if 0 < e < 1.5]
    far = [v for v, e in zip(values, extent.tolist(), strict=True) if e > 10]
    assert min(still, default=99.0) > max(far) or not still
    assert sum(far) / len(far) < 30


@pytest.mark.parametrize("name", ["moving", "defocused", "coded"])
def test_each_part_has_an_effect(pack: Path, name: str) -> None:
    sharp = Tiles(pack, torch.device("cpu")).crops(draw(), 4, 96)
    plain = blur.blurred(sharp, draw(4), draw(4), PURE)[0]
    mix = BlurMix(
        **{"still": 0, "long": 0, "moving": 0, "defocused": 0, "coded": 0, "sigma": 0, name: 1.0}
    )
    other = blur.blurred(sharp, draw(4), draw(4), mix)[0]
    assert float((other - plain).abs().mean()) > 1e-3


def test_shares_of_lengths() -> None:
    found = blur.lengths(draw(), 4000, BlurMix())
    shares = [
        float(((found >= a) & (found < b)).float().mean()) for a, b in ((0, 3), (3, 20), (20, 45))
    ]
    for share, wanted in zip(shares, (0.08, 0.52, 0.4), strict=True):
        assert share == pytest.approx(wanted, abs=0.03)
    assert float((found == 0).float().mean()) == pytest.approx(0.027, abs=0.015)


def test_lengths_can_be_drawn_together_and_paths_straightened() -> None:
    whole, alike = (blur.lengths(draw(), 50, BlurMix(spread=part)) for part in (1.0, 0.1))
    torch.testing.assert_close(alike - blur.TYPICAL_PX, 0.1 * (whole - blur.TYPICAL_PX))
    assert blur.lengths(draw(), 50, BlurMix(spread=0.0)).eq(blur.TYPICAL_PX).all()
    straight = blur.paths(draw(), torch.full((8,), 20.0), 33, bend=0.0)[..., :2]
    torch.testing.assert_close(straight.diff(dim=1), straight.diff(dim=1)[:, :1].expand(8, 32, 2))


def test_training_begins_with_what_is_easy() -> None:
    mix = BlurMix()
    first, middle, last = (mssnet.easy_first(mix, progress) for progress in (0.0, 0.3, 0.6))
    assert (first.bend, first.moving, first.defocused, first.coded) == (0, 0, 0, 0)
    assert first.spread == mssnet.LEAST_SPREAD
    assert 0 < middle.bend < 1
    assert last == mix
