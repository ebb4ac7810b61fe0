"""AWS Rekognition through boto3 as a ``Recognizer``.

``open_rekognition`` is what the entry point names. Importing this package imports neither boto3 nor
botocore, so that a program with a local model never pays for them.
"""

from __future__ import annotations

from collections.abc import Mapping

from rekadapter.recognizer import BackendContext, Recognizer


def open_rekognition(
    name: str, options: Mapping[str, object], context: BackendContext
) -> Recognizer:
    """AWS Rekognition under the user's ``name``; see ``RekognitionOptions`` for the options.

    Credentials, profile, region, roles and endpoints come from AWS's own settings. Nothing is sent
    until the first call.

    Raises:
        ConfigError: an unknown or meaningless option, no region, or a region without Rekognition.
        CredentialsError: AWS's credential chain found none.
    """
    # boto3 takes a third of a second to import: only who opens this backend pays
    from rekadapter.backends.rekognition.client import open_recognizer  # noqa: PLC0415

    return open_recognizer(name, options, context)
