"""``survey.json``: what cameras give of a face, and what that is enough for."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from rekadapter.errors import OutputError, UsageError
from rekadapter.evaluation.record import write_text
from rekadapter.evaluation.result_base import Result

SURVEY_FILE: Final = "survey.json"
ALERTS: Final = "alerts without anybody asking"
INVESTIGATION: Final = "searches that a person reviews"
DETECTION: Final = "detection only"

Fitness = Literal["fit", "marginal", "unfit", "not known"]


class SurveyCheck(Result):
    """One figure against its limits: at least ``fit`` is fit, at least ``marginal`` is marginal."""

    use: str
    what: str
    value: float | None
    fit: float
    marginal: float
    result: Fitness
    source: str


class SurveyVerdict(Result):
    """What a camera is good for: as good as the worst of its checks. ``advice``: what would give it
    the pixels it lacks; empty where it has enough or nothing is known."""

    use: str
    result: Fitness
    why: str
    advice: str = ""


class SurveyStream(Result):
    """What a camera sends: codec by FFmpeg's name, and its rates as they were measured."""

    codec: str
    kbps: float
    frames_per_second: float


class SurveyCamera(Result):
    """One camera. Faces are counted in each frame looked at, people once; distances in native
    pixels. ``enough``: enough people passed for the verdicts to rest on. ``stream`` is None where
    it was no stream, or watched for less than ten seconds."""

    id: str
    width: int | None
    height: int | None
    seconds: float
    frames: int
    frames_per_second: float | None
    looks: int
    people: int
    faces: int
    people_per_hour: float | None
    faces_per_hour: float | None
    eye_px_p10: float | None
    eye_px_p50: float | None
    eye_px_p90: float | None
    best_eye_px_p50: float | None
    px_per_meter: float | None
    sharpness_p50: float | None
    brightness_p50: float | None
    checks: tuple[SurveyCheck, ...]
    verdicts: tuple[SurveyVerdict, ...]
    enough: bool
    why_not_enough: str
    stream: SurveyStream | None = None

    def verdict(self, use: str) -> SurveyVerdict:
        """The verdict for one use."""
        return next(one for one in self.verdicts if one.use == use)


class SurveyResult(Result):
    """The whole file."""

    schema_version: int = 1
    tool_version: str
    surveyed_at: str
    detector: str
    cameras: tuple[SurveyCamera, ...]


def write_survey(path: Path, survey: SurveyResult) -> Path:
    """Writes a survey whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    return write_text(path, survey.model_dump_json(indent=1) + "\n")


def read_survey(path: Path) -> SurveyResult:
    """Reads a survey.

    Raises:
        UsageError: there is none, or the file is none.
    """
    try:
        return SurveyResult.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise UsageError(f"{path} is no survey: make one with `rekadapter survey`") from error


def survey_in(directory: Path) -> SurveyResult | None:
    """The survey that was put into a directory of results, if there is one.

    Raises:
        OutputError: it is damaged.
    """
    path = directory / SURVEY_FILE
    if not path.is_file():
        return None
    try:
        return read_survey(path)
    except UsageError as error:
        raise OutputError(f"{error}: give --survey again, or delete it") from error
