"""Settings: a flag wins over ``REKADAPTER_*``, which wins over ``rekadapter.toml``, which wins over
the default. A key nobody knows is an error, wherever it stands.

Credentials are not settings: AWS's own chain finds them; rekadapter neither stores nor logs any.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rekadapter.errors import ConfigError

CONFIG_FILE: Final = "rekadapter.toml"
_PREFIX: Final = "REKADAPTER_"
_ENVIRONMENT: Final = ("backend", "gallery", "uplink", "data_dir", "cache_dir")
_NOT_SETTINGS: Final = frozenset(
    {"REKADAPTER_CONFIG", "REKADAPTER_DEBUG", "REKADAPTER_LIVE_AWS", "REKADAPTER_SERVICE_KEYS"}
)
_ABOUT_A_REPORT: Final = frozenset({"target_fpir", "target_fmr", "accept_larger_gallery"})


@dataclass(frozen=True, slots=True)
class ThresholdReport:
    """A report that a backend takes its threshold from: ``report.json`` or its directory, the row
    to take where not the primary one, and whether a gallery of more than twice the size is fine."""

    path: Path
    target_fpir: float | None = None
    target_fmr: float | None = None
    accept_larger_gallery: bool = False


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """A named backend: its type (an entry point), its threshold or the report it comes from if
    set (never both), and the type's options."""

    name: str
    type: str
    threshold: float | None = None
    threshold_report: ThresholdReport | None = None
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a command runs with, and the file it came from (None: no file)."""

    backend: str
    gallery: str | None
    uplink: str | None
    data_dir: Path
    cache_dir: Path
    backends: Mapping[str, BackendSettings]
    file: Path | None = None

    def backend_named(self, name: str | None) -> BackendSettings:
        """The settings of a backend; a name without a ``[backends.NAME]`` table is a type."""
        chosen = name or self.backend
        return self.backends.get(chosen, BackendSettings(name=chosen, type=chosen))


class _BackendTable(BaseModel):
    model_config = ConfigDict(extra="allow")
    type: str | None = None
    threshold: float | None = Field(default=None, allow_inf_nan=False)
    threshold_from: Path | None = None
    target_fpir: float | None = Field(default=None, gt=0, lt=1)
    target_fmr: float | None = Field(default=None, gt=0, lt=1)
    accept_larger_gallery: bool = False


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    backend: str = "local"
    gallery: str | None = None
    uplink: str | None = None
    data_dir: Path | None = None
    cache_dir: Path | None = None
    backends: dict[str, _BackendTable] = Field(default_factory=dict)


def load_settings(
    environment: Mapping[str, str], *, config: Path | None = None, directory: Path | None = None
) -> Settings:
    """Settings from ``config``, else ``REKADAPTER_CONFIG``, else ``rekadapter.toml`` in
    ``directory`` where there is one, with ``REKADAPTER_*`` of ``environment`` on top.

    Raises:
        ConfigError: a file that is missing or not TOML, an unknown key, a value without meaning.
    """
    file = _config_file(environment, config, directory or Path.cwd())
    table = _read_toml(file) if file else {}
    table.update(_from_environment(environment))
    try:
        parsed = _File.model_validate(table)
    except ValidationError as error:
        where = str(file) if file else "the environment"
        raise ConfigError(f"{where}: {explain(error)}") from error
    beside = file.parent if file else Path()
    return Settings(
        backend=parsed.backend,
        gallery=parsed.gallery,
        uplink=parsed.uplink,
        data_dir=parsed.data_dir or platformdirs.user_data_path("rekadapter"),
        cache_dir=parsed.cache_dir or platformdirs.user_cache_path("rekadapter"),
        backends={
            name: BackendSettings(
                name=name,
                type=backend.type or name,
                threshold=backend.threshold,
                threshold_report=_threshold_report(f"{file}: 'backends.{name}'", backend, beside),
                options=dict(backend.model_extra or {}),
            )
            for name, backend in parsed.backends.items()
        },
        file=file,
    )


def _threshold_report(
    where: str, backend: _BackendTable, directory: Path
) -> ThresholdReport | None:
    """What a table says of the report its threshold comes from; paths start at the file's folder.

    Raises:
        ConfigError: there is a threshold too, or something about a report and no report.
    """
    if backend.threshold_from is None:
        about = backend.model_fields_set & _ABOUT_A_REPORT
        if about:
            raise ConfigError(f"{where}: {' and '.join(sorted(about))} without threshold_from")
        return None
    if backend.threshold is not None:
        raise ConfigError(f"{where}: threshold and threshold_from contradict each other: keep one")
    return ThresholdReport(
        directory / backend.threshold_from,
        backend.target_fpir,
        backend.target_fmr,
        backend.accept_larger_gallery,
    )


def explain(error: ValidationError) -> str:
    """A validation error in one line a person can act on."""
    return "; ".join(_explain_one(dict(part)) for part in error.errors())


def _explain_one(part: Mapping[str, Any]) -> str:
    key = ".".join(str(step) for step in part["loc"])
    if part["type"] == "extra_forbidden":
        return f"unknown key '{key}'"
    return f"'{key}': {str(part['msg']).lower()}"


def _config_file(
    environment: Mapping[str, str], config: Path | None, directory: Path
) -> Path | None:
    named = config or (
        Path(environment["REKADAPTER_CONFIG"]) if environment.get("REKADAPTER_CONFIG") else None
    )
    if named is not None:
        if not named.is_file():
            raise ConfigError(f"{named} is not a file: name an existing settings file")
        return named
    beside = directory / CONFIG_FILE
    return beside if beside.is_file() else None


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    known = {_PREFIX + key.upper(): key for key in _ENVIRONMENT}
    found = {}
    for name, value in environment.items():
        if not name.startswith(_PREFIX) or name in _NOT_SETTINGS:
            continue
        if name not in known:
            raise ConfigError(f"unknown setting {name} in the environment; known: {_names(known)}")
        if value:
            found[known[name]] = value
    return found


def _names(known: Mapping[str, str]) -> str:
    return ", ".join(sorted(known))
