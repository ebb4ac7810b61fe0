"""The service without a transport: a target and a body in, a status, headers and a body out.

What carries the request (HTTP, a moto backend, a botocore hook) stays outside.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from rekadapter.errors import ConfigError, InvalidRequestError, RekadapterError
from rekadapter.recognizer import Recognizer
from rekadapter.rekognition_api import faults
from rekadapter.rekognition_api.codec import WireObject, decode_request, encode_answer
from rekadapter.rekognition_api.context import Context, S3Reader, ServiceSettings
from rekadapter.rekognition_api.faults import Fault, FaultError
from rekadapter.rekognition_api.idempotency import IdempotentAnswers
from rekadapter.rekognition_api.jobs.background import Works
from rekadapter.rekognition_api.model import OperationModel, load_model
from rekadapter.rekognition_api.namespaces import NamedRecognizer
from rekadapter.rekognition_api.operations import OPERATIONS
from rekadapter.rekognition_api.request import Request
from rekadapter.rekognition_api.tags import MemoryTags, Tags

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """One answer, ready for any transport."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class RekognitionService:
    """Rekognition's JSON 1.1 contract over a recognizer. Safe to call from several threads.

    The recognizer stays the caller's to close. ``answered`` remembers requests by their tokens;
    ``tags`` keeps those of collections, in memory unless told otherwise.

    ``background`` serves stored video and stream processors; it too is the caller's to close,
    before the recognizer.

    Raises:
        ConfigError: the recognizer's scores are not a similarity from 0 to 100, which is what
            Rekognition's clients take every score for.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        *,
        settings: ServiceSettings | None = None,
        s3: S3Reader | None = None,
        answered: IdempotentAnswers | None = None,
        background: Works | None = None,
        tags: Tags | None = None,
    ) -> None:
        _check_scale(recognizer)
        self._recognizer = recognizer
        self._model_version = recognizer.capabilities.model
        self._settings = settings or ServiceSettings()
        self._s3 = s3
        self._answered_before = answered or IdempotentAnswers()
        self._background = background
        self._tags = tags or MemoryTags()
        self._model = load_model(OPERATIONS)

    def handle(self, target: str, body: bytes, *, account: str, region: str) -> ServiceAnswer:
        """Answers one request; ``target`` is the ``X-Amz-Target`` header. Never raises.

        ``account`` and ``region`` are whose request it is: they show in ARNs, and with a ``home``
        in the settings they say which galleries there are.
        """
        request_id = str(uuid.uuid4())
        operation = self._operation(target)
        if isinstance(operation, Fault):
            return self._failed(operation, request_id)
        context = Context(
            recognizer=self._recognizer_of(account, region),
            model_version=self._model_version,
            settings=self._settings,
            account=account,
            region=region,
            s3=self._s3,
            answered=self._answered_before,
            background=self._background,
            tags=self._tags,
        )
        request = Request({})
        try:
            request = Request(decode_request(operation.takes, body))
            answer = OPERATIONS[operation.name](context, request)
            return self._answered(_encoded(operation, answer), request_id)
        except RekadapterError as error:
            return self._failed(self._fault(error, operation, request), request_id)
        except Exception:  # the border of the service: a client gets AWS's error, the log the cause
            logger.exception("%s failed (request %s)", operation.name, request_id)
            return self._failed(faults.internal(), request_id)

    def refuse(self, fault: Fault) -> ServiceAnswer:
        """The answer for a request that a transport turns away by itself."""
        return self._failed(fault, str(uuid.uuid4()))

    @property
    def works(self) -> Works | None:
        """Stored video and stream processors, for those who watch over the service."""
        return self._background

    @property
    def content_type(self) -> str:
        """Of requests and answers."""
        return self._model.content_type

    def _recognizer_of(self, account: str, region: str) -> Recognizer:
        home = self._settings.home
        if home is None:
            return self._recognizer
        return NamedRecognizer(self._recognizer, home.names_for(account, region))

    def _operation(self, target: str) -> OperationModel | Fault:
        prefix, _, name = target.partition(".")
        known = self._model.operations.get(name)
        if prefix != self._model.target_prefix or name not in self._model.names:
            return faults.unknown_operation("Rekognition has no such operation.")
        return known or faults.unknown_operation(f"{name} is not served here.")

    def _fault(self, error: RekadapterError, operation: OperationModel, request: Request) -> Fault:
        fault = faults.fault_of(
            error,
            collection=request.optional_text("CollectionId") or "",
            violation_code=self._settings.violation_code,
        )
        if isinstance(error, _BadAnswerError):  # an error of this program
            logger.error("%s failed", operation.name, exc_info=error)
        elif fault.status >= 500:
            logger.error("%s failed: %s", operation.name, error)
            logger.debug("%s failed", operation.name, exc_info=error)
        elif not isinstance(error, FaultError):
            logger.debug("%s refused: %s", operation.name, error)
        return fault

    def _answered(self, body: bytes, request_id: str) -> ServiceAnswer:
        return ServiceAnswer(200, self._headers(request_id), body)

    def _failed(self, fault: Fault, request_id: str) -> ServiceAnswer:
        headers = self._headers(request_id)
        if fault.retry_after_ms is not None:
            headers["x-amz-retry-after"] = str(fault.retry_after_ms)
        return ServiceAnswer(fault.status, headers, fault.body(request_id))

    def _headers(self, request_id: str) -> dict[str, str]:
        return {"Content-Type": self._model.content_type, "x-amzn-RequestId": request_id}


class _BadAnswerError(RekadapterError):
    """An operation's answer does not fit the model."""


def _encoded(operation: OperationModel, answer: WireObject) -> bytes:
    try:
        return encode_answer(operation.gives, answer)
    except InvalidRequestError as error:
        raise _BadAnswerError(f"{operation.name} has an answer Rekognition cannot give") from error


def _check_scale(recognizer: Recognizer) -> None:
    scale = recognizer.capabilities.score_scale
    if (scale.low, scale.high, scale.higher_is_closer) != (0, 100, True):
        raise ConfigError(
            f"backend '{recognizer.capabilities.backend}' scores on '{scale.name}' "
            f"({scale.low} to {scale.high}); Rekognition's Similarity is 0 to 100 with higher "
            "closer: serve a backend with such a scale"
        )
