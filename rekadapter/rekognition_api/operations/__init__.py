"""The operations served, in one table: each a function of a context and a checked request.

An operation is added by writing its function beside its noun's others and a row here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from rekadapter.rekognition_api.codec import WireObject
from rekadapter.rekognition_api.context import Context
from rekadapter.rekognition_api.operations import (
    collections,
    compare,
    detect,
    faces,
    search,
    streams,
    tags,
    users,
    video,
)
from rekadapter.rekognition_api.request import Request

Operation = Callable[[Context, Request], WireObject]

OPERATIONS: Final[Mapping[str, Operation]] = MappingProxyType(
    {
        "CreateCollection": collections.create_collection,
        "DescribeCollection": collections.describe_collection,
        "ListCollections": collections.list_collections,
        "DeleteCollection": collections.delete_collection,
        "IndexFaces": faces.index_faces,
        "ListFaces": faces.list_faces,
        "DeleteFaces": faces.delete_faces,
        "SearchFaces": search.search_faces,
        "SearchFacesByImage": search.search_faces_by_image,
        "CreateUser": users.create_user,
        "DeleteUser": users.delete_user,
        "ListUsers": users.list_users,
        "AssociateFaces": users.associate_faces,
        "DisassociateFaces": users.disassociate_faces,
        "SearchUsers": users.search_users,
        "SearchUsersByImage": users.search_users_by_image,
        "TagResource": tags.tag_resource,
        "UntagResource": tags.untag_resource,
        "ListTagsForResource": tags.list_tags_for_resource,
        "DetectFaces": detect.detect_faces,
        "CompareFaces": compare.compare_faces,
        "StartFaceSearch": video.start_face_search,
        "GetFaceSearch": video.get_face_search,
        "StartFaceDetection": video.start_face_detection,
        "GetFaceDetection": video.get_face_detection,
        "CreateStreamProcessor": streams.create_stream_processor,
        "DescribeStreamProcessor": streams.describe_stream_processor,
        "ListStreamProcessors": streams.list_stream_processors,
        "StartStreamProcessor": streams.start_stream_processor,
        "StopStreamProcessor": streams.stop_stream_processor,
        "UpdateStreamProcessor": streams.update_stream_processor,
        "DeleteStreamProcessor": streams.delete_stream_processor,
    }
)
