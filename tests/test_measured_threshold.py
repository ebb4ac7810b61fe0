"""A threshold in use that comes from a report: taken only where the report carries it."""

from __future__ import annotations

import html
import json
from datetime import date
from pathlib import Path

import pytest

from rekadapter.backends.memory import SIMILARITY, MemoryRecognizer
from rekadapter.cli import jobs, run
from rekadapter.cli.session import BY_HAND, SHIPPED, Session
from rekadapter.errors import UsageError
from rekadapter.evaluation.evaluate import evaluated
from rekadapter.evaluation.measured_threshold import (
    BackendInUse,
    MeasuredThreshold,
    measured_threshold,
    warnings_in_use,
)
from rekadapter.evaluation.results import EvaluationReport, report_text
from rekadapter.evaluation.rules import Governance, Rules
from rekadapter.evaluation.synthetic import ScoreModel, SearchDesign
from rekadapter.feeds import FeedSpec
from rekadapter.imaging import encode_jpeg
from rekadapter.pipeline import RunOptions
from rekadapter.sinks.audit import AuditLog, Given, Reported, states_of
from rekadapter.sinks.audit_report import note_report
from rekadapter.testing.drawn import portrait
from rekadapter.testing.evaluations import made_up_evaluation
from rekadapter.types import CameraId, GalleryDescription, GalleryId, SubjectId
from tests.evaluate.drawn_people import people_folders

MODEL = MemoryRecognizer().capabilities.model
IN_USE = BackendInUse("site", "memory", MODEL, SIMILARITY.name)


def measured(people: int, rules: Rules) -> EvaluationReport:
    """A report as if the memory backend, under the name ``site``, had been measured."""
    design = SearchDesign(gallery=people, mated_people=people, nonmated_people=2 * people)
    report = evaluated(
        made_up_evaluation(design, {"site": ScoreModel()}, default_threshold=0.4, rules=rules)
    )
    system = report.systems[0].model_copy(
        update={"backend": "memory", "model": MODEL, "scale": SIMILARITY.name}
    )
    real = report.run.model_copy(update={"synthetic": False})
    return report.model_copy(update={"systems": (system,), "run": real})


@pytest.fixture(scope="module")
def large() -> EvaluationReport:
    rules = Rules(target_fpir=0.1, governance=Governance(expiry="2026-06-30"))
    return measured(200, rules)


@pytest.fixture(scope="module")
def small() -> EvaluationReport:
    return measured(12, Rules(target_fpir=0.1))


def written(folder: Path, report: EvaluationReport) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "report.json").write_text(report_text(report), encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path: Path, large: EvaluationReport) -> Path:
    return written(tmp_path / "measured", large)


def primary(report: EvaluationReport) -> float:
    return next(row.threshold for row in report.accuracy if row.primary and row.threshold)


# --- which one --------------------------------------------------------------------------------


def test_the_primary_threshold_comes_in_full_with_what_it_rests_on(
    folder: Path, large: EvaluationReport
) -> None:
    found = measured_threshold(folder, IN_USE)
    assert found.value == primary(large)
    assert large.run.id in found.origin
    assert "FPIR 10 % at N = 200; measured FPIR" in found.origin
    assert measured_threshold(folder / "report.json", IN_USE) == found


def test_another_name_for_the_only_system_of_its_kind_will_do(folder: Path) -> None:
    other = BackendInUse("onprem", "memory", MODEL, SIMILARITY.name)
    assert measured_threshold(folder, other).value == measured_threshold(folder, IN_USE).value


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        (BackendInUse("site", "memory", "memory-2", SIMILARITY.name), "has memory-2"),
        (BackendInUse("site", "memory", MODEL, "distance"), "scores as distance"),
        (BackendInUse("cloud", "rekognition", MODEL, SIMILARITY.name), "measured site, not cloud"),
    ],
    ids=["model", "scale", "system"],
)
def test_another_system_is_refused(folder: Path, backend: BackendInUse, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        measured_threshold(folder, backend)


def test_thin_evidence_carries_no_threshold(tmp_path: Path, small: EvaluationReport) -> None:
    with pytest.raises(UsageError, match="not enough evidence for a threshold of site at FPIR"):
        measured_threshold(written(tmp_path / "thin", small), IN_USE)


def test_a_threshold_of_searches_is_none_of_comparisons(folder: Path) -> None:
    with pytest.raises(UsageError, match="compared nothing 1:1"):
        measured_threshold(folder, IN_USE, comparisons=True)


def test_made_up_or_damaged_reports_are_refused(tmp_path: Path, large: EvaluationReport) -> None:
    for change, words in (
        ({"synthetic": True}, "made-up scores"),
        ({"doubts": ("answers.jsonl is not as it was",)}, "damaged files: answers"),
    ):
        worse = large.model_copy(update={"run": large.run.model_copy(update=change)})
        with pytest.raises(UsageError, match=words):
            measured_threshold(written(tmp_path / "worse", worse), IN_USE)


@pytest.mark.parametrize("text", ["", "{}", "not json", '{"schema_version": 1}'])
def test_what_is_no_report_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(UsageError, match="no report of this version"):
        measured_threshold(tmp_path, IN_USE)


def test_a_report_changed_after_it_was_written_is_refused(
    folder: Path, large: EvaluationReport
) -> None:
    file = folder / "report.json"
    log = AuditLog(folder)
    log.add(Given({}))
    log.close()
    note_report(folder, Reported("test", {}, states_of(folder, ("report.json",))), ())
    assert measured_threshold(folder, IN_USE).value == primary(large)
    file.write_text(file.read_text().replace(f"{primary(large)}", "0.1"), encoding="utf-8")
    with pytest.raises(UsageError, match=r"report\.json is not as it was"):
        measured_threshold(folder, IN_USE)


# --- what makes it worth less -----------------------------------------------------------------


def gallery(faces: int, model: str = MODEL) -> GalleryDescription:
    return GalleryDescription(GalleryId("staff"), faces, model)


@pytest.fixture
def threshold(folder: Path) -> MeasuredThreshold:
    return measured_threshold(folder, IN_USE)


def test_a_gallery_no_larger_than_measured_takes_nothing_away(threshold: MeasuredThreshold) -> None:
    assert warnings_in_use(threshold, gallery(200), date(2026, 6, 30)) == ()


def test_a_larger_gallery_is_warned_of_with_how_much(threshold: MeasuredThreshold) -> None:
    (warning,) = warnings_in_use(threshold, gallery(700), date(2026, 1, 1))
    assert "holds 700 faces and it was measured with 200: expect up to 3.5 times" in warning


def test_an_expired_report_is_warned_of(threshold: MeasuredThreshold) -> None:
    (warning,) = warnings_in_use(threshold, None, date(2026, 7, 1))
    assert "expired on 2026-06-30" in warning


def test_a_gallery_of_another_model_is_warned_of(threshold: MeasuredThreshold) -> None:
    known = MeasuredThreshold(0.5, "", 200, "faces 6.0", "photograph", None)
    (warning,) = warnings_in_use(known, gallery(1, "faces 7.0"), date(2026, 1, 1))
    assert "belongs to model faces 7.0" in warning
    assert warnings_in_use(threshold, gallery(1, "faces 7.0"), date(2026, 1, 1)) == ()


# --- in use -----------------------------------------------------------------------------------


@pytest.fixture
def session(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """Settings that name the report; what a command opens by them."""
    (tmp_path / "rekadapter.toml").write_text(
        f'backend = "site"\n[backends.site]\ntype = "memory"\nthreshold = "{folder.name}"\n'
    )
    monkeypatch.chdir(tmp_path)
    return Session.start(None)


def test_the_settings_name_a_report_and_a_flag_wins(
    session: Session, large: EvaluationReport
) -> None:
    with session.backend(None, thresholds=()) as opened:
        assert opened.threshold.value == primary(large)
        assert large.run.id in opened.origin
    with session.backend(None, thresholds=("55",)) as opened:
        assert (opened.threshold.value, opened.origin) == (55.0, BY_HAND)
    with session.backend(None, thresholds=("site=measured/report.json",)) as opened:
        assert opened.threshold.value == primary(large)


def test_what_decides_nothing_reads_no_report(session: Session, folder: Path) -> None:
    (folder / "report.json").write_text("damaged")
    with session.backend(None) as opened:
        assert opened.origin == SHIPPED
    with pytest.raises(UsageError, match="no report"), session.backend(None, thresholds=()):
        pass


def test_a_flag_that_is_neither_number_nor_report_is_named(session: Session) -> None:
    with (
        pytest.raises(UsageError, match="'nowhere' is not a threshold"),
        session.backend(None, thresholds=("site=nowhere",)),
    ):
        pass


def test_a_pair_is_not_verified_by_a_threshold_of_searches(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert session.settings.backends["site"].threshold == "measured"
    for who in ("ann", "bob"):
        (tmp_path / f"{who}.jpg").write_bytes(encode_jpeg(portrait(who), 90))
    assert run(["verify", "ann.jpg", "bob.jpg"]) == 2
    assert "compared nothing 1:1" in capsys.readouterr().err
    assert run(["verify", "ann.jpg", "ann.jpg", "--threshold", "80"]) == 0
    assert f"threshold: 80.0 (memory similarity), {BY_HAND}" in capsys.readouterr().out


def test_a_run_keeps_where_its_threshold_comes_from(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "door").mkdir()
    (tmp_path / "door" / "0.jpg").write_bytes(encode_jpeg(portrait("ann"), 90))
    spec = FeedSpec(CameraId("door"), str(tmp_path / "door"))
    out, staff = tmp_path / "run", GalleryId("staff")
    with session.backend(None, thresholds=()) as opened:
        opened.recognizer.create_gallery(staff)
        for number in range(201):
            person = SubjectId(f"p{number}")
            opened.recognizer.enroll(staff, portrait(person), subject=person)
        request = jobs.RunRequest((spec,), staff, out, "rekadapter run door", RunOptions())
        jobs.run_opened([opened], jobs.Uplink.capped_at(None), request)
        origin = opened.origin
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert record["backends"][0]["details"]["threshold_in_force"] == origin
    assert any("holds 201 faces" in note for note in record["notes"])
    assert any("measured on photographs" in note for note in record["notes"])
    for page in ("report.html", "feeds.html"):
        assert origin in html.unescape((out / page).read_text(encoding="utf-8"))
    said = capsys.readouterr().err
    assert origin in said
    assert "warning: the threshold of site: gallery 'staff' holds 201 faces" in said


def test_an_evaluation_says_that_it_gives_no_threshold_of_few_people(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = people_folders(tmp_path / "people", 6)
    assert run(["evaluate", str(data), "-b", "memory", "--out", str(tmp_path / "out")]) == 0
    assert "memory: no threshold for FPIR 1 % to use: " in capsys.readouterr().err
