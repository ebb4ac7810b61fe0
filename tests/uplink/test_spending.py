"""The price cap: hard, exact, over runs and processes; what does not fit is counted, not sent."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.backends.rekognition import open_rekognition
from rekadapter.errors import ConfigError, OutputError, PriceCapError
from rekadapter.pipeline import Lane, RunOptions, run_feeds
from rekadapter.recognizer import BackendContext
from rekadapter.rekognition_api.server import ServiceServer, create_app
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.testing.drawn import portrait
from rekadapter.types import SubjectId
from rekadapter.uplink import PriceCaps, Spending
from rekadapter.uplink.spending import FILE_NAME
from rekadapter.uplink.uploader import PRICE_CAP
from tests.pipeline.conftest import GALLERY, FakeFeed, ListSink, walking
from tests.rekognition.fakes import KeptLog

START = datetime(2026, 5, 31, 22, 30, tzinfo=UTC)
CALL = 0.001


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(
    folder: Path, clock: Clock, hour: float | None = None, month: float | None = None
) -> Spending:
    return Spending(folder, PriceCaps(hour, month), clock=clock)


def test_ten_calls_fit_into_the_price_of_ten_and_the_eleventh_does_not(
    tmp_path: Path, clock: Clock
) -> None:
    with opened(tmp_path, clock, hour=0.01) as spending:
        for _ in range(10):
            spending.reserve(CALL).settle(CALL)
        with pytest.raises(PriceCapError, match="an hour"):
            spending.reserve(CALL)
        assert spending.spent().hour_usd == 0.01


def test_the_hour_slides(tmp_path: Path, clock: Clock) -> None:
    with opened(tmp_path, clock, hour=0.002) as spending:
        spending.reserve(CALL)
        clock.now += timedelta(minutes=30)
        spending.reserve(CALL)
        with pytest.raises(PriceCapError):
            spending.reserve(CALL)
        clock.now += timedelta(minutes=30)
        spending.reserve(CALL)
        with pytest.raises(PriceCapError):
            spending.reserve(CALL)


def test_a_new_month_begins_at_zero(tmp_path: Path, clock: Clock) -> None:
    with opened(tmp_path, clock, month=CALL) as spending:
        spending.reserve(CALL)
        with pytest.raises(PriceCapError, match="a month"):
            spending.reserve(CALL)
        clock.now = datetime(2026, 6, 1, 0, 0, tzinfo=UTC)
        spending.reserve(CALL)


def test_another_run_goes_on_from_there(tmp_path: Path, clock: Clock) -> None:
    with opened(tmp_path, clock, month=0.002) as spending:
        spending.reserve(CALL)
    with opened(tmp_path, clock, month=0.002) as spending:
        assert spending.spent().month_usd == CALL
        spending.reserve(CALL)
        with pytest.raises(PriceCapError):
            spending.reserve(CALL)


def test_what_was_not_billed_is_given_back_and_what_is_unknown_is_not(
    tmp_path: Path, clock: Clock
) -> None:
    with opened(tmp_path, clock, hour=CALL) as spending:
        spending.reserve(CALL).settle(0.0)
        spending.reserve(CALL).settle(None)
        with pytest.raises(PriceCapError):
            spending.reserve(CALL)


def test_what_is_free_is_allowed_and_what_has_no_price_is_not(tmp_path: Path, clock: Clock) -> None:
    with opened(tmp_path, clock, hour=0.0) as spending:
        spending.reserve(0.0).settle(0.0)
        with pytest.raises(ConfigError, match="price file"):
            spending.reserve(None)


@given(prices=st.lists(st.integers(0, 5_000_000), max_size=30), cap=st.integers(0, 20_000_000))
@settings(max_examples=25, deadline=None)
def test_the_sum_is_exact_and_never_above_the_cap(
    tmp_path_factory: pytest.TempPathFactory, prices: list[int], cap: int
) -> None:
    total = 0
    with opened(tmp_path_factory.mktemp("data"), Clock(), month=cap / 1e9) as spending:
        for price in prices:
            try:
                spending.reserve(price / 1e9)
            except PriceCapError:
                assert total + price > cap
            else:
                total += price
        assert spending.spent().month_usd == total / 1e9
    assert total <= cap


def spend(folder: Path, calls: int) -> None:
    with Spending(folder, PriceCaps(usd_per_month=0.05)) as spending:
        for _ in range(calls):
            try:
                spending.reserve(CALL)
            except PriceCapError:
                continue


def test_two_processes_share_one_cap(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=spend, args=(tmp_path, 40)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    with Spending(tmp_path, PriceCaps(usd_per_month=1.0)) as spending:
        assert spending.spent().month_usd == 0.05


def test_threads_share_one_cap(tmp_path: Path, clock: Clock) -> None:
    refused: list[PriceCapError] = []
    with opened(tmp_path, clock, hour=0.03) as spending:

        def run() -> None:
            for _ in range(10):
                try:
                    spending.reserve(CALL)
                except PriceCapError as error:
                    refused.append(error)

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(refused), spending.spent().hour_usd) == (10, 0.03)


def test_a_file_that_is_something_else_is_said_to_be(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database, but long enough to be looked at" * 50)
    with pytest.raises(OutputError, match="spending"):
        opened(tmp_path, clock, hour=1.0)


@pytest.mark.parametrize("cap", [-1.0, float("nan"), float("inf")])
def test_a_cap_is_a_sum_of_money(cap: float) -> None:
    with pytest.raises(ConfigError, match="US dollars"):
        PriceCaps(usd_per_hour=cap)


# --- through the pipeline ---------------------------------------------------------------------


@pytest.fixture
def service() -> Iterator[str]:
    served = MemoryRecognizer()
    served.create_gallery(GALLERY)
    served.enroll(GALLERY, portrait("Ann"), subject=SubjectId("Ann"))
    with ServiceServer(create_app(RekognitionService(served))) as server:
        yield server.url


def test_frames_beyond_the_cap_are_dropped_and_counted_and_the_run_goes_on(
    service: str, tmp_path: Path
) -> None:
    """A frame takes one DetectFaces and one SearchFacesByImage: the price of seven calls is that of
    three frames and a half."""
    log, stop, sink = KeptLog(), threading.Event(), ListSink()
    with Spending(tmp_path, PriceCaps(usd_per_month=7 * CALL)) as spending:
        context = BackendContext(
            tmp_path, tmp_path, request_log=log, stop=stop, price_budget=spending
        )
        options = {"endpoint_url": service, "unsigned": True, "region": "us-east-1"}
        cloud = open_rekognition("cloud", options, context)
        lane = Lane("cloud", cloud, GALLERY, cloud.capabilities.default_threshold, 1, 100_000)
        feed = FakeFeed("lobby", walking("Ann", 8))
        outcome = run_feeds([feed], [lane], sink, RunOptions(), stop=stop)
        cloud.close()
        assert spending.spent().month_usd == pytest.approx(7 * CALL)
    (camera,) = outcome.cameras
    assert outcome.state == "finished"
    assert camera.processed["cloud"] == 3
    assert camera.dropped["cloud"] == {PRICE_CAP: 5}
    assert sum(record.price_usd or 0.0 for record in log.records) == pytest.approx(7 * CALL)
    assert [seen.error for seen in sink.observations] == [None] * 3
