"""A recognizer that estimates: of every drawn face the same age and gender."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rekadapter.backends.memory import FaceFinder, MemoryRecognizer, PictureFinder, SeenFace
from rekadapter.imaging import Image
from rekadapter.types import AgeRange, FaceAttribute, Gender, PerceivedGender, SubjectId

AGE = AgeRange(31, 37)
GENDER = PerceivedGender(Gender.FEMALE, 91.5)


@dataclass(frozen=True, slots=True)
class Telling:
    """A finder that says the same of every face."""

    inner: FaceFinder

    def find(self, image: Image, subject: SubjectId | None) -> Sequence[SeenFace]:
        return [
            replace(seen, face=replace(seen.face, estimated_age=AGE, perceived_gender=GENDER))
            for seen in self.inner.find(image, subject)
        ]


def telling() -> MemoryRecognizer:
    return MemoryRecognizer(Telling(PictureFinder()), attributes=frozenset(FaceAttribute))
