"""The faces that `rekadapter evaluate --sweep` makes smaller: who finds them, and the progress."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from rekadapter.backends import open_backend
from rekadapter.cli.session import OpenBackend, Session
from rekadapter.errors import UsageError
from rekadapter.evaluation.dataset import CheckedDataset
from rekadapter.evaluation.record import EVALUATION_FILE, EvaluationRecord, SweepPlan, read_record
from rekadapter.evaluation.runner import Inputs
from rekadapter.evaluation.sweep_plan import Faces, SweepRequest, sweep_inputs, with_sweep
from rekadapter.gate import DetectingFinder
from rekadapter.recognizer import BackendContext, Recognizer


@dataclass(frozen=True, slots=True)
class Sweeper:
    """Measures eyes and makes photographs smaller."""

    request: SweepRequest

    def prepared(
        self, record: EvaluationRecord, checked: CheckedDataset
    ) -> tuple[EvaluationRecord, Inputs]:
        """The record with its sweep, and everything that is searched.

        Raises:
            UsageError: there is nothing to sweep.
        """
        if record.only_pairs:
            raise UsageError("--sweep searches people, and this data set is one of pairs")
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        with bar:
            task = bar.add_task("eyes measured", total=None)
            planned = with_sweep(
                record,
                checked,
                self.request,
                lambda done, of: bar.update(task, completed=done, total=of),
            )
        return planned, sweep_inputs(planned, checked, self.request.faces)


@contextmanager
def sweeping(session: Session, opened: Sequence[OpenBackend], directory: Path) -> Iterator[Sweeper]:
    """A sweeper with a detector of this machine: that of a local backend of the run, of the memory
    backend (drawn faces), or of the embedded pack."""
    side = max(one.recognizer.capabilities.min_image_side_px for one in opened)
    with _finder(session, opened) as recognizer:
        yield Sweeper(
            SweepRequest(
                faces=Faces(DetectingFinder(recognizer)),
                finder=recognizer.capabilities.model,
                min_side_px=side,
                before=_before(directory),
            )
        )


@contextmanager
def _finder(session: Session, opened: Sequence[OpenBackend]) -> Iterator[Recognizer]:
    kinds = {session.settings.backend_named(one.name).type: one.recognizer for one in opened}
    found = kinds.get("local") or kinds.get("memory")
    if found is not None:
        yield found
        return
    context = BackendContext(session.settings.data_dir, session.settings.cache_dir)
    recognizer = open_backend("sweep", "local", {}, context)
    try:
        yield recognizer
    finally:
        recognizer.close()


def _before(directory: Path) -> SweepPlan | None:
    """What an earlier sitting measured."""
    return read_record(directory).sweep if (directory / EVALUATION_FILE).is_file() else None
