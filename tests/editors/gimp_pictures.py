"""For cases inside the real GIMP: pictures, calls of the plug-in, what the server itself gives.

What the plug-in must deliver is asked of the server directly, with bytes that the case made itself
and a layout that it writes down itself: a plug-in that reads, declares or writes anything else
gives other pixels.
"""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PLUGIN = Path(os.environ["GIMP3_DIRECTORY"]) / "plug-ins" / "wallprint-gimp"
sys.path[:0] = [str(HERE), str(PLUGIN / "vendor")]

import gi

for name, version in (("Gimp", "3.0"), ("Gegl", "0.4"), ("Babl", "0.1")):
    gi.require_version(name, version)
from gi.repository import Babl, Gegl, Gimp, Gio

from wallprint_protocol import client
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_plan import Settings, layer_job, make_plan
from wallprint_protocol.print_size import Rect, Size
from wallprint_protocol.request import Request

__all__ = [  # the cases take the libraries from here: this file knows where the plug-in's are
    "NONINTERACTIVE",
    "PLAIN",
    "PROFILE",
    "Babl",
    "Gegl",
    "Gimp",
    "Gio",
    "PixelLayout",
    "Rect",
    "Settings",
    "Size",
    "ask_server",
    "call",
    "difference",
    "enhance",
    "make",
    "own_name",
    "read",
    "write",
]

NONINTERACTIVE = Gimp.RunMode.NONINTERACTIVE
PROFILE = Path("/usr/share/color/icc/ghostscript/a98.icc")  # Adobe-RGB-like, in every tree
PLAIN = {"repair": 0, "deblur": 0}  # fixed amounts: the same network path in every case


# -- pictures --------------------------------------------------------------------------------------


def samples(width, height, channels, dtype):
    """A picture with edges, ramps and a transparent corner, as bytes of the dtype."""
    values = []
    for y in range(height):
        for x in range(width):
            ramp, edge = x / (width - 1), 0.85 if (x // 8 + y // 8) % 2 else 0.2
            colour = [edge, ramp, y / (height - 1)][: 3 if channels > 2 else 1]
            alpha = [0.0 if x < 6 and y < 6 else 1.0] if channels in (2, 4) else []
            values += colour + alpha
    if dtype == "u8":
        return bytes(round(v * 255) for v in values)
    if dtype == "u16":
        return struct.pack(f"<{len(values)}H", *(round(v * 65535) for v in values))
    if dtype == "f16":
        return struct.pack(f"<{len(values)}e", *values)
    return struct.pack(f"<{len(values)}f", *values)


P = Gimp.Precision
KINDS = {  # name -> base, precision, layer type, layout
    "rgb_u8": (0, P.U8_NON_LINEAR, Gimp.ImageType.RGB_IMAGE, ("RGB", "u8", "none", "perceptual")),
    "rgba_u16": (
        0, P.U16_NON_LINEAR, Gimp.ImageType.RGBA_IMAGE, ("RGBA", "u16", "straight", "perceptual"),
    ),
    "rgba_float_linear": (
        0, P.FLOAT_LINEAR, Gimp.ImageType.RGBA_IMAGE, ("RGBA", "f32", "straight", "linear"),
    ),
    "rgb_half": (
        0, P.HALF_NON_LINEAR, Gimp.ImageType.RGB_IMAGE, ("RGB", "f16", "none", "perceptual"),
    ),
    "rgb_u16_perceptual": (
        0, P.U16_PERCEPTUAL, Gimp.ImageType.RGB_IMAGE, ("RGB", "u16", "none", "perceptual"),
    ),
    "gray_u8": (
        1, P.U8_NON_LINEAR, Gimp.ImageType.GRAY_IMAGE, ("GRAY", "u8", "none", "perceptual"),
    ),
    "graya_u16": (
        1, P.U16_NON_LINEAR, Gimp.ImageType.GRAYA_IMAGE, ("GRAYA", "u16", "straight", "perceptual"),
    ),
}  # fmt: skip


def make(kind, width=48, height=36, *, canvas=None, offset=(0, 0), profile=False):
    """Image, layer, its bytes, its layout."""
    base, precision, layer_type, layout = KINDS[kind]
    layout = PixelLayout(*layout)
    size = canvas or (width, height)
    image = Gimp.Image.new_with_precision(*size, Gimp.ImageBaseType(base), precision)
    if profile:
        assert image.set_color_profile(
            Gimp.ColorProfile.new_from_file(Gio.File.new_for_path(str(PROFILE)))
        )
    image.set_resolution(72, 72)
    layer = Gimp.Layer.new(image, "Photo", width, height, layer_type, 100, Gimp.LayerMode.NORMAL)
    image.insert_layer(layer, None, 0)
    layer.set_offsets(*offset)
    data = samples(width, height, layout.channels, layout.dtype)
    write(layer, data)
    assert read(layer) == data
    return image, layer, data, layout


def own_name(drawable):
    return Babl.get_name(drawable.get_format())


def read(drawable, name=None):
    box = Gegl.Rectangle.new(0, 0, drawable.get_width(), drawable.get_height())
    name = name or own_name(drawable)
    return bytes(drawable.get_buffer().get(box, 1.0, name, Gegl.AbyssPolicy.NONE))


def write(drawable, data):
    box = Gegl.Rectangle.new(0, 0, drawable.get_width(), drawable.get_height())
    buffer = drawable.get_buffer()
    buffer.set(box, own_name(drawable), data)
    buffer.flush()
    drawable.update(0, 0, drawable.get_width(), drawable.get_height())


def strips(data, size, bytes_per_pixel):
    row = size.width * bytes_per_pixel
    return lambda rect: data[rect.y * row : (rect.y + rect.height) * row]


def ask_server(data, layout, layer, canvas, settings, mask=None, resolution=(1, 1)):
    """The result's bytes as the server gives them, and the job."""
    plan = make_plan(canvas, settings, resolution=resolution)
    job = layer_job(plan, layer)
    size = Size(layer.width, layer.height)
    selection, read_mask = None, None
    if mask is not None:
        selection = PixelLayout("GRAY", mask[1])
        read_mask = strips(mask[0], size, 1 if mask[1] == "u8" else 2 if mask[1] == "u16" else 4)
    request = Request.build(
        size, layout, job.placement, selection=selection, **settings.job_options(plan)
    )
    parts = []
    client.enhance(
        request,
        strips(data, size, layout.bytes_per_pixel),
        lambda rect, pixels: parts.append(bytes(pixels)),
        read_selection=read_mask,
    )
    return b"".join(parts), job


def call(name, image, layer, **arguments):
    """Run the procedure as a script does; its status and values."""
    procedure = Gimp.get_pdb().lookup_procedure(name)
    config = procedure.create_config()
    config.set_property("run-mode", NONINTERACTIVE)
    config.set_property("image", image)
    config.set_core_object_array("drawables", [layer])
    for key, value in arguments.items():
        config.set_property(key.replace("_", "-"), value)
    return procedure.run(config)


def enhance(image, layer, **arguments):
    values = {"width": 96.0, "unit": "px", "ppi": 200.0, "repair": 0, "deblur": 0, **arguments}
    result = call("plug-in-wallprint-enhance", image, layer, **values)
    assert result.index(0) == Gimp.PDBStatusType.SUCCESS, [
        str(result.index(i)) for i in range(result.length())
    ]
    return result.index(1)


def difference(got, expected):
    if len(got) != len(expected):
        return f"{len(got)} bytes, {len(expected)} expected"
    wrong = [i for i, (a, b) in enumerate(zip(got, expected)) if a != b]
    return f"{len(wrong)} of {len(got)} bytes differ, first at {wrong[:5]}"
