"""Stream processors: Rekognition's face search on live video, over rekadapter's own feeds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from rekadapter.errors import GalleryNotFoundError, RekadapterError
from rekadapter.feeds import Frame
from rekadapter.recognizer import FaceSelection
from rekadapter.rekognition_api.codec import WireObject
from rekadapter.rekognition_api.context import Context
from rekadapter.rekognition_api.faults import FaultError, invalid_parameter, unknown_operation
from rekadapter.rekognition_api.jobs.plans import Owner, Processor, ProcessorKey, ProcessorPlan
from rekadapter.rekognition_api.jobs.processors import StreamProcessors
from rekadapter.rekognition_api.operations import shapes
from rekadapter.rekognition_api.operations.video import matches_of
from rekadapter.rekognition_api.paging import page_of
from rekadapter.rekognition_api.request import Request
from rekadapter.types import FaceIdentification, GalleryId

PROCESSOR: Final = "streamprocessor"
"""The kind of resource in a processor's ARN."""
LOWEST_THRESHOLD: Final = 80.0
"""The default, and what a lower one is raised to (service model, FaceSearchSettings)."""
MAX_LISTED: Final = 1000
FRAGMENT_SECONDS: Final = 2.0
"""A feed has no fragments; its records are numbered as if it came in pieces of this length, the
shortest that AWS recommends to producers."""
MAX_MATCHES: Final = 20

_FRAGMENT_DIGITS: Final = 47
_LABELS_ONLY: Final = (
    "NotificationChannel",
    "KmsKeyId",
    "RegionsOfInterest",
    "DataSharingPreference",
    "StartSelector",
    "StopSelector",
)
"""What the service model keeps for label detection, which is not served."""


def create_stream_processor(context: Context, request: Request) -> WireObject:
    processors = _processors(context)
    _refuse_labels(request)
    plan = _plan(context, request)
    _check_gallery(context, plan.gallery)
    processors.create(plan)
    arn = _arn(context, plan.key.name)
    try:
        _replace_tags(context, arn, request.mapping("Tags"))
    except RekadapterError:
        processors.delete(plan.key)
        raise
    return {"StreamProcessorArn": arn}


def describe_stream_processor(context: Context, request: Request) -> WireObject:
    found = _processors(context).describe(_key(context, request))
    plan = found.plan
    return {
        "Name": plan.key.name,
        "StreamProcessorArn": _arn(context, plan.key.name),
        "Status": found.state,
        "StatusMessage": found.message,
        "CreationTimestamp": datetime.fromtimestamp(found.created_at, UTC),
        "LastUpdateTimestamp": datetime.fromtimestamp(found.updated_at, UTC),
        "Input": {"KinesisVideoStream": {"Arn": plan.video_arn}},
        "Output": {"KinesisDataStream": {"Arn": plan.data_arn}},
        "RoleArn": plan.role_arn,
        "Settings": {
            "FaceSearch": {"CollectionId": plan.gallery, "FaceMatchThreshold": plan.threshold}
        },
    }


def list_stream_processors(context: Context, request: Request) -> WireObject:
    most = min(request.integer("MaxResults", MAX_LISTED), MAX_LISTED)
    clamped = Request({**request.members, "MaxResults": most})
    page = page_of(
        _processors(context).of(context.account, context.region),
        key=_name_of,
        listing=("ListStreamProcessors", context.account, context.region),
        request=clamped,
    )
    return {
        "StreamProcessors": [
            {"Name": _name_of(processor), "Status": processor.state} for processor in page.items
        ],
        "NextToken": page.next_token,
    }


def start_stream_processor(context: Context, request: Request) -> WireObject:
    processors = _processors(context)
    _refuse_labels(request)
    key = _key(context, request)
    return {"SessionId": processors.start(key, lambda plan: FrameRecords(context, plan))}


def stop_stream_processor(context: Context, request: Request) -> WireObject:
    _processors(context).stop(_key(context, request))
    return {}


def update_stream_processor(context: Context, request: Request) -> WireObject:
    """Every setting that AWS updates is one of label detection."""
    _processors(context).describe(_key(context, request))
    raise _invalid("a face search stream processor has nothing that can be updated.")


def delete_stream_processor(context: Context, request: Request) -> WireObject:
    key = _key(context, request)
    _processors(context).delete(key)
    _replace_tags(context, _arn(context, key.name), {})
    return {}


def processor_is_there(context: Context, name: str) -> bool:
    """Whether the caller has a processor of that name in this region."""
    streams = None if context.background is None else context.background.streams
    key = ProcessorKey(context.account, context.region, name)
    return streams is not None and streams.has(key)


class FrameRecords:
    """Frames of a feed as Rekognition's face-search records.

    ``ProducerTimestamp`` is when the fragment's first moment was captured, ``ServerTimestamp`` when
    its first frame came here, by ``clock`` (seconds since 1970).
    """

    def __init__(
        self, context: Context, plan: ProcessorPlan, clock: Callable[[], float] = time.time
    ) -> None:
        capabilities = context.recognizer.capabilities
        self._context = context
        self._plan = plan
        self._clock = clock
        self._threshold = capabilities.threshold(plan.threshold)
        self._limit = min(MAX_MATCHES, capabilities.max_candidates)
        self._fragment = -1
        self._received_at = 0.0

    def record_of(self, frame: Frame) -> bytes:
        """See ``Searcher``."""
        fragment = int(frame.seconds // FRAGMENT_SECONDS)
        if fragment != self._fragment:
            self._fragment, self._received_at = fragment, self._clock()
        found = self._context.recognizer.identify(
            self._plan.gallery,
            frame.image,
            threshold=self._threshold,
            limit=self._limit,
            faces=FaceSelection.ALL,
        )
        kept = found.faces[: self._context.settings.max_faces_per_image]
        record = {
            "InputInformation": {"KinesisVideo": self._input(frame)},
            "StreamProcessorInformation": {"Status": "RUNNING"},
            "FaceSearchResponse": [self._searched(face) for face in kept],
        }
        return json.dumps(_without_nothing(record), allow_nan=False).encode()

    def _input(self, frame: Frame) -> WireObject:
        offset = frame.seconds - self._fragment * FRAGMENT_SECONDS
        producer = frame.captured_at - timedelta(seconds=offset)
        return {
            "StreamArn": self._plan.video_arn,
            "FragmentNumber": f"{self._fragment + 1:0{_FRAGMENT_DIGITS}d}",
            "ServerTimestamp": self._received_at,
            "ProducerTimestamp": producer.timestamp(),
            "FrameOffsetInSeconds": offset,
        }

    def _searched(self, face: FaceIdentification) -> WireObject:
        return {
            "DetectedFace": shapes.compared_face(face.face),
            "MatchedFaces": matches_of(self._context, face),
        }


def _processors(context: Context) -> StreamProcessors:
    if context.background is None or context.background.streams is None:
        raise FaultError(unknown_operation("The service has no streams set up."))
    return context.background.streams


def _plan(context: Context, request: Request) -> ProcessorPlan:
    searched = request.part("Settings").part("FaceSearch")
    video_arn = request.part("Input").part("KinesisVideoStream").optional_text("Arn")
    data_arn = request.part("Output").part("KinesisDataStream").optional_text("Arn")
    gallery = searched.optional_text("CollectionId")
    if video_arn is None or data_arn is None or gallery is None:
        raise _invalid(
            "a face search needs Input.KinesisVideoStream.Arn, Output.KinesisDataStream.Arn and "
            "Settings.FaceSearch.CollectionId."
        )
    if not all(_may_name(context, arn) for arn in (video_arn, data_arn)):
        raise _invalid("both streams have to be of the caller's account and region.")
    threshold = searched.number("FaceMatchThreshold", LOWEST_THRESHOLD)
    return ProcessorPlan(
        key=_key(context, request),
        video_arn=video_arn,
        data_arn=data_arn,
        role_arn=request.text("RoleArn"),
        gallery=GalleryId(gallery),
        threshold=max(LOWEST_THRESHOLD, threshold),
    )


def _may_name(context: Context, arn: str) -> bool:
    return not context.is_separate or Owner(context.account, context.region).owns(arn)


def _check_gallery(context: Context, gallery: GalleryId) -> None:
    """CreateStreamProcessor has no ResourceNotFoundException."""
    try:
        context.recognizer.describe_gallery(gallery)
    except GalleryNotFoundError as error:
        raise _invalid("the collection of FaceSearch does not exist.") from error


def _refuse_labels(request: Request) -> None:
    given = [name for name in _LABELS_ONLY if request.has(name)]
    given += ["ConnectedHome"] * request.part("Settings").has("ConnectedHome")
    given += ["S3Destination"] * request.part("Output").has("S3Destination")
    if given:
        raise _invalid(f"{given[0]} belongs to label detection, not to a face search.")


def _invalid(text: str) -> FaultError:
    return invalid_parameter(f"Request has invalid parameters: {text}")


def _replace_tags(context: Context, arn: str, tags: Mapping[str, str]) -> None:
    """Tags of an older processor of that name, which ended with its service, are not inherited."""
    context.tags.drop(arn, context.tags.of(arn))
    if tags:
        context.tags.put(arn, tags)


def _key(context: Context, request: Request) -> ProcessorKey:
    return ProcessorKey(context.account, context.region, request.text("Name"))


def _arn(context: Context, name: str) -> str:
    return f"arn:aws:rekognition:{context.region}:{context.account}:{PROCESSOR}/{name}"


def _name_of(processor: Processor) -> str:
    return processor.plan.key.name


def _without_nothing(value: object) -> object:
    """Members that are None left out at every depth, as on the wire."""
    match value:
        case dict():
            return {
                name: _without_nothing(item) for name, item in value.items() if item is not None
            }
        case list():
            return [_without_nothing(item) for item in value]
        case _:
            return value
