"""The one place that knows which Qt binding this Krita has: PyQt6 (Krita 6) or PyQt5."""

try:
    from PyQt6.QtCore import QByteArray, QLocale, QStandardPaths, Qt, QTimer, QUrl, pyqtSignal
    from PyQt6.QtGui import QColor, QDesktopServices, QPainter, QPixmap
    from PyQt6.QtWidgets import (
        QCheckBox,
        QColorDialog,
        QComboBox,
        QDialog,
        QDialogButtonBox,
        QDoubleSpinBox,
        QFileDialog,
        QFormLayout,
        QFrame,
        QGridLayout,
        QGroupBox,
        QHBoxLayout,
        QLabel,
        QLineEdit,
        QMenu,
        QMessageBox,
        QProgressDialog,
        QPushButton,
        QSlider,
        QSpinBox,
        QTabWidget,
        QTextBrowser,
        QVBoxLayout,
        QWidget,
    )
except ImportError:
    from PyQt5.QtCore import QByteArray, QLocale, QStandardPaths, Qt, QTimer, QUrl, pyqtSignal
    from PyQt5.QtGui import QColor, QDesktopServices, QPainter, QPixmap
    from PyQt5.QtWidgets import (
        QCheckBox,
        QColorDialog,
        QComboBox,
        QDialog,
        QDialogButtonBox,
        QDoubleSpinBox,
        QFileDialog,
        QFormLayout,
        QFrame,
        QGridLayout,
        QGroupBox,
        QHBoxLayout,
        QLabel,
        QLineEdit,
        QMenu,
        QMessageBox,
        QProgressDialog,
        QPushButton,
        QSlider,
        QSpinBox,
        QTabWidget,
        QTextBrowser,
        QVBoxLayout,
        QWidget,
    )


def point_of(event):
    """Where a mouse event happened in its widget; Qt 6 calls it differently."""
    return event.position() if hasattr(event, "position") else event.localPos()


__all__ = [
    "QByteArray",
    "QCheckBox",
    "QColor",
    "QColorDialog",
    "QComboBox",
    "QDesktopServices",
    "QDialog",
    "QDialogButtonBox",
    "QDoubleSpinBox",
    "QFileDialog",
    "QFormLayout",
    "QFrame",
    "QGridLayout",
    "QGroupBox",
    "QHBoxLayout",
    "QLabel",
    "QLineEdit",
    "QLocale",
    "QMenu",
    "QMessageBox",
    "QPainter",
    "QPixmap",
    "QProgressDialog",
    "QPushButton",
    "QSlider",
    "QSpinBox",
    "QStandardPaths",
    "QTabWidget",
    "QTextBrowser",
    "QTimer",
    "QUrl",
    "QVBoxLayout",
    "QWidget",
    "Qt",
    "point_of",
    "pyqtSignal",
]
