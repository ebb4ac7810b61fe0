"""What the gate asks, and what it costs this machine: searches a person, CPU by stage, and what
decoding only key frames would save and lose.

    python benchmarks/uplink/gate.py STREET.mp4

* searches: the pictures of each person by kind, in mode ``track``, answered at once by the embedded
  pack. On the street clip (five walkers enrolled from frames that are not played) and on the demo's
  drawn clips (the four people of its roster), and once more with nobody enrolled, which is asked
  about most. The fewest there can be is one for each person whose face is worth sending.
* cpu: CPU that a second of a 1080p camera at 25 frames a second takes, all threads together: on the
  street, and on a drawn hall in which nothing but sensor noise moves. Least of three.
* keys: the same two with a key frame each second, decoded whole and by key frames alone.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import av
import numpy as np
from cameras import FRAME_RATE, LAST_PLAYED, Clip, KnownFaces, enroll, read_clip

from rekadapter.backends import open_backend
from rekadapter.feeds import Frame, load_feeds, open_feed
from rekadapter.feeds.decoding import bgr_of
from rekadapter.gate import (
    DetectingFinder,
    FaceFinder,
    Fate,
    Followed,
    MotionGate,
    Probe,
    ShotRules,
    TrackGate,
    identified,
    verdict_of,
)
from rekadapter.gate.shots import take_shot
from rekadapter.imaging import Image, Pixels
from rekadapter.names import gallery_id
from rekadapter.recognizer import BackendContext, FaceSelection, Recognizer
from rekadapter.testing.backdrops import lobby
from rekadapter.testing.media import DemoScene, make_demo_scene
from rekadapter.tracking import Follower
from rekadapter.types import CameraId, DetectedFace, GalleryId, Size, SubjectId

STREET, ROSTER = gallery_id("street"), gallery_id("roster")
HALL = Size(1920, 1080)
HALL_SECONDS = 8
NOISE = 2.0
LOOKS_PER_SECOND = 5.0
EMPTY_LOOKS_PER_SECOND = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("video", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        local = open_backend("local", "local", {}, BackendContext(folder, folder / "cache"))
        clip = read_clip(chosen.video, local)
        report_searches(local, clip, make_demo_scene(folder / "demo"))
        hall, street = folder / "hall.mp4", folder / "street.mp4"
        write_video(hall, hall_pictures())
        write_video(street, (image.pixels for image in clip.images))
        report_cpu(local, {"street": street, "still hall": hall})
        report_keys({"street": street, "still hall": hall})
        local.close()


# --- searches -------------------------------------------------------------------------------------


@dataclass
class Asked:
    """What one scenario came to. A person is a track of the gate; ``named`` are enrolled people
    with an answer above the threshold."""

    seconds: float
    kinds: Counter[str]
    people: set[tuple[CameraId, int]]
    named: set[tuple[CameraId, SubjectId]]


def report_searches(local: Recognizer, clip: Clip, scene: DemoScene) -> None:
    enroll(local, clip)
    local.create_gallery(ROSTER)
    for photo in sorted(scene.roster.glob("*/photo.jpg")):
        picture = Image.from_bytes(photo.read_bytes())
        local.enroll(ROSTER, picture, subject=SubjectId(photo.parent.name), max_faces=1)
    street = [[frame for frame in street_frames(clip) if frame.index <= LAST_PLAYED]]
    drawn = [list(video_frames(one.path, one.camera)) for one in scene.clips]
    known, finder = KnownFaces(clip), DetectingFinder(local)
    walkers = {(CameraId("street"), walker) for walker in clip.walkers}
    enrolled = {
        (one.camera, one.person)
        for one in scene.truth
        if one.enrolled and one.max_eye_distance_px >= ShotRules().min_eye_px
    }
    print("\nsearches in mode track")
    print("scenario                 seconds  people  searches  a person   by kind; enrolled named")
    for name, cameras, found_by, gallery, there in (
        ("street, 5 enrolled", street, known, STREET, walkers),
        ("street, nobody enrolled", street, known, None, walkers),
        ("drawn, 4 enrolled", drawn, finder, ROSTER, enrolled),
        ("drawn, nobody enrolled", drawn, finder, None, enrolled),
    ):
        asked = play(local, cameras, found_by, gallery)
        total = sum(asked.kinds.values())
        kinds = ", ".join(f"{kind.lower()} {count}" for kind, count in sorted(asked.kinds.items()))
        names = f"; {len(asked.named & there)} of {len(there)}" if gallery else ""
        print(
            f"{name:24} {asked.seconds:7.1f}  {len(asked.people):6}  {total:8}"
            f"  {total / len(asked.people):8.2f}   {kinds}{names}"
        )


def play(
    local: Recognizer,
    cameras: Sequence[Sequence[Frame]],
    finder: FaceFinder,
    gallery: GalleryId | None,
) -> Asked:
    """Every camera through the gate, each search answered before the next frame; without a gallery
    every answer is nobody."""
    asked = Asked(0.0, Counter(), set(), set())
    for frames in cameras:
        gate = TrackGate(finder)
        asked.seconds += frames[-1].seconds
        for frame in frames:
            look = gate.look(frame)
            for probe in look.probes:
                assert probe.track is not None, "a gate that follows people says whom it means"
                fate = answer(local, gallery, frame, probe, look.followed or (), asked.named)
                gate.settle(frame.camera, probe.track, frame.index, fate)
                asked.kinds[probe.priority.name] += 1
                asked.people.add((frame.camera, probe.track))
    return asked


def answer(
    local: Recognizer,
    gallery: GalleryId | None,
    frame: Frame,
    probe: Probe,
    followed: Sequence[Followed],
    named: set[tuple[CameraId, SubjectId]],
) -> Fate:
    if gallery is None:
        return Fate.NOBODY
    threshold = local.capabilities.default_threshold
    found = local.identify(
        gallery,
        probe.image,
        threshold=local.capabilities.match_all,
        limit=1,
        faces=FaceSelection.LARGEST,
    )
    face = identified(probe, found, [one.face for one in followed])
    for candidate in face.candidates[:1]:
        if candidate.score.meets(threshold) and candidate.subject is not None:
            named.add((frame.camera, candidate.subject))
    return verdict_of(face, threshold)


def street_frames(clip: Clip) -> Iterator[Frame]:
    moment = datetime.now(UTC)
    for index, (seconds, image) in enumerate(zip(clip.seconds, clip.images, strict=True)):
        yield Frame(CameraId("street"), index, seconds, moment, image)


def video_frames(path: Path, camera: CameraId) -> Iterator[Frame]:
    (spec,) = load_feeds([str(path)], fps=None)
    for frame in open_feed(spec).frames():
        assert isinstance(frame, Frame)
        yield Frame(camera, frame.index, frame.seconds, frame.captured_at, frame.image)


# --- CPU ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds of CPU for a second of a camera, by stage."""

    decoding: float
    pixels: float
    motion: float
    faces: float
    rest: float

    @property
    def total(self) -> float:
        return self.decoding + self.pixels + self.motion + self.faces + self.rest


def report_cpu(local: Recognizer, videos: dict[str, Path]) -> None:
    print("\ncpu: milliseconds of CPU for a second of a 1080p camera, 25 frames a second")
    print(
        "scene         decoding  pixels  motion  faces  following, crops   in all  cameras a core"
    )
    for name, path in videos.items():
        looks = LOOKS_PER_SECOND if name == "street" else EMPTY_LOOKS_PER_SECOND
        cost = cost_of(local, path, looks)
        print(
            f"{name:12} {cost.decoding:9.0f} {cost.pixels:7.0f} {cost.motion:7.1f}"
            f" {cost.faces:6.0f} {cost.rest:17.1f}  {cost.total:7.0f}  {1000 / cost.total:14.1f}"
        )


def cost_of(local: Recognizer, path: Path, looks: float) -> Cost:
    """``looks`` frames of each second are searched for faces."""
    finder, gate = DetectingFinder(local), MotionGate()
    pictures = decoded(path)
    sampled = pictures[:: round(FRAME_RATE / LOOKS_PER_SECOND)]
    seen = [Image.from_pixels(bgr_of(one)) for one in sampled]
    found = [finder.find(image) for image in seen]
    seconds = len(pictures) / FRAME_RATE
    return Cost(
        decoding=cpu_ms(lambda: decoded(path)) / seconds,
        pixels=cpu_ms(lambda: [bgr_of(one) for one in sampled]) / seconds,
        motion=cpu_ms(lambda: [gate.passes(one, n / 5) for n, one in enumerate(seen)]) / seconds,
        faces=cpu_ms(lambda: [finder.find(one) for one in seen]) / len(seen) * looks,
        rest=cpu_ms(lambda: follow_and_cut(seen, found)) / seconds,
    )


def follow_and_cut(seen: Sequence[Image], found: Sequence[Sequence[DetectedFace]]) -> None:
    """Everybody followed in every look; a crop of everybody once a second."""
    follower, rules = Follower(), ShotRules()
    for number, (image, faces) in enumerate(zip(seen, found, strict=True)):
        follower.update(number / LOOKS_PER_SECOND, [face.box for face in faces])
        if number % round(LOOKS_PER_SECOND) == 0:
            for face in faces:
                take_shot(image, face, faces, rules)


def cpu_ms(work: Callable[[], object]) -> float:
    """The least of three: other jobs on the machine only ever add."""
    took = []
    for _ in range(3):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return 1000 * min(took)


# --- key frames -----------------------------------------------------------------------------------


def report_keys(videos: dict[str, Path]) -> None:
    print("\nkeys: milliseconds of CPU to decode a second, a key frame each second")
    for name, path in videos.items():
        whole, keys = decoding_of(path, only_keys=False), decoding_of(path, only_keys=True)
        print(f"{name:12} all frames {whole:5.0f}, key frames {keys:5.1f}")


def decoding_of(path: Path, *, only_keys: bool) -> float:
    seconds = len(decoded(path)) / FRAME_RATE
    return cpu_ms(lambda: decoded(path, only_keys=only_keys)) / seconds


# --- videos ---------------------------------------------------------------------------------------


def hall_pictures() -> Iterator[Pixels]:
    random = np.random.default_rng(1)
    still = lobby(HALL)
    fields = [
        random.normal(0.0, NOISE, (HALL.height, HALL.width, 1)).astype(np.int16) for _ in range(8)
    ]
    for number in range(int(HALL_SECONDS * FRAME_RATE)):
        yield np.asarray(np.clip(still + fields[number % 8], 0, 255), dtype=np.uint8)


def write_video(path: Path, pictures: Iterable[Pixels]) -> None:
    """H.264, a key frame each second, no B frames, as cameras send it."""
    settings = {"crf": "24", "g": "25", "bf": "0", "preset": "veryfast", "sc_threshold": "0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=round(FRAME_RATE), options=settings)
        stream.width, stream.height, stream.pix_fmt = HALL.width, HALL.height, "yuv420p"
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def decoded(path: Path, *, only_keys: bool = False) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        if only_keys:
            stream.codec_context.skip_frame = "NONKEY"
        return list(container.decode(stream))


if __name__ == "__main__":
    main()
