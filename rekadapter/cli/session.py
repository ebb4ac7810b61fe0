"""What every command needs: the settings, and backends opened by name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rekadapter.backends import open_backend
from rekadapter.config import BackendSettings, Settings, load_settings
from rekadapter.errors import UsageError
from rekadapter.names import gallery_id
from rekadapter.recognizer import BackendContext, Recognizer
from rekadapter.types import ComparisonScore, GalleryId


@dataclass(frozen=True, slots=True)
class OpenBackend:
    """A backend in use: its name, its recognizer, and the threshold in force."""

    name: str
    recognizer: Recognizer
    threshold: ComparisonScore


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
        thresholds: Sequence[str] = (),
        among: Sequence[str | None] | None = None,
        context: BackendContext | None = None,
    ) -> Iterator[OpenBackend]:
        """The named backend, else the settings' one, closed at the end.

        ``among`` are all backends that the command uses, where there are more than this one.
        """
        chosen = self.settings.backend_named(name)
        used = [self.settings.backend_named(one).name for one in among or (name,)]
        refuse_unknown_names("--threshold", thresholds, used)
        given = context or BackendContext(self.settings.data_dir, self.settings.cache_dir)
        recognizer = open_backend(chosen.name, chosen.type, chosen.options, given)
        try:
            yield OpenBackend(chosen.name, recognizer, _threshold(chosen, recognizer, thresholds))
        finally:
            recognizer.close()


def refuse_unknown_names(option: str, flags: Sequence[str], names: Sequence[str]) -> None:
    """``BACKEND=VALUE`` has to name a backend in use: a misspelt one would be left out silently.

    Raises:
        UsageError: it does not.
    """
    for flag in flags:
        name, equals, _ = flag.rpartition("=")
        if equals and name not in names:
            raise UsageError(
                f"{option} {flag}: no backend '{name}' is used here, only {', '.join(names)}"
            )


def _threshold(
    chosen: BackendSettings, recognizer: Recognizer, flags: Sequence[str]
) -> ComparisonScore:
    """``--threshold 90`` is for every backend, ``--threshold cloud=99`` for one; each number is on
    the backend's own scale. Without a flag the settings' threshold, else the shipped default."""
    value = chosen.threshold
    for flag in flags:
        name, equals, number = flag.rpartition("=")
        if not equals or name == chosen.name:
            value = _number(number)
    capabilities = recognizer.capabilities
    if value is None:
        return capabilities.default_threshold
    scale = capabilities.score_scale
    if not scale.low <= value <= scale.high:
        raise UsageError(
            f"a threshold for {chosen.name} lies between {scale.low:g} and {scale.high:g} "
            f"({scale.name}), not {value:g}"
        )
    return capabilities.threshold(value)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is not a threshold: give a number or BACKEND=NUMBER") from error
