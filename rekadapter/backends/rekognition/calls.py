"""One call to AWS: limited, paced, retried, counted, and logged exactly once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from rekadapter.backends.rekognition.errors import (
    REKOGNITION,
    Service,
    outcome_of,
    request_id_of,
    retry_hint_seconds,
    says_no_face,
    status_of,
    translate,
)
from rekadapter.backends.rekognition.limits import RequestLimiter
from rekadapter.backends.rekognition.prices import PriceList
from rekadapter.backends.rekognition.retry import Effort, RetryPolicy
from rekadapter.backends.rekognition.wire import Exchange, SignatureTooOld, Wire
from rekadapter.errors import (
    ConnectionFailedError,
    RekadapterError,
    ThrottledError,
    UnexpectedAnswerError,
)
from rekadapter.recognizer import NoPriceCap, PriceBudget, RequestLog, RequestRecord
from rekadapter.types import VendorAnswer

_ATTEMPTS_TO_FIND_THE_ENDPOINT: Final = 3
"""An endpoint that has never answered is more likely a wrong setting than a short outage."""

_ONCE: Final = frozenset({"CreateCollection", "DeleteCollection"})
"""Repeated only when AWS says it did nothing: a repetition would report a gallery it made or
deleted itself as somebody else's doing."""

_UNREADABLE: Final = (
    ResponseParserError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    OverflowError,
)
"""What botocore's parser raises for an answer that is not Rekognition's."""

_ALWAYS_THERE: Final[Mapping[str, tuple[str, ...]]] = {
    "AssociateFaces": ("UserStatus",),
    "CompareFaces": ("SourceImageFace", "FaceMatches"),
    "CreateCollection": ("FaceModelVersion",),
    "CreateUser": (),
    "DeleteCollection": ("StatusCode",),
    "DeleteFaces": ("DeletedFaces",),
    "DeleteObject": (),
    "DeleteUser": (),
    "DescribeCollection": ("FaceCount", "FaceModelVersion"),
    "DetectFaces": ("FaceDetails",),
    "DisassociateFaces": ("UserStatus",),
    "GetFaceDetection": ("JobStatus",),
    "GetFaceSearch": ("JobStatus",),
    "IndexFaces": ("FaceRecords",),
    "ListCollections": ("CollectionIds",),
    "ListFaces": ("Faces",),
    "ListUsers": ("Users",),
    "PutObject": ("ETag",),
    "SearchFaces": ("FaceMatches",),
    "SearchFacesByImage": ("FaceMatches",),
    "SearchUsers": ("UserMatches",),
    "SearchUsersByImage": ("UserMatches",),
    "StartFaceDetection": ("JobId",),
    "StartFaceSearch": ("JobId",),
}
"""Members without which an answer is none. botocore takes an empty body, and text that is not JSON,
for an answer without members; taken as it comes, that would read as "nobody matched"."""

_MEASURES: Final = ("tcp_info", "socket", "computed")


@dataclass(frozen=True, slots=True)
class Answer:
    """AWS's answer, parsed, and its own text."""

    data: Mapping[str, Any]
    original: VendorAnswer


@dataclass(frozen=True, slots=True)
class NoFace:
    """AWS found no face in the image: a value, not an error."""

    original: VendorAnswer


@dataclass(frozen=True, slots=True)
class Request:
    """An operation with its parameters, and what it is about, for messages."""

    operation: str
    parameters: Mapping[str, Any]
    about: str


@dataclass(frozen=True, slots=True)
class Account:
    """Who is asked and who keeps the books."""

    backend: str
    region: str
    prices: PriceList
    request_log: RequestLog
    price_budget: PriceBudget = field(default_factory=NoPriceCap)
    service: Service = REKOGNITION

    def price_usd(self, operation: str) -> float | None:
        """The price of one ``operation`` here, before any discount; None where it is not known."""
        price = self.prices.price_of(operation, self.region)
        return None if price is None else price.first_usd


@dataclass(slots=True)
class Tally:
    """What all attempts of one call have used, and ``maybe_done``: whether the service may have
    done what was asked, also where its answer got lost."""

    effort: Effort = field(default_factory=Effort)
    latency_seconds: float = 0.0
    bytes_sent: int = 0
    bytes_received: int = 0
    measure: str = _MEASURES[0]
    billed: int = 0
    maybe_done: bool = False
    request_id: str | None = None

    def done(self) -> None:
        """An attempt that was carried out, as far as one can know."""
        self.billed += 1
        self.maybe_done = True

    def lost(self, exchange: Exchange) -> None:
        """An attempt without an answer: all of it sent, the service may have done its work."""
        if exchange.complete:
            self.done()

    def add(self, exchange: Exchange, seconds: float) -> None:
        wire = exchange.measured()
        self.bytes_sent += wire.sent
        self.bytes_received += wire.received
        self.measure = max(self.measure, wire.measure, key=_MEASURES.index)
        self.effort.exempt_seconds += exchange.pacer_wait
        self.latency_seconds += max(0.0, seconds - exchange.pacer_wait)


class Caller:
    """Makes calls with one client; safe to use from several threads."""

    def __init__(
        self,
        client: Any,  # noqa: ANN401 - boto3 makes client classes at run time
        account: Account,
        *,
        wire: Wire,
        limiter: RequestLimiter,
        retry: RetryPolicy,
    ) -> None:
        self._client = client
        self._account = account
        self._wire = wire
        self._limiter = limiter
        self._retry = retry
        self._reached = False
        self._methods: dict[str, Callable[..., dict[str, Any]]] = {
            operation: getattr(client, method)
            for method, operation in client.meta.method_to_api_mapping.items()
        }

    def close(self) -> None:
        self._client.close()

    def call(self, request: Request, tally: Tally | None = None, *, paced: bool = True) -> Answer:
        """The answer to a request that has no image, or where no face is an answer like others.

        ``tally`` is filled for the caller to look at; what is not ``paced`` is counted and does not
        wait for the uplink.

        Raises:
            BackendError: and the other errors of ``ERROR_TABLE``.
        """
        answer = self.ask(request, tally, paced=paced)
        if isinstance(answer, NoFace):
            raise UnexpectedAnswerError(
                f"{request.about}: {request.operation} answered that an image has no face, "
                f"which it should not: {self._account.service.doubt}"
            )
        return answer

    def ask(
        self, request: Request, tally: Tally | None = None, *, paced: bool = True
    ) -> Answer | NoFace:
        """The answer, or that the image has no face.

        Raises:
            BackendError: and the other errors of ``ERROR_TABLE``.
        """
        started_at = datetime.now(UTC)
        tally = Tally() if tally is None else tally
        outcome = "interrupted"
        try:
            answer = self._retry.run(
                lambda: self._attempt(request, tally, paced=paced),
                tally.effort,
                may_retry=lambda error: self._may_retry(request, error, tally.effort),
                hint_seconds=retry_hint_seconds,
            )
            outcome = "no_face" if isinstance(answer, NoFace) else "ok"
        except RekadapterError as error:
            outcome = outcome_of(error)
            raise
        finally:
            self._account.request_log.record(self._record(request, started_at, tally, outcome))
        return answer

    def _attempt(self, request: Request, tally: Tally, *, paced: bool) -> Answer | NoFace:
        price, billed = self._account.price_usd(request.operation), tally.billed
        taken = self._account.price_budget.reserve(price)
        try:
            tally.effort.attempts += 1
            tally.effort.exempt_seconds += self._limiter.wait(request.operation)
            with self._wire.exchange(paced=paced) as exchange:
                started = time.perf_counter()
                try:
                    return self._sent(request, exchange, tally)
                finally:
                    tally.add(exchange, time.perf_counter() - started)
        finally:
            taken.settle(None if price is None else price * (tally.billed - billed))

    def _sent(self, request: Request, exchange: Exchange, tally: Tally) -> Answer | NoFace:
        service = self._account.service
        try:
            data = self._invoke(request)
        except ClientError as error:
            self._reached = True
            # a service that fails may have got as far as doing it
            tally.maybe_done = tally.maybe_done or status_of(error) >= 500
            tally.request_id = request_id_of(error)
            if says_no_face(error):
                tally.billed += 1
                return NoFace(_vendor_answer(request, tally.request_id, exchange, error.response))
            raise translate(error, request.operation, request.about, service) from error
        except _UNREADABLE as error:
            if not exchange.answered:
                raise  # no answer came: the fault is ours, and shall be seen
            tally.done()
            raise UnexpectedAnswerError(
                f"{request.about}: the answer to {request.operation} cannot be read: {error}; "
                f"{service.doubt}"
            ) from error
        except BotoCoreError as error:
            tally.lost(exchange)
            raise translate(error, request.operation, request.about, service) from error
        except ConnectionFailedError:
            tally.done()
            raise
        self._reached = True
        tally.done()
        missing = [name for name in _ALWAYS_THERE[request.operation] if name not in data]
        if missing:
            raise UnexpectedAnswerError(
                f"{request.about}: the answer to {request.operation} lacks {', '.join(missing)}: "
                f"{service.doubt}"
            )
        tally.request_id = data.get("ResponseMetadata", {}).get("RequestId")
        return Answer(data, _vendor_answer(request, tally.request_id, exchange, data))

    def _invoke(self, request: Request) -> dict[str, Any]:
        method = self._methods[request.operation]
        try:
            return method(**request.parameters)
        except SignatureTooOld:
            return method(**request.parameters)

    def _may_retry(self, request: Request, error: RekadapterError, effort: Effort) -> bool:
        if request.operation in _ONCE and not isinstance(error, ThrottledError):
            return False
        if isinstance(error, ConnectionFailedError) and not self._reached:
            return effort.attempts < _ATTEMPTS_TO_FIND_THE_ENDPOINT
        return error.retryable

    def _record(
        self, request: Request, started_at: datetime, tally: Tally, outcome: str
    ) -> RequestRecord:
        price = self._account.price_usd(request.operation)
        return RequestRecord(
            backend=self._account.backend,
            operation=request.operation,
            started_at=started_at,
            bytes_sent=tally.bytes_sent,
            bytes_received=tally.bytes_received,
            wire_measure=tally.measure,
            wait_seconds=tally.effort.exempt_seconds + tally.effort.backoff_seconds,
            latency_seconds=tally.latency_seconds,
            attempts=tally.effort.attempts,
            outcome=outcome,
            request_id=tally.request_id,
            price_usd=None if price is None else price * tally.billed,
        )


@contextmanager
def understanding(answer: Answer) -> Iterator[Mapping[str, Any]]:
    """The answer's members; one that is missing or of another form is an error, not a default.

    Raises:
        UnexpectedAnswerError: the block could not make sense of the answer.
    """
    try:
        yield answer.data
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        original = answer.original
        raise UnexpectedAnswerError(
            f"the answer to {original.operation} (request {original.request_id}) lacks something "
            f"or has another form: {error!r}. Is endpoint_url Rekognition's?"
        ) from error


def _vendor_answer(
    request: Request, request_id: str | None, exchange: Exchange, data: Mapping[str, Any]
) -> VendorAnswer:
    text = _text_of(exchange.body)
    if text is None:
        kept = {key: value for key, value in data.items() if key != "ResponseMetadata"}
        text = json.dumps(kept, default=str)
    return VendorAnswer(request.operation, request_id, text)


def _text_of(body: bytes | None) -> str | None:
    """AWS's own text where it is JSON by its first letter; the parser has judged the rest."""
    if body is None or not body.startswith(b"{"):
        return None
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None
