"""Failures by photograph: only where asked for, and coarse beyond recognition."""

from __future__ import annotations

import base64
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.backends import open_backend
from rekadapter.cli import run
from rekadapter.evaluation import mosaic as mosaics
from rekadapter.evaluation.dataset import Sample
from rekadapter.evaluation.evaluate import StoredEvaluation, evaluated
from rekadapter.evaluation.failure_gallery import Pictures, clear, gallery_html
from rekadapter.evaluation.failures import FailureKind, failures_of, photographs_of
from rekadapter.evaluation.mosaic import FACE_PIXELS, mosaic
from rekadapter.evaluation.outcomes import PersonId
from rekadapter.evaluation.synthetic import ScoreModel, SearchDesign
from rekadapter.imaging import Image, encode_jpeg
from rekadapter.recognizer import BackendContext, Recognizer
from rekadapter.testing.drawn import picture
from rekadapter.testing.evaluations import made_up_evaluation
from rekadapter.types import BoundingBox, DetectedFace, GalleryId, SubjectId
from tests.evaluate.drawn_people import people_folders

MODELS = {"good": ScoreModel(), "poor": ScoreModel(mated_mean=0.3, failure_rate=0.1)}
DESIGN = SearchDesign(gallery=60, mated_people=60, nonmated_people=60)


def _face(left: float, top: float, width: float, height: float) -> DetectedFace:
    return DetectedFace(BoundingBox(left, top, width, height), 99.0)


def _noise(width: int, height: int) -> Image:
    pixels = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.from_pixels(pixels)


# --- pictures ---------------------------------------------------------------------------------


@given(
    left=st.floats(0, 0.8),
    width=st.floats(0.02, 1),
    height=st.floats(0.02, 1),
    sides=st.tuples(st.integers(40, 400), st.integers(40, 400)),
)
def test_no_face_is_ever_more_than_a_few_pixels_across(
    left: float, width: float, height: float, sides: tuple[int, int]
) -> None:
    image = _noise(*sides)
    box = BoundingBox(left, 0.1, width, height)
    small = mosaic(image, [DetectedFace(box, 99.0)]).size
    region = box.scaled(2.2).clipped().pixels(image.size)
    coarse = small.width / (region.right - region.left), small.height / (region.bottom - region.top)
    face = max(width * image.size.width * coarse[0], height * image.size.height * coarse[1])
    assert face <= FACE_PIXELS + 1e-9 or min(small.width, small.height) == 1


def test_a_picture_without_a_face_is_as_coarse_as_one_that_a_face_fills() -> None:
    small = mosaic(_noise(640, 480), []).size
    assert small.height <= FACE_PIXELS
    assert small.width <= 2 * FACE_PIXELS


def test_the_largest_face_sets_the_measure_for_all() -> None:
    image = _noise(640, 480)
    faces = [_face(0.1, 0.1, 0.05, 0.05), _face(0.5, 0.2, 0.3, 0.5)]
    assert mosaic(image, faces).size == mosaic(image, faces[1:]).size


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recognizer]:
    folder = tmp_path_factory.mktemp("local")
    opened = open_backend("local", "local", {}, BackendContext(folder / "data", folder / "cache"))
    yield opened
    opened.close()


def _recognized(recognizer: Recognizer, photographs: Sequence[Path], gallery: GalleryId) -> int:
    """Coarse pictures, blown up again, that name the right person."""
    named = 0
    for path in photographs:
        image = Image.open(path)
        small = mosaic(image, recognizer.detect(image).faces)
        times = max(1, 320 // min(small.size.width, small.size.height))
        sides = (small.size.width * times, small.size.height * times)
        blown = np.asarray(cv2.resize(small.pixels, sides, interpolation=cv2.INTER_CUBIC))
        answer = recognizer.identify(
            gallery,
            Image.from_pixels(blown.astype(np.uint8)),
            threshold=recognizer.capabilities.default_threshold,
            limit=1,
        )
        subjects = [c.subject for face in answer.faces for c in face.candidates]
        named += SubjectId(path.parent.name) in subjects
    return named


def test_a_recognizer_that_has_the_very_photograph_does_not_recognize_its_coarse_picture(
    recognizer: Recognizer, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photographs = sorted((shared_data / "faces").glob("*/00.jpg"))[:7]
    gallery = GalleryId("coarse")
    recognizer.create_gallery(gallery)
    for path in photographs:
        recognizer.enroll(gallery, Image.open(path), subject=SubjectId(path.parent.name))
    assert _recognized(recognizer, photographs, gallery) == 0
    # the same check finds people where the pictures are less coarse: it is able to fail
    monkeypatch.setattr(mosaics, "FACE_PIXELS", 24)
    assert _recognized(recognizer, photographs, gallery) > len(photographs) // 2


# --- what failed ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored() -> StoredEvaluation:
    return made_up_evaluation(DESIGN, MODELS, default_threshold=0.4)


def test_the_failures_are_those_that_the_report_counts(stored: StoredEvaluation) -> None:
    report = evaluated(stored)
    for system in failures_of(stored, report):
        row = next(r for r in report.accuracy if r.system == system.system and r.threshold)
        kinds = [one.kind for one in system.trials]
        mated = {p.id for p in stored.record.people if p.enrolled}
        lost = [
            one
            for one in system.trials
            if one.person in mated and one.kind is not FailureKind.NOT_ENROLLED
        ]
        assert len(lost) == row.fnir.errors
        assert kinds.count(FailureKind.FALSE_ALERT) == row.fpir.errors
        assert kinds == sorted(kinds, key=list(FailureKind).index)


def _gallery(stored: StoredEvaluation, pictures: Pictures, *, are_blurred: bool = True) -> str:
    report = evaluated(stored)
    failures = failures_of(stored, report)
    return gallery_html(report, failures, pictures, are_blurred=are_blurred)


def test_the_page_stays_below_two_megabytes_and_says_what_it_left_out(
    stored: StoredEvaluation, tmp_path: Path
) -> None:
    file = tmp_path / "large.jpg"
    file.write_bytes(encode_jpeg(_noise(160, 160), 95))
    wanted = photographs_of(failures_of(stored, evaluated(stored)))
    samples = {digest: Sample(PersonId("x"), file) for digest in wanted}
    pictures = Pictures(samples, clear)
    page = _gallery(stored, pictures, are_blurred=False)
    assert len(page.encode()) < 2_000_000
    assert pictures.left_out > 0
    assert "left out to keep this file small" in page
    assert "shows faces of people, as they are" in page


def test_photographs_that_are_gone_are_counted(stored: StoredEvaluation) -> None:
    pictures = Pictures({}, clear)
    page = _gallery(stored, pictures)
    assert pictures.missing > 0
    assert "are not in the data set given" in page
    assert "<img" not in page


# --- the command ------------------------------------------------------------------------------


@pytest.fixture
def done(tmp_path: Path) -> tuple[Path, Path]:
    """A data set in which the memory backend mistakes and misses people, and its evaluation."""
    data = people_folders(tmp_path / "people", 6)
    (data / sorted(p.name for p in data.iterdir() if p.is_dir())[0] / "nobody.jpg").write_bytes(
        encode_jpeg(picture(), 90)
    )
    out = tmp_path / "out"
    assert run(["evaluate", str(data), "-b", "memory", "--out", str(out)]) == 0
    return data, out


def test_pictures_stand_on_a_page_of_their_own_and_only_where_asked_for(
    done: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = done
    assert not (out / "failures.html").exists()
    before = (out / "report.html").read_bytes()
    assert b"<img" not in before
    assert run(["report", str(out), "--show-failures", str(data)]) == 0
    assert "made unrecognizable" in capsys.readouterr().err
    assert (out / "report.html").read_bytes() == before
    page = (out / "failures.html").read_text(encoding="utf-8")
    assert str(data) not in page
    assert not re.search(r"https?://|<script", page)
    assert stat.S_IMODE((out / "failures.html").stat().st_mode) == 0o600
    drawn = re.findall(r"data:image/png;base64,([^\"]+)", page)
    assert drawn
    for one in drawn:
        size = Image.from_bytes(base64.b64decode(one)).size
        assert min(size.width, size.height) <= 3 * FACE_PIXELS
    assert run(["audit", "verify", str(out)]) == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--unblurred"], "belongs to --show-failures"),
        (["--show-failures", "gone"], "gone does not exist"),
    ],
)
def test_mistakes_are_a_clear_line(
    arguments: list[str],
    complaint: str,
    done: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["report", str(done[1]), *arguments]) == 2
    assert complaint in capsys.readouterr().err


def test_another_data_set_is_refused(
    done: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = people_folders(tmp_path / "other", 4)
    for file in other.rglob("*.jpg"):
        file.write_bytes(encode_jpeg(Image.open(file), 40))
    assert run(["report", str(done[1]), "--show-failures", str(other), "--unblurred"]) == 2
    assert "holds none of the photographs" in capsys.readouterr().err
