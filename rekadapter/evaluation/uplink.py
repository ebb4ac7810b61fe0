"""The uplink over a run: the rate against the budget, and how old a frame was when it was answered.

Everything is read from the ledger and the observations. A request's bytes count evenly from its
start to its answer, its waits included, as its body is paced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rekadapter.errors import ConfigError
from rekadapter.evaluation.plots import (
    QUIET,
    Series,
    color_of,
    drawing,
    embeddable,
    latency_curves,
    plot_axes,
    style_of,
)
from rekadapter.evaluation.summary import percentile
from rekadapter.observation import LedgerEntry, Observation, Run
from rekadapter.types import CameraId
from rekadapter.uplink.bucket import parse_rate

_MOST_BINS: Final = 300


@dataclass(frozen=True, slots=True)
class RateOverTime:
    """Bits a second of each backend, one value for each ``bin_seconds`` from the first request on;
    ``ceiling`` is the budget of all together, None where there was none."""

    bin_seconds: float
    backends: Mapping[str, tuple[float, ...]]
    ceiling: float | None

    @property
    def highest_window(self) -> float:
        """The most bits a second over any 10 s, all backends together; over the whole time, if that
        was less."""
        total = np.sum(list(self.backends.values()), axis=0)
        width = min(len(total), max(1, round(10.0 / self.bin_seconds)))
        sums = np.convolve(total, np.ones(width), mode="valid") / width
        return float(sums.max(initial=0.0))


@dataclass(frozen=True, slots=True)
class FrameAge:
    """How old frames of one backend were when they were answered."""

    backend: str
    frames: int
    p50_seconds: float
    p95_seconds: float


@dataclass(frozen=True, slots=True)
class UplinkSection:
    """What the report shows; the plots are SVG text, None where there is nothing to show. ``late``
    are those of ``ages`` that waited on disk for the uplink."""

    rate: RateOverTime
    rate_plot: str | None
    ages: tuple[FrameAge, ...]
    late: tuple[FrameAge, ...]
    age_plot: str | None


def uplink_section(run: Run) -> UplinkSection | None:
    """The section, or None where no request was made for a camera."""
    entries = [entry for entry in run.ledger if entry.camera is not None]
    if not entries:
        return None
    names = [backend.name for backend in run.record.backends]
    rate = rate_over_time(entries, ceiling_of(run))
    ages = _ages(run.observations)
    late = _ages([seen for seen in run.observations if seen.late])
    series = [
        Series(place, tuple(1000 * age for age in ages[name]))
        for place, name in enumerate(names)
        if name in ages
    ]
    alt = "Share of frames whose answer came within so many milliseconds of the frame."
    return UplinkSection(
        rate=rate,
        rate_plot=_rate_plot(rate, names),
        ages=tuple(_age(name, ages[name]) for name in names if name in ages),
        late=tuple(_age(name, late[name]) for name in names if name in late),
        age_plot=latency_curves(series, key="frame-age", alt=alt),
    )


def rate_over_time(entries: Sequence[LedgerEntry], ceiling: float | None) -> RateOverTime:
    """The entries' bytes upwards over time; at least one entry is needed."""
    first = min(entry.request.started_at for entry in entries)
    last = max(_span(entry, first)[1] for entry in entries)
    bin_seconds = max(1.0, last / _MOST_BINS)
    bins = int(last / bin_seconds) + 1
    backends: dict[str, NDArray[np.float64]] = {}
    for entry in entries:
        totals = backends.setdefault(entry.request.backend, np.zeros(bins))
        start, end = _span(entry, first)
        totals += entry.request.bytes_sent * _shares(start, end, bin_seconds, bins)
    return RateOverTime(
        bin_seconds,
        {name: tuple((8 * sums / bin_seconds).tolist()) for name, sums in backends.items()},
        ceiling,
    )


def _span(entry: LedgerEntry, first: datetime) -> tuple[float, float]:
    request = entry.request
    start = (request.started_at - first).total_seconds()
    return start, start + request.wait_seconds + request.latency_seconds


def _shares(start: float, end: float, bin_seconds: float, bins: int) -> NDArray[np.float64]:
    """Which share of the time from ``start`` to ``end`` lies in each bin; they sum to 1."""
    length = max(end - start, 1e-6)
    edges = np.arange(bins + 1) * bin_seconds
    edges[-1] = np.inf  # the last bin takes what a float's last digit would put behind it
    inside = np.clip(edges, start, start + length)
    shares: NDArray[np.float64] = np.diff(inside) / length
    return shares


def ceiling_of(run: Run) -> float | None:
    """The stated cap in bits a second; None without one, or where it moves by the hour."""
    stated = run.record.settings.get("uplink")
    if not isinstance(stated, str):
        return None
    try:
        return 8 * parse_rate(stated)
    except ConfigError:  # a schedule by the hour, or a run directory of another origin
        return None


def _ages(observations: Sequence[Observation]) -> dict[str, tuple[float, ...]]:
    """Seconds by backend, each answered frame once, in the order of camera and frame."""
    oldest: dict[tuple[str, CameraId, int], float] = {}
    for seen in observations:
        if seen.age_seconds is not None and seen.error is None:
            key = (seen.backend, seen.camera, seen.frame)
            oldest[key] = max(oldest.get(key, 0.0), seen.age_seconds)
    found: dict[str, list[float]] = {}
    for (backend, _, _), age in sorted(oldest.items()):
        found.setdefault(backend, []).append(age)
    return {backend: tuple(ages) for backend, ages in found.items()}


def _age(backend: str, seconds: Sequence[float]) -> FrameAge:
    median, slow = percentile(seconds, 50), percentile(seconds, 95)
    assert median is not None, "only backends with ages are asked for"  # noqa: S101  see caller
    assert slow is not None, "likewise"  # noqa: S101  see caller
    return FrameAge(backend, len(seconds), median, slow)


def _rate_plot(rate: RateOverTime, names: Sequence[str]) -> str:
    with drawing("uplink-rate") as figure:
        axes = plot_axes(figure, "seconds since the first request", "kbit/s upwards")
        for name, values in rate.backends.items():
            place = names.index(name) if name in names else len(names)
            edges = np.arange(len(values) + 1) * rate.bin_seconds
            kbits = np.asarray(values) / 1000
            axes.stairs(kbits, edges, color=color_of(place), linestyle=style_of(place))
            axes.stairs(kbits, edges, color=color_of(place), fill=True, alpha=0.15)
        if rate.ceiling is not None:
            axes.axhline(rate.ceiling / 1000, color=QUIET, linestyle=(0, (4, 3)), linewidth=1.2)
            axes.set_ylim(0, max(1.12 * rate.ceiling / 1000, axes.get_ylim()[1]))
        else:
            axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        return embeddable(figure, "Bits a second sent over the time of the run, and the budget.")
