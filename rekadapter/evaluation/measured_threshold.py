"""A threshold for use that comes from a measurement: which one, and whether it may be used.

A report of ``rekadapter evaluate`` (or of a run with its truth) chose for each system the threshold
for the false alerts its protocol had declared. This takes that threshold out again, for the same
model on the same scale, and says what it rests on. Where the evidence was too thin there is no
threshold to take, and no other one stands in for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from rekadapter.errors import UsageError
from rekadapter.evaluation.rates import percent, share
from rekadapter.evaluation.results import (
    REPORT_FILE,
    REPORT_SCHEMA_VERSION,
    EvaluationReport,
    SystemResult,
)
from rekadapter.sinks.audit import AUDIT_FILE
from rekadapter.sinks.audit_check import last_report_misfit
from rekadapter.types import GalleryDescription

_MEASURE_AGAIN: Final = "measure again with `rekadapter evaluate`"


@dataclass(frozen=True, slots=True)
class BackendInUse:
    """The backend that wants a threshold, as it is now; ``scale`` names the scale of its scores."""

    name: str
    kind: str
    model: str
    scale: str


@dataclass(frozen=True, slots=True)
class MeasuredThreshold:
    """A threshold and what it rests on. ``origin`` says so in words. ``gallery_faces``: enrolled
    photographs it was measured with, None of comparisons. ``expires`` as its report states it."""

    value: float
    origin: str
    gallery_faces: int | None
    gallery_model: str | None
    search_unit: str
    expires: date | None


def measured_threshold(
    source: Path, backend: BackendInUse, *, comparisons: bool = False
) -> MeasuredThreshold:
    """The threshold that a report chose for a backend: of searches, or of comparisons (1:1).

    ``source`` is a ``report.json`` or the directory that holds one.

    Raises:
        UsageError: there is no such report, it is damaged or made up, it measured another model or
            scale, or its evidence does not carry a threshold. The message says which.
    """
    file = source / REPORT_FILE if source.is_dir() else source
    report = _report(file)
    _refuse_doubtful(file, report)
    system = _system(file, report, backend)
    if comparisons:
        return _of_comparisons(file, report, system)
    return _of_searches(file, report, system)


def warnings_in_use(
    threshold: MeasuredThreshold, gallery: GalleryDescription | None, today: date
) -> tuple[str, ...]:
    """What makes a threshold worth less in the use it is put to; empty where nothing does."""
    found = []
    if threshold.expires is not None and threshold.expires < today:
        found.append(f"its report expired on {threshold.expires}: {_MEASURE_AGAIN}")
    if gallery is None or threshold.gallery_faces is None:
        return tuple(found)
    if gallery.face_count > threshold.gallery_faces:
        times = gallery.face_count / threshold.gallery_faces
        found.append(
            f"gallery '{gallery.gallery}' holds {gallery.face_count:,} faces and it was measured "
            f"with {threshold.gallery_faces:,}: expect up to {times:.2g} times the false alerts, "
            f"or {_MEASURE_AGAIN}"
        )
    if threshold.gallery_model is not None and gallery.model != threshold.gallery_model:
        found.append(
            f"gallery '{gallery.gallery}' belongs to model {gallery.model} and it was measured "
            f"with {threshold.gallery_model}: {_MEASURE_AGAIN}"
        )
    return tuple(found)


# --- the report -------------------------------------------------------------------------------


def _report(file: Path) -> EvaluationReport:
    try:
        report = EvaluationReport.model_validate_json(file.read_bytes())
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read ({error.strerror}): name a number, or what `rekadapter "
            "evaluate` wrote"
        ) from error
    except ValidationError as error:
        raise UsageError(
            f"{file} is no report of this version of rekadapter: write it again with `rekadapter "
            "report`"
        ) from error
    if report.schema_version != REPORT_SCHEMA_VERSION:
        raise UsageError(f"{file} has another form: write it again with `rekadapter report`")
    return report


def _refuse_doubtful(file: Path, report: EvaluationReport) -> None:
    if report.run.synthetic:
        raise UsageError(f"{file} reports made-up scores: no threshold of it may be used")
    if report.run.doubts:
        raise UsageError(f"{file} was made from damaged files: {report.run.doubts[0]}")
    if (file.parent / AUDIT_FILE).is_file():
        misfit = last_report_misfit(file.parent, file.name)
        if misfit is not None:
            raise UsageError(f"{file} does not fit its audit log: {misfit}")


def _system(file: Path, report: EvaluationReport, backend: BackendInUse) -> SystemResult:
    named = [one for one in report.systems if one.id == backend.name]
    alike = [one for one in report.systems if one.backend == backend.kind]
    found = named or (alike if len(alike) == 1 else [])
    if not found:
        systems = ", ".join(one.id for one in report.systems)
        raise UsageError(f"{file} measured {systems}, not {backend.name}")
    system = found[0]
    if system.model != backend.model:
        raise UsageError(
            f"{file} measured {system.id} with model {system.model}; {backend.name} has "
            f"{backend.model}: {_MEASURE_AGAIN}"
        )
    if system.scale != backend.scale:
        raise UsageError(
            f"{file} gives thresholds as {system.scale}; {backend.name} scores as {backend.scale}"
        )
    return system


# --- the threshold ----------------------------------------------------------------------------


def _of_searches(file: Path, report: EvaluationReport, system: SystemResult) -> MeasuredThreshold:
    row = next((r for r in report.accuracy if r.system == system.id and r.primary), None)
    if row is None or row.chosen is None:
        raise UsageError(f"{file} chose no threshold for searches of {system.id}")
    target = percent(row.chosen.target_fpir)
    _refuse_thin(file, f"{system.id} at FPIR {target}", row.threshold, row.chosen.reason)
    measured = f"measured FPIR {share(row.fpir)}, FNIR {share(row.fnir)}"
    return _threshold(
        report,
        system,
        value=row.threshold,
        what=f"FPIR {target} at N = {row.gallery_size:,}; {measured}",
        gallery_faces=report.data.gallery_photographs or None,
    )


def _of_comparisons(
    file: Path, report: EvaluationReport, system: SystemResult
) -> MeasuredThreshold:
    rows = report.one_to_one.accuracy if report.one_to_one else ()
    row = next((r for r in rows if r.system == system.id and r.primary), None)
    if row is None or row.chosen is None:
        raise UsageError(
            f"{file} compared nothing 1:1 with {system.id}: a threshold of searches is none of "
            "comparisons (see --pairs of `rekadapter evaluate`)"
        )
    target = percent(row.chosen.target_fmr)
    _refuse_thin(file, f"{system.id} at FMR {target}", row.threshold, row.chosen.reason)
    measured = f"measured FMR {share(row.fmr)}, FNMR {share(row.fnmr)}"
    return _threshold(
        report, system, value=row.threshold, what=f"FMR {target}; {measured}", gallery_faces=None
    )


def _refuse_thin(file: Path, what: str, threshold: float | None, reason: str) -> None:
    if threshold is None or reason:
        raise UsageError(
            f"{file} has not enough evidence for a threshold of {what} ({reason}): test more "
            "people, or give a number and answer for it"
        )


def _threshold(
    report: EvaluationReport,
    system: SystemResult,
    *,
    value: float | None,
    what: str,
    gallery_faces: int | None,
) -> MeasuredThreshold:
    assert value is not None  # noqa: S101  thin evidence was refused
    day = (report.run.ended or report.run.started or "")[:10]
    return MeasuredThreshold(
        value=value,
        origin=f"report {report.run.id} of {day}, {what}",
        gallery_faces=gallery_faces,
        gallery_model=system.gallery_model,
        search_unit=report.protocol.search_unit,
        expires=_expiry(report),
    )


def _expiry(report: EvaluationReport) -> date | None:
    """The governance field ``expiry``, where it is a date; words stay words."""
    stated = next((f.value for f in report.governance if f.key == "expiry"), None)
    try:
        return date.fromisoformat(stated or "")
    except ValueError:
        return None
