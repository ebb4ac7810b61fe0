"""What the first page of a report says of a run on feeds, and where its limits are."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from rekadapter.evaluation.feed_inputs import FeedInputs
from rekadapter.evaluation.feed_results import AlertsResult, FeedsResult, TransitsResult
from rekadapter.evaluation.feed_sections import IN_FORCE
from rekadapter.evaluation.pairing import pair_backends
from rekadapter.evaluation.rates import share
from rekadapter.evaluation.results import DecisionResult
from rekadapter.evaluation.review_results import ReviewsResult
from rekadapter.evaluation.review_words import review_sentences
from rekadapter.evaluation.summary import Summary, cameras_of
from rekadapter.evaluation.wording import many, plain_words
from rekadapter.observation import Run


def decision_on_feeds(
    decision: DecisionResult, run: Run, summary: Summary, feeds: FeedsResult
) -> DecisionResult:
    """The first page with what only feeds can say; without a truth it says nothing of accuracy."""
    systems = len(run.record.backends)
    names = [backend.name for backend in run.record.backends]
    pairings = [pair_backends(run, a, b) for a, b in combinations(names, 2)]
    words = plain_words(run.record, summary, pairings)
    concluded, rates = decision.findings[:systems], decision.findings[systems:]
    reviewed = tuple(review_sentences(feeds.reviews))
    judging = decision.cannot_say[-1]  # how well people judge an alert
    if reviewed:
        judging = (
            "How other reviewers, or these on duty, would judge an alert."
            if feeds.truth
            else "How often reviewers were right: nobody said who was there."
        )
    if not feeds.truth:
        return decision.model_copy(
            update={
                "tested": (decision.tested[0], *run.record.notes, *words.ran),
                "findings": (*concluded, *words.says, *reviewed),
                "cannot_say": (decision.cannot_say[0], *words.cannot_say, judging),
            }
        )
    said = [line for line in rates if f" at its {IN_FORCE} " not in line]  # ``_found`` says it
    rest = [line for line in words.says[systems:] if not line.startswith("Camera ")]  # section 5
    return decision.model_copy(
        update={
            "tested": (*decision.tested, *run.record.notes),
            "findings": (*concluded, *_found(feeds), *reviewed, *said, *rest),
            "cannot_say": (*decision.cannot_say[:-1], judging),
        }
    )


def _found(feeds: FeedsResult) -> Iterator[str]:
    alerts = {one.system: one for one in feeds.alerts if one.camera is None}
    for row in feeds.transits:
        if row.camera is None:
            yield _transits(row)
            yield _alerts(alerts[row.system])


def _transits(row: TransitsResult) -> str:
    return (
        f"{row.system}, as it ran: it named the right person in {row.identified:,} of "
        f"{many(row.mated, 'transit')} of enrolled people (missed: {share(row.missed)}) and "
        f"somebody else in {row.named_as_another:,} of the others. Of "
        f"{many(row.nonmated + row.nameless, 'transit')} of people who are not enrolled it named "
        f"{row.nonmated_named + row.nameless_named:,}."
    )


def _alerts(row: AlertsResult) -> str:
    day = row.per_camera_day
    rate = f" ({day.reason})" if day.reason else ""
    if day.value is not None and day.ci is not None:
        few = "" if day.sufficient else f"; {day.reason}"
        rate = f": {day.value:.2g} a camera-day ({day.ci.lo:.2g} to {day.ci.hi:.2g}{few})"
    waits = ""
    if row.p50_seconds is not None and row.p95_seconds is not None:
        waits = (
            f" Half of the right names were said within {row.p50_seconds:.1f} s of entering, 95 in "
            f"100 within {row.p95_seconds:.1f} s."
        )
    return (
        f"{row.system} said {many(row.names_said, 'name')}, of which {row.false_alerts:,} were "
        f"false alerts{rate}.{waits}"
    )


def limitations(
    run: Run, inputs: FeedInputs, reviews: ReviewsResult | None = None
) -> Iterator[str]:
    """What a reader of a report on feeds has to know."""
    if inputs.truth is None:
        yield "Nobody said who was really there, so no miss and no false alert can be counted."
    else:
        yield (
            "The truth is what a person wrote down, taken as it is. It tells when somebody was in "
            "view, not where: with several people in view, a false alert is counted under the one "
            "whose time it fits best."
        )
        yield (
            "The score of a transit is the highest threshold at which the rule for naming a track "
            "would have named the person. Two tracks seen together are not played off against each "
            "other again at other thresholds; the rows of the threshold in force count what was "
            "really said."
        )
        yield (
            "Tracks and pictures were those of this run. At another threshold a gate that sends "
            "few pictures of a person might have asked more or less often."
        )
        yield (
            "Thresholds were chosen on other people than they were tested on, but on the same "
            "cameras and days. Another site, season or hour needs its own measurement."
        )
    for backend in run.record.backends:
        for warning in backend.threshold_origin.warnings if backend.threshold_origin else ():
            yield f"The threshold of {backend.name} comes from a measurement, but: {warning}."
    if not set(cameras_of(run)) <= set(inputs.live):
        yield (
            "Recordings were played, which wait where a camera does not: how long frames wait for "
            "their turn, and how many a live camera would lose, was not measured on them."
        )
    if run.record.state != "finished":
        yield f"The run did not finish ({run.record.state}): what it had done until then is shown."
    yield (
        "People who consent and know that they are filmed may not walk, look and dress as those "
        "whom the system will see."
    )
    yield (
        "A cloud service may change under the same name. The stored answers can be read again; "
        "the service cannot be asked again as it was."
    )
    yield _on_reviewers(reviews, truth=inputs.truth is not None)


def _on_reviewers(reviews: ReviewsResult | None, *, truth: bool) -> str:
    if reviews is None or not reviews.decisions:
        return (
            "Nobody reviewed what the systems said, so how people decide on alerts was not "
            "measured. Their errors add to those shown here."
        )
    known = "" if truth else " Nobody said who was there, so their errors are not known."
    return (
        f"{many(reviews.decisions, 'decision')} of {many(len(reviews.reviewers), 'reviewer')} on "
        "what the systems said were counted, made alert by alert with the time they took. On duty, "
        "at other hours, these and other people may decide otherwise. How they were trained was "
        f"not measured.{known}"
    )
