"""One length asked for: the long side of the print is that length to the pixel."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wallprint_protocol.print_size import Rect, Size, length_to_px, parse_print_size, place

SIDES = st.integers(1, 30_000)


@given(SIDES, SIDES, st.integers(50, 4000), st.integers(30_000, 1_200_000))
def test_long_side_is_exact(width: int, height: int, length_mm: int, ppi_milli: int) -> None:
    source = Size(width, height)
    wanted = length_to_px(length_mm * 1_000_000, ppi_milli)
    if wanted * min(width, height) < max(width, height):
        return  # narrower than a pixel
    box = parse_print_size(f"{length_mm}mm").box(source, ppi_milli)
    placement = place(source, box)
    assert max(placement.out.width, placement.out.height) == wanted
    assert placement.rect == Rect(0, 0, box.width, box.height)


def test_the_case_that_came_out_a_pixel_short() -> None:
    """451 x 300 px to 40 cm at 200 ppi: 3149.6 px, but the short side rounds down."""
    source = Size(451, 300)
    assert place(source, parse_print_size("40cm").box(source, 200_000)).out == Size(3150, 2095)


@given(SIDES, SIDES, SIDES, SIDES)
def test_kept_pictures_never_pass_their_box(w: int, h: int, box_w: int, box_h: int) -> None:
    source, box = Size(w, h), Size(box_w, box_h)
    inner = place(source, box).out
    assert inner.width <= box_w
    assert inner.height <= box_h
    assert inner.width == box_w or inner.height == box_h
