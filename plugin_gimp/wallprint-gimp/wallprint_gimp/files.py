"""Layers as files in a private folder, and commands of the `wallprint` program that take them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gi.repository import Gimp, GLib

from wallprint_protocol.errors import BadInput, Cancelled
from wallprint_protocol.job_run import Progress
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_plan import Settings
from wallprint_protocol.print_size import Rect, Size
from wallprint_protocol.program import (
    plain_name,
    private_folder,
    proof_arguments,
    run_command,
)
from wallprint_protocol.tiff_file import TiffFile

from . import pixels, run
from .texts import _

_STRIP_ROWS = 256


def documents() -> Path:
    """The user's folder of documents, or the home folder."""
    found = GLib.get_user_special_dir(GLib.UserDirectory.DIRECTORY_DOCUMENTS)
    return Path(found) if found and Path(found).is_dir() else Path.home()


def profile_of(image: Gimp.Image) -> bytes:
    """The profile that the image's pixels are meant in; GIMP's own sRGB or grey without one."""
    return bytes(image.get_effective_color_profile().get_icc_profile())


def write_layer(
    path: Path,
    read: pixels.Read,
    size: Size,
    layout: PixelLayout,
    progress: run.ProgressView,
    *,
    ppi: float,
    icc: bytes = b"",
) -> None:
    """Write pixels into a TIFF.

    Raises:
        Cancelled: the user wants to stop.
    """
    with TiffFile(path, size, layout, ppi=ppi, icc=icc) as file:
        for y in range(0, size.height, _STRIP_ROWS):
            if progress.should_cancel():
                raise Cancelled
            progress.show(Progress("read", y, size.height))
            strip = Rect(0, y, size.width, min(_STRIP_ROWS, size.height - y))
            file.write(strip, read(strip))


def make_report(made: run.Made, page: Path, progress: run.ProgressView) -> None:
    """The report page of a print.

    Raises:
        Cancelled, WallprintError: it was not made.
    """
    with private_folder() as folder:
        record, after = _write_made(made, Path(folder), progress)
        before = Path(folder) / "source.tif"
        read = pixels.reader(made.before, made.format.name)
        passport = made.record.passport
        write_layer(
            before,
            read,
            passport.request.source,
            passport.request.layout,
            progress,
            ppi=passport.request.options.ppi,
            icc=profile_of(made.image),
        )
        _run(["report", record, before, after, "-o", page], progress)


def save_print(made: run.Made, output: Path, progress: run.ProgressView) -> list[str]:
    """The print as files for the printer: in panels, with marks, with its passport.

    Returns:
        Their paths.

    Raises:
        BadInput: the layer is only a part of the print.
        Cancelled, WallprintError: they were not written.
    """
    record = made.record
    if record.plan.out != record.passport.request.out:
        raise BadInput(
            _(
                "The layer does not cover the print, which cannot be saved from it alone; enhance "
                "the visible picture."
            )
        )
    with private_folder() as folder:
        written, after = _write_made(made, Path(folder), progress)
        return list(_run(["save", written, after, "-o", output], progress)["files"])


def _write_made(made: run.Made, folder: Path, progress: run.ProgressView) -> tuple[Path, Path]:
    """The record and the print as files."""
    record, printed = folder / "record.json", folder / "print.tif"
    record.write_text(made.record.to_json(), "utf-8")
    request = made.record.passport.request
    write_layer(
        printed,
        pixels.reader(made.after, made.format.name),
        request.out,
        request.layout,
        progress,
        ppi=request.options.ppi,
        icc=profile_of(made.image),
    )
    return record, printed


def make_proof(
    image: Gimp.Image,
    layer: Gimp.Layer,
    settings: Settings,
    folder: Path,
    progress: run.ProgressView,
    *,
    paper: str,
    all_strengths: bool,
) -> list[str]:
    """A proof sheet of the print, as PDF and as TIFF.

    Args:
        image: the document; the print is of its canvas.
        layer: what would be enlarged.
        settings: of the print.
        folder: where the files go; files of an earlier proof are replaced.
        progress: shows it.
        paper: "a4" or "letter".
        all_strengths: each crop in all strengths of the output sharpening, where there is any.

    Returns:
        Paths of both files.

    Raises:
        BadInput: the document's pixels are not square, or the settings do not fit.
        Cancelled, WallprintError: it was not made.
    """
    plan = run.plan_of(image, settings)
    _ok, x_ppi, y_ppi = image.get_resolution()
    if round(1000 * x_ppi) != round(1000 * y_ppi):
        raise BadInput(
            _(
                "A proof needs square pixels, but the resolutions across and down differ; scale "
                "the image first."
            )
        )
    file = image.get_file()
    name = plain_name(Path(file.get_basename() if file else layer.get_name()).stem)
    sheets = [folder / f"{name}_proof{suffix}" for suffix in (".pdf", ".tif")]
    with private_folder() as private, run.source_of(image, layer, settings) as source:
        picture, mask = Path(private) / f"{name}.tif", None
        dx, dy = -source.rect.x, -source.rect.y  # the canvas, as far as the layer covers it
        read = pixels.reader(source.drawable, source.format.name, dx=dx, dy=dy)
        layout, icc = source.format.layout, profile_of(image)
        write_layer(picture, read, plan.canvas, layout, progress, ppi=x_ppi, icc=icc)
        if settings.source == "selection":
            mask = Path(private) / "selection.tif"
            mask_layout, read_mask = pixels.selection_reader(image, (0, 0))
            write_layer(mask, read_mask, plan.canvas, mask_layout, progress, ppi=x_ppi)
        arguments = proof_arguments(
            picture, settings, sheets, paper=paper, all_strengths=all_strengths, selection=mask
        )
        _run(arguments, progress)
    return [str(sheet) for sheet in sheets]


def _run(arguments: Sequence[str | Path], progress: run.ProgressView) -> dict:
    return run_command(
        arguments,
        on_progress=progress.show,
        should_cancel=progress.should_cancel,
    )
