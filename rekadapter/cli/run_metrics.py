"""``GET /metrics`` of a run, for Prometheus: the numbers of the live table, and the link's.

It is there as long as the run. It names cameras and backends, never a person or a gallery.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rekadapter.cli.meter import Flow, Meter
from rekadapter.errors import UsageError
from rekadapter.progress import LaneStatus
from rekadapter.rekognition_api.exposition import CONTENT_TYPE, Exposition
from rekadapter.rekognition_api.server import ServiceServer, is_loopback
from rekadapter.uplink.pacer import UplinkState
from rekadapter.uplink.spool import SPOOLED

_ADDRESS: Final = re.compile(r"(?:(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])?:)?(?P<port>\d{1,5})")
_FORMAT: Final = Exposition("rekadapter_run_")

Status = Callable[[], tuple[LaneStatus, ...]]

_OF_A_LANE: Final[tuple[tuple[str, str, str, Callable[[LaneStatus], int]], ...]] = (
    ("frames_captured_total", "counter", "Frames seen.", lambda lane: lane.captured),
    ("frames_gated_total", "counter", "Looked at, nothing to ask.", lambda lane: lane.gated),
    ("frames_processed_total", "counter", "Answered and written.", lambda lane: lane.processed),
    ("frames_queued", "gauge", "Waiting to be asked about.", lambda lane: lane.queued),
    ("frames_asked", "gauge", "Being asked about.", lambda lane: lane.asked),
    (
        "frames_spooled",
        "gauge",
        "On disk till the uplink is back.",
        lambda lane: lane.dropped.get(SPOOLED, 0),
    ),
)


@dataclass(frozen=True, slots=True)
class MetricsAddress:
    """Where metrics are served; ``open_to_others`` allows an address that others reach."""

    host: str
    port: int
    open_to_others: bool = False

    @classmethod
    def parse(cls, text: str, *, open_to_others: bool = False) -> MetricsAddress:
        """``9100``, ``127.0.0.1:9100`` or ``[::1]:9100``; port 0 takes a free one.

        Raises:
            UsageError: none of these, or an address that others reach without being allowed to.
        """
        found = _ADDRESS.fullmatch(text.strip())
        if found is None or int(found["port"]) > 65_535:
            raise UsageError(f"--metrics {text}: write HOST:PORT, such as 127.0.0.1:9100")
        host = (found["host"] or "127.0.0.1").strip("[]")
        if not open_to_others and not is_loopback(host):
            raise UsageError(
                f"--metrics {text}: whoever reaches {host} could read the cameras' names and how "
                "busy they are; serve on 127.0.0.1, or allow it by --metrics-open"
            )
        return cls(host, int(found["port"]), open_to_others)


class RunMetrics:
    """Writes what a run has come to; safe to use from any thread."""

    def __init__(self, meter: Meter, uplink: Callable[[], UplinkState] | None) -> None:
        self._meter = meter
        self._uplink = uplink
        self._status: Status = tuple

    def watch(self, status: Status) -> None:
        """From now on the frames are counted too."""
        self._status = status

    def text(self) -> str:
        """Everything, for a scrape."""
        flows = self._meter.flows()
        lines = [*_frames(self._status()), *_requests(flows), *_prices(flows)]
        if self._uplink is not None:
            lines += _link(self._uplink())
        return "\n".join(lines) + "\n"


@contextmanager
def served(metrics: RunMetrics, address: MetricsAddress) -> Iterator[str]:
    """Serves ``metrics`` while the block runs, from a thread that ends with it; gives the URL.

    Raises:
        ConfigError: the address cannot be served on, for instance because the port is in use.
    """

    async def scrape(_: Request) -> Response:
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    app = Starlette(routes=[Route("/metrics", scrape, methods=["GET"])])
    insecure = address.open_to_others
    with ServiceServer(app, host=address.host, port=address.port, insecure=insecure) as server:
        yield f"{server.url}/metrics"


# --- what it says -----------------------------------------------------------------------------


def _frames(lanes: Iterable[LaneStatus]) -> Iterator[str]:
    seen = tuple(lanes)
    for name, kind, text, value in _OF_A_LANE:
        yield from _FORMAT.header(name, kind, text)
        yield from (_FORMAT.sample(name, _labels(lane), value(lane)) for lane in seen)
    yield from _FORMAT.header("frames_dropped_total", "counter", "Frames lost, by cause.")
    for lane in seen:
        for cause, count in sorted(lane.dropped.items()):
            if cause != SPOOLED:  # which goes down again, and a counter may not
                labels = {**_labels(lane), "cause": cause}
                yield _FORMAT.sample("frames_dropped_total", labels, count)


def _labels(one: LaneStatus | Flow) -> dict[str, str]:
    """Galleries and set-up belong to no camera: its name is empty."""
    return {"camera": one.camera or "", "backend": one.backend}


def _requests(flows: Iterable[Flow]) -> Iterator[str]:
    seen = tuple(flows)
    name = "requests_total"
    yield from _FORMAT.header(name, "counter", "Requests, by operation and outcome.")
    for flow in seen:
        for (operation, outcome), count in sorted(flow.requests.items()):
            labels = {**_labels(flow), "operation": operation, "outcome": outcome}
            yield _FORMAT.sample(name, labels, count)
    yield from _FORMAT.header("sent_bytes_total", "counter", "Bytes sent over the uplink.")
    yield from (_FORMAT.sample("sent_bytes_total", _labels(one), one.sent_bytes) for one in seen)
    yield from _FORMAT.header("received_bytes_total", "counter", "Bytes of answers.")
    yield from (
        _FORMAT.sample("received_bytes_total", _labels(one), one.received_bytes) for one in seen
    )
    yield from _FORMAT.header("round_trip_seconds", "gauge", "An attempt, averaged, waits apart.")
    for one in seen:
        if one.round_trip_seconds is not None:
            yield _FORMAT.sample("round_trip_seconds", _labels(one), one.round_trip_seconds)


def _prices(flows: Iterable[Flow]) -> Iterator[str]:
    seen = tuple(flows)
    yield from _FORMAT.header("price_usd_total", "counter", "What requests of known price cost.")
    yield from (
        _FORMAT.sample("price_usd_total", _labels(one), round(one.price_usd, 9)) for one in seen
    )
    yield from _FORMAT.header("unpriced_requests_total", "counter", "Those of unknown price.")
    yield from (
        _FORMAT.sample("unpriced_requests_total", _labels(one), one.unpriced) for one in seen
    )


def _link(state: UplinkState) -> Iterator[str]:
    """Without a ceiling the budget is infinite."""
    for name, kind, text, value in (
        ("uplink_rate_bytes_per_second", "gauge", "What may be sent now.", state.rate),
        ("uplink_ceiling_bytes_per_second", "gauge", "The budget.", state.ceiling),
        ("uplink_in_flight_bytes", "gauge", "Sent, no news of them yet.", state.in_flight),
        ("uplink_sent_bytes_total", "counter", "Let through since the start.", max(0, state.sent)),
        ("uplink_reachable", "gauge", "0 while nothing gets through.", int(state.reachable)),
    ):
        yield from _FORMAT.header(name, kind, text)
        yield _FORMAT.sample(name, {}, value if math.isinf(value) else round(value, 3))
