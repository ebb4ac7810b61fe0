"""Identification against bytes, measured: the same faces sent smaller and coarser, until nobody
knows them any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from uuid import uuid4

from rekadapter.errors import UsageError
from rekadapter.evaluation.statistics import wilson
from rekadapter.gate import FaceFinder, ShotRules
from rekadapter.gate.shots import eye_px, take_shot
from rekadapter.imaging import Image
from rekadapter.names import gallery_id
from rekadapter.observation import ThresholdOrigin
from rekadapter.recognizer import FaceSelection, Recognizer
from rekadapter.roster import RosterPhoto, read_roster
from rekadapter.types import (
    ComparisonScore,
    DetectedFace,
    FaceIdentification,
    GalleryId,
    Identification,
    SubjectId,
)

EYE_SIZES_PX: Final = (8.0, 10.0, 12.0, 14.0, 16.0, 20.0, 24.0, 32.0, 40.0, 60.0)
QUALITIES: Final = (20, 35, 50, 65, 80, 90)
_LEVEL: Final = 0.95
_KEPT_SHARE: Final = 0.98
"""Of the best identification rate measured, what a setting has to keep to be recommended."""
_WORTH_SHARE: Final = 0.5
"""Identification rate below which a size counts as not worth sending."""


@dataclass(frozen=True, slots=True)
class MeasureOptions:
    """What is measured: eye distances after scaling (never up), and libjpeg qualities."""

    eye_sizes_px: tuple[float, ...] = EYE_SIZES_PX
    qualities: tuple[int, ...] = QUALITIES
    max_probes: int | None = None


@dataclass(frozen=True, slots=True)
class MeasuredCell:
    """One size and quality. Of ``probes`` faces that had as many pixels, ``identified`` named the
    right subject at the threshold, ``misidentified`` another; the others were unknown.

    ``median_bytes`` is the JPEG without the transport's encoding; ``low`` and ``high`` bound the
    identification rate (Wilson, 95 %; the photographs of one subject count as independent, which
    makes the interval too narrow).
    """

    eye_px: float
    quality: int
    probes: int
    identified: int
    misidentified: int
    median_bytes: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        return self.identified / self.probes


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The least ``eye_px`` and ``quality`` that keep the best rate but for 2 %, at ``bytes``; and
    the least size worth sending at all, at which still half are identified."""

    eye_px: float
    quality: int
    median_bytes: int
    rate: float
    min_eye_px: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """What ``measure`` found, with what it was found on. ``left_out`` says which probes and why.
    ``threshold_origin``: where the threshold comes from, where somebody says it."""

    backend: str
    model: str
    threshold: float
    scale: str
    subjects: int
    probes: int
    left_out: tuple[str, ...]
    cells: tuple[MeasuredCell, ...]
    recommended: Recommendation | None
    threshold_origin: ThresholdOrigin | None = None


@dataclass(frozen=True, slots=True)
class _Probe:
    subject: SubjectId
    image: Image
    face: DetectedFace
    everyone: tuple[DetectedFace, ...]

    @property
    def native_px(self) -> float:
        return eye_px(self.face, self.image.size)


def calls_needed(dataset: Path, options: MeasureOptions) -> int:
    """The most searches a measurement takes: known, and priced, before any is made."""
    enrolled, probes = _split(read_roster(dataset), options.max_probes)
    cells = len(options.eye_sizes_px) * len(options.qualities)
    return len(enrolled) + len(probes) * cells


def measure(
    recognizer: Recognizer,
    threshold: ComparisonScore,
    finder: FaceFinder,
    dataset: Path,
    options: MeasureOptions,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Measurement:
    """Enrolls the first photograph of each subject into a gallery of its own, searches the others
    at every size and quality, and takes the gallery down again.

    Raises:
        UsageError: fewer than two subjects, or none with a second photograph.
        BackendError: the backend cannot answer; the gallery is taken down first.
    """
    enrolled, photos = _split(read_roster(dataset), options.max_probes)
    gallery = gallery_id(f"plan-measure-{uuid4().hex[:12]}")
    recognizer.create_gallery(gallery)
    try:
        for photo in enrolled:
            image = Image.open(photo.path)
            recognizer.enroll(gallery, image, subject=photo.subject, max_faces=1)
        probes, left_out = _probes(photos, finder)
        asked = _Asking(recognizer, gallery, threshold)
        cells = _cells(probes, asked, options, progress)
    finally:
        recognizer.delete_gallery(gallery)
    capabilities = recognizer.capabilities
    return Measurement(
        backend=capabilities.backend,
        model=capabilities.model,
        threshold=threshold.value,
        scale=threshold.scale.name,
        subjects=len(enrolled),
        probes=len(probes),
        left_out=left_out,
        cells=cells,
        recommended=recommended(cells),
    )


def recommended(cells: Sequence[MeasuredCell]) -> Recommendation | None:
    """What to set: see ``Recommendation``. None where nobody was identified at all."""
    best = max((cell.rate for cell in cells), default=0.0)
    if best == 0.0:
        return None
    # a larger size on fewer faces is no evidence against a smaller one on more
    good = [cell for cell in cells if cell.rate >= _KEPT_SHARE * best and not cell.misidentified]
    good = good or [cell for cell in cells if cell.rate == best]
    least = min(good, key=lambda cell: (cell.median_bytes, cell.eye_px, cell.quality))
    worth = [
        cell.eye_px
        for cell in cells
        if cell.rate >= _WORTH_SHARE and cell.quality >= least.quality and not cell.misidentified
    ]
    floor = min((*worth, least.eye_px))
    return Recommendation(least.eye_px, least.quality, least.median_bytes, least.rate, floor)


@dataclass(frozen=True, slots=True)
class _Asking:
    recognizer: Recognizer
    gallery: GalleryId
    threshold: ComparisonScore

    def answer(self, image: Image) -> Identification:
        return self.recognizer.identify(
            self.gallery, image, threshold=self.threshold, limit=1, faces=FaceSelection.LARGEST
        )


def _split(
    photos: Sequence[RosterPhoto], most: int | None
) -> tuple[list[RosterPhoto], list[RosterPhoto]]:
    by_subject: dict[SubjectId, list[RosterPhoto]] = {}
    for photo in photos:
        by_subject.setdefault(photo.subject, []).append(photo)
    if len(by_subject) < 2:
        raise UsageError("a measurement needs a folder per subject and at least two subjects")
    enrolled = [own[0] for own in by_subject.values()]
    # one of each subject in turn, so that a bound on the number keeps everybody in
    rest = [own[1:] for own in by_subject.values()]
    longest = max(len(own) for own in rest)
    probes = [own[place] for place in range(longest) for own in rest if place < len(own)]
    if not probes:
        raise UsageError("no subject has a second photograph to search with")
    return enrolled, probes[:most]


def _probes(
    photos: Sequence[RosterPhoto], finder: FaceFinder
) -> tuple[list[_Probe], tuple[str, ...]]:
    probes, left_out = [], []
    for photo in photos:
        image = Image.open(photo.path)
        faces = finder.find(image)
        if not faces:
            left_out.append(f"{photo.path.parent.name}/{photo.path.name}: no face found")
            continue
        probes.append(_Probe(photo.subject, image, faces[0], faces))
    return probes, tuple(left_out)


def _cells(
    probes: Sequence[_Probe],
    asking: _Asking,
    options: MeasureOptions,
    progress: Callable[[int, int], None],
) -> tuple[MeasuredCell, ...]:
    wanted = [(size, q) for size in options.eye_sizes_px for q in options.qualities]
    done = []
    for number, (size, quality) in enumerate(wanted):
        cell = _cell(probes, asking, size, quality)
        if cell is not None:
            done.append(cell)
        progress(number + 1, len(wanted))
    return tuple(done)


@dataclass(frozen=True, slots=True)
class _Outcome:
    size_bytes: int
    right: bool
    wrong: bool


def _cell(
    probes: Sequence[_Probe], asking: _Asking, size: float, quality: int
) -> MeasuredCell | None:
    outcomes = sorted(
        _outcomes(probes, asking, size, quality), key=lambda outcome: outcome.size_bytes
    )
    if not outcomes:
        return None
    identified = sum(outcome.right for outcome in outcomes)
    low, high = wilson(identified / len(outcomes), len(outcomes), _LEVEL)
    return MeasuredCell(
        eye_px=size,
        quality=quality,
        probes=len(outcomes),
        identified=identified,
        misidentified=sum(outcome.wrong for outcome in outcomes),
        median_bytes=outcomes[(len(outcomes) - 1) // 2].size_bytes,
        low=low,
        high=high,
    )


def _outcomes(
    probes: Sequence[_Probe], asking: _Asking, size: float, quality: int
) -> Iterator[_Outcome]:
    rules = ShotRules(min_eye_px=size, enough_eye_px=size, quality=quality, min_quality=quality)
    least = asking.recognizer.capabilities.min_image_side_px
    rules = replace(rules, min_side_px=least)
    for probe in probes:
        if probe.native_px < size:
            continue
        shot = take_shot(probe.image, probe.face, probe.everyone, rules)
        if shot is None or shot.image.encoded is None or shot.eye_px > 1.1 * size:
            continue  # a crop that cannot be made as small as the recognizer's least image
        found = _best(asking.answer(shot.image))
        named = found is not None and bool(found.candidates)
        right = found is not None and named and found.candidates[0].subject == probe.subject
        yield _Outcome(len(shot.image.encoded), right, named and not right)


def _best(answer: Identification) -> FaceIdentification | None:
    return answer.faces[0] if answer.faces else None
