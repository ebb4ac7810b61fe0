"""What it took: from the command to the first result, and what was set."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from rekadapter.evaluation.answers import Kind
from rekadapter.evaluation.decision_page import evaluation_html
from rekadapter.evaluation.effort import (
    Sitting,
    duration_words,
    effort_of_evaluation,
    effort_of_run,
)
from rekadapter.evaluation.evaluate import evaluated
from rekadapter.evaluation.feed_inputs import FeedInputs, SystemInputs
from rekadapter.evaluation.results import as_stored
from rekadapter.evaluation.rules import Rules
from rekadapter.evaluation.synthetic import ScoreModel, SearchDesign
from rekadapter.observation import Run
from rekadapter.sinks.review_log import RunLog
from rekadapter.testing.evaluations import made_up_evaluation
from rekadapter.testing.runs import START, RunBuilder, Transit
from tests.test_compare_truth import compared

DESIGN = SearchDesign(gallery=4, mated_people=4, nonmated_people=8, captures=1)


def a_run(**settings: str | int | None) -> Run:
    builder = RunBuilder()
    builder.transit("local", Transit("lobby", 0, 9, subject="ann"))
    run = builder.build()
    return replace(run, record=replace(run.record, settings=settings))


def later(seconds: float) -> RunLog:
    then = START + timedelta(seconds=seconds)
    return RunLog((), START, then, then + timedelta(seconds=1))


def test_a_run_for_which_nothing_was_set_says_so(tmp_path: Path) -> None:
    """Through the command's own function: a default that moves is found here."""
    effort = compared(tmp_path).evaluation.effort
    assert effort is not None
    assert (effort.changed, effort.settings, effort.stated) == ((), 13, ())
    assert (effort.cameras, effort.systems) == (1, 2)
    assert effort.first_result_seconds is not None
    assert effort.whole_seconds is not None
    assert 0 <= effort.first_result_seconds <= effort.whole_seconds + 1
    assert "None of the 13 settings of the run was changed" in effort.sentence


def test_the_first_decision_and_the_first_name_are_timed_from_the_beginning() -> None:
    effort = effort_of_run(a_run(), later(200), FeedInputs())
    assert (effort.first_result_seconds, effort.first_name_seconds) == (200, 201)
    assert "stood 3.3 minutes after the run began" in effort.sentence


def test_settings_that_differ_from_their_defaults_are_named() -> None:
    inputs = FeedInputs(
        systems=(SystemInputs(name="local", default_threshold=55.0),),
        stated=("cost.hardware_usd", "target_fpir"),
    )
    run = a_run(uplink="2Mbit/s", limit=5, **{"mode of local": "track", "mode of cloud": "frame"})
    effort = effort_of_run(run, later(1), inputs)
    assert effort.changed == ("uplink", "mode of local", "threshold of local")
    assert effort.settings == 2 + 4
    assert "2 rules of" in effort.sentence


def test_an_old_directory_says_what_was_not_recorded() -> None:
    effort = effort_of_run(a_run(), None, FeedInputs())
    assert effort.first_result_seconds is None
    assert "is not recorded" in effort.sentence
    assert effort.changed == ()


def test_a_clock_that_was_set_back_gives_no_time() -> None:
    assert effort_of_run(a_run(), later(-5), FeedInputs()).first_result_seconds is None


def test_enrolling_is_timed_where_the_ledger_holds_it() -> None:
    builder = RunBuilder()
    assert effort_of_run(builder.build(), None, FeedInputs()).gallery_seconds is None
    builder.request("rekognition", None, operation="DescribeCollection", at_seconds=90)
    assert effort_of_run(builder.build(), None, FeedInputs()).gallery_seconds is None
    for at in (0, 10, 40):
        builder.request("rekognition", None, operation="IndexFaces", at_seconds=at)
    found = effort_of_run(builder.build(), None, FeedInputs()).gallery_seconds
    assert found is not None
    assert 40 <= found < 45


# --- an evaluation ------------------------------------------------------------------------------


def test_sittings_are_counted_and_the_time_between_them_left_out() -> None:
    stored = made_up_evaluation(DESIGN, {"a": ScoreModel()}, default_threshold=0.4)
    asked = [one for one in stored.answers.values() if one.question.kind is Kind.SEARCH]
    answers = sorted(asked, key=lambda one: one.question.key)[:4]
    minutes = (1, 3, 600, 605)
    used = [
        replace(
            one, answered_at=START + timedelta(minutes=at), session="first" if at < 9 else "2nd"
        )
        for one, at in zip(answers, minutes, strict=True)
    ]
    sittings = [Sitting("first", START), Sitting("2nd", START + timedelta(minutes=595))]
    effort = effort_of_evaluation(stored.record, sittings, used)
    assert (effort.sittings, effort.first_result_seconds) == (2, 60)
    assert (effort.whole_seconds, effort.asking_seconds) == (605 * 60, (3 + 10) * 60)
    assert "10.1 hours, 13.0 minutes of them asking, in 2 sittings" in effort.sentence
    assert effort_of_evaluation(stored.record, sittings[::-1], used[::-1]) == effort
    enrolled = replace(used[0], question=replace(used[0].question, kind=Kind.ENROLL))
    enrolled = replace(enrolled, answered_at=START, answer_seconds=2.5)
    with_gallery = effort_of_evaluation(stored.record, sittings, [*used, enrolled])
    assert (with_gallery.gallery_seconds, with_gallery.first_result_seconds) == (2.5, 60)


def test_a_sitting_that_was_killed_left_answers_and_counts() -> None:
    stored = made_up_evaluation(DESIGN, {"a": ScoreModel()}, default_threshold=0.4)
    first = next(one for one in stored.answers.values() if one.question.kind is Kind.SEARCH)
    effort = effort_of_evaluation(stored.record, (), [replace(first, session="killed")])
    assert (effort.sittings, effort.whole_seconds) == (1, 0)


def test_an_evaluation_without_sittings_says_that_they_are_not_recorded() -> None:
    rules = Rules(name="Hall")
    stored = made_up_evaluation(DESIGN, {"a": ScoreModel()}, default_threshold=0.4, rules=rules)
    report = evaluated(stored)
    assert report.effort is not None
    assert (report.effort.sittings, report.effort.whole_seconds) == (None, None)
    assert report.effort.stated == ("name",)
    page = evaluation_html(as_stored(report))
    assert "in how many sittings, is not recorded" in page
    assert "an evaluation of photographs has no alerts to decide on" in page


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.02, "less than 0.1 seconds"),
        (0.84, "0.8 seconds"),
        (12, "12 seconds"),
        (119, "119 seconds"),
        (200, "3.3 minutes"),
        (9000, "2.5 hours"),
        (200_000, "2.3 days"),
    ],
)
def test_a_duration_is_said_in_the_unit_that_reads_best(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words
