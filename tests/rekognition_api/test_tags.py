"""Tags of collections on the wire, in memory and in a file."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.errors import BackendClosedError, OutputError, QuotaExceededError
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.rekognition_api.tags import MAX_TAGS, MemoryTags, SqliteTags, Tags
from rekadapter.types import GalleryId
from tests.rekognition_api.test_service import ACCOUNT, REGION, Caller

ARN = f"arn:aws:rekognition:{REGION}:{ACCOUNT}:collection/staff"


@pytest.fixture(params=["memory", "file"])
def tags(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tags]:
    if request.param == "memory":
        yield MemoryTags()
        return
    kept = SqliteTags(tmp_path / "a folder" / "tags.sqlite3")
    yield kept
    kept.close()


@pytest.fixture
def call(recognizer: MemoryRecognizer, tags: Tags) -> Caller:
    return Caller(RekognitionService(recognizer, tags=tags))


def tags_of(call: Caller) -> dict[str, str]:
    found: dict[str, str] = call("ListTagsForResource", ResourceArn=ARN).body["Tags"]
    return found


def test_tags_come_and_go(call: Caller) -> None:
    made = call("CreateCollection", CollectionId="staff", Tags={"Team": "doors", "Größe": ""})
    assert made.body["CollectionArn"] == ARN
    assert tags_of(call) == {"Team": "doors", "Größe": ""}
    tagged = call("TagResource", ResourceArn=ARN, Tags={"Team": "gates", "a:b/c": "x+y=z@w"})
    assert (tagged.status, tagged.body) == (200, {})
    assert tags_of(call) == {"Team": "gates", "Größe": "", "a:b/c": "x+y=z@w"}
    untagged = call("UntagResource", ResourceArn=ARN, TagKeys=["Team", "never there"])
    assert (untagged.status, untagged.body) == (200, {})
    assert tags_of(call) == {"Größe": "", "a:b/c": "x+y=z@w"}


def test_a_collection_without_tags_has_none(call: Caller) -> None:
    call("CreateCollection", CollectionId="staff", Tags={})
    assert tags_of(call) == {}


def test_tags_go_with_their_collection(call: Caller, recognizer: MemoryRecognizer) -> None:
    call("CreateCollection", CollectionId="staff", Tags={"a": "1"})
    call("CreateCollection", CollectionId="other-staff", Tags={"a": "2"})
    call("DeleteCollection", CollectionId="staff")
    call("CreateCollection", CollectionId="staff")
    assert tags_of(call) == {}
    other = call("ListTagsForResource", ResourceArn=ARN.replace("/staff", "/other-staff"))
    assert other.body["Tags"] == {"a": "2"}
    call("TagResource", ResourceArn=ARN, Tags={"b": "1"})
    recognizer.delete_gallery(GalleryId("staff"))  # past the service
    call("CreateCollection", CollectionId="staff")
    assert tags_of(call) == {}


def test_a_resource_has_at_most_200_tags(call: Caller) -> None:
    call("CreateCollection", CollectionId="staff", Tags={f"k{n}": "v" for n in range(MAX_TAGS)})
    again = call("TagResource", ResourceArn=ARN, Tags={"k0": "w"})
    assert again.status == 200
    answered = call("TagResource", ResourceArn=ARN, Tags={"k1": "w", "one more": "v"})
    assert (answered.status, answered.code) == (400, "ServiceQuotaExceededException")
    assert tags_of(call) == {f"k{n}": "w" if n == 0 else "v" for n in range(MAX_TAGS)}


@pytest.mark.parametrize(
    "tags_given",
    [{"aws:x": "v"}, {"": "v"}, {"k" * 129: "v"}, {"k": "v" * 257}, {"k": "<"}, {"#": "v"}],
)
def test_tags_the_model_forbids_are_refused(call: Caller, tags_given: dict[str, str]) -> None:
    answered = call("CreateCollection", CollectionId="staff", Tags=tags_given)
    assert answered.code == "InvalidParameterException"
    assert call("DescribeCollection", CollectionId="staff").code == "ResourceNotFoundException"


@pytest.mark.parametrize(
    ("arn", "code"),
    [
        (ARN.replace("staff", "nobody"), "ResourceNotFoundException"),
        (ARN.replace(REGION, "us-west-2"), "ResourceNotFoundException"),
        (ARN.replace("collection/", "streamprocessor/"), "ResourceNotFoundException"),
        (ARN.replace(ACCOUNT, "999999999999"), "AccessDeniedException"),
        ("arn:aws:s3:::a-bucket-of-somebody", "InvalidParameterException"),
        ("twenty characters and no ARN", "InvalidParameterException"),
        ("too short", "InvalidParameterException"),
    ],
)
def test_only_collections_of_the_caller_have_tags(call: Caller, arn: str, code: str) -> None:
    call("CreateCollection", CollectionId="staff")
    for operation, members in (
        ("TagResource", {"Tags": {"a": "b"}}),
        ("UntagResource", {"TagKeys": ["a"]}),
        ("ListTagsForResource", {}),
    ):
        answered = call(operation, ResourceArn=arn, **members)
        assert (answered.status, answered.code) == (400, code)


def test_a_collection_whose_tags_cannot_be_kept_is_not_made(
    recognizer: MemoryRecognizer, tmp_path: Path
) -> None:
    path = tmp_path / "tags.sqlite3"
    path.write_bytes(b"no database at all" * 100)
    call = Caller(RekognitionService(recognizer, tags=SqliteTags(path)))
    answered = call("CreateCollection", CollectionId="staff", Tags={"a": "b"})
    assert (answered.status, answered.code) == (500, "InternalServerError")
    assert list(recognizer.galleries()) == []


# --- the stores -----------------------------------------------------------------------------------


def test_tags_in_a_file_survive(tmp_path: Path) -> None:
    path = tmp_path / "tags.sqlite3"
    first = SqliteTags(path)
    first.put(ARN, {"a": "1"})
    other = SqliteTags(path)
    other.put(ARN, {"b": "2"})
    assert first.of(ARN) == {"a": "1", "b": "2"}
    first.close()
    first.close()
    with pytest.raises(BackendClosedError):
        first.of(ARN)
    assert other.of(ARN) == {"a": "1", "b": "2"}
    other.close()


def test_a_file_that_holds_no_tags_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tags.sqlite3"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(OutputError, match=r"tags\.sqlite3"):
        SqliteTags(path).of(ARN)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "drop", "forget"]),
            st.sampled_from(["x:collection/a", "y:collection/a", "x:collection/aa"]),
            st.dictionaries(st.sampled_from("abc"), st.text(max_size=3), max_size=3),
        ),
        max_size=12,
    )
)
def test_both_stores_do_the_same(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, dict[str, str]]]
) -> None:
    memory, file = MemoryTags(), SqliteTags(tmp_path_factory.mktemp("t") / "tags.sqlite3")
    for step, arn, given_tags in steps:
        for store in (memory, file):
            if step == "put":
                store.put(arn, given_tags)
            elif step == "drop":
                store.drop(arn, given_tags)
            else:
                store.forget("collection/a")
    for arn in ("x:collection/a", "y:collection/a", "x:collection/aa"):
        assert memory.of(arn) == file.of(arn)
    file.close()


def test_threads_tagging_together_lose_nothing(tags: Tags) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: tags.put(ARN, {f"k{number}": "v"}), range(MAX_TAGS)))
    assert len(tags.of(ARN)) == MAX_TAGS
    with pytest.raises(QuotaExceededError):
        tags.put(ARN, {"one more": "v"})
