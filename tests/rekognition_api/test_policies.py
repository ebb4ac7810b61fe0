"""Keys and what they may do: nothing that is not written down."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.errors import ConfigError
from rekadapter.recognizer import Recognizer
from rekadapter.rekognition_api.faults import FaultError
from rekadapter.rekognition_api.keys import (
    KEYS_VARIABLE,
    KeyRing,
    keys_from_environment,
    read_keys,
)
from rekadapter.rekognition_api.operations import OPERATIONS
from rekadapter.rekognition_api.policies import Authorizer, Caller, grant
from rekadapter.rekognition_api.server import ServerSettings, ServiceServer, create_app
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.types import GalleryId
from tests.rekognition_api.signing import ACCOUNT, GATE, NOW, Signed, allowed, keyring, sent

STAFF = '{"CollectionId": "staff"}'
GATE_ARN = f"arn:aws:iam::{ACCOUNT}:user/gate-1"


@pytest.fixture(scope="module")
def authorizer() -> Authorizer:
    return Authorizer()


def _denial(authorizer: Authorizer, caller: Caller, operation: str, body: str) -> str | None:
    try:
        authorizer.check(caller, operation, body.encode(), "eu-west-1")
    except FaultError as error:
        return str(error)
    return None


# --- grants ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "body", "passes"),
    [
        ("SearchFacesByImage", STAFF, True),
        ("SearchFaces", STAFF, True),
        ("DescribeCollection", STAFF, True),
        ("DeleteCollection", STAFF, False),
        ("IndexFaces", STAFF, False),
        ("SearchFaces", '{"CollectionId": "staff2"}', False),
        ("SearchFaces", '{"CollectionId": "Staff"}', False),
        ("SearchFaces", '{"CollectionId": "other", "CollectionId": "staff"}', True),
        ("SearchFaces", '{"CollectionId": "staff", "CollectionId": "other"}', False),
        ("SearchFaces", '{"CollectionId": ["staff"]}', False),
        ("SearchFaces", '{"CollectionId": null}', False),
        ("SearchFaces", '{"CollectionId": "*"}', False),
        ("SearchFaces", "{}", False),
        ("SearchFaces", "", False),
        ("ListCollections", "{}", False),
        ("ListCollections", STAFF, False),
        ("DetectFaces", STAFF, False),
        ("CompareFaces", STAFF, False),
        ("SearchNothing", STAFF, False),
    ],
)
def test_only_what_is_granted_passes(
    authorizer: Authorizer, operation: str, body: str, *, passes: bool
) -> None:
    gate = keyring().by_id[GATE].caller
    denial = _denial(authorizer, gate, operation, body)
    assert (denial is None) is passes
    if denial:
        assert f"User: {GATE_ARN} is not authorized to perform: rekognition:{operation}" in denial


@pytest.mark.parametrize(
    ("galleries", "collection", "passes"),
    [
        (("gate-*",), "gate-1", True),
        (("gate-*",), "gate-", True),
        (("gate-*",), "a-gate-1", False),
        (("gate-?",), "gate-12", False),
        (("a.b",), "axb", False),
        (("*",), "anything", True),
        (("a", "b"), "b", True),
    ],
)
def test_galleries_match_whole_names(
    authorizer: Authorizer, galleries: tuple[str, ...], collection: str, *, passes: bool
) -> None:
    caller = Caller(ACCOUNT, "u", (allowed("rekognition:ListFaces", galleries=galleries),))
    body = json.dumps({"CollectionId": collection})
    assert (_denial(authorizer, caller, "ListFaces", body) is None) is passes


@pytest.mark.parametrize(
    ("pattern", "passes"),
    [
        (f"arn:aws:rekognition:eu-west-1:{ACCOUNT}:collection/staff", True),
        (f"arn:aws:rekognition:*:{ACCOUNT}:collection/s*", True),
        ("arn:*:rekognition:*:*:*", True),
        (f"arn:aws:rekognition:us-east-1:{ACCOUNT}:collection/staff", False),
        ("arn:aws:rekognition:eu-west-1:999999999999:collection/staff", False),
        (f"arn:aws:rekognition:eu-west-1:{ACCOUNT}:streamprocessor/staff", False),
        ("*", True),
    ],
)
def test_arns_match_part_by_part(authorizer: Authorizer, pattern: str, *, passes: bool) -> None:
    made = grant(["rekognition:*"], resources=[pattern], galleries=[], account=ACCOUNT)
    denial = _denial(authorizer, Caller(ACCOUNT, "u", (made,)), "ListFaces", STAFF)
    assert (denial is None) is passes


def test_actions_match_without_regard_to_case(authorizer: Authorizer) -> None:
    caller = Caller(ACCOUNT, "u", (allowed("rekognition:listFACES", galleries=("staff",)),))
    assert _denial(authorizer, caller, "ListFaces", STAFF) is None


def test_a_grant_on_everything_covers_what_names_nothing(authorizer: Authorizer) -> None:
    everything = Caller(ACCOUNT, "u", (allowed("rekognition:List*", everything=True),))
    named = Caller(ACCOUNT, "u", (allowed("rekognition:List*", galleries=("*",)),))
    assert _denial(authorizer, everything, "ListCollections", "{}") is None
    denial = _denial(authorizer, named, "ListCollections", "{}")
    assert denial is not None
    assert "on resource" not in denial
    assert "because no identity-based policy allows the rekognition:ListCollections" in denial


def test_grants_do_not_lend_each_other_actions(authorizer: Authorizer) -> None:
    caller = Caller(
        ACCOUNT,
        "u",
        (
            allowed("rekognition:DeleteCollection", galleries=("scratch",)),
            allowed("rekognition:ListFaces", galleries=("staff",)),
        ),
    )
    assert _denial(authorizer, caller, "ListFaces", STAFF) is None
    assert _denial(authorizer, caller, "DeleteCollection", STAFF) is not None


def test_a_name_that_no_collection_can_have_is_not_repeated(authorizer: Authorizer) -> None:
    gate = keyring().by_id[GATE].caller
    body = json.dumps({"CollectionId": "<script>" * 1000})
    denial = _denial(authorizer, gate, "SearchFaces", body)
    assert denial is not None
    assert "<script>" not in denial


def test_a_body_that_cannot_be_read_is_malformed(authorizer: Authorizer) -> None:
    denial = _denial(authorizer, keyring().by_id[GATE].caller, "SearchFaces", "{")
    assert denial is not None
    assert denial.startswith("SerializationException")


@pytest.mark.parametrize(
    ("operation", "request_", "names"),
    [
        ("StopStreamProcessor", {"Name": "door"}, ["streamprocessor/door"]),
        (
            "CreateStreamProcessor",
            {"Name": "door", "Settings": {"FaceSearch": {"CollectionId": "staff"}}},
            ["streamprocessor/door", "collection/staff"],
        ),
        ("StartFaceSearch", {"CollectionId": "staff"}, ["collection/staff"]),
        ("AssociateFaces", {"CollectionId": "staff", "UserId": "u"}, ["collection/staff"]),
    ],
)
def test_every_resource_of_a_request_has_to_be_granted(
    operation: str, request_: dict[str, object], names: list[str]
) -> None:
    authorizer, body = Authorizer([operation]), json.dumps(request_)
    arns = [f"arn:aws:rekognition:eu-west-1:{ACCOUNT}:{name}" for name in names]
    for granted in ([], *([one] for one in arns), arns):
        made = grant(
            ["rekognition:*"],
            resources=[*granted, "arn:aws:rekognition:::none"],
            galleries=[],
            account=ACCOUNT,
        )
        denial = _denial(authorizer, Caller(ACCOUNT, "u", (made,)), operation, body)
        missing = [arn for arn in arns if arn not in granted]
        assert (denial is None) is (not missing)
        assert denial is None or f"on resource: {missing[0]} because" in denial


def test_tags_are_those_of_the_resource_named() -> None:
    authorizer = Authorizer(["TagResource"])
    staff, other = (
        f"arn:aws:rekognition:eu-west-1:{ACCOUNT}:collection/{name}" for name in ("staff", "other")
    )
    caller = Caller(ACCOUNT, "u", (allowed("rekognition:TagResource", galleries=("staff",)),))
    assert _denial(authorizer, caller, "TagResource", json.dumps({"ResourceArn": staff})) is None
    beyond = f"arn:aws:rekognition:eu-west-1:999999999999:x:{ACCOUNT}:collection/staff"
    for foreign in (other, beyond, staff.replace(ACCOUNT, "999999999999")):
        body = json.dumps({"ResourceArn": foreign})
        assert _denial(authorizer, caller, "TagResource", body) is not None


def test_no_operation_is_open_to_a_caller_without_grants(authorizer: Authorizer) -> None:
    nobody = Caller(ACCOUNT, "nobody", ())
    for operation in OPERATIONS:
        assert _denial(authorizer, nobody, operation, STAFF) is not None


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: allowed(galleries=("a",)), "needs actions"),
        (lambda: allowed("*"), "needs actions, and resources"),
        (lambda: allowed("rekognition:SerchFaces", galleries=("a",)), "none of Rekognition's"),
        (lambda: allowed("s3:GetObject", galleries=("a",)), "no action"),
        (lambda: allowed("SearchFaces", galleries=("a",)), "no action"),
        (lambda: allowed("*", galleries=("a/b",)), "no gallery"),
        (
            lambda: grant(["*"], resources=["staff"], galleries=[], account=ACCOUNT),
            "no resource",
        ),
        (
            lambda: grant(["*"], resources=["arn:aws:s3:::b/*"], galleries=[], account=ACCOUNT),
            "no resource",
        ),
    ],
)
def test_a_grant_that_could_never_hold_is_refused(
    make: Callable[[], object], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        make()


# --- over HTTP ------------------------------------------------------------------------------------


class Untouchable(MemoryRecognizer):
    """Fails the test when work is done for somebody who may not ask for it."""

    def delete_gallery(self, gallery: GalleryId) -> None:
        raise AssertionError(f"{gallery} was to be deleted")


@pytest.fixture
def recognizer() -> Recognizer:
    recognizer = Untouchable()
    for name in ("staff", "other"):
        recognizer.create_gallery(GalleryId(name))
    return recognizer


@pytest.fixture
def url(recognizer: Recognizer) -> Iterator[str]:
    settings = ServerSettings(keys=keyring())
    app = create_app(RekognitionService(recognizer), settings, clock=lambda: NOW)
    with ServiceServer(app) as server:
        yield server.url


def test_a_denial_names_the_arn_and_comes_before_any_work(url: str) -> None:
    for collection in ("staff", "other", "does-not-exist"):
        body = json.dumps({"CollectionId": collection}).encode()
        answer = sent(url, Signed("DeleteCollection", body, key=GATE))
        assert (answer.status, answer.code) == (400, "AccessDeniedException")
        assert answer.message == (
            f"User: {GATE_ARN} is not authorized to perform: rekognition:DeleteCollection on "
            f"resource: arn:aws:rekognition:eu-west-1:{ACCOUNT}:collection/{collection} because no "
            "identity-based policy allows the rekognition:DeleteCollection action"
        )


def test_the_arn_of_a_denial_is_the_collections_own(url: str) -> None:
    described = json.loads(sent(url, Signed("DescribeCollection", STAFF.encode(), key=GATE)).body)
    denied = sent(url, Signed("DeleteCollection", STAFF.encode(), key=GATE))
    assert f"on resource: {described['CollectionARN']} because" in denied.message


@pytest.mark.parametrize("target", ["", "<b>", "Search*", "DescribeCollection.DeleteCollection"])
def test_a_strange_operation_gets_nowhere(url: str, target: str) -> None:
    answer = sent(url, Signed(target, STAFF.encode(), key=GATE))
    assert answer.code in {"AccessDeniedException", "UnknownOperationException"}


# --- where keys come from -------------------------------------------------------------------------

TOML = """
[[keys]]
id = "AKIDONE"
secret = "a-secret-nobody-may-see"
account = "123456789012"
user = "gate"
token = "a-token-nobody-may-see"
expires = 2036-01-01T00:00:00Z
allow = [{ actions = ["rekognition:Search*"], galleries = ["staff"] }]

[[keys]]
id = "AKIDTWO"
secret = "b"
account = "123456789012"

[[keys.allow]]
actions = ["*"]
resources = ["*"]
"""
ONE = {
    "id": "AKIDONE",
    "secret": "a-secret-nobody-may-see",
    "account": "123456789012",
    "allow": [{"actions": ["*"], "resources": ["*"]}],
}


def _file(folder: Path, text: str, name: str = "keys.toml", mode: int = 0o600) -> Path:
    file = folder / name
    file.write_text(text)
    file.chmod(mode)
    return file


def test_keys_are_read_from_toml_and_json_and_the_environment(tmp_path: Path) -> None:
    ring = read_keys(_file(tmp_path, TOML))
    one, two = ring.by_id["AKIDONE"], ring.by_id["AKIDTWO"]
    assert (one.caller.arn, one.token) == (
        "arn:aws:iam::123456789012:user/gate",
        "a-token-nobody-may-see",
    )
    assert one.expires is not None
    assert one.expires.year == 2036
    assert two.caller.arn.endswith("user/AKIDTWO")
    assert two.caller.may("ListCollections", None)
    as_json = json.dumps({"keys": [ONE]})
    by_file = read_keys(_file(tmp_path, as_json, "keys.json"))
    by_variable = keys_from_environment({KEYS_VARIABLE: as_json})
    assert by_variable is not None
    assert by_file.by_id.keys() == by_variable.by_id.keys() == {"AKIDONE"}


@pytest.mark.parametrize("environment", [{}, {KEYS_VARIABLE: ""}])
def test_without_the_variable_there_are_no_keys(environment: dict[str, str]) -> None:
    assert keys_from_environment(environment) is None


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o666, 0o610])
def test_a_file_that_others_may_open_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ConfigError, match="chmod 600"):
        read_keys(_file(tmp_path, TOML, mode=mode))


@pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be opened there at all")
def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.toml"):
        with pytest.raises(ConfigError, match=path.name):
            read_keys(path)


def _with(**changes: object) -> str:
    return json.dumps({"keys": [{**ONE, **changes}]})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "valid dictionary"),
        ("{}", "'keys': field required"),
        ('{"keys": []}', "no keys"),
        (_with(extra=1), r"'keys\.0\.extra'"),
        (_with(account="12"), r"'keys\.0\.account'"),
        (_with(account="123456789012\n"), r"'keys\.0\.account'"),
        (_with(secret=""), r"'keys\.0\.secret'"),
        (_with(secret=["a-secret-nobody-may-see"]), r"'keys\.0\.secret'"),
        (_with(secret="a-secret-nobody-may-see with a space"), r"'keys\.0\.secret'"),
        (_with(id="a/b"), r"'keys\.0\.id'"),
        (_with(user="a:b"), r"'keys\.0\.user'"),
        (_with(allow=[]), r"'keys\.0\.allow'"),
        (_with(allow=[{"actions": ["*"]}]), r"keys\.0: a grant needs"),
        (_with(expires="2036-01-01T00:00:00Z"), "needs a 'token'"),
        (_with(token="t", expires="2036-01-01T00:00:00"), r"'keys\.0\.expires'"),
        (json.dumps({"keys": [ONE, ONE]}), "AKIDONE is there twice"),
    ],
)
def test_a_mistake_is_named_and_no_secret_is(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        keys_from_environment({KEYS_VARIABLE: text})
    chain = [caught.value, caught.value.__cause__]
    assert not any("nobody-may-see" in f"{error!s}{error!r}" for error in chain)


def test_broken_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_keys(_file(tmp_path, TOML + "["))


def test_secrets_stay_out_of_reprs(tmp_path: Path) -> None:
    ring = read_keys(_file(tmp_path, TOML))
    settings = ServerSettings(keys=ring)
    for value in (ring, settings, *ring.by_id.values()):
        assert "nobody-may-see" not in repr(value)


def test_a_ring_has_a_key() -> None:
    with pytest.raises(ConfigError, match="no keys"):
        KeyRing({})
