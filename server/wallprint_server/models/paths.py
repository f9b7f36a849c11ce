"""Ways to compute a network faster than plain torch does; each must be checked before use.

A path is a function from (1, 3, H, W) float32 to (1, 3, sH, sW) float32; what else a network takes
(MSSNet: its half-size picture, and what to do between stages) comes after. Knows nothing of which
path is taken: `engine` tries them in order and compares each with plain torch.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import ncnn_graph
from .catalog import NetworkSpec
from .networks.mssnet import HEADS, half_input

Run = Callable[..., Tensor]
FLOAT32_TOLERANCE = 1e-3  # correct paths differ by 1e-6..1e-5
HALF_TOLERANCE = 1 / 255


@dataclass(frozen=True)
class Candidate:
    """One way of computing.

    Attributes:
        name: for logs and reports.
        tolerance: largest difference from plain torch on a [0, 1] picture.
        build: makes the function; may take a second and raise whatever its library raises.
    """

    name: str
    tolerance: float
    build: Callable[[], Run]


def candidates(
    spec: NetworkSpec, module: nn.Module, device: torch.device, threads: int
) -> Iterator[Candidate]:
    """The paths worth trying on a device, the fastest first.

    Args:
        spec: the network.
        module: the network in plain torch, float32, on the device.
        device: where it runs.
        threads: for those paths that have threads of their own.
    """
    if device.type == "cpu":
        if spec.architecture in ncnn_graph.WRITERS and importlib.util.find_spec("ncnn"):
            kind = NcnnStages if spec.architecture == "mssnet" else NcnnPath
            yield Candidate("ncnn", FLOAT32_TOLERANCE, lambda: kind(spec, module, threads))
        yield Candidate("channels_last", FLOAT32_TOLERANCE, lambda: _channels_last(module))
    elif device.type == "cuda":
        if spec.half:
            dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
            name = str(dtype).removeprefix("torch.")
            yield Candidate(name, HALF_TOLERANCE, lambda: _autocast(module, dtype))
        yield Candidate("channels_last", FLOAT32_TOLERANCE, lambda: _channels_last(module))


def _channels_last(module: nn.Module) -> Run:
    """The same network with its weights and pictures stored pixel by pixel."""
    twin = copy.deepcopy(module).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(x: Tensor, *more: Any) -> Tensor:
        y: Tensor = twin(x.contiguous(memory_format=torch.channels_last), *more)
        return y.contiguous()

    return run


def _autocast(module: nn.Module, dtype: torch.dtype) -> Run:
    """Half precision inside; the networks keep their last convolution in float32."""
    inner = _channels_last(module)

    def run(x: Tensor, *more: Any) -> Tensor:
        with torch.autocast(x.device.type, dtype=dtype):
            return inner(x, *more).float()

    return run


class NcnnPath:
    """ncnn on the CPU in float32: Winograd convolutions, which torch's CPU library lacks.

    Measured against plain torch on two cores of an AVX-512 machine: SPAN 0.5, RRDBNet 0.6 of the
    time. Needs no compiler, no warm-up, and takes any size without a cost.
    """

    def __init__(self, spec: NetworkSpec, module: nn.Module, threads: int) -> None:
        self.ncnn: Any = importlib.import_module("ncnn")  # it has no type stubs
        self.net = self.ncnn.Net()
        option = self.net.opt
        option.num_threads = threads
        option.use_vulkan_compute = False
        for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
            setattr(option, f"use_{name}", False)
        # Pools of our own, because only those can be emptied again: ncnn's keep the memory of
        # the largest picture they have seen, over 1 GB for SPAN at 512 x 512.
        self.pools = [self.ncnn.UnlockedPoolAllocator(), self.ncnn.PoolAllocator()]
        for pool in self.pools:  # a block may serve a request of half its size, not of any
            pool.set_size_compare_ratio(0.5)
        option.blob_allocator, option.workspace_allocator = self.pools
        self.shape: tuple[int, ...] = ()
        param, blob = ncnn_graph.write(spec, module.state_dict())
        with tempfile.TemporaryDirectory(prefix="wallprint-") as folder:
            param_file, bin_file = Path(folder, "net.param"), Path(folder, "net.bin")
            param_file.write_text(param)
            bin_file.write_bytes(blob)
            failed = self.net.load_param(str(param_file)) or self.net.load_model(str(bin_file))
        if failed:
            raise RuntimeError(f"ncnn refused the graph ({failed})")

    def __call__(self, x: Tensor) -> Tensor:
        """(1, 3, H, W) float32 in memory -> (1, 3, sH, sW)."""
        extractor, _kept = self._extractor({ncnn_graph.INPUT: x})
        return self._extract(extractor, ncnn_graph.OUTPUT)

    def _extractor(self, inputs: dict[str, Tensor]) -> tuple[Any, list[Any]]:
        """A run of the network on (1, C, H, W) inputs, and what must live as long as it."""
        shape = tuple(n for x in inputs.values() for n in x.shape)
        if shape != self.shape:  # blocks of another size would pile up
            self.clear()
            self.shape = shape
        extractor = self.net.create_extractor()
        kept = []
        for name, x in inputs.items():
            kept.append(np.ascontiguousarray(x[0].numpy()))
            extractor.input(name, self.ncnn.Mat(kept[-1]))
        return extractor, kept

    def _extract(self, extractor: Any, name: str) -> Tensor:
        failed, result = extractor.extract(name)
        if failed:
            raise torch.OutOfMemoryError(f"ncnn: no memory for a tile of {self.shape}")
        return torch.from_numpy(np.array(result))[None]

    def clear(self) -> None:
        """Give the working memory back."""
        for pool in self.pools:
            pool.clear()


class NcnnStages(NcnnPath):
    """MSSNet in ncnn, stage by stage."""

    def __call__(
        self,
        x: Tensor,
        b2: Tensor | None = None,
        between: Callable[[], None] | None = None,
        head: str = HEADS[-1],
    ) -> Tensor:
        """As `MSSNet.forward`."""
        b2 = half_input(x) if b2 is None else b2
        planes = (F.pixel_unshuffle(b2, 2), F.pixel_unshuffle(x, 2), x)
        extractor, _kept = self._extractor(dict(zip(ncnn_graph.MSSNET_INPUTS, planes, strict=True)))
        change = x
        for name in HEADS[: HEADS.index(head) + 1]:
            if between is not None:
                between()
            change = self._extract(extractor, name)
        if change.shape[1] == 12:  # of half size, not shuffled yet
            change = F.pixel_shuffle(change, 2)
        return x + change
