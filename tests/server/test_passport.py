"""The passport: in XMP beside what is there, read by others, and damaged in every way."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallprint_protocol.passport import INVENTED, SOURCE_TYPES, Passport
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Size, place
from wallprint_protocol.request import Request
from wallprint_server.imaging import icc
from wallprint_server.imaging.files_in import open_source
from wallprint_server.imaging.files_out import PrintFile
from wallprint_server.imaging.metadata import Metadata
from wallprint_server.imaging.xmp import (
    XmpError,
    output_sharpening_of,
    passport_of,
    with_passport,
)
from wallprint_testing.picture_files import icc_profile, random_pixels, strips

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
OURS = "{urn:x-wallprint:passport:1:}"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
ENLARGE = {"stage": "enlarge", "network": "span-x2", "sha256": "ab" * 32, "strength": 100}
SHARPEN = {"stage": "sharpen", "medium": "matte", "sigma_px": 1.98, "amount": 1.15, "halo_px": 4.0}
LAYOUT = PixelLayout("RGB", "u8")
OUT = Size(82, 58)
FOREIGN = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><!-- a comment -->
 <r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <r:Description r:about="uuid:7" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" dc:format="image/jpeg"
    e:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/TERM">
   <dc:title><r:Alt><r:li xml:lang="x-default">Sea &amp; sky</r:li></r:Alt></dc:title>
  </r:Description>
 </r:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""


def a_passport(*stages: dict[str, Any], **more: Any) -> Passport:
    source = Size(41, 29)
    request = Request.build(source, LAYOUT, place(source, OUT, "crop"), ppi=150.5)
    report = {
        "stages": list(stages or (ENLARGE, SHARPEN)),
        "device": "CPU <2> & threads",
        "software": {"torch": "2.13.0"},
    }
    values = {"source_sha256": "12" * 32, "source_is": "file", "pixels_sha256": "34" * 32}
    return Passport(request, **{**values, "report": report, "icc": "Née RGB", **more})


def properties(xmp: bytes) -> dict[str, Any]:
    """{namespace name: text} of all simple properties, by a real XML parser."""
    found: dict[str, Any] = {}
    for description in ET.fromstring(xmp.decode()).iter(f"{RDF}Description"):
        found.update(description.attrib)
        for element in description:
            assert element.tag not in found, element.tag
            found[element.tag] = element.text if not len(element) else element
    return found


def test_the_map_is_inverted_and_json_is_stable() -> None:
    passport = a_passport()
    again = Passport.from_map(json.loads(passport.to_json()))
    assert again.to_json() == passport.to_json()
    assert again.request == passport.request
    assert passport.differences(again) == []
    older = a_passport({**ENLARGE, "sha256": "cd" * 32}, SHARPEN, version="0.0.9")
    assert len(passport.differences(older)) == 2


@given(data=st.data())
def test_a_damaged_passport_gives_value_errors_only(data: Any) -> None:
    value = json.loads(a_passport().to_json())
    place_of = value
    for _ in range(data.draw(st.integers(0, 2))):
        inner = [v for v in place_of.values() if isinstance(v, dict) and v]
        place_of = data.draw(st.sampled_from(inner)) if inner else place_of
    key = data.draw(st.sampled_from(sorted(place_of)))
    junk = st.one_of(st.none(), st.integers(), st.text(max_size=5), st.lists(st.integers()))
    if data.draw(st.booleans()):
        del place_of[key]
    else:
        place_of[key] = data.draw(junk)
    try:
        Passport.from_map(copy.deepcopy(value)).to_json()
    except ValueError as error:
        assert str(error)  # noqa: PT017


@pytest.mark.parametrize("value", [None, 3, [], {}, {"passport": 2}, {"passport": "x"}])
def test_what_is_no_passport(value: Any) -> None:
    with pytest.raises(ValueError, match=r"passport|missing|format|invalid"):
        Passport.from_map(value)


def test_a_packet_from_nothing() -> None:
    xmp = with_passport(b"", a_passport())
    found = properties(xmp)
    assert found[f"{OURS}PixelSHA256"] == "34" * 32
    assert found[f"{OURS}Device"] == "CPU <2> & threads"
    assert found[f"{OURS}ICCProfile"] == "Née RGB"
    assert found[f"{OURS}PrintPPI"] == "150.5"
    assert found[f"{IPTC}DigitalSourceType"] == SOURCE_TYPES + "algorithmicallyEnhanced"
    steps = [li.text for li in found[f"{OURS}Stages"].iter(f"{RDF}li")]
    assert "ab" * 32 in steps[0]
    assert "matte" in steps[1]
    assert passport_of(xmp) == Passport.from_map(a_passport().to_map())


def test_what_others_wrote_stays_byte_for_byte() -> None:
    packet = FOREIGN.replace("TERM", "digitalCapture")
    xmp = with_passport(packet.encode(), a_passport()).decode()
    for line in packet.splitlines():
        if "DigitalSourceType" not in line:
            assert line in xmp
    found = properties(xmp.encode())
    assert found[f"{IPTC}DigitalSourceType"].endswith("/algorithmicallyEnhanced")
    abouts = {d.get(f"{RDF}about") for d in ET.fromstring(xmp).iter(f"{RDF}Description")}
    assert abouts == {"uuid:7"}


def test_a_second_print_replaces_the_first_passport() -> None:
    first = with_passport(FOREIGN.encode(), a_passport())
    second = with_passport(first, a_passport(pixels_sha256="56" * 32))
    assert second.count(b"PixelSHA256>") == 2  # one element
    assert properties(second)[f"{OURS}PixelSHA256"] == "56" * 32
    assert len(second) == len(first)
    # Another program has written it anew in between: other prefix, attributes.
    own = a_passport().to_json().replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    rewritten = FOREIGN.replace(
        'dc:format="image/jpeg"',
        f'xmlns:q="urn:x-wallprint:passport:1:" q:PrintPPI="7" dc:format="image/jpeg"\n'
        f'q:Passport="{own}"',
    ).encode()
    assert passport_of(rewritten) is not None
    third = with_passport(rewritten, a_passport())
    assert properties(third)[f"{OURS}PrintPPI"] == "150.5"
    assert b"q:PrintPPI" not in third
    assert b'dc:format="image/jpeg"' in third


@pytest.mark.parametrize(
    ("before", "style", "expected"),
    [
        ("digitalCapture", "", "algorithmicallyEnhanced"),
        ("digitalCapture", "enhanced", INVENTED),
        ("algorithmicallyEnhanced", "enhanced", INVENTED),
        ("trainedAlgorithmicMedia", "faithful", "trainedAlgorithmicMedia"),
        ("trainedAlgorithmicMedia", "enhanced", "trainedAlgorithmicMedia"),
        (INVENTED, "faithful", INVENTED),
        ("digitalCapture", None, "digitalCapture"),
        (INVENTED, None, INVENTED),
    ],
)
def test_source_type(before: str, style: str | None, expected: str) -> None:
    """The stronger term wins; a run without networks leaves what it finds."""
    stages = [SHARPEN] if style is None else [{**ENLARGE, "style": style}, SHARPEN]
    xmp = with_passport(FOREIGN.replace("TERM", before).encode(), a_passport(*stages))
    assert properties(xmp)[f"{IPTC}DigitalSourceType"] == SOURCE_TYPES + expected


def test_no_networks_no_term() -> None:
    xmp = with_passport(b"", a_passport(SHARPEN))
    assert f"{IPTC}DigitalSourceType" not in properties(xmp)
    assert a_passport(SHARPEN).to_map()["digital_source_type"] == ""


def test_sharpening_is_remembered_through_a_print_that_does_none() -> None:
    first = with_passport(b"", a_passport())
    how = output_sharpening_of(first)
    assert how is not None
    assert how["medium"] == "matte"
    second = with_passport(first, a_passport(ENLARGE, earlier_sharpening=how))
    assert output_sharpening_of(second) == how
    assert output_sharpening_of(with_passport(b"", a_passport(ENLARGE))) is None


@pytest.mark.parametrize("packet", [b"<a/>", b"\xff\x00garbage", b"<x>" + b"y" * 99])
def test_a_packet_that_is_none(packet: bytes) -> None:
    assert passport_of(packet) is None
    with pytest.raises(XmpError):
        with_passport(packet, a_passport())


def test_utf_16() -> None:
    found = properties(with_passport(FOREIGN.encode("utf-16"), a_passport()))
    assert found[f"{OURS}PrintPPI"] == "150.5"
    assert found["{http://purl.org/dc/elements/1.1/}format"] == "image/jpeg"


def written(path: Path, xmp: bytes = b"") -> Path:
    """A print with a passport."""
    pixels = random_pixels(OUT, LAYOUT)
    with PrintFile(
        path, OUT, LAYOUT, ppi_milli=150_500, metadata=Metadata(icc=icc_profile(), xmp=xmp)
    ) as file:
        for rect in strips(OUT):
            file.write(rect, pixels[rect.y : rect.y + rect.height].tobytes())
        file.add_passport(a_passport(pixels_sha256=file.pixels_sha256()))
        file.commit()
    return path


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg", ".pdf"])
def test_every_format_carries_it(tmp_path: Path, suffix: str) -> None:
    packet = packet_of(written(tmp_path / f"a{suffix}", FOREIGN.encode()))
    found = passport_of(packet)
    assert b"a comment" in packet
    assert found is not None
    assert found.pixels_sha256 != "34" * 32


@pytest.mark.skipif(not shutil.which("exiftool"), reason="needs libimage-exiftool-perl")
def packet_of(path: Path) -> bytes:
    """The XMP of a file; a PDF keeps it as it is, for programs that look for it (ISO 16684-1)."""
    if path.suffix == ".pdf":
        (packet,) = re.findall(rb"<\?xpacket begin.*?<\?xpacket end[^>]*>", path.read_bytes(), re.S)
        return packet
    with open_source(path) as source:
        return source.metadata.xmp


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg", ".pdf"])
@pytest.mark.parametrize("xmp", [b"", FOREIGN.encode()], ids=["alone", "merged"])
def test_exiftool_reads_every_field(tmp_path: Path, suffix: str, xmp: bytes) -> None:
    path = written(tmp_path / f"a{suffix}", xmp)
    run = subprocess.run(
        ["exiftool", "-j", "-G1", "-n", "-validate", "-warning", "-a", "-XMP:all", str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(run.stdout)[0]
    passport = passport_of(packet_of(path))
    assert passport is not None
    expected = {
        "SourceSHA256": "12" * 32,
        "SourceHashOf": "file",
        "SourceWidth": 41,
        "SourceHeight": 29,
        "PrintWidth": 82,
        "PrintHeight": 58,
        "PrintWidthMM": 13.84,
        "PrintHeightMM": 9.79,
        "PrintPPI": 150.5,
        "ICCProfile": "Née RGB",
        "PixelSHA256": passport.pixels_sha256,
        "Device": "CPU <2> & threads",
        "Software": "torch 2.13.0",
        "Version": passport.version,
    }
    assert {k: found[f"XMP-wallprint:{k}"] for k in expected} == expected
    assert len(found["XMP-wallprint:Stages"]) == 2
    assert "medium matte" in found["XMP-wallprint:OutputSharpened"]
    assert json.loads(found["XMP-wallprint:Passport"]) == passport.to_map()
    kind = found["XMP-iptcExt:DigitalSourceType"]
    assert kind == SOURCE_TYPES + "algorithmicallyEnhanced"
    if xmp:
        assert found["XMP-dc:Title"] == "Sea & sky"
    assert not [value for key, value in found.items() if "Warning" in key and "XMP" in str(value)]


def test_the_name_of_a_profile() -> None:
    def with_desc(data: bytes) -> bytes:
        head = bytearray(icc_profile()[:128])
        table = (1).to_bytes(4, "big") + b"desc" + (144).to_bytes(4, "big")
        return bytes(head) + table + len(data).to_bytes(4, "big") + data

    old = b"desc\0\0\0\0" + (10).to_bytes(4, "big") + b"Adobe RGB\0"
    new = b"mluc" + bytes(4) + (1).to_bytes(4, "big") + (12).to_bytes(4, "big") + b"enUS"
    text = "Née".encode("utf-16-be")
    new += len(text).to_bytes(4, "big") + (28).to_bytes(4, "big") + text
    assert icc.name_of(with_desc(old)) == "Adobe RGB"
    assert icc.name_of(with_desc(new)) == "Née"
    for damaged in (b"", b"desc", old[:9], new[:20]):
        assert icc.name_of(with_desc(damaged)) == ""
    assert icc.name_of(b"") == ""
