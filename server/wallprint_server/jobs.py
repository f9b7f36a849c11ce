"""Jobs and their queue: what may be opened, what has arrived, who is next.

Knows neither sockets nor the worker: no zmq, no torch. Everything here is arithmetic on messages
that were received, so it can be tested without a server.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from wallprint_protocol import flow, wire
from wallprint_protocol.errors import ProtocolError, WallprintError
from wallprint_protocol.messages import (
    Buffer,
    JobDone,
    JobOk,
    JobOpen,
    JobProgress,
    Outcome,
    OutTile,
    Tile,
)
from wallprint_protocol.pixels import Grid, strip_cell
from wallprint_protocol.print_size import Size
from wallprint_protocol.request import Options, Request

from .config import Limits
from .pairing import Place
from .spool import Spool, SpoolRoom

_MODEL_NAME = re.compile(r"[A-Za-z0-9._-]{0,80}")


@dataclass
class Plane:
    """One incoming picture: the pixels or the selection."""

    grid: Grid
    bytes_per_pixel: int
    spool: Spool
    held: flow.TileSet


@dataclass(eq=False)
class Job:
    """One job of one client.

    Attributes:
        j: the job's UUID.
        peer: the connection it belongs to.
        key: hash of everything but the pixels.
        request: what is to be done.
        planes: what comes in: the pixels, then the selection if there is one.
        result: the print.
        grid: tiles in which the print goes out.
        up: credit of the upload.
        down: credit of the download.
        state: "receiving", "queued", "running" or "sending"; "done" until it is released.
        rows_done: finished rows of the result, from the top.
        next_tile: the next one to go out.
        commit_id: request number of the last commit.
        damaged: tiles with a wrong checksum.
        moved_s: when the last tile came in, on the monotonic clock.
        place: where it is computed.
        lost_s: when its client was lost, None while there is one.
        outcome: what the worker said at the end: ms, notes, report.
    """

    j: bytes
    peer: bytes
    key: bytes
    request: Request
    planes: list[Plane]
    result: Spool
    grid: Grid
    up: flow.ReceiveCredit
    down: flow.SendCredit = field(default_factory=flow.SendCredit)
    state: str = "receiving"
    position: int = 0
    rows_done: int = 0
    next_tile: int = 0
    damaged: int = 0
    moved_s: float = field(default_factory=time.monotonic)
    place: Place = field(default_factory=Place)
    lost_s: float | None = None
    outcome: dict[str, Any] = field(default_factory=dict)
    progress: Pace = field(default_factory=lambda: Pace())

    @property
    def need_bytes(self) -> int:
        """Input that is still missing, bytes."""
        return sum(
            plane.grid.rect(i).size.pixels * plane.bytes_per_pixel
            for plane in self.planes
            for i in range(len(plane.grid))
            if i not in plane.held
        )

    def held(self) -> flow.TileSet:
        """The tiles that are here, the planes one after the other."""
        all_tiles = flow.TileSet(sum(plane.held.count for plane in self.planes))
        base = 0
        for plane in self.planes:
            for i in range(plane.held.count):
                if i in plane.held:
                    all_tiles.add(base + i)
            base += plane.held.count
        return all_tiles

    def take(self, tile: Tile, *, checksum: bool = False) -> int | None:
        """Put an incoming tile in place; the new credit when it is time to send one.

        Args:
            tile: as it came in.
            checksum: whether it must have one, as agreed with the client: without it is damaged.

        Raises:
            ProtocolError: E_CREDIT, E_BAD_FIELD, or E_CRC for the third damaged tile. All of them
                end the job.
            OSError: the pixels could not be written.
        """
        if self.state != "receiving":
            raise ProtocolError(f"a tile for a job that is {self.state}", code="E_BAD_FIELD")
        payload: Buffer = tile.payload or b""
        self.up.receive(len(payload))
        if tile.plane >= len(self.planes):
            raise ProtocolError(f"plane {tile.plane} of {len(self.planes)}", code="E_BAD_FIELD")
        plane = self.planes[tile.plane]
        rect = flow.check_tile(tile, plane.grid, plane.bytes_per_pixel)
        if flow.intact(tile) and not (checksum and tile.crc is None):
            plane.spool.write(rect, payload)
            plane.held.add(tile.s)
        else:
            self.damaged += 1
            if self.damaged >= flow.MAX_DAMAGED_TILES:
                raise ProtocolError(f"{self.damaged} tiles came in damaged", code="E_CRC")
        self.moved_s = time.monotonic()
        return self.up.consume(len(payload))

    def next_ready(self) -> int | None:
        """The next tile that is finished and that the client, if there is one, has room for."""
        if self.state not in ("running", "sending") or self.next_tile >= len(self.grid):
            return None
        if self.lost_s is not None:
            return None
        rect = self.grid.rect(self.next_tile)
        if rect.y + rect.height > self.rows_done:
            return None
        if not self.down.allows(rect.size.pixels * self.request.layout.bytes_per_pixel):
            return None
        return self.next_tile

    def give(self, index: int, *, checksum: bool) -> OutTile:
        """The tile that `next_ready` named, on its way out."""
        rect = self.grid.rect(index)
        pixels = self.result.view(rect)
        self.down.spend(len(pixels))
        self.next_tile += 1
        return OutTile(j=self.j, **wire.tile_fields(index, rect, pixels, checksum=checksum))

    def resume(self, written: Buffer) -> None:
        """Begin anew with a client that holds a part of the result; both credits start at nothing.

        Args:
            written: bitmap of the result's tiles that it holds; empty for none.

        Raises:
            ProtocolError: E_BAD_FIELD, the bitmap is none of this grid's, or has a gap: tiles go
                out in their order.
        """
        self.next_tile = _leading_ones(written, len(self.grid))
        self.up, self.down = self.up.renewed(), flow.SendCredit()
        self.moved_s, self.lost_s = time.monotonic(), None
        if self.state == "done":
            self.state = "sending"

    def opened(self, request_id: int) -> JobOk:
        """The answer to `job.open` and `job.resume`."""
        held = self.held()
        return JobOk(
            re=request_id,
            j=self.j,
            state=self.state if self.state != "done" else "sending",
            pos=self.position,
            out=Outcome(self.request.out, self.request.layout, self.grid.cell),
            need_bytes=self.need_bytes,
            payload=held.bitmap() if held.held else None,
        )

    def finished(self) -> JobDone:
        """The good end, from what the worker said."""
        return JobDone(
            j=self.j,
            tiles=len(self.grid),
            ms=self.outcome["ms"],
            notes=tuple(self.outcome["notes"]),
            report=self.outcome["report"],
        )

    def __str__(self) -> str:
        """For the log."""
        source, out = self.request.source, self.request.out
        layout = self.request.layout
        return (
            f"{source.width} x {source.height} -> {out.width} x {out.height} px, "
            f"{layout.model} {layout.dtype}"
        )

    def close(self) -> None:
        """Give the pixel files back."""
        for spool in [plane.spool for plane in self.planes] + [self.result]:
            spool.close()


class Pace:
    """What the worker reports, brought to 1..10 messages a second that never go backwards.

    Before its first word, which a worker that still starts takes its time for, it loads.
    """

    LEAST_S, MOST_S = 0.1, 1.0

    def __init__(self) -> None:
        self._phase = "load"
        self._done = self._total = 0
        self._began_s = 0.0
        self._sent_s = 0.0
        self._news = False

    def update(self, phase: str, done: int, total: int, now_s: float) -> None:
        """The worker reported."""
        if phase != self._phase or not self._began_s:
            self._phase, self._done, self._began_s = phase, 0, now_s
        self._news = self._news or done > self._done or total != self._total
        self._done, self._total = max(done, self._done), total

    def message(self, j: bytes, now_s: float) -> JobProgress | None:
        """What is to be sent now, if anything."""
        waited_s = now_s - self._sent_s
        if waited_s < (self.LEAST_S if self._news else self.MOST_S):
            return None
        self._sent_s, self._news = now_s, False
        left = self._total - self._done
        eta_s = (now_s - self._began_s) / self._done * left if self._done else None
        return JobProgress(j, self._done, self._total, self._phase, eta_s)


def _leading_ones(bitmap: Buffer, count: int) -> int:
    """How many tiles a bitmap names, which must be the first ones; 0 when it is empty."""
    if len(bitmap) not in (0, -(-count // 8)):
        raise ProtocolError(
            f"job.resume: a bitmap of {len(bitmap)} bytes for {count} tiles", code="E_BAD_FIELD"
        )
    bits = int.from_bytes(bitmap, "little")
    if bits & (bits + 1) or bits >> count:
        raise ProtocolError("job.resume: the bitmap has a gap", code="E_BAD_FIELD")
    return bits.bit_length()


class JobTable:
    """All jobs; one FIFO per client, served in turn, so that no client starves another."""

    def __init__(self) -> None:
        self._jobs: dict[bytes, Job] = {}
        self._queues: OrderedDict[bytes, deque[Job]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def get(self, peer: bytes, j: bytes) -> Job | None:
        """A client's job; other clients' jobs do not exist for it."""
        job = self._jobs.get(j)
        return job if job is not None and job.peer == peer else None

    def find(self, j: bytes, key: bytes) -> Job | None:
        """A job of whatever connection, for a client that knows its number and its key.

        Raises:
            WallprintError: E_DUPLICATE_JOB, the key is another.
        """
        job = self._jobs.get(j)
        if job is not None and not wire.same(job.key, key):
            raise WallprintError("This job is open with another key.", code="E_DUPLICATE_JOB")
        return job

    def adopt(self, job: Job, peer: bytes) -> None:
        """Give a job to another connection; it keeps its turn in the queue."""
        old, job.peer = job.peer, peer
        queue = self._queues.get(old)
        if old == peer or queue is None or job not in queue:
            return
        queue.remove(job)
        if peer in self._queues:
            self._queues[peer].append(job)
            if not queue:
                del self._queues[old]
            return
        rounds = list(self._queues.items())
        self._queues.clear()
        for owner, waiting in rounds:
            if owner == old:
                self._queues[peer] = deque([job])
            if waiting:
                self._queues[owner] = waiting

    def of(self, peer: bytes) -> list[Job]:
        """All jobs of one client."""
        return [job for job in self if job.peer == peer]

    def add(self, job: Job) -> None:
        """A job was opened."""
        self._jobs[job.j] = job

    def remove(self, job: Job) -> None:
        """A job is over; its files are given back."""
        if self._jobs.get(job.j) is not job:
            return
        del self._jobs[job.j]
        queue = self._queues.get(job.peer)
        if queue is not None and job in queue:
            queue.remove(job)
            if not queue:
                del self._queues[job.peer]
        job.close()

    def enqueue(self, job: Job) -> None:
        """All tiles are here; the job waits for the worker."""
        job.state = "queued"
        self._queues.setdefault(job.peer, deque()).append(job)

    def next(self) -> Job | None:
        """Take the job whose turn it is; its client goes to the end of the round."""
        if not self._queues:
            return None
        peer, queue = next(iter(self._queues.items()))
        job = queue.popleft()
        del self._queues[peer]
        if queue:
            self._queues[peer] = queue
        return job

    def moved(self, busy: bool) -> list[Job]:
        """Queued jobs whose place has changed; `busy`: the worker has one already."""
        rounds = [list(queue) for queue in self._queues.values()]
        depth = max(map(len, rounds), default=0)
        order = [queue[i] for i in range(depth) for queue in rounds if i < len(queue)]
        changed = []
        for place, job in enumerate(order, int(busy)):
            if job.position != place:
                job.position = place
                changed.append(job)
        return changed


def open_job(
    message: JobOpen,
    peer: bytes,
    room: SpoolRoom,
    limits: Limits,
    window: int,
    check_memory: Callable[[Request], None] = lambda request: None,
) -> Job:
    """Check a `job.open` and reserve its files.

    Raises:
        ProtocolError: E_LIMIT or E_BAD_FIELD; nothing was allocated.
        OutOfResources: E_DISK_FULL, or E_OOM_HOST from `check_memory`.
    """
    request = check_open(message, limits)
    bytes_per_pixel = request.layout.bytes_per_pixel
    geometry = [(message.tile, bytes_per_pixel)]
    if request.selection is not None and message.selection_tile is not None:
        geometry.append((message.selection_tile, request.selection.bytes_per_pixel))
    grids = [flow.check_grid(request.source, cell, width, "job.open") for cell, width in geometry]
    grid = Grid(request.out, strip_cell(request.out, bytes_per_pixel))
    for count in [len(g) for g in grids] + [len(grid)]:
        _limit("tiles", count, limits.tiles)
    check_memory(request)
    spools: list[Spool] = []
    try:
        for _, width in geometry:
            spools.append(room.make(request.source, width))
        spools.append(room.make(request.out, bytes_per_pixel))
    except BaseException:
        for spool in spools:
            spool.close()
        raise
    planes = [
        Plane(g, width, spool, flow.TileSet(len(g)))
        for g, (_, width), spool in zip(grids, geometry, spools[:-1], strict=True)
    ]
    tile_bytes = max(cell.pixels * width for cell, width in geometry)
    up = flow.ReceiveCredit(window, tile_bytes)
    return Job(message.j, peer, message.key, request, planes, spools[-1], grid, up)


def check_open(message: JobOpen, limits: Limits) -> Request:
    """The request of a `job.open`, all limits checked.

    Raises:
        ProtocolError: E_LIMIT (named in `detail`) or E_BAD_FIELD.
    """
    source, out = Size(message.w, message.h), message.out
    for side in (source.width, source.height, out.width, out.height):
        _limit("side_px", side, limits.side_px)
        if side < 1:
            raise ProtocolError("job.open: a side of 0 px", code="E_BAD_FIELD")
    width = message.fmt.bytes_per_pixel
    selection = message.selection
    _limit("input_px", source.pixels, limits.input_px)
    _limit(
        "input_bytes",
        source.pixels * (width + (selection.bytes_per_pixel if selection else 0)),
        limits.input_bytes,
    )
    _limit("output_px", out.pixels, limits.output_px)
    _limit("output_bytes", out.pixels * width, limits.output_bytes)
    _limit("icc_bytes", len(message.payload or b""), limits.icc_bytes)
    if not _MODEL_NAME.fullmatch(message.model):
        raise ProtocolError("job.open: field model is no name", code="E_BAD_FIELD")
    if (selection is None) != (message.selection_tile is None):
        raise ProtocolError(
            "job.open: selection and selection_tile go together", code="E_BAD_FIELD"
        )
    if selection is not None and selection.model != "GRAY":
        raise ProtocolError("job.open: a selection is GRAY", code="E_BAD_FIELD")
    if not wire.same(message.key, wire.job_key(message)):
        raise ProtocolError("job.open: field key does not fit the job", code="E_BAD_FIELD")
    try:
        options = Options.from_map(
            {**message.params, "model": message.model}, source=source, out=out
        )
    except (ValueError, OverflowError) as error:
        raise ProtocolError(f"job.open: {error}", code="E_BAD_FIELD") from None
    return Request(source, message.fmt, out, options, selection, bytes(message.payload or b""))


def _limit(name: str, value: int, most: int) -> None:
    if value > most:
        raise ProtocolError(
            f"{name}: {value:,} is over the limit of {most:,}",
            code="E_LIMIT",
            detail={"limit": name, "value": value, "max": most},
        )
