"""The German texts reach GIMP's dialog. A GIMP of its own, after the other is closed."""

from __future__ import annotations

from gimp_gui import Gui


def test_german_dialog(bench):
    gui = Gui(bench, "de_DE")
    try:
        dialog = gui.open_enhance("^Für Wandbild verbessern$")
        width, height = bench.geometry(dialog)
        assert (width <= 1366, height <= 700) == (True, True), "it does not fit"
        bench.shot("gimp-dialog-german", dialog)
        for key, name in (("alt+i", "edges"), ("alt+w", "advanced")):
            bench.press_seen(dialog, key)
            bench.shot(f"gimp-dialog-german-{name}", dialog)
        bench.press_seen(dialog, "alt+b", "ctrl+a", "5", "0", "0", "0", "Tab")
        bench.shot("gimp-dialog-german-refusal", dialog)
        gui.close_dialog(dialog)
        proof = gui.open_proof("^Probedruck machen$")
        bench.shot("gimp-proof-german", proof)
        gui.close_dialog(proof)
        assert not gui.doubled_mnemonics()
    finally:
        gui.close()
