"""A logged-in connection against a scripted link."""

from __future__ import annotations

import time

import msgpack
import pytest

from wallprint_protocol import messages, wire
from wallprint_protocol.connection import Connection
from wallprint_protocol.errors import LinkClosed, LinkProtocol, ProtocolError, WallprintError


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


class Scripted:
    """A link that takes everything and says what it was told to."""

    def __init__(self, *said: list) -> None:
        self.said = list(said)

    def send(self, frames, *, timeout_s):
        pass

    def receive(self, *, timeout_s, into=None):
        return self.said.pop(0)


def connected(dealer) -> Connection:
    """A connection after its login."""
    connection = Connection.__new__(Connection)
    connection._dealer = dealer
    connection._request_id = connection._pings = 0
    connection._ping_s = 2.0
    connection._unanswered, connection._jobs = set(), set()
    connection._heard_s = connection._looked_s = time.monotonic()
    return connection


def test_an_answer_before_the_end_is_heard_although_a_ping_came_first() -> None:
    said = messages.Ping(1), messages.Ok(1), messages.Ping(2)
    connected(GoneAfterAnswering(*said)).stop()


MINE, OTHER = b"\1" * 16, b"\2" * 16
NEWS = {"t": "$state", "j": MINE, "state": "queued", "pos": 1}


def test_news_of_a_newer_server_are_passed_over() -> None:
    connection = connected(
        Scripted([msgpack.packb({"t": "$tidings", "j": OTHER, "re": 7})], [msgpack.packb(NEWS)])
    )
    connection.send(messages.JobCommit(1, MINE, 1))
    assert connection.receive(0.1) is None
    assert isinstance(connection.receive(0.1), messages.JobNews)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ({"t": "job.done", "j": OTHER, "tiles": 1, "ms": 1, "notes": []}, "about a job of nobody"),
        ({**NEWS, "j": OTHER}, "about a job of nobody"),
        ({"t": "job.cancelled", "re": 1, "j": OTHER}, "about a job of nobody"),
        ({"t": "job.dome", "j": MINE, "tiles": 1, "ms": 1, "notes": []}, "is not known"),
        ({"t": "#state", "j": MINE, "state": "queued", "pos": 1}, "is not known"),
        ({"t": "ok", "re": 3}, "answers request 3"),
        ({"t": "job.done", "j": MINE, "tiles": 1, "ms": 1}, "field notes"),
    ],
)
def test_what_a_client_could_wait_for_in_vain_ends_the_connection(header, says) -> None:
    """A damaged header: what was said is lost, so going on would be waiting for it."""
    connection = connected(Scripted([msgpack.packb(header)]))
    connection.send(messages.JobCommit(1, MINE, 1))
    with pytest.raises(LinkProtocol, match=says):
        connection.receive(0.1)


def test_a_second_answer_to_the_same_request_is_none() -> None:
    connection = connected(Scripted(*[[msgpack.packb({"t": "ok", "re": 1})]] * 2))
    connection.request(messages.JobCommit(1, MINE, 1), messages.Ok)
    with pytest.raises(LinkProtocol, match="answers request 1"):
        connection.receive(0.1)


def test_an_error_that_names_no_request_is_the_answer_to_the_one_under_way() -> None:
    """The request's own number may be what was damaged."""
    error = wire.encode(messages.Error("E_PROTO", "malformed", "no"))
    with pytest.raises(WallprintError) as caught:
        connected(Scripted(error)).request(messages.Models(1), messages.ModelList)
    assert caught.value.code == ProtocolError.default_code
