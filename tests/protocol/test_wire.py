"""Messages and frames: all of them go round, and nothing that comes in does harm."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import typing

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wallprint_protocol import messages as m
from wallprint_protocol import wire
from wallprint_protocol.errors import CODES, ProtocolError
from wallprint_protocol.messages import FROM_CLIENT, FROM_SERVER
from wallprint_protocol.pixels import ALPHAS, CHANNELS, CURVES, SAMPLE_BYTES, PixelLayout
from wallprint_protocol.print_size import Size

CLASSES = sorted({*FROM_CLIENT.values(), *FROM_SERVER.values()}, key=lambda cls: cls.__name__)

_words = st.text(max_size=20)
_maps = st.dictionaries(
    st.text(max_size=10),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=9)
        | st.floats(allow_nan=False, allow_infinity=False) | st.binary(max_size=9),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=5,
    ),
    max_size=4,
)  # fmt: skip
_sizes = st.builds(Size, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
_layouts = st.sampled_from(
    [
        PixelLayout(model, dtype, alpha, trc)
        for model in CHANNELS
        for dtype in SAMPLE_BYTES
        for alpha in ALPHAS
        for trc in CURVES
        if model.endswith("A") == (alpha != "none")
    ]
)


def values_of(kind: m.Kind) -> st.SearchStrategy:
    if isinstance(kind, m.Integer):
        low = -(2 ** (kind.bits - 1)) if kind.signed else 0
        return st.integers(low, 2 ** (kind.bits - kind.signed) - 1)
    if isinstance(kind, m.Text):
        return st.sampled_from(kind.allowed) if kind.allowed else _words
    if isinstance(kind, m.Binary):
        return st.binary(min_size=kind.length, max_size=kind.length)
    if isinstance(kind, m.ListOf):
        return st.lists(values_of(kind.item), max_size=4).map(tuple)
    return {
        m.Number: st.floats(allow_nan=False, allow_infinity=False),
        m.Mapping: _maps,
        m.Extent: _sizes,
        m.Format: _layouts,
        m.OutcomeKind: st.builds(m.Outcome, _sizes, _layouts, _sizes),
    }[type(kind)]


def messages_of(cls: type[m.Message]) -> st.SearchStrategy:
    parts = {}
    for name, kind, required in wire.schema(cls):
        values = values_of(kind)
        field = next(f for f in dataclasses.fields(cls) if f.name == name)
        parts[name] = values | st.none() if not required and field.default is None else values
    if cls.payload_rule == m.MUST_HAVE_PAYLOAD:
        parts["payload"] = st.binary(max_size=50)
    elif cls.payload_rule == m.MAY_HAVE_PAYLOAD:
        parts["payload"] = st.none() | st.binary(max_size=50)
    return st.builds(cls, **parts)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_message_goes_round(cls):
    known = FROM_CLIENT if FROM_CLIENT.get(cls.t) is cls else FROM_SERVER

    @settings(max_examples=25, deadline=None)
    @given(messages_of(cls))
    def check(message):
        assert wire.decode(wire.encode(message), known) == message

    check()


def test_every_number_has_a_unit():
    for cls in CLASSES:
        hints = typing.get_type_hints(cls, include_extras=True)
        for field in dataclasses.fields(cls):
            if field.name != "payload":
                hint = hints[field.name]
                if not hasattr(hint, "__metadata__"):  # Optional[Annotated[...]]
                    hint = hint.__args__[0]
                assert isinstance(hint.__metadata__[1], str), f"{cls.__name__}.{field.name}"


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=4), st.booleans())
def test_random_frames_raise_only_protocol_errors(frames, from_client):
    with pytest.raises(ProtocolError):
        wire.decode(frames, FROM_CLIENT if from_client else FROM_SERVER)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_truncated_and_altered_messages_raise_only_protocol_errors(data):
    cls = data.draw(st.sampled_from(CLASSES))
    header = bytearray(wire.encode(data.draw(messages_of(cls)))[0])
    if data.draw(st.booleans()):
        del header[data.draw(st.integers(0, len(header) - 1)) :]
    else:
        header[data.draw(st.integers(0, len(header) - 1))] = data.draw(st.integers(0, 255))
    for frames in ([header], [header, b"x"]):
        for known in (FROM_CLIENT, FROM_SERVER):
            try:
                wire.decode(frames, known)
            except ProtocolError as error:
                assert error.code in CODES  # noqa: PT017 (some alterations are harmless)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(CLASSES), st.data())
def test_wrong_types_in_fields_raise_only_bad_field(cls, data):
    known = FROM_CLIENT if FROM_CLIENT.get(cls.t) is cls else FROM_SERVER
    header = {"t": cls.t}
    junk = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3) | _maps
    for name, _, _ in wire.schema(cls):
        header[name] = data.draw(junk | st.lists(junk, max_size=2))
    frames = [msgpack.packb(header)] + [b"x"] * (cls.payload_rule == m.MUST_HAVE_PAYLOAD)
    try:
        wire.decode(frames, known)
    except ProtocolError as error:
        assert error.code in {"E_BAD_FIELD", "E_PROTO"}  # noqa: PT017 (junk may fit by chance)


PING = {"t": "ping", "q": 1}


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (b"", "malformed"),
        (b"\xdd\xff\xff\xff\xff", "malformed"),  # array of 2^32 - 1
        (b"\x91" * 60_000 + b"\x01", "malformed"),  # depth
        (b"\x91" * 40 + b"\x01", "not a map"),
        (b"\x81\xa1x" + b"\x91" * 40 + b"\x01", "nested"),
        (b"\xdc\x0f\xff" + b"\x80" * 4095, "not a map"),
        (b"\x82\xa1t\xa1a\xa1t\xa1b", "duplicate"),
        (msgpack.packb({**PING, "x": float("nan")}), "NaN"),
        (msgpack.packb({**PING, "x": [float("-inf")]}), "NaN"),
        (msgpack.packb({**PING, "x": msgpack.ExtType(5, b"")}), "ExtType"),
        (msgpack.packb({**PING, "x": msgpack.ExtType(5, b"y")}), "malformed"),
        (msgpack.packb({**PING, "x": msgpack.Timestamp(1)}), "malformed"),
        (msgpack.packb({**PING, b"x": 1}), "key"),
        (msgpack.packb({**PING, 3: 1}), "malformed"),
        (msgpack.packb({**PING, "x": "s" * 4097}), "malformed"),
        (msgpack.packb({**PING, "x": b"s" * 8193}), "malformed"),
        (msgpack.packb({**PING, "x": [0] * 4097}), "malformed"),
        (msgpack.packb({**PING, "x": {str(i): 0 for i in range(65)}}), "malformed"),
        (msgpack.packb({**PING, "x": "s" * 4096, "y": [b"s" * 8192] * 8}), "header of"),
        (msgpack.packb(PING) + b"\x00", "malformed"),
        (b"\x81\xa1t\xa2\xff\xfe", "malformed"),  # not UTF-8
    ],
)
def test_hostile_headers_are_refused(header, says):
    with pytest.raises(ProtocolError, match=says) as caught:
        wire.decode([header], FROM_CLIENT)
    assert caught.value.code == "E_PROTO"


def test_unknown_fields_are_ignored_and_missing_ones_named():
    assert wire.decode([msgpack.packb({**PING, "new": [1]})], FROM_CLIENT) == m.Ping(1)
    for q in (None, -1, 2**64 - 1 + 0.0, True, "1"):
        with pytest.raises(ProtocolError, match="field q") as caught:
            wire.decode([msgpack.packb({"t": "ping", "id": 7, "q": q})], FROM_CLIENT)
        assert (caught.value.code, caught.value.re) == ("E_BAD_FIELD", 7)


def test_unknown_type_is_named_and_a_server_message_from_a_client_is_unknown():
    with pytest.raises(ProtocolError) as caught:
        wire.decode([msgpack.packb({"t": "$new", "id": 3})], FROM_CLIENT)
    assert (caught.value.code, caught.value.re, caught.value.detail) == (
        "E_UNKNOWN_TYPE", 3, {"t": "$new"},
    )  # fmt: skip
    with pytest.raises(ProtocolError) as caught:
        wire.decode(wire.encode(m.Ok(1)), FROM_CLIENT)
    assert caught.value.code == "E_UNKNOWN_TYPE"


def test_payload_where_none_belongs_and_none_where_one_belongs():
    ping = msgpack.packb(PING)
    for frames in ([ping, b""], [ping, b"", b""], []):
        with pytest.raises(ProtocolError):
            wire.decode(frames, FROM_CLIENT)
    tile = m.Tile(j=bytes(16), s=0, x=0, y=0, w=1, h=1, n=1, crc=0, payload=b"x")
    with pytest.raises(ProtocolError):
        wire.decode(wire.encode(tile)[:1], FROM_CLIENT)


def test_own_mistakes_do_not_leave_the_house():
    for value in ({"x": float("nan")}, {"x": {1, 2}}, {"x": 2**70}, {"x": "s" * 5000}, {1: 2}):
        with pytest.raises(ProtocolError):
            wire.pack(value)


def test_pure_python_msgpack_refuses_the_same(tmp_path):
    """The plug-ins ship msgpack's fallback: the hostile headers run again under it."""
    code = (
        "import os, sys; os.environ['MSGPACK_PUREPYTHON'] = '1'\n"
        "import msgpack, pytest; assert msgpack.Unpacker.__module__ == 'msgpack.fallback'\n"
        "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', sys.argv[1], '-k',"
        " 'hostile or missing or own_mistakes']))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, __file__], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stdout[-2000:]
    assert "23 passed" in run.stdout


def test_key_changes_with_everything_that_decides_the_result():
    job = m.JobOpen(
        id=1, j=bytes(16), key=bytes(32), op="enhance", model="", w=4, h=3, out=Size(8, 6),
        fmt=PixelLayout("RGB", "u8"), tile=Size(4, 3), params={"b": {"y": 1, "x": 2}, "a": 1},
    )  # fmt: skip
    same = dataclasses.replace(job, id=9, params={"a": 1, "b": {"x": 2, "y": 1}}, prio=1)
    assert wire.job_key(job) == wire.job_key(same)
    others = [
        dataclasses.replace(job, **change)
        for change in (
            {"model": "x"}, {"w": 5}, {"out": Size(8, 7)}, {"fmt": PixelLayout("RGB", "u16")},
            {"tile": Size(4, 2)}, {"params": {}}, {"payload": b"icc"},
            {"selection": PixelLayout("GRAY", "u8")},
        )
    ]  # fmt: skip
    assert len({wire.job_key(o) for o in [job, *others]}) == len(others) + 1


@given(st.lists(st.dictionaries(_words, st.integers(0, 9), max_size=3), max_size=4), st.data())
def test_records_survive_any_splitting(records, data):
    stream = b"".join(wire.frame_record(r) for r in records)
    reader, out = wire.RecordReader(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        out += reader.feed(stream[:cut])
        stream = stream[cut:]
    assert out == records
