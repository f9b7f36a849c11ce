"""Small parts of the dialogs: labels, rows, columns that line up, the line about the source."""

from __future__ import annotations

import gi

gi.require_version("GimpUi", "3.0")
gi.require_version("Gtk", "3.0")
from gi.repository import Gimp, GimpUi, GObject, Gtk  # noqa: E402

from . import pixels  # noqa: E402
from .texts import N_, _  # noqa: E402

_DEPTHS = {
    "u8": N_("8-bit"),
    "u16": N_("16-bit"),
    "f16": N_("16-bit float"),
    "f32": N_("32-bit float"),
}
_GRID_PX = 6


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


def label_of(dialog, name: str, text: str, *, chars: int = 46) -> Gtk.Label:
    """A line of text that the dialog knows by a name; breaks when longer than `chars`."""
    label = dialog.get_label(name, text, False, False)
    if not isinstance(label, Gtk.Label):
        label = label.get_child()
    label.set_line_wrap(True)
    label.set_xalign(0.0)
    label.set_max_width_chars(chars)
    return label


class Rows:
    """Rows of a column: label and widget, the widgets under each other.

    Args:
        dialog: the procedure's.
        config: its values.
    """

    def __init__(self, dialog, config) -> None:
        self._dialog, self._config = dialog, config
        self._labels = Gtk.SizeGroup(mode=Gtk.SizeGroupMode.HORIZONTAL)

    def box(self, name: str, content: list[str | Gtk.Widget]) -> Gtk.Box:
        """A box of arguments and labels by name, and of other widgets, from top to bottom."""
        box = self._dialog.fill_box(name, [part for part in content if isinstance(part, str)])
        box.set_spacing(_GRID_PX)
        for place, part in enumerate(content):
            if not isinstance(part, str):
                box.pack_start(part, False, False, 0)
                box.reorder_child(part, place)
                part.show_all()
            elif self._config.find_property(part) is not None:
                self._line_up(self._dialog.get_widget(part, GObject.TYPE_NONE))
        return box

    def _line_up(self, widget: Gtk.Widget) -> None:
        if isinstance(widget, GimpUi.Labeled):
            label = widget.get_label()
            label.set_xalign(0.0)
            self._labels.add_widget(label)

    def spin(self, name: str, label: str, lowest: str, most: float, step: float) -> Gtk.Widget:
        """A row for a number whose lowest value reads as a word, as "automatic"."""
        least = self._config.find_property(name).minimum
        spin = Gtk.SpinButton.new_with_range(least, most, step)
        spin.set_numeric(False)  # or the word could not be shown
        spin.set_width_chars(12)

        def show(button) -> bool:
            if button.get_value() > least:
                return False
            button.set_text(lowest)
            return True

        def parse(button) -> bool:
            if button.get_text() == lowest:
                button.set_text(f"{least:g}")
            return False

        spin.connect("output", show)
        spin.connect("focus-in-event", lambda button, _event: parse(button))
        both = GObject.BindingFlags.BIDIRECTIONAL | GObject.BindingFlags.SYNC_CREATE
        self._config.bind_property(name, spin, "value", both)
        text = Gtk.Label.new_with_mnemonic(label)
        text.set_xalign(0.0)
        text.set_mnemonic_widget(spin)
        self._labels.add_widget(text)
        row = Gtk.Box(orientation=Gtk.Orientation.HORIZONTAL, spacing=_GRID_PX)
        row.pack_start(text, False, False, 0)
        row.pack_start(spin, True, True, 0)
        row.show_all()
        return row


def one_of(*values: str) -> Gimp.ValueArray:
    """For `set_sensitive_if_in`."""
    array = Gimp.ValueArray.new(len(values))
    for position, value in enumerate(values):
        array.insert(position, GObject.Value(GObject.TYPE_STRING, value))
    return array
