"""The procedures GIMP sees: their menus and the three run modes."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from gi.repository import Gimp, GLib, GObject

from wallprint_protocol.errors import Cancelled, WallprintError

from . import files, run
from .arguments import (
    ENHANCE,
    PROOF,
    SHARPEN,
    add_enhance_arguments,
    add_proof_arguments,
    add_sharpen_arguments,
    settings_of,
)
from .texts import DOMAIN, _, explain


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
    """Registers the procedures and runs them."""

    def do_query_procedures(self):
        """Names of the procedures."""
        return [ENHANCE, PROOF, SHARPEN]

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
            add_enhance_arguments(procedure)
        elif name == PROOF:
            procedure.set_menu_label(_("Make a P_roof Sheet…"))
            procedure.add_menu_path("<Image>/Image/[Scale]")
            procedure.set_documentation(
                _("One sheet of crops of the print at their true size, before it is made"),
                _("Written as PDF and as TIFF; the document does not change."),
                name,
            )
            add_proof_arguments(procedure)
        else:
            procedure.set_menu_label(_("Sharpen Selection for _Print…"))
            procedure.add_menu_path("<Image>/Filters/Enhance")
            procedure.set_documentation(
                _("Remove blur and sharpen inside the selection, for the intended print"),
                _("The size stays; outside the selection not a bit changes."),
                name,
            )
            add_sharpen_arguments(procedure)
        return procedure

    def _run(self, procedure, run_mode, image, drawables, config, _data):
        progress = NoProgress()
        name = procedure.get_name()
        try:
            layer = run.check_layer(drawables)
            if run_mode != Gimp.RunMode.NONINTERACTIVE:
                from . import window

                if run_mode == Gimp.RunMode.INTERACTIVE and not _ask(
                    procedure, config, image, layer
                ):
                    return procedure.new_return_values(Gimp.PDBStatusType.CANCEL, None)
                title = _("Making the proof sheet") if name == PROOF else None
                progress = window.ProgressWindow(name, title or _("Enhancing for the print"))
            return self._work(procedure, run_mode, image, layer, config, progress)
        except Cancelled:
            return procedure.new_return_values(Gimp.PDBStatusType.CANCEL, None)
        except (WallprintError, ValueError) as error:  # also a size or option that cannot be
            return _failed(procedure, explain(error))
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            return _failed(procedure, f"{type(error).__name__}: {error}")
        finally:
            progress.close()

    def _work(self, procedure, run_mode, image, layer, config, progress):
        name = procedure.get_name()
        settings = settings_of(config, name)
        interactive = run_mode == Gimp.RunMode.INTERACTIVE
        made = None
        if name == SHARPEN:
            length_mm = config.get_property("print-long-side")
            run.sharpen(image, layer, settings, length_mm, progress)
        elif name == PROOF:
            _make_proof(image, layer, settings, config, progress, interactive)
        else:
            made = run.enhance(image, layer, settings, progress, keep_pixels=interactive)
            if run_mode != Gimp.RunMode.NONINTERACTIVE and made.image != image:
                Gimp.Display.new(made.image)
        if run_mode != Gimp.RunMode.NONINTERACTIVE:
            Gimp.displays_flush()
        values = procedure.new_return_values(Gimp.PDBStatusType.SUCCESS, None)
        if made is not None:
            values.remove(1)
            values.insert(1, GObject.Value(Gimp.Image, made.image))
            if interactive:
                from .closing import ClosingWindow

                progress.close()
                ClosingWindow(name, made).run()
        return values


def _ask(procedure, config, image, layer) -> bool:
    """Show the procedure's dialog; whether the user wants to go on."""
    from gi.repository import GimpUi

    from .dialog import PrintDialog
    from .sharpen_dialog import SharpenDialog

    GimpUi.init(procedure.get_name())
    kind = SharpenDialog if procedure.get_name() == SHARPEN else PrintDialog
    dialog = kind(procedure, config, image, layer)
    try:
        return dialog.ask()
    finally:
        dialog.close()


def _make_proof(image, layer, settings, config, progress, interactive) -> None:
    found = config.get_property("folder")
    folder = Path(found) if found else files.documents()
    sheets = files.make_proof(
        image,
        layer,
        settings,
        folder,
        progress,
        paper=config.get_property("paper"),
        all_strengths=config.get_property("strengths"),
    )
    if interactive:
        from .closing import tell_proof

        progress.close()
        tell_proof(PROOF, sheets)


def _failed(procedure, text):
    return procedure.new_return_values(
        Gimp.PDBStatusType.EXECUTION_ERROR,
        GLib.Error.new_literal(Gimp.PlugIn.error_quark(), text, 0),
    )
