"""The pipeline with real networks on a CUDA device, against the same on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Size
from wallprint_server.models.engine import Engine
from wallprint_testing.engines import run_pipeline

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
RGB8, RGB16 = PixelLayout("RGB", "u8"), PixelLayout("RGB", "u16")


@pytest.fixture(scope="module")
def cuda() -> Engine:
    return Engine("cuda")


@pytest.fixture(scope="module")
def cpu() -> Engine:
    return Engine("cpu")


def _photo(width: int = 420, height: int = 300) -> np.ndarray:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:height, :width]
    base = 128 + 60 * np.sin(x / 11) * np.cos(y / 17) + 30 * ((x // 40 + y // 56) % 2)
    return np.clip(base[..., None] + rng.normal(0, 4, (height, width, 3)), 0, 255).round()


@pytest.mark.parametrize("style", ["faithful", "enhanced"])
def test_half_precision_differs_from_the_cpu_by_little(
    cuda: Engine, cpu: Engine, style: str
) -> None:
    picture, out = _photo(160, 120), Size(640, 480)
    a, _ = run_pipeline(picture, RGB8, out, engine=cuda, style=style, repair=50, sharpen="matte")
    b, _ = run_pipeline(picture, RGB8, out, engine=cpu, style=style, repair=50, sharpen="matte")
    difference = np.abs(a.astype(int) - b)
    assert difference.mean() < 0.5
    assert difference.max() <= 8


@pytest.mark.parametrize("out", [Size(840, 600), Size(1680, 1200), Size(2940, 2100)])
def test_the_tiling_does_not_show(cuda: Engine, out: Size) -> None:
    small, _ = run_pipeline(_photo(), RGB8, out, engine=cuda, tile_px=128)
    whole, _ = run_pipeline(_photo(), RGB8, out, engine=cuda, tile_px=4096)
    assert np.abs(small.astype(int) - whole).max() <= 2


def test_a_16_bit_ramp_keeps_its_levels(cuda: Engine) -> None:
    ramp = np.broadcast_to(np.arange(32768).reshape(1, -1, 1) * 2, (24, 32768, 3))
    result, _ = run_pipeline(ramp, RGB16, Size(65536, 48), engine=cuda)
    row = result[24, :, 1].astype(int)
    assert len(np.unique(row)) >= 60_000
    assert np.diff(row).min() >= 0


def test_flat_stays_flat(cuda: Engine) -> None:
    flat = np.full((200, 300, 3), 119)
    result, _ = run_pipeline(flat, RGB8, Size(1200, 800), engine=cuda, sharpen="canvas")
    assert result.std() == 0


def test_a_small_device_memory_still_finishes(cuda: Engine) -> None:
    good, _ = run_pipeline(_photo(), RGB8, Size(1680, 1200), engine=cuda)
    cuda.release()
    total = torch.cuda.get_device_properties(0).total_memory
    # The whole picture at once takes more, a quarter of it less.
    torch.cuda.set_per_process_memory_fraction(150e6 / total)
    try:
        result, report = run_pipeline(_photo(), RGB8, Size(1680, 1200), engine=cuda)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert report.halved >= 1
    assert np.abs(result.astype(int) - good).max() <= 2


def test_memory_is_given_back(cuda: Engine) -> None:
    run_pipeline(_photo(), RGB8, Size(840, 600), engine=cuda)
    cuda.release()
    assert torch.cuda.memory_reserved() < 64 << 20
