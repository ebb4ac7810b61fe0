"""A link that is gone for a while, with a spool: every probe is answered afterwards, newest first,
within the budget; and whoever is killed meanwhile asks about nothing twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from rekadapter.cli.standbys import REMOTE_WORKERS
from rekadapter.pipeline import Lane, RunOptions, RunOutcome, run_feeds
from rekadapter.sinks import read_run
from rekadapter.testing.link_relay import Arrival, Fault
from rekadapter.uplink.bucket import BURST_SECONDS
from rekadapter.uplink.link_watch import LinkWatch, Standby
from rekadapter.uplink.spool import Spool
from tests.faults.spool_site import Site, site_in
from tests.faults.test_link_faults import Rig, closed, rig_at, wait_until
from tests.pipeline.conftest import GALLERY, FakeFeed, ListSink, walking

pytestmark = pytest.mark.timeout(120)

FRAMES = 16
CAP = 60_000.0


def run_with_spool(rig: Rig, spool: Spool, feed: FakeFeed) -> tuple[RunOutcome, ListSink]:
    sink = ListSink()
    threshold = rig.recognizer.capabilities.default_threshold
    watch = LinkWatch(reachable=lambda: rig.pacer.state().reachable, pause_seconds=0.1)
    lane = Lane("cloud", rig.recognizer, GALLERY, threshold, 2, 100_000, Standby(spool, watch))
    return run_feeds([feed], [lane], sink, RunOptions(), stop=rig.stop), sink


def largest_window(arrivals: Sequence[Arrival], seconds: float) -> int:
    """The most bytes that came in any so many seconds."""
    most = first = held = 0
    for last in arrivals:
        held += last.size
        while arrivals[first].at < last.at - seconds:
            held -= arrivals[first].size
            first += 1
        most = max(most, held)
    return most


@pytest.mark.parametrize("fault", [Fault.STALL, Fault.DROP])
def test_what_an_outage_held_up_is_answered_newest_first_within_the_budget(
    tmp_path: Path, fault: Fault
) -> None:
    with (
        rig_at(tmp_path, rate=CAP) as rig,
        Spool(tmp_path / "spool", 10_000_000) as spool,
    ):

        def before_each(index: int) -> None:
            if index == 4:
                wait_until(
                    lambda: "SearchFacesByImage" in {one.operation for one in rig.log.records}
                )
                rig.relay.set_fault(fault)
            elif index == FRAMES:
                wait_until(lambda: len(spool) >= 8 and spool.waiting >= len(spool) - 1)
                rig.relay.set_fault(Fault.NONE)
                mended_at.append(time.monotonic())

        mended_at: list[float] = []
        feed = FakeFeed("lobby", [*walking("Ann", FRAMES), None], before_each=before_each)
        outcome, sink = run_with_spool(rig, spool, feed)
        (camera,) = outcome.cameras
        assert outcome.state == "finished"
        assert closed(camera)
        assert camera.processed == {"cloud": FRAMES}
        late = [seen for seen in sink.observations if seen.late]
        assert len(late) >= 8
        # the first tried may have been out when a newer one came
        frames = [seen.frame for seen in late][1:]
        assert frames == sorted(frames, reverse=True)
        assert {seen.decision.subject for seen in late} == {"Ann"}
        answered = Counter(seen.frame for seen in sink.observations)
        assert set(answered.values()) == {1}
        # what a link that stalls has taken before arrives in one lump
        back = [one for one in rig.relay.arrivals() if one.at > mended_at[0] + 0.5]
        assert sum(one.size for one in back) > 0.5 * CAP
        for seconds in (0.5, 1.0, 2.0):
            most = largest_window(back, seconds)
            # the relay reads in lumps: what two of its ticks may add
            assert most <= 1.05 * CAP * (seconds + BURST_SECONDS) + 2 * 16_384


# --- killed -----------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_in(tmp_path) as site:
        yield site


@pytest.mark.slow
def test_whoever_is_killed_asks_again_only_about_what_was_not_acknowledged(site: Site) -> None:
    def cut_once_answered() -> bool:
        if site.lines("run") >= 4:
            site.relay.set_fault(Fault.DROP)
        return len(site.waiting()) >= 10

    site.killed_once(
        cut_once_answered, "run", "lobby", "-b", "cloud", "--mode", "frame", "--spool", "1MB",
        "--out", "run",
    )  # fmt: skip
    before = site.waiting()
    assert len(before) >= 10
    site.mend()
    site.killed_once(lambda: site.lines("first") >= 5, "spool", "drain", "run", "--out", "first")

    left = site.waiting()
    acknowledged = before.keys() - left.keys()
    assert acknowledged
    assert left
    seen_before = len(site.asked.seen)
    with site.start("spool", "drain", "run", "--out", "second") as process:
        _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert not (site.folder / "run" / "spool").exists()
    assert Counter(site.asked.seen[seen_before:]) == Counter(left.values())

    first, second = read_run(site.folder / "first"), read_run(site.folder / "second")
    assert first.record.state == "running"  # it was killed
    assert second.record.state == "finished"
    (camera,) = second.record.cameras
    assert (camera.captured, camera.processed) == (len(left), {"cloud": len(left)})
    answered = [{seen.frame for seen in run.observations} for run in (first, second)]
    assert len(answered[0] | answered[1]) == len(before)
    # written down and not yet acknowledged when it was killed: at most what was on its way
    assert len(answered[0] & answered[1]) <= REMOTE_WORKERS
