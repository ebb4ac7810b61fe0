"""Options of ``serve`` for images in S3, jobs on stored video, and stream processors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rekadapter.cli.options import number
from rekadapter.rekognition_api.jobs.settings import VideoSettings

S3Directory = Annotated[
    Path | None,
    typer.Option("--s3-directory", help="A folder whose sub-folders are served as S3 buckets."),
]
S3Endpoint = Annotated[
    str | None,
    typer.Option("--s3-endpoint", help="S3 to read images and videos from: a URL, or aws."),
]
S3Buckets = Annotated[
    list[str] | None,
    typer.Option("--s3-bucket", help="The only buckets read there; again for more than one."),
]
S3Region = Annotated[
    str | None, typer.Option("--s3-region", help="Region of the S3 and SNS endpoints.")
]
SnsEndpoint = Annotated[
    str | None, typer.Option("--sns-endpoint", help="SNS for notices of jobs: a URL, or aws.")
]
JobsDirectory = Annotated[
    Path | None,
    typer.Option("--jobs-directory", help="Where results of video jobs outlive a restart."),
]
VideoFps = Annotated[
    float | None,
    number("--video-fps", low=0.01, high=1000, about="Frames a second of stored video looked at."),
]
StreamsFile = Annotated[
    Path | None,
    typer.Option("--streams", help="TOML: which feed is which video stream, and where to write."),
]


def video_settings(directory: Path | None, frames_per_second: float | None) -> VideoSettings:
    """The settings with what was named; the rest as they ship.

    Raises:
        ConfigError: a rate without meaning.
    """
    shipped = VideoSettings(directory=directory)
    if frames_per_second is None:
        return shipped
    return VideoSettings(directory=directory, frames_per_second=frames_per_second)
