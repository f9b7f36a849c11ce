"""The pipeline over whole pictures: tiling must not show, nothing may be invented or lost."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from wallprint_protocol.errors import Cancelled, WallprintError
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Placement, Rect, Size, Window, place
from wallprint_server.imaging.reach import FLAT_REACH_PX
from wallprint_server.pipeline.enlarge import anchored
from wallprint_testing.engines import FakeEngine, conv_network, run_pipeline

RGB8, RGB16 = PixelLayout("RGB", "u8"), PixelLayout("RGB", "u16")
RGBF = PixelLayout("RGB", "f32")


def photo(
    width: int = 300, height: int = 220, channels: int = 3, noise: float = 0.03
) -> np.ndarray:
    """A picture with edges, texture and gradients, (H, W, C) in [0, 1]."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:height, :width]
    base = 0.5 + 0.3 * np.sin(x / 9.0) * np.cos(y / 13.0) + 0.1 * ((x // 24 + y // 20) % 2)
    grain = rng.normal(0, noise, (height, width, channels))
    tint = np.linspace(-0.08, 0.08, channels)
    return np.clip(base[..., None] + tint + grain, 0, 1)


def u8(picture: np.ndarray) -> np.ndarray:
    return np.floor(picture * 255 + 0.5)


@pytest.mark.parametrize("out", [(600, 440), (411, 302), (1111, 815), (300, 220), (170, 125)])
@pytest.mark.parametrize("repair", [0, 60])
def test_the_tiling_does_not_show(out: tuple[int, int], repair: int) -> None:
    results = [
        run_pipeline(
            u8(photo()),
            RGB8,
            Size(*out),
            engine=FakeEngine(),
            tile_px=tile,
            repair=repair,
            sharpen="matte",
        )[0].astype(int)
        for tile in ((64 if out[0] < 500 else 128), 170, 4096)
    ]
    assert np.abs(results[0] - results[2]).max() <= 1
    assert np.abs(results[1] - results[2]).max() <= 1


def test_tiles_are_seamless_in_float_too() -> None:
    a, report = run_pipeline(photo(), RGBF, Size(600, 440), engine=FakeEngine(), tile_px=100)
    b, whole = run_pipeline(photo(), RGBF, Size(600, 440), engine=FakeEngine(), tile_px=4096)
    assert report.plan.tiles > 8
    assert whole.plan.tiles == 1
    assert np.abs(a - b).max() < 2e-5


def test_a_border_that_is_too_small_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison above can fail: with a border of nothing, tiles differ."""
    from wallprint_server.pipeline import plan

    monkeypatch.setattr(plan, "ANCHOR_REACH_PX", 0)
    spec = replace(plan.catalog.get("span-x2"), reach_px=0)
    monkeypatch.setattr(plan, "cheapest_ladder", lambda *_: (spec,))
    a, _ = run_pipeline(photo(), RGBF, Size(600, 440), engine=FakeEngine(), tile_px=64)
    b, _ = run_pipeline(photo(), RGBF, Size(600, 440), engine=FakeEngine(), tile_px=4096)
    assert np.abs(a - b).max() > 1e-3


def test_networks_that_reach_further_than_their_border_are_blended() -> None:
    picture = photo(400, 120)
    _, report = run_pipeline(
        picture, RGBF, Size(1600, 480), engine=FakeEngine(), tile_px=256, style="enhanced"
    )
    assert report.plan.blend_px > 0
    assert report.plan.tiles > 1


def test_one_window_shape_for_all_tiles() -> None:
    engine = FakeEngine()
    run_pipeline(photo(), RGB8, Size(600, 440), engine=engine, tile_px=96)
    assert len(set(engine.loaded["span-x2"].calls)) == 1


@pytest.mark.parametrize("value", [0, 1, 17, 128, 254, 255])
@pytest.mark.parametrize("model", ["RGB", "GRAY", "CMYK"])
def test_flat_stays_exactly_flat(value: int, model: str) -> None:
    layout = PixelLayout(model, "u8")
    flat = np.full((90, 130, layout.channels), value)
    if model == "CMYK":
        flat[..., 3] = 0
    for out in (Size(260, 180), Size(333, 231), Size(70, 48)):
        result, _ = run_pipeline(
            flat,
            layout,
            out,
            engine=FakeEngine(),
            sharpen="canvas",
            strength="high",
            tile_px=64,
            repair=100,
        )
        assert result.reshape(-1, layout.channels).std(0).max() == 0


def test_grey_stays_grey_and_the_mean_colour_stays() -> None:
    grey = np.repeat(photo(channels=1), 3, 2)
    result, _ = run_pipeline(u8(grey), RGB8, Size(600, 440), engine=FakeEngine(), sharpen="matte")
    assert (result.max(2).astype(int) - result.min(2)).max() <= 1


def test_a_repair_leaves_grey_grey_and_flat_flat() -> None:
    """Whatever the network does: here it has a colour cast and a pattern of its own."""

    def cast(x: Tensor) -> Tensor:
        return conv_network(1)(x) + torch.tensor([0.02, -0.01, 0.01]).view(1, 3, 1, 1)

    picture = np.repeat(photo(channels=1), 3, 2)
    picture[:, :200] = 0.4
    options = {"engine": FakeEngine(repair=cast), "repair": 100, "sharpen": "none"}
    result, _ = run_pipeline(picture, RGBF, Size(300, 220), **options)
    flat = result[:, : 200 - FLAT_REACH_PX]
    assert np.ptp(flat) == 0
    assert abs(flat[0, 0, 0] - 0.4) < 1e-6
    assert np.abs(result - picture)[:, 210:].max() > 1e-3
    assert (result.max(2) - result.min(2)).max() < 1e-6


@pytest.mark.parametrize("out", [(411, 302), (300, 220)])
def test_a_network_of_cells_meets_the_same_cells_in_every_tile(out: tuple[int, int]) -> None:
    """The repair works on 2 x 2 pixels at once: where they begin must not depend on the tile."""

    def cells(x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        even = torch.nn.functional.pad(x, (0, width % 2, 0, height % 2), mode="replicate")
        mean = torch.nn.functional.avg_pool2d(even, 2).repeat_interleave(2, 2)
        return mean.repeat_interleave(2, 3)[..., :height, :width]

    tiled, whole = (
        run_pipeline(
            photo(),
            RGBF,
            Size(*out),
            engine=FakeEngine(repair=cells),
            repair=100,
            sharpen="none",
            tile_px=tile_px,
        )
        for tile_px in (161, 4096)
    )
    assert len(tiled[1].plan.columns) > 1
    assert len(whole[1].plan.columns) == 1
    assert np.abs(tiled[0] - whole[0]).max() < 1e-5


def test_a_16_bit_ramp_keeps_its_levels_through_a_half_precision_network() -> None:
    def half(x: Tensor) -> Tensor:
        return conv_network(2)(x).half().float()

    ramp = np.broadcast_to(np.arange(32768).reshape(1, -1, 1) * 2, (24, 32768, 1))
    result, _ = run_pipeline(
        ramp,
        PixelLayout("GRAY", "u16"),
        Size(65536, 48),
        engine=FakeEngine(span_x2=half),
    )
    row = result[24, :, 0].astype(int)
    assert len(np.unique(row)) >= 60_000
    assert np.diff(row).min() >= 0


@pytest.mark.parametrize("out", [Size(300, 220), Size(600, 440), Size(500, 366)])
def test_linear_documents_match_perceptual_ones(out: Size) -> None:
    linear = PixelLayout("RGB", "f32", trc="linear")
    from wallprint_server.imaging.color import decode_srgb

    light = decode_srgb(torch.from_numpy(photo())).numpy()
    a, _ = run_pipeline(photo(), RGBF, out, engine=FakeEngine())
    b, _ = run_pipeline(light, linear, out, engine=FakeEngine())
    expected = decode_srgb(torch.from_numpy(a.copy())).numpy()
    assert np.abs(b - expected).max() < 1e-4


def test_values_beyond_white_survive() -> None:
    picture = photo()
    picture[60:120, 80:160] *= 6.0
    result, _ = run_pipeline(picture, RGBF, Size(600, 440), engine=FakeEngine())
    assert result.max() > 0.9 * picture.max()
    assert np.abs(result[400:, 500:].mean() - picture[200:, 250:].mean()) < 0.02


def _disc(size: int = 160, radius: int = 50) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.clip(radius - np.hypot(x, y) + 0.5, 0, 1)


@pytest.mark.parametrize("alpha", ["straight", "premul"])
def test_hidden_colours_make_no_fringe(alpha: str) -> None:
    a = _disc()
    picture = np.zeros((160, 160, 4))
    picture[..., :3] = np.where(a[..., None] > 0, 1.0, [1.0, 0.0, 0.0])  # white over hidden red
    picture[..., 3] = a
    if alpha == "premul":
        picture[..., :3] *= a[..., None]
    result, _ = run_pipeline(
        u8(picture),
        PixelLayout("RGBA", "u8", alpha),
        Size(400, 400),
        engine=FakeEngine(span_x4=lambda x: F.interpolate(x, scale_factor=4, mode="nearest")),
        sharpen="matte",
    )
    result = result.astype(float)
    visible = result[..., 3] > 32
    colours = result[..., :3]
    if alpha == "premul":
        colours = colours * 255 / np.maximum(result[..., 3:], 1)
    limit = 2 if alpha == "straight" else 9  # 8-bit premultiplied colours are that coarse
    assert (255 - colours[visible]).max() <= limit
    assert 0 < result[..., 3].mean() < 255


@pytest.mark.parametrize(
    "layout", [PixelLayout("RGBA", "u16", "straight"), PixelLayout("GRAYA", "f32", "straight")]
)
def test_an_opaque_layer_costs_and_gives_what_one_without_alpha_does(layout: PixelLayout) -> None:
    """Every layer of Krita's has an alpha channel; its border for hidden colours is not needed."""
    colours = layout.channels - 1
    picture = photo(700, 500, channels=colours)
    full = 65535 if layout.dtype == "u16" else 1.0
    picture = np.floor(picture * full) if layout.dtype == "u16" else picture
    plain = PixelLayout(layout.model[:-1], layout.dtype)
    options = {"engine": FakeEngine(), "tile_px": 256, "sharpen": "matte", "repair": 40}
    size = Size(1050, 750)
    wanted, without = run_pipeline(picture, plain, size, **options)
    solid = np.dstack([picture, np.full(picture.shape[:2], full)])
    result, report = run_pipeline(solid, layout, size, **options)
    assert report.plan.tiles == without.plan.tiles
    assert np.array_equal(result[..., :colours], wanted)
    assert (result[..., colours] == full).all()
    solid[0, 0, colours] = 0
    holed, report = run_pipeline(solid, layout, size, **options)
    assert report.plan.tiles > without.plan.tiles
    assert holed[0, 0, colours] < full


def test_alpha_is_enlarged_plainly() -> None:
    picture = np.concatenate([photo(160, 160), _disc()[..., None]], 2)
    result, _ = run_pipeline(
        picture, PixelLayout("RGBA", "f32", "straight"), Size(320, 320), engine=FakeEngine()
    )
    truth = _disc(320, 100)
    assert np.abs(result[..., 3] - truth).mean() < 0.004
    assert result[..., 3].min() >= 0
    assert result[..., 3].max() <= 1


@pytest.mark.parametrize("out", [Size(640, 480), Size(333, 251), Size(40, 30)])
def test_a_cut_out_has_no_ghost_of_its_outline(out: Size) -> None:
    picture = np.ones((120, 160, 2))
    picture[:, 80:, 1] = 0
    result, _ = run_pipeline(
        picture, PixelLayout("GRAYA", "f32", "straight"), out, engine=FakeEngine()
    )
    edge, near = out.width // 2, 2 * max(1, out.width // 160) + 1
    assert (result[:, : edge - near, 1] == 1).all()
    assert (result[:, edge + near :, 1] == 0).all()
    assert np.diff(result[out.height // 2, :, 1]).max() <= 0


def test_black_text_in_cmyk_stays_in_k() -> None:
    page = np.zeros((80, 120, 4))
    page[20:60:8, 10:110, 3] = 1.0
    result, _ = run_pipeline(
        u8(page), PixelLayout("CMYK", "u8"), Size(240, 160), engine=FakeEngine(), sharpen="matte"
    )
    assert result[..., :3].max() == 0
    assert result[..., 3].max() > 200


def test_total_ink_stays_within_the_neighbourhood() -> None:
    inks = np.clip(photo(channels=4), 0, 0.75)
    result, _ = run_pipeline(
        inks,
        PixelLayout("CMYK", "f32"),
        Size(600, 440),
        engine=FakeEngine(),
        sharpen="matte",
        strength="high",
    )
    limit = F.max_pool2d(torch.from_numpy(inks.sum(2))[None, None], 9, 1, 4)
    limit = F.interpolate(limit, scale_factor=2, mode="nearest")[0, 0].numpy()
    assert (result.sum(2) / limit).max() <= 1.011


@pytest.mark.parametrize("step", [8, 16])
def test_inks_keep_their_mean_in_a_reduction(step: int) -> None:
    """The limit must look at all pixels that a result pixel is made of."""
    cells = np.random.default_rng(5).integers(0, 2, (32, 32))
    page = np.zeros((256, 256, 4))
    page[..., 3] = np.kron(cells, np.ones((8, 8)))
    out = Size(256 // step, 256 // step)
    result, _ = run_pipeline(page, PixelLayout("CMYK", "f32"), out, engine=FakeEngine())
    assert result[..., 3].mean() == pytest.approx(page[..., 3].mean(), abs=0.005)


def test_only_the_selection_is_enhanced() -> None:
    mask = np.zeros((220, 300), np.uint8)
    mask[60:160, 80:220] = 255
    picture = u8(photo())
    plain, _ = run_pipeline(picture, RGB8, Size(600, 440), engine=FakeEngine(), mask=mask * 0)
    both, _ = run_pipeline(picture, RGB8, Size(600, 440), engine=FakeEngine(), mask=mask)
    full, _ = run_pipeline(picture, RGB8, Size(600, 440), engine=FakeEngine())
    assert np.array_equal(both[:100], plain[:100])
    assert np.array_equal(both[140:300, 180:420], full[140:300, 180:420])
    assert not np.array_equal(plain, full)


def test_outside_the_selection_nothing_changes_at_the_same_size() -> None:
    mask = np.zeros((220, 300), np.uint8)
    mask[60:160, 80:220] = 255
    picture = np.floor(photo() * 65535 + 0.5)
    result, _ = run_pipeline(
        picture,
        RGB16,
        Size(300, 220),
        engine=FakeEngine(),
        mask=mask,
        sharpen="matte",
        feather_mm=0.5,
        tile_px=128,
    )
    margin = int(4 * 0.5 / 25.4 * 200) + 2
    outside = np.ones((220, 300), bool)
    outside[60 - margin : 160 + margin, 80 - margin : 220 + margin] = False
    assert np.array_equal(result[outside], picture[outside].astype("<u2"))
    assert not np.array_equal(result[100:120, 120:180], picture[100:120, 120:180])


@pytest.mark.parametrize("feather_mm", [2.0, 7.0])
def test_a_feathered_selection_is_seamless_across_tiles(feather_mm: float) -> None:
    mask = np.zeros((220, 300), np.uint8)
    mask[60:160, 80:220] = 255
    kwargs = {"engine": FakeEngine(), "mask": mask, "sharpen": "matte", "feather_mm": feather_mm}
    a, _ = run_pipeline(photo(), RGBF, Size(600, 440), tile_px=64, **kwargs)
    b, _ = run_pipeline(photo(), RGBF, Size(600, 440), tile_px=4096, **kwargs)
    assert np.abs(a - b).max() < 2e-5


@pytest.mark.parametrize("sigma", [12.0, 50.0])
def test_a_feather_has_the_width_that_was_asked_for(sigma: float) -> None:
    """Also a wide one, which is computed on a coarser grid."""
    mask = np.zeros((40, 300), np.uint8)
    mask[:, 150:] = 255
    check = np.where(np.indices((40, 300)).sum(0) % 2, 1.0, -1.0)

    def more_contrast(x: Tensor) -> Tensor:
        return x + 2 * (x - 0.25)

    result, _ = run_pipeline(
        (0.25 + 0.02 * check)[..., None],
        PixelLayout("GRAY", "f32"),
        Size(300, 40),
        engine=FakeEngine(repair=more_contrast),
        mask=mask,
        repair=33,
        feather_mm=sigma / 200 * 25.4,
    )
    weight = ((result[..., 0] - 0.25) / (0.02 * check) - 1) / 2
    x = torch.arange(300, dtype=torch.float64) - 149.5
    expected = torch.special.ndtr(x / sigma).numpy()
    assert np.abs(weight[20] - expected)[50:250].max() < 0.006


def test_crop_and_pad_land_where_they_should() -> None:
    picture = u8(photo())
    full, _ = run_pipeline(picture, RGB8, Size(600, 440), engine=FakeEngine())
    box = Size(500, 440)
    crop, _ = run_pipeline(
        picture, RGB8, place(Size(300, 220), box, "crop"), engine=FakeEngine(), tile_px=100
    )
    assert np.abs(crop.astype(int) - full[:, 50:550]).max() <= 1
    pad, _ = run_pipeline(
        picture, RGB8, place(Size(300, 220), Size(700, 440), "pad"), engine=FakeEngine()
    )
    assert np.array_equal(pad[:, 50:650], full)
    assert (pad[:, :50] == 255).all()
    assert (pad[:, 650:] == 255).all()


def test_a_spot_equals_the_same_region_of_the_full_run() -> None:
    """What a preview or a proof shows is what the print will be."""
    picture = u8(photo())
    full, _ = run_pipeline(picture, RGB8, Size(600, 440), engine=FakeEngine())
    spot = Placement(Size(120, 80), Window(100.0, 60.0, 60.0, 40.0), Rect(0, 0, 120, 80))
    part, _ = run_pipeline(picture, RGB8, spot, engine=FakeEngine())
    assert np.abs(part.astype(int) - full[120:200, 200:320]).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3), (3, 2000), (17, 16)])
def test_any_size_works(size: tuple[int, int]) -> None:
    picture = u8(photo(*size))
    for factor in (0.5, 1, 2, 3.7):
        out = Size(max(1, round(size[0] * factor)), max(1, round(size[1] * factor)))
        result, _ = run_pipeline(picture, RGB8, out, engine=FakeEngine(), sharpen="matte")
        assert result.shape == (out.height, out.width, 3)
        assert abs(result.mean() - picture.mean()) < 12


def test_a_network_that_runs_away_at_one_spot_is_held() -> None:
    """Real weights do that on hard edges: a few pixels far outside of what the source shows."""

    def run(x: Tensor) -> Tensor:
        y = conv_network(2)(x)
        y[..., 200:203, 300:303] = 9.0
        return y

    picture = photo()
    result, _ = run_pipeline(picture, RGBF, Size(600, 440), engine=FakeEngine(span_x2=run))
    around = picture[97:106, 147:156]
    assert result[196:208, 296:308].max() <= around.max() + np.ptp(around, (0, 1)).max()


def test_a_network_that_runs_away_widely_is_replaced_by_the_plain_enlargement() -> None:
    def run(x: Tensor) -> Tensor:
        y = conv_network(2)(x)
        y[..., 100:200, 100:300] *= torch.where(torch.rand(100, 200) > 0.5, 900.0, -900.0)
        return y

    picture = photo()
    result, report = run_pipeline(picture, RGBF, Size(600, 440), engine=FakeEngine(span_x2=run))
    plain = (
        F.interpolate(
            torch.from_numpy(picture).permute(2, 0, 1)[None].float(),
            scale_factor=2,
            mode="bicubic",
            antialias=True,
        )[0]
        .permute(1, 2, 0)
        .numpy()
    )
    assert np.abs(result[70:230, 70:330] - plain[70:230, 70:330])[40:-40, 40:-40].max() < 0.02
    assert report.calmed == 1
    assert any("extreme" in note for note in report.notes)
    assert np.abs(result[110:190, 110:290] - plain[110:190, 110:290]).max() < 0.02


@pytest.mark.parametrize(("style", "kept"), [("faithful", False), ("enhanced", True), ("", True)])
def test_a_network_that_invents_may_contradict_the_source_more(style: str, kept: bool) -> None:
    """Real-ESRGAN is off by up to 0.36 on photographs; its detail around must not vanish there."""
    pattern = 0.1 * torch.tensor([[1.0, -1.0, 1.0, -1.0]]).repeat(4, 1)

    def run(x: Tensor) -> Tensor:
        y = F.interpolate(x, scale_factor=4, mode="bicubic", antialias=True)
        y = y + pattern.repeat(x.shape[2], x.shape[3])
        y[..., 80:84, 80:84] += 0.36
        return y

    x = torch.from_numpy(photo(40, 40)).permute(2, 0, 1)[None].float()
    spot = anchored(x, run, 4, style)[0].mean(0)[70:76, 70:90]
    assert (float(spot.diff(dim=1).abs().mean()) > 0.1) == kept


def test_hidden_colours_outside_the_selection_stay_at_the_same_size() -> None:
    picture = np.floor(np.concatenate([photo(), np.zeros((220, 300, 1))], 2) * 255)
    picture[50:100, 50:100, 3] = 255
    mask = np.zeros((220, 300), np.uint8)
    mask[60:80, 60:80] = 255
    layout = PixelLayout("RGBA", "u8", "straight")
    result, _ = run_pipeline(
        picture, layout, Size(300, 220), engine=FakeEngine(), mask=mask, sharpen="matte"
    )
    outside = mask == 0
    assert np.array_equal(result[outside], picture[outside].astype(np.uint8))


def _failing(kind: str, at: int) -> FakeEngine:
    """An engine whose x2 network fails at call `at` ("nan", "black" or "memory")."""
    good = conv_network(2)
    calls = [0]

    def run(x: Tensor) -> Tensor:
        calls[0] += 1
        if calls[0] == at:
            if kind == "memory":
                raise torch.OutOfMemoryError("planted")
            return torch.full_like(good(x), float("nan") if kind == "nan" else 0.0)
        return good(x)

    return FakeEngine(span_x2=run)


@pytest.mark.parametrize("kind", ["nan", "black"])
def test_a_broken_tile_is_computed_again_and_reported(kind: str) -> None:
    good, _ = run_pipeline(
        u8(photo()), RGB8, Size(600, 440), engine=FakeEngine(span_x2=conv_network(2)), tile_px=128
    )
    result, report = run_pipeline(
        u8(photo()), RGB8, Size(600, 440), engine=_failing(kind, 3), tile_px=128
    )
    assert np.array_equal(result, good)
    assert report.redone == 1
    assert any("again" in note for note in report.notes)


def test_a_network_that_stays_black_is_an_error() -> None:
    engine = FakeEngine(span_x2=lambda x: torch.zeros(1, 3, 2 * x.shape[2], 2 * x.shape[3]))
    with pytest.raises(WallprintError) as error:
        run_pipeline(u8(photo()), RGB8, Size(600, 440), engine=engine)
    assert error.value.code == "E_BACKEND"


def test_out_of_memory_halves_the_tile_and_changes_no_pixel() -> None:
    good, _ = run_pipeline(
        photo(), RGBF, Size(600, 440), engine=FakeEngine(span_x2=conv_network(2)), tile_px=160
    )
    result, report = run_pipeline(
        photo(), RGBF, Size(600, 440), engine=_failing("memory", 2), tile_px=160
    )
    assert np.abs(result - good).max() < 2e-5
    assert report.halved == 1


def test_pieces_of_a_tile_are_blended_as_tiles_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that answers every call differently must not leave a step between pieces."""
    calls = [0]
    plenty = (1 << 40, 1 << 40)  # or the plan cuts the tile
    monkeypatch.setattr("wallprint_server.pipeline.enhance.tile_budget", lambda request: plenty)
    pattern = torch.tensor([[1.0, -1.0, 1.0, -1.0]]).repeat(4, 1)  # nothing of it is slow

    def run(x: Tensor) -> Tensor:
        calls[0] += 1
        if calls[0] == 1:
            raise torch.OutOfMemoryError("planted")
        plain = F.interpolate(x, scale_factor=4, mode="bicubic", antialias=True)
        return plain + 0.05 * (calls[0] - 2) * pattern.repeat(x.shape[2], x.shape[3])

    picture = photo(200, 60)
    result, report = run_pipeline(
        picture,
        RGBF,
        Size(800, 240),
        engine=FakeEngine(realesrgan_x4plus=run),
        style="enhanced",
        tile_px=512,
    )
    assert (report.plan.tiles, report.halved, calls[0]) == (1, 1, 3)
    found = np.abs(np.diff(result.mean(2), axis=1)).mean(0)
    found = found[: found.size // 4 * 4].reshape(-1, 4).mean(1)
    # From nothing to 0.1 between neighbours, over 32 px; without blending it is one step.
    assert found[-1] - found[0] > 0.08
    assert np.diff(found).max() < 0.03


def test_memory_that_never_suffices_ends_with_its_code() -> None:
    def run(_: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("planted")

    with pytest.raises(WallprintError) as error:
        run_pipeline(u8(photo()), RGB8, Size(600, 440), engine=FakeEngine(span_x2=run))
    assert error.value.code == "E_OOM_GPU"


def test_cancel_is_seen_between_tiles() -> None:
    seen: list[int] = []

    def progress(phase: str, done: int, total: int, rows: int) -> None:
        seen.append(done)

    with pytest.raises(Cancelled):
        run_pipeline(
            u8(photo()),
            RGB8,
            Size(600, 440),
            engine=FakeEngine(),
            tile_px=96,
            on_progress=progress,
            should_cancel=lambda: bool(seen) and seen[-1] >= 3,
        )
    assert seen[-1] == 3


def test_rows_are_reported_when_they_are_final() -> None:
    rows: list[int] = []
    _, report = run_pipeline(
        u8(photo()),
        RGB8,
        Size(600, 440),
        engine=FakeEngine(),
        tile_px=96,
        on_progress=lambda phase, done, total, final: rows.append(final),
    )
    assert rows == sorted(rows)
    assert rows[-1] == 440
    assert len(set(rows)) > 2
    assert report.to_map()["tiles"] == len(rows) - 1


def _jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(picture.astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def _auto(picture: np.ndarray, layout: PixelLayout = RGB8) -> int:
    size = Size(picture.shape[1], picture.shape[0])
    _, report = run_pipeline(picture, layout, size, engine=FakeEngine(), repair=None)
    return report.repair_amount


def test_automatic_repair_follows_the_jpeg_quality() -> None:
    picture = u8(photo(512, 384, noise=0.013))
    amounts = [_auto(_jpeg(picture, quality)) for quality in (90, 70, 50, 30, 10)]
    assert amounts == sorted(amounts)
    assert amounts[0] < 30
    assert amounts[-1] >= 85
    y, x = np.mgrid[:384, :512]
    waves = 128 + 60 * np.sin(x / 9.0) * np.cos(y / 13.0)
    assert _auto(u8(np.repeat(waves[..., None], 3, 2) / 255)) == 0


def test_enlarging_a_jpeg_begins_with_the_network_for_jpegs() -> None:
    """A mild one goes without a repair, a strong one with it; a clean picture as ever."""
    ladders, repairs, notes = [], [], []
    clean = u8(photo(256, 192, noise=0.01))
    for picture in (clean, _jpeg(clean, 90), _jpeg(clean, 20)):
        _, report = run_pipeline(picture, RGB8, Size(512, 384), engine=FakeEngine(), repair=None)
        ladders.append(report.to_map()["ladder"])
        repairs.append(report.repair_amount)
        notes.append(" ".join(report.notes))
    assert ladders == [["span-x2"], ["span-robust-x2"], ["span-robust-x2"]]
    assert repairs[:2] == [0, 0]
    assert repairs[2] > 50
    assert "JPEG" not in notes[0]
    assert "by a network that knows them" in notes[1]
    assert "removed" in notes[2]


def test_a_cropped_jpeg_is_recognised_by_its_shifted_grid() -> None:
    cropped = _jpeg(u8(photo(512, 384)), 30)[5:, 3:]
    assert _auto(cropped) > 50


def test_a_drawn_grid_and_hidden_colours_are_no_jpeg() -> None:
    y, x = np.mgrid[:256, :256]
    check = np.where((x // 8 + y // 8) % 2, 255.0, 0.0)
    assert _auto(np.repeat(check[..., None], 3, 2)) == 0
    hidden = np.zeros((256, 256, 4))
    hidden[..., :3] = 30 * check[..., None] / 255
    assert _auto(hidden, PixelLayout("RGBA", "u8", "straight")) == 0
