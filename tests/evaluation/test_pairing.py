"""Two backends held against each other: by track, with what each could have seen."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rekadapter.evaluation.pairing import (
    MIN_IOU,
    Outcome,
    Pairing,
    match_boxes,
    pair_backends,
)
from rekadapter.observation import Decision, Observation
from rekadapter.testing.runs import RunBuilder, Transit
from rekadapter.types import BoundingBox, CameraId, Reason

ANN = Transit("lobby", 10, 29, subject="ann")


def paired(run: RunBuilder) -> Pairing:
    return pair_backends(run.build(), "local", "rekognition")


def both(one: Transit, other: Transit) -> Pairing:
    run = RunBuilder()
    run.transit("local", one)
    run.transit("rekognition", other)
    return paired(run)


def outcomes(pairing: Pairing) -> list[Outcome]:
    return [pair.outcome for pair in pairing.pairs]


def face(left: float, top: float, side: float) -> Observation:
    return Observation(
        backend="local",
        camera=CameraId("lobby"),
        frame=0,
        seconds=0.0,
        decision=Decision(None, Reason.BELOW_THRESHOLD, None),
        latency_seconds=0.0,
        box=BoundingBox(left, top, side, side),
    )


def test_the_same_subject_on_overlapping_boxes_agrees() -> None:
    pairing = both(ANN, replace(ANN, left=0.41, score=99.0))
    assert outcomes(pairing) == [Outcome.SAME_SUBJECT]
    (pair,) = pairing.agreements
    assert (pair.frames_a, pair.frames_b, pair.frames_shared) == (20, 20, 20)
    assert pairing.disagreements == ()


def test_two_unknowns_agree_whatever_their_reasons() -> None:
    small = Transit("lobby", 10, 29, reason=Reason.FACE_TOO_SMALL)
    assert outcomes(both(Transit("lobby", 10, 29), small)) == [Outcome.BOTH_UNKNOWN]


def test_different_subjects_disagree() -> None:
    pairing = both(ANN, replace(ANN, subject="bob"))
    assert outcomes(pairing) == [Outcome.DIFFERENT_SUBJECTS]
    assert len(pairing.disagreements) == 1


def test_one_names_and_the_other_does_not() -> None:
    unknown = replace(ANN, subject=None)
    assert outcomes(both(ANN, unknown)) == [Outcome.ONLY_A_IDENTIFIED]
    assert outcomes(both(unknown, ANN)) == [Outcome.ONLY_B_IDENTIFIED]


def test_boxes_apart_are_two_transits_that_one_backend_missed_each() -> None:
    pairing = both(ANN, replace(ANN, left=0.8))
    assert outcomes(pairing) == [Outcome.ONLY_A_SAW, Outcome.ONLY_B_SAW]
    assert (pairing.faces_both, pairing.faces_only_a, pairing.faces_only_b) == (0, 20, 20)


def test_the_same_place_on_another_camera_is_another_transit() -> None:
    pairing = both(ANN, replace(ANN, camera="gate"))
    assert outcomes(pairing) == [Outcome.ONLY_A_SAW, Outcome.ONLY_B_SAW]


def test_frames_the_other_never_got_are_no_disagreement() -> None:
    run = RunBuilder()
    run.transit("local", ANN)
    run.drop("rekognition", "lobby", range(5, 60), "uplink full")
    pairing = paired(run)
    assert outcomes(pairing) == [Outcome.NOT_COMPARABLE]
    assert pairing.disagreements == ()
    assert (pairing.frames_both, pairing.frames_only_a) == (95, 55)


def test_frames_whose_request_failed_count_as_not_answered() -> None:
    run = RunBuilder()
    run.transit("local", ANN)
    run.fail("rekognition", "lobby", range(10, 29))
    (pair,) = paired(run).pairs
    assert pair.outcome is Outcome.ONLY_A_SAW
    assert pair.frames_answered == 1


def test_a_transit_that_one_backend_broke_in_two_is_shown_against_the_whole() -> None:
    run = RunBuilder()
    whole = run.transit("local", ANN)
    first = run.transit("rekognition", replace(ANN, last_frame=15))
    second = run.transit("rekognition", replace(ANN, first_frame=18, subject=None))
    pairs = paired(run).pairs
    assert [(pair.a, pair.b) for pair in pairs] == [(whole, first), (whole, second)]
    assert [pair.outcome for pair in pairs] == [Outcome.SAME_SUBJECT, Outcome.ONLY_A_IDENTIFIED]


def test_two_people_side_by_side_are_not_mixed_up() -> None:
    run = RunBuilder()
    for backend in ("local", "rekognition"):
        run.transit(backend, Transit("lobby", 0, 9, subject="ann", left=0.2))
        run.transit(backend, Transit("lobby", 0, 9, subject="bob", left=0.25))
    assert outcomes(paired(run)) == [Outcome.SAME_SUBJECT] * 2


def test_counts_name_every_outcome() -> None:
    assert set(both(ANN, ANN).counts()) == set(Outcome)


def test_swapping_the_backends_swaps_the_sides() -> None:
    run = RunBuilder()
    run.transit("local", ANN)
    run.transit("rekognition", replace(ANN, subject=None))
    run.transit("rekognition", Transit("gate", 3, 9, subject="bob"))
    there = paired(run)
    back = pair_backends(run.build(), "rekognition", "local")
    assert {(p.a, p.b) for p in there.pairs} == {(p.b, p.a) for p in back.pairs}
    assert there.faces_only_b == back.faces_only_a


def test_a_run_without_a_face_has_nothing_to_compare() -> None:
    pairing = paired(RunBuilder())
    assert pairing.pairs == ()
    assert pairing.frames_both == 150


_faces = st.lists(
    st.builds(face, st.floats(0, 0.8), st.floats(0, 0.8), st.floats(0.05, 0.3)), max_size=6
)


@given(_faces, _faces)
def test_each_face_is_matched_at_most_once_and_only_where_boxes_overlap(
    a: list[Observation], b: list[Observation]
) -> None:
    matches = match_boxes(a, b)
    assert len({i for i, _ in matches}) == len({j for _, j in matches}) == len(matches)
    for i, j in matches:
        one, other = a[i].box, b[j].box
        assert one is not None
        assert other is not None
        assert one.iou(other) >= MIN_IOU


@given(_faces)
def test_a_frame_matches_itself_where_its_faces_lie_apart(a: list[Observation]) -> None:
    matches = match_boxes(a, a)
    assert {i for i, j in matches if a[i].box == a[j].box} == set(range(len(a)))
