"""A threshold out of ``report.json``, for a backend that is what the report measured.

A threshold belongs to a model, a way of asking and the evidence it rests on. Whatever of these is
not what it was, or too little, is a refusal with its reason: nothing here falls back to a default.
What a use of it was not measured for, and is no reason to refuse, is in ``threshold_use``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from rekadapter.errors import ThresholdReportError
from rekadapter.evaluation.one_to_one_results import ComparisonAccuracyResult, FmrThresholdResult
from rekadapter.evaluation.rates import percent, share
from rekadapter.evaluation.record import identifying
from rekadapter.evaluation.result_base import EstimateResult, IntervalResult
from rekadapter.evaluation.results import (
    REPORT_FILE,
    REPORT_SCHEMA_VERSION,
    AccuracyResult,
    EvaluationReport,
    SystemResult,
    ThresholdResult,
)
from rekadapter.evaluation.statistics import Evidence
from rekadapter.observation import MeasuredThreshold
from rekadapter.recognizer import Capabilities
from rekadapter.sinks.audit import AUDIT_FILE
from rekadapter.sinks.audit_check import check_log, last_report
from rekadapter.sinks.chain import sha256_of

_SAME_TARGET: Final = 1e-6
"""Relative: a target in the file is kept with 7 significant digits."""


class Purpose(StrEnum):
    """What a threshold decides: searches (1:N, chosen for an FPIR) or comparisons (1:1, an FMR)."""

    SEARCH = "FPIR"
    COMPARE = "FMR"


@dataclass(frozen=True, slots=True)
class GivenReport:
    """A report as it was read: its file, the digest of its bytes, and whether the audit log beside
    it says the same of it (False: there is no log)."""

    path: Path
    report: EvaluationReport
    sha256: str
    logged: bool


@dataclass(frozen=True, slots=True)
class SystemInUse:
    """A backend as it is now: its name and type in the settings, and what it says of itself."""

    name: str
    type: str
    capabilities: Capabilities


@dataclass(frozen=True, slots=True)
class UsableThreshold:
    """A threshold that the evidence of its report carries, on the scale of ``system``.

    ``rate`` is what was measured of it on other people than it was chosen on.
    """

    system: SystemResult
    value: float
    rate: EstimateResult
    measured: MeasuredThreshold

    @property
    def words(self) -> str:
        """What stands after the number wherever it is shown."""
        one = self.measured
        size = "" if one.gallery_size is None else f" at N = {one.gallery_size:,}"
        day = f" of {one.measured_on}" if one.measured_on else ""
        return (
            f"for {one.metric} {percent(one.target)}{size}, report {one.report}{day} "
            f"({one.metric} measured: {share(self.rate)}, on {one.people:,} other people)"
        )


# --- reading ----------------------------------------------------------------------------------


def read_threshold_report(path: Path) -> GivenReport:
    """Reads ``report.json``, or that of a directory, and holds it against the audit log beside it.

    Raises:
        ThresholdReportError: there is none, it is not one of this version of rekadapter, it was
            made up or is damaged, or it is not what the audit log says was written.
        OutputError: a file cannot be read.
    """
    file = path / REPORT_FILE if path.is_dir() else path
    data = _bytes_of(file)
    _refuse_foreign(file, data)
    try:
        report = EvaluationReport.model_validate_json(data)
    except ValidationError as error:
        raise ThresholdReportError(
            f"{file} is not as this version of rekadapter writes it: write it anew with "
            f"`rekadapter report {file.parent}`"
        ) from error
    if report.run.synthetic:
        raise ThresholdReportError(f"{file}: its scores are made up, and no threshold for use")
    if report.run.doubts:
        raise ThresholdReportError(
            f"{file} was made from damaged files ({report.run.doubts[0]}): measure again"
        )
    digest = sha256_of(data)
    return GivenReport(file, report, digest, _logged(file, digest))


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ThresholdReportError(
            f"no report can be read at {file} ({error.strerror}): name the directory that "
            "`rekadapter evaluate` wrote, or its report.json"
        ) from error


def _refuse_foreign(file: Path, data: bytes) -> None:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ThresholdReportError(f"{file} is not JSON, so no report of rekadapter") from error
    version = found.get("schema_version") if isinstance(found, dict) else None
    if not isinstance(version, int) or "accuracy" not in found:
        raise ThresholdReportError(f"{file} is no report of rekadapter: it has no accuracy")
    if version != REPORT_SCHEMA_VERSION:
        raise ThresholdReportError(
            f"{file} has version {version} of the format and this rekadapter reads version "
            f"{REPORT_SCHEMA_VERSION}: write it anew with `rekadapter report {file.parent}`"
        )


def _logged(file: Path, digest: str) -> bool:
    directory = file.parent
    if not (directory / AUDIT_FILE).is_file():
        return False
    misfits = check_log(directory).misfits
    if misfits:
        raise ThresholdReportError(
            f"{directory} is not what its audit log says ({misfits[0].why}): "
            f"`rekadapter audit verify {directory}` names all of it"
        )
    last = last_report(directory)
    state = last.written.get(file.name) if last else None
    if state is None or state.sha256 != digest:
        raise ThresholdReportError(
            f"the audit log beside {file} does not say that this report was written: write it anew "
            f"with `rekadapter report {directory}`"
        )
    return True


# --- choosing ---------------------------------------------------------------------------------


def measured_threshold(
    given: GivenReport, system: SystemInUse, purpose: Purpose, target: float | None = None
) -> UsableThreshold:
    """The threshold that the report gives for a backend: that of the primary target, or ``target``.

    Raises:
        ThresholdReportError: the report has not measured this backend as it is now, has no such
            row, or the evidence of the row is not enough.
    """
    measured = _system(given, system)
    _refuse_another(given, measured, system)
    row = _row(given, measured.id, purpose, target)
    usable = _usable(given, measured, row)
    scale = system.capabilities.score_scale
    if not scale.low <= usable.value <= scale.high:
        raise ThresholdReportError(
            f"{given.path}: {usable.value:g} is no score of {system.name} ({scale.name}, "
            f"{scale.low:g} to {scale.high:g})"
        )
    return usable


def primary_thresholds(given: GivenReport) -> Iterator[UsableThreshold | str]:
    """What each system of a report can be used with: the threshold at the primary target of its
    searches (of its comparisons where nobody was searched), or why there is none."""
    section = given.report.one_to_one
    only_pairs = section is not None and section.only
    purpose = Purpose.COMPARE if only_pairs else Purpose.SEARCH
    for system in given.report.systems:
        try:
            yield _usable(given, system, _row(given, system.id, purpose, None))
        except ThresholdReportError as error:
            yield str(error)


def _system(given: GivenReport, use: SystemInUse) -> SystemResult:
    """The system of that name, else the only one of the same type and model."""
    systems = given.report.systems
    by_name = [one for one in systems if one.id == use.name]
    alike = [one for one in systems if not _differences(given, one, use)]
    found = by_name or alike
    if len(found) == 1:
        return found[0]
    if not found:
        others = ", ".join(
            f"{one.id} ({'; '.join(_differences(given, one, use))})" for one in systems
        )
        raise ThresholdReportError(
            f"{given.path} has not measured {use.name}, only others: {others}. Evaluate {use.name}"
        )
    raise ThresholdReportError(
        f"{given.path} has several systems that are what {use.name} is: "
        f"{', '.join(one.id for one in found)}; name the backend as one of them"
    )


def _refuse_another(given: GivenReport, measured: SystemResult, use: SystemInUse) -> None:
    differences = _differences(given, measured, use)
    if differences:
        raise ThresholdReportError(
            f"{given.path} measured another {measured.id} than the one in use: "
            f"{'; '.join(differences)}. A threshold belongs to what it was measured with: evaluate "
            f"{use.name} as it is now"
        )


def _differences(given: GivenReport, measured: SystemResult, use: SystemInUse) -> list[str]:
    """What of a system is not as it was measured; none: the threshold means the same. A report of a
    run holds a backend's name and not its type."""
    now = use.capabilities
    pairs = [("model", measured.model, now.model), ("scale", measured.scale, now.score_scale.name)]
    if given.report.feeds is None:
        pairs.insert(0, ("type", measured.backend, use.type))
    then, here = identifying(measured.details), identifying(now.details)
    pairs += [(key, then.get(key, "-"), here.get(key, "-")) for key in sorted({*then, *here})]
    return [f"{what} {was} then, {is_} now" for what, was, is_ in pairs if was != is_]


# --- rows -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of searches or of comparisons, as far as both are the same."""

    purpose: Purpose
    target: float
    value: float | None
    chosen: ThresholdResult | FmrThresholdResult | None
    rate: EstimateResult
    gallery_size: int | None


def _row(given: GivenReport, system: str, purpose: Purpose, target: float | None) -> _Row:
    rows = list(_rows(given, system, purpose))
    for row, primary in rows:
        if primary if target is None else math.isclose(row.target, target, rel_tol=_SAME_TARGET):
            return row
    known = [percent(row.target) for row, _ in rows]
    if not known:
        raise ThresholdReportError(_nothing(given, system, purpose))
    raise ThresholdReportError(
        f"{given.path} has no row of {system} at {purpose} {percent(target or 0)}, only at "
        f"{', '.join(known)}"
    )


def _rows(given: GivenReport, system: str, purpose: Purpose) -> Iterator[tuple[_Row, bool]]:
    """The rows of thresholds that were chosen, and whether each is the primary one."""
    report = given.report
    if purpose is Purpose.SEARCH:
        yield from _search_rows([one for one in report.accuracy if one.system == system])
    elif report.one_to_one is not None:
        accuracy = report.one_to_one.accuracy
        yield from _pair_rows([one for one in accuracy if one.system == system])


def _search_rows(accuracy: Sequence[AccuracyResult]) -> Iterator[tuple[_Row, bool]]:
    for one in accuracy:
        if one.basis == "equal_fpir" and one.target_fpir is not None:
            yield (
                _Row(
                    Purpose.SEARCH,
                    one.target_fpir,
                    one.threshold,
                    one.chosen,
                    one.fpir,
                    one.gallery_size,
                ),
                one.primary,
            )


def _pair_rows(accuracy: Sequence[ComparisonAccuracyResult]) -> Iterator[tuple[_Row, bool]]:
    for one in accuracy:
        if one.basis == "equal_fmr" and one.target_fmr is not None:
            yield (
                _Row(Purpose.COMPARE, one.target_fmr, one.threshold, one.chosen, one.fmr, None),
                one.primary,
            )


def _nothing(given: GivenReport, system: str, purpose: Purpose) -> str:
    if purpose is Purpose.SEARCH:
        return f"{given.path} has no searches of {system}: its threshold is none for searches"
    sources = given.report.one_to_one.sources if given.report.one_to_one else ()
    why = next((f" ({one.sentence})" for one in sources if one.system == system), "")
    return (
        f"{given.path} has no comparisons (1:1) of {system}{why}, and a threshold for searches is "
        "none for them: `rekadapter evaluate --pairs N` measures one, or give --threshold"
    )


def _usable(given: GivenReport, system: SystemResult, row: _Row) -> UsableThreshold:
    why = _why_not_enough(row)
    ci = row.rate.ci
    if why or row.value is None or ci is None:
        raise ThresholdReportError(
            f"{given.path} gives no threshold for {system.id} at {row.purpose} "
            f"{percent(row.target)}: not enough evidence: {why}. `rekadapter evaluate --plan` says "
            "how many people it takes"
        )
    return UsableThreshold(system, row.value, row.rate, _measured(given, row, ci))


def _why_not_enough(row: _Row) -> str:
    """As the gate of evidence judges it, but for the misses: they do not move a threshold."""
    if row.value is None:
        return row.chosen.reason if row.chosen else "none could be chosen"
    if row.chosen is None or not row.chosen.sufficient:
        return row.chosen.reason if row.chosen else "whom it was chosen on is not known"
    if row.rate.ci is None or row.rate.people < Evidence().min_people:
        return row.rate.reason or f"it was tested on {row.rate.people} people"
    return ""


def _measured(given: GivenReport, row: _Row, ci: IntervalResult) -> MeasuredThreshold:
    on = measured_on(given.report)
    return MeasuredThreshold(
        metric="FPIR" if row.purpose is Purpose.SEARCH else "FMR",
        target=row.target,
        rate=row.rate.value,
        low=ci.lo,
        high=ci.hi,
        people=row.rate.people,
        gallery_size=row.gallery_size,
        report=given.report.run.id,
        sha256=given.sha256,
        measured_on=on.isoformat() if on else None,
    )


def measured_on(report: EvaluationReport) -> date | None:
    """The day of the last answer; None where the report does not say."""
    text = report.run.ended or report.run.started
    try:
        return datetime.fromisoformat(text).date() if text else None
    except ValueError:
        return None
