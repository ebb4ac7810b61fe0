"""What a local gallery's size costs: milliseconds a search, bytes a template, against bare NumPy.

    python benchmarks/gallery_search.py [--sizes 1000 10000 100000] [--length 128] [--rounds 50]

Templates are drawn at random on the unit sphere and written through the real store. A search is
what ``identify`` does with a template: the gallery's generation is looked up, its matrix is taken
from memory, and the five nearest are found. The peer is one matrix product in NumPy over the same
rows and nothing else. Times are those of single searches, one after the other; the last line fits
median = a * N ** b, as NIST publishes of 1:N engines.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rekadapter.backends.local.geometry import Floats
from rekadapter.backends.local.manifests import Metric
from rekadapter.backends.local.store import FILE_NAME, SqliteGalleryStore, StoredFace
from rekadapter.types import BoundingBox, EnrolledFace, FaceId, GalleryId, ImageId, SubjectId

GALLERY = GalleryId("benchmark")
LIMIT = 5
CHUNK = 1000


@dataclass(frozen=True, slots=True)
class Measured:
    """One size of gallery; times in seconds."""

    size: int
    enrolling: float
    first: float
    searches: tuple[float, ...]
    products: tuple[float, ...]
    disk_bytes: int

    def row(self) -> str:
        median, tail = np.percentile(self.searches, (50, 95))
        bare = float(np.median(self.products))
        return (
            f"{self.size:>10,}{self.size / self.enrolling:>12,.0f}{1e3 * self.first:>14.1f}"
            f"{1e3 * median:>11.2f}{1e3 * tail:>9.2f}{median / bare:>13.2f}"
            f"{self.disk_bytes / self.size:>17,.0f}"
        )


def main() -> int:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--length", type=int, default=128, help="numbers a template")
    parser.add_argument("--rounds", type=int, default=50)
    arguments = parser.parse_args()
    print(
        f"{'templates':>10}{'enrolled/s':>12}{'first, ms':>14}{'p50, ms':>11}{'p95':>9}"
        f"{'times NumPy':>13}{'bytes on disk':>17}"
    )
    found = [_measured(size, arguments.length, arguments.rounds) for size in arguments.sizes]
    if len(found) > 1:
        medians = [float(np.median(one.searches)) for one in found]
        power, scale = np.polyfit(np.log([one.size for one in found]), np.log(medians), 1)
        print(f"median = {1e3 * np.exp(scale):.2g} ms * N ** {power:.2f}")
    return 0


def _measured(size: int, length: int, rounds: int) -> Measured:
    templates, probes = _unit(size, length, seed=1), _unit(rounds, length, seed=2)
    with tempfile.TemporaryDirectory() as directory:
        store = SqliteGalleryStore(Path(directory))
        store.create(GALLERY, model="benchmark", length=length)
        (enrolling,) = _times(lambda _: _enroll(store, templates), [probes[0]])
        store.close()
        store = SqliteGalleryStore(Path(directory))  # as the next process opens it
        search = _searching(store)
        (first,) = _times(search, probes[:1])
        searches = tuple(_times(search, probes))
        products = tuple(_times(lambda probe: templates @ probe, probes))
        store.close()
        disk = (Path(directory) / FILE_NAME).stat().st_size
    found = Measured(size, enrolling, first, searches, products, disk)
    print(found.row(), flush=True)
    return found


def _unit(count: int, length: int, *, seed: int) -> Floats:
    drawn = np.random.default_rng(seed).normal(size=(count, length)).astype(np.float32)
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), dtype=np.float32)


def _enroll(store: SqliteGalleryStore, templates: Floats) -> None:
    box = BoundingBox(0.1, 0.1, 0.5, 0.5)
    for start in range(0, len(templates), CHUNK):
        rows = enumerate(templates[start : start + CHUNK], start)
        faces = [
            StoredFace(
                EnrolledFace(
                    face_id=FaceId(f"{number:036d}"),
                    image_id=ImageId(f"{number:036d}"),
                    subject=SubjectId(f"person-{number}"),
                    box=box,
                    confidence=99.0,
                ),
                template,
            )
            for number, template in rows
        ]
        store.add(GALLERY, faces)


def _searching(store: SqliteGalleryStore) -> Callable[[Floats], object]:
    def search(probe: Floats) -> object:
        index = store.index(GALLERY)
        hits = index.matrix.nearest(probe, limit=LIMIT, worst=2.0, metric=Metric.EUCLIDEAN)
        return [(index.faces[hit.row], hit.raw) for hit in hits]

    return search


def _times(work: Callable[[Floats], object], probes: Sequence[Floats] | Floats) -> Iterator[float]:
    for probe in probes:
        began = time.perf_counter()
        work(probe)
        yield time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
