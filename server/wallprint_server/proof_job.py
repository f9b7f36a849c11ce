"""A proof: crops of a print at their true size on one sheet, before the whole is computed.

Each crop is a job of its own, a cut-out of the very print that `enhance` would make: same plan,
same tiles, same bytes. Knows nothing of command-line arguments.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

from wallprint_protocol import client
from wallprint_protocol.detail_budget import DetailBudget
from wallprint_protocol.errors import BadInput
from wallprint_protocol.file_formats import check_output
from wallprint_protocol.job_run import Progress
from wallprint_protocol.print_plan import Plan, Settings, part_of
from wallprint_protocol.print_size import Placement, Rect, Size, px_to_mm
from wallprint_protocol.request import STRENGTHS, Request

from .imaging.files_in import Source, open_selection, open_source
from .imaging.files_out import PrintFile
from .imaging.luma import colour_levels, luma_reader
from .imaging.spooled import Spooled
from .pipeline.detail import measure_detail
from .print_job import PrintOptions, plan_print, refuse_overwriting
from .proof_sheet import Sheet, SheetPixels, lay_out
from .proof_spots import KINDS, ProofSpot, block_maps, choose_spots

COLUMNS = 2  # of a proof in one strength


@dataclass(frozen=True)
class ProofCrop:
    """One crop on the sheet.

    Attributes:
        spot: what it shows.
        rect: of the print, px.
        at: left upper corner on the sheet, px, one for each strength.
    """

    spot: ProofSpot
    rect: Rect
    at: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Proof:
    """A proof that was made.

    Attributes:
        output: the file.
        also: further files with the same sheet.
        sheet: its layout.
        strengths: of the output sharpening, from left to right; one without `strengths`.
        crops: on the sheet.
        budget: the picture's detail on the print.
        device: where it was computed.
        seconds: from opening the picture to the finished file.
        notes: sentences for the user.
    """

    output: Path
    also: tuple[Path, ...]
    sheet: Sheet
    strengths: tuple[str, ...]
    crops: tuple[ProofCrop, ...]
    budget: DetailBudget
    device: str
    seconds: float
    notes: tuple[str, ...]

    def to_map(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "output": str(self.output),
            "also": [str(name) for name in self.also],
            "width": self.sheet.size.width,
            "height": self.sheet.size.height,
            "ppi": self.sheet.ppi_milli / 1000,
            "strengths": list(self.strengths),
            "crops": [
                {
                    "kind": crop.spot.kind,
                    "rect": [crop.rect.x, crop.rect.y, crop.rect.width, crop.rect.height],
                    "at": [list(at) for at in crop.at],
                }
                for crop in self.crops
            ],
            "detail": self.budget.to_map(),
            "device": self.device,
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
        }

    def sentence(self) -> str:
        """For people."""
        count = len(self.crops) * len(self.strengths)
        return f"{self.output}: {count} crops at true size, {self.seconds:.0f} s on {self.device}"


def make_proof(
    picture: Path,
    options: PrintOptions,
    output: Path,
    connect: Callable[[], client.Connection],
    *,
    paper: str = "a4",
    all_strengths: bool = False,
    also: Sequence[Path] = (),
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_cancel: Callable[[], bool] = lambda: False,
) -> Proof:
    """Make one proof; nothing is written unless everything goes well.

    Args:
        picture: path of the picture.
        options: of the print that the proof is of; bleed, wrap and panels do not show on it.
        output: path of the proof; its suffix chooses the format.
        connect: a connection; asked when all that can be checked without a server is in order.
        paper: a key of `proof_sheet.PAPERS_MM`.
        all_strengths: each crop in every strength of the output sharpening, side by side.
        also: further files with the same sheet, in other formats.
        on_progress: told where the work is.
        should_cancel: looked at all the time.

    Raises:
        WallprintError: it could not be made.
    """
    began_s = time.monotonic()
    settings = replace(
        options.settings,
        edges="none",
        panel_rows=1,
        panel_columns=1,
        sheet_width_mm=0.0,
        crop_marks=False,
    )
    strengths = STRENGTHS if all_strengths else (settings.strength,)
    if all_strengths and settings.sharpen == "none":
        raise BadInput("--strengths compares output sharpening, and --sharpen none has none.")
    with open_source(picture) as source:
        plan, placement = plan_print(source.size, settings)
        columns, rows = (len(strengths), len(KINDS)) if all_strengths else (COLUMNS, 2)
        sheet = lay_out(paper, round(plan.ppi * 1000), columns, rows)
        mask_file = [options.selection] if options.selection else []
        for name in (output, *also):
            check_output(name, sheet.size, source.layout)
            refuse_overwriting(name, [picture, *mask_file])
        mask = open_selection(options.selection, source.size) if options.selection else None
        on_progress(Progress("read", 0, 0))
        try:
            with (
                Spooled(source, should_cancel=should_cancel) as pixels,
                ExitStack() as open_files,
            ):
                metadata = replace(source.metadata, exif={}, xmp=b"", iptc=b"")
                files = [
                    open_files.enter_context(
                        PrintFile(
                            name,
                            sheet.size,
                            source.layout,
                            ppi_milli=sheet.ppi_milli,
                            metadata=metadata,
                        )
                    )
                    for name in (output, *also)
                ]
                budget = _budget(source, pixels, placement, plan)
                spots = _spots(source, pixels, placement, sheet)
                run = _Run(source, pixels, mask, placement, plan, settings, connect())
                run.hooks(on_progress, should_cancel, len(spots) * len(strengths))
                canvas = SheetPixels(sheet, source.layout)
                crops, report = _fill(canvas, run, spots, strengths)
                canvas.header(*_header(picture, source, plan, placement, settings, budget, report))
                for rect, data in canvas.strips():
                    for file in files:
                        file.write(rect, data)
                for file in files:
                    file.commit(
                        on_progress=lambda part: on_progress(
                            Progress("save", int(part * 100), 100)
                        ),
                        should_cancel=should_cancel,
                    )
        finally:
            if mask is not None:
                mask.close()
    return Proof(
        output=output,
        also=tuple(also),
        sheet=sheet,
        strengths=tuple(strengths),
        crops=tuple(crops),
        budget=budget,
        device=str(report.get("device", "")),
        seconds=time.monotonic() - began_s,
        notes=(*source.notes, budget.sentence(), *(note for file in files for note in file.notes)),
    )


def _budget(source: Source, pixels: Spooled, placement: Placement, plan: Plan) -> DetailBudget:
    luma = luma_reader(pixels.raster.read, source.layout)
    detail = measure_detail(source.size, luma, placement.window)
    return detail.budget(placement.window, placement.rect.size, plan.ppi)


def _spots(
    source: Source, pixels: Spooled, placement: Placement, sheet: Sheet
) -> list[tuple[ProofSpot, Rect]]:
    """What to show, and which pixels of the print that is."""
    window, printed = placement.window, placement.rect
    x, y = ceil(window.x), ceil(window.y)
    right, below = int(window.x + window.width), int(window.y + window.height)
    part = Rect(x, y, max(1, right - x), max(1, below - y))
    layout = source.layout
    maps = block_maps(part, lambda rect: colour_levels(pixels.raster.read(rect), rect.size, layout))
    scales = printed.width / window.width, printed.height / window.height
    crop = Size(min(sheet.crop.width, printed.width), min(sheet.crop.height, printed.height))
    wanted = Size(max(1, round(crop.width / scales[0])), max(1, round(crop.height / scales[1])))
    found = []
    for spot in choose_spots(part, maps, wanted):
        left = round((spot.rect.x - window.x) * scales[0])
        top = round((spot.rect.y - window.y) * scales[1])
        left = min(max(0, left), printed.width - crop.width)
        top = min(max(0, top), printed.height - crop.height)
        found.append((spot, Rect(printed.x + left, printed.y + top, crop.width, crop.height)))
    return found


class _Run:
    """The jobs of a proof: one picture, one connection."""

    def __init__(
        self,
        source: Source,
        pixels: Spooled,
        mask: Source | None,
        placement: Placement,
        plan: Plan,
        settings: Settings,
        connection: client.Connection,
    ) -> None:
        self._source, self._pixels, self._mask = source, pixels, mask
        self._placement, self._plan, self._settings = placement, plan, settings
        self._connection = connection
        self._on_progress: Callable[[Progress], None] = lambda progress: None
        self._should_cancel: Callable[[], bool] = lambda: False
        self._done, self._jobs = 0, 1

    def hooks(
        self,
        on_progress: Callable[[Progress], None],
        should_cancel: Callable[[], bool],
        jobs: int,
    ) -> None:
        """Who is told and asked, and how many jobs there will be."""
        self._on_progress, self._should_cancel, self._jobs = on_progress, should_cancel, jobs

    def crop(self, rect: Rect, strength: str) -> tuple[bytes, dict[str, Any]]:
        """Pixels of a part of the print, rows joined, and the server's report."""
        settings = replace(self._settings, strength=strength)
        try:
            request = Request.build(
                self._source.size,
                self._source.layout,
                part_of(self._placement, rect),
                selection=self._mask.layout if self._mask else None,
                **settings.job_options(self._plan),
            )
        except ValueError as error:
            raise BadInput(str(error).removeprefix("params: ")) from None
        parts: list[bytes] = []
        result = client.enhance(
            request,
            self._pixels.raster.read,
            lambda part, data: parts.append(bytes(data)),
            read_selection=self._mask.read if self._mask else None,
            on_progress=self._tell,
            should_cancel=self._should_cancel,
            connection=self._connection,
        )
        self._done += 1
        return b"".join(parts), result.report

    def _tell(self, progress: Progress) -> None:
        """Which crop is made, of how many."""
        queue_pos, responding = progress.queue_pos, progress.responding
        self._on_progress(Progress("crop", self._done + 1, self._jobs, None, queue_pos, responding))


def _fill(
    canvas: SheetPixels,
    run: _Run,
    spots: Sequence[tuple[ProofSpot, Rect]],
    strengths: Sequence[str],
) -> tuple[list[ProofCrop], dict[str, Any]]:
    """Compute and paste every crop; the crops, and the report of the first job."""
    sheet, crops = canvas.sheet, []
    first: dict[str, Any] = {}
    for number, (spot, rect) in enumerate(spots):
        at = []
        for column, strength in enumerate(strengths):
            cell = (number, column) if len(strengths) > 1 else divmod(number, COLUMNS)
            data, report = run.crop(rect, strength)
            first = first or report
            x, y = sheet.place(*cell)
            canvas.paste(x, y, rect.size, data)
            canvas.label(*cell, _label(number, spot, rect, strength, report, sheet))
            at.append((x, y))
        crops.append(ProofCrop(spot, rect, tuple(at)))
    return crops, first


def _label(
    number: int, spot: ProofSpot, rect: Rect, strength: str, report: dict[str, Any], sheet: Sheet
) -> list[str]:
    ppi = sheet.ppi_milli / 1000
    name = f"{number + 1} {spot.name}"
    how = report.get("sharpening")
    if how:
        name += f", {strength}: {100 * how['amount']:.0f} %, halo {how['halo_px']:.1f} px"
    x, y = (px_to_mm(px, ppi) for px in (rect.x, rect.y))
    return [
        name,
        f"{x:.0f} mm from left, {y:.0f} mm from top "
        f"(px {rect.x}, {rect.y}; {rect.width} x {rect.height})",
    ]


def _header(
    picture: Path,
    source: Source,
    plan: Plan,
    placement: Placement,
    settings: Settings,
    budget: DetailBudget,
    report: dict[str, Any],
) -> tuple[str, list[str]]:
    """Title and lines."""
    size = source.size
    networks = ", ".join(report.get("ladder", [])) or "none"
    sharpening = settings.sharpen
    if report.get("sharpening"):
        sharpening += f", {settings.strength}"
    return f"wallprint proof: {picture.name}", [
        f"Picture {size.width} x {size.height} px; print {plan.width_mm / 10:.1f} x "
        f"{plan.height_mm / 10:.1f} cm, {plan.trim.width} x {plan.trim.height} px at "
        f"{plan.ppi:g} ppi, {placement.scale:.2f} times. The crops are parts of it at their true "
        "size.",
        f"Style {settings.style}; enlarged by {networks}; repair {report.get('repair', 0)}; "
        f"deblur {report.get('deblur', 0)}; output sharpening {sharpening}.",
        budget.sentence(),
    ]
