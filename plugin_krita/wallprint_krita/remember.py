"""The dialogs' values in Krita's own settings (`kritarc`), for each dialog its own."""

from __future__ import annotations

import json
from dataclasses import asdict, fields

from krita import Krita

from wallprint_protocol.print_plan import Settings

_GROUP = "wallprint"
_DEFAULTS = Settings()


def load(dialog: str) -> tuple[Settings, dict]:
    """What the dialog last held, and what it keeps beside the settings.

    A value that cannot be read, of whatever reason, is the default's.
    """
    try:
        values = json.loads(Krita.instance().readSetting(_GROUP, dialog, "{}"))
        kept = {f.name: values[f.name] for f in fields(Settings) if _fits(f.name, values)}
        extra = values.get("extra", {})
        return Settings(**kept), extra if isinstance(extra, dict) else {}
    except (ValueError, TypeError, AttributeError):
        return Settings(), {}


def _fits(name: str, values: dict) -> bool:
    if name not in values:
        return False
    value, default = values[name], getattr(_DEFAULTS, name)
    if isinstance(value, bool) or isinstance(default, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, float):
        return isinstance(value, (int, float))
    if default is None:  # an amount, or automatic
        return value is None or isinstance(value, int)
    return isinstance(value, type(default))


def save(dialog: str, settings: Settings, extra: dict) -> None:
    """Remember."""
    text = json.dumps({**asdict(settings), "extra": extra})
    Krita.instance().writeSetting(_GROUP, dialog, text)
