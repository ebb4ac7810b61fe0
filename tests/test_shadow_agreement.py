"""When two answers count as agreeing, and when not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.shadow import Agreement, Answered, FaceDecision
from rekadapter.shadow.agreement import compare
from rekadapter.types import BoundingBox, SubjectId

HERE, THERE = BoundingBox(0.1, 0.1, 0.2, 0.2), BoundingBox(0.6, 0.6, 0.2, 0.2)
NEAR = BoundingBox(0.12, 0.08, 0.2, 0.25)


def face(box: BoundingBox, subject: str | None = None, *, matched: bool = True) -> FaceDecision:
    return FaceDecision(box, matched, SubjectId(subject) if subject else None)


def unknown(box: BoundingBox) -> FaceDecision:
    return FaceDecision(box, matched=False)


def answer(*faces: FaceDecision, error: str | None = None) -> Answered:
    return Answered("x", 0.1, 80.0, "scale", faces, error=error)


CASES: list[tuple[str, tuple[FaceDecision, ...], tuple[FaceDecision, ...], Agreement]] = [
    ("nobody on either", (), (), Agreement.SAME),
    ("one name", (face(HERE, "ann"),), (face(NEAR, "ann"),), Agreement.SAME),
    ("both unknown", (unknown(HERE),), (unknown(NEAR),), Agreement.SAME),
    ("two names", (face(HERE, "ann"),), (face(NEAR, "bob"),), Agreement.DIFFERENT_SUBJECTS),
    ("only here", (face(HERE, "ann"),), (unknown(NEAR),), Agreement.ONLY_PRIMARY),
    ("only there", (unknown(HERE),), (face(NEAR, "ann"),), Agreement.ONLY_SHADOW),
    ("named here, missed there", (face(HERE, "ann"),), (), Agreement.ONLY_PRIMARY),
    ("missed here, named there", (), (face(HERE, "ann"),), Agreement.ONLY_SHADOW),
    ("seen here alone", (unknown(HERE),), (), Agreement.ONLY_PRIMARY_SAW),
    ("seen there alone", (), (unknown(HERE),), Agreement.ONLY_SHADOW_SAW),
    ("without a subject", (face(HERE),), (face(NEAR, "ann"),), Agreement.CANNOT_TELL),
    ("other faces", (face(HERE, "ann"),), (face(THERE, "ann"),), Agreement.ONLY_PRIMARY),
    (
        "the gravest counts",
        (face(HERE, "ann"), face(THERE, "bob")),
        (face(THERE, "eve"), face(NEAR, "ann")),
        Agreement.DIFFERENT_SUBJECTS,
    ),
]


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"), [row[1:] for row in CASES], ids=[row[0] for row in CASES]
)
def test_identifications_agree_by_face_and_name(
    mine: tuple[FaceDecision, ...], theirs: tuple[FaceDecision, ...], expected: Agreement
) -> None:
    found, _ = compare(answer(*mine), answer(*theirs), names=True, one_face=False)
    assert found is expected


def test_a_pair_of_images_agrees_by_match_alone() -> None:
    found, _ = compare(answer(face(HERE)), answer(face(NEAR)), names=False, one_face=False)
    assert found is Agreement.SAME


def test_one_and_the_same_face_is_compared_wherever_each_side_saw_it() -> None:
    mine, theirs = answer(face(HERE, "ann")), answer(face(THERE, "ann"))
    assert compare(mine, theirs, names=True, one_face=True)[0] is Agreement.SAME


def test_an_error_of_the_shadow_is_no_disagreement() -> None:
    failed = answer(error="no answer")
    found = compare(answer(face(HERE, "ann")), failed, names=True, one_face=False)
    assert found == (Agreement.SHADOW_FAILED, ())


FACES = st.lists(
    st.builds(
        face,
        st.builds(
            BoundingBox,
            st.floats(0, 0.8),
            st.floats(0, 0.8),
            st.floats(0.01, 0.4),
            st.floats(0.01, 0.4),
        ),
        st.none() | st.sampled_from(["ann", "bob"]),
        matched=st.booleans(),
    ),
    max_size=6,
).map(tuple)

TURNED = {
    Agreement.ONLY_PRIMARY: Agreement.ONLY_SHADOW,
    Agreement.ONLY_SHADOW: Agreement.ONLY_PRIMARY,
    Agreement.ONLY_PRIMARY_SAW: Agreement.ONLY_SHADOW_SAW,
    Agreement.ONLY_SHADOW_SAW: Agreement.ONLY_PRIMARY_SAW,
}


@given(mine=FACES, theirs=FACES)
def test_every_face_is_in_one_pair(
    mine: tuple[FaceDecision, ...], theirs: tuple[FaceDecision, ...]
) -> None:
    _, pairs = compare(answer(*mine), answer(*theirs), names=True, one_face=False)
    assert sorted(p.primary for p in pairs if p.primary is not None) == list(range(len(mine)))
    assert sorted(p.shadow for p in pairs if p.shadow is not None) == list(range(len(theirs)))


@given(mine=FACES)
def test_everything_agrees_with_itself_or_cannot_be_told(mine: tuple[FaceDecision, ...]) -> None:
    _, pairs = compare(answer(*mine), answer(*mine), names=True, one_face=True)
    assert {pair.agreement for pair in pairs} <= {Agreement.SAME, Agreement.CANNOT_TELL}


@given(mine=FACES, theirs=FACES)
def test_exchanging_the_sides_exchanges_the_words(
    mine: tuple[FaceDecision, ...], theirs: tuple[FaceDecision, ...]
) -> None:
    _, there = compare(answer(*mine), answer(*theirs), names=True, one_face=True)
    _, back = compare(answer(*theirs), answer(*mine), names=True, one_face=True)
    turned = [TURNED.get(pair.agreement, pair.agreement) for pair in back]
    assert [pair.agreement for pair in there] == turned
