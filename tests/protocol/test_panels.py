"""Panels: the formula by brute force, what cannot be cut, where the marks point."""

from __future__ import annotations

from random import Random

import pytest

from wallprint_protocol.panels import Panels, choose_panels, cut, cut_sheets, panels_needed
from wallprint_protocol.print_plan import Settings, make_plan
from wallprint_protocol.print_size import PrintSizeError, Rect, Size, px_to_mm

PHOTO = Size(6000, 4000)
TENTH_MM = 0.1 + 1e-9  # half a pixel of 127 ppi is exactly a tenth


def test_cuts_by_brute_force():
    """print.md 3: exact overlaps, whole coverage, lengths within a pixel, none too wide."""
    rng = Random(4)
    for _ in range(5000):
        total, overlap = rng.randrange(2, 30_000), rng.randrange(0, 400)
        widest = overlap + rng.randrange(1, 12_000)
        count = panels_needed(total, widest, overlap)
        cuts = cut(total, count, overlap)
        widths = [stop - start for start, stop in cuts]
        assert (cuts[0][0], cuts[-1][1]) == (0, total)
        assert max(widths) <= widest
        assert max(widths) - min(widths) <= 1
        assert all(cuts[i][1] - cuts[i + 1][0] == overlap for i in range(count - 1))
        assert sum(widths) - (count - 1) * overlap == total
        if count > 1:
            fewer = cut(total, count - 1, overlap)
            assert max(stop - start for start, stop in fewer) > widest, "one panel too many"


def test_rows_and_columns_cover_every_pixel():
    out, panels = Size(31, 23), Panels(rows=2, columns=3, overlap_px=3)
    seen = [[0] * out.width for _ in range(out.height)]
    for sheet in cut_sheets(out, Rect(0, 0, 31, 23), panels, 200_000):
        for y in range(sheet.rect.y, sheet.rect.y + sheet.rect.height):
            for x in range(sheet.rect.x, sheet.rect.x + sheet.rect.width):
                seen[y][x] += 1
    assert min(map(min, seen)) == 1
    assert sum(map(sum, seen)) == (31 + 2 * 3) * (23 + 3)


@pytest.mark.parametrize("ppi", [127, 150, 200, 300, 360.5])
def test_lengths_are_right_to_a_tenth_of_a_millimetre(ppi):
    """From 127 ppi up half a pixel is less (print.md 3)."""
    rng = Random(5)
    for _ in range(200):
        width, height = round(rng.uniform(200, 2000), 1), round(rng.uniform(200, 2000), 1)
        edge, overlap = round(rng.uniform(1, 60), 1), round(rng.uniform(5, 40), 1)
        settings = Settings(
            preset=f"{width}x{height}mm", fit="crop", ppi=ppi, edges=rng.choice(("bleed", "wrap")),
            edge_mm=edge, panel_columns=3, overlap_mm=overlap, crop_marks=True,
        )  # fmt: skip
        plan = make_plan(PHOTO, settings)
        assert abs(plan.width_mm - width) <= TENTH_MM
        assert abs(plan.height_mm - height) <= TENTH_MM
        assert abs(px_to_mm(plan.edge_px, ppi) - edge) <= TENTH_MM
        first, second, third = plan.sheets
        for left, right in ((first, second), (second, third)):
            shared = left.rect.x + left.rect.width - right.rect.x
            assert abs(px_to_mm(shared, ppi) - overlap) <= TENTH_MM
        rects = [sheet.rect for sheet in plan.sheets]
        assert sum(rect.width for rect in rects) - 2 * shared == plan.out.width
        assert max(rect.width for rect in rects) - min(rect.width for rect in rects) <= 1


def test_a_sheet_goes_through_the_printer_marks_included():
    rng = Random(6)
    for _ in range(300):
        sheet_mm, overlap_mm = round(rng.uniform(200, 1200), 1), round(rng.uniform(0, 40), 1)
        marks = rng.random() < 0.5
        settings = Settings(
            preset="300x200cm", fit="crop", ppi=rng.choice((100, 150, 200)),
            edges=rng.choice(("none", "bleed", "wrap")), edge_mm=5.0,
            sheet_width_mm=sheet_mm, overlap_mm=overlap_mm, crop_marks=marks,
        )  # fmt: skip
        plan = make_plan(PHOTO, settings)
        for sheet in plan.sheets:
            assert px_to_mm(sheet.size.width, plan.ppi) <= sheet_mm
        assert (plan.sheets[0].margin_px > 0) == marks
        assert plan.panels.rows == 1


def test_a_print_narrower_than_the_sheet_stays_in_one_piece():
    plan = make_plan(PHOTO, Settings(preset="A3", sheet_width_mm=610.0, overlap_mm=500.0))
    assert len(plan.sheets) == 1
    assert plan.sheets[0].rect.size == plan.out
    assert (plan.sheets[0].label, plan.panels.overlap_px) == ("", 0)


def test_marks_point_at_trim_and_seams_and_touch_no_picture():
    settings = Settings(
        preset="90x60cm", fit="crop", edges="bleed", edge_mm=3.0, panel_rows=2, panel_columns=3,
        overlap_mm=20.0, crop_marks=True,
    )  # fmt: skip
    plan = make_plan(PHOTO, settings)
    assert plan.edge_px == 24
    assert plan.panels.overlap_px == 157
    seams: dict[int, set[int]] = {}
    for sheet in plan.sheets:
        assert sheet.margin_px == 39, "5 mm at 200 ppi: the bleed is the gap"
        rect, m = sheet.rect, sheet.margin_px
        points = {rect.x + at for at in sheet.x_marks}
        if sheet.column == 1:
            assert plan.trim.x in points
        if sheet.column == 3:
            assert plan.trim.x + plan.trim.width in points
        for at in points - {plan.trim.x, plan.trim.x + plan.trim.width}:
            seams.setdefault(at, set()).add(sheet.column)
        for line in sheet.lines():
            outside_x = line.x + line.width <= m or line.x >= m + rect.width
            outside_y = line.y + line.height <= m or line.y >= m + rect.height
            assert outside_x or outside_y, "a mark on the picture"
            assert min(line.x, line.y) >= 0
            assert line.x + line.width <= sheet.size.width
            assert line.y + line.height <= sheet.size.height
        label = sheet.label_rect(20)
        assert label is not None
        assert label.y + label.height <= m
        assert all(
            line.x + line.width <= label.x or line.x >= label.x + label.width
            for line in sheet.lines()
            if line.height > line.width and line.y == 0
        )
    # Both neighbours are marked at the same place of the picture.
    assert sorted(map(sorted, seams.values())) == [[1, 2], [2, 3]]
    for at, (left, right) in ((at, sorted(columns)) for at, columns in seams.items()):
        first, second = plan.sheets[left - 1].rect, plan.sheets[right - 1].rect
        assert at == (second.x + first.x + first.width) // 2, "the middle of the overlap"
    assert plan.sheets[4].label == "5/6, row 2, column 2, overlap 19.9 mm"


def test_a_print_without_bleed_has_a_gap_before_its_marks():
    plan = make_plan(PHOTO, Settings(preset="A3", fit="crop", crop_marks=True))
    (sheet,) = plan.sheets
    assert (sheet.gap_px, sheet.margin_px) == (24, 24 + 39)
    assert sheet.x_marks == (0, plan.out.width)
    for line in sheet.lines():
        long = max(line.width, line.height)
        assert long == 39
        assert line.x + line.width <= 39 or line.x >= sheet.size.width - 39 or line.height == long
    assert make_plan(PHOTO, Settings(preset="A3")).sheets[0].lines() == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"columns": 0}, ["0 panels", "between 1 and 100"]),
        ({"columns": 51, "rows": 2}, ["2 x 51", "100"]),
        ({"columns": 2, "overlap_mm": 200.0}, ["200 mm", "wide", "narrower overlap"]),
        ({"columns": 3, "overlap_mm": 40.0}, ["leaves nothing"]),
        ({"rows": 2, "overlap_mm": 80.0}, ["high"]),
        ({"sheet_width_mm": 30.0, "overlap_mm": 30.0}, ["A sheet of 30 mm", "wider sheet"]),
        ({"sheet_width_mm": 15.0, "crop_marks": True}, ["leaves 0.0 mm", "wider sheet"]),
        ({"sheet_width_mm": 0.5}, ["would make", "100 are possible"]),
    ],
)
def test_what_cannot_be_cut_is_refused_with_a_sentence(options, words):
    """The print is 100 x 80 mm."""
    with pytest.raises(PrintSizeError) as error:
        choose_panels(Size(787, 630), 200_000, **options)
    for word in words:
        assert word in str(error.value)
