"""`rekadapter evaluate`: a labeled data set through one or more backends, into one report."""

from __future__ import annotations

import math
import os
import platform
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Self, TypeVar

import typer
from pydantic import TypeAdapter
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as Remaining

from rekadapter import __version__
from rekadapter.cli.jobs import Uplink, remote_context, stopping_at_ctrl_c
from rekadapter.cli.options import INTERRUPTED, MOST_USD, AsJson, BackendNames, number
from rekadapter.cli.output import print_table, remark, show_head
from rekadapter.cli.pricing import price_entries
from rekadapter.cli.session import OpenBackend, Session
from rekadapter.cli.standbys import REMOTE_WORKERS
from rekadapter.errors import BackendError, OutputError, UsageError
from rekadapter.evaluation.answers import ANSWERS_FILE, AnswerStore
from rekadapter.evaluation.compare_runner import (
    ComparisonInputs,
    collect_comparisons,
    pending_comparisons,
)
from rekadapter.evaluation.comparison_plan import with_comparisons
from rekadapter.evaluation.cost import COMPARE, SEARCH, total_usd
from rekadapter.evaluation.dataset import CheckedDataset, check
from rekadapter.evaluation.decision_page import PAGE_FILE, write_page
from rekadapter.evaluation.evaluate import (
    REQUESTS_FILE,
    SESSIONS_FILE,
    SessionRecord,
    write_report,
)
from rekadapter.evaluation.evaluation_audit import SOURCES, EvaluationAudit
from rekadapter.evaluation.loaders import Layout, Loaded, load
from rekadapter.evaluation.planner import PlanRequest, Side, plan, reach, tested_share
from rekadapter.evaluation.rates import share
from rekadapter.evaluation.record import (
    EVALUATION_FILE,
    EvaluationRecord,
    PriceEntry,
    Pseudonyms,
    SystemEntry,
    record_of,
    write_record,
)
from rekadapter.evaluation.results import REPORT_FILE, EvaluationReport, report_text
from rekadapter.evaluation.rules import Rules, parse_rules, read_toml
from rekadapter.evaluation.runner import (
    Inputs,
    Options,
    SystemUnderTest,
    collect,
    pending,
)
from rekadapter.observation import LedgerEntry
from rekadapter.sinks.audit import Head
from rekadapter.sinks.audit_report import note_report

_SECONDS_A_QUESTION: Final = 0.5
"""assumed for the estimate before the first answer, and said so"""

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
    job = _Job(
        session=session,
        names=tuple(dict.fromkeys(backend or [session.settings.backend])),
        checked=checked,
        rules=fixed,
        out=out,
        max_usd=max_usd,
        workers=workers,
        pairs=pairs,
        options=Options(uuid.uuid4().hex[:12], retry_failed, keep_gallery),
    )
    done = job.run()
    _show(done, as_json=as_json)
    _refuse_nothing(done.report)


@dataclass(frozen=True, slots=True)
class _Done:
    directory: Path
    page: Path
    report: EvaluationReport
    head: Head | None
    stopped: bool


@dataclass(frozen=True, slots=True)
class _Left:
    """What one system has not answered yet."""

    enroll: int
    search: int
    compare: int


@dataclass(frozen=True, slots=True)
class _Asked:
    """What became of one system's turn: its gallery's model, and whether anything was asked."""

    model: str | None
    anything: bool


@dataclass(frozen=True, slots=True)
class _Job:
    """One evaluation from checked data to report."""

    session: Session
    names: tuple[str, ...]
    checked: CheckedDataset
    rules: Rules
    out: Path | None
    max_usd: float
    workers: int
    pairs: int | None
    options: Options

    def run(self) -> _Done:
        uplink = Uplink.capped_at(self.session.settings.uplink)
        with ExitStack() as stack:
            context = remote_context(self.session.settings, uplink)
            opened = [
                stack.enter_context(self.session.backend(name, context=context))
                for name in self.names
            ]
            record = self._record(opened)
            directory = self.out or Path("runs") / f"evaluation-{record.input_sha256[:12]}"
            _refuse_foreign(directory)
            write_record(directory, record)
            store = stack.enter_context(AnswerStore(directory / ANSWERS_FILE))
            self._refuse_too_dear(self._estimate(record, opened, store))
            self._keep_audit(stack, directory, record, store)
            requests = stack.enter_context(_Lines(directory / REQUESTS_FILE, LedgerEntry))
            uplink.ledger.write_to(requests.append)
            self._collect(record, opened, store, uplink, directory)
        return _written(directory, stopped=uplink.stop.is_set())

    def _keep_audit(
        self, stack: ExitStack, directory: Path, record: EvaluationRecord, store: AnswerStore
    ) -> None:
        """From here on every answer stands in the audit log, and so does how the sitting ended."""
        audit = stack.enter_context(EvaluationAudit(directory, record, self.options.session))
        store.listen(audit.answered)

    def _record(self, opened: Sequence[OpenBackend]) -> EvaluationRecord:
        entries = [_entry(self.session, one) for one in opened]
        pseudonyms = Pseudonyms.kept_in(self.session.settings.data_dir)
        record = record_of(self.checked, self.rules, entries, pseudonyms, __version__)
        return with_comparisons(record, self.checked, pseudonyms, self.pairs)

    def _estimate(
        self, record: EvaluationRecord, opened: Sequence[OpenBackend], store: AnswerStore
    ) -> float:
        inputs = Inputs.of(record, self.checked)
        total = 0.0
        for entry, one in zip(record.systems, opened, strict=True):
            searches = pending(inputs, one.name, store, self.options)
            comparisons = pending_comparisons(record, one.name, store, self.options)
            left = _Left(searches.enroll, searches.search, comparisons)
            price = _price_of(entry, left)
            remark(_estimate_text(entry, left, price, self.workers))
            total += price or 0.0
        for warning in record.warnings:
            remark(f"note: {warning}")
        return total

    def _refuse_too_dear(self, price: float) -> None:
        if price > self.max_usd:
            enough = math.ceil(100 * price - 1e-9) / 100
            raise UsageError(
                f"the calls would cost about ${price:,.2f}: give --max-usd {enough:.2f} to allow it"
            )

    def _collect(
        self,
        record: EvaluationRecord,
        opened: Sequence[OpenBackend],
        store: AnswerStore,
        uplink: Uplink,
        directory: Path,
    ) -> None:
        with (
            stopping_at_ctrl_c(uplink.stop),
            _Bars() as bars,
            _Lines(directory / SESSIONS_FILE, SessionRecord) as sessions,
        ):
            for one in opened:
                workers = self.workers if one.recognizer.capabilities.remote else 1
                system = SystemUnderTest(one.name, one.recognizer, workers)
                began = datetime.now(UTC)
                asked = self._ask(system, record, store, uplink, bars)
                if asked.anything:
                    host = _host()
                    sessions.append(
                        SessionRecord(self.options.session, one.name, began, asked.model, host)
                    )

    def _ask(
        self,
        system: SystemUnderTest,
        record: EvaluationRecord,
        store: AnswerStore,
        uplink: Uplink,
        bars: _Bars,
    ) -> _Asked:
        model = None
        if not record.only_pairs:
            inputs = Inputs.of(record, self.checked)
            model = collect(system, inputs, store, self.options, uplink.stop, bars)
        compared = 0
        if not uplink.stop.is_set():
            pairs = ComparisonInputs.of(record, self.checked)
            compared = collect_comparisons(system, pairs, store, self.options, uplink.stop, bars)
        return _Asked(model, anything=model is not None or compared > 0)


T = TypeVar("T")


class _Lines:
    """Appends records to a file, one a line."""

    def __init__(self, path: Path, kind: type[T]) -> None:
        self._path = path
        self._adapter: TypeAdapter[T] = TypeAdapter(kind)

    def __enter__(self) -> Self:
        try:
            self._file = self._path.open("ab", buffering=0)
        except OSError as error:
            raise OutputError(f"{self._path} cannot be written: {error.strerror}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, record: object) -> None:
        try:
            self._file.write(self._adapter.dump_json(record) + b"\n")  # type: ignore[arg-type]
        except OSError as error:
            raise OutputError(f"{self._path} cannot be written: {error.strerror}") from error


class _Bars:
    """A bar a system on stderr."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            Remaining(),
            console=Console(stderr=True),
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def started(self, system: str, pending: int) -> None:
        self._tasks[system] = self._progress.add_task(escape(system), total=pending)

    def advanced(self, system: str) -> None:
        self._progress.advance(self._tasks[system])


# --- before the first question ----------------------------------------------------------------


def _moved(rules: Rules, target_fpir: float | None, seed: int | None) -> Rules:
    flags = {"target_fpir": target_fpir, "seed": seed}
    return rules.model_copy(update={k: v for k, v in flags.items() if v is not None})


def _entry(session: Session, opened: OpenBackend) -> SystemEntry:
    capabilities = opened.recognizer.capabilities
    kind = session.settings.backend_named(opened.name).type
    scale = capabilities.score_scale
    region = capabilities.details.get("region", "")
    return SystemEntry(
        name=opened.name,
        kind=kind,
        model=capabilities.model,
        remote=capabilities.remote,
        scale=scale.name,
        scale_low=scale.low,
        scale_high=scale.high,
        higher_is_closer=scale.higher_is_closer,
        default_threshold=capabilities.default_threshold.value,
        match_all=capabilities.match_all.value,
        max_candidates=capabilities.max_candidates,
        details=dict(capabilities.details),
        prices=_prices(session, opened.name, region) if kind == "rekognition" else (),
    )


def _prices(session: Session, name: str, region: str) -> tuple[PriceEntry, ...]:
    own = session.settings.backend_named(name).options.get("prices")
    return price_entries(Path(str(own)) if own else None, region)


def _price_of(entry: SystemEntry, left: _Left) -> float | None:
    """What the questions left cost by the price list; None where a price is not known."""
    total = 0.0
    asked = (("IndexFaces", left.enroll), (SEARCH, left.search), (COMPARE, left.compare))
    for operation, units in asked:
        price = next((p for p in entry.prices if operation in p.operations), None)
        usd = total_usd(price, units) if price else None
        if usd is None:
            return None
        total += usd
    return total


def _estimate_text(entry: SystemEntry, left: _Left, price: float | None, workers: int) -> str:
    questions = left.enroll + left.search + left.compare
    if not questions:
        return f"{entry.name}: everything is answered already, nothing will be asked or paid"
    seconds = questions * _SECONDS_A_QUESTION / (workers if entry.remote else 1)
    cost = "no price known" if price is None else f"about ${price:,.2f}"
    kinds = (("enrollments", left.enroll), ("searches", left.search), ("comparisons", left.compare))
    work = ", ".join(f"{count} {kind}" for kind, count in kinds if count)
    return (
        f"{entry.name}: {work} to do, about "
        f"{max(1, round(seconds / 60))} min (assuming {_SECONDS_A_QUESTION:g} s each), "
        f"{cost if entry.remote else 'nothing to pay by request'}"
    )


def _host() -> dict[str, str]:
    return {
        "machine": platform.machine(),
        "processors": str(os.cpu_count()),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


# --- what is printed --------------------------------------------------------------------------


def _show_plan(rules: Rules, loaded: Loaded | None) -> None:
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


def show_again(directory: Path, *, as_json: bool) -> None:
    """Measures stored answers anew, writes the report, and prints it."""
    _show(_written(directory, stopped=False), as_json=as_json)


def _written(directory: Path, *, stopped: bool) -> _Done:
    report = write_report(directory)
    page = write_page(directory, report)
    head = note_report(directory, __version__, SOURCES, (REPORT_FILE, PAGE_FILE))
    return _Done(directory, page, report, head, stopped)


def _show(done: _Done, *, as_json: bool) -> None:
    for doubt in done.report.run.doubts:
        remark(f"warning: this evaluation is damaged: {doubt}")
    if as_json:
        typer.echo(report_text(done.report), nl=False)
    else:
        print_table(
            "Accuracy",
            ("system", "threshold", "missed", "false alerts"),
            [
                (row.system, row.label, share(row.fnir), share(row.fpir))
                for row in done.report.accuracy
            ],
        )
        print_table(
            "Gates",
            ("system", "gate", "result", "why"),
            [(one.system, one.gate, one.result, one.why) for one in done.report.verdicts],
        )
        for concluded in done.report.conclusions:
            remark(concluded.sentence)
    remark(f"report: {done.page}")
    show_head(done.head)
    if done.stopped:
        remark("stopped before the end: run the same command again to go on")
        raise typer.Exit(INTERRUPTED)


def _refuse_nothing(report: EvaluationReport) -> None:
    """A report is there all the same; but a script that goes on has to know."""
    for one in report.ops:
        if one.failed_requests.n and one.failed_requests.errors == one.failed_requests.n:
            causes = ", ".join(f"{count} {cause}" for cause, count in one.errors.items())
            raise BackendError(
                f"{one.system} answered none of {one.failed_requests.n} searches: {causes}; "
                "--retry-failed asks again"
            )


def _refuse_foreign(directory: Path) -> None:
    """An evaluation goes on where it stopped, but never among somebody's other files."""
    holds = any(directory.iterdir()) if directory.is_dir() else directory.exists()
    if holds and not (directory / EVALUATION_FILE).is_file():
        raise UsageError(f"{directory} holds other files: name a new directory with --out")
