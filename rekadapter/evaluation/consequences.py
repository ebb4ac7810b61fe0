"""What a rate means on the street: false alerts a day, and how many alerts are right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Consequence:
    """``prevalence``: share of the faces seen that belong to people in the gallery.

    ``precision`` is the share of alerts that are right (positive predictive value); None where
    there would be no alerts at all.
    """

    prevalence: float
    true_alerts_per_day: float
    false_alerts_per_day: float
    precision: float | None


def consequences(
    faces_per_day: float, fpir: float, tpir: float, prevalences: Sequence[float]
) -> tuple[Consequence, ...]:
    """Alerts a day for each prevalence. Prevalence is the user's assumption: show several."""
    if faces_per_day < 0 or not all(0 <= share <= 1 for share in (fpir, tpir, *prevalences)):
        raise ValueError("faces are not negative; rates and prevalences lie between 0 and 1")
    rows = []
    for prevalence in prevalences:
        right = faces_per_day * prevalence * tpir
        wrong = faces_per_day * (1 - prevalence) * fpir
        alerts = right + wrong
        rows.append(Consequence(prevalence, right, wrong, right / alerts if alerts else None))
    return tuple(rows)
