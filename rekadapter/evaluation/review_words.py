"""What reviewers made of a run, in sentences for the first page and the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rekadapter.evaluation.rates import percent
from rekadapter.evaluation.review_results import (
    PassedResult,
    ReviewedResult,
    ReviewErrorsResult,
    ReviewsResult,
)
from rekadapter.evaluation.wording import many


def review_sentences(reviews: ReviewsResult | None) -> Iterator[str]:
    """One sentence for each system whose names anybody decided on; two where the truth is known."""
    if reviews is None:
        return
    errors = {one.system: one for one in reviews.errors}
    for row in reviews.systems:
        if row.said == "name" and row.reviewed:
            yield _decided(row, reviews.min_reviewers)
            if row.system in errors:
                yield _left(errors[row.system])


def _decided(row: ReviewedResult, least: int) -> str:
    enough = f" ({row.by_enough:,} of them by at least {least})" if least > 1 else ""
    took = "" if row.p50_seconds is None else f" Half of the decisions took {_seconds(row)}."
    return (
        f"{many(row.reviewers, 'reviewer')} decided on {row.reviewed:,} of "
        f"{many(row.alerts, 'name')} that {row.system} said{enough}: {row.confirmed:,} confirmed, "
        f"{row.rejected:,} rejected, {row.disputed:,} disputed, {row.undecided:,} undecided.{took}"
    )


def _seconds(row: ReviewedResult) -> str:
    return f"at most {row.p50_seconds:.1f} s"


def _left(held: ReviewErrorsResult) -> str:
    false, right = held.false_alerts, held.right_names
    rate = ""
    found = held.false_left
    if found.value is not None and found.ci is not None:
        low, high = percent(found.ci.lo), percent(found.ci.hi)
        rate = f" ({percent(found.value)}; {low} to {high})"
    return (
        f"{held.system} with its reviewers: of {_decided_on(false, 'false alert')} "
        f"{false.passed:,} passed{rate}, of {_decided_on(right, 'right name')} "
        f"{right.stopped:,} were stopped."
    )


def _decided_on(fates: PassedResult, what: str) -> str:
    waiting = f" ({fates.open:,} still open)" if fates.open else ""
    return f"{many(fates.all - fates.open, what)} decided on{waiting}"
