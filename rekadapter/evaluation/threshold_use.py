"""What of a use of a measured threshold was not measured: a larger gallery, another way of asking,
an old report.

Each is a sentence that goes to the user once and into what is recorded. Two are refusals: a gallery
of another model, and one of more than twice the size, where FPIR would be about twice what was
claimed. Governance asks for a new test there (``re_test.triggers``: "gallery x2"), and a run that
starts all the same is somebody's decision, which ``accept_larger_gallery`` records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal

from rekadapter.errors import ThresholdReportError
from rekadapter.evaluation.gallery_size import fmr_if_independent, fpir_if_independent
from rekadapter.evaluation.rates import percent
from rekadapter.evaluation.results import EvaluationReport
from rekadapter.evaluation.threshold_report import (
    GivenReport,
    Purpose,
    UsableThreshold,
    measured_on,
)
from rekadapter.types import GalleryDescription

MOST_TIMES: Final = 2.0
"""the size of a gallery over the measured one beyond which a threshold is refused; a proposal"""

Work = Literal["feeds", "photographs", "pairs", "video", "service"]
"""``feeds``: a run, which names tracks. ``photographs``: each searched on its own. ``pairs``: 1:1.
``video``: stored, searched by the service. ``service``: what other programs ask."""


@dataclass(frozen=True, slots=True)
class ThresholdUse:
    """What a threshold is to decide. ``mode``: how much of a frame a run sends. ``gallery`` is None
    where it is not known beforehand, or where there is none."""

    work: Work
    mode: str | None = None
    gallery: GalleryDescription | None = None
    accept_larger_gallery: bool = False

    @property
    def purpose(self) -> Purpose:
        """The threshold it needs."""
        return Purpose.COMPARE if self.work == "pairs" else Purpose.SEARCH


def warnings_of(
    given: GivenReport, chosen: UsableThreshold, use: ThresholdUse, today: date
) -> Iterator[str]:
    """What was not measured, a sentence each.

    Raises:
        ThresholdReportError: the gallery belongs to another model, or is more than twice as large
            and nobody accepted that.
    """
    report = given.report
    if not given.logged:
        yield "no audit log lies beside the report: nothing shows that it is as it was written"
    if report.data.missing_answers:
        yield f"the evaluation lacks {report.data.missing_answers:,} answers"
    yield from _beyond_target(chosen)
    yield from _model(given, chosen, use)
    yield from _larger(given, chosen, use)
    yield from _other_work(report, chosen, use)
    yield from _age(report, today)


def _beyond_target(chosen: UsableThreshold) -> Iterator[str]:
    one = chosen.measured
    if one.low > one.target:
        yield (
            f"on other people than it was chosen on its {one.metric} was above the target of "
            f"{percent(one.target)}: at least {percent(one.low)}"
        )


# --- the gallery ------------------------------------------------------------------------------


def _model(given: GivenReport, chosen: UsableThreshold, use: ThresholdUse) -> Iterator[str]:
    """A cloud's model has no name of its own: its galleries tell which they belong to."""
    measured, now = chosen.system.gallery_model, use.gallery
    if measured and now and measured != now.model:
        raise ThresholdReportError(
            f"{given.path} measured {chosen.system.id} with galleries of model {measured}, and "
            f"gallery '{now.gallery}' is one of model {now.model}: evaluate it with that model"
        )
    if chosen.system.kind == "cloud" and not (measured and now):
        yield "that the service uses the face model it was measured with is not known"


def _larger(given: GivenReport, chosen: UsableThreshold, use: ThresholdUse) -> Iterator[str]:
    """FPIR grows with every template a probe is compared with; a run on feeds does not say how many
    photographs were enrolled of a person, so one is assumed."""
    people, now = chosen.measured.gallery_size, use.gallery
    if people is None:
        return
    if now is None:
        if use.work == "service":
            yield f"how large the galleries are is not known; it was measured at N = {people:,}"
        return
    templates = max(people, given.report.data.gallery_photographs)
    if now.face_count <= templates:
        return
    words = (
        f"gallery '{now.gallery}' holds {now.face_count:,} faces and the threshold was measured "
        f"at {templates:,}: {_grown(chosen, templates, now.face_count)}"
    )
    if now.face_count > MOST_TIMES * templates and not use.accept_larger_gallery:
        raise ThresholdReportError(
            f"{words}. Beyond {MOST_TIMES:g} times the size it is refused: evaluate with as many "
            "enrolled, or take it all the same with --accept-larger-gallery"
        )
    yield words


def _grown(chosen: UsableThreshold, measured: int, now: int) -> str:
    """FPIR at another size, were a search so many independent comparisons."""
    one = chosen.measured

    def at(rate: float) -> str:
        return percent(fpir_if_independent(fmr_if_independent(rate, measured), now))

    if one.rate is None:
        return f"were comparisons independent, FPIR would be at most {at(one.high)} there"
    return (
        f"were comparisons independent, FPIR would be {at(one.rate)} there ({at(one.low)} to "
        f"{at(one.high)}), not {percent(one.rate)}"
    )


# --- how it is used ---------------------------------------------------------------------------


def _other_work(
    report: EvaluationReport, chosen: UsableThreshold, use: ThresholdUse
) -> Iterator[str]:
    if use.work == "pairs":
        return
    measured, mode = _measured_as(report), chosen.system.in_force and chosen.system.in_force.mode
    if use.work == "feeds" and report.feeds is not None:
        if mode is None:
            yield f"in which mode it was measured is not known; this run is in mode {use.mode}"
        elif mode != use.mode:
            yield f"it was measured in mode {mode}, and this run is in mode {use.mode}"
    elif use.work == "feeds":
        yield (
            f"it was measured on {measured}; this run names people who cross a view, on several "
            f"pictures (mode {use.mode}): how often it names somebody wrongly was not measured"
        )
    elif use.work == "video":
        yield f"it was measured on {measured}, and the service picks the frames of a stored video"
    elif report.feeds is not None or report.protocol.search_unit == "transit":
        yield f"it was measured on {measured}, and here every picture is searched on its own"


def _measured_as(report: EvaluationReport) -> str:
    if report.feeds is not None:
        return "people who cross a view, named on several pictures"
    if report.protocol.search_unit == "transit":
        return "the best score of each person over the photographs of a transit"
    return "photographs, each searched on its own"


# --- age --------------------------------------------------------------------------------------

_INTERVAL: Final = re.compile(r"(?:every |each )?(\d+)?\s*(day|week|month|year)s?", re.IGNORECASE)
_DAYS: Final = {"day": 1.0, "week": 7.0, "month": 365.25 / 12, "year": 365.25}
_WORDS: Final = {"daily": 1.0, "weekly": 7.0, "monthly": 365.25 / 12, "quarterly": 365.25 / 4,
                 "half-yearly": 365.25 / 2, "yearly": 365.25, "annually": 365.25}  # fmt: skip


def _age(report: EvaluationReport, today: date) -> Iterator[str]:
    """What governance says of the report's end, as far as it can be read as a date or a time."""
    fields = {field.key: field.value for field in report.governance}
    expiry, interval = fields.get("expiry"), fields.get("re_test.interval")
    if expiry:
        until = _date_of(expiry)
        if until is None:
            yield f"whether the report is still valid is not known: '{expiry}' is no date"
        elif today > until:
            yield f"the report was valid until {until}"
    if interval:
        yield from _overdue(interval, measured_on(report), today)


def _overdue(interval: str, measured: date | None, today: date) -> Iterator[str]:
    days = days_of(interval)
    if days is None or measured is None:
        yield f"whether it is time to measure again ('{interval}') is not known"
    elif (age := (today - measured).days) > days:
        yield f"it was measured {age:,} days ago, to be measured again: {interval}"


def _date_of(text: str) -> date | None:
    try:
        return datetime.fromisoformat(text.strip()).date()
    except ValueError:
        return None


def days_of(interval: str) -> float | None:
    """The days of an interval such as ``12 months``, ``every 90 days`` or ``yearly``; None of one
    that says it otherwise."""
    text = interval.strip().lower()
    found = _INTERVAL.fullmatch(text)
    if found is None:
        return _WORDS.get(text)
    return float(found[1] or 1) * _DAYS[found[2]]
