"""The German texts reach GIMP's dialog. A GIMP of its own, after the other is closed."""

from __future__ import annotations

from gimp_gui import Gui


def test_german_dialog(bench):
    gui = Gui(bench, "de_DE")
    try:
        dialog = gui.open_enhance("^Für Wandbild verbessern$")
        bench.press_seen(dialog, "alt+w")
        width, height = bench.geometry(dialog)
        assert (width <= 1400, height <= 1000) == (True, True), "it does not fit"
        bench.shot("gimp-dialog-german", dialog)
        gui.close_dialog(dialog)
        assert not gui.doubled_mnemonics()
    finally:
        gui.close()
