"""How well the uploader follows a link: its cap, steps, an outage, and shares by weight.

    python benchmarks/uplink/link.py [--rates 0.25,0.5,1,2,8] [--seconds 20] [--only cap,below,...]

The real boto3 backend sends through ``rekadapter.testing.link_relay`` to an HTTP server on loopback
that takes 150 ms for an answer; the relay adds 20 ms each way. Bytes are counted where the relay
reads them, so by neither the uploader nor its kernel. Four workers (twelve at 8 Mbit/s) send JPEGs
of 20 kB (crops) or 250 kB (frames) as base64.

* cap: the link is wide; the largest 10 s window against the cap, and how much of it was used.
* below: the cap is 8 Mbit/s and the link gives less; how much of the link was used, the queue that
  stands in it (what somebody else on this link waits for), and the rate believed.
* step: cap 2 Mbit/s, the link goes 2 -> 0.5 -> 2 Mbit/s.
* outage: cap 2 Mbit/s, the link stalls for 30 s.
* beside: somebody else's TCP upload on the same link of 2 Mbit/s: what each gets.
* shares: four cameras of weights 1, 1, 2 and 4, one of them with a crowd, on 1 Mbit/s, through the
  whole pipeline.
* netns: all but the shares again between two network namespaces with ``tc tbf``, where root allows
  it. Real packets and acknowledgments; counted by the interface, so with the headers of TCP, IP and
  Ethernet, which the cap does not count: 5 to 7 % more.
"""

from __future__ import annotations

import argparse
import itertools
import signal
import statistics
import sys
import threading
from collections.abc import Callable, Sequence

import numpy as np
from namespaces import NotPossibleError, shaped_link
from rig import MEGABIT, BulkUpload, OpenLink, Rig, jpeg_of, largest_window, relay_link, rig
from shares import report_shares

SIZES = (20_000, 250_000)


def cap(rates: Sequence[float], seconds: float, over: OpenLink) -> None:
    print(f"\ncap: wide link, {seconds:g} s each, Mbit/s counted at the link")
    print("   cap  image   largest 10 s window   mean of all but the first second   requests")
    for rate, size in itertools.product(rates, SIZES):
        with rig(over, rate * MEGABIT) as at:
            at.send(jpeg_of(size), seconds, workers=workers_for(rate))
            window = largest_window(at.link.arrivals()) / MEGABIT
            used = at.used(1, seconds, rate * MEGABIT)
        print(
            f"{rate:6.2f} {size // 1000:4d} kB   {window:8.3f} ({window / rate - 1:+.1%})      "
            f"{used * rate:8.3f} ({used:.1%})               {len(at.log.entries)}"
        )


def below(rates: Sequence[float], seconds: float, over: OpenLink) -> None:
    print(f"\nbelow: cap 8 Mbit/s, the link gives less, {seconds:g} s each once under way")
    print("  link  image   link used   queue in the link, median / p95   median request   its rate")
    for rate, size in itertools.product([r for r in rates if r < 8], SIZES):
        # what went out before the queue was noticed takes its time on a link so much narrower
        start, end = max(5.0, 10.0 / rate), max(5.0, 10.0 / rate) + seconds
        with rig(over, 8 * MEGABIT, rate * MEGABIT) as at:
            at.send(jpeg_of(size), end)
            used = at.used(start, end, rate * MEGABIT)
            settled = statistics.median(one.rate for one in at.between(start, end))
            took = at.log.seconds
        median = f"{statistics.median(took):.2f} s" if took else "none done"
        print(
            f"{rate:6.2f} {size // 1000:4d} kB    {used:7.1%}   {queue(at, start, end, rate):>26}"
            f"           {median:>10}   {settled / MEGABIT:7.2f}"
        )


def step(_rates: Sequence[float], _seconds: float, over: OpenLink) -> None:
    print("\nstep: cap 2 Mbit/s, the link gives 2, from 10 s on 0.5, from 25 s on 2 again")
    for size in SIZES:
        with rig(over, 2 * MEGABIT, 2 * MEGABIT) as at:
            with later((10, lambda: at.link.set_rate(MEGABIT / 2)), (25, lambda: widen(at))):
                at.send(jpeg_of(size), 40)
            down = at.until(10, lambda rate: rate <= 0.55 * MEGABIT)
            up = at.until(25, lambda rate: rate >= 1.8 * MEGABIT)
            spans = ((1, 10, 2.0), (15, 25, 0.5), (30, 40, 2.0))
            shares = [at.used(start, end, given * MEGABIT) for start, end, given in spans]
        print(
            f"{size // 1000:4d} kB: down after {down:.1f} s, up after {up:.1f} s; used "
            + ", ".join(f"{share:.0%}" for share in shares)
            + f"; queue at 0.5 Mbit/s {queue(at, 15, 25, 0.5)}"
        )


def outage(_rates: Sequence[float], _seconds: float, over: OpenLink) -> None:
    print("\noutage: cap 2 Mbit/s, the link is cut from 8 s to 38 s")
    for size in SIZES:
        with rig(over, 2 * MEGABIT, 2 * MEGABIT) as at:
            with later((8, at.link.cut), (38, at.link.mend)):
                at.send(jpeg_of(size), 53)
            noticed = at.until(8, lambda rate: rate < 0.2 * MEGABIT)
            back = at.until(38, lambda rate: rate >= 1.8 * MEGABIT)
            used = at.used(43, 53, 2 * MEGABIT)
        print(
            f"{size // 1000:4d} kB: noticed after {noticed:.1f} s, at 90 % again {back:.1f} s "
            f"after the link; used from 5 s after it {used:.0%}; requests given up {at.log.lost}"
        )


def beside(_rates: Sequence[float], _seconds: float, over: OpenLink) -> None:
    print("\nbeside: cap and link 2 Mbit/s, somebody else's TCP upload from 10 s to 40 s")
    for size in SIZES:
        with rig(over, 2 * MEGABIT, 2 * MEGABIT) as at:
            other = BulkUpload(at.link.url)
            with later((10, other.start), (40, other.stop)):
                at.send(jpeg_of(size), 55)
            theirs = other.carried(at.began + 15, at.began + 40) / 25 / MEGABIT / 2
            all_of_it, after = at.used(15, 40, 2 * MEGABIT), at.used(45, 55, 2 * MEGABIT)
        print(
            f"{size // 1000:4d} kB: theirs {theirs:.0%}, ours {all_of_it - theirs:.0%}, queue "
            f"{queue(at, 15, 40, 2)}; ours from 5 s after theirs {after:.0%}"
        )


def shares(_rates: Sequence[float], seconds: float, over: OpenLink) -> None:
    report_shares(max(60.0, 3 * seconds), over)


def netns(rates: Sequence[float], seconds: float, _over: OpenLink) -> None:
    print("\nnetns: two network namespaces, veth, tc tbf, bytes as the interface counts them")
    try:
        for part in (cap, below, step, outage, beside):
            part(rates, seconds, shaped_link)
    except NotPossibleError as error:
        print(f"not possible here: {error}")


Part = Callable[[Sequence[float], float, OpenLink], None]
PARTS: dict[str, Part] = {
    "cap": cap,
    "below": below,
    "step": step,
    "outage": outage,
    "beside": beside,
    "shares": shares,
    "netns": netns,
}


def workers_for(rate: float) -> int:
    """Enough of them that there is work: a crop of 20 kB takes 0.2 s however wide the link is."""
    return 4 if rate <= 4 else 12


def widen(at: Rig) -> None:
    at.link.set_rate(2 * MEGABIT)


class later:  # noqa: N801 - reads as what it does
    """Calls functions so many seconds after it is entered."""

    def __init__(self, *calls: tuple[float, Callable[[], None]]) -> None:
        self._timers = [threading.Timer(seconds, call) for seconds, call in calls]

    def __enter__(self) -> None:
        for timer in self._timers:
            timer.start()

    def __exit__(self, *_: object) -> None:
        for timer in self._timers:
            timer.cancel()
            timer.join()


def queue(at: Rig, start: float, end: float, rate: float) -> str:
    """What stands in the link's queue, as the time it takes to empty."""
    waits = [one.queued / (rate * MEGABIT) * 1000 for one in at.between(start, end)]
    median, p95 = np.percentile(waits, [50, 95])
    return f"{median:.0f} / {p95:.0f} ms"


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--rates", default="0.25,0.5,1,2,8")
    arguments.add_argument("--seconds", type=float, default=20.0)
    arguments.add_argument("--only", default=",".join(PARTS))
    chosen = arguments.parse_args()
    # ended from outside, the namespaces are removed all the same
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    rates = [float(rate) for rate in chosen.rates.split(",")]
    for name in chosen.only.split(","):
        PARTS[name](rates, chosen.seconds, relay_link)


if __name__ == "__main__":
    main()
