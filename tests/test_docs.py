"""The generated pages are what the code says now."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.rekognition_api.mocking import MockedRekognition
from rekadapter.rekognition_api.service import RekognitionService
from tests.rekognition_api.botocore_cases import whole_request

DOCS = Path(__file__).parents[1] / "docs"
ACCOUNT, REGION = "123456789012", "eu-west-1"


def _script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, script)
    spec.loader.exec_module(script)
    return script


def test_the_cli_reference_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    generate = _script("generate", monkeypatch)
    assert generate.CLI_PAGE.read_text(encoding="utf-8") == generate.cli_reference(), (
        "docs/cli.md is stale: run `make docs`"
    )


def test_the_coverage_of_the_api_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("moto")
    coverage = _script("api_coverage", monkeypatch)
    assert coverage.COVERAGE_PAGE.read_text(encoding="utf-8") == coverage.coverage_page(), (
        "docs/coverage.md is stale: run `make docs`"
    )


def test_the_coverage_page_says_what_the_service_does(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("moto")
    coverage = _script("api_coverage", monkeypatch)
    plain = RekognitionService(MemoryRecognizer())
    mock = MockedRekognition(MemoryRecognizer).region(ACCOUNT, REGION)
    rows = coverage.coverage_rows()
    assert len(rows) == 75
    for row in rows:
        body = json.dumps(whole_request(row.operation)).encode()
        target = f"RekognitionService.{row.operation}"
        for shell, served in ((plain, row.http), (mock, row.in_process)):
            answer = shell.handle(target, body, account=ACCOUNT, region=REGION)
            unknown = b"UnknownOperationException" in answer.body
            assert unknown == (served != coverage.YES), row.operation
