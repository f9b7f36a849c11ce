"""Translated text: gettext catalogues beside the plug-in, in the language Krita is shown in."""

import gettext
from pathlib import Path

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


def N_(text):
    """Mark a text for the catalogue."""
    return text
