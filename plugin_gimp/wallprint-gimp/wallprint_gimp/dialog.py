"""The dialogs: GIMP's ProcedureDialog with live lines and the preview of one spot.

Every value is an argument of the procedure, so Reset, saved settings and "last values" are GIMP's
own. The arithmetic is `print_plan`'s.
"""

from __future__ import annotations

from dataclasses import replace

import gi

gi.require_version("GimpUi", "3.0")
gi.require_version("Gtk", "3.0")
from gi.repository import Gimp, GimpUi, GObject, Gtk  # noqa: E402

from wallprint_protocol import forecast  # noqa: E402
from wallprint_protocol.errors import WallprintError  # noqa: E402
from wallprint_protocol.print_plan import CUSTOM, Settings, layer_job, make_plan  # noqa: E402
from wallprint_protocol.print_size import Rect  # noqa: E402

from . import pixels, run  # noqa: E402
from .preview import Preview  # noqa: E402
from .texts import N_, _  # noqa: E402

_UNIT_MM = {"mm": 1.0, "cm": 10.0, "in": 25.4}
_DEPTHS = {
    "u8": N_("8-bit"),
    "u16": N_("16-bit"),
    "f16": N_("16-bit float"),
    "f32": N_("32-bit float"),
}


def ask(procedure, config, image: Gimp.Image, layer: Gimp.Layer) -> bool:
    """Show the procedure's dialog; whether the user wants to go on."""
    GimpUi.init(procedure.get_name())
    kind = SharpenDialog if procedure.get_name().endswith("selection") else EnhanceDialog
    dialog = kind(procedure, config, image, layer)
    try:
        return dialog.ask()
    finally:
        dialog.close()


class SharpenDialog:
    """Sharpen Selection for Print: a handful of values."""

    def __init__(self, procedure, config, image, layer) -> None:
        title = _("Sharpen Selection for Print")
        self._dialog = GimpUi.ProcedureDialog.new(procedure, config, title)
        self._dialog.set_ok_label(_("Shar_pen"))
        line = source_line(image, layer)
        if Gimp.Selection.is_empty(image):
            line += "\n" + _("Nothing is selected; select what is to be sharpened.")
            self._dialog.set_response_sensitive(Gtk.ResponseType.OK, False)
        _label(self._dialog, "source-line", line)
        self._dialog.fill(
            ["source-line", "print-long-side", "distance", "feather", "medium", "strength",
             "device"]
        )  # fmt: skip
        row = _amount(config, "deblur", _("De_blur"))
        self._dialog.get_content_area().pack_start(row, False, False, 6)

    def ask(self) -> bool:
        """Run it."""
        return self._dialog.run()

    def close(self) -> None:
        """Take it away."""
        self._dialog.destroy()


class EnhanceDialog:
    """Enhance for Wall Print, in the order of what one decides first."""

    def __init__(self, procedure, config, image, layer) -> None:
        from .plugin import settings_of

        self._config, self._image, self._layer = config, image, layer
        self._settings = lambda: settings_of(config, procedure.get_name())
        self._canvas = run.canvas_of(image)
        self._busy = False
        self._leader = ""  # the side that the user typed last; the other follows it
        self._unit = config.get_property("unit")
        self._has_selection = not Gimp.Selection.is_empty(image)
        config.set_property("apply-to", "selection" if self._has_selection else "layer")
        self._dialog = GimpUi.ProcedureDialog.new(procedure, config, _("Enhance for Wall Print"))
        self._dialog.set_ok_label(_("_Enhance"))
        self._chain = Gtk.CheckButton.new_with_mnemonic(_("_Keep proportions"))
        self._chain.set_active(not (config.get_property("width") and config.get_property("height")))
        self._preview = Preview(image, layer, self._settings)
        self._lay_out()
        self._fill_sides()
        self._chain.connect("toggled", lambda _button: self._side_changed("width"))
        self._handler = config.connect("notify", self._changed)
        self._update()

    def ask(self) -> bool:
        """Run it; the following side is handed over as "follows"."""
        wanted = self._dialog.run()
        self._config.disconnect(self._handler)
        if wanted and self._chain.get_active():
            follower = "height" if self._leader != "height" else "width"
            self._config.set_property(follower, 0.0)
        return wanted

    def close(self) -> None:
        """End a running preview and take the window away."""
        self._preview.stop()
        self._dialog.destroy()

    # -- layout ------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        dialog = self._dialog
        self._source = _label(dialog, "source-line", source_line(self._image, self._layer))
        self._pixels = _label(dialog, "pixels-line", "")
        self._advice = _label(dialog, "advice-line", "")
        self._refusal = _label(dialog, "refusal-line", "")
        self._cost = _label(dialog, "cost-line", "")
        size = dialog.fill_box("size-box", ["preset", "width", "height", "unit", "ppi"])
        size.pack_start(self._chain, False, False, 0)
        size.reorder_child(self._chain, 4)
        self._chain.show()
        groups = {
            "left": (
                ("size", _("Print size"), ["size-box", "pixels-line", "fit"]),
                ("viewing", _("Viewed from"), ["distance", "advice-line"]),
            ),
            "right": (
                ("enhance", _("Enhancing"), ["style"]),
                ("where", _("Apply to"), ["apply-to", "feather"]),
                ("finish", _("Output sharpening"), ["medium", "strength"]),
                ("result", _("Result"), ["result", "device"]),
            ),
        }
        own_rows = {"enhance": (("repair", _("Re_pair")), ("deblur", _("De_blur")))}
        for column, frames in groups.items():
            for name, title, content in frames:
                dialog.get_label(f"{name}-title", title, False, False)
                box = dialog.fill_box(f"{name}-content", content)
                for amount, label in own_rows.get(name, ()):
                    box.pack_start(_amount(self._config, amount, label), False, False, 0)
                dialog.fill_frame(f"{name}-frame", f"{name}-title", False, f"{name}-content")
            dialog.fill_box(column, [f"{name}-frame" for name, _title, _content in frames])
        columns = dialog.fill_box("columns", ["left", "right"])
        columns.set_orientation(Gtk.Orientation.HORIZONTAL)
        columns.set_spacing(18)
        dialog.fill(["source-line", "columns", "refusal-line", "cost-line"])
        dialog.get_content_area().pack_end(self._preview.widget, True, True, 6)
        self._preview.widget.show_all()
        dialog.set_sensitive_if_in("feather", None, "apply-to", _one_of("selection"), True)

    # -- live --------------------------------------------------------------------------------------

    def _changed(self, _config, spec) -> None:
        if self._busy:
            return
        if spec.name in ("width", "height"):
            self._side_changed(spec.name)
        elif spec.name == "unit":
            self._unit_changed()
        self._update()

    def _side_changed(self, name: str) -> None:
        self._leader = name
        if not self._chain.get_active():
            return
        value = self._config.get_property(name)
        width, height = self._canvas.width, self._canvas.height
        if name == "width":
            self._set("height", value * height / width)
        else:
            self._set("width", value * width / height)
        self._update()

    def _unit_changed(self) -> None:
        old, self._unit = self._unit, self._config.get_property("unit")
        ppi = self._config.get_property("ppi")
        per_mm = {**{u: 1 / mm for u, mm in _UNIT_MM.items()}, "px": ppi / 25.4}
        for name in ("width", "height"):
            self._set(name, self._config.get_property(name) / per_mm[old] * per_mm[self._unit])

    def _fill_sides(self) -> None:
        """Zeros stand for "follows": show what follows."""
        width, height = self._config.get_property("width"), self._config.get_property("height")
        landscape = self._canvas.width >= self._canvas.height
        if not width and not height:  # 100 cm on the long side
            long_side = 100.0 if self._unit == "cm" else 0.0
            if not long_side:
                self._config.set_property("unit", "cm")
                self._unit, long_side = "cm", 100.0
            self._leader = "width" if landscape else "height"
            self._set(self._leader, long_side)
        elif not (width and height):
            self._leader = "width" if width else "height"
        else:
            self._leader = "width"
            return
        self._side_changed(self._leader)

    def _set(self, name: str, value: float) -> None:
        self._busy = True
        digits = 0 if self._unit == "px" else 2
        self._config.set_property(name, max(0.0, round(value, digits)))
        self._busy = False

    def _live_settings(self) -> Settings:
        """As they will be handed over: one side follows while proportions are kept."""
        settings = self._settings()
        if not self._chain.get_active():
            return settings
        return replace(settings, **{"width" if self._leader == "height" else "height": 0.0})

    def _update(self) -> None:
        """The lines that follow the values; reasons to refuse come before the run."""
        custom = self._config.get_property("preset") == CUSTOM
        for name in ("width", "height", "unit"):
            self._dialog.set_sensitive(name, custom, None, None, False)
        self._chain.set_sensitive(custom)
        try:
            settings = self._live_settings()
            plan = make_plan(self._canvas, settings)
            rect = self._layer_rect(settings)
            layer_job(plan, rect)
            if settings.source == "selection" and not self._has_selection:
                raise ValueError(
                    _("Nothing is selected; make a selection or choose the whole layer.")
                )
        except (ValueError, WallprintError) as error:
            self._refusal.set_markup(f"<b>{_escape(str(error))}</b>")
            self._dialog.set_response_sensitive(Gtk.ResponseType.OK, False)
            return
        self._dialog.set_response_sensitive(Gtk.ResponseType.OK, True)
        self._refusal.set_text("")
        self._pixels.set_text(
            _("{width} × {height} px, {megapixels:.1f} MP, {scale:.2f}×").format(
                width=plan.out.width,
                height=plan.out.height,
                megapixels=plan.megapixels,
                scale=plan.placement.scale,
            )
        )
        self._advice.set_text(
            _(
                "From {distance:.0f} cm: {needed:.0f} ppi are enough; {ppi:g} ppi hold to "
                "{near:.0f} cm."
            ).format(
                distance=plan.distance_mm / 10,
                needed=plan.needed_ppi,
                ppi=plan.ppi,
                near=plan.holds_to_mm / 10,
            )
        )
        self._cost.set_text(self._cost_line(settings, plan, rect))
        self._preview.changed(plan, settings)

    def _layer_rect(self, settings: Settings) -> Rect:
        if settings.source == "visible":
            return Rect(0, 0, self._canvas.width, self._canvas.height)
        _ok, x, y = self._layer.get_offsets()
        return Rect(x, y, self._layer.get_width(), self._layer.get_height())

    def _cost_line(self, settings: Settings, plan, rect: Rect) -> str:
        layout = pixels.format_of(self._layer).layout
        size = plan.bytes(layout) / 1e6
        expected, known = forecast.seconds(settings, layer_job(plan, rect).placement)
        if expected < 90:
            time = _("about {count} s").format(count=max(1, round(expected)))
        else:
            time = _("about {count} min").format(count=round(expected / 60))
        if not known:
            time = _("{time} without a graphics card (first estimate)").format(time=time)
        return _("Forecast: {time}, {size:.0f} MB for the print's pixels.").format(
            time=time, size=size
        )


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


def _label(dialog, name: str, text: str) -> Gtk.Label:
    label = dialog.get_label(name, text, False, False)
    if not isinstance(label, Gtk.Label):
        label = label.get_child()
    label.set_line_wrap(True)
    label.set_xalign(0.0)
    label.set_max_width_chars(60)
    return label


def _amount(config, name: str, label: str) -> Gtk.Widget:
    """A row for 0..100 whose lowest value reads "automatic"."""
    spin = Gtk.SpinButton.new_with_range(-1.0, 100.0, 5.0)
    spin.set_numeric(False)  # or "automatic" could not be shown
    spin.set_width_chars(12)

    def show(button) -> bool:
        if button.get_value() >= 0:
            return False
        button.set_text(_("automatic"))
        return True

    def parse(button) -> bool:
        if not button.get_text().strip().lstrip("-").isdigit():
            button.set_text("-1")
        return False

    spin.connect("output", show)
    spin.connect("focus-in-event", lambda button, _event: parse(button))
    both = GObject.BindingFlags.BIDIRECTIONAL | GObject.BindingFlags.SYNC_CREATE
    config.bind_property(name, spin, "value", both)
    row = Gtk.Box(orientation=Gtk.Orientation.HORIZONTAL, spacing=12)
    text = Gtk.Label.new_with_mnemonic(label)
    text.set_mnemonic_widget(spin)
    row.pack_start(text, False, False, 0)
    row.pack_end(spin, False, False, 0)
    row.show_all()
    return row


def _one_of(*values: str) -> Gimp.ValueArray:
    array = Gimp.ValueArray.new(len(values))
    for position, value in enumerate(values):
        array.insert(position, GObject.Value(GObject.TYPE_STRING, value))
    return array


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
