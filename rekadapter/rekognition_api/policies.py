"""Who may do what: a small part of IAM. Only what a grant names is allowed; nothing is denied by
rule, because nothing is allowed without one.

An operation on a collection is on that collection's ARN. ListCollections, DetectFaces, CompareFaces
and whatever else names no resource need a grant on ``*``; a list is never cut down to what its
reader may see, as in IAM.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final

from rekadapter.errors import ConfigError
from rekadapter.rekognition_api.codec import (
    ConstraintError,
    MalformedError,
    decode,
    parse_object,
)
from rekadapter.rekognition_api.faults import Fault, FaultError
from rekadapter.rekognition_api.model import OperationModel, Shape, load_model
from rekadapter.rekognition_api.operations import OPERATIONS

ANYTHING: Final = "*"
_ACTION: Final = re.compile(r"rekognition:([A-Za-z*?]+)")
_ARN: Final = re.compile(r"arn:[^:]*:rekognition:[^:]*:[^:]*:.+")
_GALLERY: Final = re.compile(r"[a-zA-Z0-9_.\-*?]+")
_ARN_PARTS: Final = 6
_PROCESSOR: Final = "StreamProcessor"


@dataclass(frozen=True, slots=True)
class Grant:
    """Operations allowed on resources; made by ``grant``. ``on_anything`` covers operations that
    name no resource."""

    actions: tuple[re.Pattern[str], ...]
    resources: tuple[re.Pattern[str], ...]
    on_anything: bool

    def allows(self, operation: str, resource: str | None) -> bool:
        """``operation`` by its name alone, ``resource`` an ARN, or None where there is none."""
        if not any(action.fullmatch(operation) for action in self.actions):
            return False
        if self.on_anything or resource is None:
            return self.on_anything
        return any(pattern.fullmatch(resource) for pattern in self.resources)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is: what ARNs say of them, and what they may do."""

    account: str
    user: str
    grants: tuple[Grant, ...]

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:user/{self.user}"

    def may(self, operation: str, resource: str | None) -> bool:
        return any(grant.allows(operation, resource) for grant in self.grants)


def grant(
    actions: Iterable[str], *, resources: Iterable[str], galleries: Iterable[str], account: str
) -> Grant:
    """A grant as it is written down: ``rekognition:Search*`` on ARNs, or on galleries by name (of
    ``account``, in any region). ``*`` stands for any characters, ``?`` for one; in an ARN neither
    crosses a colon before the resource's name.

    Raises:
        ConfigError: nothing named, a pattern of another form, or an action that Rekognition lacks.
    """
    arns = [*resources, *(_arn_of(gallery, account) for gallery in galleries)]
    made = tuple(_action(pattern) for pattern in actions)
    if not made or not arns:
        raise ConfigError("a grant needs actions, and resources or galleries")
    return Grant(
        actions=made,
        resources=tuple(_resource(arn) for arn in arns),
        on_anything=ANYTHING in arns,
    )


class Authorizer:
    """Decides before any work is done. Safe to call from several threads.

    ``operations`` are those whose requests name resources that it knows how to find; any other
    needs a grant on ``*``.
    """

    def __init__(self, operations: Iterable[str] = OPERATIONS) -> None:
        self._model = load_model(operations)

    def check(self, caller: Caller, operation: str, body: bytes, region: str) -> None:
        """Passes if every resource of the request is allowed.

        The body is read with the service's own parser, so both see the same request, and by the
        operation's own members, so a member that the operation ignores opens nothing.

        Raises:
            FaultError: AccessDeniedException naming the ARN; SerializationException where the body
                has to be read and cannot.
        """
        if caller.may(operation, None):
            return
        for resource in self._resources(operation, body, caller.account, region):
            if not caller.may(operation, resource):
                raise FaultError(_denied(caller, operation, resource))

    def _resources(
        self, operation: str, body: bytes, account: str, region: str
    ) -> list[str | None]:
        """What the request is about; None stands for no resource, or one without a valid name."""
        known = self._model.operations.get(operation)
        if known is None:
            return [None]
        try:
            members = parse_object(body)
        except MalformedError as error:
            raise FaultError(Fault("SerializationException", str(error))) from error
        named = _Named(known, members, f"arn:aws:rekognition:{region}:{account}")
        return named.resources()


@dataclass(frozen=True, slots=True)
class _Named:
    """Names of resources in a request."""

    operation: OperationModel
    members: object
    prefix: str

    def resources(self) -> list[str | None]:
        found: list[str | None] = []
        if "CollectionId" in self.operation.takes.members:
            found.append(self._arn("collection", ["CollectionId"]))
        if "ResourceArn" in self.operation.takes.members:
            found.append(self._text(["ResourceArn"]))
        if self.operation.name.endswith(_PROCESSOR):
            found += self._of_processor()
        return found or [None]

    def _of_processor(self) -> list[str | None]:
        found = [self._arn("streamprocessor", ["Name"])]
        if self.operation.name == f"Create{_PROCESSOR}":
            found.append(self._arn("collection", ["Settings", "FaceSearch", "CollectionId"]))
        return found

    def _arn(self, kind: str, path: list[str]) -> str | None:
        name = self._text(path)
        return None if name is None else f"{self.prefix}:{kind}/{name}"

    def _text(self, path: list[str]) -> str | None:
        """A text that the service would take; what it would refuse is not repeated to anybody."""
        shape: Shape = self.operation.takes
        value = self.members
        for step in path:
            members = getattr(shape, "members", {})
            if step not in members or not isinstance(value, dict):
                return None
            shape, value = members[step], value.get(step)
        return _checked(shape, value)


def _checked(shape: Shape, value: object) -> str | None:
    try:
        checked = decode(shape, value)
    except (MalformedError, ConstraintError):
        return None
    return checked if isinstance(checked, str) else None


def _denied(caller: Caller, operation: str, resource: str | None) -> Fault:
    action = f"rekognition:{operation}"
    on = "" if resource is None else f" on resource: {resource}"
    return Fault(
        "AccessDeniedException",
        f"User: {caller.arn} is not authorized to perform: {action}{on} "
        f"because no identity-based policy allows the {action} action",
    )


# --- patterns ---------------------------------------------------------------------------------


def _action(pattern: str) -> re.Pattern[str]:
    """IAM's actions are compared without regard to case."""
    form = _ACTION.fullmatch(pattern)
    if form is None and pattern != ANYTHING:
        raise ConfigError(f"{_shown(pattern)} is no action: write rekognition:NAME or *")
    made = re.compile(_wild(form[1] if form else ANYTHING, "."), re.IGNORECASE)
    if not any(made.fullmatch(name) for name in _operation_names()):
        raise ConfigError(f"{_shown(pattern)} is none of Rekognition's operations")
    return made


@cache
def _operation_names() -> frozenset[str]:
    return load_model(()).names


def _resource(pattern: str) -> re.Pattern[str]:
    if pattern == ANYTHING:
        return re.compile(".*", re.DOTALL)
    if not _ARN.fullmatch(pattern):
        raise ConfigError(
            f"{_shown(pattern)} is no resource: write * or "
            "arn:aws:rekognition:REGION:ACCOUNT:collection/NAME"
        )
    *head, name = pattern.split(":", _ARN_PARTS - 1)
    parts = [_wild(part, "[^:]") for part in head]
    return re.compile(":".join([*parts, _wild(name, ".")]))


def _arn_of(gallery: str, account: str) -> str:
    if not _GALLERY.fullmatch(gallery):
        raise ConfigError(f"{_shown(gallery)} is no gallery's name")
    return f"arn:aws:rekognition:*:{account}:collection/{gallery}"


def _wild(pattern: str, one: str) -> str:
    return re.escape(pattern).replace(r"\*", f"{one}*").replace(r"\?", one)


def _shown(pattern: str) -> str:
    return json.dumps(pattern)
