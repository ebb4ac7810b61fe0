"""Requests made from botocore's own model: whole ones, and each with one value at or past a limit.

Written over botocore's shapes, not over ours, so that a mistake in ours shows.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape

FACE_ID = "00000000-0000-4000-8000-000000000000"

# Text that fits a pattern where a row of "a" does not; the longest is made by repeating its end.
_SAMPLES = {
    "FaceId": FACE_ID,
    "ImageId": FACE_ID,
    "ResourceArn": "arn:aws:rekognition:eu-west-1:123456789012:collection/a",
    "SNSTopicArn": "arn:aws:sns:eu-west-1:123456789012:a",
    "RoleArn": "arn:aws:iam::123456789012:role/a",
    "KinesisVideoArn": "arn:aws:kinesisvideo:eu-west-1:123456789012:stream/a/1",
    "KinesisDataArn": "arn:aws:kinesis:eu-west-1:123456789012:stream/a",
    "KinesisVideoStreamFragmentNumber": "1",
}
_FIXED_LENGTH = {"FaceId", "ImageId"}
_TOO_LARGE_TO_SEND = 20_000_000


@dataclass(frozen=True, slots=True)
class Case:
    """A request of which one place is special. ``rule`` says how."""

    operation: str
    path: str
    rule: str
    body: bytes

    def __str__(self) -> str:
        return f"{self.operation}.{self.path}-{self.rule}"


@cache
def service_model() -> ServiceModel:
    return ServiceModel(Loader().load_service_model("rekognition", "service-2"), "rekognition")


def operation_model(operation: str) -> OperationModel:
    return service_model().operation_model(operation)


def whole_request(operation: str) -> dict[str, Any]:
    """Every member, each with a value that fits the model."""
    shape = operation_model(operation).input_shape
    made = {} if shape is None else sample(shape)
    assert isinstance(made, dict)
    return made


def fitting_cases(operation: str) -> Iterator[Case]:
    """One value at its lower or upper limit, or an enum's each value."""
    yield from _cases(operation, fitting=True)


def broken_cases(operation: str) -> Iterator[Case]:
    """One value past its limit, against its pattern, out of its enum, or left out."""
    yield from _cases(operation, fitting=False)


def _cases(operation: str, *, fitting: bool) -> Iterator[Case]:
    shape = operation_model(operation).input_shape
    if shape is None:
        return
    for path, inner, required in _places(shape, ()):
        variants = _fitting(inner) if fitting else _broken(inner)
        for rule, value in variants:
            yield _case(operation, path, rule, value)
        if required and not fitting:
            yield _case(operation, path, "required", None)


def _case(operation: str, path: tuple[str | int, ...], rule: str, value: object) -> Case:
    request = copy.deepcopy(whole_request(operation))
    target: Any = request
    for step in path[:-1]:
        target = target[step]
    if rule == "required":
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return Case(operation, _named(path), rule, json.dumps(request).encode())


def _named(path: tuple[str | int, ...]) -> str:
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def _places(
    shape: Shape, path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], Shape, bool]]:
    """Every value in a whole request, with its shape and whether it may not be left out."""
    if isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            yield (*path, name), member, name in shape.required_members
            yield from _places(member, (*path, name))
    elif isinstance(shape, ListShape):
        yield (*path, 0), shape.member, False
        yield from _places(shape.member, (*path, 0))


def sample(shape: Shape, length: int | None = None) -> Any:
    """A value that fits ``shape``; text, lists and blobs of the ``length`` asked for."""
    if isinstance(shape, StructureShape):
        return {name: sample(member) for name, member in shape.members.items()}
    if isinstance(shape, ListShape):
        return [sample(shape.member)] * (max(1, _low(shape)) if length is None else length)
    if isinstance(shape, MapShape):
        count = 1 if length is None else length
        return {f"k{number}": sample(shape.value) for number in range(count)}
    return _scalar(shape, length)


def _scalar(shape: Shape, length: int | None) -> str | float:
    match shape.type_name:
        case "string":
            return _text(shape, length)
        case "blob":
            return _base64_of(max(1, _low(shape)))
        case "boolean":
            return True
        case "integer" | "long":
            return max(1, _low(shape))
        case _:
            return float(_low(shape))


def _text(shape: Shape, length: int | None) -> str:
    enum = shape.metadata.get("enum")
    if enum:
        return str(enum[0])
    text = _SAMPLES.get(shape.name, "a" * max(1, _low(shape)))
    if length is None or shape.name in _FIXED_LENGTH:
        return text
    return text[:length] if length < len(text) else text + text[-1] * (length - len(text))


def _low(shape: Shape) -> int:
    return int(shape.metadata.get("min", 0))


def _fitting(shape: Shape) -> Iterator[tuple[str, object]]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    for value in shape.metadata.get("enum", ()):
        yield f"enum {value}", value
    for rule, bound in (("minimum", low), ("maximum", high)):
        if bound is not None and not isinstance(shape, StructureShape):
            yield rule, _at(shape, bound)


def _broken(shape: Shape) -> Iterator[tuple[str, object]]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    yield "type", {"object": True} if shape.type_name != "structure" else "text"
    if shape.metadata.get("enum"):
        yield "enum", "NO_SUCH_VALUE"
    if low is not None and (_is_number(shape) or low > 0):
        yield "minimum", _at(shape, low - 1)
    if high is not None:
        yield "maximum", _at(shape, high + 1)
    pattern = shape.metadata.get("pattern")
    if pattern and shape.name != "S3ObjectName":
        yield "pattern", "\u2603 no"


def _at(shape: Shape, bound: int) -> object:
    if _is_number(shape):
        return bound
    if shape.type_name == "blob":
        assert bound < _TOO_LARGE_TO_SEND
        return _base64_of(bound)
    return sample(shape, bound)


def _base64_of(count: int) -> str:
    whole, rest = divmod(count, 3)
    return "QUFB" * whole + {0: "", 1: "QQ==", 2: "QUE="}[rest]


def _is_number(shape: Shape) -> bool:
    return shape.type_name in {"integer", "long", "float", "double"}
