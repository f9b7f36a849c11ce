"""Make a Proof Sheet: crops of the print at true size on one page, by the `wallprint` program.

The canvas goes into a private file; the program lays the sheet out and has the user's server
compute the crops, as the print itself would be.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from wallprint_protocol.errors import BadInput
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_plan import Settings
from wallprint_protocol.print_size import Rect
from wallprint_protocol.program import (
    plain_name,
    private_folder,
    proof_arguments,
    run_command,
)

from . import pixels
from .files import write_layer
from .job import Job
from .profile import profile_bytes
from .run import Source, active_source, canvas_of, plan_of
from .texts import _

_MASK = PixelLayout("GRAY", "u8")


def check_proof(source: Source, settings: Settings) -> None:
    """Whether a proof of it can be made.

    Raises:
        BadInput, PrintSizeError: it cannot; says why.
    """
    document = source.document
    if document.xRes() != document.yRes():
        raise BadInput(
            _(
                "A proof needs square pixels, but the resolutions across and down differ; scale "
                "the image first."
            )
        )
    source.space.layout  # noqa: B018 - it refuses what the server cannot take
    plan_of(document, settings)


class Proof:
    """The command, started at once; `on_end(paths, error)` follows.

    Args:
        settings: of the print.
        outputs: the sheet; each file's suffix chooses its format.
        paper: "a4" or "letter".
        all_strengths: every crop in all strengths of the output sharpening.
    """

    def __init__(
        self, settings: Settings, outputs, paper: str, all_strengths: bool, on_progress, on_end
    ) -> None:
        self._source = source = active_source(replace(settings, result="new-layer"))
        check_proof(source, settings)
        self._settings, self._outputs = settings, [str(path) for path in outputs]
        self._paper, self._all_strengths = paper, all_strengths
        document = source.document
        self._canvas = canvas_of(document)
        whole = Rect(0, 0, self._canvas.width, self._canvas.height)
        self._read = pixels.document_reader(document)
        if settings.source != "visible":
            self._read = pixels.node_reader(source.node, whole)
        self._read_mask = None
        if settings.source == "selection":
            self._read_mask = pixels.selection_reader(source.selection, whole)
        self._icc, self._ppi = profile_bytes(source.space), document.xRes()
        self._name = plain_name(document.name() or source.node.name())
        self._on_progress = on_progress
        self.job = Job(self._work, on_progress, on_end)

    def _work(self, job: Job) -> list[str]:
        with private_folder() as name:
            folder = Path(name)
            picture, mask = folder / f"{self._name}.tif", None
            layout = self._source.space.layout
            write_layer(
                job, picture, self._read, self._canvas, layout, ppi=self._ppi, icc=self._icc
            )
            if self._read_mask is not None:
                mask = folder / "selection.tif"
                write_layer(job, mask, self._read_mask, self._canvas, _MASK, ppi=self._ppi)
            arguments = proof_arguments(
                picture,
                self._settings,
                self._outputs,
                paper=self._paper,
                all_strengths=self._all_strengths,
                selection=mask,
            )
            run_command(
                arguments,
                on_progress=job.tell,
                should_cancel=lambda: job.cancelled,
            )
            return self._outputs
