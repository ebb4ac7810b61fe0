"""Identification against bytes as an SVG: the same measurement gives the same bytes."""

from __future__ import annotations

from collections.abc import Sequence

from rekadapter.evaluation.plots import (
    color_of,
    drawing,
    embeddable,
    plain_log_axis,
    plot_axes,
    style_of,
)
from rekadapter.planning.measuring import MeasuredCell, Measurement

_MOST_LINES = 6


def bytes_plot(measurement: Measurement) -> str | None:
    """A line for each JPEG quality, a point for each eye distance; None of no measurement."""
    qualities = sorted({cell.quality for cell in measurement.cells})[-_MOST_LINES:]
    if not qualities:
        return None
    alt = "Share of faces identified against the bytes of their picture, a line a JPEG quality."
    with drawing("identification-against-bytes") as figure:
        axes = plot_axes(figure, "bytes of the JPEG (median, log scale)", "identified, %")
        for place, quality in enumerate(qualities):
            cells = _line(measurement.cells, quality)
            axes.plot(
                [cell.median_bytes for cell in cells],
                [100 * cell.rate for cell in cells],
                color=color_of(place),
                linestyle=style_of(place),
                marker="o",
                markersize=3.5,
                label=f"quality {quality}",
            )
        axes.set_xscale("log")
        plain_log_axis(axes)
        axes.set_ylim(0, 103)
        axes.legend(fontsize=8, frameon=False, loc="lower right")
        return embeddable(figure, alt)


def _line(cells: Sequence[MeasuredCell], quality: int) -> list[MeasuredCell]:
    return sorted((cell for cell in cells if cell.quality == quality), key=lambda cell: cell.eye_px)
