"""Settings: order of precedence, and nothing unknown passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from rekadapter.config import ThresholdReport, load_settings
from rekadapter.errors import ConfigError

FILE = """
backend = "cloud"
gallery = "watchlist"

[backends.cloud]
type = "rekognition"
region = "eu-west-1"
threshold = 99

[backends.local]
threads = 2
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "rekadapter.toml").write_text(FILE)
    return tmp_path


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    settings = load_settings({}, directory=tmp_path)
    assert (settings.backend, settings.gallery, settings.file) == ("local", None, None)
    assert settings.backend_named(None).type == "local"


def test_a_file_names_backends_with_options_of_their_own(directory: Path) -> None:
    cloud = load_settings({}, directory=directory).backend_named(None)
    assert (cloud.name, cloud.type, cloud.threshold) == ("cloud", "rekognition", 99.0)
    assert dict(cloud.options) == {"region": "eu-west-1"}


def test_a_table_without_a_type_is_a_type_by_its_name(directory: Path) -> None:
    assert load_settings({}, directory=directory).backend_named("local").type == "local"


def test_the_environment_wins_over_the_file(directory: Path) -> None:
    settings = load_settings({"REKADAPTER_BACKEND": "local"}, directory=directory)
    assert settings.backend == "local"
    assert settings.gallery == "watchlist"


def test_an_empty_variable_is_no_setting(directory: Path) -> None:
    assert load_settings({"REKADAPTER_BACKEND": ""}, directory=directory).backend == "cloud"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("bakend = 'local'", "unknown key 'bakend'"),
        ("backend = 3", "'backend'"),
        ("[backends.cloud]\nthreshold = 'high'", r"'backends\.cloud\.threshold'"),
        ("[backends.cloud]\nthreshold = nan", r"'backends\.cloud\.threshold'"),
        ("backend = ", "not valid TOML"),
        ("backends = 'local'", "'backends'"),
        ("[backends.cloud]\nthreshold_from = 3", r"'backends\.cloud\.threshold_from'"),
        ("[backends.cloud]\nthreshold_from = 'a'\nthreshold = 9", "contradict each other"),
        ("[backends.cloud]\nthreshold_from = 'a'\ntarget_fpir = 1", r"target_fpir'.*less than 1"),
        ("[backends.cloud]\ntarget_fpir = 0.1", "target_fpir without threshold_from"),
        ("[backends.cloud]\naccept_larger_gallery = true", "without threshold_from"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=complaint) as raised:
        load_settings({}, config=file)
    assert "mine.toml" in str(raised.value)


def test_an_unknown_variable_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="REKADAPTER_BAKEND"):
        load_settings({"REKADAPTER_BAKEND": "local"}, directory=tmp_path)


def test_a_named_file_has_to_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml"):
        load_settings({"REKADAPTER_CONFIG": str(tmp_path / "missing.toml")}, directory=tmp_path)


def test_a_report_is_looked_for_from_the_settings_folder_on(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    file = folder / "mine.toml"
    file.write_text("[backends.local]\nthreshold_from = 'site'\ntarget_fpir = 0.003\nthreads = 2\n")
    local = load_settings({}, config=file).backend_named("local")
    assert local.threshold_report == ThresholdReport(folder / "site", target_fpir=0.003)
    assert dict(local.options) == {"threads": 2}


def test_a_report_elsewhere_is_named_in_full(tmp_path: Path) -> None:
    (tmp_path / "rekadapter.toml").write_text("[backends.local]\nthreshold_from = '/srv/site'\n")
    report = load_settings({}, directory=tmp_path).backend_named("local").threshold_report
    assert report == ThresholdReport(Path("/srv/site"))
