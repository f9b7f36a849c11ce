"""What strangers try on the server's address: floods and web pages."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from wallprint_testing.servers import Picture, RunningServer
from wallprint_testing.watching import PeakMemory

FRAME_BYTES = 1 << 20

# A full queue of connections lets the next one wait for a second.
CONNECT_S = 5.0


def greeting(mechanism: bytes, minor: int = 1) -> bytes:
    """The 64 bytes with which ZMTP 3 begins (https://rfc.zeromq.org/spec/37/)."""
    return (
        b"\xff" + bytes(8) + b"\x7f\x03" + bytes([minor]) + mechanism.ljust(20, b"\0") + bytes(32)
    )


def _command(name: bytes, data: bytes) -> bytes:
    body = bytes([len(name)]) + name + data
    return b"\x04" + bytes([len(body)]) + body


# What comes before the frames: nobody's, a wrong mechanism's, a wrong password's, a login that is
# passed over, nothing at all.
OPENINGS = [
    greeting(b"NULL", 0),
    greeting(b"NULL") + _command(b"READY", b"\x0bSocket-Type\0\0\0\x06DEALER"),
    greeting(b"PLAIN") + _command(b"HELLO", b"\x04wpp1\x05wrong"),
    greeting(b"PLAIN") + _command(b"INITIATE", b"\x0bSocket-Type\0\0\0\x06DEALER"),
    greeting(b"CURVE"),
    b"",
]


def _dial_unix(path: str) -> socket.socket:
    """A Unix socket does not wait when the queue of new connections is full; a stranger does."""
    deadline = time.monotonic() + 5.0
    while True:
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(1.0)
        try:
            link.connect(path)
            return link
        except OSError as error:
            link.close()
            if not isinstance(error, BlockingIOError) or time.monotonic() > deadline:
                raise
        time.sleep(0.002)


@contextmanager
def dial(address: str) -> Iterator[socket.socket]:
    """A plain socket to a ZeroMQ endpoint."""
    scheme, _, where = address.partition("://")
    if scheme == "ipc":
        link = _dial_unix(where)
    else:
        host, _, port = where.rpartition(":")
        link = socket.create_connection((host, int(port)), timeout=CONNECT_S)
        link.settimeout(1.0)
    with link:
        yield link


@dataclass(frozen=True)
class Flood:
    """What a flood achieved.

    Attributes:
        sent_mib: that the system took, over all connections.
        connections: that were needed.
        growth_mib: of the server's resident memory at its peak.
        client_s: until a real client, in the middle of it, was logged in; the longest of several.
        served: whether its jobs were right.
    """

    sent_mib: float
    connections: int
    growth_mib: float
    client_s: float
    served: bool


def flood(server: RunningServer, mebibytes: int, idle: int, address: str = "") -> Flood:
    """Unfinished messages of so many MiB, over as many connections as it takes, and idle ones.

    They go to the server's own address or to another of its doors; real clients to the former.
    """
    address = address or server.info().endpoints[0]
    frame = b"\x03" + FRAME_BYTES.to_bytes(8, "big") + bytes(FRAME_BYTES)  # MORE, long
    sent, connections, ended = 0, 0, threading.Event()

    def pour() -> None:
        nonlocal sent, connections
        deadline = time.monotonic() + 60.0
        while sent < mebibytes * FRAME_BYTES and time.monotonic() < deadline:
            connections += 1
            with contextlib.suppress(OSError), dial(address) as link:
                link.sendall(OPENINGS[connections % len(OPENINGS)])
                while sent < mebibytes * FRAME_BYTES:
                    sent += link.send(frame)
        ended.set()

    waits, served = [], []
    with contextlib.ExitStack() as stack:
        memory = stack.enter_context(PeakMemory(server.process.pid))
        for _ in range(idle):
            stack.enter_context(dial(address))
        thread = threading.Thread(target=pour)
        thread.start()
        while not waits or not ended.is_set():
            began = time.monotonic()
            with server.connect() as connection:
                waits.append(time.monotonic() - began)
                picture = Picture(20, 10, (30, 30))
                picture.enhance(connection)
                served.append(picture.result == picture.expected())
            time.sleep(0.1)
        thread.join()
    return Flood(sent / FRAME_BYTES, connections, memory.growth, max(waits), all(served))


def web_requests(body: bytes) -> Iterator[bytes]:
    """What a page in a browser can have sent to a port: methods, headers and a body of its choice.

    In all alignments: ZMTP 1.0, which libzmq still takes, would read the first letter as a frame's
    length, go on from there, and find the body's frames where they begin.
    """
    for method in ("POST", "PUT", "GET", "OPTIONS", "PATCH"):
        for pad in range(len(body)):
            filling = b"\0" * pad + body * 40
            head = (
                f"{method} / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: https://example.org\r\n"
                f"Content-Type: text/plain\r\nContent-Length: {len(filling)}\r\n\r\n"
            )
            yield head.encode() + filling


def send_web_request(address: str, request: bytes, linger_s: float = 0.02) -> None:
    """Send one and read what comes, as a browser does."""
    with contextlib.suppress(OSError), dial(address) as link:
        link.sendall(request)
        link.settimeout(linger_s)
        while link.recv(4096):
            pass
