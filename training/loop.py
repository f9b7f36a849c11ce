"""The training loop: one for all networks; stops and goes on bit for bit, fits itself to the time.

A recipe says what is trained and on what; this says how: AdamW, one cosine of the learning rate,
an average of the weights, clipped gradients, a log, checkpoints. Everything drawn at a step depends
on the seed and the number of the step alone, so nothing else has to be kept.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from . import checkpoint

LOG = "log.jsonl"
AVERAGE = 0.999
PAUSE = 20
TIMED_STEPS = 20  # the first are slower and say little


class Recipe(Protocol):
    """What a network's own module has to say.

    Attributes:
        name: of the network, of its files.
        rate: highest learning rate.
        last_rate: lowest, at the end.
        clip: largest norm of the gradient.
        warm_up: part of the run over which the learning rate rises.
    """

    name: str
    rate: float
    last_rate: float
    clip: float
    warm_up: float

    def build(self) -> nn.Module:
        """The network to begin with."""

    def entry(self, net: nn.Module) -> Callable[..., Any]:
        """What of the network is called, and compiled, in training."""

    def loss(self, call: Callable[..., Any], draw: Draw) -> Tensor:
        """Loss of one batch, made by `draw`'s generators; `call` is the network's entry."""

    def look(self, net: nn.Module) -> dict[str, float]:
        """A few numbers on pictures that are never trained on."""


@dataclass(frozen=True)
class Draw:
    """Where a step's chance comes from.

    Attributes:
        number: of the step, from 0.
        progress: part of the run that is over, 0..1.
        decide: generator on the CPU.
        noise: generator on the device.
    """

    number: int
    progress: float
    decide: torch.Generator
    noise: torch.Generator


@dataclass(frozen=True)
class Options:
    """How a run is done.

    Attributes:
        steps: how many; 0 when the time decides.
        budget_s: seconds of the whole run, over all slices; ignored with `steps`.
        slice_s: seconds after which to stop until called again; 0 for never.
        seed: of everything drawn.
        device: where.
        half: bfloat16 inside the network.
        compiled: try torch.compile.
        save_s: seconds between checkpoints.
        look_s: seconds between looks at held-out pictures.
    """

    steps: int = 0
    budget_s: float = 600.0
    slice_s: float = 0.0
    seed: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009 (immutable)
    half: bool = False
    compiled: bool = False
    save_s: float = 120.0
    look_s: float = 120.0


def rate_at(recipe: Recipe, progress: float) -> float:
    """Learning rate: a straight rise, then one cosine down."""
    if progress < recipe.warm_up:
        return recipe.rate * max(0.01, progress / recipe.warm_up)
    through = (progress - recipe.warm_up) / (1 - recipe.warm_up)
    return recipe.last_rate + (recipe.rate - recipe.last_rate) * 0.5 * (
        1 + math.cos(math.pi * min(1.0, through))
    )


class Run:
    """A run in a folder, new or continued.

    Attributes:
        net: the network that learns.
        average: the average of its weights, which is what the run is for.
        step: steps done.
        seconds: spent, over all slices.
        progress: 0..1.
    """

    def __init__(self, recipe: Recipe, folder: Path, options: Options) -> None:
        self.recipe, self.folder, self.options = recipe, folder, options
        torch.manual_seed(options.seed)
        self.net = recipe.build().to(options.device)
        self.net = self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(
            self.net.parameters(),
            recipe.rate,
            betas=(0.9, 0.99),
            weight_decay=0.0,
            fused=options.device.type == "cuda",
        )
        self.average = {k: p.detach().clone() for k, p in self.net.named_parameters()}
        self.step, self.seconds, self.progress = 0, 0.0, 0.0
        self.steps, self.budget_s = options.steps, options.budget_s
        folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        self._step_s = 0.0

    @property
    def done(self) -> bool:
        """Nothing is left to do."""
        return self.progress >= 1.0

    def go(self) -> bool:
        """Train until done or until the slice is over; whether it is done."""
        began = time.monotonic()
        saved = looked = began
        call = self._entry()
        while not self.done:
            start = time.monotonic()
            loss, norm = self._one_step(call)
            self._advance(time.monotonic() - start)
            now = time.monotonic()
            if self.step % 50 == 0 or self.done:
                self._log(loss=round(loss, 6), norm=round(norm, 4))
            if now - looked > self.options.look_s or self.done:
                self._log(**{k: round(v, 4) for k, v in self.look().items()})
                looked = time.monotonic()
            if now - saved > self.options.save_s or self.done:
                self.save()
                saved = time.monotonic()
            if self.options.slice_s and now - began > self.options.slice_s and not self.done:
                self.save()
                return False
        return True

    def averaged(self) -> nn.Module:
        """A network with the averaged weights, float32, for use."""
        net = self.recipe.build().to(self.options.device)
        parameters = dict(net.named_parameters())
        with torch.no_grad():
            for key, tensor in self.average.items():
                parameters[key].copy_(tensor)
        return net.eval().requires_grad_(False)

    def look(self) -> dict[str, float]:
        """The recipe's numbers for the averaged weights."""
        with torch.inference_mode():
            return self.recipe.look(self.averaged())

    def save(self) -> None:
        """Write a checkpoint."""
        tensors: dict[str, Tensor] = {}
        for key, parameter in self.net.named_parameters():
            tensors[f"net/{key}"] = parameter
            tensors[f"average/{key}"] = self.average[key]
            for name, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"adam-{name}/{key}"] = value
        numbers = {
            "recipe": self.recipe.name,
            "seed": self.options.seed,
            "steps": self.steps,
            "budget_s": self.budget_s,
            "step": self.step,
            "seconds": self.seconds,
            "progress": self.progress,
        }
        checkpoint.save(self.folder, tensors, numbers)

    def _resume(self) -> None:
        found = checkpoint.load(self.folder)
        if found is None:
            return
        tensors, numbers = found
        for key, own in (("recipe", self.recipe.name), ("seed", self.options.seed)):
            if numbers[key] != own:
                raise SystemExit(
                    f"{self.folder} holds a run with the {key} {numbers[key]}, not {own}; give "
                    "another folder."
                )
        self.step, self.seconds = numbers["step"], numbers["seconds"]
        self.progress = numbers["progress"]
        state = self.optimizer.state
        with torch.no_grad():
            for key, parameter in self.net.named_parameters():
                parameter.copy_(tensors[f"net/{key}"])
                self.average[key].copy_(tensors[f"average/{key}"])
                for name in ("step", "exp_avg", "exp_avg_sq"):
                    value = tensors.get(f"adam-{name}/{key}")
                    if value is not None:
                        held = value.clone()
                        if name != "step" or self.options.device.type == "cuda":
                            held = held.to(self.options.device)
                        if held.dim() == 4:
                            held = held.contiguous(memory_format=torch.channels_last)
                        state[parameter][name] = held

    def _entry(self) -> Callable[..., Any]:
        """The network's entry in the precision and form that were asked for."""
        inner = self.recipe.entry(self.net)
        if self.options.compiled:
            inner = torch.compile(inner)

        def call(*inputs: Any) -> Any:
            if not self.options.half:
                return inner(*inputs)
            with torch.autocast(self.options.device.type, torch.bfloat16):
                return inner(*inputs)

        return call

    def _one_step(self, call: Callable[..., Any]) -> tuple[float, float]:
        """One batch; its loss and the gradient's norm."""
        seed = self.options.seed * 1_000_003 + self.step
        device = self.options.device
        draw = Draw(
            self.step,
            self.progress,
            torch.Generator().manual_seed(seed),
            torch.Generator(device).manual_seed(seed),
        )
        rate = rate_at(self.recipe, self.progress)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.net.train()
        loss = self.recipe.loss(call, draw)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.clip)
        value, size = float(loss.detach()), float(norm)
        if math.isfinite(value) and math.isfinite(size):
            self.optimizer.step()
            keep = min(AVERAGE, (1 + self.step) / (10 + self.step))
            with torch.no_grad():
                for key, parameter in self.net.named_parameters():
                    self.average[key].lerp_(parameter.detach(), 1 - keep)
        else:  # one bad batch must not end the run
            self._log(skipped=value)
        return value, size

    def _advance(self, step_s: float) -> None:
        """Count a step, and fit what is left of the schedule to what is left of the time.

        A step that takes PAUSE times as long as usual was none of the training: the process or the
        machine stood still. It counts as a usual one.
        """
        self.step += 1
        if self._step_s:
            step_s = step_s if step_s < PAUSE * self._step_s else self._step_s
        self.seconds += step_s
        if self.steps:
            self.progress = self.step / self.steps
            return
        early = self.step <= TIMED_STEPS or not self._step_s
        self._step_s = step_s if early else 0.95 * self._step_s + 0.05 * step_s
        left = self.budget_s - self.seconds
        share = min(1.0, self._step_s / left) if left > 0 else 1.0
        self.progress += (1 - self.progress) * share

    def _log(self, **numbers: Any) -> None:
        entry = {
            "step": self.step,
            "seconds": round(self.seconds, 1),
            "progress": round(self.progress, 5),
            "rate": round(rate_at(self.recipe, self.progress), 8),
            **numbers,
        }
        text = json.dumps(entry)
        print(text, flush=True)
        with (self.folder / LOG).open("a") as file:
            file.write(text + "\n")
