"""What the wire costs: 400 MB each way through the real server against a bare Unix socket.

    python benchmarks/wire.py [--megabytes 400] [--rounds 7] [--json out.json]

Server: the real I/O process, spool and worker process, with a pipeline that only copies and tells
of its rows at the end, so that upload and download do not overlap. Bare: the same chunks, sendall
on one side, recv_into the final buffer on the other, nothing checked, nothing stored. The rounds
alternate; a ratio is the median of the rounds' ratios. Memory is the peak resident memory of each
side over what it had before the first job (the client's pixel buffers are touched before).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from wallprint_protocol import client
from wallprint_protocol.pixels import Grid, PixelLayout, strip_cell
from wallprint_protocol.print_size import Size, place
from wallprint_protocol.request import Request

HERE = Path(__file__).resolve()
WIDTH = 8192
LAYOUT = PixelLayout("RGBA", "u8", "straight")


def copy_at_once(request, source, selection, result, *, engine, on_progress, should_cancel):
    """The pipeline: the kernel copies, and rows are told of at the end."""
    offset = 0
    while offset < source.nbytes:
        offset += os.sendfile(result.fd, source.fd, offset, min(1 << 24, source.nbytes - offset))
        os.lseek(result.fd, offset, os.SEEK_SET)
    on_progress("run", 1, 1, result.size.height)
    return Outcome()


class Outcome:
    """A report with nothing to say."""

    notes: tuple[str, ...] = ()

    def to_map(self) -> dict:
        """Nothing."""
        return {}


class NoEngine:
    """An engine that computes nothing."""

    device = "cpu"

    def __init__(self, device: str) -> None:
        pass

    def describe(self) -> str:
        """What it is."""
        return "none"


class PeakMemory:
    """Peak resident memory of a process, by asking every 5 ms, MiB."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._going = True
        self.peak = self.now()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def now(self) -> float:
        """Resident memory now, MiB."""
        return self._process.memory_info().rss / 2**20

    def _watch(self) -> None:
        while self._going:
            self.peak = max(self.peak, self.now())
            time.sleep(0.005)

    def stop(self) -> float:
        """The peak."""
        self._going = False
        self._thread.join()
        return self.peak


def bare_peer(path: str, height: int) -> None:
    """The other process of the bare copy: takes all chunks into a buffer and sends them back."""
    grid = Grid(Size(WIDTH, height), strip_cell(Size(WIDTH, height), 4))
    buffer = memoryview(bytearray(b"\x55") * (WIDTH * height * 4))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    link, _ = listener.accept()
    while link.recv(1):
        for part in chunks(grid, buffer):
            receive(link, part)
        link.sendall(b"k")
        link.recv(1)
        for part in chunks(grid, buffer):
            link.sendall(part)


def chunks(grid: Grid, buffer: memoryview):
    """The buffer's parts, one a tile."""
    for rect in grid:
        start = rect.y * WIDTH * 4
        yield buffer[start : start + rect.size.pixels * 4]


def receive(link: socket.socket, part: memoryview) -> None:
    while len(part):
        got = link.recv_into(part)
        part = part[got:]


def bare_round(link: socket.socket, grid: Grid, source, result) -> tuple[float, float]:
    """Seconds up and down."""
    began = time.perf_counter()
    link.sendall(b"u")
    for part in chunks(grid, source):
        link.sendall(part)
    link.recv(1)
    middle = time.perf_counter()
    link.sendall(b"d")
    for part in chunks(grid, result):
        receive(link, part)
    return middle - began, time.perf_counter() - middle


def server_round(connection, request, source, result) -> tuple[float, float, float]:
    """Seconds up (open to commit), down (first tile to last), and of the whole call."""
    pitch = WIDTH * 4
    marks: dict[str, float] = {}

    def read(rect):
        return source[rect.y * pitch : (rect.y + rect.height) * pitch]

    def write(rect, pixels):
        marks.setdefault("first", time.perf_counter())
        result[rect.y * pitch : (rect.y + rect.height) * pitch] = pixels

    def on_progress(progress):
        if progress.phase != "upload":
            marks.setdefault("up", time.perf_counter())

    began = time.perf_counter()
    client.enhance(request, read, write, on_progress=on_progress, connection=connection)
    ended = time.perf_counter()
    return marks["up"] - began, ended - marks["first"], ended - began


def start_server(directory: Path) -> subprocess.Popen:
    """The real server with this file's pipeline."""
    program = (
        "import os, sys; sys.path.insert(0, sys.argv[1]);"
        "os.environ['PYTHONPATH'] = sys.argv[1];"
        "from wallprint_server import service; from wallprint_server.config import ServerConfig;"
        "sys.exit(service.serve(config=ServerConfig.load("
        "pipeline='wire:copy_at_once', engine='wire:NoEngine')))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, str(HERE.parent)],
        env={**os.environ, "WALLPRINT_STATE_DIR": str(directory)},
        stderr=subprocess.DEVNULL,
    )


def connect(directory: Path) -> client.Connection:
    for _ in range(200):
        try:
            return client.connect(directory, start=False)
        except Exception:
            time.sleep(0.05)
    raise SystemExit("the server did not start")


def measure(megabytes: int, rounds: int, directory: Path) -> dict:
    """All rounds; the numbers."""
    height = megabytes * 1_000_000 // (WIDTH * 4)
    size = Size(WIDTH, height)
    request = Request.build(size, LAYOUT, place(size, size))
    grid = Grid(size, strip_cell(size, 4))
    # One pattern per chunk-sized block, so that a misplaced chunk is seen.
    source = memoryview(bytearray(os.urandom(1 << 20) * (size.pixels * 4 // (1 << 20) + 1)))
    source = source[: size.pixels * 4]
    for rect in grid:
        source[rect.y * WIDTH * 4] = rect.y // grid.cell.height % 251
    result = memoryview(bytearray(b"\x11") * len(source))

    path = str(directory / "bare.sock")
    peer = subprocess.Popen([sys.executable, str(HERE), "--bare-peer", path, str(height)])
    server = start_server(directory)
    table = []
    try:
        link = socket.socket(socket.AF_UNIX)
        while True:
            try:
                link.connect(path)
                break
            except OSError:
                time.sleep(0.05)
        with connect(directory) as connection, link:
            while connection.status()["state"] != "ready":
                time.sleep(0.05)
            watched = {"client": os.getpid(), "server": server.pid}
            watched["worker"] = connection.status()["worker_pid"]
            before = {n: psutil.Process(p).memory_info().rss / 2**20 for n, p in watched.items()}
            peaks = {name: PeakMemory(pid) for name, pid in watched.items()}
            for number in range(rounds + 1):
                result[:] = bytes(len(result))
                bare = bare_round(link, grid, source, result)
                if result != source:
                    raise SystemExit("bare: the pixels differ")
                result[:] = bytes(len(result))
                real = server_round(connection, request, source, result)
                if result != source:
                    raise SystemExit("server: the pixels differ")
                if number:  # the first round warms caches and allocators
                    table.append((*bare, *real))
            growth = {name: peaks[name].stop() - before[name] for name in watched}
            connection.stop()
    finally:
        peer.kill()
        peer.wait()
        server.wait(10)
    return summary(table, growth, size.pixels * 4)


def summary(table: list, growth: dict, nbytes: int) -> dict:
    """Medians and ratios of the rounds."""

    def ratio(f):
        values = [f(row) for row in table]
        return {"median": statistics.median(values), "min": min(values), "max": max(values)}

    columns = dict(
        zip(
            ("bare_up_s", "bare_down_s", "up_s", "down_s", "job_s"),
            zip(*table, strict=True),
            strict=True,
        )
    )
    return {
        "bytes_each_way": nbytes,
        "rounds": len(table),
        "seconds": {
            name: {"median": statistics.median(v), "min": min(v)} for name, v in columns.items()
        },
        "ratio_up": ratio(lambda r: r[2] / r[0]),
        "ratio_down": ratio(lambda r: r[3] / r[1]),
        "ratio_both": ratio(lambda r: (r[2] + r[3]) / (r[0] + r[1])),
        "peak_memory_growth_mib": growth,
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}",
    }


def show(values: dict) -> None:
    """The table."""
    print(f"{values['bytes_each_way'] / 1e6:.0f} MB each way, {values['rounds']} rounds, "
          f"{values['machine']}")  # fmt: skip
    print(f"{'':24}{'median':>10}{'least':>10}")
    for name, v in values["seconds"].items():
        print(f"{name:24}{v['median']:10.3f}{v['min']:10.3f}")
    for name in ("ratio_up", "ratio_down", "ratio_both"):
        v = values[name]
        print(f"{name:24}{v['median']:10.2f}{v['min']:10.2f}   (most {v['max']:.2f})")
    for name, mib in values["peak_memory_growth_mib"].items():
        print(f"memory of the {name:10}{mib:10.1f} MiB over its start")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, default=Path("bench-out/wire.json"))
    parser.add_argument("--bare-peer", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare_peer:
        bare_peer(options.bare_peer[0], int(options.bare_peer[1]))
        return
    directory = Path(tempfile.mkdtemp(prefix="wp-"))
    try:
        values = measure(options.megabytes, options.rounds, directory)
    finally:
        shutil.rmtree(directory)
    show(values)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(values, indent=1) + "\n")
    print(f"written to {options.json}")


if __name__ == "__main__":
    main()
