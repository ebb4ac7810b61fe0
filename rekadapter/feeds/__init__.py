"""Sources of frames: video files, images and folders of them."""

from rekadapter.feeds.frames import Feed, FeedSpec, Frame, LostFrame
from rekadapter.feeds.load import load_feeds, open_feed

__all__ = ["Feed", "FeedSpec", "Frame", "LostFrame", "load_feeds", "open_feed"]
