"""Whole jobs through a real server: pixels, progress, cancel, crashes, lost clients."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from wallprint_protocol import connection as connection_module
from wallprint_protocol import flow, job_run, messages, wire
from wallprint_protocol.connection import Connection
from wallprint_protocol.dealer_zmtp import ZmtpDealer
from wallprint_protocol.errors import (
    BadInput,
    Cancelled,
    OutOfResources,
    ServerTrouble,
    WallprintError,
)
from wallprint_protocol.pixels import PixelLayout
from wallprint_testing.servers import Picture, alive, wait_until

LAYOUTS = [
    PixelLayout("GRAY", "u8"),
    PixelLayout("GRAYA", "u16", "straight"),
    PixelLayout("RGB", "f32", trc="linear"),
    PixelLayout("BGRA", "f16", "premul"),
    PixelLayout("CMYKA", "u8", "straight"),
]


def busy(server) -> bool:
    return server.status()["worker_busy"]


# -- pixels ----------------------------------------------------------------------------------------


def test_every_pixel_arrives_for_many_odd_sizes_and_layouts(server):
    sizes = [
        ((1, 1), (1, 1)), ((1, 1), (7, 5)), ((3, 1), (1, 3)), ((1, 97), (64, 97)),
        ((97, 1), (97, 64)), ((17, 13), (31, 29)), ((101, 67), (53, 211)), ((256, 3), (5, 100)),
    ]  # fmt: skip
    with server.connect() as connection:
        for number, (size, out) in enumerate(sizes):
            layout = LAYOUTS[number % len(LAYOUTS)]
            picture = Picture(*size, out, layout, seed=number + 1)
            result = picture.enhance(connection)
            assert picture.result == picture.expected(), (size, out, layout)
            assert result.notes == ("a note",)
            assert result.report == {"stages": [{"stage": "nearest"}], "device": "cpu"}


def test_strips_are_full_width_top_to_bottom_each_once(server):
    picture = Picture(700, 1200, (1400, 900))
    with server.connect() as connection:
        picture.enhance(connection)
    for strips, height in ((picture.asked, 1200), (picture.rows, 900)):
        assert len(strips) > 2
        assert strips[0][0] == 0
        assert all(a[0] + a[1] == b[0] for a, b in pairwise(strips))
        assert sum(strips[-1]) == height
    assert picture.result == picture.expected()


def test_rows_longer_than_a_tile_are_split_and_joined(server):
    layout = PixelLayout("RGBA", "f32", "straight")
    picture = Picture(100_003, 2, (70_001, 3), layout)  # 1.6 MB and 1.1 MB a row
    with server.connect() as connection:
        picture.enhance(connection)
    assert picture.result == picture.expected()
    assert picture.asked == [(0, 1), (1, 1)]


@pytest.mark.parametrize("dtype", ["u8", "f32"])
def test_selection_travels_beside_the_pixels(server, dtype):
    picture = Picture(61, 47, (122, 94), selection=PixelLayout("GRAY", "u8"))
    if dtype == "f32":
        picture = Picture(61, 47, (122, 94), selection=PixelLayout("GRAY", "f32"))
        ones = (b"\0\0\0\0", b"\0\0\x80\x3f")
        read = picture.read_selection
        with server.connect() as connection:
            picture.enhance(
                connection, read_selection=lambda rect: b"".join(ones[v] for v in read(rect))
            )
    else:
        with server.connect() as connection:
            picture.enhance(connection)
    assert 0 < sum(picture.mask) < 61 * 47
    assert picture.result == picture.expected()


def test_pure_python_client_gets_the_same_pixels(server, monkeypatch):
    """The backend of editors that cannot load pyzmq, against the real server."""
    monkeypatch.setattr(connection_module, "open_dealer", ZmtpDealer)
    picture = Picture(701, 1203, (1399, 907), PixelLayout("RGBA", "u16", "straight"))
    cancel = CancelAt("write")
    with server.connect() as connection:
        picture.enhance(connection)
        with pytest.raises(Cancelled):
            Picture(701, 1203).enhance(
                connection, write=lambda *a: cancel.now("write"), should_cancel=cancel.flag
            )
        assert time.monotonic() - cancel.since < 0.2
    assert picture.result == picture.expected()
    wait_until(lambda: server.status()["clients"] == 1)


def test_wrong_number_of_bytes_from_read_is_the_callers_error(server):
    picture = Picture(30, 30)
    with server.connect() as connection:
        with pytest.raises(ValueError, match="2700 expected"):
            picture.enhance(connection, read=lambda rect: b"xx")
        assert connection.status()["jobs"] == {}


def test_profile_travels_up_to_its_limit(server):
    with server.connect() as connection:
        picture = Picture(9, 9)
        object.__setattr__(picture.request, "icc", os.urandom(4 << 20))
        picture.enhance(connection)
        assert picture.result == picture.expected()
        object.__setattr__(picture.request, "icc", bytes((4 << 20) + 1))
        with pytest.raises(BadInput) as caught:
            picture.enhance(connection)
        assert caught.value.detail["limit"] == "icc_bytes"


# -- progress --------------------------------------------------------------------------------------


def test_progress_rises_through_the_phases(server):
    seen = []
    picture = Picture(40, 120, model="slow")
    with server.connect() as connection:
        picture.enhance(connection, on_progress=seen.append)
    phases = list(dict.fromkeys(p.phase for p in seen))
    assert [p for p in phases if p in ("upload", "run", "download")] == [
        "upload", "run", "download",
    ]  # fmt: skip
    for phase in phases:
        done = [p.done for p in seen if p.phase == phase]
        assert done == sorted(done)
    run = [p for p in seen if p.phase == "run"]
    assert len(run) >= 3
    assert 0 < run[1].eta_s < 5
    assert all(p.total == 120 for p in run)
    assert (seen[-1].phase, seen[-1].done) == ("download", seen[-1].total)


def test_finished_strips_stream_out_before_the_job_is_done(server):
    picture, first = Picture(3000, 480, (3000, 480), model="slow"), []
    with server.connect() as connection:

        def write(rect, pixels):
            first.append(busy(server))
            picture.write(rect, pixels)

        picture.enhance(connection, write=write)
    assert first[0] is True
    assert picture.result == picture.expected()


# -- cancel ----------------------------------------------------------------------------------------


class CancelAt:
    """Raises the flag when a job gets somewhere; measures how long the call still takes."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.since = 0.0

    def now(self, place: str) -> None:
        if place == self.where and not self.since:
            self.since = time.monotonic()

    def flag(self) -> bool:
        return bool(self.since)


@pytest.mark.parametrize("size", [(40, 40), (300, 400), (1000, 1200)])
@pytest.mark.parametrize("where", ["open", "read", "queued", "run", "write"])
def test_cancel_is_acknowledged_at_once_in_every_state(server, where, size):
    cancel = CancelAt(where)
    picture = Picture(*size, model="slow" if where == "run" else "")
    with server.connect() as connection, server.connect() as other:
        if where == "open":
            cancel.since = time.monotonic()

        def read(rect):
            cancel.now("read")
            return picture.read(rect)

        def write(rect, pixels):
            cancel.now("write")

        blocker = None
        if where == "queued":
            blocker = threading.Thread(target=lambda: Picture(40, 160, model="slow").enhance(other))
            blocker.start()
            wait_until(lambda: busy(server))
        with pytest.raises(Cancelled):
            picture.enhance(
                connection,
                read=read,
                write=write,
                on_progress=lambda p: cancel.now(p.phase),
                should_cancel=cancel.flag,
            )
        took_s = time.monotonic() - cancel.since
        assert took_s < 0.2, took_s
        if blocker:
            blocker.join()
        wait_until(lambda: not busy(server), 1)
        assert connection.status()["jobs"] == {}
        assert connection.status()["spool_bytes"] == 0
        again = Picture(20, 20)  # the connection is as good as new
        again.enhance(connection)
        assert again.result == again.expected()


def open_job(connection, picture, **change) -> messages.JobOk:
    """Only the opening, by hand."""
    request = picture.request
    params = request.options.to_map()
    message = messages.JobOpen(
        id=connection.next_id(), j=os.urandom(16), key=bytes(32), op="enhance",
        model=params.pop("model"), w=request.source.width, h=request.source.height,
        out=request.out, fmt=request.layout, tile=request.source, params=params, **change,
    )  # fmt: skip
    message = messages.JobOpen(**{**vars(message), "key": wire.job_key(message)})
    return connection.request(message, messages.JobOk)


def send_pixels(connection, picture, j, **change):
    size = picture.request.source
    fields = wire.tile_fields(0, flow.Rect(0, 0, size.width, size.height), picture.pixels)
    connection.send(messages.Tile(j=j, **{**fields, **change}))


def drain(connection, seconds=0.4):
    """Everything that arrives within a time."""
    got, deadline = [], time.monotonic() + seconds
    while time.monotonic() < deadline:
        message = connection.receive(0.02)
        if message is not None:
            got.append(message)
    return got


def test_one_terminal_message_and_silence_after_it(server):
    """Cancel twice, commit and send after the end: answered, and never a second terminal."""
    with server.connect() as connection:
        picture = Picture(50, 400, model="slow")
        j = open_job(connection, picture).j
        connection.send(messages.Credit(j, "down", 1 << 24))
        send_pixels(connection, picture, j)
        connection.send(messages.JobCommit(connection.next_id(), j, 1))
        wait_until(lambda: busy(server))
        cancels = [messages.JobCancel(connection.next_id(), j) for _ in range(2)]
        for message in cancels:
            connection.send(message)
        send_pixels(connection, picture, j)
        late = messages.JobCommit(connection.next_id(), j, 1)
        connection.send(late)
        got = drain(connection)
        ends = [m for m in got if isinstance(m, messages.JobCancelled)]
        assert [m.re for m in ends] == [m.id for m in cancels]
        after = got[got.index(ends[0]) + 1 :]
        assert [m for m in after if getattr(m, "j", None) == j] == [ends[1]]
        refused = [m for m in after if getattr(m, "re", None) == late.id]
        assert [m.code for m in refused] == ["E_UNKNOWN_JOB"]
        assert not any(isinstance(m, (messages.JobDone, messages.Error)) and m.j for m in got)


def test_reopening_a_job_tells_what_is_held_and_another_key_is_refused(server):
    with server.connect() as connection:
        picture = Picture(50, 40)
        ok = open_job(connection, picture)
        assert (ok.need_bytes, ok.payload, ok.state) == (6000, None, "receiving")
        send_pixels(connection, picture, ok.j)
        request = picture.request
        params = request.options.to_map()
        message = messages.JobOpen(
            id=connection.next_id(), j=ok.j, key=bytes(32), op="enhance",
            model=params.pop("model"), w=50, h=40, out=request.out, fmt=request.layout,
            tile=request.source, params=params,
        )  # fmt: skip
        same = messages.JobOpen(**{**vars(message), "key": wire.job_key(message)})
        again = connection.request(same, messages.JobOk)
        assert (again.need_bytes, bytes(again.payload)) == (0, b"\x01")
        other = messages.JobOpen(**{**vars(same), "id": connection.next_id(), "key": b"k" * 32})
        with pytest.raises(WallprintError) as caught:
            connection.request(other, messages.JobOk)
        assert caught.value.code == "E_DUPLICATE_JOB"


def test_incomplete_commit_names_the_missing_tiles_and_does_not_end_the_job(server):
    with server.connect() as connection:
        picture = Picture(50, 40)
        j = open_job(connection, picture).j
        connection.send(messages.Credit(j, "down", 1 << 24))
        commit = messages.JobCommit(connection.next_id(), j, 1)
        connection.send(commit)
        refusal = next(m for m in drain(connection) if isinstance(m, messages.Error))
        assert (refusal.re, refusal.j, refusal.code) == (commit.id, None, "E_INCOMPLETE")
        assert bytes(refusal.payload) == b"\x01"
        send_pixels(connection, picture, j)
        connection.request(messages.JobCommit(connection.next_id(), j, 1), messages.Ok)
        assert any(isinstance(m, messages.JobDone) for m in drain(connection))


# -- damage ----------------------------------------------------------------------------------------


def test_damaged_upload_is_sent_again(server, monkeypatch):
    original, damaged = wire.tile_fields, []

    def damage(index, rect, payload, checksum):
        fields = original(index, rect, payload, checksum=checksum)
        if index == 1 and not damaged:
            damaged.append(index)
            fields["crc"] ^= 1
        return fields

    monkeypatch.setattr(wire, "tile_fields", damage)
    picture = Picture(900, 1000)
    with Connection(server.info(), checksums=True) as connection:
        picture.enhance(connection)
    assert damaged
    assert picture.result == picture.expected()
    assert len(picture.asked) == len(set(picture.asked)) + 1


def test_constant_damage_ends_the_job_with_its_code(server, monkeypatch):
    original = wire.tile_fields
    monkeypatch.setattr(wire, "tile_fields", lambda *a, checksum: {**original(*a), "crc": 1})
    with server.connect() as connection:
        with pytest.raises(ServerTrouble) as caught:
            Picture(900, 2000).enhance(connection)
        assert caught.value.code == "E_CRC"


@pytest.mark.parametrize("damaged", [{0: 1}, {1: 2}, {3: 1, 1: 1}])
def test_damaged_download_is_sent_again(server, monkeypatch, damaged):
    """Tile -> how often it comes in damaged; what had come in before is not sent again."""
    original, left, checked = flow.intact, dict(damaged), []

    def intact(tile):
        checked.append(tile.s)
        if left.get(tile.s):
            left[tile.s] -= 1
            return False
        return original(tile)

    picture = Picture(900, 1000, (900, 1500))
    with Connection(server.info(), checksums=True) as connection:
        monkeypatch.setattr(flow, "intact", intact)
        picture.enhance(connection)
        assert connection.status()["jobs"] == {}
    assert not any(left.values())
    assert picture.result == picture.expected()
    assert len(picture.rows) == len(set(picture.rows)) == 4
    assert len(checked) == 4 + sum(damaged.values())


def test_damaged_download_is_never_written(server, monkeypatch):
    """A third damaged tile ends the job."""
    original = flow.intact

    def intact(tile):
        assert tile.crc is not None  # the server sends what the client has asked for
        return original(tile) and tile.s != 1

    monkeypatch.setattr(flow, "intact", intact)
    picture = Picture(900, 1000)
    with Connection(server.info(), checksums=True) as connection:
        with pytest.raises(ServerTrouble) as caught:
            picture.enhance(connection)
        assert caught.value.code == "E_CRC"
        assert len(picture.rows) == 1
        assert connection.status()["jobs"] == {}


# -- a job that seems not to move ------------------------------------------------------------------


def test_waiting_for_ones_turn_is_no_stall(server, monkeypatch):
    monkeypatch.setattr(job_run, "STALL_S", 0.3)
    with server.connect() as first, server.connect() as second:
        slow = Picture(40, 160, model="slow")
        thread = threading.Thread(target=lambda: slow.enhance(first))
        thread.start()
        wait_until(lambda: busy(server))
        picture = Picture(30, 30)
        picture.enhance(second)
        thread.join()
    assert picture.result == picture.expected()
    assert "goes on" not in server.log()


def test_worker_that_takes_its_time_to_start_is_no_stall(start_server):
    """The client is told once a second that the job is there, whatever the worker does."""
    server = start_server(engine="wallprint_testing.pipelines:LateEngine", prestart=False)
    with server.connect() as connection:
        picture = Picture(30, 30)
        j = open_job(connection, picture).j
        send_pixels(connection, picture, j)
        connection.request(messages.JobCommit(connection.next_id(), j, 1), messages.Ok)
        got = [m for m in drain(connection, 2.5) if isinstance(m, messages.JobProgress)]
        assert {(m.phase, m.done, m.total) for m in got} == {("load", 0, 0)}
        assert 2 <= len(got) <= 4


# -- the worker fails ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "code", "kind", "says"),
    [
        ("half-then-exit", "E_POISON", ServerTrouble, "left with code 9"),
        ("segfault", "E_POISON", ServerTrouble, "SIGSEGV"),
        ("bug", "E_INTERNAL", ServerTrouble, "a secret bug"),
        ("no-memory", "E_OOM_HOST", OutOfResources, "memory"),
        ("disk-full", "E_DISK_FULL", OutOfResources, "full"),
        ("no-device", "E_DEVICE", BadInput, "no CUDA"),
    ],
)
def test_failed_job_has_a_code_and_the_next_one_runs(server, model, code, kind, says):
    picture = Picture(30, 40, model=model)
    with server.connect() as connection:
        with pytest.raises(kind, match=says) as caught:
            picture.enhance(connection)
        assert caught.value.code == code
        assert "Traceback" not in caught.value.message
        assert connection.status()["jobs"] == {}
        again = Picture(20, 20)
        again.enhance(connection)
        assert again.result == again.expected()
    if model == "bug":
        assert "a secret bug" in server.log()
        assert "Traceback" in server.log()
    if code == "E_DEVICE":
        assert caught.value.detail == {"have": ["cpu"]}


def test_engine_that_is_not_there_has_its_code(server):
    with server.connect() as connection, pytest.raises(BadInput, match="no mps") as caught:
        Picture(9, 9, device="mps").enhance(connection)
    assert caught.value.code == "E_DEVICE"


def test_missing_pipeline_is_a_coded_error(start_server):
    server = start_server(pipeline="wallprint_server.no_such:thing")
    with server.connect() as connection, pytest.raises(ServerTrouble) as caught:
        Picture(9, 9).enhance(connection)
    assert caught.value.code == "E_INTERNAL"
    assert "no_such" in server.log()
    server.stop()
    (server.state_dir / "server.log").write_text("")  # it holds the traceback that was meant


def test_report_that_does_not_fit_is_dropped_and_the_print_is_not(server):
    picture = Picture(30, 40, model="long-report")
    with server.connect() as connection:
        assert picture.enhance(connection).report == {}
    assert picture.result == picture.expected()


def test_worker_killed_between_jobs_is_replaced(server):
    server.worker().kill()
    picture = Picture(30, 40)
    with server.connect() as connection:
        wait_until(lambda: connection.status()["worker_pid"] is None)
        picture.enhance(connection)
    assert picture.result == picture.expected()


def test_hanging_worker_is_killed_after_a_cancel(start_server):
    server = start_server(cancel_patience_s=0.5)
    with server.connect() as connection:
        cancel = CancelAt("run")
        with pytest.raises(Cancelled):
            Picture(30, 40, model="hang").enhance(
                connection,
                on_progress=lambda p: cancel.now(p.phase),
                should_cancel=cancel.flag,
            )
        assert time.monotonic() - cancel.since < 0.2
        picture = Picture(30, 40)
        picture.enhance(connection)
    assert picture.result == picture.expected()
    assert "killed" in server.log()


# -- several clients, lost clients -----------------------------------------------------------------


def test_two_clients_at_once_no_pixel_crosses_over(server):
    failures = []

    def work(seed):
        try:
            with server.connect() as connection:
                for number in range(6):
                    picture = Picture(
                        300 + seed, 200 + 31 * number, (450 + seed, 400), seed=seed + number
                    )
                    picture.enhance(connection)
                    assert picture.result == picture.expected()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_waiting_client_sees_its_place(server):
    seen = []
    with server.connect() as first, server.connect() as second:
        slow = Picture(40, 100, model="slow")
        thread = threading.Thread(target=lambda: slow.enhance(first))
        thread.start()
        wait_until(lambda: busy(server))
        picture = Picture(30, 30)
        picture.enhance(second, on_progress=seen.append)
        thread.join()
    assert [p.queue_pos for p in seen if p.phase == "queued"] == [1]
    assert picture.result == picture.expected()
    assert slow.result == slow.expected()


def test_too_many_jobs_are_refused_and_the_open_ones_live(server):
    with server.connect() as connection:
        picture = Picture(30, 30)
        jobs = [open_job(connection, picture).j for _ in range(4)]
        with pytest.raises(ServerTrouble) as caught:
            open_job(connection, picture)
        assert caught.value.code == "E_BUSY"
        connection.send(messages.Credit(jobs[2], "down", 1 << 24))
        send_pixels(connection, picture, jobs[2])
        connection.request(messages.JobCommit(connection.next_id(), jobs[2], 1), messages.Ok)
        assert any(isinstance(m, messages.JobDone) for m in drain(connection, 2.0))


CLIENT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background inherit "ignore"
sys.path.insert(0, {tests!r})
from wallprint_testing.servers import Picture
from wallprint_protocol import client
with client.connect({state!r}, start=False) as connection:
    Picture(40, 4000, model="slow").enhance(
        connection, on_progress=lambda p: print(p.phase, flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_client_that_is_killed_frees_the_worker(server, number):
    code = CLIENT.format(tests=str(Path(__file__).parents[1]), state=str(server.state_dir))
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with process, process.stdout:
        assert any(line.strip() == "run" for line in process.stdout)
        assert busy(server)
        process.send_signal(number)
        wait_until(lambda: not busy(server), 2.0)
    status = server.status()
    assert status["jobs"] == {}
    assert status["spool_bytes"] == 0
    wait_until(lambda: server.status()["clients"] == 1, 1.0)  # the one that asks


def test_client_that_falls_silent_is_lost_after_a_while(start_server):
    server = start_server(silent_s=0.5, ping_ms=100, grace_s=0.3)
    with server.connect() as connection, server.connect() as lively:
        open_job(connection, Picture(30, 30))
        deadline = time.monotonic() + 2.0
        while time.monotonic() < deadline:
            lively.receive(0.02)  # answers the server's pings; the other does not
        assert lively.status()["clients"] == 1
        assert lively.status()["jobs"] == {}


def test_job_that_gets_no_tile_times_out(start_server):
    server = start_server(upload_timeout_s=0.3)
    with server.connect() as connection:
        j = open_job(connection, Picture(30, 30)).j
        ends = [m for m in drain(connection, 1.0) if isinstance(m, messages.Error)]
        assert [(m.j, m.code) for m in ends] == [(j, "E_TIMEOUT")]


def test_frozen_server_is_reported_and_the_job_finishes(start_server):
    server = start_server(ping_ms=100)
    seen = []
    picture = Picture(40, 120, model="slow")
    process = psutil.Process(server.process.pid)
    frozen = []

    def on_progress(progress):
        seen.append(progress)
        if progress.phase == "run" and not frozen:
            frozen.append(True)
            process.suspend()
            threading.Timer(1.0, process.resume).start()

    with server.connect() as connection:
        picture.enhance(connection, on_progress=on_progress)
    assert picture.result == picture.expected()
    assert False in [p.responding for p in seen]
    assert seen[-1].responding


def test_server_that_dies_is_noticed_at_once(server):
    worker = server.worker()
    killed = []

    def on_progress(progress):
        if progress.phase == "run" and not killed:
            server.process.kill()
            killed.append(time.monotonic())

    with server.connect() as connection, pytest.raises(ServerTrouble) as caught:
        Picture(40, 400, model="slow").enhance(connection, on_progress=on_progress)
    assert caught.value.code == "LINK_CLOSED"
    assert time.monotonic() - killed[0] < 1.0
    server.process.wait()
    wait_until(lambda: not alive(worker), 2)
    (server.state_dir / "server.json").unlink()
    (server.state_dir / "s.sock").unlink()
