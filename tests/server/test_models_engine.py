"""The engine: a fast path is used only while it is right."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wallprint_protocol.errors import BadInput, ServerTrouble
from wallprint_server.models import catalog, engine, networks, paths
from wallprint_server.models.engine import Engine, Network
from wallprint_server.models.networks.rrdb import Rrdb
from wallprint_server.models.paths import Candidate
from wallprint_testing.data import eval_data
from wallprint_testing.networks import by_formula, picture

CPU = torch.device("cpu")


class Small(nn.Module):
    """A network of reach 1 and scale 2, fast enough for any size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), 2)


SMALL = dataclasses.replace(catalog.get("span-x2"), name="small", reach_px=1)


def small(*candidates: Candidate, **changes: object) -> tuple[Network, nn.Module]:
    module = by_formula(Small())
    spec = dataclasses.replace(SMALL, **changes)
    return Network(spec, module, CPU, 1, iter(candidates)), module


def candidate(name: str, run: Callable[[Tensor], Tensor], tolerance: float = 1e-3) -> Candidate:
    return Candidate(name, tolerance, lambda: run)


def test_a_wrong_path_is_dropped_with_a_reason(caplog: pytest.LogCaptureFixture) -> None:
    module = by_formula(Small())
    net, _ = small(
        candidate("wrong", lambda x: module(x) + 0.01),
        candidate("not finite", lambda x: module(x) * float("nan")),
        candidate("another size", lambda x: module(x)[..., 1:]),
        candidate("right", lambda x: module(x) + 1e-5),
    )
    x = picture(20, 30).float()
    with caplog.at_level(logging.WARNING):
        y = net(x)
    assert net.path == "right"
    torch.testing.assert_close(y, module(x) + 1e-5, rtol=0, atol=1e-6)
    assert [record.args[1] for record in caplog.records] == ["wrong", "not finite", "another size"]
    assert all("(at most 1.0e-03 is allowed)" in message for message in caplog.messages)


def test_a_path_that_cannot_be_built_is_passed_over() -> None:
    def build() -> Callable[[Tensor], Tensor]:
        raise OSError("libgomp.so.1: cannot open shared object file")

    net, module = small(Candidate("broken", 1e-3, build))
    x = picture(8, 8).float()
    torch.testing.assert_close(net(x), module(x), rtol=0, atol=0)
    assert net.path == "eager"


def test_a_path_wrong_only_on_large_tiles_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """One that the small check pictures cannot unmask; the first large result is right already."""
    module = by_formula(Small())

    def run(x: Tensor) -> Tensor:
        return module(x) + (0.01 if x.shape[-1] > 150 else 0.0)

    net, _ = small(candidate("wrong when large", run))
    assert torch.equal(net(picture(60, 60).float()), module(picture(60, 60).float()))
    assert net.path == "wrong when large"
    x = picture(160, 160).float()
    with caplog.at_level(logging.WARNING):
        y = net(x)
    assert torch.equal(y, module(x))
    assert net.path == "eager"
    assert "160 x 160 px" in caplog.text


def test_the_real_size_is_checked_once() -> None:
    module, calls = by_formula(Small()), []

    class Counting(Small):
        def forward(self, x: Tensor) -> Tensor:
            calls.append(tuple(x.shape[-2:]))
            return super().forward(x)

    counting = Counting()
    counting.load_state_dict(module.state_dict())
    net = Network(SMALL, counting, CPU, 1, iter([candidate("fast", module)]))
    for _ in range(3):
        net(picture(128, 128).float())
    assert calls == [engine.CHECK_SIZE] * 2 + [(2 + engine.SPOT_PX,) * 2]


def test_paths_are_not_judged_where_the_network_runs_away() -> None:
    """Rounding of a runaway network differs between right paths as well."""
    module = by_formula(Small())

    def run(x: Tensor) -> Tensor:
        y = module(x)
        return y * (1 + 0.01 * (y.abs() > 4))

    net, _ = small(candidate("right", run))
    y = net(picture(128, 128).float() * 100)
    assert y.abs().max() > 4
    assert net.path == "right"


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 4), (8, 8), (13, 5)])
def test_any_size_is_padded_to_the_multiple_and_cropped(size: tuple[int, int]) -> None:
    seen: list[tuple[int, int]] = []
    module = by_formula(Small())

    def run(x: Tensor) -> Tensor:
        seen.append(tuple(x.shape[-2:]))
        return module(x)

    net, _ = small(candidate("fast", run), multiple=8)
    y = net(picture(*size).float())
    assert y.shape == (1, 3, 2 * size[0], 2 * size[1])
    assert y.is_contiguous()
    assert all(side % 8 == 0 for shape in seen for side in shape)
    inner = module(picture(*size).float())[..., :-2, :-2]  # the last ones see the padding
    torch.testing.assert_close(y[..., :-2, :-2], inner, rtol=0, atol=1e-6)


def test_memory_that_runs_out_is_always_the_same_exception() -> None:
    class Hungry(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.empty(1 << 50) + x if x.shape[-1] > 50 else x

    spec = dataclasses.replace(SMALL, scale=1)
    net = Network(spec, Hungry(), CPU, 1, iter(()))
    with pytest.raises(torch.OutOfMemoryError):
        net(torch.rand(1, 3, 60, 60))
    with pytest.raises(torch.OutOfMemoryError):
        net.eager(torch.rand(1, 3, 60, 60))


@pytest.mark.parametrize("name", ["span-x2", "waifu2x-photo-denoise0"])
def test_every_cpu_path_equals_plain_torch(name: str) -> None:
    spec = catalog.get(name)
    module = by_formula(networks.build(spec), gain=0.7)
    found = list(paths.candidates(spec, module, CPU, 1))
    assert found[-1].name == "channels_last"
    with torch.inference_mode():
        for path in found:
            run = path.build()
            for size in ((1, 1), (5, 3), (48, 61), (1, 2)):
                x = picture(*size).float()
                expected = module(x)
                error = (run(x) - expected).abs().max() / expected.abs().max().clamp(min=1)
                assert error < 1e-5, (path.name, size)


def test_ncnn_computes_the_whole_of_rrdbnet() -> None:
    pytest.importorskip("ncnn")
    spec = catalog.get("realesrgan-x4plus")
    module = by_formula(Rrdb(blocks=2, width=16, growth=8), gain=0.7)
    x = picture(12, 17).float()
    with torch.inference_mode():
        y = paths.NcnnPath(spec, module, 1)(x)
        torch.testing.assert_close(y, module(x), rtol=1e-4, atol=1e-4)


def test_networks_stay_loaded_until_released() -> None:
    mine = Engine("cpu")
    assert mine.device == CPU
    net = mine.network("waifu2x-photo-denoise1")
    assert mine.network("waifu2x-photo-denoise1") is net
    assert len(bytes.fromhex(net.sha256)) == 32
    x = picture(16, 16).float()
    torch.testing.assert_close(net(x), net.eager(x), rtol=0, atol=1e-4)
    mine.release()
    assert mine.network("waifu2x-photo-denoise1") is not net
    assert "CPU" in mine.describe()


def test_of_a_network_with_a_strength_the_one_that_is_asked_for_is_given() -> None:
    mine, x = Engine("cpu"), picture(16, 16).float()
    weak, strong = (mine.network("repair", strength)(x) for strength in (0.2, 0.9))
    assert float((weak - strong).abs().max()) > 1e-3
    assert torch.equal(mine.network("repair", 0.2)(x), weak)
    assert mine.network("repair", 0.2) is mine.network("repair", 0.2)


@pytest.mark.parametrize("device", ["cuda", "mps", "tpu"])
def test_a_device_that_is_not_there(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert Engine("auto").device == CPU
    with pytest.raises(BadInput, match=device) as caught:
        Engine(device)
    assert (caught.value.code, caught.value.exit_code) == ("E_DEVICE", 2)


@pytest.fixture
def faithful() -> Iterator[Callable[[str], Network]]:
    """Published SPAN weights, where they can be had."""
    mine = Engine("cpu")

    def network(name: str) -> Network:
        try:
            return mine.network(name)
        except ServerTrouble as error:
            pytest.skip(str(error))

    yield network
    mine.release()


def luma(x: Tensor) -> Tensor:
    """BT.601 studio luma of the 8-bit picture, as the super-resolution papers use it."""
    x = (x.clamp(0, 1) * 255).round()
    return (65.481 * x[:, 0] + 128.553 * x[:, 1] + 24.966 * x[:, 2]) / 255 + 16


@pytest.mark.data
@pytest.mark.parametrize(("scale", "psnr_db"), [(4, 32.20), (2, 38.01)])
def test_set5(scale: int, psnr_db: float, faithful: Callable[[str], Network]) -> None:
    """Published 32.20 dB at x4; x2 gives 0.06 dB away for hard edges (see the catalogue)."""
    import numpy as np
    from PIL import Image

    def read(name: str) -> Tensor:
        with Image.open(eval_data("sr_x4", "Set5", name)) as image:
            pixels = np.array(image.convert("RGB"))
        return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255

    net = faithful(f"span-x{scale}")
    total = 0.0
    for i in range(1, 6):
        y = luma(net(read(f"{i:03}_LRx{scale}.png")))[..., scale:-scale, scale:-scale]
        truth = luma(read(f"{i:03}_HR.webp"))[..., scale:-scale, scale:-scale]
        total += float(10 * torch.log10(255**2 / ((y - truth) ** 2).mean())) / 5
    assert total == pytest.approx(psnr_db, abs=0.02)


@pytest.mark.parametrize("name", ["span-x2"])
def test_hard_edges_do_not_run_away(faithful: Callable[[str], Network], name: str) -> None:
    """Black on white and opposite colours; the published x2 weights gave -36 to +41 here."""
    rows, columns = torch.arange(96).view(-1, 1), torch.arange(96)
    stripes = ((rows * 3 + columns * 5) // 160 % 2).float()
    halves = (columns >= 48).float().expand(96, 96)
    for planes in ([stripes] * 3, [halves, 1 - halves, 1 - halves]):
        y = faithful(name)(torch.stack(planes)[None].contiguous())
        assert y.min() > -1
        assert y.max() < 2
