"""Age and gender from InsightFace's gender-age graph, held against InsightFace's own loader."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.backends.local import open_local, opening, packs
from rekadapter.backends.local.gender_age import (
    IN_THE_GRAPH,
    OUTSIDE,
    GenderAgeModel,
    age_of,
    gender_of,
    load_gender_age,
    scaling_of,
    square_around,
)
from rekadapter.backends.local.geometry import Floats
from rekadapter.backends.local.manifests import WeightFile, manifest_of
from rekadapter.backends.local.models import FaceModels
from rekadapter.backends.local.recognizer import LocalRecognizer, capabilities_of
from rekadapter.backends.local.sessions import SessionSettings
from rekadapter.backends.local.store import SqliteGalleryStore
from rekadapter.errors import ConfigError, ModelCorruptError, ModelNotAvailableError, UsageError
from rekadapter.imaging import Image, Pixels, encode_png
from rekadapter.recognizer import BackendContext, Recognizer, analysis_of
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.testing.contract import RecognizerContract
from rekadapter.testing.material import ContractMaterial, packaged_file, photo_material
from rekadapter.types import (
    AgeRange,
    BoundingBox,
    DetectedFace,
    FaceAttribute,
    GalleryId,
    Gender,
    SubjectId,
)
from tests.local.conftest import StoreAt
from tests.local.tiny_graphs import arcface_like, gender_age_like, scrfd_like, square_picture

SETTINGS = SessionSettings(threads=1)
EVERY = frozenset(FaceAttribute)


def loaded(path: Path, half_width: int = 0) -> GenderAgeModel:
    return load_gender_age(path, path.read_bytes(), SETTINGS, half_width)


@cache
def photograph() -> Pixels:
    """Five people side by side."""
    try:
        path = packaged_file("insightface", "insightface/data/images/t1.jpg")
    except UsageError as error:
        pytest.skip(str(error))
    return np.asarray(cv2.imread(str(path)), dtype=np.uint8)


BOXES = {
    "a face": (430.0, 210.0, 610.0, 440.0),
    "wider than high": (100.5, 100.25, 400.75, 200.5),
    "over the border": (-60.0, -40.0, 200.0, 260.0),
    "a few pixels": (500.0, 300.0, 503.0, 304.5),
    "all of the picture": (0.0, 0.0, 1280.0, 886.0),
    "outside": (2000.0, 2000.0, 2100.0, 2100.0),
}


def as_box(corners: tuple[float, float, float, float], pixels: Pixels) -> BoundingBox:
    left, top, right, bottom = corners
    height, width = pixels.shape[:2]
    return BoundingBox(left / width, top / height, (right - left) / width, (bottom - top) / height)


@pytest.mark.parametrize("corners", BOXES.values(), ids=list(BOXES))
@pytest.mark.parametrize("scales_itself", [False, True])
@pytest.mark.parametrize("side", [96, 64])
def test_the_values_are_those_of_insightfaces_own_loader(
    tmp_path: Path, corners: tuple[float, float, float, float], side: int, *, scales_itself: bool
) -> None:
    attribute = _insightfaces_attribute()
    path = gender_age_like(tmp_path / "ga.onnx", side=side, scales_itself=scales_itself)
    oracle: Any = attribute(model_file=str(path))
    pixels, face = photograph(), _oracles_face(corners)
    gender, age = oracle.get(pixels, face)
    found = loaded(path).estimated(pixels, DetectedFace(as_box(corners, pixels), 99.0))
    assert found.estimated_age == AgeRange(age, age)
    assert found.perceived_gender is not None
    assert found.perceived_gender.value is (Gender.MALE if gender == 1 else Gender.FEMALE)
    # a task of another name has it give the graph's values as they are
    oracle.taskname = "attribute_3"
    values = loaded(path).values(pixels, as_box(corners, pixels))
    assert values is not None
    assert values == pytest.approx(oracle.get(pixels, face), abs=2e-3)


def _insightfaces_attribute() -> Callable[..., object]:
    pytest.importorskip("insightface", reason="the optional package is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from insightface.model_zoo.attribute import Attribute  # noqa: PLC0415 optional
    return Attribute  # type: ignore[no-any-return]  # ships no type information


def _oracles_face(corners: tuple[float, float, float, float]) -> object:
    from insightface.app.common import Face  # noqa: PLC0415 optional

    return Face(bbox=np.array(corners, np.float32))


@pytest.mark.parametrize(
    ("names", "scaling"),
    [
        (["conv0", "relu0"], OUTSIDE),
        (["_minusscalar0", "_mulscalar0"], IN_THE_GRAPH),
        (["Sub_0", "x", "x", "x", "x", "x", "x", "Mul_7"], IN_THE_GRAPH),
        (["Sub_0", "x", "x", "x", "x", "x", "x", "x", "Mul_8"], OUTSIDE),
        (["Sub_0"], OUTSIDE),
        (["x", "x", "bn_data"], IN_THE_GRAPH),
        (["x", "x", "x", "bn_data"], OUTSIDE),
        ([], OUTSIDE),
    ],
    ids=str,
)
def test_a_graph_scales_its_input_by_insightfaces_rule(names: list[str], scaling: object) -> None:
    assert scaling_of(names) is scaling


# --- what is made of the values -------------------------------------------------------------------


@given(st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=2))
def test_a_gender_is_the_higher_score_and_its_softmax(scores: list[float]) -> None:
    found = gender_of(np.array(scores, np.float32))
    if scores[0] == scores[1]:
        assert found is None
        return
    assert found is not None
    assert found.confidence is not None
    assert found.value is (Gender.FEMALE if scores[0] > scores[1] else Gender.MALE)
    assert 50.0 <= found.confidence <= 100.0
    other = 100.0 / (1.0 + math.exp(abs(scores[0] - scores[1])))
    assert found.confidence + other == pytest.approx(100.0)


@given(st.floats(0, 1.21875, width=32), st.integers(0, 50))
def test_an_age_range_holds_the_age_and_nothing_below_nought(hundreds: float, half: int) -> None:
    years = int(np.round(np.float32(hundreds) * 100))
    assert age_of(np.float32(hundreds), half) == AgeRange(max(0, years - half), years + half)


@pytest.mark.parametrize("hundreds", [-0.01, 1.23, 4.82, -30.0, 3e38, -3e38])
def test_an_age_that_nobody_has_is_none(hundreds: float) -> None:
    assert age_of(np.float32(hundreds), 5) is None


class Fixed:
    """A graph that always gives the same values, and counts how often it is asked."""

    def __init__(self, *values: float) -> None:
        self.values = np.array([values], np.float32)
        self.runs = 0

    def run(self, batch: Floats) -> list[Floats]:
        assert batch.shape == (1, 3, 96, 96)
        self.runs += 1
        return [self.values]


FACE = DetectedFace(BoundingBox(0.2, 0.2, 0.5, 0.5), 99.0)
GRAY: Pixels = np.full((50, 60, 3), 128, np.uint8)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("place", [0, 2])
def test_a_graph_that_gives_no_number_says_nothing(bad: float, place: int) -> None:
    values = [1.0, 2.0, 0.3]
    values[place] = bad
    assert GenderAgeModel(Fixed(*values), 96, OUTSIDE).estimated(GRAY, FACE) == FACE


def test_equal_scores_name_no_gender() -> None:
    found = GenderAgeModel(Fixed(1.0, 1.0, 0.3), 96, OUTSIDE).estimated(GRAY, FACE)
    assert found.perceived_gender is None
    assert found.estimated_age == AgeRange(30, 30)


@pytest.mark.parametrize("box", [BoundingBox(0.5, 0.5, 0.0, 0.0), BoundingBox(0, 0, 0, 0)])
def test_a_box_without_an_extent_is_not_judged(box: BoundingBox) -> None:
    session = Fixed(1.0, 2.0, 0.3)
    face = replace(FACE, box=box)
    assert GenderAgeModel(session, 96, OUTSIDE).estimated(GRAY, face) == face
    assert session.runs == 0


@given(
    st.floats(-3, 3), st.floats(-3, 3), st.floats(0, 3), st.floats(0, 3), st.sampled_from([32, 96])
)
def test_any_box_gives_a_square_or_none(
    left: float, top: float, width: float, height: float, side: int
) -> None:
    square = square_around(GRAY, BoundingBox(left, top, width, height), side)
    assert square is None or square.shape == (side, side, 3)
    assert (square is None) == (width == 0 and height == 0)


# --- loading ----------------------------------------------------------------------------------


def test_another_graph_is_refused_by_name(tmp_path: Path) -> None:
    for graph in (arcface_like(tmp_path / "rec.onnx"), scrfd_like(tmp_path / "det.onnx")):
        with pytest.raises(ModelCorruptError, match=rf"{graph.name} is not a gender-age graph"):
            loaded(graph)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a graph")
    with pytest.raises(ModelCorruptError, match=r"broken\.onnx cannot be loaded"):
        loaded(broken)


def opened(folder: Path, **more: object) -> Recognizer:
    """A custom pack of three tiny graphs."""
    pytest.importorskip("insightface", reason="the optional package is not installed")
    options: dict[str, object] = {
        "pack": "custom",
        "detector_file": str(scrfd_like(folder / "det.onnx")),
        "embedder_file": str(arcface_like(folder / "rec.onnx")),
        "gender_age_file": str(gender_age_like(folder / "ga.onnx")),
        "cosine_threshold": 0.9,
        "threads": 1,
    }
    context = BackendContext(data_dir=folder / "data", cache_dir=folder / "cache")
    return open_local("local", {**options, **more}, context)


def test_the_users_own_graph_estimates_and_leaves_the_galleries_as_they_are(
    tmp_path: Path,
) -> None:
    with_ages, without = opened(tmp_path), opened(tmp_path, gender_age_file=None)
    assert with_ages.capabilities.attributes == EVERY
    assert without.capabilities.attributes == frozenset()
    assert with_ages.capabilities.model == without.capabilities.model
    image = Image.from_pixels(square_picture())
    (plain,) = with_ages.detect(image).faces
    (face,) = analysis_of(with_ages, EVERY).detect(image).faces
    assert face.estimated_age is not None
    assert face.estimated_age.low == face.estimated_age.high
    assert face.perceived_gender is not None
    assert face.with_only(frozenset()) == plain == without.detect(image).faces[0]


def test_an_age_is_as_wide_as_the_user_says(tmp_path: Path) -> None:
    image = Image.from_pixels(square_picture())
    point, wide = (
        analysis_of(opened(tmp_path, age_half_width_years=years), EVERY).detect(image).faces[0]
        for years in (0, 7)
    )
    assert point.estimated_age is not None
    years = point.estimated_age.low
    assert wide.estimated_age == AgeRange(max(0, years - 7), years + 7)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gender_age_file": "ga.onnx"}, "belongs to pack 'custom'"),
        ({"age_half_width_years": 3}, "packs that estimate ages"),
        ({"pack": "buffalo_l", "age_half_width_years": -1}, "age_half_width_years"),
        ({"pack": "buffalo_l", "age_half_width_years": 2.5}, "age_half_width_years"),
    ],
    ids=["a file for the embedded pack", "a width of nothing", "less than nothing", "a fraction"],
)
def test_options_that_mean_nothing_are_refused(
    tmp_path: Path, options: dict[str, object], words: str
) -> None:
    context = BackendContext(data_dir=tmp_path, cache_dir=tmp_path)
    with pytest.raises(ConfigError, match=words):
        open_local("local", options, context)


def test_a_gender_age_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotAvailableError, match=r"absent\.onnx"):
        opened(tmp_path, gender_age_file=str(tmp_path / "absent.onnx"))


# --- a pack of InsightFace's ------------------------------------------------------------------


@pytest.fixture
def tiny_buffalo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """What a download of buffalo_s brings, if its weights were tiny graphs."""
    pytest.importorskip("insightface", reason="the optional package is not installed")
    folder = tmp_path / "download"
    folder.mkdir()
    graphs = (
        scrfd_like(folder / "det_500m.onnx"),
        arcface_like(folder / "w600k_mbf.onnx"),
        gender_age_like(folder / "genderage.onnx"),
    )
    detector, embedder, gender_age = (
        WeightFile(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in graphs
    )
    tiny = replace(
        manifest_of("buffalo_s"), detector=detector, embedder=embedder, gender_age=gender_age
    )
    for module in (packs, opening):
        monkeypatch.setattr(module, "manifest_of", {tiny.name: tiny}.__getitem__)
    return folder


@pytest.mark.parametrize("with_graph", [True, False])
def test_a_pulled_pack_estimates_where_its_folder_has_the_graph(
    tmp_path: Path, tiny_buffalo: Path, *, with_graph: bool
) -> None:
    if not with_graph:
        (tiny_buffalo / "genderage.onnx").unlink()

    def fetch(name: str, folder: Path) -> None:
        shutil.copytree(tiny_buffalo, folder / "models" / name)

    packs.pull_pack("buffalo_s", tmp_path, accept_license=True, fetch=fetch)
    context = BackendContext(data_dir=tmp_path / "data", cache_dir=tmp_path)
    local = open_local("local", {"pack": "buffalo_s", "threads": 1}, context)
    assert local.capabilities.attributes == (EVERY if with_graph else frozenset())
    (face,) = analysis_of(local, EVERY).detect(Image.from_pixels(square_picture())).faces
    assert (face.estimated_age is not None) is with_graph
    assert (face.perceived_gender is not None) is with_graph


# --- no cost where nobody asks ----------------------------------------------------------------


@pytest.fixture
def photographs() -> ContractMaterial:
    try:
        return photo_material()
    except UsageError as error:
        pytest.skip(str(error))


def real_with(models: FaceModels, session: Fixed, store: SqliteGalleryStore) -> LocalRecognizer:
    """The embedded pack with a gender-age graph beside it."""
    able = replace(models, gender_age=GenderAgeModel(session, 96, OUTSIDE))
    return LocalRecognizer(able, store, capabilities_of("local", able, {}))


def test_the_graph_runs_once_a_face_and_only_where_it_is_asked(
    embedded_models: FaceModels,
    store_at: StoreAt,
    tmp_path: Path,
    photographs: ContractMaterial,
) -> None:
    session = Fixed(0.2, 1.2, 0.42)
    local = real_with(embedded_models, session, store_at(tmp_path))
    gallery = GalleryId("G")
    local.create_gallery(gallery)
    local.detect(photographs.group)
    local.enroll(gallery, photographs.ann, subject=SubjectId("ann"))
    threshold = local.capabilities.default_threshold
    local.identify(gallery, photographs.group, threshold=threshold)
    local.verify(photographs.ann, photographs.group, threshold=threshold)
    assert session.runs == 0
    found = analysis_of(local, frozenset({FaceAttribute.AGE})).detect(photographs.group).faces
    assert session.runs == len(found) == 2
    assert {face.estimated_age for face in found} == {AgeRange(42, 42)}
    assert {face.perceived_gender for face in found} == {None}


class TestLocalWithAges(RecognizerContract):
    @pytest.fixture
    def recognizer(
        self, embedded_models: FaceModels, store_at: StoreAt, tmp_path: Path
    ) -> Recognizer:
        return real_with(embedded_models, Fixed(0.2, 1.2, 0.42), store_at(tmp_path))

    @pytest.fixture
    def material(self, photographs: ContractMaterial) -> ContractMaterial:
        return photographs


# --- through the service ------------------------------------------------------------------------


def test_the_service_answers_with_what_the_pack_says(tmp_path: Path) -> None:
    service = RekognitionService(opened(tmp_path, age_half_width_years=5))
    picture = base64.b64encode(encode_png(Image.from_pixels(square_picture()))).decode()

    def details(attributes: list[str]) -> dict[str, Any]:
        body = json.dumps({"Image": {"Bytes": picture}, "Attributes": attributes}).encode()
        answer = service.handle(
            "RekognitionService.DetectFaces", body, account="123456789012", region="us-east-1"
        )
        assert answer.status == 200
        (face,) = json.loads(answer.body)["FaceDetails"]
        return dict(face)

    plain, asked = details([]), details(["ALL"])
    assert asked.keys() - plain.keys() == {"AgeRange", "Gender"}
    assert asked["AgeRange"]["High"] - asked["AgeRange"]["Low"] in range(5, 11)
    assert asked["Gender"]["Value"] in {"Male", "Female"}
    assert 50.0 <= asked["Gender"]["Confidence"] <= 100.0
