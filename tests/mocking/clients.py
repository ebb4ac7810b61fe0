"""Clients of the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_rekognition import RekognitionClient


def one_attempt(region: str = "us-east-1", **settings: object) -> RekognitionClient:
    """boto3 without retries, so that a test sees each answer."""
    config = Config(retries={"total_max_attempts": 1}, **settings)  # type: ignore[arg-type]  # a test's own settings
    return boto3.client("rekognition", region_name=region, config=config)
