"""Prometheus's text format 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Exposition:
    """Lines of the text format, for metrics whose names begin with one prefix."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def header(self, name: str, kind: str, text: str) -> tuple[str, str]:
        """What stands before the samples of a metric; ``kind`` is counter, gauge or histogram."""
        return f"# HELP {self._prefix}{name} {text}", f"# TYPE {self._prefix}{name} {kind}"

    def sample(self, name: str, labels: Mapping[str, str], value: float) -> str:
        """One value; labels may hold anything."""
        inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        shown = "+Inf" if value == math.inf else repr(value)
        return (
            f"{self._prefix}{name}{{{inside}}} {shown}"
            if inside
            else f"{self._prefix}{name} {shown}"
        )


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
