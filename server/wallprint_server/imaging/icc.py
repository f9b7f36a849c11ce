"""What wallprint reads from an ICC profile: its name, its colours, and whether it is linear.

Profile bytes are never changed; knows nothing of colour conversion.

References:
    ICC.1:2022 (profile version 4.4), 7.2 header, 7.3 tag table, 10.6 curveType,
    10.15 multiLocalizedUnicodeType, 10.18 parametricCurveType; ICC.1:2001-04, 6.5.17
    textDescriptionType.
"""

from __future__ import annotations

import struct

_MAX_TAGS = 100


def colour_space(profile: bytes) -> str:
    """`RGB`, `GRAY`, `CMYK`, `Lab` ..., or "" when this is not a profile."""
    if len(profile) < 132 or profile[36:40] != b"acsp":
        return ""
    return profile[16:20].decode("latin-1").strip()


def name_of(profile: bytes) -> str:
    """The profile's own name (profileDescriptionTag, its first language); "" when it has none."""
    text = next((data for tag, data in _tags(profile) if tag == b"desc"), b"")
    if text[:4] == b"desc" and len(text) >= 12:
        length = struct.unpack(">I", text[8:12])[0]
        return text[12 : 12 + length].split(b"\0")[0].decode("latin-1").strip()
    if text[:4] == b"mluc" and len(text) >= 28:
        length, offset = struct.unpack(">II", text[20:28])
        return text[offset : offset + length].decode("utf-16-be", "replace").strip("\0 ")
    return ""


def is_linear(profile: bytes) -> bool:
    """Whether samples are proportional to light: every tone curve is the identity.

    Looks at rTRC, gTRC, bTRC (matrix profiles) or kTRC (grey). Profiles without them (LUT
    profiles, CMYK) are not linear.
    """
    curves = [data for tag, data in _tags(profile) if tag in (b"rTRC", b"gTRC", b"bTRC", b"kTRC")]
    return bool(curves) and all(_is_identity(curve) for curve in curves)


def _tags(profile: bytes) -> list[tuple[bytes, bytes]]:
    """(signature, data) of every tag that lies inside the profile."""
    if not colour_space(profile):
        return []
    count = struct.unpack(">I", profile[128:132])[0]
    tags = []
    for i in range(min(count, _MAX_TAGS)):
        record = profile[132 + 12 * i : 144 + 12 * i]
        if len(record) < 12:
            break
        signature, offset, size = struct.unpack(">4sII", record)
        if offset + size <= len(profile):
            tags.append((signature, profile[offset : offset + size]))
    return tags


def _is_identity(curve: bytes) -> bool:
    """Gamma 1: an empty curve, a gamma of 1, a straight table, or parametric type 0 with g = 1."""
    if curve[:4] == b"curv" and len(curve) >= 12:
        count = struct.unpack(">I", curve[8:12])[0]
        if count == 0:
            return True
        if len(curve) < 12 + 2 * count:
            return False
        values = struct.unpack(f">{count}H", curve[12 : 12 + 2 * count])
        if count == 1:
            return bool(values[0] == 256)  # u8Fixed8Number 1.0
        # Half a level of 255 is far below what any real curve deviates by (sRGB: 100 levels).
        return all(abs(v - 65535 * i / (count - 1)) <= 128 for i, v in enumerate(values))
    if curve[:4] == b"para" and len(curve) >= 16:
        kind, _, gamma = struct.unpack(">HHi", curve[8:16])
        return bool(kind == 0 and gamma == 65536)  # s15Fixed16Number 1.0
    return False
