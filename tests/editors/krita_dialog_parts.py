"""What the scripts about the dialogs share; runs inside Krita."""

from __future__ import annotations

import re

from krita_support import BASE, active, krita, state

try:
    from PyQt6.QtWidgets import QAbstractButton, QComboBox, QGroupBox, QLabel
except ImportError:
    from PyQt5.QtWidgets import QAbstractButton, QComboBox, QGroupBox, QLabel


def photo():
    """The test's photograph, open and active."""
    krita.setBatchmode(True)
    document = krita.openDocument(str(BASE / "photo.png"))
    krita.setBatchmode(False)
    krita.activeWindow().addView(document)
    yield active(document, document.rootNode().childNodes()[0])
    return document


def opened(action="wallprint_enhance"):
    """The dialog, through its menu entry."""
    state.extension.dialog = None
    krita.action(action).trigger()
    yield lambda: state.extension.dialog is not None and state.extension.dialog.isVisible()
    yield 0.3
    return state.extension.dialog


def mnemonics(dialog):
    """Letter -> texts of the visible widgets that answer to it.

    Not of the buttons whose text has none: KDE's style gives them one, anew for each tab.
    """
    letters = {}
    given = [b for b in dialog._buttons.buttons() if b is not dialog.ok_button]
    for kind in (QLabel, QAbstractButton):
        for widget in dialog.findChildren(kind):
            if not widget.isVisible() or (kind is QLabel and widget.buddy() is None):
                continue
            if widget in given:
                continue
            letter = re.search(r"&(\w)", widget.text())
            if letter:
                letters.setdefault(letter[1].lower(), []).append(widget.text())
    return letters


def check_page(dialog):
    """It fits on a screen of 1366 x 768, nothing overlaps, and no two widgets share a letter."""
    assert dialog.width() <= 1366, dialog.width()
    assert dialog.height() <= 720, dialog.height()  # a panel and the window's title besides
    needed = dialog.layout().totalHeightForWidth(dialog.width())
    assert dialog.height() >= needed, f"{dialog.height()} px high, {needed} needed"
    shared = {k: texts for k, texts in mnemonics(dialog).items() if len(texts) > 1}
    assert not shared, shared


def tabs(dialog):
    """Show one tab after the other; each must fit."""
    for index in range(dialog._tabs.count()):
        dialog._tabs.setCurrentIndex(index)
        yield 0.2
        check_page(dialog)
        check_nothing_is_cut_off(dialog)
    dialog._tabs.setCurrentIndex(0)


def check_nothing_is_cut_off(dialog):
    """Labels and buttons have the room that their text needs."""
    for kind in (QLabel, QAbstractButton):
        for widget in dialog.findChildren(kind):
            plain = kind is not QLabel or not widget.wordWrap()
            if widget.isVisible() and plain and widget.text():
                needed = widget.minimumSizeHint().width()
                assert widget.width() >= needed, (widget.text(), widget.width(), needed)


def all_texts(dialog):
    """Of everything that shows a text."""
    texts = [dialog.windowTitle()]
    for kind in (QLabel, QAbstractButton):
        texts += [widget.text() for widget in dialog.findChildren(kind)]
    texts += [box.title() for box in dialog.findChildren(QGroupBox)]
    for box in dialog.findChildren(QComboBox):
        texts += [box.itemText(i) for i in range(box.count())]
    return [text for text in texts if text]
