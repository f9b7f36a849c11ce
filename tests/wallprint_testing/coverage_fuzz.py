"""Targets for a fuzzer that watches which lines are reached (atheris), each a function of bytes.

    python -m wallprint_testing.coverage_fuzz TARGET [--seconds 60] [--corpus FOLDER]

Everything runs in this one process: no socket but a pair, no worker, a spool in its own folder.
A target returns for whatever bytes, and tells how far it came; whatever it raises is a fault.
`seeds` are valid inputs to start from.
The fuzzer with a live server and with many clients is `fuzzer.py`.

Needs atheris, which is no part of the test environment: it brings a libFuzzer of its own.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import shutil
import socket
import struct
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import msgpack

from wallprint_protocol import messages, wire
from wallprint_protocol.connection import Connection
from wallprint_protocol.dealer_zmtp import ZmtpDealer
from wallprint_protocol.endpoint import ConnectionInfo
from wallprint_protocol.errors import LinkClosed, LinkProtocol, ProtocolError, WallprintError
from wallprint_protocol.job_run import JobRun
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Rect, Size, place
from wallprint_protocol.request import Request
from wallprint_server.config import Limits, ServerConfig
from wallprint_server.hub import Hub
from wallprint_server.pairing import Pairings

J = b"j" * 16
_PIECE = struct.Struct("!BHH")  # which peer, bytes of the header, bytes of the payload


# -- inputs ----------------------------------------------------------------------------------------


def join(said: Sequence[tuple[int, Sequence[bytes]]]) -> bytes:
    """(peer, frames) one after the other, as `split` takes them apart."""
    pieces = []
    for peer, frames in said:
        header, payload = bytes(frames[0]), bytes(frames[1]) if len(frames) > 1 else b""
        pieces += [_PIECE.pack(peer, len(header), len(payload)), header, payload]
    return b"".join(pieces)


def split(data: bytes) -> list[tuple[int, list[bytes]]]:
    """The frames of each message and who sends it; whatever the bytes are."""
    said, at = [], 0
    while at + _PIECE.size <= len(data) and len(said) < 64:
        peer, header, payload = _PIECE.unpack_from(data, at)
        at += _PIECE.size
        frames = [data[at : at + header], data[at + header : at + header + payload]]
        at += header + payload
        said.append((peer & 1, frames if payload else frames[:1]))
    return said


def small_job() -> tuple[messages.JobOpen, messages.Tile]:
    """An opening and its only tile."""
    size, layout = Size(6, 4), PixelLayout("RGB", "u8")
    request = Request.build(size, layout, place(size, Size(12, 8), "crop"))
    params = request.options.to_map()
    opening = messages.JobOpen(
        id=3, j=J, key=bytes(32), op="enhance", model=params.pop("model"), w=6, h=4,
        out=request.out, fmt=layout, tile=size, params=params,
    )  # fmt: skip
    opening = messages.JobOpen(**{**vars(opening), "key": wire.job_key(opening)})
    fields = wire.tile_fields(0, Rect(0, 0, 6, 4), bytes(72), checksum=True)
    return opening, messages.Tile(j=J, **fields)


# -- targets ---------------------------------------------------------------------------------------


def decode(data: bytes) -> None:
    """What is understood is the same when it is said again; all else has a code."""
    for which, frames in split(data):
        known = (messages.FROM_CLIENT, messages.FROM_SERVER)[which]
        try:
            message = wire.decode(frames, known)
        except ProtocolError:
            continue
        again = wire.decode(wire.encode(message), known)
        assert again == message, (message, again)


def records(data: bytes) -> None:
    """The channel between server and worker, in two pieces."""
    reader, middle = wire.RecordReader(), len(data) // 2
    try:
        for record in reader.feed(data[:middle]) + reader.feed(data[middle:]):
            assert isinstance(record, dict)
    except ProtocolError:
        pass


def zmtp(data: bytes) -> None:
    """The pure-Python socket after its handshake: frames, or a coded end."""
    ours, theirs = socket.socketpair()
    dealer = ZmtpDealer(max_frame_bytes=1 << 16)
    dealer._socket = ours
    with theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        theirs.sendall(data[: 1 << 16])
        theirs.shutdown(socket.SHUT_WR)
        try:
            while True:
                frames = dealer.receive(timeout_s=1.0)
                assert 1 <= len(frames) <= 2
        except (LinkClosed, LinkProtocol):
            pass
        finally:
            dealer.close()


class _Scripted:
    """A dealer that says what it was told to."""

    def __init__(self, said: list[list[bytes]]) -> None:
        self.said = deque(said)

    def send(self, frames: Sequence[bytes], *, timeout_s: float) -> None:
        pass

    def receive(self, *, timeout_s: float, into: object = None) -> list[bytes]:
        if not self.said:
            raise LinkClosed("all was said")
        return self.said.popleft()

    def close(self) -> None:
        pass


def client(data: bytes) -> str:
    """A client's job against a server that says anything: an end with a code, no wrong pixel."""
    link = Connection.__new__(Connection)
    info = ConnectionInfo.new(("ipc://x",), start_id="", version="", log="")
    link.info, link.host, link.checksums, link.caps = info, "", True, frozenset(("resume",))
    link._dealer = _Scripted([frames for _, frames in split(data)])
    link._request_id, link._unanswered, link._jobs = 2, set(), set()
    link._ping_s, link._pings = 2.0, 0
    link._heard_s = link._looked_s = time.monotonic()
    opening, _ = small_job()
    size = Size(opening.w, opening.h)
    request = Request.build(size, opening.fmt, place(size, opening.out, "crop"))
    rows = []

    def write(rect: Rect, view: memoryview) -> None:
        assert bytes(view) == bytes(rect.size.pixels * 3)
        rows.append(rect.y)

    run = JobRun(
        link, request, lambda rect: bytes(72), write, None, None,
        None,
    )  # fmt: skip
    run._job = J

    def lost(should_cancel: object = None) -> Connection:
        raise LinkClosed("all was said")

    link._again = lost
    try:
        run.run()
    except WallprintError as error:
        assert rows == sorted(set(rows)), rows
        return error.code
    assert rows == [0], rows
    return "done"


class _Wire:
    """In the transport's place: what each peer says, and what it is answered."""

    lan_endpoint = lan_problem = ""

    def __init__(self, said: list[tuple[int, list[bytes]]]) -> None:
        self.said = deque(said)
        self.answers: list[str] = []
        self._heard = False

    def wait(self, timeout_s: float, descriptors: Sequence[int] = ()) -> set[int]:
        self._heard = False
        return {0}

    def receive(self) -> tuple[bytes, list[bytes]] | None:
        if self._heard or not self.said:
            return None
        self._heard = True  # one a turn, so that the worker's words come in between
        peer, frames = self.said.popleft()
        return b"peer%d" % peer, frames

    def send(self, peer: bytes, frames: Sequence[bytes]) -> None:
        message = wire.decode([bytes(frame) for frame in frames], messages.FROM_SERVER)
        self.answers.append(message.code if isinstance(message, messages.Error) else message.t)
        assert self.answers[-1] != "E_INTERNAL", message

    def someone_left(self) -> bool:
        return False


class _Worker:
    """In the worker's place: every job is done at once."""

    pid, running = 1, True

    def __init__(self) -> None:
        self.said: list[dict] = []

    def fileno(self) -> int:
        return -1

    def run(self, run: int, request: Request, files: object, place: object) -> None:
        self.said = [
            {"t": "progress", "run": run, "phase": "run", "done": 1, "total": 1, "rows": 1},
            {"t": "done", "run": run, "notes": [], "report": {}, "ms": 1, "leaving": False},
        ]

    def receive(self) -> list[dict]:
        said, self.said = self.said, []
        return said

    def cancel(self, run: int) -> None:
        self.said = [{"t": "cancelled", "run": run, "ms": 1, "leaving": False}]

    def stop(self, *, kill: bool = False) -> None:
        self.said = []


class HubTarget:
    """Two clients that say anything to the server's I/O process; both hold the key."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="wp-fuzz-"))
        limits = Limits(input_px=1 << 12, output_px=1 << 12, tiles=1 << 8)
        self.config = ServerConfig(self.folder, limits=limits)

    def __call__(self, data: bytes) -> list[str]:
        info = ConnectionInfo.new(("ipc://x",), start_id="", version="", log="")
        link = _Wire(split(data))
        hub = Hub(self.config, info, link, _Worker(), list, Pairings(self.folder))
        for number in range(2):
            hub._peers.hear(b"peer%d" % number).login = "in"
        for _ in range(len(link.said) + 2):
            hub.turn()
        for job in hub._jobs:
            hub._forget(job)
        assert hub._room.used_bytes == 0
        return link.answers

    def close(self) -> None:
        """Nothing is left but the folder."""
        shutil.rmtree(self.folder)


def seeds() -> dict[str, list[bytes]]:
    """Valid inputs for each target."""
    opening, tile = small_job()
    session: list[messages.Message] = [
        opening, messages.Credit(J, "down", 1 << 20), tile, messages.JobCommit(4, J, 1),
        messages.Ping(1), messages.Models(8), messages.ServerStatus(9),
        messages.JobResume(5, J, opening.key, b"\0"), messages.Credit(J, "down", 1 << 20),
        messages.Ping(2), messages.JobRelease(6, J), messages.JobCancel(7, J),
    ]  # fmt: skip
    pixels = wire.tile_fields(0, Rect(0, 0, 12, 8), bytes(288), checksum=True)
    outcome = messages.Outcome(opening.out, opening.fmt, opening.out)
    answers: list[messages.Message] = [
        messages.JobOk(3, J, "receiving", 0, outcome, 72), messages.Credit(J, "up", 1 << 20),
        messages.Ok(4), messages.JobNews(J, "running", 0), messages.JobProgress(J, 0, 1, "run"),
        messages.OutTile(j=J, **pixels), messages.JobDone(J, 1, 5, ("a note",)), messages.Ok(5),
    ]  # fmt: skip
    up, down = (
        [[bytes(frame) for frame in wire.encode(m)] for m in said] for said in (session, answers)
    )
    damaged = [down[5][0], b"\1" + down[5][1][1:]]  # is asked for again, and what follows dropped
    again = messages.JobOk(5, J, "sending", 0, outcome, 0), messages.Ok(6)
    opened, ended = ([[bytes(frame) for frame in wire.encode(m)]] for m in again)
    broken = [*down[:5], damaged, down[6], *opened, *down[5:7], *ended]
    frame = b"".join(b"\2" + len(h).to_bytes(8, "big") + h for h in (f[0] for f in down))
    return {
        "decode": [join([(0, f) for f in up]), join([(1, f) for f in down])],
        "records": [wire.frame_record(msgpack.unpackb(up[0][0]))],
        "zmtp": [frame, b"\4\7\4PING\0\0" + b"\1\1x\0\1y"],
        "client": [join([(0, f) for f in down]), join([(0, f) for f in broken])],
        "hub": [join([(0, f) for f in up]), join([(i & 1, f) for i, f in enumerate(up)])],
    }


TARGETS: dict[str, Callable[[], Callable[[bytes], object]]] = {
    "decode": lambda: decode,
    "records": lambda: records,
    "zmtp": lambda: zmtp,
    "client": lambda: client,
    "hub": HubTarget,
}


def main() -> None:
    import atheris

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, default=None)
    args = parser.parse_args()
    logging.disable()  # a log of nonsense
    folder = args.corpus or Path(tempfile.mkdtemp(prefix="wp-corpus-"))
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds()[args.target]):
        (folder / f"seed-{number}").write_bytes(data)
    # All that was imported is imported once more, to be watched.
    for name in [name for name in sys.modules if name.startswith("wallprint_")]:
        del sys.modules[name]
    with atheris.instrument_imports(include=["wallprint_protocol", "wallprint_server"]):
        watched = importlib.import_module("wallprint_testing.coverage_fuzz")
    target = watched.TARGETS[args.target]()
    options = [f"-max_total_time={args.seconds}", "-timeout=10", "-rss_limit_mb=1024",
               "-max_len=4096", "-print_final_stats=1"]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(folder)], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
