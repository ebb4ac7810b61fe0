"""From what the user typed to feeds: ``feeds.toml``, or sources given directly."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rekadapter.errors import ConfigError, FeedError
from rekadapter.feeds.frames import Feed, FeedSpec, without_secrets
from rekadapter.feeds.live import LiveFeed
from rekadapter.feeds.stills import StillsFeed, images_in
from rekadapter.feeds.video import VideoFeed
from rekadapter.imaging import IMAGE_SUFFIXES
from rekadapter.types import CameraId


class _Camera(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    source: str = Field(min_length=1)
    name: str | None = Field(default=None, min_length=1)
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    fps: float | None = Field(default=None, gt=0, allow_inf_nan=False)


class _FeedsFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    camera: list[_Camera] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A feed as it was asked for: ``name`` is None where one has to be found."""

    name: str | None
    spec: FeedSpec


def load_feeds(arguments: Sequence[str], *, fps: float | None) -> tuple[FeedSpec, ...]:
    """The cameras that the arguments describe, in their order, each with a name of its own.

    An argument ending in ``.toml`` is a list of cameras (``[[camera]]`` with ``source`` and, where
    wanted, ``name``, ``weight``, ``fps``); its relative sources are looked for beside the file. Any
    other is a source: a video file, an image, a folder of images, the URL of a camera, or the
    number of one at this machine. A given ``fps`` goes before those in the file. A missing name
    comes from the source's file name or host, numbered where it is taken.

    Raises:
        ConfigError: the TOML file has an unknown key or a value without meaning, or two cameras of
            one name.
        FeedError: no argument, or a TOML file that cannot be read.
    """
    if not arguments:
        raise FeedError(
            "no feed given: name a video, an image, a folder, a camera's URL, or a feeds.toml"
        )
    wanted = [one for argument in arguments for one in _wanted(argument)]
    _refuse_twins(one.name for one in wanted if one.name is not None)
    specs = _named(wanted)
    return tuple(spec if fps is None else replace(spec, fps=fps) for spec in specs)


def open_feed(spec: FeedSpec) -> Feed:
    """The feed that ``spec`` describes, its source looked at but no frame read yet. A live camera
    is reached when its first frame is asked for.

    Raises:
        FeedError: the source is missing, empty, or not readable.
    """
    if spec.is_live:
        return LiveFeed(spec)
    path = Path(spec.source)
    try:
        if not path.exists():
            raise FeedError(f"camera '{spec.camera}': {path} is not there: check the path")
        if path.is_dir():
            return StillsFeed(spec, images_in(path))
        if not path.is_file():
            raise FeedError(f"camera '{spec.camera}': {path} is neither a file nor a folder")
    except OSError as error:
        raise FeedError(f"camera '{spec.camera}': {path}: {error.strerror}") from error
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return StillsFeed(spec, (path,))
    return VideoFeed(spec)


def _wanted(argument: str) -> Iterable[_Wanted]:
    if argument.lower().endswith(".toml"):
        return _from_toml(Path(argument))
    return [_Wanted(None, FeedSpec(_name_from(argument), argument))]


def _from_toml(path: Path) -> Iterable[_Wanted]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FeedError(f"the list of cameras {path} cannot be read: {error}") from error
    try:
        cameras = _FeedsFile.model_validate(tomllib.loads(text)).camera
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first_complaint(error)}") from error
    return [_from_camera(camera, path.parent) for camera in cameras]


def _from_camera(camera: _Camera, folder: Path) -> _Wanted:
    local = "://" not in camera.source and not camera.source.isdigit()
    source = str(folder / camera.source) if local else camera.source
    name = CameraId(camera.name) if camera.name is not None else _name_from(source)
    return _Wanted(camera.name, FeedSpec(name, source, camera.weight, camera.fps))


def _first_complaint(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = _place(first["loc"])
    match first["type"]:
        case "extra_forbidden":
            known = _FeedsFile if len(first["loc"]) == 1 else _Camera
            return f"unknown key {where}: known here are {_listed(known.model_fields)}"
        case "missing":
            return f"{where} is missing"
        case _:
            return f"{where}: {first['msg']}"


def _place(location: tuple[int | str, ...]) -> str:
    match location:
        case ("camera", int(number), *rest):
            tail = "".join(f" '{key}'" for key in rest)
            return f"{tail.strip()} in [[camera]] number {number + 1}".strip()
        case _:
            return " ".join(f"'{key}'" for key in location)


def _listed(fields: Mapping[str, object]) -> str:
    return ", ".join(fields)


def _name_from(source: str) -> CameraId:
    if source.isdigit():
        return CameraId(f"webcam-{source}")
    if "://" in source:
        return CameraId(_host_and_stream(source))
    path = Path(source)
    name = path.stem or path.resolve().name or "camera"
    # A file name that is not UTF-8 could not be written into the run directory.
    return CameraId(name.encode("utf-8", "replace").decode())


def _host_and_stream(url: str) -> str:
    """What tells cameras apart in a URL, and nothing that opens them."""
    parts = urlsplit(without_secrets(url))
    return "-".join(filter(None, (parts.hostname, Path(parts.path).stem))) or "camera"


def _refuse_twins(names: Iterable[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ConfigError(f"two cameras are named '{twice[0]}': give each a name of its own")


def _named(wanted: Sequence[_Wanted]) -> Iterable[FeedSpec]:
    taken = {one.name for one in wanted if one.name is not None}
    for one in wanted:
        name: str = one.spec.camera
        number = 1
        while one.name is None and name in taken:
            number += 1
            name = f"{one.spec.camera}-{number}"
        taken.add(name)
        yield replace(one.spec, camera=CameraId(name))
