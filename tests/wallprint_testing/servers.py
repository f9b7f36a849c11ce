"""A real server in a private state directory; whatever a test leaves behind fails it."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from wallprint_protocol import client, endpoint
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Size, place
from wallprint_protocol.request import Request

LAUNCHER = [sys.executable, str(Path(__file__).with_name("serve.py"))]
LASTING_FILES = {"server.lock", "server.log", "spawn.log", "config.json", "crashes", "lan"}


class RunningServer:
    """One server process; `within` is a command that starts it, as for a network of its own."""

    def __init__(self, state_dir: Path, within: Sequence[str] = (), **settings) -> None:
        self.state_dir = state_dir
        environment = {
            **os.environ,
            "WALLPRINT_STATE_DIR": str(state_dir),
            "WALLPRINT_TEST_CONFIG": json.dumps(settings),
        }
        self.process = subprocess.Popen([*within, *LAUNCHER, "serve"], env=environment)
        wait_until(lambda: self.process.poll() is not None or self.info() is not None, 20)
        assert self.process.returncode is None, self.log()

    def info(self) -> endpoint.ConnectionInfo | None:
        return endpoint.read_connection(self.state_dir)

    def connect(self) -> client.Connection:
        return client.connect(self.state_dir, start=False)

    def status(self) -> dict:
        with self.connect() as connection:
            return connection.status()

    def log(self) -> str:
        return (self.state_dir / "server.log").read_text()

    def worker(self) -> psutil.Process:
        return psutil.Process(self.status()["worker_pid"])

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(10)


def alive(process: psutil.Process) -> bool:
    """Whether it runs; one that nobody has reaped yet does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(true: Callable[[], object], timeout_s: float = 5.0, every_s: float = 0.005):
    deadline = time.monotonic() + timeout_s
    while not (value := true()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(every_s)
    return value


@contextlib.contextmanager
def private_dir() -> Iterator[Path]:
    """A private state directory with a short name (a socket's path has 107 bytes at most)."""
    directory = Path(tempfile.mkdtemp(prefix="wp-", dir="/tmp"))
    yield directory
    left = {p.name for p in directory.iterdir()} - LASTING_FILES
    shutil.rmtree(directory)
    assert not left, f"left in the state directory: {left}"


@pytest.fixture
def state_dir():
    with private_dir() as directory:
        yield directory


@pytest.fixture
def no_leaks():
    """Descriptors, child processes and memory files of this process are as before."""
    gc.collect()
    this = psutil.Process()
    before = this.num_fds()
    others = {child.pid for child in this.children()}  # what the editors need
    yield others
    gc.collect()
    wait_until(lambda: {child.pid for child in this.children()} <= others, 5)
    # pyzmq keeps one collector thread with its own sockets once a large frame was sent.
    assert this.num_fds() <= before + 12


@pytest.fixture
def start_server(state_dir, no_leaks):
    """Start servers of this test's state directory; at the end all must end by themselves."""
    servers: list[RunningServer] = []

    def start(**settings) -> RunningServer:
        server = RunningServer(state_dir, **settings)
        servers.append(server)
        return server

    yield start
    for server in servers:
        if server.process.poll() is None:
            children = psutil.Process(server.process.pid).children(recursive=True)
            code = server.stop()
            assert code == 0, f"exit code {code}\n{server.log()[-3000:]}"
            wait_until(lambda: not any(map(alive, children)), 5)  # noqa: B023 (called at once)
        assert "Traceback" not in server.log() or "a secret bug" in server.log(), server.log()


@pytest.fixture
def server(start_server):
    """A server whose pipeline does what the request's model says."""
    return start_server()


class Picture:
    """Source pixels, a request for them, and what comes back."""

    def __init__(
        self,
        width: int,
        height: int,
        out: tuple[int, int] | None = None,
        layout: PixelLayout | None = None,
        selection: PixelLayout | None = None,
        seed: int = 1,
        **options,
    ) -> None:
        self.layout = layout or PixelLayout("RGB", "u8")
        source = Size(width, height)
        box = Size(*(out or (width, height)))
        self.request = Request.build(
            source, self.layout, place(source, box, "crop"), selection=selection, **options
        )
        self.bytes_per_pixel = self.layout.bytes_per_pixel
        self.pixels = noise(source.pixels * self.bytes_per_pixel, seed)
        self.mask = noise(source.pixels, seed + 1, 2) if selection else b""
        self.result = bytearray(self.request.out.pixels * self.bytes_per_pixel)
        self.rows: list[tuple[int, int]] = []
        self.asked: list[tuple[int, int]] = []

    def read(self, rect):
        assert (rect.x, rect.width) == (0, self.request.source.width)
        self.asked.append((rect.y, rect.height))
        row = rect.width * self.bytes_per_pixel
        return memoryview(self.pixels)[rect.y * row : (rect.y + rect.height) * row]

    def read_selection(self, rect):
        return self.mask[rect.y * rect.width : (rect.y + rect.height) * rect.width]

    def write(self, rect, pixels):
        assert (rect.x, rect.width) == (0, self.request.out.width)
        self.rows.append((rect.y, rect.height))
        row = rect.width * self.bytes_per_pixel
        assert len(pixels) == rect.height * row
        self.result[rect.y * row : (rect.y + rect.height) * row] = pixels

    def enhance(self, connection, **more) -> client.Result:
        if self.request.selection is not None:
            more.setdefault("read_selection", self.read_selection)
        return client.enhance(
            self.request,
            more.pop("read", self.read),
            more.pop("write", self.write),
            connection=connection,
            **more,
        )

    def expected(self) -> bytes:
        """Nearest neighbour, worked out pixel by pixel."""
        source, out, size = self.request.source, self.request.out, self.bytes_per_pixel
        result = bytearray()
        for y in range(out.height):
            sy = y * source.height // out.height
            for x in range(out.width):
                i = sy * source.width + x * source.width // out.width
                kept = not self.mask or self.mask[i]
                result += self.pixels[i * size : (i + 1) * size] if kept else bytes(size)
        return bytes(result)


def noise(count: int, seed: int, levels: int = 256) -> bytes:
    """Reproducible bytes, none like its neighbours (a 64-bit xorshift)."""
    value, result = seed * 0x9E3779B97F4A7C15 % 2**64 | 1, bytearray()
    for _ in range(min(count, 65521)):
        value ^= value << 13 & 0xFFFFFFFFFFFFFFFF
        value ^= value >> 7
        value ^= value << 17 & 0xFFFFFFFFFFFFFFFF
        result.append((value >> 11) % levels)
    return bytes(result * (count // max(1, len(result)) + 1))[:count]
