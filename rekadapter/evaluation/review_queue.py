"""What of a run waits for a person to look at it, in whose order, and decisions from a table.

An *alert* is a track with a name. Each reviewer sees alerts in an order of their own, so that two
of them do not tire at the same ones; it follows from the run and the reviewer alone, so a session
goes on where it was left.
"""

from __future__ import annotations

import csv
import hashlib
import math
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rekadapter.errors import UsageError
from rekadapter.evaluation.track_words import (
    TrackKey,
    eyes_words,
    runner_up_words,
    runners_up,
    score_words,
    support_words,
)
from rekadapter.evaluation.wording import REASONS
from rekadapter.observation import Run, TrackRecord
from rekadapter.roster import RosterPhoto
from rekadapter.sinks.audit import Reviewed, Verdict
from rekadapter.sinks.run_directory import FACES_FOLDER

MOST_SECONDS: Final = 86_400.0
"""A decision that took longer is a slip of the pen."""
_NEEDED: Final = ("backend", "camera", "track", "verdict", "by")
_MAY: Final = ("seconds", "note")


def reviewer_key(by: str) -> str:
    """The same for one reviewer however they are typed: capitals and spaces make nobody another
    person, or one person alone could pass for two."""
    return " ".join(unicodedata.normalize("NFKC", by).split()).casefold()


def track_key(decision: Reviewed) -> TrackKey:
    """Which track a decision is about."""
    return decision.system, decision.camera, decision.track


@dataclass(frozen=True, slots=True)
class Alert:
    """What a system said about a track, in words, and what there is to look at.

    ``subject`` is the name said, None for an unknown; ``face`` the picture that the run kept,
    ``enrolled`` photographs of the one named (of an unknown, of whom it resembled most).
    """

    backend: str
    camera: str
    track: int
    first_seconds: float
    last_seconds: float
    subject: str | None
    reason: str
    score: str
    threshold: str
    evidence: str
    next_best: str
    face: Path | None
    enrolled: tuple[Path, ...]

    @property
    def key(self) -> TrackKey:
        return self.backend, self.camera, self.track


def alerts_of(
    run: Run, directory: Path, photos: Sequence[RosterPhoto] = (), *, unknowns: bool = False
) -> tuple[Alert, ...]:
    """Every track with a name, and with ``unknowns`` every other; ``photos`` are those that the
    gallery was enrolled from, where somebody knows."""
    enrolled: dict[str, list[Path]] = defaultdict(list)
    for photo in photos:
        enrolled[photo.subject].append(photo.path)
    second = runners_up(run)
    backends = {one.name: one for one in run.record.backends}
    found = []
    for track in run.tracks:
        decision, backend = track.decision, backends.get(track.backend)
        if backend is None or (decision.subject is None and not unknowns):
            continue
        best = decision.best
        whom = decision.subject or (best.subject if best else None)
        known = decision.subject is not None
        found.append(
            Alert(
                backend=track.backend,
                camera=track.camera,
                track=track.track,
                first_seconds=track.first_seconds,
                last_seconds=track.last_seconds,
                subject=decision.subject,
                reason=REASONS[decision.reason] if decision.reason else "",
                score=score_words(best, backend) if best else "not recorded",
                threshold=f"{backend.threshold:g}",
                evidence=_evidence(track),
                next_best=runner_up_words(
                    best, second.get((track.backend, track.camera, track.track)), known=known
                ),
                face=_face(directory, track.thumbnail),
                enrolled=tuple(enrolled.get(whom or "", ())),
            )
        )
    return tuple(found)


def _evidence(track: TrackRecord) -> str:
    seen = f"{track.sightings:,} pictures of it"
    parts = (support_words(track.decision), seen, eyes_words(track.median_eye_distance_px))
    return "; ".join(part.rstrip(".") for part in parts if part)


def _face(directory: Path, thumbnail: str | None) -> Path | None:
    if thumbnail is None:
        return None
    path = directory / FACES_FOLDER / Path(thumbnail).name
    return path if path.is_file() else None


def in_order_of(by: str, alerts: Iterable[Alert], run_id: str) -> tuple[Alert, ...]:
    """The reviewer's own order. More alerts leave the order of the others as it was."""

    def place(alert: Alert) -> str:
        parts = (run_id, reviewer_key(by), alert.backend, alert.camera, str(alert.track))
        return hashlib.sha256("\x00".join(parts).encode()).hexdigest()

    return tuple(sorted(alerts, key=place))


def waiting_for(
    by: str, alerts: Sequence[Alert], decided: Iterable[Reviewed], run_id: str
) -> tuple[Alert, ...]:
    """What this reviewer has not decided on, in their order."""
    own = {track_key(one) for one in decided if reviewer_key(one.by) == reviewer_key(by)}
    return in_order_of(by, (one for one in alerts if one.key not in own), run_id)


def seen_by_too_few(
    alerts: Iterable[Alert], decided: Iterable[Reviewed], min_reviewers: int
) -> tuple[Alert, ...]:
    """What fewer than ``min_reviewers`` different people have decided on, in the run's order."""
    people: dict[TrackKey, set[str]] = defaultdict(set)
    for one in decided:
        people[track_key(one)].add(reviewer_key(one.by))
    return tuple(one for one in alerts if len(people[one.key]) < min_reviewers)


# --- decisions from a table -------------------------------------------------------------------


def read_decisions(file: Path, run: Run) -> tuple[Reviewed, ...]:
    """Decisions from a CSV with the columns backend, camera, track, verdict, by, and where there
    are any seconds and note; all of it is checked.

    Raises:
        UsageError: what is wrong with it, line by line.
    """
    known: set[TrackKey] = {(one.backend, one.camera, one.track) for one in run.tracks}
    decisions: list[Reviewed] = []
    problems: list[str] = []
    lines: dict[tuple[TrackKey, str], int] = {}
    for number, row in _rows(file):
        try:
            decision = _decision(row, known)
            _refuse_twice(decision, number, lines)
        except UsageError as error:
            problems.append(f"line {number}: {error}")
        else:
            decisions.append(decision)
    if problems:
        more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise UsageError(f"{file}: {'; '.join(problems[:8])}{more}; nothing was written")
    if not decisions:
        raise UsageError(f"{file} holds no decision")
    return tuple(decisions)


def _rows(file: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.DictReader(opened, strict=True)
            columns = reader.fieldnames or ()
            _refuse_columns(file, columns)
            for row in reader:
                yield reader.line_num, _whole(file, reader.line_num, row)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{file} is no CSV in UTF-8: {error}") from error


def _refuse_columns(file: Path, columns: Sequence[str]) -> None:
    if missing := [name for name in _NEEDED if name not in columns]:
        raise UsageError(f"{file} needs the columns {', '.join(missing)}")
    if unknown := sorted(set(columns) - {*_NEEDED, *_MAY}):
        raise UsageError(f"{file}: unknown columns {', '.join(unknown)}")
    if len(set(columns)) < len(columns):
        raise UsageError(f"{file}: a column stands there twice")


def _whole(file: Path, number: int, row: Mapping[str | None, Any]) -> Mapping[str, str]:
    if None in row or None in row.values():
        raise UsageError(f"{file}, line {number}: it has not as many fields as the first line")
    return {str(key): str(value).strip() for key, value in row.items()}


def _decision(row: Mapping[str, str], known: set[TrackKey]) -> Reviewed:
    try:
        verdict = Verdict(row["verdict"])
    except ValueError as error:
        raise UsageError(f"the verdict is {', '.join(Verdict)}, not '{row['verdict']}'") from error
    if not row["by"]:
        raise UsageError("it does not say who decided (by)")
    number = row["track"]
    track = int(number) if number.isascii() and number.isdigit() else None
    if track is None or (row["backend"], row["camera"], track) not in known:
        raise UsageError(
            f"there is no track {number} of camera {row['camera']} by {row['backend']}"
        )
    seconds = _seconds(row.get("seconds", ""))
    note = row.get("note", "")
    return Reviewed(row["backend"], row["camera"], track, verdict, row["by"], note, seconds)


def _refuse_twice(decision: Reviewed, number: int, lines: dict[tuple[TrackKey, str], int]) -> None:
    """One reviewer decides on a track in one line."""
    before = lines.setdefault((track_key(decision), reviewer_key(decision.by)), number)
    if before != number:
        raise UsageError(f"'{decision.by}' decides on it in line {before} already")


def _seconds(text: str) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= MOST_SECONDS:
        raise UsageError(f"'{text}' is no number of seconds from 0 to {MOST_SECONDS:,.0f}")
    return seconds
