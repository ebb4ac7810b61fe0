"""Options of the backend: what is unknown or impossible is refused, never quietly replaced."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rekadapter.backends.local import open_local
from rekadapter.backends.local.recognizer import LocalRecognizer, capabilities_of
from rekadapter.errors import (
    ConfigError,
    GalleryModelMismatchError,
    LicenseNotAcceptedError,
    SubjectIdError,
)
from rekadapter.imaging import Image
from rekadapter.recognizer import BackendContext, Recognizer
from rekadapter.testing.drawn import portrait
from rekadapter.types import GalleryId, SubjectId
from tests.local.conftest import StoreAt

GALLERY = GalleryId("options")


@pytest.fixture
def context(tmp_path: Path, model_cache: Path) -> BackendContext:
    return BackendContext(data_dir=tmp_path / "data", cache_dir=model_cache)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"speed": "high"}, "speed"),
        ({"pack": "buffalo_xl"}, "buffalo_xl"),
        ({"providers": ["QuantumExecutionProvider"]}, "CPUExecutionProvider"),
        ({"providers": []}, "CPUExecutionProvider"),
        ({"threads": 0}, "threads"),
        ({"threads": True}, "threads"),
        ({"detection_threshold": 1.5}, "detection_threshold"),
        ({"detection_size": 5}, "detection_size"),
        ({"pack": "custom"}, "embedder_file"),
        ({"embedder_file": "x.onnx"}, "custom"),
    ],
    ids=str,
)
def test_an_option_without_meaning_is_refused_by_name(
    context: BackendContext, options: dict[str, object], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        open_local("local", options, context)


def test_a_non_commercial_pack_needs_consent_to_open(context: BackendContext) -> None:
    with pytest.raises(LicenseNotAcceptedError, match="buffalo_s"):
        open_local("local", {"pack": "buffalo_s"}, context)


def test_the_backend_opens_with_its_options_and_says_what_it_is(context: BackendContext) -> None:
    recognizer = open_local(
        "indoors",
        {"threads": 1, "detection_size": 640, "gallery_dir": str(context.data_dir / "here")},
        context,
    )
    assert isinstance(recognizer, Recognizer)
    capabilities = recognizer.capabilities
    assert capabilities.backend == "indoors"
    assert not capabilities.remote
    assert capabilities.default_threshold == capabilities.threshold(80)
    assert capabilities.model.startswith("embedded-1 ")
    assert "CC0" in capabilities.details["license"]
    assert capabilities.details["detection_size"] == "640"
    recognizer.create_gallery(GALLERY)
    assert (context.data_dir / "here").is_dir()
    recognizer.close()


def test_galleries_stand_in_the_data_directory_by_default(context: BackendContext) -> None:
    recognizer = open_local("local", {}, context)
    recognizer.create_gallery(GALLERY)
    recognizer.close()
    assert (context.data_dir / "galleries").is_dir()


def test_a_gallery_of_another_model_is_not_searched_but_can_be_seen_and_erased(
    local: LocalRecognizer, store_at: StoreAt, tmp_path: Path
) -> None:
    store = store_at(tmp_path / "galleries")
    store.create(GALLERY, model="another-1 0123456789ab", length=512)
    image = Image.from_pixels(portrait("ann").pixels)
    everything = local.capabilities.match_all
    with pytest.raises(GalleryModelMismatchError, match="another-1"):
        local.enroll(GALLERY, image, subject=None)
    with pytest.raises(GalleryModelMismatchError, match="another-1"):
        local.identify(GALLERY, image, threshold=everything)
    assert local.describe_gallery(GALLERY).model == "another-1 0123456789ab"
    assert list(local.faces(GALLERY)) == []
    local.delete_gallery(GALLERY)
    assert list(local.galleries()) == []


@pytest.mark.parametrize("subject", ["", "\ud800"], ids=["empty", "half a character"])
def test_a_subject_id_that_is_no_text_is_refused(local: LocalRecognizer, subject: str) -> None:
    local.create_gallery(GALLERY)
    with pytest.raises(SubjectIdError):
        local.enroll(GALLERY, portrait("ann"), subject=SubjectId(subject))


def test_capabilities_are_data(local: LocalRecognizer) -> None:
    capabilities = capabilities_of("x", local._models, {"k": "v"})
    assert capabilities.max_faces_per_image == 1000
    assert capabilities.gives_raw_score
    assert capabilities.details == {"k": "v"}


def test_importing_the_backend_loads_no_model_library() -> None:
    code = (
        "import sys; import rekadapter.backends.local;"
        "sys.exit(any(name in sys.modules for name in ('onnx', 'onnxruntime')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)  # noqa: S603 our own code
    assert done.returncode == 0
