"""The plug-in in GIMP with its windows: dialog, preview, progress, cancel, one undo step."""

from __future__ import annotations

import json
import shutil
import time

import pytest
from PIL import Image

TITLE = "^Enhance for Wall Print$"


class Gui:
    """One GIMP with a photograph open, driven by keys, watched from inside."""

    def __init__(self, bench, language=""):
        self.bench = bench
        for name in ("watch-stop", "watch.json"):
            (bench.base / name).unlink(missing_ok=True)
        bench.start_display()
        config = bench.gimp_config()
        photo = bench.base / "photo.png"
        photograph().save(photo, dpi=(72, 72))
        batch = f"import runpy; runpy.run_path('{bench.here}/gimp_watch.py')"
        if language:  # menu texts are kept from the first start on: a folder of its own
            own = config.with_name(f"gimp-{language}")
            shutil.copytree(config, own, ignore=shutil.ignore_patterns("pluginrc"), symlinks=True)
            config = own
        env = {"GIMP3_DIRECTORY": str(config)}
        if language:
            env |= {"LC_ALL": f"{language}.UTF-8", "LANGUAGE": language}
        command = [
            "gimp", "--no-splash", "--new-instance", "-d", str(photo),
            "--batch-interpreter=python-fu-eval", "-b", batch, "--quit",
        ]  # fmt: skip
        self.process = bench.start(command, env=env)
        self.main = bench.window("photo.*GIMP", 90)
        self.wait(lambda images: images and "layers" in images[0])
        bench.xdo("windowsize", self.main, "1000", "700")

    def state(self):
        return json.loads((self.bench.base / "watch.json").read_text())

    def fresh(self):
        """The documents as they are now, not as they were when last written down."""
        number = self.state()["number"] + 1
        end = time.monotonic() + 20
        while self.state()["number"] <= number:
            assert time.monotonic() < end, "GIMP does not answer"
            time.sleep(0.05)
        return self.state()["images"]

    def wait(self, condition, timeout_s=60):
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            try:
                images = self.state()["images"]
            except (OSError, ValueError):
                images = []
            if condition(images):
                return images
            time.sleep(0.1)
        self.bench.shot("gimp-timeout")
        raise AssertionError(f"not reached within {timeout_s} s: {images}")

    def action(self, label):
        """Run a menu entry through GIMP's own search."""
        xdo = self.bench.xdo
        for _attempt in range(3):
            xdo("windowactivate", "--sync", self.main)
            time.sleep(0.3)
            xdo("key", "slash")
            time.sleep(0.8)
            if xdo("search", "--onlyvisible", "--name", "Search Actions"):
                break
        xdo("type", "--delay", "30", label)
        time.sleep(1.0)
        xdo("key", "Return")

    def open_dialog(self, label, title):
        """The window an entry opens; a key that got lost is pressed again."""
        for _attempt in range(2):
            self.action(label)
            try:
                return self.bench.window(title, 12)
            except AssertionError:
                self.bench.xdo("key", "Escape")
        self.action(label)
        return self.bench.window(title, 30)

    def undo(self):
        self.bench.xdo("windowactivate", "--sync", self.main)
        time.sleep(0.3)
        self.bench.xdo("key", "ctrl+z")

    def close(self):
        (self.bench.base / "watch-stop").touch()
        try:
            self.process.communicate(timeout=20)
        except Exception:
            self.process.kill()
            self.process.communicate()


def photograph():
    from skimage import data

    return Image.fromarray(data.astronaut()[20:260, 110:430])


@pytest.fixture(scope="module")
def gui(bench):
    gui = Gui(bench)
    yield gui
    gui.close()


def test_dialog_preview_run_and_one_undo(gui, bench):
    before = gui.fresh()
    dialog = gui.open_dialog("Enhance for Wall Print", TITLE)
    time.sleep(1.0)
    geometry = window_size(bench, dialog)
    assert geometry[0] <= 1400
    assert geometry[1] <= 1000, "the dialog does not fit on a small screen"
    set_width(bench, dialog, "20")
    # The thumbnail is at the lower left; a click into it makes the spot.
    jobs = finished_jobs(bench)
    bench.xdo("mousemove", "--window", dialog, "80", str(geometry[1] - 310), "click", "1")
    wait_until(lambda: finished_jobs(bench) == jobs + 2, 30)
    time.sleep(1.0)
    bench.shot("gimp-dialog", dialog)
    assert gui.fresh() == before, "dialog or preview changed the document"
    bench.xdo("windowactivate", "--sync", dialog, "key", "alt+e")
    gui.wait(lambda images: images and images[0].get("ppi") == 200.0, 90)
    after = gui.fresh()
    bench.shot("gimp-result")
    image = after[0]
    assert image["size"] == [1575, 1181]
    assert image["ppi"] == 200.0
    assert [layer["size"] for layer in image["layers"]] == [[1575, 1181]] * 2
    gui.undo()
    gui.wait(lambda images: images and len(images[0].get("layers", [])) == 1, 30)
    assert gui.fresh()[0]["layers"] == before[0]["layers"], "one undo step does not restore all"
    assert gui.fresh()[0]["size"] == before[0]["size"]
    assert gui.fresh()[0]["ppi"] == before[0]["ppi"]


def test_last_values_are_used_again(gui, bench):
    """After the test above: 20 cm wide, the height follows."""
    (bench.base / "watch-repeat").write_text("plug-in-wallprint-enhance")
    gui.wait(lambda images: images and images[0].get("ppi") == 200.0, 90)
    image = gui.fresh()[0]
    assert image["size"] == [1575, 1181]
    gui.undo()
    gui.wait(lambda images: images and len(images[0].get("layers", [])) == 1, 30)


def test_sharpen_selection_and_one_undo(gui, bench):
    before = gui.fresh()
    (bench.base / "watch-select").write_text("[60, 40, 120, 90]")
    wait_until(lambda: not (bench.base / "watch-select").exists(), 10)
    dialog = gui.open_dialog("Sharpen Selection for Print", "^Sharpen Selection for Print$")
    time.sleep(0.7)
    bench.shot("gimp-sharpen", dialog)
    bench.xdo("windowactivate", "--sync", dialog, "key", "alt+p")
    old = before[0]["layers"][0]["sha"]
    gui.wait(lambda images: images and images[0]["layers"][0]["sha"] != old, 30)
    after = gui.fresh()[0]
    assert after["size"] == before[0]["size"]
    assert after["channels"] == 0
    gui.undo()
    gui.wait(lambda images: images and images[0]["layers"][0]["sha"] == old, 30)


def test_cancel_leaves_the_document_alone(gui, bench):
    before = gui.fresh()
    dialog = gui.open_dialog("Enhance for Wall Print", TITLE)
    time.sleep(1.0)
    bench.xdo("windowactivate", "--sync", dialog, "key", "alt+e")
    progress = bench.window("^Enhancing", 10)
    wait_until(lambda: bench.server_status()["worker_busy"], 20)
    time.sleep(0.5)
    bench.shot("gimp-progress", progress)
    bench.xdo("windowactivate", "--sync", progress, "key", "Escape")
    began = time.monotonic()
    wait_until(lambda: not bench.xdo("search", "--onlyvisible", "--name", "^Enhancing"), 5)
    assert time.monotonic() - began < 2.0
    wait_until(lambda: not bench.server_status()["worker_busy"], 10)
    assert gui.fresh() == before


def set_width(bench, dialog, centimetres):
    """Alt+D is the mnemonic of the width; the height follows."""
    bench.xdo("windowactivate", "--sync", dialog, "key", "alt+d")
    time.sleep(0.3)
    bench.xdo("key", "ctrl+a")
    bench.xdo("type", "--delay", "30", centimetres)
    bench.xdo("key", "Tab")
    time.sleep(0.5)


def finished_jobs(bench):
    return (bench.state / "server.log").read_text().count(": done in ")


def window_size(bench, window):
    shell = dict(
        line.split("=") for line in bench.xdo("getwindowgeometry", "--shell", window).splitlines()
    )
    return int(shell["WIDTH"]), int(shell["HEIGHT"])


def wait_until(condition, timeout_s):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "not reached in time"
        time.sleep(0.05)
