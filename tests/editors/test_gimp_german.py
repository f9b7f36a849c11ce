"""The German texts reach GIMP's menu and dialog. A GIMP of its own, after the other is closed."""

from __future__ import annotations

import time

from test_gimp_gui import Gui


def test_german_dialog(bench):
    gui = Gui(bench, "de_DE")
    try:
        dialog = gui.open_dialog("Wandbild verbessern", "Wandbild verbessern$")
        time.sleep(1.0)
        bench.shot("gimp-dialog-german", dialog)
        bench.xdo("windowactivate", "--sync", dialog, "key", "Escape")
    finally:
        gui.close()
