"""``report --show-failures``: the photographs behind each failure, on a page of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from rekadapter.cli.output import remark
from rekadapter.cli.session import Session
from rekadapter.errors import UsageError
from rekadapter.evaluation.dataset import check
from rekadapter.evaluation.evaluate import read_evaluation
from rekadapter.evaluation.failure_gallery import (
    Picture,
    Pictures,
    blurred,
    clear,
    samples_of,
    write_gallery,
)
from rekadapter.evaluation.failures import failures_of, photographs_of
from rekadapter.evaluation.loaders import Layout, load
from rekadapter.evaluation.results import EvaluationReport
from rekadapter.gate import DetectingFinder

ShowFailures = Annotated[
    Path | None,
    typer.Option(
        "--show-failures",
        help="The data set of the evaluation: writes failures.html with the photographs of what "
        "failed, made unrecognizable.",
    ),
]
Unblurred = Annotated[
    bool, typer.Option("--unblurred", help="In failures.html, show people as they are.")
]


@dataclass(frozen=True, slots=True)
class FailureRequest:
    """Where the photographs lie, and whether people are shown as they are."""

    dataset: Path
    layout: Layout
    unblurred: bool

    @classmethod
    def of(cls, dataset: Path | None, layout: Layout, *, unblurred: bool) -> FailureRequest | None:
        """What the options ask for; None: nothing.

        Raises:
            UsageError: people are to be shown, and no data set is named.
        """
        if dataset is None and unblurred:
            raise UsageError("--unblurred belongs to --show-failures DATASET")
        return None if dataset is None else cls(dataset, layout, unblurred)


def show_failures(
    session: Session, directory: Path, report: EvaluationReport, request: FailureRequest
) -> None:
    """Writes the page and says where it is.

    Raises:
        UsageError: the data set cannot be read, or is not the one that was evaluated.
        OutputError: the page cannot be written.
    """
    stored = read_evaluation(directory)
    if stored.record.only_pairs:
        raise UsageError(f"{directory} compared pairs 1:1: only failed searches can be shown")
    samples = samples_of(check(load(request.dataset, request.layout).dataset))
    failures = failures_of(stored, report)
    wanted = photographs_of(failures)
    if wanted and not wanted & samples.keys():
        raise UsageError(f"{request.dataset} holds none of the photographs that {directory} asked")
    with _drawing(session, unblurred=request.unblurred) as draw:
        pictures = Pictures(samples, draw)
        page = write_gallery(
            directory, report, failures, pictures, are_blurred=not request.unblurred
        )
    shown = "as they are: guard it" if request.unblurred else "made unrecognizable"
    remark(f"failures: {page} (shows photographs of people, {shown})")


@contextmanager
def _drawing(session: Session, *, unblurred: bool) -> Iterator[Picture]:
    if unblurred:
        yield clear
        return
    with session.backend("local") as local:
        yield blurred(DetectingFinder(local.recognizer))
