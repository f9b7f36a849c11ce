"""The last word about a job: what became of it, and what can be done with it now."""

from __future__ import annotations

from .qt import QDialog, QDialogButtonBox, QVBoxLayout
from .texts import _
from .widgets import line

_WIDTH_PX = 420


class EndMessage(QDialog):
    """Text and buttons; does not stop Krita.

    Args:
        text: of one or more lines.
        choices: (text of a button, what it does); the message goes with any.
    """

    def __init__(self, text, choices, parent=None):
        super().__init__(parent)
        self.setWindowTitle(_("Wall Print"))
        self.setMinimumWidth(_WIDTH_PX)
        self.text = text
        words = line()
        words.setText(text)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        close = buttons.button(QDialogButtonBox.StandardButton.Close)
        close.setText(_("Close"))
        close.setDefault(True)
        buttons.rejected.connect(self.reject)
        self.buttons = []
        for title, act in choices:
            button = buttons.addButton(title, QDialogButtonBox.ButtonRole.ActionRole)
            button.setAutoDefault(False)
            button.clicked.connect(lambda _on=False, act=act: self._choose(act))
            self.buttons.append(button)
        column = QVBoxLayout(self)
        column.addWidget(words)
        column.addWidget(buttons)

    def _choose(self, act) -> None:
        self.accept()
        act()
