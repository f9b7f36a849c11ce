"""The order of messages: logins, requests, jobs, tiles both ways, signs of life.

Knows the transport and the worker only by their methods: no zmq, no torch. Owned by the one thread
of the I/O process, which must not compute: every handler ends in microseconds or in a system call.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import wallprint_protocol
from wallprint_protocol import messages, wire
from wallprint_protocol.connection import CAPABILITIES
from wallprint_protocol.endpoint import ConnectionInfo
from wallprint_protocol.errors import CODES, ProtocolError, WallprintError
from wallprint_protocol.messages import Buffer

from .config import ServerConfig
from .jobs import Job, JobTable, open_job
from .link import WorkerDied, WorkerLink
from .spool import SpoolRoom
from .transport import PeerGone, Transport

log = logging.getLogger(__name__)
MAX_MALFORMED = 5
AWAY_S = 10.0
PROBE_FOR_S = 1.0
PROBE_EVERY_S = 0.02
TILES_A_TURN = 4
_TERMINAL_STATES = ("done",)


@dataclass(eq=False)
class Peer:
    """One connection.

    Attributes:
        identity: ROUTER's name for it.
        login: "new", "challenged", "in", or "ignored" after it broke the rules.
        nonce: of the client and of the server, during the login.
        client: what it says about itself.
        checksums: whether it wants them in the result's tiles.
        malformed: messages that were none.
        heard_s: when anything last came in, on the monotonic clock.
        pinged_s: when it was last asked for a sign of life.
        gone_s: when it was found to be gone.
    """

    identity: bytes
    login: str = "new"
    nonce: tuple[bytes, bytes] = (b"", b"")
    client: dict[str, Any] = field(default_factory=dict)
    checksums: bool = False
    malformed: int = 0
    since_s: float = field(default_factory=time.monotonic)
    heard_s: float = field(default_factory=time.monotonic)
    pinged_s: float = 0.0
    gone_s: float | None = None


class Hub:
    """Everything between the socket and the worker.

    Attributes:
        state: "warming" or "ready".
        stopping: why the server is to end: "", "idle" or "shutdown".
    """

    def __init__(
        self,
        config: ServerConfig,
        info: ConnectionInfo,
        transport: Transport,
        worker: WorkerLink,
        models: Callable[[], list[dict[str, Any]]],
    ) -> None:
        self._config = config
        self._info = info
        self._transport = transport
        self._worker = worker
        self._models = models
        self._peers: dict[bytes, Peer] = {}
        self._jobs = JobTable()
        self._room = SpoolRoom(config.state_dir)
        self._running: Job | None = None
        self._abandoned_s: float | None = None  # since when the worker finishes a dead job's tile
        self._device = self._device_kind = ""
        self._began_s = self._turned_s = self._busy_s = time.monotonic()
        self._worker_used_s = self._began_s
        self._probe_until_s = self._probed_s = 0.0
        self.state = "ready"
        self.stopping = ""
        self._handlers: dict[type[messages.Message], Callable[[Peer, Any], None]] = {
            messages.Models: self._on_models,
            messages.ServerStatus: self._on_status,
            messages.ServerStop: self._on_stop,
            messages.JobOpen: self._on_open,
            messages.Tile: self._on_tile,
            messages.JobCommit: self._on_commit,
            messages.JobRelease: self._on_release,
            messages.JobCancel: self._on_cancel,
            messages.Credit: self._on_credit,
        }

    # -- the loop ----------------------------------------------------------------------------------

    def turn(self, timeout_s: float = 0.25) -> None:
        """Wait for something to happen, then do all that can be done without waiting."""
        if any(job.next_ready() is not None for job in self._jobs):
            timeout_s = 0.0
        elif self._probe_until_s > time.monotonic():
            timeout_s = min(timeout_s, PROBE_EVERY_S)
        elif self._running is not None:
            timeout_s = min(timeout_s, 0.1)
        channel = self._worker.fileno()
        ready = self._transport.wait(timeout_s, [channel] if channel >= 0 else [])
        self._notice_absence()
        if ready:
            self._hear_worker()
        for _ in range(64):
            received = self._transport.receive()
            if received is None:
                break
            self._take(*received)
        self._send_tiles()
        self._start_next()
        self._look_around()

    def prestart(self) -> None:
        """Warm the worker up before anyone asks."""
        self.state = "warming"
        self._worker.warm(self._config.device)

    def say_goodbye(self) -> None:
        """End all jobs and connections."""
        for job in self._jobs:
            self._fail(job, "E_SHUTDOWN", "The server is stopping.")
        for peer in list(self._peers.values()):
            if peer.login == "in":
                self._send(peer, messages.Bye(self.stopping or "shutdown", 1))

    def may_enter(self) -> bool:
        """Whether one more client is admitted."""
        return len(self._peers) < self._config.limits.clients

    # -- what comes in -----------------------------------------------------------------------------

    def _take(self, identity: bytes, frames: list[Buffer]) -> None:
        """One message of one peer; whatever it is, the server goes on."""
        peer = self._peers.setdefault(identity, Peer(identity))
        peer.heard_s = time.monotonic()
        if peer.login == "ignored":
            return
        message: messages.Message | None = None
        try:
            message = wire.decode(frames, messages.FROM_CLIENT)
            self._dispatch(peer, message)
        except ProtocolError as error:
            self._refuse(peer, error)
        except WallprintError as error:
            self._send_error(peer, error, re=getattr(message, "id", None))
        except Exception as error:  # an edge: one peer's message must not end the server
            log.exception("while handling a message")
            self._send_error(
                peer,
                WallprintError(f"{type(error).__name__}; see the log", detail={"log": "server"}),
                re=getattr(message, "id", None),
                j=getattr(message, "j", None),
            )

    def _dispatch(self, peer: Peer, message: messages.Message) -> None:
        if isinstance(message, messages.Hello) and peer.login == "new":
            self._on_hello(peer, message)
        elif isinstance(message, messages.Auth) and peer.login == "challenged":
            self._on_auth(peer, message)
        elif isinstance(message, messages.Pong):
            return  # heard, which is all; `_look_at_peer` may have asked during the login, too
        elif peer.login != "in":
            peer.login = "ignored"
            raise WallprintError("not logged in", code="E_AUTH")
        elif isinstance(message, messages.Ping):
            self._send(peer, messages.Pong(message.q))
        elif type(message) in self._handlers:
            self._handlers[type(message)](peer, message)
        else:
            raise ProtocolError(f"{message.t} is out of place", re=getattr(message, "id", None))

    def _refuse(self, peer: Peer, error: ProtocolError) -> None:
        """Answer a message that is none; after five of them the peer is ignored."""
        if error.code == "E_UNKNOWN_TYPE":
            if not str(error.detail.get("t", "")).startswith("$"):
                self._send_error(peer, error, re=error.re)
            return
        self._send_error(peer, error, re=error.re)
        if error.code in ("E_PROTO", "E_BAD_FIELD"):
            peer.malformed += 1
        if peer.malformed >= MAX_MALFORMED:
            log.warning("peer %s is ignored after %d bad messages", peer.identity.hex(), 5)
            self._drop_jobs(peer)
            peer.login = "ignored"

    def _on_hello(self, peer: Peer, hello: messages.Hello) -> None:
        if wallprint_protocol.PROTOCOL_MAJOR not in hello.proto:
            peer.login = "ignored"
            raise WallprintError(
                f"The client speaks WPP {hello.proto}, the server "
                f"{wallprint_protocol.PROTOCOL_VERSION}; update the older of the two.",
                code="E_VERSION",
                detail={
                    "server_proto": [wallprint_protocol.PROTOCOL_MAJOR],
                    "server_version": wallprint_protocol.__version__,
                },
            )
        peer.client, peer.checksums = hello.client, "crc" in hello.caps
        peer.nonce = (hello.nonce, secrets.token_bytes(32))
        peer.login = "challenged"
        proof = wire.proof(self._info.key, b"S", *peer.nonce)
        self._send(peer, messages.Challenge(hello.id, peer.nonce[1], proof))

    def _on_auth(self, peer: Peer, auth: messages.Auth) -> None:
        client_nonce, server_nonce = peer.nonce
        expected = wire.proof(self._info.key, b"C", server_nonce, client_nonce)
        if not wire.same(auth.proof, expected):
            peer.login = "ignored"
            raise WallprintError("wrong proof", code="E_AUTH")
        peer.login = "in"
        log.info("client %s: %s", peer.identity.hex(), _short(peer.client))
        self._send(
            peer,
            messages.Welcome(
                re=auth.id,
                proto=wallprint_protocol.PROTOCOL_MAJOR,
                minor=wallprint_protocol.PROTOCOL_MINOR,
                boot=self._info.boot,
                server={"name": "wallprint", "version": wallprint_protocol.__version__},
                state=self.state,
                caps=CAPABILITIES,
                ping_ms=self._config.ping_ms,
                limits=self._config.limits.to_map(),
            ),
        )

    def _on_models(self, peer: Peer, message: messages.Models) -> None:
        self._send(peer, messages.ModelList(message.id, tuple(self._models())))

    def _on_status(self, peer: Peer, message: messages.ServerStatus) -> None:
        self._send(peer, messages.StatusReport(message.id, self.status()))

    def status(self) -> dict[str, Any]:
        """What `wallprint status` shows."""
        states = [job.state for job in self._jobs]
        return {
            "version": wallprint_protocol.__version__,
            "protocol": wallprint_protocol.PROTOCOL_VERSION,
            "pid": self._info.pid,
            "endpoints": list(self._info.endpoints),
            "state": self.state,
            "uptime_s": round(time.monotonic() - self._began_s, 1),
            "worker_pid": self._worker.pid,
            "worker_busy": self._running is not None,
            "device": self._device,
            "clients": sum(peer.login == "in" for peer in self._peers.values()),
            "jobs": {state: states.count(state) for state in sorted(set(states))},
            "spool_bytes": self._room.used_bytes,
            "log": self._info.log,
        }

    def _on_stop(self, peer: Peer, message: messages.ServerStop) -> None:
        log.info("stopped by %s", _short(peer.client))
        self._send(peer, messages.Ok(message.id))
        self.stopping = "shutdown"

    # -- jobs --------------------------------------------------------------------------------------

    def _on_open(self, peer: Peer, message: messages.JobOpen) -> None:
        known = self._jobs.get(peer.identity, message.j)
        if known is not None:
            if known.key != message.key:
                raise WallprintError("this job is open with another key", code="E_DUPLICATE_JOB")
            self._send(peer, self._job_ok(message.id, known))
            return
        limits = self._config.limits
        mine = len(self._jobs.of(peer.identity))
        if mine >= limits.jobs_per_client or len(self._jobs) >= limits.jobs:
            raise WallprintError(
                f"{mine} jobs of this client and {len(self._jobs)} in all are open",
                code="E_BUSY",
            )
        if self.stopping:
            raise WallprintError(code="E_SHUTDOWN")
        try:
            job = open_job(message, peer.identity, self._room, limits, self._config.window_bytes)
        except ProtocolError as error:  # a refused request, not a malformed message
            raise WallprintError(error.message, code=error.code, detail=error.detail) from None
        self._jobs.add(job)
        log.info(
            "job %s: %dx%d -> %dx%d %s", job.j.hex(), message.w, message.h,
            message.out.width, message.out.height, message.fmt.dtype,
        )  # fmt: skip
        self._send(peer, self._job_ok(message.id, job))
        self._send(peer, messages.Credit(job.j, "up", job.up.granted))

    @staticmethod
    def _job_ok(request_id: int, job: Job) -> messages.JobOk:
        held = job.held()
        return messages.JobOk(
            re=request_id,
            j=job.j,
            state=job.state if job.state not in _TERMINAL_STATES else "sending",
            pos=job.position,
            out=messages.Outcome(job.request.out, job.request.layout, job.grid.cell),
            need_bytes=job.need_bytes,
            payload=held.bitmap() if held.held else None,
        )

    def _on_tile(self, peer: Peer, tile: messages.Tile) -> None:
        job = self._jobs.get(peer.identity, tile.j)
        if job is None:
            return  # under way when its job ended
        try:
            allowed = job.take(tile)
        except (WallprintError, OSError) as error:
            code = error.code if isinstance(error, WallprintError) else "E_DISK_FULL"
            self._fail(job, code, str(error))
            return
        if allowed is not None:
            self._send(peer, messages.Credit(job.j, "up", allowed))

    def _on_commit(self, peer: Peer, message: messages.JobCommit) -> None:
        job = self._known_job(peer, message.j)
        held = job.held()
        if message.tiles != held.count or not held.complete:
            error = WallprintError(
                f"{held.held} of {held.count} tiles are here, {message.tiles} were announced",
                code="E_INCOMPLETE",
            )
            self._send_error(peer, error, re=message.id, payload=held.missing_bitmap())
            return
        self._send(peer, messages.Ok(message.id))
        if job.state == "receiving":
            self._jobs.enqueue(job)
            self._start_next()

    def _on_release(self, peer: Peer, message: messages.JobRelease) -> None:
        job = self._known_job(peer, message.j)
        if job.state != "done":
            raise WallprintError(f"the job is still {job.state}", code="E_BUSY")
        self._jobs.remove(job)
        self._send(peer, messages.Ok(message.id))

    def _on_cancel(self, peer: Peer, message: messages.JobCancel) -> None:
        job = self._jobs.get(peer.identity, message.j)
        if job is not None:
            log.info("job %s: cancelled while %s", job.j.hex(), job.state)
            self._forget(job)
        self._send(peer, messages.JobCancelled(message.id, message.j))

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
        """End a job with an error: its one terminal message."""
        log.warning("job %s: %s %s", job.j.hex(), code, text)
        peer = self._peers.get(job.peer)
        was_done = job.state == "done"
        self._forget(job)
        if peer is not None and not was_done:
            self._send_error(peer, WallprintError(text, code=code, detail=detail), j=job.j)

    def _forget(self, job: Job) -> None:
        """A job is over; the worker, if it has it, stops at the next tile."""
        self._jobs.remove(job)
        if job is self._running and self._abandoned_s is None:
            self._abandoned_s = time.monotonic()
            self._worker.cancel(job.j)

    def _drop_jobs(self, peer: Peer) -> None:
        for job in self._jobs.of(peer.identity):
            self._fail(job, "E_PROTO", "the client broke the protocol")

    # -- the worker --------------------------------------------------------------------------------

    def _start_next(self) -> None:
        """Give the worker its next job; tell the others their place."""
        if self._running is None:
            job = self._jobs.next()
            if job is not None:
                job.state, job.position = "running", 0
                self._running, self._abandoned_s = job, None
                files = [job.planes[0].spool, job.result, *(p.spool for p in job.planes[1:])]
                try:
                    self._worker.run(job.j, job.request, [f.raster.fd for f in files])
                except OSError as error:  # no process could be made
                    self._running = None
                    self._fail(job, "E_OOM_HOST", f"The computing process cannot start: {error}")
                else:
                    self._tell_state(job)
        for job in self._jobs.moved(self._running is not None):
            self._tell_state(job)

    def _hear_worker(self) -> None:
        try:
            records = self._worker.receive()
        except WorkerDied as error:
            self._worker_died(str(error))
            return
        for record in records:
            if record["t"] == "ready":
                self._device, self._device_kind = record["device"], record["kind"]
                if "problem" in record:
                    log.warning("the worker cannot warm up: %s", record["problem"])
                self._set_state("ready")
            elif self._running is not None and record.get("j") == self._running.j:
                self._hear_job(self._running, record)

    def _hear_job(self, job: Job, record: dict[str, Any]) -> None:
        """What the worker says about its job; nobody else hears it once the job is abandoned."""
        alive = self._abandoned_s is None
        kind = record["t"]
        if kind == "progress":
            if alive:
                job.rows_done = max(job.rows_done, record["rows"])
                now_s = time.monotonic()
                job.progress.update(record["phase"], record["done"], record["total"], now_s)
            return
        self._running, self._abandoned_s = None, None
        self._worker_used_s = time.monotonic()
        if record["leaving"]:
            self._worker.stop(kill=True)  # at once, or the next job would go to a leaving worker
        if not alive:
            log.info("job %s: the worker has left it", job.j.hex())
        elif kind == "done":
            job.outcome = record
            job.rows_done, job.state = job.request.out.height, "sending"
            self._tell_state(job)
        elif kind == "error":
            if "trace" in record:
                log.error("job %s, in the worker:\n%s", job.j.hex(), record["trace"])
            self._fail(job, record["code"], record["msg"], record.get("detail"))
        else:
            self._fail(job, "E_INTERNAL", "the worker gave up a job that nobody cancelled")

    def _worker_died(self, how: str) -> None:
        log.warning("the worker %s", how)
        self._set_state("ready")  # the next job starts a new one
        job, alive = self._running, self._abandoned_s is None
        self._running, self._abandoned_s = None, None
        if job is not None and alive:
            code = "E_BACKEND" if self._device_kind in ("", "cpu") else "E_GPU_LOST"
            self._fail(job, code, f"The computing process {how}.")

    def _set_state(self, state: str) -> None:
        if state != self.state:
            self.state = state
            for peer in list(self._peers.values()):
                if peer.login == "in":
                    self._send(peer, messages.ServerNews(state))

    # -- what goes out -----------------------------------------------------------------------------

    def _send_tiles(self) -> None:
        """Finished tiles, some of each job in turn, as far as the clients' credit allows."""
        for job in self._jobs:
            for _ in range(TILES_A_TURN):
                index = job.next_ready()
                peer = self._peers.get(job.peer)
                if index is None or peer is None:
                    break
                rect = job.grid.rect(index)
                pixels = job.result.view(rect)
                fields = wire.tile_fields(index, rect, pixels, checksum=peer.checksums)
                job.down.spend(len(pixels))
                job.next_tile += 1
                tile = messages.OutTile(j=job.j, **fields)
                self._send(peer, tile)
            if job.state == "sending" and job.next_tile == len(job.grid):
                self._finish(job)

    def _finish(self, job: Job) -> None:
        job.state = "done"
        peer = self._peers.get(job.peer)
        if peer is not None:
            outcome: dict[str, Any] = job.outcome
            log.info("job %s: done in %d ms", job.j.hex(), outcome["ms"])
            self._send(
                peer,
                messages.JobDone(
                    j=job.j,
                    tiles=len(job.grid),
                    ms=outcome["ms"],
                    notes=tuple(outcome["notes"]),
                    report=outcome["report"],
                ),
            )

    def _tell_state(self, job: Job) -> None:
        peer = self._peers.get(job.peer)
        if peer is not None:
            self._send(peer, messages.JobNews(job.j, job.state, job.position))

    def _send_error(
        self,
        peer: Peer,
        error: WallprintError,
        *,
        re: int | None = None,
        j: bytes | None = None,
        payload: bytes | None = None,
    ) -> None:
        code = error.code if error.code in CODES else "E_INTERNAL"
        answer = messages.Error(
            code=code,
            msg=error.message[:1000],
            retry=CODES[code].retry,
            re=re,
            j=j,
            detail=error.detail or None,
            payload=payload,
        )
        self._send(peer, answer)

    def _send(self, peer: Peer, message: messages.Message) -> None:
        """Send to a peer that may be gone; what it leaves behind is seen to in `_look_around`."""
        if peer.gone_s is not None:
            return
        # A peer that does not read must not fill the queue with news (protocol.md 2.5).
        silent_s = time.monotonic() - peer.heard_s
        if message.t.startswith("$") and silent_s > 3 * self._config.ping_ms / 1000:
            return
        try:
            self._transport.send(peer.identity, wire.encode(message))
        except PeerGone:
            peer.gone_s = time.monotonic()
            log.info("client %s is gone", peer.identity.hex())
        except BlockingIOError as error:
            log.error("%s; its jobs end", error)
            peer.gone_s = time.monotonic() - self._config.grace_s

    # -- time --------------------------------------------------------------------------------------

    def _notice_absence(self) -> None:
        """After a sleep of the computer everyone gets a new chance."""
        now_s = time.monotonic()
        if now_s - self._turned_s > AWAY_S:
            for peer in self._peers.values():
                peer.heard_s = now_s
            for job in self._jobs:
                job.moved_s = now_s
        self._turned_s = now_s

    def _look_around(self) -> None:
        """Whatever time decides: lost clients, late logins, stuck workers, idleness."""
        now_s = time.monotonic()
        if self._transport.someone_left():
            self._probe_until_s = now_s + PROBE_FOR_S
        probing = now_s < self._probe_until_s and now_s - self._probed_s >= PROBE_EVERY_S
        if probing:
            self._probed_s = now_s
        for peer in list(self._peers.values()):
            self._look_at_peer(peer, now_s, probing)
        for job in self._jobs:
            self._look_at_job(job, now_s)
        patience_s = self._config.cancel_patience_s
        if self._abandoned_s is not None and now_s - self._abandoned_s > patience_s:
            log.error("the worker has not left a cancelled job for %.0f s: killed", patience_s)
            self._worker.stop(kill=True)
            self._running, self._abandoned_s = None, None
        self._look_at_idleness(now_s)

    def _look_at_peer(self, peer: Peer, now_s: float, probing: bool) -> None:
        silent_s = now_s - peer.heard_s
        if peer.login in ("new", "challenged") and now_s - peer.since_s > self._config.login_s:
            peer.login = "ignored"
        ping_s = self._config.ping_ms / 1000
        overdue = silent_s > ping_s and now_s - peer.pinged_s > ping_s
        # To a peer that is gone any message fails, which is the only way ROUTER tells.
        if probing or (overdue and peer.login == "in"):
            peer.pinged_s = now_s
            self._send(peer, messages.Ping(0))
        if peer.gone_s is None and silent_s > self._config.silent_s:
            log.warning("client %s has been silent for %.0f s", peer.identity.hex(), silent_s)
            peer.gone_s = now_s
        if peer.gone_s is not None and now_s - peer.gone_s >= self._config.grace_s:
            for job in self._jobs.of(peer.identity):
                log.info("job %s: its client is gone", job.j.hex())
                self._forget(job)
            del self._peers[peer.identity]

    def _look_at_job(self, job: Job, now_s: float) -> None:
        if job.state == "receiving" and now_s - job.moved_s > self._config.upload_timeout_s:
            self._fail(job, "E_TIMEOUT", f"no tile for {self._config.upload_timeout_s:.0f} s")
        elif job.state == "running":
            peer, news = self._peers.get(job.peer), job.progress.message(job.j, now_s)
            if peer is not None and news is not None:
                self._send(peer, news)

    def _look_at_idleness(self, now_s: float) -> None:
        if self._running is not None or self.state == "warming":
            self._worker_used_s = now_s
        elif self._worker.running and now_s - self._worker_used_s > self._config.worker_idle_s:
            log.info("the worker has been idle for %.0f s", now_s - self._worker_used_s)
            self._worker.stop()
        if self._peers or len(self._jobs):
            self._busy_s = now_s
        elif now_s - self._busy_s > self._config.idle_exit_s:
            log.info("idle for %.0f s", now_s - self._busy_s)
            self.stopping = "idle"


def _short(client: dict[str, Any]) -> str:
    """What a client says about itself, for the log."""
    names = ("name", "version", "editor", "editor_version", "os", "python", "pid")
    return " ".join(f"{n}={client[n]!s:.40}" for n in names if client.get(n))
