"""Time per face of the embedded pack's embedder against dlib's own, on the same weights.

    python benchmarks/embedding.py [--faces 32] [--rounds 5] [--threads N]

dlib is a peer, not a dependency: ``pip install dlib-bin`` (the group ``bench``).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from rekadapter.backends.local.opening import LocalOptions, load_models
from rekadapter.imaging import Pixels


def main() -> int:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=None, help="default: ONNX Runtime's own")
    arguments = parser.parse_args()
    if find_spec("dlib") is None:
        sys.exit("dlib is not installed: pip install dlib-bin")
    chips = _chips(arguments.faces)
    reference, dlib_seconds = _timed(_dlib(), chips, arguments.rounds)
    print(f"{'embedder':<28}{'ms a face':>10}{'times dlib':>12}{'largest difference':>20}")
    print(f"{'dlib (one face a call)':<28}{1e3 * dlib_seconds:>10.2f}{1:>12.1f}{'-':>20}")
    with tempfile.TemporaryDirectory() as cache:
        models = load_models(LocalOptions(threads=arguments.threads), Path(cache))
    for batch in (1, 8, 32):
        templates, seconds = _timed(_batched(models.embedder.embed, batch), chips, arguments.rounds)
        difference = float(np.abs(templates - reference).max())
        ratio = dlib_seconds / seconds
        print(
            f"{f'rekadapter, batch {batch}':<28}{1e3 * seconds:>10.2f}{ratio:>12.1f}"
            f"{difference:>20.1e}"
        )
    return 0


def _chips(count: int) -> Pixels:
    """Smooth drawn chips, all different; the time does not depend on what they show."""
    y, x = np.mgrid[0:150, 0:150]
    return np.stack(
        [
            np.stack([(x * 2 + y + 7 * n) % 256, (x + 5 * n) % 256, (y * 2 + n) % 256], axis=2)
            for n in range(count)
        ]
    ).astype(np.uint8)


def _dlib() -> Callable[[Pixels], np.ndarray]:
    import dlib  # noqa: PLC0415 a peer that may be missing

    folder = find_spec("face_recognition_models")
    assert folder is not None
    weights = Path(next(iter(folder.submodule_search_locations or []))) / "models"
    model = dlib.face_recognition_model_v1(
        str(weights / "dlib_face_recognition_resnet_model_v1.dat")
    )

    def embed(chips: Pixels) -> np.ndarray:
        rgb = np.ascontiguousarray(chips[:, :, :, ::-1])
        return np.array([np.array(model.compute_face_descriptor(chip)) for chip in rgb])

    return embed


def _batched(embed: Callable[[Pixels], np.ndarray], size: int) -> Callable[[Pixels], np.ndarray]:
    def run(chips: Pixels) -> np.ndarray:
        starts = range(0, len(chips), size)
        return np.concatenate([embed(chips[start : start + size]) for start in starts])

    return run


def _timed(
    embed: Callable[[Pixels], np.ndarray], chips: Pixels, rounds: int
) -> tuple[np.ndarray, float]:
    """Templates and the best seconds a face over some rounds; the first run is not counted."""
    templates = embed(chips[:2])
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        templates = embed(chips)
        best = min(best, (time.perf_counter() - start) / len(chips))
    return templates, best


if __name__ == "__main__":
    sys.exit(main())
