"""What every command needs: the settings, and backends opened by name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rekadapter.backends import open_backend
from rekadapter.cli.thresholds import ThresholdRequest, origin_of, without_report
from rekadapter.config import Settings, load_settings
from rekadapter.errors import UsageError
from rekadapter.names import gallery_id
from rekadapter.observation import ThresholdOrigin
from rekadapter.recognizer import BackendContext, Recognizer
from rekadapter.types import ComparisonScore, GalleryId


@dataclass(frozen=True, slots=True)
class OpenBackend:
    """A backend in use: its name, its recognizer, and the threshold in force with where it comes
    from (None: the shipped default, or some hand)."""

    name: str
    recognizer: Recognizer
    threshold: ComparisonScore
    origin: ThresholdOrigin | None = None

    @property
    def threshold_origin(self) -> ThresholdOrigin:
        """Where the threshold comes from."""
        return self.origin or origin_of(self.threshold, self.recognizer.capabilities)


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
        thresholds: ThresholdRequest | None = None,
        among: Sequence[str | None] | None = None,
        context: BackendContext | None = None,
    ) -> Iterator[OpenBackend]:
        """The named backend, else the settings' one, closed at the end.

        ``thresholds`` say what it is to decide; None: nothing, and no report is read for it.
        ``among`` are all backends that the command uses, where there are more than this one.
        """
        chosen = self.settings.backend_named(name)
        if thresholds is not None:
            thresholds.refuse_useless(
                [self.settings.backend_named(one) for one in among or (name,)]
            )
        given = context or BackendContext(self.settings.data_dir, self.settings.cache_dir)
        recognizer = open_backend(chosen.name, chosen.type, chosen.options, given)
        try:
            if thresholds is not None:
                found = thresholds.in_force(chosen, recognizer)
            else:
                found = without_report(chosen, recognizer.capabilities)
            yield OpenBackend(chosen.name, recognizer, found.score, found.origin)
        finally:
            recognizer.close()
