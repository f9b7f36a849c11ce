"""How a print was made: a parasite of its layer, and the image's XMP.

The parasite is saved in the .xcf file, where `wallprint reproduce` finds it, and goes with the
layer when that is undone or copied. The XMP is exported with the picture by GIMP's own exports; it
also has the term that IPTC wants for what networks did.
"""

from __future__ import annotations

import json
from xml.etree import ElementTree

from gi.repository import Gimp

from wallprint_protocol.passport import SOURCE_TYPES, SYNTHETIC, XMP_NAMESPACE, Passport
from wallprint_protocol.print_plan import Settings

PARASITE = "wallprint"  # of a print's layer: its passport, as JSON
_PASSPORT, _SOURCE_TYPE = "Xmp.wallprint.Passport", "Xmp.iptcExt.DigitalSourceType"
_IPTC_NAMESPACE = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"


def keep(layer: Gimp.Layer, passport: Passport) -> None:
    """Keep a print's passport with its layer."""
    flags = Gimp.PARASITE_PERSISTENT | Gimp.PARASITE_UNDOABLE
    layer.attach_parasite(Gimp.Parasite.new(PARASITE, flags, passport.to_json().encode()))


def tell_in_metadata(image: Gimp.Image, passport: Passport) -> None:
    """Write the passport into the image's XMP, and what networks did; synthetic stays said."""
    metadata = _metadata(image)
    tags = {tag.get("name"): tag for tag in metadata.iter("tag")}
    new = {_PASSPORT: ("wallprint", XMP_NAMESPACE, passport.to_json())}
    found = tags[_SOURCE_TYPE].text or "" if _SOURCE_TYPE in tags else ""
    if passport.source_type and found.rpartition("/")[2] not in SYNTHETIC:
        new[_SOURCE_TYPE] = ("iptcExt", _IPTC_NAMESPACE, SOURCE_TYPES + passport.source_type)
    for name, (prefix, url, text) in new.items():
        if name in tags:
            metadata.remove(tags[name])
        if all(space.get("prefix") != prefix for space in metadata.iter("namespace")):
            ElementTree.SubElement(metadata, "namespace", prefix=prefix, url=url)
        ElementTree.SubElement(metadata, "tag", name=name).text = text
    # GIMP's reader does not take an element that is closed where it opens.
    text = ElementTree.tostring(metadata, "unicode", short_empty_elements=False)
    image.set_metadata(Gimp.Metadata.deserialize(text))


def _metadata(image: Gimp.Image) -> ElementTree.Element:
    """The image's metadata as GIMP writes it down: `tag` elements after their `namespace`.

    GIMP's own functions for single tags come from a library that a plug-in may lack.
    """
    metadata = image.get_metadata()
    if metadata is None:
        return ElementTree.Element("metadata")
    return ElementTree.fromstring(metadata.serialize())


def passport_of(layer: Gimp.Layer) -> Passport | None:
    """The passport of a layer; None when it is no print, or none that can be read."""
    parasite = layer.get_parasite(PARASITE)
    return _read(bytes(parasite.get_data())) if parasite else None


def earlier_sharpening(image: Gimp.Image, layer: Gimp.Layer, settings: Settings) -> dict | None:
    """How the source was sharpened for paper by an earlier print; None when it was not.

    A layer's own passport counts, else that of the file that the image came from.
    """
    layers = [layer]
    if settings.source == "visible":
        layers = [shown for shown in image.get_layers() if shown.get_visible()]
    found = _sharpening_of(layers)
    if found is None and not any(map(_is_print, image.get_layers())):
        for tag in _metadata(image).iter("tag"):
            if tag.get("name") == _PASSPORT:
                passport = _read((tag.text or "").encode())
                found = passport and passport.output_sharpening
    return found


def _sharpening_of(layers: list[Gimp.Layer]) -> dict | None:
    for layer in layers:
        passport = passport_of(layer)
        if passport is None and layer.is_group():
            found = _sharpening_of(layer.get_children())
        else:
            found = passport and passport.output_sharpening
        if found:
            return found
    return None


def _is_print(layer: Gimp.Layer) -> bool:
    """Whether the image's XMP is of this layer, or of one in it, and not of the whole image."""
    if layer.is_group():
        return any(map(_is_print, layer.get_children()))
    return layer.get_parasite(PARASITE) is not None


def _read(data: bytes) -> Passport | None:
    try:
        return Passport.from_map(json.loads(data))
    except ValueError:
        return None
