"""pytest's entry point, as other people's runs load it, and the example they start from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from moto.core.models import MockAWS

from rekadapter.rekognition_api.moto_ext import install as moto_install
from rekadapter.testing.rekognition import RekognitionMock, picture_of, throttle

if TYPE_CHECKING:
    from mypy_boto3_rekognition import RekognitionClient

EXAMPLE = Path(__file__).parents[2] / "examples" / "test_with_collections.py"
PLUGIN = "rekadapter.testing.pytest_plugin"


def _pytest(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A run of its own with the plugin, by name in case it is not installed as an entry point."""
    load = ["-p", "no:rekadapter", "-p", PLUGIN, "-p", "no:cacheprovider"]
    return subprocess.run(  # noqa: S603 - pytest on a file of this test
        [sys.executable, "-m", "pytest", *load, "-q", "--rootdir", str(cwd), *arguments],
        cwd=cwd,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class TestFixture:
    def test_it_has_collections(self, rekognition_mock: RekognitionMock) -> None:
        client: RekognitionClient = boto3.client("rekognition")
        client.create_collection(CollectionId="staff")
        assert rekognition_mock.client().list_collections()["CollectionIds"] == ["staff"]
        assert rekognition_mock.client("eu-west-1").list_collections()["CollectionIds"] == []

    def test_the_next_test_begins_empty(self, rekognition_mock: RekognitionMock) -> None:
        assert rekognition_mock.client().list_collections()["CollectionIds"] == []
        assert rekognition_mock.calls("CreateCollection") == 0

    def test_it_declares_and_injects(self, rekognition_mock: RekognitionMock) -> None:
        rekognition_mock.declare(("alice", "bob"), image=picture_of())
        rekognition_mock.inject(throttle(1))
        client = rekognition_mock.client()
        found = client.detect_faces(Image={"Bytes": picture_of()})
        assert len(found["FaceDetails"]) == 2
        assert found["ResponseMetadata"]["RetryAttempts"] == 1

    def test_compare_faces_is_the_mocks_own(self, rekognition_mock: RekognitionMock) -> None:
        compared = rekognition_mock.client().compare_faces(
            SourceImage={"Bytes": picture_of("alice")}, TargetImage={"Bytes": picture_of("bob")}
        )
        assert compared["FaceMatches"] == []

    def test_a_moto_decorator_beside_it_changes_nothing(
        self, rekognition_mock: RekognitionMock
    ) -> None:
        from moto import mock_aws  # noqa: PLC0415 - as a user's test would

        @mock_aws
        def within() -> None:
            rekognition_mock.client().create_collection(CollectionId="staff")

        within()
        assert rekognition_mock.client().list_collections()["CollectionIds"] == ["staff"]

    def test_an_endpoint_of_the_machine_is_not_used(
        self, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_REKOGNITION", "http://127.0.0.1:9")
        mock: RekognitionMock = request.getfixturevalue("rekognition_mock")
        assert mock.client().list_collections()["CollectionIds"] == []

    def test_nothing_of_it_stays(self, pytestconfig: pytest.Config) -> None:
        del pytestconfig  # no fixture of ours
        assert moto_install.installed_mock() is None
        assert MockAWS._mocks_active is False


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    program = (
        f"import sys, {PLUGIN}; "
        "print({'boto3', 'botocore', 'moto', 'cv2', 'numpy', 'onnxruntime'} & set(sys.modules))"
    )
    loaded = subprocess.run(  # noqa: S603 - the line above
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert loaded.stdout.strip() == "set()"


def test_the_ini_option_installs_for_the_whole_run(tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(
        "import boto3\n"
        "from moto import mock_aws\n"
        "@mock_aws\n"
        "def test_theirs():\n"
        "    client = boto3.client('rekognition', region_name='us-east-1')\n"
        "    client.create_collection(CollectionId='staff')\n"
        "    assert client.list_collections()['CollectionIds'] == ['staff']\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nrekognition_moto = true\n")
    run = _pytest(cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    run = _pytest(cwd=tmp_path)
    assert run.returncode == 1
    assert "NotImplementedError" in run.stdout


def test_the_session_fixture_installs_when_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(
        "import boto3\n"
        "from moto import mock_aws\n"
        "def test_theirs(rekognition_moto):\n"
        "    with mock_aws():\n"
        "        client = boto3.client('rekognition', region_name='us-east-1')\n"
        "        assert client.list_collections()['CollectionIds'] == []\n"
    )
    run = _pytest(cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr


def test_without_moto_the_fixture_works_the_same(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "import sys\n"
        "from importlib.abc import MetaPathFinder\n"
        "class NoMoto(MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'moto': raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, NoMoto())\n"
        "import importlib.util\n"
        "found = importlib.util.find_spec\n"
        "import rekadapter.testing.pytest_plugin as plugin\n"
        "plugin.find_spec = lambda name: None if name == 'moto' else found(name)\n"
    )
    (tmp_path / "test_theirs.py").write_text(
        "import sys\n"
        "import boto3, pytest\n"
        "from rekadapter.errors import ConfigError\n"
        "from rekadapter.testing.rekognition import install, picture_of\n"
        "def test_theirs(rekognition_mock):\n"
        "    client = boto3.client('rekognition')\n"
        "    rekognition_mock.put_object('pictures', 'a', picture_of('alice'))\n"
        "    where = {'Bucket': 'pictures', 'Name': 'a'}\n"
        "    assert len(client.detect_faces(Image={'S3Object': where})['FaceDetails']) == 1\n"
        "    assert 'moto' not in sys.modules\n"
        "def test_install_says_what_is_missing():\n"
        "    with pytest.raises(ConfigError, match=r'rekadapter\\[moto\\]'):\n"
        "        install()\n"
    )
    run = _pytest(cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_example_passes(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path)  # this project's own settings stay out
    run = _pytest(cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "1 passed" in run.stdout
