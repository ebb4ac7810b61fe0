"""Which folder may import which: the table below is the architecture."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "rekadapter"

BASE = frozenset({"types", "errors", "closing", "databases"})
INTERFACE = BASE | {"recognizer", "imaging", "names", "observation"}
PARTS = frozenset({"uplink", "gate", "tracking", "sinks", "feeds"})
JOBS = frozenset(
    {
        "pipeline",
        "progress",
        "threads",
        "draining",
        "roster",
        "evaluation",
        "rekognition_api",
        "gallery_sync",
        "shadow",
        "planning",
    }
)

MAY_IMPORT = {
    "errors": frozenset(),
    "closing": frozenset(),
    "databases": frozenset(),
    "types": BASE,
    "names": BASE,
    "imaging": BASE,
    "recognizer": BASE | {"imaging"},
    "observation": BASE | {"recognizer"},
    "config": BASE,
    "backends": INTERFACE - {"observation"},
    **dict.fromkeys(PARTS, INTERFACE | PARTS),
    **dict.fromkeys(JOBS, INTERFACE | PARTS | JOBS),
    "testing": INTERFACE | PARTS | JOBS | {"backends"},
    "__main__": frozenset({"cli"}),
    "cli": INTERFACE | PARTS | JOBS | {"backends", "config", "testing"},
}


def _imports(file: Path) -> set[str]:
    """Parts of rekadapter that a file imports; ``from rekadapter import __version__`` is none."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file}: a relative import hides where it goes"
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("rekadapter.")}
    return found


FILES = sorted(file for file in PACKAGE.rglob("*.py") if file != PACKAGE / "__init__.py")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_module_imports_only_what_its_layer_may(file: Path) -> None:
    part = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert _imports(file) - {part} <= MAY_IMPORT[part]


def test_every_part_is_in_the_table() -> None:
    parts = {file.relative_to(PACKAGE).parts[0].removesuffix(".py") for file in FILES}
    assert parts <= MAY_IMPORT.keys()
