"""Sessions of nonsense against a live server: what they consist of, and how they are played.

A session is some connections and the frames that they send in turn. All frames are made before
anything is sent, so that Hypothesis can shrink and repeat what fails. Everything starts from a
valid message of a small job; what is damaged is its fields, its bytes, its geometry or its frames.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import msgpack
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from wallprint_protocol import messages, wire
from wallprint_protocol.dealer import USER
from wallprint_protocol.dealer_zmtp import ZmtpDealer
from wallprint_protocol.endpoint import ConnectionInfo
from wallprint_protocol.errors import LinkClosed, LinkTimeout
from wallprint_protocol.pixels import Grid, PixelLayout
from wallprint_protocol.print_size import Size, place
from wallprint_protocol.request import Request

MAX_MALFORMED = 5  # after so many the server ignores a peer
ANSWER_S = 5.0
JOB_S = 0.25  # for what still runs at a session's end; some wait for credit that never comes
RGB, GRAY = PixelLayout("RGB", "u8"), PixelLayout("GRAY", "u8")

# What any field may be replaced by. `server.stop` is no type that the fuzzer may say.
EDGES = [
    0, 1, -1, 255, 256, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1, -(2**63), True, False,
    None, "", "x", "é" * 2000, "x" * 4097, b"", bytes(15), bytes(16), bytes(32), bytes(8193), 0.0,
    -0.0, 1.5, math.nan, math.inf, [], [0] * 3, [0] * 4097, [""], {}, {"w": 0, "h": 0},
    {"w": 2**32 - 1, "h": 2**32 - 1}, {"w": -1, "h": "x"}, {str(i): i for i in range(65)}, [[[[]]]],
    "u8", "f16", "RGBA", "down", "up", "raw", "../../x",
]  # fmt: skip
for _ in range(20):
    EDGES[-7] = [EDGES[-7]]  # nested deeper than allowed
TYPES = [
    *sorted(messages.FROM_CLIENT.keys() - {"server.stop"}),
    "$new", "new", "out.tile", "welcome", "bye", "",
]  # fmt: skip
SIDES = [0, 1, 2, 3, 7, 16, 64, 262_144, 262_145, 2**31, 2**32 - 1]


@dataclass(frozen=True)
class Plan:
    """One valid small job."""

    j: bytes
    source: Size
    out: Size
    cell: Size
    mask: bool = False

    def open(self, number: int, **change) -> messages.JobOpen:
        """Its `job.open`, with the key that fits."""
        placement = place(self.source, self.out, "crop")
        selection = GRAY if self.mask else None
        request = Request.build(self.source, RGB, placement, selection=selection)
        params = request.options.to_map()
        message = messages.JobOpen(
            id=number, j=self.j, key=bytes(32), op="enhance", model=params.pop("model"),
            w=self.source.width, h=self.source.height, out=request.out, fmt=RGB, tile=self.cell,
            params=params, selection=request.selection,
            selection_tile=self.cell if self.mask else None,
        )  # fmt: skip
        message = replace(message, **change)
        return replace(message, key=wire.job_key(message))

    def tile(self, index: int, plane: int) -> messages.Tile:
        """One of its tiles, of any whole number as an index."""
        grid = Grid(self.source, self.cell)
        rect = grid.rect(index % len(grid))
        payload = bytes([index % 251]) * (rect.size.pixels * (1 if plane else 3))
        fields = wire.tile_fields(index % len(grid), rect, payload, checksum=bool(index & 1))
        return messages.Tile(j=self.j, plane=plane, **fields)

    @property
    def tiles(self) -> int:
        """How many a commit has to announce."""
        return len(Grid(self.source, self.cell)) * (2 if self.mask else 1)


PLANS = [
    Plan(b"\1" * 16, Size(8, 8), Size(16, 16), Size(8, 8)),
    Plan(b"\2" * 16, Size(16, 12), Size(9, 31), Size(5, 5)),
    Plan(b"\3" * 16, Size(7, 9), Size(14, 18), Size(7, 3), mask=True),
]


@dataclass(frozen=True)
class Session:
    """What is played.

    Attributes:
        logins: of each connection, "in", "hello" (no proof follows) or "none".
        steps: which connection sends which frames, in order.
    """

    logins: tuple[str, ...]
    steps: tuple[tuple[int, tuple[bytes, ...]], ...]

    def __repr__(self) -> str:
        """Short enough to be read: payloads by their length."""
        lines = [
            f"{number}: {frames[0][:300]!r} + {[len(frame) for frame in frames[1:]]}"
            for number, frames in self.steps
        ]
        return "\n  ".join([f"Session of {', '.join(self.logins)}:", *lines])


# -- strategies ------------------------------------------------------------------------------------


def _valid(draw: Callable) -> messages.Message:
    """A message that some moment of some job allows."""
    number = draw(st.integers(1, 9))
    plan = draw(st.sampled_from(PLANS))
    kind = draw(st.sampled_from(_MAKERS))
    return kind(draw, plan, number)


def _odd_geometry(draw: Callable, plan: Plan, number: int) -> messages.Message:
    """An opening of any size; nothing between small and over the limit, which would fill a disk."""
    side = st.sampled_from(SIDES)
    w, h, ow, oh = (draw(side) for _ in range(4))
    if w * h > 1 << 20 and max(w, h) <= 262_144:
        h = 1
    if ow * oh > 1 << 20 and max(ow, oh) <= 262_144:
        oh = 1
    tile = Size(draw(side), draw(side))
    return plan.open(number, w=w, h=h, out=Size(ow, oh), tile=tile)


_MAKERS: list[Callable] = [
    lambda draw, plan, number: plan.open(number),
    lambda draw, plan, number: plan.open(number),
    lambda draw, plan, number: plan.tile(draw(st.integers(0, 20)), 0),
    lambda draw, plan, number: plan.tile(draw(st.integers(0, 20)), 0),
    lambda draw, plan, number: plan.tile(draw(st.integers(0, 20)), 1),
    lambda draw, plan, number: messages.JobCommit(number, plan.j, plan.tiles),
    lambda draw, plan, number: messages.JobCommit(number, plan.j, draw(st.integers(0, 30))),
    lambda draw, plan, number: messages.JobCancel(number, plan.j),
    lambda draw, plan, number: messages.JobRelease(number, plan.j),
    lambda draw, plan, number: messages.JobResume(number, plan.j, plan.open(1).key, draw(
        st.sampled_from((None, b"", b"\0", b"\1", b"\2", b"\xff", bytes(9))))),
    lambda draw, plan, number: messages.Credit(plan.j, "down", draw(st.sampled_from(
        (0, 1, 1 << 16, 1 << 20, 2**64 - 1)))),
    lambda draw, plan, number: messages.Credit(plan.j, "up", 1 << 20),
    lambda draw, plan, number: messages.Ping(number),
    lambda draw, plan, number: messages.Pong(number),
    lambda draw, plan, number: messages.Models(number),
    lambda draw, plan, number: messages.ServerStatus(number),
    lambda draw, plan, number: messages.Hello(number, (1,), 0, bytes(32), {}, (), 1 << 20),
    lambda draw, plan, number: messages.Auth(number, bytes(32)),
    _odd_geometry,
    _odd_geometry,
]  # fmt: skip

_EDGE = st.sampled_from(EDGES)
_VALUE = st.one_of(_EDGE, _EDGE, st.integers(-(2**63), 2**64 - 1), st.text(max_size=9),
                   st.binary(max_size=33))  # fmt: skip


def _damaged_fields(draw: Callable, header: dict) -> dict:
    """Some fields changed, taken away or added, also one level down."""
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(sorted(header)))
        if name == "t":
            header["t"] = draw(st.sampled_from(TYPES))
            continue
        inner = header[name]
        how = draw(st.sampled_from(("set", "set", "set", "drop", "add")))
        if isinstance(inner, dict) and inner and draw(st.booleans()):
            header[name] = {**inner, draw(st.sampled_from(sorted(inner))): draw(_VALUE)}
        elif how == "drop":
            del header[name]
            if not header:
                return header
        elif how == "add":
            header[draw(st.text(max_size=5))] = draw(_VALUE)
        else:
            header[name] = draw(_VALUE)
    return header


def _damaged_bytes(draw: Callable, data: bytes) -> bytes:
    """Some bytes changed, the end cut off or something added."""
    how = draw(st.sampled_from(("flip", "flip", "cut", "add", "noise")))
    if how == "noise":
        return draw(st.binary(max_size=64))
    if how == "cut":
        return data[: draw(st.integers(0, max(0, len(data) - 1)))]
    if how == "add":
        return data + draw(st.binary(min_size=1, max_size=9))
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        changed[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(changed)


def _damaged_frames(draw: Callable, frames: list[bytes]) -> list[bytes]:
    """Another number of frames, or another length of the payload."""
    how = draw(st.sampled_from(("more", "fewer", "longer", "shorter", "twice", "header", "huge")))
    if how == "more":
        return frames + [bytes(draw(st.integers(0, 70)))] * draw(st.integers(1, 3))
    if how == "fewer":
        return frames[-1:]
    if how == "longer":
        return [*frames[:-1], frames[-1] + b"\0"]
    if how == "shorter":
        return [*frames[:-1], frames[-1][:-1]]
    if how == "twice":
        return frames * 2
    if how == "header":
        return [bytes(draw(st.sampled_from((0, 1 << 16, (1 << 16) + 1))))]
    # A frame over the limit ends the connection, so it must be rare.
    over = draw(st.integers(0, 15)) == 0
    return [frames[0], bytes(wire.MAX_MESSAGE_BYTES + 1 if over else wire.MAX_CHUNK_BYTES + 1)]


def _sometimes_damaged(
    draw: Callable, message: messages.Message, damages: tuple[str, ...]
) -> tuple[bytes, ...]:
    """The frames of one message, damaged in one of the ways named ("" leaves it whole)."""
    frames = [bytes(frame) for frame in wire.encode(message)]
    damage = draw(st.sampled_from(damages))
    if damage == "fields":
        frames[0] = msgpack.packb(_damaged_fields(draw, msgpack.unpackb(frames[0])))
    elif damage == "bytes":
        frames[0] = _damaged_bytes(draw, frames[0])
    elif damage == "frames":
        frames = _damaged_frames(draw, frames)
    return tuple(frames)


def _single(draw: Callable) -> list[tuple[bytes, ...]]:
    """One message, half of the time damaged."""
    return [_sometimes_damaged(draw, _valid(draw), ("", "", "fields", "bytes", "frames"))]


def _whole_job(draw: Callable) -> list[tuple[bytes, ...]]:
    """A job from its opening to its release, one message in twenty damaged, some left out."""
    plan = draw(st.sampled_from(PLANS))
    count = len(Grid(plan.source, plan.cell))
    story: list[messages.Message] = [plan.open(11)]
    story += [plan.tile(index, plane) for plane in range(1 + plan.mask) for index in range(count)]
    story += [messages.Credit(plan.j, "down", 1 << 20), messages.JobCommit(12, plan.j, plan.tiles)]
    ending = draw(st.sampled_from(("", "release", "cancel", "open")))
    if ending:
        story.append(
            {
                "release": messages.JobRelease(13, plan.j),
                "cancel": messages.JobCancel(14, plan.j),
                "open": plan.open(15),
            }[ending]
        )
    left_out = draw(st.integers(0, 3 * len(story)))
    return [
        _sometimes_damaged(draw, message, ("",) * 17 + ("fields", "bytes", "frames"))
        for number, message in enumerate(story)
        if number != left_out
    ]


@st.composite
def sessions(draw: Callable) -> Session:
    """Up to three connections, each with a story of its own, told in turns."""
    login = st.sampled_from(("in", "in", "in", "in", "in", "in", "in", "hello", "none"))
    logins = tuple(draw(st.lists(login, min_size=1, max_size=3)))
    stories: list[list[tuple[bytes, ...]]] = []
    for _ in logins:
        parts = draw(st.lists(st.booleans(), min_size=2, max_size=8))
        stories.append([f for whole in parts for f in (_whole_job if whole else _single)(draw)])
    steps = []
    while any(stories):
        number = draw(st.integers(0, len(stories) - 1))
        steps += [(number, frames) for frames in stories[number][:3]]
        del stories[number][:3]
        if not stories[number] and number != len(stories) - 1:  # so that the end is reached
            steps += [(len(stories) - 1, frames) for frames in stories[-1]]
            stories[-1] = []
    return Session(logins, tuple(steps))


# -- playing ---------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What was sent and what came back.

    Attributes:
        messages: sent, altogether.
        heeded: of these, sent while the connection was logged in and not yet ignored.
        sessions: played.
        answers: types of answers, errors by their code.
    """

    messages: int = 0
    heeded: int = 0
    sessions: int = 0
    answers: Counter = field(default_factory=Counter)


class FuzzPeer:
    """One connection of a session; knows whether the server still has to listen to it."""

    def __init__(self, info: ConnectionInfo, login: str, tally: Tally) -> None:
        self._tally = tally
        self._malformed = 0
        self._may_end = False
        self._open = True
        self._in = False
        self._running: set[bytes | None] = set()  # jobs that have started and not ended
        self._dealer = ZmtpDealer()
        self._dealer.connect(info.endpoints[0], user=USER, password=info.gate, timeout_s=ANSWER_S)
        if login != "none":
            hello = messages.Hello(1, (1,), 0, bytes(32), {}, (), wire.MAX_CHUNK_BYTES)
            self._dealer.send(wire.encode(hello), timeout_s=ANSWER_S)
            challenge = self._hear_answer()
            assert isinstance(challenge, messages.Challenge), challenge
            if login == "in":
                proof = wire.proof(info.key, b"C", challenge.nonce, bytes(32))
                self._dealer.send(wire.encode(messages.Auth(2, proof)), timeout_s=ANSWER_S)
                welcome = self._hear_answer()
                assert isinstance(welcome, messages.Welcome), welcome
                self._in = True

    def send(self, frames: tuple[bytes, ...]) -> None:
        """Send; a connection that was ended by a frame over the limit says nothing more."""
        if not self._open:
            return
        self._tally.messages += 1
        self._tally.heeded += self._in and self._malformed < MAX_MALFORMED
        self._may_end = self._may_end or any(len(f) > wire.MAX_MESSAGE_BYTES for f in frames)
        try:
            self._dealer.send(frames, timeout_s=ANSWER_S)
            while True:
                self._hear(0.0)
        except LinkTimeout:
            pass
        except LinkClosed:
            self._ended()

    def finish(self) -> None:
        """A peer that has not broken the rules five times must still be answered."""
        answered = False
        try:
            if self._open:
                self._dealer.send(wire.encode(messages.Ping(2**63)), timeout_s=ANSWER_S)
            while self._open:
                must_answer = self._in and self._malformed < MAX_MALFORMED
                answer = self._hear(ANSWER_S if must_answer else 0.002)
                if answer == messages.Pong(2**63):
                    answered = True
                    break
            until = time.monotonic() + JOB_S
            while self._running and self._open and time.monotonic() < until:
                self._hear(JOB_S)
        except LinkTimeout:
            heeded = self._in and self._malformed < MAX_MALFORMED
            assert answered or not heeded, "no answer to a ping"
        except LinkClosed:
            self._ended()

    def close(self) -> None:
        """Go."""
        self._dealer.close()

    def _hear(self, timeout_s: float) -> messages.Message:
        """The next message; every one must be whole, and no error may be a bug."""
        message = wire.decode(self._dealer.receive(timeout_s=timeout_s), messages.FROM_SERVER)
        name = message.code if isinstance(message, messages.Error) else message.t
        self._tally.answers[name] += 1
        assert name not in ("E_INTERNAL", "E_BACKEND", "E_GPU_LOST"), message
        if isinstance(message, messages.JobNews):
            self._running.add(message.j)
        elif isinstance(message, (messages.JobDone, messages.JobCancelled, messages.Error)):
            self._running.discard(message.j)
        if name in ("E_PROTO", "E_BAD_FIELD") and message.j is None:
            self._malformed += 1
        return message

    def _hear_answer(self) -> messages.Message:
        """The next message that is no sign of life."""
        while isinstance(message := self._hear(ANSWER_S), (messages.Ping, messages.ServerNews)):
            pass
        return message

    def _ended(self) -> None:
        assert self._may_end, "the connection was closed without cause"
        self._open = False


def play(info: ConnectionInfo, session: Session, tally: Tally) -> None:
    """One session from its logins to its end; raises AssertionError for what must not happen."""
    peers: list[FuzzPeer] = []
    try:
        peers.extend(FuzzPeer(info, login, tally) for login in session.logins)
        for number, frames in session.steps:
            peers[number].send(frames)
        for peer in peers:
            peer.finish()
        tally.sessions += 1
    finally:
        for peer in peers:
            peer.close()


def fuzz(
    info: ConnectionInfo, count: int, first_seed: int = 1, every: Callable | None = None
) -> Tally:
    """Play sessions until so many messages were sent.

    Args:
        info: of the server.
        count: of messages.
        first_seed: of Hypothesis; each hundred sessions have a seed of their own.
        every: called with the tally after each hundred sessions.
    """
    tally = Tally()
    for number in itertools.count(first_seed):

        @seed(number)
        @settings(
            max_examples=100,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(sessions())
        def hundred(session: Session) -> None:
            play(info, session, tally)

        hundred()
        if every is not None:
            every(tally)
        if tally.messages >= count:
            return tally
    raise AssertionError("unreachable")
