"""The messages of WPP/1: one frozen dataclass each, a unit on every number.

Knows what a message holds, not how it becomes bytes (wire.py) nor when it may be sent (client.py,
the server's transport). Field names are those of docs/protocol.md. An attribute annotated
`Annotated[int, KIND, "unit"]` is checked by KIND when a message comes in; one with the default None
may be absent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import Annotated, Any, ClassVar, Optional, Union

from .pixels import PixelLayout
from .print_size import Size

# ruff: noqa: UP007, UP045  - these annotations are evaluated at run time, on Python 3.9 too.

Buffer = Union[bytes, bytearray, memoryview]


class Kind:
    """What a field may hold: `load` checks a decoded value, `dump` is its inverse."""

    def load(self, value: Any) -> Any:
        """The Python value; raises ValueError that names what was expected."""
        raise NotImplementedError

    def dump(self, value: Any) -> Any:
        """The value to pack."""
        return value


@dataclass(frozen=True)
class Integer(Kind):
    """A whole number of so many bits."""

    bits: int
    signed: bool = False

    def load(self, value: Any) -> int:
        """Refuses bool, float and what does not fit."""
        low = -(1 << (self.bits - 1)) if self.signed else 0
        high = (1 << (self.bits - self.signed)) - 1
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"{value!r:.40} is no integer in {low}..{high}")
        return value


class Number(Kind):
    """A finite number."""

    def load(self, value: Any) -> float:
        """Refuses bool, NaN and infinities."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
            raise ValueError(f"{value!r:.40} is no finite number")
        return float(value)


@dataclass(frozen=True)
class Text(Kind):
    """A string, one of `allowed` when that is not empty."""

    allowed: tuple[str, ...] = ()

    def load(self, value: Any) -> str:
        """Refuses other types and other values."""
        if not isinstance(value, str) or (self.allowed and value not in self.allowed):
            wanted = " or ".join(map(repr, self.allowed)) or "a string"
            raise ValueError(f"{value!r:.40} is not {wanted}")
        return value


@dataclass(frozen=True)
class Binary(Kind):
    """Exactly so many bytes."""

    length: int

    def load(self, value: Any) -> bytes:
        """Refuses other lengths."""
        if not isinstance(value, bytes) or len(value) != self.length:
            raise ValueError(f"expected {self.length} bytes")
        return value


class Mapping(Kind):
    """A map with string keys; what it holds is its reader's business."""

    def load(self, value: Any) -> dict[str, Any]:
        """Refuses other types."""
        if not isinstance(value, dict):
            raise ValueError("expected a map")
        return value


@dataclass(frozen=True)
class ListOf(Kind):
    """A list of one kind, as a tuple."""

    item: Kind

    def load(self, value: Any) -> tuple[Any, ...]:
        """Refuses other types and any wrong item."""
        if not isinstance(value, (list, tuple)):
            raise ValueError("expected a list")
        return tuple(self.item.load(v) for v in value)

    def dump(self, value: Any) -> list[Any]:
        """The list."""
        return [self.item.dump(v) for v in value]


class Extent(Kind):
    """A `Size` as {w, h}."""

    def load(self, value: Any) -> Size:
        """Refuses a missing or ill-typed side."""
        if not isinstance(value, dict):
            raise ValueError("expected {w, h}")
        side = Integer(32)
        return Size(side.load(value.get("w")), side.load(value.get("h")))

    def dump(self, value: Size) -> dict[str, int]:
        """The map."""
        return {"w": value.width, "h": value.height}


class Format(Kind):
    """A `PixelLayout` as its map."""

    def load(self, value: Any) -> PixelLayout:
        """Refuses what `PixelLayout` refuses."""
        if not isinstance(value, dict):
            raise ValueError("expected a pixel format")
        return PixelLayout.from_map(value)

    def dump(self, value: PixelLayout) -> dict[str, str]:
        """The map."""
        return value.to_map()


@dataclass(frozen=True)
class Outcome:
    """The result's geometry in `job.ok`: exact size, layout, grid cell."""

    size: Size
    fmt: PixelLayout
    tile: Size


class OutcomeKind(Kind):
    """An `Outcome` as {w, h, fmt, tile}."""

    def load(self, value: Any) -> Outcome:
        """Refuses a missing or ill-typed part."""
        size = Extent().load(value)
        return Outcome(size, Format().load(value.get("fmt")), Extent().load(value.get("tile")))

    def dump(self, value: Outcome) -> dict[str, Any]:
        """The map."""
        return {
            **Extent().dump(value.size),
            "fmt": value.fmt.to_map(),
            "tile": Extent().dump(value.tile),
        }


_U8, _U32, _U64 = Integer(8), Integer(32), Integer(64)
RequestId = Annotated[int, _U64, "request number"]
JobId = Annotated[bytes, Binary(16), "UUID"]
Secret = Annotated[bytes, Binary(32), "bytes"]
Px = Annotated[int, _U32, "px"]
Tiles = Annotated[int, _U32, "tiles"]
TileBytes = Annotated[int, _U32, "bytes"]
Bytes = Annotated[int, _U64, "bytes"]
Millis = Annotated[int, _U32, "ms"]
Version = Annotated[int, _U8, "version"]
Words = Annotated[tuple[str, ...], ListOf(Text()), "words"]
Map = Annotated[dict[str, Any], Mapping(), "map"]
State = Annotated[str, Text(("warming", "ready")), "server state"]
JobState = Annotated[str, Text(("receiving", "queued", "running", "sending")), "job state"]
Position = Annotated[int, _U32, "jobs before this one"]

NO_PAYLOAD, MAY_HAVE_PAYLOAD, MUST_HAVE_PAYLOAD = range(3)


@dataclass(frozen=True)
class Message:
    """Base: `t` is the type on the wire, `frames` says whether a payload follows the header."""

    t: ClassVar[str] = ""
    payload_rule: ClassVar[int] = NO_PAYLOAD


@dataclass(frozen=True)
class Hello(Message):
    """C: the first message of a connection."""

    t: ClassVar[str] = "hello"
    id: RequestId
    proto: Annotated[tuple[int, ...], ListOf(_U8), "major versions"]
    minor: Version
    nonce: Secret
    client: Map
    caps: Words
    max_chunk: TileBytes


@dataclass(frozen=True)
class Challenge(Message):
    """S: proves that the server holds the key."""

    t: ClassVar[str] = "challenge"
    re: RequestId
    nonce: Secret
    proof: Secret


@dataclass(frozen=True)
class Auth(Message):
    """C: proves that the client holds the key."""

    t: ClassVar[str] = "auth"
    id: RequestId
    proof: Secret


@dataclass(frozen=True)
class Welcome(Message):
    """S: logged in."""

    t: ClassVar[str] = "welcome"
    re: RequestId
    proto: Version
    minor: Version
    boot: JobId
    server: Map
    state: State
    caps: Words
    ping_ms: Millis
    limits: Map


@dataclass(frozen=True)
class Models(Message):
    """C: which networks are there?"""

    t: ClassVar[str] = "models"
    id: RequestId


@dataclass(frozen=True)
class ModelList(Message):
    """S: the networks, one map each."""

    t: ClassVar[str] = "models"
    re: RequestId
    models: Annotated[tuple[dict[str, Any], ...], ListOf(Mapping()), "maps"]


@dataclass(frozen=True)
class ServerStatus(Message):
    """C: how is the server?"""

    t: ClassVar[str] = "server.status"
    id: RequestId


@dataclass(frozen=True)
class StatusReport(Message):
    """S: how the server is."""

    t: ClassVar[str] = "server.status"
    re: RequestId
    status: Map


@dataclass(frozen=True)
class ServerStop(Message):
    """C: end the server; answered `ok`, then `bye`."""

    t: ClassVar[str] = "server.stop"
    id: RequestId


@dataclass(frozen=True)
class JobOpen(Message):
    """C: a new job; the payload is the ICC profile, if there is one."""

    t: ClassVar[str] = "job.open"
    payload_rule: ClassVar[int] = MAY_HAVE_PAYLOAD
    id: RequestId
    j: JobId
    key: Secret
    op: Annotated[str, Text(("enhance",)), "operation"]
    model: Annotated[str, Text(), "catalogue name, empty for the style's own"]
    w: Px
    h: Px
    out: Annotated[Size, Extent(), "px"]
    fmt: Annotated[PixelLayout, Format(), "pixel layout"]
    tile: Annotated[Size, Extent(), "px"]
    params: Map
    prio: Annotated[int, Integer(8, signed=True), "reserved"] = 0
    preview: Px = 0
    attempt: Annotated[int, _U8, "attempts"] = 1
    selection: Optional[Annotated[PixelLayout, Format(), "pixel layout"]] = None
    selection_tile: Optional[Annotated[Size, Extent(), "px"]] = None
    host: Optional[Annotated[str, Text(), "`local`, a paired host's name, or `NAME,local`"]] = None
    payload: Optional[Buffer] = None


@dataclass(frozen=True)
class JobOk(Message):
    """S: the job is open; the payload is the bitmap of the tiles held, if there are any."""

    t: ClassVar[str] = "job.ok"
    payload_rule: ClassVar[int] = MAY_HAVE_PAYLOAD
    re: RequestId
    j: JobId
    state: JobState
    pos: Position
    out: Annotated[Outcome, OutcomeKind(), "geometry"]
    need_bytes: Bytes
    payload: Optional[Buffer] = None


@dataclass(frozen=True)
class Tile(Message):
    """C: pixels of the source (plane 0) or of the selection (plane 1)."""

    t: ClassVar[str] = "tile"
    payload_rule: ClassVar[int] = MUST_HAVE_PAYLOAD
    j: JobId
    s: Annotated[int, _U32, "index in the grid"]
    x: Px
    y: Px
    w: Px
    h: Px
    n: TileBytes
    crc: Optional[Annotated[int, _U32, "zlib.crc32 of the payload"]] = None
    enc: Annotated[str, Text(("raw",)), "encoding"] = "raw"
    plane: Annotated[int, _U8, "0 pixels, 1 selection"] = 0
    payload: Optional[Buffer] = None


@dataclass(frozen=True)
class OutTile(Message):
    """S: pixels of the result."""

    t: ClassVar[str] = "out.tile"
    payload_rule: ClassVar[int] = MUST_HAVE_PAYLOAD
    j: JobId
    s: Annotated[int, _U32, "index in the grid"]
    x: Px
    y: Px
    w: Px
    h: Px
    n: TileBytes
    crc: Optional[Annotated[int, _U32, "zlib.crc32 of the payload"]] = None
    enc: Annotated[str, Text(("raw",)), "encoding"] = "raw"
    payload: Optional[Buffer] = None


@dataclass(frozen=True)
class JobCommit(Message):
    """C: all tiles are sent."""

    t: ClassVar[str] = "job.commit"
    id: RequestId
    j: JobId
    tiles: Tiles


@dataclass(frozen=True)
class Ok(Message):
    """S: the request is granted."""

    t: ClassVar[str] = "ok"
    re: RequestId


@dataclass(frozen=True)
class ServerNews(Message):
    """S: the server's state changed."""

    t: ClassVar[str] = "$server"
    state: State


@dataclass(frozen=True)
class JobNews(Message):
    """S: the job's state or place in the queue changed."""

    t: ClassVar[str] = "$state"
    j: JobId
    state: JobState
    pos: Position


@dataclass(frozen=True)
class JobProgress(Message):
    """S: how far the worker is; `done` never falls within a phase."""

    t: ClassVar[str] = "$progress"
    j: JobId
    done: Tiles
    total: Tiles
    phase: Annotated[str, Text(), "stage"]
    eta_s: Optional[Annotated[float, Number(), "s"]] = None


@dataclass(frozen=True)
class JobDone(Message):
    """S, terminal: every tile of the result has been sent before this."""

    t: ClassVar[str] = "job.done"
    j: JobId
    tiles: Tiles
    ms: Annotated[int, _U64, "ms"]
    notes: Words
    report: Map = field(default_factory=dict)


@dataclass(frozen=True)
class JobRelease(Message):
    """C: the result is in place; the server may forget it."""

    t: ClassVar[str] = "job.release"
    id: RequestId
    j: JobId


@dataclass(frozen=True)
class JobResume(Message):
    """C: go on with a job of a connection that was lost; the payload names the tiles held.

    One bit a tile of the result, row-major, least significant bit first; no payload: none is held.
    """

    t: ClassVar[str] = "job.resume"
    payload_rule: ClassVar[int] = MAY_HAVE_PAYLOAD
    id: RequestId
    j: JobId
    key: Secret
    payload: Optional[Buffer] = None


@dataclass(frozen=True)
class JobCancel(Message):
    """C: stop; legal in every state, always answered."""

    t: ClassVar[str] = "job.cancel"
    id: RequestId
    j: JobId


@dataclass(frozen=True)
class JobCancelled(Message):
    """S, terminal: the answer to `job.cancel`."""

    t: ClassVar[str] = "job.cancelled"
    re: RequestId
    j: JobId


@dataclass(frozen=True)
class Credit(Message):
    """Both: so many bytes of this job and direction may have been sent since it began."""

    t: ClassVar[str] = "credit"
    j: JobId
    dir: Annotated[str, Text(("up", "down")), "direction"]
    max: Bytes


@dataclass(frozen=True)
class Ping(Message):
    """Both: are you there?"""

    t: ClassVar[str] = "ping"
    q: RequestId


@dataclass(frozen=True)
class Pong(Message):
    """Both: I am."""

    t: ClassVar[str] = "pong"
    q: RequestId


@dataclass(frozen=True)
class Bye(Message):
    """S: the server ends."""

    t: ClassVar[str] = "bye"
    reason: Annotated[str, Text(("idle", "shutdown", "upgrade")), "reason"]
    retry_s: Annotated[int, _U32, "s"]


@dataclass(frozen=True)
class Error(Message):
    """S: with `j` terminal for that job, with `re` alone only a refused request.

    The payload is the bitmap of missing tiles when the code is E_INCOMPLETE.
    """

    t: ClassVar[str] = "error"
    payload_rule: ClassVar[int] = MAY_HAVE_PAYLOAD
    code: Annotated[str, Text(), "code"]
    msg: Annotated[str, Text(), "plain English"]
    retry: Annotated[str, Text(("no", "now", "later", "changed")), "when"]
    re: Optional[RequestId] = None
    j: Optional[JobId] = None
    detail: Optional[Map] = None
    payload: Optional[Buffer] = None


_FROM_CLIENT = (
    Hello, Auth, Models, ServerStatus, ServerStop, JobOpen, Tile, JobCommit, JobRelease, JobResume,
    JobCancel, Credit, Ping, Pong,
)  # fmt: skip
_FROM_SERVER = (
    Challenge, Welcome, ModelList, StatusReport, JobOk, Ok, ServerNews, JobNews, JobProgress,
    OutTile, JobDone, JobCancelled, Credit, Ping, Pong, Bye, Error,
)  # fmt: skip
FROM_CLIENT: dict[str, type[Message]] = {m.t: m for m in _FROM_CLIENT}
FROM_SERVER: dict[str, type[Message]] = {m.t: m for m in _FROM_SERVER}
