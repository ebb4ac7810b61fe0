"""Frames per second of the whole local pipeline against the ``face_recognition`` package's loop.

    python benchmarks/pipeline_speed.py VIDEO [--every 5] [--judge yunet.onnx] [--threads N]

Both get the same decoded frames, in turn, in one process: detect, align, embed and compare with the
same number of enrolled faces. The peer's loop is the one its documentation shows (HOG, upsampling
once, encodings, comparison). A face counts as true where a third detector that neither side uses
(YuNet through OpenCV, ``--judge``) sees one in its middle; without a judge faces are only counted.

``face_recognition`` is a peer, not a dependency:

    pip install dlib-bin "setuptools<81" && pip install --no-deps face-recognition
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from rekadapter.backends.local import open_local
from rekadapter.imaging import Image, Pixels
from rekadapter.recognizer import BackendContext, QualityFilter
from rekadapter.types import GalleryId, PixelBox, Size, SubjectId

GALLERY = GalleryId("benchmark")
Pipeline = Callable[[Pixels], list[PixelBox]]


@dataclass
class _Tally:
    """What one side did over all frames."""

    name: str
    seconds: list[float] = field(default_factory=list)
    faces: int = 0
    true_faces: int = 0
    missed: int = 0

    def line(self, reference: float) -> str:
        """A row of the table."""
        mean = statistics.fmean(self.seconds)
        return (
            f"{self.name:<34}{1 / mean:>8.2f}{reference / mean:>8.1f}"
            f"{1e3 * statistics.median(self.seconds):>10.0f}{self.faces:>8}{self.true_faces:>8}"
            f"{self.missed:>8}"
        )


def main() -> int:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--every", type=int, default=5, help="take each N-th frame")
    parser.add_argument("--judge", type=Path, help="a YuNet ONNX file, to count true faces")
    parser.add_argument("--threads", type=int, default=None, help="default: ONNX Runtime's own")
    parser.add_argument("--detection-size", type=int, default=960)
    arguments = parser.parse_args()
    if find_spec("dlib") is None or find_spec("face_recognition") is None:
        sys.exit(
            'install the peer first: pip install dlib-bin "setuptools<81" && '
            "pip install --no-deps face-recognition"
        )
    frames = _frames(arguments.video, arguments.every)
    judge = _judge(arguments.judge, frames[0]) if arguments.judge else None
    options: dict[str, object] = {"detection_size": arguments.detection_size}
    if arguments.threads:
        options["threads"] = arguments.threads
    with tempfile.TemporaryDirectory() as folder:
        sides = {
            "face_recognition (HOG, upsample 1)": _peer(frames[0]),
            "rekadapter local (embedded pack)": _ours(Path(folder), options, frames[0]),
        }
        tallies = _run(sides, frames, judge)
    reference = statistics.fmean(tallies[0].seconds)
    size = f"{frames[0].shape[1]}x{frames[0].shape[0]}"
    print(f"{len(frames)} frames of {size}")
    print(f"{'':<34}{'fps':>8}{'times':>8}{'ms p50':>10}{'faces':>8}{'true':>8}{'missed':>8}")
    for tally in tallies:
        print(tally.line(reference))
    return 0


def _frames(path: Path, every: int) -> list[Pixels]:
    with av.open(str(path)) as video:
        chosen = itertools.islice(video.decode(video=0), 0, None, every)
        return [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame in chosen]


def _run(sides: dict[str, Pipeline], frames: list[Pixels], judge: Pipeline | None) -> list[_Tally]:
    tallies = [_Tally(name) for name in sides]
    for pipeline in sides.values():
        pipeline(frames[0])
    for frame in frames:
        truth = judge(frame) if judge else []
        # in turn, so that a busy machine is busy for both
        for tally, pipeline in zip(tallies, sides.values(), strict=True):
            start = time.perf_counter()
            found = pipeline(frame)
            tally.seconds.append(time.perf_counter() - start)
            hits = _matches(found, truth)
            tally.faces += len(found)
            tally.true_faces += hits
            tally.missed += len(truth) - hits
    return tallies


def _matches(found: list[PixelBox], truth: list[PixelBox]) -> int:
    """How many of the judge's faces have one of ``found`` for themselves: each holds the middle of
    the other."""
    free = list(found)
    hits = 0
    for face in truth:
        partner = next((box for box in free if _holds(box, face) and _holds(face, box)), None)
        if partner is not None:
            free.remove(partner)
            hits += 1
    return hits


def _holds(outer: PixelBox, inner: PixelBox) -> bool:
    x, y = (inner.left + inner.right) / 2, (inner.top + inner.bottom) / 2
    return outer.left <= x <= outer.right and outer.top <= y <= outer.bottom


def _ours(folder: Path, options: dict[str, object], first: Pixels) -> Pipeline:
    recognizer = open_local("local", options, BackendContext(folder / "data", folder / "cache"))
    recognizer.create_gallery(GALLERY)
    recognizer.enroll(
        GALLERY, Image.from_pixels(first), subject=SubjectId("first"), quality=QualityFilter.NONE
    )
    threshold = recognizer.capabilities.default_threshold
    size = Size(first.shape[1], first.shape[0])

    def run(frame: Pixels) -> list[PixelBox]:
        answer = recognizer.identify(GALLERY, Image.from_pixels(frame), threshold=threshold)
        return [one.face.box.pixels(size) for one in answer.faces]

    return run


def _peer(first: Pixels) -> Pipeline:
    with warnings.catch_warnings():
        # its models package still asks for pkg_resources
        warnings.simplefilter("ignore")
        import face_recognition  # noqa: PLC0415 a peer that may be missing

    known = face_recognition.face_encodings(_rgb(first))

    def run(frame: Pixels) -> list[PixelBox]:
        rgb = _rgb(frame)
        places = face_recognition.face_locations(rgb, number_of_times_to_upsample=1)
        for encoding in face_recognition.face_encodings(rgb, places):
            face_recognition.compare_faces(known, encoding)
        return [PixelBox(left, top, right, bottom) for top, right, bottom, left in places]

    return run


def _rgb(frame: Pixels) -> Pixels:
    return np.ascontiguousarray(frame[:, :, ::-1])


def _judge(path: Path, first: Pixels) -> Pipeline:
    size = (first.shape[1], first.shape[0])
    detector = cv2.FaceDetectorYN.create(str(path), "", size, 0.6, 0.3, 5000)

    def run(frame: Pixels) -> list[PixelBox]:
        # None where there is no face, whatever the stubs say
        faces: NDArray[Any] | None = detector.detect(frame)[1]
        rows = [] if faces is None else faces[:, :4].round().astype(int).tolist()
        return [PixelBox(x, y, x + width, y + height) for x, y, width, height in rows]

    return run


if __name__ == "__main__":
    sys.exit(main())
