"""Translated text. Knows nothing of what it says."""

from __future__ import annotations

import locale

from gi.repository import GLib

from wallprint_protocol import plan_lines
from wallprint_protocol.words import Words

DOMAIN = "wallprint"


def _(text: str) -> str:
    """The text in the user's language (catalogue in `locale/`, found by GIMP)."""
    return GLib.dgettext(DOMAIN, text)


def N_(text: str) -> str:
    """Mark a text for the catalogue."""
    return text


def words() -> Words:
    """The user's language, with its decimal sign."""
    return Words(_, str(locale.localeconv()["decimal_point"]))


def fill(text: str, **values: object) -> str:
    """The text in the user's language with its fields filled."""
    return words().fill(text, **values)


def choices(texts: dict[str, str]) -> dict[str, str]:
    """Choices of `plan_lines` in the user's language."""
    return {value: _(text) for value, text in texts.items()}


def explain(error: Exception) -> str:
    """What was wrong and what to do now, in the user's language as far as we know it there."""
    return plan_lines.explain(words(), error)
