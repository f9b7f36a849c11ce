"""The procedures GIMP sees: their menus and the three run modes."""

from __future__ import annotations

import sys
import traceback

from gi.repository import Gimp, GLib, GObject

from wallprint_protocol.errors import Cancelled, WallprintError

from . import run
from .arguments import ENHANCE, SHARPEN, add_enhance_arguments, add_sharpen_arguments, settings_of
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
            add_enhance_arguments(procedure)
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
        except (WallprintError, ValueError) as error:  # also a size or option that cannot be
            return _failed(procedure, explain(error))
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
