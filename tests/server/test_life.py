"""The server's life: woken by systemd, beside another major, its log, its limits, a full disk."""

from __future__ import annotations

import json
import logging
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from wallprint_protocol import client, endpoint
from wallprint_protocol.errors import CODES, ServerTrouble
from wallprint_protocol.wire import frame_record
from wallprint_server import service
from wallprint_server.cli import main
from wallprint_server.install import plugins, systemd
from wallprint_server.privacy import PrivateFormatter
from wallprint_testing.servers import LAUNCHER, Picture, alive, wait_until

TESTS = Path(__file__).parents[1]


# -- the worker's last words -----------------------------------------------------------------------


def test_worker_whose_server_was_killed_says_one_line():
    """The channel of a server that is killed is reset where words of the worker's lay unread."""
    ours, theirs = socket.socketpair()
    with theirs:
        worker = subprocess.Popen(
            [
                sys.executable, "-m", "wallprint_server.worker", "--fd", str(theirs.fileno()),
                "--pipeline", "wallprint_testing.pipelines:by_model",
                "--engine", "wallprint_testing.pipelines:NoEngine",
            ],
            pass_fds=[theirs.fileno()],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
        )  # fmt: skip
    with worker:
        ours.sendall(frame_record({"t": "warm", "device": "cpu"}))
        select.select([ours], [], [], 20)  # it is ready, and nobody reads that
        ours.close()
        said = worker.stderr.read()
        assert worker.wait(5) == 0
    assert "Traceback" not in said
    assert [line for line in said.splitlines() if "warmed up" not in line] == [
        line for line in said.splitlines() if "the server is gone" in line
    ]
    assert said.count("the server is gone") == 1


# -- systemd ---------------------------------------------------------------------------------------


class SocketActivator:
    """What systemd does with wallprint.socket: listen, and start the server when someone calls."""

    def __init__(self, state_dir: Path, address: Path | None = None, **settings) -> None:
        program = shutil.which("systemd-socket-activate")
        if program is None:
            pytest.skip("systemd-socket-activate is not installed")
        self.state_dir = state_dir
        environment = {
            "WALLPRINT_STATE_DIR": str(state_dir),
            "WALLPRINT_TEST_CONFIG": json.dumps(settings),
        }
        self.process = subprocess.Popen(
            [
                program, "--listen", str(address or state_dir / "s.sock"),
                *(f"--setenv={name}={value}" for name, value in environment.items()),
                *LAUNCHER, "serve", "--systemd",
            ],
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        self.socket = address or state_dir / "s.sock"
        wait_until(self.socket.exists)
        self.socket.chmod(0o600)  # SocketMode= of the unit

    def close(self) -> str:
        self.process.terminate()
        _, words = self.process.communicate(timeout=10)
        self.socket.unlink()
        return words


def test_client_wakes_the_server_that_systemd_keeps(state_dir, no_leaks):
    """No launcher is used: an editor that may start nothing only knocks."""
    activator = SocketActivator(state_dir)
    picture = Picture(60, 40, (120, 80))
    with client.connect(state_dir, launcher=["/nowhere"]) as connection:
        assert connection.info.endpoints == (f"ipc://{state_dir}/s.sock",)
        picture.enhance(connection)
        assert connection.status()["pid"] == activator.process.pid  # it became the server
        connection.stop()
    assert picture.result == picture.expected()
    activator.process.wait(10)
    assert activator.socket.is_socket()  # systemd's, so it stays
    assert not (state_dir / "server.json").exists()
    activator.close()


def test_server_refuses_a_socket_that_its_clients_would_not_find(state_dir, no_leaks):
    activator = SocketActivator(state_dir, state_dir / "other.sock")
    with endpoint.socket.socket(endpoint.socket.AF_UNIX) as link:
        link.connect(str(activator.socket))
        assert activator.process.wait(10) == 3
    assert f"ListenStream={state_dir}/s.sock" in activator.close()


def test_serve_by_hand_does_not_take_systemds_address(state_dir, no_leaks):
    activator = SocketActivator(state_dir)
    environment = {**os.environ, "WALLPRINT_STATE_DIR": str(state_dir)}
    run = subprocess.run(
        [*LAUNCHER, "serve"], env=environment, capture_output=True, text=True, timeout=20
    )
    assert run.returncode == 3
    assert "systemd listens" in run.stderr
    with client.connect(state_dir, launcher=["/nowhere"]) as connection:
        connection.stop()
    activator.process.wait(10)
    activator.close()


def test_systemd_mode_without_systemd_says_so(monkeypatch, state_dir):
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDS", "1")
    with pytest.raises(ServerTrouble, match="is for systemd"):
        service._socket_of_systemd(state_dir / "s.sock")


def test_units_name_the_socket_that_clients_knock_at(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("WALLPRINT_STATE_DIR", str(tmp_path / "a 100% state"))
    assert main(["install", "systemd", "--dry-run"]) == 0
    assert not (tmp_path / "config").exists()
    assert main(["install", "systemd"]) == 0
    folder = tmp_path / "config" / "systemd" / "user"
    unit = (folder / "wallprint.socket").read_text()
    assert f"ListenStream={tmp_path}/a 100%% state/s.sock" in unit
    assert "SocketMode=0600" in unit
    service_unit = (folder / "wallprint.service").read_text()
    assert f"{plugins.launcher()[0]} -m wallprint_server.cli serve --systemd" in service_unit
    assert "systemctl --user enable --now wallprint.socket" in capsys.readouterr().out
    analyze = shutil.which("systemd-analyze")
    if analyze:
        check = subprocess.run(
            [analyze, "verify", "--user", *map(str, folder.iterdir())],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert "wallprint" not in check.stderr, check.stderr
    assert main(["uninstall", "systemd"]) == 0
    assert list(folder.iterdir()) == []
    assert systemd.uninstall() == ["There are no units of wallprint."]


# -- beside each other -----------------------------------------------------------------------------

OTHER_MAJOR = """
import sys
import wallprint_protocol
wallprint_protocol.PROTOCOL_MAJOR, wallprint_protocol.PROTOCOL_VERSION = 2, "2.0"
sys.path.insert(0, {tests!r})
from wallprint_testing import serve
sys.argv[1:] = ["serve"]
sys.exit(serve.main())
"""


def test_servers_of_two_majors_run_side_by_side(start_server):
    server = start_server()
    environment = {**os.environ, "WALLPRINT_STATE_DIR": str(server.state_dir)}
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER_MAJOR.format(tests=str(TESTS))], env=environment
    )
    try:
        theirs = server.state_dir / "server-2.json"
        wait_until(theirs.exists, 20)
        assert (server.state_dir / "s-2.sock").is_socket()
        assert server.status()["protocol"].startswith("1.")
        picture = Picture(20, 20)
        with server.connect() as connection:
            picture.enhance(connection)
        assert picture.result == picture.expected()
        # A client of ours at their address: refused with both versions.
        info = endpoint.ConnectionInfo.from_json(theirs.read_text())
        with pytest.raises(ServerTrouble, match=r"WPP/1, the server .* WPP/2\.0") as caught:
            client.Connection(info)
        assert caught.value.code == "E_VERSION"
        assert caught.value.detail["server_proto"] == [2]
    finally:
        other.terminate()
        assert other.wait(10) == 0
    assert not theirs.exists()
    for name in ("server-2.lock", "server-2.log"):
        (server.state_dir / name).unlink()


# -- what is left and what is told -----------------------------------------------------------------


def test_log_names_nobody_and_shows_no_pixels(start_server):
    server = start_server()
    home = str(Path.home())
    marker = b"\xde\xad\xbe\xef\xca\xfe\xf0\x0d"
    picture = Picture(40, 40, model="bug")
    picture.pixels = (marker * 600)[: len(picture.pixels)]
    with server.connect() as connection, pytest.raises(ServerTrouble):
        picture.enhance(connection)
    log = server.log()
    assert "a secret bug" in log
    assert "Traceback" in log
    assert home not in log
    for text in (marker.hex(), repr(marker)[2:-1], "222, 173"):
        assert text not in log


def test_private_formatter_replaces_the_home_in_tracebacks_too(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    formatter = PrivateFormatter("%(message)s")
    try:
        raise OSError("/home/someone/picture.tif")
    except OSError:
        record = logging.LogRecord(
            "x", 20, "", 1, "at %s", ("/home/someone/a",), sys.exc_info()
        )  # fmt: skip
    text = formatter.format(record)
    assert "someone" not in text
    assert "at ~/a" in text
    assert "~/picture.tif" in text


def test_nothing_of_a_picture_is_left_after_a_crash(start_server):
    """kill -9 of server and worker in the middle of a job: no file holds a pixel of it."""
    server = start_server()
    marker = b"\xde\xad\xbe\xef\xca\xfe\xf0\x0d"
    picture = Picture(100, 400, model="slow")
    picture.pixels = (marker * (len(picture.pixels) // 8 + 1))[: len(picture.pixels)]
    worker = server.worker()
    limits = [psutil.Process(pid).rlimit(resource.RLIMIT_CORE) for pid in
              (server.process.pid, worker.pid)]  # fmt: skip
    assert limits == [(1, 1), (1, 1)]  # see privacy.py: 0 would not keep a pipe from getting one

    def kill(progress):
        if progress.phase == "run" and alive(worker):
            worker.send_signal(signal.SIGABRT)
            server.process.kill()

    with server.connect() as connection, pytest.raises(ServerTrouble):
        picture.enhance(connection, on_progress=kill)
    server.process.wait()
    wait_until(lambda: not alive(worker), 5)
    for path in server.state_dir.iterdir():
        assert path.is_socket() or marker not in path.read_bytes(), path
        assert not path.name.startswith(("core", "spool"))
    (server.state_dir / "server.json").unlink()
    (server.state_dir / "s.sock").unlink()


def test_log_rotates_and_its_place_is_told(state_dir, monkeypatch, capsys):
    monkeypatch.setenv("WALLPRINT_STATE_DIR", str(state_dir))
    monkeypatch.setattr(service, "_LOG_BYTES", 2000)
    with service._logging(state_dir):
        for number in range(400):
            service.log.info("line %d", number)
    files = sorted(p.name for p in state_dir.iterdir())
    assert files == ["server.log", *(f"server.log.{n}" for n in range(1, 5))]
    assert all(p.stat().st_size <= 2000 for p in state_dir.iterdir())
    assert main(["status"]) == 3
    assert f"The log of the last one: {state_dir}/server.log" in capsys.readouterr().out
    assert main(["status", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["log"] == f"{state_dir}/server.log"
    for number in range(1, 5):
        (state_dir / f"server.log.{number}").unlink()


# -- a full disk -----------------------------------------------------------------------------------

FULL_DISK = """
import sys
sys.path.insert(0, {tests!r})
from wallprint_testing.servers import LAUNCHER, Picture
from wallprint_protocol import client
from wallprint_protocol.errors import WallprintError
with client.connect({state!r}, launcher=LAUNCHER) as connection:
    for size in ((4000, 1000), (100, 100)):
        asked = []
        picture = Picture(*size)
        read = lambda rect: asked.append(1) or picture.read(rect)
        try:
            picture.enhance(connection, read=read)
            print("done", picture.result == picture.expected())
        except WallprintError as error:
            print(error.code, error.detail["needed_bytes"], len(asked))
    print(connection.status()["spool_bytes"])
    connection.stop()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root")
def test_full_disk_is_told_at_the_opening_on_a_real_file_system(tmp_path, no_leaks):
    """8 MiB in a private mount namespace; 12 MB are asked for, then what fits."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    code = FULL_DISK.format(tests=str(TESTS), state=str(state))
    mount = f'mount -t tmpfs -o size=8m,mode=0700 none {state} && exec {sys.executable} -c "$CODE"'
    run = subprocess.run(
        ["unshare", "-m", "sh", "-c", mount],
        env={**os.environ, "CODE": code}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if "unshare" in run.stderr or "mount:" in run.stderr:
        pytest.skip(f"no private mount namespace here: {run.stderr.strip()}")
    assert run.stdout.split("\n") == ["E_DISK_FULL 12000000 0", "done True", "0", ""], run.stderr


# -- the other user --------------------------------------------------------------------------------

STRANGER = """
import socket, sys
sys.path.insert(0, {shared!r})
from pathlib import Path
state = Path({state!r})
for what in (lambda: (state / "server.json").read_bytes(),
             lambda: socket.socket(socket.AF_UNIX).connect(str(state / "s.sock")),
             lambda: (state / "s.sock").unlink(),
             lambda: list(state.iterdir())):
    try:
        what()
        print("got in")
    except OSError as error:
        print(type(error).__name__)
from wallprint_protocol import client
try:
    client.connect(state, start=False)
    print("got in")
except Exception as error:
    print(type(error).__name__)
"""
NOBODY = 65534


def as_nobody(code: str, scratch: Path) -> list[str]:
    """Run a program as another user, with a copy of the protocol that it may read."""
    shared = scratch / "shared"
    if not shared.exists():
        shutil.copytree(Path(endpoint.__file__).parent, shared / "wallprint_protocol")
        for path in (scratch, *scratch.rglob("*")):
            path.chmod(0o755)
    run = subprocess.run(
        ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", sys.executable,
         "-c", code],
        capture_output=True, text=True, timeout=60, check=False, cwd="/",
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


@pytest.fixture
def open_place():
    """A folder that every user may enter (pytest's own may only be root's)."""
    directory = Path(endpoint.__file__).anchor / Path("tmp") / f"wp-open-{os.getpid()}"
    directory.mkdir(mode=0o755)
    yield directory
    shutil.rmtree(directory)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="another user id needs root")


@needs_root
def test_other_user_gets_in_nowhere(server, open_place):
    code = STRANGER.format(shared=str(open_place / "shared"), state=str(server.state_dir))
    words = as_nobody(code, open_place)
    assert words[:4] == ["PermissionError"] * 4
    assert words[4:] in (["PermissionError"], ["LinkRefused"])
    assert server.status()["clients"] == 1


@needs_root
def test_peer_of_another_user_is_refused_even_where_the_folder_is_open(server, open_place):
    """The second line of defence: the kernel's word about the peer."""
    code = f"""
import socket
link = socket.socket(socket.AF_UNIX)
link.settimeout(5)
link.connect("{server.state_dir}/s.sock")
try:
    link.sendall(b"\\xff" + bytes(8) + b"\\x7f\\x03\\x01PLAIN".ljust(23, b"\\0") + bytes(32))
    print(len(link.recv(100)))
except ConnectionError:
    print(0)
"""
    server.state_dir.chmod(0o755)
    (server.state_dir / "s.sock").chmod(0o777)
    try:
        assert as_nobody(code, open_place) == ["0"]  # our own user would get a greeting
    finally:
        server.state_dir.chmod(0o700)


@needs_root
@pytest.mark.parametrize("name", ["", "server.json"])
def test_what_belongs_to_another_user_is_not_trusted(server, name):
    """A folder or file that an attacker has laid out, however private."""
    path = server.state_dir / name
    os.chown(path, NOBODY, NOBODY)
    try:
        with pytest.raises(client.LinkError, match="belongs to user"):
            client.connect(server.state_dir, start=False)
        if not name:
            environment = {**os.environ, "WALLPRINT_STATE_DIR": str(server.state_dir)}
            run = subprocess.run(
                [*LAUNCHER, "serve"], env=environment, capture_output=True, text=True, timeout=20
            )
            assert run.returncode == 3
            assert "belongs to user" in run.stderr
    finally:
        os.chown(path, os.geteuid(), os.getegid())


def test_symbolic_link_in_place_of_the_folder_is_refused(state_dir):
    link = state_dir / "link"
    link.symlink_to(state_dir)
    with pytest.raises(client.LinkError, match="symbolic link"):
        client.connect(link, start=False)
    link.unlink()


@pytest.mark.parametrize(
    "address", ["tcp://192.0.2.7:5555", "tcp://print.example:5555", "tcp://127.0.0.1.example:1"]
)
def test_no_pixel_goes_to_another_computer(state_dir, monkeypatch, address):
    """Neither by an address that the user gives nor by one in the connection file."""
    monkeypatch.setattr(client.endpoint, "launch", None)  # nor is anything started
    with pytest.raises(client.LinkRefused, match="is not on this computer"):
        client.connect(address)
    info = endpoint.ConnectionInfo.new((address,), start_id="", version="0", log="")
    endpoint.write_connection(state_dir, info)
    with pytest.raises(client.LinkRefused, match="is not on this computer"):
        client.connect(state_dir)
    (state_dir / "server.json").unlink()


# -- sleep -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_after_a_sleep_nobody_is_blamed_for_it(start_server):
    """Both sides stop for longer than the server's patience with a client and with an upload."""
    server = start_server(silent_s=6.0, upload_timeout_s=6.0, ping_ms=500)
    picture = Picture(900, 1200)
    slept = []

    def read(rect):
        if rect.y and not slept:
            slept.append(1)
            server.process.send_signal(signal.SIGSTOP)
            time.sleep(11.5)  # longer than both patiences, and than what counts as an absence
            server.process.send_signal(signal.SIGCONT)
        return picture.read(rect)

    with server.connect() as connection:
        result = picture.enhance(connection, read=read)
    assert picture.result == picture.expected()
    assert result.notes == ("a note",)
    assert "has been silent" not in server.log()
    assert "goes on" not in server.log()  # the connection was kept


# -- sentences -------------------------------------------------------------------------------------


def test_every_code_has_a_sentence_for_a_retoucher():
    for code, info in CODES.items():
        words = info.sentence
        assert words[0].isupper(), code
        assert words.endswith("."), code
        assert code not in words
        for jargon in ("exception", "socket", "errno", "msgpack", "zmq", "traceback"):
            assert jargon not in words.lower(), code
