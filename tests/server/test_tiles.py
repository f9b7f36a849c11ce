"""Tile geometry: every result pixel once, with its whole neighbourhood, and seamless joining."""

from __future__ import annotations

import random
from math import inf

import pytest
import torch

from wallprint_server.imaging.mosaic import Mosaic
from wallprint_server.imaging.tiles import Axis, cut_axis, order


def _random_axis(rng: random.Random) -> Axis:
    source = rng.randrange(1, 3000)
    window = rng.uniform(0.3, 1.0) * source
    offset = rng.uniform(0, source - window)
    out = max(1, round(window * rng.choice([0.1, 0.5, 1.0, 1.37, 2.0, 4.0, 11.3])))
    return Axis(source, offset, window, out)


def test_spans_cover_the_result_once_with_the_whole_reach() -> None:
    rng = random.Random(3)
    for _ in range(500):
        axis = _random_axis(rng)
        reach = rng.uniform(0, 60)
        blend = rng.choice([0, 0, 5, 16])
        tile_px, core_px = rng.randrange(16, 700), rng.choice([inf, rng.uniform(40, 300)])
        spans = cut_axis(axis, tile_px=tile_px, reach=reach, blend_px=blend, core_px=core_px)
        least = max(2.0, 8 * axis.step, (4 * blend + 4) * axis.step)
        longest = max(span.core[1] - span.core[0] for span in spans) * axis.step
        assert longest <= max(core_px, least) + axis.step
        border = reach + blend * axis.step + 1
        window = spans[0].source[1] - spans[0].source[0]
        assert window <= max(tile_px, 2 * border + least + 2)
        at = 0
        for i, span in enumerate(spans):
            assert span.core[0] == at
            at = span.core[1]
            assert span.core[1] > span.core[0]
            assert span.out[0] == span.core[0] - (blend if i else 0)
            assert span.out[1] == span.core[1] + (blend if i < len(spans) - 1 else 0)
            a, b = axis.support(*span.out, reach)
            assert span.source[0] <= a
            assert span.source[1] >= b
            assert span.source[0] >= 0
            assert span.source[1] <= axis.source_px
        assert at == axis.out_px
        assert len({span.source[1] - span.source[0] for span in spans}) == 1


@pytest.mark.parametrize("cell_px", [2, 16])
def test_windows_begin_at_cells_and_keep_the_whole_reach(cell_px: int) -> None:
    draw = random.Random(cell_px)
    for _ in range(200):
        source, out = draw.randint(100, 3000), draw.randint(50, 6000)
        offset = draw.uniform(0, source / 3)
        axis = Axis(source, offset, draw.uniform(30, source - offset), out)
        reach = draw.uniform(0, 60)
        spans = cut_axis(axis, tile_px=draw.randint(64, 400), reach=reach, cell_px=cell_px)
        assert len({stop - start for start, stop in (span.source for span in spans)}) == 1
        for span in spans:
            start, stop = span.source
            assert start % cell_px == 0
            assert start <= max(0, axis.at(span.out[0]) - reach)
            assert stop >= min(source, axis.at(span.out[1] - 1) + reach)
            assert stop <= source


def test_only_direct_neighbours_share_pixels() -> None:
    rng = random.Random(4)
    for _ in range(300):
        spans = cut_axis(_random_axis(rng), tile_px=64, reach=rng.uniform(0, 40), blend_px=8)
        for first, third in zip(spans, spans[2:]):  # noqa: B905
            assert first.out[1] <= third.out[0]


@pytest.mark.parametrize("blend", [0, 1, 4, 7])
def test_an_identity_is_bit_exact_for_every_size(blend: int) -> None:
    generator = torch.Generator().manual_seed(5)
    for size in range(1, 71):
        picture = torch.rand(1, 3, size, 71 - size + 1, generator=generator)
        height, width = picture.shape[-2:]
        columns = cut_axis(Axis(width, 0, width, width), tile_px=16, reach=2, blend_px=blend)
        rows = cut_axis(Axis(height, 0, height, height), tile_px=16, reach=2, blend_px=blend)
        joined = torch.full_like(picture, float("nan"))
        mosaic = Mosaic(columns, rows, blend)
        for row, column in order(columns, rows):
            (x0, x1), (y0, y1) = columns[column].out, rows[row].out
            x, y, part = mosaic.put(row, column, picture[..., y0:y1, x0:x1])
            joined[..., y : y + part.shape[2], x : x + part.shape[3]] = part
            if column == len(columns) - 1:
                assert not joined[..., : mosaic.rows_done(row), :].isnan().any()
        assert torch.equal(joined, picture)


def test_blending_turns_a_step_between_tiles_into_a_ramp() -> None:
    axis = Axis(200, 0, 200, 200)
    columns = cut_axis(axis, tile_px=130, reach=4, blend_px=16)
    rows = cut_axis(Axis(8, 0, 8, 8), tile_px=64, reach=0)
    assert len(columns) == 2
    mosaic = Mosaic(columns, rows, 16)
    joined = torch.zeros(200)
    for column in range(2):
        a, b = columns[column].out
        x, _, part = mosaic.put(0, column, torch.full((1, 1, 8, b - a), float(column)))
        joined[x : x + part.shape[3]] = part[0, 0, 0]
    steps = joined.diff()
    assert float(steps.max()) == pytest.approx(1 / 32, abs=1e-6)
    assert float(steps.min()) >= 0
