"""The removal network: what its strength means, how far it sees, and that it is born alive."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from training import jpeg
from wallprint_server.models import catalog, networks, paths, store
from wallprint_server.models.engine import Network
from wallprint_server.models.networks import cleaner
from wallprint_server.models.networks.cleaner import Cleaner
from wallprint_server.models.networks.mssnet import padded as mssnet_padded
from wallprint_testing.networks import by_formula
from wallprint_testing.networks import picture as photo
from wallprint_testing.scenes import scene


def picture(height: int, width: int, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(height * 1000 + width)
    return torch.rand(batch, 3, height, width, generator=generator)


def grown(width: int = 8, blocks: int = 2) -> Cleaner:
    """Random weights everywhere, also where a new network has zeros."""
    torch.manual_seed(1)
    net = Cleaner(width, blocks).eval().requires_grad_(False)
    for parameter in net.parameters():
        parameter += 0.1 * torch.randn(parameter.shape)
    return net


def test_shape_type_and_number_of_parameters() -> None:
    net = Cleaner()
    assert 850_000 < sum(p.numel() for p in net.parameters()) < 950_000
    y = net(picture(10, 14, 2), torch.tensor([0.2, 1.0]))
    assert y.shape == (2, 3, 10, 14)
    assert y.dtype == torch.float32


def test_strength_0_is_the_picture_bit_for_bit() -> None:
    net, x = grown(), picture(16, 16)
    assert torch.equal(net(x, 0.0), x)
    assert not torch.equal(net(x, 0.01), x)


def test_strength_fades_in_without_a_step() -> None:
    net, x = grown(), picture(16, 16)
    changes = [float((net(x, s) - x).abs().mean()) for s in (0.002, 0.02, 0.06, 0.07)]
    assert changes[0] < 0.1 * changes[2]
    assert changes == sorted(changes)
    assert changes[3] < 1.2 * changes[2]


def test_strength_belongs_to_its_own_picture() -> None:
    net, x = grown(), picture(16, 16, 2)
    together = net(x, torch.tensor([0.3, 0.9]))
    for i, strength in enumerate((0.3, 0.9)):
        torch.testing.assert_close(together[i : i + 1], net(x[i : i + 1], strength))
    assert not torch.allclose(net(x[:1], 0.3), net(x[:1], 0.9))


@pytest.mark.parametrize("strength", [cleaner.FADE, 0.4, 1.0])
def test_a_fixed_strength_is_only_other_biases(strength: float) -> None:
    net, x, twin = grown(), picture(16, 24), Cleaner(8, 2)
    twin.load_state_dict(cleaner.at_strength(net.state_dict(), strength))
    torch.testing.assert_close(twin(x), net(x, strength))
    assert torch.equal(twin(x, 0.5), twin(x, 1.0))


def test_a_fixed_strength_cannot_fade() -> None:
    with pytest.raises(ValueError, match="not within"):
        cleaner.at_strength(grown().state_dict(), cleaner.FADE / 2)


def test_reach_is_what_it_says() -> None:
    net = grown(8, 2).double()
    reach = cleaner.reach_px(2)
    x = picture(64, 64).double()
    other = x.clone()
    other[..., 32, 32] += 1.0
    changed = ((net(x) - net(other)).abs().amax(1)[0] > 0).nonzero()
    far = int((changed - 32).abs().max())
    assert far <= reach
    assert far >= reach - 2  # and not far more than needed
    assert changed.numel() > 0


def test_a_new_network_learns_at_once() -> None:
    """No dead start: a few steps must move it away from returning the picture."""
    torch.manual_seed(0)
    net = Cleaner(8, 2)
    clean = picture(32, 32, 4) * 0.2 + 0.4
    noisy = clean + 0.1 * torch.randn(clean.shape)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    losses = []
    for _ in range(30):
        loss = (net(noisy) - clean).abs().mean()
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]


def test_autocast_keeps_the_picture_in_float32() -> None:
    net, x = grown(), picture(16, 16)
    net.tail.weight.zero_()
    net.tail.bias.zero_()
    with torch.autocast("cpu", torch.bfloat16):
        y = net(x)
    assert y.dtype == torch.float32
    assert torch.equal(y, x)


REPAIR = catalog.repairer()
GAIN = 0.3  # with 1 the many layers would grow a picture to 700,000


def repairer(strength: float, gain: float = GAIN) -> torch.nn.Module:
    tensors = by_formula(Cleaner(), gain).state_dict()
    return networks.load(REPAIR, dict(tensors), strength).eval().requires_grad_(False)


def test_strength_reaches_the_network_that_is_run() -> None:
    whole = by_formula(Cleaner(), GAIN)
    x = photo(24, 32).float()
    for strength in (0.2, 0.9):
        torch.testing.assert_close(repairer(strength)(x), whole(x, strength))
    assert not torch.allclose(repairer(0.2)(x), repairer(0.9)(x))


@pytest.mark.parametrize("size", [(40, 64), (21, 33), (1, 1)])
def test_ncnn_computes_the_same(size: tuple[int, int]) -> None:
    pytest.importorskip("ncnn")
    module = repairer(0.3)
    path = paths.NcnnPath(REPAIR, module, 1)
    x = mssnet_padded(photo(*size).float())
    torch.testing.assert_close(path(x), module(x), atol=1e-4, rtol=0)


def test_tiles_equal_the_picture_where_they_begin_at_even_places() -> None:
    module, reach = repairer(1.0, 2.5).double(), cleaner.reach_px()
    x = photo(96, 200)
    whole = module(x)
    tile = module(x[..., 40:160])
    inner = slice(40 + reach, 160 - reach)
    cut = slice(reach, 120 - reach)
    scale = float(whole.abs().max())
    assert float((whole[..., inner] - tile[..., cut]).abs().max()) < 1e-13 * scale
    closer = slice(40 + reach - 8, 160 - reach)
    cut = slice(reach - 8, 120 - reach)
    assert float((whole[..., closer] - tile[..., cut]).abs().max()) > 1e-12 * scale
    odd = module(x[..., 41:161])[..., reach:-reach]
    assert float((whole[..., 41 + reach : 161 - reach] - odd).abs().max()) > 1e-6 * scale


def test_border_of_the_catalogue_is_enough_for_the_weights_that_are_shipped() -> None:
    """They use less than the network could see: what is cut off must not show in 16 bits."""
    module = networks.load(REPAIR, store.load("repair")).double().requires_grad_(False)
    clean = photo(128, 168).float()
    x = jpeg.compress(clean, torch.tensor([15]), torch.tensor([True])).double()
    whole, reach = module(x), REPAIR.reach_px
    tile = module(x[..., 24:144])
    inner = slice(24 + reach, 144 - reach)
    difference = (whole[..., inner] - tile[..., reach:-reach]).abs().max()
    assert float((whole - x).abs().mean()) > 1 / 255  # there was something to remove
    assert float(difference) < 1 / 65535


def test_shipped_weights_gain_and_leave_the_mean_colour() -> None:
    clean = torch.from_numpy(scene(160, 3)).permute(2, 0, 1)[None].float() / 255
    for quality in (10, 30):
        bad = jpeg.compress(clean, torch.tensor([quality]), torch.tensor([True]))
        strength = (100 - quality) / 95
        net = networks.load(REPAIR, store.load("repair"), strength).requires_grad_(False)
        better = net(bad)
        assert float((better - clean).square().mean()) < 0.9 * float((bad - clean).square().mean())
        assert float((better - bad).mean((2, 3)).abs().max()) < 1 / 255


def test_engine_checks_large_tiles_of_cells_at_even_places() -> None:
    """At an odd place the check would find a difference where there is none."""
    net = Network(REPAIR, repairer(1.0), torch.device("cpu"), 1)
    net(photo(300, 302).float())
    assert net.path != "eager"
    assert (300, 302) in net._checked_shapes
