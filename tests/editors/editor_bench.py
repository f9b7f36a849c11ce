"""Runs the real GIMP and Krita on a small script, with a real server beside them.

A script is a list of cases that run one after the other inside the editor, which prints one line
`CASE {json}` for each; `Outcome` gives them back by name. One start of an editor, many tests.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import editor_trees
from editor_screen import Screen

from wallprint_protocol import client
from wallprint_server.install import bundle

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
LAUNCHER = [sys.executable, "-m", "wallprint_server.cli"]
GIMPRC = """\
(check-updates no)
(color-profile-policy keep)
(metadata-rotation-policy keep)
(save-session-info no)
(show-welcome-dialog no)
(undo-levels 20)
"""
LEAN_PLUGINS = ("python-eval", "file-png", "file-tiff", "script-fu")
# GIMP binds our menu entries to keys of our choice, so that a test need not walk through menus.
ENHANCE_KEY, SHARPEN_KEY, PROOF_KEY = "ctrl+alt+e", "ctrl+alt+p", "ctrl+alt+r"
SHORTCUTSRC = """\
(file-version 1)
(action "plug-in-wallprint-enhance" "<Primary><Alt>e")
(action "plug-in-wallprint-sharpen-selection" "<Primary><Alt>p")
(action "plug-in-wallprint-proof" "<Primary><Alt>r")
"""
# Without a blinking cursor a window that nothing happens in looks the same twice.
GTK_SETTINGS = """\
[Settings]
gtk-cursor-blink=0
gtk-enable-animations=0
"""


@dataclass
class Outcome:
    """What the cases of one editor session said, and the editor's whole output."""

    cases: dict[str, dict]
    log: str
    returncode: int

    def check(self, name: str) -> dict:
        """The facts a case returned; fails the calling test with the case's own traceback."""
        if name not in self.cases:
            tail = "\n".join(self.log.splitlines()[-40:])
            raise AssertionError(f"case {name} did not run (exit {self.returncode}):\n{tail}")
        case = self.cases[name]
        assert case["ok"], case["error"]
        return case["facts"]


def parse(log: str, returncode: int) -> Outcome:
    """Collect the CASE lines."""
    cases = {}
    for line in log.splitlines():
        if line.startswith("CASE "):
            case = json.loads(line[5:])
            cases[case["name"]] = case
    return Outcome(cases, log, returncode)


class Bench(Screen):
    """One tree, one temporary folder, one server.

    Attributes:
        root: the tree.
        base: temporary folder, visible inside the tree at the same place; short, for the socket.
        state: the server's state directory.
    """

    def __init__(self, suite: str) -> None:
        self.suite = suite
        self.here = HERE
        self.root = editor_trees.get_tree(suite)
        self.base = Path(tempfile.mkdtemp(prefix="wpe-", dir="/var/tmp"))
        self.state = self.base / "state"
        shots = Path(os.environ.get("WALLPRINT_SHOTS") or self.base / "shots")
        super().__init__(shots, suite)

    # -- server ------------------------------------------------------------------------------------

    def start_server(self) -> None:
        """The real server, on this machine's CPU."""
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        client.connect(self.state, launcher=LAUNCHER).close()

    def server_status(self) -> dict:
        """What the server says of itself."""
        with client.connect(self.state, start=False) as link:
            return link.status()

    def stop_server(self) -> None:
        """Ask it to end; quietly when it is gone."""
        with contextlib.suppress(Exception), client.connect(self.state, start=False) as link:
            link.stop()

    # -- editors -----------------------------------------------------------------------------------

    def run(
        self,
        command: list[str],
        *,
        env: dict[str, str] | None = None,
        timeout_s: float = 120.0,
        bind: tuple[Path, ...] = (),
    ) -> Outcome:
        """Run a command in the tree to its end; killed with all its children after the timeout."""
        process = self.start(command, env=env, bind=bind)
        try:
            log, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            if self.display:
                self.shot("timeout")
            process.kill()
            log, _ = process.communicate()
            log += f"\nkilled after {timeout_s:.0f} s"
        return parse(log, process.returncode)

    def start(
        self,
        command: list[str],
        *,
        env: dict[str, str] | None = None,
        bind: tuple[Path, ...] = (),
        log: Path | None = None,
    ) -> subprocess.Popen:
        """Start a command in the tree; its output is a pipe, or goes into a file."""
        inside = {
            "HOME": str(self.base / "home"),
            "WALLPRINT_STATE_DIR": str(self.state),
            "PYTHONDONTWRITEBYTECODE": "1",
            "WALLPRINT_TEST_BASE": str(self.base),
            **(env or {}),
        }
        settings = self.base / "home" / ".config" / "gtk-3.0"
        settings.mkdir(parents=True, exist_ok=True)
        (settings / "settings.ini").write_text(GTK_SETTINGS)
        if self.display:
            inside.setdefault("DISPLAY", self.display)
        arguments, outside = editor_trees.enter_command(
            self.root, command, env=inside, bind=(self.base, HERE, *bind)
        )
        with contextlib.ExitStack() as stack:
            return subprocess.Popen(
                arguments,
                env=outside,
                stdin=subprocess.DEVNULL,
                stdout=stack.enter_context(log.open("w")) if log else subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )

    def close(self) -> None:
        """End everything that was started and remove the folder."""
        self.stop_server()
        with contextlib.suppress(OSError):  # the mount point that entering the tree made
            (self.root / self.base.relative_to("/")).rmdir()
        self.stop_display()
        shutil.rmtree(self.base, ignore_errors=True)

    def gimp_config(self, *, lean: bool = True) -> Path:
        """A GIMP user folder with the plug-in in it, kept for the session."""
        folder = self.base / ("gimp" if lean else "gimp-full")
        fresh = not folder.exists()
        write_files(bundle.gimp_files(), folder / "plug-ins")
        (folder / "plug-ins/wallprint-gimp/wallprint-gimp.py").chmod(0o755)
        if fresh:
            # Without its version GIMP believes it is new here and opens a welcome window.
            version = re.search(r"\d+\.\d+\.\d+", self.run(["gimp-console", "--version"]).log)
            gimprc = f'(config-version "{version[0] if version else "3.0.0"}")\n' + GIMPRC
            if lean:
                gimprc += f'(plug-in-path "${{gimp_dir}}/plug-ins:{self._lean_plugins()}")\n'
            (folder / "gimprc").write_text(gimprc)
            (folder / "shortcutsrc").write_text(SHORTCUTSRC)
        return folder

    def _lean_plugins(self) -> Path:
        """A folder with only the plug-ins that the cases need: GIMP starts in 2 s, not in 10."""
        lean = self.base / "lean"
        lean.mkdir(exist_ok=True)
        libraries = self.root / "usr" / "lib"
        for found in libraries.glob("*/gimp/3.*/plug-ins/*"):
            link = lean / found.name
            if found.name in LEAN_PLUGINS and not link.is_symlink():
                link.symlink_to("/" + str(found.relative_to(self.root)))
        return lean

    def gimp(
        self,
        script: str,
        *,
        env: dict[str, str] | None = None,
        timeout_s: float = 150.0,
        bind: tuple[Path, ...] = (),
    ) -> Outcome:
        """Run the cases of a script in gimp-console."""
        command, inside = self._gimp_command(script)
        return self.run(command, env={**inside, **(env or {})}, timeout_s=timeout_s, bind=bind)

    def start_gimp(self, script: str) -> subprocess.Popen:
        """Start a script in gimp-console."""
        command, inside = self._gimp_command(script)
        return self.start(command, env=inside)

    def _gimp_command(self, script: str) -> tuple[list[str], dict[str, str]]:
        batch = f"import runpy; runpy.run_path('{HERE / script}', run_name='__main__')"
        command = [
            "gimp-console", "-i", "-d", "-s", "--batch-interpreter=python-fu-eval",
            "-b", batch, "--quit",
        ]  # fmt: skip
        return command, {"GIMP3_DIRECTORY": str(self.gimp_config())}

    def krita(
        self,
        script: str,
        *,
        env: dict[str, str] | None = None,
        timeout_s: float = 240.0,
        bind: tuple[Path, ...] = (),
    ):
        """Run the cases of a script in Krita; a home that has been used once starts in 3 s."""
        self.start_display()
        home = self.base / "krita"
        warm = editor_trees.cache_folder() / f"krita-home-{self.root.name}"
        if warm.is_dir() and not home.exists():
            shutil.copytree(warm, home, symlinks=True)
        data, config, run = home / "data", home / "config", home / "run"
        for folder in (data / "krita", config, run):
            folder.mkdir(parents=True, exist_ok=True)
        run.chmod(0o700)
        write_files(bundle.krita_files(), data / "krita")
        if not (home / "started").exists():  # a later start finds what this one remembered
            (config / "kritarc").write_text("[python]\nenable_wallprint_krita=true\n")
            (home / "started").touch()
        inside = {
            "XDG_DATA_HOME": str(data),
            "XDG_CONFIG_HOME": str(config),
            "XDG_CACHE_HOME": str(home / "cache"),
            "XDG_RUNTIME_DIR": str(run),
            "WALLPRINT_KRITA_SCRIPT": str(HERE / script),
            "WALLPRINT_TEST_HERE": str(HERE),
            **(env or {}),
        }
        outcome = self.run(["krita", "--nosplash"], env=inside, timeout_s=timeout_s, bind=bind)
        if outcome.returncode == 0 and not warm.is_dir():
            part = warm.with_name(f"{warm.name}.{os.getpid()}")
            shutil.copytree(
                home, part, symlinks=True, ignore=shutil.ignore_patterns("pykrita", "started")
            )
            with contextlib.suppress(OSError):  # another run was first
                part.rename(warm)
            shutil.rmtree(part, ignore_errors=True)
        return outcome


def write_files(files: dict[PurePosixPath, bytes], folder: Path) -> None:
    """Lay out a plug-in as `wallprint install` does."""
    for path, content in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.is_file() or place.read_bytes() != content:
            place.write_bytes(content)
