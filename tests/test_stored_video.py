"""Stored video end to end: the boto3 backend and the command, against our own service on loopback.

The service reads videos from a folder mapped as buckets and recognizes drawn faces.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.backends.rekognition import open_rekognition
from rekadapter.backends.rekognition.limits import OPERATIONS
from rekadapter.cli import run
from rekadapter.errors import GalleryNotFoundError, InvalidRequestError, VideoJobNotFoundError
from rekadapter.imaging import Image, encode_jpeg
from rekadapter.recognizer import BackendContext, Recognizer, StoredVideo, stored_video_of
from rekadapter.rekognition_api.jobs.background import Background
from rekadapter.rekognition_api.jobs.worker import VideoJobs
from rekadapter.rekognition_api.objects import DirectoryObjects
from rekadapter.rekognition_api.server import ServiceServer, create_app
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.shadow import ShadowLog, ShadowRecognizer
from rekadapter.testing.clips import even, write_clip
from rekadapter.testing.drawn import DrawnFace, picture, portrait
from rekadapter.types import GalleryId, Size, SubjectId, VideoJobId, VideoJobStatus, VideoObject

SIZE = Size(320, 240)
STAFF = GalleryId("staff")
LOBBY = VideoObject("videos", "lobby.mp4")
DAMAGED = VideoObject("videos", "damaged.mp4")
ANN = DrawnFace("ann", 20, 40, 80)
BOB = DrawnFace("bob", 200, 120, 80)


@dataclass(frozen=True)
class Rig:
    """The backend on a service, and where that is."""

    url: str
    recognizer: Recognizer

    @property
    def jobs(self) -> StoredVideo:
        found = stored_video_of(self.recognizer)
        assert found is not None
        return found

    def search(self, video: VideoObject = LOBBY, threshold: float = 80) -> VideoJobId:
        limit = self.recognizer.capabilities.threshold(threshold)
        return self.jobs.start_search(video, STAFF, threshold=limit)


@pytest.fixture(scope="module")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In ``lobby.mp4`` (2 s) Bob is there throughout, and Ann in the first second."""
    root = tmp_path_factory.mktemp("buckets")
    folder = root / "videos"
    folder.mkdir()
    pictures = [picture(ANN, BOB, size=SIZE)] * 10 + [picture(BOB, size=SIZE)] * 10
    write_clip(folder / "lobby.mp4", even(pictures, fps=10))
    whole = (folder / "lobby.mp4").read_bytes()
    (folder / "damaged.mp4").write_bytes(whole[: len(whole) // 3])
    return root


@pytest.fixture
def rig(buckets: Path, tmp_path: Path) -> Iterator[Rig]:
    video = VideoJobs(DirectoryObjects(buckets))
    service = RekognitionService(MemoryRecognizer(), background=Background(video=video))
    with Background(video=video), ServiceServer(create_app(service)) as server:
        options = {
            "endpoint_url": server.url,
            "unsigned": True,
            "region": "us-east-1",
            "requests_per_second": dict.fromkeys(OPERATIONS, 1000.0),
        }
        recognizer = open_rekognition("cloud", options, BackendContext(tmp_path, tmp_path))
        recognizer.create_gallery(STAFF)
        photo = Image.from_bytes(encode_jpeg(portrait("ann"), 95))
        recognizer.enroll(STAFF, photo, subject=SubjectId("Ann Ärmel"))
        yield Rig(server.url, recognizer)
        recognizer.close()


# --- the backend ------------------------------------------------------------------------------


def test_a_search_names_whom_the_gallery_knows_and_when(rig: Rig) -> None:
    found = rig.jobs.search_result(rig.search())
    assert found.job.status is VideoJobStatus.SUCCEEDED
    named = [one for one in found.sightings if one.candidates]
    assert [one.at_seconds for one in named] == [0, 0.2, 0.4, 0.6, 0.8]
    assert {c.subject for one in named for c in one.candidates or ()} == {"Ann Ärmel"}
    nobody = [one.at_seconds for one in found.sightings if one.candidates == ()]
    assert len(nobody) == 10
    face = named[0].face
    assert face is not None
    assert face.box.iou(ANN.box(SIZE)) > 0.8


def test_the_video_is_described_and_its_minutes_priced(rig: Rig) -> None:
    job = rig.jobs.search_result(rig.search()).job
    assert job.video is not None
    assert job.video.frame_size == SIZE
    assert job.video.duration_seconds is not None
    assert job.video.duration_seconds == pytest.approx(2, abs=0.1)
    assert job.price_usd == pytest.approx(0.1 * job.video.duration_seconds / 60)


def test_the_threshold_asked_for_decides(rig: Rig) -> None:
    found = rig.jobs.search_result(rig.search(threshold=0))
    assert all(one.candidates for one in found.sightings)


def test_a_detection_lists_every_face(rig: Rig) -> None:
    found = rig.jobs.detection_result(rig.jobs.start_detection(LOBBY))
    assert len(found.faces) == 15
    assert found.faces[0].face.box.area > 0


def test_a_job_is_there_for_another_client_too(rig: Rig, tmp_path: Path) -> None:
    job_id = rig.search()
    first = rig.jobs.search_result(job_id)
    options = {"endpoint_url": rig.url, "unsigned": True, "region": "us-east-1"}
    other = open_rekognition("other", options, BackendContext(tmp_path, tmp_path))
    again = stored_video_of(other)
    assert again is not None
    assert again.search_result(job_id) == first
    other.close()


def test_one_token_is_one_job(rig: Rig) -> None:
    assert rig.jobs.start_detection(LOBBY, token="t") == rig.jobs.start_detection(LOBBY, token="t")
    assert rig.jobs.start_detection(LOBBY) != rig.jobs.start_detection(LOBBY)


def test_a_damaged_video_fails_with_a_reason(rig: Rig) -> None:
    found = rig.jobs.search_result(rig.search(DAMAGED))
    assert found.job.status is VideoJobStatus.FAILED
    assert found.job.reason
    assert found.sightings == ()


def test_what_is_not_there_is_told_apart(rig: Rig) -> None:
    eighty = rig.recognizer.capabilities.threshold(80)
    with pytest.raises(GalleryNotFoundError):
        rig.jobs.start_search(LOBBY, GalleryId("none"), threshold=eighty)
    with pytest.raises(InvalidRequestError, match=r"none\.mp4"):
        rig.search(VideoObject("videos", "none.mp4"))
    with pytest.raises(VideoJobNotFoundError):
        rig.jobs.search_result(VideoJobId("0" * 64))
    with pytest.raises(VideoJobNotFoundError):
        rig.jobs.search_result(rig.jobs.start_detection(LOBBY))


def test_the_jobs_of_a_shadowed_backend_are_the_primary_s(rig: Rig, tmp_path: Path) -> None:
    shadowed = ShadowRecognizer(rig.recognizer, MemoryRecognizer(), log=ShadowLog(tmp_path / "log"))
    assert stored_video_of(shadowed) is rig.jobs
    shadowed.close()


def test_a_backend_without_stored_video_says_so() -> None:
    assert stored_video_of(MemoryRecognizer()) is None


# --- the command ------------------------------------------------------------------------------


@pytest.fixture
def settings(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A folder whose settings name the service ``cloud``."""
    monkeypatch.chdir(tmp_path)
    table = f'[backends.cloud]\ntype = "rekognition"\nendpoint_url = "{rig.url}"\nunsigned = true\n'
    Path("rekadapter.toml").write_text(f'backend = "cloud"\ngallery = "staff"\n{table}')
    return rig


@pytest.mark.usefixtures("settings")
def test_the_command_shows_who_it_may_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["search-video", "s3://videos/lobby.mp4"]) == 0
    shown = capsys.readouterr()
    assert "2 people, 15 sightings" in shown.out
    assert "Ann Ärmel: 5 times" in shown.out
    assert "unknown" in shown.out
    assert "$0.00" in shown.err


@pytest.mark.usefixtures("settings")
def test_the_command_prints_json_and_resumes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["search-video", "s3://videos/lobby.mp4", "-g", "staff", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    job_id = first["job"]["job_id"]
    assert run(["search-video", "--job", job_id, "-b", "cloud", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == first
    best = [one["candidates"][0]["score"] for one in first["sightings"] if one["candidates"]]
    assert {score["scale"]["name"] for score in best} == {"AWS Rekognition Similarity"}


@pytest.mark.usefixtures("settings")
def test_a_failed_job_has_exit_code_1_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["search-video", "s3://videos/damaged.mp4"]) == 1
    shown = capsys.readouterr()
    assert "failed: " in shown.err
    assert shown.out == ""


def test_an_error_while_waiting_names_the_job_that_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    options = f'endpoint_url = "{url}"\nunsigned = true\ndeadline_seconds = 0.1\n'
    Path("rekadapter.toml").write_text(f'[backends.cloud]\ntype = "rekognition"\n{options}')
    assert run(["search-video", "--job", "a1", "-b", "cloud"]) == 3
    assert "search-video --job a1" in capsys.readouterr().err


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "--job"),
        (["s3://videos/lobby.mp4", "--job", "x"], "--job"),
        (["lobby.mp4"], "s3://BUCKET/KEY"),
        (["s3://videos/"], "s3://BUCKET/KEY"),
        (["s3://v/lobby.mp4"], "s3://BUCKET/KEY"),
        (["s3://videos/lobby.mp4", "-b", "memory"], "takes no jobs"),
        (["s3://videos/lobby.mp4", "-g", "none"], "none"),
        (["--job", "no id at all"], "no video job"),
    ],
)
def test_a_mistake_is_one_clear_line(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["search-video", *arguments]) == 2
    shown = capsys.readouterr()
    assert complaint in shown.err
    assert "Traceback" not in shown.err
    assert "goes on" not in shown.err
    assert shown.out == ""
