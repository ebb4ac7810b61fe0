"""ONNX Runtime behind one small seam: a session runs one input and gives its outputs.

Execution providers are what the user names and nothing else: ONNX Runtime would quietly fall back
to the processor, and a benchmark of the wrong device would go into a report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import onnxruntime  # type: ignore[import-untyped] # ships no type information
from numpy.typing import NDArray
from onnxruntime.capi import (  # type: ignore[import-untyped] # as above
    onnxruntime_pybind11_state as ort_errors,
)

from rekadapter.backends.local.geometry import Floats
from rekadapter.errors import BackendError, ConfigError, ModelCorruptError

CPU: Final = "CPUExecutionProvider"

LOAD_ERRORS: Final = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoModel,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    RuntimeError,
)
"""What ONNX Runtime raises for a model it cannot load."""

RUN_ERRORS: Final = (
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    RuntimeError,
    MemoryError,
)
"""What ONNX Runtime raises when a run fails."""


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Where and with how many threads models run; ``threads`` None leaves it to ONNX Runtime."""

    providers: tuple[str, ...] = (CPU,)
    threads: int | None = None


class Session(Protocol):
    """One loaded model with one input."""

    def run(self, batch: NDArray[np.uint8]) -> list[Floats]:
        """The outputs, in the graph's order, for one input array."""
        ...


class OnnxSession:
    """A model in ONNX Runtime; safe to run from several threads.

    Raises:
        ConfigError: a provider that is not installed here, or that refused the model.
        ModelCorruptError: ONNX Runtime cannot load the bytes.
    """

    def __init__(self, model: bytes, settings: SessionSettings) -> None:
        check_providers(settings.providers)
        try:
            self._session = onnxruntime.InferenceSession(
                model, session_options(settings), providers=list(settings.providers)
            )
        except LOAD_ERRORS as error:
            raise ModelCorruptError(
                f"ONNX Runtime cannot load the model: {first_line(error)}"
            ) from error
        refuse_fallback(settings.providers, self._session.get_providers())
        self._input = str(self._session.get_inputs()[0].name)

    @property
    def input_shape(self) -> list[int | str | None]:
        """Of the first input; a side that the graph leaves open is a name or None."""
        return list(self._session.get_inputs()[0].shape)

    @property
    def output_shapes(self) -> list[list[int | str | None]]:
        """Of each output, as for the input."""
        return [list(output.shape) for output in self._session.get_outputs()]

    def run(self, batch: NDArray[np.uint8] | Floats) -> list[Floats]:
        """The outputs, in the graph's order.

        Raises:
            BackendError: ONNX Runtime failed, for instance for want of memory.
        """
        try:
            outputs: list[Floats] = self._session.run(None, {self._input: batch})
        except RUN_ERRORS as error:
            raise BackendError(f"the local model failed: {first_line(error)}") from error
        return outputs


def session_options(settings: SessionSettings) -> onnxruntime.SessionOptions:
    """ONNX Runtime's options for these settings, quiet about what it optimizes."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # images come in many sizes; a memory plan kept for each of them only grows
    options.enable_mem_pattern = False
    # Decoding and tracking share the processor. Measured on two cores, one of them busy: threads
    # that sleep while they wait and take work in small portions need 95 ms where ONNX Runtime's
    # defaults need 125; on idle cores the two are equal.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.dynamic_block_base", "4")
    if settings.threads is not None:
        options.intra_op_num_threads = settings.threads
    return options


def check_providers(wanted: tuple[str, ...]) -> None:
    """Refuses providers that this installation of ONNX Runtime lacks.

    Raises:
        ConfigError: with the list of those it has.
    """
    available = onnxruntime.get_available_providers()
    missing = [name for name in wanted if name not in available]
    if missing or not wanted:
        raise ConfigError(
            f"ONNX Runtime here has no provider {', '.join(missing) or '(none named)'}: choose "
            f"among {', '.join(available)}, or install the ONNX Runtime that has it"
        )


def refuse_fallback(wanted: tuple[str, ...], active: list[str]) -> None:
    """Refuses a session in which a provider silently stood down.

    Raises:
        ConfigError: a wanted provider is not among the active ones.
    """
    lost = [name for name in wanted if name not in active]
    if lost:
        raise ConfigError(
            f"ONNX Runtime could not start {', '.join(lost)} (its driver or library is missing): "
            "install it or take it out of 'providers'"
        )


def first_line(error: BaseException) -> str:
    """The first line of an error's text; ONNX Runtime's goes on for pages."""
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
