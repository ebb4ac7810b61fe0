"""Before the run: how many cameras an uplink carries, at what price, and what is lost."""

from rekadapter.planning.fitness import FaceLog
from rekadapter.planning.link import (
    LinkPlan,
    LinkRequest,
    LinkRow,
    Sending,
    Traffic,
    plan_link,
    wire_bytes,
)
from rekadapter.planning.measuring import MeasuredCell, Measurement, MeasureOptions, measure
from rekadapter.planning.plots import bytes_plot
from rekadapter.planning.surveying import SurveyedCamera, survey

__all__ = [
    "FaceLog",
    "LinkPlan",
    "LinkRequest",
    "LinkRow",
    "MeasureOptions",
    "MeasuredCell",
    "Measurement",
    "Sending",
    "SurveyedCamera",
    "Traffic",
    "bytes_plot",
    "measure",
    "plan_link",
    "survey",
    "wire_bytes",
]
