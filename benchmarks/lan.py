"""What a paired computer costs: the same jobs here and there, cancels, hosts that are killed.

    python benchmarks/lan.py [--rounds 7] [--megabytes 96] [--times 20] [--json FILE]

Both computers are this one, so the wire costs nothing and the encryption of both ends its full
time. The pipeline copies its source. The exit code is 1 when a pixel is wrong or a limit is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from wallprint_protocol.errors import Cancelled, WallprintError
from wallprint_testing.cancelling import percentile
from wallprint_testing.lan import TwoComputers
from wallprint_testing.servers import Picture, private_dir, wait_until

CANCELLED_S, TOLD_S = 0.5, 2.0


def carry(both: TwoComputers, megabytes: int, rounds: int) -> dict:
    """Seconds of a job of so many megabytes each way, in turn here and there."""
    picture = Picture(4000, megabytes * 1_000_000 // 12_000)
    taken: dict[str, list[float]] = {"local": [], "studio": []}
    wrong = 0
    for _ in range(rounds):
        for host, seconds in taken.items():
            picture.result[:] = bytes(len(picture.result))
            with both.connect(host) as connection:
                began = time.perf_counter()
                picture.enhance(connection)
                seconds.append(time.perf_counter() - began)
            wrong += picture.result != picture.pixels
    medians = {host: statistics.median(seconds) for host, seconds in taken.items()}
    return {
        "megabytes": len(picture.pixels) / 1e6,
        "here_s": medians["local"],
        "there_s": medians["studio"],
        "ratio": statistics.median(
            there / here for here, there in zip(taken["local"], taken["studio"], strict=True)
        ),
        "wrong": wrong,
    }


def cancel(both: TwoComputers, times: int) -> list[float]:
    """Seconds from the cancel until the host's worker is free."""
    freed = []
    for _ in range(times):
        began: list[float] = []

        def look(began=began):
            if both.host.status()["worker_busy"] and not began:
                began.append(time.perf_counter())
            return bool(began)

        with both.connect() as connection:
            try:
                Picture(300, 4000, model="slow").enhance(connection, should_cancel=look)
            except Cancelled:
                wait_until(lambda: not both.host.status()["worker_busy"], 10)
                freed.append(time.perf_counter() - began[0])
    return freed


def kill(both: TwoComputers, times: int) -> list[float]:
    """Seconds from the death of the host's server until the user is told."""
    told = []
    for _ in range(times):
        picture, killed = Picture(300, 4000, model="slow"), []

        def write(rect, pixels, killed=killed, picture=picture):
            picture.write(rect, pixels)
            if not killed:
                both.kill_host()
                killed.append(time.perf_counter())

        with both.connect() as connection:
            try:
                picture.enhance(connection, write=write)
            except WallprintError as error:
                if error.code == "E_HOST_AWAY":
                    told.append(time.perf_counter() - killed[0])
        both.start_host()
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--megabytes", type=int, default=96)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with private_dir() as there, private_dir() as here:
        both = TwoComputers(there, here)
        try:
            both.start_here(pipeline="wallprint_testing.pipelines:identity")
            both.start_host(pipeline="wallprint_testing.pipelines:identity")
            result = {"carry": carry(both, options.megabytes, options.rounds)}
            both.host.stop()
            both.start_host()
            freed, told = cancel(both, options.times), kill(both, options.times)
        finally:
            both.close()
    for name, seconds in (("cancel", freed), ("kill", told)):
        seconds.sort()
        result[name] = {
            "times": len(seconds),
            "median_s": statistics.median(seconds),
            "p99_s": percentile(seconds, 99),
            "most_s": max(seconds),
        }
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    good = (
        not result["carry"]["wrong"]
        and len(freed) == len(told) == options.times
        and max(freed) < CANCELLED_S
        and max(told) < TOLD_S
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
