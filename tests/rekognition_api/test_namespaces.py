"""Accounts and regions see their own: collections, users, tags, jobs, stream processors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.cli.serve import _home
from rekadapter.errors import (
    BackendClosedError,
    ConfigError,
    GalleryNotFoundError,
    SubjectIdError,
    UsageError,
)
from rekadapter.recognizer import Recognizer
from rekadapter.rekognition_api.context import ServiceSettings
from rekadapter.rekognition_api.jobs.opening import BackgroundOptions, OpenedBackground
from rekadapter.rekognition_api.keys import AccessKey, KeyRing
from rekadapter.rekognition_api.namespaces import Home, NamedRecognizer, Names
from rekadapter.rekognition_api.policies import Caller, grant
from rekadapter.rekognition_api.server import ServerSettings, ServiceServer, create_app
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.testing.clips import even, write_clip
from rekadapter.testing.contract import RecognizerContract, UserContract
from rekadapter.testing.drawn import picture, portrait
from rekadapter.testing.material import ContractMaterial
from rekadapter.testing.rekognition import picture_of
from rekadapter.types import GalleryId, Size
from tests.rekognition_api.model_check import held_to_the_model

if TYPE_CHECKING:
    from mypy_boto3_rekognition import RekognitionClient
    from mypy_boto3_rekognition.type_defs import ImageTypeDef

HOME = Home("111111111111", "eu-west-1")
OTHERS = "222222222222"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOWHERE = "333333333333.eu-west-1.staff"


# --- a recognizer is one, whoever sees it ---------------------------------------------------------


@pytest.mark.parametrize("recognizer", ["home", "away"], indirect=True)
class TestContract(RecognizerContract, UserContract):
    @pytest.fixture
    def recognizer(self, request: pytest.FixtureRequest) -> Iterator[Recognizer]:
        inner = MemoryRecognizer()
        names = HOME.names_for(HOME.account if request.param == "home" else OTHERS, HOME.region)
        yield _Closing(inner, names)
        inner.close()

    @pytest.fixture
    def material(self, material: ContractMaterial) -> ContractMaterial:
        return material


class _Closing(NamedRecognizer):
    """The contract closes what it was given."""

    def close(self) -> None:
        self._inner.close()


# --- names ----------------------------------------------------------------------------------------

ACCOUNTS = st.text("0123456789", min_size=12, max_size=12)
REGIONS = st.sampled_from(["eu-west-1", "us-east-1", "us-gov-west-1", "local"])
GALLERIES = st.from_regex(r"[a-zA-Z0-9_.\-]{1,40}", fullmatch=True).map(GalleryId)
OWNERS = st.tuples(ACCOUNTS, REGIONS)


def owned(owner: tuple[str, str], home: tuple[str, str]) -> Names:
    return Home(*home).names_for(*owner)


@given(home=OWNERS, one=OWNERS, other=OWNERS, galleries=st.sets(GALLERIES, max_size=5))
def test_two_owners_never_mean_the_same_gallery(
    home: tuple[str, str],
    one: tuple[str, str],
    other: tuple[str, str],
    galleries: set[GalleryId],
) -> None:
    if one == other:
        return
    made = {owner: _made(owned(owner, home), galleries) for owner in (one, other)}
    assert not set(made[one]) & set(made[other])
    held = sorted([*made[one], *made[other]])
    for owner in (one, other):
        assert set(owned(owner, home).own(held)) == set(made[owner].values())


def _made(names: Names, galleries: set[GalleryId]) -> dict[GalleryId, GalleryId]:
    """The caller's name by the backend's, of all galleries that may be made."""
    made = {}
    for gallery in galleries:
        try:
            made[names.new(gallery)] = gallery
        except SubjectIdError:
            assert not names.account
    return made


def test_at_home_names_are_plain_and_away_they_name_the_owner() -> None:
    staff = GalleryId("staff")
    assert HOME.names_for("111111111111", "eu-west-1").of(staff) == "staff"
    assert HOME.names_for("111111111111", "us-east-1").of(staff) == "111111111111.us-east-1.staff"
    assert HOME.names_for(OTHERS, "eu-west-1").of(staff) == "222222222222.eu-west-1.staff"


def test_nobody_reaches_anothers_gallery_by_spelling_it_out() -> None:
    home = HOME.names_for(HOME.account, HOME.region)
    with pytest.raises(GalleryNotFoundError):
        home.of(GalleryId(NOWHERE))
    with pytest.raises(SubjectIdError, match="another account or region"):
        home.new(GalleryId(NOWHERE))
    away = HOME.names_for(OTHERS, "eu-west-1")
    assert away.of(GalleryId(NOWHERE)) == f"222222222222.eu-west-1.{NOWHERE}"


def test_a_name_too_long_with_its_owners_is_refused() -> None:
    away = HOME.names_for(OTHERS, "eu-west-1")
    assert len(away.new(GalleryId("a" * 232))) == 255
    with pytest.raises(SubjectIdError):
        away.new(GalleryId("a" * 233))


@pytest.mark.parametrize("text", ["", "eu-west-1", "12/eu-west-1", "111111111111", "a/b/c"])
def test_a_home_is_an_account_and_a_region(text: str) -> None:
    with pytest.raises(ConfigError, match="123456789012/eu-west-1"):
        Home.parse(text)


# --- what the command line chooses ----------------------------------------------------------------


def ring(*accounts: str) -> KeyRing:
    everything = {account: (_everything(account),) for account in accounts}
    keys = [
        AccessKey(f"AKID{account}", Caller(account, "owner", everything[account]), SECRET)
        for account in accounts
    ]
    return KeyRing({key.key_id: key for key in keys})


def _everything(account: str) -> Any:
    return grant(("*",), resources=("*",), galleries=(), account=account)


@pytest.mark.parametrize(
    ("keys", "named", "one", "home"),
    [
        (None, None, False, None),
        (None, "123456789012/us-east-1", False, "123456789012/us-east-1"),
        (ring(OTHERS), None, False, "222222222222/us-east-1"),
        (ring(OTHERS), "111111111111/eu-west-1", False, "111111111111/eu-west-1"),
        (ring(OTHERS), None, True, None),
        (ring(OTHERS, HOME.account), None, False, "123456789012/us-east-1"),
    ],
    ids=["no keys", "no keys, asked for", "one account", "named", "one namespace", "two accounts"],
)
def test_whose_galleries_have_plain_names(
    keys: KeyRing | None,
    named: str | None,
    one: bool,  # noqa: FBT001 - a test's column
    home: str | None,
) -> None:
    found = _home(keys, named, one)
    assert (None if found is None else str(found)) == home


def test_apart_and_together_contradict_each_other() -> None:
    with pytest.raises(UsageError, match="--one-namespace"):
        _home(None, "123456789012/us-east-1", True)  # noqa: FBT003 - typer's


# --- over HTTP, signed ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Served:
    """A service with keys of two accounts."""

    url: str
    backend: MemoryRecognizer

    def client(self, account: str = HOME.account, region: str = "eu-west-1") -> RekognitionClient:
        return held_to_the_model(
            boto3.client(
                "rekognition",
                endpoint_url=self.url,
                region_name=region,
                aws_access_key_id=f"AKID{account}",
                aws_secret_access_key=SECRET,
                config=Config(retries={"total_max_attempts": 1}),
            )
        )

    def everybody(self) -> list[RekognitionClient]:
        return [
            self.client(account, region)
            for account in (HOME.account, OTHERS)
            for region in ("eu-west-1", "us-east-1")
        ]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "buckets" / "videos").mkdir(parents=True)
    pictures = [portrait("ann"), picture(size=Size(320, 320))]
    write_clip(tmp_path / "buckets" / "videos" / "lobby.mp4", even(pictures, fps=2))
    (tmp_path / "streams.toml").write_text(
        f"""
[[video]]
name = "lobby"
source = "buckets/videos/lobby.mp4"

[[video]]
name = "vault"
source = "buckets/videos/lobby.mp4"
account = "{OTHERS}"

[[data]]
name = "faces"
file = "faces.jsonl"

[[data]]
name = "secrets"
file = "secrets.jsonl"
account = "{OTHERS}"
region = "us-east-1"
"""
    )
    options = BackgroundOptions(
        s3_directory=tmp_path / "buckets", streams_file=tmp_path / "streams.toml"
    )
    backend = MemoryRecognizer()
    with OpenedBackground(options) as opened:
        service = RekognitionService(
            backend,
            settings=ServiceSettings(home=HOME),
            s3=opened.objects,
            background=opened.background,
        )
        settings = ServerSettings(keys=ring(HOME.account, OTHERS))
        with ServiceServer(create_app(service, settings)) as server:
            yield Served(server.url, backend)


def photo(who: str) -> ImageTypeDef:
    return {"Bytes": picture_of(who)}


def test_collections_of_one_name_are_four(served: Served) -> None:
    everybody = served.everybody()
    for number, client in enumerate(everybody):
        made = client.create_collection(CollectionId="staff")
        assert f":{client.meta.region_name}:" in made["CollectionArn"]
        assert made["CollectionArn"].endswith(":collection/staff")
        for who in range(number):
            client.index_faces(CollectionId="staff", Image=photo(f"{who}"))
    assert sorted(served.backend.galleries()) == [
        "111111111111.us-east-1.staff",
        "222222222222.eu-west-1.staff",
        "222222222222.us-east-1.staff",
        "staff",
    ]
    for number, client in enumerate(everybody):
        assert client.list_collections()["CollectionIds"] == ["staff"]
        assert client.describe_collection(CollectionId="staff")["FaceCount"] == number
        found = client.search_faces_by_image(CollectionId="staff", Image=photo("0"))
        assert len(found["FaceMatches"]) == (number > 0)
    everybody[0].delete_collection(CollectionId="staff")
    assert [client.list_collections()["CollectionIds"] for client in everybody] == [
        [],
        ["staff"],
        ["staff"],
        ["staff"],
    ]


def _calls_on(collection: str) -> list[Callable[[RekognitionClient], Any]]:
    face = "00000000-0000-4000-8000-000000000000"
    return [
        lambda c: c.describe_collection(CollectionId=collection),
        lambda c: c.delete_collection(CollectionId=collection),
        lambda c: c.index_faces(CollectionId=collection, Image=photo("ann")),
        lambda c: c.list_faces(CollectionId=collection),
        lambda c: c.delete_faces(CollectionId=collection, FaceIds=[face]),
        lambda c: c.search_faces(CollectionId=collection, FaceId=face),
        lambda c: c.search_faces_by_image(CollectionId=collection, Image=photo("ann")),
        lambda c: c.create_user(CollectionId=collection, UserId="ann"),
        lambda c: c.delete_user(CollectionId=collection, UserId="ann"),
        lambda c: c.list_users(CollectionId=collection),
        lambda c: c.associate_faces(CollectionId=collection, UserId="ann", FaceIds=[face]),
        lambda c: c.disassociate_faces(CollectionId=collection, UserId="ann", FaceIds=[face]),
        lambda c: c.search_users(CollectionId=collection, UserId="ann"),
        lambda c: c.search_users_by_image(CollectionId=collection, Image=photo("ann")),
        lambda c: c.start_face_search(
            CollectionId=collection, Video={"S3Object": {"Bucket": "videos", "Name": "lobby.mp4"}}
        ),
    ]


@pytest.mark.parametrize("number", range(len(_calls_on(""))))
def test_nobody_elses_collection_is_there(served: Served, number: int) -> None:
    theirs = served.client(OTHERS)
    theirs.create_collection(CollectionId="staff")
    theirs.create_user(CollectionId="staff", UserId="ann")
    spelled = "222222222222.eu-west-1.staff"
    for client in (served.client(), served.client(OTHERS, "us-east-1")):
        for name in ("staff", spelled):
            with pytest.raises(client.exceptions.ResourceNotFoundException):
                _calls_on(name)[number](client)
    assert theirs.describe_collection(CollectionId="staff")["UserCount"] == 1


def test_at_home_a_name_that_is_anothers_cannot_be_taken(served: Served) -> None:
    ours = served.client()
    with pytest.raises(ours.exceptions.InvalidParameterException):
        ours.create_collection(CollectionId="222222222222.eu-west-1.staff")
    assert served.client(OTHERS).list_collections()["CollectionIds"] == []


def test_galleries_of_the_command_line_are_at_home(served: Served) -> None:
    served.backend.create_gallery(GalleryId("visitors"))
    listed = [client.list_collections()["CollectionIds"] for client in served.everybody()]
    assert listed == [["visitors"], [], [], []]


def test_users_are_apart(served: Served) -> None:
    for client in served.everybody():
        client.create_collection(CollectionId="staff")
    ours, *others = served.everybody()
    face = ours.index_faces(CollectionId="staff", Image=photo("ann"))["FaceRecords"][0]["Face"]
    ours.create_user(CollectionId="staff", UserId="ann")
    ours.associate_faces(CollectionId="staff", UserId="ann", FaceIds=[face["FaceId"]])
    found = ours.search_users_by_image(CollectionId="staff", Image=photo("ann"))
    assert [match["User"]["UserId"] for match in found["UserMatches"]] == ["ann"]
    for client in others:
        assert client.list_users(CollectionId="staff")["Users"] == []
        found = client.search_users_by_image(CollectionId="staff", Image=photo("ann"))
        assert found["UserMatches"] == []


def test_one_token_of_two_accounts_is_two_requests(served: Served) -> None:
    for client in served.everybody():
        client.create_collection(CollectionId="staff")
        client.create_user(CollectionId="staff", UserId="ann", ClientRequestToken="once")
        assert len(client.list_users(CollectionId="staff")["Users"]) == 1


def test_tags_are_apart_and_go_with_their_own_collection(served: Served) -> None:
    everybody = served.everybody()
    arns = [
        client.create_collection(CollectionId="staff", Tags={"who": str(number)})["CollectionArn"]
        for number, client in enumerate(everybody)
    ]
    everybody[0].delete_collection(CollectionId="staff")
    everybody[0].create_collection(CollectionId="staff")
    tags = [
        client.list_tags_for_resource(ResourceArn=arn)["Tags"]
        for client, arn in zip(everybody, arns, strict=True)
    ]
    assert tags == [{}, {"who": "1"}, {"who": "2"}, {"who": "3"}]
    ours = everybody[0]
    with pytest.raises(ours.exceptions.ResourceNotFoundException):
        ours.list_tags_for_resource(ResourceArn=arns[1])
    with pytest.raises(ours.exceptions.AccessDeniedException):
        ours.list_tags_for_resource(ResourceArn=arns[2])


def test_video_jobs_search_their_own_collection_and_are_nobody_elses(served: Served) -> None:
    everybody = served.everybody()
    for client in everybody:
        client.create_collection(CollectionId="staff")
    theirs = everybody[3]
    theirs.index_faces(CollectionId="staff", Image=photo("ann"), ExternalImageId="ann")
    named = []
    for client in everybody:
        job_id = client.start_face_search(
            CollectionId="staff", Video={"S3Object": {"Bucket": "videos", "Name": "lobby.mp4"}}
        )["JobId"]
        while (found := client.get_face_search(JobId=job_id))["JobStatus"] == "IN_PROGRESS":
            pass
        named.append([len(seen["FaceMatches"]) for seen in found["Persons"]])
        for other in everybody:
            if other is not client:
                with pytest.raises(other.exceptions.ResourceNotFoundException):
                    other.get_face_search(JobId=job_id)
    assert named == [[0], [0], [0], [1]]


def _create(client: RekognitionClient, account: str, video: str, data: str = "faces") -> None:
    region = client.meta.region_name
    client.create_stream_processor(
        Name="door",
        Input={
            "KinesisVideoStream": {
                "Arn": f"arn:aws:kinesisvideo:{region}:{account}:stream/{video}/1500000000000"
            }
        },
        Output={"KinesisDataStream": {"Arn": f"arn:aws:kinesis:{region}:{account}:stream/{data}"}},
        RoleArn=f"arn:aws:iam::{account}:role/streams",
        Settings={"FaceSearch": {"CollectionId": "staff"}},
    )


def test_stream_processors_are_apart_and_search_their_own_collection(
    served: Served, tmp_path: Path
) -> None:
    ours, _, theirs, _ = served.everybody()
    for client in (ours, theirs):
        client.create_collection(CollectionId="staff")
    theirs.index_faces(CollectionId="staff", Image=photo("ann"), ExternalImageId="ann")
    _create(ours, HOME.account, "lobby")
    for client in served.everybody()[1:]:
        assert client.list_stream_processors()["StreamProcessors"] == []
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.start_stream_processor(Name="door")
    _create(theirs, OTHERS, "vault")
    for client in (ours, theirs):
        client.start_stream_processor(Name="door")
        while client.describe_stream_processor(Name="door")["Status"] != "STOPPED":
            pass
    records = [json.loads(line) for line in (tmp_path / "faces.jsonl").read_text().splitlines()]
    matched = [
        len(face["MatchedFaces"]) for record in records for face in record["FaceSearchResponse"]
    ]
    assert matched == [0, 1]


@pytest.mark.parametrize(
    ("account", "video", "data"),
    [
        (OTHERS, "lobby", "faces"),  # streams of another account
        (HOME.account, "vault", "faces"),  # a feed that is the others'
        (HOME.account, "lobby", "secrets"),  # an output that is the others'
    ],
)
def test_a_stream_of_another_account_is_none(
    served: Served, account: str, video: str, data: str
) -> None:
    ours = served.client()
    ours.create_collection(CollectionId="staff")
    with pytest.raises(ours.exceptions.InvalidParameterException):
        _create(ours, account, video, data)
    theirs = served.client(OTHERS)
    theirs.create_collection(CollectionId="staff")
    with pytest.raises(theirs.exceptions.InvalidParameterException):
        _create(theirs, OTHERS, "vault", "secrets")  # it is of another region


def test_without_a_home_everybody_sees_the_same() -> None:
    service = RekognitionService(MemoryRecognizer())
    settings = ServerSettings(keys=ring(HOME.account, OTHERS))
    with ServiceServer(create_app(service, settings)) as server:
        served = Served(server.url, MemoryRecognizer())
        served.client().create_collection(CollectionId="staff")
        listed = [client.list_collections()["CollectionIds"] for client in served.everybody()]
    assert listed == [["staff"]] * 4


def test_what_is_seen_by_one_is_closed_by_whoever_opened_it() -> None:
    inner = MemoryRecognizer()
    NamedRecognizer(inner, HOME.names_for(OTHERS, "eu-west-1")).close()
    assert list(inner.galleries()) == []
    inner.close()
    with pytest.raises(BackendClosedError):
        list(NamedRecognizer(inner, HOME.names_for(OTHERS, "eu-west-1")).galleries())
