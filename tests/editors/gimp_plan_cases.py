"""Cases inside the real GIMP: the print plan, the passport, what is made of a finished print."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from case_runner import run_all
from gimp_pictures import (
    NONINTERACTIVE,
    PLAIN,
    PLUGIN,
    Gimp,
    Gio,
    Rect,
    Settings,
    Size,
    ask_server,
    call,
    enhance,
    make,
    read,
)
from gimp_print_cases import guides, passport, refused

sys.path.insert(0, str(PLUGIN))
from wallprint_gimp import files, passports, run
from wallprint_gimp.plugin import NoProgress

from wallprint_protocol.errors import BadInput
from wallprint_protocol.print_plan import make_plan

BASE = Path(os.environ["WALLPRINT_TEST_BASE"])
PROOF = "plug-in-wallprint-proof"


def sha(data):
    return hashlib.sha256(data).hexdigest()


def xmp(image):
    """Tags of the image's metadata, as GIMP writes it down."""
    return image.get_metadata().serialize()


def export(image, name):
    """The image by GIMP's own export, with all metadata."""
    kind = name.rpartition(".")[2].replace("tif", "tiff")
    procedure = Gimp.get_pdb().lookup_procedure(f"file-{kind}-export")
    config = procedure.create_config()
    config.set_property("image", image)
    config.set_property("file", Gio.File.new_for_path(str(BASE / name)))
    config.set_property("include-xmp", True)
    if kind == "png":
        config.set_property("save-transparent", True)
    assert procedure.run(config).index(0) == Gimp.PDBStatusType.SUCCESS


# -- the plan --------------------------------------------------------------------------------------


def planned(kind="rgb_u8", **values):
    """A print as the settings say, compared with what the server gives for them."""
    image, layer, data, layout = make(kind)
    settings = Settings(unit="px", **values, **PLAIN)
    expected, job = ask_server(data, layout, Rect(0, 0, 48, 36), Size(48, 36), settings)
    names = {"edge_mm": "edge_width", "halo_mm": "halo", "spread_mm": "ink_spread"}
    arguments = {names.get(name, name): value for name, value in values.items()}
    if "sheet_width_mm" in arguments:
        arguments["sheet_width"] = arguments.pop("sheet_width_mm")
    if "overlap_mm" in arguments:
        arguments["overlap"] = arguments.pop("overlap_mm")
    enhance(image, layer, **arguments)
    new = image.get_layers()[0]
    assert Size(new.get_width(), new.get_height()) == job.placement.out
    assert read(new) == expected
    return image, make_plan(Size(48, 36), settings)


def case_anchor():
    values = {"width": 80.0, "height": 80.0, "fit": "crop"}
    left, _plan = planned(**values, anchor="left")
    right, _plan = planned(**values, anchor="right")
    assert read(left.get_layers()[0]) != read(right.get_layers()[0])


def case_orientation():
    image, _plan = planned(width=96.0, height=80.0, fit="pad", orientation="portrait")
    assert (image.get_width(), image.get_height()) == (80, 96)


def case_wrap_in_one_colour():
    planned(width=96.0, edges="wrap", edge_mm=2.0, wrap_fill="colour", wrap_colour="#336699")


def case_wrap_stretched():
    planned(width=96.0, edges="wrap", edge_mm=2.0, wrap_fill="stretch")


def case_halo_and_ink_spread():
    """As the server fits them; the passport tells both, and 0 where nothing is sharpened."""
    wanted = {"halo_mm": 0.6, "spread_mm": 0.05}
    fitted, _plan = planned(width=96.0, **wanted)
    automatic, _plan = planned(width=96.0)
    assert read(fitted.get_layers()[0]) != read(automatic.get_layers()[0])
    options = passport(fitted.get_layers()[0])["options"]
    assert {name: options[name] for name in wanted} == wanted
    plain, _plan = planned(width=96.0, medium="none", **wanted)
    options = passport(plain.get_layers()[0])["options"]
    assert {name: options[name] for name in wanted} == dict.fromkeys(wanted, 0.0)


def case_panels_have_guides():
    image, plan = planned(width=240.0, panel_columns=3, panel_rows=2, overlap_mm=2.0)
    cuts = {"v": set(), "h": set()}
    for sheet in plan.sheets:
        cuts["v"] |= {sheet.rect.x, sheet.rect.x + sheet.rect.width}
        cuts["h"] |= {sheet.rect.y, sheet.rect.y + sheet.rect.height}
    wanted = {("v", at) for at in cuts["v"] - {0, plan.out.width}}
    wanted |= {("h", at) for at in cuts["h"] - {0, plan.out.height}}
    assert len(wanted) == 4 + 2
    assert guides(image) == wanted


def case_widest_sheet_decides():
    _image, plan = planned(width=240.0, sheet_width_mm=12.0, overlap_mm=2.0)
    assert plan.panels.columns == 3


def case_impossible_panels_are_refused():
    refused("narrower overlap", panel_columns=4, overlap=9.0)
    refused("wider sheet", sheet_width=10.0, overlap=11.0)


def case_a_size_of_ones_own():
    """Put into the file after GIMP has asked the plug-in what it knows."""
    folder = Path(os.environ["WALLPRINT_CONFIG_DIR"])
    folder.mkdir(exist_ok=True)
    (folder / "presets.json").write_text('{"Living room": "30x20mm"}')
    try:
        image, layer, _data, _layout = make("rgb_u8")
        from wallprint_gimp.arguments import choices_of

        assert choices_of("preset")["own:living room"] == "Living room (30 × 20mm)"
        settings = Settings(preset="Living room", fit="crop", **PLAIN)
        made = run.enhance(image, layer, settings, NoProgress())
        assert (made.image.get_width(), made.image.get_height()) == (236, 157)
        made.forget()
    finally:
        (folder / "presets.json").unlink()


# -- the passport ----------------------------------------------------------------------------------


def case_passport_is_of_these_bytes():
    """Also after the document was saved and opened."""
    image, layer, data, layout = make("rgba_u16", profile=True)
    image.select_rectangle(Gimp.ChannelOps.REPLACE, 12, 8, 20, 16)
    enhance(image, layer, apply_to="selection", feather=0.0)
    new = image.get_layers()[0]
    told = passport(new)
    made_from, made = told["source"], told["print"]
    assert made_from["sha256"] == sha(data)
    assert (made_from["of"], made_from["layout"]) == ("pixels", layout.to_map())
    wide = {"u8": 1, "u16": 2}[told["selection"]["layout"]["dtype"]]
    mask = b"".join(
        (b"\xff" if 12 <= x < 32 and 8 <= y < 24 else b"\0") * wide
        for y in range(36)
        for x in range(48)
    )
    assert told["selection"]["sha256"] == sha(mask)
    assert made["pixels_sha256"] == sha(read(new))
    assert (made["width"], made["height"]) == (96, 72)
    assert made["icc"] == image.get_color_profile().get_label()
    stages = {stage["stage"]: stage for stage in told["stages"]}
    assert len(stages["enlarge"]["sha256"]) == 64
    assert told["output_sharpening"]["medium"] == "matte"
    assert told["digital_source_type"].endswith("/algorithmicallyEnhanced")
    path = Gio.File.new_for_path(str(BASE / "passports.xcf"))
    assert Gimp.file_save(NONINTERACTIVE, image, path, None)
    again = Gimp.file_load(NONINTERACTIVE, path)
    assert passport(again.get_layers()[0]) == told


def case_metadata_goes_into_exported_files():
    image, layer, _data, _layout = make("rgb_u8")
    enhance(image, layer)
    told = passport(image.get_layers()[0])
    for name in ("exported.png", "exported.tif"):
        export(image, name)
        data = (BASE / name).read_bytes()
        assert told["print"]["pixels_sha256"].encode() in data
        assert b"digitalsourcetype/algorithmicallyEnhanced" in data
    other, layer, _data, _layout = make("rgb_u8")
    enhance(other, layer, width=48.0, height=36.0, medium="none")
    assert "DigitalSourceType" not in xmp(other), "no network had a part in it"


def case_sharpened_by_an_earlier_print():
    """Known of the layer, of a file that GIMP has exported, and kept by the next passport."""
    image, layer, _data, _layout = make("rgb_u8")
    start = Settings()
    assert passports.earlier_sharpening(image, layer, start) is None
    enhance(image, layer, medium="canvas")
    new = image.get_layers()[0]
    assert passports.earlier_sharpening(image, new, start)["medium"] == "canvas"
    assert passports.earlier_sharpening(image, layer, start) is None, "the source is as it was"
    visible = Settings(source="visible")
    assert passports.earlier_sharpening(image, layer, visible)["medium"] == "canvas"
    export(image, "sharpened.png")
    opened = Gimp.file_load(NONINTERACTIVE, Gio.File.new_for_path(str(BASE / "sharpened.png")))
    picture = opened.get_layers()[0]
    assert passports.earlier_sharpening(opened, picture, start)["medium"] == "canvas"
    enhance(opened, picture, width=192.0, medium="none")
    again = passport(opened.get_layers()[0])
    assert again["output_sharpening"]["medium"] == "canvas"


def case_reproducible():
    """What `wallprint reproduce` takes, for the test outside to try."""
    image, layer, _data, _layout = make("rgba_u16", profile=True)
    export(image, "layer.png")
    enhance(image, layer)
    path = Gio.File.new_for_path(str(BASE / "print.xcf"))
    assert Gimp.file_save(NONINTERACTIVE, image, path, None)
    export(image, "print.tif")


# -- what is made of a print -----------------------------------------------------------------------


def made_print(kind, **values):
    image, layer, _data, _layout = make(kind, 96, 72)
    settings = Settings(width=192.0, unit="px", **values, **PLAIN)
    return run.enhance(image, layer, settings, NoProgress(), keep_pixels=True)


def case_report_page():
    made = made_print("rgba_u16")
    page = BASE / "report.html"
    made.layer.fill(Gimp.FillType.WHITE)  # what the user does then is not the print
    files.make_report(made, page, NoProgress())
    made.forget()
    text = page.read_text("utf-8")
    assert text.count("data:image/jpeg") >= 6
    assert made.record.passport.pixels_sha256 in text


def case_kept_pixels_of_a_group():
    image, layer, _data, _layout = make("rgba_u16")
    group = Gimp.GroupLayer.new(image, "Group")
    image.insert_layer(group, None, 0)
    image.reorder_item(layer, group, 0)
    composite = read(group)
    settings = Settings(width=96.0, unit="px", **PLAIN)
    made = run.enhance(image, group, settings, NoProgress(), keep_pixels=True)
    assert read(made.before) == composite
    assert made.record.passport.source_sha256 == sha(composite)
    made.forget()


def case_saved_for_printing():
    made = made_print(
        "rgba_float_linear", edges="bleed", edge_mm=1.0, panel_columns=2, overlap_mm=2.0,
        crop_marks=True,
    )  # fmt: skip
    written = files.save_print(made, BASE / "saved.tif", NoProgress())
    made.forget()
    assert [Path(name).name for name in written] == ["saved_r1c1.tif", "saved_r1c2.tif"]
    for name, sheet in zip(written, made.record.plan.sheets):
        panel = Gimp.file_load(NONINTERACTIVE, Gio.File.new_for_path(name))
        assert (panel.get_width(), panel.get_height()) == (sheet.size.width, sheet.size.height)
        assert abs(panel.get_resolution()[1] - 200.0) < 0.001
        assert made.record.passport.pixels_sha256 in xmp(panel)


def case_a_part_of_a_print_is_not_saved():
    image, layer, _data, _layout = make("rgb_u8", 20, 20, canvas=(48, 36), offset=(4, 4))
    settings = Settings(width=96.0, unit="px", **PLAIN)
    made = run.enhance(image, layer, settings, NoProgress(), keep_pixels=True)
    told = ""
    try:
        files.save_print(made, BASE / "part.tif", NoProgress())
    except BadInput as error:
        told = str(error)
    made.forget()
    assert "does not cover" in told
    assert not (BASE / "part.tif").exists()


def case_proof_sheet():
    image, layer, data, _layout = make("rgba_u16", 96, 72, profile=True)
    before = xmp(image)
    print_ = {"width": 400.0, "unit": "px", "paper": "letter", "folder": str(BASE), **PLAIN}
    result = call(PROOF, image, layer, **print_)
    assert result.index(0) == Gimp.PDBStatusType.SUCCESS, str(result.index(1))
    name = files.plain_name(layer.get_name())
    assert (BASE / f"{name}_proof.pdf").read_bytes().startswith(b"%PDF")
    path = Gio.File.new_for_path(str(BASE / f"{name}_proof.tif"))
    sheet = Gimp.file_load(NONINTERACTIVE, path)
    assert (sheet.get_width(), sheet.get_height()) == (1700, 2200)
    profile = image.get_color_profile().get_icc_profile()
    assert sheet.get_color_profile().get_icc_profile() == profile
    assert (read(layer), xmp(image), len(image.get_layers())) == (data, before, 1)
    shown = read(sheet.get_layers()[0])
    call(PROOF, image, layer, **print_, halo=1.5, ink_spread=0.1)
    again = Gimp.file_load(NONINTERACTIVE, path)
    assert read(again.get_layers()[0]) != shown, "the halo is not that of the print"
    call(PROOF, image, layer, **print_, medium="none", strengths=True)
    again = Gimp.file_load(NONINTERACTIVE, path)
    assert read(again.get_layers()[0]) != shown, "there is nothing to compare, and no sheet"
    return {"folder": str(BASE)}


def case_proof_that_cannot_be():
    image, layer, _data, _layout = make("rgb_u8")
    image.set_resolution(100, 200)
    result = call(PROOF, image, layer, width=96.0, unit="px", folder=str(BASE))
    assert result.index(0) == Gimp.PDBStatusType.EXECUTION_ERROR
    assert "square pixels" in str(result.index(1))
    image.set_resolution(100, 100)
    result = call(PROOF, image, layer, width=96.0, unit="px", folder=str(BASE / "missing"))
    assert "does not exist" in str(result.index(1)), str(result.index(1))


CASES = [value for key, value in list(globals().items()) if key.startswith("case_")]
if __name__ == "__main__":
    run_all(CASES)
