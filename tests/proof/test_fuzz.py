"""Nonsense of every kind against a live server that has honest clients to serve meanwhile."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace

from wallprint_protocol import messages, wire
from wallprint_protocol.print_size import Rect
from wallprint_testing.fuzzer import fuzz
from wallprint_testing.servers import Picture
from wallprint_testing.watching import PeakMemory, log_text, usage, wait_for_rest

MESSAGES = 3_000
MEMORY_MIB = 32.0  # over the start, whatever is sent
SPARE_DESCRIPTORS = 2  # a connection that the server has not yet noticed to be gone


def test_fuzzed_messages_crash_nothing_and_cost_no_memory(server):
    """Coded answers only; nothing stays of them; an honest client gets its pixels all the while."""
    with server.connect() as connection:
        Picture(20, 20).enhance(connection)
    before, worker = usage(server.process.pid), server.worker().pid
    served, ended = [], threading.Event()

    def honest():
        with server.connect() as connection:
            while not ended.is_set():
                picture = Picture(31, 17, (40, 50), seed=len(served) + 1)
                picture.enhance(connection)
                served.append(picture.result == picture.expected())
                time.sleep(0.05)

    thread = threading.Thread(target=honest)
    thread.start()
    try:
        with PeakMemory(server.process.pid) as memory:
            tally = fuzz(server.info(), MESSAGES)
    finally:
        ended.set()
        thread.join()
    assert memory.growth < MEMORY_MIB
    assert len(served) > 5
    assert all(served)
    status = wait_for_rest(server)
    assert status["worker_pid"] == worker  # the same: it never crashed
    assert usage(server.process.pid).descriptors <= before.descriptors + SPARE_DESCRIPTORS
    assert "Traceback" not in log_text(server)
    # The fuzzer itself reaches what it is meant to reach.
    assert tally.heeded > tally.messages / 2
    assert {"job.done", "job.cancelled", "out.tile", "E_PROTO", "E_BAD_FIELD",
            "E_UNKNOWN_TYPE", "E_INCOMPLETE", "E_AUTH"} <= tally.answers.keys()  # fmt: skip


def one_tile_job(connection, picture: Picture, j: bytes) -> None:
    """Open, send and commit by hand, under a given UUID."""
    request = picture.request
    params = request.options.to_map()
    size = request.source
    message = messages.JobOpen(
        id=connection.next_id(), j=j, key=bytes(32), op="enhance", model=params.pop("model"),
        w=size.width, h=size.height, out=request.out, fmt=request.layout, tile=size, params=params,
    )  # fmt: skip
    connection.request(replace(message, key=wire.job_key(message)), messages.JobOk)
    connection.send(messages.Credit(j, "down", 1 << 24))
    fields = wire.tile_fields(0, Rect(0, 0, size.width, size.height), picture.pixels)
    connection.send(messages.Tile(j=j, **fields))
    connection.request(messages.JobCommit(connection.next_id(), j, 1), messages.Ok)


def test_cancel_of_a_job_does_not_end_a_later_one_of_the_same_name(server):
    """Neither one client's next job nor another client's: to the worker they are different jobs."""
    j = os.urandom(16)
    with server.connect() as first, server.connect() as second:
        for number in range(10):
            one_tile_job(first, Picture(30, 40), j)
            first.request(messages.JobCancel(first.next_id(), j), messages.JobCancelled)
            client = (first, second)[number % 2]
            one_tile_job(client, Picture(30, 40), j)
            while not isinstance(message := client.receive(2.0), messages.JobDone):
                assert not isinstance(message, messages.Error), message
            client.request(messages.JobRelease(client.next_id(), j), messages.Ok)
