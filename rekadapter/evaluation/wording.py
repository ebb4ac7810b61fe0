"""What a run says and cannot say, in sentences for somebody who has to decide, not to program.

Every sentence is made from counts of the run; none judges accuracy, because a run without labeled
people holds nothing to judge it by.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from rekadapter.evaluation.pairing import Outcome, Pairing
from rekadapter.evaluation.summary import (
    EYE_LINES_PX,
    BackendTotal,
    CameraFacts,
    CameraFitness,
    EyeDistances,
    FrameCounts,
    Summary,
    Traffic,
)
from rekadapter.gate import GATED
from rekadapter.observation import BackendRecord, RunRecord
from rekadapter.types import Reason, ScoreScale

EYES_APART_METERS: Final = 0.063
"""Between an adult's eyes, on average; turns pixels between the eyes into pixels a meter."""

REASONS: Final[Mapping[Reason, str]] = {
    Reason.EXCEEDS_MAX_FACES: "more faces than the system takes at once",
    Reason.EXTREME_POSE: "the face was turned too far away",
    Reason.LOW_BRIGHTNESS: "the face was too dark",
    Reason.LOW_SHARPNESS: "the face was too blurred",
    Reason.LOW_CONFIDENCE: "it was not certain that this is a face",
    Reason.SMALL_BOUNDING_BOX: "the face was too small",
    Reason.LOW_FACE_QUALITY: "the picture of the face was too poor",
    Reason.NO_FACE: "no face was found",
    Reason.FACE_TOO_SMALL: "the face had too few pixels to search",
    Reason.OTHER_FACE_SEARCHED: "the service searched another face of the picture",
    Reason.EMPTY_GALLERY: "nobody was enrolled",
    Reason.BELOW_THRESHOLD: "nobody enrolled was alike enough",
    Reason.TOO_FEW_SIGHTINGS: "somebody was alike enough, but in too few frames",
    Reason.CONFLICTING_CANDIDATES: "it was alike enough to different people",
    Reason.REQUEST_FAILED: "the request failed",
    Reason.NOT_ASKED: "no picture of it was sent",
}

STATES: Final[Mapping[str, str]] = {
    "finished": "finished",
    "interrupted": "interrupted before its end",
    "failed": "failed",
    "running": "did not end properly",
}

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class PlainWords:
    """Three lists of sentences: what was run, what it says, what it cannot say."""

    ran: tuple[str, ...]
    says: tuple[str, ...]
    cannot_say: tuple[str, ...]


def plain_words(record: RunRecord, summary: Summary, pairings: Sequence[Pairing]) -> PlainWords:
    """The first page of a report."""
    return PlainWords(
        ran=tuple(_ran(record, summary)),
        says=(
            *(_named(total) for total in summary.totals),
            *(line for total in summary.totals for line in _trouble(total)),
            *(_agreement(pairing) for pairing in pairings),
            *(_fitness(camera) for camera in summary.cameras),
            *(line for total in summary.totals for line in _cost(total)),
        ),
        cannot_say=tuple(_cannot_say(record, pairings)),
    )


def scale_words(scale: ScoreScale) -> str:
    """A scale by name, range and direction, to be printed beside every score."""
    end = "higher" if scale.higher_is_closer else "lower"
    if not (math.isfinite(scale.low) and math.isfinite(scale.high)):
        return f"{scale.name}, {end} is more alike"
    return f"{scale.name}, {scale.low:g} to {scale.high:g}, {end} is more alike"


def many(count: int, one: str, more: str | None = None) -> str:
    """``1 track``, ``2 tracks``."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def dollars(value: float) -> str:
    """US dollars: cents where they say something, more digits below a dollar."""
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.4f}"


def megabytes(count: int) -> str:
    """Bytes in decimal units, as networks and clouds count them."""
    if count < 1000:
        return f"{count} bytes"
    return f"{count / 1e6:,.2f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


# --- sentences --------------------------------------------------------------------------------


def _ran(record: RunRecord, summary: Summary) -> Iterator[str]:
    systems = ", ".join(backend.name for backend in record.backends)
    cameras = many(len(summary.cameras), "camera")
    yield (
        f"{cameras} ({', '.join(camera.camera for camera in summary.cameras) or 'none'}) and "
        f"{many(len(record.backends), 'face-recognition system')} ({systems}). Every face that a "
        f"system was asked about was compared with the people enrolled in the gallery "
        f"'{record.gallery}'."
    )
    if len(record.backends) > 1:
        yield "The systems watched the same frames, so that their answers can be held side by side."
    for total in summary.totals:
        yield from _picked(total)
    yield (
        "A system names a person only if a face is alike enough by that system's own threshold, in "
        "enough frames; otherwise it says unknown and why."
    )
    if record.state != "finished":
        cause = f": {record.error}" if record.error else ""
        state = STATES.get(record.state, record.state)
        yield f"The run {state}{cause}. What is shown is what it had done until then."


def _picked(total: BackendTotal) -> Iterator[str]:
    """Whoever was sent pictures picked on this machine saw less than one with whole frames."""
    frames = total.frames
    if frames.captured and frames.dropped and not GATED.isdisjoint(frames.dropped):
        yield (
            f"System {total.backend} was not sent whole frames: faces were found on this machine, "
            f"and pictures of them from {frames.processed:,} of {frames.captured:,} frames were "
            "sent. Whom nobody found here it could not find either."
        )


def _named(total: BackendTotal) -> str:
    people = total.people
    if not people.tracks:
        return f"System {total.backend} followed nobody."
    reasons = sorted(people.unknown_by_reason.items(), key=lambda entry: (-entry[1], entry[0]))
    why = "; ".join(f"{count:,} because {REASONS[reason]}" for reason, count in reasons)
    crossings = many(people.tracks, "time", "times")
    subjects = many(len(people.subjects), "person", "people")
    unknown = f" It said unknown in {people.unknown_tracks:,} ({why})." if why else ""
    return (
        f"System {total.backend} saw somebody cross a view {crossings} and named {subjects} in "
        f"{people.identified_tracks:,} of these tracks.{unknown}"
    )


def _trouble(total: BackendTotal) -> Iterator[str]:
    frames = total.frames
    if frames.failed:
        yield (
            f"System {total.backend} failed to answer {many(frames.failed, 'frame')} "
            f"({_share(frames.failed, frames.failed + frames.answered)} of those it was given)."
        )
    if frames.dropped:
        causes = ", ".join(f"{count:,} {cause}" for cause, count in frames.dropped.items())
        lost = sum(frames.dropped.values())
        missed = f"{lost:,} of {frames.captured:,} frames ({causes})"
        yield f"System {total.backend} did not get {missed}."
    if frames.late:
        yield _late(total)
    if frames.unaccounted:
        yield _unaccounted(total.backend, frames)
    if total.traffic.left_in_bucket:
        yield left_in_bucket(total)


def left_in_bucket(total: BackendTotal) -> str:
    """What to do about images that were not deleted."""
    pictures = many(total.traffic.left_in_bucket, "picture")
    return (
        f"System {total.backend} left at least {pictures} of people in the bucket that images went "
        "through, because deleting failed (the log names them): delete them there."
    )


def _late(total: BackendTotal) -> str:
    """A single picture that matches is no decision, but nobody may miss it either."""
    matches = total.people.late_matches.items()
    of = ", ".join(f"{subject} ({many(count, 'picture')})" for subject, count in matches)
    found = f"Pictures of them that, each on its own, met the threshold: {of}." if of else (
        "No picture of them met the threshold."
    )  # fmt: skip
    return (
        f"The uplink was gone for a time: {many(total.frames.late, 'frame')} waited on disk and "
        f"system {total.backend} answered for them late. {found}"
    )


def _unaccounted(backend: str, frames: FrameCounts) -> str:
    return (
        f"{abs(frames.unaccounted or 0):,} frames of {backend} are not accounted for: the counts "
        "of this run cannot be trusted."
    )


def _agreement(pairing: Pairing) -> str:
    a, b = pairing.backend_a, pairing.backend_b
    agree, differ = len(pairing.agreements), len(pairing.disagreements)
    if not agree + differ:
        return f"Systems {a} and {b} have no track to compare."
    counts = pairing.counts()
    clash = counts[Outcome.DIFFERENT_SUBJECTS]
    named = "They never named different people."
    if clash:
        named = f"In {clash:,} they named different people."
    beyond = counts[Outcome.NOT_COMPARABLE]
    rest = f" {beyond:,} more cannot be compared." if beyond else ""
    tracks = many(agree + differ, "track")
    return (
        f"Systems {a} and {b} gave the same answer for {agree:,} of {tracks} that can be compared. "
        f"{named}{rest}"
    )


def _fitness(camera: CameraFacts) -> str:
    if camera.error:
        return f"Camera {camera.camera} could not be read to its end: {camera.error}"
    if not camera.eye_distances:
        return f"Camera {camera.camera}: no eyes were measured, so its fitness is not known."
    worst = min(camera.eye_distances, key=lambda eyes: eyes.median_px)
    density = worst.median_px / EYES_APART_METERS
    return (
        f"Camera {camera.camera}: half of the faces have at most {worst.median_px:.0f} pixels "
        f"between the eyes (about {density:.0f} pixels a meter). By the proposed lines: "
        f"{worst.fitness}.{_advice(worst)}"
    )


def _advice(eyes: EyeDistances) -> str:
    if eyes.fitness in {CameraFitness.GOOD, CameraFitness.USABLE_VERIFY}:
        return ""
    times = EYE_LINES_PX[1] / eyes.median_px
    larger = "a little larger" if times < 1.05 else f"{times:.1f} times as large"
    return (
        f" To reach {EYE_LINES_PX[1]:.0f} pixels, faces have to be {larger}: a nearer camera, a "
        "longer lens or a narrower view. Enlarging the picture does not help."
    )


def _cost(total: BackendTotal) -> Iterator[str]:
    traffic, setup = total.traffic, total.housekeeping
    if not traffic.requests and not setup.requests:
        return
    before = ""
    if setup.requests:
        before = f" {many(setup.requests, 'more request')} prepared the gallery or the run."
    requests = many(traffic.requests, "request")
    sent = f"{megabytes(traffic.bytes_sent)} in {requests} for the cameras"
    yield f"System {total.backend} sent {sent}, which {price_words(traffic)}.{before}"


def price_words(traffic: Traffic) -> str:
    """What the requests cost by the price list, and how many have no known price."""
    if traffic.price_usd is None:
        return "have no known price"
    if traffic.unpriced_requests:
        without = many(traffic.unpriced_requests, "request")
        return f"cost at least {dollars(traffic.price_usd)} by the price list ({without} unpriced)"
    return f"cost {dollars(traffic.price_usd)} by the price list"


def _cannot_say(record: RunRecord, pairings: Sequence[Pairing]) -> Iterator[str]:
    yield (
        "How accurate any system is. Nobody labeled who was really there, so no miss and no false "
        "match can be counted. That takes consenting people, labels, and enough of both."
    )
    if pairings:
        yield (
            "Who is right where the systems differ, or whether they are right where they agree: "
            "two systems can be wrong together."
        )
        yield (
            "Which system's scores are better. Each has a scale of its own, and numbers on two "
            "scales mean nothing to each other."
        )
    yield (
        "Whether people of all ages, sexes and skin tones fare alike. That needs labeled groups "
        "of sufficient size."
    )
    for backend in record.backends:
        if _answers_from_this_machine(backend):
            yield (
                f"What AWS would have answered: '{backend.name}' was answered by this machine "
                "(its endpoint is a loopback address), and not by AWS."
            )


def _answers_from_this_machine(backend: BackendRecord) -> bool:
    endpoint = backend.details.get("endpoint", "")
    try:
        return backend.remote and urlsplit(endpoint).hostname in _LOOPBACK
    except ValueError:
        return False


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "none"
