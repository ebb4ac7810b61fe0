"""``rekadapter gallery sync A B``: two backends' galleries brought to the same roster."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from rekadapter.cli.options import AsJson, GalleryName
from rekadapter.cli.output import print_json, print_table, remark
from rekadapter.cli.pricing import request_price
from rekadapter.cli.session import Session
from rekadapter.errors import BackendError, UsageError
from rekadapter.gallery_sync import (
    FacesOf,
    NoteBook,
    Photograph,
    Side,
    SidePlan,
    SyncOptions,
    SyncOutcome,
    SyncPlan,
    SyncRoster,
    carry_out,
    notes_file,
    plan_sync,
    read_notes,
    read_sync_roster,
)
from rekadapter.recognizer import BackendContext, QualityFilter, RequestRecord
from rekadapter.roster import EnrollOptions
from rekadapter.types import SubjectId

INCOMPLETE = 1

FirstBackend = Annotated[
    str, typer.Argument(metavar="A", help="One backend's name.", show_default=False)
]
SecondBackend = Annotated[
    str, typer.Argument(metavar="B", help="The other one's.", show_default=False)
]


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What ``--json`` prints: the plan, and unless it was a dry run what came of it.

    ``billed_usd`` is the sum of the known prices of all requests made.
    """

    plan: SyncPlan
    estimated_usd: float | None
    dry_run: bool
    outcome: SyncOutcome | None
    billed_usd: float
    requests_of_unknown_price: int


def sync(
    context: typer.Context,
    a: FirstBackend,
    b: SecondBackend,
    gallery: GalleryName = None,
    roster: Annotated[
        Path | None, typer.Option(help="The photographs: a folder per subject.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    delete: Annotated[
        bool,
        typer.Option("--delete", help="Take out of both galleries who is not in the roster."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before deleting.")] = False,
    all_faces: Annotated[
        bool, typer.Option("--all-faces", help="Every face of a photo, not only the best one.")
    ] = False,
    quality: Annotated[
        QualityFilter, typer.Option(help="How strictly poor faces are left out.")
    ] = QualityFilter.AUTO,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Try photos again that gave no face; it is billed."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring two backends' galleries to the same roster (exit code 1: somebody is missing in one).

    No backend gives out templates: whoever has a photograph in the roster is enrolled where they
    are missing, and everybody else is listed. Run it again after an interruption: what is done is
    not done, or paid for, twice.
    """
    if a == b:
        raise UsageError("a gallery is synchronized between two different backends")
    if delete and roster is None:
        raise UsageError("--delete takes out who is not in the roster: name it with --roster")
    session: Session = context.obj
    options = SyncOptions(
        EnrollOptions(None if all_faces else 1, quality), delete=delete, retry_failed=retry_failed
    )
    people = read_sync_roster(roster) if roster else SyncRoster()
    spend = _Spend()
    with ExitStack() as stack:
        first, second = (_side(session, name, spend, stack) for name in (a, b))
        chosen = session.gallery(gallery)
        path = notes_file(session.settings.data_dir, chosen)
        plan = plan_sync((first, second), chosen, people, read_notes(path), options)
        outcome = None
        if not dry_run:
            _confirm(plan, asking=not yes)
            with NoteBook(path) as book:
                outcome = carry_out(plan, (first, second), book, options, progress=_bar)
    _show(plan, outcome, spend, as_json=as_json)
    _end(outcome)


class _Spend:
    """A request log that adds up prices. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.usd = 0.0
        self.unknown = 0

    def record(self, request: RequestRecord) -> None:
        with self._lock:
            if request.price_usd is None:
                self.unknown += 1
            else:
                self.usd += request.price_usd


def _side(session: Session, name: str, spend: _Spend, stack: ExitStack) -> Side:
    settings = session.settings
    context = BackendContext(settings.data_dir, settings.cache_dir, request_log=spend)
    opened = stack.enter_context(session.backend(name, context=context))
    price = request_price(settings.backend_named(name), opened.recognizer, "IndexFaces")
    return Side(opened.name, opened.recognizer, price)


def _confirm(plan: SyncPlan, *, asking: bool) -> None:
    doomed = [(side.backend, side.faces_to_delete) for side in plan.sides if side.faces_to_delete]
    if doomed and asking:
        faces = " and ".join(f"{count} faces from {name}" for name, count in doomed)
        typer.confirm(f"Delete up to {faces}, gallery {plan.gallery}?", abort=True, err=True)


def _bar(backend: str, photographs: Sequence[Photograph]) -> Iterable[Photograph]:
    console = Console(stderr=True)
    return track(photographs, f"enrolling in {backend}", console=console, transient=True)


# --- showing it -------------------------------------------------------------------------------


def _show(plan: SyncPlan, outcome: SyncOutcome | None, spend: _Spend, *, as_json: bool) -> None:
    if as_json:
        dry_run = outcome is None
        report = SyncReport(
            plan, plan.estimated_usd, dry_run, outcome, round(spend.usd, 9), spend.unknown
        )
        print_json(report)
        return
    _show_plan(plan)
    _show_people(plan)
    for failed in plan.unreadable:
        remark(f"{failed.path} ({failed.subject}): {failed.reason}")
    for side in plan.sides:
        _tell_plan(side)
    if outcome is not None:
        _show_outcome(outcome)
        billed = f"${spend.usd:.4f}"
        unknown = f", and {spend.unknown} requests of unknown price" if spend.unknown else ""
        remark(f"billed by the price list: {billed}{unknown}")


def _show_plan(plan: SyncPlan) -> None:
    rows = [
        (
            side.backend + (" (new gallery)" if side.create_gallery else ""),
            len(side.present),
            len(side.enroll),
            len(side.failed_before),
            side.faces_to_delete,
            _dollars(side.estimated_usd),
        )
        for side in plan.sides
    ]
    columns = ("backend", "photos there", "to enroll", "failed before", "faces to delete", "price")
    print_table(f"plan for gallery {plan.gallery}", columns, rows)


def _show_people(plan: SyncPlan) -> None:
    if not plan.cannot_move:
        return
    names = tuple(f"faces in {side.backend}" for side in plan.sides)
    rows = [(_name(one.subject), *one.faces) for one in plan.cannot_move]
    print_table("cannot move: no photograph at hand", ("subject", *names), rows)


def _tell_plan(side: SidePlan) -> None:
    for failure in side.failed_before:
        photo, why = failure.photograph, ", ".join(failure.reasons)
        remark(f"{side.backend}: {photo.path} gave no face before ({why}); --retry-failed tries")
    _tell_unexplained(side.backend, side.unexplained, "from no photograph noted so far")


def _show_outcome(outcome: SyncOutcome) -> None:
    rows = [
        (
            side.backend,
            len(side.enrolled),
            len(side.failed),
            side.not_tried,
            len(side.deleted),
            len(side.not_deleted),
        )
        for side in outcome.sides
    ]
    columns = ("backend", "enrolled", "failed", "not tried", "deleted", "not deleted")
    print_table("done", columns, rows)
    for side in outcome.sides:
        for failure in side.failed:
            remark(f"{side.backend}: {failure.photograph.path}: {', '.join(failure.reasons)}")
        for kept in side.not_deleted:
            remark(f"{side.backend}: {_name(kept.subject)}, face {kept.face_id}: {kept.reason}")


def _tell_unexplained(backend: str, faces: tuple[FacesOf, ...], what: str) -> None:
    if faces:
        people = ", ".join(f"{_name(one.subject)} ({len(one.face_ids)})" for one in faces)
        remark(f"{backend}: faces {what}: {people}")


def _name(subject: SubjectId | None) -> str:
    return "(no subject)" if subject is None else subject


def _dollars(price: float | None) -> str:
    return "unknown" if price is None else f"${price:.4f}"


def _end(outcome: SyncOutcome | None) -> None:
    if outcome is None:
        return
    stopped = [f"{side.backend}: {side.stopped}" for side in outcome.sides if side.stopped]
    if stopped:
        raise BackendError(f"{'; '.join(stopped)}: run it again to go on from there")
    if not outcome.is_complete:
        raise typer.Exit(INCOMPLETE)
