"""Candidate lists as columns: the same lists, the same lines, in a fraction of the memory."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from rekadapter.errors import OutputError
from rekadapter.evaluation.answers import (
    AnswerStore,
    Kind,
    Question,
    StoredAnswer,
    StoredCandidate,
    StoredCandidates,
    line_of,
    read_answers,
)
from rekadapter.evaluation.columns import Names
from rekadapter.evaluation.outcomes import (
    PersonId,
    RankedSubjects,
    ScoredSubject,
    best_per_subject,
)

PYDANTIC = TypeAdapter(StoredAnswer)
SUBJECTS = st.text(min_size=1, max_size=6)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
CANDIDATES = st.lists(
    st.builds(StoredCandidate, SUBJECTS, NUMBERS, st.none() | NUMBERS), max_size=8
).map(tuple)
SCORED = st.lists(
    st.builds(
        ScoredSubject,
        st.sampled_from([PersonId(name) for name in "abcd"]),
        st.sampled_from([0.1, 0.2, 0.3, 0.9]),
    ),
    max_size=12,
).map(tuple)


def answer(*candidates: StoredCandidate, name: str = "p1") -> StoredAnswer:
    question = Question(Kind.SEARCH, "a", "m", "g", name)
    return StoredAnswer(question, datetime(2026, 1, 2, tzinfo=UTC), 0.1, 0.25, candidates, limit=9)


@given(CANDIDATES)
def test_a_line_is_what_pydantic_makes_of_the_tuple(
    candidates: tuple[StoredCandidate, ...],
) -> None:
    columns = StoredCandidates.of(candidates)
    assert line_of(answer(*columns)) == PYDANTIC.dump_json(answer(*candidates))


@given(CANDIDATES)
def test_a_file_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, candidates: tuple[StoredCandidate, ...]
) -> None:
    path = tmp_path_factory.mktemp("answers") / "answers.jsonl"
    written = answer(*candidates)
    with AnswerStore(path) as store:
        store.add(written)
    assert read_answers(path) == (written,)
    assert read_answers(path)[0].candidates == candidates


@given(CANDIDATES)
def test_columns_are_the_list_they_stand_for(candidates: tuple[StoredCandidate, ...]) -> None:
    columns = StoredCandidates.of(candidates)
    assert tuple(columns) == candidates
    assert columns == candidates
    assert hash(columns) == hash(candidates)
    assert tuple(columns[1:3]) == candidates[1:3]
    assert columns.subjects() == [one.subject for one in candidates]


@given(SCORED)
def test_each_subject_keeps_its_best_score_once(faces: tuple[ScoredSubject, ...]) -> None:
    best: dict[str, float] = {}
    for face in faces:
        best[face.subject] = max(face.score, best.get(face.subject, -1.0))
    ranked = sorted(best.items(), key=lambda item: -item[1])  # stable: equal ones as they came
    assert [(one.subject, one.score) for one in best_per_subject(faces)] == ranked


@given(SCORED, SCORED)
def test_lists_of_different_names_are_joined(
    first: tuple[ScoredSubject, ...], second: tuple[ScoredSubject, ...]
) -> None:
    lists = [RankedSubjects.of(first), RankedSubjects.of(second)]
    assert tuple(RankedSubjects.joined(lists)) == first + second


def test_lists_of_one_file_share_their_names(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with AnswerStore(path) as store:
        store.add(answer(StoredCandidate("x", 0.9), StoredCandidate("y", 0.8), name="p1"))
        store.add(answer(StoredCandidate("y", 0.7, raw=0.3), name="p2"))
    first, second = (StoredCandidates.of(one.candidates) for one in read_answers(path))
    assert first.names is second.names
    assert first.codes[1] == second.codes[0]


def test_a_name_nobody_has_is_nobody_s() -> None:
    ranked = RankedSubjects(Names(), np.zeros(0, np.int32), np.zeros(0))
    assert ranked.score_of("ada") == float("-inf")


@pytest.mark.parametrize(
    "candidates",
    [
        b'[{"score":0.5}]',
        b'[{"subject":1,"score":0.5}]',
        b'[{"subject":"x","score":"high"}]',
        b'[{"subject":"x","score":null}]',
        b'[{"subject":"x","score":0.5,"raw":"y"}]',
        b'[{"subject":["x"],"score":0.5}]',
        b"[3]",
        b"null",
        b'"x"',
        b"{}",
    ],
)
def test_candidates_of_another_form_are_damage(tmp_path: Path, candidates: bytes) -> None:
    path = tmp_path / "answers.jsonl"
    line = line_of(answer()).replace(b'"candidates":[]', b'"candidates":' + candidates)
    path.write_bytes(line + b"\n")
    with pytest.raises(OutputError, match="line 1 is damaged"):
        read_answers(path)


def test_lines_of_other_programs_are_read_as_pydantic_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    other = b'"candidates":[{"raw":2,"score":"0.5","subject":"x"},{"subject":"y","score":1}]'
    path.write_bytes(line_of(answer()).replace(b'"candidates":[]', other) + b"\n")
    (found,) = read_answers(path)
    assert tuple(found.candidates) == (StoredCandidate("x", 0.5, 2.0), StoredCandidate("y", 1.0))
