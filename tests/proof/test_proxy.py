"""A proxy that cuts the connection, flips bytes or falls silent between client and server."""

from __future__ import annotations

import time

import pytest

from wallprint_protocol import client
from wallprint_protocol import connection as connection_module
from wallprint_protocol.connection import Connection
from wallprint_protocol.errors import CODES, LinkTimeout
from wallprint_testing.interference import (
    IN_TIME_S,
    STALL_S,
    impatient,
    interfere,
    picture_of,
    run_job,
)
from wallprint_testing.proxy import DOWN, UP, Proxy, pass_on
from wallprint_testing.watching import log_text, wait_for_rest

SMALL_PX, LARGE_PX = 30, 900  # streams that are mostly headers, mostly pixels
ENDS = {"done"} | CODES.keys()  # never "cancelled": no user had to give up waiting


@pytest.fixture
def impatient_client():
    with impatient():
        yield


@pytest.mark.parametrize(("side_px", "count"), [(SMALL_PX, 20), (LARGE_PX, 8)])
def test_cut_connection_is_replaced_and_the_job_goes_on(
    start_server, impatient_client, side_px, count
):
    """Wherever it is cut: every pixel right, or a code, in time; and the server is free again."""
    server = start_server(grace_s=1.0)
    endings = interfere(server, "drop", count, side_px)
    assert endings.wrong == 0
    assert endings.outcomes.keys() <= {"done"} | CODES.keys()
    assert endings.outcomes["done"] > count / 2  # resumed: a job alone would have ended with a code
    assert endings.slowest_s < IN_TIME_S
    wait_for_rest(server)


@pytest.mark.parametrize(("side_px", "count"), [(SMALL_PX, 120), (LARGE_PX, 20)])
def test_flipped_bytes_are_found_and_never_become_pixels(
    start_server, impatient_client, side_px, count
):
    """Nor does any of them leave a client waiting for what does not come any more."""
    server = start_server(grace_s=1.0, ping_ms=500)
    endings = interfere(server, "flip", count, side_px)
    assert endings.wrong == 0
    assert endings.outcomes.keys() <= ENDS, endings.outcomes
    assert endings.slowest_s < IN_TIME_S
    assert set(endings.outcomes) - {"done"}  # some were found
    assert endings.outcomes["done"] > count / 4  # damaged tiles alone end no job
    assert "Traceback" not in log_text(server)
    wait_for_rest(server)


@pytest.mark.parametrize("way", [UP, DOWN])
def test_damage_that_takes_the_checksum_along_is_found(server, way):
    """The tile's field `crc` gets another name, and its last pixel another value."""

    def treat(number, direction, offset, chunk):
        if direction != way or b"\xa3crc\xce" not in chunk:
            return chunk
        return chunk[:-1].replace(b"\xa3crc\xce", b"\xa3crx\xce") + bytes([chunk[-1] ^ 1])

    ending = run_job(server, picture_of(6, SMALL_PX), treat)
    assert ending.wrong == 0
    assert ending.outcome in ("E_CRC", "E_INCOMPLETE")


def damaged_credit(way: str, at_most: int):
    """The first credit of each of so many connections is another job's, or none."""

    def treat(number, direction, offset, chunk):
        start = chunk.find(b"\xa6credit")
        if direction != way or start < 0 or number >= at_most:
            return chunk
        changed = bytearray(chunk)
        if way == UP:
            changed[changed.index(b"\xa1j\xc4\x10", start) + 4] ^= 1
        else:  # 16 MiB become nothing
            place = changed.index(b"\xa3max\xce", start) + 5
            changed[place : place + 4] = bytes(4)
        return bytes(changed)

    return treat


@pytest.mark.parametrize("way", [UP, DOWN])
def test_job_that_stalls_on_a_living_connection_goes_on_over_another(server, impatient_client, way):
    """Neither side has anything to complain of: each waits for the other."""
    ending = run_job(server, picture_of(5, LARGE_PX), damaged_credit(way, 1))
    assert (ending.outcome, ending.wrong) == ("done", 0)
    assert ending.took_s > STALL_S
    wait_for_rest(server)


@pytest.mark.parametrize("way", [UP, DOWN])
def test_job_that_stalls_again_and_again_ends_with_a_code(server, impatient_client, way):
    ending = run_job(server, picture_of(5, LARGE_PX), damaged_credit(way, 99))
    assert (ending.outcome, ending.wrong) == ("LINK_TIMEOUT", 0)
    assert ending.took_s < IN_TIME_S
    wait_for_rest(server)


def test_untouched_stream_in_pieces_of_one_byte_to_a_hundred(server):
    """Half frames everywhere, on both sides."""
    ending = run_job(server, picture_of(3, SMALL_PX), pass_on, most_bytes=1)
    assert (ending.outcome, ending.wrong) == ("done", 0)
    ending = run_job(server, picture_of(4, 200), pass_on, most_bytes=97)
    assert (ending.outcome, ending.wrong) == ("done", 0)


def test_connection_that_only_falls_silent_ends_with_a_code(server, monkeypatch):
    """Half open: no end is seen, only that nothing comes; with 2 s in place of 30."""
    monkeypatch.setattr(connection_module, "DEAD_AFTER_S", 2.0)
    path = server.state_dir / "proxy.sock"
    info = server.info()
    picture = picture_of(5, LARGE_PX)
    with Proxy(path, str(server.state_dir / "s.sock")) as proxy:

        def read(rect):
            if rect.y:
                proxy.held.set()
            return picture.read(rect)

        with Connection(info.at((f"ipc://{path}",)), checksums=True) as link:
            began = time.monotonic()
            with pytest.raises(LinkTimeout):
                client.enhance(picture.request, read, picture.write, connection=link)
            assert time.monotonic() - began < 10
    assert picture.wrong == 0
