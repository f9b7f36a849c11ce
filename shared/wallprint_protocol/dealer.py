"""The client's socket: its interface, and which of the two backends is used.

Knows frames, not messages. pyzmq where it can be imported, else the pure-Python ZMTP of
dealer_zmtp.py. Neither reconnects by itself: a new connection needs a new login.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Optional, Protocol

from .endpoint import CurveKeys
from .errors import GateRefused, LinkClosed, LinkError, LinkProtocol, LinkRefused, LinkTimeout
from .messages import Buffer

__all__ = [
    "Buffer",
    "CurveKeys",
    "Dealer",
    "GateRefused",
    "LinkClosed",
    "LinkError",
    "LinkProtocol",
    "LinkRefused",
    "LinkTimeout",
    "Placer",
    "open_dealer",
]

USER = b"wpp1"  # names the layout of the opening, not the negotiated version (protocol.md 2.3)

Placer = Callable[[Sequence[Buffer], int], Optional[memoryview]]  # noqa: UP045 (Python 3.9)
"""Called with the frames so far and the size of a large next one; where to put it, or None."""


class Dealer(Protocol):
    """One connection to one ROUTER; owned by one thread."""

    def connect(
        self,
        endpoint: str,
        *,
        user: bytes,
        password: bytes,
        timeout_s: float,
        curve: CurveKeys | None = None,
    ) -> None:
        """Connect and do the PLAIN handshake, or with `curve` the CURVE handshake.

        Raises:
            GateRefused: wrong password, key or mechanism, or the peer left during the handshake.
            LinkClosed: nobody listens.
            LinkTimeout: no answer in time.
        """

    def send(self, frames: Sequence[Buffer], *, timeout_s: float) -> None:
        """Send one message; the frames' memory must not change afterwards.

        Raises:
            LinkTimeout: not taken in time; fatal, since half a message may be out.
            LinkClosed: the peer is gone.
        """

    def receive(self, *, timeout_s: float, into: Placer | None = None) -> list[Buffer]:
        """The next message.

        Raises:
            LinkTimeout: none in time.
            LinkClosed: the peer is gone and everything it had sent has been received.
            LinkProtocol: a frame that is too large, or too many of them.
        """

    def close(self) -> None:
        """At once; unsent data is dropped."""


def open_dealer() -> Dealer:
    """A socket that is not yet connected."""
    try:
        from .dealer_pyzmq import PyzmqDealer
    except ImportError:
        from .dealer_zmtp import ZmtpDealer

        return ZmtpDealer()
    return PyzmqDealer()
