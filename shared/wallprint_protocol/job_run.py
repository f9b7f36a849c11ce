"""One job from the client's side: open, upload, wait, download, release; cancel at any time.

Knows nothing of how the connection came about. One thread does everything: each turn of the loop
looks at `should_cancel`, takes at most one message and acts on it. A connection that is lost, or
over which the job does not move, is replaced and the job goes on; a damaged tile is asked for
again; a job that ended with its server or its worker is repeated once.
"""

from __future__ import annotations

import contextlib
import time
import uuid
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Union

from . import flow, messages, wire
from .connection import AWAY_S, Connection
from .errors import (
    BadInput,
    Cancelled,
    LinkClosed,
    LinkError,
    LinkProtocol,
    LinkTimeout,
    ProtocolError,
    ServerTrouble,
    WallprintError,
    from_code,
)
from .pixels import Grid, strip_cell
from .print_size import Rect, Size
from .request import Request

Buffer = Union[bytes, bytearray, memoryview]  # noqa: UP007 (Python 3.9 evaluates it)
Read = Callable[[Rect], Buffer]
Write = Callable[[Rect, memoryview], None]

POLL_S = 0.04
PROGRESS_EVERY_S = 0.1
ANSWER_TIMEOUT_S = 30.0  # of a server that gives signs of life; reserving the spool takes time
STALL_S = 30.0  # an open job of which nothing is heard; one that waits for its turn has time
CANCEL_TIMEOUT_S = 5.0
MAX_RESENDS = 2
MAX_ATTEMPTS = 2  # at a job whose server or worker ended
MAX_FRUITLESS = 3  # connections that break one after the other without moving a tile
_REPEATED = "The computation broke off once and was repeated from the start."
_REPEAT = ("E_GPU_LOST", "E_BACKEND")  # the worker ended with the job
# Less than the default: what is under way lies in the editor's memory, and results never come
# faster than they are computed.
DOWN_WINDOW_BYTES = 6 << 20


@dataclass(frozen=True)
class Progress:
    """Where a job is.

    Attributes:
        phase: "upload", "queued", "download", or the worker's own word ("load", "run" ...).
        done: of `total`, in the phase's own unit (tiles); never falls within a phase.
        total: 0 while it is not known.
        eta_s: seconds left in this phase, or None.
        queue_pos: jobs before this one; 0 when it is its turn.
        responding: False while the server has not answered three pings.
    """

    phase: str
    done: int
    total: int
    eta_s: float | None = None
    queue_pos: int = 0
    responding: bool = True


@dataclass(frozen=True)
class Result:
    """What the server says about a finished job.

    Attributes:
        notes: sentences for the user (a tile was halved, the CPU was used instead ...).
        report: the pipeline's `Report.to_map()`.
        ms: time in the worker, milliseconds.
    """

    notes: tuple[str, ...]
    report: dict[str, Any]
    ms: int


class _Plane:
    """One picture to send: its grid and where its strips come from."""

    def __init__(self, number: int, size: Size, bytes_per_pixel: int, read: Read) -> None:
        self.number = number
        self.bytes_per_pixel = bytes_per_pixel
        self.grid = Grid(size, strip_cell(size, bytes_per_pixel))
        self._read = read
        self._row = -1
        self._strip = memoryview(b"")

    def tile(self, index: int) -> tuple[Rect, memoryview]:
        """The cell and its bytes; a new row of cells asks for a new strip."""
        rect = self.grid.rect(index)
        row = index // self.grid.columns
        if row != self._row:
            strip = Rect(0, rect.y, self.grid.size.width, rect.height)
            self._strip = memoryview(self._read(strip)).cast("B")
            expected = strip.size.pixels * self.bytes_per_pixel
            if len(self._strip) != expected:
                raise ValueError(f"read({strip}): {len(self._strip)} bytes, {expected} expected")
            self._row = row
        if self.grid.columns == 1:
            return rect, self._strip
        # A cell narrower than the strip is one row high (pixels.strip_cell).
        start = rect.x * self.bytes_per_pixel
        return rect, self._strip[start : start + rect.width * self.bytes_per_pixel]


class _Output:
    """Joins the result's tiles, which come row-major, into full-width strips.

    Attributes:
        next: the first tile that has not been passed on.
        due: the tile that the server sends next; behind `next` when it begins from the start.
    """

    def __init__(self, outcome: messages.Outcome, write: Write, checksums: bool) -> None:
        self._checksums = checksums
        self.outcome = outcome
        self._bytes_per_pixel = outcome.fmt.bytes_per_pixel
        self.grid = flow.check_grid(
            outcome.size, outcome.tile, self._bytes_per_pixel, "the server's result"
        )
        if self.grid.columns > 1 and outcome.tile.height != 1:
            raise LinkProtocol("the server's tiles are neither strips nor parts of a row")
        self._write = write
        self.next = self.due = 0
        row_bytes = outcome.size.width * self._bytes_per_pixel
        self._row = bytearray(row_bytes if self.grid.columns > 1 else 0)

    def take(self, tile: messages.OutTile) -> None:
        """Check and pass on the next tile."""
        rect = flow.check_tile(tile, self.grid, self._bytes_per_pixel)
        if tile.s != self.due:
            raise LinkProtocol(f"tile {self.due} of the result expected, {tile.s} received")
        # A checksum that was asked for and is not there has been damaged, too.
        if (self._checksums and tile.crc is None) or not flow.intact(tile):
            raise ProtocolError(f"Tile {tile.s} of the result is damaged.", code="E_CRC")
        self.due += 1
        if tile.s < self.next:
            return
        self.next += 1
        pixels = memoryview(tile.payload or b"")
        if self.grid.columns > 1:
            start = rect.x * self._bytes_per_pixel
            self._row[start : start + len(pixels)] = pixels
            if rect.x + rect.width < self.grid.size.width:
                return
            rect = Rect(0, rect.y, self.grid.size.width, 1)
            pixels = memoryview(self._row)
        self._write(rect, pixels)

    def bitmap(self) -> bytes:
        """Which tiles have been passed on: the payload of `job.resume`."""
        count = len(self.grid)
        return ((1 << self.next) - 1).to_bytes(-(-count // 8), "little")


class JobRun:
    """One call of `client.enhance`; see there for the arguments."""

    def __init__(
        self,
        connection: Connection,
        request: Request,
        read: Read,
        write: Write,
        read_selection: Read | None,
        on_progress: Callable[[Progress], None] | None,
        should_cancel: Callable[[], bool] | None,
    ) -> None:
        self._link = connection
        self._request = request
        self._write = write
        self._should_cancel = should_cancel or (lambda: False)
        self._on_progress = on_progress or (lambda progress: None)
        self._planes = [_Plane(0, request.source, request.layout.bytes_per_pixel, read)]
        if read_selection is not None and request.selection is not None:
            self._planes.append(
                _Plane(1, request.source, request.selection.bytes_per_pixel, read_selection)
            )
        self._job = uuid.uuid4().bytes
        self._key = b""
        self._attempt = 1
        self._up = flow.SendCredit()
        self._down: flow.ReceiveCredit | None = None
        self._output: _Output | None = None
        self._missing = self._all_tiles()
        self._committed = False
        self._sums: dict[int, int] = {}  # of the tiles that were sent, by their place in all planes
        self._lost_at = (-1, -1)
        self._fruitless = 0
        self._answers: dict[int, messages.Message] = {}
        self._awaited = -1  # the last request whose answer was waited for
        self._done: messages.JobDone | None = None
        self._shown = Progress("upload", 0, len(self._missing))
        self._shown_s = 0.0
        self._looked_s = self._moved_s = time.monotonic()
        self._queued = False  # at the server: it may be silent about the job
        self._damaged = 0  # tiles of the result
        self._opened = False

    def run(self) -> Result:
        """The whole job."""
        step = self._open
        try:
            while True:
                try:
                    step()
                    return self._carry_out()
                except (LinkClosed, LinkTimeout) as error:
                    step = self._after_loss(error)
                except ProtocolError as error:
                    step = self._after_damage(error)
                except WallprintError as error:
                    step = self._after_end(error)
        except BaseException:
            self._cancel()
            raise

    def _carry_out(self) -> Result:
        """Everything after the opening, as far as it has not been done."""
        if not self._committed:
            self._upload(self._missing)
            self._commit()
        while self._done is None:
            self._turn()
        self._check_complete(self._done)
        with contextlib.suppress(WallprintError):  # everything is here
            release = messages.JobRelease(self._link.next_id(), self._job)
            self._link.request(release, messages.Ok)
        notes = tuple(self._done.notes)
        if self._attempt > 1:
            notes += (_REPEATED,)
        return Result(notes, self._done.report, self._done.ms)

    # -- what can go wrong -------------------------------------------------------------------------

    def _after_loss(self, error: WallprintError) -> Callable[[], None]:
        """Replace the connection; how the job goes on over the new one."""
        place = (len(self._sums), self._output.due if self._output else 0)
        self._fruitless = self._fruitless + 1 if place == self._lost_at else 0
        self._lost_at = place
        if self._fruitless >= MAX_FRUITLESS:
            raise error
        self._shown = replace(self._shown, responding=False)
        self._on_progress(self._shown)
        boot = self._link.info.boot
        try:
            self._link.reconnect(self._should_cancel)
        except (LinkClosed, LinkTimeout):
            raise error from None  # the first one tells more
        if self._output is None:
            return self._open
        if self._link.info.boot == boot and "resume" in self._link.caps:
            return self._resume
        return self._repeat(error)

    def _after_damage(self, error: ProtocolError) -> Callable[[], None]:
        """A tile of the result is not what it should be: have them sent again from there on."""
        self._damaged += 1
        hopeless = self._damaged >= flow.MAX_DAMAGED_TILES or "resume" not in self._link.caps
        if self._output is None or hopeless:
            raise error
        return self._resume

    def _after_end(self, error: WallprintError) -> Callable[[], None]:
        """After the job's end at the server: once more from the start, where that makes sense."""
        if error.code in _REPEAT or (error.code == "E_UNKNOWN_JOB" and self._done is None):
            return self._repeat(error)
        raise error

    def _repeat(self, error: WallprintError) -> Callable[[], None]:
        """Open the job once more, from the start; what has been passed on is not written again."""
        if self._attempt >= MAX_ATTEMPTS:
            if isinstance(error, LinkError):
                text = f"The server ended twice during this job; it is not tried again. {error}"
                raise ServerTrouble(text, code="E_POISON") from None
            raise error
        self._attempt += 1
        self._missing, self._committed, self._done = self._all_tiles(), False, None
        return self._open

    # -- the steps ---------------------------------------------------------------------------------

    def _open(self) -> None:
        request, pixels = self._request, self._planes[0]
        params = request.options.to_map()
        message = messages.JobOpen(
            id=self._link.next_id(),
            j=self._job,
            key=bytes(32),
            op="enhance",
            model=params.pop("model"),
            w=request.source.width,
            h=request.source.height,
            out=request.out,
            fmt=request.layout,
            tile=pixels.grid.cell,
            params=params,
            attempt=self._attempt,
            selection=request.selection,
            selection_tile=self._planes[1].grid.cell if request.selection else None,
            host=self._link.host or None,
            payload=request.icc or None,
        )
        self._opened, self._key = True, wire.job_key(message)
        answer = self._begin(replace(message, key=self._key))
        if answer.out.size != request.out or answer.out.fmt != request.layout:
            raise LinkProtocol(
                f"{request.out} in {request.layout} asked for, the server offers {answer.out}"
            )
        if self._output is None:
            self._output = _Output(answer.out, self._write, self._link.checksums)
        elif answer.out != self._output.outcome:
            raise LinkProtocol("the server started anew cuts the result otherwise; start again")
        self._output.due = 0
        self._grant(self._output)

    def _resume(self) -> None:
        """Go on with a job that the server still has."""
        if self._output is None:
            raise LinkProtocol("a job that was not open cannot go on")
        resume = messages.JobResume(
            self._link.next_id(), self._job, self._key, self._output.bitmap()
        )
        answer = self._begin(resume)
        held = bytes(answer.payload or b"")
        self._missing = [tile for tile in self._all_tiles() if not _bit(held, tile[0])]
        self._committed = answer.state != "receiving"
        self._output.due = self._output.next
        self._grant(self._output)

    def _begin(self, message: messages.JobOpen | messages.JobResume) -> messages.JobOk:
        """Send it and wait for the answer; both credits start at nothing."""
        self._up, self._down, self._done = flow.SendCredit(), None, None
        self._answers.clear()
        self._link.send(message)
        answer: messages.JobOk = self._await(message.id, messages.JobOk)
        self._queued = answer.state == "queued"
        return answer

    def _grant(self, output: _Output) -> None:
        """Let the server send."""
        tile_bytes = output.outcome.tile.pixels * self._request.layout.bytes_per_pixel
        self._down = flow.ReceiveCredit(DOWN_WINDOW_BYTES, tile_bytes)
        self._link.send(messages.Credit(self._job, "down", self._down.granted))

    def _all_tiles(self) -> list[tuple[int, _Plane, int]]:
        """Each tile: its place in all planes, its plane, its index there."""
        tiles = [(plane, i) for plane in self._planes for i in range(len(plane.grid))]
        return [(place, plane, i) for place, (plane, i) in enumerate(tiles)]

    def _check_same(self, place: int, pixels: memoryview) -> None:
        """A repeated job must have the same source, or the print would be of two pictures."""
        total = zlib.crc32(pixels)
        passed_on = self._output is not None and self._output.next > 0
        if passed_on and self._sums.get(place, total) != total:
            raise BadInput("The picture was changed while it was being enhanced; start again.")
        self._sums[place] = total

    def _upload(self, tiles: Sequence[tuple[int, _Plane, int]]) -> None:
        before = self._shown.total - len(tiles) if self._shown.phase == "upload" else 0
        for sent, (place, plane, index) in enumerate(tiles, before + 1):
            rect, pixels = plane.tile(index)
            self._check_same(place, pixels)
            # While credit lasts nothing need be heard; looking after each tile doubled the time.
            while not self._up.allows(len(pixels)):
                self._turn()
            if time.monotonic() - self._looked_s > POLL_S:
                self._turn(wait_s=0.0)
            elif self._should_cancel():
                raise Cancelled
            self._up.spend(len(pixels))
            fields = wire.tile_fields(index, rect, pixels, checksum=self._link.checksums)
            self._link.send(messages.Tile(j=self._job, plane=plane.number, **fields))
            self._moved_s = time.monotonic()
            self._show(replace(self._shown, done=min(sent, self._shown.total)))

    def _commit(self) -> None:
        for attempt in range(MAX_RESENDS + 1):
            count = sum(len(plane.grid) for plane in self._planes)
            commit = messages.JobCommit(self._link.next_id(), self._job, count)
            self._link.send(commit)
            try:
                self._await(commit.id, messages.Ok)
                return
            except WallprintError as error:
                missing = error.detail.get("missing")
                if error.code != "E_INCOMPLETE" or missing is None or attempt == MAX_RESENDS:
                    raise
            self._upload([tile for tile in self._all_tiles() if _bit(missing, tile[0])])

    def _check_complete(self, done: messages.JobDone) -> None:
        count = len(self._output.grid) if self._output else 0
        if not self._output or not self._output.next == count == done.tiles:
            raise LinkProtocol(f"the server is done after {done.tiles} of {count} tiles")

    def _cancel(self) -> None:
        """Make the server stop; quietly, as the caller has an exception to deliver."""
        if not self._opened or self._done is not None:
            return
        cancel = messages.JobCancel(self._link.next_id(), self._job)
        with contextlib.suppress(WallprintError):
            self._link.request(cancel, messages.JobCancelled, CANCEL_TIMEOUT_S)

    # -- one message at a time ---------------------------------------------------------------------

    def _await(self, request_id: int, answer_type: type[Any]) -> Any:
        deadline, self._awaited = time.monotonic() + ANSWER_TIMEOUT_S, request_id
        while request_id not in self._answers:
            if time.monotonic() > deadline:
                raise LinkTimeout(
                    f"The server is there but has sent no {answer_type.t} "
                    f"for {ANSWER_TIMEOUT_S:.0f} s."
                )
            self._turn()
        answer = self._answers.pop(request_id)
        if isinstance(answer, messages.Error):
            detail = dict(answer.detail or {})
            if answer.payload is not None:
                detail["missing"] = bytes(answer.payload)
            raise from_code(answer.code, answer.msg, detail)
        if not isinstance(answer, answer_type):
            raise LinkProtocol(f"{answer_type.t} expected, {answer.t} received")
        return answer

    def _turn(self, wait_s: float = POLL_S) -> None:
        """Look at the cancel flag, take at most one message.

        Raises:
            Cancelled: the flag is set.
            LinkTimeout: the server is there, and the job does not move.
            WallprintError: the job or the connection is at its end.
        """
        now_s = time.monotonic()
        if now_s - self._looked_s > AWAY_S:  # the caller's time, or the computer slept
            self._moved_s = now_s
        self._looked_s = now_s
        if self._should_cancel():
            raise Cancelled
        message = self._link.receive(wait_s)
        if message is not None:
            self._act(message)
        elif now_s - self._moved_s > STALL_S and not self._queued:
            stalled_s = now_s - self._moved_s
            raise LinkTimeout(
                f"The server is there, but this job has not moved for {stalled_s:.0f} s."
            )
        elif self._link.responding != self._shown.responding:
            self._show(replace(self._shown, responding=self._link.responding))

    def _act(self, message: messages.Message) -> None:
        if getattr(message, "j", None) not in (None, self._job):
            return  # what was under way for an earlier job of this connection
        if isinstance(message, messages.Error) and message.code == "E_AUTH":
            raise LinkClosed("the server had given this connection up")  # it was silent for long
        if isinstance(message, messages.Error) and message.re != self._awaited:
            raise from_code(message.code, message.msg, message.detail)
        self._moved_s = time.monotonic()
        if isinstance(message, messages.OutTile):
            self._take(message)
        elif self._down is None and not hasattr(message, "re"):
            return  # sent before the server knew that the job begins anew here
        elif isinstance(message, messages.Credit):
            if message.dir == "up":
                self._up.raise_to(message.max)
        elif isinstance(message, messages.JobNews):
            self._queued = message.state == "queued"
            if self._queued:
                self._show(Progress("queued", 0, 0, queue_pos=message.pos))
            elif message.state == "sending" and self._output is not None:
                self._show(Progress("download", self._output.next, len(self._output.grid)))
        elif isinstance(message, messages.JobProgress):
            self._queued = False
            if message.phase == "queued":  # at a paired host
                self._show(Progress("queued", 0, 0, queue_pos=message.total))
            else:
                self._show(Progress(message.phase, message.done, message.total, message.eta_s))
        elif isinstance(message, messages.JobDone):
            self._done = message
        elif isinstance(getattr(message, "re", None), int):
            self._answers[message.re] = message  # type: ignore[attr-defined]

    def _take(self, tile: messages.OutTile) -> None:
        if self._output is None:
            raise LinkProtocol("a tile of the result before job.ok")
        if self._down is None:
            return  # as above: it will come again
        self._queued = False
        self._down.receive(tile.n)
        self._output.take(tile)
        allowed = self._down.consume(tile.n)
        if allowed is not None:
            self._link.send(messages.Credit(self._job, "down", allowed))
        if self._shown.phase == "download" or self._output.next == len(self._output.grid):
            self._show(Progress("download", self._output.next, len(self._output.grid)))

    def _show(self, progress: Progress) -> None:
        """Tell the caller, ten times a second at most; a new phase or its end at once."""
        done = max(progress.done, self._shown.done if progress.phase == self._shown.phase else 0)
        progress = replace(progress, done=done, responding=self._link.responding)
        now_s = time.monotonic()
        urgent = (progress.phase, progress.queue_pos, progress.responding) != (
            self._shown.phase,
            self._shown.queue_pos,
            self._shown.responding,
        ) or (progress.done == progress.total != self._shown.done)
        self._shown = progress
        if urgent or now_s - self._shown_s >= PROGRESS_EVERY_S:
            self._shown_s = now_s
            self._on_progress(progress)


def _bit(bitmap: bytes, index: int) -> bool:
    """Whether tile `index` is named in a bitmap (least significant bit first)."""
    return index >> 3 < len(bitmap) and bool(bitmap[index >> 3] >> (index & 7) & 1)
