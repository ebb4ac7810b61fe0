"""Who was named when on one camera: lanes and bars, as shares of the time shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rekadapter.evaluation.wording import REASONS
from rekadapter.observation import TrackRecord
from rekadapter.types import Reason, SubjectId

_MOST_LANES: Final = 40
_MOST_ROWS: Final = 8
_MOST_TICKS: Final = 6
_MIN_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Bar:
    """A track: where it starts and how long it is, in percent of the lane; ``row`` counts from 0
    and keeps tracks of the same time apart."""

    left: float
    width: float
    row: int
    words: str


@dataclass(frozen=True, slots=True)
class Lane:
    """All tracks of one backend with one answer: ``name`` of a subject, or unknown for a reason."""

    index: int
    backend: str
    name: str | None
    reason: str
    bars: tuple[Bar, ...]

    @property
    def rows(self) -> int:
        """How many rows the bars take."""
        return 1 + max(bar.row for bar in self.bars)

    @property
    def words(self) -> str:
        """The bars in words, for those who cannot see them."""
        return "; ".join(bar.words for bar in self.bars)


@dataclass(frozen=True, slots=True)
class Tick:
    """A label in percent of the way."""

    left: float
    label: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Lanes by backend, subjects in order before unknowns; ``hidden`` lanes had no room."""

    lanes: tuple[Lane, ...]
    ticks: tuple[Tick, ...]
    hidden: int


def timeline(
    tracks: Sequence[TrackRecord], places: Mapping[str, int], last_seconds: float
) -> Timeline:
    """The lanes of one camera. ``places`` gives each backend's place in the run."""
    span = max(last_seconds, _MIN_SECONDS)
    grouped: defaultdict[tuple[int, bool, str], list[TrackRecord]] = defaultdict(list)
    for track in tracks:
        answer = track.decision.subject or track.decision.reason or ""
        key = (places[track.backend], track.decision.subject is None, str(answer))
        grouped[key].append(track)
    lanes = [_lane(key, grouped[key], span) for key in sorted(grouped)]
    return Timeline(tuple(lanes[:_MOST_LANES]), ticks_of(span), max(0, len(lanes) - _MOST_LANES))


def _lane(key: tuple[int, bool, str], tracks: Sequence[TrackRecord], span: float) -> Lane:
    place, unknown, answer = key
    return Lane(
        index=place,
        backend=tracks[0].backend,
        name=None if unknown else SubjectId(answer),
        reason=REASONS[Reason(answer)] if unknown else "",
        bars=tuple(_bars(tracks, span)),
    )


def _bars(tracks: Sequence[TrackRecord], span: float) -> Iterator[Bar]:
    """Each track in the first row that is free by then; the last row takes what is left over."""
    free_from: list[float] = []
    for track in sorted(tracks, key=lambda one: (one.first_seconds, one.track)):
        free = (row for row, end in enumerate(free_from) if end <= track.first_seconds)
        row = min(next(free, len(free_from)), _MOST_ROWS - 1)
        free_from[row : row + 1] = [track.last_seconds]
        yield _bar(track, span, row)


def _bar(track: TrackRecord, span: float, row: int) -> Bar:
    left = 100 * min(max(track.first_seconds / span, 0.0), 1.0)
    right = 100 * min(max(track.last_seconds / span, 0.0), 1.0)
    words = f"{track.first_seconds:.1f} to {track.last_seconds:.1f} s"
    return Bar(round(left, 2), round(right - left, 2), row, words)


def ticks_of(span: float) -> tuple[Tick, ...]:
    """Round seconds from 0 to ``span``."""
    steps = (m * 10.0**p for p in range(-1, 8) for m in (1, 2, 5))
    step = next(step for step in steps if span / step <= _MOST_TICKS)
    count = int(span / step) + 1
    return tuple(Tick(round(100 * i * step / span, 2), f"{i * step:g} s") for i in range(count))
