"""The bytes from the site to the cloud: how many, in which order, and when."""

from rekadapter.uplink.bucket import TokenBucket, parse_rate, request_budget
from rekadapter.uplink.link import LinkRate, Phase
from rekadapter.uplink.outbox import Outbox, Taken, Terms
from rekadapter.uplink.pacer import PacedUpload, UplinkPacer, UplinkState
from rekadapter.uplink.schedule import Schedule
from rekadapter.uplink.spending import PriceCaps, Spending, SpentSoFar
from rekadapter.uplink.spool import Spool, parse_size
from rekadapter.uplink.spooled import SpooledFrame, SpooledPicture

__all__ = [
    "LinkRate",
    "Outbox",
    "PacedUpload",
    "Phase",
    "PriceCaps",
    "Schedule",
    "Spending",
    "SpentSoFar",
    "Spool",
    "SpooledFrame",
    "SpooledPicture",
    "Taken",
    "Terms",
    "TokenBucket",
    "UplinkPacer",
    "UplinkState",
    "parse_rate",
    "parse_size",
    "request_budget",
]
