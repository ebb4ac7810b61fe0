"""The page about the mock: its programs run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "mock-rekognition.md"


BARE = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
    "AWS_EC2_METADATA_DISABLED": "true"
}
"""A machine without credentials, where nobody looks for some on the network."""


def test_every_program_of_the_page_passes(tmp_path: Path) -> None:
    programs = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(programs) == PAGE.read_text("utf-8").count("```python")
    for name, text in programs:
        (tmp_path / name).write_text(text, encoding="utf-8")
    plugin = ["-p", "no:rekadapter", "-p", "rekadapter.testing.pytest_plugin"]
    run = subprocess.run(  # noqa: S603 - pytest on the page's own programs
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin],
        cwd=tmp_path,
        env=BARE | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "17 passed" in run.stdout
