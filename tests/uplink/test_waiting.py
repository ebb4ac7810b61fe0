"""Deadlines in the pipeline: a live picture grows stale and is counted; a file's never does."""

from __future__ import annotations

import threading

import pytest

from rekadapter.feeds import Frame
from rekadapter.gate import WHOLE, Look, Probe
from rekadapter.pipeline import Lane, RunOptions, run_feeds
from rekadapter.testing.drawn import portrait
from rekadapter.types import SubjectId
from rekadapter.uplink.uploader import STALE
from tests.pipeline.conftest import GALLERY, Asked, FakeFeed, ListSink, walking


class AtOnceOrNever:
    """Probes that are too old the moment they are made."""

    def look(self, frame: Frame) -> Look:
        return Look((Probe(frame.image, WHOLE, max_age_seconds=-1.0),))


@pytest.mark.parametrize("live", [True, False], ids=["live", "file"])
def test_only_a_live_picture_grows_stale_and_it_is_counted(
    live: bool,  # noqa: FBT001 - a column of the table
) -> None:
    asked, sink = Asked(), ListSink()
    asked.inner.create_gallery(GALLERY)
    asked.inner.enroll(GALLERY, portrait("Ann"), subject=SubjectId("Ann"))
    lane = Lane("memory", asked, GALLERY, asked.capabilities.default_threshold)
    feed = FakeFeed("lobby", walking("Ann", 8), live=live)
    outcome = run_feeds(
        [feed], [lane], sink, RunOptions(gate=AtOnceOrNever()), stop=threading.Event()
    )
    (camera,) = outcome.cameras
    assert camera.captured == 8
    if live:
        assert asked.images == []
        assert camera.processed["memory"] == 0
        assert sum(camera.dropped["memory"].values()) == 8
        assert camera.dropped["memory"][STALE] >= 1
        assert sink.observations == []
    else:
        assert camera.processed["memory"] == 8
        assert camera.dropped["memory"] == {}
