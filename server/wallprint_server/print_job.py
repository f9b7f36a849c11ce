"""One picture file to one print file, through a server. Knows nothing of command-line arguments."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wallprint_protocol import client
from wallprint_protocol.errors import BadInput, WallprintError
from wallprint_protocol.file_formats import check_output
from wallprint_protocol.job_run import Progress
from wallprint_protocol.passport import Passport
from wallprint_protocol.print_plan import Plan, Settings, layer_job, make_plan
from wallprint_protocol.print_size import Placement, Rect, Size, px_to_mm
from wallprint_protocol.request import Request

from .imaging import icc, xmp
from .imaging.files_in import Source, open_selection, open_source
from .imaging.files_out import PrintFile, check_folder, file_beside, output_files

REPORT_SUFFIX = ".html"
PASSPORT_SUFFIX = ".passport.json"  # print.tif -> print.tif.passport.json


@dataclass(frozen=True)
class PrintOptions:
    """What to make of a picture.

    Attributes:
        settings: the print, as in the dialogs; its `source` is "selection" with a selection.
        selection: mask file, or None for the whole picture.
        passport: write the print's passport beside it as JSON, too.
        report: folder for a page that shows what was done, or None; it must be there.
        seen_from_mm: write the print as seen from there beside it; 0 for its viewing distance,
            None for no such pictures.
    """

    settings: Settings
    selection: Path | None = None
    passport: bool = False
    report: Path | None = None
    seen_from_mm: float | None = None


@dataclass(frozen=True)
class Outcome:
    """How one picture fared: the fields of the `--json` line.

    Attributes:
        input: path of the picture.
        output: path of the print, of panels the first; "" when none was written.
        files: paths of all files of the print; several with panels.
        size: of the print with its edges, px; None when it was not got that far.
        ppi: print resolution.
        scale: enlargement.
        layout: `PixelLayout.to_map()` of picture and print.
        seconds: from opening the picture to the finished file.
        device: where it was computed.
        networks: sha256 by name.
        notes: sentences for the user.
        passport: path of the passport's JSON file, "" when none was asked for.
        report: path of the report page, "" when none was asked for.
        seen: paths of the pictures of the print as seen from a distance, if they were asked for.
        halo: of the output sharpening as measured (`halo_meter.Halo.to_map`), {} without one.
        error: what went wrong, or None.
    """

    input: str
    output: str = ""
    files: tuple[str, ...] = ()
    size: Size | None = None
    ppi: float = 0.0
    scale: float = 0.0
    layout: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    device: str = ""
    networks: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    passport: str = ""
    report: str = ""
    seen: tuple[str, ...] = ()
    halo: dict[str, float] = field(default_factory=dict)
    error: WallprintError | None = None

    @property
    def exit_code(self) -> int:
        """Of the command line."""
        return self.error.exit_code if self.error else 0

    def to_map(self) -> dict[str, Any]:
        """For `--json`."""
        error = self.error and {"code": self.error.code, "message": self.error.message}
        return {
            "input": self.input,
            "output": self.output or None,
            "files": list(self.files),
            "width": self.size.width if self.size else None,
            "height": self.size.height if self.size else None,
            "ppi": self.ppi or None,
            "scale": round(self.scale, 4) or None,
            "layout": self.layout or None,
            "seconds": round(self.seconds, 3),
            "device": self.device or None,
            "networks": self.networks,
            "notes": list(self.notes),
            "passport": self.passport or None,
            "report": self.report or None,
            "seen": list(self.seen),
            "halo": self.halo or None,
            "exit_code": self.exit_code,
            "error": error,
        }

    def sentence(self) -> str:
        """For people; only of a print that was made."""
        size = self.size or Size(0, 0)
        width, height = size.width, size.height
        width_cm, height_cm = (px_to_mm(px, self.ppi) / 10 for px in (width, height))
        name = self.output
        if len(self.files) > 1:
            name = f"{len(self.files)} panels, {self.files[0]} to {self.files[-1]}"
        return (
            f"{name}: {width} x {height} px, {width_cm:.1f} x {height_cm:.1f} cm at "
            f"{self.ppi:g} ppi, {self.scale:.2f}x, {width * height / 1e6:.1f} megapixels, "
            f"{self.seconds:.0f} s on {self.device or 'an unknown device'}"
        )


def make_print(
    picture: Path,
    options: PrintOptions,
    output: Callable[[Plan], Path],
    connect: Callable[[], client.Connection],
    *,
    protected: Sequence[Path] = (),
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_cancel: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Make one print; nothing is written unless everything goes well.

    Args:
        picture: path of the picture.
        options: what to make of it.
        output: path of the print, from which those of its panels are made.
        connect: a connection; asked when all that can be checked without a server is in order.
        protected: files that must not be overwritten, besides the picture and its selection.
        on_progress: told where the work is; also "save", in hundredths.
        should_cancel: looked at all the time.

    Raises:
        WallprintError: it could not be made.
    """
    began_s = time.monotonic()
    settings = options.settings
    with open_source(picture) as source:
        plan, placement = plan_print(source.size, settings)
        path = output(plan)
        check_output(path, plan.out, source.layout, [sheet.size for sheet in plan.sheets])
        mask_file = [options.selection] if options.selection else []
        files = output_files(path, plan.sheets)
        for name in files:
            refuse_overwriting(name, [picture, *mask_file, *protected])
        beside = path.with_name(path.name + PASSPORT_SUFFIX) if options.passport else None
        page_file = options.report and options.report / (path.name + REPORT_SUFFIX)
        sights = _sight_files(path, plan, options.seen_from_mm)
        for more in (beside, page_file, *sights):
            if more is not None:
                refuse_overwriting(more, [picture, *mask_file, *protected])
        if page_file is not None:
            check_folder(page_file)
        sharpened = xmp.output_sharpening_of(source.metadata.xmp)
        mask = open_selection(options.selection, source.size) if options.selection else None
        request = _checked(lambda: _request(source, mask, placement, plan, settings))
        try:
            with PrintFile(
                path,
                plan.out,
                source.layout,
                ppi_milli=round(plan.ppi * 1000),
                metadata=source.metadata,
                sheets=plan.sheets,
            ) as file:
                connection = connect()
                result = client.enhance(
                    request,
                    source.read,
                    file.write,
                    read_selection=mask.read if mask else None,
                    on_progress=on_progress,
                    should_cancel=should_cancel,
                    connection=connection,
                )
                passport = Passport(
                    request,
                    source_sha256=sha256_of(picture),
                    source_is="file",
                    pixels_sha256=file.pixels_sha256(),
                    report=result.report,
                    icc=icc.name_of(source.metadata.icc),
                    selection_sha256=sha256_of(options.selection) if options.selection else "",
                    earlier_sharpening=sharpened,
                )
                file.add_passport(passport)
                looked = None
                if page_file is not None:
                    from .report_page import look  # Pillow, which nothing else here needs

                    looked = look(
                        request,
                        source.read,
                        file.read,
                        result.report,
                        connection,
                        icc=source.metadata.icc,
                        should_cancel=should_cancel,
                    )
                with ExitStack() as together:
                    if beside is not None:
                        json_line = passport.to_json() + "\n"
                        together.enter_context(file_beside(beside, json_line.encode()))
                    for name, (distance_mm, eye) in sights.items():
                        from .seen_from import seen_png

                        shown = seen_png(request, file.read, distance_mm, eye, source.metadata.icc)
                        together.enter_context(file_beside(name, shown))
                    file.commit(
                        on_progress=lambda part: on_progress(
                            Progress("save", int(part * 100), 100)
                        ),
                        should_cancel=should_cancel,
                    )
        finally:
            if mask is not None:
                mask.close()
        seconds = time.monotonic() - began_s
        notes = (
            *source.notes,
            *_sharpened_twice(sharpened, settings),
            *result.notes,
            *file.notes,
        )
        if looked is not None and page_file is not None:
            from .report_page import page

            text = page(looked, passport, name=path.name, seconds=seconds, notes=notes)
            with file_beside(page_file, text.encode()):
                pass
    return Outcome(
        input=str(picture),
        output=str(files[0]),
        files=tuple(str(name) for name in files),
        size=plan.out,
        ppi=plan.ppi,
        scale=placement.scale,
        layout=source.layout.to_map(),
        seconds=seconds,
        device=str(result.report.get("device", "")),
        networks=dict(result.report.get("networks", {})),
        notes=notes,
        passport=str(beside) if beside else "",
        report=str(page_file) if page_file else "",
        seen=tuple(str(name) for name in sights),
        halo=dict(result.report.get("halo") or {}),
    )


def _sight_files(
    path: Path, plan: Plan, seen_from_mm: float | None
) -> dict[Path, tuple[float, float]]:
    """Files for the print as seen from a distance: name -> distance in mm and acuity.

    Raises:
        BadInput: the distance is too small.
    """
    if seen_from_mm is None:
        return {}
    from .seen_from import EYES, check_seen  # numpy and Pillow, which nothing else here needs

    distance_mm = seen_from_mm or plan.distance_mm
    files = {}
    for name, eye in EYES.items():
        check_seen(plan.out, plan.ppi, distance_mm, eye)
        suffix = f".from-{distance_mm / 10:.0f}cm-{name.replace('/', '-')}.png"
        files[path.with_name(path.name + suffix)] = distance_mm, eye
    return files


def sha256_of(path: Path) -> str:
    """Hash of a file.

    Raises:
        BadInput: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}).") from None
    return digest.hexdigest()


def _sharpened_twice(earlier: dict[str, Any] | None, settings: Settings) -> list[str]:
    """A warning when a print is made of a picture that was sharpened for paper already."""
    if not earlier or settings.sharpen == "none":
        return []
    return [
        f"The picture was sharpened for {earlier.get('medium', 'paper')} by an earlier print and "
        "is now sharpened again, which widens its halos: use --sharpen none, or start from the "
        "original."
    ]


def default_name(picture: Path, size: Size, ppi: float) -> str:
    """`NAME_100x70cm_200ppi.tif`."""
    width_cm, height_cm = (f"{px_to_mm(px, ppi) / 10:.1f}" for px in (size.width, size.height))
    width_cm, height_cm = (text.removesuffix(".0") for text in (width_cm, height_cm))
    return f"{picture.stem}_{width_cm}x{height_cm}cm_{ppi:g}ppi.tif"


def refuse_overwriting(output: Path, files: Sequence[Path]) -> None:
    """Refuse an output that is one of the files, under whatever name.

    Raises:
        BadInput: it is.
    """
    for path in files:
        same_name = os.path.realpath(output) == os.path.realpath(path)
        if same_name or (output.exists() and path.exists() and os.path.samefile(output, path)):
            raise BadInput(
                f"The output {output} is the input {path} itself; name another output with -o."
            )


def plan_print(picture: Size, settings: Settings) -> tuple[Plan, Placement]:
    """The print of a whole picture, and where its pixels go.

    Raises:
        BadInput: it cannot be made.
    """
    plan: Plan = _checked(lambda: make_plan(picture, settings))
    whole = Rect(0, 0, picture.width, picture.height)
    placement: Placement = _checked(lambda: layer_job(plan, whole).placement)
    return plan, placement


def _request(
    source: Source, mask: Source | None, placement: Placement, plan: Plan, settings: Settings
) -> Request:
    # The profile stays here: the server never converts colours, and the file is written by us.
    return Request.build(
        source.size,
        source.layout,
        placement,
        selection=mask.layout if mask else None,
        **settings.job_options(plan),
    )


def _checked(build: Callable[[], Any]) -> Any:
    """`build()`, with a refused value as BadInput."""
    try:
        return build()
    except ValueError as error:  # PrintSizeError is one
        raise BadInput(str(error).removeprefix("params: ")) from None
