"""Access keys of the service: from a file or one environment variable, never logged, never shown.

The file is TOML, or JSON of the same form where its name ends in ``.json``; the variable holds the
JSON::

    [[keys]]
    id = "AKIDGATE1"
    secret = "..."
    account = "123456789012"
    user = "gate-1"                                  # in error texts; the id without it
    token = "..."                                    # only for temporary credentials
    expires = 2026-12-31T00:00:00Z                   # needs a token
    allow = [
      { actions = ["rekognition:SearchFacesByImage"], galleries = ["staff"] },
      { actions = ["rekognition:*"], resources = ["arn:aws:rekognition:*:*:collection/test-*"] },
    ]
"""

from __future__ import annotations

import json
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from rekadapter.errors import ConfigError
from rekadapter.rekognition_api.policies import Caller, grant

KEYS_VARIABLE: Final = "REKADAPTER_SERVICE_KEYS"
_OTHERS_MAY: Final = 0o077
_MAX_FILE_BYTES: Final = 1024 * 1024

_NonEmpty = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class AccessKey:
    """One key. Its secrets stay out of its ``repr``. ``expires`` has a time zone."""

    key_id: str
    caller: Caller
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Keys by their id; at least one."""

    by_id: Mapping[str, AccessKey] = field(repr=False)

    def __post_init__(self) -> None:
        if not self.by_id:
            raise ConfigError("no keys: nobody could use the service; give one [[keys]] table")

    def find(self, key_id: str) -> AccessKey | None:
        return self.by_id.get(key_id)

    @property
    def accounts(self) -> frozenset[str]:
        """Whose keys they are."""
        return frozenset(key.caller.account for key in self.by_id.values())


def read_keys(file: Path) -> KeyRing:
    """The keys of a file that only its owner can read.

    Raises:
        ConfigError: unreadable, readable or writable by others (POSIX), or not what the module
            describes.
    """
    try:
        with file.open("rb") as opened:
            _check_mode(file, os.fstat(opened.fileno()))
            content = opened.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"the keys in {file} cannot be read: {error.strerror}") from error
    if len(content) > _MAX_FILE_BYTES:
        raise ConfigError(f"{file} is too large for a file of keys")
    return _parsed(content, where=str(file), as_json=file.suffix == ".json")


def keys_from_environment(environment: Mapping[str, str]) -> KeyRing | None:
    """The keys in ``REKADAPTER_SERVICE_KEYS``, or None where it is not set.

    Raises:
        ConfigError: set, but not the JSON that the module describes.
    """
    text = environment.get(KEYS_VARIABLE)
    if not text:
        return None
    return _parsed(text.encode(errors="replace"), where=KEYS_VARIABLE, as_json=True)


def _check_mode(file: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{file} is not a file")
    if os.name == "posix" and status.st_mode & _OTHERS_MAY:
        raise ConfigError(f"{file} holds secrets but others may open it: chmod 600 {file}")


# --- the form ---------------------------------------------------------------------------------


class _Form(BaseModel):
    # a validation error would otherwise carry the secret that it complains about
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class _Grant(_Form):
    actions: list[_NonEmpty]
    resources: list[_NonEmpty] = []
    galleries: list[_NonEmpty] = []


class _Key(_Form):
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,128}$")]
    secret: Annotated[str, Field(min_length=1, pattern=r"^[!-~]+$")]
    account: Annotated[str, Field(pattern=r"^[0-9]{12}$")]
    user: Annotated[str, Field(pattern=r"^[A-Za-z0-9_+=,.@-]{1,64}$")] | None = None
    token: Annotated[str, Field(pattern=r"^[!-~]+$")] | None = None
    expires: AwareDatetime | None = None
    allow: Annotated[list[_Grant], Field(min_length=1)]


class _Keys(_Form):
    keys: list[_Key]


def _parsed(content: bytes, *, where: str, as_json: bool) -> KeyRing:
    try:
        table: Any = json.loads(content) if as_json else tomllib.loads(content.decode())
        listed = _Keys.model_validate(table).keys
    except ValidationError as error:
        raise ConfigError(f"{where}: {_explained(error)}") from error
    except (ValueError, RecursionError):
        kind = "JSON" if as_json else "TOML"
        # the parser's own error keeps the text it failed on, secrets included
        raise ConfigError(f"{where} is not valid {kind}") from None
    by_id: dict[str, AccessKey] = {}
    for number, one in enumerate(listed):
        if one.id in by_id:
            raise ConfigError(f"{where}: key {one.id} is there twice")
        by_id[one.id] = _key(one, f"{where}: keys.{number}")
    return KeyRing(by_id)


def _key(form: _Key, where: str) -> AccessKey:
    if form.expires is not None and form.token is None:
        raise ConfigError(f"{where}: 'expires' needs a 'token': only temporary credentials expire")
    try:
        grants = tuple(
            grant(
                one.actions,
                resources=one.resources,
                galleries=one.galleries,
                account=form.account,
            )
            for one in form.allow
        )
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    return AccessKey(
        key_id=form.id,
        caller=Caller(form.account, form.user or form.id, grants),
        secret=form.secret,
        token=form.token,
        expires=form.expires,
    )


def _explained(error: ValidationError) -> str:
    """Where and what, without the value: it may be a secret."""
    parts = (
        (".".join(map(str, part["loc"])), str(part["msg"]).lower())
        for part in error.errors(include_input=False, include_url=False, include_context=False)
    )
    return "; ".join(f"'{where}': {what}" for where, what in parts)
