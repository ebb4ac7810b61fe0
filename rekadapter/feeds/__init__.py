"""Sources of frames: video files, images and folders of them, live cameras."""

from rekadapter.feeds.frames import Feed, FeedItem, FeedSpec, Frame, LostFrame, Silence
from rekadapter.feeds.load import load_feeds, open_feed

__all__ = [
    "Feed",
    "FeedItem",
    "FeedSpec",
    "Frame",
    "LostFrame",
    "Silence",
    "load_feeds",
    "open_feed",
]
