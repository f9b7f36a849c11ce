"""The plug-in in GIMP with its windows: dialog, preview, progress, cancel, one undo step."""

from __future__ import annotations

import time

import pytest
from gimp_gui import (
    PROGRESS_TITLE,
    Gui,
    cancel_ms,
    finished_jobs,
    photograph,
    set_width,
)

__all__ = ["photograph"]  # Krita's tests use the same picture

CANCEL_MS = 200  # the promise; what a busy machine adds is in the test


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
    for key in ("layers", "size", "ppi", "guides", "channels"):
        assert after[key] == before[0][key], f"one undo step does not restore {key}"


def test_dialog_preview_run_and_one_undo(gui, bench):
    before = gui.ask()
    dialog = gui.open_enhance()
    width, height = bench.geometry(dialog)
    assert (width <= 1400, height <= 1000) == (True, True), "it does not fit on a small screen"
    set_width(bench, dialog, "20")
    show_spot(bench, dialog)
    bench.still(dialog)
    bench.shot("gimp-dialog", dialog)
    assert gui.ask() == before, "dialog or preview changed the document"
    gui.close_dialog(dialog, "alt+e")
    after = gui.wait(lambda images: images[0]["ppi"] == 200.0, 120)
    bench.press_seen(gui.main, "ctrl+shift+j")  # the whole picture in the window
    bench.shot("gimp-result", gui.main)
    assert after[0]["size"] == [1575, 1181]
    assert sizes(after[0]) == [[1575, 1181]] * 2
    assert_undone(gui, before)


def show_spot(bench, dialog):
    """Click into the thumbnail, at the head of the last column: two small jobs."""
    jobs = finished_jobs(bench)
    x = bench.geometry(dialog)[0] - 352
    for _attempt in range(5):
        bench.xdo("windowactivate", "--sync", dialog)
        bench.xdo("mousemove", "--window", dialog, str(x), "92", "click", "1")
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
    bench.press_seen(dialog, "alt+v")
    bench.shot("gimp-dialog-edges", dialog)
    width, height = bench.geometry(dialog)
    assert (width <= 1400, height <= 1000) == (True, True), "unfolded it does not fit"
    gui.close_dialog(dialog, "alt+e")
    after = gui.wait(lambda images: images[0]["ppi"] == 200.0, 120)
    edge, trim = 315, (787, 590)  # 40 mm and 10 cm at 200 ppi
    assert after[0]["size"] == [trim[0] + 2 * edge, trim[1] + 2 * edge]
    wanted = [f"v {edge}", f"v {edge + trim[0]}", f"h {edge}", f"h {edge + trim[1]}"]
    assert after[0]["guides"] == sorted(wanted), "the guides are not where the print ends"
    assert_undone(gui, before)
    again = gui.ask(do="repeat", timeout_s=120)
    assert again[0]["size"] == after[0]["size"], "the edges are not among the last values"
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
    jobs = finished_jobs(bench)
    dialog = gui.open_enhance()
    bench.press_seen(dialog, "alt+v")
    bench.press_seen(dialog, "alt+z", "Tab", "Tab", "Tab")  # tile, printer, device, the button
    bench.press(dialog, "space", lambda: finished_jobs(bench) > jobs, patience_s=20)
    bench.still(dialog)
    bench.shot("gimp-dialog-connection", dialog)
    gui.close_dialog(dialog)


def test_sharpen_selection_and_one_undo(gui, bench):
    before = gui.ask(do="select", box=[60, 40, 120, 90])
    dialog = gui.open_sharpen()
    bench.shot("gimp-sharpen", dialog)
    gui.close_dialog(dialog, "alt+p")
    old = before[0]["layers"][0]["sha"]
    after = gui.wait(lambda images: images[0]["layers"][0]["sha"] != old, 60)[0]
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
    """GIMP reports doubles on stderr; after the dialogs of the tests above."""
    assert "mnemonic" in gui.log(), "GIMP no longer says anything about them"
    assert not gui.doubled_mnemonics()
