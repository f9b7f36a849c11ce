"""Cases inside the real GIMP: what a print may be beside its size. Edges, resolution, result, ways.

The margins are compared with copies made here, the rest with what the server gives when asked
directly.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from case_runner import run_all
from gimp_pictures import (
    PLAIN,
    Gimp,
    Rect,
    Settings,
    Size,
    ask_server,
    call,
    difference,
    enhance,
    make,
    read,
    write,
)

ENHANCE = "plug-in-wallprint-enhance"
EDGE_PX = {"bleed": 24, "wrap": 47}  # 3 mm and 6 mm at 200 ppi


def rows(data, size, pixel):
    """Bytes of a picture as rows of pixels."""
    pitch = size.width * pixel
    lines = (data[y * pitch : (y + 1) * pitch] for y in range(size.height))
    return [[line[x : x + pixel] for x in range(0, pitch, pixel)] for line in lines]


def mirrored(face, edge):
    """A picture with margins that repeat it, flipped; the border pixel comes twice."""
    wide = [line[:edge][::-1] + line + line[-edge:][::-1] for line in face]
    return wide[:edge][::-1] + wide + wide[-edge:][::-1]


def guides(image):
    found, guide = set(), image.find_next_guide(0)
    while guide:
        upright = image.get_guide_orientation(guide) == Gimp.OrientationType.VERTICAL
        found.add(("v" if upright else "h", image.get_guide_position(guide)))
        guide = image.find_next_guide(guide)
    return found


def passport(layer):
    """What the plug-in keeps with its layer."""
    return json.loads(bytes(layer.get_parasite("wallprint").get_data()))


def networks(told):
    """Those that enlarged."""
    return [stage["network"] for stage in told["stages"] if stage["stage"] == "enlarge"]


def refused(word, **arguments):
    """The plug-in refuses with a sentence that has this word, and leaves the document alone."""
    image, layer, data, _layout = make("rgb_u8")
    values = {"width": 96.0, "unit": "px", "ppi": 200.0, **arguments}
    result = call(ENHANCE, image, layer, **values)
    assert result.index(0) == Gimp.PDBStatusType.EXECUTION_ERROR
    text = str(result.index(1))
    assert word in text, text
    assert "Traceback" not in text
    assert read(layer) == data
    assert (image.get_width(), len(image.get_layers())) == (48, 1)


# -- edges -----------------------------------------------------------------------------------------


def edges_case(kind, edges, edge_mm):
    image, layer, data, layout = make(kind)
    settings = Settings(width=96.0, unit="px", **PLAIN)
    plain, _job = ask_server(data, layout, Rect(0, 0, 48, 36), Size(48, 36), settings)
    face = rows(plain, Size(96, 72), layout.bytes_per_pixel)
    enhance(image, layer, edges=edges, edge_width=edge_mm)
    edge = EDGE_PX[edges]
    new = image.get_layers()[0]
    sheet = Size(96 + 2 * edge, 72 + 2 * edge)
    assert (image.get_width(), image.get_height()) == (sheet.width, sheet.height)
    assert (new.get_width(), new.get_height()) == (sheet.width, sheet.height)
    assert tuple(new.get_offsets()[1:]) == (0, 0)
    got = rows(read(new), sheet, layout.bytes_per_pixel)
    inner = [line[edge : edge + 96] for line in got[edge : edge + 72]]
    assert inner == face, "the face is not what it is without edges"
    assert got == mirrored(face, edge), "the margins are not copies of the face"
    assert len({bytes(p) for line in got[:edge] for p in line}) > 8, "the margin is flat"
    wanted = {("v", edge), ("v", edge + 96), ("h", edge), ("h", edge + 72)}
    assert guides(image) == wanted
    assert tuple(layer.get_offsets()[1:]) == (edge, edge), "the other layer is not in register"
    assert (layer.get_width(), layer.get_height()) == (96, 72)


def case_bleed():
    edges_case("rgb_u8", "bleed", 0.0)  # 3 mm is what is usual


def case_wrap():
    edges_case("rgba_u16", "wrap", 6.0)


def case_wrap_is_forty_millimetres():
    image, layer, _data, _layout = make("gray_u8")
    enhance(image, layer, width=480.0, edges="wrap")
    assert (image.get_width(), image.get_height()) == (480 + 2 * 315, 360 + 2 * 315)


def case_bleed_of_a_crop_is_real_picture():
    image, layer, data, layout = make("rgb_u8")
    settings = Settings(
        width=80.0, height=80.0, unit="px", fit="crop", edges="bleed", edge_mm=1.0, **PLAIN
    )
    expected, job = ask_server(data, layout, Rect(0, 0, 48, 36), Size(48, 36), settings)
    enhance(image, layer, width=80.0, height=80.0, fit="crop", edges="bleed", edge_width=1.0)
    new = image.get_layers()[0]
    assert (new.get_width(), new.get_height()) == (96, 96)
    got = read(new)
    assert got == expected, difference(got, expected)
    assert job.placement.mirror == (0, 8, 0, 8), "left and right there is more of the picture"
    lines = rows(got, Size(96, 96), 3)
    middle = lines[48]
    assert middle[:8] != middle[8:16][::-1], "mirrored although there is picture"
    assert lines[7] == lines[8], "the upper margin begins with the face's border"


def case_edges_in_a_new_image():
    image, layer, _data, _layout = make("rgb_u8")
    target = enhance(image, layer, result="new-image", edges="bleed")
    assert (target.get_width(), target.get_height()) == (96 + 48, 72 + 48)
    assert guides(target) == {("v", 24), ("v", 120), ("h", 24), ("h", 96)}
    assert not guides(image)
    assert image.get_width() == 48


def layer_with_edges(width, height, offset):
    image, layer, data, layout = make("rgb_u8", width, height, canvas=(48, 36), offset=offset)
    settings = Settings(width=96.0, unit="px", edges="bleed", edge_mm=3.0, **PLAIN)
    rect = Rect(*offset, width, height)
    expected, job = ask_server(data, layout, rect, Size(48, 36), settings)
    enhance(image, layer, edges="bleed")
    new = image.get_layers()[0]
    assert (image.get_width(), image.get_height()) == (96 + 48, 72 + 48)
    assert tuple(new.get_offsets()[1:]) == job.offset
    got = read(new)
    assert got == expected, difference(got, expected)
    register = (24 + 2 * offset[0], 24 + 2 * offset[1])
    assert tuple(layer.get_offsets()[1:]) == register, "the other layer is not in register"
    return new, job


def case_smaller_layer_has_no_edges():
    new, job = layer_with_edges(20, 15, (11, 9))
    assert (new.get_width(), new.get_height()) == (40, 30)
    assert job.offset == (24 + 22, 24 + 18)


def case_larger_layer_fills_the_bleed_itself():
    new, job = layer_with_edges(80, 70, (-16, -17))
    assert (new.get_width(), new.get_height()) == (144, 120)
    assert job.placement.mirror == (0, 0, 0, 0), "there is more picture than the bleed is wide"


def case_too_wide_edges_are_refused():
    refused("wider than the print", edges="wrap", edge_width=100.0)


# -- resolution ------------------------------------------------------------------------------------


def case_pixels_that_are_not_square():
    image, layer, data, layout = make("rgb_u8")
    image.set_resolution(72, 144)
    settings = Settings(width=96.0, unit="px", **PLAIN)
    rect, canvas = Rect(0, 0, 48, 36), Size(48, 36)
    expected, _job = ask_server(data, layout, rect, canvas, settings, resolution=(72, 144))
    enhance(image, layer)
    new = image.get_layers()[0]
    assert (new.get_width(), new.get_height()) == (96, 36), "48 / 72 to 36 / 144 is 96 to 36"
    assert (layer.get_width(), layer.get_height()) == (96, 36)
    assert tuple(image.get_resolution()[1:]) == (200.0, 200.0)
    got = read(new)
    assert got == expected, difference(got, expected)


def case_printers_own_resolution():
    for printer, ppi, px in (("300", 300.0, 118), ("360", 360.0, 142)):
        image, layer, _data, _layout = make("gray_u8")
        enhance(image, layer, width=10.0, unit="mm", ppi=200.0, printer=printer)
        assert image.get_resolution()[1] == ppi
        assert image.get_width() == px, "10 mm stay 10 mm"


# -- result ----------------------------------------------------------------------------------------


def case_replace():
    image, layer, data, layout = make("rgba_u16")
    cover = Gimp.Layer.new(
        image, "Cover", 48, 36, Gimp.ImageType.RGBA_IMAGE, 100, Gimp.LayerMode.NORMAL
    )
    image.insert_layer(cover, None, 0)
    group = Gimp.GroupLayer.new(image, "Group")
    image.insert_layer(group, None, 1)
    image.reorder_item(layer, group, 0)
    layer.set_color_tag(Gimp.ColorTag.BLUE)
    settings = Settings(width=96.0, unit="px", **PLAIN)
    expected, _job = ask_server(data, layout, Rect(0, 0, 48, 36), Size(48, 36), settings)
    enhance(image, layer, result="replace")
    assert not layer.is_valid(), "the old layer is still there"
    assert [one.get_name() for one in image.get_layers()] == ["Cover", "Group"]
    (new,) = group.get_children()
    assert new.get_name() == "Photo"
    assert new.get_color_tag() == Gimp.ColorTag.BLUE
    assert new.get_visible()
    got = read(new)
    assert got == expected, difference(got, expected)


def case_replace_keeps_the_layer_mask():
    image, layer, _data, _layout = make("rgb_u8")
    mask = layer.create_mask(Gimp.AddMaskType.BLACK)
    layer.add_mask(mask)
    write(mask, bytes(200 if x < 24 else 0 for y in range(36) for x in range(48)))
    enhance(image, layer, result="replace")
    (new,) = image.get_layers()
    values = read(new.get_mask(), "Y u8")
    assert (values[40 * 96 + 8], values[40 * 96 + 80]) == (200, 0)


def case_masked_layer_under_another():
    image, layer, _data, _layout = make("rgb_u8")
    layer.add_mask(layer.create_mask(Gimp.AddMaskType.WHITE))
    cover = Gimp.Layer.new(
        image, "Cover", 48, 36, Gimp.ImageType.RGB_IMAGE, 100, Gimp.LayerMode.NORMAL
    )
    image.insert_layer(cover, None, 0)
    enhance(image, layer)
    names = [one.get_name() for one in image.get_layers()]
    assert names == ["Cover", "Photo for print", "Photo"]


def case_visible_replaces_nothing():
    refused("cannot replace", apply_to="visible", result="replace")


# -- the way there ---------------------------------------------------------------------------------


def case_network_tile_and_device_reach_the_server():
    image, layer, _data, _layout = make("rgb_u8", 96, 72)
    enhance(image, layer, width=192.0, model="span-x4", tile=64, device="cpu")
    told = passport(image.get_layers()[0])
    options = told["options"]
    assert networks(told) == ["span-x4"], "span-x2 is what would be chosen for this scale"
    assert told["device"].startswith("CPU")
    assert (options["model"], options["tile_px"], options["device"]) == ("span-x4", 64, "cpu")


def case_automatic_network_and_tile():
    image, layer, _data, _layout = make("rgb_u8", 96, 72)
    enhance(image, layer, width=192.0)
    told = passport(image.get_layers()[0])
    assert (networks(told), told["options"]["tile_px"]) == (["span-x2"], 0)


def case_unknown_network_is_one_sentence():
    refused("no such network", model="span-x9")


def case_missing_device_is_one_sentence():
    refused("choose another", device="mps")


def case_tile_of_ten_is_refused():
    refused("64 to 4096", tile=10)


def case_screen_is_not_sharpened():
    image, layer, data, layout = make("rgb_u8")
    settings = Settings(width=96.0, unit="px", medium="none", **PLAIN)
    expected, _job = ask_server(data, layout, Rect(0, 0, 48, 36), Size(48, 36), settings)
    enhance(image, layer, medium="screen")
    new = image.get_layers()[0]
    assert read(new) == expected
    assert passport(new)["output_sharpening"] is None


def case_backlit():
    image, layer, data, layout = make("rgb_u8")
    settings = Settings(width=96.0, unit="px", medium="backlit", **PLAIN)
    expected, _job = ask_server(data, layout, Rect(0, 0, 48, 36), Size(48, 36), settings)
    enhance(image, layer, medium="backlit")
    new = image.get_layers()[0]
    assert read(new) == expected
    assert passport(new)["output_sharpening"]["medium"] == "backlit"


CASES = [value for key, value in list(globals().items()) if key.startswith("case_")]
if __name__ == "__main__":
    run_all(CASES)
