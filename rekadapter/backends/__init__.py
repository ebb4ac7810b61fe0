"""Backends by name: built-in and third-party ones come through the same entry points."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Final, cast

from rekadapter.errors import UnknownBackendError
from rekadapter.recognizer import BackendContext, BackendFactory, Recognizer

ENTRY_POINT_GROUP: Final = "rekadapter.backends"


def backend_types() -> Mapping[str, EntryPoint]:
    """Every installed backend type by name."""
    return {found.name: found for found in entry_points(group=ENTRY_POINT_GROUP)}


def open_backend(
    name: str, backend_type: str, options: Mapping[str, object], context: BackendContext
) -> Recognizer:
    """A recognizer of ``backend_type``, called ``name`` in ledgers and reports.

    Raises:
        UnknownBackendError: no such type, or its package cannot be imported.
        ConfigError: an option it does not know.
    """
    types = backend_types()
    if backend_type not in types:
        raise UnknownBackendError(
            f"no backend '{backend_type}': choose one of {', '.join(sorted(types))}, "
            f"or describe it as [backends.{name}] in rekadapter.toml"
        )
    try:
        factory = cast(BackendFactory, types[backend_type].load())
    except ImportError as error:
        raise UnknownBackendError(
            f"backend '{backend_type}' cannot be imported: {error}: install what it needs"
        ) from error
    return factory(name, options, context)
