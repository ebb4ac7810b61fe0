"""A threshold out of a report: what it may be used with, and what is said of its use."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.errors import ThresholdReportError
from rekadapter.evaluation.feed_results import FeedsResult
from rekadapter.evaluation.gallery_size import fmr_if_independent, fpir_if_independent
from rekadapter.evaluation.rates import percent
from rekadapter.evaluation.rules import Governance, ReTest
from rekadapter.evaluation.threshold_report import (
    GivenReport,
    Purpose,
    SystemInUse,
    UsableThreshold,
    measured_threshold,
    primary_thresholds,
    read_threshold_report,
)
from rekadapter.evaluation.threshold_results import InForceResult
from rekadapter.evaluation.threshold_use import ThresholdUse, days_of, warnings_of
from rekadapter.testing.evaluations import START
from rekadapter.types import GalleryDescription, GalleryId
from tests.evaluate.measured_reports import ENROLLED, RULES, Measurement, entries, measured

MEASURED_ON = START.date()
PHOTOGRAPHS = ThresholdUse("photographs")


def memory() -> SystemInUse:
    return SystemInUse("memory", "memory", MemoryRecognizer().capabilities)


def changed(system: SystemInUse, **about: Any) -> SystemInUse:
    return replace(system, capabilities=replace(system.capabilities, **about))


def gallery(faces: int, model: str = "memory-1") -> GalleryDescription:
    return GalleryDescription(GalleryId("staff"), faces, model)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A measurement whose primary row rests on enough."""
    return measured(tmp_path_factory.mktemp("measured"), entries(None, "memory"))


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with comparisons (1:1)."""
    out = tmp_path_factory.mktemp("compared")
    return measured(out, entries(None, "memory"), Measurement(pairs=True))


@pytest.fixture
def copied(directory: Path, tmp_path: Path) -> Path:
    return shutil.copytree(directory, tmp_path / "copied")


def rewritten(directory: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The report with something in it changed, and no audit log to tell."""
    file = directory / "report.json"
    report = json.loads(file.read_text(encoding="utf-8"))
    change(report)
    file.write_text(json.dumps(report), encoding="utf-8")
    (directory / "audit.jsonl").unlink(missing_ok=True)
    return directory


def warned(
    directory: Path, use: ThresholdUse = PHOTOGRAPHS, today: date = MEASURED_ON
) -> tuple[str, ...]:
    report = read_threshold_report(directory)
    found = measured_threshold(report, memory(), use.purpose)
    return tuple(warnings_of(report, found, use, today))


# --- what is taken ----------------------------------------------------------------------------


def test_the_threshold_is_the_one_of_the_primary_row_in_full_precision(directory: Path) -> None:
    report = read_threshold_report(directory)
    found = measured_threshold(report, memory(), Purpose.SEARCH)
    row = next(one for one in report.report.accuracy if one.primary)
    assert found.value == row.threshold
    assert found.value != float(f"{found.value:.7g}"), "rounding would not be seen"
    assert found.measured.target == 0.1
    assert found.measured.gallery_size == ENROLLED
    assert found.measured.report == report.report.run.id


def test_directory_and_file_are_the_same_report(directory: Path) -> None:
    assert read_threshold_report(directory) == read_threshold_report(directory / "report.json")


def test_words_name_target_size_report_day_and_what_was_measured(directory: Path) -> None:
    report = read_threshold_report(directory)
    found = measured_threshold(report, memory(), Purpose.SEARCH)
    assert found.words == (
        f"for FPIR 10 % at N = 40, report {report.report.run.id} of 2026-03-14 "
        "(FPIR measured: 11 % (7.3 % to 17 %), on 180 other people)"
    )


def test_another_target_is_another_row(directory: Path) -> None:
    report = read_threshold_report(directory)
    found = measured_threshold(report, memory(), Purpose.SEARCH, 0.15)
    primary = measured_threshold(report, memory(), Purpose.SEARCH)
    assert found.measured.target == 0.15
    assert found.value < primary.value


def test_comparisons_take_the_threshold_of_comparisons(compared: Path) -> None:
    report = read_threshold_report(compared)
    found = measured_threshold(report, memory(), Purpose.COMPARE)
    assert report.report.one_to_one is not None
    row = next(one for one in report.report.one_to_one.accuracy if one.primary)
    assert found.value == row.threshold
    assert found.value != measured_threshold(report, memory(), Purpose.SEARCH).value
    assert (found.measured.metric, found.measured.gallery_size) == ("FMR", None)
    assert found.words.startswith("for FMR 1 %, report ")


def test_a_backend_of_another_name_is_known_by_type_and_model(directory: Path) -> None:
    report = read_threshold_report(directory)
    onprem = replace(memory(), name="onprem")
    assert measured_threshold(report, onprem, Purpose.SEARCH).system.id == "memory"


# --- what is refused --------------------------------------------------------------------------


def test_too_few_people_are_a_refusal_and_say_how_few(tmp_path: Path) -> None:
    few = measured(tmp_path / "few", entries(None, "memory"), Measurement(absent=20))
    report = read_threshold_report(few)
    with pytest.raises(ThresholdReportError, match="not enough evidence: 8 people are too few"):
        measured_threshold(report, memory(), Purpose.SEARCH)


def test_a_threshold_on_too_few_errors_is_a_refusal(directory: Path) -> None:
    report = read_threshold_report(directory)
    with pytest.raises(ThresholdReportError, match="rests on 1 errors"):
        measured_threshold(report, memory(), Purpose.SEARCH, 0.01)


def test_a_rate_that_was_tested_on_nobody_is_a_refusal(copied: Path) -> None:
    def forget(report: dict[str, Any]) -> None:
        row = next(one for one in report["accuracy"] if one["primary"])
        row["fpir"] |= {"ci": None, "value": None, "reason": "3 people are too few"}

    report = read_threshold_report(rewritten(copied, forget))
    with pytest.raises(ThresholdReportError, match="not enough evidence: 3 people are too few"):
        measured_threshold(report, memory(), Purpose.SEARCH)


def test_a_target_without_a_row_names_those_there_are(directory: Path) -> None:
    report = read_threshold_report(directory)
    with pytest.raises(ThresholdReportError, match="FPIR 2 %, only at 15 %, 10 %, 1 %"):
        measured_threshold(report, memory(), Purpose.SEARCH, 0.02)


def test_a_threshold_of_searches_is_none_for_comparisons(directory: Path) -> None:
    report = read_threshold_report(directory)
    with pytest.raises(ThresholdReportError, match=r"no comparisons \(1:1\) of memory.*--pairs"):
        measured_threshold(report, memory(), Purpose.COMPARE)


@pytest.mark.parametrize(
    ("use", "complaint"),
    [
        (changed(memory(), model="memory-2"), "model memory-1 then, memory-2 now"),
        (
            changed(memory(), score_scale=replace(memory().capabilities.score_scale, name="cos")),
            "scale .* then, cos now",
        ),
        (
            changed(memory(), details={"embedder_sha256": "f" * 64}),
            "embedder_sha256 - then, ffff",
        ),
        (
            changed(memory(), details={"cosine_threshold": "0.3"}),
            "cosine_threshold - then, 0.3 now",
        ),
        (replace(memory(), type="other"), "type memory then, other now"),
    ],
    ids=["model", "scale", "weights", "bent-scale", "type"],
)
def test_another_system_than_the_one_measured_is_refused(
    directory: Path, use: SystemInUse, complaint: str
) -> None:
    report = read_threshold_report(directory)
    with pytest.raises(ThresholdReportError, match=complaint):
        measured_threshold(report, use, Purpose.SEARCH)


def test_a_system_that_was_not_measured_names_those_that_were(directory: Path) -> None:
    report = read_threshold_report(directory)
    stranger = changed(replace(memory(), name="onprem"), model="memory-2")
    with pytest.raises(ThresholdReportError, match=r"has not measured onprem, .*memory \(model"):
        measured_threshold(report, stranger, Purpose.SEARCH)


def test_two_systems_that_are_the_same_are_not_guessed_between(tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text('[backends.a]\ntype = "memory"\n[backends.b]\ntype = "memory"\n')
    both = measured(tmp_path / "both", entries(config, "a", "b"))
    report = read_threshold_report(both)
    with pytest.raises(ThresholdReportError, match="several systems"):
        measured_threshold(report, memory(), Purpose.SEARCH)
    named = replace(memory(), name="b")
    assert measured_threshold(report, named, Purpose.SEARCH).system.id == "b"


def test_a_threshold_off_the_scale_is_refused(copied: Path) -> None:
    def off(report: dict[str, Any]) -> None:
        next(one for one in report["accuracy"] if one["primary"])["threshold"] = 1000.0

    report = read_threshold_report(rewritten(copied, off))
    with pytest.raises(ThresholdReportError, match="1000 is no score"):
        measured_threshold(report, memory(), Purpose.SEARCH)


def test_made_up_scores_give_no_threshold(tmp_path: Path) -> None:
    what = Measurement(synthetic=True)
    with pytest.raises(ThresholdReportError, match="made up"):
        read_threshold_report(measured(tmp_path / "o", entries(None, "memory"), what))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda report: report.update(schema_version=99), "version 99 of the format"),
        (lambda report: report.update(schema_version="1"), "is no report of rekadapter"),
        (lambda report: report.pop("accuracy"), "is no report of rekadapter"),
        (lambda report: report.pop("run"), "not as this version of rekadapter writes it"),
        (lambda report: report["run"].update(doubts=["a line is gone"]), "a line is gone"),
    ],
    ids=["version", "no-version", "another-file", "a-part-missing", "damaged"],
)
def test_what_is_no_sound_report_is_refused(
    copied: Path, change: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    with pytest.raises(ThresholdReportError, match=complaint):
        read_threshold_report(rewritten(copied, change))


@pytest.mark.parametrize("text", ["", "not JSON", "[1]", "null", "[" * 100_000])
def test_what_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "report.json"
    file.write_text(text)
    with pytest.raises(ThresholdReportError, match=r"no report of rekadapter"):
        read_threshold_report(tmp_path)


def test_where_no_report_lies_the_next_step_is_named(tmp_path: Path) -> None:
    with pytest.raises(ThresholdReportError, match="`rekadapter evaluate` wrote"):
        read_threshold_report(tmp_path)


# --- what the audit log says ------------------------------------------------------------------


def test_a_changed_threshold_does_not_pass_the_audit_log(copied: Path) -> None:
    file = copied / "report.json"
    text = file.read_text(encoding="utf-8")
    assert text.count('"threshold": 49.146238') >= 1
    file.write_text(text.replace('"threshold": 49.146238', '"threshold": 29.146238'))
    with pytest.raises(ThresholdReportError, match=r"report\.json is not as it was"):
        read_threshold_report(copied)


def test_changed_answers_do_not_pass_it_either(copied: Path) -> None:
    with (copied / "answers.jsonl").open("ab") as file:
        file.write(b"{}\n")
    with pytest.raises(ThresholdReportError, match="audit log"):
        read_threshold_report(copied)


def test_a_copy_under_another_name_beside_the_log_is_not_vouched_for(copied: Path) -> None:
    mine = copied / "mine.json"
    shutil.copy(copied / "report.json", mine)
    with pytest.raises(ThresholdReportError, match="does not say that this report was written"):
        read_threshold_report(mine)


def test_a_log_that_tells_of_no_report_vouches_for_none(copied: Path) -> None:
    log = copied / "audit.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    assert b'"kind":"reported"' in lines[-1]
    log.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(ThresholdReportError, match="does not say that this report was written"):
        read_threshold_report(copied)


def test_without_a_log_it_is_said_that_nothing_vouches_for_the_report(tmp_path: Path) -> None:
    bare = measured(tmp_path / "o", entries(None, "memory"), Measurement(logged=False))
    assert [one for one in warned(bare) if one.startswith("no audit log")]
    assert not read_threshold_report(bare).logged


# --- what is said of a use --------------------------------------------------------------------


def test_a_use_that_was_measured_is_used_without_a_word(directory: Path) -> None:
    assert warned(directory, replace(PHOTOGRAPHS, gallery=gallery(ENROLLED))) == ()


def test_a_larger_gallery_is_said_with_what_it_would_do(directory: Path) -> None:
    (said,) = warned(directory, replace(PHOTOGRAPHS, gallery=gallery(60)))
    assert "holds 60 faces and the threshold was measured at 40" in said
    # 20 of 180 at N = 40: 1 - (1 - 1/9) ** 1.5
    assert f"FPIR would be {percent(1 - (8 / 9) ** 1.5)} there" in said
    assert "not 11 %" in said


def test_twice_the_gallery_is_taken_and_more_is_refused_unless_accepted(directory: Path) -> None:
    assert len(warned(directory, replace(PHOTOGRAPHS, gallery=gallery(80)))) == 1
    larger = replace(PHOTOGRAPHS, gallery=gallery(81))
    with pytest.raises(ThresholdReportError, match="--accept-larger-gallery"):
        warned(directory, larger)
    assert len(warned(directory, replace(larger, accept_larger_gallery=True))) == 1


@given(st.floats(1e-6, 0.5), st.integers(1, 10_000), st.integers(1, 10_000), st.integers(1, 10_000))
def test_growing_in_two_steps_is_growing_in_one(fpir: float, n: int, more: int, most: int) -> None:
    def grown(rate: float, size: int, to: int) -> float:
        return fpir_if_independent(fmr_if_independent(rate, size), to)

    once = grown(fpir, n, n + more + most)
    twice = grown(grown(fpir, n, n + more), n + more, n + more + most)
    assert math.isclose(once, twice, rel_tol=1e-6)
    assert once >= fpir * (1 - 1e-9)


def test_a_gallery_of_another_model_is_refused(directory: Path) -> None:
    use = replace(PHOTOGRAPHS, gallery=gallery(10, model="memory-0"))
    with pytest.raises(ThresholdReportError, match="is one of model memory-0"):
        warned(directory, use)


def test_a_cloud_whose_model_nobody_recorded_is_not_taken_for_the_same(copied: Path) -> None:
    def cloud(report: dict[str, Any]) -> None:
        report["systems"][0] |= {"kind": "cloud", "gallery_model": None}

    said = warned(rewritten(copied, cloud), replace(PHOTOGRAPHS, gallery=gallery(10)))
    assert "that the service uses the face model it was measured with is not known" in said


@pytest.mark.parametrize(
    ("use", "says"),
    [
        (ThresholdUse("feeds", "track"), "this run names people who cross a view"),
        (ThresholdUse("video"), "the service picks the frames"),
        (ThresholdUse("service"), "how large the galleries are is not known"),
    ],
    ids=["run", "video", "service"],
)
def test_photographs_say_little_of_another_use(
    directory: Path, use: ThresholdUse, says: str
) -> None:
    (said,) = warned(directory, use)
    assert says in said


@pytest.mark.parametrize(
    ("measured_in", "mode", "says"),
    [
        ("track", "track", None),
        ("track", "frame", "it was measured in mode track, and this run is in mode frame"),
        (None, "frame", "in which mode it was measured is not known"),
    ],
)
def test_a_run_in_another_mode_than_the_one_measured_is_said(
    directory: Path, measured_in: str | None, mode: str, says: str | None
) -> None:
    report = read_threshold_report(directory)
    found = measured_threshold(report, memory(), Purpose.SEARCH)
    report, found = as_of_feeds(report, found, measured_in)
    said = list(warnings_of(report, found, ThresholdUse("feeds", mode), MEASURED_ON))
    assert len(said) == (0 if says is None else 1)
    assert all(one.startswith(str(says)) for one in said)


def test_a_run_is_known_by_its_model_under_any_name(directory: Path) -> None:
    report = read_threshold_report(directory)
    found = measured_threshold(report, memory(), Purpose.SEARCH)
    feeds, _ = as_of_feeds(report, found, "track")
    renamed = replace(memory(), name="onprem", type="other")
    assert measured_threshold(feeds, renamed, Purpose.SEARCH).value == found.value


def as_of_feeds(
    given_report: GivenReport, found: UsableThreshold, mode: str | None
) -> tuple[GivenReport, UsableThreshold]:
    """The same measured on feeds, by a run in a mode."""
    feeds = FeedsResult.model_construct(state="finished", truth=True)
    in_force = InForceResult(threshold=80.0, origin="given by hand", mode=mode, warnings=())
    return (
        replace(given_report, report=given_report.report.model_copy(update={"feeds": feeds})),
        replace(found, system=found.system.model_copy(update={"in_force": in_force})),
    )


def test_a_rate_beyond_its_target_is_said(tmp_path: Path) -> None:
    what = Measurement(rules=RULES.model_copy(update={"seed": 5}))
    (said,) = warned(measured(tmp_path / "o", entries(None, "memory"), what))
    assert "above the target of 10 %: at least 11 %" in said


# --- age --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("governance", "today", "says"),
    [
        (Governance(expiry="2026-12-31"), date(2026, 12, 31), None),
        (Governance(expiry="2026-12-31"), date(2027, 1, 1), "valid until 2026-12-31"),
        (Governance(expiry="next spring"), MEASURED_ON, "'next spring' is no date"),
        (Governance(re_test=ReTest(interval="12 months")), date(2027, 3, 14), None),
        (
            Governance(re_test=ReTest(interval="12 months")),
            date(2027, 3, 15),
            "measured 366 days ago, to be measured again: 12 months",
        ),
        (Governance(re_test=ReTest(interval="when it rains")), MEASURED_ON, "is not known"),
    ],
    ids=["valid", "expired", "no-date", "in-time", "overdue", "no-interval"],
)
def test_the_end_that_governance_sets_is_kept_to(
    tmp_path: Path, governance: Governance, today: date, says: str | None
) -> None:
    what = Measurement(rules=RULES.model_copy(update={"governance": governance}))
    said = warned(measured(tmp_path / "o", entries(None, "memory"), what), today=today)
    assert [says in one for one in said] == [True] if says else said == ()


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("90 days", 90.0),
        ("every 2 weeks", 14.0),
        ("12 months", 365.25),
        ("1 Year", 365.25),
        ("every year", 365.25),
        ("yearly", 365.25),
        ("quarterly", 91.3125),
        ("when the model changes", None),
        ("", None),
    ],
)
def test_intervals_as_people_write_them(text: str, days: float | None) -> None:
    assert days_of(text) == days


# --- at the end of an evaluation --------------------------------------------------------------


def test_each_system_has_a_threshold_to_use_or_the_reason_for_none(
    directory: Path, tmp_path: Path
) -> None:
    (found,) = primary_thresholds(read_threshold_report(directory))
    assert isinstance(found, UsableThreshold)
    few = measured(tmp_path / "few", entries(None, "memory"), Measurement(absent=20))
    (why,) = primary_thresholds(read_threshold_report(few))
    assert isinstance(why, str)
    assert "not enough evidence" in why
