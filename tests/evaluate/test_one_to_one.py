"""Comparisons (1:1): the pairs a data set names, or drawn; thresholds of one part of the people,
rates of another; scores from searches only where both were seen to be the same."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from rekadapter.cli import run
from rekadapter.errors import UsageError
from rekadapter.evaluation.answers import (
    Kind,
    Stage,
    StoredAnswer,
    StoredFailure,
    read_answers,
)
from rekadapter.evaluation.comparison_plan import CHECKED_PAIRS, with_comparisons
from rekadapter.evaluation.comparisons import comparisons_of
from rekadapter.evaluation.dataset import CheckedDataset, check
from rekadapter.evaluation.decision_page import evaluation_html
from rekadapter.evaluation.evaluate import evaluated
from rekadapter.evaluation.evaluation_plots import DetLine, det_plot
from rekadapter.evaluation.loaders import Layout, load
from rekadapter.evaluation.one_to_one_results import OneToOneResult
from rekadapter.evaluation.outcomes import GroupLabel, PersonId
from rekadapter.evaluation.pair_planner import pair_needs
from rekadapter.evaluation.pair_split import PeoplePair, split_pairs
from rekadapter.evaluation.protocol import SplitRule
from rekadapter.evaluation.record import EvaluationRecord, Pseudonyms, SystemEntry, record_of
from rekadapter.evaluation.results import EstimateResult, EvaluationReport
from rekadapter.evaluation.rules import OneToOne, Rules
from rekadapter.evaluation.synthetic import GroupModel, ScoreModel, SearchDesign
from rekadapter.testing.comparisons import (
    PairDesign,
    made_up_comparisons,
    with_compared_pairs,
)
from rekadapter.testing.evaluations import made_up_evaluation, made_up_system
from tests.evaluate.drawn_people import drawn, people_folders

THRESHOLD = 0.40
ALPHA = ScoreModel(nonmated_mean=0.2, lookalike_sd=0.03)
MODELS = {"alpha": ALPHA, "beta": replace(ALPHA, mated_mean=0.45)}
RULES = Rules.model_validate(
    {
        "one_to_one": {"target_fmr": 0.01, "targets": [0.1, 0.0001]},
        "resamples": 500,
        "permutations": 499,
    }
)


def lfw(root: Path, people: int = 6, photos: int = 3, listed: str | None = None) -> Path:
    """LFW's layout, drawn: each person's first photograph with the others, and neighbors."""
    names = [f"Ann_{number}" for number in range(people)]
    for name in names:
        for photo in range(1, photos + 1):
            drawn(root / name / f"{name}_{photo:04d}.png", name, gray=90 + 30 * photo)
    mated = [f"{name}\t1\t{other}" for name in names for other in range(2, photos + 1)]
    others = [f"{a}\t1\t{b}\t2" for a, b in zip(names[::2], names[1::2], strict=True)]
    text = "\n".join(["1\t6", *mated, *others]) + "\n"
    (root / "pairs.txt").write_text(text if listed is None else listed)
    return root


def section_of(report: EvaluationReport) -> OneToOneResult:
    assert report.one_to_one is not None
    return report.one_to_one


def holds(estimate: EstimateResult, truth: float) -> bool:
    assert estimate.ci is not None
    return estimate.ci.lo <= truth <= estimate.ci.hi


@pytest.fixture(scope="module")
def large() -> EvaluationReport:
    design = PairDesign(240, captures=4, seed=7)
    return evaluated(made_up_comparisons(design, MODELS, default_threshold=THRESHOLD, rules=RULES))


@pytest.fixture(scope="module")
def small() -> EvaluationReport:
    design = PairDesign(12)
    return evaluated(made_up_comparisons(design, MODELS, default_threshold=THRESHOLD))


# --- lists of pairs ---------------------------------------------------------------------------


def test_a_list_of_pairs_is_read_as_it_stands(tmp_path: Path) -> None:
    root = lfw(tmp_path)
    for source, layout in ((root, Layout.LFW), (root / "pairs.txt", Layout.AUTO)):
        pairs = load(source, layout, Rules()).dataset.pairs
        assert [pair.mated for pair in pairs].count(True) == 12
        assert [pair.mated for pair in pairs].count(False) == 3
        named = {(pair.first.path.name, pair.second.path.name) for pair in pairs}
        assert ("Ann_0_0001.png", "Ann_0_0003.png") in named
        assert ("Ann_4_0001.png", "Ann_5_0002.png") in named


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1\t1\nAnn_0\t1\n", "is no pair"),
        ("1\t1\nAnn_0\tone\t2\n", "is no pair"),
        ("1\t1\n", "names no pair"),
        ("1\t1\nAnn_0\t1\t2\n", "no pair is of two people"),
        ("1\t1\nAnn_0\t1\tAnn_1\t1\n", "no pair is of one person"),
        ("1\t1\nAnn_0\t1\t1\nAnn_0\t1\tAnn_1\t1\n", "compared with itself"),
        ("1\t1\nAnn_0\t1\t9\nAnn_0\t1\tAnn_1\t1\n", "Ann_0_0009.jpg"),
        ("1\t1\nAnn_0\t1\t2\nAnn_0\t2\t1\nAnn_0\t1\tAnn_1\t1\n", "listed more than once"),
    ],
)
def test_a_list_that_cannot_be_run_is_refused_and_says_why(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        check(load(lfw(tmp_path, listed=text), Layout.LFW, Rules()).dataset)


def test_exactly_the_named_pairs_are_compared_and_nobody_is_searched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = lfw(tmp_path / "lfw"), tmp_path / "out"
    command = ["evaluate", str(data), "--layout", "lfw", "-b", "memory", "--out", str(out)]
    assert run(command) == 0
    assert "15 comparisons to do" in capsys.readouterr().err
    answers = read_answers(out / "answers.jsonl")
    assert {answer.question.kind for answer in answers} == {Kind.COMPARE}
    assert len({answer.question.key for answer in answers}) == 15
    section = json.loads((out / "report.json").read_text())["one_to_one"]
    assert (section["only"], section["mated"] + section["nonmated"]) == (True, 15)
    assert section["sources"][0]["source"] == "compare"
    page = (out / "report.html").read_text()
    assert "nobody was searched" in page
    assert "Ann_0" not in page
    assert run(command) == 0
    assert "nothing will be asked or paid" in capsys.readouterr().err
    assert len(read_answers(out / "answers.jsonl")) == 15


def test_a_directory_of_pairs_refuses_other_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    for name, people, code in (("one", 6, 0), ("other", 4, 2)):
        data = lfw(tmp_path / name, people)
        arguments = ["evaluate", str(data), "--layout", "lfw", "-b", "memory", "--out", str(out)]
        assert run(arguments) == code
    assert "other photographs" in capsys.readouterr().err


# --- who chooses, who tests -------------------------------------------------------------------


def named(*pairs: str) -> list[PeoplePair]:
    return [PeoplePair(PersonId(pair[0]), PersonId(pair[1])) for pair in pairs]


def test_people_joined_by_pairs_stay_together_and_no_pair_is_lost() -> None:
    pairs = named("ab", "bc", "de", "ff", "gh", "hh", "ij", "kl", "mn", "op")
    split = split_pairs(pairs, {}, SplitRule(0.4, seed=3))
    assert not split.calibration & split.test
    assert all((p.first in split.calibration) == (p.second in split.calibration) for p in pairs)
    assert 3 <= sum(p.first in split.calibration for p in pairs) <= 4


def test_where_everybody_hangs_together_people_are_split_one_by_one() -> None:
    pairs = named("ab", "bc", "cd", "de", "ef", "fa")
    split = split_pairs(pairs, {}, SplitRule(0.5, seed=3))
    assert len(split.calibration) == len(split.test) == 3


def planned(tmp_path: Path, most: int | None = None) -> EvaluationRecord:
    checked: CheckedDataset = check(load(people_folders(tmp_path / "data", 8, 4)).dataset)
    pseudonyms = Pseudonyms.kept_in(tmp_path / "own")
    systems: list[SystemEntry] = [made_up_system("alpha", 0.4)]
    record = record_of(checked, Rules(), systems, pseudonyms, "test")
    return with_comparisons(record, checked, pseudonyms, most)


def test_drawn_pairs_never_join_the_two_sides(tmp_path: Path) -> None:
    plan = planned(tmp_path).comparisons
    assert plan is not None
    record = planned(tmp_path)
    people = {one.sha256: one.person for one in (*record.gallery, *record.probes)}
    sides = [
        {people[sha] in plan.calibration for sha in (pair.first, pair.second)}
        for pair in plan.pairs
    ]
    assert all(len(side) == 1 for side in sides)
    assert len(set(plan.pairs)) == len(plan.pairs) <= CHECKED_PAIRS
    assert not plan.remote


def test_more_pairs_begin_with_the_same_ones(tmp_path: Path) -> None:
    few, many = planned(tmp_path, 8).comparisons, planned(tmp_path, 16).comparisons
    assert few is not None
    assert many is not None
    assert set(few.pairs) <= set(many.pairs)
    assert many.remote


def test_no_pairs_are_planned_where_none_are_wanted(tmp_path: Path) -> None:
    assert planned(tmp_path, 0).comparisons is None


# --- where scores come from -------------------------------------------------------------------


def searched(off_by: float = 0.0, pairs: int = 40) -> EvaluationReport:
    design = SearchDesign(gallery=40, mated_people=40, nonmated_people=40)
    stored = made_up_evaluation(design, MODELS, default_threshold=THRESHOLD)
    return evaluated(with_compared_pairs(stored, off_by=off_by, pairs=pairs))


def test_searches_count_as_comparisons_where_the_scores_were_seen_to_be_the_same() -> None:
    section = section_of(searched())
    assert {one.source for one in section.sources} == {"search"}
    assert all(one.checked == 40 and one.differing == 0 for one in section.sources)
    assert section.nonmated > 1000


def test_searches_with_other_scores_do_not_count() -> None:
    section = section_of(searched(off_by=0.01))
    assert {one.source for one in section.sources} == {"compare"}
    assert all(one.differing == 40 for one in section.sources)
    assert section.mated + section.nonmated == 40
    assert "other scores on 40 of 40" in section.sources[0].sentence


def test_a_handful_of_pairs_shows_nothing() -> None:
    assert section_of(searched(pairs=8)).sources[0].source == "compare"


def test_a_paid_system_is_compared_only_where_it_was_asked_for() -> None:
    design = SearchDesign(gallery=40, mated_people=40, nonmated_people=40)
    stored = with_compared_pairs(made_up_evaluation(design, MODELS, default_threshold=THRESHOLD))
    cloud = stored.record.systems[1].model_copy(update={"remote": True, "kind": "rekognition"})
    assert stored.record.comparisons is not None
    plan = stored.record.comparisons.model_copy(update={"remote": False})
    record = stored.record.model_copy(
        update={"systems": (stored.record.systems[0], cloud), "comparisons": plan}
    )
    here, there = comparisons_of(record, stored.answers)
    assert (here.source.kind, there.source.kind) == ("search", "none")
    assert there.source.planned == 0
    assert not there.test


def test_comparisons_of_a_cloud_are_priced_and_held_against_the_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = people_folders(tmp_path / "people", 12, 5)
    arguments = ["evaluate", str(data), "--backend", "rekognition", "--out", str(tmp_path / "o")]
    assert run([*arguments, "--max-usd", "0.01"]) == 2
    assert "comparisons" not in capsys.readouterr().err
    assert run([*arguments, "--max-usd", "0.07", "--pairs", "30"]) == 2
    shown = capsys.readouterr().err
    assert "30 comparisons to do" in shown
    assert "--max-usd 0.09" in shown  # 6 + 54 + 30 images at $0.001
    assert run([*arguments, "--max-usd", "0.07", "--pairs", "24"]) == 2
    assert "--max-usd 0.09" in capsys.readouterr().err  # 0.084 is not allowed by 0.08


def test_both_backends_of_this_machine_compare_as_they_search(tmp_path: Path) -> None:
    data, out = people_folders(tmp_path / "people", 8, 4), tmp_path / "out"
    assert run(["evaluate", str(data), "-b", "memory", "--out", str(out)]) == 0
    source = json.loads((out / "report.json").read_text())["one_to_one"]["sources"][0]
    assert (source["source"], source["differing"]) == ("search", 0)
    assert source["checked"] >= 20


# --- figures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("system", MODELS)
def test_known_rates_are_recovered_at_the_shipped_default(
    large: EvaluationReport, system: str
) -> None:
    rows = section_of(large).accuracy
    row = next(r for r in rows if r.system == system and r.basis == "shipped_default")
    assert holds(row.fmr, MODELS[system].fmr(THRESHOLD))
    assert holds(row.fnmr, MODELS[system].fnmr(THRESHOLD))


def test_each_system_has_its_own_threshold_for_the_same_fmr(large: EvaluationReport) -> None:
    section = section_of(large)
    rows = [row for row in section.accuracy if row.primary]
    assert len({row.threshold for row in rows}) == 2
    for row in rows:
        assert row.chosen is not None
        assert row.chosen.achieved is not None
        assert row.chosen.achieved <= 0.01
        assert row.chosen.people == section.calibration_people == 96
        assert row.threshold is not None
        assert holds(row.fnmr, MODELS[row.system].fnmr(row.threshold))
    pair = next(one for one in section.paired if one.primary)
    assert pair.diff is not None
    assert pair.diff.ci is not None
    assert pair.diff.ci.lo > 0


def test_a_target_that_no_pair_can_show_is_left_out(large: EvaluationReport) -> None:
    assert {row.target_fmr for row in section_of(large).accuracy} == {0.1, 0.01, None}


def test_twelve_people_give_no_rate_and_no_curve(small: EvaluationReport) -> None:
    section = section_of(small)
    assert all(row.fmr.value is None and row.fnmr.value is None for row in section.accuracy)
    assert all(not curve.points for curve in section.det)
    page = evaluation_html(small)
    assert "No curve is drawn: too few people were compared" in page
    assert "0.0000" not in page
    assert {one.result for one in small.conclusions} == {"not enough evidence"}


def test_a_failed_comparison_is_a_miss_and_no_false_match() -> None:
    stored = made_up_comparisons(
        PairDesign(60), {"alpha": ScoreModel()}, default_threshold=-9.0, rules=RULES
    )
    before = section_of(evaluated(stored)).accuracy[-1]

    def failed(answer: StoredAnswer) -> StoredAnswer:
        failure = StoredFailure(Stage.ACQUIRE, "NO_FACE")
        return replace(answer, candidates=(), failure=failure)

    answers = {
        key: failed(answer) if number % 4 == 0 else answer
        for number, (key, answer) in enumerate(stored.answers.items())
    }
    section = section_of(evaluated(replace(stored, answers=answers)))
    after = section.accuracy[-1]
    assert before.fnmr.errors == 0  # everything passes at -9
    assert after.fnmr.errors is not None
    assert after.fnmr.errors * 4 == after.fnmr.n == before.fnmr.n
    assert after.fmr.errors is not None
    assert after.fmr.errors < after.fmr.n
    assert section.failures[0].causes[0].cause == "NO_FACE"


def test_groups_have_rates_of_their_own_and_small_ones_are_not_shown() -> None:
    groups = (
        GroupModel(GroupLabel("site", "north"), 0.5),
        GroupModel(GroupLabel("site", "south"), 0.5, mated_shift=-0.12),
    )
    model = ScoreModel()
    made = made_up_comparisons(
        PairDesign(160, groups=groups), {"alpha": model}, default_threshold=THRESHOLD, rules=RULES
    )
    equity = section_of(evaluated(made)).equity[0]
    cells = {cell.group: cell for cell in equity.per_group}
    for group in groups:
        estimate = cells[group.label.value].fnmr
        assert estimate is not None
        assert holds(estimate, model.shifted(group.mated_shift, 0).fnmr(equity.threshold))
    few = made_up_comparisons(
        PairDesign(24, groups=groups), {"alpha": model}, default_threshold=THRESHOLD
    )
    cells_of_few = section_of(evaluated(few)).equity[0].per_group
    assert all(cell.suppressed and cell.fnmr is None for cell in cells_of_few)


def test_gates_of_a_data_set_of_pairs_look_at_its_comparisons(large: EvaluationReport) -> None:
    keys = {one.gate: one.evidence_keys for one in large.verdicts if one.system == "beta"}
    for gate in ("evidence", "accuracy", "equity", "operations"):
        assert all(key.startswith("one_to_one") for key in keys[gate])
    accuracy = next(v for v in large.verdicts if v.gate == "accuracy" and v.system == "beta")
    assert accuracy.result == "fail"
    assert "FNMR" in accuracy.rule


def test_the_order_of_stored_answers_moves_no_figure() -> None:
    made = made_up_comparisons(PairDesign(40), MODELS, default_threshold=THRESHOLD)
    turned = replace(made, answers=dict(reversed(list(made.answers.items()))))
    assert evaluated(turned) == evaluated(made)


def test_a_curve_down_to_small_rates_names_them_on_its_axis() -> None:
    line = DetLine(0, ((0.1, 0.01), (0.001, 0.03), (0.00002, 0.1)), ())
    drawn_line = det_plot([line], key="k", alt="a")
    assert drawn_line is not None
    labels = re.findall(r">([\d.]+)</text>", drawn_line)
    assert {"0.003", "0.01", "0.1"} <= set(labels)
    assert "0.00" not in labels


# --- the plan ---------------------------------------------------------------------------------


def test_needs_of_pairs_grow_with_the_claim() -> None:
    needs = {need.claim: need for need in pair_needs(OneToOne(target_fmr=0.001), 0.4)}
    clean = needs["claim FMR at most 0.001"]
    assert (clean.people, clean.pairs) == (4994, 2996 * 2995 // 2)
    chosen = needs["choose a threshold at FMR 0.001 on calibration people"]
    assert chosen.pairs == 10_000
    assert chosen.people == 355  # 142 of them calibrate: 142 x 141 / 2 is the first above 10,000
    assert needs["claim FNMR at most 0.05"].pairs == 60


def test_the_plan_of_a_data_set_of_pairs_speaks_of_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", str(lfw(tmp_path)), "--layout", "lfw", "--plan"]) == 0
    shown = capsys.readouterr()
    assert "claim FMR at most 0.001" in shown.out
    assert "3 pairs of two people, of 6 people in all" in shown.err


def test_a_few_pairs_that_agree_are_said_to_be_too_few() -> None:
    assert "too few to take them all" in section_of(searched(pairs=8)).sources[0].sentence


# --- what it means, and for whom --------------------------------------------------------------


def test_an_fmr_is_turned_into_false_alerts_among_many_people(large: EvaluationReport) -> None:
    section = section_of(large)
    row = next(r for r in section.accuracy if r.primary and r.system == "alpha")
    own = [o for o in section.implied_fpir if (o.system, o.label) == ("alpha", row.label)]
    assert [one.gallery_size for one in own] == [1_000, 10_000, 25_000]
    assert row.fmr.value is not None
    assert own[0].fpir == pytest.approx(1 - (1 - row.fmr.value) ** 1000)
    assert own[0].lo < own[0].fpir <= own[1].fpir <= own[2].fpir <= 1


def test_no_fmr_means_no_false_alerts_among_many_people(small: EvaluationReport) -> None:
    assert section_of(small).implied_fpir == ()


def test_groups_are_held_against_the_reference_group_the_rules_name() -> None:
    groups = (
        GroupModel(GroupLabel("site", "north"), 0.5),
        GroupModel(GroupLabel("site", "south"), 0.5, mated_shift=-0.12),
    )
    rules = RULES.model_copy(update={"reference_groups": {"site": "south"}})
    made = made_up_comparisons(
        PairDesign(240, groups=groups),
        {"alpha": MODELS["beta"]},
        default_threshold=0.45,
        rules=rules,
    )
    equity = section_of(evaluated(made)).equity[0]
    rates = {cell.group: cell.fnmr for cell in equity.per_group}
    ratio = next(one for one in equity.ratios if one.metric == "fnmr")
    north, south = rates["north"], rates["south"]
    assert north is not None
    assert south is not None
    assert north.sufficient
    assert north.value is not None
    assert south.value is not None
    assert ratio.over_reference == {"north": pytest.approx(north.value / south.value)}
    assert (ratio.min, ratio.max) == (north.value, south.value)


def test_a_group_of_searches_shows_its_photographs_beside_its_rates() -> None:
    groups = (
        GroupModel(GroupLabel("site", "north"), 0.9),
        GroupModel(GroupLabel("site", "south"), 0.1),
    )
    design = SearchDesign(gallery=60, mated_people=60, nonmated_people=60, groups=groups)
    report = evaluated(made_up_evaluation(design, {"alpha": ALPHA}, default_threshold=THRESHOLD))
    cells = {cell.group: cell for cell in report.equity[0].per_group}
    assert cells["north"].eye_px_p50 is not None
    assert 40 <= cells["north"].eye_px_p50 <= 70
    assert cells["south"].suppressed  # six people: nothing of their photographs either
    assert cells["south"].eye_px_p50 is None


def test_the_policy_shows_what_it_costs_to_move_a_threshold() -> None:
    design = SearchDesign(gallery=60, mated_people=60, nonmated_people=120)
    rules = Rules(target_fpir=0.1)
    report = evaluated(
        made_up_evaluation(design, {"alpha": ALPHA}, default_threshold=THRESHOLD, rules=rules)
    )
    chosen = {row.label for row in report.accuracy if row.threshold is not None}
    assert {one.label for one in report.policy} == chosen
    assert len(chosen) >= 3
