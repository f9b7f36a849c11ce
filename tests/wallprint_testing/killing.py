"""kill -9 of client, server and worker at random moments of a job, and what comes of it."""

from __future__ import annotations

import contextlib
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from wallprint_protocol.errors import CODES, LinkError
from wallprint_testing.clients import ClientProcess
from wallprint_testing.job_client import Orders
from wallprint_testing.servers import Picture, RunningServer, alive, wait_until
from wallprint_testing.watching import end, log_text, usage, wait_for_rest

KNOWS_WITHIN_S = 2.0
HUNG_AFTER_S = 60.0  # of a job that is repeated on a busy machine
SPARE_DESCRIPTORS = 2
# Where a job is when the blow falls, at the earliest.
MOMENTS = [("connected", ""), ("open", ""), ("phase", "upload"), ("phase", "run"),
           ("phase", "run"), ("phase", "download")]  # fmt: skip
LATER_S = 0.15  # how much later it falls, at most


@dataclass(frozen=True)
class Trial:
    """One blow.

    Attributes:
        target: "client", "server" or "worker".
        moment: where the job was.
        struck: whether there was a job for the blow to fall into.
        outcome: of the client's job: "done" (before the blow, or repeated or resumed after it), an
            error's code, or "killed".
        knew_s: from the blow to the job's end with an error; for a killed client, until the server
            had freed all that was the client's.
        problems: what must not be.
    """

    target: str
    moment: str
    struck: bool
    outcome: str
    knew_s: float
    problems: tuple[str, ...] = ()


@dataclass
class KillReport:
    """All blows.

    Attributes:
        trials: one by one.
    """

    trials: list[Trial] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """Of all trials."""
        return [f"{t.target} at {t.moment}: {p}" for t in self.trials for p in t.problems]

    def outcomes(self, target: str) -> Counter:
        """How the jobs ended."""
        return Counter(t.outcome for t in self.trials if t.target == target)

    def slowest_s(self, target: str) -> float:
        """The longest until it was known."""
        known = (t.knew_s for t in self.trials if t.target == target and t.outcome != "done")
        return max(known, default=0.0)

    def struck(self, target: str) -> int:
        """How many blows fell into a job."""
        return sum(t.struck for t in self.trials if t.target == target)


def kill_clients_and_workers(
    state_dir: Path, count: int, tell: Callable[[Trial], None] = lambda trial: None
) -> KillReport:
    """So many blows on each of the two, in turn; one server outlives them all."""
    report = KillReport()
    server = start(state_dir)
    try:
        before = None
        for number in range(count):
            rng = random.Random(number)
            for kill in (kill_client, kill_worker):
                report.trials.append(kill(server, rng))
                tell(report.trials[-1])
            # pyzmq starts a collector with sockets of its own when it first sends a large frame.
            before = before or usage(server.process.pid)
        now = usage(server.process.pid)
        assert now.descriptors <= before.descriptors + SPARE_DESCRIPTORS, (before, now)
    finally:
        end(server)
    return report


def kill_servers(
    state_dir: Path, count: int, tell: Callable[[Trial], None] = lambda trial: None
) -> KillReport:
    """So many blows on servers of one state directory."""
    report = KillReport()
    server = start(state_dir)
    try:
        for number in range(count):
            trial, server = kill_server(server, random.Random(number))
            report.trials.append(trial)
            tell(trial)
    finally:
        end(server)
    return report


def start(state_dir: Path) -> RunningServer:
    """A server, also where a killed one has left its files."""
    server = RunningServer(state_dir)
    wait_until(lambda: (i := server.info()) is not None and i.pid == server.process.pid, 20)
    return server


def strike_moment(
    server: RunningServer, rng: random.Random, *, start: bool = False
) -> tuple[ClientProcess, str]:
    """A client with one job that has come to a random moment."""
    orders = Orders(str(server.state_dir), rng.getrandbits(30), jobs=1, side_px=1500, spread=0.2,
                    pause_s=0.01, start=start)  # fmt: skip
    client = ClientProcess(orders)
    what, phase = rng.choice(MOMENTS)
    client.wait_for(what, phase)
    time.sleep(LATER_S * rng.random())
    return client, phase or what


def look_at_job(client: ClientProcess, blow_s: float) -> tuple[str, float, list[str]]:
    """How the client's job ended, when that was known, and what is wrong with it."""
    problems = []
    try:
        client.wait(HUNG_AFTER_S)
    except subprocess.TimeoutExpired:
        problems.append(f"the client hangs: {client.said[-2:]}")
    last = client.heard("end") or client.heard("lost")
    if last is None:
        return "nothing", HUNG_AFTER_S, [*problems, "the client told no end"]
    outcome = last.get("outcome") or last.get("code")
    knew_s = max(0.0, last["t"] - blow_s)
    if outcome != "done" and outcome not in CODES:
        problems.append(f"the job is {outcome}")
    if last.get("wrong"):
        problems.append(f"{last['wrong']} strips with wrong pixels")
    if outcome != "done" and knew_s > KNOWS_WITHIN_S:
        problems.append(f"{outcome} was known after {knew_s:.1f} s")
    return outcome, knew_s, problems


def rest(server: RunningServer) -> list[str]:
    """Whether nothing is left of the job in time."""
    try:
        wait_for_rest(server, KNOWS_WITHIN_S)
    except AssertionError as error:
        return [f"{error}; {log_text(server)[-1500:]}"]
    return []


def next_job(server: RunningServer) -> list[str]:
    """Whether the server serves on."""
    picture = Picture(40, 30, (50, 60))
    with server.connect() as connection:
        picture.enhance(connection)
    return [] if picture.result == picture.expected() else ["the next job has wrong pixels"]


def kill_client(server: RunningServer, rng: random.Random) -> Trial:
    """The server must free everything that the client had."""
    client, moment = strike_moment(server, rng)
    try:
        ended = client.process.poll() is not None
        client.kill()
        blow_s = time.monotonic()
        problems = rest(server)
        knew_s = time.monotonic() - blow_s
        problems += [f"wrong: {line}" for line in client.said if line.get("wrong")]
    finally:
        client.close()
    problems += next_job(server)
    return Trial("client", moment, not ended, "killed", knew_s, tuple(problems))


def kill_worker(server: RunningServer, rng: random.Random) -> Trial:
    """The job must end right or with a code; the server must get another worker."""
    with server.connect() as connection:
        client, moment = strike_moment(server, rng)
        try:
            status = connection.status()
            if status["worker_pid"] is not None:  # between a crash and the next job there is none
                psutil.Process(status["worker_pid"]).kill()
            outcome, knew_s, problems = look_at_job(client, time.monotonic())
        finally:
            client.close()
    problems += [*rest(server), *next_job(server)]
    return Trial("worker", moment, status["worker_busy"], outcome, knew_s, tuple(problems))


def kill_server(server: RunningServer, rng: random.Random) -> tuple[Trial, RunningServer]:
    """The job must end with a code, or right with the next server, if there is one in time.

    Half of the clients may start one themselves, and then the job must end well.
    """
    may_start = rng.random() < 0.5
    client, moment = strike_moment(server, rng, start=may_start)
    try:
        status = server.status()
        server.process.kill()
        blow_s = time.monotonic()
        server.process.wait()
        outcome, knew_s, problems = look_at_job(client, blow_s)
    finally:
        client.close()
    if may_start and outcome != "done":
        problems.append(f"no second try: {outcome}")
    pid = status["worker_pid"]
    if pid is not None:
        try:
            wait_until(lambda: not psutil.pid_exists(pid) or not alive(psutil.Process(pid)), 2.0)
        except AssertionError:
            problems.append("the worker outlives its server")
    if may_start:
        with contextlib.suppress(LinkError), server.connect() as connection:
            connection.stop()
    server = start(server.state_dir)
    problems += [*rest(server), *next_job(server)]
    struck = bool(status["jobs"])
    return Trial("server", moment, struck, outcome, knew_s, tuple(problems)), server
