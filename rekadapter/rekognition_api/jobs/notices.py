"""Word that a job is over, by Amazon SNS or whatever speaks its protocol."""

from __future__ import annotations

import json
from typing import Any, Final, Protocol, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from rekadapter.errors import ConfigError, UnexpectedAnswerError
from rekadapter.rekognition_api.jobs.store import Job

_CONNECT_SECONDS: Final = 5
_READ_SECONDS: Final = 10
_ATTEMPTS: Final = 3


class Notifier(Protocol):
    """Tells topics. Safe to call from several threads."""

    def tell(self, topic_arn: str, message: str) -> None:
        """Publishes a message.

        Raises:
            BackendError: it did not go out.
        """
        ...


class SnsClient(Protocol):
    """What is used of boto3's SNS client."""

    def publish(self, **members: str) -> Any: ...  # noqa: ANN401 - boto3's own answer, not looked at
    def close(self) -> None: ...


class SnsNotifier:
    """Publishes with the service's own credentials; a request's ``RoleArn`` is not assumed."""

    def __init__(self, client: SnsClient) -> None:
        self._client = client

    def tell(self, topic_arn: str, message: str) -> None:
        """See ``Notifier``."""
        try:
            self._client.publish(TopicArn=topic_arn, Message=message)
        except (ClientError, BotoCoreError) as error:
            raise UnexpectedAnswerError(f"SNS did not take a message: {error}") from error

    def close(self) -> None:
        """Lets the connections go."""
        self._client.close()


def open_sns(endpoint_url: str | None = None, *, region: str | None = None) -> SnsNotifier:
    """SNS at an endpoint (None: AWS's own), with credentials found as boto3 finds them.

    Raises:
        ConfigError: no region is set anywhere, or the endpoint is no URL.
    """
    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
    )
    try:
        made = boto3.Session().client(
            "sns", endpoint_url=endpoint_url, region_name=region, config=config
        )
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(f"no SNS client can be made: {error}") from error
    return SnsNotifier(cast("SnsClient", made))


def notice(job: Job) -> str:
    """The message for a job that is over, as Rekognition's developer guide has it; the moment is
    in milliseconds since 1970."""
    order = job.order
    members: dict[str, object] = {
        "JobId": job.job_id,
        "Status": job.state,
        "API": order.api,
        "JobTag": order.tag,
        "Timestamp": round((job.ended_at or job.created_at) * 1000),
        "Video": {"S3ObjectName": order.video.key, "S3Bucket": order.video.bucket},
    }
    return json.dumps({name: value for name, value in members.items() if value is not None})
