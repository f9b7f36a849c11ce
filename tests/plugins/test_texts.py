"""The German catalogue is complete, and its texts can be used where the English ones are."""

from __future__ import annotations

import ast
import gettext
import io
import re
import string
from pathlib import Path

import pytest

from wallprint_protocol.errors import CODES
from wallprint_server.install import catalogues

ROOT = Path(__file__).parents[2]
GERMAN = catalogues.read_po((ROOT / "shared" / "po" / "de.po").read_text("utf-8"))
SOURCES = [
    *(ROOT / "plugin_gimp").rglob("*.py"),
    *(ROOT / "plugin_krita").rglob("*.py"),
    *(ROOT / "shared" / "wallprint_protocol").rglob("*.py"),
]
# What marks a text: gettext's names, and the errors whose sentences are said in any language.
MARKS = ("_", "N_", "PrintSizeError", "PresetsError", "Refusal")


def texts(path):
    """Every text that the file marks for translation."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        if node.func.id in MARKS and node.args and isinstance(node.args[0], ast.Constant):
            yield node.args[0].value


def all_texts():
    found = {text for path in SOURCES for text in texts(path)}
    found |= {info.sentence for info in CODES.values()}
    return found


def fields(text):
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)


def test_every_text_is_translated():
    missing = sorted(all_texts() - set(GERMAN))
    assert not missing, "\n".join(missing)


def test_no_text_is_left_over():
    left = sorted(set(GERMAN) - all_texts() - {"", "Starting the wallprint server ..."})
    assert not left, "\n".join(left)


def test_placeholders_and_mnemonics_survive():
    for english, german in GERMAN.items():
        if not english:
            continue
        assert fields(english) == fields(german), english
        for mark in ("_", "&"):
            has = re.search(rf"{mark}\w", english) is not None and "{" not in english
            assert (re.search(rf"{mark}\w", german) is not None) == has or "{" in english, english


# What only the dialog of the print has, and only that of its proof.
ONLY_PRINT, ONLY_PROOF = {"_Enhance", "Resul_t"}, {"Mak_e", "In all s_trengths"}


@pytest.mark.parametrize("left_out", [ONLY_PROOF, ONLY_PRINT])
def test_mnemonics_of_gimps_dialogs_differ(left_out):
    package = ROOT / "plugin_gimp" / "wallprint-gimp" / "wallprint_gimp"
    labels = set()
    for name in ("arguments.py", "dialog.py", "advanced.py", "edges_tab.py"):
        labels |= {text for text in texts(package / name) if re.search(r"_\w", text)}
    assert left_out <= labels
    labels -= {"Lon_g side of the layer on paper (mm)", *left_out}  # the first: in no such dialog
    assert len(labels) == 17
    for translate in (str, GERMAN.__getitem__):
        keys = sorted(re.search(r"_(\w)", translate(label))[1].lower() for label in labels)
        assert len(set(keys)) == len(keys), keys
        if translate is str:  # GIMP's own buttons: Load, Save, Help, Reset, Cancel, OK
            assert not set(keys) & set("lshrco"), keys


def test_german_is_seen_by_gettext():
    mo = gettext.GNUTranslations(io.BytesIO(catalogues.to_mo(GERMAN)))
    assert mo.gettext("Enhance for _Wall Print…") == "Für _Wandbild verbessern …"
