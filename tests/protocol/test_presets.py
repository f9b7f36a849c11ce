"""Named sizes, the user's own, orientation, anchors, lengths, eyes."""

from __future__ import annotations

import json
from random import Random

import pytest

from wallprint_protocol import presets
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_plan import Settings, layer_job, make_plan
from wallprint_protocol.print_size import (
    ANCHORS,
    SHARP_EYE,
    PrintSizeError,
    Rect,
    Size,
    parse_anchor,
    parse_length_mm,
    parse_print_size,
    place,
    ppi_needed,
)
from wallprint_protocol.request import Request

ACROSS, UPRIGHT = Size(4000, 3000), Size(3000, 4000)


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """Writes the user's own sizes."""
    monkeypatch.setenv("WALLPRINT_CONFIG_DIR", str(tmp_path))

    def write(text):
        (tmp_path / presets.FILE).write_text(text if isinstance(text, str) else json.dumps(text))

    return write


def test_iso_sizes_follow_from_each_other():
    """ISO 216: each size is the one before, folded and rounded down, to within a millimetre."""
    for series in "AB":
        for number in range(10):
            long_mm, short_mm = (
                presets.ISO_MM[f"{series}{number}"][1],
                presets.ISO_MM[f"{series}{number}"][0],
            )
            assert presets.ISO_MM[f"{series}{number + 1}"] == (long_mm // 2, short_mm)


@pytest.mark.parametrize("name", presets.built_in())
def test_every_preset_turns_with_the_picture(name):
    across = parse_print_size(name).box(ACROSS, 200_000)
    assert across.width > across.height
    upright = parse_print_size(name).box(UPRIGHT, 200_000)
    assert (upright.width, upright.height) == (across.height, across.width)


def test_own_sizes(own):
    own({"Living room": "60x90.5cm", "Long": "2m"})
    assert parse_print_size("living ROOM").box(ACROSS, 254_000) == Size(9050, 6000)
    assert parse_print_size("Long").box(ACROSS, 254_000).width == 20_000
    plan = make_plan(UPRIGHT, Settings(preset="Living room", fit="crop", ppi=254))
    assert plan.out == Size(6000, 9050)
    with pytest.raises(PrintSizeError, match="Living room"):
        parse_print_size("Dining room")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", ["cannot be read", "presets.json", "Living room"]),
        ('["A4"]', ["must hold", "presets.json"]),
        ({"Wall": 3}, ["must hold"]),
        ({"": "3cm"}, ["must hold"]),
        ({"a3": "3cm"}, ["paper size a3", "rename"]),
        ({"Wall": "large"}, ["'Wall'", "'large'", "60x90cm"]),
        ({"Wall": "3ft"}, ["unknown unit"]),
    ],
)
def test_own_sizes_that_are_none_are_told(own, text, words):
    own(text)
    with pytest.raises(PrintSizeError) as error:
        parse_print_size("Wall")
    for word in words:
        assert word in str(error.value)
    assert parse_print_size("A4").free_orientation, "the others still work"


def test_orientation():
    for preset in ("A3", "40x30cm", "30x40cm"):
        for picture in (ACROSS, UPRIGHT):
            portrait = make_plan(
                picture, Settings(preset=preset, fit="crop", orientation="portrait")
            )
            assert portrait.out.height > portrait.out.width
            landscape = make_plan(
                picture, Settings(preset=preset, fit="crop", orientation="landscape")
            )
            assert landscape.out.height < landscape.out.width
    typed = make_plan(UPRIGHT, Settings(width=100.0, height=70.0, fit="crop"))
    assert typed.out == Size(7874, 5512)
    turned = Settings(width=100.0, height=70.0, fit="crop", orientation="portrait")
    assert make_plan(UPRIGHT, turned).out == Size(5512, 7874)
    for settings in (Settings(preset="100cm"), Settings(width=30.0), Settings()):
        with pytest.raises(PrintSizeError, match="one length"):
            make_plan(ACROSS, Settings(**{**vars(settings), "orientation": "portrait"}))
    with pytest.raises(PrintSizeError, match="portrait, landscape"):
        make_plan(ACROSS, Settings(orientation="upside-down"))


@pytest.mark.parametrize("anchor", ANCHORS)
def test_anchor_says_what_crop_keeps_and_where_pad_puts_it(anchor):
    across, down = ANCHORS[anchor]
    box = Size(2000, 2000)
    crop = place(ACROSS, box, "crop", anchor=anchor).window
    assert (crop.x, crop.y, crop.width, crop.height) == (1000 * across, 0, 3000, 3000)
    crop = place(UPRIGHT, box, "crop", anchor=anchor).window
    assert (crop.x, crop.y) == (0, 1000 * down)
    pad = place(ACROSS, Size(2001, 2002), "pad", anchor=anchor)
    assert pad.rect == Rect(0, int(501 * down), 2001, 1501)
    assert place(ACROSS, box, "keep", anchor=anchor).out == Size(2000, 1500)


def test_anchor_in_per_cent():
    assert parse_anchor("30,50") == parse_anchor("30%, 50%") == (0.3, 0.5)
    assert place(ACROSS, Size(10, 10), "crop", anchor="30,50").window.x == pytest.approx(300)
    for text in ("middle", "30", "30,101", "-1,5", "nan,3", "1e1,3"):
        with pytest.raises(PrintSizeError, match="top-left"):
            parse_anchor(text)


def test_bleed_of_an_anchored_crop_is_picture_where_there_is_any():
    settings = Settings(
        preset="30x30cm", fit="crop", anchor="left", edges="bleed", edge_mm=3.0, ppi=254
    )
    plan = make_plan(ACROSS, settings)
    placement = layer_job(plan, Rect(0, 0, 4000, 3000)).placement
    assert placement.mirror == (30, 30, 0, 30)
    assert placement.window.x == 0


def test_every_anchored_crop_with_edges_is_a_request():
    """The far side of a crop's window is a sum of floats; it must not fall outside the picture."""
    rng = Random(7)
    for _ in range(2000):
        picture = Size(rng.randrange(300, 9000), rng.randrange(300, 9000))
        settings = Settings(
            width=rng.randrange(200, 900), height=rng.randrange(200, 900), unit="mm", fit="crop",
            anchor=rng.choice([*ANCHORS, "33.3,66.7"]), edges=rng.choice(("bleed", "wrap")),
            edge_mm=rng.choice((3.0, 12.7, 40.0)),
        )  # fmt: skip
        plan = make_plan(picture, settings)
        placement = layer_job(plan, Rect(0, 0, picture.width, picture.height)).placement
        assert placement.out == plan.out
        layout = PixelLayout("RGB", "u8")
        Request.build(picture, layout, placement, **settings.job_options(plan))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3", 3.0), ("3mm", 3.0), ("1.5cm", 15.0), ("1,5 cm", 15.0), ("1/64in", 25.4 / 64), ("0", 0)],
)
def test_lengths(text, expected):
    assert parse_length_mm(text) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("text", ["", "wide", "-3mm", "3px", "3ft", "1/0mm", "nan", "200m"])
def test_bad_lengths_are_refused_with_a_sentence(text):
    with pytest.raises(PrintSizeError, match=r"The bleed .* is not a length"):
        parse_length_mm(text, "bleed")


def test_both_eyes():
    """print.md 1.3: at 100 cm 87 ppi suffice, 146 for 20/12; 200 ppi hold to 44 cm."""
    assert round(ppi_needed(1000)) == 87
    assert round(ppi_needed(1000, SHARP_EYE)) == 146
    plan = make_plan(ACROSS, Settings())
    assert plan.needed_ppi_sharp == pytest.approx(1.67 * plan.needed_ppi)
    assert (round(plan.holds_to_mm), round(plan.holds_to_mm_sharp)) == (437, 729)


@pytest.mark.parametrize(
    ("name", "d_cm", "ppi_at_d"),
    [
        ("A4", 55, 160), ("A3", 77, 113), ("A2", 109, 80), ("A1", 154, 57), ("A0", 218, 40),
        ("30x40cm", 75, 116), ("50x70cm", 129, 68), ("70x100cm", 183, 48), ("100x150cm", 270, 32),
        ("8x10in", 49, 179), ("11x14in", 68, 129), ("16x20in", 98, 90), ("18x24in", 114, 76),
        ("20x30in", 137, 64), ("24x36in", 165, 53),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ppi", [150, 200, 300])
def test_table_of_standard_sizes(name, d_cm, ppi_at_d, ppi):
    """print.md 1.2: distance, what the eye needs from there, and millimetres within 0.1."""
    plan = make_plan(UPRIGHT, Settings(preset=name, fit="crop", ppi=ppi))
    assert round(plan.distance_mm / 10) == d_cm
    assert plan.needed_ppi == pytest.approx(ppi_at_d, abs=0.6)  # 16x20in is 89.48, not 90
    wanted = parse_print_size(name)
    assert abs(plan.width_mm - wanted.width / 1e6) <= 0.1
    assert abs(plan.height_mm - wanted.height / 1e6) <= 0.1
