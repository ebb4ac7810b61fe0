"""A run directory as one HTML file that opens anywhere, without a network, for years.

The file refers to nothing outside itself and holds no script. Everything that comes from a run
(names, errors, endpoints) is escaped. Rendering the same run twice gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import combinations
from pathlib import Path
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rekadapter.evaluation import wording
from rekadapter.evaluation.pairing import Outcome, Pairing, TrackPair, pair_backends
from rekadapter.evaluation.plots import (
    COLORS,
    Series,
    eye_distance_histogram,
    latency_curves,
)
from rekadapter.evaluation.record import write_text
from rekadapter.evaluation.summary import (
    EYE_LINES_PX,
    CameraFacts,
    FrameCounts,
    Summary,
    SummaryRow,
    eyes_px,
    frame_latencies_ms,
    percentile,
    summarize,
)
from rekadapter.evaluation.thumbnails import Thumbnails
from rekadapter.evaluation.timeline import Timeline, timeline
from rekadapter.evaluation.track_words import (
    eyes_words,
    runner_up_words,
    runners_up,
    score_words,
    support_words,
)
from rekadapter.evaluation.uplink import UplinkSection, uplink_section
from rekadapter.observation import (
    CameraRecord,
    Observation,
    Run,
    RunRecord,
    TrackRecord,
)
from rekadapter.sinks.run_directory import FACES_FOLDER, read_run

DETAIL_FILE: Final = "feeds.html"

# What keeps the file under 2 MB with 30 cameras; what has no room is counted in the page.
_MOST_CARDS: Final = 300
"""faces shown in all, shared out evenly to the cameras; one takes about 1 kB and its picture"""
_FEWEST_CARDS: Final = 4
_MOST_DISAGREEMENTS: Final = 60
_MOST_PLOTTED_CAMERAS: Final = 16
"""the two plots of a camera take about 30 kB"""


@dataclass(frozen=True, slots=True)
class _Card:
    """A track as a reader sees it; ``index`` is the backend's place in the run."""

    index: int
    backend: str
    track: int
    name: str | None
    reason: str
    score: str
    threshold: str
    support: str
    runner_up: str
    seen: str
    eyes: str
    picture: str | None


@dataclass(frozen=True, slots=True)
class _Disagreement:
    camera: str
    outcome: str
    sides: tuple[_Card | None, _Card | None]
    frames: str


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Two backends; ``matrix`` counts pairs by outcome, in words."""

    pairing: Pairing
    matrix: tuple[tuple[str, int], ...]
    disagreements: tuple[_Disagreement, ...]
    hidden: int


@dataclass(frozen=True, slots=True)
class _Camera:
    facts: CameraFacts
    record: CameraRecord | None
    rows: tuple[SummaryRow, ...]
    timeline: Timeline
    plotted: bool
    eye_plot: Markup | None
    latency_plot: Markup | None
    cards: tuple[_Card, ...]
    hidden: int


@dataclass(frozen=True, slots=True)
class _Page:
    record: RunRecord
    summary: Summary
    words: wording.PlainWords
    cameras: tuple[_Camera, ...]
    comparisons: tuple[_Comparison, ...]
    uplink: UplinkSection | None
    rate_plot: Markup | None
    age_plot: Markup | None
    has_pictures: bool
    left_out_pictures: int


def render_report(directory: Path, run: Run | None = None) -> Path:
    """Writes ``feeds.html`` into a run directory and returns its path; ``run`` where it was read
    already.

    Raises:
        UsageError: no run directory, or one that cannot be read.
        OutputError: a file of it is damaged, or the report cannot be written.
    """
    html = report_html(run or read_run(directory), Thumbnails(directory / FACES_FOLDER))
    return write_text(directory / DETAIL_FILE, html, errors="backslashreplace")


def report_html(run: Run, thumbnails: Thumbnails) -> str:
    """The report of a run as the text of one HTML page."""
    page = _Author(run, thumbnails).page()
    style = files("rekadapter.evaluation").joinpath("templates/report.css").read_text("utf-8")
    return (
        _environment()
        .get_template("report.html")
        .render(
            page=page,
            record=page.record,
            summary=page.summary,
            style=Markup(style),  # noqa: S704  our own file, nothing of the run in it
            colors=COLORS,
            eye_lines=EYE_LINES_PX,
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("rekadapter.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "whole": _whole,
        "kbits": lambda bits: f"{bits / 1000:,.0f} kbit/s",
        "milliseconds": _milliseconds,
        "duration": _duration,
        "megabytes": wording.megabytes,
        "dollars": wording.dollars,
        "scale": wording.scale_words,
        "reason": wording.REASONS.__getitem__,
        "state": lambda state: wording.STATES.get(state, state),
        "frames_check": _frames_check,
        "percent": lambda share: f"{100 * share:.0f} %",
        "price": wording.price_words,
    }
    return environment


class _Author:
    """Turns a run into what the template prints."""

    def __init__(self, run: Run, thumbnails: Thumbnails) -> None:
        self._run = run
        self._thumbnails = thumbnails
        self._summary = summarize(run)
        self._backends = {backend.name: backend for backend in run.record.backends}
        self._index = {name: place for place, name in enumerate(self._backends)}
        self._runners_up = runners_up(run)

    def page(self) -> _Page:
        names = list(self._backends)
        pairings = [pair_backends(self._run, a, b) for a, b in combinations(names, 2)]
        room = _MOST_DISAGREEMENTS // max(1, len(pairings))
        comparisons = tuple(self._comparison(pairing, room) for pairing in pairings)
        cameras = tuple(
            self._camera(number, facts) for number, facts in enumerate(self._summary.cameras)
        )
        uplink = uplink_section(self._run)
        return _Page(
            record=self._run.record,
            summary=self._summary,
            words=wording.plain_words(self._run.record, self._summary, pairings),
            cameras=cameras,
            comparisons=comparisons,
            uplink=uplink,
            rate_plot=_markup(uplink.rate_plot) if uplink else None,
            age_plot=_markup(uplink.age_plot) if uplink else None,
            has_pictures=self._thumbnails.given > 0,
            left_out_pictures=self._thumbnails.left_out,
        )

    # --- cameras ------------------------------------------------------------------------------

    def _camera(self, number: int, facts: CameraFacts) -> _Camera:
        room = max(_FEWEST_CARDS, _MOST_CARDS // len(self._summary.cameras))
        tracks = sorted(
            (t for t in self._run.tracks if t.camera == facts.camera and t.backend in self._index),
            key=lambda t: (t.first_seconds, self._index[t.backend], t.track),
        )
        seen = [one for one in self._run.observations if one.camera == facts.camera]
        plotted = number < _MOST_PLOTTED_CAMERAS
        records = {record.camera: record for record in self._run.record.cameras}
        record = records.get(facts.camera)
        return _Camera(
            facts=facts,
            record=record,
            rows=tuple(row for row in self._summary.rows if row.camera == facts.camera),
            timeline=timeline(tracks, self._index, _last_seconds(seen, tracks)),
            plotted=plotted,
            eye_plot=self._eye_plot(number, record, seen) if plotted else None,
            latency_plot=self._latency_plot(number, seen) if plotted else None,
            cards=tuple(self._card(track) for track in tracks[:room]),
            hidden=max(0, len(tracks) - room),
        )

    def _eye_plot(
        self, number: int, record: CameraRecord | None, seen: Sequence[Observation]
    ) -> Markup | None:
        series = [
            Series(place, eyes_px(record, name, [one for one in seen if one.backend == name]))
            for name, place in self._index.items()
        ]
        alt = "Histogram of the pixels between the eyes of the faces on this camera."
        return _markup(eye_distance_histogram(series, key=f"eyes-{number}", alt=alt))

    def _latency_plot(self, number: int, seen: Sequence[Observation]) -> Markup | None:
        series = [Series(place, frame_latencies_ms(mine)) for place, mine in self._by_backend(seen)]
        alt = "Share of frames that were answered within so many milliseconds."
        return _markup(latency_curves(series, key=f"latency-{number}", alt=alt))

    def _by_backend(self, seen: Sequence[Observation]) -> Iterator[tuple[int, list[Observation]]]:
        for name, place in self._index.items():
            yield place, [one for one in seen if one.backend == name]

    # --- tracks -------------------------------------------------------------------------------

    def _card(self, track: TrackRecord) -> _Card:
        decision, backend = track.decision, self._backends[track.backend]
        best, known = decision.best, decision.subject is not None
        second = self._runners_up.get((track.backend, track.camera, track.track))
        return _Card(
            index=self._index[track.backend],
            backend=track.backend,
            track=track.track,
            name=decision.subject,
            reason=wording.REASONS[decision.reason] if decision.reason else "",
            score=score_words(best, backend) if best else "",
            threshold=f"{backend.threshold:g}",
            support=support_words(decision),
            runner_up=runner_up_words(best, second, known=known),
            seen=_seen(track),
            eyes=eyes_words(track.median_eye_distance_px),
            picture=self._thumbnails.data_uri(track.thumbnail),
        )

    # --- comparisons --------------------------------------------------------------------------

    def _comparison(self, pairing: Pairing, room: int) -> _Comparison:
        counts = pairing.counts()
        shown = pairing.disagreements[:room]
        return _Comparison(
            pairing=pairing,
            matrix=tuple((_outcome(o, pairing), count) for o, count in counts.items()),
            disagreements=tuple(self._disagreement(pair, pairing) for pair in shown),
            hidden=len(pairing.disagreements) - len(shown),
        )

    def _disagreement(self, pair: TrackPair, pairing: Pairing) -> _Disagreement:
        return _Disagreement(
            camera=pair.camera,
            outcome=_outcome(pair.outcome, pairing),
            sides=(
                self._card(pair.a) if pair.a else None,
                self._card(pair.b) if pair.b else None,
            ),
            frames=_frames_words(pair),
        )


# --- words of single values -------------------------------------------------------------------


def _outcome(outcome: Outcome, pairing: Pairing) -> str:
    a, b = pairing.backend_a, pairing.backend_b
    return {
        Outcome.SAME_SUBJECT: "both name the same person",
        Outcome.BOTH_UNKNOWN: "both say unknown",
        Outcome.DIFFERENT_SUBJECTS: "they name different people",
        Outcome.ONLY_A_IDENTIFIED: f"only {a} names somebody",
        Outcome.ONLY_B_IDENTIFIED: f"only {b} names somebody",
        Outcome.ONLY_A_SAW: f"only {a} saw a face",
        Outcome.ONLY_B_SAW: f"only {b} saw a face",
        Outcome.NOT_COMPARABLE: "the other system answered none of these frames",
    }[outcome]


def _frames_words(pair: TrackPair) -> str:
    if pair.a and pair.b:
        return f"{wording.many(pair.frames_shared, 'frame')} in common"
    frames = wording.many(pair.frames_a or pair.frames_b, "frame")
    return f"in {frames}, of which the other system answered {pair.frames_answered:,}"


def _seen(track: TrackRecord) -> str:
    sightings = wording.many(track.sightings, "frame")
    return f"{track.first_seconds:.1f} to {track.last_seconds:.1f} s, {sightings}"


def _whole(count: int | None) -> str:
    return "not known" if count is None else f"{count:,}"


def _milliseconds(value: float | None) -> str:
    if value is None:
        return "nothing to measure"
    return f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"


def _duration(seconds: float) -> str:
    return f"{seconds:,.1f} s" if seconds >= 1 else _milliseconds(1000 * seconds)


def _frames_check(frames: FrameCounts) -> str:
    if frames.unaccounted is None:
        return "the run was killed before it counted"
    if frames.unaccounted == 0:
        return "adds up"
    return f"does not add up: {frames.unaccounted:+,} frames"


def _markup(svg: str | None) -> Markup | None:
    return None if svg is None else Markup(svg)  # noqa: S704  drawn by us from numbers alone


def _last_seconds(seen: Iterable[Observation], tracks: Iterable[TrackRecord]) -> float:
    """The end of what a camera showed, by the feed's own clock."""
    times = [one.seconds for one in seen] + [track.last_seconds for track in tracks]
    return percentile(times, 100) or 0.0
