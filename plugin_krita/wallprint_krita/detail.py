"""How far real detail reaches in the picture: measured once, by the server, beside the dialog.

The dialog repeats the arithmetic on it for every size that is tried (`detail_budget`).
"""

from __future__ import annotations

from krita import Krita

from wallprint_protocol import client
from wallprint_protocol.detail_budget import Detail, measure_request
from wallprint_protocol.errors import WallprintError

from .job import BlockReader, Job


class DetailMeasure:
    """Measures one source after the other, each once: a later dialog may find other pixels.

    Args:
        on_change: called when something new is known.
    """

    def __init__(self, on_change):
        self._on_change, self._job, self._asked = on_change, None, None
        self._known = {}

    def of(self, source, settings) -> Detail | None:
        """What is known of this source; None while it is being measured, or cannot be."""
        key = _key(source, settings)
        if key not in self._known and key != self._asked:
            self.stop()
            self._asked = key
            self._job = Job(
                lambda job: _measure(job, source),
                lambda _news: None,
                lambda detail, error: self._end(key, detail, error),
            )
        return self._known.get(key)

    @property
    def running(self) -> bool:
        """Whether an answer may still come."""
        return self._job is not None and self._job.running

    def stop(self) -> None:
        """End a measurement."""
        if self._job is not None:
            self._job.cancel()

    def _end(self, key, detail, error) -> None:
        if error is not None:
            return  # the run itself will say what is wrong
        self._known[key] = detail
        self._on_change()


def _key(source, settings) -> tuple:
    name = "" if settings.source == "visible" else source.node.uniqueId().toString()
    return name, source.rect


def _measure(job: Job, source) -> Detail | None:
    """In the job's thread."""
    try:
        request = measure_request(source.rect.size, source.space.layout)
    except ValueError as error:  # too narrow to be reduced
        raise WallprintError(str(error), code="BAD_INPUT") from None
    with job.connect(Krita.instance().version()) as link:
        result = client.enhance(
            request,
            BlockReader(job.main, source.read, request.source, request.layout.bytes_per_pixel),
            lambda _rect, _pixels: None,
            connection=link,
            **job.options(),
        )
    found = result.report.get("detail")
    return Detail.from_map(found) if found else None
