"""Translations: reads gettext's .po text and writes the .mo file that GIMP and Python load.

Only what our catalogues use: msgid, msgstr, continued strings, comments. No plural forms.
"""

from __future__ import annotations

import ast
import struct
from pathlib import Path

_MO_MAGIC = 0x950412DE


def read_po(text: str) -> dict[str, str]:
    """Message -> translation; the untranslated and the fuzzy ones are left out.

    Raises:
        ValueError: a line that this reader does not know.
    """
    messages: dict[str, str] = {}
    entry = {"msgid": "", "msgstr": ""}
    field, fuzzy = "", False

    def finish() -> None:
        if entry["msgstr"] and not fuzzy:
            messages[entry["msgid"]] = entry["msgstr"]

    for number, raw in enumerate([*text.splitlines(), 'msgid ""'], 1):
        line = raw.strip()
        if line.startswith("#,") and "fuzzy" in line:
            finish()
            entry, field, fuzzy = {"msgid": "", "msgstr": ""}, "", True
        elif not line or line.startswith("#"):
            continue
        elif line.startswith("msgid "):
            if field == "msgstr":
                finish()
                fuzzy = False
            entry, field = {"msgid": _string(line[6:], number), "msgstr": ""}, "msgid"
        elif line.startswith("msgstr "):
            entry["msgstr"], field = _string(line[7:], number), "msgstr"
        elif line.startswith('"') and field:
            entry[field] += _string(line, number)
        else:
            raise ValueError(f"line {number} of the catalogue: {line!r}")
    return messages


def _string(quoted: str, number: int) -> str:
    try:
        value = ast.literal_eval(quoted)
    except (SyntaxError, ValueError):
        value = None
    if not isinstance(value, str):
        raise ValueError(f"line {number} of the catalogue: {quoted!r} is not a string")
    return value


def to_mo(messages: dict[str, str]) -> bytes:
    """The binary form (GNU gettext manual, "The Format of GNU MO Files")."""
    pairs = sorted((k.encode(), v.encode()) for k, v in messages.items())
    start = 28 + 16 * len(pairs)
    blobs, tables = b"", []
    for column in (0, 1):
        for pair in pairs:
            tables += [len(pair[column]), start + len(blobs)]
            blobs += pair[column] + b"\0"
    count = len(pairs)
    head = struct.pack("<7I", _MO_MAGIC, 0, count, 28, 28 + 8 * count, 0, start)
    return head + struct.pack(f"<{len(tables)}I", *tables) + blobs


def compile_all(po_folder: Path) -> dict[str, bytes]:
    """Language -> the .mo file's bytes, for each `<language>.po`."""
    return {
        file.stem: to_mo(read_po(file.read_text("utf-8")))
        for file in sorted(po_folder.glob("*.po"))
    }
