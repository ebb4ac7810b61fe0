"""What the user may type for feeds, and what is said about what cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from rekadapter.errors import ConfigError, FeedError
from rekadapter.feeds import FeedSpec, Frame, LostFrame, load_feeds, open_feed
from rekadapter.imaging import encode_jpeg
from rekadapter.testing.drawn import picture
from rekadapter.types import CameraId, Size


def save(path: Path, gray: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_jpeg(picture(size=Size(64, 48), gray=gray), 90))
    return path


def written(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_direct_sources_are_named_after_their_files_each_differently() -> None:
    specs = load_feeds(["a/lobby.mp4", "b/lobby.mkv", "yard", "lobby.jpg"], fps=None)
    assert [spec.camera for spec in specs] == ["lobby", "lobby-2", "yard", "lobby-3"]
    assert [spec.source for spec in specs] == ["a/lobby.mp4", "b/lobby.mkv", "yard", "lobby.jpg"]


def test_a_made_up_name_never_takes_a_given_one(tmp_path: Path) -> None:
    toml = written(tmp_path / "feeds.toml", '[[camera]]\nname = "lobby-2"\nsource = "door.mp4"\n')
    specs = load_feeds(["lobby.mp4", "x/lobby.mp4", toml], fps=None)
    assert [spec.camera for spec in specs] == ["lobby", "lobby-3", "lobby-2"]


def test_a_feeds_file_gives_all_there_is_to_say(tmp_path: Path) -> None:
    toml = written(
        tmp_path / "feeds.toml",
        """
        [[camera]]
        name = "main lobby"
        source = "clips/a.mp4"
        weight = 3
        fps = 5
        [[camera]]
        source = "/abs/b.mp4"
        """,
    )
    assert load_feeds([toml], fps=None) == (
        FeedSpec(CameraId("main lobby"), str(tmp_path / "clips" / "a.mp4"), 3.0, 5.0),
        FeedSpec(CameraId("b"), "/abs/b.mp4"),
    )


def test_a_given_rate_goes_before_the_files(tmp_path: Path) -> None:
    toml = written(tmp_path / "feeds.toml", '[[camera]]\nsource = "a.mp4"\nfps = 5\n')
    assert [spec.fps for spec in load_feeds([toml, "b.mp4"], fps=2.0)] == [2.0, 2.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[camera]]\nsource="a"\nwieght=2', r"unknown key 'wieght' in \[\[camera\]\] number 1"),
        ('[[cameras]]\nsource="a"', "'camera'.*is missing|unknown key 'cameras'"),
        ('[[camera]]\nsource="a"\n[[camera]]\nname="b"', r"'source' in \[\[camera\]\] number 2 is"),
        ('[[camera]]\nsource="a"\nfps=0', "'fps' in.*greater than 0"),
        ('[[camera]]\nsource="a"\nfps="5"', "'fps' in.*valid number"),
        ('[[camera]]\nsource="a"\nweight=-1', "'weight' in.*greater than 0"),
        ('[[camera]]\nsource="a"\nweight=nan', "'weight' in"),
        ('[[camera]]\nname="x"\nsource="a"\n[[camera]]\nname="x"\nsource="b"', "two cameras are"),
        ("camera = [", "is not TOML"),
        ("", "'camera' is missing"),
        ("camera = []", "'camera'"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_the_file(tmp_path: Path, text: str, said: str) -> None:
    toml = written(tmp_path / "feeds.toml", text)
    with pytest.raises(ConfigError, match=said) as caught:
        load_feeds([toml], fps=None)
    assert "feeds.toml" in str(caught.value) or "two cameras" in str(caught.value)


def test_no_feed_and_a_missing_list_are_told(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="no feed given"):
        load_feeds([], fps=None)
    with pytest.raises(FeedError, match=r"gone\.toml cannot be read"):
        load_feeds([str(tmp_path / "gone.toml")], fps=None)


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_without_meaning_is_refused(fps: float) -> None:
    with pytest.raises(ConfigError, match="fps lies between"):
        load_feeds(["a.mp4"], fps=fps)


def test_a_live_camera_in_a_file_is_not_taken_for_a_path(tmp_path: Path) -> None:
    toml = written(tmp_path / "feeds.toml", '[[camera]]\nname="gate"\nsource="rtsp://cam/1"\n')
    (spec,) = load_feeds([toml], fps=None)
    assert spec.source == "rtsp://cam/1"


def test_a_missing_source_names_the_camera_and_the_path(tmp_path: Path) -> None:
    (spec,) = load_feeds([str(tmp_path / "gone.mp4")], fps=None)
    with pytest.raises(FeedError, match=r"camera 'gone': .*gone\.mp4 is not there"):
        open_feed(spec)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image", encoding="utf-8")
    with pytest.raises(FeedError, match="no image in the folder"):
        open_feed(FeedSpec(CameraId("a"), str(tmp_path)))


def test_a_folder_gives_its_images_by_name_one_second_apart(tmp_path: Path) -> None:
    for name, gray in (("b.jpg", 120), ("a.JPEG", 60), ("c.png.jpg", 180), (".hidden.jpg", 9)):
        save(tmp_path / name, gray)
    (tmp_path / "notes.txt").write_text("no image", encoding="utf-8")
    save(tmp_path / "sub" / "d.jpg")
    feed = open_feed(FeedSpec(CameraId("a"), str(tmp_path)))
    items = [item for item in feed.frames() if isinstance(item, Frame)]
    assert [round(float(item.image.pixels.mean()), -1) for item in items] == [60, 120, 180]
    assert [(item.index, item.seconds) for item in items] == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert feed.expected_frames == 3
    assert not feed.continuous


def test_a_folder_with_a_rate_is_a_sequence_and_none_is_left_out(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / f"{number}.jpg")
    feed = open_feed(FeedSpec(CameraId("a"), str(tmp_path), fps=4.0))
    assert [item.seconds for item in feed.frames()] == [0.0, 0.25, 0.5, 0.75]
    assert feed.continuous


def test_an_unreadable_image_is_a_lost_frame_and_the_folder_goes_on(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(b"broken")
    whole = save(tmp_path / "c.jpg").read_bytes()
    (tmp_path / "c.jpg").write_bytes(whole[: len(whole) // 2])
    save(tmp_path / "d.jpg")
    items = list(open_feed(FeedSpec(CameraId("a"), str(tmp_path))).frames())
    assert [type(item) for item in items] == [Frame, LostFrame, LostFrame, Frame]
    lost = items[1]
    assert isinstance(lost, LostFrame)
    assert (lost.cause, lost.index) == ("unreadable_image", 1)
    assert "b.jpg" in lost.detail


def test_one_image_is_one_frame_with_its_file_kept(tmp_path: Path) -> None:
    path = save(tmp_path / "door.jpg")
    (item,) = open_feed(FeedSpec(CameraId("door"), str(path))).frames()
    assert isinstance(item, Frame)
    assert item.image.encoded == path.read_bytes()
    assert item.captured_at.timestamp() == pytest.approx(path.stat().st_mtime)
