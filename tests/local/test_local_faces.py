"""Labelled photographs: who is enrolled is found, who is not stays unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from rekadapter.backends.local.recognizer import LocalRecognizer
from rekadapter.imaging import Image
from rekadapter.recognizer import FaceSelection
from rekadapter.types import FaceIdentification, GalleryId, SubjectId

GALLERY = GalleryId("labelled")


@dataclass(frozen=True)
class _Photo:
    subject: SubjectId
    path: Path


@pytest.fixture(scope="module")
def photos(shared_data: Path) -> list[_Photo]:
    files = sorted((shared_data / "faces").glob("person_*/*.jpg"))
    return [_Photo(SubjectId(file.parent.name), file) for file in files]


@pytest.fixture
def references(photos: list[_Photo]) -> list[_Photo]:
    first: dict[SubjectId, _Photo] = {}
    for photo in photos:
        first.setdefault(photo.subject, photo)
    return list(first.values())


@pytest.fixture
def enroll(local: LocalRecognizer) -> Callable[[Iterable[_Photo]], None]:
    def enrolled(chosen: Iterable[_Photo]) -> None:
        local.create_gallery(GALLERY)
        for photo in chosen:
            done = local.enroll(GALLERY, Image.open(photo.path), subject=photo.subject, max_faces=1)
            assert len(done.records) == 1

    return enrolled


def _largest(local: LocalRecognizer, photo: _Photo) -> FaceIdentification:
    answer = local.identify(
        GALLERY,
        Image.open(photo.path),
        threshold=local.capabilities.default_threshold,
        faces=FaceSelection.LARGEST,
    )
    return answer.faces[0]


@pytest.mark.slow
def test_one_reference_each_identifies_every_other_photo_and_nobody_else(
    local: LocalRecognizer,
    enroll: Callable[[Iterable[_Photo]], None],
    photos: list[_Photo],
    references: list[_Photo],
) -> None:
    enroll(references)
    probes = [photo for photo in photos if photo not in references]
    assert len(probes) == 57
    for probe in probes:
        found = [candidate.subject for candidate in _largest(local, probe).candidates]
        assert found == [probe.subject], probe.path.name


@pytest.mark.slow
def test_who_is_not_enrolled_comes_out_unknown(
    local: LocalRecognizer,
    enroll: Callable[[Iterable[_Photo]], None],
    photos: list[_Photo],
    references: list[_Photo],
) -> None:
    enroll(references[::2])
    strangers = {photo.subject for photo in references[1::2]}
    probes = [photo for photo in photos if photo.subject in strangers]
    assert len(probes) > 20
    for probe in probes:
        face = _largest(local, probe)
        assert face.candidates == (), probe.path.name
        assert face.not_searched is None


def test_scores_carry_similarity_and_the_models_own_distance(
    local: LocalRecognizer,
    enroll: Callable[[Iterable[_Photo]], None],
    photos: list[_Photo],
) -> None:
    enroll(photos[:1])
    best = _largest(local, photos[1]).candidates[0]
    assert best.score.scale == local.capabilities.score_scale
    assert best.raw_score is not None
    assert 0.2 < best.raw_score.value < 0.6
    assert best.score.value > 80


def test_the_same_photo_has_the_same_face_id_in_every_gallery(
    local: LocalRecognizer, photos: list[_Photo]
) -> None:
    ids = []
    for name in ("north", "south"):
        gallery = GalleryId(name)
        local.create_gallery(gallery)
        image = Image.open(photos[0].path)
        done = local.enroll(gallery, image, subject=photos[0].subject)
        ids.append([record.enrolled.face_id for record in done.records])
    assert ids[0] == ids[1]
