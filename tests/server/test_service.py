"""Start and stop: one server per user, quickly there, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import wallprint_protocol
from wallprint_protocol import client, endpoint
from wallprint_protocol.errors import (
    BadInput,
    Cancelled,
    LinkClosed,
    LinkRefused,
    NotInstalled,
    StartFailed,
)
from wallprint_server.config import ServerConfig
from wallprint_testing.servers import LAUNCHER, Picture, RunningServer, alive, wait_until


def test_first_answer_within_half_a_second_of_the_launch(state_dir, no_leaks):
    """Median of five launches: from the fork to `welcome`."""
    times = []
    for _ in range(5):
        began = time.monotonic()
        with client.connect(state_dir, launcher=LAUNCHER) as connection:
            times.append(time.monotonic() - began)
            connection.stop()
        wait_until(lambda: {c.pid for c in psutil.Process().children()} <= no_leaks, 5)
    assert sorted(times)[2] < 0.5, times


def test_io_process_imports_no_torch_and_worker_no_zmq(server):
    with server.connect() as connection:
        Picture(9, 9).enhance(connection)

        def libraries(pid):
            return {Path(m.path).name for m in psutil.Process(pid).memory_maps()}

        io = libraries(server.process.pid)
        worker = libraries(connection.status()["worker_pid"])
    assert any("zmq" in name for name in io)  # the method sees what there is
    assert not [name for name in io if "torch" in name or "multiarray" in name]
    assert not [name for name in worker if "zmq" in name]


def test_connection_file_and_socket_are_private(server):
    assert server.state_dir.stat().st_mode & 0o777 == 0o700
    for name in ("server.json", "s.sock", "server.log", "server.lock"):
        assert (server.state_dir / name).stat().st_mode & 0o077 == 0, name
    info = server.info()
    assert len(info.key) == 32
    assert len(info.gate) >= 32
    assert info.key.hex() not in repr(info)
    assert info.gate.decode() not in repr(info)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_everything_in_the_middle_of_a_job(server, number):
    errors = []
    with server.connect() as connection:
        worker = server.worker()

        def cancel():
            if not errors:
                server.process.send_signal(number)
                errors.append("sent")
            return False

        with pytest.raises(Exception) as caught:  # noqa: PT011 (code is checked)
            Picture(40, 200, model="slow").enhance(
                connection, on_progress=lambda p: p.phase == "run" and cancel()
            )
    assert caught.value.code == "E_SHUTDOWN"
    assert server.process.wait(5) == 0
    assert not alive(worker)
    assert not (server.state_dir / "server.json").exists()
    assert not (server.state_dir / "s.sock").exists()


def test_stop_returns_when_nothing_is_left(server):
    worker = server.worker()
    with server.connect() as connection:
        connection.stop()
    assert not alive(worker)
    assert not (server.state_dir / "server.json").exists()
    assert not (server.state_dir / "s.sock").exists()
    assert server.process.wait(5) == 0


def test_killed_server_leaves_no_worker_and_the_next_one_starts(start_server):
    server = start_server()
    worker = server.worker()
    server.process.kill()
    server.process.wait()
    wait_until(lambda: not alive(worker), 5)
    assert (server.state_dir / "server.json").exists()  # stale, and no harm
    with client.connect(server.state_dir, launcher=LAUNCHER) as connection:
        picture = Picture(20, 10)
        picture.enhance(connection)
        assert picture.result == picture.expected()
        connection.stop()


def test_eight_starts_at_once_make_one_server(state_dir, no_leaks):
    environment = {**os.environ, "WALLPRINT_STATE_DIR": str(state_dir)}
    starts = [subprocess.Popen([*LAUNCHER, "serve", "--ensure"], env=environment) for _ in range(8)]
    with client.connect(state_dir, launcher=LAUNCHER) as connection:
        pid = connection.status()["pid"]
        losers = [p for p in starts if p.pid != pid]
        wait_until(lambda: all(p.poll() is not None for p in losers), 20)
        assert [p.returncode for p in losers] == [0] * len(losers)
        connection.stop()
    for p in starts:
        p.wait(5)
    assert (state_dir / "server.log").read_text().count(" serving at ") == 1


def test_second_server_without_ensure_says_who_is_there(server):
    run = subprocess.run(
        [*LAUNCHER, "serve"],
        env={**os.environ, "WALLPRINT_STATE_DIR": str(server.state_dir)},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert run.returncode == 3
    assert "runs already" in run.stderr


def test_open_state_directory_is_refused(state_dir):
    state_dir.chmod(0o755)
    run = subprocess.run(
        [*LAUNCHER, "serve"],
        env={**os.environ, "WALLPRINT_STATE_DIR": str(state_dir)},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert run.returncode == 3
    assert "open to other users" in run.stderr
    with pytest.raises(LinkRefused, match="open to other users"):
        client.connect(state_dir, start=False)


def test_readable_connection_file_is_refused(server):
    (server.state_dir / "server.json").chmod(0o644)
    with pytest.raises(LinkRefused, match="open to other users"):
        server.connect()


def test_idle_server_ends_and_idle_worker_ends_before(start_server):
    server = start_server(idle_exit_s=2.0, worker_idle_s=0.3)
    with server.connect() as connection:
        Picture(9, 9).enhance(connection)
        worker = psutil.Process(connection.status()["worker_pid"])
        wait_until(lambda: not alive(worker), 5)
        assert server.process.poll() is None
        assert connection.status()["worker_pid"] is None
        picture = Picture(9, 9, (18, 18))
        picture.enhance(connection)  # a new worker
        assert picture.result == picture.expected()
    assert server.process.wait(10) == 0


def test_server_stays_while_a_client_is_connected(start_server):
    server = start_server(idle_exit_s=0.3)
    with server.connect() as connection:
        time.sleep(1.2)
        assert connection.status()["clients"] == 1
    assert server.process.wait(10) == 0


def test_loopback_is_used_where_the_socket_path_is_too_long(state_dir, no_leaks):
    deep = state_dir / ("x" * 100)
    deep.mkdir(mode=0o700)
    server = RunningServer(deep)
    try:
        assert server.info().endpoints[0].startswith("tcp://127.0.0.1:")
        picture = Picture(30, 20, (60, 40))
        with server.connect() as connection:
            picture.enhance(connection)
        assert picture.result == picture.expected()
        with client.connect(server.info().endpoints[0].replace("127.0.0.1:", "127.0.0.1:1"),
                            start=False):  # fmt: skip
            pytest.fail("another address was accepted")
    except (LinkRefused, LinkClosed):
        pass
    finally:
        assert server.stop() == 0
        for name in ("server.lock", "server.log"):
            (deep / name).unlink()
        deep.rmdir()


def test_not_installed_and_no_server(state_dir, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("HOME", str(state_dir))
    monkeypatch.delenv("WALLPRINT_SERVER", raising=False)
    with pytest.raises(NotInstalled, match="install it with"):
        client.connect(state_dir)
    with pytest.raises(NotInstalled, match="is not there"):
        client.connect(state_dir, launcher=["/nowhere/wallprint"])
    with pytest.raises(LinkClosed, match="No wallprint server"):
        client.connect(state_dir, start=False)


def test_failed_start_tells_the_last_line(state_dir):
    program = [sys.executable, "-c", "import sys; print('libfoo is missing'); sys.exit(3)"]
    with pytest.raises(StartFailed, match="libfoo is missing"):
        client.connect(state_dir, launcher=program)


def test_start_can_be_cancelled(state_dir, no_leaks):
    began = time.monotonic()
    program = [sys.executable, "-c", "import time; time.sleep(2)"]
    with pytest.raises(Cancelled):
        client.connect(
            state_dir, launcher=program, should_cancel=lambda: time.monotonic() - began > 0.3
        )
    assert time.monotonic() - began < 0.6
    wait_until(lambda: {c.pid for c in psutil.Process().children()} <= no_leaks, 5)


def test_launcher_search(state_dir, monkeypatch):
    monkeypatch.setenv("WALLPRINT_SERVER", "/usr/bin/env wallprint")
    assert endpoint.find_launcher(state_dir) == ["/usr/bin/env", "wallprint"]
    monkeypatch.delenv("WALLPRINT_SERVER")
    path = state_dir / "launcher.json"
    path.write_text(json.dumps({"argv": ["/opt/w", "-x"]}))
    path.chmod(0o600)
    assert endpoint.find_launcher(state_dir) == ["/opt/w", "-x"]
    path.chmod(0o602)
    with pytest.raises(LinkRefused):
        endpoint.find_launcher(state_dir)
    path.unlink()
    (state_dir / "wallprint").write_text("#!/bin/sh\n")
    (state_dir / "wallprint").chmod(0o700)
    monkeypatch.setenv("PATH", str(state_dir))
    assert endpoint.find_launcher(state_dir) == [str(state_dir / "wallprint")]
    (state_dir / "wallprint").unlink()


def test_editor_environment_does_not_reach_the_server():
    bundle = {"PYTHONHOME": "x", "PYTHONPATH": "x", "LD_LIBRARY_PATH": "x", "QT_PLUGIN": "x",
              "GIO_MODULE_DIR": "x", "APPDIR": "x", "DYLD_INSERT": "x"}  # fmt: skip
    kept = {"HOME": "/h", "PATH": "/p", "WALLPRINT_STATE_DIR": "/s", "LANG": "C"}
    assert endpoint.clean_environment({**bundle, **kept}) == kept


def test_config_file(state_dir):
    path = state_dir / "config.json"
    path.write_text('{"idle_exit_s": 7, "tcp": true}')
    config = ServerConfig.load(state_dir, worker_idle_s=3.0, tcp=None)
    assert (config.idle_exit_s, config.tcp, config.worker_idle_s) == (7, True, 3.0)
    for wrong in (
        '{"idle_exit": 7}',
        '{"tcp": 1}',
        '{"ping_ms": "x"}',
        "[]",
        "{",
        '{"ping_ms": true}',
    ):
        path.write_text(wrong)
        with pytest.raises(BadInput, match=r"config\.json"):
            ServerConfig.load(state_dir)
    path.unlink()


def test_version_in_the_title_of_the_protocol_document():
    title = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text().split("\n", 1)[0]
    assert title.endswith(f"version {wallprint_protocol.PROTOCOL_VERSION}")
