"""Holds every answer that a boto3 client parses against the service model it came with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.validate import ParamValidator

if TYPE_CHECKING:
    from mypy_boto3_rekognition import RekognitionClient


def held_to_the_model(client: RekognitionClient) -> RekognitionClient:
    """The client, whose calls fail from now on where an answer does not fit its output shape."""
    client.meta.events.register("after-call.rekognition", _check)
    return client


def _check(parsed: dict[str, Any], model: Any, **_: Any) -> None:
    shape = model.output_shape
    if "Error" in parsed or shape is None:
        return
    body = {name: value for name, value in parsed.items() if name != "ResponseMetadata"}
    report = ParamValidator().validate(body, shape)
    assert not report.has_errors(), f"{model.name}: {report.generate_report()}"
