"""The rounding rule against exact fractions, the tables of the print literature, and geometry."""

from __future__ import annotations

import random
from fractions import Fraction
from math import floor

import pytest

from wallprint_protocol.print_size import (
    NM_PER_MM,
    PrintSizeError,
    Size,
    length_to_px,
    parse_print_size,
    place,
    ppi_to_milli,
)


def test_rounding_rule_equals_exact_fractions() -> None:
    rng = random.Random(1)
    for _ in range(10_000):
        length_nm = rng.randrange(1, 20_000 * NM_PER_MM)
        ppi_milli = rng.randrange(30_000, 1_200_001)
        exact = Fraction(length_nm, NM_PER_MM) * Fraction(ppi_milli, 1000) / Fraction(254, 10)
        assert length_to_px(length_nm, ppi_milli) == floor(exact + Fraction(1, 2))


@pytest.mark.parametrize(
    ("text", "ppi", "expected"),
    [
        ("A4", 150, (1240, 1754)),
        ("A3", 200, (2339, 3307)),
        ("A2", 300, (4961, 7016)),
        ("A0", 300, (9933, 14043)),
        ("30x40cm", 150, (1772, 2362)),
        ("70x100cm", 200, (5512, 7874)),
        ("100x150cm", 300, (11811, 17717)),
        ("8x10in", 150, (1200, 1500)),
        ("24x36in", 300, (7200, 10800)),
    ],
)
def test_standard_sizes(text: str, ppi: float, expected: tuple[int, int]) -> None:
    box = parse_print_size(text).box(Size(3000, 4000), ppi_to_milli(ppi))
    assert (box.width, box.height) == expected


def test_halves_round_up_where_krita_truncates() -> None:
    # 70 cm at 200 ppi is 5511.81 px; Krita's own dialog gives 5511.
    assert length_to_px(700 * NM_PER_MM, 200_000) == 5512
    # Exactly half a pixel: 0.127 mm at 100 ppi.
    assert length_to_px(127_000, 100_000) == 1


def test_presets_turn_with_the_picture_and_explicit_sizes_do_not() -> None:
    landscape = Size(4000, 3000)
    assert parse_print_size("A3").box(landscape, 200_000) == Size(3307, 2339)
    assert parse_print_size("24x36in").box(landscape, 200_000) == Size(7200, 4800)
    assert parse_print_size("70x100cm").box(landscape, 200_000) == Size(7874, 5512)
    assert parse_print_size("70x101cm").box(landscape, 200_000) == Size(5512, 7953)
    assert parse_print_size("100x70cm").box(Size(3000, 4000), 200_000) == Size(7874, 5512)


def test_one_length_is_the_long_side() -> None:
    print_size = parse_print_size("100cm")
    assert print_size.box(Size(4000, 3000), 200_000) == Size(7874, 5906)
    assert print_size.box(Size(3000, 4000), 200_000) == Size(5906, 7874)


def test_fit_keep_crop_pad() -> None:
    source, box = Size(4000, 3000), Size(7874, 5512)
    assert place(source, box, "keep").out == Size(7349, 5512)
    crop = place(source, box, "crop")
    assert crop.out == box
    assert crop.window.width == 4000
    assert crop.window.height == pytest.approx(4000 * 5512 / 7874)
    assert crop.window.y == pytest.approx((3000 - crop.window.height) / 2)
    pad = place(source, box, "pad")
    assert pad.out == box
    assert (pad.rect.x, pad.rect.width) == (262, 7349)


def test_proportions_are_kept_to_half_a_pixel() -> None:
    rng = random.Random(2)
    for _ in range(2000):
        source = Size(rng.randrange(1, 9000), rng.randrange(1, 9000))
        box = Size(rng.randrange(1, 20_000), rng.randrange(1, 20_000))
        out = place(source, box, "keep").out
        assert out.width == box.width or out.height == box.height
        assert out.width <= box.width
        assert out.height <= box.height
        k = min(Fraction(box.width, source.width), Fraction(box.height, source.height))
        assert abs(out.width - k * source.width) <= Fraction(1, 2) or out.width == 1
        assert abs(out.height - k * source.height) <= Fraction(1, 2) or out.height == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "100",
        "0cm",
        "0x10cm",
        "-3cm",
        "10x",
        "10furlong",
        "1/0cm",
        "3.5px",
        "axb",
        "999999999cm",
    ],
)
def test_bad_sizes_are_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(PrintSizeError) as error:
        parse_print_size(text)
    assert len(str(error.value)) > 20


@pytest.mark.parametrize("ppi", [0, -1, 29.9, 1200.1, 1e9, float("nan"), float("inf")])
def test_absurd_ppi_is_refused(ppi: float) -> None:
    with pytest.raises(PrintSizeError):
        ppi_to_milli(ppi)
