"""The bytes from the site to the cloud: how many, in which order, and when."""

from rekadapter.uplink.bucket import TokenBucket, parse_rate, request_budget
from rekadapter.uplink.outbox import Outbox, Taken
from rekadapter.uplink.pacer import UplinkPacer

__all__ = ["Outbox", "Taken", "TokenBucket", "UplinkPacer", "parse_rate", "request_budget"]
