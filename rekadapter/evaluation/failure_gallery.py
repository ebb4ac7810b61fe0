"""``failures.html``: the photographs behind each failure, only where somebody asks for them.

It is a page of its own, so that the report itself never holds a picture of a person. The pictures
come from the user's data set when the page is written; nothing is stored but the page.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rekadapter.errors import ImageError, OutputError
from rekadapter.evaluation.dataset import CheckedDataset, Sample
from rekadapter.evaluation.failures import FailedTrial, FailureKind, SystemFailures
from rekadapter.evaluation.mosaic import FACE_PIXELS, mosaic
from rekadapter.evaluation.plots import COLORS
from rekadapter.evaluation.record import write_text
from rekadapter.evaluation.results import EvaluationReport
from rekadapter.gate import FaceFinder
from rekadapter.imaging import Image, encode_jpeg, encode_png, scaled_down

FAILURES_FILE: Final = "failures.html"
_MOST_A_KIND: Final = 40
"""of each kind and system; the page says how many more there are"""
_BUDGET_CHARACTERS: Final = 1_500_000
_CLEAR_SIDE_PX: Final = 160
_QUALITY: Final = 80
_TEMPLATES: Final = "rekadapter.evaluation"

logger = logging.getLogger(__name__)

Picture = Callable[[Image], str]
"""An image as a data URI."""


@dataclass(frozen=True, slots=True)
class _Card:
    trial: FailedTrial
    probe: str | None
    other: str | None


@dataclass(frozen=True, slots=True)
class _Section:
    kind: FailureKind
    cards: tuple[_Card, ...]
    hidden: int


@dataclass(frozen=True, slots=True)
class _System:
    failures: SystemFailures
    sections: tuple[_Section, ...]


class Pictures:
    """Photographs by digest as data URIs, until together they fill the page's budget.

    ``missing`` counts those that the data set does not hold or that cannot be read, ``left_out``
    those for which there was no room.
    """

    def __init__(
        self,
        samples: Mapping[str, Sample],
        draw: Picture,
        *,
        budget_characters: int = _BUDGET_CHARACTERS,
    ) -> None:
        self._samples = samples
        self._draw = draw
        self._room = budget_characters
        self._known: dict[str, str | None] = {}
        self.missing = 0
        self.left_out = 0

    def of(self, digest: str | None) -> str | None:
        """The picture of a photograph, or None."""
        if digest is None:
            return None
        if digest not in self._known:
            self._known[digest] = self._drawn(digest)
        uri = self._known[digest]
        if uri is None:
            return None
        if len(uri) > self._room:
            self.left_out += 1
            return None
        self._room -= len(uri)
        return uri

    def _drawn(self, digest: str) -> str | None:
        sample = self._samples.get(digest)
        try:
            if sample is not None:
                return self._draw(sample.image())
        except ImageError as error:
            logger.warning("a photograph is left out: %s", error)
        self.missing += 1
        return None


def blurred(finder: FaceFinder) -> Picture:
    """Draws so few pixels that no face can be recognized: see ``mosaic``."""

    def draw(image: Image) -> str:
        return _data_uri("png", encode_png(mosaic(image, finder.find(image))))

    return draw


def clear(image: Image) -> str:
    """Draws the photograph as it is, small: it shows who it is."""
    longest = max(image.size.width, image.size.height)
    small = scaled_down(image, min(1.0, _CLEAR_SIDE_PX / longest))
    return _data_uri("jpeg", encode_jpeg(small, _QUALITY))


def samples_of(checked: CheckedDataset) -> dict[str, Sample]:
    """The photographs of a data set by digest."""
    pairs = [one for pair in checked.pairs for one in (pair.first, pair.second)]
    return {one.sha256: one.sample for one in (*checked.gallery, *checked.probes, *pairs)}


def write_gallery(
    directory: Path,
    report: EvaluationReport,
    failures: Sequence[SystemFailures],
    pictures: Pictures,
    *,
    are_blurred: bool,
) -> Path:
    """Writes ``failures.html``, readable by its owner alone, and returns its path.

    Raises:
        OutputError: it cannot be written.
    """
    page = gallery_html(report, failures, pictures, are_blurred=are_blurred)
    path = directory / FAILURES_FILE
    try:
        path.touch(mode=0o600)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
    write_text(path, page).chmod(0o600)
    return path


def gallery_html(
    report: EvaluationReport,
    failures: Sequence[SystemFailures],
    pictures: Pictures,
    *,
    are_blurred: bool,
) -> str:
    """The page as text."""
    systems = tuple(_System(one, tuple(_sections(one, pictures))) for one in failures)
    style = "\n".join(
        files(_TEMPLATES).joinpath(f"templates/{name}").read_text("utf-8")
        for name in ("report.css", "evaluation.css", "failures.css")
    )
    environment = Environment(
        loader=PackageLoader(_TEMPLATES, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("failures.html").render(
        r=report,
        systems=systems,
        pictures=pictures,
        are_blurred=are_blurred,
        face_pixels=FACE_PIXELS,
        style=Markup(style),  # noqa: S704  our own files, nothing of the evaluation in them
        colors=COLORS,
    )


def _sections(failures: SystemFailures, pictures: Pictures) -> list[_Section]:
    sections = []
    for kind in FailureKind:
        own = [one for one in failures.trials if one.kind is kind]
        cards = tuple(
            _Card(one, pictures.of(one.probe), pictures.of(one.other)) for one in own[:_MOST_A_KIND]
        )
        if own:
            sections.append(_Section(kind, cards, max(0, len(own) - _MOST_A_KIND)))
    return sections


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
