"""The training loop: one for all networks; stops and goes on bit for bit, fits itself to the time.

A recipe says what is trained and on what; this says how: AdamW or Muon, one cosine of the learning
rate, an average of the weights, clipped gradients, a log, checkpoints. Everything drawn at a step
depends on the seed and the number of the step alone, so nothing else has to be kept.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from . import checkpoint
from .muon import Muon, warm_up

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
        decay: of the weights, for Muon; None for AdamW, without a decay.
    """

    name: str
    rate: float
    last_rate: float
    clip: float
    warm_up: float
    decay: float | None

    def build(self) -> nn.Module:
        """The network to begin with."""

    def entry(self, net: nn.Module) -> Callable[..., Any]:
        """What of the network is called in training."""

    def batch_of(self, draw: Draw) -> tuple[Tensor, ...]:
        """One batch, made by `draw`'s generators."""

    def loss(self, call: Callable[..., Any], *batch: Tensor) -> Tensor:
        """Loss of a batch, computed on the device alone; `call` is the network's entry."""

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
        recorded: on a GPU, record forward and backward once and replay them (`Recorded`).
        save_s: seconds between checkpoints.
        look_s: seconds between looks at held-out pictures.
    """

    steps: int = 0
    budget_s: float = 600.0
    slice_s: float = 0.0
    seed: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009 (immutable)
    half: bool = False
    recorded: bool = True
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


class Recorded:
    """Forward, backward and what follows for one shape of batch, recorded on a GPU and replayed.

    A small network is thousands of short kernels; replaying them costs the CPU nothing, which
    makes the next batch meanwhile.
    """

    def __init__(
        self,
        work: Callable[..., Tensor],
        net: nn.Module,
        batch: tuple[Tensor, ...],
        then: Callable[[Tensor], None] | None,
    ) -> None:
        """Record.

        Args:
            work: the loss of a batch; must not leave the device.
            net: the network whose gradients are wanted.
            batch: any of its shape.
            then: is given the loss when the gradients are there; must not leave the device.
        """
        self.net = net
        self.inputs = [tensor.clone() for tensor in batch]
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # the first rounds choose algorithms: not recorded
            for _ in range(3):
                net.zero_grad(set_to_none=True)
                work(*self.inputs).backward()  # type: ignore[no-untyped-call]
        torch.cuda.current_stream().wait_stream(aside)
        net.zero_grad(set_to_none=True)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            loss = work(*self.inputs)
            loss.backward()  # type: ignore[no-untyped-call]
            if then is not None:
                then(loss.detach())
        self.loss = loss.detach()
        self.gradients = [parameter.grad for parameter in net.parameters()]

    def __call__(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Start; the loss and the gradients are there when the stream has come so far."""
        for held, tensor in zip(self.inputs, batch, strict=True):
            held.copy_(tensor)
        for parameter, gradient in zip(self.net.parameters(), self.gradients, strict=True):
            parameter.grad = gradient
        self.graph.replay()
        return self.loss


class Run:
    """A run in a folder, new or continued.

    Attributes:
        net: the network that learns.
        weights: its weights, float32, by name.
        average: the average of them, which is what the run is for.
        step: steps done.
        seconds: spent, over all slices.
        progress: 0..1.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        options: Options,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Begin, or take up the run that the folder holds.

        Args:
            recipe: what is trained.
            folder: of the run.
            options: how.
            start: a network's tensors to begin with, instead of new ones.
        """
        self.recipe, self.folder, self.options = recipe, folder, options
        torch.manual_seed(options.seed)
        self.net = recipe.build()
        if start is not None:
            self.net.load_state_dict(dict(start))
        self.net = self.net.to(options.device)
        self.net = self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._call = self._entry()
        self._fixed = {
            k: p.detach().clone() for k, p in self.net.named_parameters() if not p.requires_grad
        }
        self.muon: Muon | None = None
        self.optimizer: torch.optim.AdamW | None = None
        if recipe.decay is None:
            self.optimizer = torch.optim.AdamW(
                self.net.parameters(),
                recipe.rate,
                betas=(0.9, 0.99),
                weight_decay=0.0,
                fused=_is_gpu(options),
            )
            self.weights = {
                k: p.detach() for k, p in self.net.named_parameters() if k not in self._fixed
            }
            self.average = {k: p.clone() for k, p in self.weights.items()}
        else:
            self.muon = Muon(self.net, recipe.clip, recipe.decay)
            self.weights, self.average = self.muon.weights, self.muon.average
            if _is_gpu(options) and options.half:
                # The network's own are made from those in float32 once in a step, not in each use.
                self.net.to(torch.bfloat16)
                self.muon.publish()
        self.step, self.seconds, self.progress = 0, 0.0, 0.0
        self.steps, self.budget_s = options.steps, options.budget_s
        folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        self._step_s = 0.0
        self._recordings: dict[tuple[torch.Size, ...], Recorded] = {}
        self._batch: tuple[Tensor, ...] | None = None
        self._end: torch.cuda.Event | None = None
        self._making_s = 0.0
        # Batches are made beside the step before; the step does not wait for them.
        self._aside: torch.cuda.Stream | None = None
        if _is_gpu(options):
            self._aside = torch.cuda.Stream(priority=-1)  # type: ignore[no-untyped-call]

    @property
    def done(self) -> bool:
        """Nothing is left to do."""
        return self.progress >= 1.0

    def go(self) -> bool:
        """Train until done or until the slice is over; whether it is done."""
        began = time.monotonic()
        saved = looked = began
        while not self.done:
            start = time.monotonic()
            loss, norm = self._one_step()
            self._advance(time.monotonic() - start)
            now = time.monotonic()
            if self.step % 50 == 0 or self.done:
                self._log(loss=round(float(loss), 6), norm=round(float(norm), 4))
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

    def profile(self, steps: int = 20) -> str:
        """Where the time of a step goes, as a table; the run is not kept."""
        for _ in range(3):
            self._one_step()
        kinds = [torch.profiler.ProfilerActivity.CPU]
        by = "self_cpu_time_total"
        if _is_gpu(self.options):
            kinds.append(torch.profiler.ProfilerActivity.CUDA)
            by = "self_cuda_time_total"
        making, start = 0.0, time.monotonic()
        with torch.profiler.profile(activities=kinds) as seen:
            for _ in range(steps):
                self._one_step()
                self.step += 1
                making += self._making_s
        whole = (time.monotonic() - start) / steps
        table = seen.key_averages().table(sort_by=by, row_limit=30, max_name_column_width=70)
        return f"{table}\n{whole:.4f} s a step, {making / steps:.4f} s of it for the next batch"

    def averaged(self) -> nn.Module:
        """A network with the averaged weights, float32, for use."""
        net = self.recipe.build().to(self.options.device)
        parameters = dict(net.named_parameters())
        with torch.no_grad():
            for key, tensor in self.average.items():
                # Muon has a kernel's entries in another order.
                own = tensor if self.muon is None else tensor.permute(0, 3, 1, 2)
                parameters[key].copy_(own)
            for key, tensor in self._fixed.items():
                parameters[key].copy_(tensor)
        return net.eval().requires_grad_(False)

    def look(self) -> dict[str, float]:
        """The recipe's numbers for the averaged weights."""
        with torch.inference_mode():
            return self.recipe.look(self.averaged())

    def save(self) -> None:
        """Write a checkpoint."""
        tensors: dict[str, Tensor] = {}
        for key, tensor in self.weights.items():
            tensors[f"net/{key}"] = tensor
            tensors[f"average/{key}"] = self.average[key]
        if self.muon is not None:
            tensors |= self.muon.state()
        if self.optimizer is not None:
            for key, parameter in self.net.named_parameters():
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
        with torch.no_grad():
            for key, tensor in self.weights.items():
                tensor.copy_(tensors[f"net/{key}"])
                self.average[key].copy_(tensors[f"average/{key}"])
        if self.muon is not None:
            self.muon.load(tensors)
            self.muon.publish()
        if self.optimizer is not None:
            self._resume_adam(self.optimizer, tensors)

    def _resume_adam(self, adam: torch.optim.AdamW, tensors: Mapping[str, Tensor]) -> None:
        for key, parameter in self.net.named_parameters():
            for name in ("step", "exp_avg", "exp_avg_sq"):
                value = tensors.get(f"adam-{name}/{key}")
                if value is not None:
                    held = value.clone()
                    if name != "step" or _is_gpu(self.options):
                        held = held.to(self.options.device)
                    if held.dim() == 4:
                        held = held.contiguous(memory_format=torch.channels_last)
                    adam.state[parameter][name] = held

    def _entry(self) -> Callable[..., Any]:
        """The network's entry in the precision that was asked for."""
        inner = self.recipe.entry(self.net)

        def call(*inputs: Any) -> Any:
            if not self.options.half:
                return inner(*inputs)
            with torch.autocast(self.options.device.type, torch.bfloat16):
                return inner(*inputs)

        return call

    def _one_step(self) -> tuple[Tensor, Tensor]:
        """One batch; its loss and the gradient's norm, which may not be there yet."""
        rate = rate_at(self.recipe, self.progress)
        keep = min(AVERAGE, (1 + self.step) / (10 + self.step))
        if self.muon is not None:
            self.muon.set(rate, keep)
        self.net.train()
        batch = self._drawn(self.step) if self._batch is None else self._batch
        loss = self._learn(batch)
        began = time.monotonic()
        self._batch = None if self.step + 1 == self.steps else self._drawn(self.step + 1)
        self._making_s = time.monotonic() - began
        if self.optimizer is not None:
            return loss, self._adam_step(self.optimizer, loss, rate, keep)
        assert self.muon is not None
        self._wait_for_the_one_before()
        return loss, self.muon.norm

    def _adam_step(self, adam: torch.optim.AdamW, loss: Tensor, rate: float, keep: float) -> Tensor:
        for group in adam.param_groups:
            group["lr"] = rate
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.clip)
        if math.isfinite(float(loss)) and math.isfinite(float(norm)):
            adam.step()
            torch._foreach_lerp_(list(self.average.values()), list(self.weights.values()), 1 - keep)
        else:  # one bad batch must not end the run
            self._log(skipped=float(loss))
        return norm

    def _wait_for_the_one_before(self) -> None:
        """Keep one step in the device's queue: it never waits, and times are true."""
        if _is_gpu(self.options):
            before, self._end = self._end, torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._end.record()
            if before is not None:
                before.synchronize()

    def _drawn(self, number: int) -> tuple[Tensor, ...]:
        """The batch of a step."""
        seed = self.options.seed * 1_000_003 + number
        draw = Draw(
            number,
            number / self.steps if self.steps else self.progress,
            torch.Generator().manual_seed(seed),
            torch.Generator(self.options.device).manual_seed(seed),
        )
        if self._aside is None:
            return self.recipe.batch_of(draw)
        with torch.cuda.stream(self._aside):
            return self.recipe.batch_of(draw)

    def _learn(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Loss of a batch, the gradients, and with Muon the new weights.

        On a GPU it may return before they are there.
        """
        then = None if self.muon is None else self.muon.step
        if self._aside is not None:
            now = torch.cuda.current_stream()
            now.wait_stream(self._aside)
            for tensor in batch:  # its memory is not to be used again before it was read
                tensor.record_stream(now)
            if self.options.recorded:
                shapes = tuple(tensor.shape for tensor in batch)
                if shapes not in self._recordings:
                    if self.muon is not None:
                        warm_up(self.muon)
                    work = partial(self.recipe.loss, self._call)
                    self._recordings[shapes] = Recorded(work, self.net, batch, then)
                return self._recordings[shapes](batch)
        self.net.zero_grad(set_to_none=True)
        loss = self.recipe.loss(self._call, *batch)
        loss.backward()  # type: ignore[no-untyped-call]
        if then is not None:
            then(loss.detach())
        return loss.detach()

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


def _is_gpu(options: Options) -> bool:
    return options.device.type == "cuda"
