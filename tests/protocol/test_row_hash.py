"""The hash of a picture that passes by in strips is that of its rows, however they come."""

from __future__ import annotations

import hashlib

import pytest

from wallprint_protocol.print_size import Rect
from wallprint_protocol.row_hash import RowHash

WIDTH, HEIGHT, PIXEL = 7, 20, 3
ROW = WIDTH * PIXEL
DATA = bytes(i * 37 % 251 for i in range(ROW * HEIGHT))
WHOLE = hashlib.sha256(DATA).hexdigest()


def strip(y: int, height: int) -> tuple[Rect, memoryview]:
    return Rect(0, y, WIDTH, height), memoryview(DATA)[y * ROW : (y + height) * ROW]


@pytest.mark.parametrize(
    "cuts", [[(0, 20)], [(0, 1), (1, 18), (19, 1)], [(y, 1) for y in range(20)]]
)
def test_strips_of_any_height(cuts: list[tuple[int, int]]) -> None:
    rows = RowHash(ROW)
    for y, height in cuts:
        rows.take(*strip(y, height))
    assert rows.hexdigest() == WHOLE


def test_a_repeated_job_counts_once() -> None:
    """From the beginning again, in strips of another height, before it was through."""
    rows = RowHash(ROW)
    for y, height in [(0, 6), (6, 6), (6, 6), (0, 8), (8, 8), (16, 4)]:
        rows.take(*strip(y, height))
    assert rows.hexdigest() == WHOLE


def test_a_gap_is_no_hash() -> None:
    rows = RowHash(ROW)
    rows.take(*strip(0, 4))
    with pytest.raises(ValueError, match="row 4 was expected"):
        rows.take(*strip(5, 4))


def test_on_the_way_in_and_out() -> None:
    source, result, written = RowHash(ROW), RowHash(ROW), bytearray()
    read = source.reading(lambda rect: strip(rect.y, rect.height)[1])
    write = result.writing(lambda _rect, pixels: written.extend(pixels))
    for y in range(0, HEIGHT, 4):
        rect = Rect(0, y, WIDTH, 4)
        write(rect, memoryview(read(rect)))
    assert bytes(written) == DATA
    assert source.hexdigest() == result.hexdigest() == WHOLE
