"""Bytes <-> planes: exact round trips, ramps that keep their levels, alpha and inks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Size
from wallprint_server.imaging.color import decode_srgb, encode_srgb, fill_hidden
from wallprint_server.imaging.convert import Planes, to_bytes, to_planes

CPU = torch.device("cpu")
NUMPY = {"u8": "<u1", "u16": "<u2", "f16": "<f2", "f32": "<f4"}


def _random(layout: PixelLayout, size: Size) -> bytes:
    rng = np.random.default_rng(7)
    shape = (size.height, size.width, layout.channels)
    if layout.dtype.startswith("u"):
        full = 255 if layout.dtype == "u8" else 65535
        array = rng.integers(0, full + 1, shape)
        if layout.alpha == "premul":
            array[..., -1:] |= 1
            array[..., :-1] = array[..., :-1] * array[..., -1:] // full
    else:
        array = rng.uniform(0, 1, shape)
        if layout.alpha == "premul":
            array[..., :-1] *= array[..., -1:]
    return array.astype(NUMPY[layout.dtype]).tobytes()


@pytest.mark.parametrize("dtype", ["u8", "u16", "f16", "f32"])
@pytest.mark.parametrize("model", ["RGB", "RGBA", "BGRA", "GRAY", "GRAYA", "CMYK", "CMYKA"])
@pytest.mark.parametrize("trc", ["perceptual", "linear"])
def test_round_trip(model: str, dtype: str, trc: str) -> None:
    size = Size(31, 17)
    for alpha in ("straight", "premul") if model.endswith("A") else ("none",):
        layout = PixelLayout(model, dtype, alpha, trc)
        data = _random(layout, size)
        back = to_bytes(to_planes(data, size, layout, CPU), layout)
        before = np.frombuffer(data, NUMPY[dtype]).astype(np.float64)
        after = np.frombuffer(back, NUMPY[dtype]).astype(np.float64)
        exact = dtype.startswith("u") or (
            trc == "perceptual" and alpha != "premul" and not model.startswith("CMYK")
        )
        assert np.abs(after - before).max() <= (0 if exact else 2e-6 if dtype == "f32" else 1e-3)


@pytest.mark.parametrize("trc", ["perceptual", "linear"])
def test_every_16_bit_level_survives(trc: str) -> None:
    levels = np.arange(65536, dtype="<u2")
    layout = PixelLayout("GRAY", "u16", trc=trc)
    back = to_bytes(to_planes(levels.tobytes(), Size(256, 256), layout, CPU), layout)
    assert np.array_equal(np.frombuffer(back, "<u2"), levels)


def test_channel_order_inks_and_alpha_mean_what_they_say() -> None:
    bgra = to_planes(
        bytes([10, 20, 30, 255]), Size(1, 1), PixelLayout("BGRA", "u8", "straight"), CPU
    )
    assert (bgra.colour.flatten() * 255).round().tolist() == [30, 20, 10]
    assert bgra.alpha is not None
    assert float(bgra.alpha) == 1.0
    paper = to_planes(bytes(4), Size(1, 1), PixelLayout("CMYK", "u8"), CPU)
    assert paper.colour.flatten().tolist() == [1.0] * 4
    half = PixelLayout("RGBA", "u8", "premul")
    premul = to_planes(bytes([64, 0, 128, 128]), Size(1, 1), half, CPU)
    assert (premul.colour.flatten() * 255).round().tolist() == [128, 0, 255]


def test_bad_floats_do_not_spread() -> None:
    data = np.array([np.nan, np.inf, -np.inf, 0.5], "<f4").tobytes()
    planes = to_planes(data, Size(4, 1), PixelLayout("GRAY", "f32"), CPU)
    assert planes.colour.flatten().tolist() == [0.0, 65504.0, -65504.0, 0.5]


def test_half_floats_stay_finite() -> None:
    layout = PixelLayout("GRAY", "f16")
    back = to_bytes(Planes(torch.tensor([[[[1e5, -1e5]]]]), None), layout)
    assert np.frombuffer(back, "<f2").tolist() == [65504.0, -65504.0]


def test_srgb_curve() -> None:
    x = torch.tensor([0.0, 0.0031308, 0.18, 0.5, 1.0, 4.0, -0.18])
    expected = [0.0, 0.04044994, 0.46135613, 0.73535698, 1.0, 1.8247963, -0.46135613]
    assert torch.allclose(encode_srgb(x), torch.tensor(expected), atol=1e-5)
    assert torch.allclose(decode_srgb(encode_srgb(x)), x, atol=1e-6)


def test_hidden_colours_are_replaced_from_the_nearest_visible_ones() -> None:
    colour = torch.zeros(1, 3, 60, 60)
    colour[:, 0] = 1.0  # red everywhere, hidden
    alpha = torch.zeros(1, 1, 60, 60)
    alpha[..., 20:40, 20:40] = 1.0
    colour[..., 20:40, 20:40] = 0.25
    filled = fill_hidden(colour, alpha)
    assert torch.equal(filled[..., 20:40, 20:40], colour[..., 20:40, 20:40])
    assert torch.allclose(filled[..., 1:59, 20:40], torch.tensor(0.25), atol=1e-5)
    far = fill_hidden(colour, torch.zeros(1, 1, 60, 60))
    assert torch.equal(far, torch.full_like(colour, 0.5))
