"""What an evaluation of thousands of people takes: bytes on disk, time and memory.

    python benchmarks/evaluation.py [--people 200 1000 2500 5000] [--systems 1 2] [--in DIR]

Half of the people are enrolled with a photograph each, everybody is searched with two others, and
every answer holds the whole gallery as candidates, up to 4,096. Scores are made up
(``evaluation/synthetic.py``) and written through the real store beside a real audit log, so that
the files are as they would be; the first system gives raw scores too, as local models do.

Each directory is written, opened again as a second sitting does, and made into a report as
``rekadapter report`` does, each in a process of its own whose peak memory is printed. Stages of the
report are what ``evaluate.py`` calls, whatever those are; "peak" is that of the process so far.
Target: the report of 5,000 people and two systems within 2 GB and 5 minutes on two cores.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rekadapter.cli import evaluation_job
from rekadapter.evaluation import evaluate
from rekadapter.evaluation.answers import ANSWERS_FILE, AnswerStore, StoredAnswer
from rekadapter.evaluation.evaluate import REQUESTS_FILE, SESSIONS_FILE
from rekadapter.evaluation.evaluation_audit import EvaluationAudit
from rekadapter.evaluation.outcomes import GroupLabel
from rekadapter.evaluation.record import EVALUATION_FILE, read_record, write_record
from rekadapter.evaluation.runner import questions
from rekadapter.evaluation.synthetic import GroupModel, ScoreModel, SearchDesign
from rekadapter.testing.comparisons import with_compared_pairs
from rekadapter.testing.evaluations import made_up_evaluation

SESSION = "benchmark"
MODELS = {"alpha": ScoreModel(failure_rate=0.01), "beta": ScoreModel(mated_mean=0.5)}
GROUPS = (
    GroupModel(GroupLabel("site", "north"), 0.5),
    GroupModel(GroupLabel("site", "south"), 0.5, mated_shift=-0.05, nonmated_shift=0.03),
)
MEGABYTE = 1e6
SHOWN_FROM = 0.02  # of the whole time


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--people", type=int, nargs="+", default=[200, 1000, 2500, 5000])
    options.add_argument("--systems", type=int, nargs="+", default=[1, 2])
    options.add_argument("--in", dest="folder", type=Path, help="keep the directories here")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for people in given.people:
            for systems in given.systems:
                place = (given.folder or Path(temporary)) / f"{people}-{systems}"
                _measure(place, people, systems)
                if given.folder is None:
                    shutil.rmtree(place)


def _measure(place: Path, people: int, systems: int) -> None:
    print(f"\n{people:,} people, {systems} system{'s' if systems > 1 else ''}")
    if not (place / EVALUATION_FILE).exists():
        _in_a_child(_write, place, people, systems)
    size = (place / ANSWERS_FILE).stat().st_size
    print(f"  {'answers.jsonl':28} {size / MEGABYTE:8,.0f} MB")
    _in_a_child(_open_again, place)
    _in_a_child(_report, place)


def _in_a_child(work: Callable[..., None], *arguments: object) -> None:
    child = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    child.start()
    child.join()
    if child.exitcode:
        sys.exit(f"{work.__name__} ended with {child.exitcode}")


def _peak() -> float:
    """Of this process so far, in MB (Linux gives KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEGABYTE


def _line(what: str, seconds: float, more: str = "") -> None:
    print(f"  {what:28} {seconds:8.1f} s   peak {_peak():6,.0f} MB{more}", flush=True)


# --- asking -----------------------------------------------------------------------------------


def _write(place: Path, people: int, systems: int) -> None:
    """Answers through the store, each with its record in the audit log."""
    half = people // 2
    design = SearchDesign(half, half, people - half, captures=2, groups=GROUPS)
    models = dict(list(MODELS.items())[:systems])
    stored = with_compared_pairs(made_up_evaluation(design, models, default_threshold=0.4))
    write_record(place, stored.record)
    for name in (REQUESTS_FILE, SESSIONS_FILE):
        (place / name).write_bytes(b"")
    answers = map(_as_kept, stored.answers.values())
    spent, count, held = 0.0, 0, _peak()
    with (
        AnswerStore(place / ANSWERS_FILE) as store,
        EvaluationAudit(place, stored.record, SESSION, asks=True) as audit,
    ):
        store.listen(audit.answered)
        for answer in answers:
            began = time.perf_counter()
            store.add(answer)
            spent += time.perf_counter() - began
            count += 1
    each = f"   {1000 * spent / count:.2f} ms an answer, {_peak() - held:,.0f} MB more than before"
    print(f"  {'adding answers':28} {spent:8.1f} s{each}", flush=True)


def _as_kept(answer: StoredAnswer) -> StoredAnswer:
    """The first system is a local model: it gives a raw score, single precision, beside each."""
    if answer.question.system != "alpha":
        return answer
    raw = [float(np.float32(1.2 - one.score)) for one in answer.candidates]
    pairs = zip(answer.candidates, raw, strict=True)
    return replace(answer, candidates=tuple(replace(one, raw=value) for one, value in pairs))


def _open_again(place: Path) -> None:
    """A second sitting: everything is read, and every question is looked up."""
    began = time.perf_counter()
    with AnswerStore(place / ANSWERS_FILE) as store:
        _line("opening the store again", time.perf_counter() - began)
        record = read_record(place)
        began = time.perf_counter()
        asked = [
            store.get(asker.search(probe)) is not None
            for asker in [questions(record, entry) for entry in record.systems]
            for probe in record.probes
        ]
        seconds = time.perf_counter() - began
    assert all(asked)
    _line("looking up every search", seconds, f"   {1e6 * seconds / len(asked):.0f} us each")


# --- the report -------------------------------------------------------------------------------


@dataclass(slots=True)
class _Stages:
    """Seconds by stage; what a stage calls inside another counts for the inner one alone."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    peaks: dict[str, float] = field(default_factory=dict)
    inner: list[float] = field(default_factory=lambda: [0.0])

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*given: object, **named: object) -> object:
            found = self.step(name, lambda: function(*given, **named))
            return self._each(name, found) if inspect.isgenerator(found) else found

        return wrapper

    def step(self, name: str, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - of any stage
        began = time.perf_counter()
        self.inner.append(0.0)
        try:
            return work()
        finally:
            whole = time.perf_counter() - began
            self.seconds[name] += whole - self.inner.pop()
            self.inner[-1] += whole
            self.peaks[name] = _peak()

    def _each(self, name: str, found: Iterator[object]) -> Iterator[object]:
        end = object()
        while (one := self.step(name, lambda: next(found, end))) is not end:
            yield one


def _report(place: Path) -> None:
    stages = _Stages()
    for module in (evaluate, evaluation_job):
        for name, one in list(vars(module).items()):
            ours = getattr(one, "__module__", "").startswith("rekadapter")
            if inspect.isfunction(one) and ours and one.__name__ != "evaluated":
                setattr(module, name, stages.timed(name, one))
    before = _peak()
    began = time.perf_counter()
    evaluation_job.written(place, stopped=False)
    whole = time.perf_counter() - began
    for name, seconds in stages.seconds.items():
        if seconds >= SHOWN_FROM * whole:
            print(f"    {name:26} {seconds:8.1f} s   peak {stages.peaks[name]:6,.0f} MB")
    _line("report, end to end", whole, f" (modules alone: {before:,.0f} MB)")
    for name in ("report.json", "report.html"):
        print(f"  {name:28} {(place / name).stat().st_size / 1000:8,.0f} kB", flush=True)


if __name__ == "__main__":
    main()
