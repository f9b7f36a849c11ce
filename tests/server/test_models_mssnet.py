"""MSSNet: names and numbers of the published network, and the same result as a plain transcript."""

from __future__ import annotations

import hashlib

import pytest
import torch
from torch import Tensor

from wallprint_server.models.networks import mssnet, mssnet_tensors
from wallprint_server.models.networks.mssnet import HEADS, MSSNet
from wallprint_testing.plain_mssnet import six_images

# SHA-256 of the lines "name shape" of all 328 tensors, sorted; the published networks have these.
KEY_DIGESTS = {
    "small": "151ee3be2cd91f41ddca318471589ca81327cf1eaf2b6dfd607cfb9f3887fc92",
    "base": "550d274ab6bc2cfda8b404612a8db48f67f26ae36f9f3f83c37d266144fab550",
    "large": "a92875cfdc7898a4ed6f07bcdf14134f04a2e2de5928f01eb195ccc33474c06b",
}
PARAMETERS = {"small": 6_756_161, "base": 15_614_497, "large": 28_182_041}


def sown(net: MSSNet, prelu: float = 0.13, seed: int = 0) -> MSSNet:
    """Weights that keep the signal's size over the whole depth."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        if parameter.dim() == 4:
            fans = (parameter.shape[0] + parameter.shape[1]) * parameter[0, 0].numel()
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.data = (noise * 0.5 * (2 / fans) ** 0.5).to(parameter.dtype)
        else:
            parameter.data.fill_(prelu)
    return net.eval().requires_grad_(False)


def formula(net: MSSNet) -> MSSNet:
    """Weights from a formula, the same on every machine and with every version of torch."""
    for k, (_, parameter) in enumerate(sorted(net.named_parameters())):
        i = torch.arange(parameter.numel(), dtype=torch.float64)
        fan = max(1, parameter[0].numel())
        wave = torch.frac(i * 0.7548776662466927 + k * 0.5698402909980532) - 0.5
        parameter.data = (wave * (3.0 / fan) ** 0.5).view(parameter.shape)
        if parameter.dim() == 1:
            parameter.data.fill_(0.13)
    return net.double().eval().requires_grad_(False)


def picture(height: int, width: int, batch: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(height * 1000 + width)
    return torch.rand(batch, 3, height, width, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("variant", list(KEY_DIGESTS))
def test_names_shapes_and_counts_are_the_published_ones(variant: str) -> None:
    with torch.device("meta"):
        net: MSSNet = getattr(MSSNet, variant)()
    state = net.state_dict()
    lines = sorted(f"{key} {tuple(tensor.shape)}" for key, tensor in state.items())
    assert len(lines) == 328
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == KEY_DIGESTS[variant]
    assert sum(parameter.numel() for parameter in net.parameters()) == PARAMETERS[variant]
    assert len(mssnet_tensors.packed(state)) == 242


@pytest.mark.parametrize(
    ("sizes", "height", "width", "batch"),
    [
        (mssnet.VARIANTS["small"], 96, 128, 1),
        (mssnet.VARIANTS["base"], 48, 80, 1),
        ((6, 4, 2), 48, 160, 2),
        ((6, 4, 2), 16, 16, 1),
        ((6, 4, 2), 64, 64, 1),
    ],
)
def test_six_images_equal_the_plain_transcript(
    sizes: tuple[int, int, int], height: int, width: int, batch: int
) -> None:
    net = sown(MSSNet(*sizes))
    x = picture(height, width, batch)
    expected = six_images(net.state_dict(), x)
    found = net.forward_all(x)
    for head, ours, theirs in zip(HEADS, found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0, msg=head)
    assert float((found[-1] - x).abs().mean()) > 1e-2  # the network does something


def test_equal_to_the_transcript_in_double_precision() -> None:
    net = sown(MSSNet(6, 4, 2).double())
    x = picture(48, 80, dtype=torch.float64)
    for ours, theirs in zip(net.forward_all(x), six_images(net.state_dict(), x), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)


# What a formula's weights gave when the network equalled the published one. A transcript and a
# network that change together would not be noticed otherwise. Mean and one pixel of each image.
GOLDEN = (
    (0.4703651632227774, 0.4959977270476353),
    (0.4726100398225874, 0.42924464569374604),
    (0.46853820781473643, 1.49288021530757),
    (0.47458903668074637, 0.46268639699302955),
    (0.4696659404607541, 0.39846161504999994),
    (0.4636217121927544, 1.0858672514276317),
)


def golden_numbers(images: list[Tensor]) -> list[tuple[float, float]]:
    return [(float(image.mean()), float(image[0, 1, 5, 7])) for image in images]


def test_formula_weights_give_the_recorded_numbers() -> None:
    net = formula(MSSNet(4, 3, 2))
    rows, columns = torch.arange(32).view(-1, 1), torch.arange(48)
    x = torch.stack([((rows * a + columns * b) % 17) / 17 for a, b in ((3, 5), (2, 7), (1, 4))])
    found = golden_numbers(net.forward_all(x[None].double()))
    torch.testing.assert_close(
        torch.tensor(found, dtype=torch.float64),
        torch.tensor(GOLDEN, dtype=torch.float64),
        atol=1e-9,
        rtol=0,
    )


def largest_differences(net: MSSNet, expected: list[Tensor], x: Tensor) -> list[float]:
    pairs = zip(net.forward_all(x), expected, strict=True)
    return [float((ours - theirs).abs().max()) for ours, theirs in pairs]


def test_comparison_notices_a_cross_stage_path_without_effect() -> None:
    net, x = sown(MSSNet(6, 4, 2)), picture(48, 64)
    expected = six_images(net.state_dict(), x)
    net.get_submodule("E3_2.csff_enc2").weight.zero_()
    off = largest_differences(net, expected, x)
    assert max(off[:4]) < 1e-5
    assert min(off[4:]) > 1e-3


def test_comparison_notices_another_prelu() -> None:
    net, x = sown(MSSNet(6, 4, 2)), picture(48, 64)
    expected = six_images(net.state_dict(), x)
    net.load_state_dict(
        {k: v * 0 + 0.25 if v.dim() == 1 else v for k, v in net.state_dict().items()}
    )
    assert min(largest_differences(net, expected, x)) > 1e-3


def test_comparison_notices_the_wrong_corners_of_the_half_size_picture() -> None:
    net, x = sown(MSSNet(6, 4, 2)), picture(48, 64)
    off = largest_differences(net, six_images(net.state_dict(), x, corners=False), x)
    assert off[0] > 0.1
    assert min(off) > 1e-3


def test_one_prelu_serves_the_whole_network() -> None:
    net = MSSNet(4, 3, 2)
    assert sum(isinstance(module, torch.nn.PReLU) for module in net.modules()) == 1
    names = [k for k in net.state_dict() if k.endswith(mssnet_tensors.PRELU_SUFFIX)]
    assert len(names) == 87
    net.get_submodule("D3_3.decoder_level1.1.body.1").weight.data.fill_(0.7)
    assert all(float(net.state_dict()[name]) == pytest.approx(0.7) for name in names)


def test_result_is_the_last_training_image_bit_for_bit() -> None:
    net, x = sown(MSSNet(6, 4, 2)), picture(32, 48)
    assert torch.equal(net(x), net.forward_all(x)[-1])


def test_stages_give_the_wanted_images_in_order_and_can_be_left() -> None:
    net, x = sown(MSSNet(6, 4, 2)), picture(32, 48)
    everything = dict(zip(HEADS, net.forward_all(x), strict=True))
    wanted = ("res2_2", "res3_1")
    seen = list(net.stages(x, heads=wanted))
    assert [head for head, _ in seen] == list(HEADS)
    for head, image in seen:
        if head in wanted:
            assert image is not None
            assert torch.equal(image, everything[head])
        else:
            assert image is None
    calls: list[str] = []
    net.get_submodule("E3_2").register_forward_hook(lambda *_: calls.append("E3_2"))
    for head, _ in net.stages(x):
        if head == "res3_1":
            break
    assert calls == []  # what comes after the stage that was looked at is not computed


def test_half_size_picture_of_the_whole_reaches_both_places() -> None:
    """Scale 1 sees it, and res1_1 is added to it; making it from the tile gives another answer."""
    net, whole = sown(MSSNet(6, 4, 2)), picture(96, 96)
    b2 = mssnet.half_input(whole)
    tile, cut = whole[..., 32:80, 16:80], b2[..., 16:40, 8:40]
    ours = net.forward_all(tile, cut)
    own = net.forward_all(tile)
    assert float((ours[-1] - own[-1]).abs().max()) > 1e-3
    zeroed = sown(MSSNet(6, 4, 2))
    zeroed.get_submodule("tail1_1.tail").weight.zero_()
    assert torch.equal(zeroed.forward_all(tile, cut)[0], cut)


@pytest.mark.parametrize(("height", "width"), [(72, 64), (64, 65), (8, 8), (1, 1), (16, 24)])
def test_sides_that_do_not_fit_are_refused(height: int, width: int) -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        MSSNet(2, 1, 1)(picture(height, width))


def test_half_size_picture_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="half-size"):
        MSSNet(2, 1, 1)(picture(32, 32), picture(8, 16))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (15, 17), (16, 16), (33, 9)])
def test_any_size_is_padded_and_cut_back(height: int, width: int) -> None:
    net, x = sown(MSSNet(4, 3, 2)), picture(height, width)
    y = net.whole(x)
    assert y.shape == x.shape
    grown = mssnet.padded(x)
    assert grown.shape[-2] % 16 == grown.shape[-1] % 16 == 0
    assert torch.equal(grown[..., :height, :width], x)
    assert torch.equal(y, net(grown)[..., :height, :width])


def test_padding_reflects_where_it_can_and_repeats_where_not() -> None:
    x = picture(30, 20)
    assert torch.equal(mssnet.padded(x)[..., 30, :20], x[..., 28, :])
    assert torch.equal(mssnet.padded(x)[..., :30, 20], x[..., 18])
    assert torch.equal(mssnet.padded(x[..., :3])[..., :30, 9], x[..., 2])


def test_autocast_keeps_the_picture_in_float32() -> None:
    """bfloat16 has 1,281 of the 65,536 levels; only the residual may be that coarse."""
    net = sown(MSSNet(4, 3, 2))
    for tail in ("tail3_1", "tail3_2", "tail3_3"):
        net.get_submodule(tail).weight.zero_()
    x = picture(32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        y = net(x)
    assert y.dtype == torch.float32
    assert torch.equal(y, x)


def test_gradients_reach_every_weight() -> None:
    net = MSSNet(4, 3, 2)
    sum(image.square().mean() for image in net.forward_all(picture(32, 32))).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_packed_table_loads_and_gives_the_same_result() -> None:
    net, x = sown(MSSNet(6, 4, 2)), picture(32, 32)
    packed = mssnet_tensors.packed(net.state_dict())
    twin = MSSNet(*mssnet_tensors.sizes_of(packed))
    twin.load_state_dict(mssnet_tensors.unpacked(packed), strict=True)
    assert torch.equal(twin.eval()(x), net(x))
