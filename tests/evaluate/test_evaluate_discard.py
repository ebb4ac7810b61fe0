"""Refusing the worst pictures: the curve, what a gate would help, and whom it would hide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rekadapter.evaluation.answers import Kind, SearchedFace, StoredAnswer
from rekadapter.evaluation.decision_page import evaluation_html
from rekadapter.evaluation.discard import (
    GAIN_AT,
    SHARES,
    Gain,
    discard_sections,
    gain_of,
    judged,
    worst_kept,
)
from rekadapter.evaluation.discard_results import DiscardResult
from rekadapter.evaluation.evaluate import StoredEvaluation, evaluated
from rekadapter.evaluation.outcomes import GroupLabel
from rekadapter.evaluation.record import PhotographQuality
from rekadapter.evaluation.results import EvaluationReport, as_stored
from rekadapter.evaluation.searches import outcomes_of
from rekadapter.evaluation.statistics import Estimate, Interval, Settings, Trials
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
        assert first.kept_from is None


def test_a_picture_refused_finds_nobody(report: EvaluationReport) -> None:
    for curve in report.discard:
        missed = [point.missed_of_all.errors or 0 for point in curve.points]
        assert missed == sorted(missed)
        for point in curve.points:
            assert point.refused <= max(point.asked, curve.without / curve.searches)
            gone = round(point.refused * curve.searches)
            assert point.missed_of_all.errors == (point.fnir.errors or 0) + gone
            assert point.fnir.n == curve.searches - gone


def test_a_measure_nobody_gave_has_no_curve(report: EvaluationReport) -> None:
    assert {curve.measure for curve in report.discard} == {EYES}


def test_pictures_without_the_measure_go_first_and_all_of_them() -> None:
    """More of them than are asked for: no gate keeps some of them and refuses some."""
    failing = {"sees": ScoreModel(mated_mean=0.5, failure_rate=0.3)}
    design = SearchDesign(200, 200, 100)
    curve = of(evaluated(made_up_evaluation(design, failing, default_threshold=0.4)), "sees")
    share = curve.without / curve.searches
    assert curve.without == curve.without_missed > GAIN_AT * curve.searches
    everything, *refusing = curve.points
    for point in (one for one in refusing if one.asked <= share):
        assert point.refused == pytest.approx(share)
        assert point.missed_of_all.errors == everything.fnir.errors
        assert everything.fnir.errors == (point.fnir.errors or 0) + curve.without


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


def test_shares_further_apart_than_chance_are_a_finding(report: EvaluationReport) -> None:
    [sees], [blind] = of(report, "sees").spreads, of(report, "blind").spreads
    assert (sees.attribute, blind.attribute) == ("site", "site")
    assert sees.chance_p is not None
    assert sees.chance_p < 0.01
    assert "of site south go" in sees.finding
    assert "island" not in sees.finding
    assert blind.chance_p is not None
    assert blind.chance_p > 0.05
    assert not blind.finding
    page = evaluation_html(as_stored(report))
    assert sees.finding in page


def test_twelve_people_are_refused() -> None:
    few = evaluated(made_up(mated=12, captures=3))
    curve = of(few, "sees")
    assert curve.verdict == "not enough evidence"
    assert all(point.fnir.value is None for point in curve.points)
    assert not any(spread.finding for spread in curve.spreads)
    page = evaluation_html(as_stored(few))
    assert curve.sentence in page
    assert "No curve and no table where every figure is refused" in page
    assert "Refused by" not in page


def test_what_somebody_else_measured_serves_every_system(
    stored: StoredEvaluation, report: EvaluationReport
) -> None:
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
    assert told.run.protocol_sha256 == report.run.protocol_sha256
    assert told.run.quality_sha256 == record.quality_sha256
    assert report.run.quality_sha256 is None
    assert told.run.id != report.run.id
    page = evaluation_html(as_stored(told))
    assert "UnifiedQualityScore" in page
    assert "measured by whoever brought the file" in page


def test_the_page_says_what_the_figures_say(report: EvaluationReport) -> None:
    page = evaluation_html(as_stored(report))
    for curve in report.discard:
        assert curve.sentence in page


# --- measures that were brought ---------------------------------------------------------------


def with_measures(
    stored: StoredEvaluation, report: EvaluationReport, names: list[str]
) -> EvaluationReport:
    """The report as if somebody had brought measures that are all noise."""
    rng = np.random.default_rng(9)
    brought = tuple(
        PhotographQuality(sha256=one.sha256, values={name: float(rng.normal()) for name in names})
        for one in stored.record.probes
    )
    record = stored.record.model_copy(update={"quality": brought})
    found = discard_sections(record, outcomes_of(record, stored.answers), report.accuracy)
    return report.model_copy(update={"discard": found})


def test_of_many_measures_that_are_noise_none_is_called_a_difference(
    stored: StoredEvaluation, report: EvaluationReport
) -> None:
    noise = with_measures(stored, report, [f"m{n}" for n in range(40)])
    brought = [one for one in noise.discard if one.source == "brought"]
    assert len(brought) == 80
    assert {one.verdict for one in brought} == {"no difference shown"}
    alone = [one for one in brought if one.p_value is not None and one.p_value < 0.05]
    assert alone
    assert all("among 82 such questions one may look so by chance" in o.sentence for o in alone)
    assert of(noise, "sees").verdict == "fewer misses"


def test_measures_keep_the_order_of_the_file_and_all_have_a_sentence(
    stored: StoredEvaluation, report: EvaluationReport
) -> None:
    names = ["Unified", "b", "a", "<script>", "e", "Last"]
    brought = with_measures(stored, report, names)
    assert list(dict.fromkeys(d.measure for d in brought.discard)) == [EYES, *names]
    page = evaluation_html(as_stored(brought))
    assert page.index("<bdi>Unified</bdi>") < page.index("<bdi>b</bdi>") < page.index("<bdi>a</")
    assert "<bdi>Last</bdi>" not in page
    assert "Further measures of the file" in page
    assert page.count("by Last") == 2
    assert "<script>" not in page


# --- the worst one kept -----------------------------------------------------------------------

QUALITIES = st.lists(st.sampled_from([-np.inf, 1.0, 2.0, 3.0, 4.5]), min_size=1, max_size=40)


def test_ties_with_the_worst_one_kept_are_kept() -> None:
    quality = np.array([5.0, 1, 2, 2, 2, 3, 4, 4, 4, 4])
    assert worst_kept(quality, 0.0) == -np.inf
    assert worst_kept(quality, 0.1) == 2
    assert worst_kept(quality, 0.3) == 2
    assert worst_kept(quality, 0.4) == 3
    assert worst_kept(quality, 0.5) == 4


@given(QUALITIES, st.sampled_from(SHARES))
def test_what_is_kept_falls_with_the_share_and_what_is_not_known_goes_whole(
    values: list[float], share: float
) -> None:
    quality = np.array([*values, 2.0])
    unknown = int(np.isneginf(quality).sum())
    kept = [quality >= worst_kept(quality, one) for one in SHARES]
    counts = [int(one.sum()) for one in kept]
    assert counts[0] == quality.size
    assert counts == sorted(counts, reverse=True)
    mine = quality >= worst_kept(quality, share)
    assert int((~mine).sum()) <= max(share * quality.size + 1e-9, unknown)
    assert mine.all() or not np.isneginf(quality[mine]).any()
    assert worst_kept(quality[::-1], share) == worst_kept(quality, share)


# --- the difference ---------------------------------------------------------------------------

FEW = Settings(resamples=400)


def test_the_gain_is_the_rate_of_what_is_left_minus_that_of_all() -> None:
    errors = np.array([True] * 12 + [False] * 36)
    kept = np.array([False] * 9 + [True] * 39)
    gain = gain_of(Trials(errors, np.arange(48)), kept, FEW).estimate
    assert gain.value == pytest.approx(3 / 39 - 12 / 48)
    assert (gain.n, gain.errors, gain.people) == (48, 9, 48)


@pytest.mark.parametrize(
    ("people", "wrong", "gone", "reason"),
    [
        (12, 6, 3, "12 people are too few"),
        (40, 0, 8, "nobody was missed"),
        (40, 6, 0, "more pictures tie as the worst than may go"),
        (40, 6, 8, "only 6 misses in all"),
    ],
    ids=["few people", "no miss", "all tie", "few misses"],
)
def test_what_the_data_cannot_tell_has_no_verdict(
    people: int, wrong: int, gone: int, reason: str
) -> None:
    numbers = np.arange(people)
    gain = gain_of(Trials(numbers < wrong, numbers), numbers >= gone, FEW)
    assert gain.p_value is None
    assert reason in gain.estimate.reason
    [answer] = judged([gain], 0.95)
    assert answer.verdict == "not enough evidence"


def gain_with(p_value: float, value: float) -> Gain:
    ci = Interval(value - 0.1, value + 0.1, 0.95, "made up")
    estimate = Estimate(value=value, n=100, errors=10, people=100, ci=ci, sufficient=True)
    return Gain(estimate, p_value)


def test_a_difference_is_judged_by_how_many_were_looked_for() -> None:
    """Holm by hand: 0.01 times 4; then 0.02 times 3 is above 0.05, and nothing after it counts."""
    p_values = (0.02, 0.01, 0.9, 0.03)
    answers = judged([gain_with(p, -0.2) for p in p_values], 0.95)
    assert [one.p_holm for one in answers] == pytest.approx([0.06, 0.04, 0.9, 0.06])
    assert [one.verdict == "fewer misses" for one in answers] == [False, True, False, False]
    assert [one.by_chance for one in answers] == [True, False, False, True]


def test_more_misses_are_told_from_fewer() -> None:
    verdicts = [
        one.verdict for one in judged([gain_with(0.001, 0.2), gain_with(0.001, -0.2)], 0.95)
    ]
    assert verdicts == ["more misses", "fewer misses"]


@settings(deadline=None, max_examples=40)
@given(st.integers(30, 80), st.floats(0.05, 0.6), st.integers(0, 2**32 - 1))
def test_p_and_interval_say_the_same(people: int, rate: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    errors = rng.random(people) < rate
    errors[:10] = True
    kept = rng.permutation(people) >= people // 5
    gain = gain_of(Trials(errors, np.arange(people)), kept, FEW)
    assert gain.p_value is not None
    ci = gain.estimate.ci
    assert ci is not None
    assert gain.estimate.value is not None
    assert ci.low < gain.estimate.value < ci.high
    assert (gain.p_value < 0.05) == (not ci.low <= 0 <= ci.high)


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
        p_value = gain_of(Trials(errors, people), kept, FEW).p_value
        assert p_value is not None
        wrong += p_value < 0.05
    assert wrong <= 0.07 * 300


def test_shares_begin_with_nothing_and_hold_the_one_that_is_judged() -> None:
    assert SHARES[0] == 0
    assert GAIN_AT in SHARES
