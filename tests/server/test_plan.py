"""Plans: which networks, how far they reach, how large a tile may be."""

from __future__ import annotations

import subprocess
import sys

import pytest

from wallprint_protocol.errors import BadInput
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Size, parse_print_size, place
from wallprint_protocol.request import Request
from wallprint_server.models import catalog
from wallprint_server.pipeline.plan import (
    cheapest_ladder,
    make_plan,
)

GIB = 1 << 30


def _request(source: Size, out: Size, **options: object) -> Request:
    return Request.build(source, PixelLayout("RGB", "u8"), place(source, out), **options)


@pytest.mark.parametrize(
    ("scale", "names"),
    [
        (0.3, []),
        (1.0, []),
        (1.003, []),
        (1.1, ["span-x2"]),
        (1.97, ["span-x2"]),
        (2.0, ["span-x2"]),
        (2.5, ["span-x4"]),
        (4.0, ["span-x4"]),
        (4.1, ["span-x2", "span-x4"]),
        (8.0, ["span-x2", "span-x4"]),
        (9.0, ["span-x4", "span-x4"]),
        (33.0, ["span-x4", "span-x4", "span-x4"]),
        (64.0, ["span-x4", "span-x4", "span-x4"]),
    ],
)
def test_the_ladder_is_the_cheapest_that_reaches_the_target(scale: float, names: list[str]) -> None:
    ladder = cheapest_ladder(scale, catalog.enlargers("faithful"))
    product = 1
    for spec in ladder:
        product *= spec.scale
    assert product * 1.005 >= scale
    if names != ["span-x4", "span-x4", "span-x4"]:
        assert [spec.name for spec in ladder] == names


def test_enhanced_uses_its_own_networks_only() -> None:
    request = _request(Size(400, 300), Size(800, 600), style="enhanced")
    plan = make_plan(request, repair_amount=0, memory_bytes=GIB)
    assert [spec.style for spec in plan.ladder] == ["enhanced"]


def test_compressed_pictures_meet_a_robust_network_first() -> None:
    """The second network sees its answer, which is clean."""
    request = _request(Size(400, 300), Size(3200, 2400))
    plain = make_plan(request, repair_amount=80, memory_bytes=GIB)
    assert [spec.name for spec in plain.ladder] == ["span-x2", "span-x4"]
    plan = make_plan(request, repair_amount=80, memory_bytes=GIB, compressed=True)
    assert [spec.name for spec in plan.ladder] == ["span-robust-x2", "span-x4"]
    assert plan.repair is not None


def test_mildly_compressed_pictures_need_no_repair_before_a_robust_network() -> None:
    request = _request(Size(400, 300), Size(800, 600))
    plan = make_plan(request, repair_amount=20, memory_bytes=GIB, compressed=True)
    assert plan.repair is None
    same_size = _request(Size(400, 300), Size(400, 300))
    plan = make_plan(same_size, repair_amount=20, memory_bytes=GIB, compressed=True)
    assert plan.repair is not None  # nothing else would remove the blocks


@pytest.mark.parametrize("options", [{"model": "span-x4"}, {"style": "enhanced"}])
def test_what_the_user_chose_is_not_exchanged(options: dict[str, str]) -> None:
    request = _request(Size(400, 300), Size(1600, 1200), **options)
    clean, compressed = (
        make_plan(request, repair_amount=20, memory_bytes=GIB, compressed=found)
        for found in (False, True)
    )
    assert clean.ladder == compressed.ladder
    assert clean.repair == compressed.repair


def test_a_model_that_does_not_enlarge_is_refused() -> None:
    request = _request(Size(400, 300), Size(800, 600), model="waifu2x-photo-denoise1")
    with pytest.raises(BadInput, match="does not enlarge"):
        make_plan(request, repair_amount=0, memory_bytes=GIB)
    request = _request(Size(400, 300), Size(800, 600), model="no-such-network")
    with pytest.raises(BadInput):
        make_plan(request, repair_amount=0, memory_bytes=GIB)


@pytest.mark.parametrize("scale", [0.2, 1.0, 1.97, 3.3, 8.0, 40.0])
@pytest.mark.parametrize("style", ["faithful", "enhanced"])
def test_tiles_fit_the_memory(scale: float, style: str) -> None:
    source = Size(4000, 3000)
    request = _request(source, Size(round(4000 * scale), round(3000 * scale)), style=style)
    plan = make_plan(request, repair_amount=80, memory_bytes=GIB)
    # RRDBNet cannot do without its border of 64 px, whatever memory there is.
    least = 3.6 if scale > 16 else 1.6
    assert plan.tile_bytes < (least if style == "enhanced" else 1.1) * GIB
    width, height = plan.window_px
    # Never mostly border: at least a sixth of a window is its own.
    assert min(width, height) > 2 * plan.reach_px + 4


@pytest.mark.parametrize("source", [Size(160, 120), Size(320, 240), Size(60, 4000)])
@pytest.mark.parametrize("scale", [8.0, 20.0, 40.0])
def test_a_small_picture_enlarged_a_lot_fits_the_memory(source: Size, scale: float) -> None:
    """At the picture's border a window discards nothing: its length does not limit the result."""
    request = _request(source, Size(round(source.width * scale), round(source.height * scale)))
    plan = make_plan(request, repair_amount=0, memory_bytes=GIB)
    longest = [
        max(b - a for a, b in (s.core for s in spans)) for spans in (plan.columns, plan.rows)
    ]
    pixels_in = longest[0] * longest[1] / scale**2 * (plan.scale / plan.ladder[-1].scale) ** 2
    assert pixels_in * plan.ladder[-1].bytes_per_px < GIB
    assert plan.tile_bytes < 1.1 * GIB


@pytest.mark.parametrize("tile_px", [256, 1024, 4096])
@pytest.mark.parametrize("style", ["faithful", "enhanced"])
def test_large_tiles_that_the_user_wants_fit_the_memory_too(tile_px: int, style: str) -> None:
    source = Size(6000, 4000)
    request = _request(source, Size(24_000, 16_000), style=style, tile_px=tile_px)
    plan = make_plan(request, repair_amount=0, memory_bytes=GIB, most_bytes=3 * GIB)
    assert plan.tile_bytes < 3.1 * GIB
    if tile_px > 256:
        longest = max(plan.window_px)
        assert plan.notes == (
            f"Tiles of {tile_px} px do not fit into the memory; they have {longest} px.",
        )
        assert longest < tile_px
        assert plan.tile_bytes > 2 * GIB  # no smaller than they need be
    small = make_plan(request, repair_amount=0, memory_bytes=GIB)
    assert small.tile_bytes < (1.6 if style == "enhanced" else 1.1) * GIB


@pytest.mark.parametrize("tile_px", [64, 70])
@pytest.mark.parametrize("sharpen", ["none", "matte"])
def test_small_tiles_are_raised_until_they_are_more_than_border(tile_px: int, sharpen: str) -> None:
    """24 megapixels in tiles of 64 px were two and a half million tiles of 8 px."""
    request = _request(
        Size(6000, 4000), Size(24_000, 16_000), tile_px=tile_px, sharpen=sharpen, repair=100
    )
    plan = make_plan(request, repair_amount=100, memory_bytes=GIB)
    window = max(plan.window_px)
    assert window > 2 * plan.reach_px + 30
    assert plan.tiles < 6000 * 4000 / 30**2
    (note,) = plan.notes
    assert note.startswith(f"Tiles of {tile_px} px would be mostly border here (")
    assert note.endswith(f"they have {window} px.")
    fitting = _request(Size(6000, 4000), Size(24_000, 16_000), tile_px=300, sharpen=sharpen)
    assert make_plan(fitting, repair_amount=100, memory_bytes=GIB).notes == ()


def test_a_tile_that_would_be_mostly_border_takes_the_memory_there_is() -> None:
    """Without it RRDBNet's tiles of 164 px had 17 px of their own: ninety times the work."""
    request = _request(Size(6000, 4000), Size(24_000, 16_000), style="enhanced")
    usual = make_plan(request, repair_amount=0, memory_bytes=GIB)
    roomy = make_plan(request, repair_amount=0, memory_bytes=GIB, most_bytes=3 * GIB)
    assert GIB < roomy.tile_bytes < 3 * GIB
    work = [plan.tiles * plan.window_px[0] * plan.window_px[1] for plan in (usual, roomy)]
    assert work[1] < work[0] / 5
    faithful = _request(Size(6000, 4000), Size(24_000, 16_000))
    plans = [
        make_plan(faithful, repair_amount=0, memory_bytes=GIB, most_bytes=most * GIB)
        for most in (0, 3)
    ]
    assert plans[0] == plans[1]  # whose border is small anyway


def test_a_smaller_print_than_the_source_needs_no_network() -> None:
    request = _request(Size(4000, 3000), Size(2000, 1500))
    plan = make_plan(request, repair_amount=0, memory_bytes=GIB)
    assert plan.ladder == ()


def test_the_sharpening_follows_print_size_and_ppi() -> None:
    small = parse_print_size("20cm")
    source = Size(3000, 2000)
    near = make_plan(
        _request(source, small.box(source, 300_000), ppi=300.0), repair_amount=0, memory_bytes=GIB
    )
    large = parse_print_size("150cm")
    far = make_plan(
        _request(source, large.box(source, 300_000), ppi=300.0), repair_amount=0, memory_bytes=GIB
    )
    assert near.sharpening is not None
    assert far.sharpening is not None
    assert near.sharpening.halo_px == pytest.approx(3.0, abs=0.4)  # 1/100 in
    assert far.sharpening.halo_px == pytest.approx(6.0, abs=0.01)  # 1/50 in
    assert far.reach_px > near.reach_px / 4


def test_planning_needs_no_torch() -> None:
    code = "import sys, wallprint_server.pipeline.plan; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
