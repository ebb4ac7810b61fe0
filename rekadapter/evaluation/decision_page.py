"""``report.html`` of an evaluation: a view of ``report.json``, one file that opens anywhere.

It refers to nothing outside itself, holds no script, and names beside each table and figure the key
of ``report.json`` that it shows. The same report gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rekadapter.evaluation.discard_results import DiscardResult
from rekadapter.evaluation.effort import duration_words
from rekadapter.evaluation.evaluation_plots import (
    CameraEyes,
    DetLine,
    DiscardLine,
    Mark,
    SizeLine,
    SweepLine,
    det_plot,
    discard_plot,
    size_plot,
    sweep_plot,
)
from rekadapter.evaluation.feed_results import AlertsResult
from rekadapter.evaluation.gates import GATES
from rekadapter.evaluation.one_to_one_results import ComparisonGroupResult
from rekadapter.evaluation.plots import COLORS
from rekadapter.evaluation.rates import percent, share
from rekadapter.evaluation.record import write_text
from rekadapter.evaluation.results import (
    AccuracyResult,
    EstimateResult,
    EvaluationReport,
    GroupResult,
    as_stored,
)
from rekadapter.evaluation.sweep_results import SweepCamera
from rekadapter.evaluation.wording import dollars, megabytes

PAGE_FILE: Final = "report.html"
_TEMPLATES: Final = "rekadapter.evaluation"
_MOST_CAMERAS_DRAWN: Final = 16
_MOST_BROUGHT_SHOWN: Final = 4
"""measures of quality, the first ones of the file, with figure and tables (about 40 kB each);
report.json has all"""


def write_page(directory: Path, report: EvaluationReport) -> Path:
    """Writes a report's page into its directory and returns the path."""
    return write_text(directory / PAGE_FILE, evaluation_html(as_stored(report)))


def evaluation_html(report: EvaluationReport) -> str:
    """The page of a report as text."""
    style = "\n".join(
        files(_TEMPLATES).joinpath(f"templates/{name}").read_text("utf-8")
        for name in ("report.css", "evaluation.css")
    )
    names = [system.id for system in report.systems]
    return (
        _environment()
        .get_template("evaluation.html")
        .render(
            r=report,
            style=Markup(style),  # noqa: S704  our own files, nothing of the evaluation in them
            colors=COLORS,
            places={name: place for place, name in enumerate(names)},
            gates=GATES,
            gate_titles=_GATE_TITLES,
            verdict_of={(one.gate, one.system): one for one in report.verdicts},
            alerts_of={(one.system, one.camera): one for one in _alerts(report)},
            det=_det(report, names),
            sizes=_sizes(report, names),
            sweep_plot=_sweep_plot(report, names),
            sweep_cameras=_drawn_cameras(report),
            discards=(discards := tuple(_discards(report, names))),
            discards_untold=_untold(report, discards),
            only_pairs=report.one_to_one is not None and report.one_to_one.only,
            comparison_det=_comparison_det(report, names),
            comparison_top=_comparison_top(report),
            missing=[field for field in report.governance if field.value is None],
            accuracy_top=_top(report.accuracy),
            prevalences=_prevalences(report),
            glossary=_GLOSSARY,
        )
    )


def _alerts(report: EvaluationReport) -> tuple[AlertsResult, ...]:
    return report.feeds.alerts if report.feeds else ()


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(_TEMPLATES, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.loopcontrols"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "share": share,
        "percent": percent,
        "implied": lambda rate: "over 99 %" if rate > 0.99 else percent(rate),
        "seen": lambda rate: percent(rate) if rate else "none seen",
        "whole": lambda count: f"{count:,}",
        "number": lambda value: f"{value:.4g}",
        "milliseconds": lambda value: f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms",
        "dollars": dollars,
        "bytes": megabytes,
        "kbits": lambda bits: f"{bits / 1000:,.0f} kbit/s",
        "days": _watched,
        "duration": duration_words,
        "bar": _bar,
        "sign": _SIGNS.__getitem__,
        "mark": lambda verdict: _MARKS[verdict],
        "group_top": lambda equity: _group_top(equity.per_group, ("fnir", "fpir")),
        "comparison_group_top": lambda equity: _group_top(equity.per_group, ("fnmr", "fmr")),
    }
    return environment


def _watched(days: float) -> str:
    """Camera-days in the unit that reads best."""
    hours = 24 * days
    if hours < 1:
        return f"{60 * hours:.2g} min"
    return f"{days:.2g} days" if days >= 1 else f"{hours:.2g} hours"


_SIGNS: Final[Mapping[str, str]] = {"pass": "✓", "fail": "✕", "not enough evidence": "?"}
_MARKS: Final[Mapping[str, str]] = {
    "pass": "passed",
    "fail": "failed",
    "not enough evidence": "open",
}
_GATE_TITLES: Final[Mapping[str, str]] = {
    "terms": "Law and terms",
    "cameras": "Cameras",
    "evidence": "Evidence",
    "accuracy": "Accuracy",
    "equity": "Equity",
    "operations": "Operations",
    "cost": "Cost",
}
_GLOSSARY: Final = (
    ("gallery", "the enrolled people that a face is searched among"),
    ("mated search", "a search of somebody who is in the gallery"),
    ("non-mated search", "a search of somebody who is not in the gallery"),
    ("FNIR, misses", "share of mated searches that do not find the person, failures included"),
    ("FPIR, false alerts", "share of non-mated searches that name somebody all the same"),
    ("FTE, FTX", "people who could not be enrolled; pictures that gave nothing to search with"),
    ("FMR, false matches", "share of pairs of two people that are taken for one (1:1)"),
    ("FNMR, misses 1:1", "share of pairs of one person that are taken for two, failures included"),
    ("threshold", "the score from which on a system alerts; each system has its own scale"),
    ("equal FPIR", "each system at its own threshold for the same share of false alerts"),
    ("rank k", "the right person is among the first k candidates that a person looks through"),
    ("interval", "a range that holds the true rate in 95 of 100 such tests"),
    ("worth", "searches of one person are alike; this is how many independent ones they equal"),
    ("not enough evidence", "the data can show neither that the rule is kept nor that it is not"),
    ("transit", "one person crossing the view of a camera once"),
)


# --- bars -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bar:
    """An interval on a scale, in percent of its width; ``point`` is the value, if there is one."""

    left: float
    width: float
    point: float | None


def _bar(estimate: EstimateResult, top: float) -> Bar | None:
    if estimate.ci is None or top <= 0:
        return None
    low, high = min(1.0, estimate.ci.lo / top), min(1.0, estimate.ci.hi / top)
    at = None if estimate.value is None else 100 * min(1.0, estimate.value / top)
    return Bar(round(100 * low, 2), round(max(0.5, 100 * (high - low)), 2), at and round(at, 2))


def _top(rows: Sequence[AccuracyResult]) -> dict[str, float]:
    """The right end of the bars of a table, for either rate."""
    return {
        name: max((e.ci.hi for row in rows if (e := getattr(row, name)).ci), default=1.0)
        for name in ("fnir", "fpir")
    }


def _prevalences(report: EvaluationReport) -> tuple[float, ...]:
    """The columns of the table of alerts, where any row has figures."""
    filled = (one.consequences for one in report.policy if one.consequences)
    return tuple(one.prevalence for one in next(filled, ()))


def _comparison_top(report: EvaluationReport) -> dict[str, float]:
    rows = report.one_to_one.accuracy if report.one_to_one else ()
    return {
        name: max((e.ci.hi for row in rows if (e := getattr(row, name)).ci), default=1.0)
        for name in ("fnmr", "fmr")
    }


def _group_top(
    groups: Sequence[GroupResult] | Sequence[ComparisonGroupResult], names: Sequence[str]
) -> dict[str, float]:
    tops = {}
    for name in names:
        found = [getattr(group, name) for group in groups]
        tops[name] = max((e.ci.hi for e in found if e is not None and e.ci), default=1.0)
    return tops


# --- figures ----------------------------------------------------------------------------------


def _det(report: EvaluationReport, names: Sequence[str]) -> Markup | None:
    lines = [
        DetLine(
            index=names.index(curve.system),
            points=tuple((fpir, fnir) for fpir, fnir, _ in curve.points),
            marks=tuple(
                Mark(row.fpir, row.fnir, row.basis != "equal_fpir", row.threshold)
                for row in report.accuracy
                if row.system == curve.system and (row.primary or row.basis != "equal_fpir")
            ),
        )
        for curve in report.det
    ]
    alt = "Misses against false alerts for each system; the table below gives the points."
    return _svg(det_plot(lines, key="det", alt=alt))


def _sweep_plot(report: EvaluationReport, names: Sequence[str]) -> Markup | None:
    section = report.sweep
    if section is None:
        return None
    streams = list(dict.fromkeys(one.stream for one in section.systems))
    lines = []
    for one in section.systems:
        index = names.index(one.system)
        points = ((point.eye_px, point.fnir) for point in one.points)
        lines.append(
            SweepLine(
                index=index,
                points=tuple((px, fnir) for px, fnir in points if px is not None),
                style=index if len(streams) == 1 else streams.index(one.stream),
            )
        )
    alt = "Misses against pixels between the eyes; the table below gives the points."
    eyes = [
        CameraEyes(one.eye_px_p10, one.eye_px_p50, one.eye_px_p90)
        for one in _drawn_cameras(report)
        if one.eye_px_p10 is not None and one.eye_px_p90 is not None
    ]
    return _svg(sweep_plot(lines, section.max_fnir, eyes, key="sweep", alt=alt))


def _drawn_cameras(report: EvaluationReport) -> tuple[SweepCamera, ...]:
    """Each camera of a sweep once, as many as a figure holds: a survey's before what the systems
    measured themselves."""
    cameras: dict[str, SweepCamera] = {}
    found = report.sweep.cameras if report.sweep else ()
    for one in sorted(found, key=lambda camera: camera.source != "survey"):
        if one.eye_px_p10 is not None and one.eye_px_p90 is not None:
            cameras.setdefault(one.id, one)
    return tuple(cameras.values())[:_MOST_CAMERAS_DRAWN]


@dataclass(frozen=True, slots=True)
class _Discard:
    """Every system by one measure of quality, and their figure; None for too few people."""

    measure: str
    source: str
    plot: Markup | None
    systems: tuple[DiscardResult, ...]


def _discards(report: EvaluationReport, names: Sequence[str]) -> Iterator[_Discard]:
    """By measure, the systems' own first; a file with dozens of measures shows its first ones."""
    measures = list(dict.fromkeys((one.measure, one.source) for one in report.discard))
    own = [one for one in measures if one[1] == "system"]
    brought = [one for one in measures if one[1] == "brought"]
    for number, (measure, source) in enumerate([*own, *brought[:_MOST_BROUGHT_SHOWN]]):
        rows = [one for one in report.discard if (one.measure, one.source) == (measure, source)]
        lines = [
            DiscardLine(
                names.index(one.system), tuple((100 * p.refused, p.fnir) for p in one.points)
            )
            for one in rows
        ]
        alt = "Misses of what is left against the share refused; the table below gives the points."
        plot = _svg(discard_plot(lines, key=f"discard-{number}", alt=alt))
        yield _Discard(measure, source, plot, tuple(rows))


def _untold(report: EvaluationReport, told: Sequence[_Discard]) -> tuple[DiscardResult, ...]:
    """What has no table on the page: a sentence each."""
    shown = [one for part in told for one in part.systems]
    return tuple(one for one in report.discard if one not in shown)


def _comparison_det(report: EvaluationReport, names: Sequence[str]) -> Markup | None:
    section = report.one_to_one
    if section is None:
        return None
    lines = [
        DetLine(
            index=names.index(curve.system),
            points=tuple((fmr, fnmr) for fmr, fnmr, _ in curve.points),
            marks=tuple(
                Mark(row.fmr, row.fnmr, row.basis == "shipped_default", row.threshold)
                for row in section.accuracy
                if row.system == curve.system and (row.primary or row.basis == "shipped_default")
            ),
        )
        for curve in section.det
    ]
    drawn = det_plot(
        lines,
        key="comparison-det",
        alt="Misses against false matches of comparisons; the table below gives the points.",
        false="false matches: FMR, % of pairs of two people",
        missed="misses: FNMR, % of pairs of one person",
    )
    return _svg(drawn)


def _sizes(report: EvaluationReport, names: Sequence[str]) -> Markup | None:
    lines = [
        SizeLine(
            index=names.index(effect.system),
            points=tuple(
                (point.gallery_size, mean, low, high, point.fpir_if_independent)
                for point in effect.points
                for mean, low, high in [point.fpir]
                if mean is not None and low is not None and high is not None
            ),
        )
        for effect in report.gallery_size
    ]
    alt = "False alerts at a quarter, half and all of the gallery; the table below gives them."
    return _svg(size_plot(lines, key="sizes", alt=alt))


def _svg(drawing: str | None) -> Markup | None:
    return None if drawing is None else Markup(drawing)  # noqa: S704  our own drawing, fixed words
