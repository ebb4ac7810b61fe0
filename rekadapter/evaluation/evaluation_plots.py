"""Figures of an evaluation's page: DET, gallery size, sweep, quality. Same data, same bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rekadapter.evaluation.plots import (
    FAINT,
    INK,
    QUIET,
    color_of,
    drawing,
    embeddable,
    plot_axes,
    style_of,
)
from rekadapter.evaluation.results import EstimateResult
from rekadapter.evaluation.statistics import Evidence

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOWEST: Final = 1e-5
_LARGE: Final = (6.4, 4.6)
_CAMERA_INCHES: Final = 0.22


@dataclass(frozen=True, slots=True)
class Mark:
    """An operating point on a DET: at equal FPIR (a disk) or at a default (a diamond). Of
    comparisons the rates are FMR and FNMR."""

    fpir: EstimateResult
    fnir: EstimateResult
    default: bool
    threshold: float | None


@dataclass(frozen=True, slots=True)
class DetLine:
    """One system's curve as (fpir, fnir) pairs; ``index`` gives its color and line."""

    index: int
    points: tuple[tuple[float, float], ...]
    marks: tuple[Mark, ...]


def det_plot(
    lines: Sequence[DetLine],
    *,
    key: str,
    alt: str,
    false: str = "false alerts: FPIR, % of searches",
    missed: str = "misses: FNIR, % of searches",
) -> str | None:
    """Misses against false alerts, both axes logarithmic; None where no curve may be shown.

    ``false`` and ``missed`` name the axes.

    Points where a rate is 0 have no place on a logarithmic axis and are left out.
    """
    shown = [line for line in lines if _positive(line.points)]
    if not shown:
        return None
    with drawing(key) as figure:
        figure.set_size_inches(*_LARGE)
        axes = plot_axes(figure, false, missed)
        axes.set_position((0.11, 0.12, 0.865, 0.85))
        axes.set_xscale("log")
        axes.set_yscale("log")
        for line in shown:
            points = _positive(line.points)
            axes.plot(
                [100 * x for x, _ in points],
                [100 * y for _, y in points],
                color=color_of(line.index),
                linestyle=style_of(line.index),
                linewidth=2.0,
            )
            for mark in line.marks:
                _mark(axes, mark, color_of(line.index))
        _percent_ticks(axes)
        axes.grid(visible=True, color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        return embeddable(figure, alt)


def _positive(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if x > _LOWEST and y > _LOWEST]


def _mark(axes: Axes, mark: Mark, color: str) -> None:
    x, y = mark.fpir.value, mark.fnir.value
    if not x or not y:
        return
    for estimate, along in ((mark.fpir, "x"), (mark.fnir, "y")):
        if estimate.ci is None:
            continue
        ends = [100 * max(estimate.ci.lo, _LOWEST), 100 * estimate.ci.hi]
        place = (ends, [100 * y] * 2) if along == "x" else ([100 * x] * 2, ends)
        axes.plot(*place, color=color, linewidth=1.1, alpha=0.8)
    shape, size, inside = ("D", 8.0, "white") if mark.default else ("o", 7.0, color)
    axes.plot(
        [100 * x], [100 * y], shape, color=inside, markeredgecolor=color, markersize=size,
        markeredgewidth=1.8,
    )  # fmt: skip
    if mark.default and mark.threshold is not None:
        axes.annotate(
            f"{mark.threshold:g}",
            (100 * x, 100 * y),
            textcoords="offset points",
            xytext=(8, 6),
            fontsize=9,
            color=color,
        )


def _percent_ticks(axes: Axes) -> None:
    ticks = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100]
    for axis, limits in (
        (axes.xaxis, axes.get_xlim()),
        (axes.yaxis, axes.get_ylim()),
    ):
        low, high = max(limits[0], 100 * _LOWEST), min(limits[1], 105.0)
        inside = [tick for tick in ticks if low <= tick <= high]
        axis.set_ticks(inside, [f"{tick:g}" for tick in inside])
        axis.set_ticks([], minor=True)
        (axes.set_xlim if axis is axes.xaxis else axes.set_ylim)(low, high)


@dataclass(frozen=True, slots=True)
class SizeLine:
    """FPIR of one system by gallery size: (size, mean, lowest, highest, if independent)."""

    index: int
    points: tuple[tuple[int, float, float, float, float | None], ...]


def size_plot(lines: Sequence[SizeLine], *, key: str, alt: str) -> str | None:
    """FPIR against the size of the gallery, with the extrapolation from independence dotted."""
    shown = [line for line in lines if len(line.points) > 1]
    if not shown:
        return None
    with drawing(key) as figure:
        axes = plot_axes(figure, "people in the gallery", "FPIR, %")
        for line in shown:
            sizes = [size for size, *_ in line.points]
            color = color_of(line.index)
            axes.plot(
                sizes, [100 * p[1] for p in line.points], color=color, linewidth=1.8,
                linestyle=style_of(line.index), marker="o", markersize=4,
            )  # fmt: skip
            axes.fill_between(
                sizes, [100 * p[2] for p in line.points], [100 * p[3] for p in line.points],
                color=color, alpha=0.15, linewidth=0,
            )  # fmt: skip
            known = [(p[0], 100 * p[4]) for p in line.points if p[4] is not None]
            axes.plot([x for x, _ in known], [y for _, y in known], ":", color=QUIET, linewidth=1.2)
        axes.set_xlim(0, None)
        axes.set_ylim(0, None)
        return embeddable(figure, alt)


@dataclass(frozen=True, slots=True)
class SweepLine:
    """Misses of one system by pixels between the eyes; ``style`` numbers the stream that coded the
    pictures, and is that of the system where there is but one."""

    index: int
    points: tuple[tuple[float, EstimateResult], ...]
    style: int


@dataclass(frozen=True, slots=True)
class CameraEyes:
    """Pixels between the eyes on one camera: 80 % of its faces are between ``p10`` and ``p90``."""

    p10: float
    p50: float
    p90: float


def sweep_plot(
    lines: Sequence[SweepLine],
    limit: float,
    cameras: Sequence[CameraEyes] = (),
    *,
    key: str,
    alt: str,
) -> str | None:
    """FNIR against pixels between the eyes, with intervals and the limit; None where no rate may be
    shown. A size without a miss stands at its bound, as a triangle. What ``cameras`` give stands
    below, on the same axis, numbered."""
    shown = [line for line in lines if any(_place(estimate) for _, estimate in line.points)]
    if not shown:
        return None
    strip = _CAMERA_INCHES * len(cameras)
    width, height = _LARGE
    with drawing(key) as figure:
        figure.set_size_inches(width, height + strip)
        axes = plot_axes(figure, "pixels between the eyes (log scale)", "misses: FNIR, %")
        bottom, top = (0.12 * height + strip) / (height + strip), 0.97
        axes.set_position((0.11, bottom, 0.865, top - bottom))
        axes.set_xscale("log")
        axes.axhline(100 * limit, color=QUIET, linewidth=1.0)
        for line in shown:
            _estimates(axes, line, lambda x, index: x * (1 + 0.012 * index))
        sizes = sorted({size for line in shown for size, _ in line.points})
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
        axes.set_xticks([], minor=True)
        axes.set_ylim(0, None)
        axes.grid(visible=True, axis="y", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        if cameras:
            below = figure.add_axes((0.11, 0.0, 0.865, strip / (height + strip)))
            _cameras(axes, below, cameras)
        return embeddable(figure, alt)


def _cameras(axes: Axes, below: Axes, cameras: Sequence[CameraEyes]) -> None:
    """A bar for each camera under the curves, numbered from 1, its median as a mark."""
    low, high = axes.get_xlim()
    low = min(low, *(one.p10 / 1.1 for one in cameras))
    high = max(high, *(one.p90 * 1.1 for one in cameras))
    axes.set_xlim(low, high)
    below.set_xscale("log")
    below.set_xlim(low, high)
    below.set_ylim(len(cameras), 0)
    below.set_axis_off()
    for row, one in enumerate(cameras):
        middle = row + 0.5
        below.plot([one.p10, one.p90], [middle] * 2, color=FAINT, linewidth=5.0)
        below.plot([one.p50], [middle], "|", color=INK, markersize=9, markeredgewidth=2.0)
        place = below.get_yaxis_transform()
        below.text(-0.02, middle, f"{row + 1}", transform=place, ha="right", va="center")


def _estimates(
    axes: Axes, line: SweepLine | DiscardLine, nudged: Callable[[float, int], float]
) -> None:
    """A system's rates as a line, ``nudged`` so that intervals stand side by side; a triangle is a
    bound."""
    color = color_of(line.index)
    placed = [
        (nudged(x, line.index + line.style), estimate, place)
        for x, estimate in line.points
        if (place := _place(estimate)) is not None
    ]
    axes.plot(
        [x for x, _, _ in placed],
        [100 * place for _, _, place in placed],
        color=color,
        linestyle=style_of(line.style),
        linewidth=1.8,
    )
    for x, estimate, place in placed:
        if estimate.ci is not None:
            ends = [100 * estimate.ci.lo, 100 * estimate.ci.hi]
            axes.plot([x] * 2, ends, color=color, linewidth=1.1, alpha=0.8)
        marker = "o" if estimate.value is not None else "v"
        axes.plot([x], [100 * place], marker, color=color, markersize=5.5)


def _place(estimate: EstimateResult) -> float | None:
    """Where a rate stands: its value, or where there was no error the bound that enough people
    support."""
    if estimate.value is not None:
        return estimate.value
    enough = estimate.people >= Evidence().min_people
    return estimate.ci.hi if estimate.errors == 0 and estimate.ci and enough else None


@dataclass(frozen=True, slots=True)
class DiscardLine:
    """Misses of one system among what is left, by the share of pictures refused, in percent."""

    index: int
    points: tuple[tuple[float, EstimateResult], ...]

    @property
    def style(self) -> int:
        return self.index


def discard_plot(lines: Sequence[DiscardLine], *, key: str, alt: str) -> str | None:
    """FNIR of what is left against the share refused, with intervals; None where no rate may be
    shown."""
    shown = [line for line in lines if any(_place(estimate) for _, estimate in line.points)]
    if not shown:
        return None
    with drawing(key) as figure:
        axes = plot_axes(figure, "worst pictures refused, %", "misses: FNIR, %")
        for line in shown:
            _estimates(axes, line, lambda x, index: x + 0.35 * index)
        axes.set_ylim(0, None)
        axes.grid(visible=True, axis="y", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        return embeddable(figure, alt)
