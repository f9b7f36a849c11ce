"""A print cut into panels that are hung side by side: which pixels, what overlap, which marks.

Every panel is a copy of a part of the finished print; neighbours share exactly the overlap. Crop
marks stand on white paper around a panel and never on a pixel of it. Knows nothing of files.
"""

from __future__ import annotations

from dataclasses import dataclass

from .print_size import (
    NM_PER_INCH,
    NM_PER_MM,
    PrintSizeError,
    Rect,
    Size,
    length_to_px,
    px_to_mm,
)
from .words import N_

MAX_PANELS = 100
MARK_MM = 5.0  # length of a crop mark
GAP_MM = 3.0  # between picture and mark where no bleed lies between them
LINE_PT = 0.25  # width of a crop mark
LABEL_MM = 2.5  # height of the letters beside the marks


@dataclass(frozen=True)
class Sheet:
    """One panel on its paper.

    Attributes:
        row: from the top, the first is 1.
        column: from the left, the first is 1.
        rect: the panel, px of the print.
        margin_px: white paper on each side for the marks, 0 without.
        gap_px: of it, nearest to the panel, between picture and marks.
        line_px: width of a mark, at least 1.
        x_marks: where marks point from above and below, px from the panel's left side.
        y_marks: where they point from the left and the right, px from the panel's top.
        label: what is written beside the marks, "" for a print in one piece.
        trim: what is left of the panel when its bleed is cut off, px of the panel.
    """

    row: int
    column: int
    rect: Rect
    margin_px: int = 0
    gap_px: int = 0
    line_px: int = 1
    x_marks: tuple[int, ...] = ()
    y_marks: tuple[int, ...] = ()
    label: str = ""
    trim: Rect = Rect(0, 0, 0, 0)  # noqa: RUF009 (frozen)

    @property
    def short_label(self) -> str:
        """The panel's number alone, where the label has no room."""
        return self.label.partition(",")[0]

    @property
    def size(self) -> Size:
        """The paper, px."""
        both = 2 * self.margin_px
        return Size(self.rect.width + both, self.rect.height + both)

    def lines(self) -> list[Rect]:
        """The marks, px of the paper; a line begins on the pixel that its mark points at."""
        margin, wide = self.margin_px, self.line_px
        long = margin - self.gap_px
        if long < 1:
            return []
        far_x, far_y = self.size.width - long, self.size.height - long
        half = wide // 2
        lines = []
        for at in self.x_marks:
            lines += [Rect(margin + at - half, y, wide, long) for y in (0, far_y)]
        for at in self.y_marks:
            lines += [Rect(x, margin + at - half, long, wide) for x in (0, far_x)]
        return lines

    def label_rect(self, letters_px: int) -> Rect | None:
        """Where the label may stand: above the panel, between its first two marks; or None."""
        long = self.margin_px - self.gap_px
        stops = sorted({0, *self.x_marks, self.rect.width})
        width, start = max((stops[i + 1] - stops[i], stops[i]) for i in range(len(stops) - 1))
        space = letters_px // 2 + self.line_px
        width -= 2 * space
        if not self.label or letters_px > long or width < letters_px:
            return None
        x = self.margin_px + start + space
        return Rect(x, (long - letters_px) // 2, width, letters_px)


@dataclass(frozen=True)
class Panels:
    """How a print is cut.

    Attributes:
        rows: on top of each other.
        columns: side by side.
        overlap_px: what neighbours share.
        margin_px: paper around each panel for crop marks, 0 without.
        gap_px: of it, between panel and marks.
    """

    rows: int = 1
    columns: int = 1
    overlap_px: int = 0
    margin_px: int = 0
    gap_px: int = 0

    def __len__(self) -> int:
        return self.rows * self.columns


def cut(total: int, count: int, overlap: int) -> list[tuple[int, int]]:
    """Start and stop of each of `count` panels that cover `total` px (print.md 3).

    The first starts at 0, the last stops at `total`, neighbours share exactly `overlap` px, and
    lengths differ by at most 1 px.
    """
    whole = total + (count - 1) * overlap
    return [
        (i * whole // count - i * overlap, (i + 1) * whole // count - i * overlap)
        for i in range(count)
    ]


def panels_needed(total: int, widest: int, overlap: int) -> int:
    """The fewest panels of at most `widest` px that cover `total` px; `widest` > `overlap`."""
    return max(1, -(-(total - overlap) // (widest - overlap)))


def choose_panels(
    out: Size,
    ppi_milli: int,
    *,
    rows: int = 1,
    columns: int = 1,
    sheet_width_mm: float = 0.0,
    overlap_mm: float = 0.0,
    crop_marks: bool = False,
    bleed: bool = False,
) -> Panels:
    """The panels that were asked for.

    Args:
        out: the print, edges included, px.
        ppi_milli: thousandths of a ppi.
        rows: of panels.
        columns: of panels; not looked at with a sheet width.
        sheet_width_mm: the widest that the printer takes, marks included; 0 for any.
        overlap_mm: what neighbours share.
        crop_marks: whether marks stand around each panel.
        bleed: whether the marks begin where the bleed ends.

    Raises:
        PrintSizeError: too many panels, or an overlap that leaves nothing of one.
    """
    if rows < 1 or columns < 1 or rows * columns > MAX_PANELS:
        raise PrintSizeError(
            "{rows} x {columns} panels are not between 1 and {most}; choose fewer.",
            rows=rows,
            columns=columns,
            most=MAX_PANELS,
        )
    overlap = _px(overlap_mm, ppi_milli)
    margin = gap = 0
    if crop_marks:
        gap = 0 if bleed else _px(GAP_MM, ppi_milli)
        margin = gap + _px(MARK_MM, ppi_milli)
    if sheet_width_mm:
        # Rounded down: a sheet half a pixel wider than the roll does not go through.
        widest = round(sheet_width_mm * NM_PER_MM) * ppi_milli // (1000 * NM_PER_INCH)
        widest -= 2 * margin
        if widest <= overlap and widest < out.width:
            ppi = ppi_milli / 1000
            raise PrintSizeError(
                "A sheet of {sheet:g} mm leaves {left:.1f} mm for the picture, no more than the "
                "overlap of {overlap:g} mm; choose a wider sheet or a narrower overlap.",
                sheet=sheet_width_mm,
                left=max(0.0, px_to_mm(widest, ppi)),
                overlap=overlap_mm,
            )
        columns = 1 if out.width <= widest else panels_needed(out.width, widest, overlap)
        if rows * columns > MAX_PANELS:
            raise PrintSizeError(
                "Sheets of {sheet:g} mm would make {count} panels; {most} are possible. "
                "Choose wider ones.",
                sheet=sheet_width_mm,
                count=rows * columns,
                most=MAX_PANELS,
            )
    too_narrow = (
        N_(
            "An overlap of {overlap:g} mm leaves nothing of panels that are {left:.1f} mm wide; "
            "choose a narrower overlap or fewer panels."
        ),
        N_(
            "An overlap of {overlap:g} mm leaves nothing of panels that are {left:.1f} mm high; "
            "choose a narrower overlap or fewer panels."
        ),
    )
    sides = ((out.width, columns), (out.height, rows))
    for (total, count), text in zip(sides, too_narrow):  # noqa: B905 (Python 3.9)
        narrowest = min(stop - start for start, stop in cut(total, count, overlap))
        shared = overlap * min(2, count - 1)
        if count > 1 and narrowest <= shared:
            raise PrintSizeError(
                text,
                overlap=overlap_mm,
                left=px_to_mm(max(narrowest, 0), ppi_milli / 1000),
            )
    return Panels(rows, columns, overlap if rows * columns > 1 else 0, margin, gap)


def cut_sheets(
    out: Size, trim: Rect, panels: Panels, ppi_milli: int, *, bleed: bool = False
) -> tuple[Sheet, ...]:
    """The panels of a print, row by row.

    Marks point at the trim's sides (with a gallery wrap: the folds) and at the seams, which are
    the middle of an overlap and the same place of the picture on both neighbours.

    Args:
        out: the print, edges included, px.
        trim: the print without its edges, px of `out`.
        panels: how it is cut.
        ppi_milli: thousandths of a ppi.
        bleed: whether what lies outside `trim` is cut off.
    """
    kept = trim if bleed else Rect(0, 0, out.width, out.height)
    x_cuts = cut(out.width, panels.columns, panels.overlap_px)
    y_cuts = cut(out.height, panels.rows, panels.overlap_px)
    line = max(1, _px(LINE_PT / 72 * 25.4, ppi_milli))
    x_targets = [trim.x, trim.x + trim.width, *_seams(x_cuts, panels.overlap_px)]
    y_targets = [trim.y, trim.y + trim.height, *_seams(y_cuts, panels.overlap_px)]
    sheets = []
    for row, (top, bottom) in enumerate(y_cuts, 1):
        for column, (left, right) in enumerate(x_cuts, 1):
            sheets.append(
                Sheet(
                    row,
                    column,
                    Rect(left, top, right - left, bottom - top),
                    panels.margin_px,
                    panels.gap_px,
                    line,
                    _within(x_targets, left, right),
                    _within(y_targets, top, bottom),
                    _label(panels, row, column, ppi_milli),
                    _overlap(kept, Rect(left, top, right - left, bottom - top)),
                )
            )
    return tuple(sheets)


def _seams(cuts: list[tuple[int, int]], overlap: int) -> list[int]:
    """Where neighbours meet: the middle of what they share."""
    return [start + overlap // 2 for start, _stop in cuts[1:]]


def _within(targets: list[int], start: int, stop: int) -> tuple[int, ...]:
    return tuple(sorted({at - start for at in targets if start <= at <= stop}))


def _overlap(part: Rect, panel: Rect) -> Rect:
    """What lies in both, px of the panel; nothing is 0 wide or high."""
    x, y = max(part.x, panel.x), max(part.y, panel.y)
    right = min(part.x + part.width, panel.x + panel.width)
    bottom = min(part.y + part.height, panel.y + panel.height)
    return Rect(x - panel.x, y - panel.y, max(0, right - x), max(0, bottom - y))


def _label(panels: Panels, row: int, column: int, ppi_milli: int) -> str:
    if len(panels) == 1:
        return ""
    number = (row - 1) * panels.columns + column
    overlap_mm = px_to_mm(panels.overlap_px, ppi_milli / 1000)
    return f"{number}/{len(panels)}, row {row}, column {column}, overlap {overlap_mm:.1f} mm"


def _px(length_mm: float, ppi_milli: int) -> int:
    return length_to_px(round(length_mm * NM_PER_MM), ppi_milli)
