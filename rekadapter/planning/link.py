"""How many cameras an uplink carries, and at what price: arithmetic, every assumption an argument.

Three ways to use the same cameras are held against each other: whole frames, a crop of every face
in every look, and the best shots of each person. Nothing here is measured; what the figures rest on
is measured elsewhere (``measure``, ``survey``) or given by the user.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rekadapter.errors import UsageError

JSON_EXPANSION: Final = 4 / 3
"""Images travel as base64 inside JSON: 4 bytes for 3."""

REQUEST_OVERHEAD_BYTES: Final = 1_150
"""Headers with a signature, JSON around the image, TLS records and the acknowledging of answers:
measured on loopback at 900 to 1200 bytes a SearchFacesByImage, kept alive."""

_SECONDS_PER_HOUR: Final = 3600.0
_DAYS_PER_MONTH: Final = 30.4


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one camera sees. ``seconds_in_view``: how long a person is seen with a face worth
    sending. Hours of ``hours_per_day`` are busy like this; the others are empty."""

    people_per_hour: float
    seconds_in_view: float = 4.0
    hours_per_day: float = 12.0


@dataclass(frozen=True, slots=True)
class Sending:
    """What sending costs. ``shot_bytes`` and ``frame_bytes`` are JPEGs as they are on disk;
    ``shots_per_person`` counts the re-asked too; ``frames_per_second`` is for whole frames and
    crops of every look."""

    shot_bytes: float = 5_000.0
    shots_per_person: float = 2.0
    frame_bytes: float = 250_000.0
    frames_per_second: float = 1.0
    faces_per_frame: float = 1.0


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """The question: so many cameras of such traffic on an uplink of so many bytes a second, of
    which ``use_share`` may be used on average. ``price`` gives USD for so many searches a month,
    None where it is not known."""

    cameras: int
    traffic: Traffic
    sending: Sending
    uplink_bytes_per_second: float | None
    price: Callable[[int], float | None]
    remote: bool = True
    use_share: float = 0.8

    def __post_init__(self) -> None:
        figures = (
            self.cameras,
            self.traffic.people_per_hour,
            self.sending.shot_bytes,
            self.sending.frames_per_second,
        )
        if not all(math.isfinite(figure) and figure >= 0 for figure in figures):
            raise UsageError("cameras, people, bytes and rates are numbers that are not negative")
        if not (0 < self.traffic.hours_per_day <= 24 and 0 < self.use_share < 1):
            raise UsageError("hours a day lie within 0 and 24, the share in use within 0 and 1")


@dataclass(frozen=True, slots=True)
class LinkRow:
    """One way to use the cameras, in its busy hours.

    ``cameras_on_link`` is how many the uplink carries, None without bound. ``wait_seconds`` is the
    mean wait for the uplink with the cameras asked for (M/D/1: arrivals at random, uploads of one
    size; Pollaczek and Khinchine), None where they do not fit: the queue would grow without end.
    ``monthly_usd`` is None where the price is not known, as of the hardware on a site.
    """

    mode: str
    bits_per_second_a_camera: float
    cameras_on_link: int | None
    fits: bool
    wait_seconds: float | None
    searches_per_month: int
    monthly_usd: float | None
    lost: str


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """The answer, a row for each way, and what it assumes in words."""

    cameras: int
    uplink_bytes_per_second: float | None
    rows: tuple[LinkRow, ...]
    assumptions: tuple[str, ...]


def wire_bytes(jpeg_bytes: float) -> float:
    """What a request with a JPEG of so many bytes puts on the wire, upwards."""
    return jpeg_bytes * JSON_EXPANSION + REQUEST_OVERHEAD_BYTES


def plan_link(request: LinkRequest) -> LinkPlan:
    """See ``LinkRequest`` and ``LinkRow``."""
    if not request.remote:
        rows: tuple[LinkRow, ...] = (_here(),)
    else:
        rows = (_frames(request), _crops(request), _tracks(request))
    return LinkPlan(
        request.cameras, request.uplink_bytes_per_second, rows, tuple(_assumptions(request))
    )


@dataclass(frozen=True, slots=True)
class _Demand:
    """Of one camera in a busy hour. ``whole_frame_bytes`` is the DetectFaces image, sent whole."""

    uploads_per_second: float
    upload_bytes: float
    searches_per_second: float

    @property
    def bytes_per_second(self) -> float:
        return self.uploads_per_second * self.upload_bytes


def _frames(request: LinkRequest) -> LinkRow:
    sending = request.sending
    # DetectFaces with the whole frame, then a search with a crop of each face
    faces = _faces_in_view(request)
    upload = wire_bytes(sending.frame_bytes) + faces * wire_bytes(sending.shot_bytes)
    rate = sending.frames_per_second
    demand = _Demand(rate, upload, rate * (1 + faces))
    lost = f"what happens between frames, {1 / rate:.1f} s apart" if rate else "everything"
    return _row("frame", request, demand, lost)


def _crops(request: LinkRequest) -> LinkRow:
    sending = request.sending
    rate = sending.frames_per_second * _faces_in_view(request)
    demand = _Demand(rate, wire_bytes(sending.shot_bytes), rate)
    return _row("crop", request, demand, "faces below the floor of the gate")


def _tracks(request: LinkRequest) -> LinkRow:
    sending = request.sending
    rate = request.traffic.people_per_hour * sending.shots_per_person / _SECONDS_PER_HOUR
    demand = _Demand(rate, wire_bytes(sending.shot_bytes), rate)
    lost = "faces below the floor of the gate; all but the best shots of a person"
    return _row("track", request, demand, lost)


def _here() -> LinkRow:
    lost = "nothing to the uplink; how many cameras depends on the machine"
    return LinkRow(
        mode="on this machine",
        bits_per_second_a_camera=0.0,
        cameras_on_link=None,
        fits=True,
        wait_seconds=0.0,
        searches_per_month=0,
        monthly_usd=None,
        lost=lost,
    )


def _faces_in_view(request: LinkRequest) -> float:
    """People with a face worth sending at a moment, on average (Little: rate times stay)."""
    traffic = request.traffic
    return traffic.people_per_hour * traffic.seconds_in_view / _SECONDS_PER_HOUR


def _row(mode: str, request: LinkRequest, demand: _Demand, lost: str) -> LinkRow:
    link, each = request.uplink_bytes_per_second, demand.bytes_per_second
    on_link = None if link is None or each == 0 else math.floor(request.use_share * link / each)
    fits = on_link is None or on_link >= request.cameras
    busy = _SECONDS_PER_HOUR * request.traffic.hours_per_day * _DAYS_PER_MONTH
    searches = math.ceil(request.cameras * demand.searches_per_second * busy)
    return LinkRow(
        mode=mode,
        bits_per_second_a_camera=8 * each,
        cameras_on_link=on_link,
        fits=fits,
        wait_seconds=_wait(request, demand) if fits else None,
        searches_per_month=searches,
        monthly_usd=request.price(searches),
        lost=lost if fits else f"{lost}; and what the link cannot carry",
    )


def _wait(request: LinkRequest, demand: _Demand) -> float:
    if request.uplink_bytes_per_second is None:
        return 0.0
    service = demand.upload_bytes / request.uplink_bytes_per_second
    load = request.cameras * demand.uploads_per_second * service
    return load * service / (2 * (1 - load))


def _assumptions(request: LinkRequest) -> list[str]:
    if not request.remote:
        return ["the hardware on the site, its power and its upkeep are not priced"]
    traffic, sending = request.traffic, request.sending
    return [
        f"{traffic.people_per_hour:,.0f} people an hour and camera, {traffic.hours_per_day:g} "
        f"hours a day, each {traffic.seconds_in_view:.1f} s in view with a face worth sending",
        f"track: {sending.shots_per_person:.1f} shots a person of {sending.shot_bytes:,.0f} bytes "
        "before base64 (+33 %) and headers",
        f"frame and crop: {sending.frames_per_second:g} looks a second; a whole frame has "
        f"{sending.frame_bytes:,.0f} bytes and is one DetectFaces, then a search a face",
        f"{100 * request.use_share:.0f} % of the link is used on average; the rest is for people "
        "who come at once",
        "prices are list prices of requests alone: storage, taxes and network are not in them",
    ]
