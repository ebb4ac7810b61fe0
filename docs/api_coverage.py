"""Makes docs/coverage.md: what becomes of each operation that botocore's model has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rekadapter.rekognition_api.model import load_model
from rekadapter.rekognition_api.moto_ext.responses import MOTO_ANSWERS
from rekadapter.rekognition_api.operations import OPERATIONS, streams, video

COVERAGE_PAGE = Path(__file__).with_name("coverage.md")

YES: Final = "yes"
NO: Final = "no"
SET_UP: Final = "when set up"
CANNED: Final = "moto's own"
CHOICE: Final = "moto's own, or real"

_INTRODUCTION: Final = """# Coverage of Rekognition's API

Generated from botocore's service model and the operations served, by `make docs`; do not edit.

- **HTTP service**: `rekadapter serve`. *when set up*: needs a place for videos or feeds, see
  [service.md](service.md).
- **In-process**: `rekadapter.testing.rekognition.mocked_rekognition`, without moto.
- **moto extension**: `rekadapter.testing.rekognition.install`. *moto's own*: the fixed answer that
  moto itself gives, whatever is asked. *or real*: with `install(own_answers=EVERY_ANSWER)`, and in
  the fixture `rekognition_mock`.

What is not served answers `UnknownOperationException`, in moto too unless it is moto's own. So do
the operations on users where the backend keeps none.
"""

_GROUPS: Final[Mapping[str, Mapping[str, str]]] = {
    "Collections and faces": {
        "CreateCollection": "with tags; the collection belongs to the backend's model",
        "DescribeCollection": "",
        "ListCollections": "",
        "DeleteCollection": "faces, users and tags go with it",
        "IndexFaces": "quality filter; age and gender where asked and computed, nothing made up",
        "ListFaces": "filters by face ids and by user",
        "DeleteFaces": "partial failures; a face of a user stays",
        "SearchFaces": "",
        "SearchFacesByImage": "the largest face",
    },
    "Users": {
        "CreateUser": "",
        "DeleteUser": "its faces stay",
        "ListUsers": "",
        "AssociateFaces": "100 faces a user and a call, match threshold, partial failures",
        "DisassociateFaces": "partial failures",
        "SearchUsers": "by face or by user",
        "SearchUsersByImage": "the largest face; the others are named",
    },
    "Tags": {
        "TagResource": "of collections and stream processors",
        "UntagResource": "of collections and stream processors",
        "ListTagsForResource": "of collections and stream processors",
    },
    "Images without a collection": {
        "DetectFaces": "age and gender where asked and computed, nothing made up",
        "CompareFaces": "with quality filter",
    },
    "Stored video": {
        "StartFaceSearch": "",
        "GetFaceSearch": "",
        "StartFaceDetection": "",
        "GetFaceDetection": "",
        "StartPersonTracking": "ended at AWS on 2025-10-31",
        "GetPersonTracking": "ended at AWS on 2025-10-31",
        "StartCelebrityRecognition": "no faces of a collection",
        "GetCelebrityRecognition": "no faces of a collection",
        "StartContentModeration": "no face recognition",
        "GetContentModeration": "no face recognition",
        "StartLabelDetection": "no face recognition",
        "GetLabelDetection": "no face recognition",
        "StartSegmentDetection": "no face recognition",
        "GetSegmentDetection": "no face recognition",
        "StartTextDetection": "no face recognition",
        "GetTextDetection": "no face recognition",
    },
    "Stream processors": {
        "CreateStreamProcessor": "face search",
        "DescribeStreamProcessor": "",
        "ListStreamProcessors": "",
        "StartStreamProcessor": "",
        "StopStreamProcessor": "",
        "UpdateStreamProcessor": "AWS updates label detection only",
        "DeleteStreamProcessor": "",
    },
    "Face liveness": {
        "CreateFaceLivenessSession": "its video goes over another protocol",
        "GetFaceLivenessSessionResults": "its video goes over another protocol",
    },
    "Other image analysis": {
        "DetectLabels": "no face recognition",
        "DetectModerationLabels": "no face recognition",
        "DetectProtectiveEquipment": "no face recognition",
        "DetectText": "no face recognition",
        "RecognizeCelebrities": "no faces of a collection",
        "GetCelebrityInfo": "no faces of a collection",
        "StartMediaAnalysisJob": "no face recognition",
        "GetMediaAnalysisJob": "no face recognition",
        "ListMediaAnalysisJobs": "no face recognition",
    },
    "Custom Labels": dict.fromkeys(
        (
            "CopyProjectVersion",
            "CreateDataset",
            "CreateProject",
            "CreateProjectVersion",
            "DeleteDataset",
            "DeleteProject",
            "DeleteProjectPolicy",
            "DeleteProjectVersion",
            "DescribeDataset",
            "DescribeProjectVersions",
            "DescribeProjects",
            "DetectCustomLabels",
            "DistributeDatasetEntries",
            "ListDatasetEntries",
            "ListDatasetLabels",
            "ListProjectPolicies",
            "PutProjectPolicy",
            "StartProjectVersion",
            "StopProjectVersion",
            "UpdateDatasetEntries",
        ),
        "no face recognition",
    ),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One operation and which shell serves it."""

    group: str
    operation: str
    http: str
    in_process: str
    moto: str
    note: str


def coverage_rows() -> list[Row]:
    """Every operation of botocore's model once.

    Raises:
        ValueError: the table above and the model differ.
    """
    rows = [
        Row(group, operation, *_shells(operation), note)
        for group, operations in _GROUPS.items()
        for operation, note in operations.items()
    ]
    known = {row.operation for row in rows}
    names = load_model(OPERATIONS).names
    if known != names or len(rows) != len(names):
        raise ValueError(f"docs/api_coverage.py and botocore's model differ: {known ^ names}")
    return rows


def coverage_page() -> str:
    """The page docs/coverage.md."""
    return "\n".join([_INTRODUCTION, *_lines(coverage_rows())]) + "\n"


def _lines(rows: list[Row]) -> Iterator[str]:
    served = sum(row.http != NO for row in rows)
    yield f"{served} of {len(rows)} operations are served, all of them about faces.\n"
    for group in _GROUPS:
        yield f"## {group}\n"
        yield "| operation | HTTP service | in-process | moto extension | note |"
        yield "|---|---|---|---|---|"
        for row in rows:
            if row.group == group:
                yield (
                    f"| {row.operation} | {row.http} | {row.in_process} | {row.moto} | {row.note} |"
                )
        yield ""


def _shells(operation: str) -> tuple[str, str, str]:
    """HTTP, in-process, moto."""
    function = OPERATIONS.get(operation)
    module = None if function is None else function.__module__
    http = SET_UP if module in {video.__name__, streams.__name__} else _served(function is not None)
    mocked = _served(function is not None)
    if operation not in MOTO_ANSWERS:
        return http, mocked, mocked
    return http, mocked, CHOICE if mocked == YES else CANNED


def _served(answer: bool) -> str:  # noqa: FBT001 - a word for it
    return YES if answer else NO


if __name__ == "__main__":
    COVERAGE_PAGE.write_text(coverage_page(), encoding="utf-8")
