"""The dialog of Enhance for Wall Print: GIMP's ProcedureDialog, live lines, the preview of a spot.

Every value is an argument of the procedure, so Reset, saved settings and "last values" are GIMP's
own. The arithmetic is `print_plan`'s.
"""

from __future__ import annotations

from dataclasses import replace

import gi

gi.require_version("GimpUi", "3.0")
gi.require_version("Gtk", "3.0")
from gi.repository import Gimp, GimpUi, Gtk  # noqa: E402

from wallprint_protocol import forecast  # noqa: E402
from wallprint_protocol.errors import WallprintError  # noqa: E402
from wallprint_protocol.print_plan import (  # noqa: E402
    CUSTOM,
    EDGE_MM,
    LayerJob,
    Plan,
    Settings,
    layer_job,
)
from wallprint_protocol.print_size import Rect, Size  # noqa: E402

from . import pixels, run  # noqa: E402
from .advanced import Advanced  # noqa: E402
from .arguments import SHARPEN, settings_of  # noqa: E402
from .preview import Preview  # noqa: E402
from .sharpen_dialog import SharpenDialog  # noqa: E402
from .texts import _, explain, fill  # noqa: E402
from .widgets import Rows, label_of, one_of, source_line  # noqa: E402

_UNIT_MM = {"mm": 1.0, "cm": 10.0, "in": 25.4}
_COLUMN_GAP_PX = 18
_GROUP_GAP_PX = 10


def ask(procedure, config, image: Gimp.Image, layer: Gimp.Layer) -> bool:
    """Show the procedure's dialog; whether the user wants to go on."""
    GimpUi.init(procedure.get_name())
    kind = SharpenDialog if procedure.get_name() == SHARPEN else EnhanceDialog
    dialog = kind(procedure, config, image, layer)
    try:
        return dialog.ask()
    finally:
        dialog.close()


class EnhanceDialog:
    """Enhance for Wall Print, in the order of what one decides first."""

    def __init__(self, procedure, config, image, layer) -> None:
        self._config, self._image, self._layer = config, image, layer
        self._settings = lambda: settings_of(config, procedure.get_name())
        self._canvas = run.canvas_of(image)
        _ok, x_ppi, y_ppi = image.get_resolution()
        self._width_per_height = (self._canvas.width / x_ppi) / (self._canvas.height / y_ppi)
        self._busy = False
        self._leader = ""  # the side that the user typed last; the other follows it
        self._unit = config.get_property("unit")
        has_selection = not Gimp.Selection.is_empty(image)
        config.set_property("apply-to", "selection" if has_selection else "layer")
        self._dialog = GimpUi.ProcedureDialog.new(procedure, config, _("Enhance for Wall Print"))
        self._dialog.set_ok_label(_("_Enhance"))
        self._chain = Gtk.CheckButton.new_with_mnemonic(_("_Keep proportions"))
        self._chain.set_active(not (config.get_property("width") and config.get_property("height")))
        self._preview = Preview(image, layer, self._settings)
        self._lay_out()
        self._fill_sides()
        self._fill_edge()
        self._chain.connect("toggled", lambda _button: self._side_changed("width"))
        self._handler = config.connect("notify", self._changed)
        self._dialog.connect("response", self._on_response)
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
        """Take the window away."""
        self._stop()
        self._dialog.destroy()

    def _on_response(self, _dialog, response) -> None:
        """GTK waits for a running preview or test, so they must end before the dialog can."""
        ends = (Gtk.ResponseType.OK, Gtk.ResponseType.CANCEL, Gtk.ResponseType.DELETE_EVENT)
        if response in ends:
            self._stop()

    def _stop(self) -> None:
        self._preview.stop()
        self._advanced.stop()

    # -- layout ------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        dialog, config = self._dialog, self._config
        label_of(dialog, "source-line", source_line(self._image, self._layer), chars=150)
        self._pixels = label_of(dialog, "pixels-line", "")
        self._advice = label_of(dialog, "advice-line", "")
        self._halo = label_of(dialog, "halo-line", "")
        self._refusal = label_of(dialog, "refusal-line", "", chars=150)
        self._cost = label_of(dialog, "cost-line", "", chars=150)
        left, middle, right = (Rows(dialog, config) for _column in range(3))
        automatic = _("automatic")
        distance = left.spin(
            "distance", _("Vie_wed from (cm)"), _("1.5 diagonals"), 100_000.0, 10.0
        )
        repair = middle.spin("repair", _("Re_pair"), automatic, 100.0, 5.0)
        deblur = middle.spin("deblur", _("De_blur"), automatic, 100.0, 5.0)
        sides = ["preset", "width", "height", "unit", self._chain, "ppi", "pixels-line"]
        self._group(left, "size", _("Print size"), sides)
        self._group(left, "fit", _("On the paper"), ["fit", "edges", "edge-width"])
        self._group(left, "viewing", _("Viewed from"), [distance, "advice-line"])
        self._group(middle, "enhance", _("Enhancing"), ["style", repair, deblur])
        self._group(middle, "where", _("Apply to"), ["apply-to", "feather"])
        finish = ["medium", "strength", "halo-line"]
        self._group(middle, "finish", _("Output sharpening"), finish)
        self._group(middle, "result", _("Result"), ["result"])
        self._column("left", ["size", "fit", "viewing"])
        self._column("middle", ["enhance", "where", "finish", "result"])
        columns = dialog.fill_box("columns", ["left", "middle"])
        columns.set_orientation(Gtk.Orientation.HORIZONTAL)
        columns.set_spacing(_COLUMN_GAP_PX)
        self._advanced = Advanced(dialog, config, right, self._settings)
        last = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=_GROUP_GAP_PX)
        preview = GimpUi.Frame.new(_("Preview"))
        preview.add(self._preview.widget)
        last.pack_start(preview, False, False, 0)
        last.pack_start(self._advanced.widget, False, False, 0)
        last.show()
        preview.show_all()
        columns.pack_start(last, True, True, 0)
        dialog.fill(["source-line", "columns", "refusal-line", "cost-line"])
        for name, by, values, wanted in (
            ("feather", "apply-to", ("selection",), True),
            ("edge-width", "edges", ("bleed", "wrap"), True),
            ("strength", "medium", ("none", "screen"), False),
        ):
            dialog.set_sensitive_if_in(name, None, by, one_of(*values), wanted)

    def _group(self, rows: Rows, name: str, title: str, content: list) -> None:
        self._dialog.get_label(f"{name}-title", title, False, False)
        rows.box(f"{name}-content", content)
        self._dialog.fill_frame(f"{name}-frame", f"{name}-title", False, f"{name}-content")

    def _column(self, name: str, groups: list[str]) -> None:
        box = self._dialog.fill_box(name, [f"{group}-frame" for group in groups])
        box.set_spacing(_GROUP_GAP_PX)

    # -- live --------------------------------------------------------------------------------------

    def _changed(self, _config, spec) -> None:
        if self._busy:
            return
        if spec.name in ("width", "height"):
            self._side_changed(spec.name)
        elif spec.name == "unit":
            self._unit_changed()
        elif spec.name == "edges":
            self._config.set_property("edge-width", 0.0)
            self._fill_edge()
        self._update()

    def _side_changed(self, name: str) -> None:
        self._leader = name
        if not self._chain.get_active():
            return
        value = self._config.get_property(name)
        if name == "width":
            self._set("height", value / self._width_per_height)
        else:
            self._set("width", value * self._width_per_height)
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
        if not width and not height:  # 100 cm on the long side
            long_side = 100.0 if self._unit == "cm" else 0.0
            if not long_side:
                self._config.set_property("unit", "cm")
                self._unit, long_side = "cm", 100.0
            self._leader = "width" if self._width_per_height >= 1 else "height"
            self._set(self._leader, long_side)
        elif not (width and height):
            self._leader = "width" if width else "height"
        else:
            self._leader = "width"
            return
        self._side_changed(self._leader)

    def _fill_edge(self) -> None:
        """Zero stands for the usual width: show it."""
        usual = EDGE_MM[self._config.get_property("edges")]
        if usual and not self._config.get_property("edge-width"):
            self._config.set_property("edge-width", usual)

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
            plan = run.plan_of(self._image, settings)
            rect = self._layer_rect(settings)
            job = layer_job(plan, rect)
        except (ValueError, WallprintError) as error:
            self._refusal.set_markup(f"<b>{_escape(explain(error))}</b>")
            self._dialog.set_response_sensitive(Gtk.ResponseType.OK, False)
            return
        self._dialog.set_response_sensitive(Gtk.ResponseType.OK, True)
        self._refusal.set_text("")
        self._pixels.set_text(_pixels_line(plan))
        self._advice.set_text(_advice_line(plan))
        self._halo.set_text(_halo_line(plan, settings))
        self._cost.set_text(self._cost_line(settings, job, rect.size))
        self._preview.changed(plan, settings)

    def _layer_rect(self, settings: Settings) -> Rect:
        if settings.source == "visible":
            return Rect(0, 0, self._canvas.width, self._canvas.height)
        _ok, x, y = self._layer.get_offsets()
        return Rect(x, y, self._layer.get_width(), self._layer.get_height())

    def _cost_line(self, settings: Settings, job: LayerJob, size: Size) -> str:
        expected, known = forecast.seconds(settings, job.placement)
        if expected < 90:
            time = fill(_("about {count} s"), count=max(1, round(expected)))
        else:
            time = fill(_("about {count} min"), count=round(expected / 60))
        if not known:
            time = fill(_("{time} without a graphics card (first estimate)"), time=time)
        layout = pixels.format_of(self._layer).layout
        room = forecast.room(settings, layout, size, job.placement)
        return fill(
            _(
                "Forecast: {time}; {document} in the document, {disk} on the disk and {memory} of "
                "memory in the server meanwhile."
            ),
            time=time,
            document=_amount(room.result),
            disk=_amount(room.disk),
            memory=_amount(room.server),
        )


def _pixels_line(plan: Plan) -> str:
    line = fill(
        _("{width} × {height} px, {megapixels:.1f} MP, {scale:.2f}×"),
        width=plan.out.width,
        height=plan.out.height,
        megapixels=plan.megapixels,
        scale=plan.placement.scale,
    )
    if plan.edge_px:
        line += "\n" + fill(
            _("with edges of {edge} px; trimmed {width:.1f} × {height:.1f} cm"),
            edge=plan.edge_px,
            width=plan.width_mm / 10,
            height=plan.height_mm / 10,
        )
    return line


def _advice_line(plan: Plan) -> str:
    return fill(
        _(
            "From {distance:.0f} cm: {needed:.0f} ppi are enough; {ppi:g} ppi hold to {near:.0f} "
            "cm."
        ),
        distance=plan.distance_mm / 10,
        needed=plan.needed_ppi,
        ppi=plan.ppi,
        near=plan.holds_to_mm / 10,
    )


def _halo_line(plan: Plan, settings: Settings) -> str:
    if settings.sharpen == "none":
        return _("Not sharpened for paper.")
    return fill(
        _("Halo {width:.2f} mm (1/{part:.0f} in), {px:.1f} px"),
        width=plan.halo_mm,
        part=25.4 / plan.halo_mm,
        px=plan.halo_mm * plan.ppi / 25.4,
    )


def _amount(count: int) -> str:
    """Bytes for people."""
    if count >= 1e9:
        return fill("{count:.1f} GB", count=count / 1e9)
    return fill("{count} MB", count=max(1, round(count / 1e6)))


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
