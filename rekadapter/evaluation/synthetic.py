"""Made-up scores whose true error rates are known, to test an evaluation without faces.

A score is normal: a mean, plus an effect of the person (some people are hard to match, and stay
so), plus noise of the image. Error rates follow in closed form, so that an interval can be held
against the truth. Nothing here resembles a real system; never report these figures as one's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from rekadapter.evaluation.columns import Names
from rekadapter.evaluation.outcomes import (
    Failure,
    GroupLabel,
    PersonId,
    RankedSubjects,
    SearchOutcome,
)
from rekadapter.evaluation.statistics import FloatArray, IntArray

_QUADRATURE_POINTS = 80


@dataclass(frozen=True, slots=True)
class ScoreModel:
    """Normal scores. The defaults give FNMR 2.4 % and FMR 0.1 % at threshold 0.40.

    ``person_sd`` is the spread of people's effects on their mated scores, ``lookalike_sd`` that of
    each person's effect on scores with others, ``image_sd`` the noise of one comparison.
    ``failure_rate`` is the share of probes that give nothing to search with.
    """

    mated_mean: float = 0.6086
    nonmated_mean: float = 0.0740
    person_sd: float = 0.09
    lookalike_sd: float = 0.0636
    image_sd: float = 0.055
    failure_rate: float = 0.0

    def shifted(self, mated: float, nonmated: float) -> ScoreModel:
        """The model of a group whose scores lie higher or lower by so much."""
        return ScoreModel(
            self.mated_mean + mated,
            self.nonmated_mean + nonmated,
            self.person_sd,
            self.lookalike_sd,
            self.image_sd,
            self.failure_rate,
        )

    def fnmr(self, threshold: float) -> float:
        """True FNMR: also the true FNIR of a list without a rank limit."""
        spread = math.hypot(self.person_sd, self.image_sd)
        missed = NormalDist(self.mated_mean, spread).cdf(threshold)
        return self.failure_rate + (1 - self.failure_rate) * missed

    def fmr(self, threshold: float) -> float:
        """True FMR between two people, both with effects, without failures."""
        spread = math.sqrt(2 * self.lookalike_sd**2 + self.image_sd**2)
        return 1 - NormalDist(self.nonmated_mean, spread).cdf(threshold)

    def fpir(self, threshold: float, gallery: int) -> float:
        """True FPIR of ``gallery`` people who have no effects of their own, only the probe has.

        The probe's effect is integrated by Gauss-Hermite quadrature.
        """
        nodes, weights = np.polynomial.hermite_e.hermegauss(_QUADRATURE_POINTS)
        noise = NormalDist(self.nonmated_mean, self.image_sd)
        quiet = [noise.cdf(threshold - self.lookalike_sd * node) ** gallery for node in nodes]
        alarmed = 1 - float(np.dot(weights, quiet) / weights.sum())
        return (1 - self.failure_rate) * alarmed


# --- scores as arrays, for simulations --------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class MatedScores:
    """Mated scores (n,) and whose they are (n,)."""

    scores: FloatArray
    people: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class PairScores:
    """Non-mated scores of all pairs (n,) and both people of each (n,)."""

    scores: FloatArray
    first: IntArray
    second: IntArray


def mated_scores(
    model: ScoreModel, people: int, captures: int, rng: np.random.Generator
) -> MatedScores:
    """Scores of each person's captures with the person's own template."""
    codes = np.repeat(np.arange(people), captures)
    effects = rng.normal(0, model.person_sd, people)
    noise = rng.normal(0, model.image_sd, codes.size)
    return MatedScores(model.mated_mean + effects[codes] + noise, codes)


def pair_scores(model: ScoreModel, people: int, rng: np.random.Generator) -> PairScores:
    """One score for each pair of people."""
    first, second = np.triu_indices(people, 1)
    effects = rng.normal(0, model.lookalike_sd, people)
    noise = rng.normal(0, model.image_sd, first.size)
    scores = model.nonmated_mean + effects[first] + effects[second] + noise
    return PairScores(scores, first, second)


# --- searches as outcomes ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GroupModel:
    """A group: its share of the people, and how its scores are shifted."""

    label: GroupLabel
    share: float
    mated_shift: float = 0.0
    nonmated_shift: float = 0.0


@dataclass(frozen=True, slots=True)
class SearchDesign:
    """Who is searched and enrolled.

    The first ``mated_people`` of the ``gallery`` are searched, and ``nonmated_people`` others. The
    ``seed`` fixes the people: two systems run on the same design search the same people, and the
    share ``agreement`` of a person's effect is common to both.
    """

    gallery: int
    mated_people: int
    nonmated_people: int
    captures: int = 1
    groups: tuple[GroupModel, ...] = ()
    agreement: float = 0.5
    seed: int = 5

    def __post_init__(self) -> None:
        if not 0 <= self.mated_people <= self.gallery:
            raise ValueError("mated people are part of the gallery")
        if self.groups and not math.isclose(sum(group.share for group in self.groups), 1):
            raise ValueError("the shares of the groups sum to 1")

    @property
    def gallery_people(self) -> tuple[PersonId, ...]:
        return tuple(PersonId(f"g{index:05d}") for index in range(self.gallery))


def simulate_searches(
    design: SearchDesign, model: ScoreModel, system: int = 0
) -> tuple[SearchOutcome, ...]:
    """Complete candidate lists of one system; ``system`` numbers the systems of one design."""
    shared = np.random.default_rng([design.seed, 0])
    own = np.random.default_rng([design.seed, 1 + system])
    return tuple(
        outcome
        for mated, count in ((True, design.mated_people), (False, design.nonmated_people))
        for outcome in _searches(
            _Side(design, mated, _effects(design, count, shared, own)), model, own
        )
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """Mated or non-mated people of a design, and their effects (people,) in standard units."""

    design: SearchDesign
    mated: bool
    effects: FloatArray


def _effects(
    design: SearchDesign, people: int, shared: np.random.Generator, own: np.random.Generator
) -> FloatArray:
    """Effects that two systems of one design have in common up to ``agreement``."""
    common, private = shared.normal(size=people), own.normal(size=people)
    mixed: FloatArray = (
        math.sqrt(design.agreement) * common + math.sqrt(1 - design.agreement) * private
    )
    return mixed


def _searches(side: _Side, model: ScoreModel, rng: np.random.Generator) -> Iterator[SearchOutcome]:
    gallery = side.design.gallery
    names = Names()
    names.codes(side.design.gallery_people)
    for index, effect in enumerate(side.effects):
        group = _group(side.design.groups, index, side.effects.size)
        own = model.shifted(group.mated_shift, group.nonmated_shift) if group else model
        person = PersonId(f"{'g' if side.mated else 'n'}{index:05d}")
        for capture in range(side.design.captures):
            scores = rng.normal(own.nonmated_mean, own.image_sd, gallery)
            if side.mated:
                scores[index] = rng.normal(own.mated_mean + own.person_sd * effect, own.image_sd)
            else:
                scores += own.lookalike_sd * effect
            failed = rng.random() < own.failure_rate
            yield SearchOutcome(
                search_id=f"{person}-{capture}",
                person=person,
                mated=side.mated,
                candidates=() if failed else _ranked(names, scores),
                failure=Failure("NO_FACE") if failed else None,
                groups=(group.label,) if group else (),
            )


def _ranked(names: Names, scores: FloatArray) -> RankedSubjects:
    """The first names of all, as many as there are scores, best first."""
    order = np.argsort(-scores)
    return RankedSubjects(names, order.astype(np.int32), scores[order])


def _group(groups: Sequence[GroupModel], index: int, people: int) -> GroupModel | None:
    """Groups in blocks of their shares, so that a person's group does not hang on chance."""
    position, passed = (index + 0.5) / people, 0.0
    for group in groups:
        passed += group.share
        if position < passed + 1e-12:
            return group
    return groups[-1] if groups else None
