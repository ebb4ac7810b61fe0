"""Data sets are checked whole before anything is spent, and people are dealt by hash."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.errors import UsageError
from rekadapter.evaluation.dataset import HoldOut, LabeledPerson, Sample, check, hold_out
from rekadapter.evaluation.loaders import Layout, load
from rekadapter.evaluation.outcomes import GroupLabel, PersonId
from rekadapter.evaluation.rules import Rules
from tests.evaluate.drawn_people import drawn, people_folders


def test_folders_hold_out_people_who_are_never_enrolled(tmp_path: Path) -> None:
    dataset = load(people_folders(tmp_path, 8)).dataset
    absent = {sample.person for sample in dataset.nonmated}
    assert len(absent) == 4
    assert not absent & dataset.enrolled
    assert len(dataset.gallery) == 4
    assert len(dataset.mated) == 8
    assert len(dataset.nonmated) == 12


@given(
    people=st.lists(st.text("abcdefgh", min_size=1), min_size=2, max_size=30, unique=True),
    share=st.floats(0.1, 0.9),
    seed=st.integers(0, 99),
)
def test_nobody_is_on_both_sides_whatever_the_draw(
    people: list[str], share: float, seed: int
) -> None:
    samples = [Sample(PersonId(p), Path(f"{p}/{k}.png")) for p in people for k in range(3)]
    rule = HoldOut(share, 1, seed)
    dataset = hold_out(samples, rule)
    absent = {sample.person for sample in dataset.nonmated}
    assert not absent & dataset.enrolled
    assert absent | dataset.enrolled == set(people)
    assert len(dataset.gallery) + len(dataset.probes) == len(samples)
    assert hold_out(list(reversed(samples)), rule).enrolled == dataset.enrolled


def test_each_group_gives_its_share_of_the_held_out() -> None:
    people = tuple(
        LabeledPerson(PersonId(f"{group}{n}"), (GroupLabel("site", group),))
        for group in ("a", "b")
        for n in range(10)
    )
    samples = [Sample(one.person, Path(f"{one.person}/{k}.png")) for one in people for k in (0, 1)]
    enrolled = hold_out(samples, HoldOut(0.5), people).enrolled
    assert sum(person.startswith("a") for person in enrolled) == 5
    assert sum(person.startswith("b") for person in enrolled) == 5


def test_every_problem_is_named_before_anything_is_spent(tmp_path: Path) -> None:
    people_folders(tmp_path, 4)
    (tmp_path / "p00" / "broken.jpg").write_bytes(b"not an image")
    same = drawn(tmp_path / "p01" / "same.png", "twins")
    (tmp_path / "p02" / "same.png").write_bytes(same.read_bytes())
    with pytest.raises(UsageError) as raised:
        check(load(tmp_path).dataset)
    assert "broken.jpg" in str(raised.value)
    assert "one photograph of two people" in str(raised.value)


def test_a_photograph_may_not_be_enrolled_and_searched(tmp_path: Path) -> None:
    rows = ["role,person,path", "gallery,ada,ada.png", "probe,ada,copy.png"]
    rows += ["probe,bob,bob.png", "probe,cyd,cyd.png"]
    drawn(tmp_path / "ada.png", "ada")
    drawn(tmp_path / "copy.png", "ada")
    drawn(tmp_path / "bob.png", "bob")
    drawn(tmp_path / "cyd.png", "cyd")
    (tmp_path / "protocol.csv").write_text("\n".join(rows))
    with pytest.raises(UsageError, match="is enrolled and searched"):
        check(load(tmp_path / "protocol.csv").dataset)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (["gallery,ada,a.png", "nonmated,ada,b.png"], "is in the gallery and among the non-mated"),
        (["gallery,ada,a.png", "mated,bob,b.png"], "the mated probe 'bob' is not in the gallery"),
        (["guest,ada,a.png"], "entry 1: a role"),
        (["gallery,ada,a.png,too many"], "not as many values as columns"),
    ],
)
def test_a_protocol_that_contradicts_itself_is_refused(
    tmp_path: Path, rows: list[str], says: str
) -> None:
    file = tmp_path / "protocol.csv"
    file.write_text("\n".join(["role,person,path", *rows]))
    with pytest.raises(UsageError, match=says):
        load(file)


def test_a_name_that_is_not_text_is_a_problem_with_a_name(tmp_path: Path) -> None:
    people_folders(tmp_path, 4, 2)
    odd = tmp_path / os.fsdecode(b"p\xff")
    shutil.copytree(tmp_path / "p00", odd)
    with pytest.raises(UsageError, match=r"p\?: the name is not valid text: rename it"):
        check(load(tmp_path).dataset)


def test_one_name_in_two_encodings_is_one_person(tmp_path: Path) -> None:
    composed, decomposed = "Zo\u00eb", "Zoe\u0308"
    people_folders(tmp_path, 3, 2)
    (tmp_path / "p00").rename(tmp_path / decomposed)
    (tmp_path / "people.csv").write_text(f"person,sex\n{composed},f\n", encoding="utf-8")
    dataset = load(tmp_path).dataset
    assert composed in {one.person for one in (*dataset.gallery, *dataset.probes)}
    assert [one.person for one in dataset.people] == [composed]


def test_names_that_differ_only_in_capitals_are_counted_in_a_warning(tmp_path: Path) -> None:
    people_folders(tmp_path, 4, 2)
    (tmp_path / "p00").rename(tmp_path / "P01")
    found = check(load(tmp_path).dataset).warnings
    assert any(line.startswith("2 people have names that differ only in") for line in found)


def test_too_few_absent_people_are_named(tmp_path: Path) -> None:
    people_folders(tmp_path, 2)
    with pytest.raises(UsageError, match="1 people outside the gallery"):
        check(load(tmp_path).dataset)


def test_a_csv_carries_groups_cameras_transits_and_boxes(tmp_path: Path) -> None:
    file = tmp_path / "protocol.csv"
    file.write_text(
        "role,person,path,camera,transit,seconds,box,group:site\n"
        "gallery,ada,a.png,,,,,north\n"
        "probe,ada,b.png,door,7,1.5,1 2 30 40,north\n"
    )
    dataset = load(file).dataset
    probe = dataset.mated[0]
    assert (probe.camera, probe.transit, probe.seconds) == ("door", "7", 1.5)
    assert probe.box is not None
    assert probe.box.width == 29
    assert dataset.people[0].groups == (GroupLabel("site", "north"),)


def test_a_toml_protocol_says_the_same_and_carries_the_rules(tmp_path: Path) -> None:
    file = tmp_path / "protocol.toml"
    file.write_text(
        'name = "Door"\ntarget_fpir = 0.03\n[governance]\npurpose = "test"\n'
        '[[person]]\nperson = "ada"\ngroups = { site = "north" }\n'
        '[[gallery]]\nperson = "ada"\npath = "a.png"\n'
        '[[probe]]\nperson = "ada"\npath = "b.png"\ncamera = "door"\n'
    )
    loaded = load(file)
    assert loaded.rules.target_fpir == 0.03
    assert loaded.rules.governance.purpose == "test"
    assert loaded.dataset.mated[0].camera == "door"
    assert loaded.dataset.people[0].groups == (GroupLabel("site", "north"),)


def test_folders_take_groups_from_a_list_of_people(tmp_path: Path) -> None:
    people_folders(tmp_path, 2)
    (tmp_path / "people.csv").write_text("person,site\np00,north\np01,\n")
    people = load(tmp_path).dataset.people
    assert [one.groups for one in people] == [(GroupLabel("site", "north"),), ()]
    (tmp_path / "people.csv").write_text("person,site\np00,north\np00,south\n")
    with pytest.raises(UsageError, match="p00 more than once"):
        load(tmp_path)


def test_an_unknown_rule_is_an_error(tmp_path: Path) -> None:
    people_folders(tmp_path, 2)
    (tmp_path / "evaluation.toml").write_text("target_fpri = 0.01\n")
    with pytest.raises(UsageError, match="target_fpri"):
        load(tmp_path)


# --- research layouts, drawn ------------------------------------------------------------------


def test_lfw_without_a_list_of_pairs_is_folders(tmp_path: Path) -> None:
    for name in ("Ada_L", "Bob_M", "Cyd_N", "Dan_O"):
        for number in (1, 2):
            drawn(tmp_path / name / f"{name}_{number:04d}.png", name, gray=90 + 40 * number)
    dataset = load(tmp_path, Layout.LFW, Rules()).dataset
    people = {s.person for s in (*dataset.gallery, *dataset.probes)}
    assert people == {"Ada_L", "Bob_M", "Cyd_N", "Dan_O"}
    assert not dataset.pairs


def test_ijb_templates_are_searches_of_several_faces(tmp_path: Path) -> None:
    head = "TEMPLATE_ID,SUBJECT_ID,FILENAME,FACE_X,FACE_Y,FACE_WIDTH,FACE_HEIGHT\n"
    (tmp_path / "x_gallery_G1.csv").write_text(head + "1,10,img/a.png,1,2,30,40\n")
    (tmp_path / "x_probe_mixed.csv").write_text(
        head + "5,10,img/b.png,1,2,30,40\n5,10,img/c.png,1,2,30,40\n6,11,img/d.png,1,2,30,40\n"
    )
    dataset = load(tmp_path, Layout.IJB, Rules()).dataset
    assert {sample.transit for sample in dataset.mated} == {"5"}
    assert len(dataset.mated) == 2
    assert len(dataset.nonmated) == 1
    assert dataset.mated[0].box is not None
    assert dataset.mated[0].box.bottom == 42


def test_chokepoint_enrolls_the_first_session_and_searches_transits(tmp_path: Path) -> None:
    for session in (1, 2):
        for person in ("0001", "0002", "0003", "0004"):
            for frame in (0, 1):
                drawn(tmp_path / f"P1E_S{session}_C1" / person / f"{frame:08d}.png", person)
    dataset = load(tmp_path, Layout.CHOKEPOINT, Rules()).dataset
    assert len(dataset.enrolled) == 2
    assert {sample.camera for sample in dataset.probes} == {"P1E_C1"}
    assert len({sample.transit for sample in dataset.probes}) == 4


def test_scface_names_camera_and_distance(tmp_path: Path) -> None:
    for person in ("001", "002"):
        drawn(tmp_path / "mugshot_frontal" / f"{person}_frontal.png", person)
        drawn(tmp_path / "distance_1" / f"{person}_cam3_1.png", person, gray=90)
    dataset = load(tmp_path, Layout.SCFACE, Rules()).dataset
    assert len(dataset.gallery) == 1
    assert {sample.camera for sample in dataset.probes} == {"cam3 distance 1"}


def test_uccs_leaves_unknown_people_out_and_says_how_many(tmp_path: Path) -> None:
    for person in ("0001", "0002"):
        drawn(tmp_path / "gallery" / person / "a.png", person)
    (tmp_path / "valid.csv").write_text(
        "FILE,SUBJECT_ID,FACE_X,FACE_Y,FACE_WIDTH,FACE_HEIGHT\n"
        "s.png,1,1,2,30,40\ns.png,2,50,2,30,40\ns.png,-1,90,2,30,40\n"
    )
    dataset = load(tmp_path, Layout.UCCS, Rules()).dataset
    assert len(dataset.probes) == 2
    assert dataset.exclusions[0].startswith("1 faces of unknown people")


@pytest.mark.parametrize("layout", [Layout.CHOKEPOINT, Layout.SCFACE, Layout.IJB, Layout.UCCS])
def test_a_folder_of_another_layout_is_refused(tmp_path: Path, layout: Layout) -> None:
    people_folders(tmp_path, 2)
    with pytest.raises(UsageError):
        load(tmp_path, layout, Rules())
