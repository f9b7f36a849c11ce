"""The seam check: planted seams are found and mended, clean results pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Rect, Size
from wallprint_server.pipeline.seams import step_between, step_of_blend
from wallprint_server.raster import Raster
from wallprint_testing.engines import FakeEngine, conv_network, run_pipeline
from wallprint_testing.networks import picture

OUT = Size(480, 360)


def photo(peak: int = 255) -> np.ndarray:
    """(180, 240, 3): waves, edges and grain."""
    planes = picture(180, 240)[0].permute(1, 2, 0).numpy()
    return np.round(planes * peak)


def made(dtype: str = "u8", model: str = "RGB", **options):
    layout = PixelLayout(model, dtype, "straight" if model.endswith("A") else "none")
    pixels = photo(255 if dtype == "u8" else 65535)
    if model.endswith("A"):
        alpha = np.full((180, 240, 1), pixels.max())
        alpha[40:90, 60:130] = 0
        pixels = np.concatenate([pixels, alpha], 2)
    engine = options.pop("engine", None) or FakeEngine()
    return run_pipeline(pixels, layout, OUT, engine=engine, **{"tile_px": 128, **options})


@pytest.mark.parametrize("sharpen", ["none", "matte"])
@pytest.mark.parametrize(("dtype", "model"), [("u8", "RGB"), ("u16", "RGB"), ("u8", "RGBA")])
def test_a_clean_result_has_no_seams(dtype: str, model: str, sharpen: str) -> None:
    _, report = made(dtype, model, sharpen=sharpen, tile_px=170 if model == "RGBA" else 128)
    rows, columns = len(report.plan.rows), len(report.plan.columns)
    assert report.plan.tiles >= 4
    assert report.seams.borders == rows * (columns - 1) + columns * (rows - 1)
    assert report.seams.worst < 0.1
    assert (report.seams.redone, report.seams.left) == (0, 0)


def plant(monkeypatch: pytest.MonkeyPatch, levels: int, times: int) -> None:
    """The first `times` writes of the tile at the second column come out brighter."""
    real, left = Raster.write, times

    def write(self: Raster, rect: Rect, data: bytes) -> None:
        nonlocal left
        if left and 0 < rect.x < OUT.width // 2 and rect.height > 8:
            left -= 1
            data = bytes(
                np.clip(np.frombuffer(data, np.uint8).astype(int) + levels, 0, 255).astype(np.uint8)
            )
        real(self, rect, data)

    monkeypatch.setattr(Raster, "write", write)


@pytest.mark.parametrize("levels", [1, 3])
def test_a_planted_seam_is_found_and_mended(monkeypatch: pytest.MonkeyPatch, levels: int) -> None:
    """One level of 255 on one tile; computed again, the result is the clean one."""
    clean, _ = made(tile_px=128)
    plant(monkeypatch, levels, 1)
    mended, report = made(tile_px=128)
    assert report.seams.redone >= 2
    assert report.seams.left == 0
    assert np.abs(mended.astype(int) - clean).max() <= 1
    assert (mended != clean).mean() < 1e-3
    assert any("more overlap" in note for note in report.notes)


def test_a_seam_that_stays_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, 3, 1000)
    _, report = made(tile_px=128)
    assert report.seams.left >= 1
    assert report.seams.worst == pytest.approx(3, abs=0.2)
    assert any("is left" in note for note in report.notes)


def test_a_network_that_looks_farther_than_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """30 px instead of 21: seen at the borders, and gone with twice the overlap."""
    inner = conv_network(2)

    def far(x: Tensor) -> Tensor:
        width = x.shape[-1]
        shifted = torch.zeros_like(x)
        shifted[..., 30:] = x[..., : width - 30]
        y = inner(x)
        checks = (torch.arange(y.shape[-1]) % 2 * 2 - 1) * 0.2
        grown = torch.nn.functional.interpolate(shifted, scale_factor=2)
        return y + checks * grown

    _, report = made(engine=FakeEngine(span_x2=far), tile_px=110)
    assert report.seams.redone >= 2
    assert report.seams.left == 0


def test_rows_leave_when_they_have_been_compared() -> None:
    seen: list[int] = []
    _, report = made(on_progress=lambda phase, done, total, rows: seen.append(rows))
    columns = len(report.plan.columns)
    assert set(seen[1 : 1 + columns + columns - 1]) == {0}
    assert seen[-1] == OUT.height


def test_no_peak_at_the_period_of_the_tiles() -> None:
    """Spectrum of the mean gradient across the columns, against its neighbours (print.md, F8)."""
    result, report = made()
    step = np.diff(result.astype(float), axis=1).mean((0, 2))
    spectrum = np.abs(np.fft.rfft(step - step.mean()))
    at = len(report.plan.columns)
    around = [spectrum[k] for k in (at - 2, at - 1, at + 1, at + 2)]
    assert spectrum[at] < 3 * np.mean(around)


def test_edges_of_the_picture_on_a_border_are_no_seam() -> None:
    pixels = np.zeros((180, 240, 3))
    pixels[:, 120:] = 255
    _, report = run_pipeline(
        pixels, PixelLayout("RGB", "u8"), OUT, engine=FakeEngine(), tile_px=128
    )
    assert report.seams.redone == 0


def test_the_measure() -> None:
    flat = torch.full((1, 3, 100, 2), 0.5)
    assert step_between(flat, flat, 2) == 0
    assert step_between(flat, flat + 1 / 255, 2) == pytest.approx(1, abs=1e-3)
    short = flat.clone()
    short[:, 1, 40:72] += 2 / 255
    assert step_between(flat, short, 2) > 1.0
    single = flat.clone()
    single[:, :, 50, 0] += 1 / 255
    assert step_between(flat, single, 2) < 0.1
    band = torch.full((1, 3, 50, 32), 0.5)
    assert step_of_blend(band, band + 32 / 255, 3) == pytest.approx(1, abs=1e-3)


def test_a_blended_network_is_checked_as_well() -> None:
    _, report = made(model="RGB", style="enhanced", tile_px=170)
    assert report.plan.blend_px > 0
    assert report.plan.tiles > 1
    assert report.seams.borders > 0
    assert report.seams.left == 0
