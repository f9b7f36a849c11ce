"""The bridge under hours of traffic in minutes: clients of all sizes, cancels, kills.

    python benchmarks/soak.py [--minutes 3] [--clients 4] [--seed 1] [--json FILE]

Client processes have pictures of random sizes and layouts enhanced by one real server (with a
pipeline that enlarges by nearest neighbour, so that the wire and not a network is busy), check
every strip against an enlargement of their own, cancel some jobs and break some off. Every few
seconds one client is killed and replaced, now and then the worker. Each job must have come to an
end, right, cancelled, or failed with a worker that was killed; memory must be flat, and nothing may
be left of descriptors, files and processes. The exit code is 1 when anything is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import psutil

from wallprint_testing.clients import ClientProcess
from wallprint_testing.job_client import Orders
from wallprint_testing.servers import RunningServer
from wallprint_testing.watching import (
    log_text,
    private_server,
    usage,
    wait_for_rest,
)

KILL_CLIENT_EVERY_S, KILL_WORKER_EVERY_S = 5.0, 17.0
WARM_UP_SHARE = 0.25
FLAT_WITHIN = 0.05
SPARE_DESCRIPTORS = 2
LAST_JOB_S = 60.0
# What a job may say when its worker was killed: at once, or when a second try was killed, too.
WORKER_KILLED = ("E_BACKEND", "E_POISON")


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        minutes: of traffic.
        clients: at a time.
        jobs: begun, without those whose client was killed.
        outcomes: how they ended.
        wrong_strips: with pixels that are not right, of any job.
        killed_clients: by us.
        killed_workers: by us.
        slowest_job_s: the longest from beginning to end.
        memory_mib: resident memory of the I/O process, median of the first and last third after the
            warm-up.
        memory_growth: the last third's over the first's, as a share.
        peak_mib: of the I/O process.
        descriptors: of the I/O process at rest, before and after.
        problems: what must not be.
    """

    minutes: float
    clients: int
    jobs: int = 0
    outcomes: Counter = field(default_factory=Counter)
    wrong_strips: int = 0
    killed_clients: int = 0
    killed_workers: int = 0
    slowest_job_s: float = 0.0
    memory_mib: tuple[float, float] = (0.0, 0.0)
    memory_growth: float = 0.0
    peak_mib: float = 0.0
    descriptors: tuple[int, int] = (0, 0)
    problems: list[str] = field(default_factory=list)


def soak(server: RunningServer, minutes: float, count: int, first_seed: int) -> Outcome:
    """Run the traffic against a server of one's own."""
    outcome = Outcome(minutes, count)
    rng = random.Random(first_seed)
    seeds = iter(range(first_seed * 1000, (first_seed + 1) * 1000))
    process = psutil.Process(server.process.pid)
    warm(server, next(seeds))
    before = usage(process.pid)
    orders = {"state_dir": str(server.state_dir), "side_px": 1400, "cancel": 0.2, "leave": 0.1}
    clients = [ClientProcess(Orders(seed=next(seeds), **orders)) for _ in range(count)]
    memory: list[float] = []
    began = time.monotonic()
    next_client, next_worker = began + KILL_CLIENT_EVERY_S, began + KILL_WORKER_EVERY_S
    try:
        while (now := time.monotonic()) < began + minutes * 60:
            memory.append(usage(process.pid).rss_mib)
            time.sleep(0.2)
            if now > next_client:
                next_client += KILL_CLIENT_EVERY_S * (0.5 + rng.random())
                place = rng.randrange(count)
                if clients[place].process.poll() is not None:
                    outcome.problems.append(f"a client broke off: {clients[place].said[-1:]}")
                clients[place].kill()
                account(outcome, clients[place], killed=True)
                outcome.killed_clients += 1
                clients[place] = ClientProcess(Orders(seed=next(seeds), **orders))
            if now > next_worker:
                next_worker += KILL_WORKER_EVERY_S * (0.5 + rng.random())
                outcome.killed_workers += kill_worker(process)
        for client in clients:
            client.process.terminate()
        for client in clients:
            if client.wait(LAST_JOB_S):
                outcome.problems.append(f"a client broke off: {client.said[-1:]}")
            account(outcome, client, killed=False)
    finally:
        for client in clients:
            client.close()
    status = wait_for_rest(server)
    after = usage(process.pid)
    outcome.descriptors = (before.descriptors, after.descriptors)
    judge_memory(outcome, memory)
    failed = sum(outcome.outcomes[code] for code in WORKER_KILLED)
    if failed > outcome.killed_workers:
        outcome.problems.append(f"{failed} jobs failed by {outcome.killed_workers} kills")
    if outcome.wrong_strips:
        outcome.problems.append(f"{outcome.wrong_strips} strips with wrong pixels")
    if after.descriptors > before.descriptors + SPARE_DESCRIPTORS:
        outcome.problems.append(f"descriptors: {outcome.descriptors}")
    if len(process.children(recursive=True)) > (status["worker_pid"] is not None):
        outcome.problems.append(f"processes: {process.children(recursive=True)}")
    if "Traceback" in log_text(server):
        outcome.problems.append("the log has a traceback")
    return outcome


def warm(server: RunningServer, seed: int) -> None:
    """Two jobs of several tiles: what the first of them makes once stays."""
    first = ClientProcess(Orders(str(server.state_dir), seed, jobs=2, side_px=1000, spread=0.1))
    try:
        first.wait(LAST_JOB_S)
    finally:
        first.close()
    wait_for_rest(server)


def kill_worker(server: psutil.Process) -> bool:
    """Kill the worker, if there is one."""
    for child in server.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
            return True
    return False


def account(outcome: Outcome, client: ClientProcess, *, killed: bool) -> None:
    """Add what one client has done; each of its jobs must have had an end that is right."""
    ends = {line["number"]: line for line in client.said if line["what"] == "end"}
    for line in client.said:
        outcome.wrong_strips += line.get("wrong", 0)
        if line["what"] == "lost":
            outcome.problems.append(f"a client lost the server: {line['code']}")
        if line["what"] != "open":
            continue
        end = ends.get(line["number"])
        if end is None:
            if not killed:
                outcome.jobs += 1
                outcome.problems.append(f"a job was lost: {line}")
            continue
        outcome.jobs += 1
        outcome.outcomes[end["outcome"]] += 1
        outcome.slowest_job_s = max(outcome.slowest_job_s, end["t"] - line["t"])
        if end["outcome"] not in ("done", "cancelled", "left", *WORKER_KILLED):
            outcome.problems.append(f"a job ended as {end['outcome']}: {line}")


def judge_memory(outcome: Outcome, samples: list[float]) -> None:
    """Flat after the warm-up, within the limit."""
    steady = samples[int(len(samples) * WARM_UP_SHARE) :]
    third = max(1, len(steady) // 3)
    first, last = statistics.median(steady[:third]), statistics.median(steady[-third:])
    outcome.memory_mib = (round(first, 1), round(last, 1))
    outcome.memory_growth = round(last / first - 1, 4)
    outcome.peak_mib = round(max(samples), 1)
    if outcome.memory_growth > FLAT_WITHIN:
        outcome.problems.append(f"memory grew by {outcome.memory_growth:.1%}")


def show(outcome: Outcome) -> None:
    """The account."""
    print(f"{outcome.minutes:g} minutes, {outcome.clients} clients, {outcome.jobs} jobs, "
          f"{outcome.killed_clients} clients and {outcome.killed_workers} workers killed, "
          f"load {os.getloadavg()[0]:.1f}")  # fmt: skip
    print("ended:", ", ".join(f"{n} {count}" for n, count in outcome.outcomes.most_common()))
    print(f"wrong strips {outcome.wrong_strips}; slowest job {outcome.slowest_job_s:.1f} s")
    print(f"memory of the I/O process {outcome.memory_mib[0]} -> {outcome.memory_mib[1]} MiB "
          f"({outcome.memory_growth:+.1%}), peak {outcome.peak_mib} MiB")  # fmt: skip
    print(f"descriptors at rest {outcome.descriptors[0]} -> {outcome.descriptors[1]}")
    for problem in outcome.problems:
        print("PROBLEM:", problem)
    if not outcome.problems:
        print("nothing lost, nothing mixed up, nothing left behind")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path("bench-out/soak.json"))
    args = parser.parse_args()
    # The private directory and the server's own end are checked by leaving these blocks.
    with private_server() as server:
        outcome = soak(server, args.minutes, args.clients, args.seed)
    children = psutil.Process().children(recursive=True)
    if children:
        outcome.problems.append(f"processes are left: {children}")
    show(outcome)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(
        json.dumps({**vars(outcome), "outcomes": dict(outcome.outcomes)}, indent=1) + "\n"
    )
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
