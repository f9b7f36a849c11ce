"""How fast the networks run on this CPU: our engine against every other way we know.

    python benchmarks/speed.py [--network span-x4] [--size 256] [--threads N] [--rounds 7]
                               [--json FILE]

All ways compute the same weights on the same tile, one after the other in each round, so that a
busy machine slows all of them alike; what counts are the ratios of the medians. `first use` is
what a way costs before its first tile (loading, converting, compiling, and for our engine the
comparison with plain torch); `job` is first use plus the tiles of a 43-megapixel print.

Ways that need a package or a compiler that is not here are left out and named.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wallprint_server.models import catalog, fetch, networks, store
from wallprint_server.models.engine import Engine
from wallprint_server.models.folders import wheels_dir

JOB_PIXELS = 43e6
BLEND_PX = 10
Run = Callable[[Tensor], Tensor]


def tile(side: int) -> Tensor:
    """A picture as smooth as photographs are, (1, 3, side, side) in [0, 1]."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(1, 3, side // 8, side // 8, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)


def ways(name: str, x: Tensor, threads: int) -> dict[str, Callable[[], Run]]:
    """Builders of every way to compute the network, by name."""
    spec = catalog.get(name)
    module = networks.load(spec, store.load(name)).eval().requires_grad_(False)

    def eager() -> Run:
        return networks.load(spec, store.load(name)).eval().requires_grad_(False)

    def engine() -> Run:
        return Engine("cpu", threads).network(name)

    def channels_last() -> Run:
        twin = copy.deepcopy(module).to(memory_format=torch.channels_last)
        return lambda v: twin(v.contiguous(memory_format=torch.channels_last)).contiguous()

    def jit() -> Run:
        traced = torch.jit.trace(copy.deepcopy(module), x)
        return torch.jit.optimize_for_inference(torch.jit.freeze(traced))

    def compiled() -> Run:
        import torch._inductor.config as inductor

        inductor.freezing = True
        run = torch.compile(copy.deepcopy(module).to(memory_format=torch.channels_last))
        return lambda v: run(v.contiguous(memory_format=torch.channels_last))

    def openvino() -> Run:
        import openvino

        model = openvino.convert_model(module, example_input=x, input=list(x.shape))
        options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
        ready = openvino.Core().compile_model(model, "CPU", options)
        return lambda v: torch.from_numpy(ready(v.numpy())[0])

    def onnxruntime() -> Run:
        import onnxruntime

        path = Path(tempfile.mkdtemp(prefix="speed-"), "net.onnx")
        torch.onnx.export(module, (x,), str(path), dynamo=False, input_names=["x"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        return lambda v: torch.from_numpy(session.run(None, {"x": v.numpy()})[0])

    return {
        "eager": eager,
        "engine": engine,
        "channels_last": channels_last,
        "jit freeze": jit,
        "torch.compile": compiled,
        "OpenVINO": openvino,
        "ONNX Runtime": onnxruntime,
        "ncnn": lambda: plain_ncnn(spec, threads),
    }


def plain_ncnn(spec: catalog.NetworkSpec, threads: int) -> Run:
    """The pip package on the published files, in float32, as its own examples use it."""
    import ncnn

    files = fetch.source_files(spec, wheels_dir(), on_status=print)
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.num_threads = threads
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{option}", False)
    with tempfile.TemporaryDirectory() as folder:
        for suffix, content in zip(("param", "bin"), files, strict=True):
            Path(folder, f"net.{suffix}").write_bytes(content)
        net.load_param(str(Path(folder, "net.param")))
        net.load_model(str(Path(folder, "net.bin")))
    source = "Input1" if spec.architecture == "waifu2x" else "data"
    target = "Eltwise4" if spec.architecture == "waifu2x" else "output"

    def run(v: Tensor) -> Tensor:
        if spec.architecture == "waifu2x":
            v = torch.nn.functional.pad(v, (7,) * 4, mode="replicate")
        extractor = net.create_extractor()
        picture = np.ascontiguousarray(v[0].numpy())
        extractor.input(source, ncnn.Mat(picture))
        y = torch.from_numpy(np.array(extractor.extract(target)[1]))[None]
        if spec.architecture == "waifu2x":
            y = torch.nn.functional.avg_pool2d(y.clamp(0, 1), 2)
        return y

    return run


def measure(name: str, size: int, threads: int, rounds: int, only: list[str]) -> dict[str, object]:
    """Build every way, run them interleaved; medians and errors by way."""
    x = tile(size)
    reference = networks.load(catalog.get(name), store.load(name)).eval()(x).detach()
    ready: dict[str, Run] = {}
    rows: dict[str, dict[str, float]] = {}
    missing: dict[str, str] = {}
    for way, build in ways(name, x, threads).items():
        if only and way not in only:
            continue
        began = time.perf_counter()
        try:
            run = build()
            error = float((run(x) - reference).abs().max())
        except Exception as reason:
            missing[way] = str(reason).strip().splitlines()[0][:100]
            continue
        first_s = time.perf_counter() - began
        began = time.perf_counter()
        run(x)
        rows[way] = {"first_use_s": max(0.0, first_s - (time.perf_counter() - began))}
        rows[way]["max_error"] = error
        ready[way] = run
    times: dict[str, list[float]] = {way: [] for way in ready}
    for _ in range(rounds):
        for way, run in ready.items():
            began = time.perf_counter()
            run(x)
            times[way].append(time.perf_counter() - began)
    spec = catalog.get(name)
    useful = (size - 2 * (spec.reach_px + BLEND_PX)) ** 2
    tiles = JOB_PIXELS / spec.scale**2 / useful if size > 2 * (spec.reach_px + BLEND_PX) else 0.0
    for way, row in rows.items():
        row["tile_s"] = statistics.median(times[way])
        row["us_per_px"] = row["tile_s"] / size**2 * 1e6
        row["job_s"] = row["first_use_s"] + tiles * row["tile_s"]
    for row in rows.values():
        for key, base in (("eager", "eager"), ("ncnn", "ncnn")):
            if base in rows:
                row[f"tile_over_{key}"] = row["tile_s"] / rows[base]["tile_s"]
                row[f"job_over_{key}"] = row["job_s"] / max(1e-9, rows[base]["job_s"])
    return {"network": name, "size_px": size, "threads": threads, "ways": rows, "missing": missing}


def main() -> int:
    """Measure and print; the exit code is 1 when a row of the engine is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="span-x4")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", action="append", default=[], help="ways to run (default: all)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(options.threads)
    with torch.inference_mode():
        result = measure(
            options.network, options.size, options.threads, options.rounds, options.only
        )
    rows: dict[str, dict[str, float]] = result["ways"]  # type: ignore[assignment]
    print(
        f"{options.network}, {options.size} px, {options.threads} threads, "
        f"torch {torch.__version__}"
    )
    print(
        f"{'':14} {'tile':>8} {'/eager':>7} {'/ncnn':>7} {'first':>8} {'job/ncnn':>9} {'error':>9}"
    )
    for way, row in rows.items():
        print(
            f"{way:14} {row['tile_s']:7.3f}s {row.get('tile_over_eager', 0):7.2f} "
            f"{row.get('tile_over_ncnn', 0):7.2f} {row['first_use_s']:7.2f}s "
            f"{row.get('job_over_ncnn', 0):9.2f} {row['max_error']:9.1e}"
        )
    for way, reason in result["missing"].items():  # type: ignore[attr-defined]
        print(f"{way:14} left out: {reason}")
    if options.json:
        machine = {
            "machine": platform.processor() or platform.machine(),
            "torch": torch.__version__,
        }
        options.json.write_text(json.dumps({**machine, **result}, indent=1))
    return int(rows.get("engine", {}).get("max_error", 0.0) > 1e-3)


if __name__ == "__main__":
    sys.exit(main())
