"""The resolution sweep: the same photographs at fewer pixels between the eyes, never at more."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.cli import run
from rekadapter.errors import ImageError, UsageError
from rekadapter.evaluation.answers import Kind, read_answers
from rekadapter.evaluation.dataset import CheckedDataset, check
from rekadapter.evaluation.decision_page import evaluation_html
from rekadapter.evaluation.evaluate import StoredEvaluation, evaluated
from rekadapter.evaluation.loaders import load
from rekadapter.evaluation.record import (
    EvaluationRecord,
    MeasuredEyes,
    Pseudonyms,
    SweepPlan,
    record_of,
)
from rekadapter.evaluation.results import EvaluationReport
from rekadapter.evaluation.rules import Rules
from rekadapter.evaluation.survey_results import (
    ALERTS,
    DETECTION,
    INVESTIGATION,
    SurveyCamera,
    SurveyResult,
    SurveyVerdict,
)
from rekadapter.evaluation.sweep_plan import (
    Faces,
    SweepRequest,
    SweepStep,
    at_step,
    cohort,
    levels,
    smaller,
    steps,
    sweep_inputs,
    with_sweep,
)
from rekadapter.evaluation.sweep_results import SweepResult
from rekadapter.evaluation.synthetic import ScoreModel, SearchDesign
from rekadapter.gate import DetectingFinder
from rekadapter.gate.shots import eye_px
from rekadapter.imaging import Image
from rekadapter.testing.drawn import portrait
from rekadapter.testing.evaluations import made_up_evaluation, made_up_system
from rekadapter.testing.sweeps import with_made_up_sweep
from rekadapter.types import DetectedFace
from tests.evaluate.drawn_people import people_folders

MODELS = {"alpha": ScoreModel(person_sd=0.03), "beta": ScoreModel(mated_mean=0.5, person_sd=0.03)}
LOST = {60.0: 0.0, 30.0: 0.02, 20.0: 0.1, 10.0: 0.4}


def plan_of(*native: float | None, eye_sizes: tuple[float, ...] = (60.0, 30.0, 20.0)) -> SweepPlan:
    measured = tuple(MeasuredEyes(sha256=str(n), eye_px=px) for n, px in enumerate(native))
    return SweepPlan(eye_px=eye_sizes, quality=80, min_side_px=80, finder="test", measured=measured)


class Counted:
    """A finder that counts how often it looks."""

    def __init__(self) -> None:
        self.looks = 0
        self._finder = DetectingFinder(MemoryRecognizer())

    def find(self, image: Image) -> tuple[DetectedFace, ...]:
        self.looks += 1
        return self._finder.find(image)


# --- which photographs and sizes --------------------------------------------------------------


def test_sizes_that_fewer_than_half_have_are_left_out() -> None:
    assert levels(plan_of(70, 65, 40, 20)) == (60, 30, 20)
    assert levels(plan_of(70, 40, 40, 20)) == (30, 20)
    assert levels(plan_of(70, 40, None, None)) == (30, 20)
    assert levels(plan_of(None, None)) == ()


def recorded(root: Path, **rules: object) -> tuple[EvaluationRecord, CheckedDataset]:
    checked = check(load(people_folders(root / "data", 6)).dataset)
    pseudonyms = Pseudonyms.kept_in(root / "own")
    fixed = Rules.model_validate({"sweep": {"eye_px": [20, 12, 8], **rules}})
    return record_of(checked, fixed, [made_up_system("a", 0.4)], pseudonyms, "test"), checked


def test_the_same_photographs_are_searched_at_every_size(tmp_path: Path) -> None:
    record, checked = recorded(tmp_path)
    faces = Faces(DetectingFinder(MemoryRecognizer()))
    swept = with_sweep(record, checked, SweepRequest(faces, "m", 1))
    assert swept.sweep is not None
    tested = {person.id for person in record.people if person.side == "test"}
    assert {one.person for one in cohort(swept)} <= tested
    people = [
        [one.person for one in at_step(swept, step).probes]
        for step in (None, SweepStep(20.0), SweepStep(8.0))
    ]
    assert people[0] == people[1] == people[2]
    digests = {
        one.sha256 for step in (None, *steps(swept.sweep)) for one in at_step(swept, step).probes
    }
    assert len(digests) == len(people[0]) * 4
    inputs = sweep_inputs(swept, checked, faces)
    assert (
        len(inputs.probes) == len(inputs.record.probes) == len(record.probes) + 3 * len(people[0])
    )


def test_eyes_measured_once_are_not_looked_for_again(tmp_path: Path) -> None:
    record, checked = recorded(tmp_path)
    finder = Counted()
    first = with_sweep(record, checked, SweepRequest(Faces(finder), "m", 1))
    looked = finder.looks
    again = with_sweep(record, checked, SweepRequest(Faces(finder), "m", 1, before=first.sweep))
    assert (finder.looks, again) == (looked, first)
    with_sweep(record, checked, SweepRequest(Faces(finder), "another", 1, before=first.sweep))
    assert finder.looks > looked


def test_a_sweep_without_anything_to_search_is_refused(tmp_path: Path) -> None:
    record, checked = recorded(tmp_path, eye_px=[400])
    faces = Faces(DetectingFinder(MemoryRecognizer()))
    with pytest.raises(UsageError, match="nothing to search"):
        with_sweep(record, checked, SweepRequest(faces, "m", 1))


# --- how they are made smaller ----------------------------------------------------------------


@pytest.mark.parametrize("target", [40.0, 20.0, 12.0])
def test_a_face_has_the_pixels_asked_for(target: float) -> None:
    finder = DetectingFinder(MemoryRecognizer())
    image = portrait("ada", side=160)
    made = smaller(image, finder.find(image), SweepStep(target), plan_of(eye_sizes=(target,)))
    found = finder.find(made)
    assert eye_px(found[0], made.size) == pytest.approx(target, rel=0.12)
    assert min(made.size.width, made.size.height) >= 80  # the least side a cloud takes
    assert made.encoded is not None
    assert made.encoded.startswith(b"\xff\xd8")


def test_nothing_is_scaled_up() -> None:
    finder = DetectingFinder(MemoryRecognizer())
    image = portrait("ada", side=40)
    with pytest.raises(ImageError, match="changed since"):
        smaller(image, finder.find(image), SweepStep(60.0), plan_of())
    with pytest.raises(ImageError):
        smaller(image, (), SweepStep(10.0), plan_of())


# --- what comes of it -------------------------------------------------------------------------


def made(people: int = 200, *, no_face_below_px: float = 0.0) -> StoredEvaluation:
    design = SearchDesign(gallery=people, mated_people=people, nonmated_people=people)
    rules = Rules(target_fpir=0.1, resamples=400, permutations=499)
    stored = made_up_evaluation(design, MODELS, default_threshold=0.4, rules=rules)
    return with_made_up_sweep(stored, LOST, no_face_below_px=no_face_below_px)


def sweep_of(stored: StoredEvaluation) -> SweepResult:
    section = evaluated(stored).sweep
    assert section is not None
    return section


@pytest.fixture(scope="module")
def report() -> EvaluationReport:
    return evaluated(made(no_face_below_px=15.0))


@pytest.fixture(scope="module")
def section(report: EvaluationReport) -> SweepResult:
    assert report.sweep is not None
    return report.sweep


def test_misses_rise_and_the_sizes_that_keep_and_pass_the_limit_are_named(
    section: SweepResult,
) -> None:
    alpha, beta = section.systems
    missed = [point.fnir.errors for point in alpha.points]
    assert missed == sorted(missed, key=lambda count: count or 0)
    assert (alpha.enough_px, alpha.too_few_px) == (20, 10)
    assert beta.too_few_px is not None
    assert beta.too_few_px > 10
    assert "from 20 px between the eyes on" in alpha.sentence


def test_at_their_own_size_photographs_are_the_searches_of_the_report(
    section: SweepResult,
) -> None:
    assert [point.eye_px for point in section.systems[0].points] == [None, 60, 30, 20, 10]
    own, same = section.systems[0].points[:2]  # 60 px lost nothing
    assert (own.fnir.errors, own.fpir.errors) == (same.fnir.errors, same.fpir.errors)


def test_a_face_that_is_not_found_any_more_is_a_failure_and_a_miss(section: SweepResult) -> None:
    last = section.systems[0].points[-1]
    assert last.ftx.errors == -(-last.searches // 4)
    assert last.fnir.errors is not None
    assert last.fnir.errors >= last.fnir.n // 4
    assert section.systems[0].points[-2].ftx.errors == 0


def test_the_threshold_stays_that_of_the_full_size(
    report: EvaluationReport, section: SweepResult
) -> None:
    rows = {row.system: row.threshold for row in report.accuracy if row.primary}
    assert {one.system: one.threshold for one in section.systems} == rows


def test_the_curve_and_its_sentence_stand_on_the_page(report: EvaluationReport) -> None:
    page = evaluation_html(report)
    assert "pixels between the eyes (log scale)" in page
    assert "alpha: misses within 10 % from 20 px between the eyes on" in page
    assert any("alpha: misses within" in sentence for sentence in report.decision.findings)


def test_six_people_give_no_size_and_no_curve() -> None:
    report = evaluated(made(6))
    assert report.sweep is not None
    for one in report.sweep.systems:
        assert (one.enough_px, one.too_few_px) == (None, None)
        assert "not enough evidence" in one.sentence
        assert all(point.fnir.value is None for point in one.points)
    page = evaluation_html(report)
    assert "No curve is drawn: too few people were searched" in page


def test_searches_of_the_sweep_that_were_not_made_are_counted() -> None:
    stored = made(40)
    kept = {key: a for key, a in stored.answers.items() if a.question.kind is not Kind.SEARCH}
    searches = [item for item in stored.answers.items() if item[1].question.kind is Kind.SEARCH]
    section = sweep_of(replace(stored, answers=kept | dict(searches[:-7])))
    assert section.missing == 7


def test_cameras_of_a_survey_stand_beside_the_misses_of_their_size() -> None:
    survey = SurveyResult(
        tool_version="test",
        surveyed_at="2026-03-14",
        detector="d",
        cameras=tuple(a_camera(name, px) for name, px in (("door", 25.0), ("mast", 6.0))),
    )
    report = evaluated(replace(made(40), survey=survey))
    assert report.sweep is not None
    cameras = report.sweep.cameras
    found = {(one.id, one.system): one.level_px for one in cameras}
    assert found[("door", "alpha")] == found[("door", "beta")] == 20
    assert found[("mast", "alpha")] is None
    assert all(one.source == "survey" for one in cameras)
    assert {(one.id, one.eye_px_p10, one.eye_px_p90) for one in cameras} == {
        ("door", 12.5, 50), ("mast", 3, 12),
    }  # fmt: skip
    assert "its median: 1 <bdi>door</bdi>, 2 <bdi>mast</bdi>." in evaluation_html(report)


def a_camera(name: str, median: float) -> SurveyCamera:
    uses = (ALERTS, INVESTIGATION, DETECTION)
    verdicts = tuple(SurveyVerdict(use=use, result="fit", why="") for use in uses)
    return SurveyCamera(
        id=name, width=1920, height=1080, seconds=60, frames=600, frames_per_second=10, looks=120,
        people=40, faces=300, people_per_hour=2400, faces_per_hour=18000, eye_px_p10=median / 2,
        eye_px_p50=median, eye_px_p90=2 * median, best_eye_px_p50=median, px_per_meter=None,
        sharpness_p50=None, brightness_p50=None, checks=(), verdicts=verdicts, enough=True,
        why_not_enough="",
    )  # fmt: skip


def test_no_sweep_is_said_so_and_how_to_get_one() -> None:
    design = SearchDesign(gallery=6, mated_people=6, nonmated_people=6)
    report = evaluated(made_up_evaluation(design, MODELS, default_threshold=0.4))
    assert report.sweep is None
    assert "rekadapter evaluate --sweep" in evaluation_html(report)


# --- from the command line --------------------------------------------------------------------


def test_a_sweep_is_asked_once_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text("[sweep]\neye_px = [20, 12]\n")
    data, out = people_folders(tmp_path / "people", 6), tmp_path / "out"
    arguments = ["evaluate", str(data), "-b", "memory", "--sweep", "--rules", str(rules)]
    assert run([*arguments, "--out", str(out)]) == 0
    plain = ["evaluate", str(data), "-b", "memory", "--rules", str(rules)]
    assert run([*plain, "--out", str(tmp_path / "plain")]) == 0
    swept, without = (
        [a for a in read_answers(place / "answers.jsonl") if a.question.kind is Kind.SEARCH]
        for place in (out, tmp_path / "plain")
    )
    section = json.loads((out / "report.json").read_text())["sweep"]
    assert len(swept) == len(without) + 2 * section["photographs"]
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    capsys.readouterr()
    assert run([*arguments, "--out", str(out)]) == 0
    assert "nothing will be asked or paid" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert run(["report", str(out)]) == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_searches_of_a_sweep_are_priced_before_anything_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text("[sweep]\neye_px = [20, 12]\n")
    data = people_folders(tmp_path / "people", 6)
    arguments = ["evaluate", str(data), "-b", "memory", "-b", "rekognition", "--sweep"]
    arguments += ["--rules", str(rules), "--out", str(tmp_path / "o"), "--max-usd", "0.02"]
    assert run(arguments) == 2
    # 3 enrollments and 15 searches, as without a sweep; 12 photographs again at two sizes
    shown = capsys.readouterr().err
    assert "rekognition: 3 enrollments, 39 searches" in shown
    assert "--max-usd 0.05" in shown
