"""Faults that a server is given before it starts, to see that it notices them."""

from __future__ import annotations

import errno
import threading

import zmq

from wallprint_server import spool, transport
from wallprint_server.transport import Transport


def everyone_comes_in() -> None:
    """A gatekeeper that asks no key of the network's peers for their names."""
    Transport._key_user = lambda self, request: b"0" * 16


def nobody_comes_in() -> None:
    """A gatekeeper that knows nobody."""
    Transport._key_user = lambda self, request: b""


def no_encryption() -> None:
    """A door to the network without CURVE."""
    whole = transport._Door.__init__

    def bare(self, context, domain, options):
        options = {k: v for k, v in options.items() if k not in _CURVE}
        whole(self, context, domain, options)

    transport._Door.__init__ = bare


_CURVE = (zmq.CURVE_SERVER, zmq.CURVE_SECRETKEY)


def gatekeeper_dies() -> None:
    """One that is gone a moment after the start."""
    whole = Transport._answer_zap
    died = threading.Event()

    def once(self):
        whole(self)
        if self.lan_endpoint and not self._probe_key and died.is_set():
            self._zap.close(linger=0)

    Transport._answer_zap = once
    tested = Transport.self_test

    def then_dies(self):
        tested(self)
        died.set()

    Transport.self_test = then_dies


def disk_is_full() -> None:
    """No room for any picture."""

    def reserve(descriptor, nbytes):
        raise OSError(errno.ENOSPC, "No space left on device")

    spool.reserve = reserve
