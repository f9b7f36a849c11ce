"""A man in the middle of a socket: passes bytes on, drops, damages, holds back, records.

One thread for each direction of each connection. Knows bytes, nothing of ZMTP or of messages.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

UP, DOWN = "up", "down"  # from client to server, from server to client
_CHUNK = 1 << 16
# (connection's number, direction, offset of the chunk in that direction, chunk) -> what goes on
Treatment = Callable[[int, str, int, bytes], bytes]


class Cut(Exception):
    """From a treatment: the connection ends, after these last bytes."""

    def __init__(self, last: bytes) -> None:
        super().__init__()
        self.last = last


def pass_on(number: int, direction: str, offset: int, chunk: bytes) -> bytes:
    """Change nothing."""
    return chunk


def drop_at(at: int, direction: str) -> Treatment:
    """End the first connection after so many bytes in one direction."""

    def treat(number: int, way: str, offset: int, chunk: bytes) -> bytes:
        if number == 0 and way == direction and offset + len(chunk) >= at:
            raise Cut(chunk[: max(0, at - offset)])
        return chunk

    return treat


def flip_at(places: dict[str, list[tuple[int, int]]]) -> Treatment:
    """In every connection, exclusive-or the byte at an offset of a direction with a value."""

    def treat(number: int, way: str, offset: int, chunk: bytes) -> bytes:
        changed = bytearray(chunk)
        for at, value in places.get(way, []):
            if offset <= at < offset + len(chunk):
                changed[at - offset] ^= value
        return bytes(changed)

    return treat


class Proxy:
    """Listens at one socket, forwards to another.

    Args:
        path: of the Unix socket to listen at; None listens at a `port` of 127.0.0.1.
        target: path of the server's Unix socket, or IP:PORT.
        treat: what is done to the bytes.
        most_bytes: of a chunk.
    """

    def __init__(
        self,
        path: Path | None,
        target: str,
        treat: Treatment = pass_on,
        most_bytes: int = _CHUNK,
    ) -> None:
        self.path = path
        self.carried = {UP: 0, DOWN: 0}
        self.seen = {UP: bytearray(), DOWN: bytearray()}
        self.connections = 0
        self.held = threading.Event()  # while set, nothing goes on, and no connection ends
        self._keep = False
        self._target = target
        self._treat = treat
        self._most = most_bytes
        self._links: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self._listener.bind(str(path) if path else ("127.0.0.1", 0))
        self.port = None if path else self._listener.getsockname()[1]
        self._listener.listen()
        self._start(self._accept)

    def record(self) -> None:
        """Keep everything that goes through, in `seen`."""
        self._keep = True

    def close(self) -> None:
        """End all connections."""
        self.held.clear()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in self._links:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for link in self._links:
            link.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _start(self, run: Callable, *arguments) -> None:
        thread = threading.Thread(target=run, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            host, _, port = self._target.rpartition(":")
            far = socket.socket(socket.AF_INET if host else socket.AF_UNIX)
            self._links += [near, far]
            try:
                far.connect((host, int(port)) if host else self._target)
            except OSError:
                near.shutdown(socket.SHUT_RDWR)
                continue
            number, self.connections = self.connections, self.connections + 1
            self._start(self._carry, number, UP, near, far)
            self._start(self._carry, number, DOWN, far, near)

    def _carry(self, number: int, way: str, source: socket.socket, sink: socket.socket) -> None:
        offset = 0
        try:
            while chunk := source.recv(self._most):
                while self.held.is_set():
                    time.sleep(0.005)
                changed = self._treat(number, way, offset, chunk)
                offset += len(chunk)
                sink.sendall(changed)
                self.carried[way] += len(changed)
                if self._keep:
                    self.seen[way] += changed
        except Cut as cut:
            with contextlib.suppress(OSError):
                sink.sendall(cut.last)
        except OSError:
            pass
        for link in (source, sink):
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
