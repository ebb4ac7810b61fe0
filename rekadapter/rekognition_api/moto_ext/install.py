"""``install()`` and ``uninstall()``: what moto's Rekognition is, for this process.

The swap itself is the only state: it stands in moto's module, and knows what it replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Final

from rekadapter.errors import ConfigError
from rekadapter.rekognition_api.mocking import DEFAULT_ACCOUNT, MockedRekognition

TESTED_MOTO: Final = "5.1 to 5.2"
_OLDEST_MOTO: Final = (5, 1)
_TOGETHER: Final = frozenset({"StartFaceSearch", "GetFaceSearch"})
"""A job that one of them starts the other one has to know."""


def _import_failure(error: ImportError) -> str:
    missing = isinstance(error, ModuleNotFoundError) and error.name == "moto"
    if missing:
        return 'moto is not installed: pip install "rekadapter[moto]" brings it'
    return _changed(str(error))


def _changed(what: str) -> str:
    return (
        f"moto {version('moto')} does not fit: {what}. rekadapter's collections were tested "
        f"with moto {TESTED_MOTO}: install one of those"
    )


try:
    import moto.backend_index
    import moto.backends
    from moto.core.models import MockAWS
    from moto.rekognition.responses import RekognitionResponse

    from rekadapter.rekognition_api.moto_ext.models import (
        CollectionsBackend,
        CollectionsBackends,
        backends_in_place,
        put_in_place,
    )
    from rekadapter.rekognition_api.moto_ext.responses import MOTO_ANSWERS
    from rekadapter.rekognition_api.moto_ext.urls import url_bases
except ImportError as error:
    raise ConfigError(_import_failure(error)) from error

_PATTERNS: Final = tuple(("rekognition", re.compile(base)) for base in url_bases)


def install(mock: MockedRekognition, *, own_answers: Iterable[str] = ()) -> None:
    """Has moto answer Rekognition's requests from ``mock``, in ``mock_aws`` and in its server.

    ``own_answers`` names those of moto's eight canned operations that the mock shall answer
    instead. Installing the same again changes nothing; installing another ends the one before. It
    works before, within and between mocks, but a moto server that is running already may keep its
    old answers.

    Raises:
        ConfigError: moto is missing or is not as this extension knows it; or one of
            ``own_answers`` is not among moto's, or lacks its counterpart.
    """
    chosen = frozenset({own_answers} if isinstance(own_answers, str) else own_answers)
    if chosen - MOTO_ANSWERS:
        raise ConfigError(
            f"moto has no answer to {', '.join(sorted(chosen - MOTO_ANSWERS))} to be replaced: "
            "what the mock serves beside moto's operations it serves anyway"
        )
    if len(chosen & _TOGETHER) == 1:
        raise ConfigError(
            f"{' and '.join(sorted(_TOGETHER))} go together: name both in own_answers, or neither"
        )
    before = _installed()
    if before is not None and (before.mock, before.own_answers) == (mock, chosen):
        return
    check_moto()
    uninstall()
    _put_in_place(CollectionsBackends(mock, backends_in_place(), chosen))


def uninstall() -> None:
    """moto as it was; without an installation nothing happens. Collections are gone."""
    backends = _installed()
    if backends is None:
        return
    backends.mock.live_within(None)
    backends.end()
    _forget_patterns()
    put_in_place(backends.replaced)


@contextmanager
def installed(mock: MockedRekognition, *, own_answers: Iterable[str] = ()) -> Iterator[None]:
    """``mock`` for the length of a block; then what was installed before it, as it was left."""
    before = _installed()
    if before is not None:
        put_in_place(before.replaced)
    try:
        install(mock, own_answers=own_answers)
        yield
    finally:
        uninstall()
        if before is not None:
            _put_in_place(before)


def installed_mock() -> MockedRekognition | None:
    """What ``install`` was given last, or None."""
    backends = _installed()
    return None if backends is None else backends.mock


def check_moto() -> None:
    """Whether the private parts of moto that this extension leans on are as they were tested.

    Raises:
        ConfigError: one is not; the message names it and the versions tested.
    """
    for part, is_there in _private_parts():
        if not is_there:
            raise ConfigError(_changed(part))


def _private_parts() -> Iterator[tuple[str, bool]]:
    installed_version = tuple(int(part) for part in version("moto").split(".")[:2])
    yield "it is older than 5.1", installed_version >= _OLDEST_MOTO
    patterns = getattr(moto.backend_index, "backend_url_patterns", None)
    found = getattr(moto.backends, "get_backend", None)
    yield "backend_url_patterns is no list", isinstance(patterns, list)
    yield (
        "get_backend looks elsewhere for a service",
        callable(found) and found("rekognition") is backends_in_place(),
    )
    yield (
        "a backend finds its urls elsewhere",
        CollectionsBackend("us-east-1", DEFAULT_ACCOUNT).url_bases == url_bases,
    )
    for name in ("call_action", "get_region_from_url", "_authenticate_and_authorize_normal_action"):
        yield (
            f"RekognitionResponse has no {name}",
            callable(getattr(RekognitionResponse, name, None)),
        )
    yield "MockAWS tells no more whether it runs", isinstance(_mocks_active(), bool)


def _put_in_place(backends: CollectionsBackends) -> None:
    _forget_patterns()
    moto.backend_index.backend_url_patterns[:0] = _PATTERNS
    put_in_place(backends)
    backends.mock.live_within(_MockAws(backends))


def _forget_patterns() -> None:
    patterns = moto.backend_index.backend_url_patterns
    patterns[:] = [row for row in patterns if row not in _PATTERNS]


def _mocks_active() -> object:
    return getattr(MockAWS, "_mocks_active", None)


def _installed() -> CollectionsBackends | None:
    current = backends_in_place()
    return current if isinstance(current, CollectionsBackends) else None


class _MockAws:
    """What is set up while ``mock_aws`` runs ends with it, like everything in moto."""

    def __init__(self, backends: CollectionsBackends) -> None:
        self._backends = backends

    def is_passing(self) -> bool:
        if _mocks_active() is not True:
            return False
        self._backends[DEFAULT_ACCOUNT]  # moto resets only what was used
        return True
