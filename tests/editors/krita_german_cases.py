"""Cases inside a Krita switched to German: every text of both dialogs, and the messages."""

from __future__ import annotations

import gettext
import os
import re
import sys

sys.path.insert(0, os.environ["WALLPRINT_TEST_HERE"])

from krita_dialog_parts import (
    all_texts,
    check_nothing_is_cut_off,
    check_page,
    opened,
    photo,
    tabs,
)
from krita_support import SHOTS, close_messages, krita, run_cases, run_job, state

from wallprint_protocol.print_plan import Settings


def untranslated(texts):
    """Those that are an English text of the catalogue."""
    import wallprint_krita.texts as texts_module

    folder = os.path.join(os.path.dirname(texts_module.__file__), "locale")
    german = gettext.translation("wallprint", folder, ["de"])._catalog
    english = {k.replace("&", "") for k, v in german.items() if k and k != v}
    return [text for text in texts if text.replace("&", "") in english]


def case_enhance_in_german():
    yield from photo()
    action = krita.action("wallprint_enhance")
    assert action.text().replace("&", "") == "Für Wandbild verbessern …", action.text()
    dialog = yield from opened()
    assert dialog.windowTitle() == "Für Wandbild verbessern"
    yield from tabs(dialog)
    texts = all_texts(dialog)
    assert not untranslated(texts), untranslated(texts)
    assert dialog.settings().ppi == 222.0, "remembered from another start of Krita"
    assert dialog.settings().medium == "glossy"
    assert re.search(r"\d+,\d MP", dialog._summary.text("pixels"))
    dialog.grab().save(str(SHOTS / "krita-dialog-de.png"))
    dialog.show_help()
    assert dialog._help.windowTitle() == "Wandbild"
    dialog._help.close()
    dialog.reject()


def case_proof_in_german():
    yield from photo()
    dialog = yield from opened("wallprint_proof")
    assert dialog.windowTitle() == "Probedruck machen"
    check_page(dialog)
    check_nothing_is_cut_off(dialog)
    assert not untranslated(all_texts(dialog)), untranslated(all_texts(dialog))
    assert re.search(r"\d+,\d cm bei \d+ ppi", dialog._how.text()), dialog._how.text()
    dialog.grab().save(str(SHOTS / "krita-proof-dialog-de.png"))
    dialog.reject()


def case_refusals_in_german():
    """The sentences of the plan itself, too."""
    yield from photo()
    dialog = yield from opened()
    dialog._width.setValue(2000.0)
    assert "Wählen Sie" in dialog.refusal_line.text(), dialog.refusal_line.text()
    dialog.reject()


def case_sharpen_in_german():
    yield from photo()
    dialog = yield from opened("wallprint_sharpen_selection")
    check_page(dialog)
    assert not untranslated(all_texts(dialog)), untranslated(all_texts(dialog))
    assert dialog.refusal_line.text().startswith("Nichts ist ausgewählt")
    dialog.reject()


def case_messages_in_german():
    yield from photo()
    yield from run_job(Settings(width=400.0, unit="px", repair=0, deblur=0))
    assert state.extension.last_message == (
        "Der Druck ist da. 2-mal Rückgängig nimmt ihn zurück."
    ), state.extension.last_message
    texts = [button.text().replace("&", "") for button in state.extension.message.buttons]
    assert texts == ["Bericht zeigen", "Für den Druck speichern …"], texts
    state.extension.enhance(Settings(source="selection"))
    yield 0.2
    assert close_messages() == [
        "Nichts ist ausgewählt; treffen Sie eine Auswahl oder nehmen Sie die ganze Ebene."
    ]


run_cases(extension, globals())  # noqa: F821 - given by the plug-in
