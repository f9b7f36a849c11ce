"""Cases inside the real GIMP (gimp-console): every kind of layer, selections, refusals, files."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from case_runner import run_all
from gimp_pictures import (
    NONINTERACTIVE,
    PLAIN,
    PROFILE,
    Babl,
    Gegl,
    Gimp,
    Gio,
    PixelLayout,
    Rect,
    Settings,
    Size,
    ask_server,
    call,
    difference,
    enhance,
    make,
    own_name,
    read,
    write,
)


def expect(kind, *, profile=False, result="new-layer"):
    """The common case: one layer as large as the canvas."""
    image, layer, data, layout = make(kind, profile=profile)
    settings = Settings(width=96.0, unit="px", **PLAIN)
    expected, _job = ask_server(data, layout, Rect(0, 0, 48, 36), Size(48, 36), settings)
    target = enhance(image, layer, result=result)
    new = target.get_layers()[0]
    assert (new.get_width(), new.get_height()) == (96, 72)
    assert own_name(new).split("-")[0] == own_name(layer).split("-")[0]
    got = read(new)
    assert got == expected, difference(got, expected)
    assert len(set(got)) > 8, "the result is flat"
    x_ppi, y_ppi = target.get_resolution()[1:]
    assert (round(x_ppi, 6), round(y_ppi, 6)) == (200.0, 200.0)
    return image, layer, target, new


def case_rgb_u8():
    image, layer, target, new = expect("rgb_u8")
    assert target.get_id() == image.get_id()
    assert [one.get_id() for one in image.get_layers()] == [new.get_id(), layer.get_id()]
    assert (image.get_width(), image.get_height()) == (96, 72)
    assert (layer.get_width(), layer.get_height()) == (96, 72), "the other layer is in register"
    assert layer.get_visible(), "an opaque result hides nothing that it does not cover"


def case_rgba_u16_with_profile():
    icc = PROFILE.read_bytes()
    image, layer, _target, new = expect("rgba_u16", profile=True)
    assert image.get_color_profile().get_icc_profile() == icc
    assert not layer.get_visible(), "a transparent result must not be seen twice"
    alpha = struct.unpack(f"<{96 * 72 * 4}H", read(new))[3::4]
    assert alpha[0] == 0
    assert alpha[-1] == 65535


def case_float_linear():
    expect("rgba_float_linear")


def case_half():
    expect("rgb_half")


def case_u16_perceptual():
    expect("rgb_u16_perceptual")


def case_gray_u8():
    expect("gray_u8")


def case_graya_u16():
    expect("graya_u16")


def case_u16_profile_to_new_image():
    image, layer, data, layout = make("rgba_u16", profile=True)
    settings = Settings(width=96.0, unit="px", **PLAIN)
    expected, _job = ask_server(data, layout, Rect(0, 0, 48, 36), Size(48, 36), settings)
    target = enhance(image, layer, result="new-image")
    assert target.get_id() != image.get_id()
    assert target.get_precision() == image.get_precision()
    assert target.get_color_profile().get_icc_profile() == PROFILE.read_bytes()
    assert read(target.get_layers()[0]) == expected
    assert read(layer) == data, "the source document is untouched"
    assert (image.get_width(), len(image.get_layers())) == (48, 1)


def case_indexed_becomes_rgb():
    image, layer, _data, _layout = make("rgb_u8")
    image.convert_indexed(
        Gimp.ConvertDitherType.NONE, Gimp.ConvertPaletteType.GENERATE, 64, False, False, ""
    )
    colours = read(layer, "R'G'B' u8")
    settings = Settings(width=96.0, unit="px", **PLAIN)
    layout = PixelLayout("RGB", "u8")
    expected, _job = ask_server(colours, layout, Rect(0, 0, 48, 36), Size(48, 36), settings)
    target = enhance(image, layer)
    assert target.get_id() != image.get_id(), "a palette cannot hold the result"
    assert target.get_base_type() == Gimp.ImageBaseType.RGB
    assert read(target.get_layers()[0]) == expected
    assert image.get_base_type() == Gimp.ImageBaseType.INDEXED
    assert image.get_width() == 48


def offset_case(width, height, offset):
    """A layer that is not the canvas, over a background that is."""
    image, layer, data, layout = make("rgb_u8", width, height, canvas=(48, 36), offset=offset)
    back = Gimp.Layer.new(
        image, "Back", 48, 36, Gimp.ImageType.RGB_IMAGE, 100, Gimp.LayerMode.NORMAL
    )
    image.insert_layer(back, None, 1)
    settings = Settings(width=96.0, unit="px", **PLAIN)
    rect = Rect(*offset, width, height)
    expected, job = ask_server(data, layout, rect, Size(48, 36), settings)
    enhance(image, layer)
    new = image.get_layers()[0]
    assert (image.get_width(), image.get_height()) == (96, 72)
    assert tuple(new.get_offsets()[1:]) == (2 * offset[0], 2 * offset[1]) == job.offset
    assert (new.get_width(), new.get_height()) == (2 * width, 2 * height)
    assert tuple(layer.get_offsets()[1:]) == (2 * offset[0], 2 * offset[1]), "in register"
    assert (back.get_width(), back.get_height()) == (96, 72)
    assert read(new) == expected


def case_layer_smaller_than_canvas():
    offset_case(20, 15, (11, 9))


def case_layer_larger_than_canvas():
    offset_case(70, 50, (-9, -6))


def case_crop_to_fill():
    image, layer, data, layout = make("rgb_u8")
    settings = Settings(width=80.0, height=80.0, unit="px", fit="crop", **PLAIN)
    expected, job = ask_server(data, layout, Rect(0, 0, 48, 36), Size(48, 36), settings)
    enhance(image, layer, width=80.0, height=80.0, fit="crop")
    new = image.get_layers()[0]
    assert (image.get_width(), image.get_height()) == (80, 80)
    assert (new.get_width(), new.get_height()) == (80, 80)
    assert tuple(new.get_offsets()[1:]) == job.offset == (0, 0)
    assert read(new) == expected


def case_group_is_its_composite():
    image, layer, _data, layout = make("rgba_u16")
    group = Gimp.GroupLayer.new(image, "Group")
    image.insert_layer(group, None, 0)
    image.reorder_item(layer, group, 0)
    settings = Settings(width=96.0, unit="px", **PLAIN)
    composite = read(group, own_name(layer))
    expected, _job = ask_server(composite, layout, Rect(0, 0, 48, 36), Size(48, 36), settings)
    enhance(image, group)
    new = image.get_layers()[0]
    assert new.get_name() != "Group"
    assert read(new) == expected


def case_layer_not_composite():
    image, layer, data, layout = make("rgb_u8")
    cover = Gimp.Layer.new(
        image, "Cover", 48, 36, Gimp.ImageType.RGB_IMAGE, 100, Gimp.LayerMode.NORMAL
    )
    image.insert_layer(cover, None, 0)
    cover.fill(Gimp.FillType.WHITE)
    settings = Settings(width=96.0, unit="px", **PLAIN)
    expected, _job = ask_server(data, layout, Rect(0, 0, 48, 36), Size(48, 36), settings)
    enhance(image, layer)
    names = [one.get_name() for one in image.get_layers()]
    assert names[0] == "Cover"
    assert names[2] == "Photo"
    assert read(image.get_layers()[1]) == expected


def case_visible_is_the_composite():
    image, layer, _data, _layout = make("rgb_u8")
    cover = Gimp.Layer.new(
        image, "Cover", 48, 36, Gimp.ImageType.RGB_IMAGE, 100, Gimp.LayerMode.NORMAL
    )
    image.insert_layer(cover, None, 0)
    cover.fill(Gimp.FillType.WHITE)
    enhance(image, layer, apply_to="visible")
    new = next(one for one in image.get_layers() if one.get_name().startswith("Visible"))
    assert set(read(new, "R'G'B' u8")) == {255}
    assert len(image.get_layers()) == 3, "the temporary layer is gone"


def masked_case(**arguments):
    image, layer, _data, _layout = make("rgb_u8")
    mask = layer.create_mask(Gimp.AddMaskType.BLACK)
    layer.add_mask(mask)
    write(mask, bytes(200 if x < 24 and y < 18 else 0 for y in range(36) for x in range(48)))
    target = enhance(image, layer, **arguments)
    new = target.get_layers()[0]
    values = read(new.get_mask(), "Y u8")
    assert len(values) == 96 * 72
    inside = [values[y * 96 + x] for x in (2, 44) for y in (2, 32)]
    outside = [values[y * 96 + x] for x, y in ((52, 5), (5, 40), (90, 70))]
    assert (inside, outside) == ([200] * 4, [0] * 3)
    return target


def case_layer_mask_goes_along():
    image = masked_case()
    assert len(image.get_layers()) == 2, "the mask's copy is gone"


def case_layer_mask_goes_to_the_new_image():
    image = masked_case(result="new-image")
    assert len(image.get_layers()) == 1, "the mask's copy is gone"


def case_feathered_selection():
    image, layer, data, layout = make("rgba_u16", 48, 36, canvas=(60, 50), offset=(7, 5))
    Gimp.context_set_antialias(True)
    image.select_ellipse(Gimp.ChannelOps.REPLACE, 15, 10, 22, 20)
    Gimp.Selection.feather(image, 4.0)
    selection = image.get_selection()
    kind = Babl.format_get_encoding(selection.get_format()).split(" ")[1]
    box = Gegl.Rectangle.new(7, 5, 48, 36)
    mask = bytes(selection.get_buffer().get(box, 1.0, own_name(selection), Gegl.AbyssPolicy.NONE))
    dtype = {"u8": "u8", "u16": "u16", "float": "f32"}[kind]
    settings = Settings(width=120.0, unit="px", source="selection", feather_mm=0.5, **PLAIN)
    canvas, rect = Size(60, 50), Rect(7, 5, 48, 36)
    expected, _job = ask_server(data, layout, rect, canvas, settings, (mask, dtype))
    whole, _job = ask_server(data, layout, rect, canvas, Settings(width=120.0, unit="px", **PLAIN))
    enhance(image, layer, width=120.0, apply_to="selection", feather=0.5)
    got = read(image.get_layers()[0])
    assert got == expected, difference(got, expected)
    assert got != whole, "the selection made no difference"


def sharpen(image, layer, **arguments):
    values = {"print_long_side": 12.0, "deblur": 0, "feather": 0.0, "strength": "high"}
    return call("plug-in-wallprint-sharpen-selection", image, layer, **{**values, **arguments})


def case_sharpen_selection():
    image, layer, data, _layout = make("rgba_u16")
    image.select_rectangle(Gimp.ChannelOps.REPLACE, 12, 8, 20, 16)
    before_mask = read(image.get_selection(), "Y u8")
    result = sharpen(image, layer)
    assert result.index(0) == Gimp.PDBStatusType.SUCCESS, str(result.index(1))
    after = read(layer)
    assert (layer.get_width(), image.get_width(), len(image.get_layers())) == (48, 48, 1)
    changed = {i // 8 for i, (a, b) in enumerate(zip(data, after)) if a != b}
    assert len(changed) > 60, "nothing was sharpened"
    outside = [p for p in changed if not (12 <= p % 48 < 32 and 8 <= p // 48 < 24)]
    assert not outside, f"{len(outside)} pixels outside the selection changed"
    assert read(image.get_selection(), "Y u8") == before_mask, "the selection is as it was"
    assert not image.get_channels(), "no channel is left over"


def case_sharpen_feathered_float():
    image, layer, data, _layout = make("rgba_float_linear", 120, 90)
    image.select_rectangle(Gimp.ChannelOps.REPLACE, 50, 40, 20, 16)
    result = sharpen(image, layer, print_long_side=30.0, feather=0.5)  # sigma 2 px
    assert result.index(0) == Gimp.PDBStatusType.SUCCESS, str(result.index(1))
    after = read(layer)
    changed = {i // 16 for i, (a, b) in enumerate(zip(data, after)) if a != b}
    edge = [p for p in changed if not (50 <= p % 120 < 70 and 40 <= p // 120 < 56)]
    assert edge, "the selection was not feathered"
    far = [p for p in changed if not (38 <= p % 120 < 82 and 28 <= p // 120 < 68)]
    assert not far, f"{len(far)} pixels far outside the selection changed"
    assert not image.get_channels(), "no channel is left over"
    mask = read(image.get_selection(), "Y u8")
    assert mask.count(255) == 320, "the selection is as it was"
    assert len(mask) - mask.count(0) == 320


def case_sharpen_needs_a_selection():
    image, layer, data, _layout = make("rgb_u8")
    result = sharpen(image, layer)
    assert result.index(0) == Gimp.PDBStatusType.EXECUTION_ERROR
    assert read(layer) == data


def case_refusals_leave_the_document_alone():
    image, layer, data, _layout = make("rgb_u8")
    for arguments, word in (
        ({"width": 48.0 * 70}, "64"),
        ({"width": 0.2, "unit": "mm", "ppi": 30.0}, "0 px"),
        ({"apply_to": "selection"}, "selected"),
    ):
        values = {"width": 96.0, "unit": "px", "ppi": 200.0, **arguments}
        result = call("plug-in-wallprint-enhance", image, layer, **values)
        assert result.index(0) == Gimp.PDBStatusType.EXECUTION_ERROR, arguments
        assert word in str(result.index(1)), str(result.index(1))
    assert read(layer) == data
    assert (image.get_width(), len(image.get_layers())) == (48, 1)


def case_unknown_server_is_one_sentence():
    state = os.environ["WALLPRINT_STATE_DIR"]
    image, layer, data, _layout = make("rgb_u8")
    # The plug-in process inherits GIMP's environment, set at start; a private directory that is
    # open to others is refused before anything is connected.
    os.chmod(state, 0o755)
    try:
        result = call("plug-in-wallprint-enhance", image, layer, width=96.0, unit="px")
    finally:
        os.chmod(state, 0o700)
    assert result.index(0) == Gimp.PDBStatusType.EXECUTION_ERROR
    text = str(result.index(1))
    assert "open to other users" in text, text
    assert "Traceback" not in text
    assert read(layer) == data
    assert (image.get_width(), len(image.get_layers())) == (48, 1)


def case_script_fu():
    procedure = Gimp.get_pdb().lookup_procedure("plug-in-script-fu-eval")
    if procedure is None:
        return {"skipped": "no script-fu in this GIMP"}
    image, layer, _data, _layout = make("rgb_u8")
    script = (
        "(plug-in-wallprint-enhance #:run-mode RUN-NONINTERACTIVE "
        f"#:image {image.get_id()} #:drawables (vector {layer.get_id()}) "
        '#:width 96.0 #:unit "px" #:repair 0 #:deblur 0 #:edges "bleed" #:edge-width 1.0 '
        '#:medium "backlit" #:result "replace" #:model "span-x2" #:tile 64 #:printer "none")'
    )
    config = procedure.create_config()
    config.set_property("run-mode", NONINTERACTIVE)
    config.set_property("script", script)
    result = procedure.run(config)
    assert result.index(0) == Gimp.PDBStatusType.SUCCESS, str(result.index(1))
    assert (image.get_width(), len(image.get_layers())) == (96 + 2 * 8, 1)
    return None


def case_print_saved_as_png():
    image, layer, _data, _layout = make("rgba_u16", profile=True)
    enhance(image, layer)
    expected = read(image.get_layers()[0])
    file = Gio.File.new_for_path(os.environ["WALLPRINT_TEST_BASE"] + "/print.png")
    flat = enhance(*make("rgba_u16", profile=True)[:2], result="new-image")
    export = Gimp.get_pdb().lookup_procedure("file-png-export")
    config = export.create_config()
    for key, value in (("image", flat), ("file", file)):
        config.set_property(key, value)
    for key in ("include-color-profile", "save-transparent"):
        config.set_property(key, True)
    assert export.run(config).index(0) == Gimp.PDBStatusType.SUCCESS
    again = Gimp.file_load(NONINTERACTIVE, file)
    assert (again.get_width(), again.get_height()) == (96, 72)
    assert again.get_color_profile().get_icc_profile() == PROFILE.read_bytes()
    assert abs(again.get_resolution()[1] - 200.0) < 0.03, "PNG holds whole pixels per metre"
    assert read(again.get_layers()[0]) == expected


CASES = [value for key, value in list(globals().items()) if key.startswith("case_")]
if __name__ == "__main__":
    run_all(CASES)
