"""The report: complete, self-contained, escaped, the same bytes every time."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from rekadapter.errors import OutputError, UsageError
from rekadapter.evaluation.report import render_report
from rekadapter.evaluation.thumbnails import MAX_SIDE_PX, Thumbnails
from rekadapter.evaluation.wording import REASONS
from rekadapter.imaging import Image, encode_jpeg
from rekadapter.testing.runs import RunBuilder, Transit, local_backend, remote_backend
from rekadapter.types import Reason

VOID = frozenset({"meta", "img", "br", "link", "input", "hr"})
NASTY = '<script>alert("x")</script>&\'"{{ 7*7 }}$x$'


@dataclass
class Page(HTMLParser):
    """What a browser would see: tags with attributes, text, and whether they nest."""

    text: str = ""
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    open_tags: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open_tags.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data: str) -> None:
        if not self.open_tags or self.open_tags[-1] != "style":
            self.text += data

    def all(self, *names: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.tags if tag in names]


def parsed(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    assert page.open_tags == []
    page.text = " ".join(page.text.split())
    return page


def rendered(run: RunBuilder, directory: Path) -> Page:
    run.write(directory)
    return parsed(render_report(directory))


def keep_face(directory: Path, name: str, side: int = 100) -> None:
    (directory / "faces").mkdir(exist_ok=True)
    random = np.random.default_rng(1)
    noise = random.integers(0, 255, (side, side, 3)).astype(np.uint8)
    (directory / "faces" / name).write_bytes(encode_jpeg(Image.from_pixels(noise), 90))


def busy_run() -> RunBuilder:
    run = RunBuilder(notes=("The media is synthetic.",))
    run.transit("local", Transit("lobby", 5, 30, subject="ann", thumbnail="a.jpg"))
    run.transit("rekognition", Transit("lobby", 6, 30, subject="ann", score=99.5))
    run.transit("local", Transit("lobby", 40, 60, subject="bob", left=0.1))
    run.transit("rekognition", Transit("lobby", 40, 60, left=0.1, score=41.25))
    run.transit(
        "local", Transit("gate", 2, 20, reason=Reason.FACE_TOO_SMALL, eyes_px=7, score=None)
    )
    run.drop("rekognition", "lobby", range(70, 80), "uplink full")
    run.fail("rekognition", "gate", range(30, 33))
    for _ in range(4):
        run.request("rekognition", "lobby")
    run.request("rekognition", None, operation="IndexFaces", price_usd=None)
    return run


@pytest.fixture
def page(tmp_path: Path) -> Page:
    return rendered(busy_run(), tmp_path / "run")


# --- what it says -----------------------------------------------------------------------------


def test_the_notes_of_the_run_stand_on_the_first_page(page: Page) -> None:
    assert page.text.index("The media is synthetic.") < page.text.index("What it says")


def test_it_says_that_accuracy_is_not_measured(page: Page) -> None:
    assert "How accurate any system is. Nobody labeled who was really there" in page.text


def test_an_endpoint_on_this_machine_is_not_passed_off_as_aws(page: Page) -> None:
    assert "'rekognition' was answered by this machine" in page.text


def test_an_endpoint_of_aws_is_not_called_this_machine(tmp_path: Path) -> None:
    aws = replace(remote_backend(), details={"endpoint": "https://rekognition.eu-west-1.aws"})
    page = rendered(RunBuilder(backends=(aws,)), tmp_path / "run")
    assert "answered by this machine" not in page.text


def test_unknown_is_shown_with_its_reason_and_the_runner_up(page: Page) -> None:
    assert "The face had too few pixels to search." in page.text
    assert "Resembled most: the runner-up, score 41.25 (Rekognition Similarity" in page.text


def test_every_score_stands_with_its_scale_and_threshold(page: Page) -> None:
    assert "99.50 (Rekognition Similarity, 0 to 100, higher is more alike); threshold 80" in (
        page.text
    )
    assert "91.00 (test similarity, 0 to 100, higher is more alike); threshold 60" in page.text


def test_a_name_stands_with_the_faces_that_support_it(page: Page) -> None:
    assert "Alike enough in 26 of 26 faces searched." in page.text


def test_the_frames_ledger_adds_up_in_print(page: Page) -> None:
    assert "10 uplink full" in page.text
    assert "does not add up" not in page.text


def test_frames_that_do_not_add_up_are_said_loudly(tmp_path: Path) -> None:
    run = RunBuilder()
    built = run.build()
    camera = replace(built.record.cameras[0], captured=130)
    directory = tmp_path / "run"
    run.write(directory)
    text = (directory / "run.json").read_text()
    (directory / "run.json").write_text(text.replace('"captured": 100', '"captured": 130'))
    page = parsed(render_report(directory))
    assert camera.captured == 130
    assert "does not add up: +30 frames" in page.text
    assert "cannot be trusted" in page.text


def test_failed_requests_are_counted(page: Page) -> None:
    assert "System rekognition failed to answer 3 frames" in page.text


def test_the_disagreement_shows_both_sides(page: Page) -> None:
    assert "Camera lobby: only local names somebody" in page.text
    assert "Systems local and rekognition gave the same answer for 1 of 3 tracks" in page.text


def test_unpriced_requests_make_the_price_a_lower_bound(page: Page) -> None:
    assert "$0.0040" in page.text
    assert "no known price" in page.text


def test_the_system_tables_carry_every_detail_and_the_command(page: Page) -> None:
    for detail in ("us-east-1", "0" * 64, "test-net v1", "rekadapter compare feeds.toml", "as of"):
        assert detail in page.text


def test_camera_verdicts_are_tagged_as_a_proposal(page: Page) -> None:
    assert "Verdicts are a proposal" in page.text
    assert "unfit" in page.text


def test_the_next_best_candidate_of_a_named_track_is_shown(tmp_path: Path) -> None:
    run = RunBuilder(backends=(local_backend(),))
    run.transit("local", Transit("lobby", 5, 30, subject="ann"))
    directory = tmp_path / "run"
    run.write(directory)
    lines = (directory / "observations.jsonl").read_text()
    other = '"candidates":[{"face_id":"f","subject":"zoe","score":61.5,"scale":"test similarity"}]'
    (directory / "observations.jsonl").write_text(lines.replace('"candidates":[]', other))
    page = parsed(render_report(directory))
    assert "Next best: zoe, 61.50 on the same scale." in page.text


# --- every kind of run ------------------------------------------------------------------------


def test_one_backend_has_no_section_of_differences(tmp_path: Path) -> None:
    run = RunBuilder(backends=(local_backend(),))
    run.transit("local", Transit("lobby", 5, 30, subject="ann"))
    page = rendered(run, tmp_path / "run")
    assert "Where the systems differ" not in page.text
    assert "Which system's scores are better" not in page.text


def test_three_backends_are_compared_two_by_two(tmp_path: Path) -> None:
    run = RunBuilder(backends=(local_backend("a"), local_backend("b"), remote_backend("c")))
    run.transit("a", Transit("lobby", 5, 30, subject="ann"))
    page = rendered(run, tmp_path / "run")
    assert "Systems a and b gave the same answer for 0 of 1 track" in page.text
    assert "Systems a and c gave the same answer for 0 of 1 track" in page.text
    assert "Systems b and c have no track to compare." in page.text


def test_a_run_without_a_face_says_so(tmp_path: Path) -> None:
    page = rendered(RunBuilder(), tmp_path / "run")
    assert "System local followed nobody." in page.text
    assert "No eyes were measured on this camera" in page.text
    assert "Systems local and rekognition have no track to compare." in page.text


def test_a_run_without_a_frame_says_so(tmp_path: Path) -> None:
    page = rendered(RunBuilder(cameras={"lobby": 0}), tmp_path / "run")
    assert "nothing to measure" in page.text


def test_a_run_without_a_camera_is_still_a_report(tmp_path: Path) -> None:
    assert "The run holds no camera." in rendered(RunBuilder(cameras={}), tmp_path / "run").text


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("interrupted", "This run interrupted before its end."),
        ("failed", "This run failed. the disk is full"),
        ("running", "This run did not end properly."),
    ],
)
def test_a_run_that_did_not_finish_says_so_first(tmp_path: Path, state: str, words: str) -> None:
    run = busy_run()
    run.state = state
    page = rendered(run, tmp_path / "run")
    assert words in page.text.replace("was interrupted", "interrupted")
    assert page.text.index(words[:12]) < page.text.index("What it says")


def test_a_killed_run_shows_counts_as_not_known(tmp_path: Path) -> None:
    run = busy_run()
    run.state = "running"
    assert "the run was killed before it counted" in rendered(run, tmp_path / "run").text


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        render_report(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="needs a path that cannot be written")
def test_a_report_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    busy_run().write(tmp_path / "run")
    (tmp_path / "run" / "feeds.html.partial").mkdir()
    with pytest.raises(OutputError, match=r"feeds\.html cannot be written"):
        render_report(tmp_path / "run")


# --- one safe file ----------------------------------------------------------------------------


def test_it_refers_to_nothing_outside_itself(page: Page) -> None:
    assert not page.all("script", "link", "iframe", "object")
    for _, attrs in page.tags:
        for name in ("src", "href", "xlink:href", "action", "srcset"):
            value = attrs.get(name)
            assert value is None or value.startswith(("#", "data:image/jpeg;base64,"))
        assert "url(http" not in (attrs.get("style") or "")


def test_rendering_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    busy_run().write(tmp_path / "run")
    keep_face(tmp_path / "run", "a.jpg")
    first = render_report(tmp_path / "run").read_bytes()
    assert render_report(tmp_path / "run").read_bytes() == first


def test_names_from_outside_are_text_and_never_markup(tmp_path: Path) -> None:
    local = replace(local_backend(NASTY), model=NASTY, details={NASTY: NASTY})
    run = RunBuilder(backends=(local, remote_backend()), cameras={NASTY: 50}, notes=(NASTY,))
    run.transit(NASTY, Transit(NASTY, 5, 30, subject=NASTY))
    run.drop("rekognition", NASTY, range(4), NASTY)
    run.request("rekognition", NASTY, operation=NASTY)
    page = rendered(run, tmp_path / "run")
    assert not page.all("script")
    assert NASTY in page.text


@pytest.mark.parametrize("name", ["張偉", "שלום", "\u202eevil", "a\u0000b", "😀" * 80, "x" * 255])
def test_any_subject_id_can_be_printed(tmp_path: Path, name: str) -> None:
    run = RunBuilder(backends=(local_backend(),))
    run.transit("local", Transit("lobby", 5, 30, subject=name))
    run.write(tmp_path / "run")
    assert render_report(tmp_path / "run").stat().st_size > 10_000


def test_the_page_works_for_a_screen_reader(page: Page) -> None:
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("h1")) == 1
    assert len(page.all("caption")) == len(page.all("table")) > 5
    assert all(attrs.get("alt") for attrs in page.all("img"))
    assert all(attrs.get("aria-label") for attrs in page.all("svg"))
    assert all(attrs.get("scope") for attrs in page.all("th"))
    levels = [int(tag[1]) for tag, _ in page.tags if tag in {"h1", "h2", "h3", "h4"}]
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_ids_are_unique_and_every_reference_has_its_target(page: Page) -> None:
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {f"#{name}" for name in ids}
    for attrs in page.all("a", "use"):
        assert (attrs.get("href") or attrs.get("xlink:href")) in targets
    for _, attrs in page.tags:
        assert attrs.get("aria-labelledby") is None or f"#{attrs['aria-labelledby']}" in targets


# --- pictures ---------------------------------------------------------------------------------


def test_kept_faces_are_inside_the_file_with_a_warning_to_guard_them(tmp_path: Path) -> None:
    busy_run().write(tmp_path / "run")
    keep_face(tmp_path / "run", "a.jpg")
    page = parsed(render_report(tmp_path / "run"))
    assert page.all("img")
    assert "This file shows faces of people." in page.text


def test_no_kept_face_means_no_picture_and_no_warning(page: Page) -> None:
    assert not page.all("img")
    assert "This file shows faces" not in page.text
    assert "no picture kept" in page.text


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/passwd", "..", "a/b.jpg", "..\\x.jpg", ""])
def test_a_name_that_leaves_the_folder_gives_no_picture(tmp_path: Path, name: str) -> None:
    keep_face(tmp_path, "x.jpg")
    keep_face(tmp_path, "secret.jpg")
    (tmp_path / "secret.jpg").write_bytes((tmp_path / "faces" / "secret.jpg").read_bytes())
    assert Thumbnails(tmp_path / "faces").data_uri(name) is None


def test_a_damaged_picture_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"\xff\xd8 not a picture")
    assert Thumbnails(tmp_path).data_uri("x.jpg") is None
    assert Thumbnails(tmp_path).data_uri("missing.jpg") is None


def test_large_pictures_are_made_small_and_small_ones_are_not_enlarged(tmp_path: Path) -> None:
    for side, expected in ((400, MAX_SIDE_PX), (20, 20)):
        keep_face(tmp_path, f"{side}.jpg", side)
        uri = Thumbnails(tmp_path / "faces").data_uri(f"{side}.jpg")
        assert uri is not None
        data = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
        assert Image.from_bytes(data).size.width == expected


def test_pictures_beyond_the_budget_are_counted(tmp_path: Path) -> None:
    keep_face(tmp_path, "x.jpg")
    faces = Thumbnails(tmp_path / "faces", budget_characters=1)
    assert faces.data_uri("x.jpg") is None
    assert (faces.given, faces.left_out) == (0, 1)


@pytest.mark.slow
def test_a_large_run_stays_under_two_megabytes(tmp_path: Path) -> None:
    run = RunBuilder(cameras={f"camera {n}": 120 for n in range(30)})
    for camera in run.cameras:
        for n in range(50):
            for backend in ("local", "rekognition"):
                subject = None if n % 3 else f"person {n}"
                run.transit(
                    backend,
                    Transit(
                        camera, n, n + 20, subject, left=(n % 9) / 10, thumbnail=f"{n % 40}.jpg"
                    ),
                )
    run.write(tmp_path / "run")
    for n in range(40):
        keep_face(tmp_path / "run", f"{n}.jpg")
    path = render_report(tmp_path / "run")
    page = parsed(path)
    assert path.stat().st_size < 2_000_000
    assert "more tracks had no room here" in page.text
    assert "pictures of faces were left out" in page.text


def test_every_reason_has_words() -> None:
    assert set(REASONS) == set(Reason)
