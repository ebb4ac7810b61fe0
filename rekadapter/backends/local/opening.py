"""From options to a recognizer: check, load, wire."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rekadapter.backends.local import packs
from rekadapter.backends.local.align import DLIB_150
from rekadapter.backends.local.centerface import CenterFaceDetector, DetectorSettings
from rekadapter.backends.local.gender_age import load_gender_age
from rekadapter.backends.local.manifests import CUSTOM, EMBEDDED, Metric, PackManifest, manifest_of
from rekadapter.backends.local.models import FaceModels, OnnxEmbedder
from rekadapter.backends.local.packs import ModelFile
from rekadapter.backends.local.recognizer import LocalRecognizer, capabilities_of
from rekadapter.backends.local.scores import EMBEDDED_SCORES, cosine_scores
from rekadapter.backends.local.sessions import CPU, OnnxSession, SessionSettings
from rekadapter.backends.local.store import SqliteGalleryStore
from rekadapter.errors import ConfigError, ModelNotAvailableError
from rekadapter.recognizer import BackendContext, Recognizer

_Count = Annotated[int, Field(strict=True, ge=1)]
_Share = Annotated[float, Field(gt=0, lt=1)]


class LocalOptions(BaseModel):
    """The options of a ``[backends.NAME]`` table with ``type = "local"``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pack: str = EMBEDDED
    """a pack of ``rekadapter models list``, or ``custom`` for ONNX files of your own"""
    providers: tuple[str, ...] = (CPU,)
    """ONNX Runtime execution providers in order of preference; one that is missing is an error"""
    threads: _Count | None = None
    """threads of one model run; None lets ONNX Runtime take every core"""
    detection_threshold: _Share = 0.5
    """least detection score of a face"""
    detection_size: Annotated[int, Field(strict=True, ge=128, le=4096)] = 960
    """long side in pixels to which larger images are scaled for detection (embedded pack)"""
    gallery_dir: Path | None = None
    """where galleries are kept; None: ``galleries`` in the data directory"""
    detector_file: Path | None = None
    """pack ``custom``: an SCRFD-shaped ONNX file"""
    embedder_file: Path | None = None
    """pack ``custom``: an ArcFace-shaped ONNX file"""
    cosine_threshold: _Share | None = None
    """pack ``custom``: the cosine that shall count as similarity 80; nobody else can know it"""
    gender_age_file: Path | None = None
    """pack ``custom``: an ONNX file of the shape of InsightFace's ``genderage.onnx``"""
    age_half_width_years: Annotated[int, Field(strict=True, ge=0, le=50)] = 0
    """how far an estimated age reaches to both sides of the model's single number; 0, because
    InsightFace publishes no error of it: measure it on people like yours"""

    @model_validator(mode="after")
    def _ages_come_from_somewhere(self) -> LocalOptions:
        if self.pack != CUSTOM and self.gender_age_file is not None:
            raise ValueError("'gender_age_file' belongs to pack 'custom'")
        estimates = self.gender_age_file is not None or self.pack not in {CUSTOM, EMBEDDED}
        if self.age_half_width_years and not estimates:
            raise ValueError("'age_half_width_years' belongs to packs that estimate ages")
        return self

    @model_validator(mode="after")
    def _custom_is_complete(self) -> LocalOptions:
        own = (self.detector_file, self.embedder_file, self.cosine_threshold)
        if self.pack == CUSTOM and None in own:
            raise ValueError(
                "pack 'custom' needs 'detector_file', 'embedder_file' and 'cosine_threshold'"
            )
        if self.pack != CUSTOM and any(value is not None for value in own):
            raise ValueError(
                "'detector_file', 'embedder_file' and 'cosine_threshold' belong to pack 'custom'"
            )
        return self


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a pack of InsightFace's shape is called, and what it may be used for."""

    model: str
    cosine_threshold: float
    license: str
    threshold_origin: str


@dataclass(frozen=True, slots=True)
class _Files:
    """The ONNX files of a pack of InsightFace's shape."""

    detector: Path
    embedder: Path
    gender_age: ModelFile | None


def open_recognizer(
    name: str, options: Mapping[str, object], context: BackendContext
) -> Recognizer:
    """See ``open_local``."""
    settings = _parsed(name, options)
    models = load_models(settings, context.cache_dir)
    directory = settings.gallery_dir or context.data_dir / "galleries"
    details = {
        "pack": settings.pack,
        "license": models.license,
        "threshold_origin": models.threshold_origin,
        "providers": ", ".join(settings.providers),
        "onnxruntime": version("onnxruntime"),
        "detection_threshold": f"{settings.detection_threshold:g}",
        "detection_size": str(settings.detection_size) if settings.pack == EMBEDDED else "auto",
    }
    if settings.pack != CUSTOM:
        manifest = manifest_of(settings.pack)
        details["detector_sha256"] = manifest.detector.sha256
        details["embedder_sha256"] = manifest.embedder.sha256
    if settings.cosine_threshold is not None:
        # it bends the scale: the same similarity stands for another cosine
        details["cosine_threshold"] = f"{settings.cosine_threshold!r}"
    store = SqliteGalleryStore(directory.expanduser())
    return LocalRecognizer(models, store, capabilities_of(name, models, details))


def _parsed(name: str, options: Mapping[str, object]) -> LocalOptions:
    try:
        return LocalOptions.model_validate(dict(options))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'options'}: {problem['msg']}"
            for problem in error.errors()
        )
        known = ", ".join(LocalOptions.model_fields)
        raise ConfigError(f"backend '{name}': {problems} (options: {known})") from error


def load_models(settings: LocalOptions, cache_dir: Path) -> FaceModels:
    """The models of the pack that the options name; errors as in ``open_local``."""
    sessions = SessionSettings(settings.providers, settings.threads)
    if settings.pack == EMBEDDED:
        return _embedded(settings, sessions, cache_dir)
    if settings.pack == CUSTOM:
        return _custom(settings, sessions)
    return _insightface(settings, sessions, manifest_of(settings.pack), cache_dir)


def _embedded(settings: LocalOptions, sessions: SessionSettings, cache_dir: Path) -> FaceModels:
    pack = packs.models_of(EMBEDDED, cache_dir)
    looks = DetectorSettings(settings.detection_size, settings.detection_threshold)
    return FaceModels(
        model=pack.manifest.model,
        detector=CenterFaceDetector(OnnxSession(pack.detector.data, sessions), looks),
        embedder=OnnxEmbedder(OnnxSession(pack.embedder.data, sessions)),
        template=DLIB_150,
        template_length=pack.manifest.template_length,
        metric=pack.manifest.metric,
        scores=EMBEDDED_SCORES,
        license=pack.manifest.weights_license,
        threshold_origin=pack.manifest.threshold_origin,
    )


def _insightface(
    settings: LocalOptions, sessions: SessionSettings, manifest: PackManifest, cache_dir: Path
) -> FaceModels:
    pack = packs.models_of(manifest.name, cache_dir)
    return _scrfd_and_arcface(
        _Files(pack.detector.path, pack.embedder.path, pack.gender_age),
        settings,
        sessions,
        _Terms(
            manifest.model,
            manifest.default_threshold,
            manifest.weights_license,
            manifest.threshold_origin,
        ),
    )


def _custom(settings: LocalOptions, sessions: SessionSettings) -> FaceModels:
    if not (settings.detector_file and settings.embedder_file and settings.cosine_threshold):
        raise ConfigError("pack 'custom' is not complete")
    files = (settings.detector_file.expanduser(), settings.embedder_file.expanduser())
    return _scrfd_and_arcface(
        _Files(*files, _own_gender_age(settings)),
        settings,
        sessions,
        _Terms(
            f"{CUSTOM} {_hash_of(files)}",
            settings.cosine_threshold,
            "the user's own files",
            "given by the user as 'cosine_threshold'",
        ),
    )


def _own_gender_age(settings: LocalOptions) -> ModelFile | None:
    if settings.gender_age_file is None:
        return None
    path = settings.gender_age_file.expanduser()
    return ModelFile(path, _bytes_of(path))


def _scrfd_and_arcface(
    files: _Files, settings: LocalOptions, sessions: SessionSettings, terms: _Terms
) -> FaceModels:
    # the package 'insightface' is optional; this module only wraps it
    from rekadapter.backends.local import insightface_pack  # noqa: PLC0415

    detector = insightface_pack.load_detector(
        files.detector, sessions, settings.detection_threshold
    )
    embedder = insightface_pack.load_embedder(files.embedder, sessions)
    beside = files.gender_age
    return FaceModels(
        model=terms.model,
        detector=detector,
        embedder=embedder,
        template=embedder.template,
        template_length=embedder.template_length,
        metric=Metric.COSINE,
        scores=cosine_scores(settings.pack, terms.cosine_threshold),
        license=terms.license,
        threshold_origin=terms.threshold_origin,
        gender_age=None
        if beside is None
        else load_gender_age(beside.path, beside.data, sessions, settings.age_half_width_years),
    )


def _hash_of(files: tuple[Path, Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(hashlib.sha256(_bytes_of(path)).digest())
    return digest.hexdigest()[:12]


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelNotAvailableError(
            f"the model file {path} cannot be read: {error.strerror}"
        ) from error
