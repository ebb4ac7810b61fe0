"""pytest's entry point: fixtures with Rekognition's face collections.

pytest loads this module in every run on a machine that has rekadapter, so it imports nothing heavy
and changes nothing until a fixture or the ini option asks for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rekadapter.testing.rekognition import RekognitionMock

_OPTION = "rekognition_moto"
_LEADS_ELSEWHERE = ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_REKOGNITION")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        _OPTION,
        "give moto's mock_aws stateful Rekognition face collections for the whole run",
        type="bool",
        default=False,
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    if not session.config.getini(_OPTION):
        return
    from rekadapter.errors import ConfigError  # noqa: PLC0415 - only where it is asked for
    from rekadapter.testing.rekognition import install  # noqa: PLC0415 - see above

    try:
        install()
    except ConfigError as error:
        raise pytest.UsageError(f"{_OPTION}: {error}") from error


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getini(_OPTION):
        from rekadapter.testing.rekognition import uninstall  # noqa: PLC0415 - see above

        uninstall()


@pytest.fixture
def rekognition_mock(monkeypatch: pytest.MonkeyPatch) -> Iterator[RekognitionMock]:
    """Rekognition with collections for one test: ``.client()``, ``.declare()``, ``.inject()``.

    Every client made in the test reaches it, with credentials nobody can use. Where moto is
    installed, ``mock_aws`` runs too, so that S3 is moto's; CompareFaces is the mock's own.
    """
    from rekadapter.testing.rekognition import EVERY_ANSWER, installed, mocked_rekognition  # noqa: PLC0415 - only where it is asked for

    for name in _LEADS_ELSEWHERE:
        monkeypatch.delenv(name, raising=False)
    if not {"AWS_REGION", "AWS_DEFAULT_REGION"} & os.environ.keys():
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    if find_spec("moto") is None:
        with mocked_rekognition() as mock:
            yield mock
    else:
        from moto import mock_aws  # noqa: PLC0415 - optional

        with installed(own_answers=EVERY_ANSWER) as mock, mock_aws():
            yield mock


@pytest.fixture(scope="session")
def rekognition_moto() -> Iterator[RekognitionMock]:
    """moto's ``mock_aws`` has collections from here to the end of the run."""
    from rekadapter.testing.rekognition import installed  # noqa: PLC0415 - only where it is asked for

    with installed() as mock:
        yield mock
