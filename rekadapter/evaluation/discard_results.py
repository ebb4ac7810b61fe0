"""The form of the error-versus-discard curves of ``report.json``."""

from __future__ import annotations

from typing import Literal

from rekadapter.evaluation.result_base import EstimateResult, Result


class DiscardPoint(Result):
    """What is left once the worst pictures by one measure are refused.

    ``asked``: the share of mated searches to refuse; ``refused``: the share that went: less where
    others tie with the first one kept, more where more have no measure. ``kept_from``: the measure
    of the worst picture kept, None where nothing went. ``fnir`` and ``fpir`` are of the searches
    kept, at the same threshold. ``missed_of_all``: misses where a picture refused counts as a miss
    too, because nobody was found on it. ``people_gone``: enrolled people without any picture left.
    """

    asked: float
    refused: float
    kept_from: float | None
    fnir: EstimateResult
    missed_of_all: EstimateResult
    fpir: EstimateResult
    people_gone: int


class DiscardGroup(Result):
    """Share of a group's searches that would be refused; None where the group is too small."""

    attribute: str
    group: str
    refused: EstimateResult | None


class DiscardSpread(Result):
    """Whether the groups of an attribute lose unlike shares of their searches.

    ``chance_p``: how often groups drawn at random would lie as far apart; None below two groups of
    enough people. ``p_holm``: corrected for the other attributes. ``finding``: in words, where that
    is rarer than 5 %; else empty.
    """

    attribute: str
    chance_p: float | None
    p_holm: float | None
    finding: str


class DiscardResult(Result):
    """One system and one measure of quality.

    ``source``: "system" (as the system itself saw its pictures) or "brought" (by whoever measured).
    ``sign``: 1 where more is better, -1 where less is. ``without``: mated searches of which the
    measure is not known, refused first; ``without_missed`` of them were missed. ``gain``: FNIR of
    the searches kept at ``gain_at`` minus FNIR of all, both among those with a known measure;
    ``p_value`` that it is 0, and ``p_holm`` corrected for all systems and measures, which the
    verdict goes by. ``groups`` and ``spreads`` are at ``gain_at``.
    """

    system: str
    measure: str
    source: Literal["system", "brought"]
    sign: Literal[1, -1]
    label: str
    threshold: float
    searches: int
    without: int
    without_missed: int
    points: tuple[DiscardPoint, ...]
    gain_at: float
    gain: EstimateResult
    p_value: float | None
    p_holm: float | None
    verdict: Literal["fewer misses", "more misses", "no difference shown", "not enough evidence"]
    sentence: str
    groups: tuple[DiscardGroup, ...]
    spreads: tuple[DiscardSpread, ...]
