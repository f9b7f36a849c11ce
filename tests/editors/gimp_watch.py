"""Runs beside a living GIMP window: writes down what the documents look like until it is told."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import gi

for name, version in (("Gimp", "3.0"), ("Gegl", "0.4"), ("Babl", "0.1")):
    gi.require_version(name, version)
from gi.repository import Babl, Gegl, Gimp

BASE = Path(os.environ["WALLPRINT_TEST_BASE"])


def pixels(layer):
    box = Gegl.Rectangle.new(0, 0, layer.get_width(), layer.get_height())
    name = Babl.get_name(layer.get_format())
    data = layer.get_buffer().get(box, 1.0, name, Gegl.AbyssPolicy.NONE)
    return hashlib.sha256(bytes(data)).hexdigest()


def layer_facts(layer):
    return {
        "name": layer.get_name(),
        "size": [layer.get_width(), layer.get_height()],
        "offset": list(layer.get_offsets()[1:]),
        "visible": layer.get_visible(),
        "sha": pixels(layer),
    }


def facts():
    return [
        {
            "size": [image.get_width(), image.get_height()],
            "ppi": image.get_resolution()[1],
            "layers": [layer_facts(layer) for layer in image.get_layers()],
            "dirty": image.is_dirty(),
            "channels": len(image.get_channels()),
        }
        for image in Gimp.get_images()
    ]


def run_with_last_values(name):
    """As GIMP's own Repeat does."""
    image = Gimp.get_images()[0]
    procedure = Gimp.get_pdb().lookup_procedure(name)
    config = procedure.create_config()
    config.set_property("run-mode", Gimp.RunMode.WITH_LAST_VALS)
    config.set_property("image", image)
    config.set_core_object_array("drawables", image.get_layers()[:1])
    procedure.run(config)


def main():
    number = 0
    while not (BASE / "watch-stop").exists():
        order = BASE / "watch-select"
        if order.exists():
            x, y, width, height = json.loads(order.read_text())
            Gimp.get_images()[0].select_rectangle(Gimp.ChannelOps.REPLACE, x, y, width, height)
            Gimp.displays_flush()
            order.unlink()
        repeat = BASE / "watch-repeat"
        if repeat.exists():
            run_with_last_values(repeat.read_text())
            repeat.unlink()
        try:
            images = facts()
        except Exception as error:  # a document that changes under our hands
            images = [{"error": repr(error)}]
        number += 1
        part = BASE / "watch.part"
        part.write_text(json.dumps({"number": number, "images": images}))
        part.replace(BASE / "watch.json")
        time.sleep(0.1)
    for image in Gimp.get_images():
        image.clean_all()


main()
