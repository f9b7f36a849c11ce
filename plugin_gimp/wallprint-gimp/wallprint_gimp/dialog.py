"""The dialog of Enhance for Wall Print: what one decides, lines that follow, the preview of a spot.

Every value is an argument of the procedure, so Reset, saved settings and "last values" are GIMP's
own. The arithmetic is `print_plan`'s, and what is said of it `plan_lines`'.
"""

from __future__ import annotations

from dataclasses import replace

import gi

gi.require_version("GimpUi", "3.0")
gi.require_version("Gtk", "3.0")
from gi.repository import Gimp, GimpUi, Gtk  # noqa: E402

from wallprint_protocol import plan_lines  # noqa: E402
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

from . import files, passports, pixels, run  # noqa: E402
from .advanced import Advanced  # noqa: E402
from .arguments import PROOF, choices_of, settings_of  # noqa: E402
from .detail_meter import DetailMeter  # noqa: E402
from .edges_tab import EdgesTab  # noqa: E402
from .preview import Preview  # noqa: E402
from .texts import _, explain, words  # noqa: E402
from .turns import Turns  # noqa: E402
from .widgets import Column, line, own_box, source_line  # noqa: E402

_COLUMN_GAP_PX = 18
_TAB_GAP_PX = 8
_WIDE_CHARS, _WIDE_LIST_CHARS = 150, 23


class PrintDialog:
    """A print, in the order of what one decides first: for Enhance, and for a proof of it.

    Args:
        procedure: the procedure.
        config: its values.
        image: the document.
        layer: the active layer.
    """

    def __init__(self, procedure, config, image, layer) -> None:
        self._is_proof = procedure.get_name() == PROOF
        self._config, self._image, self._layer = config, image, layer
        self._settings = lambda: settings_of(config, procedure.get_name())
        self._canvas = run.canvas_of(image)
        _ok, x_ppi, y_ppi = image.get_resolution()
        self._width_per_height = (self._canvas.width / x_ppi) / (self._canvas.height / y_ppi)
        self._busy = False
        self._leader = ""  # the side that the user typed last; the other follows it
        self._unit = config.get_property("unit")
        self._plan: Plan | None = None
        self._shown: Settings | None = None
        self._turns = Turns()
        has_selection = not Gimp.Selection.is_empty(image)
        config.set_property("apply-to", "selection" if has_selection else "layer")
        self._earlier: dict[bool, dict | None] = {}  # by whether the visible picture is printed
        if self._sharpened_before(self._settings()):
            config.set_property("medium", "none")
        self._layout = pixels.format_of(layer).layout
        title = _("Make a Proof Sheet") if self._is_proof else _("Enhance for Wall Print")
        self._dialog = GimpUi.ProcedureDialog.new(procedure, config, title)
        self._dialog.set_ok_label(_("Mak_e") if self._is_proof else _("_Enhance"))
        self._chain = Gtk.CheckButton.new_with_mnemonic(_("_Keep proportions"))
        self._chain.set_active(not (config.get_property("width") and config.get_property("height")))
        self._preview = Preview(image, layer, self._settings, self._turns)
        self._meter = DetailMeter(image, layer, self._turns, self._update)
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
        self._turns.stopped = True
        self._dialog.destroy()

    def _on_response(self, _dialog, response) -> None:
        """GTK waits for a job that runs, so it must end before the dialog can."""
        ends = (Gtk.ResponseType.OK, Gtk.ResponseType.CANCEL, Gtk.ResponseType.DELETE_EVENT)
        if response in ends:
            self._turns.stopped = True

    # -- layout ------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        head = source_line(self._image, self._layer)
        box = own_box(self._dialog, head, chars=_WIDE_CHARS)
        self._advanced = Advanced(self._config, self._settings, self._turns)
        self._edges_tab = EdgesTab(self._config)
        tabs = Gtk.Notebook()
        for title, content in (
            (_("Preview"), self._preview.widget),
            (_("Paper, edges, c_uts"), self._edges_tab.widget),
            (_("Ad_vanced"), self._advanced.widget),
        ):
            content.set_border_width(_TAB_GAP_PX)
            label = Gtk.Label.new_with_mnemonic(title)
            label.set_margin_start(_TAB_GAP_PX)
            label.set_margin_end(_TAB_GAP_PX)
            tabs.append_page(content, label)
        columns = Gtk.Box(spacing=_COLUMN_GAP_PX)
        columns.pack_start(self._paper_column(), False, False, 0)
        columns.pack_start(self._making_column(), False, False, 0)
        columns.pack_start(tabs, True, True, 0)
        box.pack_start(columns, True, True, 0)
        self._refusal, self._files, self._cost = (line(chars=_WIDE_CHARS) for _wide in range(3))
        box.pack_start(self._refusal, False, False, 0)
        if not self._is_proof:  # the others are of the whole print
            box.pack_start(self._files, False, False, 0)
            box.pack_start(self._cost, False, False, 0)
        box.show_all()

    def _paper_column(self) -> Gtk.Widget:
        """What is on paper."""
        column = Column(self._config)
        column.title(_("Print size"))
        column.row(_("Preset"), column.choice("preset", choices_of("preset")))
        self._width = column.number("width", 1.0, digits=2)
        self._unit_list = column.choice("unit", choices_of("unit"), _("Unit of width and height"))
        column.row(_("Wi_dth"), self._width, self._unit_list)
        self._height = column.number("height", 1.0, digits=2)
        column.row(_("Hei_ght"), self._height)
        column.add(self._chain)
        column.row(_("Orientation"), column.choice("orientation", choices_of("orientation")))
        column.row(_("Resolut_ion (ppi)"), column.number("ppi", 10.0, digits=1))
        self._pixels = column.add(line())
        column.title(_("On the paper"))
        places = _("What a crop keeps; where padding puts the picture")
        self._anchor = column.choice("anchor", choices_of("anchor"), places)
        column.row(_("_Fit"), column.choice("fit", choices_of("fit")), self._anchor)
        width = _("Width of the edges on each side, mm")
        self._edge_width = column.number("edge-width", 1.0, digits=1, hint=width)
        column.row(_("Edges (mm)"), column.choice("edges", choices_of("edges")), self._edge_width)
        self._fit = column.add(line())
        distance = column.number("distance", 10.0, lowest=_("1.5 diagonals"))
        column.row(_("Vie_wed from (cm)"), distance)
        self._advice = column.add(line())
        return column.widget

    def _making_column(self) -> Gtk.Widget:
        """How it is made, and what comes of it."""
        column = Column(self._config, _WIDE_LIST_CHARS)
        column.title(_("Enhancing"))
        column.row(_("St_yle"), column.choice("style", choices_of("style")))
        automatic = _("automatic")
        column.row(_("Re_pair"), column.number("repair", 5.0, lowest=automatic))
        column.row(_("De_blur"), column.number("deblur", 5.0, lowest=automatic))
        feather = _("Soft edge of the selection, on paper")
        self._feather = column.number("feather", 0.5, digits=1, hint=feather)
        column.row(_("_Apply to"), column.choice("apply-to", choices_of("apply-to")))
        column.row(_("Feather (mm)"), self._feather)
        column.title(_("Output sharpening"))
        column.row(_("_Medium"), column.choice("medium", choices_of("medium")))
        self._strength = column.choice("strength", choices_of("strength"))
        column.row(_("Stre_ngth"), self._strength)
        self._halo = column.add(line())
        column.title(_("Proof sheet") if self._is_proof else _("Result"))
        if self._is_proof:
            self._all_strengths = column.check("strengths", _("In all s_trengths"))
            papers = column.choice("paper", choices_of("paper"))
            column.row(_("Paper"), papers, self._all_strengths)
            if not self._config.get_property("folder"):
                self._config.set_property("folder", str(files.documents()))
            column.row(_("Folder"), column.folder("folder", _("Folder for the sheet")))
        else:
            column.row(_("Resul_t"), column.choice("result", choices_of("result")))
        self._detail = column.add(line())
        return column.widget

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
        per_mm = {unit: 1 / mm for unit, mm in plan_lines.UNIT_MM.items()}
        per_mm["px"] = ppi / 25.4
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
        self._grey_out()
        try:
            settings = self._live_settings()
            plan = run.plan_of(self._image, settings)
            rect = self._layer_rect(settings)
            job = layer_job(plan, rect)
        except (ValueError, WallprintError) as error:
            self._refusal.set_markup(f"<b>{_escape(explain(error))}</b>")
            self._dialog.set_response_sensitive(Gtk.ResponseType.OK, False)
            self._set_lines_sensitive(False)
            return
        self._set_lines_sensitive(True)
        self._dialog.set_response_sensitive(Gtk.ResponseType.OK, True)
        self._show(plan, settings, job, rect.size)
        if plan != self._plan or settings != self._shown:
            self._plan, self._shown = plan, settings
            self._preview.changed(plan, settings)

    def _grey_out(self) -> None:
        """Values that do not count."""
        value = self._config.get_property
        custom = value("preset") == CUSTOM
        for widget in (self._width, self._height, self._unit_list, self._chain):
            widget.set_sensitive(custom)
        self._anchor.set_sensitive(value("fit") != "keep")
        self._edge_width.set_sensitive(value("edges") != "none")
        self._feather.set_sensitive(value("apply-to") == "selection")
        sharpens = value("medium") not in ("none", "screen")
        self._strength.set_sensitive(sharpens)
        if self._is_proof:
            self._all_strengths.set_sensitive(sharpens)

    def _set_lines_sensitive(self, sensitive: bool) -> None:
        """Lines of a print that cannot be made are those of the last one that can: grey."""
        for label in (
            self._pixels, self._fit, self._advice, self._halo, self._detail, self._files,
            self._cost,
        ):  # fmt: skip
            label.set_sensitive(sensitive)

    def _show(self, plan: Plan, settings: Settings, job: LayerJob, size: Size) -> None:
        say = words()
        earlier = self._sharpened_before(settings)
        warnings = [plan_lines.sharpened_line(say, earlier, settings)]
        refused = plan_lines.presets_refusal()
        warnings += [say.say(refused)] if refused else []
        self._refusal.set_markup(_escape("\n".join(text for text in warnings if text)))
        self._pixels.set_text(plan_lines.pixels_line(say, plan, settings))
        fit = plan_lines.fit_line(say, plan, settings)
        self._fit.set_text(fit)
        self._fit.set_visible(bool(fit))
        self._advice.set_text(plan_lines.advice_line(say, plan))
        halo = plan_lines.halo_line(say, plan, settings)
        if earlier and settings.sharpen == "none":
            halo = _("Not sharpened for paper: an earlier print has done that.")
        self._halo.set_text(halo)
        detail = self._meter.detail(settings)
        if detail is None:
            self._detail.set_text(self._meter.status)
        else:
            self._detail.set_text(plan_lines.detail_line(say, detail, job, plan.ppi))
        if not self._is_proof:
            self._files.set_text(plan_lines.files_line(say, plan, self._layout))
            self._cost.set_text(plan_lines.cost_line(say, settings, self._layout, size, job))
        self._edges_tab.show(plan, settings)

    def _sharpened_before(self, settings: Settings) -> dict | None:
        """How the source was sharpened for paper by an earlier print."""
        visible = settings.source == "visible"
        if visible not in self._earlier:
            found = passports.earlier_sharpening(self._image, self._layer, settings)
            self._earlier[visible] = found
        return self._earlier[visible]

    def _layer_rect(self, settings: Settings) -> Rect:
        if settings.source == "visible":
            return Rect(0, 0, self._canvas.width, self._canvas.height)
        _ok, x, y = self._layer.get_offsets()
        return Rect(x, y, self._layer.get_width(), self._layer.get_height())


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
