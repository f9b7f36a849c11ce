"""What can be made of a finished print: the page about it, and files for the printer.

Both are commands of the `wallprint` program, which gets the print's pixels in a private file.
"""

from __future__ import annotations

from pathlib import Path

from wallprint_protocol.program import private_folder, run_command

from .files import write_layer
from .job import Job
from .profile import profile_bytes
from .run import Enhance


class AfterPrint:
    """One of the commands, started at once; `on_end(paths, error)` follows.

    Args:
        command: "report" or "save".
        made: the finished print.
        output: file to write.

    Attributes:
        made: the same.
    """

    def __init__(self, command: str, made: Enhance, output: Path, on_progress, on_end) -> None:
        self._command, self.made, self._output = command, made, output
        self._icc = profile_bytes(made.space)
        self.job = Job(self._work, on_progress, on_end)

    def _work(self, job: Job) -> list[str]:
        made, layout = self.made, self.made.passport.request.layout
        ppi = made.passport.request.options.ppi
        with private_folder() as name:
            folder = Path(name)
            files = [folder / "record.json", folder / "print.tif"]
            files[0].write_text(made.record.to_json(), "utf-8")
            size = made.passport.request.out
            write_layer(job, files[1], made.read_print, size, layout, ppi=ppi, icc=self._icc)
            if self._command == "report":
                files.insert(1, folder / "source.tif")
                kept = made.kept
                write_layer(job, files[1], kept.read, kept.size, layout, ppi=ppi, icc=self._icc)
            found = run_command(
                [self._command, *files, "-o", self._output],
                on_progress=job.tell,
                should_cancel=lambda: job.cancelled,
            )
            return found.get("files") or [found["output"]]
