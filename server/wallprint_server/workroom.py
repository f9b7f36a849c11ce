"""The one worker and the job it has: start, abandon, hear, replace, send home.

Knows jobs and the worker's channel, nothing of clients. A job that is abandoned is over for its
client at once; the worker leaves it at its next tile, and only then gets another.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from .config import ServerConfig
from .jobs import Job
from .link import WorkerDied, WorkerLink

log = logging.getLogger(__name__)


class Workroom:
    """At most one job at a time.

    Attributes:
        job: what the worker works on, abandoned or not.
        device: the worker's description of its device.
        warming: whether the worker was started before anyone asked and is not ready yet.
    """

    def __init__(self, config: ServerConfig, worker: WorkerLink) -> None:
        self._config = config
        self._worker = worker
        self._abandoned_s: float | None = None
        self._device_kind = ""
        self._used_s = time.monotonic()
        self.job: Job | None = None
        self.device = ""
        self.warming = False

    @property
    def pid(self) -> int | None:
        """The worker's process id, None while there is none."""
        return self._worker.pid

    @property
    def descriptors(self) -> list[int]:
        """What to poll before `hear`."""
        descriptor = self._worker.fileno()
        return [descriptor] if descriptor >= 0 else []

    def warm_up(self) -> None:
        """Start the worker before anyone asks."""
        self.warming = True
        self._worker.warm(self._config.device)

    def start(self, job: Job) -> None:
        """Hand a job over; raises OSError when no process can be made."""
        files = [job.planes[0].spool, job.result, *(plane.spool for plane in job.planes[1:])]
        self._worker.run(job.j, job.request, [file.raster.fd for file in files])
        self.job, self._abandoned_s = job, None

    def abandon(self, job: Job) -> None:
        """If the worker has this job, have it stop; nothing more is heard of it."""
        if job is self.job and self._abandoned_s is None:
            self._abandoned_s = time.monotonic()
            self._worker.cancel(job.j)

    def hear(self) -> list[tuple[Job, dict[str, Any]]]:
        """What the worker says about its job: `progress`, or one `done`, `error`, `cancelled`."""
        try:
            records = self._worker.receive()
        except WorkerDied as error:
            log.warning("the worker %s", error)
            self.warming = False  # the next job starts a new one
            code = "E_BACKEND" if self._device_kind in ("", "cpu") else "E_GPU_LOST"
            end = {"t": "error", "code": code, "msg": f"The computing process {error}."}
            return self._news(end) if self.job is not None else []
        heard = []
        for record in records:
            if record["t"] == "ready":
                self.warming = False
                self.device, self._device_kind = record["device"], record["kind"]
                if "problem" in record:
                    log.warning("the worker cannot warm up: %s", record["problem"])
            elif self.job is not None and record.get("j") == self.job.j:
                heard += self._news(record)
        return heard

    def look_around(self, now_s: float) -> None:
        """Kill a worker that does not leave an abandoned job; send an idle one home."""
        patience_s = self._config.cancel_patience_s
        if self._abandoned_s is not None and now_s - self._abandoned_s > patience_s:
            log.error("the worker has not left a cancelled job for %.0f s: killed", patience_s)
            self._worker.stop(kill=True)
            self.job, self._abandoned_s = None, None
        if self.job is not None or self.warming:
            self._used_s = now_s
        elif self._worker.running and now_s - self._used_s > self._config.worker_idle_s:
            log.info("the worker has been idle for %.0f s", now_s - self._used_s)
            self._worker.stop()

    def _news(self, record: dict[str, Any]) -> list[tuple[Job, dict[str, Any]]]:
        """The record with its job, unless that is abandoned; at a job's end the worker is free."""
        job, abandoned = self.job, self._abandoned_s is not None
        if record["t"] != "progress":
            self.job, self._abandoned_s = None, None
            self._used_s = time.monotonic()
            if record.get("leaving"):
                self._worker.stop(kill=True)  # at once, or the next job would go to a leaving one
        if job is None or abandoned:
            return []
        return [(job, record)]
