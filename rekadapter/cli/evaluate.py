"""`rekadapter evaluate`: a labeled data set through one or more backends, into one report."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Annotated

import typer

from rekadapter.cli.evaluation_job import Done, Job, written
from rekadapter.cli.options import INTERRUPTED, MOST_USD, AsJson, BackendNames, number
from rekadapter.cli.output import print_table, remark, show_head
from rekadapter.cli.session import Session
from rekadapter.cli.standbys import REMOTE_WORKERS
from rekadapter.cli.threshold_line import say_how_to_use
from rekadapter.errors import BackendError, UsageError
from rekadapter.evaluation.brought_quality import read_quality
from rekadapter.evaluation.dataset import CheckedDataset, Dataset, check
from rekadapter.evaluation.loaders import Layout, Loaded, load
from rekadapter.evaluation.pair_planner import pair_needs
from rekadapter.evaluation.planner import PlanRequest, Side, plan, reach, tested_share
from rekadapter.evaluation.rates import share
from rekadapter.evaluation.record import PhotographQuality
from rekadapter.evaluation.results import EvaluationReport, report_text
from rekadapter.evaluation.rules import Rules, parse_rules, read_toml
from rekadapter.evaluation.runner import Options

DatasetPath = Annotated[
    Path | None,
    typer.Argument(help="A folder per person, or a protocol as .csv or .toml.", show_default=False),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Directory of the evaluation. [runs/evaluation-DIGEST]"),
]
RulesFile = Annotated[
    Path | None,
    typer.Option("--rules", help="TOML of targets, requirements, costs, governance."),
]
LayoutOption = Annotated[Layout, typer.Option("--layout", help="How the data set lies on disk.")]
PlanFlag = Annotated[
    bool, typer.Option("--plan", help="Print how many people a claim needs, and stop.")
]
TargetFpir = Annotated[
    float | None,
    number("--target-fpir", low=1e-9, high=0.5, about="Share of false alerts to compare at."),
]
Seed = Annotated[
    int | None, number("--seed", low=0, high=2**63 - 1, about="Seed of splits and resampling.")
]
MaxUsd = Annotated[
    float,
    number("--max-usd", low=0, high=MOST_USD, about="Refuse to start where calls would cost more."),
]
Workers = Annotated[
    int, number("--workers", low=1, high=64, about="Open requests to a remote backend.")
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Ask again where a request failed before.")
]
Pairs = Annotated[
    int | None,
    number(
        "--pairs",
        low=0,
        high=10_000_000,
        about="Pairs that each backend compares 1:1. [40 by local backends, none by remote ones; "
        "of a data set of pairs all]",
    ),
]
SweepFlag = Annotated[
    bool,
    typer.Option(
        "--sweep",
        help="Search the same photographs again at fewer and fewer pixels between the eyes.",
    ),
]
QualityFile = Annotated[
    Path | None,
    typer.Option(
        "--quality",
        help="CSV of measures of the searched photographs (OFIQ's, say): would a gate help?",
    ),
]
KeepGallery = Annotated[
    bool, typer.Option("--keep-gallery", help="Leave the enrolled faces in the backends.")
]


def evaluate(
    context: typer.Context,
    dataset: DatasetPath = None,
    backend: BackendNames = None,
    layout: LayoutOption = Layout.AUTO,
    rules: RulesFile = None,
    target_fpir: TargetFpir = None,
    seed: Seed = None,
    out: Out = None,
    plan_only: PlanFlag = False,
    max_usd: MaxUsd = 5.0,
    workers: Workers = REMOTE_WORKERS,
    pairs: Pairs = None,
    sweep: SweepFlag = False,
    quality: QualityFile = None,
    retry_failed: RetryFailed = False,
    keep_gallery: KeepGallery = False,
    as_json: AsJson = False,
) -> None:
    """Measure backends on labeled people and write a report (answers are kept and asked once)."""
    given = parse_rules(read_toml(rules), str(rules)) if rules else None
    fixed = _moved(given or Rules(), target_fpir, seed)
    loaded = None
    if dataset is not None:
        fixed = _moved(load(dataset, layout, given).rules, target_fpir, seed)
        loaded = load(dataset, layout, fixed)  # the seed deals the people
    if plan_only:
        _show_plan(fixed, loaded)
        return
    if loaded is None:
        raise UsageError("name a data set: a folder per person, or a protocol (.csv, .toml)")
    checked = check(loaded.dataset)
    session: Session = context.obj
    job = Job(
        session=session,
        names=tuple(dict.fromkeys(backend or [session.settings.backend])),
        checked=checked,
        rules=fixed,
        out=out,
        max_usd=max_usd,
        workers=workers,
        pairs=pairs,
        sweep=sweep,
        quality=_brought(quality, checked) if quality else (),
        options=Options(uuid.uuid4().hex[:12], retry_failed, keep_gallery),
    )
    done = job.run()
    _show(done, as_json=as_json)
    _refuse_nothing(done.report)


# --- before the first question ----------------------------------------------------------------


def _brought(file: Path, checked: CheckedDataset) -> tuple[PhotographQuality, ...]:
    brought = read_quality(file, checked)
    remark(f"{file}: {brought.sentence}")
    return brought.photographs


def _moved(rules: Rules, target_fpir: float | None, seed: int | None) -> Rules:
    flags = {"target_fpir": target_fpir, "seed": seed}
    return rules.model_copy(update={k: v for k, v in flags.items() if v is not None})


# --- what is printed --------------------------------------------------------------------------


def _show_plan(rules: Rules, loaded: Loaded | None) -> None:
    if loaded is not None and loaded.dataset.pairs:
        _show_pair_plan(rules, loaded.dataset)
        return
    groups = 1
    if loaded is not None:
        labels = {label for one in loaded.dataset.people for label in one.groups}
        groups = max(1, len(labels))
    request = PlanRequest(
        target_fpir=rules.target_fpir,
        target_fnir=rules.requirements.max_fnir,
        margin=rules.margin,
        groups=groups,
        calibration_share=rules.calibration_share,
    )
    needed = plan(request)
    rows = [(n.claim, n.side, f"{n.people:,}", f"{n.captures:,}", n.rule) for n in needed.needs]
    columns = ("to", "captured are", "people", "captures", "by")
    print_table("What each claim needs", columns, rows)
    if loaded is not None:
        for side, samples in (
            (Side.MATED, loaded.dataset.mated),
            (Side.NONMATED, loaded.dataset.nonmated),
        ):
            people = len({sample.person for sample in samples})
            tested = round(people * tested_share(request, side))
            bound = reach(tested).clean_bound
            shows = "too few for any rate" if bound is None else f"at best: at most {bound:.2g}"
            remark(f"this data set: {people} {side}, {tested} of them tested on: {shows}")


def _show_pair_plan(rules: Rules, dataset: Dataset) -> None:
    needs = pair_needs(rules.one_to_one, rules.calibration_share)
    kinds = {True: "of one person", False: "of two people"}
    rows = [(n.claim, kinds[n.mated], f"{n.people:,}", f"{n.pairs:,}", n.rule) for n in needs]
    columns = ("to", "compared are pairs", "people", "pairs", "by")
    print_table("What each claim about comparisons needs", columns, rows)
    for mated, kind in kinds.items():
        own = [pair for pair in dataset.pairs if pair.mated == mated]
        people = {sample.person for pair in own for sample in (pair.first, pair.second)}
        remark(f"this data set: {len(own):,} pairs {kind}, of {len(people):,} people in all")


def show_again(directory: Path, *, as_json: bool) -> EvaluationReport:
    """Measures stored answers anew, writes the report, and prints it."""
    done = written(directory, stopped=False)
    _show(done, as_json=as_json)
    return done.report


def _show(done: Done, *, as_json: bool) -> None:
    for doubt in done.report.run.doubts:
        remark(f"warning: this evaluation is damaged: {doubt}")
    if as_json:
        typer.echo(report_text(done.report), nl=False)
    else:
        _show_rates(done.report)
        print_table(
            "Gates",
            ("system", "gate", "result", "why"),
            [(one.system, one.gate, one.result, one.why) for one in done.report.verdicts],
        )
        for concluded in done.report.conclusions:
            remark(concluded.sentence)
    if not done.stopped:
        say_how_to_use(done.directory)
    remark(f"report: {done.page}")
    show_head(done.head)
    if done.stopped:
        remark("stopped before the end: run the same command again to go on")
        raise typer.Exit(INTERRUPTED)


def _show_rates(report: EvaluationReport) -> None:
    section = report.one_to_one
    if section is None or not section.only:
        rows = [(r.system, r.label, share(r.fnir), share(r.fpir)) for r in report.accuracy]
        print_table("Accuracy", ("system", "threshold", "missed", "false alerts"), rows)
    if section is not None and section.accuracy:
        rows = [(r.system, r.label, share(r.fnmr), share(r.fmr)) for r in section.accuracy]
        print_table("Comparisons (1:1)", ("system", "threshold", "missed", "false matches"), rows)
    for source in section.sources if section else ():
        remark(f"1:1, {source.system}: {source.sentence}")
    for one in report.sweep.systems if report.sweep else ():
        remark(f"sweep, {one.sentence}")


def _refuse_nothing(report: EvaluationReport) -> None:
    """A report is there all the same; but a script that goes on has to know."""
    for compared in report.one_to_one.latency if report.one_to_one else ():
        failed = compared.failed_requests
        if failed.n and failed.errors == failed.n:
            raise BackendError(
                f"{compared.system} answered none of {failed.n} comparisons: --retry-failed asks "
                "again"
            )
    for one in report.ops:
        if one.failed_requests.n and one.failed_requests.errors == one.failed_requests.n:
            causes = ", ".join(f"{count} {cause}" for cause, count in one.errors.items())
            raise BackendError(
                f"{one.system} answered none of {one.failed_requests.n} searches: {causes}; "
                "--retry-failed asks again"
            )
