"""When a person is asked about again: laws over any history of sightings and answers."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from rekadapter.gate import Fate, Priority
from rekadapter.gate.asking import Asking, AskingRules
from rekadapter.types import Reason

RULES = AskingRules()
QUALITY = st.floats(1.0, 60.0)


@dataclass(frozen=True)
class Sent:
    frame: int
    quality: float
    priority: Priority
    seconds: float


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[float, Fate | None]]:
    """Qualities of successive sightings, and the fate that the oldest picture under way meets
    before each; None: no news."""
    fates = st.one_of(st.none(), st.sampled_from(list(Fate)))
    return draw(st.lists(st.tuples(QUALITY, fates), min_size=1, max_size=60))


def played(history: list[tuple[float, Fate | None]]) -> tuple[list[Sent], set[int]]:
    """What was sent, and which frames of it were lost."""
    asking = Asking(RULES)
    sent: list[Sent] = []
    waiting: list[int] = []
    lost: set[int] = set()
    for frame, (quality, fate) in enumerate(history):
        if fate is not None and waiting:
            oldest = waiting.pop(0)
            asking.settle(oldest, fate)
            if fate is Fate.LOST:
                lost.add(oldest)
        now = frame * 0.2
        priority = asking.wants(quality, now)
        if priority is not None:
            asking.sent(frame, quality, now, priority)
            sent.append(Sent(frame, quality, priority, now))
            waiting.append(frame)
    return sent, lost


@given(histories())
def test_a_better_picture_is_better_than_every_one_before_that_was_not_lost(
    history: list[tuple[float, Fate | None]],
) -> None:
    sent, lost = played(history)
    kept = [one for one in sent if one.frame not in lost]
    for place, later in enumerate(kept):
        best_before = max((one.quality for one in kept[:place]), default=0.0)
        if later.priority is Priority.BETTER_SHOT:
            assert later.quality >= RULES.gain * best_before
        else:
            assert later.quality >= RULES.recheck_share * best_before


@given(histories())
def test_nobody_is_asked_about_without_end(history: list[tuple[float, Fate | None]]) -> None:
    sent, lost = played(history)
    assert sum(one.priority is Priority.RECHECK for one in sent) <= RULES.rechecks
    assert len(sent) - len(lost) <= RULES.most


@given(st.lists(QUALITY, min_size=5, max_size=40))
def test_a_first_picture_goes_out_soon_whatever_comes_later(qualities: list[float]) -> None:
    sent, _ = played([(quality, None) for quality in qualities])
    assert sent
    assert sent[0].seconds <= 2 * RULES.patience_seconds + 0.2


def test_a_clear_answer_needs_a_much_better_picture_to_be_asked_again() -> None:
    asking = Asking(RULES)
    assert asking.wants(30.0, 0.0) is Priority.FIRST_SHOT
    asking.sent(0, 30.0, 0.0, Priority.FIRST_SHOT)
    asking.settle(0, Fate.CLEAR)
    assert asking.wants(1.9 * 30.0, 1.0) is None
    assert asking.wants(2.0 * 30.0, 2.0) is Priority.BETTER_SHOT


def test_an_answer_near_the_threshold_is_checked_with_another_picture_about_as_good() -> None:
    asking = Asking(RULES)
    asking.sent(0, 30.0, 0.0, Priority.FIRST_SHOT)
    asking.settle(0, Fate.NEAR)
    assert asking.wants(23.0, 1.0) is None
    assert asking.wants(25.0, 0.1) is None
    assert asking.wants(25.0, 1.0) is Priority.RECHECK


def test_a_lost_picture_is_replaced_and_does_not_count_as_asked() -> None:
    asking = Asking(RULES)
    asking.sent(0, 40.0, 0.0, Priority.FIRST_SHOT)
    assert asking.under_way == 1
    asking.settle(0, Fate.LOST)
    assert (asking.under_way, asking.unasked) == (0, Reason.NOT_ASKED)
    assert asking.wants(35.0, 0.5) is None
    assert asking.wants(35.0, 1.5) is Priority.FIRST_SHOT
    asking.sent(7, 35.0, 1.5, Priority.FIRST_SHOT)
    asking.settle(7, Fate.NOBODY)
    assert asking.unasked is None


def test_the_reason_why_nobody_was_asked_is_that_of_the_best_sighting() -> None:
    assert Asking(RULES).unasked is Reason.NOT_ASKED
    asking = Asking(RULES)
    asking.refused(5.0, Reason.FACE_TOO_SMALL)
    asking.refused(20.0, Reason.LOW_SHARPNESS)
    asking.refused(4.0, Reason.FACE_TOO_SMALL)
    assert asking.unasked is Reason.LOW_SHARPNESS
