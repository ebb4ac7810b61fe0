"""Age and gender: only of who can estimate them, only where asked, and never lost on the way."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rekadapter.backends.memory import MemoryRecognizer, PictureFinder
from rekadapter.backends.rekognition import open_rekognition
from rekadapter.backends.rekognition.limits import OPERATIONS
from rekadapter.recognizer import BackendContext, Recognizer, analysis_of
from rekadapter.rekognition_api.index_delay import DelayedIndex, IndexDelay
from rekadapter.rekognition_api.server import ServiceServer, create_app
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.shadow import ShadowLog, ShadowRecognizer, ShadowSettings
from rekadapter.testing.contract import RecognizerContract
from rekadapter.testing.material import ContractMaterial, drawn_material
from rekadapter.types import (
    AgeRange,
    BoundingBox,
    DetectedFace,
    FaceAttribute,
    GalleryId,
    Gender,
    PerceivedGender,
    SubjectId,
)
from tests.telling import AGE, GENDER, Telling, telling

PACKAGE = Path(__file__).parents[1] / "rekadapter"
GALLERY = GalleryId("G")
EVERY = frozenset(FaceAttribute)

Route = Callable[[Recognizer, Path], Iterator[Recognizer]]


def itself(recognizer: Recognizer, folder: Path) -> Iterator[Recognizer]:
    del folder
    yield recognizer


def behind_a_delay(recognizer: Recognizer, folder: Path) -> Iterator[Recognizer]:
    del folder
    yield DelayedIndex(recognizer, IndexDelay())


def with_a_shadow(recognizer: Recognizer, folder: Path) -> Iterator[Recognizer]:
    settings = ShadowSettings(mirror_writes=True)
    with ShadowLog(folder / "shadow.jsonl") as log:
        both = ShadowRecognizer(recognizer, MemoryRecognizer(), log=log, settings=settings)
        yield both
        both.close()


def over_http(recognizer: Recognizer, folder: Path) -> Iterator[Recognizer]:
    context = BackendContext(data_dir=folder, cache_dir=folder)
    with ServiceServer(create_app(RekognitionService(recognizer))) as server:
        options: dict[str, object] = {
            "endpoint_url": server.url,
            "unsigned": True,
            "region": "us-east-1",
            "requests_per_second": dict.fromkeys(OPERATIONS, 1000.0),
        }
        cloud = open_rekognition("cloud", options, context)
        yield cloud
        cloud.close()


ROUTES: dict[str, Route] = {
    "itself": itself,
    "delay": behind_a_delay,
    "shadow": with_a_shadow,
    "http": over_http,
}


@pytest.fixture(params=ROUTES)
def route(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Recognizer]:
    """A recognizer that estimates, reached in each way there is."""
    yield from ROUTES[request.param](telling(), tmp_path)


@pytest.fixture(scope="module")
def material() -> ContractMaterial:
    return drawn_material()


class TestTellingMemory(RecognizerContract):
    @pytest.fixture
    def recognizer(self) -> Recognizer:
        return telling()

    @pytest.fixture
    def material(self) -> ContractMaterial:
        return drawn_material()


def test_what_was_asked_for_arrives_by_every_route(
    route: Recognizer, material: ContractMaterial
) -> None:
    route.create_gallery(GALLERY)
    analysis = analysis_of(route, EVERY)
    made = analysis.enroll(GALLERY, material.group, subject=SubjectId("ann"), max_faces=1)
    faces = (
        *analysis.detect(material.group).faces,
        *(record.detected for record in made.records),
        *(failure.detected for failure in made.failures),
    )
    assert len(faces) == 4
    for face in faces:
        assert face is not None
        assert (face.estimated_age, face.perceived_gender) == (AGE, GENDER)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (frozenset(), (None, None)),
        (frozenset({FaceAttribute.AGE}), (AGE, None)),
        (frozenset({FaceAttribute.GENDER}), (None, GENDER)),
    ],
    ids=["nothing", "age", "gender"],
)
def test_nothing_else_arrives(
    route: Recognizer,
    material: ContractMaterial,
    asked: frozenset[FaceAttribute],
    expected: tuple[AgeRange | None, PerceivedGender | None],
) -> None:
    (face,) = analysis_of(route, asked).detect(material.ann).faces
    assert (face.estimated_age, face.perceived_gender) == expected


def test_who_estimates_nothing_is_asked_as_ever(material: ContractMaterial) -> None:
    plain = MemoryRecognizer(Telling(PictureFinder()))
    able = telling()
    assert analysis_of(plain, EVERY) is plain
    assert analysis_of(able, frozenset()) is able
    (face,) = plain.estimating(EVERY).detect(material.ann).faces
    assert (face.estimated_age, face.perceived_gender) == (None, None)


def test_a_mirrored_enrollment_with_estimates_reaches_the_shadow(
    tmp_path: Path, material: ContractMaterial
) -> None:
    shadow = MemoryRecognizer()
    settings = ShadowSettings(mirror_writes=True, drain_seconds=20.0)
    with ShadowLog(tmp_path / "shadow.jsonl") as log:
        both = ShadowRecognizer(telling(), shadow, log=log, settings=settings)
        both.create_gallery(GALLERY)
        analysis_of(both, EVERY).enroll(GALLERY, material.ann, subject=SubjectId("ann"))
        analysis_of(both, EVERY).detect(material.ann)
        both.close()
        counts = both.counts()
    assert (counts.written, sum(counts.compared.values())) == (2, 1)


# --- the words ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(-1, 5), (8, 7)])
def test_an_age_range_that_is_none_is_refused(low: int, high: int) -> None:
    with pytest.raises(ValueError, match="age range"):
        AgeRange(low, high)


@pytest.mark.parametrize("confidence", [-0.1, 100.1, float("nan")])
def test_a_confidence_that_is_no_percentage_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="percent"):
        PerceivedGender(Gender.MALE, confidence)


def test_a_face_keeps_everything_but_the_estimates_nobody_asked_for() -> None:
    face = DetectedFace(
        BoundingBox(0.1, 0.2, 0.3, 0.4), 99.0, estimated_age=AGE, perceived_gender=GENDER
    )
    assert face.with_only(EVERY) == face
    assert face.with_only(frozenset()) == DetectedFace(face.box, face.confidence)
    assert face.with_only(frozenset({FaceAttribute.AGE})).perceived_gender is None


# --- what nothing may be decided or grouped by ----------------------------------------------------

GUESSES = frozenset(
    {
        "AgeRange",
        "EstimatesAttributes",
        "FaceAttribute",
        "Gender",
        "PerceivedGender",
        "analysis_of",
        "estimated_age",
        "estimating",
        "perceived_gender",
        "with_only",
    }
)
DECIDES = (
    "evaluation",
    "gate",
    "planning",
    "sinks",
    "tracking",
    "uplink",
    "pipeline",
    "observation",
)


def names_in(file: Path) -> set[str]:
    """Every name, attribute, argument, and text that is a name, in a module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.add(node.name)
        elif isinstance(node, ast.keyword) and node.arg:
            found.add(node.arg)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


def modules_of(part: str) -> list[Path]:
    single = PACKAGE / f"{part}.py"
    return [single] if single.is_file() else sorted((PACKAGE / part).rglob("*.py"))


@pytest.mark.parametrize("part", DECIDES)
def test_what_decides_or_reports_never_reads_a_guessed_age_or_gender(part: str) -> None:
    files = modules_of(part)
    assert files
    for file in files:
        assert not names_in(file) & GUESSES, file


def test_the_search_for_these_names_finds_them_where_they_are_used() -> None:
    shapes = PACKAGE / "rekognition_api" / "operations" / "shapes.py"
    assert {"estimated_age", "perceived_gender", "with_only"} <= names_in(shapes)
