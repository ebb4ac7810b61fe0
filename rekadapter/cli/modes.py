"""``--mode``: how much of a frame each backend is asked about."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from rekadapter.errors import UsageError
from rekadapter.gate import (
    Budget,
    CropGate,
    FaceFinder,
    Gate,
    GateRules,
    TrackGate,
    WholeFrame,
    no_budget,
)


class Mode(StrEnum):
    """``frame``: every frame whole. ``crop``: every face of every frame in which something moves.
    ``track``: the best pictures of each person."""

    FRAME = "frame"
    CROP = "crop"
    TRACK = "track"


def mode_of(backend: str, flags: Sequence[str], *, remote: bool) -> Mode:
    """``--mode track`` is for every backend that sends images away, ``--mode local=track`` for one.
    Without a flag those send tracks, and a backend of this machine gets whole frames.

    Raises:
        UsageError: no such mode.
    """
    chosen = Mode.TRACK if remote else Mode.FRAME
    for flag in flags:
        name, equals, text = flag.rpartition("=")
        if equals and name != backend:
            continue
        mode = _mode(text)
        if equals or remote:
            chosen = mode
    return chosen


def gate_of(
    mode: Mode, finder: FaceFinder | None, rules: GateRules, budget: Budget = no_budget
) -> Gate:
    """A gate of its own for a backend in ``mode``; ``budget`` bounds a picture as the link changes.

    Raises:
        UsageError: the mode needs a face detector on this machine and there is none.
    """
    if mode is Mode.FRAME:
        return WholeFrame()
    if finder is None:
        raise UsageError(
            f"mode {mode} needs a face detector on this machine: install the embedded pack "
            "(rekadapter models list) or use --mode frame"
        )
    kind = CropGate if mode is Mode.CROP else TrackGate
    return kind(finder, rules, budget=budget)


def _mode(text: str) -> Mode:
    try:
        return Mode(text)
    except ValueError as error:
        known = ", ".join(Mode)
        raise UsageError(f"{text!r} is not a mode: {known}, or BACKEND=MODE") from error
