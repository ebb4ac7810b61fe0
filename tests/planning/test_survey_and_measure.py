"""Surveys and measurements on drawn people: nothing is sent, everything is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.errors import UsageError
from rekadapter.feeds import load_feeds, open_feed
from rekadapter.gate import DetectingFinder, Fate, GateRules, TrackGate
from rekadapter.imaging import encode_jpeg
from rekadapter.planning import MeasureOptions, bytes_plot, measure, survey
from rekadapter.planning.measuring import calls_needed
from rekadapter.testing.clips import even, write_clip
from rekadapter.testing.drawn import DrawnFace, picture
from rekadapter.types import Reason, Size

OPTIONS = MeasureOptions(eye_sizes_px=(6.0, 40.0), qualities=(20, 90))


def clip(folder: Path) -> Path:
    """Ann comes closer; Eve stays far away."""
    frames = [
        picture(
            DrawnFace("Ann", 20 + 2 * n, 20, 50 + 4 * n),
            DrawnFace("Eve", 500 - 2 * n, 20, 24),
            size=Size(640, 360),
        )
        for n in range(30)
    ]
    return write_clip(folder / "lobby.mp4", even(frames, fps=10))


def test_a_survey_tells_who_would_be_sent_and_who_not_and_why(tmp_path: Path) -> None:
    (spec,) = load_feeds([str(clip(tmp_path))], fps=None)
    gate = TrackGate(DetectingFinder(MemoryRecognizer()), GateRules(looks_per_second=5.0))
    (seen,) = survey([open_feed(spec)], gate)
    assert (seen.frames, seen.tracks, seen.asked) == (30, 2, 1)
    assert seen.unasked == {Reason.FACE_TOO_SMALL: 1}
    assert seen.frames == sum(seen.dropped.values()) + seen.shots
    assert seen.shots >= 2
    assert seen.shot_bytes > 500 * seen.shots
    assert seen.seconds == pytest.approx(2.9)
    assert 2.0 < seen.seconds_in_view <= 2.9
    assert seen.looks <= 15


def test_people_who_are_known_at_once_are_asked_about_less_often(tmp_path: Path) -> None:
    (spec,) = load_feeds([str(clip(tmp_path))], fps=None)

    def shots(fate: Fate) -> int:
        gate = TrackGate(DetectingFinder(MemoryRecognizer()))
        (seen,) = survey([open_feed(spec)], gate, fate=fate)
        return seen.shots

    assert 1 <= shots(Fate.CLEAR) < shots(Fate.NOBODY)


def photographs(folder: Path, *, subjects: int = 3, each: int = 3) -> Path:
    for number in range(subjects):
        for photo in range(each):
            side = 120 + 20 * photo
            shown = picture(DrawnFace(f"p{number}", 100 + 5 * photo, 80, side))
            path = folder / f"subject_{number}" / f"{photo}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_jpeg(shown, 95))
    return folder


def test_a_measurement_finds_the_size_below_which_nobody_is_known(tmp_path: Path) -> None:
    recognizer = MemoryRecognizer()
    dataset = photographs(tmp_path / "faces")
    threshold = recognizer.capabilities.default_threshold
    found = measure(recognizer, threshold, DetectingFinder(recognizer), dataset, OPTIONS)
    assert (found.subjects, found.probes, found.left_out) == (3, 6, ())
    by_size = {(cell.eye_px, cell.quality): cell for cell in found.cells}
    assert by_size[40.0, 90].identified == by_size[40.0, 90].probes == 6
    assert by_size[40.0, 20].median_bytes < by_size[40.0, 90].median_bytes
    for cell in found.cells:
        assert cell.identified + cell.misidentified <= cell.probes
        assert cell.low <= cell.rate <= cell.high
    assert found.recommended is not None
    assert list(recognizer.galleries()) == []
    plot = bytes_plot(found)
    assert plot is not None
    assert plot == bytes_plot(found)
    assert "<svg" in plot


def test_the_searches_are_known_before_they_are_made(tmp_path: Path) -> None:
    dataset = photographs(tmp_path / "faces")
    assert calls_needed(dataset, OPTIONS) == 3 + 6 * 4
    assert calls_needed(dataset, MeasureOptions((40.0,), (90,), max_probes=2)) == 3 + 2


@pytest.mark.parametrize(("subjects", "each"), [(1, 3), (3, 1)])
def test_a_dataset_that_proves_nothing_is_refused(tmp_path: Path, subjects: int, each: int) -> None:
    recognizer = MemoryRecognizer()
    dataset = photographs(tmp_path / "faces", subjects=subjects, each=each)
    threshold = recognizer.capabilities.default_threshold
    with pytest.raises(UsageError):
        measure(recognizer, threshold, DetectingFinder(recognizer), dataset, OPTIONS)
    assert list(recognizer.galleries()) == []
