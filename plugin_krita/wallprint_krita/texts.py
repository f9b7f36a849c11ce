"""Translated text: gettext catalogues beside the plug-in, in the language Krita is shown in.

Krita's own `i18n` knows only Krita's catalogues. The language is that of Settings > Switch
Application Language, which Krita makes Qt's default, else the system's.
"""

import gettext
from pathlib import Path

from wallprint_protocol import plan_lines
from wallprint_protocol.words import Words

from .qt import QLocale

DOMAIN = "wallprint"
_catalogue = None


def _(text):
    """The text in Krita's language."""
    global _catalogue
    if _catalogue is None:
        languages = [tag.replace("-", "_") for tag in QLocale().uiLanguages()]
        languages += [tag.split("_")[0] for tag in languages]
        folder = Path(__file__).resolve().parent / "locale"
        _catalogue = gettext.translation(DOMAIN, folder, languages, fallback=True)
    return _catalogue.gettext(text)


def language():
    """Two letters, as "de"; "en" when there is no catalogue for Krita's language."""
    _("")
    return _catalogue.info().get("language", "en")


def words():
    """How Krita's language says the sentences that both editors share."""
    return Words(_, QLocale().decimalPoint())


def explain(error):
    """What was wrong, in the user's language."""
    return plan_lines.explain(words(), error).removeprefix("params: ")


def N_(text):
    """Mark a text for the catalogue."""
    return text
