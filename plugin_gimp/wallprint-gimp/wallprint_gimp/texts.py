"""Translated text. Knows nothing of what it says."""

from __future__ import annotations

from gi.repository import GLib

DOMAIN = "wallprint"


def _(text: str) -> str:
    """The text in the user's language (catalogue in `locale/`, found by GIMP)."""
    return GLib.dgettext(DOMAIN, text)


def N_(text: str) -> str:
    """Mark a text for the catalogue."""
    return text
