"""Whether what lies in a run directory is what the run says it wrote.

A report of a damaged run would be wrong without looking wrong: fewer frames, fewer people, no
misses. So the lines are held against the counts that the run took while it went on, and against one
another. A run that was killed (``running``) made no counts, and one that failed may hold a few
lines more than it counted: neither is damage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rekadapter.observation import CameraRecord, Observation, Run, TrackRecord
from rekadapter.uplink.spool import WAITED
from rekadapter.uplink.uploader import REQUEST_FAILED

_Place = tuple[str, str]
_Track = tuple[str, str, int]


def doubts(run: Run) -> tuple[str, ...]:
    """Why the numbers of a run may be wrong, a sentence each; none where all of it adds up."""
    if run.record.state == "running":
        return run.damage
    return (*run.damage, *_frames(run), *_tracks(run), *_strangers(run))


def _frames(run: Run) -> Iterator[str]:
    """Every frame that was processed, or whose request failed, left at least one line; one that
    waits for the uplink may have, where a part of it was answered."""
    left: dict[_Place, set[int]] = {}
    for seen in run.observations:
        left.setdefault((seen.camera, seen.backend), set()).add(seen.frame)
    for camera in run.record.cameras:
        for backend, processed in camera.processed.items():
            found = len(left.get((camera.camera, backend), ()))
            dropped = camera.dropped.get(backend, {})
            counted = processed + dropped.get(REQUEST_FAILED, 0)
            most = counted + sum(dropped.get(cause, 0) for cause in WAITED)
            if found < counted or (found > most and run.record.state != "failed"):
                yield (
                    f"observations.jsonl speaks of {found:,} frames of camera {camera.camera} for "
                    f"{backend}, and the run counted {counted:,}"
                )
            yield from _unbalanced(camera, backend, processed)


def _unbalanced(camera: CameraRecord, backend: str, processed: int) -> Iterator[str]:
    dropped = sum(camera.dropped.get(backend, {}).values())
    if camera.captured != processed + dropped:
        yield (
            f"run.json counts {camera.captured:,} frames of camera {camera.camera}, of which "
            f"{backend} processed {processed:,} and lost {dropped:,}: that does not add up"
        )


def _tracks(run: Run) -> Iterator[str]:
    """Every track that a face was filed under ended, and rests on faces that are there."""
    faces = Counter(_track_of(seen) for seen in run.observations if seen.track is not None)
    ended = {_track_key(track) for track in run.tracks}
    if missing := len(faces.keys() - ended):
        yield f"tracks.jsonl lacks {missing:,} tracks that faces in observations.jsonl belong to"
    thin = sum(track.decision.sightings > faces[_track_key(track)] for track in run.tracks)
    if thin:
        yield (
            f"{thin:,} tracks in tracks.jsonl rest on more faces than observations.jsonl holds "
            "of them"
        )
    if len(ended) < len(run.tracks):
        yield "tracks.jsonl holds a track twice"


def _strangers(run: Run) -> Iterator[str]:
    """No line is about a camera or a system that the run did not have."""
    cameras = {camera.camera for camera in run.record.cameras}
    backends = {backend.name for backend in run.record.backends}
    lines: list[Observation | TrackRecord] = [*run.observations, *run.tracks]
    strange = sum(one.camera not in cameras or one.backend not in backends for one in lines)
    if strange:
        yield f"{strange:,} lines are about cameras or systems that run.json does not know"


def _track_of(seen: Observation) -> _Track:
    return seen.backend, seen.camera, seen.track if seen.track is not None else -1


def _track_key(track: TrackRecord) -> _Track:
    return track.backend, track.camera, track.track
