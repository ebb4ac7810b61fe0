"""What a service does besides answering: given to it whole, and closed by whoever made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rekadapter.closing import Closing
from rekadapter.rekognition_api.jobs.processors import StreamProcessors
from rekadapter.rekognition_api.jobs.remote import RemoteJobs
from rekadapter.rekognition_api.jobs.worker import VideoJobs


class Works(Protocol):
    """What operations need of it; those on what is None are unknown to the service."""

    @property
    def video(self) -> VideoJobs | None: ...
    @property
    def streams(self) -> StreamProcessors | None: ...
    @property
    def remote(self) -> RemoteJobs | None: ...


@dataclass(frozen=True, slots=True)
class Background(Closing):
    """Jobs and stream processors that somebody opened: see ``Works``.

    ``remote`` keeps jobs on stored video that the backend's own service does; it counts before
    ``video``, where the backend takes such jobs.
    """

    video: VideoJobs | None = None
    streams: StreamProcessors | None = None
    remote: RemoteJobs | None = None

    def close(self) -> None:
        """Ends every thread. To be done before the recognizer is closed; may be done twice."""
        for part in (self.streams, self.video, self.remote):
            if part is not None:
                part.close()
