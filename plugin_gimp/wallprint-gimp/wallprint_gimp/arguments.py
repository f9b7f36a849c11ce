"""What the procedures take: names, labels, choices, defaults; and the way to `Settings`.

Every value of the dialogs is such an argument, so that Reset, saved settings, last values and
scripts know all of them.
"""

from __future__ import annotations

from gi.repository import Gimp, GObject

from wallprint_protocol import plan_lines
from wallprint_protocol.panels import MAX_PANELS
from wallprint_protocol.print_plan import EDGE_MM, OVERLAP_MM, Settings
from wallprint_protocol.print_size import MAX_PPI, MIN_PPI, PRINTER_FAMILIES
from wallprint_protocol.request import MOST_HALO_MM, MOST_SPREAD_MM

from .texts import N_, _, words

ENHANCE = "plug-in-wallprint-enhance"
SHARPEN = "plug-in-wallprint-sharpen-selection"
PROOF = "plug-in-wallprint-proof"
AUTOMATIC = -1
MAX_TILE_PX = 4096
MAX_EDGE_MM = 500.0
MAX_SHEET_MM = 10_000.0
_RW = GObject.ParamFlags.READWRITE
_DEVICES = {"auto": N_("Automatic"), "cpu": "CPU", "cuda": "CUDA", "mps": "Metal"}

# Argument -> its choices, nick and label; the presets are those of this computer.
CHOICES = {
    "unit": plan_lines.UNITS,
    "orientation": plan_lines.ORIENTATIONS,
    "fit": plan_lines.FITS,
    "anchor": plan_lines.ANCHORS,
    "edges": plan_lines.EDGES,
    "wrap-fill": plan_lines.WRAP_FILLS,
    "style": plan_lines.STYLES,
    "apply-to": plan_lines.SOURCES,
    "medium": plan_lines.MEDIA,
    "strength": plan_lines.STRENGTHS,
    "result": plan_lines.RESULTS,
    "printer": {name: plan_lines.PRINTERS[name] for name in PRINTER_FAMILIES},
    "device": _DEVICES,
    "paper": plan_lines.PAPERS,
}
# The default where it is not the first.
DEFAULTS = {"medium": "matte", "strength": "standard"}


def choices_of(name: str) -> dict[str, str]:
    """Nicks of a choice with their labels in the user's language."""
    if name == "preset":
        offered = plan_lines.preset_choices()
        return {value.lower(): words().say(text) for value, text in offered.items()}
    return {nick: _(text) for nick, text in CHOICES[name].items()}


def _preset(nick: str) -> str:
    """`Settings.preset` of a nick; GIMP's are lower case."""
    known = {value.lower(): value for value in plan_lines.preset_choices()}
    return plan_lines.preset_of(known.get(nick, nick))


def settings_of(config, name: str) -> Settings:
    """The arguments of the procedure `name` as `Settings`."""

    def amount(argument):
        value = config.get_property(argument)
        return None if value == AUTOMATIC else value

    common = {
        "deblur": amount("deblur"),
        "feather_mm": config.get_property("feather"),
        "medium": config.get_property("medium"),
        "strength": config.get_property("strength"),
        "halo_mm": config.get_property("halo"),
        "spread_mm": config.get_property("ink-spread"),
        "distance_cm": config.get_property("distance"),
        "device": config.get_property("device"),
    }
    if name == SHARPEN:
        return Settings(**common)
    edges = config.get_property("edges")
    return Settings(
        preset=_preset(config.get_property("preset")),
        width=config.get_property("width"),
        height=config.get_property("height"),
        unit=config.get_property("unit"),
        ppi=config.get_property("ppi"),
        orientation=config.get_property("orientation"),
        fit=config.get_property("fit"),
        anchor=config.get_property("anchor"),
        edges=edges,
        edge_mm=config.get_property("edge-width") or EDGE_MM[edges],
        wrap_fill=config.get_property("wrap-fill"),
        wrap_colour=config.get_property("wrap-colour"),
        panel_rows=config.get_property("panel-rows"),
        panel_columns=config.get_property("panel-columns"),
        sheet_width_mm=config.get_property("sheet-width"),
        overlap_mm=config.get_property("overlap"),
        crop_marks=config.get_property("crop-marks"),
        style=config.get_property("style"),
        repair=amount("repair"),
        source=config.get_property("apply-to"),
        result=config.get_property("result") if name == ENHANCE else Settings.result,
        model=(config.get_property("model") or "").strip(),
        tile_px=config.get_property("tile"),
        printer=config.get_property("printer"),
        **common,
    )


def add_enhance_arguments(procedure) -> None:
    """Those of Enhance for Wall Print, in the order of the dialog."""
    add_print_arguments(procedure)
    _choice(procedure, "result", _("Resul_t"), None)
    procedure.add_image_return_value(
        "result-image", _("Result"), _("Image with the print"), False, _RW
    )


def add_proof_arguments(procedure) -> None:
    """Those of Make a Proof Sheet: where it goes, and the print that it is of."""
    procedure.add_string_argument(
        "folder", _("Folder"), _("Where the sheet is written, as PDF and as TIFF"), "", _RW
    )
    _choice(procedure, "paper", _("Paper"), _("Of the proof sheet"))
    procedure.add_boolean_argument(
        "strengths",
        _("In all s_trengths"),
        _("Each crop in all strengths of the output sharpening"),
        False,
        _RW,
    )
    add_print_arguments(procedure)


def add_print_arguments(procedure) -> None:
    """Those that say what print is made."""
    _choice(procedure, "preset", _("Preset"), _("Paper or frame size"))
    follows = _("0: follows from the other side; both 0: 100 cm on the long side")
    _length(procedure, "width", _("Wi_dth"), follows, 262144.0, 0.0)
    _length(procedure, "height", _("Hei_ght"), follows, 262144.0, 0.0)
    _choice(procedure, "unit", _("Unit"), _("Unit of width and height"))
    procedure.add_double_argument(
        "ppi", _("Resolut_ion (ppi)"), _("Pixels per inch of paper"), MIN_PPI, MAX_PPI, 200.0, _RW
    )
    _choice(procedure, "orientation", _("Orientation"), _("Of the paper"))
    _choice(procedure, "fit", _("_Fit"), _("When the paper's proportions are others"))
    _choice(procedure, "anchor", _("Place"), _("What a crop keeps; where padding puts the picture"))
    _choice(procedure, "edges", _("Edges"), _("Picture beyond the print's size"))
    _length(
        procedure,
        "edge-width",
        _("Edge width (mm)"),
        _("On each side; 0: 3 mm of bleed, 40 mm of gallery wrap"),
        MAX_EDGE_MM,
        0.0,
    )
    _choice(procedure, "wrap-fill", _("Wrapped with"), _("What goes round the bar"))
    procedure.add_string_argument(
        "wrap-colour", _("Colour"), _("Of the wrap, as #RRGGBB"), Settings.wrap_colour, _RW
    )
    for name, label, blurb in (
        ("panel-rows", _("Rows"), _("Panels on top of each other")),
        ("panel-columns", _("Columns"), _("Panels side by side")),
    ):
        procedure.add_int_argument(name, label, blurb, 1, MAX_PANELS, 1, _RW)
    _length(
        procedure,
        "sheet-width",
        _("Widest sheet (mm)"),
        _("That goes through the printer; gives the columns. 0: any"),
        MAX_SHEET_MM,
        0.0,
    )
    shared = _("What neighbouring panels share")
    _length(procedure, "overlap", _("Overlap (mm)"), shared, MAX_EDGE_MM, OVERLAP_MM)
    marks = _("On white paper around each panel, when it is written to a file")
    procedure.add_boolean_argument("crop-marks", _("Crop marks"), marks, False, _RW)
    _distance(procedure)
    _choice(procedure, "style", _("St_yle"), None)
    _amount(procedure, "repair", _("Re_pair"), _("Remove JPEG artefacts and noise; -1: automatic"))
    _amount(procedure, "deblur", _("De_blur"), _("Remove blur; -1: automatic"))
    _choice(procedure, "apply-to", _("_Apply to"), None)
    _finish(procedure)
    procedure.add_string_argument(
        "model", _("Network"), _("Name of an enlarging network; empty: the style's own"), "", _RW
    )
    procedure.add_int_argument(
        "tile",
        _("Tile si_ze (px)"),
        _("Side of a tile in pixels of the source, 64 to 4096; 0: automatic"),
        0,
        MAX_TILE_PX,
        0,
        _RW,
    )
    _choice(procedure, "printer", _("Match printer"), _("Use the printer's own resolution"))
    _choice(procedure, "device", _("Compute on"), None)


def add_sharpen_arguments(procedure) -> None:
    """Those of Sharpen Selection for Print."""
    _length(
        procedure,
        "print-long-side",
        _("Lon_g side of the layer on paper (mm)"),
        _("0: by the document's own resolution"),
        100_000.0,
        0.0,
    )
    _distance(procedure)
    _amount(procedure, "deblur", _("De_blur"), _("Remove blur; -1: automatic"))
    _finish(procedure)
    _choice(procedure, "device", _("Compute on"), None)


def _choice(procedure, name, label, blurb):
    choice = Gimp.Choice.new()
    options = choices_of(name)
    for number, (nick, text) in enumerate(options.items()):
        choice.add(nick, number, text, "")
    default = DEFAULTS.get(name, next(iter(options)))
    procedure.add_choice_argument(name, label, blurb, choice, default, _RW)


def _length(procedure, name, label, blurb, most, default):
    procedure.add_double_argument(name, label, blurb, 0.0, most, default, _RW)


def _amount(procedure, name, label, blurb):
    procedure.add_int_argument(name, label, blurb, AUTOMATIC, 100, AUTOMATIC, _RW)


def _distance(procedure):
    blurb = _("0: one and a half diagonals of the print")
    _length(procedure, "distance", _("Vie_wed from (cm)"), blurb, 100_000.0, 0.0)


def _finish(procedure):
    blurb = _("Soft edge of the selection, on paper")
    _length(procedure, "feather", _("Feather (mm)"), blurb, 1000.0, 1.0)
    _choice(procedure, "medium", _("_Medium"), _("Output sharpening for this paper"))
    _choice(procedure, "strength", _("Stre_ngth"), None)
    blurb = _("Width of the sharpening's halo on paper, fitted to the picture; 0: automatic")
    _length(procedure, "halo", _("Halo (mm)"), blurb, MOST_HALO_MM, 0.0)
    blurb = _("How far ink spreads on the paper, measured, Gaussian sigma; 0: automatic")
    _length(procedure, "ink-spread", _("Ink spread (mm)"), blurb, MOST_SPREAD_MM, 0.0)
