"""What breaks in the middle of a job, and how the job goes on: connection, worker, server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from itertools import pairwise

import psutil
import pytest

from wallprint_protocol import client, messages, wire
from wallprint_protocol import connection as connection_module
from wallprint_protocol.dealer_zmtp import ZmtpDealer
from wallprint_protocol.errors import BadInput, LinkClosed, ServerTrouble, WallprintError
from wallprint_protocol.job_run import MAX_FRUITLESS
from wallprint_protocol.print_size import Rect
from wallprint_server.ledger import CrashLedger
from wallprint_server.peers import _process_ended
from wallprint_testing.servers import LAUNCHER, Picture, wait_until


@pytest.fixture
def breakable(monkeypatch):
    """Connections whose link `break_link` can cut while both processes live."""
    monkeypatch.setattr(connection_module, "open_dealer", ZmtpDealer)


def break_link(connection) -> None:
    connection._dealer._socket.shutdown(socket.SHUT_RDWR)


class Once:
    """Does something the first time that it is told so."""

    def __init__(self, action) -> None:
        self.action, self.at_s = action, 0.0

    def __call__(self) -> None:
        if not self.at_s:
            self.at_s = time.monotonic()
            self.action()


def written_once(picture) -> bool:
    """Whether the strips that `write` got follow each other from the top to the bottom."""
    rows = picture.rows
    return (
        rows[0][0] == 0
        and all(a[0] + a[1] == b[0] for a, b in pairwise(rows))
        and sum(rows[-1]) == picture.request.out.height
    )


# -- the connection breaks -------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["upload", "run", "download"])
def test_broken_connection_is_replaced_and_the_job_goes_on(server, breakable, where):
    picture = Picture(900, 2400, model="slow" if where == "run" else "")
    with server.connect() as connection:
        cut = Once(lambda: break_link(connection))

        def read(rect):
            if where == "upload" and len(picture.asked) == 4:
                cut()
            return picture.read(rect)

        def write(rect, pixels):
            picture.write(rect, pixels)
            if where == "download" and len(picture.rows) == 3:
                cut()

        result = picture.enhance(
            connection,
            read=read,
            write=write,
            on_progress=lambda p: cut() if p.phase == where == "run" else None,
        )
        assert connection.status()["jobs"] == {}
    assert cut.at_s
    assert picture.result == picture.expected()
    assert written_once(picture)
    assert result.notes == ("a note",)  # the job ran once
    assert server.log().count("goes on from tile") == 1
    strips = len(set(picture.asked))
    assert strips > 5
    # What had arrived is not read again; a strip that was under way may be.
    assert len(picture.asked) <= strips + (2 if where == "upload" else 0)


def test_connection_that_breaks_all_the_time_ends_in_an_error(server, breakable):
    picture = Picture(40, 4000, model="slow")
    breaks = []
    with server.connect() as connection:

        def on_progress(progress):
            if progress.phase in ("run", "load") and progress.responding:
                breaks.append(1)
                break_link(connection)

        with pytest.raises(LinkClosed):
            picture.enhance(connection, on_progress=on_progress)
    assert MAX_FRUITLESS <= len(breaks) <= MAX_FRUITLESS + 2
    wait_until(lambda: server.status()["jobs"] == {}, 20)


def test_client_that_was_given_up_comes_back(start_server):
    """One that was busy with its caller for too long, or stopped: its job is there for a while."""
    server = start_server(silent_s=0.4, ping_ms=100, grace_s=5.0)
    picture = Picture(900, 2400)
    with server.connect() as connection:
        pause = Once(lambda: time.sleep(1.0))

        def write(rect, pixels):
            picture.write(rect, pixels)
            pause()

        picture.enhance(connection, write=write)
    assert picture.result == picture.expected()
    assert written_once(picture)
    assert "has been silent for" in server.log()


def test_job_of_a_client_that_does_not_come_back_ends_after_the_grace(start_server, breakable):
    server = start_server(grace_s=0.6)
    with server.connect() as connection:
        j, _ = open_raw(connection, Picture(30, 30))
        break_link(connection)
        time.sleep(0.3)
        assert server.status()["jobs"] == {"receiving": 1}
        wait_until(lambda: server.status()["jobs"] == {}, 2)
        connection.reconnect()
        with pytest.raises(WallprintError) as caught:
            connection.request(messages.JobResume(9, j, bytes(32)), messages.JobOk)
    assert caught.value.code == "E_UNKNOWN_JOB"


def job_open(picture, j=None, request_id=1, **change) -> messages.JobOpen:
    request = picture.request
    params = request.options.to_map()
    message = messages.JobOpen(
        id=request_id, j=j or os.urandom(16), key=bytes(32), op="enhance",
        model=params.pop("model"), w=request.source.width, h=request.source.height,
        out=request.out, fmt=request.layout, tile=request.source, params=params, **change,
    )  # fmt: skip
    return messages.JobOpen(**{**vars(message), "key": wire.job_key(message)})


def open_raw(connection, picture, j=None, **change) -> tuple[bytes, bytes]:
    """Open by hand, one tile; its number and key."""
    message = job_open(picture, j, connection.next_id(), **change)
    connection.request(message, messages.JobOk)
    return message.j, message.key


def send_and_commit(connection, picture, j) -> None:
    size = picture.request.source
    fields = wire.tile_fields(0, Rect(0, 0, size.width, size.height), picture.pixels)
    connection.send(messages.Tile(j=j, **fields))
    connection.request(messages.JobCommit(connection.next_id(), j, 1), messages.Ok)


def hear_all(connection, j, until=messages.JobDone, timeout_s=10.0):
    """The messages about a job up to its end."""
    got, deadline = [], time.monotonic() + timeout_s
    while not got or not isinstance(got[-1], until):
        assert time.monotonic() < deadline, got
        message = connection.receive(0.05)
        if message is not None and getattr(message, "j", None) == j:
            got.append(message)
    return got


def test_resume_sends_what_is_missing_and_its_own_end(server):
    """Three times over: nothing held, a part, everything; with both credits anew."""
    picture = Picture(700, 700, (1400, 1500))
    with server.connect() as first:
        j, key = open_raw(first, picture)
        send_and_commit(first, picture, j)
        first.send(messages.Credit(j, "down", 1 << 26))
        tiles = [m for m in hear_all(first, j) if isinstance(m, messages.OutTile)]
        count = len(tiles)
        assert count > 4
        for held in (0, 3, count):
            with server.connect() as second:
                bitmap = ((1 << held) - 1).to_bytes(-(-count // 8), "little")
                ok = second.request(messages.JobResume(9, j, key, bitmap), messages.JobOk)
                assert (ok.state, ok.need_bytes) == ("sending", 0)
                if held < count:
                    assert not [m for m in _soon(second) if isinstance(m, messages.OutTile)]
                    second.send(messages.Credit(j, "down", 1 << 26))
                    again = [m for m in hear_all(second, j) if isinstance(m, messages.OutTile)]
                    assert [t.s for t in again] == list(range(held, count))
                    assert [bytes(t.payload) for t in again] == [
                        bytes(t.payload) for t in tiles[held:]
                    ]
                else:
                    hear_all(second, j)
                # What the job belonged to before is told nothing any more, and cannot touch it.
                assert not [m for m in _soon(first) if getattr(m, "j", None) == j]
                with pytest.raises(WallprintError) as caught:
                    first.request(messages.JobRelease(first.next_id(), j), messages.Ok)
                assert caught.value.code == "E_UNKNOWN_JOB"
                if held == count:
                    second.request(messages.JobRelease(second.next_id(), j), messages.Ok)
    assert server.status()["jobs"] == {}


def _soon(connection, seconds=0.15):
    got, deadline = [], time.monotonic() + seconds
    while time.monotonic() < deadline:
        message = connection.receive(0.02)
        if message is not None:
            got.append(message)
    return got


@pytest.mark.parametrize("bitmap", [b"\x02", b"\x05", b"\xff", b"\x01\x00", bytes(200)])
def test_resume_with_a_wrong_bitmap_is_refused_and_the_job_lives(server, bitmap):
    picture = Picture(700, 700)  # two tiles
    with server.connect() as first, server.connect() as second:
        j, key = open_raw(first, picture)
        with pytest.raises(WallprintError) as caught:
            second.request(messages.JobResume(9, j, key, bitmap), messages.JobOk)
        assert caught.value.code == "E_BAD_FIELD"
        with pytest.raises(WallprintError) as caught:
            second.request(messages.JobResume(9, j, b"k" * 32), messages.JobOk)
        assert caught.value.code == "E_DUPLICATE_JOB"
        send_and_commit(first, picture, j)
        first.send(messages.Credit(j, "down", 1 << 24))
        hear_all(first, j)


def test_repeated_open_over_another_connection_goes_on_too(server):
    """The answer to the first one may have been lost with its connection."""
    picture = Picture(60, 50)
    with server.connect() as first, server.connect() as second:
        message = job_open(picture)
        first.request(message, messages.JobOk)
        size = picture.request.source
        fields = wire.tile_fields(0, Rect(0, 0, size.width, size.height), picture.pixels)
        first.send(messages.Tile(j=message.j, **fields))
        first.status()  # in order: the tile has been taken
        again = second.request(message, messages.JobOk)
        assert (again.need_bytes, bytes(again.payload)) == (0, b"\x01")
        assert second.status()["jobs"] == {"receiving": 1}
        second.send(messages.Credit(message.j, "down", 1 << 24))
        second.request(messages.JobCommit(second.next_id(), message.j, 1), messages.Ok)
        hear_all(second, message.j)


# -- the worker ends -------------------------------------------------------------------------------


def test_killed_worker_repeats_the_job_once_and_the_others_go_on(server):
    picture, other = Picture(40, 200, model="slow"), Picture(30, 30)
    with server.connect() as connection, server.connect() as second:
        waiting = threading.Thread(target=lambda: other.enhance(second))

        def action():
            waiting.start()
            wait_until(lambda: server.status()["jobs"].get("queued"))
            server.worker().kill()

        kill = Once(action)
        result = picture.enhance(
            connection, on_progress=lambda p: kill() if p.phase == "run" else None
        )
        waiting.join()
    assert picture.result == picture.expected()
    assert written_once(picture)
    assert "repeated" in result.notes[-1]
    assert other.result == other.expected()


def test_job_that_ends_the_worker_twice_is_poison(server):
    with server.connect() as connection:
        with pytest.raises(ServerTrouble, match=r"SIGSEGV.*second time") as caught:
            Picture(30, 40, model="segfault").enhance(connection)
        assert caught.value.code == "E_POISON"
        j = bytes.fromhex((server.state_dir / "crashes").read_text().split()[0])
        with pytest.raises(ServerTrouble, match="second time") as caught:
            open_raw(connection, Picture(30, 40, model="segfault"), j, attempt=2)
        assert caught.value.code == "E_POISON"
        assert connection.status()["jobs"] == {}
        again = Picture(20, 20)
        again.enhance(connection)
        assert again.result == again.expected()


def test_worker_that_the_system_kills_for_memory_is_told_as_such(server):
    """The kernel's OOM killer says nothing to anybody; the user should look at the memory."""
    killed = []

    def on_progress(progress):
        if progress.phase == "run":
            worker = server.worker()
            if worker.pid not in killed:
                killed.append(worker.pid)
                worker.kill()

    with server.connect() as connection, pytest.raises(ServerTrouble, match="memory") as caught:
        Picture(40, 4000, model="slow").enhance(connection, on_progress=on_progress)
    assert caught.value.code == "E_POISON"
    assert len(killed) == 2


def test_endless_kernel_ends_that_job_only(start_server):
    server = start_server(stuck_s=0.8)
    good = Picture(30, 30)
    with server.connect() as connection, server.connect() as second:
        began = time.monotonic()
        waiting = threading.Thread(target=lambda: good.enhance(second))
        start = Once(waiting.start)
        with pytest.raises(ServerTrouble, match="no progress") as caught:
            Picture(30, 40, model="hang").enhance(
                connection, on_progress=lambda p: start() if p.phase == "run" else None
            )
        assert caught.value.code == "E_POISON"  # the second attempt hung as well
        assert time.monotonic() - began < 10
        waiting.join()
    assert good.result == good.expected()


def test_worker_stuck_in_a_cancelled_job_is_killed(start_server):
    server = start_server(cancel_patience_s=0.4)
    with server.connect() as connection:
        flag = threading.Event()
        with pytest.raises(WallprintError):
            Picture(30, 40, model="hang").enhance(
                connection,
                on_progress=lambda p: flag.set() if p.phase == "run" else None,
                should_cancel=flag.is_set,
            )
        good = Picture(30, 30)
        good.enhance(connection)
    assert good.result == good.expected()
    assert "has not left a cancelled job" in server.log()


def test_late_cancel_does_not_touch_a_job_of_the_same_number(server):
    """Cancelled and opened again with the same number while the worker is still in the old run."""
    picture = Picture(40, 300, model="slow")
    with server.connect() as connection:
        j, _ = open_raw(connection, picture)
        send_and_commit(connection, picture, j)
        wait_until(lambda: connection.status()["worker_busy"])
        for _ in range(2):
            cancel = messages.JobCancel(connection.next_id(), j)
            connection.request(cancel, messages.JobCancelled)
            quick = Picture(40, 30)
            open_raw(connection, quick, j)
        send_and_commit(connection, quick, j)
        connection.send(messages.Credit(j, "down", 1 << 24))
        tile = next(m for m in hear_all(connection, j) if isinstance(m, messages.OutTile))
        assert bytes(tile.payload) == quick.expected()


# -- the server ends -------------------------------------------------------------------------------


def kill_server(state_dir) -> None:
    pid = client.endpoint.read_connection(state_dir).pid
    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def launched(state_dir, no_leaks):
    """A connection to a server that the client starts, and starts again."""
    with client.connect(state_dir, launcher=LAUNCHER) as connection:
        yield connection
        try:
            connection.status()
        except WallprintError:
            connection.reconnect()
        connection.stop()
    wait_until(lambda: {c.pid for c in psutil.Process().children()} <= no_leaks, 5)


@pytest.mark.parametrize("where", ["read", "run", "write"])
def test_killed_server_is_started_again_and_the_job_repeated(state_dir, launched, where):
    picture, seen = Picture(700, 900, (1400, 1800), model="slow" if where == "run" else ""), []
    kill = Once(lambda: kill_server(state_dir))
    boot = launched.info.boot

    def read(rect):
        if where == "read" and rect.y:
            kill()
        return picture.read(rect)

    def write(rect, pixels):
        picture.write(rect, pixels)
        if where == "write" and len(picture.rows) == 3:
            kill()

    def on_progress(progress):
        seen.append((time.monotonic(), progress))
        if progress.phase == where == "run" and progress.done > 20:
            kill()

    result = picture.enhance(launched, read=read, write=write, on_progress=on_progress)
    assert kill.at_s
    assert launched.info.boot != boot
    assert picture.result == picture.expected()
    assert written_once(picture)
    assert "repeated" in result.notes[-1]
    told_s = next(t for t, p in seen if not p.responding)
    assert told_s - kill.at_s < 2.0
    phases = {p.phase for _, p in seen}
    for phase in phases - {"run", "load"}:
        done = [p.done for _, p in seen if p.phase == phase]
        assert done == sorted(done), phase


def test_server_that_ends_twice_during_a_job_is_not_started_a_third_time(state_dir, launched):
    boots = []

    def on_progress(progress):
        if progress.phase == "run" and progress.responding and launched.info.boot not in boots:
            boots.append(launched.info.boot)
            kill_server(state_dir)

    picture = Picture(40, 4000, model="slow")
    with pytest.raises(ServerTrouble, match="twice") as caught:
        picture.enhance(launched, on_progress=on_progress)
    assert caught.value.code == "E_POISON"
    assert len(boots) == 2


def test_job_that_was_running_at_two_deaths_of_the_server_is_refused(state_dir, launched):
    """Whoever opens it: the ledger outlives the server."""
    picture, j = Picture(40, 4000, model="slow"), os.urandom(16)
    for _ in range(2):
        open_raw(launched, picture, j)
        send_and_commit(launched, picture, j)
        wait_until(lambda: launched.status()["worker_busy"])
        kill_server(state_dir)
        with pytest.raises(LinkClosed):
            wait_until(launched.status, 5)
        launched.reconnect()
    with pytest.raises(ServerTrouble, match="second time") as caught:
        open_raw(launched, picture, j)
    assert caught.value.code == "E_POISON"
    open_raw(launched, picture)  # another job is not concerned


def test_source_that_changed_between_the_attempts_is_refused(state_dir, launched):
    """Or the print would be made of two pictures."""
    picture = Picture(700, 900, (1400, 1800))

    def write(rect, pixels):
        picture.write(rect, pixels)
        if len(picture.rows) == 2:
            kill_server(state_dir)
            picture.pixels = bytes(len(picture.pixels))

    with pytest.raises(BadInput, match="changed"):
        picture.enhance(launched, write=write)


def test_start_while_the_old_server_is_still_ending(start_server, no_leaks):
    """The lock is held by one that serves nobody any more; the start must not be lost on it."""
    server = start_server()
    lock = os.open(server.state_dir / "server.lock", os.O_RDWR)
    try:
        with server.connect() as connection:
            connection.stop()
        server.process.wait(5)
        code = (
            f"import fcntl, time; fcntl.flock({lock}, fcntl.LOCK_EX); "
            "print(flush=True); time.sleep(1.2)"
        )
        holder = subprocess.Popen(["python3", "-c", code], pass_fds=[lock], stdout=subprocess.PIPE)
        with holder, holder.stdout:
            holder.stdout.readline()
            os.close(lock)
            lock = -1
            with client.connect(server.state_dir, launcher=LAUNCHER) as connection:
                assert connection.status()["jobs"] == {}
                connection.stop()
    finally:
        if lock >= 0:
            os.close(lock)


# -- parts -----------------------------------------------------------------------------------------


def test_ledger_remembers_who_was_running(tmp_path):
    path = tmp_path / "crashes"
    a, b, c = (bytes([n]) * 16 for n in range(3))
    ledger = CrashLedger(path)
    ledger.begin(a)
    ledger.begin(b)
    ledger.end(b)
    assert not CrashLedger(path).is_poison(a)  # one death
    ledger = CrashLedger(path)
    ledger.begin(a)
    ledger = CrashLedger(path)  # the second
    assert ledger.is_poison(a)
    assert not ledger.is_poison(b)
    assert ledger.crashed(c) == 1
    assert ledger.crashed(c) == 2
    assert CrashLedger(path).is_poison(c)
    path.write_text("no ledger\n" + "00" * 16 + " many\n")
    assert not CrashLedger(path).is_poison(bytes(16))


def test_ledger_leaves_no_file_when_there_is_nothing_to_remember(tmp_path):
    ledger = CrashLedger(tmp_path / "crashes")
    ledger.begin(bytes(16))
    assert (tmp_path / "crashes").exists()
    ledger.end(bytes(16))
    assert list(tmp_path.iterdir()) == []
    for number in range(500):
        ledger.crashed(number.to_bytes(16, "big"))
    assert len((tmp_path / "crashes").read_text().splitlines()) == 200


def test_jobs_that_end_well_or_are_cancelled_leave_nothing_in_the_ledger(server):
    """Or a server that is killed much later would count as their second crash."""
    path = server.state_dir / "crashes"
    with server.connect() as connection:
        slow = Picture(40, 200, model="slow")
        j, _ = open_raw(connection, slow)
        send_and_commit(connection, slow, j)
        wait_until(path.exists)
        assert path.read_text() == f"{j.hex()} running\n"
        cancel = messages.JobCancel(connection.next_id(), j)
        connection.request(cancel, messages.JobCancelled)
        assert not path.exists()
        with pytest.raises(ServerTrouble, match="a secret bug"):
            Picture(9, 9, model="bug").enhance(connection)
        assert not path.exists()
        Picture(9, 9).enhance(connection)
        assert not path.exists()


def test_process_that_has_ended_is_told_from_one_that_has_not():
    child = subprocess.Popen(["sleep", "60"])
    try:
        assert not _process_ended(os.getpid())
        assert not _process_ended(child.pid)
        child.kill()
        wait_until(lambda: _process_ended(child.pid))  # a zombie: nobody has waited for it
    finally:
        child.wait()
    assert _process_ended(child.pid)
    for nonsense in (None, 0, -1, True, 1 << 40, "1", 1.0):
        assert not _process_ended(nonsense)
