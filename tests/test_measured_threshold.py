"""A measured threshold as a user meets it: in settings and flags, in what is printed and kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.cli import run
from rekadapter.cli.session import Session
from rekadapter.cli.shadowing import ShadowOptions, shadowed
from rekadapter.cli.thresholds import ThresholdRequest
from rekadapter.imaging import encode_jpeg
from rekadapter.rekognition_api.server import ServiceServer, create_app
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.testing.drawn import DrawnFace, picture, portrait
from rekadapter.types import GalleryId, SubjectId
from tests.evaluate.measured_reports import ENROLLED, Measurement, entries, measured

STAFF = GalleryId("staff")
MEASURED = "for FPIR 10 % at N = 40, report "


@pytest.fixture
def service() -> MemoryRecognizer:
    """What answers for the cloud; ann is enrolled."""
    recognizer = MemoryRecognizer()
    recognizer.create_gallery(STAFF)
    recognizer.enroll(STAFF, portrait("ann"), subject=SubjectId("ann"))
    return recognizer


@pytest.fixture(autouse=True)
def in_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: MemoryRecognizer
) -> Iterator[Path]:
    """Pictures of ann and of a stranger, and settings of a cloud, which is our own service."""
    for name, who in (("door/1.jpg", "ann"), ("door/2.jpg", "eve"), ("door/3.jpg", "ann")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode_jpeg(picture(DrawnFace(who, 100, 100, 200)), 90))
    monkeypatch.chdir(tmp_path)
    with ServiceServer(create_app(RekognitionService(service))) as server:
        (tmp_path / "rekadapter.toml").write_text(
            'backend = "cloud"\ngallery = "staff"\n\n[backends.cloud]\ntype = "rekognition"\n'
            f'endpoint_url = "{server.url}"\nregion = "us-east-1"\nunsigned = true\n'
        )
        yield tmp_path


@pytest.fixture
def report(in_a_folder: Path) -> Path:
    """An evaluation of the cloud, as it is set up."""
    return measured(in_a_folder / "measured", entries(None, "cloud"))


@pytest.fixture
def compared(in_a_folder: Path) -> Path:
    """The same with comparisons (1:1)."""
    return measured(in_a_folder / "compared", entries(None, "cloud"), Measurement(pairs=True))


def settle(folder: Path, line: str) -> None:
    """One more line in the cloud's table."""
    with (folder / "rekadapter.toml").open("a") as file:
        file.write(line + "\n")


# --- where it is shown ------------------------------------------------------------------------


def test_identify_says_where_its_threshold_comes_from(
    in_a_folder: Path, report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(in_a_folder, f'threshold_from = "{report.name}"')
    assert run(["identify", "door/1.jpg"]) == 0
    shown = capsys.readouterr()
    assert f"threshold 49.1462, {MEASURED}" in shown.out
    assert shown.err == ""


def test_programs_are_told_the_same(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["identify", "door/1.jpg", "--threshold-from", str(report), "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    origin = answer["threshold_origin"]
    assert origin["source"] == "measured"
    assert origin["words"].startswith(MEASURED)
    assert origin["measured"]["gallery_size"] == ENROLLED
    assert origin["measured"]["rate"] == pytest.approx(20 / 180, rel=1e-6)
    assert answer["threshold"]["value"] == pytest.approx(49.1462, abs=1e-4)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ([], "threshold 80, shipped default, measured on nobody of yours"),
        (["-t", "90"], "threshold 90, given by hand"),
        (["-t", "80"], "threshold 80, given by hand"),
    ],
)
def test_what_was_not_measured_is_not_said_to_be(
    flags: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["identify", "door/1.jpg", *flags]) == 0
    assert says in capsys.readouterr().out


def test_verify_goes_by_the_threshold_of_comparisons(
    compared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["verify", "door/1.jpg", "door/3.jpg", "--threshold-from", str(compared)]
    assert run(command) == 0
    shown = capsys.readouterr()
    assert ", for FMR 1 %, report " in shown.out
    assert shown.err.count("warning") == 1  # which model compares, the service does not say
    assert run([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["threshold_origin"]["measured"]["metric"] == "FMR"
    assert told["comparisons"][0]["matched"]


def test_a_run_keeps_where_its_threshold_comes_from_everywhere(
    in_a_folder: Path, report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--threshold-from", f"cloud={report}", "--mode", "frame", "--out", "run"]
    assert run(["run", "door", *flags]) == 0
    shown = capsys.readouterr().err
    assert shown.count("warning: the threshold of cloud: it was measured on photographs") == 1
    assert f"cloud: threshold 49.1462, {MEASURED}" in shown
    out = in_a_folder / "run"

    def stored(name: str) -> Any:
        return json.loads((out / name).read_text(encoding="utf-8"))

    origin = stored("run.json")["backends"][0]["threshold_origin"]
    assert (origin["source"], len(origin["warnings"])) == ("measured", 1)
    assert stored("summary.json")["totals"][0]["threshold_origin"] == origin
    began = json.loads((out / "audit.jsonl").read_text(encoding="utf-8").splitlines()[0])
    (system,) = began["record"]["systems"]
    assert system["threshold_origin"] == origin["words"]
    assert system["threshold_warnings"] == origin["warnings"]
    written = stored("report.json")
    assert written["systems"][0]["in_force"] == {
        "threshold": stored("run.json")["backends"][0]["threshold"],
        "origin": origin["words"],
        "mode": "frame",
        "warnings": origin["warnings"],
    }
    assert any(origin["warnings"][0] in one for one in written["limitations"])
    for page in ("feeds.html", "report.html"):
        text = (out / page).read_text(encoding="utf-8")
        assert origin["words"] in text
        assert origin["warnings"][0] in text


def test_a_run_by_the_default_says_so(
    in_a_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["run", "door", "--mode", "frame", "--out", "run"]) == 0
    assert "threshold 80, shipped default, measured on nobody" in capsys.readouterr().err
    page = (in_a_folder / "run" / "report.html").read_text(encoding="utf-8")
    assert "shipped default, measured on nobody of yours" in page


# --- refused, never replaced by a default -----------------------------------------------------


def test_too_little_evidence_is_an_error_and_no_default(
    in_a_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = measured(in_a_folder / "few", entries(None, "cloud"), Measurement(absent=20))
    settle(in_a_folder, f'threshold_from = "{few.name}"')
    assert run(["identify", "door/1.jpg"]) == 2
    shown = capsys.readouterr()
    assert "not enough evidence: 8 people are too few" in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_another_endpoint_is_another_system(
    in_a_folder: Path, report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = in_a_folder / "rekadapter.toml"
    file.write_text(file.read_text().replace("us-east-1", "eu-west-1"))
    assert run(["identify", "door/1.jpg", "--threshold-from", str(report)]) == 2
    assert "region us-east-1 then, eu-west-1 now" in capsys.readouterr().err


def test_a_collection_of_another_face_model_is_refused(
    in_a_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = measured(
        in_a_folder / "old", entries(None, "cloud"), Measurement(gallery_model="memory-0")
    )
    assert run(["run", "door", "--threshold-from", str(old), "--out", "run"]) == 2
    assert "gallery 'staff' is one of model memory-1" in capsys.readouterr().err
    assert not (in_a_folder / "run").exists()


def test_a_gallery_of_more_than_twice_the_size_has_to_be_accepted(
    report: Path, service: MemoryRecognizer, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(2 * ENROLLED):  # and ann
        service.enroll(STAFF, portrait(f"s{number}", side=64), subject=SubjectId(f"s{number}"))
    command = ["identify", "door/1.jpg", "--threshold-from", str(report)]
    assert run(command) == 2
    assert "holds 81 faces and the threshold was measured at 40" in capsys.readouterr().err
    assert run([*command, "--accept-larger-gallery"]) == 0
    shown = capsys.readouterr().err
    assert shown.count("warning: the threshold of cloud: gallery 'staff' holds 81 faces") == 1


def test_accepting_it_may_stand_in_the_settings(
    in_a_folder: Path, report: Path, service: MemoryRecognizer
) -> None:
    for number in range(2 * ENROLLED):
        service.enroll(STAFF, portrait(f"s{number}", side=64), subject=SubjectId(f"s{number}"))
    settle(in_a_folder, f'threshold_from = "{report.name}"\naccept_larger_gallery = true')
    assert run(["identify", "door/1.jpg"]) == 0


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["-t", "90", "--threshold-from", "measured"], "both given for cloud"),
        (["--threshold-from", "clowd=measured"], "no backend 'clowd' is used here"),
        (["--threshold-from", "nowhere"], "no report can be read at nowhere"),
        (["--target-fpir", "0.1"], "give --threshold-from"),
        (["--accept-larger-gallery"], "give --threshold-from"),
        (["--threshold-from", "measured", "--target-fpir", "0.02"], "only at 15 %, 10 %, 1 %"),
    ],
    ids=["both", "misspelt", "no-report", "target-alone", "accepted-alone", "no-row"],
)
def test_flags_that_make_no_sense_are_one_clear_line(
    report: Path, flags: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report.name == "measured"
    assert run(["identify", "door/1.jpg", *flags]) == 2
    shown = capsys.readouterr()
    assert complaint in shown.err
    assert shown.err.count("\n") == 1


# --- flags and settings -----------------------------------------------------------------------


def test_a_number_on_the_command_line_wins_over_the_report_of_the_settings(
    in_a_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(in_a_folder, 'threshold_from = "nowhere"')
    assert run(["identify", "door/1.jpg", "-t", "90"]) == 0
    assert "threshold 90, given by hand" in capsys.readouterr().out


def test_a_report_on_the_command_line_wins_over_the_number_of_the_settings(
    in_a_folder: Path, report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(in_a_folder, "threshold = 95")
    assert run(["identify", "door/1.jpg", "--threshold-from", str(report)]) == 0
    assert f"threshold 49.1462, {MEASURED}" in capsys.readouterr().out


def test_a_target_in_the_settings_is_of_its_own_purpose(in_a_folder: Path, compared: Path) -> None:
    settle(in_a_folder, f'threshold_from = "{compared}"\ntarget_fpir = 0.15\ntarget_fmr = 0.01')
    session = Session.start(None)
    found = {}
    for request in (ThresholdRequest("photographs"), ThresholdRequest("pairs")):
        with session.backend("cloud", thresholds=request) as opened:
            assert opened.threshold_origin.measured is not None
            found[opened.threshold_origin.measured.metric] = opened.threshold_origin.measured.target
    assert found == {"FPIR": 0.15, "FMR": 0.01}


def test_of_two_backends_one_may_take_a_row_of_a_report(in_a_folder: Path, report: Path) -> None:
    settle(in_a_folder, "[backends.memory]\nthreshold = 90")
    request = ThresholdRequest("photographs", reports=(f"cloud={report}",), target=0.15)
    session, both = Session.start(None), ("cloud", "memory")
    with session.backend("cloud", thresholds=request, among=both) as opened:
        assert opened.threshold_origin.words.startswith("for FPIR 15 %")
    with session.backend("memory", thresholds=request, among=both) as opened:
        assert (opened.threshold.value, opened.threshold_origin.source) == (90, "given by hand")


def test_what_needs_no_threshold_reads_no_report(in_a_folder: Path) -> None:
    settle(in_a_folder, 'threshold_from = "nowhere"')
    assert run(["gallery", "list"]) == 0
    assert run(["detect", "door/1.jpg"]) == 0


def test_a_path_with_an_equals_sign_is_given_with_its_backend(
    in_a_folder: Path, report: Path
) -> None:
    odd = report.rename(in_a_folder / "a=b")
    assert run(["identify", "door/1.jpg", "--threshold-from", f"cloud={odd}"]) == 0


def test_a_shadow_decides_by_the_threshold_measured_for_it(
    in_a_folder: Path, report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(in_a_folder, f'threshold_from = "{report.name}"\n[backends.memory]\nthreshold = 90')
    session, log = Session.start(None), in_a_folder / "shadow.jsonl"
    options = ShadowOptions("cloud", log, usd_per_hour=1)
    with session.backend("memory") as primary:
        primary.recognizer.create_gallery(STAFF)
        primary.recognizer.enroll(STAFF, portrait("ann"), subject=SubjectId("ann"))
        with shadowed(session, primary, options) as recognizer:
            recognizer.identify(STAFF, portrait("ann"), threshold=primary.threshold)
    assert "how large the galleries are is not known" in capsys.readouterr().err
    records = [json.loads(line) for line in log.read_text().splitlines()]
    (pair,) = [one for one in records if one["record"] == "pair"]
    assert pair["primary"]["threshold"] == 90
    assert pair["shadow"]["threshold"] == pytest.approx(49.1462, abs=1e-4)


# --- a backend of this machine ----------------------------------------------------------------


@pytest.mark.slow
def test_a_local_gallery_goes_by_what_was_measured(
    in_a_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (entry,) = entries(None, "local")
    report = measured(in_a_folder / "here", [entry], Measurement(gallery_model=entry.model))
    assert run(["gallery", "create", "staff", "-b", "local"]) == 0
    capsys.readouterr()
    command = ["identify", "door/1.jpg", "-b", "local", "--threshold-from", str(report)]
    assert run(command) == 0
    shown = capsys.readouterr()
    assert f"threshold 49.1462, {MEASURED}" in shown.out
    assert shown.err == ""


# --- the end of an evaluation -----------------------------------------------------------------


def test_an_evaluation_ends_with_the_lines_that_take_its_threshold_into_use(
    in_a_folder: Path, report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["report", str(report)]) == 0
    _, _, lines = capsys.readouterr().err.partition("put into rekadapter.toml:\n")
    table, line = lines.splitlines()[:2]
    assert table == "[backends.cloud]"
    settle(in_a_folder, line)
    assert run(["identify", "door/1.jpg"]) == 0
    assert MEASURED in capsys.readouterr().out


def test_an_evaluation_with_too_few_people_ends_with_the_reason(
    in_a_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = measured(in_a_folder / "few", entries(None, "cloud"), Measurement(absent=20))
    assert run(["report", str(few)]) == 0
    shown = capsys.readouterr().err
    assert "no threshold to use: " in shown
    assert "put into rekadapter.toml" not in shown
