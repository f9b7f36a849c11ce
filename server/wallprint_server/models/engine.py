"""Runs the networks: on which device, by which path, and whether that path can be trusted.

Knows nothing of pictures larger than a tile, of files, or of what the results are used for.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wallprint_protocol.errors import BadInput

from . import catalog, networks, paths, store
from .catalog import NetworkSpec

log = logging.getLogger(__name__)

CHECK_SIZE = (72, 88)
# A tile this many times larger than the part recomputed to check it is worth checking.
SPOT_CHECK_RATIO = 8
SPOT_PX = 24
# On pixel-wide stripes and pure noise SPAN leaves [0, 1] by two orders of magnitude and is chaotic:
# its rounding errors say nothing about the path.
RUNAWAY = 4.0


class Network:
    """One network on one device.

    Attributes:
        spec: its row of the catalogue.
        sha256: of the file its weights came from.
        path: name of the way it is computed, "eager" for plain torch.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        module: nn.Module,
        device: torch.device,
        threads: int,
        candidates: Iterator[paths.Candidate] | None = None,
    ) -> None:
        self.spec = spec
        self.sha256 = spec.files[-1].sha256
        self.device = device
        self._module = module.to(device).eval().requires_grad_(False)
        self._candidates = (
            paths.candidates(spec, self._module, device, threads)
            if candidates is None
            else candidates
        )
        self._checked_shapes: set[tuple[int, int]] = set()
        self._tolerance = 0.0
        self.path = ""
        self._run: paths.Run = self._module

    @torch.inference_mode()
    def __call__(self, x: Tensor, *more: Any) -> Tensor:
        """Compute the network by the fastest path that is right.

        Args:
            x: (1, 3, H, W) float32 RGB in [0, 1], on the device; any H, W >= 1.
            more: what else the network takes; then H and W must be its multiples.

        Returns:
            (1, 3, sH, sW) float32, not clamped.

        Raises:
            torch.OutOfMemoryError: a smaller tile may fit.
        """
        if not self.path:
            self._choose()
        height, width = x.shape[-2:]
        padded = _pad(x, self.spec.multiple)
        y = _out_of_memory(self._run, padded, *more)
        while not self._spot_check(padded, y):
            self._choose()
            y = _out_of_memory(self._run, padded, *more)
        return y[..., : height * self.spec.scale, : width * self.spec.scale].contiguous()

    @torch.inference_mode()
    def eager(self, x: Tensor, *more: Any) -> Tensor:
        """The same in plain float32 torch: the reference, and the way out of a bad tile."""
        height, width = x.shape[-2:]
        y = _out_of_memory(self._module, _pad(x, self.spec.multiple), *more)
        return y[..., : height * self.spec.scale, : width * self.spec.scale].contiguous()

    def _choose(self) -> None:
        """Take the next path that agrees with plain torch on the check pictures."""
        for path in self._candidates:
            try:
                run = path.build()
                worst = max(_difference(run(x), self._module(x)) for x in self._check_pictures())
            except Exception as error:  # whatever a foreign library raises: do without it
                log.warning("%s: path %s failed: %s", self.spec.name, path.name, error)
                continue
            if worst <= path.tolerance:
                log.info("%s: path %s, off by %.1e", self.spec.name, path.name, worst)
                self.path, self._run, self._tolerance = path.name, run, path.tolerance
                return
            log.warning(
                "%s: path %s dropped, off by %.1e (at most %.1e is allowed)",
                self.spec.name,
                path.name,
                worst,
                path.tolerance,
            )
        self.path, self._run = "eager", self._module

    def _check_pictures(self) -> list[Tensor]:
        """Two fixed pictures: smooth noise and hard edges, (1, 3, H, W)."""
        height, width = CHECK_SIZE
        generator = torch.Generator().manual_seed(1)
        coarse = torch.rand(1, 3, height // 8, width // 8, generator=generator)
        smooth = F.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)
        rows, columns = torch.arange(height).view(-1, 1), torch.arange(width)
        edges = ((rows * 3 + columns * 5) // 160 % 2).float().expand(1, 3, height, width)
        tints = torch.tensor([1.0, 0.7, 0.4]).view(1, 3, 1, 1)
        pictures = (smooth, (edges * tints).contiguous())
        return [_pad(picture.to(self.device), self.spec.multiple) for picture in pictures]

    def _spot_check(self, x: Tensor, y: Tensor) -> bool:
        """Compare one spot of a real tile with plain torch, once for each size of tile.

        The check pictures are small, for speed; some faults show only at the real size. Networks
        whose result depends on the whole tile cannot be checked in this way.
        """
        height, width = x.shape[-2:]
        side = 2 * self.spec.reach_px + SPOT_PX
        known = (height, width) in self._checked_shapes
        small = height * width < SPOT_CHECK_RATIO * side * side or min(height, width) < side
        if self.path == "eager" or not self.spec.exact or known or small:
            return True
        cell, reach, s = self.spec.multiple, self.spec.reach_px, self.spec.scale
        # A network of cells gives the same only where they begin at the same places.
        top, left = ((length - side) // 2 // cell * cell for length in (height, width))
        expected = self._module(x[..., top : top + side, left : left + side])
        inner = slice(reach * s, (reach + SPOT_PX) * s)
        expected = expected[..., inner, inner]
        if float(expected.abs().max()) > RUNAWAY:
            return True
        found = y[..., top * s :, left * s :][..., inner, inner]
        worst = _difference(found, expected)
        if worst <= self._tolerance:
            self._checked_shapes.add((height, width))
            return True
        log.warning(
            "%s: path %s dropped, off by %.1e at %d x %d px",
            self.spec.name,
            self.path,
            worst,
            width,
            height,
        )
        return False


class Engine:
    """Networks on one device, loaded when first asked for and kept.

    Attributes:
        device: where they run.
        threads: CPU threads they use.
    """

    def __init__(self, device: str = "auto", threads: int | None = None) -> None:
        """Choose the device.

        Args:
            device: "auto" (CUDA, else MPS, else CPU), "cpu", "cuda" or "mps".
            threads: CPU threads of this process, or None for torch's choice.

        Raises:
            BadInput: that device is not here (E_DEVICE).
        """
        self.device = _device(device)
        if threads is not None:
            torch.set_num_threads(threads)
        self.threads = torch.get_num_threads()
        self._networks: dict[str, tuple[float, Network]] = {}

    def describe(self) -> str:
        """The device, for people."""
        if self.device.type == "cuda":
            return f"{torch.cuda.get_device_name(self.device)} (CUDA)"
        if self.device.type == "mps":
            return "Apple GPU (MPS)"
        return f"CPU, {self.threads} thread{'s' if self.threads > 1 else ''}"

    def network(self, name: str, strength: float = 1.0) -> Network:
        """A network of the catalogue or of the user.

        Args:
            name: of the network.
            strength: for networks that have one (`networks.load`).

        Raises:
            BadInput: no such network (E_MODEL_NOT_FOUND).
            ServerTrouble: its files are missing or damaged (E_MODEL_LOAD).
        """
        kept_for, found = self._networks.get(name, (strength, None))
        if found is None or kept_for != strength:
            spec = catalog.get(name)
            module = networks.load(spec, store.load(name), strength)
            found = Network(spec, module, self.device, self.threads)
            self._networks[name] = (strength, found)  # of each network one strength is kept
        return found

    def release(self) -> None:
        """Forget all networks and give their memory back."""
        self._networks.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        if name == "cpu" and torch.backends.mps.is_available():
            name = "mps"
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name not in there:
        raise BadInput(
            f"There is no device {name!r}; use one of auto, {', '.join(there)}.", code="E_DEVICE"
        )
    if not there[name]:
        raise BadInput(
            f"The device {name} is not available on this machine (or this build of PyTorch does "
            "not support it); use --device auto or --device cpu.",
            code="E_DEVICE",
            detail={"device": name},
        )
    if name == "cuda":
        # TF32 keeps 10 bits; what is called float32 here is the reference for 16-bit pictures.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device(name)


def _pad(x: Tensor, multiple: int) -> Tensor:
    """Grow right and bottom by reflection to multiples; by repetition where that is too far."""
    height, width = x.shape[-2:]
    right, bottom = -width % multiple, -height % multiple
    if not right and not bottom:
        return x
    mode = "reflect" if right < width and bottom < height else "replicate"
    return F.pad(x, (0, right, 0, bottom), mode=mode)


def _difference(found: Tensor, expected: Tensor) -> float:
    """Largest difference relative to the picture's range, or inf when undefined anywhere.

    Relative, because pure noise makes SPAN leave [0, 1] by three orders of magnitude, and its
    rounding errors with it.
    """
    if found.shape != expected.shape or not bool(torch.isfinite(found).all()):
        return float("inf")
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1.0))


def _out_of_memory(run: paths.Run, *x: Any) -> Tensor:
    """Call `run`; torch's own way of saying "no memory" on the CPU becomes OutOfMemoryError."""
    try:
        return run(*x)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        if "can't allocate memory" in str(error):
            raise torch.OutOfMemoryError(str(error)) from error
        raise
