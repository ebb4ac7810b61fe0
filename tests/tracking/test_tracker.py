"""Faces to tracks: who goes on, who is new, who is gone, and one name for one person at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.tracking import DecisionRules, EndedTrack, Tracker, TrackingRules
from rekadapter.types import (
    BoundingBox,
    Candidate,
    ComparisonScore,
    DetectedFace,
    EnrolledFace,
    FaceId,
    FaceIdentification,
    ImageId,
    Reason,
    ScoreScale,
    SubjectId,
)

SCALE = ScoreScale("similarity", 0.0, 100.0)
RULES = DecisionRules(ComparisonScore(80.0, SCALE))


def face(
    x: float,
    y: float = 0.5,
    *,
    side: float = 0.1,
    who: str | None = None,
    score: float = 95.0,
    eyes: float | None = None,
) -> FaceIdentification:
    box = BoundingBox(x - side / 2, y - side / 2, side, side)
    found: tuple[Candidate, ...] = ()
    if who is not None:
        enrolled = EnrolledFace(FaceId(who), ImageId("i"), SubjectId(who), box, 99.0)
        found = (Candidate(enrolled, ComparisonScore(score, SCALE)),)
    return FaceIdentification(DetectedFace(box, 99.0, eye_distance_px=eyes), found)


def tracker(rules: TrackingRules | None = None) -> Tracker:
    return Tracker(RULES, rules)


def names(tracks: tuple[EndedTrack, ...]) -> dict[int, str | None]:
    return {track.track: track.decision.subject for track in tracks}


def test_a_moving_face_stays_one_track() -> None:
    follow = tracker()
    seen = {follow.update(n / 25, [face(0.1 + 0.02 * n)]).tracks for n in range(30)}
    assert seen == {(1,)}
    (track,) = follow.close()
    assert (track.track, track.sightings) == (1, 30)
    assert (track.first_seconds, track.last_seconds) == (0.0, 29 / 25)


def test_a_walker_coming_closer_stays_one_track() -> None:
    follow = tracker()
    for n in range(40):
        assert follow.update(n / 10, [face(0.5, side=0.02 * 1.1**n)]).tracks == (1,)


def test_two_people_side_by_side_keep_their_tracks_whatever_the_order_of_the_answer() -> None:
    follow = tracker()
    for n in range(20):
        left, right = face(0.3 + 0.005 * n), face(0.45 + 0.005 * n)
        order = [left, right] if n % 2 else [right, left]
        assert follow.update(n / 25, order).tracks == ((2, 1) if n % 2 else (1, 2))


def test_people_who_cross_keep_going_their_ways() -> None:
    follow = tracker()
    first = follow.update(0.0, [face(0.2, 0.5), face(0.8, 0.54)]).tracks
    last = first
    for n in range(1, 31):
        at = 0.02 * n
        last = follow.update(n / 25, [face(0.2 + at, 0.5), face(0.8 - at, 0.54)]).tracks
    assert last == first


def test_a_short_gap_is_bridged_and_a_long_one_is_not() -> None:
    follow = tracker(TrackingRules(max_gap_seconds=1.0))
    assert follow.update(0.0, [face(0.5)]).tracks == (1,)
    assert follow.update(0.9, [face(0.52)]).tracks == (1,)
    assert follow.update(1.5, []).ended == ()
    late = follow.update(2.0, [face(0.52)])
    assert late.tracks == (2,)
    assert [track.track for track in late.ended] == [1]


def test_another_place_or_another_size_is_another_face() -> None:
    follow = tracker()
    assert follow.update(0.0, [face(0.2)]).tracks == (1,)
    assert follow.update(0.04, [face(0.6)]).tracks == (2,)
    assert follow.update(0.08, [face(0.6, side=0.3)]).tracks == (3,)


def test_a_frame_from_the_past_is_not_followed() -> None:
    follow = tracker()
    follow.update(1.0, [face(0.5)])
    late = follow.update(0.5, [face(0.5), face(0.2)])
    assert late.tracks == (None, None)
    assert follow.close()[0].sightings == 1


def test_a_track_is_named_by_all_its_sightings() -> None:
    follow = tracker()
    for n in range(6):
        follow.update(n / 25, [face(0.5, who="Ann" if n % 2 else None, eyes=20.0 + n)])
    (track,) = follow.close()
    assert track.decision.subject == "Ann"
    assert track.decision.supporting == 3
    assert track.median_eye_distance_px == 22.5


def test_one_name_is_not_given_to_two_people_seen_together() -> None:
    follow = tracker()
    for n in range(6):
        pair = [face(0.2, who="Ann")] if n == 5 else [face(0.2, who="Ann"), face(0.8, who="Ann")]
        follow.update(n / 25, pair)
    better, worse = follow.close()
    assert better.decision.subject == "Ann"
    assert worse.decision.subject is None
    assert worse.decision.reason is Reason.CONFLICTING_CANDIDATES
    assert worse.decision.best is not None
    assert worse.decision.best.subject == "Ann"


def test_with_equal_claims_neither_gets_the_name() -> None:
    follow = tracker()
    for n in range(4):
        follow.update(n / 25, [face(0.2, who="Ann"), face(0.8, who="Ann")])
    assert names(follow.close()) == {1: None, 2: None}


def test_whoever_left_first_and_was_better_supported_keeps_the_name() -> None:
    follow = tracker(TrackingRules(max_gap_seconds=0.1))
    for n in range(4):
        follow.update(n / 25, [face(0.2, who="Ann"), face(0.8)])
    ended: list[EndedTrack] = []
    for n in range(4, 20):
        ended += follow.update(n / 25, [face(0.8, who="Ann", score=85.0)]).ended
    assert names(tuple(ended)) == {1: "Ann"}
    assert names(follow.close()) == {2: None}


def test_the_same_person_coming_back_later_is_named_again() -> None:
    follow = tracker()
    ended: list[EndedTrack] = []
    for start in (0.0, 5.0):
        for n in range(3):
            ended += follow.update(start + n / 25, [face(0.5, who="Ann")]).ended
    ended += follow.close()
    assert names(tuple(ended)) == {1: "Ann", 2: "Ann"}


def test_ids_belong_to_the_tracker_that_gave_them() -> None:
    assert tracker().update(0.0, [face(0.5)]).tracks == (1,)
    assert tracker().update(0.0, [face(0.5)]).tracks == (1,)


@pytest.mark.parametrize("apart", [5e-324, 1e-9])
def test_frames_at_almost_the_same_time_show_no_motion(apart: float) -> None:
    follow = tracker()
    for n in range(4):
        assert follow.update(n * apart, [face(0.5 + 0.01 * n)]).tracks == (1,)
    assert follow.update(0.04, [face(0.53)]).tracks == (1,)


places = st.builds(
    face,
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
    side=st.floats(0.0, 0.4),
    who=st.sampled_from([None, "Ann", "Bob"]),
    score=st.sampled_from([70.0, 85.0, 95.0]),
)
recordings = st.lists(st.tuples(st.floats(0.0, 0.8), st.lists(places, max_size=4)), max_size=15)


@given(recordings)
def test_every_face_has_one_track_and_every_track_ends_once(
    recording: list[tuple[float, list[FaceIdentification]]],
) -> None:
    follow, now = tracker(), 0.0
    ended: list[EndedTrack] = []
    seen: dict[int, int] = {}
    for pause, faces in recording:
        now += pause
        followed = follow.update(now, faces)
        ended += followed.ended
        assert len(followed.tracks) == len(faces)
        assert len(set(followed.tracks)) == len(faces)
        for number in followed.tracks:
            assert number is not None
            seen[number] = seen.get(number, 0) + 1
    ended += follow.close()
    assert {track.track: track.sightings for track in ended} == seen
    assert len(ended) == len(seen)
    assert follow.close() == ()


@given(recordings)
def test_nobody_is_in_one_frame_twice(
    recording: list[tuple[float, list[FaceIdentification]]],
) -> None:
    follow, now = tracker(), 0.0
    ended: list[EndedTrack] = []
    together: set[frozenset[int]] = set()
    for pause, faces in recording:
        now += pause
        followed = follow.update(now, faces)
        ended += followed.ended
        present = [number for number in followed.tracks if number is not None]
        together |= {frozenset((a, b)) for a in present for b in present if a != b}
    ended += follow.close()
    who = names(tuple(ended))
    for pair in together:
        first, second = pair
        assert who[first] is None or who[first] != who[second]
