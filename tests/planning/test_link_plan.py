"""Plans from numbers: monotone, consistent with each other, honest where something is unknown."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.errors import UsageError
from rekadapter.planning import LinkPlan, LinkRequest, LinkRow, Sending, Traffic, plan_link

MEGABIT = 125_000.0


def price(images: int) -> float | None:
    return 0.001 * images


def asked(cameras: int = 4, people: float = 60.0, uplink: float | None = MEGABIT) -> LinkRequest:
    return LinkRequest(cameras, Traffic(people), Sending(), uplink, price)


def row(plan: LinkPlan, mode: str) -> LinkRow:
    (found,) = (one for one in plan.rows if one.mode == mode)
    return found


requests = st.builds(
    asked, st.integers(1, 200), st.floats(0.1, 5_000.0), st.floats(10_000.0, 10_000_000.0)
)


@given(requests)
def test_more_people_never_cost_less_and_never_let_more_cameras_on(request_: LinkRequest) -> None:
    traffic = request_.traffic
    busier = replace(
        request_, traffic=replace(traffic, people_per_hour=2 * traffic.people_per_hour)
    )
    for quiet, busy in zip(plan_link(request_).rows, plan_link(busier).rows, strict=True):
        assert busy.searches_per_month >= quiet.searches_per_month
        assert busy.bits_per_second_a_camera >= quiet.bits_per_second_a_camera
        assert quiet.cameras_on_link is not None
        assert busy.cameras_on_link is not None
        assert busy.cameras_on_link <= quiet.cameras_on_link


@given(requests)
def test_what_fits_leaves_the_share_of_the_link_free_that_was_asked_for(
    request_: LinkRequest,
) -> None:
    link = request_.uplink_bytes_per_second
    assert link is not None
    for one in plan_link(request_).rows:
        load = request_.cameras * one.bits_per_second_a_camera / 8 / link
        assert one.fits == (load <= request_.use_share + 1e-9) or one.cameras_on_link == 0
        assert (one.wait_seconds is None) == (not one.fits)


def test_the_city_that_ran_one_camera() -> None:
    plan = plan_link(asked(cameras=4, people=60.0))
    assert not row(plan, "frame").fits
    assert row(plan, "track").fits
    assert row(plan, "track").searches_per_month == 4 * 60 * 2 * 12 * 30.4
    assert row(plan, "track").monthly_usd == pytest.approx(175.1, abs=0.1)


def test_what_is_not_known_stays_unknown() -> None:
    unpriced = replace(asked(), price=lambda _: None)
    assert all(one.monthly_usd is None for one in plan_link(unpriced).rows)
    unbounded = replace(asked(), uplink_bytes_per_second=None)
    assert all(one.cameras_on_link is None and one.fits for one in plan_link(unbounded).rows)


def test_a_local_backend_takes_nothing_of_the_link_and_its_hardware_is_not_priced() -> None:
    (here,) = plan_link(replace(asked(), remote=False)).rows
    assert (here.bits_per_second_a_camera, here.searches_per_month) == (0.0, 0)
    assert here.monthly_usd is None


@pytest.mark.parametrize(
    "change",
    [
        {"cameras": -1},
        {"traffic": Traffic(-1.0)},
        {"traffic": Traffic(60.0, hours_per_day=25.0)},
        {"use_share": 1.0},
        {"sending": Sending(shot_bytes=float("nan"))},
    ],
)
def test_numbers_without_meaning_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        replace(asked(), **change)  # type: ignore[arg-type]  # one field a case
