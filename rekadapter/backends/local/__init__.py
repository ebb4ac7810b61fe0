"""The ``local`` backend: real face models on ONNX Runtime, galleries on this disk.

Importing this package is cheap; models are loaded by ``open_local``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rekadapter.recognizer import BackendContext, Recognizer


def open_local(name: str, options: Mapping[str, object], context: BackendContext) -> Recognizer:
    """A recognizer with a model pack of this machine; see ``LocalOptions`` for the options.

    Raises:
        ConfigError: an unknown or impossible option, pack or provider.
        ModelError: the pack is not here, is damaged, or its licence is not accepted.
        OutputError: the embedded pack cannot be converted into the cache directory.
    """
    from rekadapter.backends.local.opening import open_recognizer  # noqa: PLC0415 loads models' libraries

    return open_recognizer(name, options, context)
