"""The server's socket: a ROUTER that only peers with the gate's password can reach.

Knows frames and peers, not messages. The only file of the server that imports zmq. Every option
below answers a measured failure of the defaults (docs/protocol.md, section 3).
"""

from __future__ import annotations

import hmac
import logging
import os
import struct
import time
from collections.abc import Callable, Sequence

import zmq

from wallprint_protocol.dealer import USER
from wallprint_protocol.errors import ServerTrouble
from wallprint_protocol.messages import Buffer
from wallprint_protocol.wire import HIGH_WATER_MARK, MAX_MESSAGE_BYTES

log = logging.getLogger(__name__)
# Active in libzmq 4.3.5 although its header lists it as a draft; old pyzmq lacks the name.
ZAP_ENFORCE_DOMAIN = 93
IPC_FILTER_UID = 59
ZAP_ENDPOINT = "inproc://zeromq.zap.01"
DOMAIN = b"local"
SELF_TEST_TIMEOUT_S = 3.0
_LINGER_MS = 200
_MAX_FRAMES = 3  # the peer's identity, a header, a payload
_EVENT = struct.Struct("=hi")
_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


class PeerGone(Exception):
    """The peer's connection has ended."""


class Transport:
    """One ROUTER on one endpoint, with its gatekeeper; owned by one thread.

    Args:
        endpoint: `ipc://PATH` or `tcp://127.0.0.1:*`; `self.endpoint` is what it became.
        gate: PLAIN password.
        may_enter: asked for each peer with the right password; False when the house is full.
        listener: descriptor that listens at the endpoint already; None binds one.
    """

    def __init__(
        self,
        endpoint: str,
        gate: bytes,
        may_enter: Callable[[], bool],
        listener: int | None = None,
    ) -> None:
        self._gate = gate
        self._may_enter = may_enter
        self._context = zmq.Context()
        self._zap = self._context.socket(zmq.ROUTER)
        self._zap.bind(ZAP_ENDPOINT)
        self._socket = self._context.socket(zmq.ROUTER)
        for option, value in (
            (zmq.ZAP_DOMAIN, DOMAIN),  # first: enforcing an empty domain aborts the process
            (ZAP_ENFORCE_DOMAIN, 1),
            (zmq.PLAIN_SERVER, 1),
            (zmq.ROUTER_MANDATORY, 1),
            (zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES),
            (zmq.HANDSHAKE_IVL, 3000),
            (zmq.LINGER, _LINGER_MS),  # long enough for a goodbye
            (zmq.HEARTBEAT_IVL, 0),
            (zmq.SNDHWM, HIGH_WATER_MARK),
            (zmq.RCVHWM, HIGH_WATER_MARK),
        ):
            self._socket.setsockopt(option, value)
        if endpoint.startswith("ipc:") and os.uname().sysname == "Linux":
            self._socket.setsockopt(IPC_FILTER_UID, os.geteuid())
        if listener is not None:
            self._socket.setsockopt(zmq.USE_FD, listener)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise ServerTrouble(f"cannot listen at {endpoint}: {error}") from None
        self.endpoint: str = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._left = False
        self._poller = zmq.Poller()
        for socket in (self._socket, self._zap, self._monitor):
            self._poller.register(socket, zmq.POLLIN)

    def wait(self, timeout_s: float, descriptors: Sequence[int] = ()) -> set[int]:
        """Wait for anything; gatekeeping is done here. Which of `descriptors` are readable.

        The ROUTER's own messages are fetched with `receive`, whether or not this says so.
        """
        for descriptor in descriptors:
            self._poller.register(descriptor, zmq.POLLIN)
        ready = dict(self._poller.poll(max(0, int(timeout_s * 1000))))
        for descriptor in descriptors:
            self._poller.unregister(descriptor)
        if self._zap in ready:
            self._answer_zap()
        if self._monitor in ready:
            self._left = True
            while self._monitor.poll(0):
                self._monitor.recv_multipart()
        return {descriptor for descriptor in descriptors if descriptor in ready}

    def someone_left(self) -> bool:
        """Whether a connection has ended since the last call; ROUTER does not say whose."""
        left, self._left = self._left, False
        return left

    def receive(self) -> tuple[bytes, list[Buffer]] | None:
        """The next message: who sent it, its frames; None when there is none.

        A message without the gatekeeper's User-Id is dropped: a missing or dead gatekeeper must
        never mean an open door.
        """
        while True:
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return None
            if _user_id(frames[0]) != USER:
                log.error("a message without User-Id was dropped")
                continue
            # Too many frames are passed on for a coded answer, but only as many as prove it.
            return frames[0].bytes, [frame.buffer for frame in frames[1 : _MAX_FRAMES + 1]]

    def send(self, peer: bytes, frames: Sequence[Buffer]) -> None:
        """Send one message, never waiting; large frames are sent from their own memory.

        Raises:
            PeerGone: the connection has ended.
            BlockingIOError: the queue is full, which credit makes impossible: a bug of ours.
        """
        try:
            self._socket.send_multipart([peer, *frames], zmq.NOBLOCK, copy=False)
        except zmq.Again:
            raise BlockingIOError(f"the queue of peer {peer.hex()} is full") from None
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                raise PeerGone(peer.hex()) from None
            raise

    def self_test(self) -> None:
        """Make sure that a wrong password is refused and the right one accepted.

        Raises:
            ServerTrouble: it is not so; the server must not run.
        """
        if not self._probe(b"wrong" + self._gate) & zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            raise ServerTrouble("self-test: a wrong gate was not refused; the server ends")
        if not self._probe(self._gate) & zmq.EVENT_HANDSHAKE_SUCCEEDED:
            raise ServerTrouble("self-test: the right gate was not accepted; the server ends")

    def close(self) -> None:
        """Close everything; goodbyes under way get a fifth of a second."""
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._zap.close(linger=0)
        self._socket.close()
        self._context.term()

    def _probe(self, password: bytes) -> int:
        """The first event of a connection attempt with this password, 0 when there is none."""
        probe = self._context.socket(zmq.DEALER)
        probe.setsockopt(zmq.LINGER, 0)
        probe.setsockopt(zmq.RECONNECT_IVL, -1)
        probe.plain_username, probe.plain_password = USER, password
        monitor = probe.get_monitor_socket(_FAILED | zmq.EVENT_HANDSHAKE_SUCCEEDED)
        try:
            probe.connect(self.endpoint)
            deadline = time.monotonic() + SELF_TEST_TIMEOUT_S
            while time.monotonic() < deadline:
                if monitor.poll(0):
                    event: int = _EVENT.unpack(monitor.recv_multipart()[0])[0] & 0xFFFF
                    return event
                self.wait(0.002)
            return 0
        finally:
            probe.disable_monitor()
            monitor.close(linger=0)
            probe.close()

    def _answer_zap(self) -> None:
        """ZAP 1.0 (rfc.zeromq.org/spec/27): accept or refuse peers that are shaking hands."""
        while True:
            try:
                frames = self._zap.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            split = frames.index(b"") + 1
            envelope, request = frames[:split], frames[split:]
            if len(request) < 2:
                continue
            version, request_id = request[:2]
            accepted = self._knows_gate(request) and self._may_enter()
            verdict = [b"200", b"OK", USER] if accepted else [b"400", b"refused", b""]
            if not accepted:
                log.warning("a peer was refused at the gate")
            self._zap.send_multipart([*envelope, version, request_id, *verdict, b""])

    def _knows_gate(self, request: list[bytes]) -> bool:
        """Whether a ZAP request is PLAIN, of our domain, with the right name and password."""
        if len(request) != 8:
            return False
        version, _, domain, _, _, mechanism, user, password = request
        return (
            (version, domain, mechanism, user) == (b"1.0", DOMAIN, b"PLAIN", USER)
        ) and hmac.compare_digest(password, self._gate)


def _user_id(frame: zmq.Frame) -> bytes:
    """What the gatekeeper called the peer, b"" when it was not asked."""
    try:
        return str(frame.get("User-Id")).encode()
    except zmq.ZMQError:
        return b""
