"""The first page: what was tested and what was found, for somebody who has to sign."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rekadapter.evaluation.accuracy import AccuracySections
from rekadapter.evaluation.gate_findings import Evidences
from rekadapter.evaluation.governance import answered_here
from rekadapter.evaluation.one_to_one_words import comparisons_found, comparisons_tested
from rekadapter.evaluation.planner import PlanRequest, plan
from rekadapter.evaluation.rates import counted, percent
from rekadapter.evaluation.results import (
    AccuracyResult,
    ConclusionResult,
    DecisionResult,
    PairedResult,
    VerdictResult,
)
from rekadapter.evaluation.statistics import Evidence
from rekadapter.evaluation.sweep_results import SweepResult
from rekadapter.evaluation.wording import many


def decision(
    seen: Evidences,
    accuracy: AccuracySections,
    concluded: Sequence[ConclusionResult],
    verdicts: Sequence[VerdictResult],
) -> DecisionResult:
    """The sentences of the first page; each is made from figures that stand further down."""
    return DecisionResult(
        tested=tuple(_tested(seen)),
        findings=(
            *(one.sentence for one in concluded),
            *_needed(seen),
            *(() if seen.record.only_pairs else _searches_found(accuracy)),
            *(comparisons_found(seen.one_to_one) if seen.one_to_one else ()),
            *(_swept(seen.sweep) if seen.sweep else ()),
        ),
        biggest_risk=_risk(verdicts),
        cannot_say=tuple(_cannot_say(seen)),
    )


def _needed(seen: Evidences) -> Iterator[str]:
    """How many people it takes, where a threshold rests on too few: "30" is not enough by far."""
    rows = [row for row in seen.accuracy if row.primary and row.chosen]
    if seen.record.only_pairs or all(row.chosen and row.chosen.sufficient for row in rows):
        return
    rules = seen.record.rules
    request = PlanRequest(
        rules.target_fpir,
        rules.requirements.max_fnir,
        calibration_share=rules.calibration_share,
    )
    yield (
        f"How many people it takes: no rate rests on fewer than {Evidence().min_people}. To choose "
        f"a threshold for false alerts in {percent(rules.target_fpir)} of searches takes about "
        f"{plan(request).needs[0].people:,} absent people, with one photograph each: see "
        "rekadapter evaluate --plan."
    )


def _swept(sweep: SweepResult) -> Iterator[str]:
    for one in sweep.systems:
        yield f"{one.sentence} (good photographs made smaller; cameras are harsher)."


def _searches_found(accuracy: AccuracySections) -> Iterator[str]:
    yield from (_found(row) for row in accuracy.accuracy if row.primary)
    yield from (_default(row) for row in accuracy.accuracy if row.basis != "equal_fpir")
    yield from (_pair(pair) for pair in accuracy.paired if pair.primary)


def _tested(seen: Evidences) -> Iterator[str]:
    names = ", ".join(
        f"{one.name} ({'images leave the site' if one.remote else 'on this machine'})"
        for one in seen.record.systems
    )
    yield f"Systems: {names}."
    if seen.one_to_one is not None:
        yield from comparisons_tested(seen.one_to_one)
    if seen.record.only_pairs:
        yield "Nobody was searched among enrolled people: the data are pairs."
    else:
        yield from _searches_tested(seen)
    if seen.record.synthetic:
        yield "The scores are made up by a program. This page shows how a report looks."


def _searches_tested(seen: Evidences) -> Iterator[str]:
    data, rules = seen.data, seen.record.rules
    yield (
        f"{many(data.enrolled_people, 'person', 'people')} in the gallery, of whom "
        f"{data.mated_people} were searched {many(data.mated_searches, 'time')}; "
        f"{many(data.nonmated_people, 'person', 'people')} who are not in it were searched "
        f"{many(data.nonmated_searches, 'time')}."
    )
    kind = (
        "alerts without anybody asking (identification)"
        if rules.mode == "identification"
        else "searches that a person starts and reviews (investigation)"
    )
    yield f"The use: {kind}. A false alert is a search of an absent person that names somebody."


def _found(row: AccuracyResult) -> str:
    target = f"{100 * (row.target_fpir or 0):g} %"
    if row.threshold is None:
        reason = row.chosen.reason if row.chosen else "no reason recorded"
        return (
            f"{row.system}: no threshold could be chosen for false alerts in at most {target} of "
            f"searches ({reason})."
        )
    return f"{row.system}, set to false alerts in at most {target} of searches: {_rates(row)}."


def _default(row: AccuracyResult) -> str:
    return f"{row.system} at its {row.label}: {_rates(row)}."


def _rates(row: AccuracyResult) -> str:
    missed = counted(row.fnir, "{n} searches of {people} enrolled people")
    alarmed = counted(row.fpir, "{n} searches of {people} absent people")
    return f"misses: {missed}; false alerts: {alarmed}"


def _pair(pair: PairedResult) -> str:
    names = f"{pair.b} against {pair.a}, each at the same rate of false alerts"
    if pair.diff is None or pair.diff.value is None or pair.diff.ci is None:
        reason = pair.reason or (pair.diff.reason if pair.diff else "")
        return f"{names}: no comparison can be made ({reason})."
    more = "more" if pair.diff.value >= 0 else "fewer"
    return (
        f"{names}: {pair.b} missed {100 * abs(pair.diff.value):.2g} points {more} "
        f"(95 % interval {100 * pair.diff.ci.lo:+.2g} to {100 * pair.diff.ci.hi:+.2g}; "
        f"{pair.diff.people:,} people). With a margin of {100 * pair.margin:g} points: "
        f"{_named(pair)}."
    )


def _named(pair: PairedResult) -> str:
    words = {"A": pair.a, "B": pair.b}
    return " ".join(words.get(word, word) for word in pair.verdict.split())


def _risk(verdicts: Sequence[VerdictResult]) -> str:
    for result in ("fail", "not enough evidence"):
        found = [one for one in verdicts if one.result == result]
        if found:
            first = found[0]
            return f"{first.gate} ({first.system}): {first.why}."
    return "None of the gates is failed or open; what follows below cannot be said all the same."


def _cannot_say(seen: Evidences) -> Iterator[str]:
    yield (
        "Whether the use is lawful, wanted or proportionate. No measurement answers that: see the "
        "governance fields, and who has to sign."
    )
    for entry in seen.record.systems:
        if answered_here(entry):
            yield (
                f"What AWS would have answered: '{entry.name}' was answered by this machine (its "
                "endpoint is a loopback address)."
            )
    if seen.record.only_pairs:
        yield (
            "How the systems fare in searches among many people: a false match in one of a "
            "thousand pairs is a false alert in most searches of a thousand people (63 of 100, "
            "were pairs independent)."
        )
    if not seen.cameras:
        yield "How the systems fare on your cameras: the test used photographs."
    compared = seen.one_to_one.equity if seen.one_to_one else ()
    if not seen.equity and not compared:
        yield "Whether people of all ages, sexes and skin tones fare alike: nobody was labeled."
    elif any(g.suppressed for one in seen.equity for g in one.per_group) or any(
        g.suppressed for one in compared for g in one.per_group
    ):
        yield "How people of small groups fare: their cells are too small to show."
    yield "How well people judge an alert: that was not measured here."
