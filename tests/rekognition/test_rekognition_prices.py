"""Prices come from a dated file with sources; an unknown price is never made up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.backends.rekognition.limits import OPERATIONS
from rekadapter.backends.rekognition.prices import STORAGE, PriceList
from rekadapter.errors import ConfigError

PRICES = PriceList.load()


def test_every_price_has_a_source_and_a_date() -> None:
    assert PRICES.prices
    for price in PRICES.prices:
        assert price.source
        assert price.as_of.year >= 2025
    assert len(PRICES.sources()) == len(PRICES.prices)


@pytest.mark.parametrize(
    "operation", ["SearchFaces", "SearchFacesByImage", "IndexFaces", "CompareFaces"]
)
def test_group_one_is_priced_where_the_price_is_known(operation: str) -> None:
    known = PRICES.price_of(operation, "us-east-1")
    assert known is not None
    assert known.first_usd == 0.001
    mumbai = PRICES.price_of(operation, "ap-south-1")
    assert mumbai is not None
    assert mumbai.first_usd == 0.00125


def test_an_unknown_region_or_operation_has_no_price() -> None:
    assert PRICES.price_of("SearchFacesByImage", "eu-south-2") is None
    assert PRICES.price_of("StartFaceSearch", "us-east-1") is None


def test_housekeeping_is_free_everywhere_and_users_and_starts_have_no_price() -> None:
    housekeeping = PRICES.price_of("ListFaces", "eu-south-2")
    assert housekeeping is not None
    assert housekeeping.first_usd == 0
    # AWS does not say to which group the operations on users belong; what a job costs depends on
    # the length of its video, not known when it is started
    unknown = {name for name in OPERATIONS if PRICES.price_of(name, "us-east-1") is None}
    assert unknown == {
        "AssociateFaces",
        "CreateUser",
        "DeleteUser",
        "DisassociateFaces",
        "ListUsers",
        "SearchUsers",
        "SearchUsersByImage",
        "StartFaceDetection",
        "StartFaceSearch",
    }
    assert PRICES.price_of(STORAGE, "us-east-1") is not None


def test_a_month_goes_through_the_tiers() -> None:
    price = PRICES.price_of("SearchFacesByImage", "us-east-1")
    assert price is not None
    # one camera, one search a second, 30 days
    assert price.total_usd(2_592_000) == pytest.approx(1000 + 1_592_000 * 0.0008)
    assert price.total_usd(40_000_000) == pytest.approx(1000 + 3200 + 18_000 + 2000)


def test_beyond_the_tiers_that_are_known_there_is_no_total() -> None:
    price = PRICES.price_of("SearchFacesByImage", "ap-south-1")
    assert price is not None
    assert price.total_usd(1_000_000) == pytest.approx(1250)
    assert price.total_usd(1_000_001) is None


@given(st.integers(0, 50_000_000), st.integers(0, 50_000_000))
def test_more_units_never_cost_less(few: int, more: int) -> None:
    price = PRICES.price_of("SearchFacesByImage", "us-east-1")
    assert price is not None
    low, high = price.total_usd(min(few, more)), price.total_usd(max(few, more))
    assert low is not None
    assert high is not None
    assert low <= high + 1e-9


def test_a_file_of_the_users_own_is_read_or_refused(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'note = "negotiated"\n[[price]]\nitem = "image"\nunit = "image"\n'
        'operations = ["SearchFacesByImage"]\nregions = ["eu-central-1"]\n'
        'tiers = [{ usd = 0.0009 }]\nsource = "contract 7"\nas_of = 2026-11-01\n'
    )
    price = PriceList.load(mine).price_of("SearchFacesByImage", "eu-central-1")
    assert price is not None
    assert price.first_usd == 0.0009
    mine.write_text("note = 3")
    with pytest.raises(ConfigError, match=r"mine\.toml"):
        PriceList.load(mine)
    with pytest.raises(ConfigError, match="cannot be read"):
        PriceList.load(tmp_path / "none.toml")


def test_reading_prices_does_not_import_boto3() -> None:
    code = (
        "import sys; from rekadapter.backends.rekognition.prices import PriceList; "
        "PriceList.load(); "
        "assert not {'boto3', 'botocore'} & set(sys.modules)"
    )
    done = subprocess.run(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
