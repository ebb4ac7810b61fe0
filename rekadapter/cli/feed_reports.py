"""The reports of a run: what they need beforehand, and writing and showing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import typer

from rekadapter import __version__
from rekadapter.cli.output import print_table, remark
from rekadapter.cli.pricing import price_entries
from rekadapter.cli.session import OpenBackend
from rekadapter.evaluation.decision_page import PAGE_FILE, write_page
from rekadapter.evaluation.feed_inputs import (
    INPUTS_FILE,
    FeedInputs,
    SystemInputs,
    read_inputs,
    write_inputs,
)
from rekadapter.evaluation.feed_report import write_feed_report
from rekadapter.evaluation.feed_results import AlertsResult, TransitsResult
from rekadapter.evaluation.rates import share
from rekadapter.evaluation.record import stated_keys
from rekadapter.evaluation.report import DETAIL_FILE, render_report
from rekadapter.evaluation.results import REPORT_FILE, EvaluationReport
from rekadapter.evaluation.review_words import review_sentences
from rekadapter.evaluation.rules import Rules, parse_rules, read_toml
from rekadapter.evaluation.summary import SUMMARY_FILE, Summary, cameras_of, write_summary
from rekadapter.evaluation.survey_results import (
    SURVEY_FILE,
    SurveyResult,
    read_survey,
    write_survey,
)
from rekadapter.evaluation.transits import refuse_strangers
from rekadapter.evaluation.truth import Truth, read_truth
from rekadapter.feeds import Feed
from rekadapter.sinks.audit import Head, Reported, states_of
from rekadapter.sinks.audit_report import note_given, note_report
from rekadapter.sinks.run_directory import (
    LEDGER_FILE,
    OBSERVATIONS_FILE,
    RUN_FILE,
    TRACKS_FILE,
    read_run,
)

GIVEN_FILES: Final = (INPUTS_FILE, SURVEY_FILE)
"""of a run directory: what a user gave for its report"""

TruthFile = Annotated[
    Path | None,
    typer.Option(
        "--truth",
        help="Who was really there: role,person,camera,enters,leaves as .csv, or .toml.",
    ),
]
RulesFile = Annotated[
    Path | None,
    typer.Option("--rules", help="TOML of targets, requirements, costs, governance."),
]


SurveyFile = Annotated[
    Path | None,
    typer.Option("--survey", help="What `rekadapter survey` wrote, for the section on cameras."),
]


@dataclass(frozen=True, slots=True)
class Beforehand:
    """What a user gave for the report before the run. ``price_lists``: a backend's own price file,
    where it names one."""

    truth: Truth | None = None
    rules: Rules | None = None
    price_lists: Mapping[str, Path] = field(default_factory=dict)
    survey: SurveyResult | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished directory, its numbers, the page to read first, and the head of its audit log."""

    directory: Path
    report: Path
    summary: Summary
    evaluation: EvaluationReport
    head: Head | None


def beforehand(
    truth: Path | None, rules: Path | None, survey: Path | None, cameras: Sequence[str]
) -> Beforehand:
    """Reads the files and holds the truth against the cameras, before anything is spent.

    Raises:
        UsageError: a file cannot be read or contradicts itself.
    """
    return Beforehand(
        read_truth(truth, cameras) if truth else None,
        parse_rules(read_toml(rules), str(rules)) if rules else None,
        survey=read_survey(survey) if survey else None,
    )


def keep_inputs(
    directory: Path, given: Beforehand, backends: Sequence[OpenBackend], feeds: Sequence[Feed]
) -> None:
    """Writes what the report of a run needs besides the run into its directory."""
    keep_survey(directory, given.survey)
    inputs = FeedInputs(
        rules=given.rules or Rules(),
        stated=tuple(sorted(stated_keys(given.rules))) if given.rules else (),
        truth=given.truth,
        systems=tuple(_system(one, given.price_lists.get(one.name)) for one in backends),
        photographs=tuple(feed.spec.camera for feed in feeds if not feed.continuous),
        live=tuple(feed.spec.camera for feed in feeds if feed.live),
    )
    write_inputs(directory, inputs)


def keep_survey(directory: Path, survey: SurveyResult | None) -> None:
    """Puts a survey into a directory of results, where every report of it will find it."""
    if survey is not None:
        write_survey(directory / SURVEY_FILE, survey)


def _system(backend: OpenBackend, price_list: Path | None) -> SystemInputs:
    capabilities = backend.recognizer.capabilities
    priced = capabilities.backend == "rekognition"
    region = capabilities.details.get("region", "")
    return SystemInputs(
        name=backend.name,
        default_threshold=capabilities.default_threshold.value,
        prices=price_entries(price_list, region) if priced else (),
    )


def add_to(
    directory: Path, truth: Path | None, rules: Path | None, survey: SurveyResult | None
) -> None:
    """Writes a truth, rules or a survey given afterwards into a run directory.

    Raises:
        UsageError: a file cannot be read or contradicts itself, or there is no run.
    """
    if truth is None and rules is None and survey is None:
        return
    run = read_run(directory)
    given = beforehand(truth, rules, None, cameras_of(run))
    changed: dict[str, object] = {}
    if given.truth is not None:
        refuse_strangers(run, given.truth)
        changed["truth"] = given.truth
    if given.rules is not None:
        changed |= {"rules": given.rules, "stated": tuple(sorted(stated_keys(given.rules)))}
    keep_survey(directory, survey)
    write_inputs(directory, read_inputs(directory).model_copy(update=changed))
    note_given(directory, GIVEN_FILES)


def written_up(directory: Path) -> RunResult:
    """Counts a run and writes everything made from it: ``summary.json``, ``feeds.html``,
    ``report.json`` and ``report.html``.

    Raises:
        UsageError: no run directory, or a truth that does not fit it.
        OutputError: a file is damaged or cannot be written.
    """
    run = read_run(directory)
    summary = write_summary(directory, run)
    render_report(directory, run)
    report = write_feed_report(directory, run)
    page = write_page(directory, report)
    head = note_report(directory, _reported(directory), summary.doubts)
    return RunResult(directory, page, summary, report, head)


def _reported(directory: Path) -> Reported:
    sources = (RUN_FILE, OBSERVATIONS_FILE, TRACKS_FILE, LEDGER_FILE, *GIVEN_FILES)
    written = (SUMMARY_FILE, DETAIL_FILE, REPORT_FILE, PAGE_FILE)
    return Reported(__version__, states_of(directory, sources), states_of(directory, written))


def show_findings(report: EvaluationReport) -> None:
    """What the report concludes, and what became of the transits."""
    feeds = report.feeds
    if feeds is not None and feeds.transits:
        alerts = {one.system: one for one in feeds.alerts if one.camera is None}
        rows = [_row(one, alerts[one.system]) for one in feeds.transits if one.camera is None]
        columns = ("system", "named rightly", "missed", "named, not enrolled", "false alerts",
                   "s to the name p50/p95")  # fmt: skip
        print_table("Transits, at the thresholds in force", columns, rows)
    for sentence in review_sentences(feeds.reviews if feeds else None):
        remark(sentence)
    for concluded in report.conclusions:
        remark(concluded.sentence)


def _row(row: TransitsResult, alerts: AlertsResult) -> tuple[object, ...]:
    waits = [alerts.p50_seconds, alerts.p95_seconds]
    return (
        row.system,
        f"{row.identified} of {row.mated}",
        share(row.missed),
        f"{row.nonmated_named + row.nameless_named} of {row.nonmated + row.nameless}",
        alerts.false_alerts,
        "/".join("-" if seconds is None else f"{seconds:.1f}" for seconds in waits),
    )
