"""The words of face recognition as frozen dataclasses: what crosses every module border.

Coordinates are fractions of the upright image (after EXIF orientation), as in Rekognition: a box
stays right when the image is scaled for sending. They may leave [0, 1] where a face touches the
border. Angles are degrees, quality and detection confidence are percent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, NewType

from rekadapter.errors import ScaleMismatchError

GalleryId = NewType("GalleryId", str)
SubjectId = NewType("SubjectId", str)
FaceId = NewType("FaceId", str)
ImageId = NewType("ImageId", str)
CameraId = NewType("CameraId", str)
UserId = NewType("UserId", str)
VideoJobId = NewType("VideoJobId", str)


# --- geometry ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels, both positive."""

    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a size needs two positive sides, not {self.width}x{self.height}")

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True, slots=True)
class Point:
    """A place in an image, as fractions of its width and height."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class PixelBox:
    """A box on the pixel grid: ``image[top:bottom, left:right]``, inside the image."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top


_ROUNDING: Final = 1e-6
"""Of a pixel: what fractions lose in a float is no pixel, so whole pixels survive."""


@dataclass(frozen=True, slots=True)
class BoundingBox:
    """A box as fractions of the image it was found in; all box arithmetic lives here."""

    left: float
    top: float
    width: float
    height: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.left, self.top, self.width, self.height))):
            raise ValueError("a bounding box needs finite coordinates")
        if self.width < 0 or self.height < 0:
            raise ValueError("a bounding box needs sides that are not negative")

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height

    @property
    def area(self) -> float:
        """Share of the image it covers."""
        return self.width * self.height

    @property
    def center(self) -> Point:
        return Point(self.left + self.width / 2, self.top + self.height / 2)

    def intersection(self, other: BoundingBox) -> float:
        """Area shared with ``other``, both in the same image."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, width) * max(0.0, height)

    def iou(self, other: BoundingBox) -> float:
        """Intersection over union: 1 for the same box, 0 for boxes apart."""
        shared = self.intersection(other)
        union = self.area + other.area - shared
        return shared / union if union > 0 else 0.0

    def scaled(self, factor: float) -> BoundingBox:
        """The box with its sides multiplied by ``factor`` about its own center."""
        width, height = self.width * factor, self.height * factor
        return BoundingBox(self.center.x - width / 2, self.center.y - height / 2, width, height)

    def clipped(self) -> BoundingBox:
        """The part of the box inside the image."""
        left, top = min(max(self.left, 0.0), 1.0), min(max(self.top, 0.0), 1.0)
        right, bottom = min(max(self.right, 0.0), 1.0), min(max(self.bottom, 0.0), 1.0)
        return BoundingBox(left, top, right - left, bottom - top)

    def pixels(self, size: Size) -> PixelBox:
        """The smallest box of whole pixels that covers this one inside an image of ``size``.

        Never empty: a box outside the image gives the nearest border pixel.
        """
        left = min(max(math.floor(self.left * size.width + _ROUNDING), 0), size.width - 1)
        top = min(max(math.floor(self.top * size.height + _ROUNDING), 0), size.height - 1)
        right = min(max(math.ceil(self.right * size.width - _ROUNDING), left + 1), size.width)
        bottom = min(max(math.ceil(self.bottom * size.height - _ROUNDING), top + 1), size.height)
        return PixelBox(left, top, right, bottom)

    @classmethod
    def from_pixels(cls, box: PixelBox, size: Size) -> BoundingBox:
        """The fractions of a box of whole pixels in an image of ``size``."""
        return cls(
            box.left / size.width,
            box.top / size.height,
            box.width / size.width,
            box.height / size.height,
        )

    def within(self, region: BoundingBox) -> BoundingBox:
        """This box, given in fractions of ``region``, as fractions of the image of ``region``.

        It undoes cropping: a face found in a crop is placed back in the frame.
        """
        return BoundingBox(
            region.left + self.left * region.width,
            region.top + self.top * region.height,
            self.width * region.width,
            self.height * region.height,
        )

    def seen_from(self, region: BoundingBox) -> BoundingBox:
        """This box as fractions of ``region``, a part of the same image that is not empty: it
        undoes ``within``."""
        return BoundingBox(
            (self.left - region.left) / region.width,
            (self.top - region.top) / region.height,
            self.width / region.width,
            self.height / region.height,
        )

    @staticmethod
    def around(points: Iterable[Point]) -> BoundingBox:
        """The smallest box around at least one point."""
        xs, ys = zip(*((point.x, point.y) for point in points), strict=True)
        return BoundingBox(min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))


# --- scores -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ScoreScale:
    """What a comparison score means: its name, its range, and which end is more alike."""

    name: str
    low: float
    high: float
    higher_is_closer: bool = True

    @property
    def closest(self) -> float:
        """The score of faces that could not be more alike."""
        return self.high if self.higher_is_closer else self.low


@dataclass(frozen=True, slots=True)
class ComparisonScore:
    """How alike two faces are, on a named scale.

    Two scales never meet: a Rekognition Similarity of 99 and a cosine of 0.4 cannot be compared.
    """

    value: float
    scale: ScoreScale

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError("a comparison score has to be a finite number")

    def meets(self, threshold: ComparisonScore) -> bool:
        """Whether this score is at least as close as ``threshold`` (inclusive).

        Raises:
            ScaleMismatchError: the two scores have different scales.
        """
        if self.scale != threshold.scale:
            raise ScaleMismatchError(
                f"a score on scale '{self.scale.name}' cannot be held against a threshold on "
                f"scale '{threshold.scale.name}': give the threshold on the backend's own scale"
            )
        if self.scale.higher_is_closer:
            return self.value >= threshold.value
        return self.value <= threshold.value


# --- faces ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Five places in a face; left and right as the viewer sees them, as in Rekognition."""

    eye_left: Point
    eye_right: Point
    nose: Point
    mouth_left: Point
    mouth_right: Point

    def points(self) -> tuple[Point, Point, Point, Point, Point]:
        return (self.eye_left, self.eye_right, self.nose, self.mouth_left, self.mouth_right)


@dataclass(frozen=True, slots=True)
class Pose:
    """Rotation of the head in degrees, each within [-180, 180]."""

    roll: float
    yaw: float
    pitch: float


@dataclass(frozen=True, slots=True)
class FaceQuality:
    """Sharpness and brightness of a face in percent."""

    sharpness: float
    brightness: float


class FaceAttribute(StrEnum):
    """What a model may estimate of a person from a face, and only where it is asked to."""

    AGE = "age"
    GENDER = "gender"


@dataclass(frozen=True, slots=True)
class AgeRange:
    """How old a face looks to a model, in whole years, both ends included; not the person's age.

    ``low`` equals ``high`` where the model gives one number and nothing says how far off it is:
    that is an estimate without its error, not a certain one.
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise ValueError(f"an age range goes up from 0, not from {self.low} to {self.high}")


class Gender(StrEnum):
    """The two words that Rekognition and the local models have."""

    FEMALE = "Female"
    MALE = "Male"


@dataclass(frozen=True, slots=True)
class PerceivedGender:
    """Which of two words a model puts on the look of a face; it says nothing of who somebody is.

    ``confidence`` (percent) is the model's own score, which nobody has calibrated; None where it
    gives none.
    """

    value: Gender
    confidence: float | None = None

    def __post_init__(self) -> None:
        if self.confidence is not None and not 0.0 <= self.confidence <= 100.0:
            raise ValueError(f"a confidence goes from 0 to 100 percent, not {self.confidence}")


@dataclass(frozen=True, slots=True)
class DetectedFace:
    """One face in one image.

    ``confidence`` (percent) says that the box holds a face; it is never a match score.
    ``eye_distance_px`` is measured between the eye landmarks in pixels of the image that was given,
    before any resizing. A detail the backend cannot honestly compute is None. ``estimated_age`` and
    ``perceived_gender`` are a model's guesses, and None unless they were asked for
    (``rekadapter.recognizer.analysis_of``); nothing may be decided or grouped by them.
    """

    box: BoundingBox
    confidence: float
    landmarks: Landmarks | None = None
    pose: Pose | None = None
    quality: FaceQuality | None = None
    eye_distance_px: float | None = None
    estimated_age: AgeRange | None = None
    perceived_gender: PerceivedGender | None = None

    def with_only(self, attributes: frozenset[FaceAttribute]) -> DetectedFace:
        """The face without the estimates that are not among ``attributes``."""
        if self.estimated_age is None and self.perceived_gender is None:
            return self
        return replace(
            self,
            estimated_age=self.estimated_age if FaceAttribute.AGE in attributes else None,
            perceived_gender=self.perceived_gender if FaceAttribute.GENDER in attributes else None,
        )


class Reason(StrEnum):
    """Why something expected did not come out; the first group carries Rekognition's own words."""

    EXCEEDS_MAX_FACES = "EXCEEDS_MAX_FACES"
    EXTREME_POSE = "EXTREME_POSE"
    LOW_BRIGHTNESS = "LOW_BRIGHTNESS"
    LOW_SHARPNESS = "LOW_SHARPNESS"
    LOW_CONFIDENCE = "LOW_CONFIDENCE"
    SMALL_BOUNDING_BOX = "SMALL_BOUNDING_BOX"
    LOW_FACE_QUALITY = "LOW_FACE_QUALITY"
    NO_FACE = "NO_FACE"
    """no face was found in the image"""
    FACE_TOO_SMALL = "FACE_TOO_SMALL"
    """fewer pixels than the backend can search"""
    OTHER_FACE_SEARCHED = "OTHER_FACE_SEARCHED"
    """the service searched another face of the crop than the one meant"""
    EMPTY_GALLERY = "EMPTY_GALLERY"
    """the gallery holds no face to compare with"""
    BELOW_THRESHOLD = "BELOW_THRESHOLD"
    """the best candidate is less alike than the threshold asks"""
    TOO_FEW_SIGHTINGS = "TOO_FEW_SIGHTINGS"
    """a candidate met the threshold, but in fewer frames than the decision asks"""
    CONFLICTING_CANDIDATES = "CONFLICTING_CANDIDATES"
    """different subjects met the threshold within one track"""
    REQUEST_FAILED = "REQUEST_FAILED"
    """the recognizer gave an error instead of an answer"""
    NOT_ASKED = "NOT_ASKED"
    """the face was seen here, but no picture of it was sent and answered"""


@dataclass(frozen=True, slots=True)
class FailureToAcquire:
    """The image gave nothing to search with: an answer, not an error."""

    reason: Reason
    detail: str = ""


# --- galleries --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GalleryDescription:
    """What a gallery holds. ``model`` names the model that its templates belong to."""

    gallery: GalleryId
    face_count: int
    model: str
    created_at: datetime | None = None
    user_count: int = 0


@dataclass(frozen=True, slots=True)
class EnrolledFace:
    """A face in a gallery: never the image, never the template.

    ``user`` is the user of the gallery it is associated with, if any.
    """

    face_id: FaceId
    image_id: ImageId
    subject: SubjectId | None
    box: BoundingBox
    confidence: float
    user: UserId | None = None


@dataclass(frozen=True, slots=True)
class FaceRecord:
    """A face just enrolled, with what was seen of it."""

    enrolled: EnrolledFace
    detected: DetectedFace


@dataclass(frozen=True, slots=True)
class FailureToEnroll:
    """A face that was found but not enrolled, and why; no face at all has ``detected`` None."""

    reasons: tuple[Reason, ...]
    detected: DetectedFace | None = None


@dataclass(frozen=True, slots=True)
class VendorAnswer:
    """The vendor's original answer as JSON text, kept beside ours (no image, no template)."""

    operation: str
    request_id: str | None
    json: str


@dataclass(frozen=True, slots=True)
class Enrollment:
    """What one image added to a gallery: records largest first, and each face left out with why."""

    records: tuple[FaceRecord, ...]
    failures: tuple[FailureToEnroll, ...] = ()
    original: tuple[VendorAnswer, ...] = ()

    def described(self, describe: Callable[[DetectedFace], DetectedFace]) -> Enrollment:
        """The same with each face as ``describe`` gives it: first of the records, then of the
        failures, in their order."""
        return replace(
            self,
            records=tuple(
                replace(record, detected=describe(record.detected)) for record in self.records
            ),
            failures=tuple(
                failure
                if failure.detected is None
                else replace(failure, detected=describe(failure.detected))
                for failure in self.failures
            ),
        )


@dataclass(frozen=True, slots=True)
class KeptFace:
    """A face that stays in its gallery because it is associated with a user."""

    face_id: FaceId
    user: UserId | None = None


@dataclass(frozen=True, slots=True)
class Removal:
    """Which faces are gone, and which are not: those that were not there, and those of users,
    which have to be disassociated first."""

    removed: tuple[FaceId, ...]
    not_found: tuple[FaceId, ...] = ()
    kept: tuple[KeptFace, ...] = ()


# --- searches ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Candidate:
    """One enrolled face that resembles the probe.

    ``score`` is on the backend's own similarity scale; ``raw_score`` is what the model itself gave,
    where the backend can see it.
    """

    face: EnrolledFace
    score: ComparisonScore
    raw_score: ComparisonScore | None = None

    @property
    def subject(self) -> SubjectId | None:
        return self.face.subject


@dataclass(frozen=True, slots=True)
class FaceIdentification:
    """One face of a probe and its candidate list.

    ``candidates`` are best first, at most ``limit``, all meeting the threshold that was asked.
    Where the face could not be searched at all, ``not_searched`` says why and the list is empty.
    """

    face: DetectedFace
    candidates: tuple[Candidate, ...] = ()
    not_searched: FailureToAcquire | None = None


@dataclass(frozen=True, slots=True)
class Identification:
    """The answer to a 1:N search: faces largest first, or the reason there is none."""

    faces: tuple[FaceIdentification, ...]
    failure: FailureToAcquire | None = None
    original: tuple[VendorAnswer, ...] = ()


@dataclass(frozen=True, slots=True)
class Detection:
    """Faces of an image, largest first; none is an answer, not an error."""

    faces: tuple[DetectedFace, ...]
    original: tuple[VendorAnswer, ...] = ()


@dataclass(frozen=True, slots=True)
class FaceComparison:
    """A target face against the source face. ``score`` is None where the vendor withholds it."""

    face: DetectedFace
    matched: bool
    score: ComparisonScore | None = None
    raw_score: ComparisonScore | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    """The largest face of the source against every face of the target: matches best first.

    Where either image has no face, ``failure`` says which and the rest is empty.
    """

    source: DetectedFace | None
    comparisons: tuple[FaceComparison, ...] = ()
    failure: FailureToAcquire | None = None
    original: tuple[VendorAnswer, ...] = ()

    @property
    def matched(self) -> bool:
        return any(comparison.matched for comparison in self.comparisons)


# --- users ------------------------------------------------------------------------------------


class UserStatus(StrEnum):
    """How far a user of a gallery is, in Rekognition's words: CREATED has no face yet."""

    CREATING = "CREATING"
    CREATED = "CREATED"
    UPDATING = "UPDATING"
    ACTIVE = "ACTIVE"


class UserReason(StrEnum):
    """Why a face was not associated with a user, or not taken from one, in Rekognition's words."""

    FACE_NOT_FOUND = "FACE_NOT_FOUND"
    ASSOCIATED_TO_A_DIFFERENT_USER = "ASSOCIATED_TO_A_DIFFERENT_USER"
    LOW_MATCH_CONFIDENCE = "LOW_MATCH_CONFIDENCE"


@dataclass(frozen=True, slots=True)
class User:
    """Somebody in a gallery to whom several of its faces belong."""

    user_id: UserId
    status: UserStatus


@dataclass(frozen=True, slots=True)
class UnchangedFace:
    """A face that was not associated, or not disassociated, and why.

    ``user`` is whose it is, where that is the reason; ``score`` how alike it is to the user, where
    that was too little.
    """

    face_id: FaceId
    reasons: tuple[UserReason, ...]
    user: UserId | None = None
    score: ComparisonScore | None = None


@dataclass(frozen=True, slots=True)
class UserChange:
    """What became of the faces given: changed, or not and why. A face that was as wished already
    is in neither list. ``status`` is the user's, afterwards."""

    status: UserStatus
    changed: tuple[FaceId, ...]
    unchanged: tuple[UnchangedFace, ...] = ()
    original: tuple[VendorAnswer, ...] = ()


@dataclass(frozen=True, slots=True)
class UserMatch:
    """A user who resembles the probe."""

    user: User
    score: ComparisonScore


@dataclass(frozen=True, slots=True)
class UserSearch:
    """Users best first, at most ``limit``, all meeting the threshold that was asked."""

    matches: tuple[UserMatch, ...]
    original: tuple[VendorAnswer, ...] = ()


@dataclass(frozen=True, slots=True)
class UnsearchedFace:
    """A face of a probe that was not searched; ``OTHER_FACE_SEARCHED``: it is not the largest."""

    face: DetectedFace
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class UserIdentification:
    """The largest face of an image against the users of a gallery.

    ``searched`` is None where there is no face, or where the largest one could not be searched: it
    is then the first of ``unsearched``.
    """

    searched: DetectedFace | None
    matches: tuple[UserMatch, ...] = ()
    unsearched: tuple[UnsearchedFace, ...] = ()
    original: tuple[VendorAnswer, ...] = ()


# --- stored video -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VideoObject:
    """A video in S3, where the service that analyzes it can read it."""

    bucket: str
    key: str
    version: str | None = None

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


class VideoJobStatus(StrEnum):
    """How far a job on a stored video is, in Rekognition's words."""

    IN_PROGRESS = "IN_PROGRESS"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class VideoDescription:
    """What the service says of the video itself; None where it says nothing."""

    codec: str | None = None
    container: str | None = None
    duration_seconds: float | None = None
    frames_per_second: float | None = None
    frame_size: Size | None = None


@dataclass(frozen=True, slots=True)
class VideoJob:
    """A job on a stored video. ``job_id`` asks for it again, for as long as the service keeps it.

    ``reason`` is the service's own text: why it FAILED, or what there is to know of it otherwise.
    ``price_usd`` is by the price list, and None where the price or the length is not known, and
    unless the job SUCCEEDED.
    """

    job_id: VideoJobId
    status: VideoJobStatus
    reason: str | None = None
    video: VideoDescription | None = None
    price_usd: float | None = None


@dataclass(frozen=True, slots=True)
class VideoSighting:
    """Somebody at a moment of a video, so many seconds from its start.

    ``person`` is an index within the job, where the service gives one, and no identity: whoever
    leaves and comes back may get another. ``face`` is None where a person was seen without one.
    ``candidates`` are best first; empty: compared, and nobody was alike enough; None: not compared,
    and the service does not say why.
    """

    at_seconds: float
    person: int | None
    face: DetectedFace | None
    candidates: tuple[Candidate, ...] | None


@dataclass(frozen=True, slots=True)
class VideoSearch:
    """The faces of a stored video against a gallery, by time; without sightings unless the job
    SUCCEEDED. The vendor's own answer is not kept beside it: it may be very large."""

    job: VideoJob
    sightings: tuple[VideoSighting, ...] = ()


@dataclass(frozen=True, slots=True)
class VideoFace:
    """A face at a moment of a video, so many seconds from its start."""

    at_seconds: float
    face: DetectedFace


@dataclass(frozen=True, slots=True)
class VideoDetection:
    """The faces of a stored video, by time; none unless the job SUCCEEDED."""

    job: VideoJob
    faces: tuple[VideoFace, ...] = ()
