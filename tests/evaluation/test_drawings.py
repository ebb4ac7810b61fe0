"""Plots and timelines: from numbers alone, the same every time, inside their bounds."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rekadapter.evaluation.plots import Series, eye_distance_histogram, latency_curves
from rekadapter.evaluation.timeline import timeline
from rekadapter.observation import Decision, TrackRecord
from rekadapter.types import CameraId, Reason, SubjectId

PLOTS = pytest.mark.parametrize("draw", [eye_distance_histogram, latency_curves])


@PLOTS
def test_no_values_are_no_plot(draw: object) -> None:
    assert callable(draw)
    assert draw([Series(0, ())], key="k", alt="a") is None
    assert draw([], key="k", alt="a") is None


@PLOTS
def test_a_plot_is_well_formed_and_refers_to_nothing_outside(draw: object) -> None:
    assert callable(draw)
    svg = draw([Series(0, (5.0, 30.0)), Series(1, (40.0,))], key="k", alt='a "b" <c> & d')
    root = ET.fromstring(svg.replace("xlink:href", "href"))  # noqa: S314  drawn by ourselves
    assert root.get("aria-label") == 'a "b" <c> & d'
    assert "http" not in svg
    assert "<style" not in svg


@PLOTS
def test_the_same_values_draw_the_same_bytes(draw: object) -> None:
    assert callable(draw)
    series = [Series(0, tuple(float(n) for n in range(1, 400)))]
    assert draw(series, key="k", alt="a") == draw(series, key="k", alt="a")


@PLOTS
def test_two_plots_of_a_page_share_no_ids(draw: object) -> None:
    assert callable(draw)
    ids = [
        {element.get("id") for element in ET.fromstring(svg).iter() if element.get("id")}  # noqa: S314  drawn by ourselves
        for svg in (
            draw([Series(0, (5.0, 9.0))], key=key, alt="a").replace("xlink:href", "href")
            for key in ("one", "two")
        )
    ]
    assert ids[0].isdisjoint(ids[1])


@PLOTS
@settings(max_examples=25, deadline=None)
@given(values=st.lists(st.floats(0, 1e7), min_size=1, max_size=30))
def test_any_measured_values_can_be_drawn(draw: object, values: list[float]) -> None:
    assert callable(draw)
    assert draw([Series(7, tuple(values))], key="k", alt="a").startswith("<svg")


def test_faces_wider_than_the_plot_are_in_its_last_bar_and_it_says_so() -> None:
    svg = eye_distance_histogram([Series(0, (20.0, 900.0))], key="k", alt="a")
    assert svg is not None
    assert "160 and more in the last bar" in svg


# --- timelines --------------------------------------------------------------------------------


def track(number: int, first: float, last: float, subject: str | None) -> TrackRecord:
    reason = None if subject else Reason.BELOW_THRESHOLD
    name = SubjectId(subject) if subject else None
    decision = Decision(name, reason, None)
    return TrackRecord("local", CameraId("lobby"), number, first, last, 3, decision)


def test_lanes_are_subjects_in_order_then_unknowns() -> None:
    tracks = [track(1, 0, 1, None), track(2, 2, 3, "zoe"), track(3, 4, 5, "ann")]
    drawn = timeline(tracks, {"local": 0}, 10)
    assert [lane.name for lane in drawn.lanes] == ["ann", "zoe", None]
    assert drawn.lanes[2].reason == "nobody enrolled was alike enough"
    assert (drawn.lanes[0].bars[0].left, drawn.lanes[0].bars[0].width) == (40, 10)


def test_a_subject_called_like_a_reason_stays_a_subject() -> None:
    drawn = timeline([track(1, 0, 1, "BELOW_THRESHOLD"), track(2, 2, 3, None)], {"local": 0}, 4)
    assert [lane.name for lane in drawn.lanes] == ["BELOW_THRESHOLD", None]


def test_lanes_beyond_the_room_are_counted() -> None:
    drawn = timeline([track(n, 0, 1, f"p{n}") for n in range(50)], {"local": 0}, 1)
    assert (len(drawn.lanes), drawn.hidden) == (40, 10)


@given(
    st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e4)), min_size=1, max_size=20),
    st.floats(0, 1e5),
)
def test_bars_stay_in_their_lane_and_apart(
    spans: list[tuple[float, float]], last_seconds: float
) -> None:
    tracks = [track(n, start, start + long, None) for n, (start, long) in enumerate(spans)]
    end = max(last_seconds, *(one.last_seconds for one in tracks))
    drawn = timeline(tracks, {"local": 0}, end)
    (lane,) = drawn.lanes
    assert len(lane.bars) == len(tracks)
    for bar in lane.bars:
        assert 0 <= bar.left <= 100
        assert bar.left + bar.width <= 100.02
        assert bar.row < lane.rows
    assert 1 <= len(drawn.ticks) <= 7
    assert all(0 <= tick.left <= 100.01 for tick in drawn.ticks)
