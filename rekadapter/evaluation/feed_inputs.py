"""``comparison.json``: what a report of a run needs besides the run itself.

The rules, the truth where somebody wrote it down, dated prices, and each backend's shipped default:
fixed when the run was made, or given afterwards with ``rekadapter report``. It stands in the run
directory and holds people's names, as the run does; ``report.json`` holds none.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from rekadapter.errors import OutputError
from rekadapter.evaluation.record import PriceEntry, write_text
from rekadapter.evaluation.rules import Rules, Table
from rekadapter.evaluation.truth import Truth

INPUTS_FILE: Final = "comparison.json"


class SystemInputs(Table):
    """What is known of a backend besides ``run.json``."""

    name: str
    default_threshold: float
    prices: tuple[PriceEntry, ...] = ()


class FeedInputs(Table):
    """The whole file. ``photographs``: cameras whose frames have nothing to do with each other, so
    that one sighting is enough for a name. ``live``: cameras that did not wait for us."""

    schema_version: int = 1
    rules: Rules = Rules()
    stated: tuple[str, ...] = ()
    truth: Truth | None = None
    systems: tuple[SystemInputs, ...] = ()
    photographs: tuple[str, ...] = ()
    live: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Digest of everything fixed beforehand."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def system(self, name: str) -> SystemInputs | None:
        """What is known of a backend."""
        return next((one for one in self.systems if one.name == name), None)


def write_inputs(directory: Path, inputs: FeedInputs) -> Path:
    """Writes ``comparison.json`` into a run directory.

    Raises:
        OutputError: it cannot be written.
    """
    return write_text(directory / INPUTS_FILE, inputs.model_dump_json(indent=1) + "\n")


def read_inputs(directory: Path) -> FeedInputs:
    """Reads ``comparison.json``; where there is none, nothing but defaults is known.

    Raises:
        OutputError: it is damaged.
    """
    path = directory / INPUTS_FILE
    if not path.is_file():
        return FeedInputs()
    try:
        return FeedInputs.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise OutputError(
            f"{path} cannot be read: restore it, or delete it and give --truth and --rules again"
        ) from error
