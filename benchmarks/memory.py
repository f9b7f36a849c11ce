"""Memory of the server while it makes a small and a very large print.

    python benchmarks/memory.py [--outputs 24,400] [--scale 4] [--json FILE]

Starts a server of its own, makes prints of generated pictures of the given megapixels with the
faithful networks, and samples the resident memory of the I/O process and of the worker ten times
a second. The large print must not need more memory than the small one: nothing of picture size is
ever held. The client's memory is sampled too, with strips that are made and thrown away.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

from wallprint_protocol import client
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Rect, Size, place
from wallprint_protocol.request import Request

LAYOUT = PixelLayout("RGB", "u8")
MIB = 1 << 20


class Sampler(threading.Thread):
    """Peak resident memory by process id, MiB, ten times a second."""

    def __init__(self, pids: list[int]) -> None:
        super().__init__(daemon=True)
        self.processes = {pid: psutil.Process(pid) for pid in pids}
        self.peak = dict.fromkeys(pids, 0.0)
        self.running = True

    def run(self) -> None:
        """Sample until told to stop."""
        while self.running:
            for pid, process in self.processes.items():
                self.peak[pid] = max(self.peak[pid], process.memory_info().rss / MIB)
            time.sleep(0.1)


def texture(size: Size, rect: Rect) -> bytes:
    """A strip of a picture with edges and grain, made when asked for."""
    rng = np.random.default_rng(rect.y)
    y, x = np.mgrid[rect.y : rect.y + rect.height, : size.width]
    base = 128 + 60 * np.sin(x / 17) * np.cos(y / 23) + 30 * ((x // 40 + y // 56) % 2)
    grain = rng.normal(0, 5, (rect.height, size.width, 3))
    return np.clip(base[..., None] + grain, 0, 255).astype(np.uint8).tobytes()


def measure(connection: client.Connection, megapixels: float, scale: float) -> dict:
    """One print of `megapixels`; peaks in MiB."""
    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    out = Size(round(height * 1.5), height)
    source = Size(round(out.width / scale), round(out.height / scale))
    request = Request.build(
        source, LAYOUT, place(source, out), repair=0, deblur=0, sharpen="matte", ppi=200.0
    )
    status = connection.status()
    pids = {"io": status["pid"], "worker": status["worker_pid"], "client": os.getpid()}
    sampler = Sampler(list(pids.values()))
    before = psutil.Process().memory_info().rss / MIB
    sampler.start()
    start = time.perf_counter()
    result = client.enhance(
        request, lambda rect: texture(source, rect), lambda rect, view: None, connection=connection
    )
    seconds = time.perf_counter() - start
    sampler.running = False
    sampler.join()
    row = {name: round(sampler.peak[pid], 1) for name, pid in pids.items()}
    row["client"] = round(row["client"] - before, 1)
    return {
        "megapixels": round(request.out.pixels / 1e6, 1),
        "source_megapixels": round(source.pixels / 1e6, 1),
        "tiles": result.report.get("tiles"),
        "ladder": result.report.get("ladder"),
        "seconds": round(seconds, 1),
        "server": round(row["io"] + row["worker"], 1),
        **row,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--outputs", default="24,400", help="megapixels, separated by commas")
    parser.add_argument("--scale", type=float, default=4.0)
    parser.add_argument("--json", type=Path, default=Path("bench-out/memory.json"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wallprint-") as folder:
        os.environ["WALLPRINT_STATE_DIR"] = folder
        launcher = [sys.executable, "-m", "wallprint_server"]
        with client.connect(launcher=launcher) as connection:
            try:
                # One small job first, so that importing and loading are in the first row as well.
                measure(connection, 0.5, args.scale)
                rows = [
                    measure(connection, float(mp), args.scale) for mp in args.outputs.split(",")
                ]
            finally:
                connection.stop()
    print(
        f"{'result MP':>9} {'source MP':>9} {'tiles':>6} {'s':>7} {'server MiB':>10} "
        f"{'I/O':>7} {'worker':>7} {'client +':>8}"
    )
    for row in rows:
        print(
            f"{row['megapixels']:9.1f} {row['source_megapixels']:9.1f} {row['tiles']:6} "
            f"{row['seconds']:7.1f} {row['server']:10.1f} {row['io']:7.1f} {row['worker']:7.1f} "
            f"{row['client']:8.1f}"
        )
    growth = rows[-1]["server"] / rows[0]["server"] - 1
    print(f"growth from the first to the last: {100 * growth:.1f} %")
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps({"rows": rows, "growth": round(growth, 4)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
