"""What reviewers decided, counted: everything adds up, and nobody is named."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rekadapter.evaluation.decision_page import evaluation_html
from rekadapter.evaluation.feed_inputs import FeedInputs, write_inputs
from rekadapter.evaluation.feed_report import Kept, feed_report, write_feed_report
from rekadapter.evaluation.result_base import EstimateResult
from rekadapter.evaluation.results import EvaluationReport, as_stored
from rekadapter.evaluation.review_results import ReviewsResult
from rekadapter.evaluation.review_words import review_sentences
from rekadapter.evaluation.rules import Rules
from rekadapter.evaluation.truth import TransitEntry, Truth
from rekadapter.observation import Run
from rekadapter.sinks.audit import Reviewed, Verdict
from rekadapter.sinks.review_log import LoggedReview, ReviewLog, RunLog
from rekadapter.testing.runs import RunBuilder, Transit, local_backend

YES, NO, OPEN = Verdict.CONFIRMED, Verdict.REJECTED, Verdict.UNDECIDED
TWO: dict[str, object] = {"governance": {"review": {"min_reviewers": 2}}}


def said(track: int, by: str, verdict: str, seconds: float | None = None) -> Reviewed:
    return Reviewed("local", "lobby", track, verdict, by, "", seconds)


def log_of(decisions: Iterable[Reviewed]) -> RunLog:
    return RunLog(tuple(LoggedReview(n, f"{n:064d}", one) for n, one in enumerate(decisions, 30)))


def builder() -> RunBuilder:
    """Ann rightly named (1), Eve named Ann (2), Bob rightly named (3), and an unknown (4)."""
    found = RunBuilder(backends=(local_backend(),), cameras={"lobby": 100})
    found.transit("local", Transit("lobby", 0, 20, subject="ann"))
    found.transit("local", Transit("lobby", 40, 55, subject="ann"))
    found.transit("local", Transit("lobby", 60, 75, subject="bob"))
    found.transit("local", Transit("lobby", 80, 95))
    return found


TRUTH = Truth(
    gallery=("ann", "bob"),
    transits=(
        TransitEntry(camera="lobby", person="ann", enters=0, leaves=2),
        TransitEntry(camera="lobby", person="eve", enters=4, leaves=5.5),
        TransitEntry(camera="lobby", person="bob", enters=6, leaves=7.5),
    ),
    tolerance_seconds=0.1,
)


def reported(
    decisions: Sequence[Reviewed],
    *,
    truth: Truth | None = TRUTH,
    rules: dict[str, object] | None = None,
    run: Run | None = None,
) -> EvaluationReport:
    inputs = FeedInputs(truth=truth, rules=Rules.model_validate(rules or {}))
    return feed_report(run or builder().build(), Kept(inputs, "", log=log_of(decisions)))


def reviews_in(report: EvaluationReport) -> ReviewsResult:
    assert report.feeds is not None
    assert report.feeds.reviews is not None
    return report.feeds.reviews


def counts(estimate: EstimateResult) -> tuple[int | None, int]:
    return estimate.errors, estimate.n


TWO_PEOPLE = (
    said(1, "Bob", YES, 2.0),
    said(2, "Bob", YES, 4.0),
    said(1, "Eve", NO, 6.0),
    said(2, "Eve", NO, 8.0),
    said(3, "Eve", YES, 3.0),
)


def test_two_reviewers_and_a_truth_by_hand() -> None:
    found = reviews_in(reported(TWO_PEOPLE))
    (names,) = found.systems
    assert (names.said, names.alerts, names.reviewed) == ("name", 3, 3)
    assert (names.confirmed, names.rejected, names.disputed, names.undecided) == (1, 0, 2, 0)
    assert (names.reviewers, names.decisions, names.timed) == (2, 5, 5)
    assert (names.p50_seconds, names.p95_seconds) == (4.0, None)
    assert names.hours == pytest.approx(23 / 3600)
    assert (names.compared, counts(names.disagreement)) == (2, (2, 2))
    (held,) = found.errors
    assert counts(held.wrong_confirmed) == (1, 2)
    assert counts(held.right_rejected) == (1, 3)
    fates = held.false_alerts
    assert (fates.all, fates.passed, fates.stopped, fates.open) == (1, 0, 1, 0)
    fates = held.right_names
    assert (fates.all, fates.passed, fates.stopped, fates.open) == (2, 1, 1, 0)
    assert held.identified == held.right_names
    assert (counts(held.false_left), counts(held.right_lost)) == ((0, 1), (1, 2))


def test_the_last_decision_of_a_reviewer_on_a_track_counts_however_they_are_typed() -> None:
    decisions = [said(1, "Officer 7", YES, 9.0), said(1, " officer  7", NO, 1.0)]
    found = reviews_in(reported(decisions))
    assert (found.records, found.decisions, len(found.reviewers)) == (2, 1, 1)
    assert (found.systems[0].rejected, found.systems[0].p50_seconds) == (1, 1.0)


def test_where_the_rules_ask_for_two_people_one_is_not_enough() -> None:
    decisions = [said(1, "a", YES), said(2, "a", YES), said(2, "b", YES), said(3, "a", OPEN)]
    found = reviews_in(reported(decisions, rules=TWO))
    assert (found.min_reviewers, found.min_reviewers_stated) == (2, True)
    assert (found.systems[0].reviewed, found.systems[0].by_enough) == (3, 1)
    (held,) = found.errors
    assert (held.false_alerts.passed, held.right_names.passed, held.right_names.open) == (1, 0, 2)
    assert "to be looked at" not in held.false_left_per_camera_day.reason


def test_false_alerts_that_wait_for_a_reviewer_keep_the_rate_by_the_day_back() -> None:
    (held,) = reviews_in(reported([said(1, "a", YES)])).errors
    assert held.false_alerts.open == 1
    assert "1 false alert still to be looked at" in held.false_left_per_camera_day.reason


def test_records_about_nothing_in_the_run_are_left_out_and_counted() -> None:
    strange = [said(9, "a", YES), said(1, "a", "maybe"), said(1, "b", YES, -4.0)]
    found = reviews_in(reported(strange))
    assert (found.records, found.left_out, found.decisions) == (3, 2, 1)
    assert found.systems[0].timed == 0
    assert found.last_record == 32


def test_unknowns_stand_in_a_row_of_their_own() -> None:
    found = reviews_in(reported([said(4, "a", NO), said(1, "a", YES)]))
    assert [(one.said, one.alerts, one.rejected) for one in found.systems] == [
        ("name", 3, 0),
        ("unknown", 1, 1),
    ]


def test_without_a_truth_nothing_is_said_about_errors() -> None:
    report = reported(TWO_PEOPLE, truth=None)
    assert reviews_in(report).errors == ()
    assert "their errors are not known" in report.limitations[-1]
    assert "it is not known how often reviewers were right" in evaluation_html(as_stored(report))


def test_without_reviews_the_page_says_that_nothing_was_measured() -> None:
    report = reported([])
    assert reviews_in(report).systems == ()
    assert "Nobody reviewed" in report.limitations[-1]
    page = evaluation_html(as_stored(report))
    assert "nobody has decided on what it said" in page


def test_the_report_names_no_reviewer() -> None:
    report = reported([said(1, "Karl Klammer", YES), said(1, "officer 7", NO)])
    page = evaluation_html(as_stored(report))
    for text in (page, report.model_dump_json()):
        assert "Klammer" not in text
        assert "officer" not in text
    assert "reviewer 2" in page
    assert [one.confirmed for one in reviews_in(report).reviewers] == [1, 0]


def test_the_id_of_a_report_changes_with_the_reviews_it_counts() -> None:
    assert reported([]).run.id != reported([said(1, "a", YES)]).run.id


def test_the_first_page_and_the_terminal_say_what_reviewers_came_to() -> None:
    report = reported([*TWO_PEOPLE, said(2, "Cleo", YES)], rules=TWO)
    decided, left = review_sentences(reviews_in(report))
    assert decided == (
        "3 reviewers decided on 3 of 3 names that local said (2 of them by at least 2): 1 "
        "confirmed, 0 rejected, 2 disputed, 0 undecided. Half of the decisions took at most 4.0 s."
    )
    assert left == (
        "local with its reviewers: of 1 false alert decided on 0 passed, of 1 right name decided "
        "on (1 still open) 1 were stopped."
    )
    assert {decided, left} <= set(report.decision.findings)
    blind = reported(TWO_PEOPLE, truth=None)
    assert set(review_sentences(reviews_in(blind))) <= set(blind.decision.findings)
    assert len(tuple(review_sentences(reviews_in(blind)))) == 1
    last = [one.decision.cannot_say[-1] for one in (report, blind, reported([]))]
    assert last == [
        "How other reviewers, or these on duty, would judge an alert.",
        "How often reviewers were right: nobody said who was there.",
        "How well people judge an alert: that was not measured here.",
    ]
    assert tuple(review_sentences(reviews_in(reported([])))) == ()


# --- cost -----------------------------------------------------------------------------------------


def _review_line(report: EvaluationReport) -> str:
    lines = report.cost.monthly[0].lines
    return next(line.how for line in lines if line.item == "review of false alerts")


def test_the_measured_median_stands_in_for_seconds_that_nobody_gave() -> None:
    decisions = [said(1 + n % 3, f"r{n // 3}", YES, 10.0 + n) for n in range(11)]
    report = reported(decisions)
    assert "measured: median of 11 decisions, 15 s" in _review_line(report)
    assert report.feeds is not None
    assert report.feeds.review[0].seconds_per_alert == 15.0
    two = reported(decisions, rules=TWO)
    assert two.feeds is not None
    assert two.feeds.review[0].seconds_per_alert == 30.0
    assert "x 2 reviewers" in _review_line(two)


def test_seconds_that_were_given_win_and_few_decisions_do_not_stand_in() -> None:
    decisions = [said(1 + n % 3, f"r{n // 3}", YES, 10.0) for n in range(11)]
    given_seconds: dict[str, object] = {"cost": {"review_seconds_per_alert": 30}}
    report = reported(decisions, rules=given_seconds)
    assert "measured: median" not in _review_line(report)
    assert report.feeds is not None
    assert (report.feeds.review[0].seconds_per_alert, report.feeds.review[0].seconds_basis) == (
        30.0,
        "as given",
    )
    few = reported(decisions[:9])
    assert few.feeds is not None
    assert few.feeds.review[0].seconds_per_alert is None


# --- enough of it ---------------------------------------------------------------------------------


def test_with_enough_people_there_are_figures_with_intervals() -> None:
    many = RunBuilder(backends=(local_backend(),), cameras={"lobby": 500})
    for n in range(48):
        many.transit("local", Transit("lobby", 10 * n, 10 * n + 5, subject=f"p{n:02d}"))
    decisions = [
        said(track, by, NO if by == "b" and track <= 12 else YES, 5.0)
        for track in range(1, 49)
        for by in "ab"
    ]
    (names,) = reviews_in(reported(decisions, truth=None, run=many.build())).systems
    assert names.disagreement.value == pytest.approx(0.25)
    assert names.disagreement.ci is not None
    assert 0.13 < names.disagreement.ci.lo < 0.25 < names.disagreement.ci.hi < 0.4
    assert names.p95_seconds == 5.0
    assert names.alpha.ci is not None
    # 12 unlike pairs of 48, totals 84 and 12 of 96: 1 - 95 * 24 / (2 * 84 * 12)
    assert names.alpha.value == pytest.approx(1 - 95 * 24 / 2016)
    assert names.alpha.sufficient


# --- laws -----------------------------------------------------------------------------------------

DECISION = st.builds(
    said,
    st.integers(1, 5),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from([*Verdict, "maybe"]),
    st.none() | st.floats(0, 100),
)
RUN = builder().build()


@settings(deadline=None, max_examples=60)
@given(st.lists(DECISION, max_size=25), st.integers(1, 3))
def test_counts_add_up(decisions: list[Reviewed], least: int) -> None:
    rules: dict[str, object] = {"governance": {"review": {"min_reviewers": least}}}
    found = reviews_in(reported(decisions, rules=rules, run=RUN))
    assert found.records == len(decisions)
    assert found.decisions <= found.records - found.left_out
    assert sum(one.decisions for one in found.systems) == found.decisions
    assert sum(one.decisions for one in found.reviewers) == found.decisions
    for person in found.reviewers:
        assert person.confirmed + person.rejected + person.undecided == person.decisions
    for row in found.systems:
        parts = row.confirmed + row.rejected + row.disputed + row.undecided
        assert parts == row.reviewed <= row.alerts
        assert row.compared <= row.reviewed
        assert row.timed <= row.decisions
        assert row.disagreement.n == row.compared
    for held in found.errors:
        for fates in (held.false_alerts, held.right_names, held.identified):
            assert fates.passed + fates.stopped + fates.open == fates.all
        assert held.false_left.n == held.false_alerts.all - held.false_alerts.open
        assert held.false_left.errors == held.false_alerts.passed
        assert held.right_lost.errors == held.right_names.stopped


@settings(deadline=None, max_examples=40)
@given(st.lists(DECISION, max_size=25), st.randoms(use_true_random=False))
def test_the_order_of_lines_of_different_reviewers_changes_no_figure(
    decisions: list[Reviewed], random: Random
) -> None:
    own = {by: [one for one in decisions if one.by == by] for by in "abc"}
    turns = [one.by for one in decisions]
    random.shuffle(turns)
    other = [own[by].pop(0) for by in turns]
    before = reviews_in(reported(decisions, run=RUN))
    after = reviews_in(reported(other, run=RUN))
    assert before.systems == after.systems
    assert before.errors == after.errors

    def people(found: ReviewsResult) -> list[str]:
        return sorted(
            one.model_copy(update={"number": 0}).model_dump_json() for one in found.reviewers
        )

    assert people(before) == people(after)


# --- from files -----------------------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    builder().write(tmp_path / "run")
    write_inputs(tmp_path / "run", FeedInputs(truth=TRUTH))
    ReviewLog(tmp_path / "run").add(TWO_PEOPLE)
    return tmp_path / "run"


def test_a_directory_with_its_log_gives_the_same_bytes_anywhere(
    directory: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(directory, tmp_path / "copy"))
    report = write_feed_report(directory)
    assert reviews_in(report).decisions == 5
    write_feed_report(copy)
    assert (copy / "report.json").read_bytes() == (directory / "report.json").read_bytes()


@pytest.mark.parametrize("file", ["audit.jsonl", "tracks.jsonl"])
def test_reviews_of_a_directory_that_was_tampered_with_are_not_read(
    file: str, directory: Path
) -> None:
    path = directory / file
    before = path.read_bytes()
    path.write_bytes(before.replace(b'"ann"', b'"eve"', 1))
    assert path.read_bytes() != before
    if file == "tracks.jsonl":
        write_inputs(directory, FeedInputs())
    report = write_feed_report(directory)
    found = reviews_in(report)
    assert (found.decisions, found.records) == (0, 0)
    assert "does not fit its audit log" in found.reason
    assert report.run.doubts
    assert report.effort is not None
    assert report.effort.first_result_seconds is None


def test_a_verdict_changed_in_the_log_is_found_by_what_was_written_after_it(
    directory: Path,
) -> None:
    log = directory / "audit.jsonl"
    first = log.read_bytes().replace(b'"verdict":"rejected"', b'"verdict":"confirmed"', 1)
    log.write_bytes(first)
    found = reviews_in(write_feed_report(directory))
    assert (found.decisions, found.systems) == (0, ())
