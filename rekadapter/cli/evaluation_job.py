"""One evaluation from checked data to report: what is asked of whom, and where it is written."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, TypeVar

from pydantic import TypeAdapter
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as Remaining

from rekadapter import __version__
from rekadapter.cli.evaluation_estimate import Left, entry_of, estimate_text, price_of
from rekadapter.cli.evaluation_sweep import sweeping
from rekadapter.cli.jobs import Uplink, remote_context, stopping_at_ctrl_c
from rekadapter.cli.output import remark
from rekadapter.cli.session import OpenBackend, Session
from rekadapter.errors import OutputError, UsageError
from rekadapter.evaluation.answers import ANSWERS_FILE, AnswerStore
from rekadapter.evaluation.compare_runner import (
    ComparisonInputs,
    collect_comparisons,
    pending_comparisons,
)
from rekadapter.evaluation.comparison_plan import with_comparisons
from rekadapter.evaluation.dataset import CheckedDataset
from rekadapter.evaluation.decision_page import PAGE_FILE, write_page
from rekadapter.evaluation.evaluate import (
    REQUESTS_FILE,
    SESSIONS_FILE,
    SessionRecord,
    write_report,
)
from rekadapter.evaluation.evaluation_audit import SOURCES, EvaluationAudit
from rekadapter.evaluation.record import (
    EVALUATION_FILE,
    EvaluationRecord,
    PhotographQuality,
    Pseudonyms,
    record_of,
    write_record,
)
from rekadapter.evaluation.results import REPORT_FILE, EvaluationReport
from rekadapter.evaluation.rules import Rules
from rekadapter.evaluation.runner import Inputs, Options, SystemUnderTest, collect, pending
from rekadapter.observation import LedgerEntry
from rekadapter.sinks.audit import Head, Reported, states_of
from rekadapter.sinks.audit_report import note_report


@dataclass(frozen=True, slots=True)
class Done:
    """A finished directory."""

    directory: Path
    page: Path
    report: EvaluationReport
    head: Head | None
    stopped: bool


@dataclass(frozen=True, slots=True)
class _Asked:
    """What became of one system's turn: its gallery's model, and whether anything was asked."""

    model: str | None
    anything: bool


@dataclass(frozen=True, slots=True)
class _ToDo:
    """What is left to ask of all systems, and what that costs in USD as far as prices are known."""

    price: float
    questions: int


@dataclass(frozen=True, slots=True)
class Job:
    """One evaluation from checked data to report."""

    session: Session
    names: tuple[str, ...]
    checked: CheckedDataset
    rules: Rules
    out: Path | None
    max_usd: float
    workers: int
    pairs: int | None
    sweep: bool
    quality: tuple[PhotographQuality, ...]
    options: Options

    def run(self) -> Done:
        uplink = Uplink.capped_at(self.session.settings.uplink)
        directory = self._answered(uplink)
        return written(directory, stopped=uplink.stop.is_set())

    def _answered(self, uplink: Uplink) -> Path:
        """Asks what is left to ask. On its own, so that the answers are freed before the report
        reads them again."""
        with ExitStack() as stack:
            context = remote_context(self.session.settings, uplink)
            opened = [
                stack.enter_context(self.session.backend(name, context=context))
                for name in self.names
            ]
            record = self._record(opened)
            directory = self.out or Path("runs") / f"evaluation-{record.input_sha256[:12]}"
            _refuse_foreign(directory)
            inputs = Inputs.of(record, self.checked)
            if self.sweep:
                sweeper = stack.enter_context(sweeping(self.session, opened, directory))
                record, inputs = sweeper.prepared(record, self.checked)
            write_record(directory, record)
            store = stack.enter_context(AnswerStore(directory / ANSWERS_FILE))
            left = self._estimate(inputs, opened, store)
            self._refuse_too_dear(left.price)
            audit = EvaluationAudit(
                directory, inputs.record, self.options.session, asks=left.questions > 0
            )
            store.listen(stack.enter_context(audit).answered)
            requests = stack.enter_context(_Lines(directory / REQUESTS_FILE, LedgerEntry))
            uplink.ledger.write_to(requests.append)
            self._collect(inputs, opened, store, uplink, directory)
        return directory

    def _record(self, opened: Sequence[OpenBackend]) -> EvaluationRecord:
        entries = [entry_of(self.session, one) for one in opened]
        pseudonyms = Pseudonyms.kept_in(self.session.settings.data_dir)
        record = record_of(self.checked, self.rules, entries, pseudonyms, __version__)
        record = record.model_copy(update={"quality": self.quality})
        return with_comparisons(record, self.checked, pseudonyms, self.pairs)

    def _estimate(self, inputs: Inputs, opened: Sequence[OpenBackend], store: AnswerStore) -> _ToDo:
        record = inputs.record
        total, questions = 0.0, 0
        for entry, one in zip(record.systems, opened, strict=True):
            searches = pending(inputs, one.name, store, self.options)
            comparisons = pending_comparisons(record, one.name, store, self.options)
            left = Left(searches.enroll, searches.search, comparisons)
            price = price_of(entry, left)
            remark(estimate_text(entry, left, price, self.workers))
            total += price or 0.0
            questions += left.enroll + left.search + left.compare
        for warning in record.warnings:
            remark(f"note: {warning}")
        return _ToDo(total, questions)

    def _refuse_too_dear(self, price: float) -> None:
        if price > self.max_usd:
            enough = math.ceil(100 * price - 1e-9) / 100
            raise UsageError(
                f"the calls would cost about ${price:,.2f}: give --max-usd {enough:.2f} to allow it"
            )

    def _collect(
        self,
        inputs: Inputs,
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
                asked = self._ask(system, inputs, store, uplink, bars)
                if asked.anything:
                    host = _host()
                    sessions.append(
                        SessionRecord(self.options.session, one.name, began, asked.model, host)
                    )

    def _ask(
        self,
        system: SystemUnderTest,
        inputs: Inputs,
        store: AnswerStore,
        uplink: Uplink,
        bars: _Bars,
    ) -> _Asked:
        model = None
        if not inputs.record.only_pairs:
            model = collect(system, inputs, store, self.options, uplink.stop, bars)
        compared = 0
        if not uplink.stop.is_set():
            pairs = ComparisonInputs.of(inputs.record, self.checked)
            compared = collect_comparisons(system, pairs, store, self.options, uplink.stop, bars)
        return _Asked(model, anything=model is not None or compared > 0)


def written(directory: Path, *, stopped: bool) -> Done:
    """Measures stored answers and writes report and page."""
    report = write_report(directory)
    page = write_page(directory, report)
    pages = states_of(directory, (REPORT_FILE, PAGE_FILE))
    reported = Reported(__version__, states_of(directory, SOURCES), pages)
    head = note_report(directory, reported, report.run.doubts)
    return Done(directory, page, report, head, stopped)


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


def _host() -> dict[str, str]:
    return {
        "machine": platform.machine(),
        "processors": str(os.cpu_count()),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _refuse_foreign(directory: Path) -> None:
    """An evaluation goes on where it stopped, but never among somebody's other files."""
    holds = any(directory.iterdir()) if directory.is_dir() else directory.exists()
    if holds and not (directory / EVALUATION_FILE).is_file():
        raise UsageError(f"{directory} holds other files: name a new directory with --out")
