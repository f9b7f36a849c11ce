"""The network after the deconvolution: its shape, and what the weights that come with it do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data
from torch import Tensor

from wallprint_protocol.print_size import Size
from wallprint_server.imaging.color import decode_srgb, encode_srgb
from wallprint_server.models import catalog, networks, store
from wallprint_server.models.engine import Network
from wallprint_server.models.networks.deringer import MULTIPLE, Deringer
from wallprint_server.pipeline.blind_kernel import spectrum_of
from wallprint_server.pipeline.deblur import ShakeRestorer
from wallprint_server.pipeline.deconvolve import ROUNDS, Deconvolution, deconvolved, drawn
from wallprint_server.pipeline.exposure_path import TERMS
from wallprint_server.pipeline.shake import Shake
from wallprint_testing.networks import by_formula


@pytest.fixture(scope="module")
def shipped() -> Network:
    spec = catalog.deringer()
    return Network(spec, networks.load(spec, store.load(spec.name)), torch.device("cpu"), 1)


def photograph() -> Tensor:
    """(1, 3, 320, 320) in [0, 1]."""
    pixels = torch.from_numpy(data.astronaut()[60:380, 100:420].copy())
    return pixels.permute(2, 0, 1)[None].float() / 255


def way(px: float) -> Tensor:
    """A bow of that length, (1, T, 2)."""
    t = torch.linspace(-0.5, 0.5, 49)
    return torch.stack([px * t, 0.35 * px * (4 * t.square() - 1 / 3)], 1)[None]


def taken_and_light(sharp: Tensor, real: Tensor, believed: Tensor) -> tuple[Tensor, Tensor]:
    """A picture shaken by one way, and deconvolved by another one."""
    height, width = sharp.shape[-2:]
    spectrum = spectrum_of(drawn(real)[0], height, width)
    # Round about: what is moved out on one side comes in on the other.
    soft = torch.fft.irfft2(torch.fft.rfft2(decode_srgb(sharp)) * spectrum, s=(height, width))
    soft = encode_srgb(soft.clamp(0, 1))
    shares = torch.ones(1, height, width)
    return soft, deconvolved(soft, drawn(believed), shares, ROUNDS, lambda: None)


def psnr(a: Tensor, b: Tensor) -> float:
    inside = (..., slice(24, -24), slice(24, -24))
    return float(-10 * (a[inside].clamp(0, 1) - b[inside]).square().mean().log10())


def test_shape_and_second_picture() -> None:
    net = by_formula(Deringer())
    x = torch.rand(2, 3, 3 * MULTIPLE, 5 * MULTIPLE)
    assert net(x).shape == x.shape
    torch.testing.assert_close(net(x, x), net(x))
    assert not torch.allclose(net(x, 1 - x), net(x))


def test_it_sees_farther_than_the_longest_shake() -> None:
    net = by_formula(Deringer()).double()
    x = torch.zeros(1, 3, 256, 256, dtype=torch.double, requires_grad=True)
    net(x)[0, :, 128, 128].sum().backward()
    assert x.grad is not None
    seen = x.grad[0].abs().sum(0).nonzero()
    assert int(seen.min()) < 128 - 40
    assert int(seen.max()) > 128 + 40


@pytest.mark.parametrize(("px", "believed_px"), [(18, 16.5), (24, 24), (24, 25)])
def test_rings_of_long_shakes_become_fewer(shipped: Network, px: float, believed_px: float) -> None:
    sharp = photograph()
    taken, light = taken_and_light(sharp, way(px), way(believed_px))
    before = psnr(light, sharp)
    assert before > psnr(taken, sharp) + 4
    assert psnr(shipped(light, taken), sharp) > before + 0.2


def test_a_short_shake_that_was_known_exactly_loses_a_little(shipped: Network) -> None:
    """There is nothing to remove, which the network cannot know."""
    sharp = photograph()
    taken, light = taken_and_light(sharp, way(6), way(6))
    gained = psnr(light, sharp) - psnr(taken, sharp)
    assert psnr(shipped(light, taken), sharp) - psnr(taken, sharp) > 0.85 * gained


def test_a_flat_picture_gets_no_pattern(shipped: Network) -> None:
    for grey in (0.0, 0.2, 0.5, 1.0):
        x = torch.full((1, 3, 384, 384), grey)
        inside = shipped(x, x).clamp(0, 1)[..., 144:-144, 144:-144]
        assert float(inside.std(dim=(2, 3)).max()) < 0.4 / 255
        assert float((inside - grey).abs().max()) < 4 / 255


def test_white_stays_white_beside_an_edge(shipped: Network) -> None:
    """What is slower than a ring is the picture's own, whatever the network thinks of white."""
    size = Size(320, 320)
    sharp = torch.ones(1, 3, 320, 320)
    sharp[..., 80:240, 80:240] = 0.4
    terms = np.zeros((TERMS, 2))
    terms[1, 0], terms[2, 1] = 7.0, 14 * 0.35 * 2 / 3
    shake = Shake(terms, np.zeros(TERMS), np.zeros(TERMS), size, 0.0, 1)
    moved = torch.from_numpy(shake.places(0, 0))[None]
    taken, _ = taken_and_light(sharp, moved, moved)
    stage = ShakeRestorer(Deconvolution(shake, lambda: None), shipped, size)
    result = stage.restored(taken, 0, 0).clamp(0, 1)
    assert psnr(result, sharp) > psnr(taken, sharp) + 4
    for white in (result[..., 100:220, 252:300], result[..., 20:66, 100:220]):
        assert float(white.min()) > 1 - 3 / 255
        assert float(white.mean()) > 1 - 1.2 / 255


def test_noise_is_not_made_into_texture(shipped: Network) -> None:
    generator = torch.Generator().manual_seed(1)
    flat = torch.full((1, 3, 256, 256), 0.5)
    grainy = flat + 4 / 255 * torch.randn(flat.shape, generator=generator)
    _, light = taken_and_light(flat, way(14), way(14))
    assert float((light - flat).abs().max()) < 1 / 255
    shares = torch.ones(1, 256, 256)
    noisy = deconvolved(grainy, drawn(way(14)), shares, ROUNDS, lambda: None)
    inside = (..., slice(32, -32), slice(32, -32))
    assert float(shipped(noisy, grainy)[inside].std()) < 0.85 * float(noisy[inside].std())
