"""The generated pages are what the code says now."""

from __future__ import annotations

import importlib.util
import json
import sys
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest
import requests
from moto import mock_aws

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.rekognition_api.jobs.background import Background
from rekadapter.rekognition_api.jobs.plans import StreamSettings
from rekadapter.rekognition_api.jobs.processors import StreamProcessors
from rekadapter.rekognition_api.jobs.worker import VideoJobs
from rekadapter.rekognition_api.mocking import MockedRegion
from rekadapter.rekognition_api.moto_ext.responses import MOTO_ANSWERS
from rekadapter.rekognition_api.objects import DirectoryObjects
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.testing.rekognition import EVERY_ANSWER, RekognitionMock, installed
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
    coverage = _script("api_coverage", monkeypatch)
    assert coverage.COVERAGE_PAGE.read_text(encoding="utf-8") == coverage.coverage_page(), (
        "docs/coverage.md is stale: run `make docs`"
    )


def test_the_coverage_page_says_what_each_shell_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    coverage = _script("api_coverage", monkeypatch)
    rows = coverage.coverage_rows()
    assert len(rows) == 75
    yes, canned, choice = coverage.YES, coverage.CANNED, coverage.CHOICE
    streams = StreamProcessors(StreamSettings(feeds={}, outputs={}))
    with (
        VideoJobs(DirectoryObjects(tmp_path)) as video,
        closing(RekognitionMock()) as mock,
        installed(mock, own_answers=EVERY_ANSWER),
        mock_aws(),
    ):
        plain = RekognitionService(MemoryRecognizer())
        set_up = RekognitionService(
            MemoryRecognizer(), background=Background(video=video, streams=streams)
        )
        for row in rows:
            assert _serves(plain, row.operation) == (row.http == yes), row
            assert _serves(set_up, row.operation) == (row.http in {yes, coverage.SET_UP}), row
            in_process = mock.region(ACCOUNT, REGION)
            assert _serves(in_process, row.operation) == (row.in_process == yes), row
            assert _served_by_moto(row.operation) == (row.moto in {yes, canned, choice}), row


def test_what_moto_answers_itself_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    coverage = _script("api_coverage", monkeypatch)
    rows = coverage.coverage_rows()
    choice = {row.operation for row in rows if row.moto == coverage.CHOICE}
    canned = {row.operation for row in rows if row.moto == coverage.CANNED}
    assert choice == set(EVERY_ANSWER)
    assert choice | canned == MOTO_ANSWERS


def _serves(shell: RekognitionService | MockedRegion, operation: str) -> bool:
    body = json.dumps(whole_request(operation)).encode()
    target = f"RekognitionService.{operation}"
    answer = shell.handle(target, body, account=ACCOUNT, region=REGION)
    return b"UnknownOperationException" not in answer.body


def _served_by_moto(operation: str) -> bool:
    answer = requests.post(
        f"https://rekognition.{REGION}.amazonaws.com/",
        data=json.dumps(whole_request(operation)).encode(),
        headers={"X-Amz-Target": f"RekognitionService.{operation}"},
        timeout=10,
    )
    return b"UnknownOperationException" not in answer.content
