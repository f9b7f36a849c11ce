"""The order of messages: requests, jobs, tiles both ways.

Knows clients and worker only by their methods: no zmq, no torch. Owned by the one thread of the
I/O process, which must not compute: every handler ends in microseconds or in a system call, but for
the opening of a job, whose tiles are planned to know their memory: some milliseconds.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable
from typing import Any

import wallprint_protocol
from wallprint_protocol import endpoint, messages, wire
from wallprint_protocol.endpoint import ConnectionInfo
from wallprint_protocol.errors import ProtocolError, WallprintError
from wallprint_protocol.messages import Buffer
from wallprint_protocol.request import Request

from . import host_memory
from .config import ServerConfig
from .jobs import Job, JobTable, open_job
from .ledger import MAX_CRASHES, CrashLedger
from .link import WorkerLink
from .pairing import LOCAL, Pairings, Place
from .peers import PROBE_EVERY_S, Peer, Peers
from .spool import SpoolRoom
from .transport import Transport
from .workroom import Workroom

log = logging.getLogger(__name__)
MAX_MALFORMED = 5
AWAY_S = 10.0
_POISON = "It is the second time that this job ended the computation, so it is not tried again."
LEDGER_FILE = endpoint.file_name("crashes")
# All that another computer may send once it is logged in.
_FROM_LAN = (
    messages.JobOpen, messages.Tile, messages.JobCommit, messages.JobRelease, messages.JobResume,
    messages.JobCancel, messages.Credit,
)  # fmt: skip
IDLE_TURN_S, BUSY_TURN_S = 0.25, 0.1
MESSAGES_A_TURN = 64
TILES_A_TURN = 4


class Hub:
    """Everything between the socket and the worker.

    Attributes:
        stopping: why the server is to end: "", "idle" or "shutdown".
    """

    def __init__(
        self,
        config: ServerConfig,
        info: ConnectionInfo,
        transport: Transport,
        worker: WorkerLink,
        models: Callable[[], list[dict[str, Any]]],
        pairings: Pairings,
    ) -> None:
        self._config = config
        self._info = info
        self._transport = transport
        self._models = models
        self._pairings = pairings
        self._peers = Peers(config, info, transport, pairings)
        self._jobs = JobTable()
        self._room = SpoolRoom(config.state_dir)
        self._work = Workroom(config, worker)
        self._ledger = CrashLedger(config.state_dir / LEDGER_FILE)
        self._told_state = "ready"
        self._began_s = self._turned_s = self._busy_s = time.monotonic()
        self.stopping = ""
        self._handlers: dict[type[messages.Message], Callable[[Peer, Any], None]] = {
            messages.Models: self._on_models,
            messages.ServerStatus: self._on_status,
            messages.ServerStop: self._on_stop,
            messages.JobOpen: self._on_open,
            messages.Tile: self._on_tile,
            messages.JobCommit: self._on_commit,
            messages.JobRelease: self._on_release,
            messages.JobResume: self._on_resume,
            messages.JobCancel: self._on_cancel,
            messages.Credit: self._on_credit,
        }

    @property
    def state(self) -> str:
        """Warming or ready; jobs may be opened in both."""
        return "warming" if self._work.warming else "ready"

    # -- the loop ----------------------------------------------------------------------------------

    def turn(self) -> None:
        """Wait for something to happen, then do all that can be done without waiting."""
        ready = self._transport.wait(self._patience_s(), self._work.descriptors)
        if ready:
            for job, record in self._work.hear():
                self._hear(job, record)
        for _ in range(MESSAGES_A_TURN):
            received = self._transport.receive()
            if received is None:
                break
            self._take(*received)
        self._send_tiles()
        self._start_next()
        self._notice_absence()  # last: the computer may have slept anywhere in this turn
        self._look_around()

    def prestart(self) -> None:
        """Warm the worker up before anyone asks, unless another computer computes."""
        if self._config.host != LOCAL:
            return
        self._work.warm_up()
        self._told_state = self.state

    def say_goodbye(self) -> None:
        """End all jobs and connections."""
        for job in self._jobs:
            self._fail(job, "E_SHUTDOWN", "The server is stopping.")
        self._peers.tell_all(messages.Bye(self.stopping or "shutdown", 1))

    def may_enter(self) -> bool:
        """Whether one more client is admitted."""
        return self._peers.present < self._config.limits.clients

    def _patience_s(self) -> float:
        """How long the next turn may wait for something to happen."""
        if any(job.next_ready() is not None for job in self._jobs):
            return 0.0
        if self._peers.probing:
            return PROBE_EVERY_S
        return BUSY_TURN_S if self._work.job is not None else IDLE_TURN_S

    # -- what comes in -----------------------------------------------------------------------------

    def _take(self, identity: bytes, frames: list[Buffer]) -> None:
        """One message of one peer; whatever it is, the server goes on."""
        peer = self._peers.hear(identity)
        if peer.login == "ignored":
            return
        message: messages.Message | None = None
        try:
            message = wire.decode(frames, messages.FROM_CLIENT)
            self._dispatch(peer, message)
        except ProtocolError as error:
            self._refuse(peer, error)
        except WallprintError as error:
            log.info("%s of %s refused: %s", message and message.t, peer.identity.hex(), error.code)
            self._peers.send_error(peer, error, re=getattr(message, "id", None))
        except Exception as error:  # an edge: one peer's message must not end the server
            log.exception("while handling a message")
            self._peers.send_error(
                peer,
                WallprintError(f"{type(error).__name__}; see the log", detail={"log": "server"}),
                re=getattr(message, "id", None),
            )

    def _dispatch(self, peer: Peer, message: messages.Message) -> None:
        if isinstance(message, messages.Hello) and peer.login == "new":
            self._peers.on_hello(peer, message)
        elif isinstance(message, messages.Auth) and peer.login == "challenged":
            self._peers.on_auth(peer, message, self.state)
        elif isinstance(message, messages.Pong):
            return  # heard, which is all; it may have been asked during its login
        elif peer.login != "in":
            peer.login = "ignored"
            raise WallprintError("not logged in", code="E_AUTH")
        elif isinstance(message, messages.Ping):
            self._peers.send(peer, messages.Pong(message.q))
        elif type(message) in (_FROM_LAN if peer.from_lan else self._handlers):
            self._handlers[type(message)](peer, message)
        else:
            raise ProtocolError(f"{message.t} is out of place", re=getattr(message, "id", None))

    def _refuse(self, peer: Peer, error: ProtocolError) -> None:
        """Answer a message that is none; after five of them the peer is ignored."""
        if error.code == "E_UNKNOWN_TYPE":
            if not str(error.detail.get("t", "")).startswith("$"):
                self._peers.send_error(peer, error, re=error.re)
            return
        self._peers.send_error(peer, error, re=error.re)
        peer.malformed += 1
        if peer.malformed >= MAX_MALFORMED:
            log.warning("%s is ignored after %d bad messages", peer, peer.malformed)
            for job in self._jobs.of(peer.identity):
                self._fail(job, "E_PROTO", "the client broke the protocol")
            peer.login = "ignored"

    def _on_models(self, peer: Peer, message: messages.Models) -> None:
        self._peers.send(peer, messages.ModelList(message.id, tuple(self._models())))

    def _on_status(self, peer: Peer, message: messages.ServerStatus) -> None:
        states = [job.state for job in self._jobs]
        status = {
            "version": wallprint_protocol.__version__,
            "protocol": wallprint_protocol.PROTOCOL_VERSION,
            "pid": self._info.pid,
            "endpoints": list(self._info.endpoints),
            "state": self.state,
            "uptime_s": round(time.monotonic() - self._began_s, 1),
            "worker_pid": self._work.pid,
            "worker_busy": self._work.job is not None,
            "device": self._work.device,
            "clients": sum(1 for _ in self._peers),
            "jobs": {state: states.count(state) for state in sorted(set(states))},
            "spool_bytes": self._room.used_bytes,
            "log": self._info.log,
            **self._network(),
        }
        self._peers.send(peer, messages.StatusReport(message.id, status))

    def _network(self) -> dict[str, Any]:
        """The part of the status that is about other computers."""
        endpoint, problem = self._transport.lan_endpoint, self._transport.lan_problem
        return {
            "lan": {
                "state": "on" if endpoint else "failed" if problem else "off",
                "endpoint": endpoint,
                "problem": problem,
                "clients": [client.name for client in self._pairings.clients()],
                "connected": sum(1 for peer in self._peers if peer.from_lan),
            },
            "hosts": [host.name for host in self._pairings.hosts()],
            "host": self._config.host,
        }

    def _on_stop(self, peer: Peer, message: messages.ServerStop) -> None:
        log.info("stopped by %s", peer)
        self._peers.send(peer, messages.Ok(message.id))
        self.stopping = "shutdown"

    # -- jobs --------------------------------------------------------------------------------------

    def _on_open(self, peer: Peer, message: messages.JobOpen) -> None:
        job = self._jobs.find(message.j, message.key)
        if job is not None and job.peer == peer.identity:
            self._peers.send(peer, job.opened(message.id))
            return
        if job is not None:
            self._hand_over(job, peer, message.id)
            return
        if self._ledger.is_poison(message.j):
            raise WallprintError(_POISON, code="E_POISON")
        limits = self._config.limits
        mine = len(self._jobs.of(peer.identity))
        if mine >= limits.jobs_per_client or len(self._jobs) >= limits.jobs:
            text = f"{mine} jobs of this client and {len(self._jobs)} in all are open"
            raise WallprintError(text, code="E_BUSY")
        # A job that comes from another computer goes on to no third one.
        wanted = LOCAL if peer.from_lan else message.host or self._config.host
        place = self._pairings.place(wanted)
        try:
            job = open_job(
                message,
                peer.identity,
                self._room,
                limits,
                self._config.window_bytes,
                lambda request: self._check_memory(request, place),
            )
        except ProtocolError as error:  # a refused request, not a malformed message
            raise WallprintError(error.message, code=error.code, detail=error.detail) from None
        job.place = place
        self._jobs.add(job)
        log.info("job %s: %s, attempt %d", job.j.hex(), job, message.attempt)
        self._peers.send(peer, job.opened(message.id))
        self._peers.send(peer, messages.Credit(job.j, "up", job.up.granted))

    def _check_memory(self, request: Request, place: Place) -> None:
        """Refuse what does not fit; the worker, which knows its device, looks once more."""
        if place.host is not None:
            return
        device = request.options.device
        on_cpu = (self._work.device_kind if device == "auto" else device) == "cpu"
        host_memory.check(request, on_cpu=on_cpu, files_in_memory=self._room.in_memory)

    def _on_resume(self, peer: Peer, message: messages.JobResume) -> None:
        job = self._jobs.find(message.j, message.key)
        if job is None:
            raise WallprintError("There is no such job here.", code="E_UNKNOWN_JOB")
        self._hand_over(job, peer, message.id, message.payload or b"")

    def _hand_over(self, job: Job, peer: Peer, request_id: int, written: Buffer = b"") -> None:
        """Go on with a job over another connection; the old one may be gone or only seem so."""
        try:
            job.resume(written)
        except ProtocolError as error:
            error.re = request_id
            raise
        self._jobs.adopt(job, peer.identity)
        log.info("job %s: goes on from tile %d for %s", job.j.hex(), job.next_tile, peer)
        self._peers.send(peer, job.opened(request_id))
        self._peers.send(peer, messages.Credit(job.j, "up", job.up.granted))

    def _on_tile(self, peer: Peer, tile: messages.Tile) -> None:
        job = self._jobs.get(peer.identity, tile.j)
        if job is None:
            return  # under way when its job ended
        try:
            allowed = job.take(tile, checksum=peer.checksums)
        except WallprintError as error:
            self._fail(job, error.code, error.message)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            self._fail(job, "E_DISK_FULL" if full else "E_INTERNAL", f"the spool: {error}")
        else:
            if allowed is not None:
                self._peers.send(peer, messages.Credit(job.j, "up", allowed))

    def _on_commit(self, peer: Peer, message: messages.JobCommit) -> None:
        job = self._known_job(peer, message.j)
        held = job.held()
        if message.tiles != held.count or not held.complete:
            text = f"{held.held} of {held.count} tiles are here, {message.tiles} were announced"
            error = WallprintError(text, code="E_INCOMPLETE")
            self._peers.send_error(peer, error, re=message.id, payload=held.missing_bitmap())
            return
        self._peers.send(peer, messages.Ok(message.id))
        if job.state == "receiving":
            self._jobs.enqueue(job)
            self._start_next()

    def _on_release(self, peer: Peer, message: messages.JobRelease) -> None:
        job = self._known_job(peer, message.j)
        if job.state != "done":
            raise WallprintError(f"the job is still {job.state}", code="E_BUSY")
        self._jobs.remove(job)
        self._peers.send(peer, messages.Ok(message.id))

    def _on_cancel(self, peer: Peer, message: messages.JobCancel) -> None:
        job = self._jobs.get(peer.identity, message.j)
        if job is not None:
            log.info("job %s: cancelled while %s", job.j.hex(), job.state)
            self._forget(job)
        self._peers.send(peer, messages.JobCancelled(message.id, message.j))

    def _on_credit(self, peer: Peer, message: messages.Credit) -> None:
        job = self._jobs.get(peer.identity, message.j)
        if job is not None and message.dir == "down":
            job.down.raise_to(message.max)

    def _known_job(self, peer: Peer, j: bytes) -> Job:
        job = self._jobs.get(peer.identity, j)
        if job is None:
            raise WallprintError("no such job here", code="E_UNKNOWN_JOB")
        return job

    def _fail(self, job: Job, code: str, text: str, detail: dict[str, Any] | None = None) -> None:
        """End a job with an error, its one terminal message."""
        log.warning("job %s: %s %s", job.j.hex(), code, text)
        peer = self._peers.get(job.peer)
        ended_before = job.state == "done"
        self._forget(job)
        if peer is not None and not ended_before:
            error = WallprintError(text, code=code, detail=detail)
            self._peers.send_error(peer, error, j=job.j)

    def _forget(self, job: Job) -> None:
        """A job is over; the worker, if it has it, stops at the next tile."""
        self._jobs.remove(job)
        self._ledger.end(job.j)
        self._work.abandon(job)

    # -- the worker --------------------------------------------------------------------------------

    def _start_next(self) -> None:
        """Give the worker its next job; tell the others their place."""
        job = self._jobs.next() if self._work.job is None else None
        if job is not None:
            job.state, job.position = "running", 0
            self._ledger.begin(job.j)
            try:
                self._work.start(job)
            except OSError as error:  # no process could be made
                self._fail(job, "E_OOM_HOST", f"The computing process cannot start: {error}")
            else:
                self._tell_state(job)
        for waiting in self._jobs.moved(self._work.job is not None):
            self._tell_state(waiting)

    def _hear(self, job: Job, record: dict[str, Any]) -> None:
        """What the worker says about its job."""
        kind = record["t"]
        if kind == "progress":
            job.rows_done = max(job.rows_done, record["rows"])
            now_s = time.monotonic()
            job.progress.update(record["phase"], record["done"], record["total"], now_s)
        elif kind == "done":
            job.outcome = record
            job.rows_done, job.state = job.request.out.height, "sending"
            self._ledger.end(job.j)
            self._tell_state(job)
        elif kind == "error":
            if "trace" in record:
                log.error("job %s, in the worker:\n%s", job.j.hex(), record["trace"])
            code, text = record["code"], record["msg"]
            if record.get("crashed") and self._ledger.crashed(job.j) >= MAX_CRASHES:
                code, text = "E_POISON", f"{text} {_POISON}"
            self._fail(job, code, text, record.get("detail"))
        else:
            self._fail(job, "E_INTERNAL", "the worker gave up a job that nobody cancelled")

    def _tell_state(self, job: Job) -> None:
        self._peers.send_to(job.peer, messages.JobNews(job.j, job.state, job.position))

    # -- what goes out -----------------------------------------------------------------------------

    def _send_tiles(self) -> None:
        """Finished tiles, some of each job in turn, as far as the clients' credit allows."""
        for job in self._jobs:
            peer = self._peers.get(job.peer)
            if peer is None:
                continue
            for _ in range(TILES_A_TURN):
                index = job.next_ready()
                if index is None:
                    break
                self._peers.send(peer, job.give(index, checksum=peer.checksums))
            if job.state == "sending" and job.next_tile == len(job.grid):
                job.state = "done"
                log.info("job %s: done in %d ms", job.j.hex(), job.outcome["ms"])
                self._peers.send(peer, job.finished())

    # -- time --------------------------------------------------------------------------------------

    def _notice_absence(self) -> None:
        """After a sleep of the computer nobody is blamed for it."""
        now_s = time.monotonic()
        if now_s - self._turned_s > AWAY_S:
            self._peers.forgive(now_s)
            for job in self._jobs:
                job.moved_s = now_s
                job.lost_s = None if job.lost_s is None else now_s
            self._work.forgive(now_s)
        self._turned_s = now_s

    def _look_around(self) -> None:
        """Whatever time decides: lost clients, stalled jobs, a stuck worker, idleness."""
        now_s = time.monotonic()
        for peer in self._peers.look_around(now_s):
            for job in self._jobs.of(peer.identity):
                log.info("job %s: its client is gone while it is %s", job.j.hex(), job.state)
                if peer.may_return:
                    job.lost_s = now_s
                else:
                    self._forget(job)
        for job in self._jobs:
            self._look_at_job(job, now_s)
        for job, record in self._work.look_around(now_s):
            self._hear(job, record)
        if self.state != self._told_state:
            self._told_state = self.state
            self._peers.tell_all(messages.ServerNews(self.state))
        if len(self._peers) or len(self._jobs) or self._transport.lan_endpoint:
            self._busy_s = now_s
        elif now_s - self._busy_s > self._config.idle_exit_s:
            log.info("idle for %.0f s", now_s - self._busy_s)
            self.stopping = "idle"

    def _look_at_job(self, job: Job, now_s: float) -> None:
        if job.lost_s is not None:
            if now_s - job.lost_s > self._config.grace_s:
                log.info("job %s: its client has not come back", job.j.hex())
                self._forget(job)
        elif job.state == "receiving" and now_s - job.moved_s > self._config.upload_timeout_s:
            self._fail(job, "E_TIMEOUT", f"no tile for {self._config.upload_timeout_s:.0f} s")
        elif job.state == "running":
            news = job.progress.message(job.j, now_s)
            if news is not None:
                self._peers.send_to(job.peer, news)
