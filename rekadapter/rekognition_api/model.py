"""Rekognition's operations as botocore's own service model describes them, in a slim frozen form.

The only module that touches botocore: shapes are read once and turned into dataclasses that
``codec`` walks. Rekognition has no recursive shape (rekognition/2016-06-27).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import botocore.model as botocore
from botocore.loaders import Loader

from rekadapter.errors import UnexpectedAnswerError

_API_VERSION: Final = "2016-06-27"
_UNICODE_PROPERTIES: Final = MappingProxyType(
    {
        r"\p{L}": r"\w",
        r"\p{N}": r"\w",
        r"\p{Z}": r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
    }
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Inclusive limits of a number, or of a length; None where there is none."""

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class StringShape:
    """Text: length in characters, ``pattern`` for the whole value, allowed values if any."""

    name: str
    length: Bounds
    pattern: re.Pattern[str] | None = None
    enum: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class IntegerShape:
    """A whole number."""

    name: str
    limits: Bounds


@dataclass(frozen=True, slots=True)
class FloatShape:
    """A finite number."""

    name: str
    limits: Bounds


@dataclass(frozen=True, slots=True)
class BooleanShape:
    """True or false."""

    name: str


@dataclass(frozen=True, slots=True)
class BlobShape:
    """Bytes, base64 on the wire; the length is that of the bytes."""

    name: str
    length: Bounds


@dataclass(frozen=True, slots=True)
class TimestampShape:
    """A moment; seconds since 1970-01-01 UTC on the wire, with a fraction."""

    name: str


@dataclass(frozen=True, slots=True)
class ListShape:
    """Values of one shape."""

    name: str
    member: Shape
    length: Bounds


@dataclass(frozen=True, slots=True)
class MapShape:
    """Text to values of one shape."""

    name: str
    key: StringShape
    value: Shape
    length: Bounds


@dataclass(frozen=True, slots=True)
class StructureShape:
    """Named members, some of them required."""

    name: str
    members: Mapping[str, Shape] = field(default_factory=dict)
    required: tuple[str, ...] = ()


Shape = (
    StringShape
    | IntegerShape
    | FloatShape
    | BooleanShape
    | BlobShape
    | TimestampShape
    | ListShape
    | MapShape
    | StructureShape
)


@dataclass(frozen=True, slots=True)
class OperationModel:
    """What one operation takes and gives, and the errors it documents."""

    name: str
    takes: StructureShape
    gives: StructureShape
    errors: frozenset[str]


@dataclass(frozen=True, slots=True)
class ServiceModel:
    """The operations asked for, and the names of all that Rekognition has."""

    target_prefix: str
    content_type: str
    operations: Mapping[str, OperationModel]
    names: frozenset[str]


def load_model(wanted: Iterable[str]) -> ServiceModel:
    """The operations ``wanted`` as the installed botocore knows them."""
    described = Loader().load_service_model("rekognition", "service-2", _API_VERSION)
    service = botocore.ServiceModel(described, "rekognition")
    known: dict[str, Shape] = {}
    return ServiceModel(
        target_prefix=service.metadata["targetPrefix"],
        content_type=f"application/x-amz-json-{service.metadata['jsonVersion']}",
        operations={name: _operation(service.operation_model(name), known) for name in wanted},
        names=frozenset(service.operation_names),
    )


def _operation(operation: botocore.OperationModel, known: dict[str, Shape]) -> OperationModel:
    return OperationModel(
        name=operation.name,
        takes=_structure(operation.input_shape, known),
        gives=_structure(operation.output_shape, known),
        errors=frozenset(shape.name for shape in operation.error_shapes),
    )


def _structure(shape: botocore.Shape | None, known: dict[str, Shape]) -> StructureShape:
    if not isinstance(shape, botocore.StructureShape):
        return StructureShape("Empty")  # an operation that takes or gives nothing
    return StructureShape(
        name=shape.name,
        members={name: _shape(member, known) for name, member in shape.members.items()},
        required=tuple(shape.required_members),
    )


def _shape(shape: botocore.Shape, known: dict[str, Shape]) -> Shape:
    if shape.name not in known:
        known[shape.name] = _convert(shape, known)
    return known[shape.name]


def _convert(shape: botocore.Shape, known: dict[str, Shape]) -> Shape:
    match shape:
        case botocore.StructureShape():
            return _structure(shape, known)
        case botocore.ListShape():
            return ListShape(shape.name, _shape(shape.member, known), _bounds(shape))
        case botocore.MapShape():
            key, value = _string(shape.key), _shape(shape.value, known)
            return MapShape(shape.name, key, value, _bounds(shape))
        case _:
            return _scalar(shape)


def _scalar(shape: botocore.Shape) -> Shape:
    match shape.type_name:
        case "string":
            return _string(shape)
        case "integer" | "long":
            return IntegerShape(shape.name, _whole_bounds(shape))
        case "float" | "double":
            return FloatShape(shape.name, _bounds(shape))
        case "blob":
            return BlobShape(shape.name, _bounds(shape))
        case _:
            return _unbounded(shape)


def _unbounded(shape: botocore.Shape) -> Shape:
    match shape.type_name:
        case "boolean":
            return BooleanShape(shape.name)
        case "timestamp":
            return TimestampShape(shape.name)
        case other:
            raise UnexpectedAnswerError(
                f"botocore describes {shape.name} as {other}, which is not known here: "
                "install an older botocore"
            )


def _string(shape: botocore.Shape) -> StringShape:
    pattern = shape.metadata.get("pattern")
    return StringShape(
        name=shape.name,
        length=_bounds(shape),
        pattern=_pattern(pattern) if pattern else None,
        enum=frozenset(shape.metadata.get("enum", ())),
    )


def _pattern(text: str) -> re.Pattern[str]:
    """A pattern of the model, which is Java's: Python's ``re`` knows no Unicode properties. Where
    Rekognition uses them it allows the underscore too, so that ``\\w`` is letters and numbers."""
    for java, python in _UNICODE_PROPERTIES.items():
        text = text.replace(java, python)
    return re.compile(text)


def _bounds(shape: botocore.Shape) -> Bounds:
    return Bounds(shape.metadata.get("min"), shape.metadata.get("max"))


def _whole_bounds(shape: botocore.Shape) -> Bounds:
    """The model's limits within those of the wire type: 32 bits, a long has 64."""
    widest = 2 ** (63 if shape.type_name == "long" else 31)
    bounds = _bounds(shape)
    return Bounds(
        -widest if bounds.low is None else bounds.low,
        widest - 1 if bounds.high is None else bounds.high,
    )
