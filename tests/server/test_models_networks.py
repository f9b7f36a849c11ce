"""The network definitions: against independent arithmetic, and cut into tiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wallprint_server.models import catalog, networks
from wallprint_server.models.networks.rrdb import Rrdb
from wallprint_server.models.networks.span import BLOCKS, Span, calmed
from wallprint_server.models.networks.waifu2x import Repairer
from wallprint_testing.networks import by_formula, picture


def conv(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Same-size correlation, zero border, written out: (C, H, W) -> (O, H, W)."""
    side = weight.shape[-1]
    r = side // 2
    padded = np.pad(x, ((0, 0), (r, r), (r, r)))
    out = np.zeros((len(weight), *x.shape[1:]))
    for dy in range(side):
        for dx in range(side):
            window = padded[:, dy : dy + x.shape[1], dx : dx + x.shape[2]]
            out += np.einsum("oi,ihw->ohw", weight[:, :, dy, dx], window)
    return out + bias[:, None, None]


def span_by_hand(t: dict[str, np.ndarray], x: np.ndarray, scale: int) -> np.ndarray:
    """SPAN as the paper's figure has it, in numpy."""

    def layer(key: str, values: np.ndarray) -> np.ndarray:
        return conv(values, t[f"{key}.weight"], t[f"{key}.bias"])

    def sigmoid(v: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-v))

    first = h = layer("conv_1", (x - np.array([0.4488, 0.4371, 0.4040])[:, None, None]) * 255)
    outputs, activations = [], []
    for i in range(1, 7):
        a = layer(f"block_{i}.c1_r", h)
        a = a * sigmoid(a)
        b = layer(f"block_{i}.c2_r", a)
        o = layer(f"block_{i}.c3_r", b * sigmoid(b))
        h = (o + h) * (sigmoid(o) - 0.5)
        outputs.append(h)
        activations.append(a)
    joined = np.concatenate([first, layer("conv_2", h), outputs[0], activations[5]])
    y = layer("upsampler.0", layer("conv_cat", joined))
    _, height, width = y.shape
    y = y.reshape(3, scale, scale, height, width).transpose(0, 3, 1, 4, 2)
    return y.reshape(3, height * scale, width * scale)


@pytest.mark.parametrize("scale", [2, 4])
def test_span_is_the_papers_network(scale: int) -> None:
    net = by_formula(Span(scale, width=4), gain=0.7).double()
    net.mean = torch.tensor((0.4488, 0.4371, 0.4040), dtype=torch.float64).view(3, 1, 1)
    x = picture(9, 11)
    tensors = {key: value.numpy() for key, value in net.state_dict().items()}
    expected = span_by_hand(tensors, x[0].numpy(), scale)
    found = net(x)[0].numpy()
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * np.abs(expected).max())


def test_span_golden_numbers() -> None:
    """Pins the formula network's answer, so that a change of both sides at once is seen."""
    y = by_formula(Span(2, width=4), gain=0.7).double()(picture(9, 11))
    golden = [-0.4969598, 1.7863548, 1.1090170]
    found = [float(y[0, c, row, column]) for c, row, column in ((0, 0, 0), (1, 9, 10), (2, 17, 21))]
    assert found == pytest.approx(golden, rel=1e-5)


def tile_error(net: torch.nn.Module, scale: int, border: int, keep: int = 24) -> float:
    """Largest difference between a tile's inner part and the whole picture's."""
    x = picture(keep + 70, keep + 70 + 2 * border).to(next(net.parameters()).dtype)
    whole = net(x)
    left = 35
    tile = net(x[..., left : left + keep + 2 * border])
    inner = slice(border * scale, (border + keep) * scale)
    outer = slice((left + border) * scale, (left + border + keep) * scale)
    return float((whole[..., outer] - tile[..., inner]).abs().max())


@pytest.mark.parametrize(
    ("name", "net"),
    [("span-x4", Span(4, width=8)), ("waifu2x-photo-denoise1", Repairer((3, 4, 4, 8, 8, 8, 8)))],
)
def test_a_tile_with_its_border_equals_the_whole_picture(name: str, net: torch.nn.Module) -> None:
    spec = catalog.get(name)
    module = by_formula(net, gain=1.2).double()
    assert tile_error(module, spec.scale, spec.reach_px) == 0.0
    assert tile_error(module, spec.scale, spec.reach_px - 1) > 0.0


def test_realesrgan_tiles_agree_with_their_border() -> None:
    """Its reach is the whole tile in theory; 64 px leave less than one 8-bit step."""
    from wallprint_server.models import store

    spec = catalog.get("realesrgan-x4plus")
    net = networks.load(spec, store.load(spec.name)).eval().requires_grad_(False)
    x = picture(8, 16 + 2 * (64 + 16)).float()
    with torch.inference_mode():
        whole, tile = net(x), net(x[..., 16:-16])
    inner = slice(64 * 4, -64 * 4)
    error = (whole[..., 64:-64][..., inner] - tile[..., inner]).abs().max()
    assert error < 1 / 255


def test_rrdb_adds_a_fifth_of_each_residual() -> None:
    """With all convolutions of the trunk zero but one bias, the sum can be done in the head."""
    net = by_formula(Rrdb(blocks=2, width=4, growth=2))
    for name, tensor in net.named_parameters():
        if name.startswith("body"):
            tensor.zero_()
    net.body[1].rdb3.conv5.bias.fill_(1.0)
    x = torch.rand(1, 4, 5, 5)
    # rdb3 adds 0.2 x 1, the block adds 0.2 x (its input + 0.2).
    torch.testing.assert_close(net.body[1](x), x + 0.2 * (x + 0.2))
    torch.testing.assert_close(net.body[0](x), x + 0.2 * x)


def test_waifu2x_keeps_size_range_and_flat_fields() -> None:
    from wallprint_server.models import store

    spec = catalog.get("waifu2x-photo-denoise3")
    net = networks.load(spec, store.load(spec.name)).eval()
    with torch.inference_mode():
        for size in ((1, 1), (2, 5), (13, 8)):
            assert net(torch.full((1, 3, *size), 0.5)).shape[-2:] == size
        flat = net(torch.full((1, 3, 20, 20), 0.5))
        noisy = net(torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(0)))
    assert (flat - 0.5).abs().max() < 0.01
    assert noisy.min() >= 0
    assert noisy.max() <= 1


@pytest.mark.parametrize("net", [Span(2, width=8), Rrdb(1, 8, 4), Repairer((3, 4, 4, 4, 4, 4, 4))])
def test_half_precision_does_not_reach_the_result(net: torch.nn.Module) -> None:
    """bfloat16 results would leave 1,281 of the 65,536 levels of a 16-bit picture."""
    module = by_formula(net)
    x = torch.linspace(0.2, 0.8, 64 * 64).view(1, 1, 64, 64).expand(1, 3, 64, 64).contiguous()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        y = module(x)
    assert y.dtype == torch.float32
    assert not torch.equal(y, y.bfloat16().float())
    assert len(y.unique()) > y.numel() // 4


@pytest.mark.parametrize("contrast", [1.0, 0.8])
def test_reduced_contrast_is_restored(contrast: float) -> None:
    net = by_formula(Span(2, width=4), gain=0.5).double()
    calm = Span(2, width=4).double()
    calm.load_state_dict(calmed(net.state_dict(), contrast))
    x = picture(12, 10)
    expected = (net(0.5 + contrast * (x - 0.5)) - 0.5) / contrast + 0.5
    torch.testing.assert_close(calm(x), expected, rtol=0, atol=1e-9)


def test_blocks_are_six() -> None:
    """The published files have six blocks; the converter's keys depend on it."""
    keys = {key.split(".")[0] for key in Span(2).state_dict()}
    assert {f"block_{i}" for i in range(1, BLOCKS + 1)} < keys
    assert BLOCKS == 6
