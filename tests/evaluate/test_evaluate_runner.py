"""The runner asks each question once, keeps failures as results, and can stop at any moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.errors import (
    BackendError,
    CredentialsError,
    OutputError,
    ThrottledError,
    UsageError,
)
from rekadapter.evaluation.answers import AnswerStore, Stage, read_answers
from rekadapter.evaluation.dataset import CheckedDataset, check
from rekadapter.evaluation.loaders import load
from rekadapter.evaluation.record import EvaluationRecord, Pseudonyms, SystemEntry, record_of
from rekadapter.evaluation.rules import Rules
from rekadapter.evaluation.runner import (
    Inputs,
    Options,
    SystemUnderTest,
    collect,
    evaluation_gallery,
    pending,
)
from rekadapter.evaluation.searches import outcomes_of
from rekadapter.imaging import Image
from rekadapter.recognizer import FaceAnalysis, QualityFilter, Recognizer
from rekadapter.types import (
    AgeRange,
    Enrollment,
    FaceAttribute,
    GalleryId,
    Gender,
    Identification,
    PerceivedGender,
    SubjectId,
)
from tests.evaluate.drawn_people import people_folders


class Watched:
    """A memory recognizer that counts what it is asked and fails where it is told to."""

    def __init__(self) -> None:
        self.inner = MemoryRecognizer()
        self.searched = 0
        self.enrolled = 0
        self.counting = threading.Lock()
        self.asked: list[dict[str, Any]] = []
        self.fails: Callable[[int], BackendError | None] = lambda _: None
        self.after: Callable[[int], None] = lambda _: None
        self.begun: Callable[[int], None] = lambda _: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def enroll(
        self,
        gallery: GalleryId,
        image: Image,
        *,
        subject: SubjectId | None,
        max_faces: int | None = None,
        quality: QualityFilter = QualityFilter.AUTO,
    ) -> Enrollment:
        self.enrolled += 1
        self.asked.append({"max_faces": max_faces, "quality": quality, "subject": subject})
        return self.inner.enroll(gallery, image, subject=subject, max_faces=max_faces)

    def identify(self, gallery: GalleryId, image: Image, **options: Any) -> Identification:
        with self.counting:
            self.searched += 1
            number = self.searched
            self.begun(number)  # one search at a time: nobody overtakes what happens here
        self.asked.append(options)
        error = self.fails(number)
        if error is not None:
            raise error
        answer = self.inner.identify(gallery, image, **options)
        self.after(number)
        return answer


class Quiet:
    def started(self, system: str, pending: int) -> None:
        del system, pending

    def advanced(self, system: str) -> None:
        del system


def entry(recognizer: Recognizer, name: str = "memory") -> SystemEntry:
    capabilities = recognizer.capabilities
    scale = capabilities.score_scale
    return SystemEntry(
        name=name,
        kind="memory",
        model=capabilities.model,
        remote=False,
        scale=scale.name,
        scale_low=scale.low,
        scale_high=scale.high,
        higher_is_closer=scale.higher_is_closer,
        default_threshold=capabilities.default_threshold.value,
        match_all=capabilities.match_all.value,
        max_candidates=capabilities.max_candidates,
        details={},
    )


@dataclass(slots=True)
class Bench:
    checked: CheckedDataset
    record: EvaluationRecord
    watched: Watched
    path: Path
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, workers: int = 1, *, retry_failed: bool = False, keep: bool = False) -> None:
        system = SystemUnderTest("memory", self.recognizer, workers)
        options = Options("s1", retry_failed, keep)
        with AnswerStore(self.path) as store:
            inputs = Inputs.of(self.record, self.checked)
            collect(system, inputs, store, options, self.stop, Quiet())

    @property
    def recognizer(self) -> Recognizer:
        return cast("Recognizer", self.watched)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    checked = check(load(people_folders(tmp_path / "data", 6)).dataset)
    watched = Watched()
    recognizer: Any = watched
    pseudonyms = Pseudonyms.kept_in(tmp_path / "own")
    record = record_of(checked, Rules(), [entry(recognizer)], pseudonyms, "test")
    return Bench(checked, record, watched, tmp_path / "answers.jsonl")


def test_nothing_is_asked_twice(bench: Bench) -> None:
    bench.run()
    asked = len(bench.watched.asked)
    assert (bench.watched.enrolled, bench.watched.searched) == (3, 15)
    bench.run()
    assert len(bench.watched.asked) == asked


def test_scores_are_asked_uncensored(bench: Bench) -> None:
    bench.run()
    enrollments = [one for one in bench.watched.asked if "max_faces" in one]
    searches = [one for one in bench.watched.asked if "threshold" in one]
    assert all(one["quality"] is QualityFilter.NONE for one in bench.watched.asked)
    assert {one["max_faces"] for one in enrollments} == {1}
    assert all(one["threshold"].value == 0.0 and one["limit"] == 3 for one in searches)
    system = outcomes_of(bench.record, {a.question.key: a for a in read_answers(bench.path)})[0]
    assert all(len(o.candidates) == 3 and o.cut is None for o in system.searches)


def test_neither_names_nor_paths_reach_backend_or_answers(bench: Bench) -> None:
    bench.run()
    text = bench.path.read_text()
    for sample in (*bench.checked.gallery, *bench.checked.probes):
        assert f'"{sample.sample.person}"' not in text
        assert str(sample.sample.path.parent) not in text
    subjects = {one["subject"] for one in bench.watched.asked if "subject" in one}
    assert all(subject.startswith("p") and len(subject) == 21 for subject in subjects)


class Guessing(MemoryRecognizer):
    """Says unasked how old and of which gender everybody looks."""

    def estimating(self, attributes: frozenset[FaceAttribute]) -> FaceAnalysis:
        raise AssertionError(f"an evaluation asked for {sorted(attributes)}")

    def identify(self, gallery: GalleryId, image: Image, **options: Any) -> Identification:
        found = super().identify(gallery, image, **options)
        guess = PerceivedGender(Gender.FEMALE, 99.0)
        return replace(
            found,
            faces=tuple(
                replace(
                    one,
                    face=replace(one.face, estimated_age=AgeRange(18, 24), perceived_gender=guess),
                )
                for one in found.faces
            ),
        )


def test_a_guessed_age_or_gender_never_gets_into_an_evaluation(bench: Bench) -> None:
    bench.watched.inner = Guessing(attributes=frozenset(FaceAttribute))
    bench.run()
    answers = bench.path.read_text()
    assert bench.watched.searched == 15
    assert '"face":{' in answers
    for word in ("Female", "gender", "estimated", '"low"'):
        assert word not in answers


def test_a_failed_request_is_a_result_that_stays(bench: Bench) -> None:
    bench.watched.fails = lambda n: ThrottledError("slow down") if n == 2 else None
    bench.run()
    failed = [a for a in read_answers(bench.path) if a.failure]
    assert [(a.failure.stage, a.failure.cause) for a in failed if a.failure] == [
        (Stage.REQUEST, "ThrottledError")
    ]
    searched = bench.watched.searched
    bench.run()
    assert bench.watched.searched == searched


def test_a_failed_request_is_asked_again_where_wished(bench: Bench) -> None:
    bench.watched.fails = lambda n: ThrottledError("slow down") if n == 2 else None
    bench.run(keep=True)
    bench.run(retry_failed=True)
    assert bench.watched.searched == 16
    system = outcomes_of(bench.record, {a.question.key: a for a in read_answers(bench.path)})[0]
    assert not [o for o in system.searches if o.failure]


def test_refused_credentials_end_the_run_and_keep_what_was_answered(bench: Bench) -> None:
    bench.watched.fails = lambda n: CredentialsError("expired") if n == 5 else None
    with pytest.raises(CredentialsError):
        bench.run()
    assert len([a for a in read_answers(bench.path) if a.question.kind == "search"]) == 4
    bench.watched.fails = lambda _: None
    bench.run()
    assert bench.watched.searched == 16


@pytest.mark.parametrize("workers", [1, 4])
def test_a_stopped_run_goes_on_where_it_was(bench: Bench, workers: int) -> None:
    # whoever begins after the second sees to it himself that he asks no more than this once
    bench.watched.begun = lambda n: bench.stop.set() if n >= 3 else None
    bench.run(workers)
    answered = len([a for a in read_answers(bench.path) if a.question.kind == "search"])
    assert 3 <= answered < 3 + workers
    assert evaluation_gallery(bench.record) in set(bench.recognizer.galleries())
    bench.stop.clear()
    bench.watched.begun = lambda _: None
    bench.run(workers)
    assert bench.watched.searched == 15


def test_a_gallery_that_is_gone_is_enrolled_again(bench: Bench) -> None:
    bench.watched.after = lambda n: bench.stop.set() if n == 3 else None
    bench.run()
    bench.recognizer.delete_gallery(evaluation_gallery(bench.record))
    bench.stop.clear()
    bench.watched.after = lambda _: None
    bench.run()
    assert bench.watched.enrolled == 6
    system = outcomes_of(bench.record, {a.question.key: a for a in read_answers(bench.path)})[0]
    assert system.missing == 0
    assert all(len(o.candidates) == 3 for o in system.searches)


@pytest.mark.parametrize("keep", [True, False])
def test_templates_leave_the_backend_when_all_is_answered(bench: Bench, *, keep: bool) -> None:
    bench.run(keep=keep)
    assert (evaluation_gallery(bench.record) in set(bench.recognizer.galleries())) == keep


def test_an_image_that_vanished_is_a_failure_and_no_crash(bench: Bench) -> None:
    bench.checked.probes[0].sample.path.unlink()
    bench.run()
    failed = [a.failure for a in read_answers(bench.path) if a.failure]
    assert [one.stage for one in failed] == [Stage.IMAGE]


def test_a_line_that_a_kill_cut_off_is_asked_again(bench: Bench) -> None:
    bench.run(keep=True)
    data = bench.path.read_bytes()
    bench.path.write_bytes(data[:-40])
    with AnswerStore(bench.path) as store:
        left = pending(
            Inputs.of(bench.record, bench.checked),
            "memory",
            store,
            Options("s1"),
        )
    assert (left.enroll, left.search) == (0, 1)
    bench.run()
    assert len(read_answers(bench.path)) == 18


def test_a_damaged_line_is_named(bench: Bench) -> None:
    bench.run()
    lines = bench.path.read_bytes().splitlines(keepends=True)
    bench.path.write_bytes(lines[0] + b"{}\n" + b"".join(lines[1:]))
    with pytest.raises(OutputError, match="line 2 is damaged"):
        read_answers(bench.path)


def test_two_evaluations_do_not_write_into_one_file(bench: Bench) -> None:
    with AnswerStore(bench.path), pytest.raises(UsageError, match="in use"):
        AnswerStore(bench.path)


def test_searches_that_one_system_did_not_run_are_missing_and_not_missed(bench: Bench) -> None:
    bench.watched.after = lambda n: bench.stop.set() if n == 3 else None
    bench.run()
    system = outcomes_of(bench.record, {a.question.key: a for a in read_answers(bench.path)})[0]
    assert len(system.searches) == 3
    assert system.missing == 12


def test_another_endpoint_of_one_name_is_another_system(bench: Bench) -> None:
    bench.run()
    system = bench.record.systems[0]
    for details in ({"endpoint": "http://127.0.0.1:1"}, {"detector_sha256": "0" * 64}):
        other = system.model_copy(update={"details": details})
        record = bench.record.model_copy(update={"systems": (other,)})
        with AnswerStore(bench.path) as store:
            left = pending(Inputs.of(record, bench.checked), "memory", store, Options("s2"))
        assert (left.enroll, left.search) == (3, 15)


def test_thresholds_have_people_of_their_own(bench: Bench) -> None:
    sides = {one.id: one.side for one in bench.record.people}
    enrolled = {one.id for one in bench.record.people if one.enrolled}
    absent = sides.keys() - enrolled
    assert {sides[person] for person in enrolled} == {"test"}
    assert {sides[person] for person in absent} == {"calibration", "test"}
