"""Any subject id travels through Rekognition and back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.errors import SubjectIdError
from rekadapter.names import from_external_image_id, gallery_id, to_external_image_id
from rekadapter.types import SubjectId

EXTERNAL = re.compile(r"[a-zA-Z0-9_.\-:]{1,255}")
anything = st.text(min_size=1, max_size=60)


@given(anything)
def test_every_id_fits_rekognition_and_comes_back(text: str) -> None:
    try:
        encoded = to_external_image_id(SubjectId(text))
    except SubjectIdError:
        # lone surrogates are not text; 60 characters of 4 bytes do not fit in 255
        assert any("\ud800" <= c <= "\udfff" for c in text) or len(text.encode()) * 3 + 3 > 255
        return
    assert EXTERNAL.fullmatch(encoded)
    assert from_external_image_id(encoded) == text


@given(st.from_regex(EXTERNAL, fullmatch=True).filter(lambda text: not text.startswith("rk:")))
def test_ids_that_fit_are_sent_as_they_are(text: str) -> None:
    assert to_external_image_id(SubjectId(text)) == text


@given(st.from_regex(r"(rk:){0,3}[a-zA-Z0-9_.\-:]{1,40}", fullmatch=True))
def test_ids_already_in_rekognition_come_back_as_they_stand_there(text: str) -> None:
    assert to_external_image_id(from_external_image_id(text)) == text


@pytest.mark.parametrize("text", ["rk:zz:", "rk:", "rk:FF", "rk:%41", "emp:41"])
def test_ids_of_other_tools_are_taken_as_they_are(text: str) -> None:
    assert from_external_image_id(text) == text


@given(anything, anything)
def test_different_ids_stay_different(one: str, other: str) -> None:
    try:
        encoded = {to_external_image_id(SubjectId(one)), to_external_image_id(SubjectId(other))}
    except SubjectIdError:
        return
    assert (len(encoded) == 1) == (one == other)


@pytest.mark.parametrize("text", ["", "x" * 300 + " ", "\ud800"])
def test_an_id_that_cannot_travel_is_refused(text: str) -> None:
    with pytest.raises(SubjectIdError):
        to_external_image_id(SubjectId(text))


@pytest.mark.parametrize("text", ["", "two words", "é", "a" * 256, "a/b"])
def test_a_gallery_name_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(SubjectIdError):
        gallery_id(text)
