"""Small parts of the dialogs: columns of widgets bound to the procedure's values, lines of text.

GIMP would make the widgets of a procedure by itself, one below the other; these stand two in a row,
so that everything that one decides is seen at once on a small screen.
"""

from __future__ import annotations

import gi

gi.require_version("GimpUi", "3.0")
gi.require_version("Gtk", "3.0")
from gi.repository import Gdk, Gimp, GObject, Gtk, Pango  # noqa: E402

from . import pixels  # noqa: E402
from .texts import N_, _  # noqa: E402

_DEPTHS = {
    "u8": N_("8-bit"),
    "u16": N_("16-bit"),
    "f16": N_("16-bit float"),
    "f32": N_("32-bit float"),
}
_ROW_GAP_PX, _COLUMN_GAP_PX, _INDENT_PX = 4, 6, 12
_LIST_CHARS, _LINE_CHARS = 15, 33
_NUMBER_CHARS = 6
_COLUMNS_CHARS, _MOST_ROWS = 22, 20  # of a list that unfolds; longer ones get columns
_BOTH_WAYS = GObject.BindingFlags.BIDIRECTIONAL | GObject.BindingFlags.SYNC_CREATE


def source_line(image: Gimp.Image, layer: Gimp.Layer) -> str:
    """As "Source 4000 × 3000 px, 16-bit, Adobe RGB. Layer “Background”. Selection: none."."""
    own = pixels.format_of(layer)
    profile = image.get_color_profile()
    name = profile.get_label() if profile else _("sRGB (built in)")
    depth = _(_DEPTHS[own.layout.dtype])
    if own.palette:
        depth = _("indexed: the result becomes a new RGB image")
    elif own.narrowed:
        depth = _("{kind}, carried as 32-bit float").format(kind=own.narrowed)
    elif own.layout.trc == "linear":
        depth = _("{depth} linear").format(depth=depth)
    selection = _("none")
    if not Gimp.Selection.is_empty(image):
        _ok, _full, x1, y1, x2, y2 = Gimp.Selection.bounds(image)
        selection = f"{x2 - x1} × {y2 - y1} px"
    return _(
        "Source {width} × {height} px, {depth}, {profile}. Layer “{layer}”. Selection: {selection}."
    ).format(
        width=image.get_width(),
        height=image.get_height(),
        depth=depth,
        profile=name,
        layer=layer.get_name(),
        selection=selection,
    )


def line(text: str = "", *, chars: int = _LINE_CHARS) -> Gtk.Label:
    """A line of text; breaks when longer than `chars`."""
    label = Gtk.Label(label=text, xalign=0.0)
    label.set_line_wrap(True)
    label.set_max_width_chars(chars)
    return label


def own_box(dialog, text: str, *, chars: int) -> Gtk.Box:
    """The box of a procedure's dialog, headed by a line of text, for widgets of our own."""
    label = dialog.get_label("head-line", text, False, False)
    if not isinstance(label, Gtk.Label):
        label = label.get_child()
    label.set_line_wrap(True)
    label.set_xalign(0.0)
    label.set_max_width_chars(chars)
    box = dialog.fill_box("own-box", ["head-line"])
    box.set_spacing(_ROW_GAP_PX)
    dialog.fill(["own-box"])
    return box


class Column:
    """Forms below each other whose labels and widgets line up.

    Args:
        config: the procedure's values; each widget is bound to one of them.
        list_chars: of a list's entry are shown at least, longer ones may be cut.
    """

    def __init__(self, config, list_chars: int = _LIST_CHARS) -> None:
        self._config, self._list_chars = config, list_chars
        self._labels = Gtk.SizeGroup(mode=Gtk.SizeGroupMode.HORIZONTAL)
        self.widget = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=_ROW_GAP_PX)

    def title(self, text: str) -> None:
        """Begin a group."""
        label = Gtk.Label(xalign=0.0)
        label.set_markup(f"<b>{text}</b>")
        self.widget.pack_start(label, False, False, 0)

    def row(self, label: str, *widgets: Gtk.Widget) -> None:
        """A label, maybe with a mnemonic, and what belongs to it; the first takes the room."""
        text = Gtk.Label.new_with_mnemonic(label)
        text.set_xalign(0.0)
        text.set_mnemonic_widget(widgets[0])
        self._labels.add_widget(text)
        box = Gtk.Box(spacing=_COLUMN_GAP_PX, margin_start=_INDENT_PX)
        box.pack_start(text, False, False, 0)
        for place, widget in enumerate(widgets):
            box.pack_start(widget, place == 0, True, 0)
        self.widget.pack_start(box, False, False, 0)

    def add(self, widget: Gtk.Widget) -> Gtk.Widget:
        """Anything as wide as the column."""
        widget.set_margin_start(_INDENT_PX)
        self.widget.pack_start(widget, False, False, 0)
        return widget

    # -- widgets -----------------------------------------------------------------------------------

    def choice(self, name: str, choices: dict[str, str], hint: str = "") -> Gtk.ComboBoxText:
        """A list of nicks and what they are called."""
        combo = Gtk.ComboBoxText()
        for nick, text in choices.items():
            combo.append(nick, text)
        columns = 1 + len(choices) // _MOST_ROWS
        combo.set_wrap_width(columns)
        # Cells of a list with columns are cut in the unfolded list, too.
        chars = self._list_chars if columns == 1 else _COLUMNS_CHARS
        if max(map(len, choices.values())) > chars:
            for cell in combo.get_cells():
                cell.set_property("ellipsize", Pango.EllipsizeMode.END)
                cell.set_property("width-chars", chars)
                cell.set_property("max-width-chars", chars)
        self._bind(name, combo, "active-id", hint)
        return combo

    def number(
        self, name: str, step: float, *, digits: int = 0, lowest: str = "", hint: str = ""
    ) -> Gtk.SpinButton:
        """A number; its lowest value may read as a word, as "automatic"."""
        spec = self._config.find_property(name)
        spin = Gtk.SpinButton.new_with_range(spec.minimum, spec.maximum, step)
        spin.set_digits(digits)
        spin.set_width_chars(max(_NUMBER_CHARS, len(lowest)))
        spin.set_activates_default(True)
        if lowest:
            _say_lowest(spin, spec.minimum, lowest)
        self._bind(name, spin, "value", hint)
        return spin

    def check(self, name: str, label: str) -> Gtk.CheckButton:
        """Yes or no."""
        button = Gtk.CheckButton.new_with_mnemonic(label)
        self._bind(name, button, "active", "")
        return button

    def text(self, name: str, hint: str = "") -> Gtk.Entry:
        """A word or nothing."""
        entry = Gtk.Entry(activates_default=True)
        self._bind(name, entry, "text", hint)
        return entry

    def colour(self, name: str, hint: str) -> Gtk.ColorButton:
        """A colour, #RRGGBB as a value."""
        button = Gtk.ColorButton(tooltip_text=hint)
        button.get_accessible().set_name(hint)

        def show(*_changed: object) -> None:
            colour = Gdk.RGBA()
            if colour.parse(self._config.get_property(name)):
                button.set_rgba(colour)

        def keep(_button: Gtk.ColorButton) -> None:
            colour = button.get_rgba()
            parts = (round(255 * part) for part in (colour.red, colour.green, colour.blue))
            self._config.set_property(name, "#" + "".join(f"{part:02x}" for part in parts))

        button.connect("color-set", keep)
        self._config.connect(f"notify::{name}", show)
        show()
        return button

    def folder(self, name: str, title: str) -> Gtk.FileChooserButton:
        """A folder of this computer."""
        button = Gtk.FileChooserButton(title=title, action=Gtk.FileChooserAction.SELECT_FOLDER)
        button.get_accessible().set_name(title)
        button.set_filename(self._config.get_property(name))

        def keep(_button: Gtk.FileChooserButton) -> None:
            self._config.set_property(name, button.get_filename() or "")

        button.connect("file-set", keep)
        return button

    def _bind(self, name: str, widget: Gtk.Widget, prop: str, hint: str) -> None:
        if hint:
            widget.set_tooltip_text(hint)
            widget.get_accessible().set_name(hint)
        self._config.bind_property(name, widget, prop, _BOTH_WAYS)


def add_halo_rows(column: Column) -> tuple[Gtk.SpinButton, Gtk.SpinButton]:
    """What shapes the output sharpening beside medium and strength: the halo, the paper's ink."""
    automatic = _("automatic")
    width = _("Width of the sharpening's halo on paper, fitted to the picture")
    halo = column.number("halo", 0.05, digits=2, lowest=automatic, hint=width)
    column.row(_("Halo (mm)"), halo)
    sigma = _("How far ink spreads on the paper, measured, Gaussian sigma")
    spread = column.number("ink-spread", 0.01, digits=3, lowest=automatic, hint=sigma)
    column.row(_("Ink spread (mm)"), spread)
    return halo, spread


def _say_lowest(spin: Gtk.SpinButton, least: float, word: str) -> None:
    spin.set_numeric(False)  # or the word could not be shown

    def show(button: Gtk.SpinButton) -> bool:
        if button.get_value() > least:
            return False
        button.set_text(word)
        return True

    def as_number(button: Gtk.SpinButton) -> bool:
        if button.get_text() == word:
            button.set_text(f"{least:g}")
        return False

    spin.connect("output", show)
    spin.connect("focus-in-event", lambda button, _event: as_number(button))
