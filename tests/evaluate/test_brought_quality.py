"""Quality that somebody else measured: which photograph is meant, and what is no number."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rekadapter.cli import run
from rekadapter.errors import UsageError
from rekadapter.evaluation.brought_quality import BroughtQuality, read_quality
from rekadapter.evaluation.dataset import CheckedDataset, check
from rekadapter.evaluation.loaders import load
from rekadapter.evaluation.record import PhotographQuality
from tests.evaluate.drawn_people import drawn, people_folders


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return people_folders(tmp_path / "people", 6)


@pytest.fixture
def checked(data: Path) -> CheckedDataset:
    return check(load(data).dataset)


def searched(checked: CheckedDataset) -> list[Path]:
    return [one.sample.path for one in checked.probes]


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def values(found: BroughtQuality) -> list[dict[str, float]]:
    return [one.values for one in found.photographs]


def test_a_photograph_is_named_by_its_path_from_the_file_on(
    checked: CheckedDataset, data: Path
) -> None:
    first = searched(checked)[0].relative_to(data)
    found = read_quality(written(data / "q.csv", "file,sharp,light", f"{first},0.5,"), checked)
    measured = PhotographQuality(sha256=checked.probes[0].sha256, values={"sharp": 0.5})
    assert found.photographs == (measured,)
    assert found.sentence == f"1 of {len(checked.probes)} searched photographs are measured"


def test_a_path_of_another_machine_is_known_by_its_last_parts(
    checked: CheckedDataset, tmp_path: Path
) -> None:
    path = searched(checked)[0]
    elsewhere = f"/mnt/other/{path.parent.name}/{path.name}"
    found = read_quality(written(tmp_path / "q.csv", "file,sharp", f"{elsewhere},3"), checked)
    assert values(found) == [{"sharp": 3.0}]


def test_a_name_that_several_photographs_have_is_nobodys(
    checked: CheckedDataset, tmp_path: Path
) -> None:
    name = searched(checked)[0].name
    with pytest.raises(UsageError, match="none of the photographs"):
        read_quality(written(tmp_path / "q.csv", "file,sharp", f"{name},3"), checked)


def test_a_path_of_windows_is_known_too(checked: CheckedDataset, tmp_path: Path) -> None:
    path = searched(checked)[0]
    name = f"C:\\people\\{path.parent.name}\\{path.name}"
    assert values(read_quality(written(tmp_path / "q.csv", "file,sharp", f"{name},3"), checked))


def test_nobody_gets_the_value_of_somebody_elses_photograph(data: Path, tmp_path: Path) -> None:
    """Of one name in two folders, one enrolled and one searched; and of a folder that is not of
    the data set."""
    dataset = load(data).dataset
    enrolled, probe = dataset.gallery[0].path, dataset.probes[0].path
    enrolled.rename(enrolled.with_name("00.png"))
    probe.rename(probe.with_name("x.png"))
    checked = check(load(data).dataset)
    mine = next(one.sample.path for one in checked.probes if one.sample.path.name == "x.png")
    file = written(
        tmp_path / "q.csv",
        "file,sharp",
        f"{mine},1",
        f"{enrolled.with_name('00.png')},2",
        "/mnt/stranger/x.png,3",
        "stranger/x.png,4",
    )
    found = read_quality(file, checked)
    assert values(found) == [{"sharp": 1.0}]
    assert found.strangers == 2
    assert "; 2 lines name no photograph, or not which one" in found.sentence


def test_in_a_data_set_of_one_folder_a_file_name_is_enough(tmp_path: Path) -> None:
    rows = ["role,person,path"]
    for person in range(4):
        for photo in range(2):
            path = drawn(tmp_path / "flat" / f"{person}-{photo}.png", f"p{person}", 100 + photo)
            role = "gallery" if person < 2 and not photo else "probe"
            rows.append(f"{role},p{person},{path}")
    checked = check(load(written(tmp_path / "protocol.csv", *rows)).dataset)
    file = written(tmp_path / "q.csv", "file,sharp", "/mnt/moved/0-1.png,3")
    assert values(read_quality(file, checked)) == [{"sharp": 3.0}]


def test_of_ofiqs_own_file_the_scalars_are_taken(checked: CheckedDataset, tmp_path: Path) -> None:
    one, other = searched(checked)[:2]
    file = written(
        tmp_path / "ofiq.csv",
        "Filename;UnifiedQualityScore;UnifiedQualityScore.scalar;assessment_time_in_ms;",
        f"{one};12.5;87;31;",
        f"{other};0;-1;31;",
    )
    found = {one.sha256: one.values for one in read_quality(file, checked).photographs}
    assert found[checked.probes[0].sha256] == {"UnifiedQualityScore": 87.0}
    assert found[checked.probes[1].sha256] == {}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["file,sharp"], "at least one photograph"),
        (["file", "a.png"], "0 measures"),
        (["file,sharp", "p00/1.png,good"], "'good' is not a number"),
        (["file,sharp", "p00/1.png,1", "p00/1.png,2"], "named twice"),
        (["file,sharp", "nobody.png,1"], "none of the photographs"),
        (["file,sharp", "no\0body.png,1"], "none of the photographs|cannot be read"),
        (["file,sharp,sharp ", "p00/1.png,1,2"], "2 columns 'sharp'"),
        (["file,sharp", "", "p00/1.png,good"], "line 3: 'good' is not a number"),
    ],
    ids=[
        "empty",
        "no measure",
        "no number",
        "twice",
        "strangers",
        "no name",
        "one measure twice",
        "empty line",
    ],
)
def test_what_cannot_be_used_is_named(
    checked: CheckedDataset, data: Path, lines: list[str], words: str
) -> None:
    paths = {str(path.relative_to(data)) for path in searched(checked)}
    mine = [line.replace("p00/1.png", min(paths)) for line in lines]
    with pytest.raises(UsageError, match=words):
        read_quality(written(data / "q.csv", *mine), checked)


def test_a_file_that_is_not_there_is_named(checked: CheckedDataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"q\.csv cannot be read"):
        read_quality(tmp_path / "q.csv", checked)


def test_the_command_brings_it_into_the_report(
    data: Path, checked: CheckedDataset, tmp_path: Path
) -> None:
    rows = [f"{path.relative_to(data)},{n}" for n, path in enumerate(searched(checked))]
    file = written(data / "q.csv", "file,focus", *rows)
    out = tmp_path / "out"
    command = ["evaluate", str(data), "-b", "memory", "--out", str(out)]
    assert run([*command, "--quality", str(file)]) == 0
    report = json.loads((out / "report.json").read_text())
    assert {(d["measure"], d["source"]) for d in report["discard"]} >= {("focus", "brought")}
    assert "by focus: not enough evidence" in (out / "report.html").read_text()


def test_it_stays_with_the_evaluation_until_it_is_brought_anew(
    data: Path, checked: CheckedDataset, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ["evaluate", str(data), "-b", "memory", "--out", str(out)]

    def measures() -> set[str]:
        report = json.loads((out / "report.json").read_text())
        return {d["measure"] for d in report["discard"] if d["source"] == "brought"}

    for name in ("focus", "light"):
        rows = [f"{path},{n}" for n, path in enumerate(searched(checked))]
        file = written(tmp_path / "q.csv", f"file,{name}", *rows)
        assert run([*command, "--quality", str(file)]) == 0
        assert measures() == {name}
        first = (out / "report.json").read_bytes()
        assert run(command) == 0
        assert (out / "report.json").read_bytes() == first


def test_the_command_says_how_much_of_the_data_set_is_measured(
    data: Path, checked: CheckedDataset, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "q.csv", "file,focus", f"{searched(checked)[0]},1", "stranger.png,2")
    out = tmp_path / "out"
    run(["evaluate", str(data), "-b", "memory", "--quality", str(file), "--out", str(out)])
    count = len(checked.probes)
    assert f"1 of {count} searched photographs are measured; 1 lines" in capfd.readouterr().err
