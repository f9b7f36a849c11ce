"""Engines with small networks from a formula, and a run of the pipeline over arrays."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Placement, Rect, Size, Window
from wallprint_protocol.request import Request
from wallprint_server.models import catalog
from wallprint_server.pipeline.enhance import enhance
from wallprint_server.pipeline.report import Report
from wallprint_server.raster import Raster

DTYPES = {"u8": "<u1", "u16": "<u2", "f16": "<f2", "f32": "<f4"}


def conv_network(scale: int, seed: int = 0, gain: float = 0.02) -> Callable[[Tensor], Tensor]:
    """Bicubic enlargement plus detail from random convolutions: behaves like a trained network.

    Zero padding with a mean subtracted (so picture borders go wrong), a neighbourhood of 6 px, a
    weak fixed pattern of its own, and no answer to flat input.
    """
    g = torch.Generator().manual_seed(seed)
    first = torch.randn(8, 3, 5, 5, generator=g) * 0.3
    first -= first.mean((1, 2, 3), keepdim=True)
    second = torch.randn(8, 8, 5, 5, generator=g) * 0.1
    last = torch.randn(3 * scale * scale, 8, 5, 5, generator=g) * gain
    pattern = torch.randn(3 * scale * scale, generator=g) * 0.03 / 255

    def run(x: Tensor) -> Tensor:
        if scale == 1:  # like waifu2x, which repeats the border before its unpadded convolutions
            padded = F.pad(x, (6, 6, 6, 6), mode="replicate")
            h = torch.tanh(F.conv2d(torch.tanh(F.conv2d(padded, first)), second))
            return x + F.conv2d(h, last, pattern)
        h = torch.tanh(F.conv2d(x - 0.45, first, padding=2))
        h = torch.tanh(F.conv2d(h, second, padding=2))
        detail = F.pixel_shuffle(F.conv2d(h, last, pattern, padding=2), scale)
        return F.interpolate(x, scale_factor=scale, mode="bicubic", antialias=True) + detail

    return run


def _first_of_two(x: Tensor, _taken: Tensor) -> Tensor:
    """A network after a deconvolution that leaves everything."""
    return x


class FakeNetwork:
    """Quacks like `engine.Network`; `calls` records the input sizes."""

    def __init__(self, name: str, run: Callable[..., Tensor]) -> None:
        self.spec = catalog.get(name)
        self.sha256 = "0" * 64
        self.run = run
        self.calls: list[tuple[int, int]] = []

    @torch.inference_mode()
    def __call__(self, x: Tensor, *more: Any) -> Tensor:
        self.calls.append((x.shape[-1], x.shape[-2]))
        return self.run(x, *more)

    @torch.inference_mode()
    def eager(self, x: Tensor, *more: Any) -> Tensor:
        return self.run(x, *more)


class FakeEngine:
    """Quacks like `engine.Engine` on the CPU; unknown names get random convolutions."""

    def __init__(self, **networks: Callable[..., Tensor]) -> None:
        self.device = torch.device("cpu")
        self._given = {name.replace("_", "-"): run for name, run in networks.items()}
        self.loaded: dict[str, FakeNetwork] = {}

    def describe(self) -> str:
        return "test"

    def network(self, name: str, _strength: float = 1.0) -> FakeNetwork:
        if name not in self.loaded:
            spec = catalog.get(name)
            formula = (
                _first_of_two if spec.role == "dering" else conv_network(spec.scale, len(name))
            )
            run = self._given.get(name) or formula
            self.loaded[name] = FakeNetwork(name, run)
        return self.loaded[name]


def whole(source: Size, out: Size) -> Placement:
    """The whole source on the whole result."""
    return Placement(
        out, Window(0, 0, source.width, source.height), Rect(0, 0, out.width, out.height)
    )


def raster_of(data: bytes, size: Size, layout: PixelLayout) -> tuple[Raster, Any]:
    """Bytes in a temporary file as a Raster, and the file that must stay alive."""
    file = tempfile.TemporaryFile()  # noqa: SIM115
    file.write(data)
    file.flush()
    return Raster(file.fileno(), size, layout.bytes_per_pixel), file


def run_pipeline(
    array: np.ndarray,
    layout: PixelLayout,
    out: Size | Placement,
    *,
    engine: Any,
    mask: np.ndarray | None = None,
    on_progress: Callable[[str, int, int, int], None] | None = None,
    should_cancel: Callable[[], bool] | None = None,
    **options: Any,
) -> tuple[np.ndarray, Report]:
    """Enhance an (H, W, C) array; repair, deblur and sharpening are off unless named."""
    array = np.ascontiguousarray(array.astype(DTYPES[layout.dtype]))
    height, width = array.shape[:2]
    source = Size(width, height)
    placement = out if isinstance(out, Placement) else whole(source, out)
    options = {"repair": 0, "deblur": 0, "sharpen": "none", **options}
    mask_layout = PixelLayout("GRAY", "u8") if mask is not None else None
    request = Request.build(source, layout, placement, selection=mask_layout, **options)
    rasters, files = [], []
    for data, raster_layout in ((array, layout), (mask, mask_layout)):
        if data is None or raster_layout is None:
            rasters.append(None)
            continue
        raster, file = raster_of(data.tobytes(), source, raster_layout)
        rasters.append(raster)
        files.append(file)
    nbytes = request.out.pixels * layout.bytes_per_pixel
    result, file = raster_of(b"\xa5" * nbytes, request.out, layout)
    files.append(file)
    try:
        assert rasters[0] is not None
        report = enhance(
            request,
            rasters[0],
            rasters[1],
            result,
            engine=engine,
            on_progress=on_progress or (lambda *_: None),
            should_cancel=should_cancel or (lambda: False),
        )
        data = bytes(result.read(Rect(0, 0, request.out.width, request.out.height)))
    finally:
        for file in files:
            file.close()
    shape = (request.out.height, request.out.width, layout.channels)
    return np.frombuffer(data, DTYPES[layout.dtype]).reshape(shape), report


class SmallEngine(FakeEngine):
    """A `FakeEngine` that a server makes, as it makes the real one."""

    def __init__(self, _device: str = "auto") -> None:
        super().__init__()
