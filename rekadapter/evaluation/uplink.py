"""The uplink over a run: the rate against the budget, bytes by camera, and how old a frame was when
it was answered.

Everything is read from the ledger and the observations. A request's bytes count evenly from its
start to its answer, its waits included, as its body is paced.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Final

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
from rekadapter.evaluation.uplink_cameras import CameraBars, camera_bars, frame_ages
from rekadapter.observation import LedgerEntry, Observation, Run
from rekadapter.uplink.bucket import parse_rate
from rekadapter.uplink.schedule import Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_BINS: Final = 300
_WINDOW_SECONDS: Final = 10.0
"""What a budget is held over."""
_MINUTES_FROM_SECONDS: Final = 600.0
_HOURS_FROM_SECONDS: Final = 7200.0


@dataclass(frozen=True, slots=True)
class RateOverTime:
    """Bits a second of each backend, one value for each ``bin_seconds`` from the first request on;
    ``ceiling`` is the budget of all together, None where there was none. ``began`` is when the
    first request was made."""

    bin_seconds: float
    backends: Mapping[str, tuple[float, ...]]
    ceiling: float | None
    began: datetime

    @property
    def highest_window(self) -> float:
        """The most bits a second over any 10 s, all backends together; over the whole time, if that
        was less."""
        total = np.sum(list(self.backends.values()), axis=0)
        width = min(len(total), max(1, round(_WINDOW_SECONDS / self.bin_seconds)))
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
    are those of ``ages`` that waited on disk for the uplink. ``budget`` says in words what was
    allowed."""

    rate: RateOverTime
    budget: str
    rate_plot: str | None
    ages: tuple[FrameAge, ...]
    late: tuple[FrameAge, ...]
    age_plot: str | None
    cameras: CameraBars


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
        budget=_budget_words(run),
        rate_plot=_rate_plot(rate, names, budget_over_time(run, rate)),
        ages=tuple(_age(name, ages[name]) for name in names if name in ages),
        late=tuple(_age(name, late[name]) for name in names if name in late),
        age_plot=latency_curves(series, key="frame-age", alt=alt),
        cameras=camera_bars(run),
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
        first,
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


def budget_over_time(run: Run, rate: RateOverTime) -> tuple[float, ...] | None:
    """The budget in bits a second, one value for each bin of ``rate``, infinite where only the link
    set a limit; None without one, or where nobody knows which hour it was at the cameras."""
    schedule, offset = _schedule(run), _local_offset(run)
    bins = max(map(len, rate.backends.values()))
    if schedule is None or (schedule.windows and offset is None):
        return None
    local = rate.began.astimezone(offset or UTC)
    width = timedelta(seconds=rate.bin_seconds)
    return tuple(8 * schedule.ceiling_at((local + n * width).time()) for n in range(bins))


def _schedule(run: Run) -> Schedule | None:
    stated = run.record.settings.get("uplink")
    if not isinstance(stated, str):
        return None
    try:
        return Schedule.parse(stated)
    except ConfigError:  # a run directory of another origin
        return None


def _local_offset(run: Run) -> tzinfo | None:
    try:
        return datetime.strptime(run.record.host.get("utc_offset", ""), "%z").tzinfo
    except ValueError:  # a run of before that was written down
        return None


def _budget_words(run: Run) -> str:
    schedule, ceiling = _schedule(run), ceiling_of(run)
    if ceiling is not None:
        return f"The budget of all cameras together was {ceiling / 1000:,.0f} kbit/s."
    if schedule is None:
        return "No budget was set."
    if schedule.windows:
        stated = run.record.settings["uplink"]
        return f"The budget of all cameras together went by the hour: {stated}."
    return "No budget was set: what was sent followed the link."


def _ages(observations: Sequence[Observation]) -> dict[str, tuple[float, ...]]:
    """Seconds by backend, each answered frame once, in the order of camera and frame."""
    found: dict[str, tuple[float, ...]] = {}
    for (_, backend), ages in frame_ages(observations).items():
        found[backend] = (*found.get(backend, ()), *ages)
    return found


def _age(backend: str, seconds: Sequence[float]) -> FrameAge:
    median, slow = percentile(seconds, 50), percentile(seconds, 95)
    assert median is not None, "only backends with ages are asked for"  # noqa: S101  see caller
    assert slow is not None, "likewise"  # noqa: S101  see caller
    return FrameAge(backend, len(seconds), median, slow)


def _rate_plot(rate: RateOverTime, names: Sequence[str], budget: tuple[float, ...] | None) -> str:
    """The backends on top of each other: together they have to stay under the budget."""
    bins = max(map(len, rate.backends.values()))
    unit_seconds, unit = _time_unit(bins * rate.bin_seconds)
    edges = np.arange(bins + 1) * rate.bin_seconds / unit_seconds
    with drawing("uplink-rate") as figure:
        axes = plot_axes(figure, f"{unit} since the first request", "kbit/s upwards")
        below = np.zeros(bins)
        for place, name in _in_order(rate.backends, names):
            top = below + _over_ten_seconds(rate.backends[name], rate.bin_seconds) / 1000
            color = color_of(place)
            axes.stairs(top, edges, baseline=below, color=color, fill=True, alpha=0.25)
            axes.stairs(top, edges, color=color, linestyle=style_of(place))
            below = top
        highest = float(below.max(initial=0.0))
        if budget is not None:
            highest = max(highest, _draw_budget(axes, edges, budget))
        axes.set_position((0.135, 0.19, 0.845, 0.76))  # room for thousands
        axes.locator_params(axis="x", integer=True)
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.set_ylim(0, 1.15 * highest or 1.0)
        axes.set_xlim(0, edges[-1])
        return embeddable(figure, "Bits a second sent over the time of the run, and the budget.")


def _over_ten_seconds(bits: Sequence[float], bin_seconds: float) -> NDArray[np.float64]:
    """Averages over the ten seconds around each bin, or what there is of them at the ends: what a
    budget is held over."""
    half = int(_WINDOW_SECONDS / bin_seconds / 2)
    sums = np.concatenate([[0.0], np.cumsum(bits)])
    places = np.arange(len(bits))
    first, last = np.maximum(places - half, 0), np.minimum(places + half + 1, len(bits))
    means: NDArray[np.float64] = (sums[last] - sums[first]) / (last - first)
    return means


def _in_order(backends: Iterable[str], names: Sequence[str]) -> list[tuple[int, str]]:
    """With each backend's place in the run; what the run does not name comes last."""
    return sorted((names.index(one) if one in names else len(names), one) for one in backends)


def _time_unit(seconds: float) -> tuple[float, str]:
    if seconds > _HOURS_FROM_SECONDS:
        return 3600.0, "hours"
    return (60.0, "minutes") if seconds > _MINUTES_FROM_SECONDS else (1.0, "seconds")


def _draw_budget(axes: Axes, edges: NDArray[np.floating[Any]], budget: tuple[float, ...]) -> float:
    """A dashed line with its name, and gaps where there was no ceiling; returns its highest."""
    kbits = np.asarray(budget) / 1000
    known = np.where(np.isfinite(kbits), kbits, np.nan)
    if np.isnan(known).all():
        return 0.0
    line = np.append(known, known[-1])
    axes.step(edges, line, where="post", color=QUIET, linestyle=(0, (4, 3)), linewidth=1.2)
    last = int(np.flatnonzero(~np.isnan(known))[-1])
    label = axes.text(edges[last + 1], known[last], "budget", ha="right", va="bottom")
    label.set(fontsize=9, color=QUIET)
    label.set_bbox({"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.0})
    return float(np.nanmax(known))
