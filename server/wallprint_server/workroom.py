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
        device_kind: "cpu", "cuda" or "mps"; "" before the first worker was ready.
        warming: whether the worker was started before anyone asked and is not ready yet.
    """

    def __init__(self, config: ServerConfig, worker: WorkerLink) -> None:
        self._config = config
        self._worker = worker
        self._abandoned_s: float | None = None
        self.device_kind = ""
        self._used_s = self._heard_s = time.monotonic()
        # What the worker knows its job by: a client's number may come again after a cancel, and an
        # order or a word about the one run must not touch the other.
        self._run = 0
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
        self._run += 1
        self._worker.run(self._run, job.request, [file.raster.fd for file in files], job.place)
        self.job, self._abandoned_s, self._heard_s = job, None, time.monotonic()

    def abandon(self, job: Job) -> None:
        """If the worker has this job, have it stop; nothing more is heard of it."""
        if job is self.job and self._abandoned_s is None:
            self._abandoned_s = time.monotonic()
            self._worker.cancel(self._run)

    def hear(self) -> list[tuple[Job, dict[str, Any]]]:
        """What the worker says about its job: `progress`, or one `done`, `error`, `cancelled`."""
        try:
            records = self._worker.receive()
        except WorkerDied as error:
            log.warning("the worker %s", error)
            self.warming = False  # the next job starts a new one
            return self._crash(f"The computing process {error}.")
        heard = []
        for record in records:
            if record["t"] == "ready":
                self.warming = False
                self.device, self.device_kind = record["device"], record["kind"]
                if "problem" in record:
                    log.warning("the worker cannot warm up: %s", record["problem"])
            elif self.job is not None and record.get("run") == self._run:
                self._heard_s = time.monotonic()
                heard += self._news(record)
        return heard

    def forgive(self, now_s: float) -> None:
        """After a sleep of the computer the worker gets its time anew."""
        self._heard_s = now_s
        if self._abandoned_s is not None:
            self._abandoned_s = now_s

    def look_around(self, now_s: float) -> list[tuple[Job, dict[str, Any]]]:
        """Kill a worker that is stuck, in its job or in an abandoned one; send an idle one home.

        Returns:
            What `hear` would say about a job that ends by this.
        """
        patience_s = self._config.cancel_patience_s
        if self._abandoned_s is not None and now_s - self._abandoned_s > patience_s:
            log.error("the worker has not left a cancelled job for %.0f s: killed", patience_s)
            self._worker.stop(kill=True)
            self.job, self._abandoned_s = None, None
        elif self.job is not None and now_s - self._heard_s > self._config.stuck_s:
            log.error("the worker has not moved for %.0f s: killed", self._config.stuck_s)
            self._worker.stop(kill=True)
            minutes = self._config.stuck_s / 60
            return self._crash(
                f"The computing process made no progress for {minutes:.3g} minutes and was ended."
            )
        if self.job is not None or self.warming:
            self._used_s = now_s
        elif self._worker.running and now_s - self._used_s > self._config.worker_idle_s:
            log.info("the worker has been idle for %.0f s", now_s - self._used_s)
            self._worker.stop()
        return []

    def _crash(self, text: str) -> list[tuple[Job, dict[str, Any]]]:
        """The worker is gone, and its job with it, if it had one."""
        code = "E_BACKEND" if self.device_kind in ("", "cpu") else "E_GPU_LOST"
        end = {"t": "error", "code": code, "msg": text, "crashed": True}
        return self._news(end) if self.job is not None else []

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
