"""The Recognizer promises on the wire: what is asked of AWS, and what its answers become."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from rekadapter.errors import (
    BackendClosedError,
    ConfigError,
    FaceNotFoundError,
    GalleryExistsError,
    GalleryNotFoundError,
    ImageTooSmallError,
    InvalidRequestError,
    ScaleMismatchError,
    SubjectIdError,
    UnexpectedAnswerError,
)
from rekadapter.imaging import Image, encode_jpeg, encode_png
from rekadapter.recognizer import FaceSelection, QualityFilter, Recognizer, analysis_of
from rekadapter.types import (
    AgeRange,
    BoundingBox,
    ComparisonScore,
    FaceAttribute,
    FaceId,
    GalleryId,
    Gender,
    PerceivedGender,
    Reason,
    ScoreScale,
    SubjectId,
)
from tests.rekognition.fake_aws import (
    NO_FACE,
    FakeAws,
    Json,
    Received,
    Reply,
    box,
    error,
    face,
    face_detail,
    face_id,
    searched,
)
from tests.rekognition.fakes import KeptLog, photo

LOBBY = GalleryId("lobby")
Opened = Callable[..., Recognizer]


def similarity(cloud: Recognizer, value: float) -> ComparisonScore:
    return cloud.capabilities.threshold(value)


def detected(*boxes: Json) -> Reply:
    return Reply({"FaceDetails": [face_detail(where) for where in boxes]})


# -- what is asked


def test_every_search_sends_its_threshold_limit_and_filter(aws: FakeAws, cloud: Recognizer) -> None:
    aws.on("DetectFaces", detected(box(0.3, 0.2, 0.4, 0.6)))
    aws.on("SearchFacesByImage", searched())
    for selection in FaceSelection:
        cloud.identify(LOBBY, photo(), threshold=similarity(cloud, 97.5), limit=3, faces=selection)
    for request in aws.of("SearchFacesByImage"):
        assert request.parameters["FaceMatchThreshold"] == 97.5
        assert request.parameters["MaxFaces"] == 3
        assert request.parameters["QualityFilter"] == "NONE"
        assert request.parameters["CollectionId"] == "lobby"


def test_a_threshold_of_zero_is_sent_too(aws: FakeAws, cloud: Recognizer) -> None:
    aws.on("SearchFacesByImage", searched())
    cloud.identify(
        LOBBY, photo(), threshold=cloud.capabilities.match_all, faces=FaceSelection.LARGEST
    )
    assert aws.requests[0].parameters["FaceMatchThreshold"] == 0.0


def test_indexing_sends_its_limit_filter_and_subject(aws: FakeAws, cloud: Recognizer) -> None:
    aws.on("IndexFaces", Reply({"FaceRecords": [], "UnindexedFaces": []}))
    cloud.enroll(LOBBY, photo(), subject=SubjectId("Zoë Šťastná"), max_faces=1)
    cloud.enroll(LOBBY, photo(), subject=None, quality=QualityFilter.NONE)
    one, every = (request.parameters for request in aws.of("IndexFaces"))
    assert (one["MaxFaces"], one["QualityFilter"]) == (1, "AUTO")
    assert one["ExternalImageId"] == "rk:Zo:C3:AB:20:C5:A0:C5:A5astn:C3:A1"
    assert one["DetectionAttributes"] == ["DEFAULT"]
    assert (every["MaxFaces"], every["QualityFilter"]) == (100, "NONE")
    assert "ExternalImageId" not in every


def guessed(where: Json, **attributes: Json) -> Json:
    return face_detail(where) | attributes


AGED: Json = {"Low": 21, "High": 29}
MALE: Json = {"Value": "Male", "Confidence": 97.5}


def test_age_and_gender_are_asked_of_aws_only_where_they_are_wanted(
    aws: FakeAws, cloud: Recognizer
) -> None:
    full = guessed(box(0.3, 0.2, 0.4, 0.6), AgeRange=AGED, Gender=MALE)
    aws.on("DetectFaces", Reply({"FaceDetails": [full]}))
    assert cloud.capabilities.attributes == frozenset(FaceAttribute)
    seen = [
        analysis_of(cloud, frozenset(asked)).detect(photo()).faces[0]
        for asked in ((), (FaceAttribute.AGE,), tuple(FaceAttribute))
    ]
    assert [request.parameters["Attributes"] for request in aws.of("DetectFaces")] == [
        ["DEFAULT"],
        ["DEFAULT", "AGE_RANGE"],
        ["DEFAULT", "AGE_RANGE", "GENDER"],
    ]
    age, gender = AgeRange(21, 29), PerceivedGender(Gender.MALE, 97.5)
    told = [(face.estimated_age, face.perceived_gender) for face in seen]
    assert told == [(None, None), (age, None), (age, gender)]


def test_indexing_asks_for_them_too_and_tells_them_of_faces_left_out(
    aws: FakeAws, cloud: Recognizer
) -> None:
    detail = guessed(box(0.1, 0.2, 0.3, 0.4), AgeRange=AGED)
    aws.on(
        "IndexFaces",
        Reply(
            {
                "FaceRecords": [{"Face": face(1, "ann"), "FaceDetail": detail}],
                "UnindexedFaces": [{"Reasons": ["LOW_SHARPNESS"], "FaceDetail": detail}],
            }
        ),
    )
    analysis = analysis_of(cloud, frozenset({FaceAttribute.AGE}))
    made = analysis.enroll(LOBBY, photo(), subject=SubjectId("ann"))
    assert aws.requests[0].parameters["DetectionAttributes"] == ["DEFAULT", "AGE_RANGE"]
    (left_out,) = made.failures
    assert left_out.detected is not None
    assert made.records[0].detected.estimated_age == AgeRange(21, 29)
    assert left_out.detected.estimated_age == AgeRange(21, 29)


def test_a_gender_this_version_does_not_know_is_left_out_and_a_broken_age_is_named(
    aws: FakeAws, cloud: Recognizer, caplog: pytest.LogCaptureFixture
) -> None:
    where = box(0.3, 0.2, 0.4, 0.6)
    analysis = analysis_of(cloud, frozenset(FaceAttribute))
    other = guessed(where, Gender={"Value": "Other", "Confidence": 80.0})
    aws.on("DetectFaces", Reply({"FaceDetails": [other]}))
    assert analysis.detect(photo()).faces[0].perceived_gender is None
    assert "Other" in caplog.text
    aws.on("DetectFaces", Reply({"FaceDetails": [guessed(where, AgeRange={"Low": 9})]}))
    with pytest.raises(UnexpectedAnswerError, match="High"):
        analysis.detect(photo())


def test_verifying_asks_for_every_similarity_and_applies_the_threshold_here(
    aws: FakeAws, cloud: Recognizer
) -> None:
    near, far = face_detail(box(0.1, 0.1, 0.2, 0.2)), face_detail(box(0.6, 0.1, 0.3, 0.3))
    aws.on(
        "CompareFaces",
        Reply(
            {
                "SourceImageFace": {"BoundingBox": box(0.2, 0.2, 0.5, 0.5), "Confidence": 99},
                "FaceMatches": [
                    {"Similarity": 12.5, "Face": far},
                    {"Similarity": 91.0, "Face": near},
                ],
                "UnmatchedFaces": [face_detail(box(0.4, 0.6, 0.1, 0.1))],
            }
        ),
    )
    found = cloud.verify(photo(), photo(seed=2), threshold=similarity(cloud, 91.0))
    asked = aws.requests[0].parameters
    assert (asked["SimilarityThreshold"], asked["QualityFilter"]) == (0.0, "NONE")
    told = [(c.score.value if c.score else None, c.matched) for c in found.comparisons]
    assert told == [(91.0, True), (12.5, False), (None, False)]
    assert found.matched


def test_a_jpeg_is_sent_as_the_very_bytes_of_the_file(aws: FakeAws, cloud: Recognizer) -> None:
    aws.on("DetectFaces", detected())
    image = photo()
    cloud.detect(image)
    assert aws.requests[0].image() == image.encoded


# -- guards before sending


def test_a_large_photograph_is_encoded_again_to_fit(aws: FakeAws, open_on: Opened) -> None:
    cloud = open_on(max_image_bytes=20_000)
    aws.on("DetectFaces", detected())
    image = photo(900, 700)
    assert image.encoded is not None
    assert len(image.encoded) > 20_000
    cloud.detect(image)
    sent = aws.requests[0].image()
    assert len(sent) <= 20_000
    assert sent.startswith(b"\xff\xd8")


@pytest.mark.parametrize("suffix", [".bmp", ".webp"])
def test_another_format_is_sent_as_jpeg(aws: FakeAws, cloud: Recognizer, suffix: str) -> None:
    aws.on("DetectFaces", detected())
    pixels = np.full((100, 120, 3), 90, dtype=np.uint8)
    done, data = cv2.imencode(suffix, pixels)
    assert done
    cloud.detect(Image.from_bytes(data.tobytes()))
    assert Image.from_bytes(aws.requests[0].image()).format == "JPEG"


def test_png_and_pixels_alone_are_taken(aws: FakeAws, cloud: Recognizer) -> None:
    aws.on("DetectFaces", detected())
    pixels = Image.from_pixels(np.full((100, 120, 3), 90, dtype=np.uint8))
    cloud.detect(Image.from_bytes(encode_png(pixels)))
    cloud.detect(pixels)
    formats = [Image.from_bytes(request.image()).format for request in aws.requests]
    assert formats == ["PNG", "JPEG"]


@pytest.mark.parametrize(("width", "height"), [(79, 200), (200, 79)])
def test_an_image_below_80_px_is_refused_unsent(
    aws: FakeAws, cloud: Recognizer, width: int, height: int
) -> None:
    with pytest.raises(ImageTooSmallError, match=f"{width}x{height}.*80 px"):
        cloud.detect(photo(width, height))
    assert aws.requests == []


def test_an_image_of_80_px_is_sent(aws: FakeAws, cloud: Recognizer) -> None:
    aws.on("DetectFaces", detected())
    assert cloud.detect(photo(80, 80)).faces == ()


# -- one face, many faces


def test_candidates_of_one_face_stay_one_list(aws: FakeAws, cloud: Recognizer) -> None:
    aws.on(
        "SearchFacesByImage",
        searched((91.0, face(2, "bob")), (99.0, face(1, "ann")), (85.0, face(3))),
    )
    answer = cloud.identify(
        LOBBY, photo(), threshold=similarity(cloud, 80), faces=FaceSelection.LARGEST
    )
    assert len(answer.faces) == 1
    told = [(c.subject, c.score.value) for c in answer.faces[0].candidates]
    assert told == [("ann", 99.0), ("bob", 91.0), (None, 85.0)]
    assert aws.operations() == ["SearchFacesByImage"]


def test_what_aws_adds_below_the_threshold_or_beyond_the_limit_is_left_out(
    aws: FakeAws, cloud: Recognizer
) -> None:
    aws.on("SearchFacesByImage", searched(*((70.0 + n, face(n)) for n in range(20))))
    answer = cloud.identify(
        LOBBY, photo(), threshold=similarity(cloud, 80), limit=4, faces=FaceSelection.LARGEST
    )
    assert [c.score.value for c in answer.faces[0].candidates] == [89, 88, 87, 86]


def test_every_face_of_a_group_is_searched_by_its_own_crop(aws: FakeAws, cloud: Recognizer) -> None:
    boxes = [box(0.05, 0.3, 0.2, 0.3), box(0.4, 0.3, 0.15, 0.25), box(0.75, 0.3, 0.18, 0.28)]
    aws.on("DetectFaces", detected(*boxes))
    aws.on("SearchFacesByImage", searched((95.0, face(1, "ann"))))
    image = photo(1280, 720)
    answer = cloud.identify(LOBBY, image, threshold=similarity(cloud, 80))
    assert aws.operations() == ["DetectFaces", *["SearchFacesByImage"] * 3]
    areas = [found.face.box.area for found in answer.faces]
    assert areas == sorted(areas, reverse=True)
    assert [found.not_searched for found in answer.faces] == [None] * 3
    assert [len(found.candidates) for found in answer.faces] == [1, 1, 1]
    crops = [Image.from_bytes(request.image()).size for request in aws.of("SearchFacesByImage")]
    # the last stands free of the border: twice its box, in whole pixels
    assert crops[2].width == pytest.approx(0.3 * 1280, abs=2)
    assert crops[2].height == pytest.approx(0.5 * 720, abs=2)
    assert len(answer.original) == 4


def test_a_crop_keeps_native_pixels_although_a_smaller_jpeg_is_sent_for_the_whole(
    aws: FakeAws, cloud: Recognizer
) -> None:
    pixels = photo(1280, 720).pixels
    small = encode_jpeg(Image.from_pixels(np.ascontiguousarray(pixels[::4, ::4])), 60)
    aws.on("DetectFaces", detected(box(0.4, 0.3, 0.2, 0.4)))
    aws.on("SearchFacesByImage", searched())
    answer = cloud.identify(
        LOBBY, Image.from_pixels(pixels, jpeg=small), threshold=similarity(cloud, 80)
    )
    assert aws.of("DetectFaces")[0].image() == small
    size = Image.from_bytes(aws.of("SearchFacesByImage")[0].image()).size
    assert size.width >= 2 * 0.2 * 1280 - 1
    eyes = answer.faces[0].face.eye_distance_px
    assert eyes == pytest.approx(0.4 * 0.2 * 1280)


def test_a_face_too_small_to_search_is_named_and_costs_no_call(
    aws: FakeAws, cloud: Recognizer
) -> None:
    aws.on("DetectFaces", detected(box(0.1, 0.1, 39 / 640, 0.3), box(0.5, 0.1, 0.3, 0.5)))
    aws.on("SearchFacesByImage", searched())
    answer = cloud.identify(LOBBY, photo(640, 480), threshold=similarity(cloud, 80))
    assert len(aws.of("SearchFacesByImage")) == 1
    small = answer.faces[1].not_searched
    assert small is not None
    assert small.reason is Reason.FACE_TOO_SMALL
    assert "39 px" in small.detail


def test_candidates_of_another_face_than_the_one_meant_are_set_aside(
    aws: FakeAws, cloud: Recognizer
) -> None:
    aws.on("DetectFaces", detected(box(0.3, 0.2, 0.4, 0.6)))
    aws.on(
        "SearchFacesByImage",
        searched((99.0, face(1, "ann")), where=box(0.0, 0.0, 0.2, 0.2)),
    )
    found = cloud.identify(LOBBY, photo(640, 480), threshold=similarity(cloud, 80)).faces[0]
    assert found.not_searched is not None
    assert found.not_searched.reason is Reason.OTHER_FACE_SEARCHED
    assert found.candidates == ()


def test_in_a_crowd_the_crop_is_cut_tighter_so_that_no_larger_face_is_in_it(
    aws: FakeAws, cloud: Recognizer
) -> None:
    small, large = box(0.3, 0.4, 0.1, 0.15), box(0.41, 0.4, 0.11, 0.16)
    aws.on("DetectFaces", detected(large, small))
    seen: list[Received] = []

    def search(request: Received) -> Reply:
        seen.append(request)
        return searched()

    aws.on("SearchFacesByImage", search)
    cloud.identify(LOBBY, photo(1280, 720), threshold=similarity(cloud, 80))
    sizes = [Image.from_bytes(request.image()).size for request in seen]
    assert sizes[1].width < 0.1 * 1280 * 1.7
    assert sizes[0].width > 0.11 * 1280 * 1.9


def test_a_small_face_is_cut_with_80_px_around_and_never_enlarged(
    aws: FakeAws, open_on: Opened
) -> None:
    cloud = open_on(min_face_px=10)
    aws.on("DetectFaces", detected(box(0.5, 0.5, 20 / 640, 20 / 480)))
    aws.on("SearchFacesByImage", searched(where=box(0.375, 0.375, 0.25, 0.25)))
    answer = cloud.identify(LOBBY, photo(640, 480), threshold=similarity(cloud, 80))
    size = Image.from_bytes(aws.of("SearchFacesByImage")[0].image()).size
    assert (size.width, size.height) in {(80, 80), (81, 80), (80, 81), (81, 81)}
    assert answer.faces[0].not_searched is None


# -- no face is a value


def test_no_face_is_a_value_not_an_exception(aws: FakeAws, cloud: Recognizer, log: KeptLog) -> None:
    aws.on("DetectFaces", detected())
    aws.on("SearchFacesByImage", NO_FACE)
    for selection in FaceSelection:
        answer = cloud.identify(LOBBY, photo(), threshold=similarity(cloud, 80), faces=selection)
        assert answer.faces == ()
        assert answer.failure is not None
        assert answer.failure.reason is Reason.NO_FACE
    assert log.outcomes() == ["no_face", "ok"]


def test_a_crop_in_which_aws_finds_no_face_is_not_searched(aws: FakeAws, cloud: Recognizer) -> None:
    aws.on("DetectFaces", detected(box(0.3, 0.2, 0.4, 0.6)))
    aws.on("SearchFacesByImage", NO_FACE)
    found = cloud.identify(LOBBY, photo(), threshold=similarity(cloud, 80)).faces[0]
    assert found.not_searched is not None
    assert found.not_searched.reason is Reason.NO_FACE


def test_other_invalid_parameters_stay_errors(aws: FakeAws, cloud: Recognizer) -> None:
    aws.on("SearchFacesByImage", error("InvalidParameterException", "Request is invalid"))
    with pytest.raises(InvalidRequestError, match="Request is invalid"):
        cloud.identify(LOBBY, photo(), threshold=similarity(cloud, 80), faces=FaceSelection.LARGEST)


@pytest.mark.parametrize(
    "refusal",
    [NO_FACE, error("InvalidParameterException", "Request has invalid parameters")],
    ids=["said", "unsaid"],
)
@pytest.mark.parametrize("empty", ["source", "target"])
def test_verify_says_which_image_has_no_face(
    aws: FakeAws, cloud: Recognizer, refusal: Reply, empty: str
) -> None:
    source, target = photo(seed=1), photo(seed=2)
    faceless = (source if empty == "source" else target).encoded
    aws.on("CompareFaces", refusal)
    aws.on(
        "DetectFaces",
        lambda r: detected() if r.image() == faceless else detected(box(0.1, 0.1, 0.5, 0.5)),
    )
    found = cloud.verify(source, target, threshold=similarity(cloud, 80))
    assert found.failure is not None
    assert found.failure.reason is Reason.NO_FACE
    assert empty in found.failure.detail
    assert not found.matched


def test_verify_with_faces_in_both_images_keeps_awss_error(aws: FakeAws, cloud: Recognizer) -> None:
    aws.on("CompareFaces", error("InvalidParameterException", "Request has invalid parameters"))
    aws.on("DetectFaces", detected(box(0.1, 0.1, 0.5, 0.5)))
    with pytest.raises(InvalidRequestError, match="pair of images"):
        cloud.verify(photo(), photo(), threshold=similarity(cloud, 80))


def test_an_image_without_a_face_enrolls_nothing_and_says_why(
    aws: FakeAws, cloud: Recognizer
) -> None:
    aws.on("IndexFaces", Reply({"FaceRecords": [], "UnindexedFaces": []}))
    enrollment = cloud.enroll(LOBBY, photo(), subject=SubjectId("ann"))
    assert enrollment.records == ()
    assert [failure.reasons for failure in enrollment.failures] == [(Reason.NO_FACE,)]


def test_a_search_that_the_quality_filter_stopped_names_it(aws: FakeAws, cloud: Recognizer) -> None:
    aws.on("SearchFacesByImage", Reply({"FaceMatches": [], "FaceModelVersion": "7.0"}))
    answer = cloud.identify(
        LOBBY,
        photo(),
        threshold=similarity(cloud, 80),
        faces=FaceSelection.LARGEST,
        quality=QualityFilter.HIGH,
    )
    assert answer.failure is not None
    assert answer.failure.reason is Reason.LOW_FACE_QUALITY


# -- enrolling


def test_records_come_largest_first_and_failures_with_their_reasons(
    aws: FakeAws, cloud: Recognizer
) -> None:
    small, large = box(0.1, 0.1, 0.1, 0.1), box(0.5, 0.1, 0.3, 0.3)
    aws.on(
        "IndexFaces",
        Reply(
            {
                "FaceRecords": [
                    {"Face": face(1, "ann"), "FaceDetail": face_detail(small)},
                    {"Face": face(2, "ann"), "FaceDetail": face_detail(large)},
                ],
                "UnindexedFaces": [
                    {
                        "Reasons": ["LOW_SHARPNESS", "A_REASON_OF_2031"],
                        "FaceDetail": face_detail(small),
                    }
                ],
            }
        ),
    )
    image = photo(640, 480)
    enrollment = cloud.enroll(LOBBY, image, subject=SubjectId("ann"))
    assert [record.enrolled.face_id for record in enrollment.records] == [face_id(2), face_id(1)]
    assert enrollment.failures[0].reasons == (Reason.LOW_SHARPNESS,)
    assert "A_REASON_OF_2031" in enrollment.original[0].json
    first = enrollment.records[0].detected
    assert first.box == BoundingBox(0.5, 0.1, 0.3, 0.3)
    assert first.pose is not None
    assert first.pose.yaw == -2.0
    assert first.eye_distance_px == pytest.approx(0.4 * 0.3 * 640)


# -- galleries


def test_gallery_life_cycle(aws: FakeAws, cloud: Recognizer) -> None:
    aws.on(
        "CreateCollection",
        Reply({"StatusCode": 200, "CollectionArn": "arn", "FaceModelVersion": "7.0"}),
    )
    aws.on(
        "DescribeCollection",
        Reply({"FaceCount": 12, "FaceModelVersion": "7.0", "CreationTimestamp": 1533422155.042}),
    )
    aws.on("DeleteCollection", Reply({"StatusCode": 200}))
    assert cloud.create_gallery(LOBBY).model == "7.0"
    described = cloud.describe_gallery(LOBBY)
    assert described.face_count == 12
    assert described.created_at is not None
    assert described.created_at.year == 2018
    cloud.delete_gallery(LOBBY)


def test_galleries_of_all_pages_come_sorted(aws: FakeAws, cloud: Recognizer) -> None:
    pages = {None: (["b", "d"], "t1"), "t1": (["a"], "t2"), "t2": (["c"], None)}

    def rule(request: Received) -> Reply:
        names, token = pages[request.parameters.get("NextToken")]
        body: Json = {"CollectionIds": names, "FaceModelVersions": ["7.0"] * len(names)}
        return Reply(body if token is None else {**body, "NextToken": token})

    aws.on("ListCollections", rule)
    assert list(cloud.galleries()) == ["a", "b", "c", "d"]


def test_faces_of_all_pages_come_once_with_their_subjects(aws: FakeAws, cloud: Recognizer) -> None:
    aws.on(
        "ListFaces",
        Reply({"Faces": [face(1, "ann"), face(2, "rk:Zo:C3:AB")], "NextToken": "more"}),
        Reply({"Faces": [face(3)], "NextToken": ""}),
    )
    told = [(found.face_id, found.subject) for found in cloud.faces(LOBBY)]
    assert told == [(face_id(1), "ann"), (face_id(2), "Zoë"), (face_id(3), None)]
    assert [r.parameters.get("NextToken") for r in aws.requests] == [None, "more"]


def test_a_page_token_that_comes_again_ends_with_an_error_not_never(
    aws: FakeAws, cloud: Recognizer
) -> None:
    aws.on("ListFaces", Reply({"Faces": [face(1)], "NextToken": "same"}))
    with pytest.raises(UnexpectedAnswerError, match="token twice"):
        list(cloud.faces(LOBBY))


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("DescribeCollection", lambda c: c.describe_gallery(LOBBY)),
        ("DeleteCollection", lambda c: c.delete_gallery(LOBBY)),
        ("IndexFaces", lambda c: c.enroll(LOBBY, photo(), subject=None)),
        ("ListFaces", lambda c: c.faces(LOBBY)),
        ("DeleteFaces", lambda c: c.remove(LOBBY, [FaceId(face_id(1))])),
        ("DescribeCollection", lambda c: c.remove(LOBBY, [])),
        (
            "SearchFacesByImage",
            lambda c: c.identify(
                LOBBY,
                photo(),
                threshold=c.capabilities.match_all,
                faces=FaceSelection.LARGEST,
            ),
        ),
        (
            "ListFaces",
            lambda c: c.search(LOBBY, FaceId(face_id(1)), threshold=c.capabilities.match_all),
        ),
    ],
)
def test_an_unknown_gallery_is_named(
    aws: FakeAws, cloud: Recognizer, operation: str, call: Callable[[Recognizer], object]
) -> None:
    aws.on(operation, error("ResourceNotFoundException", "The collection id does not exist"))
    with pytest.raises(GalleryNotFoundError, match="lobby"):
        call(cloud)


def test_a_gallery_that_exists_is_named(aws: FakeAws, cloud: Recognizer) -> None:
    aws.on("CreateCollection", error("ResourceAlreadyExistsException", "already exists"))
    with pytest.raises(GalleryExistsError, match="lobby"):
        cloud.create_gallery(LOBBY)


def test_a_name_that_no_collection_carries_is_refused_unsent(
    aws: FakeAws, cloud: Recognizer
) -> None:
    with pytest.raises(SubjectIdError, match="two words"):
        cloud.create_gallery(GalleryId("two words"))
    assert aws.requests == []


# -- removing


def test_removing_goes_in_chunks_and_names_what_was_not_there(
    aws: FakeAws, cloud: Recognizer
) -> None:
    missing = face_id(7)

    def rule(request: Received) -> Reply:
        ids = request.parameters["FaceIds"]
        return Reply(
            {
                "DeletedFaces": [one for one in ids if one != missing],
                "UnsuccessfulFaceDeletions": [
                    {"FaceId": one, "Reasons": ["FACE_NOT_FOUND"]} for one in ids if one == missing
                ],
            }
        )

    aws.on("DeleteFaces", rule)
    ids = [FaceId(face_id(number)) for number in range(5000)]
    removal = cloud.remove(LOBBY, [*ids, ids[0], FaceId("no uuid")])
    assert [len(request.parameters["FaceIds"]) for request in aws.requests] == [4096, 904]
    assert len(removal.removed) == 4999
    assert removal.not_found == (missing, "no uuid")


def test_removing_nothing_removes_nothing(aws: FakeAws, cloud: Recognizer) -> None:
    aws.on("DescribeCollection", Reply({"FaceCount": 5, "FaceModelVersion": "7.0"}))
    removal = cloud.remove(LOBBY, [])
    assert (removal.removed, removal.not_found) == ((), ())
    assert aws.operations() == ["DescribeCollection"]


def test_a_face_that_belongs_to_a_user_is_not_called_missing(
    aws: FakeAws, cloud: Recognizer
) -> None:
    kept = {"FaceId": face_id(1), "UserId": "u", "Reasons": ["ASSOCIATED_TO_AN_EXISTING_USER"]}
    aws.on("DeleteFaces", Reply({"DeletedFaces": [], "UnsuccessfulFaceDeletions": [kept]}))
    removal = cloud.remove(LOBBY, [FaceId(face_id(1))])
    assert (removal.removed, removal.not_found) == ((), ())
    assert [(face.face_id, face.user) for face in removal.kept] == [(face_id(1), "u")]


# -- searching by face


def test_searching_by_face_never_returns_the_face_itself(aws: FakeAws, cloud: Recognizer) -> None:
    aws.on("ListFaces", Reply({"Faces": [face(1, "ann")]}))
    aws.on(
        "SearchFaces",
        Reply(
            {
                "SearchedFaceId": face_id(1),
                "FaceMatches": [
                    {"Similarity": 100.0, "Face": face(1, "ann")},
                    {"Similarity": 93.0, "Face": face(2, "ann")},
                ],
            }
        ),
    )
    answer = cloud.search(LOBBY, FaceId(face_id(1)), threshold=similarity(cloud, 90), limit=7)
    assert [c.face.face_id for c in answer.faces[0].candidates] == [face_id(2)]
    assert answer.faces[0].face.box == BoundingBox(0.1, 0.2, 0.3, 0.4)
    asked = aws.of("SearchFaces")[0].parameters
    assert (asked["FaceMatchThreshold"], asked["MaxFaces"]) == (90.0, 7)


def test_a_face_that_is_not_there_raises(aws: FakeAws, cloud: Recognizer) -> None:
    aws.on("ListFaces", Reply({"Faces": []}), Reply({"Faces": [face(1)]}))
    aws.on(
        "SearchFaces",
        error("InvalidParameterException", "faceId was not found in the collection."),
    )
    aws.on("DescribeCollection", Reply({"FaceCount": 0, "FaceModelVersion": "7.0"}))
    for probe in (face_id(1), face_id(1), "no uuid"):
        with pytest.raises(FaceNotFoundError, match=probe):
            cloud.search(LOBBY, FaceId(probe), threshold=similarity(cloud, 80))


# -- arguments


def test_a_threshold_of_another_scale_or_out_of_range_is_refused_unsent(
    aws: FakeAws, cloud: Recognizer
) -> None:
    foreign = ComparisonScore(0.4, ScoreScale("cosine", -1, 1))
    with pytest.raises(ScaleMismatchError, match="cosine"):
        cloud.identify(LOBBY, photo(), threshold=foreign)
    with pytest.raises(ScaleMismatchError):
        cloud.verify(photo(), photo(), threshold=foreign)
    with pytest.raises(ScaleMismatchError):
        cloud.search(LOBBY, FaceId(face_id(1)), threshold=foreign)
    with pytest.raises(ConfigError, match="100"):
        cloud.identify(LOBBY, photo(), threshold=similarity(cloud, 100.5))
    assert aws.requests == []


def test_counts_below_one_are_refused_and_above_awss_bound_are_cut(
    aws: FakeAws, cloud: Recognizer
) -> None:
    aws.on("SearchFacesByImage", searched())
    with pytest.raises(ConfigError, match="limit"):
        cloud.identify(LOBBY, photo(), threshold=similarity(cloud, 80), limit=0)
    with pytest.raises(ConfigError, match="max_faces"):
        cloud.enroll(LOBBY, photo(), subject=None, max_faces=0)
    cloud.identify(
        LOBBY,
        photo(),
        threshold=similarity(cloud, 80),
        limit=10_000,
        faces=FaceSelection.LARGEST,
    )
    assert aws.requests[0].parameters["MaxFaces"] == 4096


# -- answers that make no sense


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<html>a captive portal</html>",
        b'{"FaceMatches": []}',
        b'{"FaceMatches": [], "SearchedFaceBoundingBox": {"Left": 0.1}}',
        json.dumps(
            {
                "SearchedFaceBoundingBox": box(0, 0, 1, 1),
                "SearchedFaceConfidence": 99,
                "FaceMatches": [{"Face": face(1)}],
            }
        ).encode(),
        b"\x00\xff\xfe garbage",
    ],
    ids=["empty", "braces", "html", "no-box", "half-a-box", "no-similarity", "binary"],
)
def test_an_answer_that_lacks_something_is_an_error_never_an_empty_list(
    aws: FakeAws, cloud: Recognizer, body: bytes
) -> None:
    aws.on("SearchFacesByImage", Reply(body))
    with pytest.raises(UnexpectedAnswerError, match="SearchFacesByImage"):
        cloud.identify(LOBBY, photo(), threshold=similarity(cloud, 80), faces=FaceSelection.LARGEST)


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("DetectFaces", lambda c: c.detect(photo())),
        ("IndexFaces", lambda c: c.enroll(LOBBY, photo(), subject=None)),
        ("ListFaces", lambda c: list(c.faces(LOBBY))),
        ("ListCollections", lambda c: list(c.galleries())),
        ("DescribeCollection", lambda c: c.describe_gallery(LOBBY)),
        ("CreateCollection", lambda c: c.create_gallery(LOBBY)),
        ("DeleteCollection", lambda c: c.delete_gallery(LOBBY)),
        ("DeleteFaces", lambda c: c.remove(LOBBY, [FaceId(face_id(1))])),
        (
            "CompareFaces",
            lambda c: c.verify(photo(), photo(), threshold=c.capabilities.match_all),
        ),
    ],
)
def test_an_empty_answer_is_an_error_for_every_operation(
    aws: FakeAws, cloud: Recognizer, operation: str, call: Callable[[Recognizer], object]
) -> None:
    aws.on(operation, Reply({}))
    with pytest.raises(UnexpectedAnswerError, match=operation):
        call(cloud)


# -- original answers, closing, threads


def test_the_original_answer_is_awss_own_text(aws: FakeAws, cloud: Recognizer) -> None:
    body = json.dumps(searched((98.76543, face(1, "ann"))).body, indent=1).encode()
    aws.on("SearchFacesByImage", Reply(body))
    answer = cloud.identify(
        LOBBY, photo(), threshold=similarity(cloud, 80), faces=FaceSelection.LARGEST
    )
    assert answer.original[0].json == body.decode()
    assert answer.original[0].operation == "SearchFacesByImage"
    assert answer.original[0].request_id == "11111111-2222-4333-8444-555555555555"
    assert "ResponseMetadata" not in answer.original[0].json


def test_a_closed_recognizer_refuses_and_may_be_closed_twice(
    aws: FakeAws, cloud: Recognizer
) -> None:
    cloud.close()
    cloud.close()
    calls: list[Callable[[], object]] = [
        lambda: cloud.detect(photo()),
        cloud.galleries,
        lambda: cloud.faces(LOBBY),
        lambda: cloud.remove(LOBBY, []),
        lambda: cloud.verify(photo(), photo(), threshold=cloud.capabilities.match_all),
    ]
    for call in calls:
        with pytest.raises(BackendClosedError, match="cloud"):
            call()
    assert aws.requests == []


def test_threads_get_their_own_answers_and_every_call_is_logged(
    aws: FakeAws, open_on: Opened, log: KeptLog
) -> None:
    cloud = open_on(requests_per_second={"SearchFacesByImage": 10_000})
    images = [photo(seed=seed) for seed in range(8)]
    number = {image.encoded: index for index, image in enumerate(images)}
    aws.on("SearchFacesByImage", lambda r: searched((99.0, face(number[r.image()]))))

    def search(index: int) -> str:
        answer = cloud.identify(
            LOBBY,
            images[index % 8],
            threshold=similarity(cloud, 80),
            faces=FaceSelection.LARGEST,
        )
        return answer.faces[0].candidates[0].face.face_id

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(search, range(64)))
    assert found == [face_id(index % 8) for index in range(64)]
    assert log.outcomes() == ["ok"] * 64
    assert sum(record.bytes_sent for record in log.records) == aws.bytes_received
    assert sum(record.bytes_received for record in log.records) == aws.bytes_sent
