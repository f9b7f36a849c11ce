"""What the bridge costs: a whole print through the server against the networks alone.

    python benchmarks/bridge.py [--megapixels 12] [--scale 2] [--rounds 1] [--json FILE]

Three ways, in turn, on the same generated picture and the same tiles:
  network   the network on every tile's window, nothing else (read once, thrown away)
  pipeline  the pipeline in this process: detail, gates, resampling, conversion, writing
  server    `client.enhance` through a real server: login, sockets, spool, worker process
The bridge is server / pipeline; the whole is server / network.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from memory import LAYOUT, texture

from wallprint_protocol import client
from wallprint_protocol.print_size import Rect, Size, place
from wallprint_protocol.request import Request
from wallprint_server.models.engine import Engine
from wallprint_server.pipeline.enhance import enhance
from wallprint_server.pipeline.plan import make_plan
from wallprint_server.raster import Raster


def network_alone(request: Request, source: Raster, engine: Engine) -> float:
    """Seconds for the ladder's networks on every window of the plan."""
    plan = make_plan(request, repair_amount=0, memory_bytes=1 << 30)
    network = engine.network(plan.ladder[0].name)
    (x0, x1), (y0, y1) = plan.columns[0].source, plan.rows[0].source
    window = source.read(Rect(x0, y0, x1 - x0, y1 - y0))
    picture = np.frombuffer(window, np.uint8).reshape(y1 - y0, x1 - x0, 3)
    tensor = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None].contiguous()
    network(tensor)
    start = time.perf_counter()
    with torch.inference_mode():
        for _ in range(plan.tiles):
            network(tensor)
    return time.perf_counter() - start


def pipeline_here(request: Request, source: Raster, engine: Engine) -> float:
    """Seconds for the whole pipeline in this process."""
    with tempfile.TemporaryFile() as made:
        made.truncate(request.out.pixels * 3)
        start = time.perf_counter()
        enhance(
            request,
            source,
            None,
            Raster(made.fileno(), request.out, 3),
            engine=engine,
            on_progress=lambda *_: None,
            should_cancel=lambda: False,
        )
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megapixels", type=float, default=12.0, help="of the source")
    parser.add_argument("--scale", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--sharpen", default="none")
    parser.add_argument("--json", type=Path, default=Path("bench-out/bridge.json"))
    args = parser.parse_args()
    height = round((args.megapixels * 1e6 / 1.5) ** 0.5)
    source = Size(round(height * 1.5), height)
    out = Size(round(source.width * args.scale), round(source.height * args.scale))
    request = Request.build(
        source, LAYOUT, place(source, out), repair=0, deblur=0, sharpen=args.sharpen
    )
    pixels = texture(source, Rect(0, 0, source.width, source.height))
    view, pitch = memoryview(pixels), source.width * 3
    seconds: dict[str, list[float]] = {"network": [], "pipeline": [], "server": []}
    engine = Engine()
    with (
        tempfile.TemporaryDirectory(prefix="wallprint-") as folder,
        tempfile.TemporaryFile() as raw,
    ):
        raw.write(pixels)
        raw.flush()
        os.environ["WALLPRINT_STATE_DIR"] = folder
        launcher = [sys.executable, "-m", "wallprint_server"]
        try:
            for _ in range(args.rounds):
                given = Raster(raw.fileno(), source, 3)
                seconds["network"].append(network_alone(request, given, engine))
                seconds["pipeline"].append(pipeline_here(request, given, engine))
                with client.connect(launcher=launcher) as connection:
                    start = time.perf_counter()
                    client.enhance(
                        request,
                        lambda r: view[r.y * pitch : (r.y + r.height) * pitch],
                        lambda rect, strip: None,
                        connection=connection,
                    )
                    seconds["server"].append(time.perf_counter() - start)
        finally:
            with client.connect(start=False) as connection:
                connection.stop()
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = {
        "server / pipeline": medians["server"] / medians["pipeline"],
        "pipeline / network": medians["pipeline"] / medians["network"],
        "server / network": medians["server"] / medians["network"],
    }
    print(
        f"{source.width} x {source.height} to {out.width} x {out.height} px, {args.rounds} round(s)"
    )
    for name, value in medians.items():
        print(f"{name:20} {value:8.1f} s")
    for name, value in ratios.items():
        print(f"{name:20} {value:8.3f}")
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps({"seconds": seconds, "ratios": ratios}, indent=1) + "\n")


if __name__ == "__main__":
    main()
