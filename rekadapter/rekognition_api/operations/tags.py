"""Tags of collections and stream processors, by ARN."""

from __future__ import annotations

import re
from typing import Final

from rekadapter.errors import GalleryModelMismatchError, GalleryNotFoundError
from rekadapter.rekognition_api.codec import WireObject
from rekadapter.rekognition_api.context import Context
from rekadapter.rekognition_api.faults import access_denied, invalid_parameter, not_found
from rekadapter.rekognition_api.operations.streams import PROCESSOR, processor_is_there
from rekadapter.rekognition_api.request import Request
from rekadapter.types import GalleryId

_ARN: Final = re.compile(r"arn:(aws[a-z-]*):rekognition:([a-z0-9-]+):(\d{12}):([A-Za-z-]+)/(.+)")


def tag_resource(context: Context, request: Request) -> WireObject:
    context.tags.put(_resource(context, request), request.mapping("Tags"))
    return {}


def untag_resource(context: Context, request: Request) -> WireObject:
    context.tags.drop(_resource(context, request), request.texts("TagKeys"))
    return {}


def list_tags_for_resource(context: Context, request: Request) -> WireObject:
    return {"Tags": context.tags.of(_resource(context, request))}


def _resource(context: Context, request: Request) -> str:
    """The ARN of a collection or processor that is there, of the caller's account and region.

    Nothing else is tagged here; AWS's other resources are not found.
    """
    arn = request.text("ResourceArn")
    parts = _ARN.fullmatch(arn)
    if parts is None:
        raise invalid_parameter("Request has invalid parameters: ResourceArn is no resource's.")
    _, region, account, kind, name = parts.groups()
    if account != context.account:
        raise access_denied("The resource belongs to another account.")
    if region != context.region or not _is_there(context, kind, name):
        raise not_found("The resource was not found.")
    return f"arn:aws:rekognition:{region}:{account}:{kind}/{name}"


def _is_there(context: Context, kind: str, name: str) -> bool:
    match kind:
        case "collection":
            return _gallery_is_there(context, GalleryId(name))
        case _:
            return kind == PROCESSOR and processor_is_there(context, name)


def _gallery_is_there(context: Context, gallery: GalleryId) -> bool:
    try:
        context.recognizer.describe_gallery(gallery)
    except GalleryNotFoundError:
        return False
    except GalleryModelMismatchError:
        return True
    return True
