"""Opens the backend: AWS's own settings and credential chain, with botocore's retries off."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
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
from rekadapter.backends.rekognition.images import ImageLimits
from rekadapter.backends.rekognition.limits import (
    OPERATIONS,
    RequestLimiter,
    default_requests_per_second,
)
from rekadapter.backends.rekognition.options import RekognitionOptions
from rekadapter.backends.rekognition.prices import STORED_VIDEO, PriceList
from rekadapter.backends.rekognition.recognizer import RekognitionRecognizer, Setup
from rekadapter.backends.rekognition.retry import RetryPolicy
from rekadapter.backends.rekognition.s3_errors import S3
from rekadapter.backends.rekognition.transport import (
    DELETE_SECONDS,
    BucketPlace,
    ImageBucket,
    ImageTransport,
)
from rekadapter.backends.rekognition.wire import Stopping, Wire
from rekadapter.errors import ConfigError, CredentialsError, StoppedError
from rekadapter.recognizer import BackendContext


def open_recognizer(
    name: str, options: Mapping[str, object], context: BackendContext
) -> RekognitionRecognizer:
    """See ``open_rekognition``."""
    chosen = RekognitionOptions.read(name, options)
    session = _session(name, chosen)
    client = open_client(name, chosen, session)
    region = str(client.meta.region_name)
    prices = PriceList.load(chosen.prices)
    wire = Wire(context.pacer, Stopping(context.stop))
    account = Account(name, region, prices, context.request_log, context.price_budget)
    retry = RetryPolicy(chosen.deadline_seconds, sleep=_sleeping_until(context.stop))
    rates = {
        operation: chosen.requests_per_second.get(
            operation, default_requests_per_second(operation, region)
        )
        for operation in OPERATIONS
    }
    wire.attach(client)
    caller = Caller(client, account, wire=wire, limiter=RequestLimiter(rates), retry=retry)
    bucket = None
    if chosen.s3_bucket is not None:
        s3 = open_s3_client(name, chosen, session)
        wire.attach(s3)
        at_s3, unlimited = replace(account, service=S3), RequestLimiter({})
        soon = replace(retry, deadline_seconds=min(DELETE_SECONDS, chosen.deadline_seconds))
        bucket = ImageBucket(
            Caller(s3, at_s3, wire=wire, limiter=unlimited, retry=retry),
            Caller(s3, at_s3, wire=wire, limiter=unlimited, retry=soon),
            _place(chosen, chosen.s3_bucket),
            stop=context.stop,
        )
    limits = ImageLimits(chosen.image_bytes_allowed, chosen.jpeg_quality)
    minute = prices.price_of(STORED_VIDEO, region)
    setup = Setup(
        backend=name,
        region=region,
        endpoint=str(client.meta.endpoint_url),
        botocore_version=botocore.__version__,
        min_face_px=chosen.min_face_px,
        price_sources=prices.sources(),
        video_minute_usd=None if minute is None else minute.first_usd,
    )
    return RekognitionRecognizer(
        caller, setup, ImageTransport(limits, bucket), sleep=_sleeping_until(context.stop)
    )


def _session(name: str, options: RekognitionOptions) -> boto3.Session:
    with _settings_errors(f"backend '{name}'"):
        # AWS's other SDKs and tools read AWS_REGION; boto3 only AWS_DEFAULT_REGION
        region = options.region or os.environ.get("AWS_REGION")
        return boto3.Session(profile_name=options.profile, region_name=region)


def open_client(name: str, options: RekognitionOptions, session: boto3.Session) -> Any:  # noqa: ANN401 - made at run time
    """A boto3 client that tries once; nothing is sent yet.

    Raises:
        ConfigError: no region, a region without Rekognition, a bad endpoint.
        CredentialsError: the credential chain found none.
    """
    about = f"backend '{name}'"
    if options.unsigned and options.endpoint_url is None:
        raise ConfigError(f"{about}: AWS takes no unsigned requests: give endpoint_url too")
    with _settings_errors(about):
        signature = Config(signature_version=UNSIGNED if options.unsigned else None)
        client = session.client(
            "rekognition",
            endpoint_url=options.endpoint_url,
            config=_config(options).merge(signature),
        )
        # the client has asked the chain already; this reads what it found
        credentials = session.get_credentials()
        _refuse_endpoint(about, session, client)
    if credentials is None and not options.unsigned:
        raise _no_credentials(about)
    return client


def open_s3_client(name: str, options: RekognitionOptions, session: boto3.Session) -> Any:  # noqa: ANN401 - as above
    """A boto3 client of the bucket's service, in the region that Rekognition is asked in; its
    requests are signed, also where those to Rekognition are not.

    Raises:
        ConfigError: a bad endpoint.
        CredentialsError: the credential chain found none.
    """
    about = f"backend '{name}', s3_bucket"
    # a signature over the image's hash says more than the CRC that botocore would add, in fewer
    # bytes, and every maker of S3 knows it
    config = Config(
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # other makers of S3 take buckets as a path, not as a host
        s3={"addressing_style": "path"} if options.s3_endpoint_url else None,
    )
    with _settings_errors(about):
        client = session.client(
            "s3", endpoint_url=options.s3_endpoint_url, config=_config(options).merge(config)
        )
        credentials = session.get_credentials()
    if credentials is None:
        raise _no_credentials(about)
    client.meta.events.register_last("before-parameter-build.s3", _in_one_go)
    return client


def _in_one_go(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    """Takes back two courtesies of botocore.

    It makes a file of a body, asks whether it may be sent (``Expect: 100-continue``), and so waits
    for one more round trip. And it would follow a bucket into another region, where Rekognition
    cannot read it, and the error would come only then; it does not follow twice, so it is told that
    it has.
    """
    if isinstance(params.get("Body"), io.BytesIO):
        params["Body"] = params["Body"].getvalue()
    context.setdefault("s3_redirect", {})["redirected"] = True


def _config(options: RekognitionOptions) -> Config:
    return Config(
        retries={"total_max_attempts": 1},
        connect_timeout=options.connect_timeout,
        read_timeout=options.read_timeout,
        max_pool_connections=options.max_connections,
        # what is sent is built and typed here; AWS checks it, and a check costs each call
        parameter_validation=False,
        # botocore's own is built anew for each request and is 200 bytes longer on the wire
        user_agent=f"rekadapter/{__version__} Botocore/{botocore.__version__}",
    )


def _place(options: RekognitionOptions, bucket: str) -> BucketPlace:
    return BucketPlace(
        bucket=bucket,
        prefix=options.s3_prefix,
        from_bytes=options.s3_from_bytes,
        encryption=options.s3_encryption,
        kms_key_id=options.s3_kms_key_id,
    )


def _no_credentials(about: str) -> CredentialsError:
    return CredentialsError(
        f"{about}: AWS's credential chain found no credentials: run `aws configure` or "
        "`aws sso login`, or set AWS_PROFILE"
    )


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
