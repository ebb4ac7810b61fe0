"""Commands on single images: detect, verify, identify."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from rekadapter.cli.options import (
    AcceptLargerGallery,
    AsJson,
    BackendName,
    GalleryName,
    ImagePath,
    Limit,
    Thresholds,
    ThresholdsFrom,
    ThresholdTarget,
    number,
)
from rekadapter.cli.output import (
    candidate_text,
    print_json,
    print_table,
    score_text,
    threshold_words,
)
from rekadapter.cli.session import OpenBackend, Session
from rekadapter.cli.thresholds import ThresholdRequest
from rekadapter.imaging import Image
from rekadapter.observation import ThresholdOrigin
from rekadapter.recognizer import FaceSelection, Recognizer
from rekadapter.types import (
    ComparisonScore,
    DetectedFace,
    FaceComparison,
    FaceIdentification,
    FailureToAcquire,
    GalleryId,
    Identification,
    Reason,
    VendorAnswer,
    Verification,
)

NO_MATCH = 1


@dataclass(frozen=True, slots=True)
class ImageIdentification:
    """One image of an ``identify`` call, by every candidate there is, and what was decided."""

    image: str
    backend: str
    threshold: ComparisonScore
    threshold_origin: ThresholdOrigin
    answer: Identification


@dataclass(frozen=True, slots=True)
class ImageVerification:
    """What ``verify`` prints for programs: the backend's answer, and the threshold it went by."""

    source: DetectedFace | None
    comparisons: tuple[FaceComparison, ...]
    failure: FailureToAcquire | None
    original: tuple[VendorAnswer, ...]
    threshold: ComparisonScore
    threshold_origin: ThresholdOrigin

    @classmethod
    def of(cls, answer: Verification, opened: OpenBackend) -> ImageVerification:
        """An answer with the threshold of the backend that gave it."""
        return cls(
            answer.source,
            answer.comparisons,
            answer.failure,
            answer.original,
            opened.threshold,
            opened.threshold_origin,
        )


def detect(
    context: typer.Context, image: ImagePath, backend: BackendName = None, as_json: AsJson = False
) -> None:
    """Find the faces of an image."""
    session: Session = context.obj
    with session.backend(backend) as opened:
        found = opened.recognizer.detect(Image.open(image))
    if as_json:
        print_json(found)
        return
    title = f"{len(found.faces)} faces in {image} ({opened.name})"
    columns = ("#", "left", "top", "width", "height", "confidence", "eyes px", "pose", "quality")
    print_table(title, columns, [_face_row(n, face) for n, face in enumerate(found.faces, 1)])


def verify(
    context: typer.Context,
    a: Annotated[Path, typer.Argument(help="One image; its largest face counts.")],
    b: Annotated[Path, typer.Argument(help="The other image; each face is compared.")],
    backend: BackendName = None,
    threshold: Thresholds = None,
    threshold_from: ThresholdsFrom = None,
    target_fmr: Annotated[
        float | None,
        number(
            "--target-fmr", low=1e-9, high=0.5, about="Another row of that report than its first."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell whether two images show the same person (exit code 1: not, or no face)."""
    session: Session = context.obj
    thresholds = ThresholdRequest.of("pairs", threshold, threshold_from, target_fmr)
    with session.backend(backend, thresholds=thresholds) as opened:
        answer = opened.recognizer.verify(Image.open(a), Image.open(b), threshold=opened.threshold)
    if as_json:
        print_json(ImageVerification.of(answer, opened))
    elif answer.failure:
        typer.echo(f"unknown: {answer.failure.detail or answer.failure.reason}")
    else:
        title = f"{a} against the faces of {b} ({opened.name})"
        rows = [
            (
                "match" if found.matched else "no match",
                score_text(found.score),
                score_text(found.raw_score),
            )
            for found in answer.comparisons
        ]
        print_table(title, ("answer", "score", "model's own score"), rows)
        _show_threshold(opened.threshold, opened.threshold_origin)
    if not answer.matched:
        raise typer.Exit(NO_MATCH)


def identify(
    context: typer.Context,
    images: Annotated[list[Path], typer.Argument(help="Image files.", show_default=False)],
    gallery: GalleryName = None,
    backend: BackendName = None,
    threshold: Thresholds = None,
    threshold_from: ThresholdsFrom = None,
    target_fpir: ThresholdTarget = None,
    accept_larger_gallery: AcceptLargerGallery = False,
    largest: Annotated[bool, typer.Option("--largest", help="Only the largest face.")] = False,
    limit: Limit = 5,
    as_json: AsJson = False,
) -> None:
    """Find every face of the images in a gallery; unknown comes with its reason and runner-up."""
    session: Session = context.obj
    chosen = session.gallery(gallery)
    faces = FaceSelection.LARGEST if largest else FaceSelection.ALL
    thresholds = ThresholdRequest.of(
        "photographs", threshold, threshold_from, target_fpir, accept_larger_gallery
    )
    with session.backend(backend, thresholds=replace(thresholds, gallery=chosen)) as opened:
        answers = [
            ImageIdentification(
                str(path),
                opened.name,
                opened.threshold,
                opened.threshold_origin,
                _search(opened.recognizer, chosen, Image.open(path), faces, limit),
            )
            for path in images
        ]
    if as_json:
        print_json(answers)
        return
    for answer in answers:
        _show(answer)
    _show_threshold(opened.threshold, opened.threshold_origin)


def _search(
    recognizer: Recognizer, gallery: GalleryId, image: Image, faces: FaceSelection, limit: int
) -> Identification:
    """Asks without a threshold, so that an unknown's runner-up is known too."""
    return recognizer.identify(
        gallery, image, threshold=recognizer.capabilities.match_all, limit=limit, faces=faces
    )


def _show(answer: ImageIdentification) -> None:
    rows: list[tuple[object, ...]] = [
        (number, *_decision(face, answer.threshold))
        for number, face in enumerate(answer.answer.faces, 1)
    ]
    if answer.answer.failure:
        rows = [("-", "unknown", answer.answer.failure.reason, "")]
    title = f"{answer.image} ({answer.backend}, threshold {score_text(answer.threshold)})"
    print_table(title, ("face", "who", "why", "best candidate"), rows)


def _show_threshold(threshold: ComparisonScore, origin: ThresholdOrigin) -> None:
    typer.echo(f"{threshold_words(threshold.value, origin)} (scale: {threshold.scale.name})")


def _decision(face: FaceIdentification, threshold: ComparisonScore) -> tuple[str, str, str]:
    best = face.candidates[0] if face.candidates else None
    if face.not_searched:
        return ("unknown", face.not_searched.reason, "")
    if best is None:
        return ("unknown", Reason.BELOW_THRESHOLD, "none")
    if best.subject is not None and best.score.meets(threshold):
        return (best.subject, "meets the threshold", candidate_text(best))
    return ("unknown", Reason.BELOW_THRESHOLD, candidate_text(best))


def _face_row(number: int, face: DetectedFace) -> tuple[object, ...]:
    box, pose, quality = face.box, face.pose, face.quality
    return (
        number,
        *(f"{value:.3f}" for value in (box.left, box.top, box.width, box.height)),
        f"{face.confidence:.1f} %",
        f"{face.eye_distance_px:.0f}" if face.eye_distance_px is not None else "-",
        f"roll {pose.roll:.0f} yaw {pose.yaw:.0f} pitch {pose.pitch:.0f}" if pose else "-",
        f"sharp {quality.sharpness:.0f} bright {quality.brightness:.0f}" if quality else "-",
    )
