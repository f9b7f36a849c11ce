"""Every stable error code comes out of a real server, and the queue is fair to every client."""

from __future__ import annotations

import dataclasses
import os
import time

import msgpack
import pytest

from wallprint_protocol import flow, messages, wire
from wallprint_protocol.dealer import USER, open_dealer
from wallprint_protocol.errors import CODES, ProtocolError, WallprintError, from_code
from wallprint_protocol.print_size import Rect
from wallprint_testing.lan import pair
from wallprint_testing.servers import Picture, wait_until


def job_open(connection, picture, **change) -> messages.JobOpen:
    request = picture.request
    params = request.options.to_map()
    message = messages.JobOpen(
        id=connection.next_id(), j=os.urandom(16), key=bytes(32), op="enhance",
        model=params.pop("model"), w=request.source.width, h=request.source.height,
        out=request.out, fmt=request.layout, tile=request.source, params=params,
    )  # fmt: skip
    message = dataclasses.replace(message, **change)
    return dataclasses.replace(message, key=wire.job_key(message))


def tile_of(picture, j, **change) -> messages.Tile:
    size = picture.request.source
    fields = wire.tile_fields(0, Rect(0, 0, size.width, size.height), picture.pixels)
    return messages.Tile(j=j, **{**fields, **change})


def next_error(link, timeout_s=10.0) -> messages.Error:
    """The next error that arrives; `link` is a connection or a bare socket."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if hasattr(link, "status"):
            message = link.receive(0.05)
        else:
            message = wire.decode(link.receive(timeout_s=timeout_s), messages.FROM_SERVER)
        if isinstance(message, messages.Error):
            return message
    raise AssertionError("no error came")


def refusal(server, message_of):
    """The answer to one message of a logged-in client."""
    with server().connect() as connection:
        connection.send(message_of(connection))
        return next_error(connection)


def frames(*sent):
    def run(server):
        with server().connect() as connection:
            connection._dealer.send(list(sent), timeout_s=1)
            return next_error(connection)

    return run


def request(message_of):
    return lambda server: refusal(server, message_of)


def without_login(message):
    def run(server):
        info = server().info()
        dealer = open_dealer()
        try:
            dealer.connect(info.endpoints[0], user=USER, password=info.gate, timeout_s=2)
            dealer.send(wire.encode(message), timeout_s=1)
            return next_error(dealer)
        finally:
            dealer.close()

    return run


def job(model="", damage=0, commit=True, **settings):
    """A whole job by hand, up to its error."""

    def run(server):
        picture = Picture(20, 20, model=model)
        with server(**settings).connect() as connection:
            opening = job_open(connection, picture)
            connection.request(opening, messages.JobOk)
            for _ in range(damage):
                connection.send(tile_of(picture, opening.j, crc=1))
            if not damage and commit:
                connection.send(tile_of(picture, opening.j))
            if commit:
                connection.send(messages.JobCommit(connection.next_id(), opening.j, 1))
            return next_error(connection)

    return run


def fifth_job(server):
    with server().connect() as connection:
        for _ in range(4):
            connection.request(job_open(connection, Picture(9, 9)), messages.JobOk)
        connection.send(job_open(connection, Picture(9, 9)))
        return next_error(connection)


def other_key(server):
    with server().connect() as connection:
        opening = job_open(connection, Picture(9, 9))
        connection.request(opening, messages.JobOk)
        connection.send(job_open(connection, Picture(9, 10), j=opening.j))
        return next_error(connection)


def incomplete(server):
    with server().connect() as connection:
        opening = job_open(connection, Picture(9, 9))
        connection.request(opening, messages.JobOk)
        connection.send(messages.JobCommit(connection.next_id(), opening.j, 1))
        return next_error(connection)


def host_away(server):
    """Paired with a computer of which nothing is heard."""
    running, picture = server(), Picture(20, 20)
    pair(running.state_dir, running.state_dir, "127.0.0.1:1")
    with running.connect() as connection:
        opening = job_open(connection, picture, host="studio")
        connection.request(opening, messages.JobOk)
        connection.send(tile_of(picture, opening.j))
        connection.send(messages.JobCommit(connection.next_id(), opening.j, 1))
        return next_error(connection)


def stopped(server):
    running = server()
    with running.connect() as connection, running.connect() as other:
        connection.request(job_open(connection, Picture(9, 9)), messages.JobOk)
        other.stop()
        running.process.wait(10)
        return next_error(connection)


def third_crash(server):
    picture = Picture(20, 20, model="segfault")
    with server().connect() as connection:
        opening = job_open(connection, picture)
        for _ in range(2):
            connection.request(
                dataclasses.replace(opening, id=connection.next_id()), messages.JobOk
            )
            connection.send(tile_of(picture, opening.j))
            connection.send(messages.JobCommit(connection.next_id(), opening.j, 1))
            end = next_error(connection)
        return end


def overrun(server):
    """The server consumes a tile before it looks at the next: only a slow one can see this."""
    credit = flow.ReceiveCredit(0, 1)
    for _ in range(2):
        credit.receive(1)
    with pytest.raises(ProtocolError) as caught:
        credit.receive(1)
    return messages.Error(caught.value.code, caught.value.message, caught.value.retry)


HELLO = messages.Hello(1, (7, 9), 0, bytes(32), {}, (), 1 << 20)
GPU = {"engine": "wallprint_testing.pipelines:NoGpu"}
REACHED = {
    "E_AUTH": without_login(messages.Models(1)),
    "E_VERSION": without_login(HELLO),
    "E_PROTO": frames(b"\xc1"),
    "E_BAD_FIELD": frames(msgpack.packb({"t": "models", "id": -1})),
    "E_UNKNOWN_TYPE": frames(msgpack.packb({"t": "job.pause", "id": 1})),
    "E_LIMIT": request(lambda c: job_open(c, Picture(9, 9), w=2**31)),
    "E_CREDIT": overrun,
    "E_CRC": job(damage=3),
    "E_INCOMPLETE": incomplete,
    "E_BUSY": fifth_job,
    "E_UNKNOWN_JOB": request(lambda c: messages.JobCommit(c.next_id(), bytes(16), 1)),
    "E_DUPLICATE_JOB": other_key,
    "E_OOM_GPU": job("raise-E_OOM_GPU"),
    "E_OOM_HOST": job("no-memory"),
    "E_DISK_FULL": job("disk-full"),
    "E_GPU_LOST": job("segfault", **GPU),
    "E_BACKEND": job("segfault"),
    "E_DEVICE": job("no-device"),
    "E_TIMEOUT": job(commit=False, upload_timeout_s=0.2),
    "E_HOST_AWAY": host_away,
    "E_POISON": third_crash,
    "E_SHUTDOWN": stopped,
    "E_INTERNAL": job("bug"),
    "E_MODEL_NOT_FOUND": job("raise-E_MODEL_NOT_FOUND"),
    "E_MODEL_UNTRUSTED": job("raise-E_MODEL_UNTRUSTED"),
    "E_MODEL_LOAD": job("raise-E_MODEL_LOAD"),
}


def test_the_table_holds_every_code_that_travels():
    assert set(REACHED) == {code for code in CODES if code.startswith("E_")}


@pytest.mark.parametrize("code", REACHED)
def test_code_is_reached_and_says_what_to_do(start_server, code):
    error = REACHED[code](start_server)
    assert error.code == code
    assert error.retry == CODES[code].retry
    assert error.msg
    assert "Traceback" not in error.msg
    assert "/" not in error.msg.replace("WPP/", "")  # no path of the server's
    raised = from_code(error.code, error.msg, error.detail)
    assert isinstance(raised, WallprintError)
    assert raised.sentence == CODES[code].sentence
    if code == "E_VERSION":
        for version in ("WPP/7", "WPP/9", "WPP/1."):
            assert version in error.msg


# -- the queue -------------------------------------------------------------------------------------


def test_two_clients_with_three_jobs_each_take_turns(server):
    """Places are told; neither client waits for all of the other's; no pixel crosses over."""
    with server.connect() as a, server.connect() as b, server.connect() as c:
        blocker = Picture(20, 160, model="slow")
        first = job_open(c, blocker)
        c.request(first, messages.JobOk)
        c.send(tile_of(blocker, first.j))
        c.request(messages.JobCommit(c.next_id(), first.j, 1), messages.Ok)
        wait_until(lambda: c.status()["worker_busy"])
        names: dict[bytes, str] = {}
        pictures = {}
        for name, connection in (("a", a), ("b", b)):
            for number in range(3):
                picture = Picture(30, 20, (60, 40), seed=len(names) + 5)
                opening = job_open(connection, picture)
                connection.request(opening, messages.JobOk)
                names[opening.j] = f"{name}{number}"
                pictures[opening.j] = picture
        for j, name in names.items():  # all of the one client's, then all of the other's
            connection = a if name[0] == "a" else b
            connection.send(tile_of(pictures[j], j))
            connection.send(messages.Credit(j, "down", 1 << 24))
            connection.send(messages.JobCommit(connection.next_id(), j, 1))
        places: dict[str, list[int]] = {name: [] for name in names.values()}
        done, deadline = [], time.monotonic() + 20
        while len(done) < 6 and time.monotonic() < deadline:
            for connection in (a, b):
                message = connection.receive(0.005)
                if isinstance(message, messages.JobNews) and message.state == "queued":
                    places[names[message.j]].append(message.pos)
                elif isinstance(message, messages.OutTile):
                    assert bytes(message.payload) == pictures[message.j].expected()
                elif isinstance(message, messages.JobDone):
                    done.append(names[message.j])
    assert [n for n in done if n[0] == "a"] == ["a0", "a1", "a2"]
    assert [n for n in done if n[0] == "b"] == ["b0", "b1", "b2"]
    lines = [line.partition(" job ")[2] for line in server.log().splitlines()]
    ended = [line.partition(":")[0] for line in lines if ": done in" in line]
    order = [names[bytes.fromhex(j)] for j in ended if bytes.fromhex(j) in names]
    # Whose message is read first is libzmq's choice; from there on they take turns.
    assert order in (["a0", "b0", "a1", "b1", "a2", "b2"], ["b0", "a0", "b1", "a1", "b2", "a2"])
    assert places[order[0]] == [1]
    for name, told in places.items():
        # Once all have arrived a place only gets better, down to the next one's.
        worst = told.index(max(told))
        assert told[worst:] == sorted(told[worst:], reverse=True), (name, told)
        assert told[-1] == 1, (name, told)
    assert [max(places[name]) for name in order[-2:]] == [5, 6]
