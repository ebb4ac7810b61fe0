"""Four cameras on one uplink: whole frames, whole frames within the budget, and the best shots.

    python benchmarks/uplink/cameras.py STREET.mp4 [--out DIR] [--passes 2] [--rates 0.25,0.5,1,2,8]
    python benchmarks/uplink/cameras.py STREET.mp4 --quick     one pass, 0.5 and 2 Mbit/s, 2 min

What is measured, exactly:

* ``street.mp4`` (1080p, 25 fps, 4.2 s) plays as four cameras that start 1.3 s apart, each passing
  it ``--passes`` times with 2 s of no picture in between. Five frames a second are offered.
* Enrolled are the five walkers who come closest, three pictures each, cut from frames 88 to 104.
  The cameras play frames 0 to 84: no frame is both enrolled and searched, but it is the same
  minute, light and camera, which flatters everybody alike.
* A transit is one walker in one pass of one camera. It is identified if a track in that pass was
  named that walker; a track named for a walker whose face it does not follow is a false name.
* Time to identification runs from the walker's first face in the pass to the answer with which the
  evidence first sufficed (queueing and sending included where the cameras are live).
* The backend is rekadapter's own boto3 adapter over HTTP to rekadapter's own service on loopback,
  with the embedded pack behind it. Bytes are the kernel's count for each request. The cap is the
  pacer's. Prices are AWS's list prices of the calls made.
* So that two cores can play four cameras in real time, detections of the gate and answers of the
  model are remembered by picture: both sides see what they would have seen, sooner.

Searches are counted by kind (first picture of a person, better shot, re-check) where the gate
follows people. The fewest there can be is one for each person whose face is worth sending.

"Whole frames without limit" asks about every frame offered, at up to 250 kB: files are read as fast
as they are answered, so nothing is dropped. All others run in real time; a frame whose turn does
not come before the next one is dropped and counted.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from rekadapter.backends import open_backend
from rekadapter.evaluation.plots import (
    color_of,
    drawing,
    embeddable,
    plain_log_axis,
    style_of,
)
from rekadapter.feeds import Feed, FeedSpec, Frame, load_feeds, open_feed
from rekadapter.gate import (
    DetectingFinder,
    Gate,
    GateRules,
    Look,
    ShotRules,
    TrackGate,
    WholeFrame,
    clear_score,
)
from rekadapter.imaging import Image, crop, encode_jpeg
from rekadapter.names import gallery_id
from rekadapter.observation import BackendRecord, Observation, Run, RunRecord, TrackRecord
from rekadapter.pipeline import Lane, RunOptions, run_feeds
from rekadapter.recognizer import BackendContext, NoLimit, Recognizer
from rekadapter.rekognition_api.server import ServiceServer, create_app
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.sinks import SCHEMA_VERSION, RunDirectory, read_run
from rekadapter.sinks.ledger import Ledger
from rekadapter.tracking import Follower
from rekadapter.types import (
    BoundingBox,
    CameraId,
    ComparisonScore,
    DetectedFace,
    Identification,
    SubjectId,
)
from rekadapter.uplink.bucket import parse_rate, request_budget
from rekadapter.uplink.pacer import UplinkPacer

GALLERY = gallery_id("street")
LAST_PLAYED = 84
ENROLLED_FROM = 88
FRAME_RATE = 25.0
LOOKS_PER_SECOND = 5
PAUSE_SECONDS = 2.0
START_APART_SECONDS = 1.3
CAMERAS = 4
WORKERS = 4
FRAME_BYTES = 250_000

# Where each walker's face is in frame 80, seen in the clip itself (fractions of the picture).
WALKERS = {
    "red-haired boy": 3,
    "boy in a hood": 4,
    "woman on the left": 5,
    "man in a black coat": 6,
    "person behind": 11,
}
"""Numbers of the tracks in the clip (all 105 frames, embedded detector); checked by their size."""


@dataclass(frozen=True, slots=True)
class Clip:
    """The clip's frames and, for each walker, the face in each frame."""

    images: tuple[Image, ...]
    seconds: tuple[float, ...]
    walkers: dict[SubjectId, dict[int, DetectedFace]]
    faces: dict[int, tuple[DetectedFace, ...]]


@dataclass(frozen=True, slots=True)
class Transit:
    """A walker in one pass of one camera, by media time."""

    camera: CameraId
    walker: SubjectId
    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Row:
    """One way on one link."""

    way: str
    link: str
    transits: int
    identified: int
    false_names: int
    median_seconds: float | None
    p90_seconds: float | None
    bytes_up: int
    calls: int
    usd: float
    captured: int
    answered: int
    dropped: dict[str, int]
    asked: dict[str, int]
    people: int


class Counting:
    """A gate that follows people, with its probes counted by kind and the people asked about."""

    def __init__(self, inner: TrackGate) -> None:
        self._inner = inner
        self._lock = threading.Lock()
        self.asked: Counter[str] = Counter()
        self.people: set[tuple[CameraId, int | None]] = set()
        self.open, self.close = inner.open, inner.close
        self.settle, self.settled, self.under_way = inner.settle, inner.settled, inner.under_way

    def look(self, frame: Frame) -> Look:
        look = self._inner.look(frame)
        with self._lock:
            self.asked.update(probe.priority.name for probe in look.probes)
            self.people |= {(frame.camera, probe.track) for probe in look.probes}
        return look


class Remembering:
    """A recognizer behind the service that answers a picture it knows from memory."""

    def __init__(self, inner: Recognizer) -> None:
        self._inner = inner
        self._held: dict[tuple[object, ...], object] = {}

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - everything else is the recognizer's own
        return getattr(self._inner, name)

    def detect(self, image: Image) -> object:
        return self._of(("detect", image.digest()), lambda: self._inner.detect(image))

    def identify(self, gallery: Any, image: Image, **how: Any) -> Identification:  # noqa: ANN401
        key = ("identify", image.digest(), str(sorted(how.items(), key=str)))
        found = self._of(key, lambda: self._inner.identify(gallery, image, **how))
        assert isinstance(found, Identification)
        return found

    def _of(self, key: tuple[object, ...], ask: Any) -> object:  # noqa: ANN401
        if key not in self._held:
            self._held[key] = ask()
        return self._held[key]


class KnownFaces:
    """The detections of the clip's frames, made once before."""

    def __init__(self, clip: Clip) -> None:
        self._by_image = {id(clip.images[index]): faces for index, faces in clip.faces.items()}

    def find(self, image: Image) -> tuple[DetectedFace, ...]:
        return self._by_image[id(image)]


@dataclass(frozen=True)
class StreetFeed:
    """The clip as one camera: passes, pauses, an offset start; in real time where ``live``."""

    spec: FeedSpec
    clip: Clip
    offset: float
    passes: int
    live: bool
    started: float

    continuous = True
    expected_frames = None

    def frames(self) -> Iterator[Frame]:
        for number, (seconds, index) in enumerate(played(self.clip, self.passes)):
            if self.live:
                time.sleep(max(0.0, self.started + self.offset + seconds - time.perf_counter()))
            moment = datetime.now(UTC)
            yield Frame(self.spec.camera, number, seconds, moment, self.clip.images[index])


def played(clip: Clip, passes: int) -> list[tuple[float, int]]:
    """Media time and the clip's own frame, for each frame that a camera offers."""
    step = round(FRAME_RATE / LOOKS_PER_SECOND)
    length = clip.seconds[LAST_PLAYED] + PAUSE_SECONDS
    return [
        (number * length + clip.seconds[index], index)
        for number in range(passes)
        for index in range(0, LAST_PLAYED + 1, step)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--out", type=Path, default=Path("benchmark-cameras"))
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--rates", default="0.25,0.5,1,2,8")
    parser.add_argument("--quick", action="store_true", help="one pass, 0.5 and 2 Mbit/s")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.passes, chosen.rates = 1, "0.5,2"
    rates = [f"{rate}Mbit/s" for rate in chosen.rates.split(",") if rate]
    with tempfile.TemporaryDirectory() as folder:
        rows = Bench(Path(folder), chosen.video, chosen.passes).rows(rates)
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "cameras.json").write_text(json.dumps([asdict(row) for row in rows], indent=2))
    (chosen.out / "cameras.svg").write_text(plot(rows))
    show(rows, chosen.passes)
    print(f"\n{chosen.out / 'cameras.json'}, {chosen.out / 'cameras.svg'}")


class Bench:
    """Everything that the ways share: the clip, the model, the gallery, the service."""

    def __init__(self, folder: Path, video: Path, passes: int) -> None:
        self._folder, self._passes = folder, passes
        self._local = open_backend("local", "local", {}, BackendContext(folder, folder / "cache"))
        print("looking at the clip once", flush=True)
        self._clip = read_clip(video, self._local)
        enroll(self._local, self._clip)
        self._finder = KnownFaces(self._clip)
        self._transits = transits(self._clip, passes)

    def rows(self, rates: Sequence[str]) -> list[Row]:
        behind = Remembering(self._local)
        with ServiceServer(create_app(RekognitionService(behind))) as server:  # type: ignore[arg-type]
            self._url = server.url
            done = [self._row("whole frames", None, live=False)]
            # once before, so that the first measured run does not wait for the model
            self._row("best shots", None, live=False)
            for way in ("whole frames", "best shots"):
                done += [self._row(way, rate, live=True) for rate in rates]
            done.append(self._row("best shots", None, live=True))
        self._local.close()
        return done

    def _row(self, way: str, rate: str | None, *, live: bool) -> Row:
        stop, ledger = threading.Event(), Ledger()
        pacer = UplinkPacer(parse_rate(rate), stop=stop) if rate else NoLimit()
        context = BackendContext(self._folder, self._folder / "cache", pacer, ledger, stop)
        options = {"endpoint_url": self._url, "unsigned": True, "region": "us-east-1"}
        recognizer = open_backend("rekognition", "rekognition", options, context)
        directory = Path(tempfile.mkdtemp(dir=self._folder)) / "run"
        upload = min(FRAME_BYTES, request_budget(parse_rate(rate) if rate else None))
        threshold = recognizer.capabilities.default_threshold
        lane = Lane("rekognition", recognizer, GALLERY, threshold, WORKERS, upload)
        sink = RunDirectory.create(directory, record(recognizer), ledger)
        gate = self._gate(way, upload)
        gates = {lane.name: gate}
        try:
            run_feeds(self._feeds(live=live), [lane], sink, RunOptions(gates=gates), stop=stop)
        finally:
            recognizer.close()
        row = self._counted(way, rate, read_run(directory), live=live)
        if isinstance(gate, Counting):
            row = replace(row, asked=dict(gate.asked), people=len(gate.people))
        print(describe(row), flush=True)
        return row

    def _gate(self, way: str, upload: int) -> Gate:
        if way == "whole frames":
            return WholeFrame()
        rules = GateRules(shots=ShotRules(max_bytes=upload), looks_per_second=LOOKS_PER_SECOND)
        return Counting(TrackGate(self._finder, rules))

    def _feeds(self, *, live: bool) -> list[Feed]:
        started = time.perf_counter() + 0.5
        return [
            StreetFeed(
                FeedSpec(CameraId(f"street-{number + 1}"), "street.mp4", fps=LOOKS_PER_SECOND),
                self._clip,
                number * START_APART_SECONDS,
                self._passes,
                live,
                started,
            )
            for number in range(CAMERAS)
        ]

    def _counted(self, way: str, rate: str | None, run: Run, *, live: bool) -> Row:
        needed = 2 if way == "whole frames" else 1
        times = [time_to_name(run, one, needed, live=live) for one in self._transits]
        truth = Truth(self._clip, dict(enumerate(i for _, i in played(self._clip, self._passes))))
        found = [one for one in self._transits if is_named(run, one, truth)]
        known = sorted(
            seconds
            for one, seconds in zip(self._transits, times, strict=True)
            if one in found and seconds is not None
        )
        requests = [entry.request for entry in run.ledger if entry.camera is not None]
        dropped: dict[str, int] = {}
        for camera in run.record.cameras:
            assert camera.captured == camera.processed["rekognition"] + sum(
                camera.dropped["rekognition"].values()
            ), "captured = processed + dropped"
            for cause, count in camera.dropped["rekognition"].items():
                dropped[cause] = dropped.get(cause, 0) + count
        return Row(
            way=way,
            link=rate or "no limit",
            transits=len(self._transits),
            identified=len(found),
            false_names=truth.false_names(run),
            median_seconds=percentile(known, 50),
            p90_seconds=percentile(known, 90),
            bytes_up=sum(one.bytes_sent for one in requests),
            calls=len(requests),
            usd=sum(one.price_usd or 0.0 for one in requests),
            captured=sum(camera.captured for camera in run.record.cameras),
            answered=sum(camera.processed["rekognition"] for camera in run.record.cameras),
            dropped=dropped,
            asked={},
            people=0,
        )


# --- the clip and the truth -----------------------------------------------------------------------


def read_clip(video: Path, local: Recognizer) -> Clip:
    (spec,) = load_feeds([str(video)], fps=None)
    finder, follower = DetectingFinder(local), Follower()
    images, seconds, faces = [], [], {}
    tracks: dict[int, dict[int, DetectedFace]] = {}
    for frame in open_feed(spec).frames():
        assert isinstance(frame, Frame)
        images.append(frame.image)
        seconds.append(frame.seconds)
        faces[frame.index] = finder.find(frame.image)
        steps = follower.update(frame.seconds, [face.box for face in faces[frame.index]])
        for track, face in zip(steps.tracks, faces[frame.index], strict=True):
            tracks.setdefault(track or 0, {})[frame.index] = face
    walkers = {SubjectId(name): tracks[number] for name, number in WALKERS.items()}
    for name, seen in walkers.items():
        assert len(seen) >= 60, f"{name}: the clip or the detector is another one"
    return Clip(tuple(images), tuple(seconds), walkers, faces)


def enroll(local: Recognizer, clip: Clip) -> None:
    """Three pictures of each walker, spread over the frames that are not played."""
    local.create_gallery(GALLERY)
    for walker, seen in clip.walkers.items():
        late = [index for index in sorted(seen) if index >= ENROLLED_FROM]
        for index in (late[0], late[len(late) // 2], late[-1]):
            cut = crop(clip.images[index], seen[index].box.scaled(2.0), min_side_px=80)
            picture = Image.from_bytes(encode_jpeg(cut.image, 95))
            done = local.enroll(GALLERY, picture, subject=walker, max_faces=1)
            assert done.records, f"{walker} of frame {index} was not enrolled"


def transits(clip: Clip, passes: int) -> list[Transit]:
    length = clip.seconds[LAST_PLAYED] + PAUSE_SECONDS
    found = []
    for camera in range(CAMERAS):
        for number in range(passes):
            for walker, seen in clip.walkers.items():
                times = [clip.seconds[index] for index in seen if index <= LAST_PLAYED]
                name = CameraId(f"street-{camera + 1}")
                begin = number * length
                found.append(Transit(name, walker, begin + min(times), begin + max(times)))
    return found


# --- scoring --------------------------------------------------------------------------------------


def is_named(run: Run, transit: Transit, truth: Truth) -> bool:
    """A track of the pass follows the walker and was named so."""
    return any(
        track.decision.subject == transit.walker
        and track.camera == transit.camera
        and track.first_seconds <= transit.last + 0.5
        and track.last_seconds >= transit.first - 0.5
        and truth.follows(run, track)
        for track in run.tracks
    )


def time_to_name(run: Run, transit: Transit, needed: int, *, live: bool) -> float | None:
    """Seconds from the walker's first face until the evidence sufficed: ``needed`` supporting
    answers, or one that is clear where one is enough."""
    (backend,) = run.record.backends
    threshold = clear_score_of(backend)
    for supporting, seen in enumerate(in_order(run, transit), start=1):
        clear = seen.candidates[0].score >= threshold and needed == 1
        if clear or supporting >= 2:
            waited = (seen.age_seconds or 0.0) if live else seen.latency_seconds
            return seen.seconds - transit.first + waited
    return None


def in_order(run: Run, transit: Transit) -> Iterator[Observation]:
    for seen in run.observations:
        if (
            seen.camera == transit.camera
            and seen.decision.subject == transit.walker
            and transit.first - 0.5 <= seen.seconds <= transit.last + 0.5
        ):
            yield seen


def clear_score_of(backend: BackendRecord) -> float:
    return clear_score(ComparisonScore(backend.threshold, backend.scale)).value


@dataclass(frozen=True, slots=True)
class Truth:
    """Where every walker's face is in each frame that a camera offers."""

    clip: Clip
    at: dict[int, int]

    def follows(self, run: Run, track: TrackRecord) -> bool:
        """Whether most boxes of a named track are that walker's face."""
        name = track.decision.subject
        assert name is not None, "only named tracks are asked about"
        boxes = [
            (seen.box, self.clip.walkers[name].get(self.at[seen.frame]))
            for seen in run.observations
            if (seen.camera, seen.track) == (track.camera, track.track) and seen.box is not None
        ]
        on_it = sum(truth is not None and overlaps(box, truth) for box, truth in boxes if box)
        return 2 * on_it > len(boxes)

    def false_names(self, run: Run) -> int:
        """Tracks named for a walker whose face they do not follow."""
        named = [track for track in run.tracks if track.decision.subject is not None]
        return sum(not self.follows(run, track) for track in named)


def overlaps(box: BoundingBox, truth: DetectedFace) -> bool:
    return box.iou(truth.box) >= 0.3


def percentile(values: Sequence[float], percent: float) -> float | None:
    return float(np.percentile(values, percent)) if values else None


# --- telling --------------------------------------------------------------------------------------


def record(recognizer: Recognizer) -> RunRecord:
    capabilities = recognizer.capabilities
    backend = BackendRecord(
        name="rekognition",
        kind=capabilities.backend,
        model=capabilities.model,
        threshold=capabilities.default_threshold.value,
        scale=capabilities.score_scale,
        remote=True,
    )
    return RunRecord(
        schema_version=SCHEMA_VERSION,
        run_id="benchmark",
        tool_version="",
        command="",
        started_at=datetime.now(UTC),
        ended_at=None,
        state="running",
        gallery=GALLERY,
        backends=(backend,),
        cameras=(),
        settings={},
        host={},
        versions={},
        input_hashes={},
    )


def describe(row: Row) -> str:
    seconds = "-" if row.median_seconds is None else f"{row.median_seconds:.1f}"
    slowest = "-" if row.p90_seconds is None else f"{row.p90_seconds:.1f}"
    return (
        f"{row.way:13} {row.link:>10}  {row.identified:3} of {row.transits}"
        f"  false {row.false_names}  {seconds:>4}/{slowest:>4} s"
        f"  {row.bytes_up / 1000:9,.0f} kB  {row.calls:5} calls"
        f"  ${row.usd:.3f}  {row.answered:3} of {row.captured} frames"
    )


def show(rows: Sequence[Row], passes: int) -> None:
    reference = rows[0]
    print("\nway, link, transits identified, median/p90 time to identification, bytes up, calls")
    for row in rows:
        share = 100 * row.bytes_up / reference.bytes_up
        kept = 100 * row.identified / reference.identified if reference.identified else 0.0
        print(f"{describe(row)}  {share:6.2f} % of the bytes, {kept:5.1f} % of the transits")
    ours, passed = rows[-1], CAMERAS * passes
    step = round(FRAME_RATE / LOOKS_PER_SECOND)
    busy = passed * (LAST_PLAYED // step + 1) / LOOKS_PER_SECOND
    kept = 100 * ours.identified / max(1, reference.identified)
    print("\ntargets: >= 99 % of the transits of whole frames without limit, <= 2 % of the bytes")
    print(f"  best shots: {kept:.1f} %, {100 * ours.bytes_up / reference.bytes_up:.2f} %")
    print("target: cost <= 1/50 of one search per camera-second (0.02 a second)")
    print(
        f"  {ours.calls} searches in {busy:.0f} camera-seconds, somebody in view in all of them: "
        f"{ours.calls / busy:.1f} a second, 1/{reference.calls / ours.calls:.0f} of the calls of "
        "whole frames"
    )
    kinds = ", ".join(f"{count} {kind.lower()}" for kind, count in sorted(ours.asked.items()))
    print(
        f"  {ours.people} people asked about ({ours.people / passed:.1f} a pass): {kinds}; "
        f"{ours.calls / ours.people:.2f} searches a person, where 1 is the fewest there can be"
    )
    print(
        f"  so the target is met by cameras that {72 * ours.people / ours.calls:.0f} such people "
        "an hour pass, or fewer"
    )


Measure = Callable[[Row], float | None]


def plot(rows: Sequence[Row]) -> str:
    """Transits identified, time to identification, bytes, and calls with their price, each against
    the link; a line a way."""
    from matplotlib.ticker import (  # noqa: PLC0415 - matplotlib takes its time
        LogLocator,
        NullLocator,
        StrMethodFormatter,
    )

    panels: tuple[tuple[str, Measure], ...] = (
        ("transits named, %", lambda row: 100 * row.identified / row.transits),
        ("median s to a name", lambda row: row.median_seconds),
        ("kB up (log)", lambda row: row.bytes_up / 1000),
        ("calls (log); 1,000 are $1", lambda row: row.calls),
    )
    with drawing("four-cameras") as figure:
        figure.set_size_inches(9.0, 6.4)
        for place, (label, measure) in enumerate(panels):
            left, bottom = 0.1 + 0.5 * (place % 2), 0.59 - 0.49 * (place // 2)
            axes = figure.add_axes((left, bottom, 0.4, 0.38))
            axes.set_xlabel("uplink of four cameras, Mbit/s (log)")
            axes.set_ylabel(label)
            draw_ways(axes, rows, measure)
            axes.margins(y=0.08)
            if "log" in label:
                axes.set_yscale("log")
                axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
                axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
                axes.yaxis.set_minor_locator(NullLocator())
            else:
                axes.set_ylim(bottom=0)
            if place == 0:
                axes.legend(fontsize=8, frameon=False, loc="lower right")
        alt = "Transits named, time to a name, bytes and calls against the uplink, for two ways."
        return embeddable(figure, alt)


def draw_ways(axes: Any, rows: Sequence[Row], measure: Measure) -> None:  # noqa: ANN401 - matplotlib's
    """A line for each way, and one for whole frames without limit."""
    for number, way in enumerate(("whole frames", "best shots")):
        mine = [row for row in rows if row.way == way and row.link != "no limit"]
        x = [parse_rate(row.link) * 8 / 1e6 for row in mine]
        y = [np.nan if (value := measure(row)) is None else value for row in mine]
        style = {"color": color_of(number), "linestyle": style_of(number)}
        axes.plot(x, y, marker="o", label=way, **style)
    limit = measure(rows[0])
    if limit is not None:
        axes.axhline(limit, color="#56616d", linewidth=0.9, label="whole frames, no limit")
    axes.set_xscale("log")
    plain_log_axis(axes)


if __name__ == "__main__":
    main()
