"""Numbers on the command line: whatever is given, an answer or a clear line, never a surprise."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Callable, Iterator
from typing import Any, get_args, get_type_hints

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from rekadapter.cli import run
from rekadapter.cli.app import app
from rekadapter.errors import UsageError
from rekadapter.evaluation.rules import parse_rules


def _commands(group: typer.Typer, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for command in group.registered_commands:
        callback = command.callback
        assert callback is not None
        name = command.name or callback.__name__.replace("_", "-")
        yield " ".join((*path, name)), callback
    for below in group.registered_groups:
        assert below.typer_instance is not None
        yield from _commands(below.typer_instance, (*path, str(below.name)))


def _numeric_options() -> Iterator[Any]:
    """Of every command, every option that is a number, with its declaration."""
    for command, callback in _commands(app):
        for name, hint in get_type_hints(callback, include_extras=True).items():
            kind, *rest = get_args(hint) or (None,)
            if rest and {int, float} & {kind, *get_args(kind)}:
                yield pytest.param(command, name, rest[0], id=f"{command} {name}")


OPTIONS = list(_numeric_options())


def test_the_options_are_found() -> None:
    assert len(OPTIONS) > 20


@pytest.mark.parametrize(("command", "name", "option"), OPTIONS)
def test_every_number_has_both_bounds_and_refuses_nan(command: str, name: str, option: Any) -> None:
    assert option.min is not None, f"{command} {name} has no lower bound: use options.number"
    assert option.max is not None, f"{command} {name} has no upper bound: use options.number"
    assert math.isfinite(option.min)
    assert math.isfinite(option.max)
    refuse: Callable[[float], float] = option.callback
    with pytest.raises(typer.BadParameter):
        refuse(math.nan)
    assert refuse(option.min) == option.min


def _outcome(arguments: list[str]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(arguments)
    return code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e308", "-1", "1e-400x"])
@pytest.mark.parametrize(
    "option",
    [
        "--people-per-hour",
        "--seconds-in-view",
        "--hours",
        "--shots",
        "--shot-kb",
        "--fps",
        "--frame-kb",
        "--cameras",
        "--uplink",
        "--duration",
    ],
)
def test_a_number_that_makes_no_sense_is_a_clear_line(option: str, value: str) -> None:
    code, _, err = _outcome(["plan", f"{option}={value}"])
    assert code == 2
    assert "internal error" not in err
    assert err.count("\n") == 1


def _any_number(least: float, most: float) -> st.SearchStrategy[str]:
    sensible = st.floats(least, most) | st.sampled_from([least, most])
    return st.one_of(sensible, st.floats(), st.integers()).map(repr)


@settings(max_examples=30, deadline=None)
@given(
    shots=_any_number(0, 10_000),
    people=_any_number(0, 1e6),
    seconds=_any_number(0, 86_400),
    kilobytes=_any_number(0.1, 5000),
    fps=_any_number(0.01, 1000),
    cameras=st.integers(-(10**20), 10**20) | st.integers(1, 100_000),
    bits=st.floats(0, 1e13),
)
def test_a_plan_is_finite_numbers_or_a_usage_error(
    shots: str, people: str, seconds: str, kilobytes: str, fps: str, cameras: int, bits: float
) -> None:
    given_numbers = {
        "--shots": shots,
        "--people-per-hour": people,
        "--seconds-in-view": seconds,
        "--shot-kb": kilobytes,
        "--fps": fps,
        "--cameras": str(cameras),
        "--uplink": f"{bits!r}bit/s",
    }
    code, out, err = _outcome(["plan", "--json", *(f"{k}={v}" for k, v in given_numbers.items())])
    assert code in {0, 2}, err
    if code == 0:
        json.loads(out, parse_constant=pytest.fail)
    else:
        assert not out


@pytest.mark.parametrize(
    "rules",
    [
        {"seed": -1},
        {"target_fpir": math.nan},
        {"requirements": {"max_group_ratio": math.inf}},
        {"cost": {"hardware_usd": 1e300}},
        {"cost": {"searches_per_month": 10**30}},
        {"street": {"prevalences": [math.nan]}},
        {"resamples": 10**12},
    ],
)
def test_a_rule_that_makes_no_sense_is_named(rules: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(rules))):
        parse_rules(rules, "evaluation.toml")
