"""What it took: minutes from the command to the first result, and what had to be set.

Everything comes from the directory that a report is made of; no clock is read here.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rekadapter.evaluation.answers import Kind, StoredAnswer
from rekadapter.evaluation.effort_results import EffortResult
from rekadapter.evaluation.feed_inputs import FeedInputs
from rekadapter.evaluation.record import EvaluationRecord
from rekadapter.evaluation.rules import Rules, Table
from rekadapter.evaluation.summary import cameras_of
from rekadapter.evaluation.wording import many
from rekadapter.observation import Run
from rekadapter.sinks.review_log import RunLog

RUN_DEFAULTS: Final[Mapping[str, str | int | float | bool | None]] = {
    "uplink": None,
    "max_usd_per_hour": None,
    "max_usd_per_month": None,
    "frame_bytes": 250_000,
    "spool_bytes": None,
    "limit": 5,
    "faces": "all",
    "duration_seconds": None,
    "keep_faces": False,
}
"""What ``run.json`` holds of a run for which nothing was set; a test holds it against one."""
_ENROLLING: Final = frozenset({"IndexFaces", "CreateCollection", "CreateUser", "AssociateFaces"})
_NOT_IN_A_RUN: Final = (
    "Not in it: installing, finding the cameras' addresses and writing feeds.toml, options of the "
    "backends, an account, taking and sorting the photographs of the people enrolled, and looking "
    "at the results."
)
_NOT_IN_AN_EVALUATION: Final = (
    "Not in it: installing, options of the backends, an account, and getting people, their "
    "consent, photographs and labels, which takes longest."
)


# --- a run on feeds ---------------------------------------------------------------------------


def effort_of_run(run: Run, log: RunLog | None, inputs: FeedInputs) -> EffortResult:
    """Of a run and its audit log; None: there is none that fits, so no time is known."""
    truth = inputs.truth
    changed = tuple(_changed(run, inputs))
    first, name = (_since(log, log.first_said), _since(log, log.first_name)) if log else (None,) * 2
    cameras, systems = len(cameras_of(run)), len(run.record.backends)
    known = len(RUN_DEFAULTS.keys() & run.record.settings.keys()) + 2 * systems
    gallery = _gallery_seconds(run)
    ended = run.record.ended_at
    rows = len(truth.gallery) + len(truth.transits) if truth else None
    words = (
        _first_decision(log, first),
        f"It ran {many(cameras, 'camera')} through {many(systems, 'system')}.",
        _settings_words(changed, known),
        _rules_words(inputs.stated),
        f"The truth of who was there holds {many(rows, 'row')}." if rows is not None else "",
        _gallery_words(gallery),
    )
    return EffortResult(
        what="run",
        sentence=" ".join(word for word in words if word),
        not_in_it=_NOT_IN_A_RUN,
        first_result_seconds=first,
        first_name_seconds=name,
        whole_seconds=None if ended is None else _between(run.record.started_at, ended),
        asking_seconds=None,
        gallery_seconds=gallery,
        sittings=None,
        systems=systems,
        cameras=cameras,
        changed=changed,
        settings=known,
        stated=inputs.stated,
        rules=_keys(Rules()),
        truth_rows=rows,
    )


def _since(log: RunLog, then: datetime | None) -> float | None:
    return None if log.began is None or then is None else _between(log.began, then)


def _between(start: datetime, end: datetime) -> float | None:
    """Seconds; None where a clock was set back in between."""
    seconds = (end - start).total_seconds()
    return seconds if seconds >= 0 else None


def _changed(run: Run, inputs: FeedInputs) -> Iterator[str]:
    """Settings that are not as they come."""
    settings = run.record.settings
    for name, default in RUN_DEFAULTS.items():
        if name in settings and settings[name] != default:
            yield name
    for backend in run.record.backends:
        mode = f"mode of {backend.name}"
        if settings.get(mode, _mode(remote=backend.remote)) != _mode(remote=backend.remote):
            yield mode
        known = inputs.system(backend.name)
        if known is not None and known.default_threshold != backend.threshold:
            yield f"threshold of {backend.name}"


def _mode(*, remote: bool) -> str:
    return "track" if remote else "frame"


def _gallery_seconds(run: Run) -> float | None:
    """From the first to the last request that enrolled anybody; None where the ledger has none."""
    requests = [one.request for one in run.ledger if one.camera is None]
    own = [one for one in requests if one.operation in _ENROLLING]
    if not any(one.operation == "IndexFaces" for one in own):
        return None
    start = min(one.started_at for one in own)
    return max(
        (one.started_at - start).total_seconds() + one.wait_seconds + one.latency_seconds
        for one in own
    )


def _first_decision(log: RunLog | None, seconds: float | None) -> str:
    if log is None:
        return "When the first result came is not recorded."
    if seconds is None:
        return "No track was decided on."
    return f"The first decision on a track stood {duration_words(seconds)} after the run began."


def _settings_words(changed: Sequence[str], known: int) -> str:
    if not changed:
        return f"None of the {known} settings of the run was changed."
    names = ", ".join(changed)
    return f"Of {known} settings of the run {len(changed)} differ from their defaults: {names}."


def _rules_words(stated: Sequence[str]) -> str:
    if not stated:
        return "No rule was stated."
    return f"{many(len(stated), 'rule')} of {_keys(Rules())} stated."


def _gallery_words(seconds: float | None) -> str:
    if seconds is None:
        return "How long enrolling took is not recorded here."
    return f"The requests that enrolled people took {duration_words(seconds)}."


# --- an evaluation of photographs -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sitting:
    """When a sitting began with one system."""

    session: str
    started_at: datetime


def effort_of_evaluation(
    record: EvaluationRecord, sittings: Sequence[Sitting], used: Sequence[StoredAnswer]
) -> EffortResult:
    """Of stored answers, enrollments among them, and the sittings that they came from."""
    spans = _spans(sittings, used)
    answered = [one.answered_at for one in used if one.question.kind is not Kind.ENROLL]
    recorded = bool(spans) and bool(answered)
    start = min((first for first, _ in spans.values()), default=None)
    whole = _between(start, max(answered)) if recorded and start is not None else None
    first = _between(start, min(answered)) if recorded and start is not None else None
    asking = math.fsum((end - begin).total_seconds() for begin, end in spans.values())
    enrolled = [one.answer_seconds for one in used if one.question.kind is Kind.ENROLL]
    words = (
        _evaluation_words(len(spans), whole, asking)
        if recorded
        else "When it was asked, and in how many sittings, is not recorded.",
        _rules_words(record.stated),
        _gallery_words(math.fsum(enrolled) if enrolled else None),
    )
    return EffortResult(
        what="evaluation",
        sentence=" ".join(words),
        not_in_it=_NOT_IN_AN_EVALUATION,
        first_result_seconds=first,
        first_name_seconds=None,
        whole_seconds=whole,
        asking_seconds=asking if recorded else None,
        gallery_seconds=math.fsum(enrolled) if enrolled else None,
        sittings=len(spans) if recorded else None,
        systems=len(record.systems),
        cameras=len({one.camera for one in record.probes if one.camera}) or None,
        changed=(),
        settings=0,
        stated=record.stated,
        rules=_keys(Rules()),
        truth_rows=None,
    )


def _spans(
    sittings: Sequence[Sitting], used: Sequence[StoredAnswer]
) -> Mapping[str, tuple[datetime, datetime]]:
    """From the beginning of each sitting to its last answer. One that was killed left its answers
    and no line of its own."""
    times: dict[str, list[datetime]] = defaultdict(list)
    for one in sittings:
        times[one.session].append(one.started_at)
    for answer in used:
        if answer.session:
            times[answer.session].append(answer.answered_at)
    return {session: (min(own), max(own)) for session, own in sorted(times.items())}


def _evaluation_words(sittings: int, whole: float | None, asking: float) -> str:
    took = "not known" if whole is None else duration_words(whole)
    apart = f", {duration_words(asking)} of them asking" if sittings > 1 else ""
    return (
        f"From the first sitting to the last answer: {took}{apart}, in {many(sittings, 'sitting')}."
    )


# --- words ------------------------------------------------------------------------------------


def duration_words(seconds: float) -> str:
    """``0.8 seconds``, ``12 seconds``, ``3.4 minutes``, ``2.1 hours``, ``3.2 days``."""
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    if seconds < 0.1:
        return "less than 0.1 seconds"
    return f"{seconds:.0f} seconds" if seconds >= 9.5 else f"{seconds:.1f} seconds"


def _keys(table: Table) -> int:
    """How many keys the rules have."""
    values = (getattr(table, name) for name in type(table).model_fields)
    return sum(_keys(one) if isinstance(one, Table) else 1 for one in values)
