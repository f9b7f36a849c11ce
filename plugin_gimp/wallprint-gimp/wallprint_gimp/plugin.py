"""The procedures GIMP sees: their names, menus, arguments and the three run modes."""

from __future__ import annotations

import sys
import traceback

from gi.repository import Gimp, GLib, GObject

from wallprint_protocol.errors import Cancelled, WallprintError
from wallprint_protocol.print_plan import CUSTOM, PRESETS, Settings
from wallprint_protocol.print_size import MAX_PPI, MIN_PPI

from . import run
from .texts import DOMAIN, N_, _

ENHANCE = "plug-in-wallprint-enhance"
SHARPEN = "plug-in-wallprint-sharpen-selection"
_AUTOMATIC = -1
_RW = GObject.ParamFlags.READWRITE

# Argument -> (nick, label) of its choices; the first is the default.
CHOICES = {
    "preset": tuple((name.lower(), N_("Custom") if name == CUSTOM else name) for name in PRESETS),
    "unit": (("cm", "cm"), ("mm", "mm"), ("in", "in"), ("px", "px")),
    "fit": (
        ("keep", N_("Keep ratio")),
        ("crop", N_("Crop to fill")),
        ("pad", N_("Pad with white")),
    ),
    "style": (
        ("faithful", N_("Faithful: adds nothing")),
        ("enhanced", N_("Enhanced: may invent detail")),
    ),
    "apply-to": (
        ("layer", N_("Active layer")),
        ("visible", N_("Visible picture")),
        ("selection", N_("Selection only")),
    ),
    "medium": (
        ("matte", N_("Matte or fine art paper")),
        ("glossy", N_("Glossy paper")),
        ("canvas", N_("Canvas")),
        ("none", N_("None")),
    ),
    "strength": (("standard", N_("Standard")), ("low", N_("Low")), ("high", N_("High"))),
    "result": (
        ("new-layer", N_("New layer, image scaled")),
        ("new-image", N_("New image")),
    ),
    "device": (("auto", N_("Automatic")), ("cpu", "CPU"), ("cuda", "CUDA"), ("mps", "Metal")),
}
_PRESET_BY_NICK = {name.lower(): name for name in PRESETS}


class NoProgress:
    """Non-interactive runs: nothing to show, nobody to cancel."""

    def status(self, sentence):
        """Say nothing."""

    def show(self, progress):
        """Show nothing."""

    def should_cancel(self):
        """Nobody asks."""
        return False

    def close(self):
        """Nothing to close."""


class WallprintPlugIn(Gimp.PlugIn):
    """Registers both procedures and runs them."""

    def do_query_procedures(self):
        """Names of the procedures."""
        return [ENHANCE, SHARPEN]

    def do_set_i18n(self, name):
        """Catalogues: `locale/<language>/LC_MESSAGES/wallprint.mo` beside the plug-in."""
        return True, DOMAIN, "locale"

    def do_create_procedure(self, name):
        """Describe one procedure."""
        procedure = Gimp.ImageProcedure.new(self, name, Gimp.PDBProcType.PLUGIN, self._run, None)
        procedure.set_image_types("*")
        procedure.set_sensitivity_mask(Gimp.ProcedureSensitivityMask.DRAWABLE)
        procedure.set_attribution("wallprint", "GPL-3.0-or-later", "2026")
        if name == ENHANCE:
            procedure.set_menu_label(_("Enhance for _Wall Print…"))
            procedure.add_menu_path("<Image>/Image/[Scale]")
            procedure.set_documentation(
                _("Enlarge and sharpen the layer to its exact size on paper"),
                _("The other layers are scaled along and stay in register."),
                name,
            )
            _add_print_arguments(procedure)
            _add_enhance_arguments(procedure)
        else:
            procedure.set_menu_label(_("Sharpen Selection for _Print…"))
            procedure.add_menu_path("<Image>/Filters/Enhance")
            procedure.set_documentation(
                _("Remove blur and sharpen inside the selection, for the intended print"),
                _("The size stays; outside the selection not a bit changes."),
                name,
            )
            _add_sharpen_arguments(procedure)
        return procedure

    def _run(self, procedure, run_mode, image, drawables, config, _data):
        progress = NoProgress()
        try:
            layer = run.check_layer(drawables)
            if run_mode != Gimp.RunMode.NONINTERACTIVE:
                from . import dialog, window

                if run_mode == Gimp.RunMode.INTERACTIVE and not dialog.ask(
                    procedure, config, image, layer
                ):
                    return procedure.new_return_values(Gimp.PDBStatusType.CANCEL, None)
                progress = window.ProgressWindow(procedure.get_name())
            return self._work(procedure, run_mode, image, layer, config, progress)
        except Cancelled:
            return procedure.new_return_values(Gimp.PDBStatusType.CANCEL, None)
        except WallprintError as error:
            return _failed(procedure, explain(error))
        except ValueError as error:  # a size, ppi or option that cannot be
            return _failed(procedure, str(error))
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            return _failed(procedure, f"{type(error).__name__}: {error}")
        finally:
            progress.close()

    def _work(self, procedure, run_mode, image, layer, config, progress):
        settings = settings_of(config, procedure.get_name())
        if procedure.get_name() == SHARPEN:
            length_mm = config.get_property("print-long-side")
            run.sharpen(image, layer, settings, length_mm, progress)
            target = image
        else:
            target, _layer, _result = run.enhance(image, layer, settings, progress)
        if run_mode != Gimp.RunMode.NONINTERACTIVE:
            if target is not image:
                Gimp.Display.new(target)
            Gimp.displays_flush()
        values = procedure.new_return_values(Gimp.PDBStatusType.SUCCESS, None)
        if procedure.get_name() == ENHANCE:
            values.remove(1)
            result = GObject.Value(Gimp.Image, target)
            values.insert(1, result)
        return values


def _failed(procedure, text):
    return procedure.new_return_values(
        Gimp.PDBStatusType.EXECUTION_ERROR,
        GLib.Error.new_literal(Gimp.PlugIn.error_quark(), text, 0),
    )


def explain(error: WallprintError) -> str:
    """The code's sentence in the user's language, then the particulars."""
    sentence = _(error.sentence)
    return sentence if error.message in ("", error.sentence) else f"{sentence}\n{error.message}"


def settings_of(config, name: str) -> Settings:
    """The arguments as `Settings`."""

    def amount(argument):
        value = config.get_property(argument)
        return None if value == _AUTOMATIC else value

    common = {
        "deblur": amount("deblur"),
        "feather_mm": config.get_property("feather"),
        "medium": config.get_property("medium"),
        "strength": config.get_property("strength"),
        "distance_cm": config.get_property("distance"),
        "device": config.get_property("device"),
    }
    if name == SHARPEN:
        return Settings(**common)
    return Settings(
        preset=_PRESET_BY_NICK[config.get_property("preset")],
        width=config.get_property("width"),
        height=config.get_property("height"),
        unit=config.get_property("unit"),
        ppi=config.get_property("ppi"),
        fit=config.get_property("fit"),
        style=config.get_property("style"),
        repair=amount("repair"),
        source=config.get_property("apply-to"),
        result=config.get_property("result"),
        **common,
    )


def _add_choice(procedure, name, label, blurb):
    choice = Gimp.Choice.new()
    options = CHOICES[name]
    for number, (nick, text) in enumerate(options):
        choice.add(nick, number, _(text), "")
    procedure.add_choice_argument(name, label, blurb, choice, options[0][0], _RW)


def _add_amount(procedure, name, label, blurb):
    procedure.add_int_argument(name, label, blurb, _AUTOMATIC, 100, _AUTOMATIC, _RW)


def _add_print_arguments(procedure):
    _add_choice(procedure, "preset", _("Preset"), _("Paper or frame size"))
    follows = _("0: follows from the other side; both 0: 100 cm on the long side")
    procedure.add_double_argument("width", _("Wi_dth"), follows, 0.0, 262144.0, 0.0, _RW)
    procedure.add_double_argument("height", _("Hei_ght"), follows, 0.0, 262144.0, 0.0, _RW)
    _add_choice(procedure, "unit", _("_Unit"), _("Unit of width and height"))
    procedure.add_double_argument(
        "ppi", _("Resolut_ion (ppi)"), _("Pixels per inch of paper"), MIN_PPI, MAX_PPI, 200.0, _RW
    )
    _add_choice(procedure, "fit", _("_Fit"), _("When the paper's proportions are others"))


def _add_enhance_arguments(procedure):
    _add_distance(procedure)
    _add_choice(procedure, "style", _("St_yle"), None)
    _add_amount(
        procedure, "repair", _("Re_pair"), _("Remove JPEG artefacts and noise; -1: automatic")
    )
    _add_amount(procedure, "deblur", _("De_blur"), _("Remove blur; -1: automatic"))
    _add_choice(procedure, "apply-to", _("_Apply to"), None)
    _add_finish(procedure)
    _add_choice(procedure, "result", _("Resul_t"), None)
    _add_choice(procedure, "device", _("Compute _on"), None)
    procedure.add_image_return_value(
        "result-image", _("Result"), _("Image with the print"), False, _RW
    )


def _add_sharpen_arguments(procedure):
    procedure.add_double_argument(
        "print-long-side",
        _("Lon_g side of the layer on paper (mm)"),
        _("0: by the document's own resolution"),
        0.0,
        100_000.0,
        0.0,
        _RW,
    )
    _add_distance(procedure)
    _add_amount(procedure, "deblur", _("De_blur"), _("Remove blur; -1: automatic"))
    _add_finish(procedure)
    _add_choice(procedure, "device", _("Compute _on"), None)


def _add_distance(procedure):
    procedure.add_double_argument(
        "distance",
        _("_Viewed from (cm)"),
        _("0: one and a half diagonals of the print"),
        0.0,
        100_000.0,
        0.0,
        _RW,
    )


def _add_finish(procedure):
    procedure.add_double_argument(
        "feather",
        _("Feather (mm)"),
        _("Soft edge of the selection, on paper"),
        0.0,
        1000.0,
        1.0,
        _RW,
    )
    _add_choice(procedure, "medium", _("_Medium"), _("Output sharpening for this paper"))
    _add_choice(procedure, "strength", _("Stre_ngth"), None)
