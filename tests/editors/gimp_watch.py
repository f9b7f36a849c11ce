"""Runs beside a living GIMP window: carries out orders and tells what the documents look like."""

from __future__ import annotations

import hashlib
import json
import os
import time
import traceback
from pathlib import Path

import gi

for name, version in (("Gimp", "3.0"), ("Gegl", "0.4"), ("Babl", "0.1")):
    gi.require_version(name, version)
from gi.repository import Babl, Gegl, Gimp

BASE = Path(os.environ["WALLPRINT_TEST_BASE"])
ENHANCE = "plug-in-wallprint-enhance"


def pixels(layer):
    box = Gegl.Rectangle.new(0, 0, layer.get_width(), layer.get_height())
    name = Babl.get_name(layer.get_format())
    data = layer.get_buffer().get(box, 1.0, name, Gegl.AbyssPolicy.NONE)
    return hashlib.sha256(bytes(data)).hexdigest()


def layer_facts(layer, with_pixels):
    return {
        "id": layer.get_id(),
        "name": layer.get_name(),
        "size": [layer.get_width(), layer.get_height()],
        "offset": list(layer.get_offsets()[1:]),
        "visible": layer.get_visible(),
        "sha": pixels(layer) if with_pixels else "",
        "options": options(layer),
    }


def options(layer):
    """Those that its print was made with, of its passport; {} of no print."""
    parasite = layer.get_parasite("wallprint")
    return json.loads(bytes(parasite.get_data()))["options"] if parasite else {}


def guides(image):
    """As ["v 12", "h 30"], sorted."""
    found, guide = [], image.find_next_guide(0)
    while guide:
        upright = image.get_guide_orientation(guide) == Gimp.OrientationType.VERTICAL
        found.append(f"{'v' if upright else 'h'} {image.get_guide_position(guide)}")
        guide = image.find_next_guide(guide)
    return sorted(found)


def passport(image):
    """Whether the image's XMP has one."""
    metadata = image.get_metadata()
    return metadata is not None and "Xmp.wallprint.Passport" in metadata.serialize()


def facts(with_pixels):
    return [
        {
            "size": [image.get_width(), image.get_height()],
            "ppi": image.get_resolution()[1],
            "layers": [layer_facts(layer, with_pixels) for layer in image.get_layers()],
            "dirty": image.is_dirty(),
            "passport": passport(image),
            "channels": len(image.get_channels()),
            "guides": guides(image),
        }
        for image in Gimp.get_images()
    ]


def run(mode, name=ENHANCE, **values):
    """A procedure on the first image's uppermost layer."""
    image = Gimp.get_images()[0]
    procedure = Gimp.get_pdb().lookup_procedure(name)
    config = procedure.create_config()
    config.set_property("run-mode", mode)
    config.set_property("image", image)
    config.set_core_object_array("drawables", image.get_layers()[:1])
    for key, value in values.items():
        config.set_property(key.replace("_", "-"), value)
    began = time.monotonic()
    result = procedure.run(config)
    run.seconds = time.monotonic() - began
    assert result.index(0) == Gimp.PDBStatusType.SUCCESS, str(result.index(1))


run.seconds = 0.0


def carry_out(order):
    """What a test asks for."""
    do = order.pop("do", "")
    if do == "select":
        Gimp.get_images()[0].select_rectangle(Gimp.ChannelOps.REPLACE, *order["box"])
    elif do == "select-none":
        Gimp.Selection.none(Gimp.get_images()[0])
    elif do == "mode":
        change_mode(Gimp.get_images()[0], order["mode"])
    elif do == "repeat":  # as GIMP's own Repeat does
        run(Gimp.RunMode.WITH_LAST_VALS)
    elif do == "run":
        run(Gimp.RunMode.NONINTERACTIVE, **order)
    elif do:
        raise ValueError(do)
    Gimp.displays_flush()


def change_mode(image, mode):
    """A step of undo."""
    if mode == "gray":
        image.convert_grayscale()
    elif mode == "indexed":
        image.convert_indexed(
            Gimp.ConvertDitherType.NONE, Gimp.ConvertPaletteType.GENERATE, 64, False, False, ""
        )
    elif mode == "alpha":
        image.get_layers()[0].add_alpha()
    else:
        image.convert_precision(getattr(Gimp.Precision, mode))


def answer(order_file):
    number = order_file.name.rpartition("-")[2]
    try:
        order = json.loads(order_file.read_text())
        with_pixels = order.pop("pixels", True)
        carry_out(order)
        told = {"images": facts(with_pixels), "seconds": run.seconds}
    except Exception:
        told = {"error": traceback.format_exc()}
    order_file.unlink()
    part = BASE / "watch-answer.part"
    part.write_text(json.dumps(told))
    part.rename(BASE / f"watch-answer-{number}")


def main():
    while not (BASE / "watch-stop").exists():
        for order_file in sorted(BASE.glob("watch-order-*")):
            answer(order_file)
        time.sleep(0.02)
    for image in Gimp.get_images():
        image.clean_all()


main()
