"""The annex: clauses with the numbers of this test, and blanks that stand out."""

from __future__ import annotations

import re

import pytest

from rekadapter.evaluation.clause_results import ClauseResult
from rekadapter.evaluation.decision_page import evaluation_html
from rekadapter.evaluation.evaluate import evaluated
from rekadapter.evaluation.results import EvaluationReport, as_stored
from rekadapter.evaluation.rules import Governance, Requirements, Review, Rules
from rekadapter.evaluation.synthetic import ScoreModel, SearchDesign
from rekadapter.testing.evaluations import made_up_evaluation


def report(rules: Rules) -> EvaluationReport:
    design = SearchDesign(gallery=12, mated_people=12, nonmated_people=12)
    return evaluated(
        made_up_evaluation(design, {"a": ScoreModel()}, default_threshold=0.4, rules=rules)
    )


@pytest.fixture(scope="module")
def bare() -> EvaluationReport:
    return report(Rules())


@pytest.fixture(scope="module")
def stated() -> EvaluationReport:
    governance = Governance(
        purpose="lost children", review=Review(min_reviewers=2, sole_basis=False)
    )
    return report(
        Rules(
            target_fpir=0.003,
            margin=0.015,
            requirements=Requirements(max_fnir=0.05),
            governance=governance,
        )
    )


def clause(found: EvaluationReport, title: str) -> ClauseResult:
    return next(one for one in found.clauses if one.title == title)


def text(one: ClauseResult) -> str:
    return "".join("___" if part.text is None else part.text for part in one.parts)


def test_numbers_are_those_of_the_test(stated: EvaluationReport) -> None:
    accuracy = text(clause(stated, "Accuracy"))
    assert "With 12 people enrolled" in accuracy
    assert "at most 0.3 % of the searches" in accuracy
    assert "at most 5 % of those" in accuracy
    assert "at most 1.5 points more" in text(clause(stated, "Comparison of offers"))
    assert "the rule here: never on an alert alone" in text(clause(stated, "People decide"))
    assert "2 trained people" in text(clause(stated, "People decide"))


def test_what_nobody_stated_is_a_proposal_and_what_nobody_gave_is_missing(
    bare: EvaluationReport, stated: EvaluationReport
) -> None:
    def proposals(found: EvaluationReport) -> set[str]:
        parts = clause(found, "Accuracy").parts
        return {part.key for part in parts if part.key and part.proposal}

    assert proposals(bare) == {
        "protocol.primary.target_fpir",
        "protocol.requirements.max_fnir",
    }
    assert proposals(stated) == set()
    page = evaluation_html(as_stored(bare))
    annex = page[page.index('id="clauses"') :]
    missing = [part for one in bare.clauses for part in one.parts if part.text is None]
    assert annex.count("not provided") == len(missing) > 5


def test_no_blank_is_left_unfilled_by_mistake(bare: EvaluationReport) -> None:
    for one in bare.clauses:
        assert not re.search(r"[{}]", text(one))
        assert one.source


def test_each_number_names_a_key_of_the_report(stated: EvaluationReport) -> None:
    plain = stated.model_dump(mode="json")
    fields = {field["key"] for field in plain["governance"]}
    for key in {part.key for one in stated.clauses for part in one.parts if part.key}:
        named = re.fullmatch(r"governance\[key=(.*)\]", key)
        if named:
            assert named[1] in fields
            continue
        value = plain
        for step in key.split("."):
            value = value[step]
        assert value is not None
