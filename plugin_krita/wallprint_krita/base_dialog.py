"""What both dialogs share: source line, refusal, buttons, help, and a look at the document.

The dialogs are modeless: the document goes on living beside them. So a slow timer looks whether
another layer, selection or size is there now.
"""

from __future__ import annotations

from pathlib import Path

from krita import Krita

from wallprint_protocol.errors import WallprintError
from wallprint_protocol.print_plan import Settings

from . import run
from .qt import QDialog, QDialogButtonBox, QTextBrowser, QTimer, QVBoxLayout
from .texts import N_, _, explain, language
from .widgets import line

DEVICES = {"auto": N_("Automatic"), "cpu": "CPU", "cuda": "CUDA", "mps": "Metal"}
_MODELS = {"RGBA": "RGB", "GRAYA": N_("Grey"), "CMYKA": "CMYK"}
_DEPTHS = {
    "U8": N_("8-bit"),
    "U16": N_("16-bit"),
    "F16": N_("16-bit float"),
    "F32": N_("32-bit float"),
}
_LOOK_MS = 400


class BaseDialog(QDialog):
    """A page of values above a bold line of refusal and the buttons.

    Attributes:
        document: the one that was active when the dialog opened.
    """

    def __init__(self, title, ok_text, parent):
        super().__init__(parent)
        self.setWindowTitle(title)
        self.document = run.active_source(Settings()).document
        self._seen = None
        self._lines = QVBoxLayout(self)
        self.source_line = line()
        self._lines.addWidget(self.source_line)
        self.refusal_line = line()
        font = self.refusal_line.font()
        font.setBold(True)
        self.refusal_line.setFont(font)
        self.refusal_line.setMinimumHeight(self.refusal_line.fontMetrics().height())
        kinds = QDialogButtonBox.StandardButton
        self._buttons = QDialogButtonBox(
            kinds.Help | kinds.RestoreDefaults | kinds.Cancel | kinds.Ok
        )
        for kind, text in (
            (kinds.Help, _("Help")),
            (kinds.RestoreDefaults, _("Restore Defaults")),
            (kinds.Cancel, _("Cancel")),
            (kinds.Ok, ok_text),
        ):
            self._buttons.button(kind).setText(text)
            self._buttons.button(kind).setAutoDefault(kind == kinds.Ok)
        self.ok_button = self._buttons.button(kinds.Ok)
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)
        self._buttons.button(kinds.RestoreDefaults).clicked.connect(lambda: self.set_defaults())
        self._buttons.helpRequested.connect(self.show_help)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.look)

    def finish_layout(self) -> None:
        """Below everything else."""
        self._lines.addWidget(self.refusal_line)
        self._lines.addWidget(self._buttons)
        self._timer.start(_LOOK_MS)

    def remembered(self) -> Settings:
        """What the next dialog of the kind begins with."""
        return self.settings()

    def look(self) -> None:
        """Bring the lines up to date when the document is no longer as it was."""
        seen = _situation()
        if seen != self._seen:
            self._seen = seen
            self.update_lines()

    def source(self, settings: Settings) -> run.Source:
        """What these settings would enlarge; the source line says what it is.

        Raises:
            BadInput: nothing can be enlarged.
        """
        source = run.active_source(settings)
        if source.document != self.document:
            raise ValueError(_("Another document is active; go back to this one or close this."))
        self.source_line.setText(source_text(source))
        return source

    def refuse(self, error: Exception) -> None:
        """Say why this cannot be done; there is no way on before it is mended."""
        self.refusal_line.setText(explain(error))
        self.ok_button.setEnabled(False)
        self.grow()

    def allow(self) -> None:
        """Nothing is in the way."""
        self.refusal_line.setText("")
        self.ok_button.setEnabled(True)

    def grow(self) -> None:
        """Room for lines that have become longer; Qt itself does not ask wrapped text again."""
        QTimer.singleShot(0, lambda: self._fit_height(at_least=self.height()))

    def fit(self) -> None:
        """As high as needed, after a part was folded."""
        QTimer.singleShot(0, lambda: self._fit_height(at_least=0))

    def _fit_height(self, *, at_least: int) -> None:
        self._lines.activate()
        needed = self._lines.totalHeightForWidth(self.width())
        height = max(at_least, needed, self._lines.totalMinimumSize().height())
        if height != self.height():
            self.resize(self.width(), height)

    def show_help(self) -> None:
        """The manual in a window of its own."""
        folder = Path(__file__).resolve().parent
        page = folder / f"manual.{language()}.html"
        page = page if page.is_file() else folder / "manual.html"
        self._help = QDialog(self)
        self._help.setWindowTitle(_("Wall Print"))
        self._help.resize(560, 480)
        text = QTextBrowser(self._help)
        text.setHtml(page.read_text("utf-8"))
        QVBoxLayout(self._help).addWidget(text)
        self._help.show()

    def accept(self):
        """Not for what has changed in the document since the last look."""
        self.update_lines()
        if self.ok_button.isEnabled():
            super().accept()

    def done(self, result):
        """Closed, either way."""
        self._timer.stop()
        super().done(result)


def _situation():
    """What the lines depend on beside the values."""
    document = Krita.instance().activeDocument()
    node = document.activeNode() if document else None
    if node is None:
        return None
    chosen, bounds = document.selection(), node.bounds()
    return (
        node.uniqueId().toString(),
        node.name(),
        (bounds.x(), bounds.y(), bounds.width(), bounds.height()),
        (document.width(), document.height(), document.xRes(), document.yRes()),
        chosen and (chosen.x(), chosen.y(), chosen.width(), chosen.height()),
    )


def source_text(source) -> str:
    """The document, the layer and the selection in one line."""
    space = source.space
    selection = _("none")
    if source.selection is not None:
        selection = f"{source.selection.width()} × {source.selection.height()} px"
    depth = f"{_(_MODELS.get(space.model, space.model))} {_(_DEPTHS.get(space.depth, space.depth))}"
    try:
        if space.layout.trc == "linear":
            depth = _("{depth} linear").format(depth=depth)
    except WallprintError:
        pass  # the refusal says it
    return _(
        "Source {width} × {height} px, {depth}, {profile}. Layer “{layer}”. Selection: {selection}."
    ).format(
        width=source.document.width(),
        height=source.document.height(),
        depth=depth,
        profile=space.profile,
        layer=source.node.name(),
        selection=selection,
    )
