"""The server's sockets: ROUTERs that only peers with the gate's password or a paired key can reach.

One for this computer; one for the network where the user has asked for it. Knows frames and peers,
not messages. The only file of the server that imports zmq. Every option below answers a measured
failure of the defaults (docs/protocol.md, sections 1 and 13).
"""

from __future__ import annotations

import hmac
import logging
import os
import re
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import zmq
from zmq.utils import z85

from wallprint_protocol.dealer import USER
from wallprint_protocol.errors import ServerTrouble, StartFailed
from wallprint_protocol.messages import Buffer
from wallprint_protocol.wire import HIGH_WATER_MARK, MAX_MESSAGE_BYTES

from .pairing import fingerprint

log = logging.getLogger(__name__)
# Active in libzmq 4.3.5 although its header lists it as a draft; old pyzmq lacks the name.
ZAP_ENFORCE_DOMAIN = 93
IPC_FILTER_UID = 59
ZAP_ENDPOINT = "inproc://zeromq.zap.01"
DOMAIN, LAN_DOMAIN = b"local", b"lan"
LOCAL_DOOR, LAN_DOOR = b"l", b"n"  # first letter of a peer's name
SELF_TEST_TIMEOUT_S = 3.0
_LINGER_MS = 200
_MAX_FRAMES = 3  # the peer's identity, a header, a payload
_EVENT = struct.Struct("=hi")
_FINGERPRINT_BYTES = 8
_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


class PeerGone(Exception):
    """The peer's connection has ended."""


@dataclass(frozen=True)
class LanDoor:
    """What the socket on the network is made of.

    Attributes:
        endpoint: `tcp://IP:PORT`; a port of 0 is any free one.
        public: this host's public key, 32 bytes.
        secret: its secret key.
        refusal: why a public key from an address may not come in, "" when it may.
    """

    endpoint: str
    public: bytes
    secret: bytes = field(repr=False)
    refusal: Callable[[bytes, str], str]


class _Door:
    """One ROUTER with its monitor.

    Args:
        context: in which the gatekeeper answers.
        domain: by which the gatekeeper knows the door.
        options: of the mechanism.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        domain: bytes,
        options: dict[int, int | bytes],
    ) -> None:
        self.socket = context.socket(zmq.ROUTER)
        settings: tuple[tuple[int, int | bytes], ...] = (
            (zmq.ZAP_DOMAIN, domain),  # first: enforcing an empty domain aborts the process
            (ZAP_ENFORCE_DOMAIN, 1),
            *options.items(),
            (zmq.ROUTER_MANDATORY, 1),
            (zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES),
            (zmq.HANDSHAKE_IVL, 3000),
            (zmq.LINGER, _LINGER_MS),  # long enough for a goodbye
            (zmq.HEARTBEAT_IVL, 0),
            (zmq.SNDHWM, HIGH_WATER_MARK),
            (zmq.RCVHWM, HIGH_WATER_MARK),
        )
        for option, value in settings:
            self.socket.setsockopt(option, value)
        self.monitor = self.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)

    def bind(self, endpoint: str) -> str:
        """Listen; what the endpoint became.

        Raises:
            StartFailed: it cannot; the door is closed.
        """
        try:
            self.socket.bind(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise StartFailed(f"cannot listen at {endpoint}: {error}") from None
        return self.socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def close(self) -> None:
        """Goodbyes under way get a fifth of a second."""
        self.socket.disable_monitor()
        self.monitor.close(linger=0)
        self.socket.close()


class Transport:
    """One or two ROUTERs, with their gatekeeper; owned by one thread.

    A peer's name begins with a letter for its door; at the network's its key's fingerprint follows
    (`fingerprint_of`), and then what its ROUTER calls it.

    Args:
        endpoint: `ipc://PATH` or `tcp://127.0.0.1:*`; `self.endpoint` is what it became.
        gate: PLAIN password.
        may_enter: asked for each peer with the right password or key; False when the house is full.
        listener: descriptor that listens at the endpoint already; None binds one.
        lan: the socket on the network, `self.lan_endpoint` is where it is; None for none.

    Attributes:
        lan_problem: why the socket on the network could not be opened, "" when it could.
    """

    def __init__(
        self,
        endpoint: str,
        gate: bytes,
        may_enter: Callable[[], bool],
        listener: int | None = None,
        lan: LanDoor | None = None,
    ) -> None:
        self._gate = gate
        self._may_enter = may_enter
        self._lan = lan
        self._probe_key = b""  # whom the gatekeeper lets in besides, while it is tested
        self.lan_endpoint = self.lan_problem = ""
        self._left = False
        self._context = zmq.Context()
        self._zap = self._context.socket(zmq.ROUTER)
        self._zap.bind(ZAP_ENDPOINT)
        local = _Door(self._context, DOMAIN, {zmq.PLAIN_SERVER: 1})
        if endpoint.startswith("ipc:") and os.uname().sysname == "Linux":
            local.socket.setsockopt(IPC_FILTER_UID, os.geteuid())
        if listener is not None:
            local.socket.setsockopt(zmq.USE_FD, listener)
        self._doors: dict[bytes, _Door] = {}
        try:
            self.endpoint = local.bind(endpoint)
        except ServerTrouble:
            self.close()
            raise
        self._doors[LOCAL_DOOR] = local
        if lan is not None:
            self._open_lan(lan)
        self._turns = deque(self._doors)
        self._poller = zmq.Poller()
        self._poller.register(self._zap, zmq.POLLIN)
        for door in self._doors.values():
            self._poller.register(door.socket, zmq.POLLIN)
            self._poller.register(door.monitor, zmq.POLLIN)

    def _open_lan(self, lan: LanDoor) -> None:
        """Open the door to the network; that its address is not there today is no reason to stop.

        The user's own prints must not wait until the notebook is back in its network.
        """
        options: dict[int, int | bytes] = {
            zmq.CURVE_SERVER: 1,
            zmq.CURVE_SECRETKEY: lan.secret,
            zmq.IPV6: int("[" in lan.endpoint),
            zmq.TCP_KEEPALIVE: 1,
        }
        door = _Door(self._context, LAN_DOMAIN, options)
        try:
            self.lan_endpoint = door.bind(lan.endpoint)
        except ServerTrouble as error:
            self.lan_problem = error.message
            log.error("the door to the network stays shut: %s", error)
        else:
            self._doors[LAN_DOOR] = door

    def wait(self, timeout_s: float, descriptors: Sequence[int] = ()) -> set[int]:
        """Wait for anything; gatekeeping is done here. Which of `descriptors` are readable.

        The ROUTER's own messages are fetched with `receive`, whether or not this says so.

        Raises:
            ServerTrouble: there is no gatekeeper any more; the server must end.
        """
        if self._zap.closed:
            raise ServerTrouble("the gatekeeper has failed; the server ends")
        for descriptor in descriptors:
            self._poller.register(descriptor, zmq.POLLIN)
        try:
            ready = dict(self._poller.poll(max(0, int(timeout_s * 1000))))
            if self._zap in ready:
                self._answer_zap()
        except zmq.ZMQError as error:
            raise ServerTrouble(f"the gatekeeper has failed ({error}); the server ends") from None
        finally:
            for descriptor in descriptors:
                self._poller.unregister(descriptor)
        for door in self._doors.values():
            if door.monitor in ready:
                self._left = True
                while door.monitor.poll(0):
                    door.monitor.recv_multipart()
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
        for _ in range(len(self._turns)):
            self._turns.rotate(1)  # so that neither door can make the other wait
            received = self._receive_at(self._turns[0])
            if received is not None:
                return received
        return None

    def _receive_at(self, name: bytes) -> tuple[bytes, list[Buffer]] | None:
        door = self._doors[name]
        while not self._zap.closed:
            try:
                frames = door.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return None
            user = _user_id(frames[0])
            mark = bytes.fromhex(user.decode()) if name == LAN_DOOR and _is_mark(user) else b""
            if not mark and (name == LAN_DOOR or user != USER):
                log.error("a message without User-Id was dropped")
                continue
            # Too many frames are passed on for a coded answer, but only as many as prove it.
            peer = name + mark + frames[0].bytes
            return peer, [frame.buffer for frame in frames[1 : _MAX_FRAMES + 1]]
        return None

    def send(self, peer: bytes, frames: Sequence[Buffer]) -> None:
        """Send one message, never waiting; large frames are sent from their own memory.

        Raises:
            PeerGone: the connection has ended.
            BlockingIOError: the queue is full, which credit makes impossible: a bug of ours.
        """
        door = self._doors[peer[:1]]
        routing = peer[1 + len(fingerprint_of(peer)) :]
        try:
            door.socket.send_multipart([routing, *frames], zmq.NOBLOCK, copy=False)
        except zmq.Again:
            raise BlockingIOError(f"the queue of peer {peer.hex()} is full") from None
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                raise PeerGone(peer.hex()) from None
            raise

    def self_test(self) -> None:
        """Make sure, at every door, that a wrong password or key is refused and the right one not.

        Raises:
            ServerTrouble: it is not so; the server must not run.
        """
        local = self.endpoint
        wrong = self._probe(local, _plain(b"wrong" + self._gate))
        if not wrong & zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            raise ServerTrouble("self-test: a wrong gate was not refused; the server ends")
        if not self._probe(local, _plain(self._gate)) & zmq.EVENT_HANDSHAKE_SUCCEEDED:
            raise ServerTrouble("self-test: the right gate was not accepted; the server ends")
        if self._lan is None or not self.lan_endpoint:
            return
        public, secret = zmq.curve_keypair()
        curve = _curve(self._lan.public, public, secret)
        if not self._probe(self.lan_endpoint, curve) & zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            raise ServerTrouble("self-test: an unknown key was not refused; the server ends")
        for bare in (lambda probe: None, _plain(self._gate)):
            if self._probe(self.lan_endpoint, bare) & zmq.EVENT_HANDSHAKE_SUCCEEDED:
                raise ServerTrouble("self-test: the network's door needs no key; the server ends")
        self._probe_key = z85.decode(public)
        try:
            if not self._probe(self.lan_endpoint, curve) & zmq.EVENT_HANDSHAKE_SUCCEEDED:
                raise ServerTrouble("self-test: the right key was not accepted; the server ends")
        finally:
            self._probe_key = b""

    def close(self) -> None:
        """Close everything; goodbyes under way get a fifth of a second."""
        for door in self._doors.values():
            door.close()
        self._zap.close(linger=0)
        self._context.term()

    def _probe(self, endpoint: str, prepare: Callable[[zmq.Socket[bytes]], None]) -> int:
        """The first event of a connection attempt so prepared, 0 when there is none."""
        probe = self._context.socket(zmq.DEALER)
        probe.setsockopt(zmq.LINGER, 0)
        probe.setsockopt(zmq.RECONNECT_IVL, -1)
        probe.setsockopt(zmq.IPV6, int("[" in endpoint))
        prepare(probe)
        monitor = probe.get_monitor_socket(_FAILED | zmq.EVENT_HANDSHAKE_SUCCEEDED)
        try:
            probe.connect(endpoint)
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
            user = self._user_of(request)
            verdict = [b"200", b"OK", user] if user else [b"400", b"refused", b""]
            self._zap.send_multipart([*envelope, version, request_id, *verdict, b""])

    def _user_of(self, request: list[bytes]) -> bytes:
        """Under what name a peer comes in; b"" when it does not."""
        lan = len(request) > 2 and request[2] == LAN_DOMAIN
        if lan:
            user = self._key_user(request)
        else:
            user = USER if self._knows_gate(request) else b""
            if not user:
                log.warning("a peer was refused at the gate")
        if user and not self._may_enter():
            log.warning("a peer was refused: the house is full")
            return b""
        return user

    def _key_user(self, request: list[bytes]) -> bytes:
        """The fingerprint of a peer's key in hexadecimal, if it may enter from the network."""
        if len(request) != 7 or (request[0], request[5]) != (b"1.0", b"CURVE") or not self._lan:
            log.warning("a peer from the network was refused: no key")
            return b""
        address, public = request[3].decode("ascii", "replace"), request[6]
        mark = fingerprint(public)
        if not (self._probe_key and hmac.compare_digest(public, self._probe_key)):
            try:
                problem = self._lan.refusal(public, address)
            except Exception:  # an edge: whatever ails the list, nobody comes in
                log.exception("the list of paired computers")
                problem = "the list cannot be read"
            if problem:
                log.warning("%s was refused from the network: %s", mark.hex(), problem)
                return b""
        return mark.hex().encode()

    def _knows_gate(self, request: list[bytes]) -> bool:
        """Whether a ZAP request is PLAIN, of our domain, with the right name and password."""
        if len(request) != 8:
            return False
        version, _, domain, _, _, mechanism, user, password = request
        return (
            (version, domain, mechanism, user) == (b"1.0", DOMAIN, b"PLAIN", USER)
        ) and hmac.compare_digest(password, self._gate)


def fingerprint_of(peer: bytes) -> bytes:
    """Of the key by which a peer came in from the network; b"" for one of this computer."""
    return peer[1 : 1 + _FINGERPRINT_BYTES] if peer.startswith(LAN_DOOR) else b""


def _plain(password: bytes) -> Callable[[zmq.Socket[bytes]], None]:
    def prepare(probe: zmq.Socket[bytes]) -> None:
        probe.plain_username, probe.plain_password = USER, password

    return prepare


def _curve(server: bytes, public: bytes, secret: bytes) -> Callable[[zmq.Socket[bytes]], None]:
    def prepare(probe: zmq.Socket[bytes]) -> None:
        probe.curve_serverkey, probe.curve_publickey = server, public
        probe.curve_secretkey = secret

    return prepare


def _is_mark(user: bytes) -> bool:
    """Whether the gatekeeper has called a peer by a fingerprint."""
    return re.fullmatch(rb"[0-9a-f]{16}", user) is not None


def _user_id(frame: zmq.Frame) -> bytes:
    """What the gatekeeper called the peer, b"" when it was not asked."""
    try:
        return str(frame.get("User-Id")).encode()
    except zmq.ZMQError:
        return b""
