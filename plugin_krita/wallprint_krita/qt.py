"""The one place that knows which Qt binding this Krita has: PyQt6 (Krita 6) or PyQt5."""

try:
    from PyQt6.QtCore import QByteArray, QLocale, Qt, QTimer, pyqtSignal
    from PyQt6.QtGui import QPainter, QPixmap
    from PyQt6.QtWidgets import (
        QCheckBox,
        QComboBox,
        QDialog,
        QDialogButtonBox,
        QDoubleSpinBox,
        QFormLayout,
        QFrame,
        QGridLayout,
        QGroupBox,
        QHBoxLayout,
        QLabel,
        QMenu,
        QMessageBox,
        QProgressDialog,
        QPushButton,
        QSlider,
        QSpinBox,
        QTextBrowser,
        QToolButton,
        QVBoxLayout,
        QWidget,
    )
except ImportError:
    from PyQt5.QtCore import QByteArray, QLocale, Qt, QTimer, pyqtSignal
    from PyQt5.QtGui import QPainter, QPixmap
    from PyQt5.QtWidgets import (
        QCheckBox,
        QComboBox,
        QDialog,
        QDialogButtonBox,
        QDoubleSpinBox,
        QFormLayout,
        QFrame,
        QGridLayout,
        QGroupBox,
        QHBoxLayout,
        QLabel,
        QMenu,
        QMessageBox,
        QProgressDialog,
        QPushButton,
        QSlider,
        QSpinBox,
        QTextBrowser,
        QToolButton,
        QVBoxLayout,
        QWidget,
    )


def point_of(event):
    """Where a mouse event happened in its widget; Qt 6 calls it differently."""
    return event.position() if hasattr(event, "position") else event.localPos()


__all__ = [
    "QByteArray",
    "QCheckBox",
    "QComboBox",
    "QDialog",
    "QDialogButtonBox",
    "QDoubleSpinBox",
    "QFormLayout",
    "QFrame",
    "QGridLayout",
    "QGroupBox",
    "QHBoxLayout",
    "QLabel",
    "QLocale",
    "QMenu",
    "QMessageBox",
    "QPainter",
    "QPixmap",
    "QProgressDialog",
    "QPushButton",
    "QSlider",
    "QSpinBox",
    "QTextBrowser",
    "QTimer",
    "QToolButton",
    "QVBoxLayout",
    "QWidget",
    "Qt",
    "point_of",
    "pyqtSignal",
]
