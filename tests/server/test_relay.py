"""A print that a paired host makes: the same pixels, and what happens when the host does not."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from dataclasses import replace

import pytest

from wallprint_protocol.connection import Connection
from wallprint_protocol.dealer_pyzmq import curve_key_pair
from wallprint_protocol.endpoint import CurveKeys
from wallprint_protocol.errors import Cancelled, LinkTimeout, ServerTrouble, WallprintError
from wallprint_protocol.pixels import PixelLayout
from wallprint_server.pairing import Pairings
from wallprint_server.transport import LanDoor, Transport
from wallprint_testing.lan import pair, talk, two_computers
from wallprint_testing.proxy import DOWN, UP, Proxy, drop_at
from wallprint_testing.servers import Picture, wait_until

GATE = b"g" * 64
RGBA16 = PixelLayout("RGBA", "u16", "straight")
GRAY = PixelLayout("GRAY", "u8")


@pytest.mark.parametrize("selection", [None, GRAY], ids=["whole", "selection"])
def test_print_of_the_host_is_the_local_one_bit_for_bit(computers, selection):
    results = {}
    for host in ("local", "studio"):
        picture = Picture(700, 500, (1000, 900), RGBA16, selection, seed=3)
        with computers.connect(host) as connection:
            result = picture.enhance(connection)
        results[host] = (bytes(picture.result), result.notes, result.report)
    assert results["studio"] == results["local"]
    assert computers.host.log().count(": done in") == 1
    assert computers.here.log().count(": done in") == 2


def test_rows_come_while_the_host_still_computes(computers):
    picture, seen = Picture(300, 1600, model="slow"), []

    def write(rect, pixels):
        seen.append(computers.host.status()["worker_busy"] if not seen else None)
        picture.write(rect, pixels)

    with computers.connect() as connection:
        picture.enhance(connection, write=write)
    assert picture.result == picture.expected()
    assert seen[0] is True


def test_configured_host_is_where_jobs_go_that_do_not_say(host_dir, state_dir, no_leaks):
    """Editors do not know of hosts."""
    with ExitStack() as stack:
        both = stack.enter_context(two_computers(host_dir, state_dir))
        both.here.stop()
        both.start_here(host="studio")
        assert both.here.status()["worker_pid"] is None  # no device is set up for nothing
        for host, there in (("", 1), ("local", 1), ("studio", 2)):
            picture = Picture(20, 10, (30, 30))
            with both.connect(host) as connection:
                picture.enhance(connection)
            assert picture.result == picture.expected()
            assert both.host.log().count(": done in") == there, host


def test_host_that_is_not_paired_is_refused_at_the_opening(computers):
    with computers.connect("atelier") as connection:
        with pytest.raises(WallprintError, match=r"atelier.*studio") as caught:
            Picture(20, 10).enhance(connection)
        assert caught.value.code == "E_DEVICE"
        assert connection.status()["jobs"] == {}


def test_host_that_is_away_is_one_clear_error(computers):
    computers.kill_host()
    began = time.monotonic()
    with computers.connect() as connection:
        with pytest.raises(ServerTrouble, match="studio does not answer") as caught:
            Picture(20, 10).enhance(connection)
        assert time.monotonic() - began < 2
        assert caught.value.code == "E_HOST_AWAY"
        assert computers.address not in caught.value.message
    with computers.connect("local") as connection:
        Picture(20, 10).enhance(connection)  # the server serves on


def test_fallback_only_where_it_was_asked_for(computers):
    computers.kill_host()
    picture = Picture(20, 10, (30, 30))
    with computers.connect("studio,local") as connection:
        result = picture.enhance(connection)
    assert picture.result == picture.expected()
    assert result.notes[0].startswith("The other computer could not be used")


@pytest.mark.parametrize("host", ["studio", "studio,local"])
def test_host_killed_in_the_middle_is_told_within_two_seconds(computers, host):
    """Rows of two computers are not mixed in one print, so no fallback either."""
    picture, killed = Picture(300, 1600, model="slow"), []

    def write(rect, pixels):
        picture.write(rect, pixels)
        if not killed:
            computers.kill_host()
            killed.append(time.monotonic())

    with computers.connect(host) as connection:
        with pytest.raises(ServerTrouble) as caught:
            picture.enhance(connection, write=write)
        took_s = time.monotonic() - killed[0]
        assert caught.value.code == "E_HOST_AWAY"
        assert took_s < 2
        assert connection.status()["jobs"] == {}
    with computers.connect("local") as connection:
        Picture(20, 10).enhance(connection)


def test_cancel_frees_the_host_within_half_a_second(computers):
    picture, began = Picture(300, 4000, model="slow"), []

    def on_progress(progress):
        if progress.phase == "run" and progress.done and not began:
            began.append(time.monotonic())

    with computers.connect() as connection:
        with pytest.raises(Cancelled):
            picture.enhance(connection, on_progress=on_progress, should_cancel=lambda: bool(began))
        acknowledged_s = time.monotonic() - began[0]
        wait_until(lambda: computers.host.status()["jobs"] == {}, 5)
        wait_until(lambda: not computers.host.status()["worker_busy"], 5)
        freed_s = time.monotonic() - began[0]
        assert (acknowledged_s < 0.5, freed_s < 0.5) == (True, True), (acknowledged_s, freed_s)
        Picture(20, 10).enhance(connection)  # and the next one goes through


def test_progress_and_queue_of_the_host_are_told_here(computers):
    phases = []
    with computers.connect("studio") as connection, talk(computers.paired) as other:
        blocker = Picture(100, 1200, model="slow")  # seven seconds
        picture = Picture(100, 200, model="slow", seed=2)
        opened = []

        def busy(progress):
            if progress.phase == "run" and not opened:
                opened.append(True)
                picture.enhance(connection, on_progress=phases.append)

        blocker.enhance(other, on_progress=busy)
    assert picture.result == picture.expected()
    assert {"upload", "queued", "run"} <= {progress.phase for progress in phases}
    assert max(p.queue_pos for p in phases if p.phase == "queued") == 1


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("no-device", "E_DEVICE"),
        ("disk-full", "E_DISK_FULL"),
        ("raise-E_MODEL_LOAD", "E_MODEL_LOAD"),
        ("raise-E_MODEL_NOT_FOUND", "E_MODEL_NOT_FOUND"),
        ("raise-E_GPU_LOST", "E_POISON"),
        ("segfault", "E_POISON"),
    ],
)
def test_errors_of_the_host_come_through_with_their_code(computers, model, code):
    with computers.connect() as connection, pytest.raises(WallprintError) as caught:
        Picture(20, 10, model=model).enhance(connection)
    assert caught.value.code == code


def test_connection_that_is_cut_goes_on(computers):
    """The relay resumes at the host as an editor does at its server."""
    with Proxy(None, computers.address, drop_at(900_000, DOWN)) as proxy:
        through(computers, proxy)
        picture = Picture(900, 900, (1000, 1000), seed=4)
        with computers.connect("proxy") as connection:
            picture.enhance(connection)
        assert proxy.connections == 2
    assert picture.result == picture.expected()
    assert "goes on from tile" in computers.host.log()


def through(computers, proxy) -> None:
    """Have the host `proxy` be the studio, by a detour."""
    paired = replace(computers.paired, name="proxy", address=f"127.0.0.1:{proxy.port}")
    Pairings(computers.here_dir)._save("hosts.json", [computers.paired.to_map(), paired.to_map()])


def test_nothing_can_be_read_on_the_way(computers):
    """Neither pixels nor messages, nor the key by which both prove who they are."""
    with Proxy(None, computers.address) as proxy:
        proxy.record()
        through(computers, proxy)
        picture = Picture(300, 200)
        with computers.connect("proxy") as connection:
            picture.enhance(connection)
        seen = {way: bytes(proxy.seen[way]) for way in (UP, DOWN)}
    assert len(seen[UP]) > len(picture.pixels)
    assert len(seen[DOWN]) > len(picture.result)
    for way in (UP, DOWN):
        assert b"CURVE" in seen[way]
        assert not any(word in seen[way] for word in (b"job.open", b"out.tile", b"hello"))
        assert not any(
            picture.pixels[at : at + 16] in seen[way] for at in range(0, len(picture.pixels), 997)
        )
        assert computers.paired.key not in seen[way]


def test_impostor_gets_no_message(host_dir, state_dir, no_leaks):
    """Another computer at the host's address, that lets everyone in but has not the host's key."""
    with two_computers(host_dir, state_dir) as both:
        both.host.stop()
        other = curve_key_pair()
        door = LanDoor(f"tcp://{both.address}", *other, lambda public, address: "")
        heard = 0
        impostor = Transport(f"ipc://{both.host_dir}/i.sock", GATE, lambda: True, lan=door)
        picture = Picture(20, 10)
        try:
            over = threading.Event()

            def listen():
                nonlocal heard
                while not over.is_set():
                    impostor.wait(0.01)
                    heard += impostor.receive() is not None

            thread = threading.Thread(target=listen)
            thread.start()
            try:
                with both.connect() as connection, pytest.raises(ServerTrouble) as caught:
                    picture.enhance(connection)
                before = heard
                known = CurveKeys(other[0], *curve_key_pair())
                info = replace(both.paired.connection_info(), curve=known)
                with pytest.raises(LinkTimeout):  # the impostor can hear, and does
                    Connection(info)
            finally:
                over.set()
                thread.join()
        finally:
            impostor.close()
            (both.host_dir / "i.sock").unlink(missing_ok=True)
        assert caught.value.code == "E_HOST_AWAY"
        assert "not the computer that was paired" in caught.value.message
        assert before == 0 < heard
        assert picture.rows == []


def test_job_of_another_computer_goes_on_to_no_third(host_dir, state_dir, no_leaks):
    """Whatever it asks for, and whatever the host does with its own user's jobs."""
    with two_computers(host_dir, state_dir) as both:
        both.host.stop()
        pair(both.host_dir, both.host_dir, "127.0.0.1:1", "nowhere", "nobody")
        both.start_host(host="nowhere")
        for host in ("", "nowhere"):
            picture = Picture(20, 10, (30, 30))
            with talk(both.paired, host=host) as link:
                picture.enhance(link)
            assert picture.result == picture.expected()


@pytest.mark.slow
def test_long_queue_at_the_host_is_not_taken_for_a_stuck_worker(host_dir, state_dir, no_leaks):
    """The user's server hears nothing of the job for longer than its patience with a worker."""
    with two_computers(host_dir, state_dir) as both, ExitStack() as stack:
        both.here.stop()
        both.start_here(stuck_s=7.0)
        connection = stack.enter_context(both.connect())
        other = stack.enter_context(talk(both.paired))
        picture, results = Picture(20, 10, (30, 30)), []
        waiting = threading.Thread(target=lambda: results.append(picture.enhance(connection)))

        def busy(progress):
            if progress.phase == "run" and not waiting.ident:
                waiting.start()

        Picture(30, 1800, model="slow").enhance(other, on_progress=busy)  # some eleven seconds
        waiting.join()
        assert len(results) == 1
        assert picture.result == picture.expected()
        assert "has not moved" not in both.here.log()
