"""Muon: steps whose matrices are made orthogonal, for the convolutions of a network.

A gradient of a deep network is dominated by a few directions; a step along it changes little else.
Here every matrix of the step gets about equal singular values. In the first twenty seconds MSSNet
gains with it, and loses with Adam (`docs/measurements.md`).

All matrices of one shape are kept in one tensor, so that a step is a few large operations, which a
GPU can record: nothing here waits for the device.

References:
    Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024 (the iteration
    and its numbers); Liu et al., "Muon is Scalable for LLM Training", arXiv 2502.16982 (decay, and
    the factor that makes a step as large as one of Adam's).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
ADAMS_SIZE = 0.2  # root mean square of a step of Adam's, of the rate
ITERATION = (3.4445, -4.7750, 2.0315)
ROUNDS = 5


def orthogonal(x: Tensor) -> Tensor:
    """Bring all singular values near 1, roughly (0.7 to 1.2), by Newton-Schulz iterations.

    Args:
        x: (n, rows, columns); on a GPU computed in bfloat16.

    Returns:
        (n, rows, columns) float32.
    """
    tall = x.shape[-2] > x.shape[-1]
    y = x.mT if tall else x
    y = y / (y.norm(dim=(-2, -1), keepdim=True) + 1e-12)
    y = y.bfloat16() if y.is_cuda else y.float()
    a, b, c = ITERATION
    for _ in range(ROUNDS):
        square = y @ y.mT
        y = a * y + (b * square + c * (square @ square)) @ y
    result: Tensor = (y.mT if tall else y).float()
    return result


class Muon:
    """Keeps the weights of a network in float32, their average, and moves both.

    Attributes:
        weights: by name, (n_out, height, width, n_in) float32, views.
        average: as `weights`.
        momentum: as `weights`.
        norm: of the last gradient, a scalar on the device.
    """

    def __init__(self, net: nn.Module, clip: float, decay: float) -> None:
        """Take over all parameters of `net` that are trained.

        Args:
            net: on its device; its weights may be of lower precision.
            clip: largest norm of a gradient.
            decay: of the weights, a step times its rate.
        """
        self.clip, self.decay = clip, decay
        self.parameters = {k: p for k, p in net.named_parameters() if p.requires_grad}
        self.groups: dict[tuple[int, int], list[str]] = {}
        for name, parameter in self.parameters.items():
            if parameter.dim() != 4:
                raise ValueError(f"{name} is no convolution: {tuple(parameter.shape)}")
            shape = (parameter.shape[0], parameter[0].numel())
            self.groups.setdefault(shape, []).append(name)
        device = next(iter(self.parameters.values())).device
        self._rate, self._keep = (torch.zeros((), device=device) for _ in range(2))
        self.norm = torch.zeros((), device=device)
        self._stacks: dict[tuple[int, int], tuple[Tensor, Tensor, Tensor]] = {}
        self.weights: dict[str, Tensor] = {}
        self.average: dict[str, Tensor] = {}
        self.momentum: dict[str, Tensor] = {}
        for shape, names in self.groups.items():
            first = self._matrices([self.parameters[name].detach() for name in names])
            stacks = (first, first.clone(), torch.zeros_like(first))
            self._stacks[shape] = stacks
            kinds = (self.weights, self.average, self.momentum)
            for kind, stack in zip(kinds, stacks, strict=True):
                for name, matrix in zip(names, stack.unbind(0), strict=True):
                    kind[name] = matrix.view(_rows_first(self.parameters[name]).shape)

    def set(self, rate: float, keep: float) -> None:
        """What the next step uses.

        Args:
            rate: about how far a weight moves, times ADAMS_SIZE.
            keep: part of the average that stays.
        """
        self._rate.fill_(rate)
        self._keep.fill_(keep)

    @torch.no_grad()
    def step(self, loss: Tensor) -> None:
        """Move the weights by the gradients in the network; after a bad batch, nothing.

        Args:
            loss: scalar; one that is no number is a bad batch, as is such a gradient.
        """
        gradients = {
            shape: self._matrices([_gradient(self.parameters[name]) for name in names])
            for shape, names in self.groups.items()
        }
        squares = [gradient.square().sum() for gradient in gradients.values()]
        self.norm.copy_(torch.stack(squares).sum().sqrt())
        good = self.norm.isfinite() & loss.isfinite()
        part = (self.clip / (self.norm + 1e-12)).clamp(max=1.0)
        rate = torch.where(good, self._rate, 0.0)
        for shape, gradient in gradients.items():
            weights, average, momentum = self._stacks[shape]
            gradient = torch.where(good, gradient * part, momentum)
            momentum.lerp_(gradient, 1 - MOMENTUM)
            ahead = torch.lerp(gradient, momentum, MOMENTUM)
            size = ADAMS_SIZE * max(shape) ** 0.5
            weights.mul_(1 - rate * self.decay).sub_(orthogonal(ahead) * (rate * size))
            average.lerp_(weights, 1 - self._keep)
        self.publish()

    @torch.no_grad()
    def publish(self) -> None:
        """Give the network the weights."""
        into = [_rows_first(parameter.detach()) for parameter in self.parameters.values()]
        torch._foreach_copy_(into, [self.weights[name] for name in self.parameters])

    def state(self) -> dict[str, Tensor]:
        """The momentum, for a checkpoint."""
        return {f"muon-momentum/{name}": tensor for name, tensor in self.momentum.items()}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what `state` gave."""
        for name, tensor in self.momentum.items():
            tensor.copy_(tensors[f"muon-momentum/{name}"])

    def _matrices(self, tensors: list[Tensor]) -> Tensor:
        """(n, rows, columns) float32, a copy."""
        return torch.stack([_rows_first(t).reshape(t.shape[0], -1) for t in tensors]).float()


def warm_up(muon: Muon) -> None:
    """Have the device choose how to multiply such matrices, which cannot be recorded."""
    for (rows, columns), names in muon.groups.items():
        orthogonal(torch.ones(len(names), rows, columns, device=muon.norm.device))


def _rows_first(kernel: Tensor) -> Tensor:
    """(n_out, n_in, h, w) as (n_out, h, w, n_in): a plain view of a channels-last kernel."""
    return kernel.permute(0, 2, 3, 1)


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
