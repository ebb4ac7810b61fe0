"""Stored answers become outcomes: cuts are named, transits joined, distances turned."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from rekadapter.evaluation.answers import (
    Question,
    SearchedFace,
    Stage,
    StoredAnswer,
    StoredCandidate,
    StoredFailure,
)
from rekadapter.evaluation.evaluate import StoredEvaluation, evaluated
from rekadapter.evaluation.outcomes import Cut
from rekadapter.evaluation.record import EvaluationRecord, PersonEntry, Photograph
from rekadapter.evaluation.rules import Rules
from rekadapter.evaluation.runner import questions
from rekadapter.evaluation.searches import SystemOutcomes, outcomes_of
from rekadapter.evaluation.synthetic import ScoreModel, SearchDesign
from rekadapter.testing.evaluations import made_up_evaluation

AT = datetime(2026, 3, 14, tzinfo=UTC)
PEOPLE = ("ada", "bob", "cyd")


def answer(
    question: Question, *scores: tuple[str, float], limit: int = 9, failure: str | None = None
) -> StoredAnswer:
    return StoredAnswer(
        question=question,
        answered_at=AT,
        read_seconds=0.01,
        answer_seconds=0.1,
        candidates=tuple(StoredCandidate(who, score) for who, score in scores),
        enrolled=1 if question.kind == "enroll" else 0,
        limit=limit,
        failure=StoredFailure(Stage.ACQUIRE, failure) if failure else None,
        face=SearchedFace(eye_distance_px=20.0),
    )


class Written:
    """Three enrolled people and two who are not; answers written by hand."""

    def __init__(self, *probes: Photograph, distance: bool = False) -> None:
        design = SearchDesign(gallery=3, mated_people=3, nonmated_people=2)
        made = made_up_evaluation(design, {"alpha": ScoreModel()}, default_threshold=50.0)
        system = made.record.systems[0].model_copy(
            update={"scale_low": 0.0, "scale_high": 100.0, "higher_is_closer": not distance}
        )
        people = [PersonEntry(id=who, enrolled=True, side="test") for who in PEOPLE]
        people += [
            PersonEntry(id="dan", enrolled=False, side="calibration"),
            PersonEntry(id="eve", enrolled=False, side="test"),
        ]
        self.record: EvaluationRecord = made.record.model_copy(
            update={
                "people": tuple(people),
                "gallery": tuple(Photograph(sha256=f"g-{who}", person=who) for who in PEOPLE),
                "probes": probes,
                "systems": (system,),
            }
        )
        asked = questions(self.record, system)
        self.asked = asked
        self.answers = [answer(asked.enroll(one)) for one in self.record.gallery]

    def says(
        self,
        probe: Photograph,
        *scores: tuple[str, float],
        limit: int = 9,
        failure: str | None = None,
    ) -> None:
        question = self.asked.search(probe)
        self.answers.append(answer(question, *scores, limit=limit, failure=failure))

    def outcomes(self) -> SystemOutcomes:
        return outcomes_of(self.record, {one.question.key: one for one in self.answers})[0]


ADA = Photograph(sha256="1", person="ada")
EVE = Photograph(sha256="2", person="eve")


def test_a_complete_list_has_no_cut() -> None:
    written = Written(ADA)
    written.says(ADA, ("ada", 90.0), ("bob", 20.0), ("cyd", 10.0))
    assert written.outcomes().test[0].cut is None


def test_a_list_as_long_as_asked_for_is_cut_by_its_length() -> None:
    written = Written(ADA)
    written.says(ADA, ("bob", 60.0), ("cyd", 50.0), limit=2)
    assert written.outcomes().test[0].cut == Cut(max_candidates=2)


def test_a_list_that_ends_early_is_cut_at_its_own_lowest_score() -> None:
    written = Written(ADA)
    written.says(ADA, ("ada", 60.0))
    assert written.outcomes().test[0].cut == Cut(floor=60.0)


def test_an_empty_list_is_cut_at_the_lowest_score_ever_seen() -> None:
    written = Written(ADA, EVE)
    written.says(ADA, ("ada", 60.0), ("bob", 7.0))
    written.says(EVE)
    outcomes = {str(o.person): o for o in written.outcomes().test}
    assert outcomes["eve"].cut == Cut(floor=7.0)


def test_where_no_score_was_ever_given_nothing_is_known() -> None:
    written = Written(EVE)
    written.says(EVE)
    assert written.outcomes().test[0].cut == Cut(floor=100.0)


def test_distances_are_turned_and_thresholds_turned_back() -> None:
    written = Written(ADA, distance=True)
    written.says(ADA, ("ada", 10.0), ("bob", 80.0), ("cyd", 90.0))
    system = written.outcomes()
    assert [c.score for c in system.test[0].candidates] == [-10.0, -80.0, -90.0]
    assert system.turned(system.turned(50.0)) == 50.0


def frames(person: str, *seconds: float) -> list[Photograph]:
    return [
        Photograph(sha256=f"{person}{s}", person=person, camera="door", transit="t1", seconds=s)
        for s in seconds
    ]


def test_a_transit_is_one_search_with_the_best_score_of_each_person() -> None:
    first, second = frames("ada", 0.0, 2.0)
    written = Written(first, second)
    written.says(first, ("bob", 55.0), ("ada", 40.0), ("cyd", 10.0))
    written.says(second, ("ada", 70.0), ("bob", 30.0), ("cyd", 20.0))
    found = written.outcomes().test
    assert len(found) == 1
    assert [(c.subject, c.score) for c in found[0].candidates] == [
        ("ada", 70.0),
        ("bob", 55.0),
        ("cyd", 20.0),
    ]


def test_a_transit_fails_only_where_each_of_its_frames_did() -> None:
    first, second = frames("ada", 0.0, 2.0)
    for failures, failed in (((None, "NO_FACE"), False), (("NO_FACE", "NO_FACE"), True)):
        written = Written(first, second)
        for frame, failure in zip((first, second), failures, strict=True):
            scores = [] if failure else [("ada", 70.0), ("bob", 30.0), ("cyd", 20.0)]
            written.says(frame, *scores, failure=failure)
        assert (written.outcomes().test[0].failure is not None) == failed


def test_nothing_is_known_of_a_transit_below_its_highest_cut() -> None:
    first, second = frames("ada", 0.0, 2.0)
    written = Written(first, second)
    written.says(first, ("bob", 60.0), ("cyd", 50.0), limit=2)
    written.says(second, ("bob", 40.0), ("cyd", 30.0), ("ada", 20.0))
    found = written.outcomes().test[0]
    assert found.cut is not None
    assert found.cut.floor is not None
    assert 50.0 < found.cut.floor < 50.1
    assert [c.subject for c in found.candidates] == ["bob"]


def test_a_transit_with_a_frame_unanswered_is_not_measured() -> None:
    first, second = frames("ada", 0.0, 2.0)
    written = Written(first, second)
    written.says(first, ("ada", 90.0), ("bob", 20.0), ("cyd", 10.0))
    system = written.outcomes()
    assert not system.searches
    assert system.missing == 1


def test_cameras_and_time_to_alert_are_reported() -> None:
    design = SearchDesign(gallery=40, mated_people=40, nonmated_people=60, captures=3)
    stored = made_up_evaluation(
        design,
        {"alpha": ScoreModel(person_sd=0.001, image_sd=0.001)},
        default_threshold=0.4,
        rules=Rules(camera_hours={"door": 2.0}),
    )
    seen: dict[str, int] = {}
    probes = []
    for probe in stored.record.probes:
        number = seen[probe.person] = seen.get(probe.person, -1) + 1
        changes = {"camera": "door", "transit": f"t-{probe.person}", "seconds": float(number)}
        probes.append(probe.model_copy(update=changes))
    record = stored.record.model_copy(update={"probes": tuple(probes)})
    report = evaluated(replace(stored, record=record))
    assert report.protocol.search_unit == "transit"
    assert report.data.mated_searches == 40
    camera = report.cameras[0]
    assert (camera.id, camera.measured) == ("door", 300)
    assert camera.verdict == "usable, verify"
    assert camera.false_alerts_per_hour is not None
    waits = next(one for one in report.time_to_alert if one.label.startswith("shipped"))
    assert (waits.transits, waits.alerted, waits.p95_seconds) == (40, 40, 0.0)


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_missing_searches_leave_the_evidence_open(share: float) -> None:
    design = SearchDesign(gallery=40, mated_people=40, nonmated_people=60)
    stored = made_up_evaluation(design, {"alpha": ScoreModel()}, default_threshold=0.4)
    kept = dict(list(stored.answers.items())[: 40 + int(share * 100)])
    report = evaluated(StoredEvaluation(stored.record, kept))
    assert report.data.missing_answers == 100 - int(share * 100)
    gate = next(v for v in report.verdicts if v.gate == "evidence")
    assert gate.result == "not enough evidence"
    assert "were not run" in gate.why
