"""The caller gets the primary's answer whatever the shadow does, and every call is counted."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from rekadapter.backends.memory import SIMILARITY, MemoryRecognizer
from rekadapter.errors import (
    BackendClosedError,
    ConfigError,
    ConnectionFailedError,
    GalleryNotFoundError,
    OutputError,
    RekadapterError,
    ScaleMismatchError,
)
from rekadapter.imaging import Image, encode_jpeg
from rekadapter.recognizer import Capabilities, Recognizer, UserGallery, user_gallery_of
from rekadapter.shadow import (
    BudgetLimits,
    ShadowBudget,
    ShadowCounts,
    ShadowLog,
    ShadowRecognizer,
    ShadowSettings,
)
from rekadapter.testing.contract import RecognizerContract, UserContract
from rekadapter.testing.drawn import portrait
from rekadapter.testing.material import ContractMaterial, drawn_material
from rekadapter.types import ComparisonScore, FaceId, GalleryId, ScoreScale, SubjectId

G = GalleryId("G")
ANN, BOB = SubjectId("ann"), SubjectId("bob")
EIGHTY = ComparisonScore(80.0, SIMILARITY)
PATIENCE = 20.0


def photo(identity: str) -> Image:
    return Image.from_bytes(encode_jpeg(portrait(identity), 90))


@dataclass(slots=True)
class Ruled:
    """Passes calls on to a recognizer; waits for ``gate`` and raises ``error`` where there is
    one."""

    inner: Recognizer = field(default_factory=MemoryRecognizer)
    gate: threading.Event | None = None
    error: BaseException | None = None
    calls: list[str] = field(default_factory=list)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    capabilities_as: Callable[[Capabilities], Capabilities] = lambda found: found

    @property
    def capabilities(self) -> Capabilities:
        return self.capabilities_as(self.inner.capabilities)

    @property
    def user_gallery(self) -> UserGallery | None:
        return user_gallery_of(self.inner)  # stated, because protocols do not ask __getattr__

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)
        if not callable(method) or name == "close":
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            self.begun.release()
            if self.gate is not None:
                assert self.gate.wait(PATIENCE)
            if self.error is not None:
                raise self.error
            return method(*args, **kwargs)

        return call


@dataclass(slots=True)
class Rig:
    """A primary, a shadow, the log, and both behind one recognizer."""

    path: Path
    primary: Ruled = field(default_factory=Ruled)
    shadow: Ruled = field(default_factory=Ruled)

    def enroll(self, backend: Ruled, *people: str) -> None:
        if G not in set(backend.inner.galleries()):
            backend.inner.create_gallery(G)
        for who in people:
            backend.inner.enroll(G, photo(who), subject=SubjectId(who))

    @contextmanager
    def open(self, **settings: Any) -> Iterator[ShadowRecognizer]:
        budget = settings.pop("budget", None)
        translate = settings.pop("translate", None)
        with ShadowLog(self.path) as log:
            recognizer = ShadowRecognizer(
                self.primary,
                self.shadow,
                log=log,
                settings=ShadowSettings(**{"drain_seconds": PATIENCE, **settings}),
                budget=budget,
                translate=translate,
            )
            try:
                yield recognizer
            finally:
                for backend in (self.primary, self.shadow):
                    if backend.gate is not None:
                        backend.gate.set()
                recognizer.close()

    def records(self, kind: str = "pair") -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [record for record in found if record["record"] == kind]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "logs" / "shadow.jsonl")


def accounted(counts: ShadowCounts) -> bool:
    done = sum(counts.compared.values()) + sum(counts.dropped.values())
    return counts.offered == done + counts.written + counts.write_failures + counts.waiting


# --- what the caller gets ---------------------------------------------------------------------


def test_the_answer_is_the_primarys_and_the_difference_is_in_the_log(rig: Rig) -> None:
    rig.enroll(rig.primary, "ann")
    rig.enroll(rig.shadow, "bob")
    with rig.open() as recognizer:
        found = recognizer.identify(G, photo("ann"), threshold=EIGHTY)
        recognizer.identify(G, photo("bob"), threshold=EIGHTY)
        recognizer.identify(G, photo("eve"), threshold=EIGHTY)
    assert [c.subject for c in found.faces[0].candidates] == ["ann"]
    kinds = [record["agreement"] for record in rig.records()]
    assert kinds == ["only_primary", "only_shadow", "same"]


def test_a_record_has_both_decisions_with_scale_and_latency_and_no_image(rig: Rig) -> None:
    rig.enroll(rig.primary, "ann")
    rig.enroll(rig.shadow, "ann")
    probe = photo("ann")
    with rig.open(primary_name="cloud", shadow_name="site") as recognizer:
        recognizer.identify(G, probe, threshold=EIGHTY)
    (record,) = rig.records()
    assert record["images"] == [probe.digest()]
    assert record["operation"] == "identify"
    assert record["gallery"] == G
    for side, name in (("primary", "cloud"), ("shadow", "site")):
        assert record[side]["backend"] == name
        assert record[side]["scale"] == SIMILARITY.name
        assert record[side]["threshold"] == 80.0
        assert record[side]["latency_seconds"] > 0
        assert record[side]["faces"][0]["subject"] == "ann"
        assert record[side]["faces"][0]["score"] > 99
    assert max(len(line) for line in rig.path.read_text().splitlines()) < 2000
    assert rig.path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "error",
    [ConnectionFailedError("no answer"), GalleryNotFoundError("no gallery"), ZeroDivisionError()],
    ids=lambda error: type(error).__name__,
)
def test_no_error_of_the_shadow_reaches_the_caller(rig: Rig, error: Exception) -> None:
    rig.enroll(rig.primary, "ann")
    rig.shadow.error = error
    with rig.open() as recognizer:
        found = recognizer.identify(G, photo("ann"), threshold=EIGHTY)
        assert found.faces[0].candidates
        recognizer.detect(photo("ann"))
    failed = rig.records()
    assert [record["agreement"] for record in failed] == ["shadow_failed"] * 2
    assert type(error).__name__ in failed[0]["shadow"]["error"]


def test_the_caller_does_not_wait_for_a_shadow_that_hangs(rig: Rig) -> None:
    rig.shadow.gate = threading.Event()
    with rig.open() as recognizer:
        for _ in range(3):
            assert recognizer.detect(photo("ann")).faces
        assert rig.shadow.begun.acquire(timeout=PATIENCE)
        assert recognizer.counts().waiting == 3
        assert not rig.shadow.gate.is_set()


def test_a_call_that_the_primary_fails_is_not_repeated(rig: Rig) -> None:
    rig.primary.error = ConnectionFailedError("no answer")
    with rig.open() as recognizer, pytest.raises(ConnectionFailedError):
        recognizer.detect(photo("ann"))
    assert rig.shadow.calls == []


@pytest.mark.parametrize("operation", ["detect", "verify", "identify", "search"])
def test_every_read_call_is_repeated(rig: Rig, operation: str) -> None:
    rig.enroll(rig.primary, "ann", "bob")
    rig.enroll(rig.shadow, "ann", "bob")
    (face, _) = rig.primary.inner.faces(G)
    image = photo("ann")
    with rig.open(translate=lambda _, face_id: face_id) as recognizer:
        calls: dict[str, Callable[[], object]] = {
            "detect": lambda: recognizer.detect(image),
            "verify": lambda: recognizer.verify(image, image, threshold=EIGHTY),
            "identify": lambda: recognizer.identify(G, image, threshold=EIGHTY),
            "search": lambda: recognizer.search(G, face.face_id, threshold=EIGHTY),
        }
        calls[operation]()
    assert rig.shadow.calls == [operation]
    assert [record["agreement"] for record in rig.records()] == ["same"]


def test_a_search_for_a_face_whose_counterpart_is_unknown_is_counted(rig: Rig) -> None:
    rig.enroll(rig.primary, "ann")
    (face,) = rig.primary.inner.faces(G)
    with rig.open() as recognizer:
        recognizer.search(G, face.face_id, threshold=EIGHTY)
    assert recognizer.counts().dropped == {"face_of_shadow_unknown": 1}
    assert rig.shadow.calls == []


# --- thresholds -------------------------------------------------------------------------------

OTHER = ScoreScale("another scale", 0.0, 100.0)


@dataclass(slots=True)
class OtherScale(Ruled):
    """A shadow on another scale, where 60 is the shipped default; it keeps what it was asked."""

    asked: list[ComparisonScore] = field(default_factory=list)

    @property
    def capabilities(self) -> Capabilities:
        return replace(
            self.inner.capabilities,
            score_scale=OTHER,
            default_threshold=ComparisonScore(60.0, OTHER),
        )

    def identify(self, gallery: GalleryId, image: Image, **kwargs: Any) -> Any:
        self.asked.append(kwargs["threshold"])
        return self.inner.identify(gallery, image, **{**kwargs, "threshold": EIGHTY})


def test_a_threshold_does_not_carry_over_to_another_scale(tmp_path: Path) -> None:
    shadow = OtherScale()
    rig = Rig(tmp_path / "log", shadow=shadow)
    rig.enroll(rig.primary, "ann")
    rig.enroll(shadow, "ann")
    with rig.open() as recognizer:
        recognizer.identify(G, photo("ann"), threshold=ComparisonScore(99.0, SIMILARITY))
    assert shadow.asked == [ComparisonScore(60.0, OTHER)]
    (record,) = rig.records()
    assert (record["primary"]["threshold"], record["shadow"]["threshold"]) == (99.0, 60.0)
    assert record["shadow"]["scale"] == OTHER.name


def test_the_threshold_of_the_settings_decides_on_the_shadow(rig: Rig) -> None:
    rig.enroll(rig.primary, "ann")
    rig.enroll(rig.shadow, "ann")
    with rig.open(threshold=ComparisonScore(95.0, SIMILARITY)) as recognizer:
        recognizer.identify(G, photo("ann"), threshold=EIGHTY)
    assert rig.records()[0]["shadow"]["threshold"] == 95.0


def test_a_threshold_on_a_foreign_scale_is_refused_at_once(rig: Rig) -> None:
    with pytest.raises(ScaleMismatchError), rig.open(threshold=ComparisonScore(1.0, OTHER)):
        pass


# --- bounds -----------------------------------------------------------------------------------


def test_a_full_queue_drops_its_oldest_calls_and_counts_them(rig: Rig) -> None:
    rig.shadow.gate = threading.Event()
    probes = [photo(who) for who in ("running", "one", "two", "three", "four")]
    with rig.open(queue_calls=2) as recognizer:
        recognizer.detect(probes[0])
        assert rig.shadow.begun.acquire(timeout=PATIENCE)
        for probe in probes[1:]:
            recognizer.detect(probe)
        assert recognizer.counts().dropped == {"queue_full": 2}
    seen = [record["images"] for record in rig.records()]
    assert seen == [[probes[0].digest()], [probes[3].digest()], [probes[4].digest()]]
    assert accounted(recognizer.counts())


def test_waiting_images_are_bounded_in_memory(rig: Rig) -> None:
    with rig.open(queue_bytes=1000) as recognizer:
        recognizer.detect(photo("ann"))
    assert recognizer.counts().dropped == {"too_large": 1}


def test_what_is_left_when_closing_is_dropped_and_counted(rig: Rig) -> None:
    gate = rig.shadow.gate = threading.Event()
    with rig.open(drain_seconds=0.05) as recognizer:
        recognizer.detect(photo("ann"))
        assert rig.shadow.begun.acquire(timeout=PATIENCE)
        recognizer.detect(photo("ann"))
        recognizer.close()
        gate.set()
    assert recognizer.counts().dropped == {"closed": 1, "unfinished_at_close": 1}
    assert accounted(recognizer.counts())
    (end,) = rig.records("end")
    assert end["counts"]["dropped"] == {"closed": 1, "unfinished_at_close": 1}
    assert rig.records() == []


def test_closing_waits_for_calls_under_way_and_closes_both(rig: Rig) -> None:
    with rig.open() as recognizer:
        for _ in range(5):
            recognizer.detect(photo("ann"))
    assert recognizer.counts().compared == {"same": 5}
    for backend in (rig.primary.inner, rig.shadow.inner):
        with pytest.raises(BackendClosedError):
            backend.detect(photo("ann"))
    recognizer.close()
    with pytest.raises(BackendClosedError):
        recognizer.detect(photo("ann"))


def test_several_workers_lose_nothing(rig: Rig) -> None:
    with rig.open(workers=3, queue_calls=100) as recognizer:
        callers = [
            threading.Thread(target=lambda: [recognizer.detect(photo("ann")) for _ in range(10)])
            for _ in range(4)
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert recognizer.counts().compared == {"same": 40}
    assert len(rig.records()) == 40


def test_a_log_that_cannot_be_written_ends_the_asking_not_the_answers(rig: Rig) -> None:
    class Full(ShadowLog):
        def write(self, record: Any) -> None:
            if record.record == "pair":
                raise OutputError("disk full")

    recognizer = ShadowRecognizer(rig.primary, rig.shadow, log=Full(rig.path))
    recognizer.detect(photo("ann"))
    while recognizer.counts().waiting or not recognizer.counts().dropped:
        assert recognizer.detect(photo("ann")).faces
    asked = len(rig.shadow.calls)
    recognizer.detect(photo("ann"))
    recognizer.close()
    assert len(rig.shadow.calls) == asked
    assert set(recognizer.counts().dropped) <= {"log_failed", "queue_full"}
    assert accounted(recognizer.counts())


# --- the budget -------------------------------------------------------------------------------


def test_a_remote_shadow_that_does_not_report_is_charged_an_estimate(rig: Rig) -> None:
    rig.shadow.capabilities_as = lambda found: replace(found, remote=True)
    image = photo("ann")
    assert image.encoded is not None
    budget = ShadowBudget(BudgetLimits(bytes_in_all=10 * len(image.encoded)))
    with rig.open(budget=budget, queue_calls=100) as recognizer:
        for _ in range(30):
            recognizer.detect(image)
    counts = recognizer.counts()
    assert 0 < counts.compared["same"] < 10
    assert counts.dropped["byte_budget"] == 30 - counts.compared["same"]
    assert len(image.encoded) < counts.bytes_sent <= 10 * len(image.encoded)


def test_a_local_shadow_uses_no_bytes(rig: Rig) -> None:
    with rig.open(budget=ShadowBudget(BudgetLimits(bytes_in_all=1))) as recognizer:
        for _ in range(3):
            recognizer.detect(photo("ann"))
    assert recognizer.counts().compared == {"same": 3}


# --- galleries --------------------------------------------------------------------------------


def test_changes_of_galleries_stay_with_the_primary_by_default(rig: Rig) -> None:
    with rig.open() as recognizer:
        recognizer.create_gallery(G)
        face = recognizer.enroll(G, photo("ann"), subject=ANN).records[0].enrolled
        recognizer.remove(G, [face.face_id])
        recognizer.delete_gallery(G)
    assert rig.shadow.calls == []
    assert recognizer.counts().offered == 0


def test_mirrored_changes_come_in_order_and_before_later_reads(rig: Rig) -> None:
    rig.shadow.gate = threading.Event()
    with rig.open(mirror_writes=True) as recognizer:
        recognizer.create_gallery(G)
        ann = recognizer.enroll(G, photo("ann"), subject=ANN).records[0].enrolled
        recognizer.enroll(G, photo("bob"), subject=BOB)
        recognizer.search(G, ann.face_id, threshold=EIGHTY)
        recognizer.remove(G, [ann.face_id])
        recognizer.identify(G, photo("ann"), threshold=EIGHTY)
        rig.shadow.gate.set()
    assert rig.shadow.calls == [
        "create_gallery",
        "enroll",
        "enroll",
        "search",
        "remove",
        "identify",
    ]
    assert [record["agreement"] for record in rig.records()] == ["same", "same"]
    assert recognizer.counts().written == 4


def test_a_change_the_shadow_could_not_follow_is_in_the_log(rig: Rig) -> None:
    rig.enroll(rig.primary, "ann")
    rig.enroll(rig.shadow, "ann")
    (face,) = rig.primary.inner.faces(G)
    with rig.open(mirror_writes=True) as recognizer:
        recognizer.remove(G, [face.face_id])
        rig.shadow.inner.delete_gallery(G)
        recognizer.enroll(G, photo("bob"), subject=BOB)
    unknown_face, no_gallery = rig.records("write")
    assert unknown_face["untranslated"] == 1
    assert "GalleryNotFoundError" in no_gallery["error"]
    assert recognizer.counts().write_failures == 2


def test_waiting_changes_are_not_pushed_out_by_reads(rig: Rig) -> None:
    rig.shadow.gate = threading.Event()
    with rig.open(mirror_writes=True, queue_calls=2) as recognizer:
        recognizer.create_gallery(G)
        assert rig.shadow.begun.acquire(timeout=PATIENCE)
        recognizer.enroll(G, photo("ann"), subject=ANN)
        for _ in range(5):
            recognizer.detect(photo("ann"))
        rig.shadow.gate.set()
    assert recognizer.counts().written == 2
    assert recognizer.counts().dropped == {"queue_full": 4}


def test_mirroring_is_by_one_worker(rig: Rig) -> None:
    with pytest.raises(ConfigError, match="order"), rig.open(mirror_writes=True, workers=2):
        pass


def test_users_are_the_primarys(rig: Rig) -> None:
    with rig.open() as recognizer:
        assert user_gallery_of(recognizer) is user_gallery_of(rig.primary.inner)


def test_the_first_record_says_who_is_compared(rig: Rig) -> None:
    with rig.open(primary_name="cloud", shadow_name="site"):
        pass
    (start,) = rig.records("start")
    assert (start["primary"], start["shadow"]) == ("cloud", "site")
    assert start["shadow_model"] == "memory-1"


# --- the contract -----------------------------------------------------------------------------


class ShadowContract:
    @pytest.fixture
    def recognizer(self, tmp_path: Path) -> Iterator[Recognizer]:
        failing = Ruled(error=RekadapterError("the shadow is out of order"))
        settings = ShadowSettings(mirror_writes=True)
        recognizer = ShadowRecognizer(
            MemoryRecognizer(), failing, log=ShadowLog(tmp_path / "log"), settings=settings
        )
        yield recognizer
        recognizer.close()

    @pytest.fixture
    def material(self) -> ContractMaterial:
        return drawn_material()


class TestMemoryWithFailingShadow(ShadowContract, RecognizerContract):
    """With a shadow that fails at everything the primary keeps every promise."""


class TestUsersWithFailingShadow(ShadowContract, UserContract):
    """Users too."""


def test_unknown_faces_stay_unknown(rig: Rig) -> None:
    with rig.open() as recognizer, pytest.raises(GalleryNotFoundError):
        recognizer.search(G, FaceId("x"), threshold=EIGHTY)
