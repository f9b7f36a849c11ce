"""The passport inside an XMP packet: put beside what is there, found again, taken out.

Packets are changed as text, property by property: what other programs wrote stays byte for byte,
comments and padding included. Knows nothing of files.

References:
    ISO 16684-1:2019 (XMP: data model, serialisation); IPTC Photo Metadata Standard 2023.1,
    Digital Source Type.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from wallprint_protocol.passport import (
    SOURCE_TYPES,
    SYNTHETIC,
    XMP_NAMESPACE,
    Passport,
    describe_stage,
)

IPTC_NAMESPACE = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_SOURCE_TYPE = "DigitalSourceType"
# An opening tag with attributes, whose values may hold ">".
_TAG = re.compile(r"""(<[\w:.-]+(?:\s+[\w:.-]+\s*=\s*(?:"[^"]*"|'[^']*'))+\s*/?>)""")
_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
    f'<rdf:RDF xmlns:rdf="{_RDF}">\n</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>'
)


class XmpError(ValueError):
    """The packet is not XMP that could be added to."""


def with_passport(xmp: bytes, passport: Passport) -> bytes:
    """The packet with the passport of a print in place of any earlier one.

    Args:
        xmp: packet as found in the source, b"" for none.
        passport: of the print.

    Raises:
        XmpError: nothing can be added to that packet.
    """
    packet = _text(xmp) if xmp else _EMPTY
    kept = _stronger_source_type(packet, passport.source_type)
    packet = _without(packet, XMP_NAMESPACE)
    prefix = next(iter(_prefixes(packet, _RDF)), "")
    if not prefix:
        raise XmpError("it has no RDF")
    properties = _properties(passport, prefix)
    if passport.source_type and not kept:
        packet = _without(packet, IPTC_NAMESPACE, _SOURCE_TYPE)
        url = SOURCE_TYPES + passport.source_type
        properties += f"<Iptc4xmpExt:{_SOURCE_TYPE}>{url}</Iptc4xmpExt:{_SOURCE_TYPE}>\n"
    return _add(packet, properties, prefix).encode()


def passport_of(xmp: bytes) -> Passport | None:
    """The passport in a packet, None when there is none.

    Raises:
        ValueError: there is one, and it is damaged.
    """
    text = _property(xmp, XMP_NAMESPACE, "Passport")
    return Passport.from_map(json.loads(text)) if text else None


def output_sharpening_of(xmp: bytes) -> dict[str, Any] | None:
    """How a picture was sharpened for paper by an earlier print; None when it was not."""
    try:
        passport = passport_of(xmp)
    except ValueError:
        return None
    return passport.output_sharpening if passport else None


def _properties(passport: Passport, rdf: str) -> str:
    """XMP elements: one for each field, and the whole as JSON for `wallprint reproduce`."""
    values = passport.to_map()
    source, out = values["source"], values["print"]
    fields: dict[str, Any] = {
        "Version": values["wallprint"],
        "SourceSHA256": source["sha256"],
        "SourceHashOf": source["of"],
        "SourceWidth": source["width"],
        "SourceHeight": source["height"],
        "PrintWidth": out["width"],
        "PrintHeight": out["height"],
        "PrintWidthMM": out["width_mm"],
        "PrintHeightMM": out["height_mm"],
        "PrintPPI": f"{out['ppi']:g}",
        "ICCProfile": out["icc"],
        "PixelSHA256": out["pixels_sha256"],
        "Device": values["device"],
        "Software": ", ".join(f"{name} {v}" for name, v in values["software"].items()),
        "OutputSharpened": _sharpened(values["output_sharpening"]),
    }
    lines = [f"<wallprint:{k}>{escape(str(v))}</wallprint:{k}>\n" for k, v in fields.items() if v]
    steps = "".join(
        f"<{rdf}:li>{escape(describe_stage(stage))}</{rdf}:li>" for stage in _full(passport.stages)
    )
    lines.append(f"<wallprint:Stages><{rdf}:Seq>{steps}</{rdf}:Seq></wallprint:Stages>\n")
    lines.append(f"<wallprint:Passport>{escape(passport.to_json())}</wallprint:Passport>\n")
    return "".join(lines)


def _full(stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The stages with whole hashes, which `describe_stage` shortens, as a part of the name."""
    return [
        {**{k: v for k, v in s.items() if k != "sha256"}, "weights": s.get("sha256", "")}
        for s in stages
    ]


def _sharpened(how: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{key} {value}" for key, value in how.items()) if how else ""


def _text(xmp: bytes) -> str:
    try:
        return xmp.decode("utf-8")
    except UnicodeDecodeError:
        pass
    try:
        if xmp[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return xmp.decode("utf-16")
    except UnicodeDecodeError:
        pass
    raise XmpError("it is not UTF-8")


def _prefixes(packet: str, namespace: str) -> set[str]:
    # Exiv2, which GIMP and others write XMP with, ends a namespace with a slash that had none.
    url = re.escape(namespace)
    return set(re.findall(rf"xmlns:([\w.-]+)\s*=\s*[\"']{url}/?[\"']", packet))


def _patterns(prefix: str, name: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """A property as an element (group "text", or a resource), and as an attribute of a tag."""
    tag = rf"{re.escape(prefix)}:(?P<name>{name})"
    element = re.compile(
        rf"<{tag}(?=[\s/>])(?P<attributes>[^<>]*?)(?:/>|>(?P<text>.*?)</{re.escape(prefix)}:(?P=name)\s*>)\s?",
        re.DOTALL,
    )
    attribute = re.compile(rf"\s{tag}\s*=\s*(?P<quote>[\"'])(?P<text>.*?)(?P=quote)", re.DOTALL)
    return element, attribute


def _without(packet: str, namespace: str, name: str = r"[\w.-]+") -> str:
    """The packet without properties of that namespace and name."""
    for prefix in _prefixes(packet, namespace):
        element, attribute = _patterns(prefix, name)
        packet = element.sub("", packet)
        parts = _TAG.split(packet)
        packet = "".join(
            attribute.sub("", part) if part.startswith("<") else part for part in parts
        )
    # What this module added has nothing left in it.
    return re.sub(
        rf"\s*<(\w+):Description\b[^<>]*xmlns:\w+=\"{re.escape(XMP_NAMESPACE)}/?\"[^<>]*>"
        r"\s*</\1:Description>",
        "",
        packet,
    )


def _property(xmp: bytes, namespace: str, name: str) -> str:
    """Text of a simple property, "" when it is not there."""
    try:
        packet = _text(xmp)
    except XmpError:
        return ""
    for prefix in _prefixes(packet, namespace):
        for pattern in _patterns(prefix, name):
            found = pattern.search(packet)
            if found is not None and (found["text"] or "").strip():
                return html.unescape(found["text"].strip())
            resource = found and re.search(r"resource\s*=\s*[\"'](.*?)[\"']", found[0])
            if resource:
                return html.unescape(resource[1])
    return ""


def _stronger_source_type(packet: str, term: str) -> bool:
    """Whether the packet says of the picture what no enhancement makes untrue."""
    found = _property(packet.encode(), IPTC_NAMESPACE, _SOURCE_TYPE).rpartition("/")[2]
    return found in SYNTHETIC and found != term


def _add(packet: str, properties: str, rdf: str) -> str:
    """The packet with a description of our own at its end, about the same thing as the others."""
    empty = re.search(rf"<{rdf}:RDF\b([^<>]*)/>", packet)
    if empty is not None:
        opened = f"<{rdf}:RDF{empty[1]}></{rdf}:RDF>"
        packet = packet[: empty.start()] + opened + packet[empty.end() :]
    end = packet.rfind(f"</{rdf}:RDF")
    if end < 0:
        raise XmpError("its RDF has no end")
    about = re.search(rf"<{rdf}:Description\b[^<>]*\b{rdf}:about\s*=\s*[\"'](.*?)[\"']", packet)
    end = len(packet[:end].rstrip())
    description = (
        f'\n<{rdf}:Description {rdf}:about="{about[1] if about else ""}" '
        f'xmlns:wallprint="{XMP_NAMESPACE}" xmlns:Iptc4xmpExt="{IPTC_NAMESPACE}">\n'
        f"{properties}</{rdf}:Description>"
    )
    return packet[:end] + description + packet[end:]
