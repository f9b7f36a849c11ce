"""Muon: steps of equal singular values, weights that follow, no harm by a bad batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from training.muon import Muon, orthogonal


def network() -> nn.Module:
    torch.manual_seed(3)
    layers = (nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Conv2d(8, 3, 1, bias=False))
    return nn.Sequential(layers[0], nn.LeakyReLU(0.2), layers[1])


def loss_of(net: nn.Module) -> Tensor:
    x = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    loss: Tensor = (net(x) - x.flip(1)).square().mean()
    return loss


@pytest.mark.parametrize("shape", [(3, 8, 20), (2, 20, 8), (1, 6, 6)])
def test_singular_values_are_near_one(shape: tuple[int, int, int]) -> None:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(1)) * 1e-3
    values = torch.linalg.svdvals(orthogonal(x))
    assert float(values.min()) > 0.6
    assert float(values.max()) < 1.3
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    turned = (orthogonal(x) * (u @ v)).sum((1, 2)) / values.shape[-1]
    assert float(turned.min()) > 0.7  # the directions stay


def test_learns_and_gives_the_network_its_weights() -> None:
    net = network()
    muon = Muon(net, 1.0, 0.0)
    before = float(loss_of(net).detach())
    for _ in range(60):
        muon.set(5e-2, 0.9)
        net.zero_grad(set_to_none=True)
        loss = loss_of(net)
        loss.backward()
        muon.step(loss.detach())
    assert float(loss_of(net).detach()) < 0.3 * before
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.data, muon.weights[name].permute(0, 3, 1, 2))
        assert not torch.equal(muon.average[name], muon.weights[name])


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_bad_batch_changes_nothing(where: str) -> None:
    net = network()
    muon = Muon(net, 1.0, 0.1)
    loss_of(net).backward()
    muon.set(1e-2, 0.9)
    muon.step(torch.tensor(1.0))
    held = {k: v.clone() for k, v in (muon.weights | muon.state()).items()}
    first = next(iter(net.parameters()))
    if where == "gradient":
        assert first.grad is not None
        first.grad[0, 0] = float("inf")
    muon.step(torch.tensor(float("nan") if where == "loss" else 1.0))
    for name, tensor in (muon.weights | muon.state()).items():
        assert torch.equal(tensor, held[name]), name


def test_decay_shrinks_what_is_not_wanted() -> None:
    net = network()
    muon = Muon(net, 1.0, 10.0)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = {k: v.clone() for k, v in muon.weights.items()}
    muon.set(1e-2, 0.0)
    muon.step(torch.tensor(1.0))
    for name, tensor in muon.weights.items():
        torch.testing.assert_close(tensor, 0.9 * before[name])


def test_other_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="no convolution"):
        Muon(nn.Linear(2, 2), 1.0, 0.0)
