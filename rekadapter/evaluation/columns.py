"""Candidate lists as arrays: a search of thousands of people gives thousands of candidates.

As objects of their own the candidates of an evaluation of 5,000 people, tens of millions of them,
would fill the memory of most machines. A list of columns looks like the tuple that it stands for,
and makes each candidate only where it is asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Self, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from rekadapter.evaluation.statistics import BoolArray, FloatArray

CodeArray = NDArray[np.int32]

_C_co = TypeVar("_C_co", covariant=True)


class _Numbered(dict[str, int]):
    """A new name gets the next number."""

    def __missing__(self, name: str) -> int:
        self[name] = number = len(self)
        return number


class Names:
    """Subjects by number, so that each name is held once, however many lists it stands in.

    One thread at a time may add names.
    """

    __slots__ = ("_codes", "_names")

    def __init__(self) -> None:
        self._codes = _Numbered()
        self._names: list[str] = []

    def codes(self, names: Sequence[str]) -> CodeArray:
        """Numbers of names (n,); new names are added."""
        return np.fromiter(map(self._codes.__getitem__, names), dtype=np.int32, count=len(names))

    def code(self, name: str) -> int:
        """The number of a name; -1 where it is in no list."""
        return self._codes.get(name, -1)

    def all(self) -> Sequence[str]:
        """Every name, by its number."""
        if len(self._names) < len(self._codes):
            self._names = list(self._codes)
        return self._names


class Columns(Sequence[_C_co], ABC):
    """A candidate list: ``codes`` (n,) are the subjects' numbers among ``names``, ``scores`` (n,)
    float64. Equal to the tuple of its candidates."""

    __slots__ = ("codes", "names", "scores")

    names: Names
    codes: CodeArray
    scores: FloatArray

    @abstractmethod
    def _at(self, index: int) -> _C_co:
        """One candidate."""

    @abstractmethod
    def _part(self, part: slice) -> Self:
        """Some of the candidates."""

    def __len__(self) -> int:
        return self.codes.size

    @overload
    def __getitem__(self, index: int) -> _C_co: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> _C_co | Self:
        return self._part(index) if isinstance(index, slice) else self._at(index)

    def __iter__(self) -> Iterator[_C_co]:
        return map(self._at, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, tuple | Columns):
            return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))
        return NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    def subjects(self) -> list[str]:
        """The candidates' subjects, in their order."""
        every = self.names.all()
        return [every[code] for code in self.codes.tolist()]

    def is_of(self, subject: str) -> BoolArray:
        """Which candidates (n,) are a subject's."""
        found: BoolArray = self.codes == self.names.code(subject)
        return found

    def codes_among(self, names: Names) -> CodeArray:
        """The subjects' numbers (n,) among other names, to which new ones are added."""
        return self.codes if names is self.names else names.codes(self.subjects())
