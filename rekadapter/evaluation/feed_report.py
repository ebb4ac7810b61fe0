"""A run on feeds as the report that an evaluation of photographs gives: same form, same gates.

With the truth beside it (``truth.Truth``) every transit is a search, thresholds are chosen on some
of the absent people and tested on the others, and the names really said are counted. Without it
nothing is said about accuracy, and the rest is. The same run directory gives the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from rekadapter.evaluation.accuracy import AccuracySections, accuracy_sections, settings_of
from rekadapter.evaluation.cost import ReviewTime, cost_section
from rekadapter.evaluation.effort import effort_of_run
from rekadapter.evaluation.equity import equity_sections, group_counts
from rekadapter.evaluation.evaluate import StoredEvaluation, assembled
from rekadapter.evaluation.feed_cameras import feed_cameras
from rekadapter.evaluation.feed_inputs import FeedInputs, read_inputs
from rekadapter.evaluation.feed_operations import feed_ops, review_rows, running_rows
from rekadapter.evaluation.feed_record import feed_outcomes, feed_record
from rekadapter.evaluation.feed_results import FeedsResult
from rekadapter.evaluation.feed_sections import (
    Watch,
    agreement_rows,
    alert_rows,
    pair_rows,
    point_in_force,
    transit_rows,
    watched_cameras,
)
from rekadapter.evaluation.feed_words import decision_on_feeds, limitations
from rekadapter.evaluation.gate_findings import Evidences
from rekadapter.evaluation.gates import verdicts
from rekadapter.evaluation.governance import governance_fields
from rekadapter.evaluation.integrity import doubts
from rekadapter.evaluation.record import write_text
from rekadapter.evaluation.results import (
    REPORT_FILE,
    AccuracyResult,
    AlertTimeResult,
    DataResult,
    EvaluationReport,
    GallerySizeResult,
    RunResult,
    SystemResult,
    VerdictResult,
    report_text,
)
from rekadapter.evaluation.reviews import Reviews
from rekadapter.evaluation.searches import SystemOutcomes
from rekadapter.evaluation.statistics import Settings
from rekadapter.evaluation.summary import cameras_of, summarize
from rekadapter.evaluation.survey_results import SurveyResult, survey_in
from rekadapter.evaluation.threshold_results import InForceResult
from rekadapter.evaluation.track_names import Naming
from rekadapter.evaluation.transits import (
    Crossing,
    SystemTransits,
    held_against,
    refuse_strangers,
    watched,
)
from rekadapter.observation import BackendRecord, Run
from rekadapter.sinks.review_log import RunLog, read_run_log
from rekadapter.sinks.run_directory import (
    LEDGER_FILE,
    OBSERVATIONS_FILE,
    TRACKS_FILE,
    read_run,
)
from rekadapter.types import CameraId

_NO_TRUTH: Final = "nobody said who was really there: write it down and give it with --truth"
_ONE_SUBJECT: Final = (
    "a sighting supports its closest candidate only, so lists do not tell what a smaller gallery "
    "would have given"
)


def write_feed_report(directory: Path, run: Run | None = None) -> EvaluationReport:
    """Measures what a run directory holds and writes ``report.json`` into it; ``run`` where it was
    read already.

    Raises:
        UsageError: no run directory, or a truth that does not list everybody who is enrolled.
        OutputError: a file is damaged, or the report cannot be written.
    """
    run = run or read_run(directory)
    kept = Kept(
        read_inputs(directory),
        _answers_sha256(directory),
        survey_in(directory),
        None if run.damage else read_run_log(directory),
    )
    report = feed_report(run, kept)
    write_text(directory / REPORT_FILE, report_text(report))
    return report


@dataclass(frozen=True, slots=True)
class Kept:
    """What lies beside a run: its inputs, a digest of its lines, a survey if there is one, and its
    audit log, where it has one that fits."""

    inputs: FeedInputs
    answers_sha256: str
    survey: SurveyResult | None = None
    log: RunLog | None = None


def feed_report(run: Run, kept: Kept) -> EvaluationReport:
    """The whole report of a run."""
    return _Author(run, kept).report()


def _answers_sha256(directory: Path) -> str:
    digest = hashlib.sha256()
    for name in (OBSERVATIONS_FILE, TRACKS_FILE, LEDGER_FILE):
        path = directory / name
        digest.update(path.read_bytes() if path.is_file() else b"")
        digest.update(b"\x00")
    return digest.hexdigest()


class _Author:
    """Turns a run and what was known beforehand into a report."""

    def __init__(self, run: Run, kept: Kept) -> None:
        self._run = run
        self._inputs = kept.inputs
        self._kept = kept
        self._truth = kept.inputs.truth
        self._crossings: tuple[Crossing, ...] = ()
        self._found: tuple[SystemTransits, ...] = ()
        if self._truth is not None:
            refuse_strangers(run, self._truth)
            self._crossings = watched(run, self._truth)
            self._found = tuple(
                held_against(run, self._truth, self._crossings, self._naming(backend))
                for backend in run.record.backends
            )
        self._record = feed_record(run, kept.inputs, self._crossings)
        self._settings = settings_of(self._record)
        self._summary = summarize(run)
        self._reviews = Reviews.of(run, kept.log, self._record.rules.governance.review)

    def report(self) -> EvaluationReport:
        record, run = self._record, self._run
        systems = tuple(
            feed_outcomes(record, entry, self._of(entry.name)) for entry in record.systems
        )
        accuracy = self._accuracy(systems)
        ops = feed_ops(run, self._summary.totals, self._settings)
        seen = Evidences(
            record=record,
            data=self._data(),
            accuracy=accuracy.accuracy,
            equity=tuple(equity_sections(record, systems, accuracy.accuracy)),
            cameras=tuple(feed_cameras(run, self._found, self._settings)),
            ops=ops,
            cost=cost_section(
                record, accuracy.accuracy, ops, run.ledger, self._reviews.measured_times()
            ),
            governance=tuple(governance_fields(record)),
            survey=self._kept.survey,
        )
        found = tuple(map(self._verdict, verdicts(seen)))
        stored = StoredEvaluation(record, {}, run.ledger)
        whole = assembled(stored, self._run_result(), accuracy, seen, found)
        feeds = self._feeds()
        return whole.model_copy(
            update={
                "decision": decision_on_feeds(whole.decision, run, self._summary, feeds),
                "protocol": whole.protocol.model_copy(
                    update={
                        "search_unit": "transit",
                        "aggregation": "the highest threshold at which the rule for naming a track "
                        "names the person",
                        "multiple_faces": "every face that was followed",
                        "exclusions": tuple(self._exclusions()),
                    }
                ),
                "systems": tuple(map(self._with_threshold, whole.systems)),
                "limitations": tuple(limitations(run, self._inputs, feeds.reviews)),
                "feeds": feeds,
                "effort": effort_of_run(run, self._kept.log, self._inputs),
            }
        )

    def _naming(self, backend: BackendRecord) -> Mapping[CameraId, Naming]:
        """The rule that named tracks, on each camera."""
        track = self._run.record.settings.get(f"mode of {backend.name}") == "track"
        known = self._inputs
        return {
            camera: Naming(
                backend,
                min_sightings=1 if camera in known.photographs else 2,
                clear_is_enough=track,
                live=camera in known.live,
            )
            for camera in cameras_of(self._run)
        }

    def _of(self, system: str) -> SystemTransits | None:
        return next((one for one in self._found if one.backend.name == system), None)

    def _with_threshold(self, system: SystemResult) -> SystemResult:
        """A system with the threshold it ran with, and where that comes from."""
        record = self._run.record
        backend = next(one for one in record.backends if one.name == system.id)
        mode, origin = record.settings.get(f"mode of {backend.name}"), backend.threshold_origin
        in_force = InForceResult(
            threshold=backend.threshold,
            origin=origin.words if origin else "where it comes from was not recorded",
            mode=str(mode) if mode else None,
            warnings=origin.warnings if origin else (),
        )
        return system.model_copy(update={"in_force": in_force})

    # --- accuracy -----------------------------------------------------------------------------

    def _accuracy(self, systems: Sequence[SystemOutcomes]) -> AccuracySections:
        points = {one.backend.name: point_in_force(one, self._settings) for one in self._found}
        found = accuracy_sections(self._record, systems, points)
        return replace(
            found,
            investigation=(),
            gallery_size=tuple(map(_no_size, found.gallery_size)),
            time_to_alert=tuple(
                _waits(one, row, self._settings)
                for one in self._found
                for row in found.accuracy
                if row.system == one.backend.name and row.basis == "in_force"
            ),
        )

    def _verdict(self, verdict: VerdictResult) -> VerdictResult:
        """Without a truth the reason is that there is none, not that it is thin."""
        if self._truth is not None or verdict.gate not in {"evidence", "accuracy"}:
            return verdict
        return verdict.model_copy(update={"why": _NO_TRUTH})

    # --- what it rests on ---------------------------------------------------------------------

    def _feeds(self) -> FeedsResult:
        run, truth, settings = self._run, self._truth, self._settings
        cameras, watch = cameras_of(run), Watch.of(run)
        rules, totals = self._record.rules, self._summary.totals
        alerts = tuple(
            row for one in self._found for row in alert_rows(one, cameras, watch, settings)
        )
        return FeedsResult(
            state=run.record.state,
            truth=truth is not None,
            tolerance_seconds=truth.tolerance_seconds if truth else None,
            cameras=tuple(watched_cameras(run)),
            transits=tuple(
                row for one in self._found for row in transit_rows(one, cameras, settings)
            ),
            alerts=alerts,
            pairs=tuple(pair_rows(self._found, rules.margin, settings)),
            agreement=tuple(agreement_rows(run)),
            running=tuple(running_rows(run, totals, settings)),
            review=tuple(
                review_rows(
                    watch.total(None), totals, alerts, self._found, self._review_times(), settings
                )
            ),
            reviews=self._reviews.result(self._found, truth, watch, settings),
        )

    def _review_times(self) -> Mapping[str, ReviewTime]:
        """What an alert takes: as the user said, or else as it was measured."""
        stated = self._record.rules.cost.review_seconds_per_alert
        if stated is None:
            return self._reviews.measured_times()
        return {one.name: ReviewTime(stated, "as given") for one in self._record.systems}

    def _run_result(self) -> RunResult:
        record = self._run.record
        hashes = sorted(f"{name}\x00{digest}" for name, digest in record.input_hashes.items())
        last = self._reviews.decisions.last
        reviewed = last.sha256 if last else ""
        identity = f"{record.run_id}{self._inputs.sha256}{self._kept.answers_sha256}{reviewed}"
        return RunResult(
            id=hashlib.sha256(identity.encode()).hexdigest()[:16],
            tool_version=record.tool_version,
            started=record.started_at.isoformat(),
            ended=record.ended_at.isoformat() if record.ended_at else None,
            seed=self._record.rules.seed,
            input_sha256=hashlib.sha256("\n".join(hashes).encode()).hexdigest(),
            protocol_sha256=self._inputs.sha256,
            answers_sha256=self._kept.answers_sha256,
            synthetic=False,
            doubts=doubts(self._run),
        )

    def _data(self) -> DataResult:
        record, crossings = self._record, self._crossings
        known = [one for one in crossings if not one.entry.nameless]
        mated = [one.entry.person for one in known if one.enrolled]
        absent = [one.entry.person for one in known if not one.enrolled]
        return DataResult(
            people=len(record.people),
            enrolled_people=sum(one.enrolled for one in record.people),
            mated_people=len(set(mated)),
            nonmated_people=len(set(absent)),
            gallery_photographs=0,
            probes=len(known),
            transits=len(known),
            mated_searches=len(mated),
            nonmated_searches=len(absent),
            missing_answers=0,
            consent_basis=record.rules.governance.consent_method,
            label_source=record.rules.governance.label_source,
            groups=tuple(group_counts(record)),
        )

    def _exclusions(self) -> Iterator[str]:
        if self._truth is None:
            yield _NO_TRUTH
            return
        unseen = len(self._truth.transits) - len(self._crossings)
        if unseen:
            yield f"{unseen} transits begin after the run's last frame and are left out"
        nameless = sum(one.entry.nameless for one in self._crossings)
        if nameless:
            yield (
                f"{nameless} transits of people without a name are counted, but no rate rests on "
                "them: nobody can say how many people they are"
            )


def _no_size(result: GallerySizeResult) -> GallerySizeResult:
    return result.model_copy(update={"points": (), "reason": _ONE_SUBJECT})


def _waits(found: SystemTransits, row: AccuracyResult, settings: Settings) -> AlertTimeResult:
    overall = next(alert_rows(found, (), Watch({}), settings))
    mated = sum(one.crossing.enrolled for one in found.answers)
    return AlertTimeResult(
        system=row.system,
        label=row.label,
        transits=mated,
        alerted=overall.timed,
        p50_seconds=overall.p50_seconds,
        p95_seconds=overall.p95_seconds,
        reason="" if mated else "no enrolled person crossed a view",
    )
