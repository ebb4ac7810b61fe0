"""How a run went, counted from its lines: stages, throughput, outages, review."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rekadapter.evaluation.decision_page import evaluation_html
from rekadapter.evaluation.feed_inputs import FeedInputs
from rekadapter.evaluation.feed_report import Kept, feed_report
from rekadapter.evaluation.feed_results import RunningResult
from rekadapter.evaluation.results import EvaluationReport
from rekadapter.evaluation.rules import CostInputs, Rules
from rekadapter.evaluation.truth import TransitEntry, Truth
from rekadapter.observation import Run
from rekadapter.testing.runs import RunBuilder, Transit, local_backend, remote_backend

REMOTE = (remote_backend(),)


def report_of(
    run: Run, truth: Truth | None = None, cost: CostInputs | None = None
) -> EvaluationReport:
    rules = Rules(resamples=100, cost=cost or CostInputs())
    return feed_report(run, Kept(FeedInputs(rules=rules, truth=truth), "0" * 64))


def running(run: Run) -> RunningResult:
    feeds = report_of(run).feeds
    assert feeds is not None
    return feeds.running[0]


def with_ages(run: Run) -> Run:
    """Every answer two seconds after its frame, so that it waited for what its latency leaves."""
    aged = tuple(replace(one, age_seconds=2.0) for one in run.observations)
    return replace(run, observations=aged)


def test_each_stage_has_its_percentiles() -> None:
    builder = RunBuilder(backends=REMOTE, cameras={"lobby": 100})
    for number in range(100):
        builder.request("rekognition", "lobby", at_seconds=number, wait_seconds=number / 100)
    (ops,) = report_of(with_ages(builder.build())).ops
    stages = {one.stage: one for one in ops.latencies}
    assert list(stages) == [
        "whole frame, from the camera to the answer",
        "waiting for a turn",
        "answer, all stages",
        "service and network",
        "waiting for the uplink or a retry",
    ]
    waited = stages["waiting for the uplink or a retry"]
    assert (waited.p50_ms, waited.p95_ms, waited.p99_ms) == pytest.approx((490, 940, 980))
    assert stages["whole frame, from the camera to the answer"].p50_ms == 2000
    queued, answered = stages["waiting for a turn"], stages["answer, all stages"]
    assert answered.p50_ms is not None
    assert queued.p50_ms == pytest.approx(2000 - answered.p50_ms, abs=0.2)


def test_throughput_is_by_the_clock_of_the_run() -> None:
    builder = RunBuilder(backends=(local_backend(),), cameras={"lobby": 300})
    builder.transit("local", Transit("lobby", 0, 59, "ann"))
    builder.drop("local", "lobby", range(200, 300), "replaced_by_newer")
    row = running(builder.build())
    assert row.run_seconds == 30
    assert row.frames_per_second == pytest.approx(200 / 30)
    assert row.faces_per_second == pytest.approx(60 / 30)
    assert (row.captured, row.processed, row.dropped) == (300, 200, {"replaced_by_newer": 100})
    assert row.unaccounted == 0
    assert row.bits_per_second is None


def test_outages_are_stretches_of_requests_without_an_answer() -> None:
    builder = RunBuilder(backends=REMOTE, cameras={"lobby": 10})
    outcomes = ["ok", "timeout", "no_face", "throttled", "timeout", "timeout", "ok", "timeout"]
    for number, outcome in enumerate(outcomes):
        builder.request("rekognition", "lobby", outcome=outcome, at_seconds=10 * number)
    row = running(builder.build())
    assert row.outages.count == 1
    assert row.outages.longest_seconds == pytest.approx(20.05)
    assert (row.unanswered.errors, row.unanswered.n) == (5, 8)


def test_a_system_of_this_machine_is_judged_by_its_frames() -> None:
    builder = RunBuilder(backends=(local_backend(),), cameras={"lobby": 100})
    builder.fail("local", "lobby", range(10, 20))
    row = running(builder.build())
    assert row.outages.count == 1
    assert row.outages.longest_seconds is not None
    assert 0.9 <= row.outages.longest_seconds < 1.5
    assert (row.unanswered.errors, row.failed_frames) == (10, 10)


def test_a_short_run_cannot_pass_the_gate_of_operations_and_says_why() -> None:
    builder = RunBuilder(backends=REMOTE, cameras={"lobby": 100})
    for number in range(100):
        builder.request("rekognition", "lobby", at_seconds=number)
    report = report_of(builder.build())
    gate = next(one for one in report.verdicts if one.gate == "operations")
    assert gate.result == "not enough evidence"
    assert "1 stretches of five minutes" in gate.why


def test_three_hours_without_a_failure_pass_and_with_many_fail() -> None:
    def result(outcome: str) -> str:
        builder = RunBuilder(backends=REMOTE, cameras={"lobby": 100})
        for number in range(400):
            bad = outcome if number % 2 else "ok"
            builder.request("rekognition", "lobby", outcome=bad, at_seconds=30 * number)
        rules = Rules.model_validate({"requirements": {"max_failed_requests": 0.1}})
        report = feed_report(builder.build(), Kept(FeedInputs(rules=rules), "0" * 64))
        return next(one.result for one in report.verdicts if one.gate == "operations")

    assert result("no_face") == "pass"
    assert result("timeout") == "fail"


def test_names_to_review_a_day_and_how_many_are_wrong() -> None:
    builder = RunBuilder(backends=(local_backend(),), cameras={"lobby": 400})
    for place, name in enumerate(("ann", "ann", "bob", "ann")):
        builder.transit("local", Transit("lobby", 100 * place, 100 * place + 20, name, listed=True))
    made = builder.build()
    (camera,) = made.record.cameras
    six_hours = replace(made.record, cameras=(replace(camera, seconds=21_600.0),))
    truth = Truth(
        gallery=("ann", "bob"),
        transits=tuple(
            TransitEntry(camera="lobby", person=person, enters=10 * place, leaves=10 * place + 3)
            for place, person in enumerate(("ann", "ann", "bob", "visitor"))
        ),
    )
    cost = CostInputs(review_seconds_per_alert=90)
    feeds = report_of(replace(made, record=six_hours), truth, cost).feeds
    assert feeds is not None
    (row,) = feeds.review
    assert row.names_per_camera_day == 16
    assert row.hours_per_camera_day == pytest.approx(0.4)
    assert (row.wrong.errors, row.wrong.n) == (1, 4)
    assert report_of(made).feeds.review[0].names_per_camera_day is None  # type: ignore[union-attr]


def test_time_away_is_on_the_page() -> None:
    made = RunBuilder(backends=(local_backend(),), cameras={"lobby": 10}).build()
    (camera,) = made.record.cameras
    away = replace(camera, interruptions=2, away_seconds=75.0, error="the camera went away")
    page = evaluation_html(report_of(replace(made, record=replace(made.record, cameras=(away,)))))
    assert "2 times, 75.0 s" in page
    assert "the camera went away" in page
