"""Drives a GIMP with windows, from outside: keys through the X server, facts from inside.

Nothing waits for a fixed time: a key is pressed until what it should do has happened, and what
GIMP's documents look like is asked of `gimp_watch.py`, which runs beside GIMP's own window.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

from editor_bench import ENHANCE_KEY, LAUNCHER, PROOF_KEY, REPOSITORY, SHARPEN_KEY
from PIL import Image

from wallprint_protocol import client

ENHANCE_TITLE = "^Enhance for Wall Print$"
SHARPEN_TITLE = "^Sharpen Selection for Print$"
PROGRESS_TITLE = "^Enhancing for the print$"
PROOF_TITLE = "^Make a Proof Sheet$"
CLOSING_TITLE = "^The print is made$"
PROOF_CLOSING_TITLE = "^The proof sheet is made$"
BROWSER = """\
[Desktop Entry]
Type=Application
Name=Browser of the test
Exec=/bin/sh -c 'echo "$0" > {opened}' %u
MimeType=text/html;application/pdf;
"""


class Gui:
    """One GIMP with a photograph open.

    Args:
        bench: the tree and the server.
        language: of GIMP, as "de_DE"; English without.
        picture: opened instead of the photograph.

    Attributes:
        main: GIMP's window.
        pid: of the process that all of GIMP's descend from.
        seconds: time of the last order that ran a procedure.
    """

    def __init__(self, bench, language="", picture=None):
        self.bench = bench
        self._number = 0
        for left in bench.base.glob("watch-*"):
            left.unlink()
        bench.start_display()
        config = bench.gimp_config()
        photo = picture or bench.base / "photo.png"
        if picture is None:
            photograph().save(photo, dpi=(72, 72))
        batch = f"import runpy; runpy.run_path('{bench.here}/gimp_watch.py')"
        if language:  # menu texts are kept from the first start on: a folder of its own
            own = config.with_name(f"gimp-{language}")
            shutil.copytree(config, own, ignore=shutil.ignore_patterns("pluginrc"), symlinks=True)
            config = own
        # The plug-in calls the program: this one, from inside the tree.
        env = {"GIMP3_DIRECTORY": str(config), "WALLPRINT_SERVER": " ".join(LAUNCHER)}
        env["OMP_NUM_THREADS"] = "1"
        _install_browser(bench)
        if language:
            env |= {"LC_ALL": f"{language}.UTF-8", "LANGUAGE": language}
        command = [
            "gimp", "--no-splash", "--new-instance", "-d", str(photo),
            "--batch-interpreter=python-fu-eval", "-b", batch, "--quit",
        ]  # fmt: skip
        self._log = bench.base / f"gimp-gui{language}.log"
        bind = (REPOSITORY, Path(sys.base_prefix))
        self._process = bench.start(command, env=env, log=self._log, bind=bind)
        self.pid, self.seconds = self._process.pid, 0.0
        try:
            self.main = bench.window("photo.*GIMP", 150)
            self.wait(lambda images: len(images) == 1 and len(images[0]["layers"]) == 1, 60)
        except BaseException:
            self.close()
            raise
        bench.xdo("windowsize", self.main, "1000", "700")

    def log(self):
        """What GIMP and its plug-ins have printed so far."""
        return self._log.read_text(errors="replace")

    def doubled_mnemonics(self):
        """GIMP's complaints about labels that share a key with another or with its own buttons."""
        return [line for line in self.log().splitlines() if "duplicate mnemonic" in line]

    # -- the documents -----------------------------------------------------------------------------

    def ask(self, timeout_s=60.0, **order):
        """Have `gimp_watch.py` do something, as `do="select"`; the documents as they are then."""
        self._number += 1
        answer = self.bench.base / f"watch-answer-{self._number}"
        part = self.bench.base / "watch-order.part"
        part.write_text(json.dumps(order))
        part.rename(self.bench.base / f"watch-order-{self._number}")
        self.bench.wait_until(answer.exists, timeout_s, "GIMP does not answer")
        facts = json.loads(answer.read_text())
        assert "error" not in facts, facts["error"]
        self.seconds = facts["seconds"]
        return facts["images"]

    def wait(self, condition, timeout_s=60.0, *, pixels=False):
        """The documents as soon as they satisfy a condition.

        Pixels are only looked at where they are asked for and no layer changes its size: GIMP ends
        a process that reads a layer while it does.
        """
        seen = []

        def reached():
            seen[:] = self.ask(pixels=pixels)
            return condition(seen)

        self.bench.wait_until(reached, timeout_s, lambda: f"the documents are {seen}")
        return seen

    def undo(self):
        """One step back; the documents then."""
        before = self.ask()
        self.bench.press(self.main, "ctrl+z", lambda: self.ask() != before)
        return self.settled()

    def settled(self):
        """The documents once they no longer change."""
        seen = [None]

        def still():
            seen.append(self.ask())
            return seen[-1] == seen[-2]

        self.bench.wait_until(still, 30, "the documents do not come to rest")
        return seen[-1]

    # -- windows -----------------------------------------------------------------------------------

    def open_enhance(self, title=ENHANCE_TITLE):
        """The dialog of Enhance for Wall Print."""
        return self._open(ENHANCE_KEY, title)

    def open_proof(self, title=PROOF_TITLE):
        """The dialog of Make a Proof Sheet."""
        return self._open(PROOF_KEY, title)

    def close_message(self, title=CLOSING_TITLE):
        """The message after a print: wait for it and close it."""
        self.close_dialog(self.bench.window(title, 120))

    def open_sharpen(self):
        """The dialog of Sharpen Selection for Print."""
        return self._open(SHARPEN_KEY, SHARPEN_TITLE)

    def _open(self, key, title):
        jobs = finished_jobs(self.bench)
        self.bench.press(self.main, key, lambda: self.bench.windows(title), patience_s=10)
        window = self.bench.window(title)
        if key != SHARPEN_KEY:  # the picture's detail is measured first
            self.bench.wait_until(lambda: finished_jobs(self.bench) > jobs, 60, "nothing measured")
        self.bench.still(window)
        return window

    def close_dialog(self, window, key="Escape"):
        """Leave a dialog by a key: Escape, or the mnemonic of its OK."""
        gone = self.bench.is_gone(window)
        self.bench.press(window, key, gone)

    def close(self):
        """End GIMP."""
        (self.bench.base / "watch-stop").touch()
        try:
            self._process.wait(timeout=20)
        except Exception:
            self._process.kill()
            self._process.wait()


def opened_file(bench):
    """What the browser was given since GIMP was started, as a URL."""
    file = bench.base / "opened.txt"
    return file.read_text().strip() if file.exists() else ""


def _install_browser(bench):
    """A browser for GIMP's home that only writes down what it is given."""
    share = bench.base / "home" / ".local" / "share" / "applications"
    share.mkdir(parents=True, exist_ok=True)
    (share / "browser.desktop").write_text(BROWSER.format(opened=bench.base / "opened.txt"))
    lists = "[Default Applications]\ntext/html=browser.desktop\napplication/pdf=browser.desktop\n"
    (bench.base / "home" / ".config" / "mimeapps.list").write_text(lists)


def photograph():
    from skimage import data

    return Image.fromarray(data.astronaut()[20:260, 110:430])


def set_width(bench, dialog, centimetres):
    """Alt+D is the mnemonic of the width; the height follows."""
    bench.press_seen(dialog, "alt+d", "ctrl+a", "BackSpace", *centimetres, "Tab")


def finished_jobs(bench):
    return (bench.state / "server.log").read_text().count(": done in ")


def cancel_ms(bench, progress):
    """Escape in the progress window, once the job runs: milliseconds until the server has none."""
    with client.connect(bench.state, start=False) as link:
        bench.wait_until(lambda: link.status()["jobs"].get("running"), 60, "the job does not run")
        bench.shot("gimp-progress", progress)
        bench.xdo("windowactivate", "--sync", progress)
        start = time.monotonic()
        bench.xdo("key", "Escape")
        while link.status()["jobs"]:
            assert time.monotonic() < start + 5, "the server was not told"
            time.sleep(0.002)
        return (time.monotonic() - start) * 1000
