"""A backend with a shadow, for commands: ``--shadow B`` and what it may use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from rekadapter.cli.options import MOST_USD, number
from rekadapter.cli.output import remark
from rekadapter.cli.pricing import request_price
from rekadapter.cli.session import OpenBackend, Session
from rekadapter.cli.thresholds import ThresholdRequest
from rekadapter.errors import ConfigError, UsageError
from rekadapter.gallery_sync import notes_file, read_notes
from rekadapter.recognizer import BackendContext, Pacer, Recognizer, RequestLog, RequestRecord
from rekadapter.shadow import (
    BudgetLimits,
    ShadowBudget,
    ShadowCounts,
    ShadowLog,
    ShadowRecognizer,
    ShadowSettings,
)
from rekadapter.types import FaceId, GalleryId

_BILLED: Final = (
    "DetectFaces",
    "SearchFacesByImage",
    "SearchFaces",
    "CompareFaces",
    "IndexFaces",
)
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kMG]?)B?")
_FACTORS: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


def parse_bytes(text: str) -> float:
    """A number of bytes from text such as ``50MB`` (SI: k = 1000) or ``50000000``.

    Raises:
        ConfigError: no such text.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"'{text}' is no number of bytes: write one such as 500kB, 50MB or 2GB")
    return float(found[1]) * _FACTORS[found[2]]


ShadowName = Annotated[
    str | None,
    typer.Option("--shadow", help="A backend that is asked the same in the background."),
]
ShadowLogFile = Annotated[
    Path | None,
    typer.Option("--shadow-log", help="Where both answers go, a JSON record a line."),
]
ShadowBytes = Annotated[
    str | None,
    typer.Option("--shadow-bytes-per-hour", help="What the shadow may send in any hour: 50MB."),
]
ShadowUsd = Annotated[
    float | None,
    number(
        "--shadow-usd-per-hour",
        low=0,
        high=MOST_USD,
        about="What the shadow may cost in any hour, in USD.",
    ),
]
ShadowBytesInAll = Annotated[
    str | None, typer.Option("--shadow-bytes-total", help="What the shadow may send in all.")
]
ShadowUsdInAll = Annotated[
    float | None,
    number("--shadow-usd-total", low=0, high=MOST_USD, about="What the shadow may cost in all."),
]
ShadowMirror = Annotated[
    bool,
    typer.Option("--shadow-mirror", help="Repeat changes of galleries on the shadow."),
]


@dataclass(frozen=True, slots=True)
class ShadowOptions:
    """What the command line says about a shadow; ``name`` None: there is none."""

    name: str | None = None
    log: Path | None = None
    bytes_per_hour: str | None = None
    usd_per_hour: float | None = None
    bytes_in_all: str | None = None
    usd_in_all: float | None = None
    mirror: bool = False

    def limits(self) -> BudgetLimits:
        """The shadow's budget.

        Raises:
            ConfigError: a limit that is none.
        """
        return BudgetLimits(
            _bytes(self.bytes_per_hour),
            _bytes(self.bytes_in_all),
            self.usd_per_hour,
            self.usd_in_all,
        )


@contextmanager
def shadowed(
    session: Session, primary: OpenBackend, options: ShadowOptions
) -> Iterator[Recognizer]:
    """The primary's recognizer, with a shadow where ``options`` name one; closed at the end.

    Raises:
        UsageError: options of a shadow without one, no log, the primary as its own shadow, or a
            remote shadow without any limit: it would be billed for every call.
    """
    if options.name is None:
        if options != ShadowOptions():
            raise UsageError("the options of a shadow need one: --shadow NAME")
        yield primary.recognizer
        return
    log = _log_file(options, primary)
    relay = _Relay()
    settings = session.settings
    context = BackendContext(settings.data_dir, settings.cache_dir, pacer=relay, request_log=relay)
    opening = session.backend(options.name, thresholds=ThresholdRequest("service"), context=context)
    with opening as shadow, ShadowLog(log) as records:
        budget = _budget(session, shadow, options.limits())
        relay.send_to(budget)
        recognizer = ShadowRecognizer(
            primary.recognizer,
            shadow.recognizer,
            log=records,
            settings=_settings(primary, shadow, options),
            budget=budget,
            translate=_Counterparts(settings.data_dir, primary.name, shadow.name),
        )
        remark(f"{shadow.name} is asked in the background; both answers go to {log}")
        try:
            yield recognizer
        finally:
            recognizer.close()
            _tell(recognizer.counts())


class _Relay:
    """A backend is opened before its price is known, and its price is needed for the budget: this
    stands in until then. Nothing is sent while a backend is opened."""

    def __init__(self) -> None:
        self._pacer: Pacer | None = None
        self._log: RequestLog | None = None

    def send_to(self, budget: ShadowBudget) -> None:
        self._pacer, self._log = budget, budget

    def wait_to_send(self, size_bytes: int) -> float:
        return 0.0 if self._pacer is None else self._pacer.wait_to_send(size_bytes)

    def record(self, request: RequestRecord) -> None:
        if self._log is not None:
            self._log.record(request)


class _Counterparts:
    """Faces of the two galleries that `gallery sync` made of the same photograph."""

    def __init__(self, data_dir: Path, primary: str, shadow: str) -> None:
        self._data_dir = data_dir
        self._primary = primary
        self._shadow = shadow
        self._read: dict[GalleryId, tuple[int, Mapping[FaceId, FaceId]]] = {}

    def __call__(self, gallery: GalleryId, face_id: FaceId) -> FaceId | None:
        path = notes_file(self._data_dir, gallery)
        size = path.stat().st_size if path.is_file() else 0  # notes are only ever added
        if gallery not in self._read or self._read[gallery][0] != size:
            faces = read_notes(path).faces_across(self._primary, self._shadow)
            self._read[gallery] = (size, faces)
        return self._read[gallery][1].get(face_id)


def _log_file(options: ShadowOptions, primary: OpenBackend) -> Path:
    if options.name == primary.name:
        raise UsageError(f"{primary.name} cannot be its own shadow: name another backend")
    if options.log is None:
        raise UsageError("say where the two answers go: --shadow-log FILE")
    return options.log


def _budget(session: Session, shadow: OpenBackend, limits: BudgetLimits) -> ShadowBudget:
    if shadow.recognizer.capabilities.remote and not limits.any:
        raise UsageError(
            f"{shadow.name} is remote and would be sent, and bill, every call: give "
            "--shadow-bytes-per-hour or --shadow-usd-per-hour"
        )
    settings = session.settings.backend_named(shadow.name)
    price = request_price(settings, shadow.recognizer, *_BILLED)(1)
    return ShadowBudget(limits, usd_per_request=price)


def _settings(primary: OpenBackend, shadow: OpenBackend, options: ShadowOptions) -> ShadowSettings:
    """A threshold in the settings' table of the shadow decides there; see ``ShadowSettings``."""
    set_by_user = shadow.threshold_origin.source != "shipped default"
    return ShadowSettings(
        threshold=shadow.threshold if set_by_user else None,
        mirror_writes=options.mirror,
        primary_name=primary.name,
        shadow_name=shadow.name,
    )


def _tell(counts: ShadowCounts) -> None:
    compared = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.compared.items()))
    dropped = ", ".join(f"{count} {cause}" for cause, count in sorted(counts.dropped.items()))
    remark(f"shadow: of {counts.offered} calls compared: {compared or 'none'}")
    if dropped:
        remark(f"shadow: not asked: {dropped}")
    if counts.write_failures:
        remark(f"shadow: {counts.write_failures} changes of galleries are missing: sync them")
    if counts.bytes_sent:
        remark(f"shadow: {counts.bytes_sent} bytes sent, ${counts.usd_billed:.4f} billed")


def _bytes(text: str | None) -> float | None:
    return None if text is None else parse_bytes(text)
