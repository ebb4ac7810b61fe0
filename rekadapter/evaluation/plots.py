"""Plots as SVG text to be put inline in a page: the same data give the same bytes.

All words in a plot are fixed English; names that a user chose stand in the page around it. Text
stays text, so that a screen reader and a search find it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rekadapter.evaluation.summary import EYE_LINES_PX

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7A5C00", "#56B4E9")
"""One a backend, in order: after Okabe and Ito, told apart with any color vision; every series has
its own line style too, for print without color."""

_STYLES: Final = ("-", "--", "-.", ":")
INK: Final = "#2b3440"
QUIET: Final = "#56616d"
FAINT: Final = "#c9d1d9"
_SIZE_INCHES: Final = (5.4, 2.7)
_MOST_POINTS: Final = 120
_LOG_FROM_RATIO: Final = 10.0
_SECONDS_FROM_MS: Final = 10_000.0
_WIDEST_EYES_PX: Final = 160.0
_STYLE: Final = {
    "svg.fonttype": "none",
    "font.size": 10.0,
    "font.family": ["sans-serif"],
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "path.simplify": True,
}


@dataclass(frozen=True, slots=True)
class Series:
    """Values of one backend; ``index`` is its place in the run, which gives it its color."""

    index: int
    values: tuple[float, ...]

    @property
    def color(self) -> str:
        return color_of(self.index)

    @property
    def style(self) -> str:
        return style_of(self.index)


def color_of(index: int) -> str:
    """The color of the backend at ``index`` in the run."""
    return COLORS[index % len(COLORS)]


def style_of(index: int) -> str:
    """The line style of the backend at ``index`` in the run."""
    return _STYLES[index % len(_STYLES)]


def eye_distance_histogram(series: Sequence[Series], *, key: str, alt: str) -> str | None:
    """Shares of faces by pixels between the eyes, with the proposed lines; None of no faces.

    ``key`` has to differ between the plots of one page; ``alt`` says in words what it shows.
    """
    shown = [one for one in series if one.values]
    if not shown:
        return None
    largest = max(max(one.values) for one in shown)
    right = 80.0 if largest <= 80 else _WIDEST_EYES_PX
    edges = np.linspace(0, right, 41)
    beyond = f" ({right:.0f} and more in the last bar)" if largest > right else ""
    with drawing(key) as figure:
        axes = plot_axes(figure, f"pixels between the eyes{beyond}", "share of faces, %")
        for one in shown:
            counts, _ = np.histogram(np.minimum(one.values, right), bins=edges)
            share = 100 * counts / len(one.values)
            axes.stairs(share, edges, color=one.color, linestyle=one.style, linewidth=1.8)
            axes.stairs(share, edges, color=one.color, fill=True, alpha=0.15)
        axes.set_xlim(0, right)
        axes.set_ylim(0, 1.12 * axes.get_ylim()[1])
        _bands(axes, right)
        return embeddable(figure, alt)


def latency_curves(series: Sequence[Series], *, key: str, alt: str) -> str | None:
    """Share of frames answered within so many milliseconds, or seconds where it took long; None of
    no frames."""
    shown = [one for one in series if one.values]
    if not shown:
        return None
    unit_ms, unit = (1000.0, "seconds") if _are_long(shown) else (1.0, "milliseconds")
    low = max(min(min(one.values) for one in shown) / unit_ms, 1e-3)
    high = max(max(one.values) for one in shown) / unit_ms
    logarithmic = high > _LOG_FROM_RATIO * low
    scale = " (log scale)" if logarithmic else ""
    with drawing(key) as figure:
        axes = plot_axes(figure, f"{unit} until the answer{scale}", "share of frames, %")
        for one in shown:
            ordered = np.maximum(np.sort(one.values) / unit_ms, 1e-3)
            share = 100 * np.arange(1, len(ordered) + 1) / len(ordered)
            keep = np.unique(
                np.linspace(0, len(ordered) - 1, min(len(ordered), _MOST_POINTS))
                .round()
                .astype(int)
            )
            axes.step(
                np.concatenate([ordered[:1], ordered[keep]]),
                np.concatenate([[0.0], share[keep]]),
                where="post",
                color=one.color,
                linestyle=one.style,
                linewidth=1.8,
            )
        if logarithmic:
            axes.set_xscale("log")
            plain_log_axis(axes)
        else:
            axes.set_xlim(0, 1.05 * max(high, 1e-3))
        axes.set_ylim(0, 103)
        for percent in (50, 95):
            axes.axhline(percent, color=FAINT, linewidth=0.8, zorder=0)
        return embeddable(figure, alt)


def _are_long(series: Sequence[Series]) -> bool:
    """Whether milliseconds would be hard to read."""
    return max(max(one.values) for one in series) >= _SECONDS_FROM_MS


# --- drawing ----------------------------------------------------------------------------------


@contextmanager
def drawing(key: str) -> Iterator[Figure]:
    """An empty figure in the style of every page; ``key`` differs between the plots of one page."""
    import matplotlib as mpl  # noqa: PLC0415  takes half a second that no other command should pay
    from matplotlib.figure import Figure  # noqa: PLC0415

    settings: Any = {**_STYLE, "svg.hashsalt": key}
    with mpl.rc_context():
        mpl.rcdefaults()  # a matplotlibrc of the machine or the working directory has no say here
        mpl.rcParams.update(settings)
        yield Figure(figsize=_SIZE_INCHES)


def plot_axes(figure: Figure, x_label: str, y_label: str) -> Axes:
    """The one pair of axes of a figure."""
    axes = figure.add_axes((0.115, 0.19, 0.865, 0.76))
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.tick_params(length=3, labelsize=9)
    return axes


def _bands(axes: Axes, right: float) -> None:
    """The lines of ``EYE_LINES_PX`` and what lies between them."""
    names = ("unfit", "investigation", "usable, verify", "good")
    bounds = (0.0, *EYE_LINES_PX, right)
    for name, low, high in zip(names, bounds, bounds[1:], strict=False):
        if high - low > 0.12 * right:
            place = axes.get_xaxis_transform()
            label = axes.text((low + high) / 2, 0.99, name, transform=place, ha="center", va="top")
            label.set(fontsize=8, color=QUIET)
    for line in EYE_LINES_PX:
        axes.axvline(line, color=QUIET, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
    axes.axvspan(0, EYE_LINES_PX[0], color="#f3e9e4", linewidth=0, zorder=-1)
    axes.set_xticks([0, *EYE_LINES_PX, *range(80, int(right) + 1, 40)])


def plain_log_axis(axes: Axes) -> None:
    """Ticks as plain numbers at 1, 2 and 5 times powers of ten, inside what is shown."""
    low, high = axes.get_xlim()
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks = [m * 10.0**p for p in powers for m in (1, 2, 5) if low <= m * 10.0**p <= high]
    if len(ticks) > 8:
        ticks = [10.0**p for p in powers if low <= 10.0**p <= high]
    axes.set_xticks(ticks, [f"{tick:,.10g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(low, high)


def embeddable(figure: Figure, alt: str) -> str:
    """The figure as an ``<svg>`` element that scales with its page and refers to nothing outside.

    Names of parts that nothing refers to are removed: they would repeat from plot to plot.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<(metadata|style)\b.*?</\1>\s*", "", text, flags=re.DOTALL)
    opening = text[: text.index(">") + 1]
    view = re.search(r'viewBox="[^"]+"', opening)
    assert view is not None, "matplotlib's SVG has a viewBox"  # noqa: S101  its contract, not ours
    label = alt.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    text = f'<svg {view[0]} role="img" aria-label="{label}">' + text[len(opening) :]
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in used else "", text)
    text = re.sub(r"<[^>]*>", lambda m: _shortened(m[0]), text)  # not the words between
    return re.sub(r"\s*\n\s*", "\n", text).strip()


def _shortened(tag: str) -> str:
    """A tag with its coordinates to two decimals."""
    return re.sub(r"\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}", tag)
