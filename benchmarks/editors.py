"""What an editor's plug-in costs: time against the command line, memory, how fast a cancel is.

    python benchmarks/editors.py gimp|krita [--width 4134] [--rounds 2] [--suite trixie]

Starts a server of its own and, in turn, `wallprint enhance` on a 16-bit TIFF and the real editor
(tests/editors builds it) with the same file open and the same settings, the default ones: 100 cm at
200 ppi. Both results must be the same, bit for bit. Then a second run in the editor is cancelled in
its progress window; the time is from the key to the job's end in the server.

An editor's half is one function, `Bench, Job -> Measured`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
import tifffile

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "editors"))

from editor_bench import LAUNCHER, Bench  # noqa: E402

from wallprint_protocol import client  # noqa: E402

MIB = 1 << 20
MOST_RATIO, MOST_EXTRA_MIB, MOST_CANCEL_MS = 1.15, 64.0, 200.0
DEFAULT_WIDTH = 4134  # 12 MP with these proportions
PROPORTIONS = 0.7  # 70 x 100 cm


@dataclass(frozen=True)
class Job:
    """What is enlarged.

    Attributes:
        picture: a TIFF of 16-bit RGB without a profile.
        width: of the source, px.
        height: of the source, px.
    """

    picture: Path
    width: int
    height: int

    @property
    def print_cm(self) -> float:
        """Long side of the print: 100 cm for the default picture, else the same enlargement."""
        return round(100 * self.width / DEFAULT_WIDTH, 1)


@dataclass(frozen=True)
class Measured:
    """One round in an editor.

    Attributes:
        seconds: from the start of the procedure until the print is in the document.
        sha256: of the result's pixels, R, G, B, 16 bits each, native byte order.
        size: of the result, px.
        start_mib: resident memory of the plug-in's process when it was first seen; 0 in Krita.
        peak_mib: at most; in Krita, source and result and what the process grew beyond the result.
        cancel_ms: from the key in the progress window until the server has no job any more.
    """

    seconds: float
    sha256: str
    size: tuple[int, int]
    start_mib: float
    peak_mib: float
    cancel_ms: float


class MemoryOf(threading.Thread):
    """Resident memory of the descendants of a process that a rule picks, sampled."""

    def __init__(self, root: int, wanted: Callable[[psutil.Process], bool]) -> None:
        super().__init__(daemon=True)
        self._root, self._wanted = psutil.Process(root), wanted
        self.start_mib = self.peak_mib = 0.0
        self._running = True

    def run(self) -> None:
        """Sample until stopped."""
        while self._running:
            for process in self._root.children(recursive=True):
                try:
                    if self._wanted(process):
                        used = process.memory_info().rss / MIB
                        self.start_mib = self.start_mib or used
                        self.peak_mib = max(self.peak_mib, used)
                except psutil.Error:
                    continue
            time.sleep(0.05)

    def stop(self) -> None:
        """End."""
        self._running = False
        self.join()


def gimp(bench: Bench, job: Job) -> Measured:
    """GIMP's half: the procedure, called as a script does; the cancel in its progress window."""
    from gimp_gui import PROGRESS_TITLE, Gui, cancel_ms

    plan = bench.gimp("gimp_measure.py", env={"WALLPRINT_PICTURE": str(job.picture)}).check("plan")
    print(
        f"GIMP's dialog, {plan['megapixels']:.1f} MP: true detail after {plan['detail_s']} s, a "
        f"changed value {1000 * plan['value_s']:.1f} ms; SHA-256 of {plan['megabytes']:.0f} MB "
        f"{plan['hash_s']:.2f} s",
        file=sys.stderr,
    )
    gui = Gui(bench, picture=job.picture)
    memory = MemoryOf(gui.pid, lambda process: "wallprint-gimp.py" in " ".join(process.cmdline()))
    try:
        memory.start()
        (image,) = gui.ask(do="run", width=job.print_cm, unit="cm", timeout_s=1800)
        seconds = gui.seconds
        memory.stop()
        print_layer = image["layers"][0]
        gui.undo()
        gui.close_dialog(gui.open_enhance(), "alt+e")
        cancelled = cancel_ms(bench, bench.window(PROGRESS_TITLE, 60))
    finally:
        gui.close()
    return Measured(
        seconds,
        print_layer["sha"],
        tuple(print_layer["size"]),
        memory.start_mib,
        memory.peak_mib,
        cancelled,
    )


def krita(bench: Bench, job: Job) -> Measured:
    """Krita's half: the plug-in lives in Krita's own process, so that is measured from inside.

    Up to the moment when the whole result is there. What follows, Krita's scaling of the other
    layers, is Krita's own and printed beside.
    """
    env = {"WALLPRINT_PICTURE": str(job.picture), "WALLPRINT_CASE_LIMIT_S": "3600"}
    outcome = bench.krita("krita_measure.py", env=env, timeout_s=3600.0)
    facts, cancelled = outcome.check("print"), outcome.check("cancel")
    dialog = outcome.check("dialog")
    print(
        f"Krita's dialog: there after {dialog['opened_s']:.2f} s, true detail after "
        f"{dialog['detail_s']:.1f} s, longest event-loop gap meanwhile {dialog['gap_s']:.3f} s, a "
        f"changed value {1000 * dialog['value_s']:.0f} ms",
        file=sys.stderr,
    )
    width, height = facts["size"]
    both_mib = 6 * (job.width * job.height + width * height) / MIB
    # Krita holds the source already, and both with an alpha.
    more_mib = facts["peak_mib"] - facts["start_mib"] - facts["result_mib"]
    print(
        f"Krita: {facts['start_mib']:.0f} MiB at the start, {facts['peak_mib']:.0f} at the peak, "
        f"of which {facts['result_mib']:.0f} are the result's; longest event-loop gap "
        f"{facts['longest_gap_s']:.3f} s; its own scaling {facts['finish_s']:.1f} s",
        file=sys.stderr,
    )
    return Measured(
        facts["seconds"],
        facts["sha256"],
        (width, height),
        0.0,
        both_mib + more_mib,
        cancelled["cancel_ms"],
    )


def make_picture(folder: Path, width: int, *, alpha: bool) -> Job:
    """Edges, grain and slow colour, 16 bits; no grid of 8 px, so nothing is repaired.

    With an opaque alpha for Krita, whose layers always have one: a fourth plane is work.
    """
    height = round(width * PROPORTIONS)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    base = 0.5 + 0.22 * np.sin(x / 17) * np.cos(y / 23) + 0.12 * ((x // 37 + y // 53) % 2)
    grain = np.random.default_rng(1).normal(0, 0.01, (height, width, 3)).astype(np.float32)
    picture = folder / "photo.tif"
    values = np.clip(base[..., None] + grain, 0, 1) * 65535
    if alpha:
        values = np.dstack([values, np.full((height, width), 65535)])
    extra = ("unassalpha",) if alpha else ()
    tifffile.imwrite(
        picture, values.astype(np.uint16), photometric="rgb", extrasamples=extra, metadata=None
    )
    return Job(picture, width, height)


def worker_seconds(bench: Bench) -> float:
    """Time of the job that was finished last, in the worker."""
    log = (bench.state / "server.log").read_text()
    return int(re.findall(r": done in (\d+) ms", log)[-1]) / 1000


def command_line(bench: Bench, job: Job) -> tuple[float, str]:
    """Seconds of `wallprint enhance`, whole process, and the sha256 of the print's pixels."""
    made = bench.base / "print.tif"
    made.unlink(missing_ok=True)
    size = f"{job.print_cm}cm"
    command = [*LAUNCHER, "enhance", str(job.picture), "-o", str(made), "--quiet", "--print", size]
    start = time.perf_counter()
    subprocess.run(command, check=True, env={**os.environ, "WALLPRINT_STATE_DIR": str(bench.state)})
    seconds = time.perf_counter() - start
    return seconds, hashlib.sha256(tifffile.imread(made)[..., :3].tobytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("editor", choices=("gimp", "krita"))
    parser.add_argument("--width", type=int, default=DEFAULT_WIDTH, help="of the source, px")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--suite", default="trixie")
    parser.add_argument("--json", type=Path, help="default: bench-out/editors-EDITOR.json")
    args = parser.parse_args()
    half, alpha = {"gimp": gimp, "krita": krita}[args.editor], args.editor == "krita"
    bench = Bench(args.suite)
    lines, plug_in, line_work, plug_in_work = [], [], [], []
    try:
        client.connect(bench.state, launcher=LAUNCHER).close()
        warm_up = make_picture(bench.base, args.width // 4, alpha=alpha)
        command_line(bench, warm_up)  # the networks are loaded
        job = make_picture(bench.base, args.width, alpha=alpha)
        for number in range(args.rounds):
            for way in ("line", "editor") if number % 2 == 0 else ("editor", "line"):
                if way == "line":
                    lines.append(command_line(bench, job))
                    line_work.append(worker_seconds(bench))
                else:
                    plug_in.append(half(bench, job))
                    plug_in_work.append(worker_seconds(bench))
                print(f"round {number + 1} of {args.rounds}: {way}", file=sys.stderr, flush=True)
    finally:
        bench.close()
    different = {sha for _seconds, sha in lines} | {one.sha256 for one in plug_in}
    source_px, size = job.width * job.height, plug_in[0].size
    both_mib = 6 * (source_px + size[0] * size[1]) / MIB
    # What other programs do to the worker meanwhile is no plug-in's; the rest is compared apart.
    work = statistics.median(line_work + plug_in_work)
    line_rest = statistics.median(s - w for (s, _sha), w in zip(lines, line_work, strict=True))
    plug_in_rest = statistics.median(
        one.seconds - w for one, w in zip(plug_in, plug_in_work, strict=True)
    )
    ratios = [one.seconds / line for one, (line, _sha) in zip(plug_in, lines, strict=True)]
    report = {
        "seconds, command line": statistics.median(seconds for seconds, _sha in lines),
        "seconds, plug-in": statistics.median(one.seconds for one in plug_in),
        "ratio": statistics.median(ratios),
        "seconds in the worker, both": work,
        "seconds beside it, command line": line_rest,
        "seconds beside it, plug-in": plug_in_rest,
        "ratio with the same worker": (plug_in_rest + work) / (line_rest + work),
        "source and result, MiB": both_mib,
        "plug-in process at its start, MiB": max(one.start_mib for one in plug_in),
        "plug-in process at its peak, MiB": max(one.peak_mib for one in plug_in),
        "peak over source and result, MiB": max(one.peak_mib for one in plug_in) - both_mib,
        "cancel, ms": max(one.cancel_ms for one in plug_in),
    }
    print(
        f"{args.editor} ({args.suite}), {args.rounds} round(s), 16 bits: {job.width} x {job.height}"
        f" px ({source_px / 1e6:.1f} MP) to {size[0]} x {size[1]} px "
        f"({size[0] * size[1] / 1e6:.1f} MP)"
    )
    must = {
        "ratio": MOST_RATIO,
        "ratio with the same worker": MOST_RATIO,
        "peak over source and result, MiB": MOST_EXTRA_MIB,
        "cancel, ms": MOST_CANCEL_MS,
    }
    for name, value in report.items():
        limit = f"   must be at most {must[name]:g}" if name in must else ""
        print(f"{name:36} {value:9.2f}{limit}")
    print(f"{'same pixels':36} {'yes' if len(different) == 1 else 'NO':>9}")
    path = args.json or Path("bench-out") / f"editors-{args.editor}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    rounds = {"line": [seconds for seconds, _sha in lines], "editor": [asdict(p) for p in plug_in]}
    path.write_text(json.dumps({"report": report, "rounds": rounds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
