"""Runs one command of the `wallprint` program for an editor: its progress, its cancel, its answer.

For what needs the program's own libraries, such as laying out a proof; the pixels of the print are
computed by the user's server, as always. Also what editors hand to it: a private folder, names of
files, the arguments of a proof. Blocking; an editor calls it from a thread of its own.
"""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import IO, Any

from . import endpoint
from .errors import Cancelled, NotInstalled, StartFailed, from_code
from .job_run import Progress
from .print_plan import Settings

_LOOK_S = 0.04
_CANCEL_S = 5.0  # for the program to end by itself; then it is killed
_LAST_WORDS = 300
_NOT_IN_A_NAME = re.compile(r"[^\w.-]+")


def private_folder() -> tempfile.TemporaryDirectory[str]:
    """Open to this user alone; gone when it is closed, forgotten, or the editor ends."""
    return tempfile.TemporaryDirectory(prefix="wallprint-")


def plain_name(text: str) -> str:
    """A name of a layer or document, fit for a file's; without a suffix of its own."""
    return _NOT_IN_A_NAME.sub("_", text).strip("._")[:60] or "picture"


def proof_arguments(
    picture: Path,
    settings: Settings,
    sheets: Sequence[str | os.PathLike[str]],
    *,
    paper: str,
    all_strengths: bool,
    selection: Path | None = None,
) -> list[str | os.PathLike[str]]:
    """`wallprint proof` of a picture by a dialog's values, which are written beside it.

    Args:
        picture: the canvas, in a private folder.
        settings: of the print.
        sheets: where the proof goes; each one's suffix chooses its format.
        paper: a key of `plan_lines.PAPERS`.
        all_strengths: each crop in all strengths of the output sharpening, where there is any.
        selection: mask of the canvas, None for all of it.
    """
    values = picture.with_name("settings.json")
    values.write_text(json.dumps(asdict(settings)), "utf-8")
    arguments: list[str | os.PathLike[str]] = ["proof", picture, "--settings", values]
    arguments += ["--paper", paper, "-o", sheets[0]]
    for more in sheets[1:]:
        arguments += ["--also", more]
    if all_strengths and settings.sharpen != "none":
        arguments.append("--strengths")
    if selection is not None:
        arguments += ["--selection", selection]
    return arguments


def run_command(
    arguments: Sequence[str | os.PathLike[str]],
    *,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_cancel: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Run `wallprint ARGUMENTS --json --quiet --progress-json`.

    Args:
        arguments: command and options; the command must know those three.
        on_progress: called in this thread.
        should_cancel: polled every 40 ms.

    Returns:
        The command's `--json` line.

    Raises:
        NotInstalled, StartFailed: the program is not there or cannot be started.
        Cancelled: `should_cancel()`; the program has ended.
        WallprintError: what the command itself complained about, in English, with its code; the
            detail names the command.
    """
    directory = endpoint.state_dir()
    words = [*(str(a) for a in arguments), "--json", "--quiet", "--progress-json"]
    process = _start([*endpoint.find_launcher(directory), *words], directory)
    lines: queue.Queue[str] = queue.Queue()
    answer: list[str] = []
    readers = [
        threading.Thread(target=_pump, args=(process.stderr, lines.put), daemon=True),
        threading.Thread(target=_pump, args=(process.stdout, answer.append), daemon=True),
    ]
    for reader in readers:
        reader.start()
    last_words = ""
    try:
        while process.poll() is None:
            if should_cancel():
                raise Cancelled
            try:
                last_words = _hear(lines.get(timeout=_LOOK_S), on_progress) or last_words
            except queue.Empty:
                continue
    finally:
        _end(process)
        for reader in readers:
            reader.join(_CANCEL_S)
    while not lines.empty():
        last_words = _hear(lines.get_nowait(), on_progress) or last_words
    try:
        summary = json.loads("".join(answer))
        error = summary.get("error")
    except (ValueError, AttributeError):
        reason = last_words[:_LAST_WORDS] or f"exit code {process.returncode}"
        raise StartFailed(f"`wallprint {words[0]}` did not work: {reason}") from None
    if error:
        raise from_code(str(error["code"]), str(error["message"]), {"command": words[0]})
    found: dict[str, Any] = summary
    return found


def _start(argv: list[str], directory: os.PathLike[str]) -> subprocess.Popen[str]:
    environment = endpoint.clean_environment(os.environ)
    environment["WALLPRINT_STATE_DIR"] = os.fspath(directory)
    environment["PYTHONIOENCODING"] = "utf-8"
    options: dict[str, Any] = {}
    if sys.platform == "win32":
        options["creationflags"] = subprocess.CREATE_NO_WINDOW
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            encoding="utf-8",
            errors="replace",
            **options,
        )
    except FileNotFoundError:
        raise NotInstalled(
            f"The program {argv[0]} is not there; install wallprint again."
        ) from None
    except OSError as error:
        raise StartFailed(f"The program {argv[0]} cannot be started: {error}") from None


def _pump(stream: IO[str] | None, put: Callable[[str], None]) -> None:
    if stream is not None:
        with stream:
            for line in stream:
                put(line)


def _hear(line: str, on_progress: Callable[[Progress], None]) -> str:
    """Pass a line of progress on; "" for one, else what was said."""
    try:
        values = json.loads(line)
        known = {field.name for field in fields(Progress)}
        on_progress(Progress(**{k: v for k, v in values.items() if k in known}))
    except (ValueError, AttributeError, TypeError):
        return line.strip()
    return ""


def _end(process: subprocess.Popen[str]) -> None:
    """Have it end, if it has not; politely at first, so that it cleans up and tells the server."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_CANCEL_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
