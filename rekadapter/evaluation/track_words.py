"""A track in words: how alike, on what evidence, and who else it might have been."""

from __future__ import annotations

from collections.abc import Mapping

from rekadapter.evaluation import wording
from rekadapter.observation import BackendRecord, CandidateRecord, Decision, Run

TrackKey = tuple[str, str, int]
"""backend, camera, track"""


def eyes_words(median_px: float | None) -> str:
    return "" if median_px is None else f"{median_px:.0f} px between the eyes"


def score_words(candidate: CandidateRecord, backend: BackendRecord) -> str:
    scale = backend.scale
    words = wording.scale_words(scale) if candidate.scale == scale.name else candidate.scale
    raw = ""
    if candidate.raw_score is not None and candidate.raw_scale is not None:
        raw = f"; the model's own score {candidate.raw_score:.4g} ({candidate.raw_scale})"
    return f"{candidate.score:.2f} ({words}){raw}"


def runner_up_words(
    best: CandidateRecord | None, second: CandidateRecord | None, *, known: bool
) -> str:
    """Of a named track the next best, of an unknown one whom it resembled most."""
    if not known:
        return str(best.subject or best.face_id) if best else ""
    if second is None:
        return ""
    same = best is not None and best.scale == second.scale
    scale = "on the same scale" if same else f"({second.scale})"
    return f"{second.subject or second.face_id}, {second.score:.2f} {scale}"


def support_words(decision: Decision) -> str:
    if not decision.supporting:
        return ""
    searched = wording.many(decision.sightings, "face")
    return f"Alike enough in {decision.supporting:,} of {searched} searched."


def runners_up(run: Run) -> Mapping[TrackKey, CandidateRecord]:
    """For each named track the best candidate for somebody else, where any was returned."""
    named = {
        (track.backend, track.camera, track.track): track.decision.subject
        for track in run.tracks
        if track.decision.subject is not None
    }
    sign = {b.name: 1 if b.scale.higher_is_closer else -1 for b in run.record.backends}
    found: dict[TrackKey, CandidateRecord] = {}
    for seen in run.observations:
        if seen.track is None or (seen.backend, seen.camera, seen.track) not in named:
            continue
        key = (seen.backend, seen.camera, seen.track)
        for candidate in seen.candidates:
            better = key not in found or (
                sign.get(seen.backend, 1) * (candidate.score - found[key].score) > 0
            )
            if (candidate.subject or candidate.face_id) != named[key] and better:
                found[key] = candidate
    return found
