"""What the bridge stands: nonsense, kill -9, cut and damaged connections, floods, cancels.

    python benchmarks/hostile.py [fuzz] [kills] [proxy] [flood] [cancel] [--json FILE]

The long forms of `tests/proof`, one real server each; without a name, all of them. The traffic of
ordinary clients over minutes is `soak.py`. The exit code is 1 when anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from wallprint_testing.cancelling import cancel_times, percentile
from wallprint_testing.fuzzer import fuzz
from wallprint_testing.interference import impatient, interfere
from wallprint_testing.killing import (
    KillReport,
    Trial,
    kill_clients_and_workers,
    kill_servers,
)
from wallprint_testing.servers import Picture
from wallprint_testing.strangers import flood
from wallprint_testing.watching import (
    PeakMemory,
    log_text,
    private_directory,
    private_server,
    usage,
    wait_for_rest,
)

MESSAGES, FUZZERS, SEEDS_EACH, FUZZ_MEMORY_MIB = 100_000, 4, 10_000, 32.0
KILLS_EACH = 30
INTERFERENCES = (("drop", 30, 100), ("drop", 900, 30), ("flip", 30, 300), ("flip", 900, 50))
FLOOD_MIB, IDLE, FLOOD_MEMORY_MIB, CLIENT_S = 600, 200, 8.0, 3.0
CANCELS, LOAD, CANCELLED_S = 500, 4, 0.2


def serve_one(server) -> bool:
    """Whether the server still serves a job."""
    picture = Picture(40, 30, (50, 60))
    with server.connect() as connection:
        picture.enhance(connection)
    return bool(picture.result == picture.expected())


def run_fuzz(problems: list[str]) -> dict:
    with private_server() as server:
        serve_one(server)
        before, worker = usage(server.process.pid), server.status()["worker_pid"]
        # Several at once: what one connection does falls between the messages of others.
        with PeakMemory(server.process.pid) as memory, ProcessPoolExecutor(FUZZERS) as pool:
            share = [server.info()] * FUZZERS, [MESSAGES // FUZZERS] * FUZZERS
            seeds = range(1, FUZZERS * SEEDS_EACH, SEEDS_EACH)
            tallies = list(pool.map(fuzz, *share, seeds))
        status = wait_for_rest(server)
        after = usage(server.process.pid)
        checks = {
            "memory": memory.growth <= FUZZ_MEMORY_MIB,
            "descriptors": after.descriptors <= before.descriptors + 2,
            "worker": status["worker_pid"] == worker,
            "log": "Traceback" not in log_text(server),
            "next job": serve_one(server),
        }
    problems += [f"fuzz: {name}" for name, good in checks.items() if not good]
    return {
        "messages": sum(t.messages for t in tallies),
        "heeded": sum(t.heeded for t in tallies),
        "sessions": sum(t.sessions for t in tallies),
        "memory_growth_mib": round(memory.growth, 1),
        "descriptors": [before.descriptors, after.descriptors],
        "answers": dict(sum((t.answers for t in tallies), Counter()).most_common()),
    }


def kill_in_private(kill, count: int) -> KillReport:
    """In a state directory of its own; each blow is told at once."""
    with private_directory() as directory:
        return kill(directory, count, print_trial)


def print_trial(trial: Trial) -> None:
    print(trial, flush=True)


def run_kills(problems: list[str]) -> dict:
    with ProcessPoolExecutor(2) as pool:
        kills = kill_clients_and_workers, kill_servers
        reports = list(pool.map(kill_in_private, kills, [KILLS_EACH] * 2))
    values = {}
    for report, targets in zip(reports, (("client", "worker"), ("server",)), strict=True):
        problems += report.problems
        for target in targets:
            values[target] = {
                "struck": report.struck(target),
                "outcomes": dict(report.outcomes(target)),
                "slowest_s": round(report.slowest_s(target), 3),
            }
    return values


def run_proxy(problems: list[str]) -> dict:
    values = {}
    with private_server(grace_s=1.0, ping_ms=500) as server, impatient():
        for kind, side_px, count in INTERFERENCES:
            endings = interfere(server, kind, count, side_px)
            values[f"{kind}, {side_px} px"] = {
                "outcomes": dict(endings.outcomes.most_common()),
                "wrong_strips": endings.wrong,
                "slowest_s": round(endings.slowest_s, 1),
            }
            if endings.outcomes["cancelled"]:
                problems.append(f"proxy: {endings.outcomes['cancelled']} clients hung by {kind}")
            if endings.wrong:
                problems.append(f"proxy: {endings.wrong} wrong strips by {kind}")
        wait_for_rest(server)
        if "Traceback" in log_text(server):
            problems.append("proxy: the log has a traceback")
    return values


def run_flood(problems: list[str]) -> dict:
    values = {}
    for tcp in (False, True):
        with private_server(tcp=tcp) as server:
            serve_one(server)
            result = flood(server, FLOOD_MIB, IDLE)
            wait_for_rest(server)
        values["tcp" if tcp else "ipc"] = vars(result)
        good = result.growth_mib <= FLOOD_MEMORY_MIB and result.client_s <= CLIENT_S
        if not (good and result.served):
            problems.append(f"flood: {result}")
    return values


def run_cancel(problems: list[str]) -> dict:
    with private_server() as server:
        times = cancel_times(server, CANCELS, LOAD)
        wait_for_rest(server)
    values = {f"p{p:g}_s": round(percentile(times, p), 4) for p in (50, 99, 100)}
    if values["p99_s"] > CANCELLED_S:
        problems.append(f"cancel: {values}")
    return values


def main() -> int:
    runs = {"fuzz": run_fuzz, "kills": run_kills, "proxy": run_proxy, "flood": run_flood,
            "cancel": run_cancel}  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=", ".join(runs))
    parser.add_argument("--json", type=Path, default=Path("bench-out/hostile.json"))
    args = parser.parse_args()
    if not runs.keys() >= set(args.names):
        parser.error(f"there are {', '.join(runs)}")
    values, problems = {}, []
    for name in args.names or runs:
        began = time.monotonic()
        values[name] = runs[name](problems)
        print(f"{name} ({time.monotonic() - began:.0f} s, load {os.getloadavg()[0]:.1f}):")
        print(json.dumps(values[name], indent=1), flush=True)
    for problem in problems:
        print("PROBLEM:", problem)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps({"values": values, "problems": problems}, indent=1) + "\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
