"""moto's way in: requests go to the mock, except for the answers moto keeps."""

from __future__ import annotations

import re
from typing import Any, Final, cast

from moto.rekognition.responses import RekognitionResponse
from werkzeug.exceptions import HTTPException

from rekadapter.rekognition_api.faults import Fault
from rekadapter.rekognition_api.mocking import MockedRegion
from rekadapter.rekognition_api.moto_ext.models import (
    CollectionsBackend,
    CollectionsBackends,
    backends_in_place,
)
from rekadapter.rekognition_api.service import ServiceAnswer

MOTO_ANSWERS: Final = frozenset(
    {
        "CompareFaces",
        "DetectCustomLabels",
        "DetectLabels",
        "DetectText",
        "GetFaceSearch",
        "GetTextDetection",
        "StartFaceSearch",
        "StartTextDetection",
    }
)
"""The operations moto answers itself: always the same, whatever the input."""

_TARGET_PREFIX: Final = "RekognitionService"
_API_AWS_REGION: Final = re.compile(r"://rekognition(?:-fips)?\.([^./]+)\.api\.aws")

_MotoAnswer = tuple[int, dict[str, str], Any]


class CollectionsResponse(RekognitionResponse):
    """One request, as moto hands it over."""

    def setup_class(
        self,
        request: Any,  # noqa: ANN401 - werkzeug's or moto's, by version
        full_url: str | None = None,
        headers: object = None,
        use_raw_body: bool | None = None,  # noqa: FBT001 - moto's signature
    ) -> None:
        """The body stays bytes: it need not be UTF-8, and moto would search it for form fields."""
        del use_raw_body
        super().setup_class(request, full_url, headers, use_raw_body=True)

    @property
    def rekognition_backend(self) -> CollectionsBackend:
        return cast("CollectionsBackend", self._backends[self.current_account][self.region])

    @property
    def _backends(self) -> CollectionsBackends:
        return cast("CollectionsBackends", backends_in_place())

    def get_region_from_url(self, request: object, full_url: str) -> str:
        """moto knows the region of its own endpoints only."""
        found = _API_AWS_REGION.search(full_url)
        return found[1] if found else super().get_region_from_url(request, full_url)

    def call_action(self) -> _MotoAnswer:
        backends = self._backends
        target = self.headers.get("X-Amz-Target") or ""
        served = self.rekognition_backend.region_of(backends.mock)
        prefix, _, operation = target.partition(".")
        if prefix == _TARGET_PREFIX and operation in MOTO_ANSWERS - backends.own_answers:
            return self._answered_by_moto(served, target)
        return _as_moto(self._access_refused(served) or self._answered(served, target))

    def _answered_by_moto(self, served: MockedRegion, target: str) -> _MotoAnswer:
        refusal = served.refusal(target)
        if refusal is not None:
            return _as_moto(refusal)
        answer: _MotoAnswer = super().call_action()
        return answer

    def _answered(self, served: MockedRegion, target: str) -> ServiceAnswer:
        return served.handle(
            target, _bytes_of(self.raw_body), account=self.current_account, region=self.region
        )

    def _access_refused(self, served: MockedRegion) -> ServiceAnswer | None:
        """moto's IAM, which lets everything pass unless a test asks for more."""
        try:
            self._authenticate_and_authorize_normal_action()
        except HTTPException as error:
            code = getattr(error, "error_type", "AccessDeniedException")
            message = getattr(error, "message", None) or "moto's IAM refused the request."
            if code == "AccessDenied":  # the name in AWS's XML protocols
                code = "AccessDeniedException"
            return served.refuse(Fault(code, message))
        return None


def _as_moto(answer: ServiceAnswer) -> _MotoAnswer:
    return answer.status, dict(answer.headers), answer.body


def _bytes_of(body: object) -> bytes:
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else b""
