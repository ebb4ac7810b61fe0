"""Where a run's findings go: the run directory."""

from rekadapter.sinks.ledger import Ledger
from rekadapter.sinks.run_directory import SCHEMA_VERSION, RunDirectory, read_run
from rekadapter.sinks.sink import OriginalAnswer, RunOutcome, Sink

__all__ = [
    "SCHEMA_VERSION",
    "Ledger",
    "OriginalAnswer",
    "RunDirectory",
    "RunOutcome",
    "Sink",
    "read_run",
]
