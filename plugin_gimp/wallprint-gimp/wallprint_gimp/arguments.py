"""What the procedures take: names, labels, choices, defaults; and the way to `Settings`.

Every value of the dialogs is such an argument, so that Reset, saved settings, last values and
scripts know all of them.
"""

from __future__ import annotations

from gi.repository import Gimp, GObject

from wallprint_protocol.print_plan import CUSTOM, EDGE_MM, PRESETS, Settings
from wallprint_protocol.print_size import MAX_PPI, MIN_PPI, PRINTER_FAMILIES

from .texts import N_, _

ENHANCE = "plug-in-wallprint-enhance"
SHARPEN = "plug-in-wallprint-sharpen-selection"
AUTOMATIC = -1
MAX_TILE_PX = 4096
MAX_EDGE_MM = 500.0
_RW = GObject.ParamFlags.READWRITE
_PRINTERS = {
    "none": N_("Off"),
    "300": N_("Canon, HP: 300 or 600 ppi"),
    "360": N_("Epson: 360 or 720 ppi"),
}

# Argument -> (nick, label) of its choices.
CHOICES = {
    "preset": tuple((name.lower(), N_("Custom") if name == CUSTOM else name) for name in PRESETS),
    "unit": (("cm", "cm"), ("mm", "mm"), ("in", "in"), ("px", "px")),
    "fit": (
        ("keep", N_("Keep ratio")),
        ("crop", N_("Crop to fill")),
        ("pad", N_("Pad with white")),
    ),
    "edges": (
        ("none", N_("No edges")),
        ("bleed", N_("Bleed, to be cut off")),
        ("wrap", N_("Gallery wrap, mirrored")),
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
        ("glossy", N_("Glossy paper")),
        ("matte", N_("Matte or fine art paper")),
        ("canvas", N_("Canvas")),
        ("backlit", N_("Backlit film")),
        ("screen", N_("Screen only")),
        ("none", N_("None")),
    ),
    "strength": (("low", N_("Low")), ("standard", N_("Standard")), ("high", N_("High"))),
    "result": (
        ("new-layer", N_("New layer, image scaled")),
        ("new-image", N_("New image")),
        ("replace", N_("Replace the layer")),
    ),
    "printer": tuple((name, _PRINTERS[name]) for name in PRINTER_FAMILIES),
    "device": (("auto", N_("Automatic")), ("cpu", "CPU"), ("cuda", "CUDA"), ("mps", "Metal")),
}
# The default where it is not the first.
DEFAULTS = {"medium": "matte", "strength": "standard"}
_PRESET_BY_NICK = {name.lower(): name for name in PRESETS}


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
        "distance_cm": config.get_property("distance"),
        "device": config.get_property("device"),
    }
    if name == SHARPEN:
        return Settings(**common)
    edges = config.get_property("edges")
    return Settings(
        preset=_PRESET_BY_NICK[config.get_property("preset")],
        width=config.get_property("width"),
        height=config.get_property("height"),
        unit=config.get_property("unit"),
        ppi=config.get_property("ppi"),
        fit=config.get_property("fit"),
        edges=edges,
        edge_mm=config.get_property("edge-width") or EDGE_MM[edges],
        style=config.get_property("style"),
        repair=amount("repair"),
        source=config.get_property("apply-to"),
        result=config.get_property("result"),
        model=(config.get_property("model") or "").strip(),
        tile_px=config.get_property("tile"),
        printer=config.get_property("printer"),
        **common,
    )


def add_enhance_arguments(procedure) -> None:
    """Those of Enhance for Wall Print, in the order of the dialog."""
    _choice(procedure, "preset", _("Preset"), _("Paper or frame size"))
    follows = _("0: follows from the other side; both 0: 100 cm on the long side")
    _length(procedure, "width", _("Wi_dth"), follows, 262144.0, 0.0)
    _length(procedure, "height", _("Hei_ght"), follows, 262144.0, 0.0)
    _choice(procedure, "unit", _("_Unit"), _("Unit of width and height"))
    procedure.add_double_argument(
        "ppi", _("Resolut_ion (ppi)"), _("Pixels per inch of paper"), MIN_PPI, MAX_PPI, 200.0, _RW
    )
    _choice(procedure, "fit", _("_Fit"), _("When the paper's proportions are others"))
    _choice(procedure, "edges", _("Edges"), _("Picture beyond the print's size"))
    _length(
        procedure,
        "edge-width",
        _("Edge width (mm)"),
        _("On each side; 0: 3 mm of bleed, 40 mm of gallery wrap"),
        MAX_EDGE_MM,
        0.0,
    )
    _distance(procedure)
    _choice(procedure, "style", _("St_yle"), None)
    _amount(procedure, "repair", _("Re_pair"), _("Remove JPEG artefacts and noise; -1: automatic"))
    _amount(procedure, "deblur", _("De_blur"), _("Remove blur; -1: automatic"))
    _choice(procedure, "apply-to", _("_Apply to"), None)
    _finish(procedure)
    _choice(procedure, "result", _("Resul_t"), None)
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
    procedure.add_image_return_value(
        "result-image", _("Result"), _("Image with the print"), False, _RW
    )


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
    options = CHOICES[name]
    for number, (nick, text) in enumerate(options):
        choice.add(nick, number, _(text), "")
    default = DEFAULTS.get(name, options[0][0])
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
