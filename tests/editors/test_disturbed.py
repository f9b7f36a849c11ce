"""What must not hurt: killed editor or server, full disk, no server, no pyzmq, two editors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from editor_bench import LAUNCHER, REPOSITORY

from wallprint_protocol import client
from wallprint_server.models.folders import data_dir


def busy(bench):
    return bench.server_status()["worker_busy"]


def start_long_job(bench):
    started = bench.base / "long-job-started"
    started.unlink(missing_ok=True)
    outcome = {}
    thread = threading.Thread(
        target=lambda: outcome.update(done=bench.gimp("gimp_long_job.py", timeout_s=100))
    )
    thread.start()
    bench.wait_until(started.exists, 60)
    bench.wait_until(lambda: busy(bench), 30)
    return thread, outcome


def test_killed_server_leaves_the_document_alone(bench):
    thread, outcome = start_long_job(bench)
    status = bench.server_status()
    try:
        os.kill(status["pid"], signal.SIGKILL)
        thread.join(60)
        facts = outcome["done"].check("long_job")
        assert facts["message"]
    finally:
        thread.join()
        bench.start_server()


def test_killed_editor_frees_the_worker(bench):
    bench.gimp_config()
    process = bench.start_gimp("gimp_long_job.py")
    try:
        bench.wait_until(lambda: busy(bench), 60)
        process.kill()  # the whole tree of processes dies with it
        process.communicate()
        # At most 30 s of silence, or 15 s of grace after a failed send; then one tile.
        bench.wait_until(lambda: not busy(bench) and not bench.server_status()["jobs"], 70)
    finally:
        process.kill()


@pytest.fixture
def small_disk(bench):
    """A state directory on a disk of 20 MB, with a server."""
    folder = bench.base / "small"
    folder.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m,mode=0700", "tmpfs", str(folder)]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted: {done.stderr.strip()}")
    try:
        client.connect(folder, launcher=LAUNCHER).close()
        yield folder
        with client.connect(folder, start=False) as link:
            link.stop()
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


def test_full_disk_is_told_before_the_work(bench, small_disk):
    outcome = bench.gimp("gimp_full_disk.py", env={"WALLPRINT_STATE_DIR": str(small_disk)})
    message = outcome.check("full_disk")["message"]
    assert "There is not enough room on the disk; free some and try again." in message
    assert str(small_disk) in message, "it does not say which disk"
    assert "MB" in message, "it does not say how much is needed"


def test_without_pyzmq_the_pure_socket_gives_the_same(bench):
    hidden = bench.base / "no-zmq"
    hidden.mkdir(exist_ok=True)
    (hidden / "zmq.py").write_text("raise ImportError('hidden by the test')\n")
    outcome = bench.gimp(
        "gimp_cases.py",
        env={"PYTHONPATH": str(hidden), "WALLPRINT_CASES": "rgba_u16_with_profile gray_u8"},
    )
    outcome.check("rgba_u16_with_profile")
    outcome.check("gray_u8")


def test_two_editors_at_once(bench):
    outcomes = []

    def one():
        outcomes.append(
            bench.gimp("gimp_cases.py", env={"WALLPRINT_CASES": "rgba_u16_with_profile"})
        )

    bench.gimp_config()
    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for outcome in outcomes:
        outcome.check("rgba_u16_with_profile")


def test_plug_in_starts_the_server_itself(bench):
    """The host's own Python runs inside the tree: folders that do not clash are shown there."""
    prefixes = {sys.prefix, sys.base_prefix}
    if any(prefix in ("/usr", "/") for prefix in prefixes):
        pytest.skip("the host's Python is the system's: the tree has another one in its place")
    bench.stop_server()
    launcher = bench.base / "launcher"
    launcher.write_text(f'#!/bin/sh\nexec {sys.executable} -m wallprint_server.cli "$@"\n')
    launcher.chmod(0o755)
    try:
        outcome = bench.gimp(
            "gimp_cases.py",
            env={
                "WALLPRINT_CASES": "script_fu",
                "WALLPRINT_SERVER": str(launcher),
                "WALLPRINT_DATA_DIR": str(data_dir()),
            },
            bind=tuple(Path(p) for p in prefixes | {str(REPOSITORY), str(data_dir())}),
        )
        outcome.check("script_fu")
    finally:
        (bench.state / "server.json").unlink(missing_ok=True)  # it died with the tree
        bench.start_server()
