"""The sweep behind a camera's stream: what coding leaves of a picture, and what comes of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from rekadapter.cli import run
from rekadapter.errors import UsageError
from rekadapter.evaluation.decision_page import evaluation_html
from rekadapter.evaluation.evaluate import evaluated
from rekadapter.evaluation.record import MeasuredEyes, SweepPlan
from rekadapter.evaluation.results import EvaluationReport, as_stored
from rekadapter.evaluation.rules import Rules, SweepStream, parse_rules
from rekadapter.evaluation.stream_coding import streamed
from rekadapter.evaluation.sweep_plan import at_step, steps
from rekadapter.evaluation.synthetic import ScoreModel, SearchDesign
from rekadapter.imaging import Image
from rekadapter.testing.drawn import portrait
from rekadapter.testing.evaluations import made_up_evaluation
from rekadapter.testing.sweeps import with_made_up_sweep
from tests.evaluate.drawn_people import people_folders

WIDE = SweepStream(kbps=600, width=640, height=360, fps=10)
NARROW = SweepStream(kbps=60, width=640, height=360, fps=10)


def textured(side: int) -> Image:
    """A picture that is hard to code: smoothed noise, the same each time."""
    noise = np.random.default_rng(4).integers(0, 255, (side, side, 3), dtype=np.uint8)
    return Image.from_pixels(np.asarray(cv2.GaussianBlur(noise, (0, 0), 1.5), dtype=np.uint8))


def likeness(a: Image, b: Image) -> float:
    return cv2.PSNR(a.pixels, b.pixels)


# --- the coder --------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["h264", "hevc", "mjpeg"])
def test_a_picture_comes_back_in_its_size_and_like_itself(codec: str) -> None:
    stream = SweepStream.model_validate({**WIDE.model_dump(), "codec": codec, "kbps": 4000})
    cut = portrait("ada", side=96)
    back = streamed(textured(300), cut, 20, stream).image
    assert back.size == cut.size
    assert likeness(back, cut) > 24


def test_fewer_bits_leave_less_of_it() -> None:
    cut = textured(96)
    wide, narrow = (streamed(textured(300), cut, 20, one) for one in (WIDE, NARROW))
    assert likeness(wide.image, cut) > likeness(narrow.image, cut) + 2


@pytest.mark.parametrize("kbps", [200, 600, 2000])
def test_the_bits_asked_for_are_about_those_spent(kbps: float) -> None:
    stream = WIDE.model_copy(update={"kbps": kbps})
    found = streamed(textured(300), textured(96), 20, stream).kbps
    assert found == pytest.approx(kbps, rel=0.5)


@pytest.mark.parametrize("fps", [1, 1.5, 2, 3, 60])
@pytest.mark.parametrize("codec", ["h264", "hevc", "mjpeg"])
def test_slow_and_fast_cameras_give_a_picture(codec: str, fps: float) -> None:
    stream = SweepStream(codec=codec, kbps=600, width=320, height=180, fps=fps)  # type: ignore[arg-type]
    cut = portrait("ada", side=64)
    back = streamed(textured(200), cut, 8, stream).image
    assert back.size == cut.size
    assert likeness(back, cut) > 18


def test_the_same_picture_is_coded_alike_each_time() -> None:
    one, other = (streamed(textured(200), portrait("ada", side=80), 20, WIDE) for _ in range(2))
    assert np.array_equal(one.image.pixels, other.image.pixels)


def test_of_a_cut_larger_than_the_camera_s_picture_the_middle_is_left() -> None:
    small = SweepStream(kbps=500, width=64, height=64, fps=5)
    assert streamed(textured(300), textured(90), 8, small).image.size.width == 64


# --- the plan ---------------------------------------------------------------------------------


def plan(*streams: SweepStream) -> SweepPlan:
    measured = (MeasuredEyes(sha256="0", eye_px=130.0),)
    return SweepPlan(
        eye_px=(120, 40, 20), quality=80, min_side_px=80, finder="t", measured=measured,
        streams=streams,
    )  # fmt: skip


def test_sizes_that_do_not_fit_into_a_stream_are_left_out_of_it() -> None:
    found = [(step.eye_px, step.stream) for step in steps(plan(WIDE))]
    assert found == [(120, None), (40, None), (20, None), (40, WIDE), (20, WIDE)]


def test_sizes_left_out_of_a_stream_are_named() -> None:
    design = SearchDesign(gallery=40, mated_people=40, nonmated_people=40)
    stored = made_up_evaluation(design, {"a": ScoreModel()}, default_threshold=0.4)
    swept = evaluated(with_made_up_sweep(stored, {60.0: 0.0, 20.0: 0.1}, streams={WIDE: 0.0}))
    assert swept.sweep is not None
    assert "sizes too large for a picture of 640x360: 60 px" in swept.sweep.left_out
    assert any("Behind a stream" in note for note in swept.sweep.notes)
    alone = evaluated(with_made_up_sweep(stored, {60.0: 0.0, 20.0: 0.1}))
    assert alone.sweep is not None
    assert not any("stream" in note for note in alone.sweep.notes)


def test_answers_without_a_stream_keep_their_keys() -> None:
    """What was asked before there were streams is not paid again, and its protocol is the same."""
    design = SearchDesign(gallery=40, mated_people=40, nonmated_people=40)
    stored = made_up_evaluation(design, {"a": ScoreModel()}, default_threshold=0.4)
    before = with_made_up_sweep(stored, {60.0: 0.0, 20.0: 0.1})
    after = with_made_up_sweep(stored, {60.0: 0.0, 20.0: 0.1}, streams={WIDE: 0.1})
    assert before.answers.keys() < after.answers.keys()
    assert before.record.sweep is not None
    assert before.record.protocol_sha256 != after.record.protocol_sha256
    first = steps(before.record.sweep)[0]
    assert at_step(before.record, first).probes == at_step(after.record, first).probes
    assert "streams" not in json.dumps(
        json.loads(before.record.rules.model_dump_json(exclude_defaults=True))
    )


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        ({"kbps": 1}, "kbps"),
        ({"kbps": 500, "width": 641}, "width"),
        ({"kbps": 500, "codec": "av2"}, "codec"),
        ({}, "kbps"),
        ({"kbps": 500, "bitrate": 2}, "bitrate"),
    ],
)
def test_a_stream_that_is_none_is_named(stream: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_rules({"sweep": {"streams": [stream]}}, "rules.toml")


# --- what comes of it -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report() -> EvaluationReport:
    design = SearchDesign(gallery=120, mated_people=120, nonmated_people=120)
    rules = Rules(target_fpir=0.1, resamples=200, permutations=199)
    models = {"alpha": ScoreModel(), "beta": ScoreModel(mated_mean=0.55)}
    stored = made_up_evaluation(design, models, default_threshold=0.4, rules=rules)
    lost = {40.0: 0.0, 30.0: 0.02, 20.0: 0.05, 10.0: 0.3}
    return evaluated(with_made_up_sweep(stored, lost, streams={WIDE: 0.02, NARROW: 0.25}))


def test_each_system_has_a_curve_for_each_way_of_coding(report: EvaluationReport) -> None:
    assert report.sweep is not None
    found = [(one.system, one.stream) for one in report.sweep.systems]
    ways = [None, WIDE.words, NARROW.words]
    assert found == [(system, way) for system in ("alpha", "beta") for way in ways]


def test_a_narrow_stream_costs_what_it_costs(report: EvaluationReport) -> None:
    assert report.sweep is not None
    alone, wide, narrow = report.sweep.systems[:3]
    assert alone.enough_px == 20
    assert wide.enough_px is not None
    assert narrow.enough_px is None
    assert narrow.too_few_px == 40
    assert f"alpha behind {NARROW.words}: no size was shown" in narrow.sentence


def test_the_page_tells_the_ways_apart(report: EvaluationReport) -> None:
    page = evaluation_html(as_stored(report))
    assert WIDE.words in page
    legend = page[page.index('<p class="legend"><span class="curve">') :]
    legend = legend[: legend.index("</p>")]
    assert legend.count('class="curve"') == 6
    assert re.search(r'stroke-dasharray="8 4"/></svg> <bdi>beta, h264 640x360', legend)
    assert re.search(r'stroke-dasharray="none"/></svg> <bdi>alpha, JPEG alone', legend)


def test_a_sweep_behind_a_stream_is_asked_once_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(
        "[sweep]\neye_px = [20, 12]\n"
        '[[sweep.streams]]\ncodec = "h264"\nkbps = 300\nwidth = 320\nheight = 240\nfps = 5\n'
    )
    data, out = people_folders(tmp_path / "people", 6), tmp_path / "out"
    arguments = ["evaluate", str(data), "-b", "memory", "--sweep", "--rules", str(rules)]
    assert run([*arguments, "--out", str(out)]) == 0
    section = json.loads((out / "report.json").read_text())["sweep"]
    assert [one["stream"] for one in section["systems"]] == [
        None, "h264 320x240, 5/s, 300 kbit/s",
    ]  # fmt: skip
    assert section["missing"] == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    capsys.readouterr()
    assert run([*arguments, "--out", str(out)]) == 0
    assert "nothing will be asked or paid" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
