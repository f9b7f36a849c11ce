"""Deblurring by tiles: they do not show, and what is sharp, flat or grey is left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from wallprint_protocol.errors import Cancelled
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Size
from wallprint_server.models import catalog
from wallprint_server.models.catalog import NetworkSpec
from wallprint_server.models.networks import mssnet
from wallprint_server.models.networks.mssnet import MSSNet, half_input, padded
from wallprint_server.pipeline.deblur import Deblurring, NetworkRestorer, window_for
from wallprint_server.pipeline.seams import SeamCheck
from wallprint_testing.engines import FakeEngine, FakeNetwork, run_pipeline

RGB8 = PixelLayout("RGB", "u8")
NAME = "deblurrer"
SPEC = replace(
    catalog.SPECS[0],
    name=NAME, architecture="mssnet", role="deblur", style="", scale=1, multiple=16,
    reach_px=128, exact=False, bytes_per_px=2200, window_px=384,
)  # fmt: skip


@pytest.fixture(scope="module")
def net() -> MSSNet:
    """A narrow MSSNet whose answers are as far from its input as a real one's."""
    torch.manual_seed(0)
    net = MSSNet(4, 4, 4)
    for parameter in net.parameters():
        if parameter.dim() == 4:
            torch.nn.init.xavier_normal_(parameter, 0.5)
    return net.eval().requires_grad_(False)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> NetworkSpec:
    """The catalogue has a deblurring network."""
    monkeypatch.setattr(catalog, "SPECS", (*catalog.SPECS, SPEC))
    return SPEC


def by_network(size: Size, run: Callable[..., Tensor]) -> NetworkRestorer:
    network = FakeNetwork.__new__(FakeNetwork)
    network.spec, network.run, network.calls = SPEC, run, []
    return NetworkRestorer(network, size, lambda: None)  # type: ignore[arg-type]


BORDER_PX = by_network(Size(1, 1), lambda x: x).border_px


def stage(
    size: Size,
    picture: Tensor,
    run: Callable[..., Tensor],
    window_px: int = 384,
    amount: int = 100,
    seams: SeamCheck | None = None,
) -> Deblurring:
    return Deblurring(
        size,
        lambda xs, ys: picture[..., ys[0] : ys[1], xs[0] : xs[1]],
        by_network(size, run),
        amount,
        window_px=window_px,
        seams=seams or SeamCheck(),
    )


def in_strips(stage: Deblurring, size: Size, rows: int = 50) -> Tensor:
    ranges = [(y, min(size.height, y + rows)) for y in range(0, size.height, rows)]
    return torch.cat([stage.planes((0, size.width), ys) for ys in ranges], 2)


def error_of(change: Tensor, wanted: Tensor) -> float:
    return float((change - wanted).square().mean().sqrt() / wanted.square().mean().sqrt())


@pytest.mark.parametrize(
    "size", [Size(500, 333), Size(7, 40), Size(16, 16), Size(100, 450), Size(33, 1)]
)
def test_tiles_give_what_the_whole_picture_gives(net: MSSNet, size: Size) -> None:
    torch.manual_seed(1)
    picture = torch.rand(1, 3, size.height, size.width)
    whole = padded(picture)
    wanted = (net(whole, half_input(whole)) - whole)[..., : size.height, : size.width]
    with torch.inference_mode():
        tiled = stage(size, picture, net)
        change = in_strips(tiled, size) - picture
    assert error_of(change, wanted) < 1e-3
    assert (tiled.tiles > 4) == (size.width == 500)


def test_a_half_size_picture_made_per_tile_would_show(net: MSSNet) -> None:
    """The trap that the stage avoids: the sampling drifts over whatever picture it is given."""
    size = Size(500, 333)
    torch.manual_seed(1)
    picture = torch.rand(1, 3, size.height, size.width)
    whole = padded(picture)
    wanted = (net(whole, half_input(whole)) - whole)[..., : size.height, : size.width]
    with torch.inference_mode():
        tiled = stage(size, picture, lambda x, *_more: net(x))
        change = in_strips(tiled, size) - picture
    assert error_of(change, wanted) > 5e-3


def test_one_pixel_stays_one_pixel(net: MSSNet) -> None:
    picture = torch.full((1, 3, 1, 1), 0.3)
    with torch.inference_mode():
        assert torch.equal(in_strips(stage(Size(1, 1), picture, net), Size(1, 1)), picture)


def test_flat_fields_and_neutral_colours_stay_as_they_are(net: MSSNet) -> None:
    flat = torch.full((1, 3, 60, 80), 0.4)
    with torch.inference_mode():
        assert torch.equal(in_strips(stage(Size(80, 60), flat, net), Size(80, 60)), flat)
        torch.manual_seed(2)
        grey = torch.rand(1, 1, 60, 80).expand(-1, 3, -1, -1).contiguous()
        result = in_strips(stage(Size(80, 60), grey, net), Size(80, 60))
        assert not torch.equal(result, grey)
        assert float((result.amax(1) - result.amin(1)).max()) < 1e-6


def test_inks_are_deblurred_each_beside_the_others(net: MSSNet) -> None:
    torch.manual_seed(3)
    inks = torch.rand(1, 4, 40, 64)
    with torch.inference_mode():
        together = in_strips(stage(Size(64, 40), inks, net), Size(64, 40))
        black = in_strips(stage(Size(64, 40), inks[:, 3:], net), Size(64, 40))
    torch.testing.assert_close(together[:, 3:], black)


def test_what_lies_above_is_forgotten_and_nothing_is_computed_twice(net: MSSNet) -> None:
    size = Size(700, 900)
    picture = torch.rand(1, 3, size.height, size.width)
    with torch.inference_mode():
        tiled = stage(size, picture, lambda x, *_more: x * 0.9, window_px=416)
        core = 416 - 2 * BORDER_PX
        in_strips(tiled, size)
        assert tiled.tiles == -(-size.width // core) * -(-size.height // core)
        assert len(tiled._kept) <= 2 * -(-size.width // core)


def waves(size: Size) -> Tensor:
    y, x = torch.meshgrid(torch.arange(size.height), torch.arange(size.width), indexing="ij")
    return (0.5 + 0.2 * torch.sin(x / 5) * torch.cos(y / 7)).float().expand(1, 3, -1, -1)


def test_every_border_of_its_tiles_is_compared(net: MSSNet) -> None:
    """Also with tiles that are forgotten, and the real network's borders do not show."""
    size, seams = Size(500, 333), SeamCheck()
    torch.manual_seed(1)
    with torch.inference_mode():
        in_strips(stage(size, torch.rand(1, 3, 333, 500), net, seams=seams), size, 128)
    columns, rows = 4, 3  # cores of 128 px
    assert seams.borders == rows * (columns - 1) + columns * (rows - 1)
    assert seams.worst < 0.1
    assert (seams.redone, seams.left) == (0, 0)


def test_a_tile_that_differs_is_found_and_mended() -> None:
    """The second tile comes out one level brighter, once."""
    size, seams, calls = Size(400, 256), SeamCheck(), []

    def run(x: Tensor, *_more: object) -> Tensor:
        calls.append(x.shape)
        return x + (1 / 255 if len(calls) == 2 else 0.0)

    picture = waves(size)
    with torch.inference_mode():
        result = in_strips(stage(size, picture, run, seams=seams), size)
    assert seams.redone == 2  # it and its neighbour, both with twice the border
    assert seams.left == 0
    assert torch.allclose(result, picture)
    assert calls[2][3] > calls[0][3]


def test_a_network_that_looks_farther_than_its_border() -> None:
    """150 px instead of 128: seen, and gone with twice the border."""
    size, seams = Size(900, 128), SeamCheck()
    picture = waves(size) * torch.linspace(0.5, 1.0, 900)

    def run(x: Tensor, *_more: object) -> Tensor:
        shifted = torch.zeros_like(x)
        shifted[..., 150:] = x[..., :-150]
        return x + 0.1 * shifted

    with torch.inference_mode():
        result = in_strips(stage(size, picture, run, seams=seams), size, 128)
    assert seams.redone >= 2
    assert seams.left == 0
    wanted = picture.clone()
    wanted[..., 150:] += 0.1 * picture[..., :-150]
    assert float((result - wanted).abs().max()) < 1e-5


def test_a_seam_that_stays_is_told() -> None:
    size, seams = Size(400, 128), SeamCheck()
    calls = []

    def run(x: Tensor, *_more: object) -> Tensor:
        calls.append(x.shape)
        return x + len(calls) / 255

    with torch.inference_mode():
        in_strips(stage(size, waves(size), run, seams=seams), size, 128)
    assert seams.left > 0
    assert seams.worst >= 1.0


def test_memory_that_runs_out_makes_the_tiles_smaller(net: MSSNet) -> None:
    size = Size(300, 200)
    picture = torch.rand(1, 3, size.height, size.width)

    def run(x: Tensor, b2: Tensor, *_more: object) -> Tensor:
        if x.shape[-1] > 288:
            raise torch.OutOfMemoryError("planted")
        return net(x, b2)

    with torch.inference_mode():
        result = in_strips(stage(size, picture, run, window_px=512), size)
        plain = in_strips(stage(size, picture, net, window_px=512), size)
    assert error_of(result - picture, plain - picture) < 1e-3

    def never(*_: object) -> Tensor:
        raise torch.OutOfMemoryError("planted")

    with pytest.raises(torch.OutOfMemoryError):
        in_strips(stage(size, picture, never), size)


def test_an_undefined_tile_is_left_as_it_is() -> None:
    picture = torch.rand(1, 3, 40, 40)
    with torch.inference_mode():
        tiled = stage(Size(40, 40), picture, lambda x, *_more: x * float("nan"))
        assert torch.equal(in_strips(tiled, Size(40, 40)), picture)


def test_windows_fit_the_memory_and_leave_room_for_a_core() -> None:
    restorer = by_network(Size(100, 100), lambda x: x)
    for memory in (1 << 20, 1 << 28, 1 << 30, 1 << 34):
        side = window_for(restorer, memory, 1024)
        assert side % 16 == 0
        assert side >= 2 * BORDER_PX + 32
        if memory > 1 << 28:
            assert side * side * SPEC.bytes_per_px <= memory
    assert window_for(restorer, 1 << 40) == SPEC.window_px // 16 * 16


# -- in the pipeline -------------------------------------------------------------------------------


def sharpened(x: Tensor, _b2: Tensor, between: Callable[[], None], _head: str) -> Tensor:
    """A "network" that steepens what it sees."""
    between()
    blurred = torch.nn.functional.avg_pool2d(x, 5, 1, 2, count_include_pad=False)
    return x + 0.8 * (x - blurred)


def shapes(blur_px: int = 0) -> np.ndarray:
    """Boxes of several sizes, shaken horizontally."""
    rng = np.random.default_rng(7)
    picture = np.kron(rng.integers(20, 235, (6, 9, 3)), np.ones((50, 50, 1), int))[:, :440]
    if blur_px:
        padded_rows = np.pad(picture, ((0, 0), (blur_px // 2, blur_px // 2), (0, 0)), "edge")
        shifted = [padded_rows[:, i : i + picture.shape[1]] for i in range(blur_px)]
        picture = np.mean(shifted, axis=0)
    return np.floor(picture + 0.5)


def run(picture: np.ndarray, **options: object) -> tuple[np.ndarray, dict]:
    size = Size(picture.shape[1] * 2, picture.shape[0] * 2)
    result, report = run_pipeline(
        picture, RGB8, size, engine=FakeEngine(deblurrer=sharpened), **options
    )
    return result.astype(int), {**report.to_map(), "notes": report.notes}


def test_amount_0_is_off_bit_for_bit_and_others_are_shares(installed: NetworkSpec) -> None:
    picture = shapes(7)
    off, report = run(picture, deblur=0)
    assert report["deblur"] == 0
    assert report["seconds"].get("deblur") is None
    half, full = run(picture, deblur=50)[0], run(picture, deblur=100)[0]
    assert run(picture, deblur=100)[1]["deblur"] == 100
    steep = [np.abs(np.diff(result, axis=1)).max() for result in (off, half, full)]
    assert steep[0] < steep[1] < steep[2]


def test_the_print_s_tiles_do_not_show(installed: NetworkSpec) -> None:
    results = [run(shapes(5), deblur=100, tile_px=tile, repair=50)[0] for tile in (96, 200, 1024)]
    for result in results[:2]:
        assert np.abs(result - results[2]).max() <= 1


def test_auto_leaves_a_sharp_picture_alone_and_tells_of_the_blur_of_another(
    installed: NetworkSpec,
) -> None:
    _, sharp = run(shapes(), deblur=None)
    assert sharp["deblur"] == 0, sharp
    assert all(note.startswith("True detail") for note in sharp["notes"])
    _, blurred = run(shapes(9), deblur=None, ppi=100.0)
    assert blurred["deblur"] > 50
    assert 5 < blurred["blur_px"] < 13
    # Twice enlarged at 100 ppi: a pixel of the source is half a millimetre on the wall.
    wall_mm = blurred["blur_px"] * 2 * 25.4 / 100
    told = f"{wall_mm:.1f} mm on the wall, was found, and removed"
    assert told in blurred["notes"][0]


def test_hidden_colours_do_not_reach_the_visible_ones(installed: NetworkSpec) -> None:
    layout = PixelLayout("RGBA", "u8", "straight")
    results = []
    for hidden in (0, 255):
        picture = np.dstack([shapes(5), np.full((300, 440), 255)])
        picture[100:200, 150:300, 3] = 0
        picture[100:200, 150:300, :3] = hidden
        size = Size(440, 300)
        engine = FakeEngine(deblurrer=sharpened)
        results.append(run_pipeline(picture, layout, size, engine=engine, deblur=100)[0])
    visible = results[0][..., 3] > 0
    assert np.array_equal(results[0][visible], results[1][visible])


def test_cancel_is_seen_between_the_stages(installed: NetworkSpec) -> None:
    seen = []

    def slow(x: Tensor, _b2: Tensor, between: Callable[[], None], _head: str) -> Tensor:
        for stage in range(6):
            seen.append(stage)
            between()
        return x

    def answers() -> Iterator[bool]:
        yield from (False, False, True)

    answer = answers()
    with pytest.raises(Cancelled):
        run_pipeline(
            shapes(5), RGB8, Size(880, 600), engine=FakeEngine(deblurrer=slow), deblur=100,
            should_cancel=lambda: next(answer),
        )  # fmt: skip
    assert seen == [0, 1]


def test_a_draft_is_the_coarser_scales_answer(net: MSSNet, installed: NetworkSpec) -> None:
    heads = []

    def run_net(x: Tensor, b2: Tensor, between: Callable[[], None], head: str) -> Tensor:
        heads.append(head)
        return net(x, b2, between, head)

    for draft in (True, False):
        run_pipeline(
            shapes(5)[:100, :100], RGB8, Size(100, 100),
            engine=FakeEngine(deblurrer=run_net), deblur=100, draft=draft,
        )  # fmt: skip
    assert heads == ["res2_2", "res3_3"]
    x = torch.rand(1, 3, 64, 48)
    images = dict(zip(mssnet.HEADS, net.forward_all(x), strict=True))
    for head in ("res2_2", "res3_1", "res3_3"):
        assert torch.equal(net(x, head=head), images[head])
