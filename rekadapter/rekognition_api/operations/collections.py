"""Collections: galleries under Rekognition's name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rekadapter.errors import GalleryModelMismatchError, GalleryNotFoundError, RekadapterError
from rekadapter.rekognition_api.codec import WireObject
from rekadapter.rekognition_api.context import Context
from rekadapter.rekognition_api.paging import page_of
from rekadapter.rekognition_api.request import Request
from rekadapter.types import GalleryId

OTHER_MODEL: Final = "unavailable"
"""``FaceModelVersion`` in a listing, of a gallery that another model made: it cannot be asked."""


def create_collection(context: Context, request: Request) -> WireObject:
    """Tags of an older collection of that name, deleted past this service, are not inherited."""
    made = context.recognizer.create_gallery(GalleryId(request.text("CollectionId")))
    try:
        context.forget_tags(made.gallery)
        context.tags.put(context.collection_arn(made.gallery), request.mapping("Tags"))
    except RekadapterError:
        context.recognizer.delete_gallery(made.gallery)  # an error means that nothing was made
        raise
    return {
        "StatusCode": 200,
        "CollectionArn": context.collection_arn(made.gallery),
        "FaceModelVersion": made.model,
    }


def describe_collection(context: Context, request: Request) -> WireObject:
    found = context.recognizer.describe_gallery(GalleryId(request.text("CollectionId")))
    return {
        "FaceCount": found.face_count,
        "UserCount": found.user_count,
        "FaceModelVersion": found.model,
        "CollectionARN": context.collection_arn(found.gallery),
        "CreationTimestamp": found.created_at,
    }


def list_collections(context: Context, request: Request) -> WireObject:
    page = page_of(
        context.recognizer.galleries(), key=str, listing=("ListCollections",), request=request
    )
    described = list(_with_versions(context, page.items))
    return {
        "CollectionIds": [gallery for gallery, _ in described],
        "FaceModelVersions": [version for _, version in described],
        "NextToken": page.next_token,
    }


def delete_collection(context: Context, request: Request) -> WireObject:
    gallery = GalleryId(request.text("CollectionId"))
    context.recognizer.delete_gallery(gallery)
    context.forget_tags(gallery)
    return {"StatusCode": 200}


def _with_versions(
    context: Context, galleries: tuple[GalleryId, ...]
) -> Iterator[tuple[GalleryId, str]]:
    """Each gallery with its model; one deleted since it was listed is left out."""
    for gallery in galleries:
        try:
            yield gallery, context.recognizer.describe_gallery(gallery).model
        except GalleryNotFoundError:
            continue
        except GalleryModelMismatchError:
            yield gallery, OTHER_MODEL
