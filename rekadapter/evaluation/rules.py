"""What a user fixes before the first search: targets, requirements, costs, governance.

It comes from an ``evaluation.toml``; an unknown key is an error. Defaults that nobody stated are
proposals, and the report marks them as such.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rekadapter.errors import UsageError

Share = Annotated[float, Field(gt=1e-12, lt=1, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=10**12)]

RULES_FILE: Final = "evaluation.toml"


class Table(BaseModel):
    """A table of the file: no unknown keys, never changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Requirements(Table):
    """What the gates hold the measurements against. Each default is a proposal."""

    max_fnir: Share = 0.10
    max_failed_requests: Share = 0.01
    max_p95_seconds: Amount = 2.0
    max_group_ratio: float = Field(default=2.0, gt=1, le=1e6)
    monthly_budget_usd: Amount | None = None


class OneToOne(Table):
    """What comparisons (1:1) are held against: the FMR of the primary comparison, others to show,
    and the largest FNMR. Each default is a proposal."""

    target_fmr: Share = 0.001
    targets: tuple[Share, ...] = (0.01, 0.001, 0.0001)
    max_fnmr: Share = 0.05

    @property
    def all_targets(self) -> tuple[float, ...]:
        """Every target FMR, the primary one among them, highest first."""
        return tuple(sorted({*self.targets, self.target_fmr}, reverse=True))


class SweepStream(Table):
    """A camera's stream that the sweep codes its pictures as: even sides, as video has them."""

    codec: Literal["h264", "hevc", "mjpeg"] = "h264"
    kbps: float = Field(ge=16, le=200_000, allow_inf_nan=False)
    width: int = Field(default=1920, ge=64, le=7680, multiple_of=2)
    height: int = Field(default=1080, ge=64, le=4320, multiple_of=2)
    fps: float = Field(default=25, ge=1, le=60, allow_inf_nan=False)

    @property
    def words(self) -> str:
        """How tables name it."""
        return f"{self.codec} {self.width}x{self.height}, {self.fps:g}/s, {self.kbps:g} kbit/s"


class Sweep(Table):
    """The resolution sweep: pixels between the eyes to try, JPEG quality, the streams to code the
    pictures as besides, and the share of misses that a camera may cost (without one,
    ``requirements.max_fnir``)."""

    eye_px: tuple[Annotated[float, Field(ge=4, le=400)], ...] = (120, 80, 60, 40, 30, 20, 15, 10)
    quality: int = Field(default=80, ge=20, le=95)
    streams: tuple[SweepStream, ...] = Field(default=(), max_length=8)
    max_fnir: Share | None = None


class CostInputs(Table):
    """The user's own figures. What is not given is not in the sum, and the report says so."""

    searches_per_month: Count | None = None
    faces_stored: Count | None = None
    egress_usd_per_gb: Amount | None = None
    hardware_usd: Amount | None = None
    hardware_life_months: int = Field(default=36, ge=1, le=1200)
    power_usd_per_month: Amount | None = None
    licence_usd_per_month: Amount | None = None
    admin_hours_per_month: Amount | None = None
    admin_usd_per_hour: Amount | None = None
    review_seconds_per_alert: Amount | None = None
    reviewer_usd_per_hour: Amount | None = None


class Street(Table):
    """What turns a rate into alerts a day: the user's assumptions."""

    faces_per_day: Amount = 10_000
    prevalences: tuple[Share, ...] = (0.00001, 0.0001, 0.001, 0.01)


class Retention(Table):
    """How long each kind of data is kept."""

    probe_nonmatch: str | None = None
    probe_match: str | None = None
    gallery: str | None = None
    logs: str | None = None


class Review(Table):
    """Who looks at an alert before anything happens."""

    min_reviewers: Count | None = None
    training: str | None = None
    sole_basis: bool | None = None


class ThresholdPolicy(Table):
    """Who owns the threshold, and where its changes are written down."""

    owner: str | None = None
    change_log: str | None = None


class ReTest(Table):
    """When this is measured again."""

    interval: str | None = None
    triggers: str | None = None


class Governance(Table):
    """What no measurement can supply. A field that is missing stands out in the report."""

    purpose: str | None = None
    deciding_authority: str | None = None
    final_or_support: str | None = None
    out_of_scope: str | None = None
    legal_basis: str | None = None
    notice_date: str | None = None
    consent_method: str | None = None
    signage_url: str | None = None
    data_policy: str | None = None
    redress_contact: str | None = None
    dpia_or_fria_url: str | None = None
    incident_log: str | None = None
    label_source: str | None = None
    expiry: str | None = None
    retention: Retention = Retention()
    review: Review = Review()
    threshold_policy: ThresholdPolicy = ThresholdPolicy()
    re_test: ReTest = ReTest()


class Rules(Table):
    """Everything that is fixed beforehand."""

    name: str = "Evaluation"
    mode: Literal["identification", "investigation"] = "identification"
    seed: int = Field(default=5, ge=0, lt=2**63)
    target_fpir: Share = 0.01
    targets: tuple[Share, ...] = (0.1, 0.03, 0.01, 0.003)
    rank: int | None = Field(default=None, ge=1)
    margin: Share = 0.02
    holdout_share: Share = 0.5
    calibration_share: Share = 0.4
    enroll_photos: int = Field(default=1, ge=1)
    balance: tuple[str, ...] = ()
    reference_groups: dict[str, str] = Field(default_factory=dict)
    max_candidates: int | None = Field(default=None, ge=1)
    resamples: int = Field(default=2000, ge=100, le=1_000_000)
    permutations: int = Field(default=9999, ge=99, le=10_000_000)
    camera_hours: dict[str, Amount] = Field(default_factory=dict)
    requirements: Requirements = Requirements()
    one_to_one: OneToOne = OneToOne()
    sweep: Sweep = Sweep()
    cost: CostInputs = CostInputs()
    street: Street = Street()
    governance: Governance = Governance()

    @property
    def all_targets(self) -> tuple[float, ...]:
        """Every target FPIR, the primary one among them, highest first."""
        return tuple(sorted({*self.targets, self.target_fpir}, reverse=True))


def parse_rules(table: dict[str, object], where: str) -> Rules:
    """Rules from a parsed TOML table.

    Raises:
        UsageError: an unknown key or a value without meaning, named with ``where``.
    """
    try:
        return Rules.model_validate(table)
    except ValidationError as error:
        raise UsageError(f"{where}: {explained(error)}") from error


def explained(error: ValidationError) -> str:
    """A validation error in one line: which key, and what is wrong with it."""
    parts = (
        f"'{'.'.join(str(step) for step in part['loc'])}': {part['msg'].lower()}"
        for part in error.errors()
    )
    return "; ".join(parts)


def read_toml(file: Path) -> dict[str, object]:
    """A TOML file as a table.

    Raises:
        UsageError: it cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not valid TOML: {error}") from error
