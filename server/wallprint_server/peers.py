"""The clients: login, sending to them, signs of life.

Knows nothing of jobs. ROUTER neither says who has left nor lets one be dropped, so who breaks the
rules is ignored, and who is gone is found by sending to it.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import wallprint_protocol
from wallprint_protocol import messages, wire
from wallprint_protocol.connection import CAPABILITIES
from wallprint_protocol.endpoint import ConnectionInfo
from wallprint_protocol.errors import CODES, WallprintError

from .config import ServerConfig
from .pairing import Pairings
from .transport import PeerGone, Transport, fingerprint_of

log = logging.getLogger(__name__)
PROBE_FOR_S = 1.0
PROBE_EVERY_S = 0.02
EXIT_S = 0.2
# What an error may tell another computer besides its code: numbers.
_LAN_DETAIL = ("limit", "value", "max", "needed_bytes", "server_proto", "server_version")


@dataclass(eq=False)
class Peer:
    """One connection.

    Attributes:
        identity: ROUTER's name for it.
        login: "new", "challenged", "in", or "ignored" after it broke the rules.
        nonce: of the client and of the server, during the login.
        client: what it says about itself.
        caps: what it can do, of what was asked for.
        malformed: messages that were none.
        since_s: when it was first heard, on the monotonic clock.
        heard_s: when anything last came in.
        pinged_s: when it was last asked for a sign of life.
        gone_s: when it was found to be gone.
    """

    identity: bytes
    login: str = "new"
    nonce: tuple[bytes, bytes] = (b"", b"")
    client: dict[str, Any] = field(default_factory=dict)
    caps: frozenset[str] = frozenset()
    malformed: int = 0
    since_s: float = field(default_factory=time.monotonic)
    heard_s: float = field(default_factory=time.monotonic)
    pinged_s: float = 0.0
    gone_s: float | None = None

    @property
    def checksums(self) -> bool:
        """Whether it wants them in the result's tiles."""
        return "crc" in self.caps

    @property
    def may_return(self) -> bool:
        """Whether it could come back for its jobs after its connection has ended.

        What it says of its process is only a hint: one that is wrong, as in a sandbox that counts
        processes for itself, costs the grace or a second upload, never a pixel.
        """
        return "resume" in self.caps and (
            self.from_lan or not _process_ended(self.client.get("pid"))
        )

    @property
    def from_lan(self) -> bool:
        """Whether it is another computer."""
        return bool(fingerprint_of(self.identity))

    def __str__(self) -> str:
        """What it says about itself, for the log; of another computer only the fingerprint."""
        if self.from_lan:
            return f"{self.identity.hex()} of {fingerprint_of(self.identity).hex()}"
        names = ("name", "version", "editor", "editor_version", "os", "python", "pid")
        about = [f"{n}={self.client[n]!s:.40}" for n in names if self.client.get(n)]
        return " ".join([self.identity.hex(), *about])


class Peers:
    """All connections."""

    def __init__(
        self,
        config: ServerConfig,
        info: ConnectionInfo,
        transport: Transport,
        pairings: Pairings,
    ) -> None:
        self._pairings = pairings
        self._config = config
        self._info = info
        self._transport = transport
        self._peers: dict[bytes, Peer] = {}
        self._probe_until_s = self._probed_s = 0.0

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[Peer]:
        """Those that are logged in and not known to be gone."""
        return iter([p for p in self._peers.values() if p.login == "in" and p.gone_s is None])

    @property
    def present(self) -> int:
        """Connections that are not known to have ended."""
        return sum(1 for peer in self._peers.values() if peer.gone_s is None)

    def get(self, identity: bytes) -> Peer | None:
        """A peer that is still known."""
        return self._peers.get(identity)

    def hear(self, identity: bytes) -> Peer:
        """The peer from whom something came in."""
        peer = self._peers.setdefault(identity, Peer(identity))
        peer.heard_s = time.monotonic()
        return peer

    @property
    def probing(self) -> bool:
        """Whether someone has just left and it is being found out who."""
        return self._probe_until_s > time.monotonic()

    # -- login -------------------------------------------------------------------------------------

    def on_hello(self, peer: Peer, hello: messages.Hello) -> None:
        """Prove that this server holds the key; raises WallprintError for another version."""
        if wallprint_protocol.PROTOCOL_MAJOR not in hello.proto:
            peer.login = "ignored"
            theirs = ", ".join(f"WPP/{major}" for major in hello.proto) or "no version"
            raise WallprintError(
                f"This program speaks {theirs}, the server (wallprint "
                f"{wallprint_protocol.__version__}) WPP/{wallprint_protocol.PROTOCOL_VERSION}; "
                "update the older of the two.",
                code="E_VERSION",
                detail={
                    "server_proto": [wallprint_protocol.PROTOCOL_MAJOR],
                    "server_version": wallprint_protocol.__version__,
                },
            )
        peer.client, peer.caps = hello.client, frozenset(hello.caps)
        peer.nonce = (hello.nonce, secrets.token_bytes(32))
        peer.login = "challenged"
        proof = wire.proof(self._key(peer), b"S", *peer.nonce)
        self.send(peer, messages.Challenge(hello.id, peer.nonce[1], proof))

    def on_auth(self, peer: Peer, auth: messages.Auth, state: str) -> None:
        """Let the client in if it holds the key, too; raises WallprintError if not."""
        client_nonce, server_nonce = peer.nonce
        expected = wire.proof(self._key(peer), b"C", server_nonce, client_nonce)
        if not wire.same(auth.proof, expected):
            peer.login = "ignored"
            raise WallprintError("wrong proof", code="E_AUTH")
        peer.login = "in"
        log.info("client %s", peer)
        self.send(
            peer,
            messages.Welcome(
                re=auth.id,
                proto=wallprint_protocol.PROTOCOL_MAJOR,
                minor=wallprint_protocol.PROTOCOL_MINOR,
                boot=self._info.boot,
                server={"name": "wallprint", "version": wallprint_protocol.__version__},
                state=state,
                caps=CAPABILITIES,
                ping_ms=self._config.ping_ms,
                limits=self._config.limits.to_map(),
            ),
        )

    def _key(self, peer: Peer) -> bytes:
        """The login key: this start's, or for another computer that of its pairing.

        Raises:
            WallprintError: E_AUTH, it is not paired any more.
        """
        if not peer.from_lan:
            return self._info.key
        client = self._pairings.client(fingerprint_of(peer.identity))
        if client is None:
            peer.login = "ignored"
            raise WallprintError("not paired", code="E_AUTH")
        return client.key

    # -- sending -----------------------------------------------------------------------------------

    def send(self, peer: Peer, message: messages.Message) -> None:
        """Send to a peer that may be gone; what it leaves behind is seen to by `look_around`."""
        if peer.gone_s is not None:
            return
        # A peer that does not read must not fill the queue with news (protocol.md 5).
        silent_s = time.monotonic() - peer.heard_s
        if message.t.startswith("$") and silent_s > 3 * self._config.ping_ms / 1000:
            return
        try:
            self._transport.send(peer.identity, wire.encode(message))
        except PeerGone:
            peer.gone_s = time.monotonic()
            log.info("client %s is gone", peer.identity.hex())
        except BlockingIOError as error:
            log.error("%s; it counts as gone", error)
            peer.gone_s = time.monotonic()

    def send_to(self, identity: bytes, message: messages.Message) -> None:
        """Send to a peer that may even be forgotten."""
        peer = self._peers.get(identity)
        if peer is not None:
            self.send(peer, message)

    def send_error(
        self,
        peer: Peer,
        error: WallprintError,
        *,
        re: int | None = None,
        j: bytes | None = None,
        payload: bytes | None = None,
    ) -> None:
        """Answer with a code; with `j` it is that job's end."""
        code = error.code if error.code in CODES else "E_INTERNAL"
        text, detail = error.message[:1000], error.detail
        if peer.from_lan:  # our own words may name folders, and through them people
            text = CODES[code].sentence
            detail = {name: detail[name] for name in _LAN_DETAIL if name in detail}
        answer = messages.Error(
            code=code,
            msg=text,
            retry=CODES[code].retry,
            re=re,
            j=j,
            detail=detail or None,
            payload=payload,
        )
        self.send(peer, answer)

    def tell_all(self, message: messages.Message) -> None:
        """Send to everyone who is logged in."""
        for peer in self:
            self.send(peer, message)

    # -- time --------------------------------------------------------------------------------------

    def forgive(self, now_s: float) -> None:
        """After a sleep of the computer everyone gets a new chance."""
        for peer in self._peers.values():
            peer.heard_s = now_s

    def look_around(self, now_s: float) -> list[Peer]:
        """Ask the silent for a sign of life; those whose connection has ended are forgotten."""
        if self._transport.someone_left():
            self._probe_until_s = now_s + PROBE_FOR_S
        probing = self.probing and now_s - self._probed_s >= PROBE_EVERY_S
        if probing:
            self._probed_s = now_s
        lost = [p for p in list(self._peers.values()) if self._is_lost(p, now_s, probing)]
        for peer in lost:
            del self._peers[peer.identity]
        return lost

    def _is_lost(self, peer: Peer, now_s: float, probing: bool) -> bool:
        silent_s = now_s - peer.heard_s
        if peer.login in ("new", "challenged") and now_s - peer.since_s > self._config.login_s:
            peer.login = "ignored"
        ping_s = self._config.ping_ms / 1000
        overdue = silent_s > ping_s and now_s - peer.pinged_s > ping_s
        # To a peer that is gone any message fails, which is the only way ROUTER tells.
        if probing or (overdue and peer.login == "in"):
            peer.pinged_s = now_s
            self.send(peer, messages.Ping(0))
        if peer.from_lan and peer.gone_s is None and not self._paired(peer):
            if peer.login == "in":
                log.warning("client %s is not paired any more", peer.identity.hex())
                self.send_error(peer, WallprintError(code="E_AUTH"))
            peer.login, peer.caps, peer.gone_s = "ignored", frozenset(), now_s
        if peer.gone_s is None and silent_s > self._config.silent_s:
            log.warning("client %s has been silent for %.0f s", peer.identity.hex(), silent_s)
            peer.gone_s = now_s
        # A process that is killed closes its sockets a moment before it counts as ended.
        settled = peer.gone_s is not None and now_s - peer.gone_s > EXIT_S
        return peer.gone_s is not None and (settled or not peer.may_return)

    def _paired(self, peer: Peer) -> bool:
        """Whether a computer of the network is still welcome."""
        try:
            return self._pairings.client(fingerprint_of(peer.identity)) is not None
        except WallprintError as error:
            log.error("%s", error)
            return False


def _process_ended(pid: object) -> bool:
    """Whether there is certainly no such process on this computer any more."""
    if type(pid) is not int or not 0 < pid < 1 << 31:
        return False
    try:
        # A zombie has closed its sockets; its parent may take its time to notice.
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read(4096).rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except (OSError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
