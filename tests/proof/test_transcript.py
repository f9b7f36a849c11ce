"""Releases of one major version understand each other: recorded sessions, both sides of them."""

from __future__ import annotations

from pathlib import Path

import pytest

import wallprint_protocol
from wallprint_protocol.connection import Connection
from wallprint_testing import transcript

RECORDED = sorted((Path(__file__).parent / "transcripts").glob("wpp-*.json"))


def test_there_is_a_recording_of_this_major_version():
    assert f"wpp-{wallprint_protocol.PROTOCOL_MAJOR}.0.json" in [path.name for path in RECORDED]


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_client_gets_the_same_from_todays_server(server, path):
    key, lines = transcript.load(path)
    assert transcript.play_client(server.info(), key, lines) > 15
    assert server.status()["jobs"] == {}


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_todays_client_understands_the_recorded_server(state_dir, no_leaks, path):
    key, lines = transcript.load(path)
    address = f"ipc://{state_dir}/recorded"
    info = transcript.recorded_info(address, key, lines)
    recorded = transcript.RecordedServer(address, info, lines)
    try:
        with Connection(info, checksums=True) as connection:
            results = transcript.perform(connection)
        assert results == [True, True, True, ("a note",), True, ("a note",), "E_UNKNOWN_JOB"]
    finally:
        recorded.stop()
        (state_dir / "recorded").unlink(missing_ok=True)
    assert recorded.problems == []


def test_a_client_that_says_less_than_was_recorded_is_found_out(state_dir, no_leaks):
    """The comparison itself: a message that today's client leaves out must show."""
    key, lines = transcript.load(RECORDED[0])
    address = f"ipc://{state_dir}/recorded"
    info = transcript.recorded_info(address, key, lines)
    recorded = transcript.RecordedServer(address, info, lines)
    try:
        with Connection(info, checksums=True) as connection:
            connection.models()
    finally:
        recorded.stop()
        (state_dir / "recorded").unlink(missing_ok=True)
    assert any("job.open" in problem for problem in recorded.problems)
