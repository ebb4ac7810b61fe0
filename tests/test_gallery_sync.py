"""A sync brings two galleries to one roster, pays for a photograph once, and can be cut short."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rekadapter.backends.memory import MemoryRecognizer, SeenFace, Template
from rekadapter.errors import (
    ConnectionFailedError,
    GalleryError,
    InvalidRequestError,
    OutputError,
    RekadapterError,
    UsageError,
)
from rekadapter.gallery_sync import (
    CannotMove,
    Note,
    NoteBook,
    Notes,
    Side,
    SyncOptions,
    SyncOutcome,
    SyncPlan,
    SyncRoster,
    carry_out,
    notes_file,
    plan_sync,
    read_notes,
    read_sync_roster,
)
from rekadapter.gallery_sync.people import roster_of
from rekadapter.imaging import Image, encode_png
from rekadapter.recognizer import QualityFilter, Recognizer
from rekadapter.roster import EnrollOptions, RosterPhoto
from rekadapter.types import (
    BoundingBox,
    DetectedFace,
    FaceId,
    GalleryId,
    SubjectId,
    UserId,
)

G = GalleryId("G")
ANN, BOB, CAROL = SubjectId("ann"), SubjectId("bob"), SubjectId("carol")
PRICE = 0.001


def png(number: int) -> bytes:
    """The photograph of that number; number 80 shows two, those from 90 on nobody."""
    return encode_png(Image.from_pixels(np.full((4, 4, 3), number, dtype=np.uint8)))


FACELESS = frozenset(Image.from_bytes(png(number)).digest() for number in range(90, 100))

TWO_FACES = Image.from_bytes(png(80)).digest()


@dataclass(frozen=True, slots=True)
class OneFace:
    """Every photograph shows one face, unless its number says nobody, or two."""

    def find(self, image: Image, subject: SubjectId | None) -> Sequence[SeenFace]:
        del subject
        if image.digest() in FACELESS:
            return []
        boxes = [BoundingBox(0, 0, 1, 1), BoundingBox(0, 0, 0.5, 0.5)]
        shown = boxes if image.digest() == TWO_FACES else boxes[:1]
        return [SeenFace(DetectedFace(box, 99.0), NoTemplate()) for box in shown]


@dataclass(frozen=True, slots=True)
class NoTemplate:
    def similarity(self, other: Template) -> float:
        del other
        return 0.0


class Killed(BaseException):
    """The process is gone."""


@dataclass(slots=True)
class Watched:
    """Passes calls on to a recognizer; counts them, and fails or dies where a rule says so."""

    inner: Recognizer = field(default_factory=lambda: MemoryRecognizer(OneFace()))
    calls: list[str] = field(default_factory=list)
    dies_before: int | None = None
    dies_after: int | None = None
    refuses: dict[bytes, RekadapterError] = field(default_factory=dict)
    fails: dict[str, RekadapterError] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)
        if not callable(method):
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            step = len(self.calls)
            if step == self.dies_before:
                raise Killed
            self.calls.append(name)
            if name in self.fails:
                raise self.fails[name]
            for argument in args:
                if isinstance(argument, Image) and argument.encoded in self.refuses:
                    raise self.refuses[argument.encoded]
            answer = method(*args, **kwargs)
            if step == self.dies_after:
                raise Killed
            return answer

        return call

    @property
    def enrollments(self) -> int:
        return self.calls.count("enroll")

    def holds(self) -> Counter[SubjectId | None]:
        if G not in set(self.inner.galleries()):
            return Counter()
        return Counter(face.subject for face in self.inner.faces(G))

    def plant(self, subject: SubjectId | None, *numbers: int) -> list[FaceId]:
        """Faces of photographs that somebody else enrolled."""
        if G not in set(self.inner.galleries()):
            self.inner.create_gallery(G)
        answers = [
            self.inner.enroll(G, Image.from_bytes(png(number)), subject=subject)
            for number in numbers
        ]
        return [record.enrolled.face_id for answer in answers for record in answer.records]


@dataclass(slots=True)
class Bench:
    """Two backends, a roster on disk and the notes."""

    folder: Path
    a: Watched = field(default_factory=Watched)
    b: Watched = field(default_factory=Watched)

    def roster(self, **people: Iterable[int]) -> SyncRoster:
        photos = []
        for name, numbers in people.items():
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            for number in numbers:
                path = self.folder / name / f"{number}.png"
                path.write_bytes(png(number))
                photos.append(RosterPhoto(SubjectId(name), path))
        return roster_of(photos)

    @property
    def sides(self) -> tuple[Side, Side]:
        return (
            Side("a", self.a, lambda count: count * PRICE),
            Side("b", self.b, lambda count: None if count else 0.0),
        )

    @property
    def notes(self) -> Path:
        return notes_file(self.folder / "data", G)

    def plan(self, roster: SyncRoster, options: SyncOptions | None = None) -> SyncPlan:
        return plan_sync(self.sides, G, roster, read_notes(self.notes), options or SyncOptions())

    def sync(self, roster: SyncRoster, options: SyncOptions | None = None) -> SyncOutcome:
        plan = self.plan(roster, options)
        with NoteBook(self.notes) as book:
            return carry_out(plan, self.sides, book, options or SyncOptions())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# --- planning ---------------------------------------------------------------------------------


def test_whoever_has_a_photograph_is_planned_where_they_are_missing(bench: Bench) -> None:
    roster = bench.roster(ann=[1, 2], bob=[3])
    plan = bench.plan(roster)
    assert [len(side.enroll) for side in plan.sides] == [3, 3]
    assert [side.create_gallery for side in plan.sides] == [True, True]
    assert plan.sides[0].estimated_usd == pytest.approx(3 * PRICE)


def test_an_unknown_price_of_one_side_is_an_unknown_price_of_both(bench: Bench) -> None:
    plan = bench.plan(bench.roster(ann=[1]))
    assert plan.sides[1].estimated_usd is None
    assert plan.estimated_usd is None


def test_who_has_no_photograph_is_listed_with_the_faces_of_each_side(bench: Bench) -> None:
    bench.a.plant(CAROL, 50, 51)
    bench.a.plant(None, 52)
    bench.b.plant(CAROL, 50)
    plan = bench.plan(bench.roster(ann=[1]))
    assert plan.cannot_move == (CannotMove(None, (1, 0)), CannotMove(CAROL, (2, 1)))
    assert plan.sides[0].delete == ()


def test_without_a_roster_nothing_is_done_and_everybody_is_listed(bench: Bench) -> None:
    bench.a.plant(CAROL, 50)
    outcome = bench.sync(SyncRoster())
    assert outcome.plan.is_empty
    assert outcome.plan.cannot_move == (CannotMove(CAROL, (1, 0)),)
    assert not outcome.is_complete
    assert G not in set(bench.b.inner.galleries())


def test_deleting_without_a_roster_is_refused(bench: Bench) -> None:
    with pytest.raises(UsageError, match="roster"):
        bench.plan(SyncRoster(), SyncOptions(delete=True))


def test_an_empty_folder_names_somebody_who_is_not_deleted(bench: Bench, tmp_path: Path) -> None:
    bench.roster(ann=[1])
    (tmp_path / "carol").mkdir()
    bench.a.plant(CAROL, 50)
    outcome = bench.sync(read_sync_roster(tmp_path), SyncOptions(delete=True))
    assert outcome.plan.cannot_move == (CannotMove(CAROL, (1, 0)),)
    assert bench.a.holds()[CAROL] == 1


def test_a_file_that_is_no_photograph_is_listed_and_keeps_its_person_from_being_deleted(
    bench: Bench, tmp_path: Path
) -> None:
    bench.roster(ann=[1])
    (tmp_path / "carol").mkdir()
    (tmp_path / "carol" / "1.jpg").write_text("not a picture")
    bench.a.plant(CAROL, 50)
    outcome = bench.sync(read_sync_roster(tmp_path), SyncOptions(delete=True))
    assert [(one.subject, Path(one.path).name) for one in outcome.plan.unreadable] == [
        (CAROL, "1.jpg")
    ]
    assert bench.a.holds()[CAROL] == 1
    assert not outcome.is_complete


def test_the_same_file_twice_is_paid_for_once(bench: Bench, tmp_path: Path) -> None:
    bench.roster(ann=[1])
    (tmp_path / "ann" / "copy.png").write_bytes(png(1))
    bench.sync(read_sync_roster(tmp_path))
    assert bench.a.enrollments == 1


# --- carrying out -----------------------------------------------------------------------------


def test_both_galleries_hold_the_roster_afterwards(bench: Bench) -> None:
    bench.a.plant(ANN, 1)
    outcome = bench.sync(bench.roster(ann=[1, 2], bob=[3]))
    assert bench.a.holds() == bench.b.holds() == Counter({ANN: 2, BOB: 1})
    assert outcome.is_complete


def test_a_photograph_without_a_face_is_listed_and_not_paid_for_again(bench: Bench) -> None:
    roster = bench.roster(ann=[1], bob=[90])
    first = bench.sync(roster)
    assert [failure.reasons for failure in first.sides[0].failed] == [("NO_FACE",)]
    paid = bench.a.enrollments
    second = bench.sync(roster)
    assert bench.a.enrollments == paid
    assert [failure.reasons for failure in second.plan.sides[0].failed_before] == [("NO_FACE",)]
    assert not first.is_complete
    assert not second.is_complete


@pytest.mark.parametrize(
    "options",
    [
        SyncOptions(retry_failed=True),
        SyncOptions(EnrollOptions(quality=QualityFilter.NONE)),
        SyncOptions(EnrollOptions(max_faces=None)),
    ],
    ids=["when asked", "with another filter", "with more faces"],
)
def test_a_failure_is_tried_again(bench: Bench, options: SyncOptions) -> None:
    roster = bench.roster(bob=[90])
    bench.sync(roster)
    assert len(bench.plan(roster, options).sides[0].enroll) == 1


def test_a_failure_in_a_gallery_of_another_model_is_tried_again(bench: Bench) -> None:
    roster = bench.roster(bob=[90])
    bench.sync(roster)
    bench.a.inner.delete_gallery(G)
    assert [len(side.enroll) for side in bench.plan(roster).sides] == [1, 0]


def test_a_face_that_somebody_removed_is_enrolled_again(bench: Bench) -> None:
    roster = bench.roster(ann=[1, 2])
    bench.sync(roster)
    face = next(iter(bench.a.inner.faces(G)))
    bench.a.inner.remove(G, [face.face_id])
    assert [len(side.enroll) for side in bench.plan(roster).sides] == [1, 0]


def test_faces_left_out_are_enrolled_once_they_are_asked_for(bench: Bench) -> None:
    roster = bench.roster(ann=[80])
    every = SyncOptions(EnrollOptions(max_faces=None))
    bench.sync(roster)
    bench.sync(roster, every)
    assert bench.a.holds() == Counter({ANN: 2})
    assert bench.plan(roster, every).is_empty
    assert bench.plan(roster).is_empty


def test_without_notes_everything_is_enrolled_again_to_the_same_result(bench: Bench) -> None:
    roster = bench.roster(ann=[1, 2])
    bench.sync(roster)
    bench.notes.unlink()
    bench.sync(roster)
    assert bench.a.holds() == Counter({ANN: 2})
    assert bench.a.enrollments == 4


@pytest.mark.parametrize(
    "blame", [InvalidRequestError("malformed"), UsageError("other")], ids=["photo", "other"]
)
def test_only_an_error_that_is_not_the_photographs_stops_a_side(
    bench: Bench, blame: RekadapterError
) -> None:
    roster = bench.roster(ann=[1], bob=[2], carol=[3])
    bench.a.refuses[png(2)] = blame
    outcome = bench.sync(roster)
    stopped = not isinstance(blame, InvalidRequestError)
    assert bench.a.holds()[CAROL] == (0 if stopped else 1)
    assert outcome.was_stopped is stopped
    assert bench.b.holds() == Counter({ANN: 1, BOB: 1, CAROL: 1})
    assert not outcome.is_complete


def test_a_backend_that_cannot_be_reached_leaves_the_other_side_to_be_done(bench: Bench) -> None:
    bench.a.fails["enroll"] = ConnectionFailedError("no answer")
    outcome = bench.sync(bench.roster(ann=[1], bob=[2]))
    assert outcome.sides[0].stopped == "no answer"
    assert outcome.sides[0].not_tried == 2
    assert bench.b.holds() == Counter({ANN: 1, BOB: 1})


def test_a_photograph_that_changed_since_the_plan_is_not_enrolled(
    bench: Bench, tmp_path: Path
) -> None:
    plan = bench.plan(bench.roster(ann=[1]))
    (tmp_path / "ann" / "1.png").write_bytes(png(2))
    with NoteBook(bench.notes) as book:
        outcome = carry_out(plan, bench.sides, book, SyncOptions())
    assert "changed" in outcome.sides[0].failed[0].reasons[0]
    assert bench.a.enrollments == 0


def test_notes_that_cannot_be_written_end_it_before_more_is_paid(bench: Bench) -> None:
    roster = bench.roster(ann=[1], bob=[2])
    plan = bench.plan(roster)

    class Full(NoteBook):
        def write(self, note: Note) -> None:
            del note
            raise OutputError("disk full")

    with Full(bench.notes) as book, pytest.raises(OutputError):
        carry_out(plan, bench.sides, book, SyncOptions())
    assert bench.a.enrollments == 1


# --- deleting ---------------------------------------------------------------------------------


def test_who_is_not_in_the_roster_is_deleted_only_where_asked(bench: Bench) -> None:
    bench.a.plant(CAROL, 50)
    bench.b.plant(None, 51)
    roster = bench.roster(ann=[1])
    assert not bench.sync(roster).is_complete
    outcome = bench.sync(roster, SyncOptions(delete=True))
    assert bench.a.holds() == bench.b.holds() == Counter({ANN: 1})
    assert outcome.is_complete


def test_a_persons_face_from_a_photograph_no_longer_at_hand_is_deleted(bench: Bench) -> None:
    bench.a.plant(ANN, 1, 60)
    outcome = bench.sync(bench.roster(ann=[1, 2]), SyncOptions(delete=True))
    assert bench.a.holds() == Counter({ANN: 2})
    assert len(outcome.sides[0].deleted) == 1
    assert outcome.sides[0].unexplained == ()


def test_a_face_may_be_of_a_photograph_that_failed_so_it_stays(bench: Bench) -> None:
    bench.a.plant(ANN, 60)
    bench.a.refuses[png(2)] = InvalidRequestError("malformed")
    roster = bench.roster(ann=[1, 2])
    outcome = bench.sync(roster, SyncOptions(delete=True))
    assert bench.a.holds() == Counter({ANN: 2})
    assert [(one.subject, len(one.face_ids)) for one in outcome.sides[0].unexplained] == [(ANN, 1)]


def test_a_side_that_stopped_deletes_nothing(bench: Bench) -> None:
    bench.a.plant(CAROL, 50)
    bench.a.fails["enroll"] = ConnectionFailedError("no answer")
    bench.sync(bench.roster(ann=[1]), SyncOptions(delete=True))
    assert bench.a.holds() == Counter({CAROL: 1})


def test_a_face_that_a_user_keeps_is_reported(bench: Bench) -> None:
    (face_id,) = bench.a.plant(CAROL, 50)
    inner = bench.a.inner
    assert isinstance(inner, MemoryRecognizer)
    inner.user_gallery.create(G, UserId("C"))
    inner.user_gallery.associate(G, UserId("C"), [face_id], threshold=inner.capabilities.match_all)
    outcome = bench.sync(bench.roster(ann=[1]), SyncOptions(delete=True))
    (kept,) = outcome.sides[0].not_deleted
    assert (kept.subject, kept.face_id) == (CAROL, face_id)
    assert "C" in kept.reason
    assert not outcome.is_complete


def test_a_deletion_that_is_refused_is_reported(bench: Bench) -> None:
    bench.a.plant(CAROL, 50, 51)
    bench.a.fails["remove"] = GalleryError("they belong to a user")
    outcome = bench.sync(bench.roster(ann=[1]), SyncOptions(delete=True))
    assert {kept.reason for kept in outcome.sides[0].not_deleted} == {"they belong to a user"}
    assert len(outcome.sides[0].not_deleted) == 2
    assert outcome.sides[0].stopped is None


# --- cut short --------------------------------------------------------------------------------


def _one_run(folder: Path, *, before: int | None = None, after: int | None = None) -> Bench:
    """A sync with both directions and deletions, killed at a step of one of its backends."""
    bench = Bench(folder)
    bench.a.plant(ANN, 1)
    bench.a.plant(CAROL, 50)
    roster = bench.roster(ann=[1, 2], bob=[3, 90])
    options = SyncOptions(delete=True)
    bench.a.dies_before, bench.a.dies_after = before, after
    try:
        bench.sync(roster, options)
    except Killed:
        bench.a.dies_before = bench.a.dies_after = None
        bench.sync(roster, options)
    return bench


STEPS = range(12)


def test_the_run_that_is_killed_has_fewer_steps_than_are_tried(tmp_path: Path) -> None:
    whole = _one_run(tmp_path)
    assert len(whole.a.calls) < len(STEPS)
    assert whole.a.enrollments == 4


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_before_any_call_repeats_nothing(tmp_path: Path, step: int) -> None:
    bench = _one_run(tmp_path, before=step)
    assert bench.a.holds() == bench.b.holds() == Counter({ANN: 2, BOB: 1})
    assert (bench.a.enrollments, bench.b.enrollments) == (4, 4)


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_between_an_answer_and_its_note_repeats_that_call_alone(
    tmp_path: Path, step: int
) -> None:
    bench = _one_run(tmp_path, after=step)
    assert bench.a.holds() == bench.b.holds() == Counter({ANN: 2, BOB: 1})
    assert bench.a.enrollments <= 5
    assert bench.b.enrollments == 4


def test_a_note_cut_anywhere_costs_one_repetition_and_spoils_no_other(bench: Bench) -> None:
    roster = bench.roster(ann=[1], bob=[2])
    bench.sync(roster)
    whole = bench.notes.read_bytes()
    last = whole[:-1].rindex(b"\n") + 1
    for cut in range(last, len(whole), 17):
        bench.notes.write_bytes(whole[:cut])
        assert [len(side.enroll) for side in bench.plan(roster).sides] == [0, 1]
        bench.sync(roster)
        assert bench.plan(roster).is_empty
    assert bench.b.holds() == Counter({ANN: 1, BOB: 1})


def test_the_notes_are_for_their_owner_alone(bench: Bench) -> None:
    bench.sync(bench.roster(ann=[1]))
    assert bench.notes.stat().st_mode & 0o077 == 0


def test_notes_tell_which_face_is_which_across_backends(bench: Bench) -> None:
    bench.sync(bench.roster(ann=[1], bob=[2, 90]))
    across = read_notes(bench.notes).faces_across("a", "b")
    theirs = {face.face_id: face.subject for face in bench.b.inner.faces(G)}
    mine = {face.face_id: face.subject for face in bench.a.inner.faces(G)}
    assert {mine[here]: theirs[there] for here, there in across.items()} == {ANN: ANN, BOB: BOB}


# --- whatever the galleries hold --------------------------------------------------------------

SUBJECTS = st.sampled_from([ANN, BOB, CAROL, SubjectId("dan")])
PEOPLE = st.dictionaries(
    SUBJECTS, st.sets(st.integers(1, 6), min_size=1, max_size=3), min_size=1, max_size=3
)
HELD = st.lists(st.tuples(st.none() | SUBJECTS, st.integers(1, 8)), max_size=5)
FRESH = itertools.count()
MANY = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _bench(tmp_path: Path, held: tuple[list[tuple[SubjectId | None, int]], ...]) -> Bench:
    bench = Bench(tmp_path / str(next(FRESH)))
    for backend, faces in zip((bench.a, bench.b), held, strict=True):
        for subject, number in faces:
            backend.plant(subject, number)
    return bench


@MANY
@given(people=PEOPLE, held=st.tuples(HELD, HELD), delete=st.booleans())
def test_after_a_sync_a_second_plan_is_empty(
    tmp_path: Path,
    people: dict[SubjectId, set[int]],
    held: tuple[list[tuple[SubjectId | None, int]], ...],
    delete: bool,  # noqa: FBT001 - drawn by hypothesis
) -> None:
    bench = _bench(tmp_path, held)
    roster, options = bench.roster(**people), SyncOptions(delete=delete)
    outcome = bench.sync(roster, options)
    again = bench.plan(roster, options)
    assert again.is_empty
    assert set(again.in_both) == set(roster.photographs)
    expected = Counter({subject: len(numbers) for subject, numbers in people.items()})
    if delete:
        assert bench.a.holds() == bench.b.holds() == expected
        assert outcome.is_complete
    else:
        assert bench.a.holds() >= expected
        assert bench.b.holds() >= expected


@MANY
@given(people=PEOPLE, held=st.tuples(HELD, HELD), delete=st.booleans())
def test_planning_changes_nothing(
    tmp_path: Path,
    people: dict[SubjectId, set[int]],
    held: tuple[list[tuple[SubjectId | None, int]], ...],
    delete: bool,  # noqa: FBT001 - drawn by hypothesis
) -> None:
    bench = _bench(tmp_path, held)
    before = bench.a.holds(), bench.b.holds()
    bench.plan(bench.roster(**people), SyncOptions(delete=delete))
    assert (bench.a.holds(), bench.b.holds()) == before
    assert set(bench.a.calls) | set(bench.b.calls) <= {"galleries", "faces", "describe_gallery"}
    assert not bench.notes.exists()


@MANY
@given(people=PEOPLE, held=st.tuples(HELD, HELD), delete=st.booleans())
def test_the_order_of_the_two_backends_does_not_matter(
    tmp_path: Path,
    people: dict[SubjectId, set[int]],
    held: tuple[list[tuple[SubjectId | None, int]], ...],
    delete: bool,  # noqa: FBT001 - drawn by hypothesis
) -> None:
    bench = _bench(tmp_path, held)
    roster, options = bench.roster(**people), SyncOptions(delete=delete)
    a, b = bench.sides
    there = plan_sync((a, b), G, roster, Notes(), options)
    back = plan_sync((b, a), G, roster, Notes(), options)
    assert there.sides == (back.sides[1], back.sides[0])
    assert {(one.subject, one.faces) for one in there.cannot_move} == {
        (one.subject, one.faces[::-1]) for one in back.cannot_move
    }
    assert set(there.in_both) == set(back.in_both)
