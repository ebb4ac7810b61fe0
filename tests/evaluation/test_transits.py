"""A run held against who was really there: every name and every transit is counted, exactly."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.errors import UsageError
from rekadapter.evaluation.decision_page import evaluation_html
from rekadapter.evaluation.feed_inputs import FeedInputs
from rekadapter.evaluation.feed_report import Kept, feed_report
from rekadapter.evaluation.result_base import EstimateResult
from rekadapter.evaluation.results import EvaluationReport, report_text
from rekadapter.evaluation.rules import Rules
from rekadapter.evaluation.threshold_report import (
    Purpose,
    SystemInUse,
    measured_threshold,
    read_threshold_report,
)
from rekadapter.evaluation.threshold_use import ThresholdUse, warnings_of
from rekadapter.evaluation.track_names import Naming, track_scores
from rekadapter.evaluation.truth import TransitEntry, Truth, read_truth
from rekadapter.gate import clear_score
from rekadapter.observation import CandidateRecord, Decision, Observation, Run
from rekadapter.testing.runs import START, RunBuilder, Transit, local_backend, remote_backend
from rekadapter.tracking import DecisionRules, decide
from rekadapter.types import (
    BoundingBox,
    CameraId,
    Candidate,
    ComparisonScore,
    DetectedFace,
    EnrolledFace,
    FaceId,
    FaceIdentification,
    GalleryDescription,
    GalleryId,
    ImageId,
    Reason,
    SubjectId,
)

LOCAL = local_backend()


# --- truth ----------------------------------------------------------------------------------------


def csv(path: Path, *rows: str, header: str = "role,person,camera,enters,leaves") -> Path:
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return path


def test_times_are_read_as_seconds_or_as_a_clock(tmp_path: Path) -> None:
    file = csv(tmp_path / "t.csv", "gallery,ann,,,", "transit,ann,lobby,1:05.5,0:01:10")
    truth = read_truth(file, ["lobby"])
    assert truth.gallery == ("ann",)
    assert [(one.enters, one.leaves) for one in truth.transits] == [(65.5, 70.0)]


def test_a_toml_says_the_same_as_a_csv(tmp_path: Path) -> None:
    rows = ("gallery,ann,,,,f", "transit,ann,lobby,1,3,f", "transit,bob,lobby,2,4,m")
    header = "role,person,camera,enters,leaves,group:sex"
    table = tmp_path / "t.toml"
    table.write_text(
        'gallery = ["ann"]\n'
        '[[transit]]\nperson = "ann"\ncamera = "lobby"\nenters = 1\nleaves = 3\n'
        '[[transit]]\nperson = "bob"\ncamera = "lobby"\nenters = "0:02"\nleaves = 4\n'
        '[[person]]\nname = "ann"\ngroups = {sex = "f"}\n'
        '[[person]]\nname = "bob"\ngroups = {sex = "m"}\n',
        encoding="utf-8",
    )
    as_csv = read_truth(csv(tmp_path / "t.csv", *rows, header=header), ["lobby"])
    assert read_truth(table, ["lobby"]) == as_csv


def test_people_without_a_name_may_be_of_any_group(tmp_path: Path) -> None:
    rows = ("gallery,ann,,,,", "transit,unknown,lobby,1,3,f", "transit,unknown,lobby,2,4,m")
    header = "role,person,camera,enters,leaves,group:sex"
    truth = read_truth(csv(tmp_path / "t.csv", *rows, header=header), ["lobby"])
    assert [one.nameless for one in truth.transits] == [True, True]
    assert truth.people == ()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["transit,ann,lobby,1,3"], "nobody is in the gallery"),
        (["gallery,ann,,,"], "no transit"),
        (["gallery,ann,,,", "transit,ann,attic,1,3"], "no camera of the run is called attic"),
        (["gallery,ann,,,", "transit,ann,lobby,3,1"], "before entering"),
        (["gallery,ann,,,", "transit,ann,lobby,-1,1"], "enters"),
        (["gallery,ann,,,", "transit,ann,lobby,1:75,99"], "enters"),
        (["gallery,ann,,,", "transit,ann,lobby,soon,9"], "enters"),
        (["gallery,ann,,,", "transit,ann,lobby,nan,9"], "enters"),
        (["gallery,ann,,,", "seen,ann,lobby,1,3"], "role"),
        (["gallery,ann,,,", "transit,ann,lobby,1"], "fields"),
        (["gallery,unknown,,,", "transit,ann,lobby,1,3"], "cannot be enrolled"),
        (["gallery,Zo\u00eb,,,", "transit,zoe\u0308,lobby,1,3"], "write the name alike"),
        (
            ["gallery,ann,,,", "transit,ann,lobby,1,3", "transit,ann,lobby,2,4"],
            "twice at the same time",
        ),
    ],
)
def test_a_truth_that_contradicts_itself_is_refused(
    tmp_path: Path, rows: list[str], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        read_truth(csv(tmp_path / "t.csv", *rows), ["lobby"])


def test_a_truth_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00role")
    for file in (tmp_path / "t.csv", tmp_path / "missing.csv", tmp_path / "missing.toml"):
        with pytest.raises(UsageError):
            read_truth(file, ["lobby"])


# --- scores of tracks -----------------------------------------------------------------------------


@st.composite
def sightings(draw: st.DrawFn) -> list[Observation]:
    def one(frame: int) -> Observation:
        scores = draw(st.lists(st.integers(0, 20), max_size=3))
        names = draw(st.permutations(["ann", "bob", "eve"]))
        found = sorted(zip(scores, names, strict=False), key=lambda pair: -pair[0])
        return Observation(
            backend=LOCAL.name,
            camera=CameraId("lobby"),
            frame=frame,
            seconds=float(frame),
            decision=Decision(None, Reason.BELOW_THRESHOLD, None),
            latency_seconds=0.1,
            box=BoundingBox(0.1, 0.1, 0.1, 0.1),
            eye_distance_px=draw(st.sampled_from([10.0, 30.0, 60.0])),
            candidates=tuple(
                CandidateRecord(FaceId(name), SubjectId(name), 5.0 * score, LOCAL.scale.name)
                for score, name in found
            ),
        )

    return [one(frame) for frame in range(draw(st.integers(1, 6)))]


def decided(seen: Iterable[Observation], threshold: float, naming: Naming) -> str | None:
    """What rekadapter's own rule says at a threshold."""

    def candidate(record: CandidateRecord) -> Candidate:
        box = BoundingBox(0, 0, 1, 1)
        face = EnrolledFace(record.face_id, ImageId(""), record.subject, box, 99.0)
        return Candidate(face, ComparisonScore(record.score, LOCAL.scale))

    faces = [
        FaceIdentification(
            DetectedFace(BoundingBox(0, 0, 1, 1), 99.0, eye_distance_px=one.eye_distance_px),
            tuple(map(candidate, one.candidates)),
        )
        for one in seen
    ]
    at = ComparisonScore(threshold, LOCAL.scale)
    clear = clear_score(at) if naming.clear_is_enough else None
    rules = DecisionRules(at, min_sightings=naming.min_sightings, clear=clear)
    return decide(faces, rules).subject


@given(seen=sightings(), least=st.integers(1, 2), clear=st.booleans())
def test_the_score_of_a_track_is_the_highest_threshold_that_names_the_subject(
    seen: list[Observation],
    least: int,
    clear: bool,  # noqa: FBT001 - hypothesis gives it by name
) -> None:
    naming = Naming(LOCAL, least, clear)
    scores = {str(one.subject): one.score for one in track_scores(seen, naming)}
    for threshold in [step / 2 for step in range(201)]:
        named = decided(seen, threshold, naming)
        assert named is None or scores[named] >= threshold - 1e-9
    for subject, score in scores.items():
        assert decided(seen, score - 1e-9, naming) == subject


# --- counting -------------------------------------------------------------------------------------


def truth(
    *transits: tuple[str, str, float, float], gallery: Iterable[str] = ("ann", "bob")
) -> Truth:
    return Truth(
        gallery=tuple(gallery),
        transits=tuple(
            TransitEntry(camera=camera, person=person, enters=enters, leaves=leaves)
            for camera, person, enters, leaves in transits
        ),
    )


def report_of(run: Run, who: Truth | None, rules: Rules | None = None) -> EvaluationReport:
    return feed_report(run, Kept(FeedInputs(truth=who, rules=rules or Rules()), "0" * 64))


def one_system() -> RunBuilder:
    return RunBuilder(backends=(LOCAL,), cameras={"lobby": 400, "gate": 400})


def test_each_transit_and_each_name_is_counted_once() -> None:
    builder = one_system()
    builder.transit("local", Transit("lobby", 12, 30, "ann", listed=True))  # right
    builder.transit("local", Transit("lobby", 52, 60, "ann", listed=True))  # bob was there
    builder.transit("local", Transit("lobby", 102, 120, "bob", listed=True))  # a stranger was there
    builder.transit("local", Transit("lobby", 202, 220, "bob", listed=True))  # somebody unknown was
    builder.transit("local", Transit("lobby", 300, 310, "ann", listed=True))  # nobody was there
    builder.transit("local", Transit("gate", 12, 30, None))  # ann, not named
    who = truth(
        ("lobby", "ann", 1.0, 3.0),
        ("lobby", "bob", 5.0, 6.0),
        ("lobby", "visitor", 10.0, 12.0),
        ("lobby", "unknown", 20.0, 22.0),
        ("gate", "ann", 1.0, 3.0),
    )
    feeds = report_of(builder.build(), who).feeds
    assert feeds is not None
    row = feeds.transits[0]
    assert (row.camera, row.mated, row.identified, row.named_as_another) == (None, 3, 1, 1)
    assert (row.nonmated, row.nonmated_named) == (1, 1)
    assert (row.nameless, row.nameless_named) == (1, 1)
    said = feeds.alerts[0]
    assert (said.names_said, said.right, said.false_alerts, said.nobody_in_view) == (5, 1, 4, 1)
    by_camera = {one.camera: one for one in feeds.alerts}
    assert by_camera["gate"].names_said == 0
    assert by_camera["lobby"].false_alerts == 4


def test_seconds_to_a_name_run_from_entering_to_the_second_sighting_answered() -> None:
    builder = one_system()
    builder.transit("local", Transit("lobby", 12, 30, "ann", listed=True))
    feeds = report_of(builder.build(), truth(("lobby", "ann", 1.0, 3.0))).feeds
    assert feeds is not None
    latency = 0.03 + 13 / 10_000  # of frame 13, the second sighting
    assert feeds.alerts[0].p50_seconds == pytest.approx(0.3 + latency)


def test_a_name_said_just_outside_a_transit_counts_within_the_tolerance_only() -> None:
    builder = one_system()
    builder.transit("local", Transit("lobby", 38, 45, "ann", listed=True))
    run = builder.build()
    near, far = truth(("lobby", "ann", 1.0, 3.0)), truth(("lobby", "ann", 1.0, 2.5))
    assert report_of(run, near).feeds.alerts[0].right == 1  # type: ignore[union-attr]
    assert report_of(run, far).feeds.alerts[0].right == 0  # type: ignore[union-attr]


def test_of_several_people_in_view_a_false_alert_belongs_to_the_one_it_fits_best() -> None:
    builder = one_system()
    builder.transit("local", Transit("lobby", 100, 120, "ann", listed=True))
    who = truth(("lobby", "visitor", 10.0, 12.0), ("lobby", "bob", 0.0, 30.0))
    feeds = report_of(builder.build(), who).feeds
    assert feeds is not None
    assert feeds.transits[0].nonmated_named == 1
    assert feeds.transits[0].named_as_another == 0
    assert feeds.alerts[0].several_in_view == 1


def test_one_who_stays_for_long_is_in_view_all_the_time() -> None:
    builder = one_system()
    builder.transit("local", Transit("lobby", 300, 320, "ann", listed=True))
    others = [("lobby", f"visitor-{n}", float(n), n + 0.5) for n in range(1, 29)]
    who = truth(("lobby", "ann", 0.0, 31.0), *others)
    feeds = report_of(builder.build(), who).feeds
    assert feeds is not None
    assert (feeds.transits[0].identified, feeds.alerts[0].false_alerts) == (1, 0)


def test_somebody_never_followed_and_somebody_too_small_are_misses_with_a_cause() -> None:
    builder = one_system()
    builder.transit("local", Transit("lobby", 50, 60, None, reason=Reason.FACE_TOO_SMALL))
    builder.fail("local", "gate", range(10, 30))
    who = truth(("lobby", "ann", 1.0, 3.0), ("lobby", "bob", 5.0, 6.0), ("gate", "bob", 1.0, 3.0))
    report = report_of(builder.build(), who)
    causes = {(one.stage, one.cause): one.count for one in report.failures[0].causes}
    assert causes == {
        ("acquire", "NO_TRACK"): 1,
        ("acquire", "FACE_TOO_SMALL"): 1,
        ("request", "REQUEST_FAILED"): 1,
    }
    assert report.failures[0].ftx.errors == 3


def test_somebody_enrolled_whom_the_truth_does_not_list_is_refused() -> None:
    builder = one_system()
    builder.transit("local", Transit("lobby", 12, 30, "zoe", listed=True))
    with pytest.raises(UsageError, match="'zoe'"):
        report_of(builder.build(), truth(("lobby", "ann", 1.0, 3.0)))


def test_transits_after_the_last_frame_are_left_out_and_said_so() -> None:
    who = truth(("lobby", "ann", 1.0, 3.0), ("lobby", "bob", 500.0, 510.0))
    report = report_of(one_system().build(), who)
    assert report.data.mated_searches == 1
    assert "1 transits begin after the run's last frame" in report.protocol.exclusions[0]


# --- figures --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Crowd:
    """Made-up people who each cross once, ten seconds apart, and what the systems made of them."""

    run: Run
    truth: Truth


def crowd(enrolled: int = 60, absent: int = 100) -> Crowd:
    """``local`` names all but every sixth; ``rekognition`` misses every third. Strangers score up
    to 70 with either; one in ten is named by local, whose threshold of 60 is too low."""
    people = [f"e{n}" for n in range(enrolled)] + [f"a{n}" for n in range(absent)]
    frames = 100 * len(people)
    builder = RunBuilder(cameras={"lobby": frames})
    transits = []
    for n, person in enumerate(people):
        first = 100 * n + 10
        transits.append(("lobby", person, first / 10, first / 10 + 3.0))
        for name, every, threshold in (("local", 6, 60.0), ("rekognition", 3, 80.0)):
            known = person.startswith("e")
            score = (50.0 if n % every == 0 else 90.0) if known else 20.0 + (n % 50)
            said = person if known else "e0"
            subject = said if score >= threshold else None
            seen = Transit("lobby", first, first + 20, subject, score=score, listed=True)
            builder.transit(name, replace(seen, runner_up=said))
    return Crowd(builder.build(), truth(*transits, gallery=people[:enrolled]))


def test_with_enough_people_the_report_gives_figures_and_compares() -> None:
    made = crowd()
    report = report_of(made.run, made.truth, Rules(target_fpir=0.1, targets=(0.1,), resamples=500))
    assert report.feeds is not None
    local, cloud = (row for row in report.feeds.transits if row.camera is None)
    assert (local.identified, cloud.identified) == (50, 40)
    assert local.missed.value == pytest.approx(1 / 6)
    assert local.missed.ci is not None
    assert local.missed.ci.lo < 1 / 6 < local.missed.ci.hi
    pair = report.feeds.pairs[0]
    assert pair.diff.value == pytest.approx(1 / 6)
    assert pair.p_value is not None
    assert pair.p_value < 0.01
    in_force = {one.system: one for one in report.accuracy if one.basis == "in_force"}
    assert in_force["local"].fpir.errors == 20
    assert in_force["rekognition"].fpir.errors == 0
    chosen = {one.system: one for one in report.accuracy if one.primary}
    # at equal false alerts: local's threshold rises, and the two still differ on the same people
    assert chosen["local"].threshold is not None
    assert chosen["local"].threshold > 60
    assert chosen["local"].fnir.value == pytest.approx(1 / 6)
    assert report.paired[0].diff is not None
    assert report.paired[0].diff.value == pytest.approx(1 / 6)
    gates = {(one.gate, one.system): one.result for one in report.verdicts}
    # its threshold rests on too few false alerts to fail it for its misses
    assert gates["accuracy", "rekognition"] == "not enough evidence"


def test_a_threshold_measured_on_feeds_is_taken_into_use_for_feeds(tmp_path: Path) -> None:
    made = crowd(enrolled=30, absent=300)
    rules = Rules(target_fpir=0.1, targets=(0.1,), resamples=100, permutations=99)
    report = report_of(made.run, made.truth, rules)
    (tmp_path / "report.json").write_text(report_text(report), encoding="utf-8")
    capabilities = replace(
        MemoryRecognizer().capabilities,
        model=LOCAL.model,
        score_scale=LOCAL.scale,
        details=LOCAL.details,
    )
    given_report = read_threshold_report(tmp_path)
    here = SystemInUse("local", "local", capabilities)
    found = measured_threshold(given_report, here, Purpose.SEARCH)
    row = next(one for one in report.accuracy if one.system == "local" and one.primary)
    assert found.value == row.threshold
    assert found.measured.gallery_size == 30
    use = ThresholdUse("feeds", "frame", GalleryDescription(GalleryId("staff"), 45, LOCAL.model))
    no_log, larger, mode = warnings_of(given_report, found, use, START.date())
    assert no_log.startswith("no audit log")
    assert "holds 45 faces and the threshold was measured at 30" in larger
    assert mode == "in which mode it was measured is not known; this run is in mode frame"


def test_false_alerts_a_day_have_an_exact_interval_or_a_bound_or_a_refusal() -> None:
    made = crowd(6, 100)

    def watched_for(seconds: float) -> list[EstimateResult]:
        (camera,) = made.run.record.cameras
        record = replace(made.run.record, cameras=(replace(camera, seconds=seconds),))
        report = report_of(replace(made.run, record=record), made.truth, Rules(resamples=100))
        assert report.feeds is not None
        return [one.per_camera_day for one in report.feeds.alerts if one.camera is None]

    local, cloud = watched_for(86_400 / 4)
    assert local.errors == 20
    assert local.value == pytest.approx(80)
    assert local.ci is not None
    assert (local.ci.lo / 4, local.ci.hi / 4) == pytest.approx((12.217, 30.888), abs=0.001)
    assert cloud.value is None
    assert cloud.ci is not None
    assert cloud.ci.hi / 4 == pytest.approx(2.996, abs=0.001)
    for short in watched_for(3599):
        assert short.ci is None
        assert "needs an hour" in short.reason


def test_few_people_are_refused_and_no_gate_of_accuracy_passes() -> None:
    made = crowd(6, 6)
    report = report_of(made.run, made.truth)
    results = {one.gate: one.result for one in report.verdicts if one.system == "local"}
    assert results["evidence"] == results["accuracy"] == "not enough evidence"
    assert report.feeds is not None
    assert report.feeds.transits[0].missed.value is None
    assert report.det[0].points == ()


def test_without_a_truth_nothing_is_said_of_accuracy_and_the_rest_is() -> None:
    report = report_of(crowd(6, 6).run, None)
    for one in report.verdicts:
        if one.gate in {"evidence", "accuracy"}:
            assert one.result == "not enough evidence"
            assert "--truth" in one.why
    assert report.feeds is not None
    assert not report.feeds.transits
    assert report.feeds.agreement[0].comparable == 12
    assert report.feeds.running[0].captured == 1200
    page = evaluation_html(report)
    assert "Nobody said who was really there" in page
    assert "How accurate any system is" in page


def test_no_name_of_a_person_stands_in_the_report() -> None:
    builder = one_system()
    builder.transit("local", Transit("lobby", 12, 30, "Annabel Grey", listed=True))
    who = truth(
        ("lobby", "Annabel Grey", 1.0, 3.0), ("lobby", "Bob Ruiz", 5, 6.0), gallery=["Annabel Grey"]
    )
    report = report_of(builder.build(), who)
    for text in (report_text(report), evaluation_html(report)):
        assert "Annabel" not in text
        assert "Ruiz" not in text


def test_the_same_run_gives_the_same_bytes_and_reads_back() -> None:
    made = crowd(6, 6)
    text = report_text(report_of(made.run, made.truth))
    assert report_text(report_of(made.run, made.truth)) == text
    assert report_text(EvaluationReport.model_validate_json(text)) == text


def test_every_estimate_of_feeds_says_why_it_is_not_enough() -> None:
    def estimates(part: Any) -> list[dict[str, Any]]:
        if isinstance(part, list):
            return [found for one in part for found in estimates(one)]
        if not isinstance(part, dict):
            return []
        own = [part] if part.keys() == EstimateResult.model_fields.keys() else []
        return own + [found for one in part.values() for found in estimates(one)]

    made = crowd(40, 40)
    rules = Rules(resamples=200, permutations=199)
    for who in (made.truth, None):
        found = estimates(json.loads(report_text(report_of(made.run, who, rules))))
        assert len(found) > 10
        for one in found:
            assert one["sufficient"] or one["reason"]
            assert one["value"] != 0 or one["errors"] != 0


def test_a_run_that_was_killed_is_reported_all_the_same() -> None:
    made = crowd(3, 3)
    killed = replace(made.run.record, state="running", ended_at=None, cameras=())
    report = report_of(replace(made.run, record=killed), made.truth)
    assert report.feeds is not None
    assert report.feeds.running[0].captured is None
    assert report.feeds.alerts[0].camera_days is None
    assert "not known" in evaluation_html(report)


def test_hostile_names_of_cameras_are_escaped() -> None:
    camera = "<script>alert(1)</script>"
    builder = RunBuilder(backends=(LOCAL, remote_backend()), cameras={camera: 100, "b": 10})
    builder.transit("local", Transit(camera, 12, 30, "ann", listed=True))
    page = evaluation_html(report_of(builder.build(), truth((camera, "ann", 1.0, 3.0))))
    assert "<script>" not in page
