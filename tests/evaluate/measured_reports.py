"""Evaluations of enough made-up people, written by the real writers as if a backend had answered.

The scores are drawn (``evaluation.synthetic``); what they are said to be answers of is a backend as
it describes itself, so that a threshold out of the report can be used with that backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from rekadapter.cli.evaluation_estimate import entry_of
from rekadapter.cli.session import Session
from rekadapter.evaluation.answers import ANSWERS_FILE, AnswerStore
from rekadapter.evaluation.evaluate import (
    SESSIONS_FILE,
    SessionRecord,
    StoredEvaluation,
    write_report,
)
from rekadapter.evaluation.evaluation_audit import SOURCES, EvaluationAudit
from rekadapter.evaluation.record import SystemEntry, write_record
from rekadapter.evaluation.results import REPORT_FILE
from rekadapter.evaluation.rules import OneToOne, Rules
from rekadapter.evaluation.synthetic import ScoreModel, SearchDesign
from rekadapter.sinks.audit import Reported, states_of
from rekadapter.sinks.audit_report import note_report
from rekadapter.testing.comparisons import with_compared_pairs
from rekadapter.testing.evaluations import START, made_up_evaluation

MODEL = ScoreModel(80.0, 30.0, person_sd=5.0, lookalike_sd=6.0, image_sd=5.0)
"""Scores within 0 to 100."""
ENROLLED = 40
RULES = Rules(
    seed=2,
    target_fpir=0.1,
    targets=(0.1, 0.15, 0.01),
    one_to_one=OneToOne(target_fmr=0.01, targets=()),
    resamples=100,
    permutations=199,
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured: absent people (300 give enough false alerts, 20 do not), rules, the model
    of the gallery, whether pairs were compared, and whether an audit log was kept."""

    absent: int = 300
    rules: Rules = RULES
    gallery_model: str = "memory-1"
    pairs: bool = False
    logged: bool = True
    synthetic: bool = False


def entries(config: Path | None, *names: str) -> list[SystemEntry]:
    """Backends of the settings as an evaluation describes them."""
    session = Session.start(config)
    found = []
    for name in names:
        with session.backend(name) as opened:
            found.append(entry_of(session, opened))
    return found


def measured(
    directory: Path, systems: Sequence[SystemEntry], what: Measurement | None = None
) -> Path:
    """An evaluation's directory with its report, but without the page: drawing takes longest."""
    what = what or Measurement()
    stored = _stored(systems, what)
    write_record(directory, stored.record)
    if what.logged:
        with EvaluationAudit(directory, stored.record, "sitting", asks=True) as audit:
            _answers(directory, stored, what, audit)
    else:
        _answers(directory, stored, what, None)
    report = write_report(directory)
    states = states_of(directory, SOURCES), states_of(directory, (REPORT_FILE,))
    note_report(directory, Reported("test", *states), report.run.doubts)
    return directory


def _answers(
    directory: Path, stored: StoredEvaluation, what: Measurement, audit: EvaluationAudit | None
) -> None:
    sitting = TypeAdapter(SessionRecord)
    lines = [
        sitting.dump_json(SessionRecord("sitting", one.name, START, what.gallery_model, {}))
        for one in stored.record.systems
    ]
    (directory / SESSIONS_FILE).write_bytes(b"".join(line + b"\n" for line in lines))
    with AnswerStore(directory / ANSWERS_FILE) as store:
        if audit is not None:
            store.listen(audit.answered)
        for answer in stored.answers.values():
            store.add(answer)


def _stored(systems: Sequence[SystemEntry], what: Measurement) -> StoredEvaluation:
    design = SearchDesign(gallery=ENROLLED, mated_people=ENROLLED, nonmated_people=what.absent)
    models = {one.name: MODEL for one in systems}
    made_up = made_up_evaluation(design, models, default_threshold=80.0, rules=what.rules)
    if what.pairs:
        made_up = with_compared_pairs(made_up)
    identities = {one.name: one.identity for one in systems}
    answers = [
        replace(one, question=replace(one.question, model=identities[one.question.system]))
        for one in made_up.answers.values()
    ]
    update = {"systems": tuple(systems), "synthetic": what.synthetic}
    return StoredEvaluation(
        made_up.record.model_copy(update=update), {one.question.key: one for one in answers}
    )
