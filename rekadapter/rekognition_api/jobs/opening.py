"""From what a command line names to what the service works with: objects, jobs, streams."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rekadapter.errors import ConfigError
from rekadapter.feeds import FeedSpec
from rekadapter.rekognition_api.jobs.background import Background
from rekadapter.rekognition_api.jobs.definitions import SqliteDefinitions
from rekadapter.rekognition_api.jobs.notices import SnsNotifier, open_sns
from rekadapter.rekognition_api.jobs.plans import Owner, StreamSettings
from rekadapter.rekognition_api.jobs.processors import StreamProcessors
from rekadapter.rekognition_api.jobs.records import JsonLinesSink
from rekadapter.rekognition_api.jobs.remote import RemoteJobs
from rekadapter.rekognition_api.jobs.settings import VideoSettings
from rekadapter.rekognition_api.jobs.worker import VideoJobs
from rekadapter.rekognition_api.objects import BotoObjects, DirectoryObjects, ObjectStore, open_s3
from rekadapter.types import CameraId

AWS: Final = "aws"
"""In place of an endpoint's URL: AWS's own."""


@dataclass(frozen=True, slots=True)
class BackgroundOptions:
    """What ``rekadapter serve`` was told. Objects come from a directory or an endpoint, not both;
    an endpoint is a URL, or ``aws``. Without either there are no jobs on video.

    ``s3_buckets``, where some are named, are the only ones read from the endpoint. Stream
    processors outlive the service in ``processors_file``; without one they go with it.

    Where the ``backend_takes_jobs`` on stored video itself, they go to it, unless videos lie where
    only this service reads them: in a directory, or at an endpoint that is not AWS's.
    """

    s3_directory: Path | None = None
    s3_endpoint: str | None = None
    s3_buckets: frozenset[str] = frozenset()
    sns_endpoint: str | None = None
    region: str | None = None
    streams_file: Path | None = None
    processors_file: Path | None = None
    video: VideoSettings = field(default_factory=VideoSettings)
    backend_takes_jobs: bool = False

    @property
    def passes_jobs_on(self) -> bool:
        """Whether the backend does the jobs on stored video."""
        own = self.s3_directory is not None or self.s3_endpoint not in {None, AWS}
        return self.backend_takes_jobs and not own


class OpenedBackground:
    """Readers, jobs and streams while the ``with`` block runs; to be left before the recognizer is
    closed.

    Raises (on entering):
        ConfigError: options that contradict each other, or name what cannot be used.
    """

    def __init__(self, options: BackgroundOptions) -> None:
        self._options = options
        self._stack = ExitStack()
        self.objects: ObjectStore | None = None
        self.background: Background | None = None

    def __enter__(self) -> Self:
        try:
            self.objects = self._objects()
            self.background = self._stack.enter_context(
                Background(video=self._video(), streams=self._streams(), remote=self._remote())
            )
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _objects(self) -> ObjectStore | None:
        options = self._options
        if options.s3_directory is not None and options.s3_endpoint is not None:
            raise ConfigError("objects come from --s3-directory or from --s3-endpoint, not both")
        if options.s3_directory is not None:
            return DirectoryObjects(options.s3_directory)
        if options.s3_endpoint is None:
            return None
        opened: BotoObjects = open_s3(
            _url(options.s3_endpoint), region=options.region, buckets=options.s3_buckets or None
        )
        self._stack.callback(opened.close)
        return opened

    def _video(self) -> VideoJobs | None:
        if self.objects is None or self._options.passes_jobs_on:
            return None
        return self._stack.enter_context(
            VideoJobs(self.objects, settings=self._options.video, notifier=self._notifier())
        )

    def _remote(self) -> RemoteJobs | None:
        if not self._options.passes_jobs_on:
            return None
        settings = self._options.video
        return RemoteJobs(settings.directory, retention=settings.retention)

    def _notifier(self) -> SnsNotifier | None:
        if self._options.sns_endpoint is None:
            return None
        opened = open_sns(_url(self._options.sns_endpoint), region=self._options.region)
        self._stack.callback(opened.close)
        return opened

    def _streams(self) -> StreamProcessors | None:
        options = self._options
        if options.streams_file is None:
            return None
        settings, kept = read_streams(options.streams_file), options.processors_file
        if kept is None:
            return StreamProcessors(settings)
        return StreamProcessors(settings, definitions=SqliteDefinitions(kept))


def _url(endpoint: str) -> str | None:
    return None if endpoint == AWS else endpoint


# --- the file of streams ----------------------------------------------------------------------


class _Stream(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(min_length=1)
    account: str | None = Field(default=None, pattern=r"^\d{12}$")
    region: str | None = Field(default=None, pattern=r"^[a-z0-9-]+$")

    @property
    def owner(self) -> Owner:
        return Owner(self.account, self.region)


class _VideoStream(_Stream):
    source: str = Field(min_length=1)
    fps: float | None = Field(default=None, gt=0, allow_inf_nan=False)


class _DataStream(_Stream):
    file: str = Field(min_length=1)


class _StreamsFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    video: list[_VideoStream] = Field(min_length=1)
    data: list[_DataStream] = Field(min_length=1)


def read_streams(path: Path) -> StreamSettings:
    """Which feed stands for which Kinesis video stream, and which file for which data stream.

    ``[[video]]`` has ``name``, ``source`` and, where wanted, ``fps``; ``[[data]]`` has ``name`` and
    ``file``. Relative paths are looked for beside the file. With ``account`` or ``region`` an entry
    stands for that account's or region's stream only.

    Raises:
        ConfigError: the file cannot be read, has an unknown key, or names a stream twice.
    """
    try:
        found = _StreamsFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the list of streams {path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{path}: {place}: {first['msg']}") from error
    _refuse_twins(path, (video.name for video in found.video))
    _refuse_twins(path, (data.name for data in found.data))
    _refuse_twins(path, (data.file for data in found.data))
    return StreamSettings(
        feeds={video.name: _spec(video, path.parent) for video in found.video},
        outputs={data.name: JsonLinesSink(path.parent / data.file) for data in found.data},
        feed_owners={video.name: video.owner for video in found.video},
        output_owners={data.name: data.owner for data in found.data},
    )


def _spec(video: _VideoStream, folder: Path) -> FeedSpec:
    local = "://" not in video.source and not video.source.isdigit()
    source = str(folder / video.source) if local else video.source
    return FeedSpec(CameraId(video.name), source, fps=video.fps)


def _refuse_twins(path: Path, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ConfigError(f"{path}: '{name}' is there twice")
        seen.add(name)
