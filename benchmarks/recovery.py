"""How soon a client knows of a loss, and how soon its job goes on.

    python benchmarks/recovery.py [--rounds 8]

Two losses in the middle of a job, whose pixels are checked at the end:
  server   kill -9 of the server: told = first progress that says "not responding", again = first
           progress of the repeated job, computed by a server that the client has started
  cut      the connection is shut while both live: again = next progress of the same job
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from wallprint_protocol import client, connection, endpoint
from wallprint_protocol.dealer_zmtp import ZmtpDealer
from wallprint_testing.servers import LAUNCHER, Picture

LOSS_AT = 8  # tiles


def run_job(link: client.Connection, lose: Callable[[], None]) -> dict[str, float]:
    """One job with one loss; seconds after it: `told`, `again`."""
    picture, at = Picture(40, 100, model="slow"), {}

    def on_progress(progress: client.Progress) -> None:
        now_s = time.monotonic()
        if "lost" not in at:
            if progress.phase == "run" and progress.done > LOSS_AT:
                at["lost"] = now_s
                lose()
        elif not progress.responding:
            at.setdefault("told", now_s)
        elif progress.phase == "run":
            at.setdefault("again", now_s)

    picture.enhance(link, on_progress=on_progress)
    assert picture.result == picture.expected()
    return {name: at[name] - at["lost"] for name in ("told", "again")}


def show(name: str, times: list[dict[str, float]]) -> None:
    for what in ("told", "again"):
        values = [t[what] for t in times]
        middle, worst = statistics.median(values), max(values)
        print(f"{name:7} {what:6} median {middle:.3f} s, worst {worst:.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=8)
    rounds = range(parser.parse_args().rounds)
    folder = Path(tempfile.mkdtemp(prefix="wallprint-"))

    def kill() -> None:
        info = endpoint.read_connection(folder)
        assert info is not None
        os.kill(info.pid, signal.SIGKILL)

    try:
        with client.connect(folder, launcher=LAUNCHER) as link:
            show("server", [run_job(link, kill) for _ in rounds])
            link.stop()
        connection.open_dealer = ZmtpDealer  # the one whose socket can be shut
        with client.connect(folder, launcher=LAUNCHER) as link:

            def cut() -> None:
                link._dealer._socket.shutdown(socket.SHUT_RDWR)

            show("cut", [run_job(link, cut) for _ in rounds])
            link.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
