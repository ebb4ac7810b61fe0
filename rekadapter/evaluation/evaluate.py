"""From a directory of stored answers to ``report.json``: the same answers give the same bytes.

Nothing here reads a clock, a host, or a photograph. Every figure comes from ``evaluation.json``,
``answers.jsonl``, ``requests.jsonl`` and ``sessions.jsonl``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from rekadapter.errors import OutputError
from rekadapter.evaluation.accuracy import AccuracySections, accuracy_sections, default_thresholds
from rekadapter.evaluation.answers import ANSWERS_FILE, StoredAnswer, latest, read_answers
from rekadapter.evaluation.clauses import clauses
from rekadapter.evaluation.comparisons import comparisons_of
from rekadapter.evaluation.cost import cost_section
from rekadapter.evaluation.decision import decision
from rekadapter.evaluation.discard import discard_sections
from rekadapter.evaluation.effort import Sitting, effort_of_evaluation
from rekadapter.evaluation.equity import equity_sections, group_counts
from rekadapter.evaluation.gate_findings import Evidences
from rekadapter.evaluation.gates import conclusions, verdicts
from rekadapter.evaluation.governance import ANCHORS, governance_fields, terms_flags
from rekadapter.evaluation.one_to_one import one_to_one_section
from rekadapter.evaluation.operations import camera_sections, operations_sections
from rekadapter.evaluation.record import EvaluationRecord, SystemEntry, read_record, write_text
from rekadapter.evaluation.results import (
    REPORT_FILE,
    REPORT_SCHEMA_VERSION,
    DataResult,
    EvaluationReport,
    PrimaryResult,
    ProtocolResult,
    RunResult,
    SplitResult,
    SystemResult,
    VerdictResult,
    report_text,
)
from rekadapter.evaluation.searches import SystemOutcomes, outcomes_of, used_answers_sha256
from rekadapter.evaluation.survey_results import SurveyResult, survey_in
from rekadapter.evaluation.sweep import sweep_section, swept_searches
from rekadapter.observation import LedgerEntry
from rekadapter.sinks.audit import AUDIT_FILE
from rekadapter.sinks.audit_check import check_log

REQUESTS_FILE: Final = "requests.jsonl"
SESSIONS_FILE: Final = "sessions.jsonl"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """One sitting with one system: where it ran, and the model its gallery belonged to."""

    session: str
    system: str
    started_at: datetime
    gallery_model: str | None
    host: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StoredEvaluation:
    """All of a directory that a report is made of; ``damage`` says what of it is not as it was."""

    record: EvaluationRecord
    answers: Mapping[str, StoredAnswer]
    requests: tuple[LedgerEntry, ...] = ()
    sessions: tuple[SessionRecord, ...] = ()
    survey: SurveyResult | None = None
    damage: tuple[str, ...] = ()


def read_evaluation(directory: Path) -> StoredEvaluation:
    """Reads an evaluation's directory.

    Raises:
        UsageError: it holds no evaluation.
        OutputError: a file of it is damaged.
    """
    record = read_record(directory)
    requests = read_lines(directory / REQUESTS_FILE, LedgerEntry)
    return StoredEvaluation(
        record=record,
        answers=latest(read_answers(directory / ANSWERS_FILE)),
        requests=tuple(sorted(requests, key=lambda one: one.request.started_at)),
        sessions=read_lines(directory / SESSIONS_FILE, SessionRecord),
        survey=survey_in(directory),
        damage=_damage(directory),
    )


def _damage(directory: Path) -> tuple[str, ...]:
    """What is not as the audit log says. The files alone, without the log, give the same report."""
    if not (directory / AUDIT_FILE).is_file():
        return ()
    return check_log(directory).sources_in_words()


def write_report(directory: Path) -> EvaluationReport:
    """Measures what a directory holds and writes ``report.json`` into it."""
    report = evaluated(read_evaluation(directory))
    write_text(directory / REPORT_FILE, report_text(report))
    return report


def read_lines(path: Path, kind: type[T]) -> tuple[T, ...]:
    """Records of a JSON-lines file; a last line that was cut off is left out.

    Raises:
        OutputError: a line is damaged.
    """
    if not path.exists():
        return ()
    adapter = TypeAdapter(kind)
    data = path.read_bytes()
    try:
        return tuple(map(adapter.validate_json, data[: data.rfind(b"\n") + 1].splitlines()))
    except ValidationError as error:
        raise OutputError(f"{path} is damaged: restore it, or evaluate anew") from error


# --- the report -------------------------------------------------------------------------------


def evaluated(stored: StoredEvaluation) -> EvaluationReport:
    """The whole report of stored answers."""
    record = stored.record
    systems = outcomes_of(record, stored.answers)
    accuracy = accuracy_sections(record, systems)
    compared = comparisons_of(record, stored.answers)
    cameras = tuple(camera_sections(record, systems, accuracy.accuracy))
    swept = swept_searches(record, stored.answers)
    apart = {one for size in swept for answer in size.answers for one in answer.request_ids}
    ops = tuple(operations_sections(record, systems, stored.requests, apart))
    seen = Evidences(
        record=record,
        data=_data(record, systems),
        accuracy=accuracy.accuracy,
        equity=tuple(equity_sections(record, systems, accuracy.accuracy)),
        cameras=cameras,
        ops=ops,
        cost=cost_section(record, accuracy.accuracy, ops, stored.requests),
        governance=tuple(governance_fields(record)),
        one_to_one=one_to_one_section(record, compared),
        survey=stored.survey,
        sweep=sweep_section(record, swept, accuracy.accuracy, cameras, stored.survey),
        investigation=accuracy.investigation,
    )
    used = [
        *(one.answer for system in systems for one in system.answered),
        *(answer for system in compared for answer in system.answers),
        *(answer for size in swept for answer in size.answers),
    ]
    run = _run(stored, used, used_answers_sha256(systems, (*compared, *swept)))
    whole = assembled(stored, run, accuracy, seen, tuple(verdicts(seen)))
    refusing = () if record.only_pairs else discard_sections(record, systems, accuracy.accuracy)
    sittings = [Sitting(one.session, one.started_at) for one in stored.sessions]
    enrolled = [answer for system in systems for answer in system.enroll_answers]
    effort = effort_of_evaluation(record, sittings, [*enrolled, *used])
    return whole.model_copy(update={"discard": refusing, "effort": effort})


def assembled(
    stored: StoredEvaluation,
    run: RunResult,
    accuracy: AccuracySections,
    seen: Evidences,
    found: tuple[VerdictResult, ...],
) -> EvaluationReport:
    """The report from its sections and the verdicts of its gates."""
    record = stored.record
    concluded = tuple(conclusions(found))
    return EvaluationReport(
        schema_version=REPORT_SCHEMA_VERSION,
        run=run,
        decision=decision(seen, accuracy, concluded, found),
        conclusions=concluded,
        verdicts=found,
        protocol=_protocol(record),
        systems=tuple(_system(entry, stored.sessions) for entry in record.systems),
        data=seen.data,
        failures=accuracy.failures,
        accuracy=accuracy.accuracy,
        det=accuracy.det,
        investigation=accuracy.investigation,
        gallery_size=accuracy.gallery_size,
        paired=accuracy.paired,
        policy=accuracy.policy,
        time_to_alert=accuracy.time_to_alert,
        one_to_one=seen.one_to_one,
        sweep=seen.sweep,
        equity=tuple(seen.equity),
        cameras=tuple(seen.cameras),
        ops=tuple(seen.ops),
        cost=seen.cost,
        governance=tuple(seen.governance),
        anchors=ANCHORS,
        limitations=tuple(_limitations(record)),
        clauses=() if record.only_pairs else tuple(clauses(record, tuple(seen.governance))),
        survey=seen.survey,
    )


def _run(stored: StoredEvaluation, used: Sequence[StoredAnswer], answers: str) -> RunResult:
    record = stored.record
    times = sorted(one.answered_at for one in used)
    parts = f"{record.protocol_sha256}{answers}{record.quality_sha256 or ''}"
    identity = hashlib.sha256(parts.encode()).hexdigest()
    return RunResult(
        id=identity[:16],
        tool_version=record.tool_version,
        started=times[0].isoformat() if times else None,
        ended=times[-1].isoformat() if times else None,
        seed=record.rules.seed,
        input_sha256=record.input_sha256,
        protocol_sha256=record.protocol_sha256,
        answers_sha256=answers,
        quality_sha256=record.quality_sha256,
        synthetic=record.synthetic,
        doubts=stored.damage,
    )


def _protocol(record: EvaluationRecord) -> ProtocolResult:
    rules = record.rules
    transits = any(one.transit for one in record.probes)
    calibration = sum(one.side == "calibration" for one in record.people)
    return ProtocolResult(
        name=rules.name,
        mode=rules.mode,
        primary=PrimaryResult(metric="FNIR", target_fpir=rules.target_fpir, margin=rules.margin),
        targets=rules.all_targets,
        rank=rules.rank,
        gallery_size=len({one.person for one in record.gallery}),
        split=SplitResult(
            unit="person",
            calibration_people=calibration,
            test_people=len(record.people) - calibration,
            sha256=record.split_sha256,
        ),
        held_out=record.held_out,
        search_unit="transit" if transits else "photograph",
        aggregation="best score of each enrolled person over the photographs of a transit"
        if transits
        else "nothing is joined",
        multiple_faces="the largest face of a picture is searched",
        exclusions=record.warnings,
        requirements=rules.requirements.model_dump(),
        stated_requirements=record.stated,
    )


def _system(entry: SystemEntry, sessions: Sequence[SessionRecord]) -> SystemResult:
    own = (one.gallery_model for one in sessions if one.system == entry.name and one.gallery_model)
    models = sorted(set(own))
    return SystemResult(
        id=entry.name,
        kind="cloud" if entry.remote else "local",
        backend=entry.kind,
        model=entry.model,
        gallery_model=", ".join(models) or None,
        scale=entry.scale,
        defaults=default_thresholds(entry),
        details=dict(sorted(entry.details.items())),
        terms_flags=terms_flags(entry),
    )


def _data(record: EvaluationRecord, systems: Sequence[SystemOutcomes]) -> DataResult:
    enrolled = {one.id for one in record.people if one.enrolled}
    searched = {one.person for one in record.probes}
    first = systems[0].searches
    return DataResult(
        people=len(record.people),
        enrolled_people=len(enrolled),
        mated_people=len(searched & enrolled),
        nonmated_people=len(searched - enrolled),
        gallery_photographs=len(record.gallery),
        probes=len(record.probes),
        transits=len({one.transit for one in record.probes if one.transit}),
        mated_searches=sum(one.mated for one in first),
        nonmated_searches=sum(not one.mated for one in first),
        missing_answers=sum(system.missing for system in systems),
        consent_basis=record.rules.governance.consent_method,
        label_source=record.rules.governance.label_source,
        groups=tuple(group_counts(record)),
    )


def _limitations(record: EvaluationRecord) -> Iterator[str]:
    if record.synthetic:
        yield "The scores are made up by a program: nothing here describes a real system."
    if record.held_out:
        yield (
            "Gallery and absent people were drawn from one pool. On the street, absent people may "
            "differ from enrolled ones in ways that this cannot show."
        )
    if not any(one.camera for one in record.probes):
        yield (
            "The probes are photographs, not frames of the cameras in question: expect more misses "
            "there (motion, angle, light, few pixels)."
        )
    yield (
        "Thresholds were chosen on other people than they were tested on, but on people of the "
        "same data. Another site needs its own measurement."
    )
    yield (
        "A cloud service may change under the same name. The stored answers can be read again; "
        "the service cannot be asked again as it was."
    )
    yield (
        "Latency was measured on one machine and one network, one picture after another or a few "
        "at a time; it is not a load test."
    )
    yield (
        "The texts of ISO/IEC 19795-1, 19795-10, 30137-1 and 29794-5 were not available to the "
        "authors: definitions follow NIST's reports and the papers named in the documentation."
    )
    yield (
        "An evaluation of photographs asks nobody what they make of an alert, so how people decide "
        "was not measured. Their errors add to those shown here."
    )
