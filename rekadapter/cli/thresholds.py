"""The threshold in force of a backend: given by hand, out of a report, or the shipped default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

from rekadapter.cli.modes import mode_of
from rekadapter.cli.output import remark
from rekadapter.config import BackendSettings, ThresholdReport
from rekadapter.errors import UsageError
from rekadapter.evaluation.threshold_report import (
    Purpose,
    SystemInUse,
    measured_threshold,
    read_threshold_report,
)
from rekadapter.evaluation.threshold_use import ThresholdUse, Work, warnings_of
from rekadapter.observation import ThresholdOrigin
from rekadapter.recognizer import Capabilities, Recognizer
from rekadapter.types import ComparisonScore, GalleryId

BY_HAND = ThresholdOrigin("given by hand", "given by hand")


@dataclass(frozen=True, slots=True)
class ThresholdInForce:
    """A threshold on the backend's own scale, and where it comes from."""

    score: ComparisonScore
    origin: ThresholdOrigin


@dataclass(frozen=True, slots=True)
class ThresholdRequest:
    """What a command needs thresholds for, and what its flags say of them.

    ``values`` are those of ``--threshold``, ``reports`` of ``--threshold-from``, each for all
    backends or as ``BACKEND=VALUE``; ``target`` picks another row of the reports. ``modes`` are
    those of a run. ``today`` is what a report's age is counted to; None: the clock's day.
    """

    work: Work
    gallery: GalleryId | None = None
    modes: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    reports: tuple[str, ...] = ()
    target: float | None = None
    accept_larger_gallery: bool = False
    today: date | None = None

    @classmethod
    def of(
        cls,
        work: Work,
        values: Sequence[str] | None,
        reports: Sequence[str] | None,
        target: float | None = None,
        accept_larger_gallery: bool = False,
    ) -> ThresholdRequest:
        """A request of flags as typer gives them."""
        return cls(
            work,
            values=tuple(values or ()),
            reports=tuple(reports or ()),
            target=target,
            accept_larger_gallery=accept_larger_gallery,
        )

    def refuse_useless(self, used: Sequence[BackendSettings]) -> None:
        """A flag that changes nothing would be left out silently.

        Raises:
            UsageError: a flag names a backend that is not in use, or speaks of a report where no
                backend takes its threshold from one.
        """
        names = [one.name for one in used]
        refuse_unknown_names("--threshold", self.values, names)
        refuse_unknown_names("--threshold-from", self.reports, names)
        about_a_report = self.target is not None or self.accept_larger_gallery
        if about_a_report and not self.reports and not any(one.threshold_report for one in used):
            raise UsageError(
                "--target-... and --accept-larger-gallery speak of a report that a threshold comes "
                "from: give --threshold-from"
            )

    def in_force(self, chosen: BackendSettings, recognizer: Recognizer) -> ThresholdInForce:
        """A flag wins over the settings, and those over the shipped default. A report that gives no
        threshold is an error, never a reason for the default.

        Raises:
            UsageError: no number, off the scale, two flags that contradict each other.
            ThresholdReportError: the report gives no threshold for this use.
        """
        values = [text for name, text in map(_of_backend, self.values) if name in {"", chosen.name}]
        report = self._report(chosen)
        if values and report is not None:
            raise UsageError(
                f"--threshold and --threshold-from are both given for {chosen.name}: keep one"
            )
        if values:
            return by_hand(chosen.name, _number(values[-1]), recognizer.capabilities)
        if report is None and chosen.threshold_report is not None:
            report = replace(
                chosen.threshold_report,
                accept_larger_gallery=self.accept_larger_gallery
                or chosen.threshold_report.accept_larger_gallery,
            )
        if report is not None:
            return self._measured(chosen, recognizer, report)
        return without_report(chosen, recognizer.capabilities)

    def _report(self, chosen: BackendSettings) -> ThresholdReport | None:
        """The report that a flag names for a backend."""
        pairs = map(_of_backend, self.reports)
        paths = [text for name, text in pairs if name in {"", chosen.name}]
        if not paths:
            return None
        return ThresholdReport(Path(paths[-1]), accept_larger_gallery=self.accept_larger_gallery)

    def _measured(
        self, chosen: BackendSettings, recognizer: Recognizer, report: ThresholdReport
    ) -> ThresholdInForce:
        capabilities = recognizer.capabilities
        given = read_threshold_report(report.path)
        use = ThresholdUse(
            work=self.work,
            mode=self._mode(chosen.name, capabilities),
            accept_larger_gallery=report.accept_larger_gallery,
        )
        target = report.target_fmr if use.purpose is Purpose.COMPARE else report.target_fpir
        system = SystemInUse(chosen.name, chosen.type, capabilities)
        found = measured_threshold(given, system, use.purpose, self.target or target)
        if self.gallery is not None:
            use = replace(use, gallery=recognizer.describe_gallery(self.gallery))
        today = self.today or datetime.now(UTC).date()
        warnings = tuple(warnings_of(given, found, use, today))
        for warning in warnings:
            remark(f"warning: the threshold of {chosen.name}: {warning}")
        origin = ThresholdOrigin("measured", found.words, found.measured, warnings)
        return ThresholdInForce(capabilities.threshold(found.value), origin)

    def _mode(self, name: str, capabilities: Capabilities) -> str | None:
        if self.work != "feeds":
            return None
        return str(mode_of(name, self.modes, remote=capabilities.remote))


def without_report(chosen: BackendSettings, capabilities: Capabilities) -> ThresholdInForce:
    """The settings' threshold, else the shipped default.

    Raises:
        UsageError: the settings' threshold is off the scale.
    """
    if chosen.threshold is not None:
        return by_hand(chosen.name, chosen.threshold, capabilities)
    return ThresholdInForce(capabilities.default_threshold, shipped(capabilities))


def by_hand(name: str, value: float, capabilities: Capabilities) -> ThresholdInForce:
    """A number that somebody gave, on the backend's own scale.

    Raises:
        UsageError: it is off the scale.
    """
    scale = capabilities.score_scale
    if not scale.low <= value <= scale.high:
        raise UsageError(
            f"a threshold for {name} lies between {scale.low:g} and {scale.high:g} "
            f"({scale.name}), not {value:g}"
        )
    return ThresholdInForce(capabilities.threshold(value), BY_HAND)


def shipped(capabilities: Capabilities) -> ThresholdOrigin:
    """What is to be said of a shipped default."""
    whose = capabilities.details.get("threshold_origin")
    default = f"shipped default ({whose})" if whose else "shipped default"
    return ThresholdOrigin("shipped default", f"{default}, measured on nobody of yours")


def origin_of(threshold: ComparisonScore, capabilities: Capabilities) -> ThresholdOrigin:
    """Where a threshold comes from that was not asked for by name: the default, or some hand."""
    return shipped(capabilities) if threshold == capabilities.default_threshold else BY_HAND


def refuse_unknown_names(option: str, flags: Sequence[str], names: Sequence[str]) -> None:
    """``BACKEND=VALUE`` has to name a backend in use: a misspelt one would be left out silently.

    Raises:
        UsageError: it does not.
    """
    for flag in flags:
        name, equals, _ = flag.partition("=")
        if equals and name not in names:
            raise UsageError(
                f"{option} {flag}: no backend '{name}' is used here, only {', '.join(names)}"
            )


def _of_backend(flag: str) -> tuple[str, str]:
    """The backend that ``BACKEND=VALUE`` names, "" where it is for all, and the value."""
    name, equals, value = flag.partition("=")  # a path may hold another
    return (name, value) if equals else ("", flag)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is not a threshold: give a number or BACKEND=NUMBER") from error
