"""A fuzzer that watches which lines it reaches, where atheris is installed; its targets anyway."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from wallprint_protocol import flow, wire
from wallprint_testing import coverage_fuzz
from wallprint_testing.coverage_fuzz import TARGETS, HubTarget, client, join, seeds, split

TESTS = Path(__file__).parents[1]
SECONDS = 20


@pytest.fixture
def hub():
    target = HubTarget()
    yield target
    target.close()


def test_valid_sessions_come_to_their_end(hub):
    """What the fuzzer starts from reaches the middle of everything."""
    whole, damaged = seeds()["client"]
    assert (client(whole), client(damaged)) == ("done", "done")
    assert client(whole[:-40]) in ("LINK_PROTOCOL", "done")
    alone, by_two = map(hub, seeds()["hub"])
    assert {"job.ok", "ok", "out.tile", "job.done", "$state", "pong"} <= set(alone)
    assert alone.count("job.done") == 2  # once more after the resume
    assert "E_UNKNOWN_JOB" in by_two
    for name in ("decode", "records", "zmtp"):
        for data in seeds()[name]:
            TARGETS[name]()(data)


def test_inputs_are_taken_apart_as_they_were_joined():
    said = [(0, [b"header"]), (1, [b"", b"payload"]), (1, [b"x"])]
    assert split(join(said)) == said
    for cut in range(len(join(said))):
        split(join(said)[:cut])


def test_planted_faults_are_found(monkeypatch, hub):
    """Each target would see one."""
    with monkeypatch.context() as patch:
        patch.setattr(wire, "unpack", lambda data: {"t": None}["x"])
        with pytest.raises(KeyError):
            coverage_fuzz.decode(seeds()["decode"][0])
    with monkeypatch.context() as patch:
        patch.setattr(flow, "intact", lambda tile: True)
        with pytest.raises(AssertionError):
            client(seeds()["client"][1])
    with monkeypatch.context() as patch:
        patch.setattr("wallprint_server.jobs.Job.finished", lambda job: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            hub(seeds()["hub"][0])


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("atheris"), reason="atheris is not installed")
@pytest.mark.parametrize("target", TARGETS)
def test_no_input_is_a_fault(target, tmp_path):
    command = [sys.executable, "-m", "wallprint_testing.coverage_fuzz", target]
    run = subprocess.run(
        [*command, "--seconds", str(SECONDS), "--corpus", str(tmp_path / "corpus")],
        cwd=tmp_path,
        env={"PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=SECONDS * 5,
    )
    assert run.returncode == 0, run.stderr[-3000:]
