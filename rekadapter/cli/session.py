"""What every command needs: the settings, and backends opened by name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rekadapter.backends import open_backend
from rekadapter.cli.output import remark
from rekadapter.config import BackendSettings, Settings, load_settings
from rekadapter.errors import UsageError
from rekadapter.evaluation.measured_threshold import (
    BackendInUse,
    MeasuredThreshold,
    measured_threshold,
    warnings_in_use,
)
from rekadapter.names import gallery_id
from rekadapter.recognizer import BackendContext, Recognizer
from rekadapter.types import ComparisonScore, GalleryDescription, GalleryId

SHIPPED: Final = "shipped default, measured on nobody here"
BY_HAND: Final = "a number given by hand"


@dataclass(frozen=True, slots=True)
class OpenBackend:
    """A backend in use: its name, its recognizer, and the threshold in force. ``origin`` says in
    words where the threshold comes from; ``measured`` what it rests on, if on a measurement."""

    name: str
    recognizer: Recognizer
    threshold: ComparisonScore
    origin: str = SHIPPED
    measured: MeasuredThreshold | None = None

    def threshold_warnings(self, gallery: GalleryDescription | None) -> tuple[str, ...]:
        """What makes a measured threshold worth less here; empty for any other."""
        if self.measured is None:
            return ()
        found = warnings_in_use(self.measured, gallery, datetime.now(UTC).date())
        return tuple(f"the threshold of {self.name}: {one}" for one in found)


@dataclass(frozen=True, slots=True)
class Session:
    """One command's settings."""

    settings: Settings

    @classmethod
    def start(cls, config: Path | None) -> Session:
        return cls(load_settings(os.environ, config=config))

    def gallery(self, name: str | None) -> GalleryId:
        """The gallery named on the command line, else in the settings.

        Raises:
            UsageError: neither names one.
        """
        chosen = name or self.settings.gallery
        if not chosen:
            raise UsageError("no gallery named: give --gallery NAME or set gallery in the settings")
        return gallery_id(chosen)

    @contextmanager
    def backend(
        self,
        name: str | None,
        *,
        thresholds: Sequence[str] | None = None,
        among: Sequence[str | None] | None = None,
        context: BackendContext | None = None,
        comparisons: bool = False,
    ) -> Iterator[OpenBackend]:
        """The named backend, else the settings' one, closed at the end.

        ``thresholds`` are the command's flags; None: it decides nothing by a threshold, so that a
        report which the settings name is not read. ``among`` are all backends that the command
        uses, where there are more than this one. ``comparisons``: it is asked 1:1, for which
        reports give a threshold of its own.
        """
        chosen = self.settings.backend_named(name)
        used = [self.settings.backend_named(one).name for one in among or (name,)]
        refuse_unknown_names("--threshold", thresholds or (), used)
        where = context or BackendContext(self.settings.data_dir, self.settings.cache_dir)
        recognizer = open_backend(chosen.name, chosen.type, chosen.options, where)
        try:
            given = None if thresholds is None else _given(chosen, thresholds)
            yield _in_force(chosen, recognizer, given, comparisons=comparisons)
        finally:
            recognizer.close()


def show_threshold(backend: OpenBackend, gallery: GalleryDescription | None) -> None:
    """Says on stderr what a measured threshold rests on, and what makes it worth less here."""
    if backend.measured is not None:
        remark(f"{backend.name}: threshold {backend.threshold.value:.6g}, {backend.origin}")
    for warning in backend.threshold_warnings(gallery):
        remark(f"warning: {warning}")


def refuse_unknown_names(option: str, flags: Sequence[str], names: Sequence[str]) -> None:
    """``BACKEND=VALUE`` has to name a backend in use: a misspelt one would be left out silently.

    Raises:
        UsageError: it does not.
    """
    for flag in flags:
        name, equals, _ = flag.partition("=")
        if equals and name not in names:
            raise UsageError(
                f"{option} {flag}: no backend '{name}' is used here, only {', '.join(names)}"
            )


def _given(chosen: BackendSettings, flags: Sequence[str]) -> float | str | None:
    """``--threshold 90`` is for every backend, ``--threshold cloud=99`` for one. Without a flag the
    settings' threshold; None where nobody gave one."""
    value = chosen.threshold
    for flag in flags:
        name, equals, rest = flag.partition("=")
        mine = equals and name == chosen.name
        if mine or not equals:
            value = _number(rest if mine else flag)
    return value


def _in_force(
    chosen: BackendSettings,
    recognizer: Recognizer,
    given: float | str | None,
    *,
    comparisons: bool,
) -> OpenBackend:
    """The backend with the threshold given, with that of the report given, or with its own."""
    capabilities = recognizer.capabilities
    if given is None:
        return OpenBackend(chosen.name, recognizer, capabilities.default_threshold)
    measured, origin = None, BY_HAND
    value = given
    scale = capabilities.score_scale
    if isinstance(value, str):
        backend = BackendInUse(chosen.name, chosen.type, capabilities.model, scale.name)
        measured = measured_threshold(Path(value), backend, comparisons=comparisons)
        value, origin = measured.value, measured.origin
    if not scale.low <= value <= scale.high:
        raise UsageError(
            f"a threshold for {chosen.name} lies between {scale.low:g} and {scale.high:g} "
            f"({scale.name}), not {value:g}"
        )
    threshold = capabilities.threshold(value)
    return OpenBackend(chosen.name, recognizer, threshold, origin, measured)


def _number(text: str) -> float | str:
    """A number, or the path of a report."""
    try:
        return float(text)
    except ValueError as error:
        if Path(text).exists():
            return text
        raise UsageError(
            f"{text!r} is not a threshold: give a number, what `rekadapter evaluate` wrote, or "
            "BACKEND= before either"
        ) from error
