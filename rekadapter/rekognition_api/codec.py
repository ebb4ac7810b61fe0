"""Between JSON on the wire and checked Python values, in both directions, as the model says.

On the way in unknown members are ignored and null members dropped, as AWS does; on the way out None
members are dropped and everything else has to fit the model. ``decode(shape, json of encode(shape,
value))`` is ``value`` for every value that fits its shape.
"""

from __future__ import annotations

import binascii
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NoReturn, TypeAlias

from rekadapter.errors import InvalidRequestError
from rekadapter.rekognition_api.model import (
    BlobShape,
    BooleanShape,
    Bounds,
    FloatShape,
    IntegerShape,
    ListShape,
    MapShape,
    Shape,
    StringShape,
    StructureShape,
    TimestampShape,
)

WireValue: TypeAlias = (
    "str | int | float | bytes | datetime | Sequence[WireValue] | Mapping[str, WireValue] | None"
)
WireObject: TypeAlias = Mapping[str, WireValue]

Plain: TypeAlias = StringShape | IntegerShape | FloatShape | BooleanShape
Scalar: TypeAlias = Plain | BlobShape | TimestampShape

_MAX_VALUES: Final = 100_000
"""16 MB of empty lists would take half a gigabyte once parsed; 4096 face ids are the longest list
that an operation takes."""


class Rule(StrEnum):
    """Which of the model's rules a value breaks."""

    REQUIRED = "required"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"
    PATTERN = "pattern"
    ENUM = "enum"
    FINITE = "finite"


class MalformedError(InvalidRequestError):
    """Not the JSON the protocol asks for: syntax, a type, base64."""


class ConstraintError(InvalidRequestError):
    """JSON of the right form whose value breaks a rule of the model.

    The text never repeats the value: it may be somebody's name or picture.
    """

    def __init__(self, path: str, shape: str, rule: Rule, text: str) -> None:
        super().__init__(f"{path or 'the request'} {text}")
        self.shape = shape
        self.rule = rule


# --- the way in -------------------------------------------------------------------------------


def parse_object(body: bytes) -> Mapping[str, object]:
    """The JSON object of a request body; an empty body counts as an empty object.

    Raises:
        MalformedError: not UTF-8, not JSON (NaN and Infinity are not), too deep, too many values,
            or not an object.
    """
    if not body.strip():
        return {}
    if sum(map(body.count, (b"[", b"{", b","))) > _MAX_VALUES:
        raise MalformedError("the body has too many values")
    try:
        parsed = json.loads(body.decode(), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise MalformedError("the body is nested too deeply") from error
    except ValueError as error:
        raise MalformedError("the body is not valid JSON") from error
    if not isinstance(parsed, dict):
        raise MalformedError("the body has to be a JSON object")
    return parsed


def decode_request(shape: StructureShape, body: bytes) -> WireObject:
    """The checked input of an operation.

    Raises:
        MalformedError: see ``parse_object``; or a member of another type than the model's.
        ConstraintError: a member breaks a rule of the model.
    """
    return _decode_structure(shape, parse_object(body), "")


def decode(shape: Shape, value: object, path: str = "") -> WireValue:
    """One JSON value as the Python value that ``shape`` stands for, checked."""
    match shape:
        case StructureShape():
            return _decode_structure(shape, value, path)
        case ListShape():
            return _decode_list(shape, value, path)
        case MapShape():
            return _decode_map(shape, value, path)
        case _:
            return _decode_scalar(shape, value, path)


def _decode_scalar(shape: Scalar, value: object, path: str) -> WireValue:
    match shape:
        case BlobShape():
            return _decode_blob(shape, value, path)
        case TimestampShape():
            return _decode_timestamp(value, path)
        case FloatShape() if isinstance(value, str):
            return _decode_named_float(shape, value, path)
        case _:
            return _checked_plain(shape, value, path)


def _decode_structure(shape: StructureShape, value: object, path: str) -> WireObject:
    if not isinstance(value, dict):
        _refuse_type(path, "an object")
    decoded = {
        name: decode(member, value[name], f"{path}.{name}" if path else name)
        for name, member in shape.members.items()
        if value.get(name) is not None
    }
    for name in shape.required:
        if name not in decoded:
            missing = f"{path}.{name}" if path else name
            raise ConstraintError(missing, shape.name, Rule.REQUIRED, "is required")
    return decoded


def _decode_list(shape: ListShape, value: object, path: str) -> list[WireValue]:
    if not isinstance(value, list):
        _refuse_type(path, "a list")
    _check_bounds(shape.name, shape.length, len(value), path, "items")
    return [decode(shape.member, item, f"{path}[{i}]") for i, item in enumerate(value)]


def _decode_map(shape: MapShape, value: object, path: str) -> dict[str, WireValue]:
    if not isinstance(value, dict):
        _refuse_type(path, "an object")
    kept = {key: item for key, item in value.items() if item is not None}
    _check_bounds(shape.name, shape.length, len(kept), path, "entries")
    for key in kept:
        _check_string(shape.key, key, f"a key of {path}")
    return {key: decode(shape.value, item, f"{path} entry") for key, item in kept.items()}


def _decode_blob(shape: BlobShape, value: object, path: str) -> bytes:
    if not isinstance(value, str):
        _refuse_type(path, "base64 text")
    try:
        data = binascii.a2b_base64(value, strict_mode=True) if value else b""
    except ValueError as error:
        raise MalformedError(f"{path} is not valid base64") from error
    _check_bounds(shape.name, shape.length, len(data), path, "bytes")
    return data


def _decode_timestamp(value: object, path: str) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse_type(path, "a number of seconds since 1970")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise MalformedError(f"{path} is not a moment a calendar knows") from error


def _decode_named_float(shape: FloatShape, value: str, path: str) -> NoReturn:
    # The protocol writes numbers without a finite value as these words; no member allows one.
    if value in {"NaN", "Infinity", "-Infinity"}:
        raise ConstraintError(path, shape.name, Rule.FINITE, "has to be a finite number")
    _refuse_type(path, "a number")


# --- the way out ------------------------------------------------------------------------------


def encode_answer(shape: StructureShape, answer: WireObject) -> bytes:
    """The body of an answer.

    Raises:
        MalformedError, ConstraintError: the answer does not fit the model: a bug here, or a backend
            that breaks its promises.
    """
    return json.dumps(encode(shape, answer), allow_nan=False).encode()


def encode(shape: Shape, value: WireValue, path: str = "") -> object:
    """The JSON value (of ``json.dumps``'s types) that stands for ``value`` on the wire."""
    match shape:
        case StructureShape():
            return _encode_structure(shape, value, path)
        case ListShape():
            return _encode_list(shape, value, path)
        case MapShape():
            return _encode_map(shape, value, path)
        case _:
            return _encode_scalar(shape, value, path)


def _encode_scalar(shape: Scalar, value: WireValue, path: str) -> str | float:
    match shape:
        case BlobShape():
            return _encode_blob(shape, value, path)
        case TimestampShape():
            return _encode_timestamp(value, path)
        case _:
            return _checked_plain(shape, value, path)


def _encode_structure(shape: StructureShape, value: WireValue, path: str) -> dict[str, object]:
    if not isinstance(value, Mapping):
        _refuse_type(path, "an object")
    encoded: dict[str, object] = {}
    for name, item in value.items():
        if name not in shape.members:
            raise MalformedError(f"{shape.name} has no member {name}")
        if item is not None:
            encoded[name] = encode(shape.members[name], item, f"{path}.{name}" if path else name)
    return encoded


def _encode_list(shape: ListShape, value: WireValue, path: str) -> list[object]:
    if not isinstance(value, list | tuple):
        _refuse_type(path, "a list")
    # DeletedFaces may have no item although the model asks for one: clients read it unasked.
    _check_bounds(shape.name, Bounds(None, shape.length.high), len(value), path, "items")
    return [encode(shape.member, item, path) for item in value]


def _encode_map(shape: MapShape, value: WireValue, path: str) -> dict[str, object]:
    if not isinstance(value, Mapping):
        _refuse_type(path, "an object")
    _check_bounds(shape.name, shape.length, len(value), path, "entries")
    for key in value:
        _check_string(shape.key, key, f"a key of {path}")
    return {key: encode(shape.value, item, path) for key, item in value.items()}


def _encode_blob(shape: BlobShape, value: WireValue, path: str) -> str:
    if not isinstance(value, bytes):
        _refuse_type(path, "bytes")
    _check_bounds(shape.name, shape.length, len(value), path, "bytes")
    return binascii.b2a_base64(value, newline=False).decode("ascii")


def _encode_timestamp(value: WireValue, path: str) -> float:
    if not isinstance(value, datetime) or value.tzinfo is None:
        _refuse_type(path, "a moment with a time zone")
    return value.timestamp()


# --- both ways --------------------------------------------------------------------------------


def _checked_plain(shape: Plain, value: object, path: str) -> str | float:
    """Text, a truth value or a number, the same in JSON and in Python."""
    match shape:
        case StringShape():
            if not isinstance(value, str):
                _refuse_type(path, "text")
            _check_string(shape, value, path)
            return value
        case BooleanShape():
            if not isinstance(value, bool):
                _refuse_type(path, "true or false")
            return value
        case IntegerShape():
            return _checked_integer(shape, value, path)
        case FloatShape():
            return _checked_float(shape, value, path)


def _checked_integer(shape: IntegerShape, value: object, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        _refuse_type(path, "a whole number")
    _check_bounds(shape.name, shape.limits, value, path, "")
    return value


def _checked_float(shape: FloatShape, value: object, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse_type(path, "a number")
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond 1e308
        number = math.inf
    if not math.isfinite(number):
        raise ConstraintError(path, shape.name, Rule.FINITE, "has to be a finite number")
    _check_bounds(shape.name, shape.limits, number, path, "")
    return number


def _check_string(shape: StringShape, value: str, path: str) -> None:
    _check_bounds(shape.name, shape.length, len(value), path, "characters")
    if shape.pattern is not None and not shape.pattern.fullmatch(value):
        text = f"has to match {shape.pattern.pattern}"
        raise ConstraintError(path, shape.name, Rule.PATTERN, text)
    if shape.enum and value not in shape.enum:
        text = f"has to be one of {', '.join(sorted(shape.enum))}"
        raise ConstraintError(path, shape.name, Rule.ENUM, text)


def _check_bounds(shape: str, bounds: Bounds, value: float, path: str, unit: str) -> None:
    counted = f" {unit}" if unit else ""
    verb = "have" if unit else "be"
    if bounds.low is not None and value < bounds.low:
        text = f"has to {verb} at least {bounds.low}{counted}"
        raise ConstraintError(path, shape, Rule.MINIMUM, text)
    if bounds.high is not None and value > bounds.high:
        text = f"may {verb} at most {bounds.high}{counted}"
        raise ConstraintError(path, shape, Rule.MAXIMUM, text)


def _refuse_type(path: str, wanted: str) -> NoReturn:
    raise MalformedError(f"{path or 'the request'} has to be {wanted}")


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
