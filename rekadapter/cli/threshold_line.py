"""The line that takes a measured threshold into use, printed where an evaluation ends."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

from rekadapter.cli.output import remark
from rekadapter.errors import ThresholdReportError
from rekadapter.evaluation.results import REPORT_FILE
from rekadapter.evaluation.threshold_report import (
    UsableThreshold,
    primary_thresholds,
    read_threshold_report,
)

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
"""of TOML, which needs no quotes"""


def say_how_to_use(directory: Path) -> None:
    """Prints what to put into rekadapter.toml for each system of a report, or why there is nothing
    to put there."""
    try:
        given = read_threshold_report(directory / REPORT_FILE)
    except ThresholdReportError as error:
        remark(f"no threshold to use: {error}")
        return
    for found in primary_thresholds(given):
        if isinstance(found, UsableThreshold):
            remark(_lines(found, directory.resolve()))
        else:
            remark(f"no threshold to use: {found}")


def _lines(found: UsableThreshold, directory: Path) -> str:
    name = found.system.id
    key = name if _BARE_KEY.fullmatch(name) else _quoted(name)
    return (
        f"to use the threshold of {name}, {found.value:.6g}, {found.words}, put into "
        f"rekadapter.toml:\n[backends.{key}]\nthreshold_from = {_quoted(str(directory))}"
    )


def _quoted(text: str) -> str:
    """A basic string of TOML: one of JSON, with the delete character escaped too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
