"""What a stream processor does with a feed: which frames, and what becomes of each."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Final

from rekadapter.errors import BackendError, FeedError, OutputError, RekadapterError
from rekadapter.feeds import FeedItem, Frame
from rekadapter.feeds.frames import Sampler
from rekadapter.rekognition_api.faults import INVALID_PARAMETER, fault_of
from rekadapter.rekognition_api.jobs.plans import Searcher
from rekadapter.types import GalleryId

logger = logging.getLogger(__name__)

_STREAM: Final = re.compile(
    r"arn:[^:]+:(?:kinesisvideo|kinesis):[^:]*:[^:]*:stream/([^/]+)(?:/.*)?"
)


def stream_name(arn: str) -> str:
    """Of ``...:stream/NAME/CREATION-TIME`` (video) and ``...:stream/NAME`` (data); a name of AWS's
    has no slash. Empty for an ARN of another form."""
    found = _STREAM.fullmatch(arn)
    return found[1] if found else ""


def sampled(items: Iterator[FeedItem], rate: float | None) -> Iterator[FeedItem]:
    sampler = Sampler(rate)
    return (one for one in items if not isinstance(one, Frame) or sampler.wants(one.seconds))


def searched(frame: FeedItem, searcher: Searcher) -> bytes | None:
    """The record; None for a frame that is lost, here or by a failure that may pass."""
    if not isinstance(frame, Frame):
        return None
    try:
        return searcher.record_of(frame)
    except BackendError as error:
        if not error.retryable:
            raise
        logger.debug("a frame of %s was not searched: %s", frame.camera, error)
        return None


def told(error: RekadapterError, gallery: GalleryId) -> str:
    """What a client may know: neither paths nor addresses."""
    match error:
        case FeedError():
            return "The feed of the video stream cannot be read."
        case OutputError():
            return "The records of the data stream cannot be kept."
        case _:
            return fault_of(error, collection=gallery, violation_code=INVALID_PARAMETER).message
