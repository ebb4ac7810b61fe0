"""What a report has to say besides its measurements: governance fields, terms, published anchors.

Each field names the text that asks for it. Where that text was not read by those who wrote this
list, the source says so; nothing unchecked is printed as a fact.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from rekadapter.evaluation.record import EvaluationRecord, SystemEntry
from rekadapter.evaluation.results import AnchorResult, GovernanceField
from rekadapter.evaluation.rules import Table

_RCW: Final = "Washington RCW 43.386.020, accountability report"
_BJA: Final = "BJA policy template, 2017 (headings not checked against the text)"
_AI_ACT: Final = "EU AI Act (articles not checked against the text)"
_AWS: Final = "AWS developer guide, public safety use cases"
_ACTIVITY: Final = "Washington RCW 43.386.030, human review"

FIELDS: Final[tuple[tuple[str, str, str], ...]] = (
    ("purpose", "Purpose", _RCW),
    ("deciding_authority", "Who decides on its use", _RCW),
    ("final_or_support", "Does it decide, or support a person who does", _RCW),
    ("out_of_scope", "Uses that are ruled out", "Model Cards (not checked against the paper)"),
    ("legal_basis", "Legal basis", _AI_ACT),
    ("notice_date", "Public notice, date", "proposal"),
    ("consent_method", "How the people tested consented", "Datasheets (not checked)"),
    ("signage_url", "Signs and public information", _BJA),
    ("data_policy", "Data policy", _RCW),
    ("retention.probe_nonmatch", "Kept of faces without a match", _BJA),
    ("retention.probe_match", "Kept of faces with a match", _BJA),
    ("retention.gallery", "How long people stay in the gallery", _BJA),
    ("retention.logs", "How long logs are kept", _AI_ACT),
    ("review.min_reviewers", "People who verify an alert", f"{_AWS}; {_AI_ACT}"),
    ("review.training", "Training of those people", _ACTIVITY),
    ("review.sole_basis", "May an alert alone lead to action", _AWS),
    ("threshold_policy.owner", "Who may change the threshold", "proposal"),
    ("threshold_policy.change_log", "Where changes of it are written down", _BJA),
    ("redress_contact", "Whom people can turn to", _BJA),
    ("dpia_or_fria_url", "Impact assessment", _AI_ACT),
    ("incident_log", "Where incidents are written down", _AI_ACT),
    ("re_test.interval", "Measured again every", "proposal; RCW 43.386.040 asks a test before use"),
    ("re_test.triggers", "Measured again when", "NIST FRTE: results belong to a version"),
    ("label_source", "Where group labels come from", "ISO/IEC 19795-10 (scope read only)"),
    ("expiry", "This report is valid until", "proposal"),
)
"""Key, question, and the text that asks for it."""

_RESEARCH_WORDS: Final = ("non-commercial", "noncommercial", "research only", "research purposes")


def governance_fields(record: EvaluationRecord) -> Iterator[GovernanceField]:
    """Every field, with the user's answer or None."""
    for key, label, source in FIELDS:
        yield GovernanceField(
            key=key, label=label, value=_value(record.rules.governance, key), source=source
        )


def _value(table: Table, key: str) -> str | None:
    head, _, rest = key.partition(".")
    value = getattr(table, head)
    if isinstance(value, Table):
        return _value(value, rest)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if value not in {None, ""} else None


def terms_flags(entry: SystemEntry) -> tuple[str, ...]:
    """Terms that a buyer has to know before anything else."""
    flags = []
    licence = entry.details.get("license", entry.details.get("licence", ""))
    if research_only(entry):
        flags.append(f"weights for research only: {licence}")
    if entry.kind == "local" and not licence:
        flags.append("the licence of the weights is not known")
    if "terms" in entry.details:
        flags.append(entry.details["terms"])
    if entry.kind == "rekognition":
        flags.append(
            "AWS's public-safety guidance asks for a threshold of 99 or more, a trained person who "
            "reviews every match, and never a match as the sole basis"
        )
        flags.append(
            "AWS's service card (2024-10-30) says that AWS has suspended police use; that it means "
            "criminal investigations was not checked"
        )
    if answered_here(entry):
        flags.append("answered by this machine (a loopback endpoint), and not by the service named")
    if entry.kind == "memory":
        flags.append("recognizes pictures, not people: for tests of programs only")
    return tuple(flags)


_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def answered_here(entry: SystemEntry) -> bool:
    """Whether a cloud's answers came from this machine: its endpoint is a loopback address."""
    try:
        host = urlsplit(entry.details.get("endpoint", "")).hostname
    except ValueError:
        return False
    return entry.remote and host in _LOOPBACK


def research_only(entry: SystemEntry) -> bool:
    """Whether the weights' licence forbids use beyond research."""
    licence = entry.details.get("license", entry.details.get("licence", "")).lower()
    return any(word in licence for word in _RESEARCH_WORDS)


def _anchor(source: str, date: str, metric: str, value: str, caveat: str) -> AnchorResult:
    return AnchorResult(
        source=source, date=date, metric=metric, value=value, caveat=caveat, checked=True
    )


def _second_hand(source: str, date: str, metric: str, value: str, caveat: str) -> AnchorResult:
    return AnchorResult(
        source=source,
        date=date,
        metric=metric,
        value=value,
        caveat=f"{caveat}; read in a report about it, not in the original",
        checked=False,
    )


ANCHORS: Final[tuple[AnchorResult, ...]] = (
    _anchor(
        "NIST FRTE 1:N, mugshots, 1.6 million enrolled",
        "2026-01-09",
        "FNIR at FPIR 0.003",
        "best 0.0005, median developer 0.0071",
        "cooperative photographs; no entry of Amazon, InsightFace, dlib or OpenCV is in that list; "
        "the median was read off a ranked list by hand (to one rank)",
    ),
    _anchor(
        "NIST FRTE 1:N, kiosk probes, 1.6 million enrolled",
        "2026-01-09",
        "FNIR at FPIR 0.003",
        "best 0.0443, median developer 0.146",
        "people who do not look at the camera: the kind of picture moves the leader's error "
        "ninetyfold; the median was read off a ranked list by hand (to one rank)",
    ),
    _anchor(
        "NIST FRTE demographics, 1:1, by region, age and sex",
        "2024-09-20",
        "largest over smallest FMR of a group, at an overall FMR of 3 in 100,000",
        "middle half of the entries about 310 to 550 times, good ones 60 to 150, worst over 40,000",
        "pairs of one sex, age group and region; the tested systems' own spread stands in equity",
    ),
    AnchorResult(
        source="AWS AI Service Card, face matching",
        date="2024-10-30",
        metric="performance and fairness figures",
        value="not available to the authors",
        caveat="read them there, with the date; AWS itself says to test on one's own content",
        checked=False,
    ),
    _second_hand(
        "NPL for London and South Wales police, NEC NeoFace V4",
        "date not checked",
        "FPIR at 10,000 enrolled; found",
        "0.017 %; 89 %",
        "another system, at threshold 0.6",
    ),
    _second_hand(
        "ACLU test of Rekognition at threshold 80, 25,000 enrolled",
        "2018",
        "FPIR (28 of 535 probes)",
        "5.2 %, 95 % interval 3.6 to 7.5 %",
        "an FMR of about 2e-6 a comparison becomes this at such a gallery: both sides were right",
    ),
    _second_hand(
        "Cardiff, live deployment",
        "2017",
        "alerts that were right",
        "7 % (173 true, 2,297 false)",
        "an early system",
    ),
    _anchor(
        "Actionable Auditing, Amazon",
        "2018-08",
        "classification of gender, error",
        "8.66 % overall, 31.37 % darker female",
        "history: classification of gender, another task than matching; this tool never asks for "
        "gender, so the finding does not carry over, while differences in matching have to be "
        "measured",
    ),
)
"""Published figures for scale: not the same systems, not the same data."""
