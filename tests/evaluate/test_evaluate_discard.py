"""Refusing the worst pictures: the curve, what a gate would help, and whom it would hide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rekadapter.evaluation.answers import Kind, SearchedFace, StoredAnswer
from rekadapter.evaluation.decision_page import evaluation_html
from rekadapter.evaluation.discard import GAIN_AT, SHARES, gain_of
from rekadapter.evaluation.discard_results import DiscardResult
from rekadapter.evaluation.evaluate import StoredEvaluation, evaluated
from rekadapter.evaluation.outcomes import GroupLabel
from rekadapter.evaluation.record import PhotographQuality
from rekadapter.evaluation.results import EvaluationReport, as_stored
from rekadapter.evaluation.statistics import Settings, Trials
from rekadapter.evaluation.synthetic import GroupModel, ScoreModel, SearchDesign
from rekadapter.testing.evaluations import made_up_evaluation

MODELS = {"sees": ScoreModel(mated_mean=0.5), "blind": ScoreModel(mated_mean=0.5)}
GROUPS = (
    GroupModel(GroupLabel("site", "north"), 0.49),
    GroupModel(GroupLabel("site", "south"), 0.49, mated_shift=-0.1),
    GroupModel(GroupLabel("site", "island"), 0.02),
)
EYES = "pixels between the eyes"


def of_quality(stored: StoredEvaluation) -> StoredEvaluation:
    """Of system ``sees`` a picture's eye distance follows its mate's score; of ``blind`` it is
    noise. Sharpness is known of nobody."""
    rng = np.random.default_rng(3)

    def face(answer: StoredAnswer) -> SearchedFace | None:
        if answer.face is None:
            return None
        people = {p.sha256: p.person for p in stored.record.probes}
        own = people[answer.question.sample]
        mate = next((c.score for c in answer.candidates if c.subject == own), 0.5)
        eyes = 100 * mate if answer.question.system == "sees" else rng.uniform(20, 80)
        return SearchedFace(eye_distance_px=max(1.0, float(eyes)))

    answers = {
        key: replace(one, face=face(one)) if one.question.kind is Kind.SEARCH else one
        for key, one in stored.answers.items()
    }
    return replace(stored, answers=answers)


def made_up(mated: int = 240, captures: int = 2) -> StoredEvaluation:
    design = SearchDesign(mated, mated, 300, captures=captures, groups=GROUPS)
    return of_quality(made_up_evaluation(design, MODELS, default_threshold=0.4))


@pytest.fixture(scope="module")
def stored() -> StoredEvaluation:
    return made_up()


@pytest.fixture(scope="module")
def report(stored: StoredEvaluation) -> EvaluationReport:
    return evaluated(stored)


def of(report: EvaluationReport, system: str, measure: str = EYES) -> DiscardResult:
    return next(d for d in report.discard if (d.system, d.measure) == (system, measure))


def test_a_measure_that_foresees_misses_gives_a_falling_curve(report: EvaluationReport) -> None:
    curve = of(report, "sees")
    rates = [point.fnir.value or 0.0 for point in curve.points]
    assert rates == sorted(rates, reverse=True)
    assert curve.verdict == "fewer misses"
    assert curve.gain.ci is not None
    assert curve.gain.ci.hi < 0


def test_a_measure_that_is_noise_shows_no_difference(report: EvaluationReport) -> None:
    assert of(report, "blind").verdict == "no difference shown"


def test_nothing_refused_is_the_rate_of_the_accuracy_section(report: EvaluationReport) -> None:
    for curve in report.discard:
        row = next(r for r in report.accuracy if (r.system, r.label) == (curve.system, curve.label))
        first = curve.points[0]
        assert (first.asked, first.refused) == (0, 0)
        assert first.fnir == first.missed_of_all == row.fnir
        assert first.fpir == row.fpir


def test_a_picture_refused_finds_nobody(report: EvaluationReport) -> None:
    for curve in report.discard:
        missed = [point.missed_of_all.errors or 0 for point in curve.points]
        assert missed == sorted(missed)
        for point in curve.points:
            assert point.refused <= point.asked
            gone = round(point.refused * curve.searches)
            assert point.missed_of_all.errors == (point.fnir.errors or 0) + gone
            assert point.fnir.n == curve.searches - gone


def test_a_measure_nobody_gave_has_no_curve(report: EvaluationReport) -> None:
    assert {curve.measure for curve in report.discard} == {EYES}


def test_pictures_without_the_measure_go_first() -> None:
    failing = {"sees": ScoreModel(mated_mean=0.5, failure_rate=0.1)}
    design = SearchDesign(200, 200, 100)
    curve = of(evaluated(made_up_evaluation(design, failing, default_threshold=0.4)), "sees")
    assert curve.without > 0
    tenth = next(point for point in curve.points if point.asked == GAIN_AT)
    assert tenth.fnir.errors is not None
    assert curve.points[0].fnir.errors is not None
    assert curve.points[0].fnir.errors - tenth.fnir.errors >= curve.without


def test_the_gain_is_counted_among_pictures_with_the_measure() -> None:
    """Failures are misses without a measure: that refusing them helps is no merit of a gate."""
    failing = {"sees": ScoreModel(mated_mean=0.6, failure_rate=0.15)}
    design = SearchDesign(300, 300, 100)
    curve = of(evaluated(made_up_evaluation(design, failing, default_threshold=0.4)), "sees")
    assert curve.gain.n == curve.searches - curve.without
    assert curve.verdict in {"no difference shown", "not enough evidence"}


def test_whose_pictures_go_is_told_but_of_few_people_nothing(report: EvaluationReport) -> None:
    groups = {one.group: one.refused for one in of(report, "sees").groups}
    north, south = groups["north"], groups["south"]
    assert groups["island"] is None
    assert north is not None
    assert south is not None
    assert north.value is not None
    assert south.value is not None
    assert south.value > 2 * north.value


def test_twelve_people_are_refused() -> None:
    curve = of(evaluated(made_up(mated=12, captures=3)), "sees")
    assert curve.verdict == "not enough evidence"
    assert all(point.fnir.value is None for point in curve.points)


def test_what_somebody_else_measured_serves_every_system(stored: StoredEvaluation) -> None:
    eyes = {
        one.question.sample: one.face.eye_distance_px
        for one in stored.answers.values()
        if one.question.system == "sees" and one.face and one.face.eye_distance_px
    }
    brought = tuple(
        PhotographQuality(sha256=key, values={"UnifiedQualityScore": value})
        for key, value in sorted(eyes.items())
    )
    record = stored.record.model_copy(update={"quality": brought})
    told = evaluated(replace(stored, record=record))
    own = [d for d in told.discard if d.source == "brought"]
    assert [d.system for d in own] == ["sees", "blind"]
    assert [p.fnir for p in own[0].points] == [p.fnir for p in of(told, "sees").points]
    assert told.run.protocol_sha256 == evaluated(stored).run.protocol_sha256
    page = evaluation_html(as_stored(told))
    assert "UnifiedQualityScore" in page
    assert "measured by whoever brought the file" in page


def test_the_page_says_what_the_figures_say(report: EvaluationReport) -> None:
    page = evaluation_html(as_stored(report))
    for curve in report.discard:
        assert curve.sentence in page


# --- the difference ---------------------------------------------------------------------------

FEW = Settings(resamples=400)


def test_the_gain_is_the_rate_of_what_is_left_minus_that_of_all() -> None:
    errors = np.array([True] * 12 + [False] * 36)
    kept = np.array([False] * 9 + [True] * 39)
    gain = gain_of(Trials(errors, np.arange(48)), kept, FEW)
    assert gain.value == pytest.approx(3 / 39 - 12 / 48)
    assert (gain.n, gain.errors, gain.people) == (48, 9, 48)


@settings(deadline=None, max_examples=40)
@given(st.integers(30, 80), st.floats(0.05, 0.6), st.integers(0, 2**32 - 1))
def test_the_interval_holds_the_value_and_narrows_for_nobody_who_is_always_right(
    people: int, rate: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    errors = rng.random(people) < rate
    kept = rng.random(people) < 0.8
    gain = gain_of(Trials(errors, np.arange(people)), kept, FEW)
    if gain.value is None:
        assert gain.reason
        return
    assert gain.ci is not None
    assert gain.ci.low < gain.value < gain.ci.high


@pytest.mark.slow
def test_noise_is_taken_for_a_gain_about_as_rarely_as_claimed() -> None:
    """Nominal 5 % both ways; several pictures a person, people of unlike difficulty."""
    rng = np.random.default_rng(11)
    wrong = 0
    for _ in range(300):
        people = np.repeat(np.arange(80), 4)
        hard = rng.beta(0.6, 2.4, 80)[people]
        errors = rng.random(people.size) < hard
        quality = rng.normal(size=people.size)
        kept = quality >= np.quantile(quality, 0.2)
        gain = gain_of(Trials(errors, people), kept, FEW)
        assert gain.ci is not None
        wrong += not gain.ci.low <= 0 <= gain.ci.high
    assert wrong <= 0.07 * 300


def test_shares_begin_with_nothing_and_hold_the_one_that_is_judged() -> None:
    assert SHARES[0] == 0
    assert GAIN_AT in SHARES
