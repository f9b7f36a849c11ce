"""The plug-in in GIMP with its windows: dialog, preview, progress, cancel, one undo step."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from gimp_gui import (
    CLOSING_TITLE,
    PROGRESS_TITLE,
    PROOF_CLOSING_TITLE,
    Gui,
    cancel_ms,
    finished_jobs,
    opened_file,
    photograph,
    set_width,
)

from wallprint_protocol import client

__all__ = ["photograph"]  # Krita's tests use the same picture

CANCEL_MS = 200  # the promise; what a busy machine adds is in the test
SCREEN = (1366, 700)  # what a small laptop's desktop leaves of 1366 x 768


@pytest.fixture(scope="module")
def gui(bench):
    gui = Gui(bench)
    yield gui
    gui.close()


def sizes(image):
    return [layer["size"] for layer in image["layers"]]


def assert_undone(gui, before):
    """One step of undo brings everything back."""
    after = gui.undo()[0]
    for key in ("layers", "size", "ppi", "guides", "channels", "passport"):
        assert after[key] == before[0][key], f"one undo step does not restore {key}"


def test_dialog_preview_run_and_one_undo(gui, bench):
    before = gui.ask()
    dialog = gui.open_enhance()
    width, height = bench.geometry(dialog)
    assert (width <= SCREEN[0], height <= SCREEN[1]) == (True, True), "it does not fit"
    set_width(bench, dialog, "20")
    show_spot(bench, dialog)
    bench.still(dialog)
    bench.shot("gimp-dialog", dialog)
    assert gui.ask() == before, "dialog or preview changed the document"
    gui.close_dialog(dialog, "alt+e")
    after = gui.wait(lambda images: images[0]["ppi"] == 200.0, 120)
    message = bench.window(CLOSING_TITLE, 30)
    bench.still(message)
    bench.shot("gimp-closing", message)
    bench.press(message, "alt+r", lambda: opened_file(bench), patience_s=90, attempts=1)
    bench.still(message)
    bench.shot("gimp-closing-report", message)
    page = Path(opened_file(bench).removeprefix("file://"))
    assert page.parent == bench.base / "home" / "wallprint"
    assert page.read_text("utf-8").count("data:image/jpeg") >= 6
    gui.close_message()
    assert after[0]["passport"]
    bench.press_seen(gui.main, "ctrl+shift+j")  # the whole picture in the window
    bench.shot("gimp-result", gui.main)
    assert after[0]["size"] == [1575, 1181]
    assert sizes(after[0]) == [[1575, 1181]] * 2
    assert_undone(gui, before)


def show_spot(bench, dialog):
    """Click into the thumbnail, at the head of the last column: two small jobs."""
    jobs = finished_jobs(bench)
    x = bench.geometry(dialog)[0] - 372
    for _attempt in range(5):
        bench.xdo("windowactivate", "--sync", dialog)
        bench.xdo("mousemove", "--window", dialog, str(x), "130", "click", "1")
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and finished_jobs(bench) == jobs:
            time.sleep(0.05)
        if finished_jobs(bench) > jobs:
            break
    bench.wait_until(lambda: finished_jobs(bench) >= jobs + 2, 60, "no spot was computed")


def test_last_values_are_used_again(gui):
    """After the test above: 20 cm wide, the height follows."""
    before = gui.ask()
    after = gui.ask(do="repeat", timeout_s=120)
    assert after[0]["size"] == [1575, 1181]
    assert_undone(gui, before)


@pytest.mark.parametrize(
    "mode",
    ["U16_NON_LINEAR", "U32_LINEAR", "HALF_LINEAR", "FLOAT_NON_LINEAR", "gray", "indexed", "alpha"],
)
def test_dialog_opens_for_every_kind_of_picture(gui, bench, mode):
    before = gui.ask()
    gui.ask(do="mode", mode=mode)
    dialog = gui.open_enhance()
    bench.shot(f"gimp-dialog-{mode}", dialog)
    gui.close_dialog(dialog)
    assert_undone(gui, before)


def test_edges_chosen_in_the_dialog_have_their_usual_width(gui, bench):
    before = gui.ask()
    dialog = gui.open_enhance()
    set_width(bench, dialog, "10")
    bench.press_seen(dialog, "alt+f", "Tab", "Down", "Down")  # fit, then edges: gallery wrap
    bench.press_seen(dialog, "alt+u")
    bench.shot("gimp-dialog-edges", dialog)
    width, height = bench.geometry(dialog)
    assert (width <= SCREEN[0], height <= SCREEN[1]) == (True, True), "with edges it does not fit"
    gui.close_dialog(dialog, "alt+e")
    after = gui.wait(lambda images: images[0]["ppi"] == 200.0, 120)
    gui.close_message()
    edge, trim = 315, (787, 590)  # 40 mm and 10 cm at 200 ppi
    assert after[0]["size"] == [trim[0] + 2 * edge, trim[1] + 2 * edge]
    wanted = [f"v {edge}", f"v {edge + trim[0]}", f"h {edge}", f"h {edge + trim[1]}"]
    assert after[0]["guides"] == sorted(wanted), "the guides are not where the print ends"
    assert_undone(gui, before)
    again = gui.ask(do="repeat", timeout_s=120)
    assert again[0]["size"] == after[0]["size"], "the edges are not among the last values"
    assert_undone(gui, before)


def test_halo_of_the_dialog_reaches_the_print_and_is_remembered(gui, bench):
    before = gui.ask()
    dialog = gui.open_enhance()
    set_width(bench, dialog, "10")
    bench.press_seen(dialog, "alt+u", "Tab", "ctrl+a", "0", "period", "3", "5", "Tab")
    bench.press_seen(dialog, "ctrl+a", "0", "period", "0", "5", "Tab")
    bench.still(dialog)
    bench.shot("gimp-dialog-halo", dialog)
    width, height = bench.geometry(dialog)
    assert (width <= SCREEN[0], height <= SCREEN[1]) == (True, True), "it does not fit"
    gui.close_dialog(dialog, "alt+e")
    after = gui.wait(lambda images: images[0]["ppi"] == 200.0, 120)
    gui.close_message()
    options = after[0]["layers"][0]["options"]
    assert (options["halo_mm"], options["spread_mm"]) == (0.35, 0.05)
    assert_undone(gui, before)
    again = gui.ask(do="repeat", timeout_s=120)
    options = again[0]["layers"][0]["options"]
    assert (options["halo_mm"], options["spread_mm"]) == (0.35, 0.05), "not among the last values"
    assert_undone(gui, before)


def test_replaced_layer_comes_back_with_one_undo(gui):
    before = gui.ask()
    after = gui.ask(
        do="run", result="replace", width=640.0, unit="px", edges="bleed", repair=0, timeout_s=120
    )
    assert [layer["name"] for layer in after[0]["layers"]] == [before[0]["layers"][0]["name"]]
    assert after[0]["layers"][0]["id"] != before[0]["layers"][0]["id"]
    assert sizes(after[0]) == [[640 + 2 * 24, 480 + 2 * 24]]
    assert len(after[0]["guides"]) == 4
    assert_undone(gui, before)


def test_connection_test_answers(gui, bench):
    dialog = gui.open_enhance()
    jobs = finished_jobs(bench)
    bench.press_seen(dialog, "alt+v")
    bench.press_seen(dialog, "alt+z", "Tab", "Tab")  # tile, device, the button
    bench.press(dialog, "space", lambda: finished_jobs(bench) > jobs, patience_s=20)
    bench.still(dialog)
    bench.shot("gimp-dialog-connection", dialog)
    gui.close_dialog(dialog)


def test_proof_sheet(gui, bench):
    """Written into the home folder, where there is no folder for documents; nothing changes."""
    before = gui.ask()
    dialog = gui.open_proof()
    set_width(bench, dialog, "20")
    bench.shot("gimp-proof", dialog)
    width, height = bench.geometry(dialog)
    assert (width <= SCREEN[0], height <= SCREEN[1]) == (True, True), "it does not fit"
    gui.close_dialog(dialog, "alt+e")
    message = bench.window(PROOF_CLOSING_TITLE, 120)
    bench.still(message)
    bench.shot("gimp-proof-closing", message)
    for suffix in ("pdf", "tif"):
        assert (bench.base / "home" / f"photo_proof.{suffix}").stat().st_size > 10_000
    gui.close_message(PROOF_CLOSING_TITLE)
    assert gui.settled() == before


def test_cancelled_proof_leaves_nothing(gui, bench):
    """The program ends, its job with it; no sheet is written, and none that is there is touched."""
    home = bench.base / "home"
    before = {path: path.stat().st_mtime_ns for path in home.glob("*proof*")}
    dialog = gui.open_proof()
    set_width(bench, dialog, "90")
    gui.close_dialog(dialog, "alt+e")
    progress = bench.window("^Making the proof sheet$", 30)
    with client.connect(bench.state, start=False) as link:
        bench.wait_until(lambda: link.status()["jobs"].get("running"), 90, "the job does not run")
        gui.close_dialog(progress)
        bench.wait_until(lambda: not link.status()["jobs"], 10, "the server was not told")
    assert {path: path.stat().st_mtime_ns for path in home.glob("*proof*")} == before
    assert not bench.windows(PROOF_CLOSING_TITLE)


def test_sharpen_selection_and_one_undo(gui, bench):
    before = gui.ask(do="select", box=[60, 40, 120, 90])
    dialog = gui.open_sharpen()
    bench.shot("gimp-sharpen", dialog)
    gui.close_dialog(dialog, "alt+p")
    old = before[0]["layers"][0]["sha"]
    after = gui.wait(lambda images: images[0]["layers"][0]["sha"] != old, 60, pixels=True)[0]
    assert after["size"] == before[0]["size"]
    assert after["channels"] == 0
    assert_undone(gui, before)
    gui.ask(do="select-none")


def test_cancel_reaches_the_server_at_once(gui, bench):
    before = gui.ask()
    dialog = gui.open_enhance()
    set_width(bench, dialog, "100")
    gui.close_dialog(dialog, "alt+e")
    progress = bench.window(PROGRESS_TITLE, 30)
    took = cancel_ms(bench, progress)
    print(f"cancel: {took:.0f} ms from the key to the server")
    assert took < 2 * CANCEL_MS
    bench.wait_until(lambda: not bench.windows(PROGRESS_TITLE), 5, "the window stays")
    bench.wait_until(lambda: not bench.server_status()["worker_busy"], 30, "the worker goes on")
    assert gui.settled() == before


def test_mnemonics_are_unique(gui):
    """GIMP reports those of its own buttons on stderr; after the dialogs of the tests above."""
    assert not gui.doubled_mnemonics()
