"""InsightFace's packs through the ``insightface`` package's own loaders: SCRFD and ArcFace.

Also for the user's own ONNX files of those two shapes. The package is optional and imported only
here, on use.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from rekadapter.backends.local.align import ARCFACE_112, ChipTemplate
from rekadapter.backends.local.geometry import FaceArrays, Floats
from rekadapter.backends.local.sessions import (
    LOAD_ERRORS,
    RUN_ERRORS,
    SessionSettings,
    check_providers,
    first_line,
    refuse_fallback,
    session_options,
)
from rekadapter.errors import BackendError, ModelCorruptError, ModelNotAvailableError
from rekadapter.imaging import Pixels

INPUT_SIZES: Final = ((128, 128), (640, 640))
"""InsightFace's automatic detection: the small size sees faces that fill the image."""


class _Scrfd(Protocol):
    """What is used of InsightFace's detector."""

    taskname: str
    use_kps: bool

    def prepare(self, ctx_id: int, **kwargs: object) -> None: ...

    def detect(self, img: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]: ...


class _ArcFace(Protocol):
    """What is used of InsightFace's recognition model."""

    taskname: str
    input_size: tuple[int, int]
    output_shape: list[int | str | None]

    def get_feat(self, imgs: list[Pixels]) -> NDArray[np.float32]: ...


class ScrfdDetector:
    """SCRFD (Guo et al., "Sample and Computation Redistribution for Efficient Face Detection",
    ICLR 2022) with five landmarks."""

    def __init__(self, model: _Scrfd) -> None:
        self._model = model

    def detect(self, pixels: Pixels) -> FaceArrays:
        """Faces of an image, best score first, in its pixels."""
        try:
            found, points = self._model.detect(pixels)
        except RUN_ERRORS as error:
            raise BackendError(f"the detector failed: {first_line(error)}") from error
        if points is None or not len(found):
            return FaceArrays.none()
        return FaceArrays(
            found[:, :4].astype(np.float32),
            np.clip(found[:, 4], 0, 1).astype(np.float32),
            points.reshape(-1, 5, 2).astype(np.float32),
        )


class ArcFaceEmbedder:
    """ArcFace (Deng et al., CVPR 2019): chips to embeddings, any batch size."""

    def __init__(self, model: _ArcFace) -> None:
        self._model = model

    @property
    def template(self) -> ChipTemplate:
        """The chips that the model takes."""
        side = self._model.input_size[0]
        # as InsightFace does: sides that are multiples of 112 scale the template, others follow 128
        if side % 112 == 0:
            ratio, shift = side / 112, 0.0
        else:
            ratio, shift = side / 128, 8.0 * side / 128
        points = tuple((x * ratio + shift, y * ratio) for x, y in ARCFACE_112.points)
        return ChipTemplate(side, points)

    @property
    def template_length(self) -> int:
        """Values of an embedding.

        Raises:
            ModelCorruptError: the graph does not say.
        """
        length = self._model.output_shape[-1]
        if not isinstance(length, int):
            raise ModelCorruptError("the embedder's graph leaves the length of its output open")
        return length

    def embed(self, chips: Pixels) -> Floats:
        """Embeddings, one row per chip, not yet of length 1."""
        try:
            return np.asarray(self._model.get_feat(list(chips)), dtype=np.float32)
        except RUN_ERRORS as error:
            raise BackendError(f"the embedder failed: {first_line(error)}") from error


def load_detector(path: Path, settings: SessionSettings, threshold: float) -> ScrfdDetector:
    """An SCRFD-shaped ONNX file (9 or 15 outputs: scores, boxes, landmarks per stride).

    Raises:
        ModelNotAvailableError: the file or the package 'insightface' is missing.
        ModelCorruptError: not such a file.
    """
    model = cast("_Scrfd", _load(path, settings))
    if getattr(model, "taskname", None) != "detection" or not getattr(model, "use_kps", False):
        raise ModelCorruptError(f"{path} is not an SCRFD detector with five landmarks")
    model.prepare(0, input_size=list(INPUT_SIZES), det_thresh=threshold)
    return ScrfdDetector(model)


def load_embedder(path: Path, settings: SessionSettings) -> ArcFaceEmbedder:
    """An ArcFace-shaped ONNX file (one square image in, one row out).

    Raises:
        ModelNotAvailableError: the file or the package 'insightface' is missing.
        ModelCorruptError: not such a file.
    """
    model = cast("_ArcFace", _load(path, settings))
    if getattr(model, "taskname", None) != "recognition":
        raise ModelCorruptError(f"{path} is not an ArcFace-shaped recognition model")
    return ArcFaceEmbedder(model)


def _load(path: Path, settings: SessionSettings) -> object:
    check_providers(settings.providers)
    if not path.is_file():
        raise ModelNotAvailableError(f"there is no model file {path}")
    try:
        with warnings.catch_warnings():
            # the package warns about its own dependencies when it is imported
            warnings.simplefilter("ignore")
            from insightface.model_zoo import get_model  # noqa: PLC0415 optional and slow to import
    except ImportError as error:
        raise ModelNotAvailableError(
            "this pack needs the package 'insightface': pip install 'rekadapter[insightface]'"
        ) from error
    try:
        model: object = get_model(
            str(path), providers=list(settings.providers), sess_options=session_options(settings)
        )
    except (*LOAD_ERRORS, AssertionError, ValueError, TypeError) as error:
        raise ModelCorruptError(f"{path} cannot be loaded: {first_line(error)}") from error
    session = getattr(model, "session", None)
    if session is None:
        raise ModelCorruptError(f"{path} has neither SCRFD's nor ArcFace's shape")
    refuse_fallback(settings.providers, session.get_providers())
    return model
