"""What the first page says of comparisons (1:1), in words for somebody who has to sign."""

from __future__ import annotations

from collections.abc import Iterator

from rekadapter.evaluation.one_to_one_results import (
    ComparisonAccuracyResult,
    OneToOneResult,
    PairedComparisonResult,
)
from rekadapter.evaluation.rates import percent, share
from rekadapter.evaluation.wording import many


def comparisons_tested(section: OneToOneResult) -> Iterator[str]:
    """What was compared."""
    yield (
        f"Compared 1:1: {many(section.mated, 'pair')} of one person and "
        f"{many(section.nonmated, 'pair')} of two people. A false match is a pair of two people "
        "taken for one; a miss is a pair of one person taken for two."
    )


def comparisons_found(section: OneToOneResult) -> Iterator[str]:
    """What came of it. Beside searches the primary rows will do; where the data are pairs, also the
    defaults and one system against another."""
    for row in section.accuracy:
        if row.primary:
            yield _primary(row)
        elif section.only and row.basis == "shipped_default":
            yield f"{row.system}, 1:1, at its {row.label}: {_rates(row)}."
    for source in section.sources:
        if source.source == "none":
            yield f"{source.system}, 1:1: not measured ({source.sentence})."
    for pair in section.paired:
        if section.only and pair.primary:
            yield _pair(pair)


def _primary(row: ComparisonAccuracyResult) -> str:
    target = percent(row.target_fmr or 0)
    if row.threshold is None:
        reason = row.chosen.reason if row.chosen else "no reason recorded"
        return (
            f"{row.system}, 1:1: no threshold could be chosen for false matches in at most "
            f"{target} of pairs ({reason})."
        )
    return f"{row.system}, 1:1, set to false matches in at most {target} of pairs: {_rates(row)}."


def _rates(row: ComparisonAccuracyResult) -> str:
    return f"missed {share(row.fnmr)} of pairs of one person; false matches {share(row.fmr)}"


def _pair(pair: PairedComparisonResult) -> str:
    names = f"{pair.b} against {pair.a}, 1:1, each at the same rate of false matches"
    if pair.diff is None or pair.diff.value is None or pair.diff.ci is None:
        reason = pair.reason or (pair.diff.reason if pair.diff else "")
        return f"{names}: no comparison can be made ({reason})."
    more = "more" if pair.diff.value >= 0 else "fewer"
    words = {"A": pair.a, "B": pair.b}
    verdict = " ".join(words.get(word, word) for word in pair.verdict.split())
    return (
        f"{names}: {pair.b} missed {100 * abs(pair.diff.value):.2g} points {more} "
        f"(95 % interval {100 * pair.diff.ci.lo:+.2g} to {100 * pair.diff.ci.hi:+.2g}). With a "
        f"margin of {100 * pair.margin:g} points: {verdict}."
    )
