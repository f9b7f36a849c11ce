"""Messages <-> frames: `[header] [payload]?`, the header one small msgpack map.

The only file that imports msgpack. Knows no sockets and no order of messages. Whatever comes in,
the only exception that leaves `decode` is ProtocolError.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import typing
import zlib
from collections.abc import Sequence
from dataclasses import MISSING, fields
from math import isfinite
from typing import Any

import msgpack  # type: ignore[import-untyped]  # ships no types

from .errors import ProtocolError
from .messages import (
    MUST_HAVE_PAYLOAD,
    NO_PAYLOAD,
    Buffer,
    JobOpen,
    Kind,
    ListOf,
    Mapping,
    Message,
)
from .print_size import Rect

MAX_HEADER_BYTES = 64 << 10
MAX_CHUNK_BYTES = 4 << 20
MAX_MESSAGE_BYTES = MAX_CHUNK_BYTES + MAX_HEADER_BYTES
HIGH_WATER_MARK = 8704  # messages; protocol.md 2.5: credit keeps every queue below it
_MAX_DEPTH = 16
_PLAIN = (int, str, bytes)  # cannot be wrong, and nearly all of what travels
_LIMITS = {
    "max_str_len": 4096,
    "max_bin_len": 8192,
    "max_array_len": 4096,
    "max_map_len": 64,
    "max_ext_len": 0,
}


def encode(message: Message) -> list[Buffer]:
    """One or two frames.

    Raises:
        ProtocolError: the message is not what its class promises, or its header is too large; a
            bug or an oversized map of ours, never the peer's fault.
    """
    header: dict[str, Any] = {"t": message.t}
    for name, kind, _ in schema(type(message)):
        value = getattr(message, name)
        if value is not None:
            header[name] = kind.dump(value)
    payload = getattr(message, "payload", None)
    # Only maps and lists can hold what no kind has looked at; tiles are spared the second look.
    free = any(isinstance(kind, (Mapping, ListOf)) for _, kind, _ in schema(type(message)))
    frames: list[Buffer] = [pack(header) if free else msgpack.packb(header)]
    if payload is not None:
        frames.append(payload)
    _check_frame_count(type(message), len(frames), None)
    return frames


def decode(frames: Sequence[Buffer], known: dict[str, type[Message]]) -> Message:
    """The message, checked field by field.

    Args:
        frames: without ROUTER's identity frame.
        known: what this peer may send: messages.FROM_CLIENT or FROM_SERVER.

    Raises:
        ProtocolError: E_PROTO, E_BAD_FIELD or E_UNKNOWN_TYPE, with `re` when an `id` was readable.
            `detail["t"]` holds the type of an unknown message.
    """
    if not 1 <= len(frames) <= 2:
        raise ProtocolError(f"a message of {len(frames)} frames; one or two are allowed")
    header = unpack(frames[0])
    re = header.get("id")
    if type(re) is not int or not 0 <= re < 1 << 64:
        re = None
    name = header.get("t")
    if not isinstance(name, str):
        raise ProtocolError("field t: a message type is missing", code="E_BAD_FIELD", re=re)
    cls = known.get(name)
    if cls is None:
        raise ProtocolError(
            f"message type {name!r:.40} is not known",
            code="E_UNKNOWN_TYPE",
            detail={"t": name[:40]},
            re=re,
        )
    _check_frame_count(cls, len(frames), re)
    values: dict[str, Any] = {}
    for field_name, kind, required in schema(cls):
        value = header.get(field_name)
        if value is None:
            if required:
                raise _bad_field(name, field_name, "is missing", re)
            continue
        try:
            values[field_name] = kind.load(value)
        except ValueError as error:
            raise _bad_field(name, field_name, str(error), re) from None
    if len(frames) == 2:
        values["payload"] = frames[1]
    return cls(**values)


def pack(value: dict[str, Any]) -> bytes:
    """One map as msgpack, within the limits that `unpack` demands.

    Raises:
        ProtocolError: E_PROTO, it is not.
    """
    try:
        data: bytes = msgpack.packb(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ProtocolError(f"cannot be packed: {error}") from None
    unpack(data)
    return data


def unpack(data: Buffer) -> dict[str, Any]:
    """One msgpack map with string keys, strictly.

    Raises:
        ProtocolError: E_PROTO: too large, malformed, duplicate keys, NaN, infinities, extension
            types, nested more than 16 deep.
    """
    if len(data) > MAX_HEADER_BYTES:
        raise ProtocolError(f"a header of {len(data)} bytes; {MAX_HEADER_BYTES} are allowed")
    try:
        value = msgpack.unpackb(
            data, strict_map_key=True, object_pairs_hook=_unique, raw=False, **_LIMITS
        )
    except ProtocolError:
        raise
    # msgpack promises no common base: FormatError, StackError, ExtraData are ValueErrors, a
    # broken string is UnicodeDecodeError, a timestamp out of range is OverflowError.
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(f"malformed msgpack: {error!s:.200}") from None
    if not isinstance(value, dict):
        raise ProtocolError("the header is not a map")
    _check_values(value, 0)
    return value


def _unique(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ProtocolError("duplicate keys in a map")
    return result


def _check_values(value: Any, depth: int) -> None:
    """Refuse what msgpack lets pass: NaN, infinities, byte keys, ext types, deep nesting."""
    if depth > _MAX_DEPTH:
        raise ProtocolError(f"nested more than {_MAX_DEPTH} deep")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ProtocolError("a map key is not a string")
            if type(item) not in _PLAIN:
                _check_values(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            if type(item) not in _PLAIN:
                _check_values(item, depth + 1)
    elif isinstance(value, float):
        if not isfinite(value):
            raise ProtocolError("NaN and infinities are not allowed")
    elif value is not None and not isinstance(value, (bool, *_PLAIN)):
        raise ProtocolError(f"{type(value).__name__} is not allowed")


def _bad_field(name: str, field_name: str, what: str, re: int | None) -> ProtocolError:
    return ProtocolError(f"{name}: field {field_name}: {what}", code="E_BAD_FIELD", re=re)


def _check_frame_count(cls: type[Message], count: int, re: int | None) -> None:
    if (cls.payload_rule == MUST_HAVE_PAYLOAD and count != 2) or (
        cls.payload_rule == NO_PAYLOAD and count != 1
    ):
        raise ProtocolError(f"{cls.t} with {count} frames", re=re)


_schemas: dict[type[Message], tuple[tuple[str, Kind, bool], ...]] = {}


def schema(cls: type[Message]) -> tuple[tuple[str, Kind, bool], ...]:
    """(name, kind, required) of the header fields of a message class, worked out once."""
    if cls not in _schemas:
        hints = typing.get_type_hints(cls, include_extras=True)
        result = []
        for f in fields(cls):
            if f.name == "payload":
                continue
            hint = hints[f.name]
            if typing.get_origin(hint) is typing.Union:  # Optional[Annotated[...]]
                hint = next(a for a in typing.get_args(hint) if a is not type(None))
            required = f.default is MISSING and f.default_factory is MISSING
            result.append((f.name, hint.__metadata__[0], required))
        _schemas[cls] = tuple(result)
    return _schemas[cls]


def tile_fields(
    index: int, rect: Rect, payload: Buffer, *, checksum: bool = False
) -> dict[str, Any]:
    """The fields that describe a tile's place, length and, if wanted, checksum.

    Within one computer nothing damages a tile that would not damage the pixels themselves, and a
    checksum costs each side as much time as the transfer (benchmarks/wire.py).
    """
    return {
        "s": index,
        "x": rect.x,
        "y": rect.y,
        "w": rect.width,
        "h": rect.height,
        "n": len(payload),
        "crc": zlib.crc32(payload) if checksum else None,
        "payload": payload,
    }


def job_key(job: JobOpen) -> bytes:
    """SHA-256 over everything that decides the result except the pixels (protocol.md 2.4)."""
    content = [
        job.op,
        job.model,
        job.w,
        job.h,
        job.fmt.to_map(),
        [job.out.width, job.out.height],
        [job.tile.width, job.tile.height],
        job.params,
        hashlib.sha256(job.payload or b"").digest(),
        job.selection.to_map() if job.selection else None,
    ]
    data: bytes = msgpack.packb(_sorted(content))
    return hashlib.sha256(data).digest()


def _sorted(value: Any) -> Any:
    """The same value with the keys of every map in order."""
    if isinstance(value, dict):
        return {k: _sorted(value[k]) for k in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_sorted(v) for v in value]
    return value


def proof(key: bytes, side: bytes, first_nonce: bytes, second_nonce: bytes) -> bytes:
    """HMAC-SHA256 by which a side (b"S" or b"C") shows that it holds the key."""
    return hmac.new(key, side + first_nonce + second_nonce, hashlib.sha256).digest()


def same(a: bytes, b: bytes) -> bool:
    """Equality in constant time."""
    return hmac.compare_digest(a, b)


_LENGTH = struct.Struct("!I")


def frame_record(value: dict[str, Any]) -> bytes:
    """A map for the socket between server and worker: 4 bytes of length, then msgpack."""
    data = pack(value)
    return _LENGTH.pack(len(data)) + data


class RecordReader:
    """Puts the records of a byte stream together again."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """All records that are now complete.

        Raises:
            ProtocolError: the stream is damaged; it cannot be read on.
        """
        self._pending += data
        records = []
        while len(self._pending) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._pending)
            if length > MAX_HEADER_BYTES:
                raise ProtocolError(f"a record of {length} bytes")
            end = _LENGTH.size + length
            if len(self._pending) < end:
                break
            records.append(unpack(bytes(self._pending[_LENGTH.size : end])))
            del self._pending[:end]
        return records
