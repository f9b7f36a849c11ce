"""Translated text. Knows nothing of what it says."""

from __future__ import annotations

import locale
import string

from gi.repository import GLib

from wallprint_protocol.errors import WallprintError

DOMAIN = "wallprint"


def _(text: str) -> str:
    """The text in the user's language (catalogue in `locale/`, found by GIMP)."""
    return GLib.dgettext(DOMAIN, text)


def N_(text: str) -> str:
    """Mark a text for the catalogue."""
    return text


class _Local(string.Formatter):
    """Numbers with the decimal point of the user's language."""

    def format_field(self, value, spec):
        """As the standard's, but for floats."""
        text = super().format_field(value, spec)
        point = locale.localeconv()["decimal_point"]
        return text.replace(".", str(point)) if isinstance(value, float) else text


def fill(text: str, **values: object) -> str:
    """`text` with its fields filled."""
    return _Local().format(text, **values)


def explain(error: Exception) -> str:
    """What was wrong: the code's sentence in the user's language, then the particulars."""
    if not isinstance(error, WallprintError):
        return str(error)
    sentence = _(error.sentence)
    if error.code == "BAD_INPUT" or error.message in ("", error.sentence):
        return error.message or sentence
    return f"{sentence}\n{error.message}"
