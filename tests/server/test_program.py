"""An editor runs a command of the program: progress, answer, errors, cancel."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wallprint_protocol.errors import BadInput, Cancelled, NotInstalled, StartFailed
from wallprint_protocol.job_run import Progress
from wallprint_protocol.print_plan import Settings
from wallprint_protocol.program import plain_name, private_folder, proof_arguments, run_command


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes a stand-in program of some Python lines."""

    def make(code: str) -> Path:
        path = tmp_path / "program"
        path.write_text(f"#!{sys.executable}\nimport json, sys, time, signal\n{code}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("WALLPRINT_SERVER", str(path))
        monkeypatch.setenv("WALLPRINT_STATE_DIR", str(tmp_path / "state"))
        return path

    return make


def test_progress_and_answer(program) -> None:
    program(
        "print(json.dumps({'phase': 'run', 'done': 3, 'total': 8, 'later': 1}), file=sys.stderr)\n"
        "print('a note', file=sys.stderr)\n"
        "print(json.dumps({'argv': sys.argv[1:], 'exit_code': 0}))"
    )
    heard: list[Progress] = []
    found = run_command(["proof", Path("a b.tif")], on_progress=heard.append)
    assert found["argv"] == ["proof", "a b.tif", "--json", "--quiet", "--progress-json"]
    assert heard == [Progress("run", 3, 8)]


def test_what_goes_wrong(program, monkeypatch: pytest.MonkeyPatch) -> None:
    program(
        "print(json.dumps({'exit_code': 2, 'error': {'code': 'BAD_INPUT', 'message': 'No.'}}))\n"
        "sys.exit(2)"
    )
    with pytest.raises(BadInput, match=r"^No\.$") as refused:
        run_command(["proof"])
    assert refused.value.detail == {"command": "proof"}
    program("print('no such library', file=sys.stderr); sys.exit(1)")
    with pytest.raises(StartFailed, match="no such library"):
        run_command(["proof"])
    monkeypatch.setenv("WALLPRINT_SERVER", "/nowhere/wallprint")
    with pytest.raises(NotInstalled, match="/nowhere/wallprint"):
        run_command(["proof"])


def test_cancel_ends_the_program(program, tmp_path: Path) -> None:
    mark = tmp_path / "ended"
    program(
        f"def end(*_): open({str(mark)!r}, 'w').close(); sys.exit(130)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print(json.dumps({'phase': 'run', 'done': 0, 'total': 1}), file=sys.stderr, flush=True)\n"
        "time.sleep(60)"
    )
    started = threading.Event()
    began_s = time.monotonic()
    with pytest.raises(Cancelled):
        run_command(["proof"], on_progress=lambda _: started.set(), should_cancel=started.is_set)
    assert time.monotonic() - began_s < 10
    assert mark.exists(), "it was not asked to end"


def test_arguments_of_a_proof(tmp_path: Path) -> None:
    picture, mask = tmp_path / "p.tif", tmp_path / "m.tif"
    settings = Settings(preset="24x18cm", medium="canvas")
    how: dict[str, Any] = {"paper": "letter", "all_strengths": True}
    found = proof_arguments(picture, settings, ["a.pdf", "a.tif"], selection=mask, **how)
    assert found[:2] == ["proof", picture]
    assert found[4:] == [
        "--paper", "letter", "-o", "a.pdf", "--also", "a.tif", "--strengths", "--selection", mask,
    ]  # fmt: skip
    assert json.loads(Path(found[3]).read_text("utf-8")) == asdict(settings)
    # Of nothing there are no strengths.
    plain = proof_arguments(picture, replace(settings, medium="none"), ["a.pdf"], **how)
    assert "--strengths" not in plain
    assert "--selection" not in plain


def test_names_of_files() -> None:
    assert plain_name("Großmutter / 1950?") == "Großmutter_1950"
    assert plain_name("...") == "picture"
    with private_folder() as folder:
        assert Path(folder).stat().st_mode & 0o777 == 0o700


def test_a_proof_by_the_dialogs_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real program with a real server, as an editor calls it."""
    monkeypatch.setenv("WALLPRINT_SERVER", f"{sys.executable} -m wallprint_server.cli")
    monkeypatch.setenv("WALLPRINT_STATE_DIR", str(tmp_path / "s"))
    y, x = np.mgrid[0:120, 0:160]
    grey = ((x // 9 + y // 7) % 2 * 180 + 30).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "p.png")
    (tmp_path / "v.json").write_text('{"preset": "24x18cm", "medium": "none", "repair": 0}')
    heard: list[Progress] = []
    arguments = ["proof", tmp_path / "p.png", "-o", tmp_path / "o.tif", "--server", "embedded"]
    found = run_command([*arguments, "--settings", tmp_path / "v.json"], on_progress=heard.append)
    assert (found["width"], os.path.exists(found["output"])) == (1654, True)
    assert found["crops"]
    assert {"read", "crop", "save"} <= {progress.phase for progress in heard}
    (tmp_path / "v.json").write_text('["no settings"]')
    with pytest.raises(BadInput, match="no settings of a dialog"):
        run_command([*arguments, "--settings", tmp_path / "v.json"])
