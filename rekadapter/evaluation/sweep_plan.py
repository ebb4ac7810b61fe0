"""The resolution sweep: which photographs are searched again, and how they are made smaller.

The same photographs at every size: those with as many pixels between the eyes as the largest size
tried, so that a step of the curve is a step of the pixels and not of the people. Sizes that fewer
than half of the photographs have are left out. Nothing is ever scaled up.

A photograph is cut to head and shoulders around its largest face, scaled down, and written as JPEG,
as the gate of ``rekadapter.gate`` does with a camera's frames.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from rekadapter.errors import ImageError, UsageError
from rekadapter.evaluation.dataset import CheckedDataset, CheckedSample, Sample
from rekadapter.evaluation.record import (
    EvaluationRecord,
    MeasuredEyes,
    Photograph,
    SweepPlan,
)
from rekadapter.evaluation.rules import SweepStream
from rekadapter.evaluation.runner import Inputs
from rekadapter.evaluation.stream_coding import refuse_unknown_codecs, streamed
from rekadapter.gate import FaceFinder
from rekadapter.gate.shots import eye_px, region_around
from rekadapter.imaging import Image, crop, encode_jpeg, scaled_down
from rekadapter.types import DetectedFace

_RECIPE = "sweep 1"
"""Part of every answer's key: another way to make a picture smaller gets another name."""
_STREAM_RECIPE = "stream 1"
"""Besides, for pictures that a stream coded."""
_GRAY = 127
_SAME_EYES = 0.98
"""Of the pixels measured once, what another machine's detector has to find again."""
_CUT_SIDES = 8
"""Head and shoulders are about so many times as high as the eyes are apart."""
_LEAST_SHARE = 0.5
"""Of the photographs, how many have to have as many pixels as the largest size tried."""


class Faces:
    """The faces of photographs as one finder finds them, each photograph looked at once."""

    def __init__(self, finder: FaceFinder) -> None:
        self._finder = finder
        self._found: dict[str, tuple[DetectedFace, ...]] = {}
        self._lock = threading.Lock()

    def of(self, sha256: str, image: Image) -> tuple[DetectedFace, ...]:
        """Every face of a photograph, largest first."""
        with self._lock:
            known = self._found.get(sha256)
        if known is None:
            known = self._finder.find(image)
            with self._lock:
                self._found[sha256] = known
        return known


@dataclass(frozen=True, slots=True)
class SweepStep:
    """One step of a sweep: pixels between the eyes, and the stream that coded the pictures (None:
    JPEG alone)."""

    eye_px: float
    stream: SweepStream | None = None


@dataclass(frozen=True, slots=True)
class SmallerSample(Sample):
    """A photograph with so many pixels between the eyes of its largest face."""

    step: SweepStep = field(kw_only=True)
    plan: SweepPlan = field(kw_only=True)
    sha256: str = field(kw_only=True)
    faces: Faces = field(kw_only=True)

    def image(self) -> Image:
        """The photograph, made smaller.

        Raises:
            ImageError: it cannot be read, or has no such face any more.
        """
        whole = Sample.image(self)
        return smaller(whole, self.faces.of(self.sha256, whole), self.step, self.plan)


def smaller(
    image: Image, faces: tuple[DetectedFace, ...], step: SweepStep, plan: SweepPlan
) -> Image:
    """Head and shoulders of the first face with the step's pixels between its eyes, coded as its
    stream where it has one, as JPEG.

    Raises:
        ImageError: there is no face, it has fewer pixels, or it does not fit into the stream.
    """
    target_px = step.eye_px
    native = eye_px(faces[0], image.size) if faces else 0.0
    if native < _SAME_EYES * target_px:
        raise ImageError("the photograph changed since its eyes were measured: evaluate anew")
    factor = min(1.0, target_px / native)
    region = region_around(faces[0], faces)
    cut = crop(image, region, min_side_px=math.ceil(plan.min_side_px / factor)).image
    scaled = scaled_down(cut, factor)
    if step.stream is not None:
        scaled = streamed(image, scaled, target_px, step.stream).image
    return Image.from_bytes(encode_jpeg(_on_canvas(scaled, plan.min_side_px), plan.quality))


def _on_canvas(image: Image, side: int) -> Image:
    wide, high = max(0, side - image.size.width), max(0, side - image.size.height)
    if not wide and not high:
        return image
    pixels = cv2.copyMakeBorder(
        image.pixels,
        high // 2,
        high - high // 2,
        wide // 2,
        wide - wide // 2,
        cv2.BORDER_CONSTANT,
        value=(_GRAY, _GRAY, _GRAY),
    )
    return Image.from_pixels(np.asarray(pixels, dtype=np.uint8))


# --- the plan ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """Faces of photographs, the least side that every system takes, and what the finder is."""

    faces: Faces
    finder: str
    min_side_px: int
    before: SweepPlan | None = None
    """measured in an earlier sitting: nothing is looked at twice"""


def with_sweep(
    record: EvaluationRecord,
    checked: CheckedDataset,
    request: SweepRequest,
    looked: Callable[[int, int], None] = lambda _done, _of: None,
) -> EvaluationRecord:
    """The record with a sweep over its searched photographs.

    Raises:
        UsageError: nobody is searched, or no face has as many pixels as any size.
    """
    rules = record.rules.sweep
    refuse_unknown_codecs(rules.streams)
    known = _measured_before(request)
    wanted = [
        (photograph, sample)
        for photograph, sample in zip(record.probes, checked.probes, strict=True)
        if photograph.person in _tested(record)
    ]
    measured = []
    for number, (photograph, sample) in enumerate(wanted):
        found = known.get(photograph.sha256) or _measured(photograph, sample, request.faces)
        measured.append(found)
        looked(number + 1, len(wanted))
    plan = SweepPlan(
        eye_px=tuple(sorted(set(rules.eye_px), reverse=True)),
        quality=rules.quality,
        min_side_px=request.min_side_px,
        finder=request.finder,
        measured=tuple(measured),
        streams=rules.streams,
    )
    if not levels(plan):
        raise UsageError(
            "the sweep has nothing to search: fewer than half of the photographs have a face of "
            f"{min(plan.eye_px):g} pixels between the eyes"
        )
    return record.model_copy(update={"sweep": plan})


def _tested(record: EvaluationRecord) -> set[str]:
    """People whose searches test a threshold: a sweep chooses none."""
    return {person.id for person in record.people if person.side == "test"}


def _measured_before(request: SweepRequest) -> dict[str, MeasuredEyes]:
    before = request.before
    same = before is not None and before.finder == request.finder
    return {one.sha256: one for one in before.measured} if before and same else {}


def _measured(photograph: Photograph, sample: CheckedSample, faces: Faces) -> MeasuredEyes:
    try:
        image = sample.sample.image()
        found = faces.of(photograph.sha256, image)
    except ImageError:
        found = ()
    native = round(eye_px(found[0], image.size), 4) if found else None
    return MeasuredEyes(sha256=photograph.sha256, eye_px=native)


def levels(plan: SweepPlan) -> tuple[float, ...]:
    """The sizes of a sweep, largest first: those that at least half of the photographs have."""
    native = [one.eye_px for one in plan.measured if one.eye_px is not None]
    needed = _LEAST_SHARE * len(plan.measured)
    return tuple(
        level for level in plan.eye_px if native and sum(px >= level for px in native) >= needed
    )


def steps(plan: SweepPlan) -> tuple[SweepStep, ...]:
    """Every step of a sweep: all sizes as JPEG alone, largest first, then as each stream those of
    which head and shoulders fit into its picture."""
    return tuple(
        SweepStep(level, stream)
        for stream in (None, *plan.streams)
        for level in levels(plan)
        if stream is None or _CUT_SIDES * level <= min(stream.width, stream.height)
    )


def cohort(record: EvaluationRecord) -> tuple[Photograph, ...]:
    """The photographs of a sweep: those that have as many pixels as its largest size."""
    plan = record.sweep
    largest = max(levels(plan), default=math.inf) if plan else math.inf
    enough = {
        one.sha256
        for one in (plan.measured if plan else ())
        if one.eye_px is not None and one.eye_px >= largest
    }
    return tuple(photograph for photograph in record.probes if photograph.sha256 in enough)


def at_step(record: EvaluationRecord, step: SweepStep | None) -> EvaluationRecord:
    """The record with the photographs of its sweep alone, at one step; None: as they are."""
    photographs = cohort(record)
    if step is not None:
        photographs = tuple(_smaller_photograph(record, one, step) for one in photographs)
    return record.model_copy(update={"probes": photographs})


def _smaller_photograph(
    record: EvaluationRecord, photograph: Photograph, step: SweepStep
) -> Photograph:
    plan = record.sweep
    assert plan is not None  # noqa: S101  a cohort comes of a plan
    level = f"{step.eye_px:g}"
    recipe = [_RECIPE, photograph.sha256, level, plan.quality, plan.min_side_px, plan.finder]
    if step.stream is not None:
        recipe += [_STREAM_RECIPE, step.stream.words]
    digest = hashlib.sha256("\x00".join(map(str, recipe)).encode()).hexdigest()
    return photograph.model_copy(update={"sha256": digest})


def sweep_inputs(record: EvaluationRecord, checked: CheckedDataset, faces: Faces) -> Inputs:
    """What is searched in all: the photographs as they are, and the smaller ones of the sweep."""
    inputs = Inputs.of(record, checked)
    smaller_ones = tuple(_smaller_ones(record, checked, faces))
    if not smaller_ones:
        return inputs
    probes = (*record.probes, *(photograph for photograph, _ in smaller_ones))
    return Inputs(
        record.model_copy(update={"probes": probes}),
        inputs.gallery,
        (*inputs.probes, *(sample for _, sample in smaller_ones)),
    )


def _smaller_ones(
    record: EvaluationRecord, checked: CheckedDataset, faces: Faces
) -> Iterator[tuple[Photograph, CheckedSample]]:
    plan = record.sweep
    if plan is None:
        return
    samples = {one.sha256: one.sample for one in checked.probes}
    originals = cohort(record)
    for step in steps(plan):
        for photograph in originals:
            own = samples[photograph.sha256]
            sample = SmallerSample(
                own.person, own.path, own.box,
                step=step, plan=plan, sha256=photograph.sha256, faces=faces,
            )  # fmt: skip
            made = _smaller_photograph(record, photograph, step)
            yield made, CheckedSample(sample, made.sha256)
