"""Translated text: gettext catalogues beside the plug-in, in the language Krita is shown in.

Krita's own `i18n` knows only Krita's catalogues. The language is that of Settings > Switch
Application Language, which Krita makes Qt's default, else the system's.
"""

import gettext
import re
from pathlib import Path

from wallprint_protocol.errors import WallprintError

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


def explain(error):
    """The code's sentence in the user's language, then the particulars."""
    if not isinstance(error, WallprintError):
        return str(error)
    sentence = _(error.sentence)
    if error.code == "BAD_INPUT" or error.message in ("", error.sentence):
        return error.message or sentence
    return f"{sentence}\n{error.message}"


def with_point(text):
    """Numbers in a finished text with the decimal sign of Krita's language."""
    point = QLocale().decimalPoint()
    return re.sub(r"(?<=\d)\.(?=\d)", lambda _match: point, text)


def N_(text):
    """Mark a text for the catalogue."""
    return text
