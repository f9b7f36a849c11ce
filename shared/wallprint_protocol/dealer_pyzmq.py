"""The client's socket on libzmq. The only file of this package that imports zmq.

By default libzmq reconnects silently under a new identity, so that messages would go out with no
login; here it must not, and a socket monitor reports the end of the connection. RECONNECT_IVL=-1
and IMMEDIATE=1 would do that too, but both throw away what had been received and not yet read when
the connection ended, a server's last words for one; a reconnect in 24 days keeps them.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence

import zmq
from zmq.utils import z85

from .dealer import (
    Buffer,
    CurveKeys,
    GateRefused,
    LinkClosed,
    LinkProtocol,
    LinkTimeout,
    Placer,
)
from .wire import HIGH_WATER_MARK, MAX_MESSAGE_BYTES

_MAX_FRAMES = 2
_NEVER_MS = 2**31 - 1
_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)
_GONE = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED | zmq.EVENT_CONNECT_RETRIED
_EVENTS = _FAILED | _GONE | zmq.EVENT_HANDSHAKE_SUCCEEDED
_EVENT = struct.Struct("=hi")  # zmq_socket_monitor: 16 bits of event, 32 of value


def curve_key_pair() -> tuple[bytes, bytes]:
    """A new public and secret key, 32 bytes each."""
    public, secret = zmq.curve_keypair()
    return z85.decode(public), z85.decode(secret)


class PyzmqDealer:
    """The client socket; owned by one thread."""

    def __init__(self) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.RECONNECT_IVL, _NEVER_MS),
            (zmq.HEARTBEAT_IVL, 0),
            (zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES),
            (zmq.SNDHWM, HIGH_WATER_MARK),
            (zmq.RCVHWM, HIGH_WATER_MARK),
        ):
            self._socket.setsockopt(option, value)
        self._monitor = self._socket.get_monitor_socket(_EVENTS)
        self._pollers = {flag: zmq.Poller() for flag in (zmq.POLLIN, zmq.POLLOUT)}
        for flag, poller in self._pollers.items():
            poller.register(self._socket, flag)
            poller.register(self._monitor, zmq.POLLIN)
        self._gone = False

    def connect(
        self,
        endpoint: str,
        *,
        user: bytes,
        password: bytes,
        timeout_s: float,
        curve: CurveKeys | None = None,
    ) -> None:
        """See `Dealer.connect`."""
        if curve is None:
            self._socket.plain_username = user
            self._socket.plain_password = password
        else:
            self._socket.curve_serverkey = curve.server
            self._socket.curve_publickey = curve.public
            self._socket.curve_secretkey = curve.secret
            self._socket.ipv6 = "[" in endpoint
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            raise LinkClosed(f"{endpoint}: {error}") from None
        deadline = time.monotonic() + timeout_s
        while True:
            event = self._next_event(deadline - time.monotonic())
            if event is None:
                raise LinkTimeout(f"{endpoint} does not answer")
            if event & zmq.EVENT_HANDSHAKE_SUCCEEDED:
                return
            if event & _FAILED:
                # A CURVE server that refuses a key says so; one with another key cannot even read
                # what was sent to it, and hangs up.
                if curve is not None and not event & zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                    raise GateRefused(
                        f"{endpoint} does not have the key that it should have",
                        detail={"wrong_key": True},
                    )
                raise GateRefused(f"{endpoint} refused the gate")
            if event & _GONE:
                raise LinkClosed(f"nobody listens at {endpoint}")

    def send(self, frames: Sequence[Buffer], *, timeout_s: float) -> None:
        """See `Dealer.send`."""
        deadline = time.monotonic() + timeout_s
        # libzmq goes on queueing for a peer that is gone: only the monitor tells.
        if not self._gone:
            self._note(self._next_event(0))
        while not self._gone:
            try:
                # Under 64 KiB pyzmq copies anyway; a larger frame is sent from its own memory.
                self._socket.send_multipart(list(frames), zmq.NOBLOCK, copy=False)
                return
            except zmq.Again:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise LinkTimeout("the server does not take data") from None
                self._watch(zmq.POLLOUT, left_s)
        raise LinkClosed("the server is gone")

    def receive(self, *, timeout_s: float, into: Placer | None = None) -> list[Buffer]:
        """See `Dealer.receive`."""
        deadline = time.monotonic() + timeout_s
        while True:
            if self._socket.closed:
                raise LinkClosed("this connection is closed")
            gone = self._gone  # looked at before the queue: what is queued still counts
            try:
                return self._receive_now(into)
            except zmq.Again:
                if gone:
                    raise LinkClosed("the server is gone") from None
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise LinkTimeout("no message in time")
            self._watch(zmq.POLLIN, left_s)

    def close(self) -> None:
        """See `Dealer.close`."""
        if not self._socket.closed:
            self._socket.disable_monitor()
            self._monitor.close(linger=0)
            self._socket.close(linger=0)
            self._context.term()
        self._gone = True

    def _receive_now(self, into: Placer | None) -> list[Buffer]:
        frame = self._socket.recv(zmq.NOBLOCK, copy=False)
        frames: list[Buffer] = [frame.buffer]
        while frame.more:
            if len(frames) == _MAX_FRAMES:
                self._gone = True
                raise LinkProtocol(f"a message of more than {_MAX_FRAMES} frames")
            frame = self._socket.recv(copy=False)
            place = into(frames, len(frame.buffer)) if into else None
            if place is None:
                frames.append(frame.buffer)
            else:
                place[:] = frame.buffer
                frames.append(place)
        return frames

    def _watch(self, direction: zmq.PollEvent, timeout_s: float) -> None:
        """Wait until the socket is ready or the connection has ended."""
        ready = dict(self._pollers[direction].poll(max(0, int(timeout_s * 1000)) + 1))
        if self._monitor in ready:
            self._note(self._next_event(0))

    def _note(self, event: int | None) -> None:
        self._gone = self._gone or bool(event and event & (_GONE | _FAILED))

    def _next_event(self, timeout_s: float) -> int | None:
        """The monitor's next event, or None."""
        if not self._monitor.poll(max(0, int(timeout_s * 1000))):
            return None
        frames = self._monitor.recv_multipart()
        event: int = _EVENT.unpack(frames[0])[0] & 0xFFFF
        return event
