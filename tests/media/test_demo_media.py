"""The demo's people and clips: honest sizes, known truth, the same every time."""

from __future__ import annotations

import hashlib
import importlib.machinery
import shutil
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import platformdirs
import pytest

from rekadapter.backends import open_backend
from rekadapter.cli import jobs
from rekadapter.cli.demo import GALLERY, truth_of
from rekadapter.cli.feed_reports import Beforehand
from rekadapter.cli.session import OpenBackend
from rekadapter.errors import UsageError
from rekadapter.feeds import FeedSpec
from rekadapter.imaging import Image
from rekadapter.pipeline import RunOptions
from rekadapter.recognizer import BackendContext
from rekadapter.roster import EnrollOptions, enroll_roster, read_roster
from rekadapter.testing import faces_from_packages
from rekadapter.testing.backdrops import corridor, lobby, parking, street
from rekadapter.testing.faces_from_packages import people
from rekadapter.testing.media import DemoScene, make_demo_scene
from rekadapter.types import Size

SEARCHABLE_EYES_PX = 16.0


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> DemoScene:
    return make_demo_scene(tmp_path_factory.mktemp("scene"))


def frames(path: Path) -> Iterator[av.VideoFrame]:
    with av.open(str(path)) as container:
        yield from container.decode(video=0)


def hashes(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


# --- the report ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_report_of_the_clips_counts_what_is_known_to_be_in_them(
    scene: DemoScene, tmp_path: Path
) -> None:
    """On the corridor one enrolled person and one stranger; on parking everybody is too small."""
    shown = [clip for clip in scene.clips if clip.camera in {"corridor", "parking"}]
    context = BackendContext(tmp_path, platformdirs.user_cache_path("rekadapter"))
    recognizer = open_backend("local", "local", {}, context)
    enroll_roster("local", recognizer, GALLERY, read_roster(scene.roster), EnrollOptions())
    whole = truth_of(scene)
    truth = whole.model_copy(
        update={"transits": tuple(t for t in whole.transits if t.camera in {"corridor", "parking"})}
    )
    request = jobs.RunRequest(
        feeds=tuple(FeedSpec(clip.camera, str(clip.path), fps=2.0) for clip in shown),
        gallery=GALLERY,
        out=tmp_path / "run",
        command="",
        options=RunOptions(),
        given=Beforehand(truth=truth),
    )
    opened = OpenBackend("local", recognizer, recognizer.capabilities.default_threshold)
    feeds = jobs.run_opened([opened], jobs.Uplink.capped_at(None), request).evaluation.feeds
    recognizer.close()
    assert feeds is not None
    rows = {row.camera: (row.identified, row.mated, row.nonmated_named) for row in feeds.transits}
    assert rows == {None: (1, 3, 0), "corridor": (1, 1, 0), "parking": (0, 2, 0)}
    assert [one.false_alerts for one in feeds.alerts] == [0, 0, 0]
    assert feeds.alerts[0].p95_seconds is not None
    assert feeds.alerts[0].p95_seconds < 5


# --- people -----------------------------------------------------------------------------------


def test_people_are_cut_out_with_their_eyes_inside_an_opaque_head() -> None:
    for person in people():
        x, y = (round(value) for value in person.eyes_center)
        half = round(person.eye_distance_px / 2)
        assert person.head.shape == person.body.shape
        assert (person.head[y, x - half : x + half, 3] == 255).all(), person.name
        assert person.head[0, :, 3].max() == 0, "the canvas around the head has to be clear"


def test_people_are_seven_with_names_of_their_own() -> None:
    assert len({person.name for person in people()}) == 7


def test_a_missing_package_is_named_with_the_way_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(faces_from_packages, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r'pip install "rekadapter\[demo\]"') as caught:
        people()
    assert "skimage" in str(caught.value)


def test_another_photograph_under_the_known_name_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "data" / "images").mkdir(parents=True)
    for name in ("data/astronaut.png", "data/images/t1.jpg"):
        (tmp_path / name).write_bytes(b"another file")

    def elsewhere(name: str) -> importlib.machinery.ModuleSpec:
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(tmp_path)]
        return spec

    monkeypatch.setattr(faces_from_packages, "find_spec", elsewhere)
    with pytest.raises(UsageError, match="not the photograph"):
        people()


@pytest.mark.parametrize("draw", [lobby, street, corridor, parking])
@pytest.mark.parametrize("size", [Size(1920, 1080), Size(320, 180)], ids=str)
def test_backdrops_fill_the_size_asked_for(draw: object, size: Size) -> None:
    assert callable(draw)
    pixels = draw(size)
    assert pixels.shape == (size.height, size.width, 3)
    assert pixels.dtype == np.uint8


# --- clips ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_four_cameras_with_a_full_hd_one(scene: DemoScene) -> None:
    sizes = {}
    for clip in scene.clips:
        first = next(frames(clip.path))
        sizes[clip.camera] = (first.width, first.height)
    assert len(sizes) == 4
    assert (1920, 1080) in sizes.values()


@pytest.mark.slow
def test_clips_have_even_time_stamps_and_the_promised_length(scene: DemoScene) -> None:
    for clip in scene.clips:
        times = [frame.time for frame in frames(clip.path)]
        assert 110 <= len(times) <= 150
        assert np.allclose(np.diff(times), 0.1)


@pytest.mark.slow
def test_the_truth_has_enrolled_unknown_and_too_small_people(scene: DemoScene) -> None:
    near = [one for one in scene.truth if one.max_eye_distance_px > SEARCHABLE_EYES_PX]
    far = [one for one in scene.truth if one.max_eye_distance_px < SEARCHABLE_EYES_PX]
    assert {one.person for one in near if one.enrolled} == {p.name for p in scene.roster.iterdir()}
    assert len({one.person for one in near if not one.enrolled}) == 3
    assert {one.camera for one in far} == {"parking"}
    assert {one.camera for one in near} == {clip.camera for clip in scene.clips} - {"parking"}


@pytest.mark.slow
def test_nobody_is_shown_larger_than_photographed(scene: DemoScene) -> None:
    native = {person.name: person.eye_distance_px for person in people()}
    assert all(one.max_eye_distance_px <= native[one.person] for one in scene.truth)


@pytest.mark.slow
def test_someone_is_where_the_truth_says_and_nobody_before(scene: DemoScene) -> None:
    lobby_clip = next(clip for clip in scene.clips if clip.camera == "lobby")
    first = min(one.first_seconds for one in scene.truth if one.camera == "lobby")
    pictures = {round(frame.time or 0, 1): frame for frame in frames(lobby_clip.path)}
    empty = pictures[0.0].to_ndarray(format="bgr24").astype(int)
    before = np.abs(pictures[round(first - 0.2, 1)].to_ndarray(format="bgr24") - empty)
    after = np.abs(pictures[round(first + 0.3, 1)].to_ndarray(format="bgr24") - empty)
    assert (before > 40).sum() == 0
    assert (after > 40).sum() > 1000


@pytest.mark.slow
def test_the_roster_holds_one_readable_photo_a_subject(scene: DemoScene) -> None:
    folders = sorted(scene.roster.iterdir())
    assert len(folders) == 4
    for folder in folders:
        (photo,) = folder.iterdir()
        assert min(Image.open(photo).size.width, Image.open(photo).size.height) >= 80


@pytest.mark.slow
def test_the_scene_is_the_same_every_time_and_may_be_made_over_an_old_one(
    scene: DemoScene, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(scene.roster.parent, copy)
    progress: list[tuple[int, int]] = []
    make_demo_scene(copy, progress=lambda done, total: progress.append((done, total)))
    assert hashes(copy) == hashes(scene.roster.parent)
    assert [done for done, _ in progress] == list(range(1, progress[-1][1] + 1))


@pytest.mark.slow
def test_the_notes_say_that_the_media_is_synthetic_and_accuracy_is_not_shown(
    scene: DemoScene,
) -> None:
    text = " ".join(scene.notes)
    assert "synthetic" in text
    assert "how accurate" in text
