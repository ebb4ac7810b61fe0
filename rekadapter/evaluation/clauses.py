"""The annex of a report: clauses for a tender, with the numbers that this test was held against.

The sentences are ours and no legal advice. What asks for each stands beside it; a text that was not
read by the authors is marked. A number that nobody stated is marked as a proposal, one that nobody
gave stands out as missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from rekadapter.evaluation.clause_results import ClausePart, ClauseResult
from rekadapter.evaluation.rates import percent
from rekadapter.evaluation.record import EvaluationRecord
from rekadapter.evaluation.results import GovernanceField

_RCW: Final = "Washington RCW 43.386"
_AWS: Final = "AWS developer guide, public safety use cases"
_SFPD: Final = "San Francisco police tender (read about, not in the original)"
_OMB: Final = "US federal procurement memo (read about, not in the original)"
_19795: Final = "ISO/IEC 19795-1 (text not read), through NIST's reports"
_BLANK: Final = re.compile(r"\{([a-z0-9_.]+)\}")

_CLAUSES: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "Acceptance on the buyer's own cameras",
        "The system is accepted after a test with the buyer's own cameras and people, by the "
        "protocol of this report (section 4), made or witnessed by the buyer. Results on other "
        "data, the vendor's or anybody else's, do not stand in for it.",
        f"{_RCW}.040, test before use; {_SFPD}",
    ),
    (
        "Accuracy",
        "With {gallery_size} people enrolled and a threshold at which at most {target_fpir} of the "
        "searches of people who are not enrolled raise an alert, at most {max_fnir} of those of "
        "enrolled people miss them. The upper end of the 95 % interval by person counts, and "
        "each failure is a miss.",
        f"{_19795}; {_SFPD}",
    ),
    (
        "Comparison of offers",
        "Offers are compared on the same pictures, each at its own threshold for the same share of "
        "false alerts. An offer that misses at most {margin} more than the best is as good.",
        _19795,
    ),
    (
        "Groups of people",
        "Between the groups that the buyer names, neither misses nor false alerts differ by more "
        "than {max_group_ratio}, by the far ends of their intervals. Groups come from records, "
        "never from a model. Too few people in a group is no proof of anything.",
        f"ISO/IEC 19795-10 (scope read only); {_OMB}",
    ),
    (
        "Speed and failures",
        "Of the answers 95 in 100 arrive within {max_p95_seconds}, and at most "
        "{max_failed_requests} of the requests fail, on the uplink of the site.",
        "proposal",
    ),
    (
        "Raw answers belong to the buyer",
        "For each search the buyer receives the candidates with their unrounded scores, the "
        "threshold in force, the version of the model and the vendor's request id, in an open "
        "format, and may keep them for {retention.logs}.",
        _OMB,
    ),
    (
        "Changes of the model",
        "A change of the model is announced before it takes effect. The test is repeated every "
        "{re_test.interval}, and when: {re_test.triggers}. Until then the version tested stays "
        "available.",
        "NIST FRTE: results belong to a version; proposal",
    ),
    (
        "Independent tests",
        "Anybody whom the buyer names may test the system, by group of people too, over the same "
        "interface that the buyer uses. Differences that such a test validates are answered with a "
        "plan to mend them.",
        f"{_RCW}, independent testing",
    ),
    (
        "NIST's results",
        "The vendor hands over every NIST result for the version offered, or states that there is "
        "none.",
        _SFPD,
    ),
    (
        "People decide",
        "An alert alone leads to no action (the rule here: {review.sole_basis}). Before "
        "anything happens {review.min_reviewers} trained people, each by themselves, have "
        "confirmed it. Their training: {review.training}.",
        f"{_AWS}; {_RCW}.030",
    ),
    (
        "The threshold",
        "Only {threshold_policy.owner} changes the threshold. Each change is written down in "
        "{threshold_policy.change_log} with its reason and its cost in false alerts and misses.",
        "proposal",
    ),
    (
        "Pictures and templates",
        "Pictures and templates serve this purpose alone: {purpose}. They train no model. Faces "
        "without a match are deleted after {retention.probe_nonmatch}, with a match after "
        "{retention.probe_match}, people in the gallery after {retention.gallery}; the vendor "
        "shows that they are gone.",
        "US DHS directive 026-11 (read about, not in the original)",
    ),
    (
        "Redress",
        "Whoever was taken for somebody else turns to {redress_contact}; incidents are written "
        "down in {incident_log}, and the vendor answers for its part within the time agreed.",
        "BJA policy template, 2017 (headings not checked against the text)",
    ),
)
"""Title, text with its blanks, and what asks for it."""


@dataclass(frozen=True, slots=True)
class _Blank:
    """What fills a blank: where it stands in the report, its words, whether anybody stated it."""

    key: str
    value: str | None
    stated: bool = True


def clauses(
    record: EvaluationRecord, governance: tuple[GovernanceField, ...]
) -> Iterator[ClauseResult]:
    """Every clause, filled in."""
    blanks = _blanks(record) | {
        field.key: _Blank(f"governance[key={field.key}]", _words(field)) for field in governance
    }
    for title, text, source in _CLAUSES:
        yield ClauseResult(title=title, parts=tuple(_parts(text, blanks)), source=source)


def _words(field: GovernanceField) -> str | None:
    """A question answered by yes or no as the rule that it is."""
    if field.key == "review.sole_basis" and field.value is not None:
        return "never on an alert alone" if field.value == "no" else "an alert may be enough"
    return field.value


def _blanks(record: EvaluationRecord) -> dict[str, _Blank]:
    rules, needs = record.rules, record.rules.requirements
    size = len({one.person for one in record.gallery})
    stated = frozenset(record.stated)
    return {
        "gallery_size": _Blank("protocol.gallery_size", f"{size:,}" if size else None),
        "target_fpir": _Blank(
            "protocol.primary.target_fpir", percent(rules.target_fpir), "target_fpir" in stated
        ),
        "margin": _Blank(
            "protocol.primary.margin", f"{100 * rules.margin:g} points", "margin" in stated
        ),
        **{
            name: _Blank(f"protocol.requirements.{name}", words, f"requirements.{name}" in stated)
            for name, words in (
                ("max_fnir", percent(needs.max_fnir)),
                ("max_group_ratio", f"{needs.max_group_ratio:g} times"),
                ("max_p95_seconds", f"{needs.max_p95_seconds:g} s"),
                ("max_failed_requests", percent(needs.max_failed_requests)),
            )
        },
    }


def _parts(text: str, blanks: Mapping[str, _Blank]) -> Iterator[ClausePart]:
    for number, piece in enumerate(_BLANK.split(text)):
        if number % 2:
            blank = blanks[piece]
            proposal = blank.value is not None and not blank.stated
            yield ClausePart(text=blank.value, key=blank.key, proposal=proposal)
        elif piece:
            yield ClausePart(text=piece, key=None, proposal=False)
