"""JSON and values: what fits the model passes unchanged, everything else is refused by name."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.rekognition_api.codec import (
    ConstraintError,
    MalformedError,
    Rule,
    WireValue,
    decode,
    decode_request,
    encode,
    encode_answer,
)
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
    load_model,
)

OPERATIONS = (
    "CreateCollection",
    "ListCollections",
    "DescribeCollection",
    "IndexFaces",
    "DeleteFaces",
    "SearchFacesByImage",
    "TagResource",
)
MODEL = load_model(OPERATIONS)
EVERYWHERE = Bounds()

# --- generated shapes with values that fit --------------------------------------------------------

numbers = st.floats(allow_nan=False, allow_infinity=False)
moments = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001  # hypothesis adds the zone
    lambda moment: moment.replace(microsecond=0)
)


def scalars() -> st.SearchStrategy[tuple[Shape, WireValue]]:
    return st.one_of(
        st.tuples(st.just(StringShape("S", EVERYWHERE)), st.text(max_size=20)),
        st.tuples(st.just(IntegerShape("I", EVERYWHERE)), st.integers(-(2**31), 2**31 - 1)),
        st.tuples(st.just(FloatShape("F", EVERYWHERE)), numbers),
        st.tuples(st.just(BooleanShape("B")), st.booleans()),
        st.tuples(st.just(BlobShape("Y", EVERYWHERE)), st.binary(max_size=50)),
        st.tuples(st.just(TimestampShape("T")), moments),
    )


def containers(
    inner: st.SearchStrategy[tuple[Shape, WireValue]],
) -> st.SearchStrategy[tuple[Shape, WireValue]]:
    return st.one_of(
        inner.flatmap(
            lambda pair: st.integers(0, 3).map(
                lambda count: (ListShape("L", pair[0], EVERYWHERE), [pair[1]] * count)
            )
        ),
        st.tuples(inner, st.text(max_size=5)).map(
            lambda found: (
                MapShape("M", StringShape("K", EVERYWHERE), found[0][0], EVERYWHERE),
                {found[1]: found[0][1]},
            )
        ),
        st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=4).map(
            lambda members: (
                StructureShape("X", {name: pair[0] for name, pair in members.items()}),
                {name: pair[1] for name, pair in members.items()},
            )
        ),
    )


@given(st.recursive(scalars(), containers, max_leaves=8))
def test_decoding_undoes_encoding(pair: tuple[Shape, WireValue]) -> None:
    shape, value = pair
    assert decode(shape, json.loads(json.dumps(encode(shape, value)))) == value


# --- the way in -----------------------------------------------------------------------------------


def _takes(operation: str) -> StructureShape:
    return MODEL.operations[operation].takes


FACE_ID = "11111111-2222-4333-8444-555555555555"
BROKEN_RULES: list[tuple[str, dict[str, object], Rule]] = [
    ("CreateCollection", {}, Rule.REQUIRED),
    ("CreateCollection", {"CollectionId": None}, Rule.REQUIRED),
    ("CreateCollection", {"CollectionId": ""}, Rule.MINIMUM),
    ("CreateCollection", {"CollectionId": "a" * 256}, Rule.MAXIMUM),
    ("CreateCollection", {"CollectionId": "a b"}, Rule.PATTERN),
    ("CreateCollection", {"CollectionId": "ok\n"}, Rule.PATTERN),
    ("ListCollections", {"MaxResults": -1}, Rule.MINIMUM),
    ("ListCollections", {"MaxResults": 4097}, Rule.MAXIMUM),
    ("ListCollections", {"MaxResults": 10**400}, Rule.MAXIMUM),
    ("ListCollections", {"NextToken": "t" * 256}, Rule.MAXIMUM),
    ("IndexFaces", {"CollectionId": "c"}, Rule.REQUIRED),
    ("IndexFaces", {"CollectionId": "c", "Image": {}, "QualityFilter": "BEST"}, Rule.ENUM),
    ("IndexFaces", {"CollectionId": "c", "Image": {}, "DetectionAttributes": ["x"]}, Rule.ENUM),
    ("IndexFaces", {"CollectionId": "c", "Image": {"Bytes": ""}}, Rule.MINIMUM),
    ("IndexFaces", {"CollectionId": "c", "Image": {}, "MaxFaces": 2**31}, Rule.MAXIMUM),
    ("IndexFaces", {"CollectionId": "c", "Image": {"S3Object": {"Bucket": "b"}}}, Rule.MINIMUM),
    ("SearchFacesByImage", {"CollectionId": "c", "Image": {}, "MaxFaces": 0}, Rule.MINIMUM),
    (
        "SearchFacesByImage",
        {"CollectionId": "c", "Image": {}, "FaceMatchThreshold": 100.1},
        Rule.MAXIMUM,
    ),
    (
        "SearchFacesByImage",
        {"CollectionId": "c", "Image": {}, "FaceMatchThreshold": "NaN"},
        Rule.FINITE,
    ),
    (
        "SearchFacesByImage",
        {"CollectionId": "c", "Image": {}, "FaceMatchThreshold": 10**400},
        Rule.FINITE,
    ),
    ("DeleteFaces", {"CollectionId": "c", "FaceIds": []}, Rule.MINIMUM),
    ("DeleteFaces", {"CollectionId": "c", "FaceIds": [FACE_ID] * 4097}, Rule.MAXIMUM),
    ("DeleteFaces", {"CollectionId": "c", "FaceIds": [FACE_ID.replace("1", "A")]}, Rule.PATTERN),
    ("CreateCollection", {"CollectionId": "c", "Tags": {"aws:x": "y"}}, Rule.PATTERN),
    ("CreateCollection", {"CollectionId": "c", "Tags": {"k": "v" * 257}}, Rule.MAXIMUM),
]


@pytest.mark.parametrize(("operation", "given_input", "rule"), BROKEN_RULES)
def test_a_rule_of_the_model_is_kept(
    operation: str, given_input: dict[str, object], rule: Rule
) -> None:
    with pytest.raises(ConstraintError) as caught:
        decode_request(_takes(operation), json.dumps(given_input).encode())
    assert caught.value.rule is rule


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("CreateCollection", b"{"),
        ("CreateCollection", b"[]"),
        ("CreateCollection", b'"text"'),
        ("CreateCollection", b"\xff\xfe"),
        ("CreateCollection", b'{"CollectionId": 5}'),
        ("CreateCollection", b'{"CollectionId": ["c"]}'),
        ("CreateCollection", b'{"CollectionId": "c", "Tags": []}'),
        ("CreateCollection", b"[" * 90_000),
        ("CreateCollection", b'{"x": [' + b"[]," * 5_000_000 + b"[]]}"),
        ("CreateCollection", b'{"CollectionId": ' + b"9" * 5000 + b"}"),
        ("ListCollections", b'{"MaxResults": "5"}'),
        ("ListCollections", b'{"MaxResults": 1.5}'),
        ("ListCollections", b'{"MaxResults": true}'),
        ("ListCollections", b'{"MaxResults": NaN}'),
        ("SearchFacesByImage", b'{"CollectionId":"c","Image":{},"FaceMatchThreshold":NaN}'),
        ("SearchFacesByImage", b'{"CollectionId":"c","Image":{},"FaceMatchThreshold":"80"}'),
        ("SearchFacesByImage", b'{"CollectionId":"c","Image":{"Bytes":"***"}}'),
        ("SearchFacesByImage", b'{"CollectionId":"c","Image":{"Bytes":"QUJ"}}'),
        ("SearchFacesByImage", '{"CollectionId":"c","Image":{"Bytes":"é"}}'.encode()),
        ("SearchFacesByImage", b'{"CollectionId":"c","Image":{"Bytes":5}}'),
        ("DeleteFaces", b'{"CollectionId":"c","FaceIds":"x"}'),
        ("DeleteFaces", b'{"CollectionId":"c","FaceIds":[null]}'),
    ],
    ids=lambda value: value[:40] if isinstance(value, bytes) else value,
)
def test_what_is_not_the_protocol_is_malformed(operation: str, body: bytes) -> None:
    with pytest.raises(MalformedError):
        decode_request(_takes(operation), body)


def test_a_number_too_large_to_be_finite_breaks_a_rule() -> None:
    body = b'{"CollectionId":"c","Image":{},"FaceMatchThreshold":1e999}'
    with pytest.raises(ConstraintError) as caught:
        decode_request(_takes("SearchFacesByImage"), body)
    assert caught.value.rule is Rule.FINITE


def test_unknown_members_are_ignored_and_null_ones_dropped() -> None:
    body = b'{"CollectionId": "c", "FromTheFuture": {"a": [1]}, "Tags": null}'
    assert decode_request(_takes("CreateCollection"), body) == {"CollectionId": "c"}


def test_an_empty_body_is_an_empty_object() -> None:
    assert decode_request(_takes("ListCollections"), b"") == {}


def test_tags_may_have_letters_of_every_script() -> None:
    body = json.dumps({"CollectionId": "c", "Tags": {"Zoë 1": "李小龍"}}).encode()
    assert decode_request(_takes("CreateCollection"), body)["Tags"] == {"Zoë 1": "李小龍"}


def test_an_error_never_repeats_the_value() -> None:
    with pytest.raises(ConstraintError) as caught:
        decode_request(_takes("CreateCollection"), b'{"CollectionId": "Ann Secret"}')
    assert "Secret" not in str(caught.value)


# --- the way out ----------------------------------------------------------------------------------


def test_timestamps_are_epoch_seconds_with_a_fraction() -> None:
    moment = datetime(2018, 8, 4, 23, 45, 55, 42000, UTC)
    gives = MODEL.operations["DescribeCollection"].gives
    sent = json.loads(encode_answer(gives, {"CreationTimestamp": moment}))
    assert sent == {"CreationTimestamp": pytest.approx(moment.timestamp(), abs=1e-3)}
    assert 1e9 < sent["CreationTimestamp"] < 2e9


@pytest.mark.parametrize(
    "answer",
    [
        {"FaceCount": -1},
        {"FaceCount": 1.5},
        {"FaceModelVersion": 7},
        {"Unheard": 1},
        {"CreationTimestamp": datetime(2026, 1, 1)},  # noqa: DTZ001  # the missing zone is the point
    ],
    ids=str,
)
def test_an_answer_that_does_not_fit_is_not_sent(answer: dict[str, WireValue]) -> None:
    with pytest.raises((MalformedError, ConstraintError)):
        encode_answer(MODEL.operations["DescribeCollection"].gives, answer)


@pytest.mark.parametrize("score", [math.nan, math.inf, 100.5, -0.5])
def test_a_similarity_outside_its_scale_is_not_sent(score: float) -> None:
    gives = MODEL.operations["SearchFacesByImage"].gives
    with pytest.raises(ConstraintError):
        encode_answer(gives, {"FaceMatches": [{"Similarity": score}]})


def test_members_without_a_value_are_left_out() -> None:
    gives = MODEL.operations["ListCollections"].gives
    assert (
        encode_answer(gives, {"CollectionIds": [], "NextToken": None}) == b'{"CollectionIds": []}'
    )
