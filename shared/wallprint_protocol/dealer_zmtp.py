"""A ZMTP 3.1 DEALER in pure Python, for editors whose Python cannot load pyzmq.

Speaks the PLAIN mechanism to one ROUTER and nothing else: no reconnect, no identity, no heartbeats
of its own. Knows nothing of messages; frames go in and come out. The peer's bytes are not trusted:
every size is checked before memory is taken.

References:
    https://rfc.zeromq.org/spec/37/ (ZMTP 3.1), https://rfc.zeromq.org/spec/24/ (PLAIN).
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Sequence

from .dealer import (
    Buffer,
    CurveKeys,
    GateRefused,
    LinkClosed,
    LinkProtocol,
    LinkRefused,
    LinkTimeout,
    Placer,
)
from .wire import MAX_MESSAGE_BYTES

_TIMEOUT = socket.timeout  # not yet an alias of TimeoutError in Python 3.9
_MORE, _LONG, _COMMAND = 1, 2, 4
_GREETING_BYTES = 64
_GREETING = (
    b"\xff\0\0\0\0\0\0\0\0\x7f" + b"\x03\x01" + b"PLAIN".ljust(20, b"\0") + b"\0" + bytes(31)
)
_COMMAND_CAP = 512  # a command of the peer's: READY with its properties is about 60 bytes
_INBOX_BYTES = 1 << 16
_COALESCE_BYTES = 1 << 14  # smaller frames are joined with their neighbours: one system call
_SOCKET_BUFFER_BYTES = 1 << 20


class ZmtpDealer:
    """The client socket; owned by one thread.

    Args:
        max_frame_bytes: a longer frame ends the connection before anything is allocated.
        max_frames: the most frames that one message may have.
    """

    def __init__(self, *, max_frame_bytes: int = MAX_MESSAGE_BYTES, max_frames: int = 2) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._max_frames = max_frames
        self._socket: socket.socket | None = None
        self._inbox = memoryview(bytearray(_INBOX_BYTES))
        self._start = self._end = 0  # the unread part of the inbox
        self._flags = 0
        self._body: memoryview | None = None  # the frame being received ...
        self._filled = 0  # ... and how much of it is there: a timeout loses nothing
        self._frames: list[Buffer] = []

    def connect(
        self,
        endpoint: str,
        *,
        user: bytes,
        password: bytes,
        timeout_s: float,
        curve: CurveKeys | None = None,
    ) -> None:
        """Connect and do the PLAIN handshake.

        Raises:
            GateRefused: wrong password, other mechanism, older ZMTP, or it left meanwhile.
            LinkRefused: CURVE is asked for, which is too slow in pure Python.
            LinkClosed: nobody listens.
            LinkTimeout: no answer in time.
            LinkProtocol: the peer does not speak ZMTP.
        """
        if curve is not None:
            raise LinkRefused("an encrypted link needs pyzmq; install it beside wallprint")
        if self._socket is not None:
            raise LinkProtocol("this socket is connected already")
        deadline = time.monotonic() + timeout_s
        try:
            self._socket = _open(endpoint, timeout_s)
            self._handshake(user, password, deadline)
        except LinkClosed as error:
            was_open = self._socket is not None
            self.close()
            if was_open:  # libzmq closes without a word when the mechanism is another
                raise GateRefused(f"{endpoint} closed the connection during the login") from None
            raise LinkClosed(f"{endpoint}: {error}") from None
        except BaseException:
            self.close()
            raise

    def send(self, frames: Sequence[Buffer], *, timeout_s: float) -> None:
        """Send one message.

        Raises:
            LinkTimeout: not taken in time. The connection is gone: half a frame may be out.
            LinkClosed: the peer is gone.
        """
        deadline = time.monotonic() + timeout_s
        small = bytearray()
        last = len(frames) - 1
        for number, frame in enumerate(frames):
            body = memoryview(frame).cast("B")
            small += _frame_header(_MORE if number < last else 0, body.nbytes)
            if body.nbytes <= _COALESCE_BYTES:
                small += body
                continue
            self._send_bytes(small, deadline)
            self._send_bytes(body, deadline)
            small = bytearray()
        if small:
            self._send_bytes(small, deadline)

    def receive(self, *, timeout_s: float, into: Placer | None = None) -> list[Buffer]:
        """The next message; `into` may name the place of a large frame.

        Raises:
            LinkTimeout: nothing whole arrived; the rest is taken by the next call.
            LinkClosed: the peer is gone.
            LinkProtocol: the peer broke the rules; the connection is closed.
        """
        deadline = time.monotonic() + timeout_s
        try:
            while True:
                if self._body is None:
                    self._begin_frame(deadline, into)
                self._fill_frame(deadline)
                whole = self._finish_frame()
                if whole is not None:
                    return whole
        except (LinkProtocol, LinkClosed):
            self.close()
            raise

    def close(self) -> None:
        """At once; unsent data is dropped."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def fileno(self) -> int:
        """The socket's descriptor, -1 when closed."""
        return -1 if self._socket is None else self._socket.fileno()

    # -- sending ----------------------------------------------------------------------------------

    def _send_bytes(self, data: Buffer, deadline: float) -> None:
        if self._socket is None:
            raise LinkClosed("not connected")
        self._socket.settimeout(max(deadline - time.monotonic(), 1e-3))
        try:
            self._socket.sendall(data)
        except _TIMEOUT:
            self.close()
            raise LinkTimeout("the server does not take data") from None
        except OSError as error:
            self.close()
            raise LinkClosed(f"connection lost while sending: {error}") from None

    def _send_command(self, name: bytes, data: bytes, deadline: float) -> None:
        body = bytes([len(name)]) + name + data
        self._send_bytes(_frame_header(_COMMAND, len(body)) + body, deadline)

    # -- receiving --------------------------------------------------------------------------------

    def _receive_into(self, place: memoryview, deadline: float) -> int:
        if self._socket is None:
            raise LinkClosed("not connected")
        self._socket.settimeout(max(deadline - time.monotonic(), 0.0))
        try:
            count = self._socket.recv_into(place)
        except (_TIMEOUT, BlockingIOError):
            raise LinkTimeout("no message in time") from None
        except OSError as error:
            raise LinkClosed(f"connection lost: {error}") from None
        if count == 0:
            raise LinkClosed("the server closed the connection")
        return count

    def _need(self, count: int, deadline: float) -> memoryview:
        """The next `count` unread bytes (few), without taking them."""
        while self._end - self._start < count:
            if self._start:
                rest = bytes(self._inbox[self._start : self._end])
                self._inbox[: len(rest)] = rest
                self._start, self._end = 0, len(rest)
            self._end += self._receive_into(self._inbox[self._end :], deadline)
        return self._inbox[self._start : self._start + count]

    def _begin_frame(self, deadline: float, into: Placer | None) -> None:
        flags = self._need(1, deadline)[0]
        if flags & ~(_MORE | _LONG | _COMMAND) or (flags & _COMMAND and flags & _MORE):
            raise LinkProtocol(f"frame flags {flags:#x}")
        if flags & _LONG:
            size = int.from_bytes(self._need(9, deadline)[1:], "big")
            self._start += 9
        else:
            size = self._need(2, deadline)[1]
            self._start += 2
        if flags & _COMMAND:
            cap = _COMMAND_CAP
            if self._frames:
                raise LinkProtocol("a command inside a message")
        else:
            cap = self._max_frame_bytes
            if len(self._frames) >= self._max_frames:
                raise LinkProtocol(f"a message of more than {self._max_frames} frames")
        if size > cap:
            raise LinkProtocol(f"a frame of {size} bytes; {cap} are allowed")
        place = None if into is None or flags & _COMMAND else into(self._frames, size)
        self._body = memoryview(bytearray(size)) if place is None else place.cast("B")
        if self._body.nbytes != size:
            raise LinkProtocol(f"a frame of {size} bytes for a place of {self._body.nbytes}")
        self._flags, self._filled = flags, 0

    def _fill_frame(self, deadline: float) -> None:
        body = self._body
        if body is None:
            return
        while self._filled < body.nbytes:
            ready = min(self._end - self._start, body.nbytes - self._filled)
            if ready:
                part = self._inbox[self._start : self._start + ready]
                body[self._filled : self._filled + ready] = part
                self._start += ready
                self._filled += ready
            elif body.nbytes - self._filled >= _INBOX_BYTES:
                self._filled += self._receive_into(body[self._filled :], deadline)
            else:  # a short rest: take what follows along
                self._need(1, deadline)

    def _finish_frame(self) -> list[Buffer] | None:
        body, self._body = self._body, None
        if self._flags & _COMMAND:
            self._on_command(bytes(body or b""))
            return None
        self._frames.append(body if body is not None else b"")
        if self._flags & _MORE:
            return None
        frames, self._frames = self._frames, []
        return frames

    def _on_command(self, body: bytes) -> None:
        """After the login: answer PING, pass over what ZMTP may add, end on ERROR."""
        name, data = _split_command(body)
        if name == b"PING":
            # Two bytes of time-to-live, then up to 16 bytes that PONG gives back.
            if not 2 <= len(data) <= 18:
                raise LinkProtocol(f"a PING of {len(data)} bytes")
            self._send_command(b"PONG", data[2:], time.monotonic() + 5.0)
        elif name == b"ERROR":
            raise LinkProtocol(f"the server reports {data[1:].decode('ascii', 'replace')!r}")

    # -- login ------------------------------------------------------------------------------------

    def _handshake(self, user: bytes, password: bytes, deadline: float) -> None:
        self._send_bytes(_GREETING, deadline)
        greeting = bytes(self._need(_GREETING_BYTES, deadline))
        self._start += _GREETING_BYTES
        if greeting[0] != 0xFF or greeting[9] != 0x7F:
            raise LinkProtocol("the peer does not speak ZMTP")
        if (greeting[10], greeting[11]) < (3, 1):
            raise GateRefused(f"the peer speaks ZMTP {greeting[10]}.{greeting[11]}, not 3.1")
        mechanism = greeting[12:32].rstrip(b"\0")
        if mechanism != b"PLAIN":
            raise GateRefused(
                f"the peer asks for {mechanism.decode('ascii', 'replace')}, not PLAIN"
            )
        self._send_command(b"HELLO", _short(user) + _short(password), deadline)
        self._expect(b"WELCOME", deadline)
        self._send_command(
            b"INITIATE",
            _property(b"Socket-Type", b"DEALER") + _property(b"Identity", b""),
            deadline,
        )
        peer_type = _properties(self._expect(b"READY", deadline)).get(b"socket-type")
        if peer_type != b"ROUTER":
            raise GateRefused(f"the peer is a {(peer_type or b'?').decode('ascii', 'replace')}")

    def _expect(self, wanted: bytes, deadline: float) -> bytes:
        """The data of the handshake's next command."""
        self._begin_frame(deadline, None)
        self._fill_frame(deadline)
        body, self._body = bytes(self._body or b""), None
        if not self._flags & _COMMAND:
            raise LinkProtocol("a message before the login is over")
        # libzmq writes "\x5ERROR" in C, which is the byte 5E and "RROR": its refusals are misspelt.
        if body.startswith((b"\x05ERROR", b"^RROR")):
            reason = bytes(c for c in body[6:] if 0x20 <= c < 0x7F).decode("ascii")
            raise GateRefused(f"the login was refused ({reason or 'no reason given'})")
        name, data = _split_command(body)
        if name != wanted:
            raise LinkProtocol(f"{name!r} where {wanted!r} was due")
        return data


def _open(endpoint: str, timeout_s: float) -> socket.socket:
    scheme, _, address = endpoint.partition("://")
    try:
        if scheme == "ipc" and hasattr(socket, "AF_UNIX"):
            link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                    with contextlib.suppress(OSError):
                        link.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER_BYTES)
                link.settimeout(timeout_s)
                link.connect(os.fsencode(address))
            except BaseException:
                link.close()
                raise
            return link
        if scheme == "tcp":
            host, _, port = address.rpartition(":")
            link = socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return link
    except _TIMEOUT:
        raise LinkTimeout(f"{endpoint} does not answer") from None
    except (OSError, ValueError, OverflowError) as error:
        raise LinkClosed(str(error)) from None
    raise GateRefused(f"the address {endpoint!r} cannot be used here")


def _frame_header(flags: int, size: int) -> bytes:
    if size < 256:
        return bytes([flags, size])
    return bytes([flags | _LONG]) + size.to_bytes(8, "big")


def _short(value: bytes) -> bytes:
    if len(value) > 255:
        raise LinkProtocol("user and password have at most 255 bytes")
    return bytes([len(value)]) + value


def _property(name: bytes, value: bytes) -> bytes:
    return _short(name) + len(value).to_bytes(4, "big") + value


def _split_command(body: bytes) -> tuple[bytes, bytes]:
    if not body or len(body) < 1 + body[0]:
        raise LinkProtocol("a command without a name")
    return body[1 : 1 + body[0]], body[1 + body[0] :]


def _properties(data: bytes) -> dict[bytes, bytes]:
    """Name-value pairs of READY; names are compared without case (RFC 37)."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        name = data[at + 1 : at + 1 + data[at]]
        at += 1 + len(name)
        size = int.from_bytes(data[at : at + 4], "big")
        value = data[at + 4 : at + 4 + size]
        if len(value) != size or at + 4 > len(data):
            raise LinkProtocol("READY is cut short")
        found[name.lower()] = value
        at += 4 + size
    return found
