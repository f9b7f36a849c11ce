"""Make a Proof Sheet: which paper, which file; the print itself is that of the other dialog."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from wallprint_protocol.errors import WallprintError
from wallprint_protocol.plan_lines import MEDIA, PAPERS, STRENGTHS, halo_line, pixels_line
from wallprint_protocol.print_plan import Settings
from wallprint_protocol.program import plain_name

from . import run
from .base_dialog import BaseDialog
from .files import new_file, usual_folder
from .proof import check_proof
from .qt import QCheckBox, QFileDialog, QFormLayout, QLineEdit, QLocale, QPushButton
from .texts import N_, _, words
from .widgets import choice, choose, group, in_row, line

_FORMATS = {"both": N_("PDF and TIFF"), ".pdf": "PDF", ".tif": "TIFF"}
_WIDTH_PX = 520


class ProofDialog(BaseDialog):
    """The dialog.

    Args:
        settings: of the print.
        extra: to begin with: `paper`, `strengths`, `format`.
    """

    def __init__(self, settings: Settings, extra: dict, parent=None):
        super().__init__(_("Make a Proof Sheet"), _("Make &Proof"), parent)
        self.setMinimumWidth(_WIDTH_PX)
        if settings.source == "selection" and self.document.selection() is None:
            settings = replace(settings, source="layer")
        self._settings = settings
        self._print, self._how = line(), line()
        self._paper = choice(PAPERS, "a4")
        self._strengths = QCheckBox(_("Every crop in all three &strengths, side by side"))
        self._format = choice(_FORMATS, "both")
        self._file = QLineEdit()
        browse = QPushButton(_("&Browse…"))
        browse.setAutoDefault(False)
        browse.clicked.connect(self._browse)
        form = QFormLayout()
        for label, widget in (
            (_("&Paper"), self._paper),
            (_("&Format"), self._format),
            (_("&File"), in_row(self._file, browse)),
        ):
            form.addRow(label, widget)
        form.addRow(self._strengths)
        about = QFormLayout()
        about.addRow(self._print)
        about.addRow(self._how)
        self._lines.addWidget(group(_("The print"), about))
        self._lines.addWidget(group(_("The sheet"), form))
        self.finish_layout()
        self._show(extra)
        self._format.currentIndexChanged.connect(self._format_changed)
        self._file.textChanged.connect(lambda _text: self.update_lines())
        self.look()

    def settings(self) -> Settings:
        """Of the print."""
        return self._settings

    def extra(self) -> dict:
        """What the widgets hold beside the settings."""
        return {
            "paper": self._paper.currentData(),
            "strengths": self._strengths.isChecked(),
            "format": self._format.currentData(),
        }

    def arguments(self) -> tuple:
        """What the command takes after the settings."""
        extra = self.extra()
        path = Path(self._file.text().strip())
        files = [path, path.with_suffix(".tif")] if extra["format"] == "both" else [path]
        return (files, extra["paper"], extra["strengths"])

    def set_defaults(self) -> None:
        """As before anything was changed."""
        self._show({})

    def _show(self, extra: dict) -> None:
        metric = QLocale().measurementSystem() == QLocale.MeasurementSystem.MetricSystem
        choose(self._paper, extra.get("paper", "a4" if metric else "letter"))
        choose(self._format, extra.get("format", "both"))
        self._strengths.setChecked(extra.get("strengths") is True and self._sharpens())
        path = self.document.fileName()
        stem = plain_name(Path(path).stem if path else self.document.name())
        folder = usual_folder(str(Path(path).parent) if path else "")
        self._file.setText(str(new_file(folder, f"{stem}_proof", self._suffix())))

    def _sharpens(self) -> bool:
        return self._settings.sharpen != "none"

    def _format_changed(self) -> None:
        path = Path(self._file.text().strip() or "proof")
        self._file.setText(str(path.with_suffix(self._suffix())))

    def _suffix(self) -> str:
        kind = self._format.currentData()
        return ".pdf" if kind == "both" else kind

    def _browse(self) -> None:
        self._chooser = QFileDialog(self, _("Make a Proof Sheet"), self._file.text())
        self._chooser.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        self._chooser.setNameFilters([f"(*{self._suffix()})"])
        self._chooser.setDefaultSuffix(self._suffix()[1:])
        self._chooser.fileSelected.connect(self._file.setText)
        self._chooser.open()  # no event loop of its own

    def update_lines(self) -> None:
        """What is proofed, and what is in the way."""
        self._strengths.setEnabled(self._sharpens())
        settings = self._settings
        try:
            source = self.source(replace(settings, result="new-layer"))
            check_proof(source, settings)
            plan = run.plan_of(self.document, replace(settings, edges="none"))
            if Path(self._file.text().strip()).suffix.lower() != self._suffix():
                raise ValueError(
                    _("The file's name must end in {suffix}.").format(suffix=self._suffix())
                )
        except (ValueError, WallprintError) as error:
            self.refuse(error)
            return
        told = (pixels_line(words(), plan, settings), halo_line(words(), plan, settings))
        self._print.setText("\n".join(told))
        medium = _(MEDIA[settings.medium])
        if self._sharpens():
            medium += f", {_(STRENGTHS[settings.strength])}"
        self._how.setText(
            words().fill(
                N_(
                    "{width:.1f} × {height:.1f} cm at {ppi:g} ppi; {medium}; as set in Enhance for "
                    "Wall Print."
                ),
                width=plan.width_mm / 10,
                height=plan.height_mm / 10,
                ppi=plan.ppi,
                medium=medium,
            )
        )
        self.allow()
