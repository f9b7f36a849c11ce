"""What the wire costs: 400 MB each way through the real server against bare sockets.

    python benchmarks/wire.py [--megabytes 400] [--rounds 7] [--json out.json]

Server: the real I/O process, spool and worker process, with a pipeline that only copies and tells
of its rows at the end, so that upload and download do not overlap. ZeroMQ: the same chunks through
a bare DEALER and ROUTER over ipc, a window of 16 MiB under way, received into a buffer that is
already there; no login, no headers, nothing checked, nothing stored. Unix: the same with sendall
and recv_into on a bare Unix socket. Stored: as Unix, but the other side keeps the pixels where a
server that must not hold a picture in memory has to keep them, in a fresh file. The rounds
alternate; a ratio is the median of the rounds' ratios. CPU is that of both sides together. Memory
is the peak resident memory of each side over what it had before the first job (the client's pixel
buffers are touched before).
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
import zmq

from wallprint_protocol import client
from wallprint_protocol.pixels import Grid, PixelLayout, strip_cell
from wallprint_protocol.print_size import Size, place
from wallprint_protocol.request import Request

HERE = Path(__file__).resolve()
WIDTH = 8192
WINDOW = 16  # chunks of 1 MiB that may be under way
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
    chunk = memoryview(bytearray(grid.cell.pixels * 4))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    link, _ = listener.accept()
    while mode := link.recv(1):
        if mode == b"s":
            store_and_return(link, grid, chunk, Path(path).parent)
            continue
        for part in chunks(grid, buffer):
            receive(link, part)
        link.sendall(b"k")
        link.recv(1)
        for part in chunks(grid, buffer):
            link.sendall(part)


def zmq_peer(path: str, height: int) -> None:
    """The other process of the bare ZeroMQ copy."""
    grid = Grid(Size(WIDTH, height), strip_cell(Size(WIDTH, height), 4))
    buffer = memoryview(bytearray(b"\x55") * (WIDTH * height * 4))
    router = zmq.Context().socket(zmq.ROUTER)
    router.bind(f"ipc://{path}")
    while True:
        peer, _start = router.recv_multipart()
        for number, part in enumerate(chunks(grid, buffer)):
            router.recv()
            router.recv_into(part)
            if number % (WINDOW // 4) == 0:
                router.send_multipart([peer, b"credit"])
        router.send_multipart([peer, b"kept"])
        router.recv_multipart()
        under_way = 0
        for part in chunks(grid, buffer):
            if under_way == WINDOW:
                router.recv_multipart()
                under_way -= WINDOW // 4
            router.send(peer, zmq.SNDMORE)
            router.send(part, copy=False)
            under_way += 1


def zmq_round(dealer: zmq.Socket, grid: Grid, source, result) -> tuple[float, float]:
    """Seconds up and down."""
    began = time.perf_counter()
    dealer.send(b"up")
    under_way = 0
    for part in chunks(grid, source):
        if under_way == WINDOW:
            dealer.recv()
            under_way -= WINDOW // 4
        dealer.send(part, copy=False)
        under_way += 1
    while dealer.recv() != b"kept":
        pass
    middle = time.perf_counter()
    dealer.send(b"down")
    for number, part in enumerate(chunks(grid, result)):
        dealer.recv_into(part)
        if number % (WINDOW // 4) == 0 and number < len(grid) - WINDOW:
            dealer.send(b"credit")
    return middle - began, time.perf_counter() - middle


def store_and_return(link: socket.socket, grid: Grid, chunk: memoryview, folder: Path) -> None:
    """Take all chunks into a fresh file without a name, send them back from it."""
    descriptor, name = tempfile.mkstemp(dir=folder)
    os.unlink(name)
    os.posix_fallocate(descriptor, 0, grid.size.pixels * 4)
    for rect in grid:
        part = chunk[: rect.size.pixels * 4]
        receive(link, part)
        os.pwrite(descriptor, part, rect.y * WIDTH * 4)
    link.sendall(b"k")
    link.recv(1)
    for rect in grid:
        part = chunk[: rect.size.pixels * 4]
        os.preadv(descriptor, [part], rect.y * WIDTH * 4)
        link.sendall(part)
    os.close(descriptor)


def chunks(grid: Grid, buffer: memoryview):
    """The buffer's parts, one a tile."""
    for rect in grid:
        start = rect.y * WIDTH * 4
        yield buffer[start : start + rect.size.pixels * 4]


def receive(link: socket.socket, part: memoryview) -> None:
    while len(part):
        got = link.recv_into(part)
        part = part[got:]


def bare_round(link: socket.socket, grid: Grid, source, result, mode: bytes):
    """Seconds up and down."""
    began = time.perf_counter()
    link.sendall(mode)
    for part in chunks(grid, source):
        link.sendall(part)
    link.recv(1)
    middle = time.perf_counter()
    link.sendall(b"d")
    for part in chunks(grid, result):
        receive(link, part)
    return middle - began, time.perf_counter() - middle


def cpu_s(other: int) -> float:
    """CPU seconds of this process and another."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in (os.getpid(), other))


def server_round(connection, request, source, result) -> tuple[float, float]:
    """Seconds up (open to commit) and down (first tile to last)."""
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
    return marks["up"] - began, ended - marks["first"]


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

    path, zmq_path = str(directory / "bare.sock"), str(directory / "zmq.sock")
    peer = subprocess.Popen([sys.executable, str(HERE), "--bare-peer", path, str(height)])
    other = subprocess.Popen([sys.executable, str(HERE), "--zmq-peer", zmq_path, str(height)])
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
        context = zmq.Context()
        dealer = context.socket(zmq.DEALER)
        dealer.linger = 0
        dealer.connect(f"ipc://{zmq_path}")
        with connect(directory) as connection, link, context, dealer:
            while connection.status()["state"] != "ready":
                time.sleep(0.05)
            watched = {"client": os.getpid(), "server": server.pid}
            watched["worker"] = connection.status()["worker_pid"]
            before = {n: psutil.Process(p).memory_info().rss / 2**20 for n, p in watched.items()}
            peaks = {name: PeakMemory(pid) for name, pid in watched.items()}
            for number in range(rounds + 1):
                ways = {
                    "unix": (lambda: bare_round(link, grid, source, result, b"u"), peer.pid),
                    "zeromq": (lambda: zmq_round(dealer, grid, source, result), other.pid),
                    "stored": (lambda: bare_round(link, grid, source, result, b"s"), peer.pid),
                    "server": (
                        lambda: server_round(connection, request, source, result),
                        server.pid,
                    ),
                }
                row = {}
                for name, (work, pid) in ways.items():
                    result[:] = bytes(len(result))
                    cpu = cpu_s(pid)
                    up, down = work()
                    row[name] = {"up_s": up, "down_s": down, "cpu_s": cpu_s(pid) - cpu}
                    if result != source:
                        raise SystemExit(f"{name}: the pixels differ")
                if number:  # the first round warms caches and allocators
                    table.append(row)
            growth = {name: peaks[name].stop() - before[name] for name in watched}
            connection.stop()
    finally:
        for process in (peer, other):
            process.kill()
            process.wait()
        server.wait(10)
    return summary(table, growth, size.pixels * 4)


def summary(table: list[dict], growth: dict, nbytes: int) -> dict:
    """Medians and ratios of the rounds."""

    def spread(values):
        values = list(values)
        return {"median": statistics.median(values), "min": min(values), "max": max(values)}

    seconds = {
        name: {key: spread(row[name][key] for row in table) for key in table[0][name]}
        for name in table[0]
    }
    ratios = {}
    for base in ("zeromq", "unix", "stored"):
        for key in ("up_s", "down_s", "cpu_s"):
            ratios[f"{key[:-2]}/{base}"] = spread(
                row["server"][key] / max(row[base][key], 1e-3) for row in table
            )
        ratios[f"both/{base}"] = spread(
            (row["server"]["up_s"] + row["server"]["down_s"])
            / (row[base]["up_s"] + row[base]["down_s"])
            for row in table
        )
    return {
        "bytes_each_way": nbytes,
        "rounds": len(table),
        "seconds": seconds,
        "ratios": ratios,
        "peak_memory_growth_mib": growth,
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}",
    }


def show(values: dict) -> None:
    """The tables."""
    print(f"{values['bytes_each_way'] / 1e6:.0f} MB each way, {values['rounds']} rounds, "
          f"{values['machine']}; median (least)")  # fmt: skip
    print(f"{'':10}{'up s':>18}{'down s':>18}{'CPU s, both sides':>20}")
    for name, columns in values["seconds"].items():
        cells = [f"{v['median']:.3f} ({v['min']:.3f})" for v in columns.values()]
        print(f"{name:10}{cells[0]:>18}{cells[1]:>18}{cells[2]:>20}")
    for name, v in values["ratios"].items():
        print(f"{name:14}{v['median']:8.2f}   ({v['min']:.2f} to {v['max']:.2f})")
    for name, mib in values["peak_memory_growth_mib"].items():
        print(f"memory of the {name:10}{mib:10.1f} MiB over its start")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, default=Path("bench-out/wire.json"))
    parser.add_argument("--bare-peer", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--zmq-peer", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare_peer:
        bare_peer(options.bare_peer[0], int(options.bare_peer[1]))
        return
    if options.zmq_peer:
        zmq_peer(options.zmq_peer[0], int(options.zmq_peer[1]))
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
