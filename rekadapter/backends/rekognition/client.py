"""Opens the backend: AWS's own settings and credential chain, with botocore's retries off."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from rekadapter import __version__
from rekadapter.backends.rekognition.calls import Account, Caller
from rekadapter.backends.rekognition.errors import translate
from rekadapter.backends.rekognition.limits import (
    OPERATIONS,
    RequestLimiter,
    default_requests_per_second,
)
from rekadapter.backends.rekognition.options import RekognitionOptions
from rekadapter.backends.rekognition.prices import STORED_VIDEO, PriceList
from rekadapter.backends.rekognition.recognizer import RekognitionRecognizer, Setup
from rekadapter.backends.rekognition.retry import RetryPolicy
from rekadapter.backends.rekognition.wire import Wire
from rekadapter.errors import ConfigError, CredentialsError, StoppedError
from rekadapter.recognizer import BackendContext


def open_recognizer(
    name: str, options: Mapping[str, object], context: BackendContext
) -> RekognitionRecognizer:
    """See ``open_rekognition``."""
    chosen = RekognitionOptions.read(name, options)
    client = open_client(name, chosen)
    region = str(client.meta.region_name)
    prices = PriceList.load(chosen.prices)
    wire = Wire(context.pacer)
    wire.attach(client)
    rates = {
        operation: chosen.requests_per_second.get(
            operation, default_requests_per_second(operation, region)
        )
        for operation in OPERATIONS
    }
    caller = Caller(
        client,
        Account(name, region, prices, context.request_log, context.price_budget),
        wire=wire,
        limiter=RequestLimiter(rates),
        retry=RetryPolicy(chosen.deadline_seconds, sleep=_sleeping_until(context.stop)),
    )
    minute = prices.price_of(STORED_VIDEO, region)
    setup = Setup(
        backend=name,
        region=region,
        endpoint=str(client.meta.endpoint_url),
        botocore_version=botocore.__version__,
        max_image_bytes=chosen.max_image_bytes,
        jpeg_quality=chosen.jpeg_quality,
        min_face_px=chosen.min_face_px,
        price_sources=prices.sources(),
        video_minute_usd=None if minute is None else minute.first_usd,
    )
    return RekognitionRecognizer(caller, setup, sleep=_sleeping_until(context.stop))


def open_client(name: str, options: RekognitionOptions) -> Any:  # noqa: ANN401 - made at run time
    """A boto3 client that tries once; nothing is sent yet.

    Raises:
        ConfigError: no region, a region without Rekognition, no such profile, a bad endpoint.
        CredentialsError: the credential chain found none.
    """
    about = f"backend '{name}'"
    if options.unsigned and options.endpoint_url is None:
        raise ConfigError(f"{about}: AWS takes no unsigned requests: give endpoint_url too")
    with _settings_errors(about):
        # AWS's other SDKs and tools read AWS_REGION; boto3 only AWS_DEFAULT_REGION
        region = options.region or os.environ.get("AWS_REGION")
        session = boto3.Session(profile_name=options.profile, region_name=region)
        client = session.client(
            "rekognition",
            endpoint_url=options.endpoint_url,
            config=Config(
                retries={"total_max_attempts": 1},
                connect_timeout=options.connect_timeout,
                read_timeout=options.read_timeout,
                max_pool_connections=options.max_connections,
                # what is sent is built and typed here; AWS checks it, and a check costs each call
                parameter_validation=False,
                # botocore's own is built anew for each request and is 200 bytes longer on the wire
                user_agent=f"rekadapter/{__version__} Botocore/{botocore.__version__}",
                signature_version=UNSIGNED if options.unsigned else None,
            ),
        )
        # the client has asked the chain already; this reads what it found
        credentials = session.get_credentials()
        _refuse_endpoint(about, session, client)
    if credentials is None and not options.unsigned:
        raise CredentialsError(
            f"{about}: AWS's credential chain found no credentials: run `aws configure` or "
            "`aws sso login`, or set AWS_PROFILE"
        )
    return client


def _sleeping_until(stop: threading.Event) -> Callable[[float], None]:
    """A sleep that the end of a run cuts short."""

    def sleep(seconds: float) -> None:
        if stop.wait(seconds):
            raise StoppedError("the run was stopped while it waited to ask again")

    return sleep


@contextmanager
def _settings_errors(about: str) -> Iterator[None]:
    try:
        yield
    except BotoCoreError as error:
        raise translate(error, "opening the client", about) from error
    except ValueError as error:
        raise ConfigError(f"{about}: AWS's settings or endpoint_url: {error}") from error


def _refuse_endpoint(about: str, session: boto3.Session, client: Any) -> None:  # noqa: ANN401
    endpoint = urlsplit(client.meta.endpoint_url)
    if "@" in endpoint.netloc:
        raise ConfigError(f"{about}: an endpoint may not hold a user name or password")
    host = endpoint.hostname or ""
    if not host.startswith("rekognition."):
        return  # an endpoint of the user's own: its region is only a name
    region = client.meta.region_name
    known = {
        place
        for partition in session.get_available_partitions()
        for place in session.get_available_regions("rekognition", partition_name=partition)
    }
    if region not in known:
        raise ConfigError(
            f"{about}: this version of botocore ({botocore.__version__}) knows no Rekognition in "
            f"region '{region}': use one of {', '.join(sorted(known))}; for a newer region update "
            "botocore or give endpoint_url"
        )
