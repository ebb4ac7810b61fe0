"""Who it is, by the evidence of all sightings: laws that hold for every set of them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.errors import ScaleMismatchError
from rekadapter.observation import Decision
from rekadapter.tracking import DecisionRules, decide
from rekadapter.types import (
    BoundingBox,
    Candidate,
    ComparisonScore,
    DetectedFace,
    EnrolledFace,
    FaceId,
    FaceIdentification,
    FailureToAcquire,
    ImageId,
    Reason,
    ScoreScale,
    SubjectId,
)

SIMILARITY = ScoreScale("similarity", 0.0, 100.0)
DISTANCE = ScoreScale("distance", 0.0, 2.0, higher_is_closer=False)
BOX = BoundingBox(0.1, 0.1, 0.1, 0.1)


def candidate(subject: str | None, score: float, scale: ScoreScale = SIMILARITY) -> Candidate:
    face = EnrolledFace(
        FaceId(f"face of {subject}"),
        ImageId("image"),
        None if subject is None else SubjectId(subject),
        BOX,
        99.0,
    )
    return Candidate(face, ComparisonScore(score, scale))


def sighting(*scores: tuple[str, float], eyes_px: float | None = None) -> FaceIdentification:
    ordered = sorted(scores, key=lambda entry: -entry[1])
    return FaceIdentification(
        DetectedFace(BOX, 99.0, eye_distance_px=eyes_px),
        tuple(candidate(name, score) for name, score in ordered),
    )


def not_searched(reason: Reason) -> FaceIdentification:
    return FaceIdentification(DetectedFace(BOX, 99.0), not_searched=FailureToAcquire(reason))


def rules(threshold: float = 80.0, min_sightings: int = 2) -> DecisionRules:
    return DecisionRules(ComparisonScore(threshold, SIMILARITY), min_sightings)


def outcome(decision: Decision) -> tuple[str | None, Reason | None, int, int]:
    return (decision.subject, decision.reason, decision.sightings, decision.supporting)


ANN, BOB = ("Ann", 95.0), ("Bob", 90.0)


@pytest.mark.parametrize(
    ("sightings", "expected"),
    [
        ([sighting(ANN), sighting(ANN)], ("Ann", None, 2, 2)),
        ([sighting(ANN)], (None, Reason.TOO_FEW_SIGHTINGS, 1, 1)),
        ([sighting(ANN), sighting(("Ann", 79.9))], (None, Reason.TOO_FEW_SIGHTINGS, 2, 1)),
        ([sighting(("Ann", 79.9))] * 9, (None, Reason.BELOW_THRESHOLD, 9, 0)),
        ([sighting(("Ann", 80.0))] * 2, ("Ann", None, 2, 2)),
        ([sighting(ANN), sighting(BOB)], (None, Reason.CONFLICTING_CANDIDATES, 2, 1)),
        ([sighting(ANN)] * 3 + [sighting(BOB)] * 2, (None, Reason.CONFLICTING_CANDIDATES, 5, 3)),
        ([sighting(ANN)] * 4 + [sighting(BOB)] * 2, ("Ann", None, 6, 4)),
        ([sighting(ANN, BOB)] * 3, ("Ann", None, 3, 3)),
        ([sighting(("Ann", 90.0), BOB)] * 3, (None, Reason.CONFLICTING_CANDIDATES, 3, 3)),
        ([not_searched(Reason.FACE_TOO_SMALL)] * 2, (None, Reason.FACE_TOO_SMALL, 0, 0)),
        ([not_searched(Reason.EMPTY_GALLERY)], (None, Reason.EMPTY_GALLERY, 0, 0)),
        ([not_searched(Reason.FACE_TOO_SMALL), sighting(ANN), sighting(ANN)], ("Ann", None, 2, 2)),
        ([sighting()], (None, Reason.BELOW_THRESHOLD, 1, 0)),
        ([], (None, Reason.NO_FACE, 0, 0)),
    ],
)
def test_decisions(
    sightings: list[FaceIdentification], expected: tuple[str | None, Reason | None, int, int]
) -> None:
    assert outcome(decide(sightings, rules())) == expected


def test_a_stranger_who_meets_the_threshold_now_and_then_stays_unknown() -> None:
    often = [sighting(("Ann", 60.0))] * 70 + [sighting(("Ann", 85.0))] * 30
    decision = decide(often, rules())
    assert decision.reason is Reason.TOO_FEW_SIGHTINGS
    assert (decision.sightings, decision.supporting) == (100, 30)


def test_a_near_face_weighs_more_than_a_far_one() -> None:
    far = [sighting(("Ann", 60.0), eyes_px=10.0)] * 10
    near = [sighting(("Ann", 90.0), eyes_px=50.0)] * 3
    assert decide([*far, *near], rules()).subject == "Ann"


def test_a_single_photograph_may_be_judged_on_its_own() -> None:
    assert decide([sighting(ANN)], rules(min_sightings=1)).subject == "Ann"


def test_the_runner_up_of_an_unknown_is_whom_it_resembled_most() -> None:
    decision = decide([sighting(("Ann", 50.0)), sighting(("Bob", 70.0), ("Ann", 60.0))], rules())
    assert decision.best is not None
    assert (decision.best.subject, decision.best.score) == ("Bob", 70.0)


def test_the_best_candidate_of_a_decision_is_the_deciding_subjects() -> None:
    decision = decide([sighting(ANN), sighting(("Ann", 85.0)), sighting(("Bob", 99.0))], rules())
    assert decision.subject == "Ann"
    assert decision.best is not None
    assert decision.best.score == 95.0


def test_a_face_enrolled_without_a_subject_goes_by_its_face_id() -> None:
    face = FaceIdentification(DetectedFace(BOX, 99.0), (candidate(None, 95.0),))
    assert decide([face, face], rules()).subject == "face of None"


def test_a_smaller_distance_is_closer() -> None:
    face = FaceIdentification(
        DetectedFace(BOX, 99.0),
        (candidate("Ann", 0.4, DISTANCE), candidate("Bob", 0.7, DISTANCE)),
    )
    decision = decide([face, face], DecisionRules(ComparisonScore(0.6, DISTANCE)))
    assert decision.subject == "Ann"
    far = decide([face, face], DecisionRules(ComparisonScore(0.3, DISTANCE)))
    assert far.best is not None
    assert (far.reason, far.best.score) == (Reason.BELOW_THRESHOLD, 0.4)


def test_scores_of_another_scale_are_refused() -> None:
    with pytest.raises(ScaleMismatchError):
        decide([sighting(ANN)], DecisionRules(ComparisonScore(0.6, DISTANCE)))


def test_an_empty_gallery_is_said_to_be_one() -> None:
    empty = DecisionRules(ComparisonScore(80.0, SIMILARITY), empty_gallery=True)
    assert decide([sighting()], empty).reason is Reason.EMPTY_GALLERY


scores = st.floats(0.0, 100.0).map(lambda value: round(value, 1))
searched = st.dictionaries(st.sampled_from(["Ann", "Bob", "Cy"]), scores, max_size=3).map(
    lambda found: sighting(*found.items())
)
failed = st.sampled_from([Reason.FACE_TOO_SMALL, Reason.LOW_SHARPNESS]).map(not_searched)
tracks = st.lists(searched | failed, max_size=8)


@given(tracks, st.randoms(use_true_random=False))
def test_the_order_of_sightings_does_not_matter(
    track: list[FaceIdentification], shuffler: random.Random
) -> None:
    shuffled = list(track)
    shuffler.shuffle(shuffled)
    assert decide(shuffled, rules()) == decide(track, rules())


@given(tracks, st.dictionaries(st.sampled_from(["Ann", "Bob", "Dee"]), st.floats(0, 79.9)))
def test_a_sighting_below_the_threshold_may_take_a_name_away_never_change_it(
    track: list[FaceIdentification], weak: dict[str, float]
) -> None:
    before = decide(track, rules())
    after = decide([*track, sighting(*weak.items())], rules())
    assert after.subject in {before.subject, None}
    if before.subject is not None:
        assert after.best == before.best


@given(tracks, failed)
def test_a_face_that_was_not_searched_is_no_evidence(
    track: list[FaceIdentification], extra: FaceIdentification
) -> None:
    before, after = decide(track, rules()), decide([*track, extra], rules())
    assert (before.subject, before.sightings) == (after.subject, after.sightings)


@given(tracks, st.floats(0.0, 99.0), st.floats(0.0, 1.0))
def test_a_stricter_threshold_never_adds_support(
    track: list[FaceIdentification], loose: float, step: float
) -> None:
    strict = decide(track, rules(loose + step))
    if strict.subject is not None:
        # Whoever is named under the stricter threshold had at least that support before: named
        # then too, or held back by a conflict that the stricter one removed.
        before = decide(track, rules(loose))
        assert before.subject == strict.subject or (
            before.reason is Reason.CONFLICTING_CANDIDATES or before.subject is not None
        )
        assert before.supporting >= strict.supporting


@given(tracks, st.floats(0.0, 99.0), st.floats(0.0, 1.0))
def test_with_one_subject_a_stricter_threshold_only_takes_names_away(
    track: list[FaceIdentification], loose: float, step: float
) -> None:
    alone = [
        FaceIdentification(
            face.face,
            tuple(c for c in face.candidates if c.subject == "Ann"),
            face.not_searched,
        )
        for face in track
    ]
    if decide(alone, rules(loose + step)).subject is not None:
        assert decide(alone, rules(loose)).subject == "Ann"


@given(tracks, st.integers(1, 4))
def test_a_name_always_rests_on_enough_sightings_that_met_the_threshold(
    track: list[FaceIdentification], enough: int
) -> None:
    decision = decide(track, rules(min_sightings=enough))
    if decision.subject is None:
        return
    votes = [
        face.candidates[0].subject
        for face in track
        if face.candidates and face.candidates[0].score.value >= 80.0
    ]
    assert decision.supporting >= enough
    assert votes.count(decision.subject) <= decision.supporting
    for other in {"Ann", "Bob", "Cy"} - {decision.subject}:
        assert votes.count(SubjectId(other)) * 2 <= decision.supporting


@given(tracks)
def test_an_unknown_always_has_a_reason_and_a_name_a_candidate(
    track: list[FaceIdentification],
) -> None:
    decision = decide(track, rules())
    assert (decision.subject is None) != (decision.reason is None)
    assert decision.supporting <= decision.sightings <= len(track)
    if decision.subject is not None:
        assert decision.best is not None
        assert decision.best.subject == decision.subject
