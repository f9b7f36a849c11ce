"""A logged-in connection against a scripted link."""

from __future__ import annotations

import time

from wallprint_protocol import messages, wire
from wallprint_protocol.connection import Connection
from wallprint_protocol.errors import LinkClosed


class GoneAfterAnswering:
    """A link whose other end has said everything and closed: reading works, sending does not."""

    def __init__(self, *said: messages.Message) -> None:
        self.said = list(said)

    def send(self, frames, *, timeout_s):
        if not self.said:
            return
        if isinstance(self.said[0], messages.Ok):
            raise LinkClosed("the server is gone")

    def receive(self, *, timeout_s, into=None):
        if not self.said:
            raise LinkClosed("the server is gone")
        return wire.encode(self.said.pop(0))


def test_an_answer_before_the_end_is_heard_although_a_ping_came_first() -> None:
    connection = Connection.__new__(Connection)
    connection._dealer = GoneAfterAnswering(messages.Ping(1), messages.Ok(1), messages.Ping(2))
    connection._request_id = connection._pings = 0
    connection._ping_s = 2.0
    connection._heard_s = connection._looked_s = time.monotonic()
    connection.stop()
