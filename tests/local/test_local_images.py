"""What the local backend sees in whole images: orientations, crowds, very large and small faces."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from rekadapter.backends.local.recognizer import LocalRecognizer
from rekadapter.errors import UsageError
from rekadapter.imaging import Image, Pixels, upright
from rekadapter.recognizer import FaceSelection, QualityFilter
from rekadapter.testing.material import packaged_file
from rekadapter.types import GalleryId, Reason, SubjectId

GALLERY = GalleryId("images")


@pytest.fixture(scope="module")
def portrait() -> Pixels:
    """One face, about 100 pixels wide, in 300 x 300."""
    try:
        path = packaged_file("scikit-image", "skimage/data/astronaut.png")
    except UsageError as error:
        pytest.skip(str(error))
    return np.ascontiguousarray(Image.open(path).pixels[0:300, 90:390])


def _stored_as(pixels: Pixels, orientation: int) -> bytes:
    """A WebP file (no loss) whose EXIF tag turns it upright."""
    undo = {6: 8, 8: 6}.get(orientation, orientation)
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    stored = np.ascontiguousarray(upright(pixels, undo)[:, :, ::-1])
    PillowImage.fromarray(stored).save(file, "WEBP", lossless=True, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_gives_the_same_upright_answer(
    local: LocalRecognizer, portrait: Pixels, orientation: int
) -> None:
    expected = local.detect(Image.from_pixels(portrait))
    assert len(expected.faces) == 1
    turned = Image.from_bytes(_stored_as(portrait, orientation))
    assert np.array_equal(turned.pixels, portrait)
    assert local.detect(turned) == expected


def test_a_face_carries_the_details_that_capabilities_announce(
    local: LocalRecognizer, portrait: Pixels
) -> None:
    face = local.detect(Image.from_pixels(portrait)).faces[0]
    assert face.landmarks is not None
    assert face.landmarks.eye_left.x < face.landmarks.eye_right.x
    assert face.landmarks.eye_left.y < face.landmarks.nose.y < face.landmarks.mouth_left.y
    assert face.pose is not None
    assert abs(face.pose.roll) < 15
    assert abs(face.pose.yaw) < 30
    assert face.quality is not None
    assert 20 < face.quality.brightness < 90
    assert face.eye_distance_px == pytest.approx(44, abs=6)


def _mosaic(portrait: Pixels, side: int, columns: int, rows: int) -> Image:
    tile = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)
    return Image.from_pixels(np.tile(np.asarray(tile, np.uint8), (rows, columns, 1)))


@pytest.mark.parametrize(
    ("side", "columns", "rows"), [(150, 20, 15), (100, 40, 25)], ids=["300 faces", "1000 faces"]
)
def test_a_crowd_is_found_to_the_last_face(
    local: LocalRecognizer, portrait: Pixels, side: int, columns: int, rows: int
) -> None:
    faces = local.detect(_mosaic(portrait, side, columns, rows)).faces
    assert len(faces) == columns * rows
    cells = {(int(f.box.center.x * columns), int(f.box.center.y * rows)) for f in faces}
    assert len(cells) == columns * rows


@pytest.mark.parametrize("side", [200, 900, 2400])
def test_a_face_that_fills_the_image_is_one_face(
    local: LocalRecognizer, portrait: Pixels, side: int
) -> None:
    face = portrait[50:190, 60:200]
    large = cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC)
    faces = local.detect(Image.from_pixels(np.asarray(large, np.uint8))).faces
    assert len(faces) == 1
    assert faces[0].box.area > 0.4


def test_a_face_of_too_few_pixels_is_found_but_not_searched(
    local: LocalRecognizer, portrait: Pixels
) -> None:
    local.create_gallery(GALLERY)
    local.enroll(GALLERY, Image.from_pixels(portrait), subject=SubjectId("her"))
    small = cv2.resize(portrait, None, fx=0.2, fy=0.2, interpolation=cv2.INTER_AREA)
    canvas = np.full((200, 320, 3), 128, np.uint8)
    canvas[70:130, 100:160] = small
    answer = local.identify(
        GALLERY, Image.from_pixels(canvas), threshold=local.capabilities.match_all
    )
    assert [face.candidates for face in answer.faces] == [()]
    reason = answer.faces[0].not_searched
    assert reason is not None
    assert reason.reason is Reason.FACE_TOO_SMALL


def test_an_empty_gallery_is_named_as_the_reason(local: LocalRecognizer, portrait: Pixels) -> None:
    local.create_gallery(GALLERY)
    answer = local.identify(
        GALLERY, Image.from_pixels(portrait), threshold=local.capabilities.match_all
    )
    assert answer.faces[0].not_searched is not None
    assert answer.faces[0].not_searched.reason is Reason.EMPTY_GALLERY


def test_the_quality_filter_says_in_rekognitions_words_what_it_refused(
    local: LocalRecognizer, portrait: Pixels
) -> None:
    local.create_gallery(GALLERY)
    dark = np.asarray(cv2.convertScaleAbs(portrait, alpha=0.12), np.uint8)
    image = Image.from_pixels(dark)
    assert len(local.detect(image).faces) == 1
    refused = local.enroll(GALLERY, image, subject=SubjectId("her"), quality=QualityFilter.HIGH)
    assert refused.records == ()
    assert Reason.LOW_BRIGHTNESS in refused.failures[0].reasons
    taken = local.enroll(GALLERY, image, subject=SubjectId("her"), quality=QualityFilter.NONE)
    assert len(taken.records) == 1
    probe = local.identify(
        GALLERY,
        image,
        threshold=local.capabilities.match_all,
        faces=FaceSelection.LARGEST,
        quality=QualityFilter.HIGH,
    )
    assert probe.faces[0].not_searched is not None


def test_faces_over_the_limit_are_left_out_worst_first(
    local: LocalRecognizer, portrait: Pixels
) -> None:
    local.create_gallery(GALLERY)
    canvas = np.full((400, 700, 3), 128, np.uint8)
    canvas[50:350, 20:320] = portrait
    canvas[100:250, 450:600] = cv2.resize(portrait, (150, 150), interpolation=cv2.INTER_AREA)
    done = local.enroll(GALLERY, Image.from_pixels(canvas), subject=None, max_faces=1)
    assert [record.detected.box.center.x < 0.5 for record in done.records] == [True]
    assert [failure.reasons for failure in done.failures] == [(Reason.EXCEEDS_MAX_FACES,)]


@pytest.mark.slow
@pytest.mark.parametrize(("index", "at_least"), [(0, 7), (30, 5), (60, 5), (90, 5)], ids=str)
def test_street_video_shows_the_faces_that_a_person_counts(
    local: LocalRecognizer, shared_data: Path, index: int, at_least: int
) -> None:
    """Counted by eye on these frames; the coat of arms over the door is not a face."""
    with av.open(str(shared_data / "video" / "street.mp4")) as video:
        frame = next(itertools.islice(video.decode(video=0), index, None))
    pixels = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
    faces = local.detect(Image.from_pixels(pixels)).faces
    assert len(faces) >= at_least
    assert all(face.box.center.y > 0.45 for face in faces)
