"""The one place that knows which Qt binding this Krita has: PyQt6 (Krita 6) or PyQt5."""

try:
    from PyQt6.QtCore import QLocale, QPoint, QSize, Qt, QTimer
    from PyQt6.QtGui import QImage, QPainter, QPixmap
    from PyQt6.QtWidgets import (
        QCheckBox,
        QComboBox,
        QDialog,
        QDialogButtonBox,
        QDoubleSpinBox,
        QFormLayout,
        QGroupBox,
        QHBoxLayout,
        QLabel,
        QMenu,
        QMessageBox,
        QProgressDialog,
        QPushButton,
        QSpinBox,
        QVBoxLayout,
        QWidget,
    )
except ImportError:
    from PyQt5.QtCore import QLocale, QPoint, QSize, Qt, QTimer
    from PyQt5.QtGui import QImage, QPainter, QPixmap
    from PyQt5.QtWidgets import (
        QCheckBox,
        QComboBox,
        QDialog,
        QDialogButtonBox,
        QDoubleSpinBox,
        QFormLayout,
        QGroupBox,
        QHBoxLayout,
        QLabel,
        QMenu,
        QMessageBox,
        QProgressDialog,
        QPushButton,
        QSpinBox,
        QVBoxLayout,
        QWidget,
    )

__all__ = [
    "QCheckBox",
    "QComboBox",
    "QDialog",
    "QDialogButtonBox",
    "QDoubleSpinBox",
    "QFormLayout",
    "QGroupBox",
    "QHBoxLayout",
    "QImage",
    "QLabel",
    "QLocale",
    "QMenu",
    "QMessageBox",
    "QPainter",
    "QPixmap",
    "QPoint",
    "QProgressDialog",
    "QPushButton",
    "QSize",
    "QSpinBox",
    "QTimer",
    "QVBoxLayout",
    "QWidget",
    "Qt",
]
