"""A run from start to finished directory: what `run`, `compare` and `demo` have in common."""

from __future__ import annotations

import hashlib
import math
import os
import platform
import shlex
import signal
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Final

from rekadapter import __version__
from rekadapter.backends import open_backend
from rekadapter.cli.feed_reports import GIVEN_FILES, Beforehand, RunResult, keep_inputs, written_up
from rekadapter.cli.live import HasState
from rekadapter.cli.modes import Mode, gate_of, mode_of
from rekadapter.cli.output import remark
from rekadapter.cli.pricing import request_price
from rekadapter.cli.run_metrics import MetricsAddress
from rekadapter.cli.session import OpenBackend, Session
from rekadapter.cli.standbys import REMOTE_WORKERS, refuse_useless_spool, standbys
from rekadapter.cli.thresholds import ThresholdRequest, refuse_unknown_names
from rekadapter.cli.watching import watched
from rekadapter.config import Settings
from rekadapter.errors import GalleryNotFoundError, OutputError, RekadapterError, UsageError
from rekadapter.feeds import FeedSpec, open_feed
from rekadapter.feeds.frames import without_secrets
from rekadapter.gate import (
    DetectingFinder,
    FaceFinder,
    Gate,
    GateRules,
    SharedFinder,
    ShotRules,
)
from rekadapter.observation import BackendRecord, RunRecord
from rekadapter.pipeline import Lane, RunOptions, run_feeds
from rekadapter.recognizer import BackendContext, NoLimit, NoPriceCap, Pacer, PriceBudget
from rekadapter.sinks.ledger import Ledger
from rekadapter.sinks.run_directory import SCHEMA_VERSION, RunDirectory
from rekadapter.types import GalleryDescription, GalleryId
from rekadapter.uplink.bucket import request_budget
from rekadapter.uplink.link_watch import Standby
from rekadapter.uplink.pacer import UplinkPacer
from rekadapter.uplink.schedule import AUTO, Schedule
from rekadapter.uplink.spending import PriceCaps, Spending

FRAME_BYTES: Final = 250_000
_VERSIONS: Final = (
    "rekadapter", "numpy", "opencv-python", "onnxruntime", "av", "boto3", "botocore",
)  # fmt: skip
_HASHED_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to run: feeds, a gallery, backends by name, and how.

    ``uplink`` is the cap of all remote backends together, as text; ``frame_bytes`` the largest
    image sent. ``modes`` are what ``--mode`` named: see ``modes.mode_of``. ``metrics`` are served
    while it runs. ``spool_bytes`` of disk may be taken by frames that wait for an uplink that is
    gone; None: they are not kept.
    """

    feeds: tuple[FeedSpec, ...]
    gallery: GalleryId
    out: Path
    command: str
    options: RunOptions
    uplink: str | None = None
    frame_bytes: int = FRAME_BYTES
    notes: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    caps: PriceCaps = field(default_factory=PriceCaps)
    given: Beforehand = field(default_factory=Beforehand)
    spool_bytes: int | None = None
    metrics: MetricsAddress | None = None


@dataclass(frozen=True, slots=True)
class Uplink:
    """What the backends of a run share: the budget, the ledger, and the end of all waits."""

    stop: threading.Event
    ledger: Ledger
    pacer: Pacer | None

    @classmethod
    def capped_at(cls, rate: str | None) -> Uplink:
        """An uplink with a cap such as ``2Mbit/s``, one by the hour, ``auto``, or none.

        Raises:
            ConfigError: not a rate.
        """
        stop = threading.Event()
        pacer = UplinkPacer(Schedule.parse(rate), stop=stop) if rate else None
        return cls(stop, Ledger(), pacer)

    def reachable(self) -> bool:
        """What the rate control knows of an outage; without one nobody knows."""
        return not isinstance(self.pacer, HasState) or self.pacer.state().reachable

    def picture_bytes(self) -> int | None:
        """The most one picture may take at the rate the link gives right now; None: no bound."""
        if not isinstance(self.pacer, HasState):
            return None
        return request_budget(self.pacer.state().rate)


@contextmanager
def price_budget(settings: Settings, caps: PriceCaps) -> Iterator[PriceBudget]:
    """What may be spent, kept in the data directory; without a cap nothing is kept."""
    if caps == PriceCaps():
        yield NoPriceCap()
        return
    with Spending(settings.data_dir, caps) as spending:
        yield spending


def remote_context(
    settings: Settings, uplink: Uplink, budget: PriceBudget | None = None
) -> BackendContext:
    """What a backend that shares ``uplink`` is opened with."""
    return BackendContext(
        data_dir=settings.data_dir,
        cache_dir=settings.cache_dir,
        pacer=uplink.pacer or NoLimit(),
        request_log=uplink.ledger,
        stop=uplink.stop,
        price_budget=budget or NoPriceCap(),
    )


def run_named(
    session: Session,
    names: Sequence[str | None],
    thresholds: ThresholdRequest,
    request: RunRequest,
) -> RunResult:
    """Opens the named backends and runs the feeds through all of them."""
    thresholds = replace(thresholds, gallery=request.gallery, modes=request.modes)
    # an outage is noticed by the rate control long before a request has used up its retries
    uplink = Uplink.capped_at(request.uplink or (AUTO if request.spool_bytes else None))
    with ExitStack() as stack:
        budget = stack.enter_context(price_budget(session.settings, request.caps))
        opened = [
            stack.enter_context(
                session.backend(
                    name,
                    thresholds=thresholds,
                    among=names,
                    context=remote_context(session.settings, uplink, budget),
                )
            )
            for name in names
        ]
        for line in _estimates(session.settings, opened, request):
            remark(line)
        finder = stack.enter_context(_own_finder(session, opened, request))
        lists = price_lists(session.settings, opened)
        request = replace(request, given=replace(request.given, price_lists=lists))
        return run_opened(opened, uplink, request, finder)


def price_lists(settings: Settings, backends: Sequence[OpenBackend]) -> dict[str, Path]:
    """The price files that backends name, by the backends' names."""
    named = {one.name: settings.backend_named(one.name).options.get("prices") for one in backends}
    return {name: Path(str(path)) for name, path in named.items() if path is not None}


def _estimates(
    settings: Settings, backends: Sequence[OpenBackend], request: RunRequest
) -> Iterator[str]:
    """What a run may cost at most, per paid backend, in a line: one face searched in every frame
    that the feeds are expected to have in its time."""
    remote = [one for one in backends if one.recognizer.capabilities.remote]
    if not remote:
        return  # no feed has to be opened for that
    frames = [_most_frames(spec, request.options.duration_seconds) for spec in request.feeds]
    known = sum(count for count in frames if count is not None)
    for backend in remote:
        of = request_price(
            settings.backend_named(backend.name), backend.recognizer, "SearchFacesByImage"
        )
        each, total = of(1), of(known)
        if each is None or total is None:
            yield f"{backend.name}: the price of a search, and so of the run, is not known"
        elif None in frames:
            yield f"{backend.name}: ${each:g} a search; nobody knows how many frames will come"
        else:
            yield (
                f"{backend.name}: ${each:g} a search; with one face searched in each of {known} "
                f"frames ${total:.2f}, and less where not every frame is sent"
            )


def _most_frames(spec: FeedSpec, duration_seconds: float | None) -> int | None:
    """How many frames a run will look at, no more; None where nobody knows."""
    counts = [open_feed(spec).expected_frames]
    if duration_seconds is not None and spec.fps is not None:
        counts.append(math.ceil(duration_seconds * spec.fps))
    return min((count for count in counts if count is not None), default=None)


def run_opened(
    backends: Sequence[OpenBackend],
    uplink: Uplink,
    request: RunRequest,
    finder: FaceFinder | None = None,
) -> RunResult:
    """Runs the feeds; the directory is complete, with summary and report, however the run ended.

    ``finder`` finds faces for the modes that need it; without one, a backend of this machine does.

    Raises:
        RekadapterError: what kept the run from finishing; the directory is written first.
    """
    refuse_unknown_names("--mode", request.modes, [backend.name for backend in backends])
    refuse_useless_spool(backends, request.spool_bytes)
    feeds = [open_feed(spec) for spec in request.feeds]
    with watched(uplink.ledger, uplink.pacer, request.metrics) as progress:
        for backend in backends:
            # a missing gallery or refused credentials are said before a directory is made
            _described(backend, request.gallery)
        directory = RunDirectory.create(request.out, record_of(backends, request), uplink.ledger)
        keep_inputs(request.out, request.given, backends, feeds)
        directory.given(*GIVEN_FILES)
        options = replace(request.options, gates=_gates(backends, request, finder, uplink))
        with (
            _written_up_if_it_fails(request.out),
            standbys(request.out, backends, uplink.reachable, request.spool_bytes) as spools,
            stopping_at_ctrl_c(uplink.stop),
        ):
            lanes = [lane_of(one, request, spools.get(one.name)) for one in backends]
            run_feeds(feeds, lanes, directory, options, stop=uplink.stop, progress=progress)
    return _written_up(request.out)


def _written_up(directory: Path) -> RunResult:
    try:
        return written_up(directory)
    except (KeyboardInterrupt, OutputError):
        remark(f"the run is kept; its report is not finished: rekadapter report {directory}")
        raise


@contextmanager
def _written_up_if_it_fails(directory: Path) -> Iterator[None]:
    try:
        yield
    except RekadapterError:
        # a full disk may be what ended the run: then there is no report, and the first error counts
        with suppress(OutputError, UsageError):
            written_up(directory)
        raise


def new_run_directory(parent: Path) -> Path:
    """A directory name under ``parent`` that sorts by time."""
    return parent / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")


def shown_command(arguments: Sequence[str]) -> str:
    """The command line for the record; a password in a URL is left out."""
    return shlex.join(["rekadapter", *map(without_secrets, arguments)])


@contextmanager
def stopping_at_ctrl_c(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C or SIGTERM ends a run in order: what is under way is finished, waits are cut short."""

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    ends = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(end, ask_to_stop) for end in ends]
    try:
        yield
    finally:
        for end, handler in zip(ends, before, strict=True):
            signal.signal(end, handler)


@contextmanager
def _own_finder(
    session: Session, backends: Sequence[OpenBackend], request: RunRequest
) -> Iterator[FaceFinder | None]:
    """The embedded pack's detector, where a mode needs one and no backend of the run brings it."""
    needed = any(_mode(backend, request) is not Mode.FRAME for backend in backends)
    if not needed or _finder_among(backends) is not None:
        yield None
        return
    settings = session.settings
    context = BackendContext(settings.data_dir, settings.cache_dir)
    recognizer = open_backend("gate", "local", {}, context)
    try:
        yield DetectingFinder(recognizer)
    finally:
        recognizer.close()


def _finder_among(backends: Sequence[OpenBackend]) -> FaceFinder | None:
    here = [one.recognizer for one in backends if not one.recognizer.capabilities.remote]
    return DetectingFinder(here[0]) if here else None


def _mode(backend: OpenBackend, request: RunRequest) -> Mode:
    return mode_of(backend.name, request.modes, remote=backend.recognizer.capabilities.remote)


def _gates(
    backends: Sequence[OpenBackend],
    request: RunRequest,
    finder: FaceFinder | None,
    uplink: Uplink,
) -> dict[str, Gate]:
    found = finder or _finder_among(backends)
    shared = SharedFinder(found) if found is not None else None
    gates = {}
    for backend in backends:
        side = backend.recognizer.capabilities.min_image_side_px
        shots = ShotRules(max_bytes=_upload_bytes(request), min_side_px=side)
        rules = GateRules(shots=shots)
        gates[backend.name] = gate_of(_mode(backend, request), shared, rules, uplink.picture_bytes)
    return gates


def lane_of(backend: OpenBackend, request: RunRequest, standby: Standby | None = None) -> Lane:
    """How a backend is asked in a run."""
    remote = backend.recognizer.capabilities.remote
    return Lane(
        name=backend.name,
        recognizer=backend.recognizer,
        gallery=request.gallery,
        threshold=backend.threshold,
        workers=REMOTE_WORKERS if remote else 1,
        upload_bytes=_upload_bytes(request) if remote else None,
        standby=standby,
    )


def _upload_bytes(request: RunRequest) -> int:
    lowest = Schedule.parse(request.uplink).lowest if request.uplink else math.inf
    budget = request_budget(lowest if math.isfinite(lowest) else None)
    return min(request.frame_bytes, budget)


def record_of(backends: Sequence[OpenBackend], request: RunRequest) -> RunRecord:
    """What a run says of itself before it begins."""
    options = request.options
    return RunRecord(
        schema_version=SCHEMA_VERSION,
        run_id=str(uuid.uuid4()),
        tool_version=__version__,
        command=request.command,
        started_at=datetime.now(UTC),
        ended_at=None,
        state="running",
        gallery=request.gallery,
        backends=tuple(_backend_record(backend) for backend in backends),
        cameras=(),
        settings={
            "uplink": request.uplink,
            "max_usd_per_hour": request.caps.usd_per_hour,
            "max_usd_per_month": request.caps.usd_per_month,
            "frame_bytes": request.frame_bytes,
            "spool_bytes": request.spool_bytes,
            "limit": options.limit,
            "faces": str(options.faces),
            "duration_seconds": options.duration_seconds,
            "keep_faces": options.keep_faces,
            **{f"mode of {one.name}": str(_mode(one, request)) for one in backends},
        },
        host={
            "machine": platform.machine(),
            "processors": str(os.cpu_count()),
            "system": platform.platform(),
            "python": platform.python_version(),
            # which hour it was at the cameras: a budget may go by it
            "utc_offset": datetime.now().astimezone().strftime("%z"),
        },
        versions={name: _version(name) for name in _VERSIONS},
        input_hashes={
            spec.camera: _hash_of(Path(spec.source)) for spec in request.feeds if not spec.is_live
        },
        price_sources=tuple(
            source
            for backend in backends
            for source in backend.recognizer.capabilities.price_sources
        ),
        notes=request.notes,
    )


def _backend_record(backend: OpenBackend) -> BackendRecord:
    capabilities = backend.recognizer.capabilities
    return BackendRecord(
        name=backend.name,
        kind=capabilities.backend,
        model=capabilities.model,
        threshold=backend.threshold.value,
        scale=capabilities.score_scale,
        remote=capabilities.remote,
        details=dict(capabilities.details),
        threshold_origin=backend.threshold_origin,
    )


def _described(backend: OpenBackend, gallery: GalleryId) -> GalleryDescription:
    """What a gallery of a backend holds; of several backends the error names the one without."""
    try:
        return backend.recognizer.describe_gallery(gallery)
    except GalleryNotFoundError as error:
        raise GalleryNotFoundError(f"{backend.name}: {error}") from error


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _hash_of(source: Path) -> str:
    """SHA-256 over a file, or over the files of a folder in order of their names."""
    files = [source] if source.is_file() else sorted(p for p in source.iterdir() if p.is_file())
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            while part := opened.read(_HASHED_BYTES):
                digest.update(part)
    return digest.hexdigest()
