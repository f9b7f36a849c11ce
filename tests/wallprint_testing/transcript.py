"""What a client and a server of one release said to each other, recorded and played again.

    PYTHONPATH=tests python -m wallprint_testing.transcript tests/proof/transcripts

records a session between this client and this server into `wpp-MAJOR.MINOR.json`; done once for
each minor version of the protocol, when it is released. Played again, a recorded client must get
from today's server what it got then, and today's client from a recorded server. Minor versions only
add, so what is new on either side is passed over, and nothing recorded may be missing.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgpack
import pytest

import wallprint_protocol
from wallprint_protocol import connection as connection_module
from wallprint_protocol import messages, wire
from wallprint_protocol.connection import Connection
from wallprint_protocol.dealer import USER
from wallprint_protocol.dealer_zmtp import ZmtpDealer
from wallprint_protocol.endpoint import ConnectionInfo
from wallprint_protocol.errors import Cancelled, WallprintError
from wallprint_protocol.pixels import PixelLayout
from wallprint_server.transport import Transport
from wallprint_testing.servers import Picture

# Differs from run to run or from version to version: only there, and of the same type.
VOLATILE = {
    "nonce", "proof", "boot", "server", "limits", "ms", "minor", "report", "status", "models",
    "msg", "client", "key", "params", "ping_ms", "state",
}  # fmt: skip
# Each side sends these when it sees fit.
UNORDERED = {"ping", "pong", "credit"}


@dataclass(frozen=True)
class Line:
    """One message: `t` is for the reader, header and payload are what was on the wire, in hex."""

    by: str
    t: str
    header: str
    payload: str | None

    @classmethod
    def of(cls, by: str, frames: list) -> Line:
        """Of the frames of a dealer."""
        payload = bytes(frames[1]).hex() if len(frames) > 1 else None
        return cls(by, msgpack.unpackb(frames[0])["t"], bytes(frames[0]).hex(), payload)

    @property
    def fields(self) -> dict[str, Any]:
        """The header."""
        return msgpack.unpackb(bytes.fromhex(self.header))

    @property
    def free(self) -> bool:
        """Whether its place in the order says nothing."""
        return self.t in UNORDERED or self.t.startswith("$")

    def frames(self, **change) -> list[bytes]:
        """For sending, some header fields changed."""
        data = bytes.fromhex(self.header)
        if change:
            data = msgpack.packb({**self.fields, **change})
        return [data] if self.payload is None else [data, bytes.fromhex(self.payload)]


def perform(connection: Connection) -> list:
    """The session: requests, a job with a profile, one with a selection, a cancel, a refusal."""
    results: list = [bool(connection.models()), bool(connection.status()["state"])]
    pictures = [
        Picture(12, 9, (18, 14), PixelLayout("RGB", "u16")),
        Picture(7, 11, (14, 22), PixelLayout("RGBA", "u8", "straight"),
                selection=PixelLayout("GRAY", "u8")),
    ]  # fmt: skip
    object.__setattr__(pictures[0].request, "icc", bytes(range(200)))
    for picture in pictures:
        result = picture.enhance(connection)
        results += [picture.result == picture.expected(), result.notes]
    asked: list = []
    picture = Picture(9, 9)
    with pytest.raises(Cancelled):
        picture.enhance(
            connection,
            read=lambda rect: asked.append(rect) or picture.read(rect),
            should_cancel=lambda: bool(asked),
        )
    commit = messages.JobCommit(connection.next_id(), bytes(16), 1)
    with pytest.raises(WallprintError) as refused:
        connection.request(commit, messages.Ok)
    return [*results, refused.value.code]


def record(info: ConnectionInfo, folder: Path) -> Path:
    """Record a session with a running server; the file."""
    lines: list[Line] = []

    class RecordingDealer(ZmtpDealer):
        def send(self, frames, *, timeout_s):
            lines.append(Line.of("client", frames))
            super().send(frames, timeout_s=timeout_s)

        def receive(self, *, timeout_s, into=None):
            frames = super().receive(timeout_s=timeout_s, into=into)
            lines.append(Line.of("server", frames))
            return frames

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection_module, "open_dealer", RecordingDealer)
        with Connection(info, checksums=True) as connection:
            perform(connection)
    path = folder / f"wpp-{wallprint_protocol.PROTOCOL_VERSION}.json"
    document = {
        "protocol": wallprint_protocol.PROTOCOL_VERSION,
        "version": wallprint_protocol.__version__,
        "key": info.key.hex(),
        "lines": [asdict(line) for line in lines],
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path


def load(path: Path) -> tuple[bytes, list[Line]]:
    """The recorded key and lines."""
    document = json.loads(path.read_text())
    return bytes.fromhex(document["key"]), [Line(**line) for line in document["lines"]]


def check(recorded: dict, now: dict, changed: frozenset = frozenset()) -> None:
    """Everything recorded is there and, unless it may differ, the same."""
    assert recorded.keys() <= now.keys(), recorded.keys() - now.keys()
    for name, value in recorded.items():
        if name == "caps":
            assert set(value) <= set(now[name]), (recorded["t"], name)
        elif name in VOLATILE or name in changed:
            assert type(value) is type(now[name]), (recorded["t"], name)
        elif isinstance(value, dict):
            check(value, now[name])
        else:
            assert value == now[name], (recorded["t"], name, value, now[name])


def play_client(info: ConnectionInfo, key: bytes, lines: list[Line]) -> int:
    """The recorded client against a running server; how many answers were compared."""
    dealer = ZmtpDealer()
    dealer.connect(info.endpoints[0], user=USER, password=info.gate, timeout_s=2.0)
    client_nonce = server_nonce = b""
    compared = 0
    try:
        for line in lines:
            if line.by == "client":
                change = {}
                if line.t == "hello":
                    client_nonce = line.fields["nonce"]
                elif line.t == "auth":
                    change["proof"] = wire.proof(info.key, b"C", server_nonce, client_nonce)
                dealer.send(line.frames(**change), timeout_s=2.0)
                continue
            if line.free:
                continue
            while True:
                answer = Line.of("server", dealer.receive(timeout_s=5.0))
                if not answer.free:
                    break
            if answer.t == "challenge":
                server_nonce = answer.fields["nonce"]
            check(line.fields, answer.fields)
            assert line.payload == answer.payload, line.t
            compared += 1
    finally:
        dealer.close()
    return compared


class RecordedServer:
    """Answers as the recorded server did; what today's client said otherwise is in `problems`."""

    def __init__(self, address: str, info: ConnectionInfo, lines: list[Line]) -> None:
        self.problems: list[str] = []
        self.info = info
        self._turns = self._split(lines)
        self._ids: dict[int, int] = {}
        self._jobs: dict[bytes, bytes] = {}
        self._going = True
        self._transport = Transport(address, info.gate, lambda: True)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @staticmethod
    def _split(lines: list[Line]) -> Iterator[tuple[Line, list[Line]]]:
        """Each message of the client, with what the server said before the client's next."""
        turn: Line | None = None
        said: list[Line] = []
        for line in lines:
            if line.by == "server":
                said.append(line)
            elif not line.free:
                if turn is not None:
                    yield turn, said
                turn, said = line, []
        if turn is not None:
            yield turn, said

    def _serve(self) -> None:
        while self._going:
            self._transport.wait(0.01)
            received = self._transport.receive()
            if received is None:
                continue
            peer, frames = received
            heard = Line.of("client", frames)
            if heard.free:
                continue
            try:
                self._answer(peer, heard)
            except (AssertionError, StopIteration) as error:
                self.problems.append(f"{heard.t}: {error!r}")
                return

    def _answer(self, peer: bytes, heard: Line) -> None:
        recorded, said = next(self._turns)
        then, now = recorded.fields, heard.fields
        assert recorded.t == heard.t, (recorded.t, heard.t)
        check(then, now, frozenset({"id", "j"}))
        if heard.t != "job.open":  # a profile travels as it is, too, and is part of the key
            assert recorded.payload == heard.payload
        self._ids[then.get("id")] = now.get("id")
        self._jobs[then.get("j")] = now.get("j")
        for line in said:
            fields = line.fields
            change = {}
            if "re" in fields:
                change["re"] = self._ids[fields["re"]]
            if "j" in fields:
                change["j"] = self._jobs[fields["j"]]
            if line.t == "challenge":
                nonce = fields["nonce"]
                change["proof"] = wire.proof(self.info.key, b"S", now["nonce"], nonce)
            self._transport.send(peer, line.frames(**change))

    def stop(self) -> None:
        """End; a session that is not over is a problem."""
        self._going = False
        self._thread.join()
        self._transport.close()
        left = [line.t for line, _ in self._turns]
        if left:
            self.problems.append(f"not said: {left}")


def recorded_info(address: str, key: bytes, lines: list[Line]) -> ConnectionInfo:
    """The connection file of the recorded server, at another address."""
    welcome = next(line for line in lines if line.t == "welcome")
    info = ConnectionInfo.new((address,), start_id="", version="", log="")
    return replace(info, key=key, boot=welcome.fields["boot"])


if __name__ == "__main__":
    from wallprint_testing.watching import private_server

    with private_server() as running:
        print(record(running.info(), Path(sys.argv[1])))
