"""The examples that botocore ships pass the codec both ways."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from botocore.loaders import Loader

from rekadapter.rekognition_api.codec import (
    ConstraintError,
    decode,
    decode_request,
    encode,
    encode_answer,
)
from rekadapter.rekognition_api.model import load_model
from rekadapter.rekognition_api.operations import OPERATIONS

EXAMPLES = Loader().load_service_model("rekognition", "examples-1")["examples"]
MODEL = load_model(OPERATIONS)
SERVED = sorted(OPERATIONS.keys() & EXAMPLES.keys())


def test_most_operations_have_an_example() -> None:
    assert len(SERVED) >= 9


@pytest.mark.parametrize("operation", SERVED)
def test_an_examples_input_is_accepted(operation: str) -> None:
    for example in EXAMPLES[operation]:
        body = _without_nulls(example["input"])
        accepted = decode_request(MODEL.operations[operation].takes, json.dumps(body).encode())
        assert encode(MODEL.operations[operation].takes, accepted) == body


@pytest.mark.parametrize("operation", SERVED)
def test_an_examples_output_could_be_ours(operation: str) -> None:
    shape = MODEL.operations[operation].gives
    for example in EXAMPLES[operation]:
        expected = json.loads(json.dumps(example["output"]))
        value = decode(shape, expected)
        assert json.loads(encode_answer(shape, value)) == expected  # type: ignore[arg-type]  # a structure decodes to an object


@pytest.mark.parametrize("operation", SERVED)
def test_what_the_model_asks_for_is_asked_for(operation: str) -> None:
    shape = MODEL.operations[operation].takes
    full = EXAMPLES[operation][0]["input"]
    for name in shape.required:
        partial = {key: value for key, value in full.items() if key != name}
        with pytest.raises(ConstraintError, match=f"{name} is required"):
            decode_request(shape, json.dumps(partial).encode())


def _without_nulls(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def test_blobs_of_every_length_pass() -> None:
    shape = MODEL.operations["DetectFaces"].takes
    for length in range(1, 70):
        data = bytes(range(length))
        body = json.dumps({"Image": {"Bytes": base64.b64encode(data).decode()}}).encode()
        assert decode_request(shape, body) == {"Image": {"Bytes": data}}
