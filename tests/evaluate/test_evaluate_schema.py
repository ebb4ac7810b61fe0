"""The published schema is what the program writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rekadapter.evaluation.evaluate import evaluated
from rekadapter.evaluation.results import EvaluationReport, report_schema, report_text
from rekadapter.evaluation.synthetic import ScoreModel, SearchDesign
from rekadapter.testing.evaluations import made_up_evaluation

SCHEMA = Path(__file__).parents[2] / "docs" / "report.schema.json"


def a_report() -> EvaluationReport:
    design = SearchDesign(gallery=40, mated_people=40, nonmated_people=40)
    models = {"alpha": ScoreModel(), "beta": ScoreModel()}
    return evaluated(made_up_evaluation(design, models, default_threshold=0.4))


def test_the_published_schema_is_up_to_date() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == report_schema(), (
        "docs/report.schema.json is stale: run `make docs`"
    )


def test_a_report_read_back_is_the_same_report() -> None:
    text = report_text(a_report())
    assert report_text(EvaluationReport.model_validate_json(text)) == text


def test_every_measured_rate_carries_what_it_takes_to_judge_it() -> None:
    def estimates(part: Any) -> list[dict[str, Any]]:
        if isinstance(part, list):
            return [found for one in part for found in estimates(one)]
        if not isinstance(part, dict):
            return []
        own = [part] if "n_eff" in part else []
        return own + [found for one in part.values() for found in estimates(one)]

    found = estimates(json.loads(report_text(a_report())))
    assert len(found) > 20
    for estimate in found:
        assert {"value", "n", "errors", "people", "ci", "sufficient", "reason"} <= estimate.keys()
        assert estimate["sufficient"] or estimate["reason"]
        assert estimate["value"] != 0 or estimate["errors"] != 0


def test_evidence_keys_name_parts_of_the_report() -> None:
    report = a_report()
    parts = set(EvaluationReport.model_fields)
    for verdict in report.verdicts:
        assert {key.split("[")[0].split(".")[0] for key in verdict.evidence_keys} <= parts
