"""Small parts of the dialogs: choices, lengths, amounts with a slider. Know nothing of prints."""

from __future__ import annotations

from .qt import (
    QComboBox,
    QDoubleSpinBox,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QSlider,
    QSpinBox,
    Qt,
    QWidget,
    pyqtSignal,
)
from .texts import _

AUTOMATIC = -1


def choice(options, value) -> QComboBox:
    """A box of {value: text}."""
    box = QComboBox()
    for nick, text in options.items():
        box.addItem(_(text), nick)
    choose(box, value)
    return box


def choose(box, value) -> None:
    """Show this value; where it is none of the box's, it goes on showing what it does."""
    index = box.findData(value)
    if index >= 0:
        box.setCurrentIndex(index)


class Number(QDoubleSpinBox):
    """A number without trailing zeros; 0 may read as a word."""

    def __init__(self, high, *, suffix="", decimals=3, zero=""):
        super().__init__()
        self.setRange(0.0, high)
        self.setDecimals(decimals)
        self.setSuffix(suffix)
        self.setKeyboardTracking(False)
        if zero:
            self.setSpecialValueText(zero)

    def textFromValue(self, value):
        """As "37.5"."""
        text = super().textFromValue(value)
        point = self.locale().decimalPoint()
        return text.rstrip("0").rstrip(point) if point in text else text


class Amount(QWidget):
    """0..100 by slider or number; the lowest place reads "automatic" and is None."""

    valueChanged = pyqtSignal()

    def __init__(self):
        super().__init__()
        self._slider = QSlider(Qt.Orientation.Horizontal)
        self._number = QSpinBox()
        for part in (self._slider, self._number):
            part.setRange(AUTOMATIC, 100)
            part.setSingleStep(5)
        self._number.setSpecialValueText(_("automatic"))
        self._slider.valueChanged.connect(self._number.setValue)
        self._number.valueChanged.connect(self._slider.setValue)
        self._number.valueChanged.connect(lambda _value: self.valueChanged.emit())
        self.setFocusProxy(self._number)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider, 1)
        row.addWidget(self._number)

    def value(self):
        """0..100, or None for automatic."""
        value = self._number.value()
        return None if value == AUTOMATIC else value

    def setValue(self, value) -> None:
        """Likewise."""
        self._number.setValue(AUTOMATIC if value is None else value)


def line() -> QLabel:
    """A line of text that follows the values, as long as it needs to be."""
    label = QLabel()
    label.setWordWrap(True)
    return label


def labelled(text, widget) -> QLabel:
    """A label whose mnemonic leads to the widget."""
    label = QLabel(text)
    label.setBuddy(widget)
    return label


def in_row(*widgets) -> QWidget:
    """Side by side, the first one wide; its label's mnemonic leads to it."""
    holder = QWidget()
    row = QHBoxLayout(holder)
    row.setContentsMargins(0, 0, 0, 0)
    for number, widget in enumerate(widgets):
        row.addWidget(widget, 0 if number else 1)
    holder.setFocusProxy(widgets[0])
    holder.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    return holder


def group(title, layout) -> QGroupBox:
    """A titled frame around a layout."""
    box = QGroupBox(title)
    box.setLayout(layout)
    return box
