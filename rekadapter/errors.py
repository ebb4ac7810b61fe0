"""Everything rekadapter raises, in one tree.

An expected biometric outcome (no face, no candidate, a face too small to search) is a value with a
reason, never one of these. Each message names the thing and the next step; the vendor's own
exception, where there is one, is the ``__cause__``.

* RekadapterError                      (exit code 3)
  + UsageError                         (exit code 2: the caller can put it right)
    - ConfigError                      a setting is unknown or has no meaning
    - UnknownBackendError              no backend of that name
    - ScaleMismatchError               two comparison scores of different scales met
    - FeedError                        a camera, file or folder cannot be read
    - ImageError                       an image cannot be used
      . InvalidImageError              not a picture, truncated, or an unsupported format
      . ImageTooLargeError             too many bytes or pixels
      . ImageTooSmallError             a side below the backend's minimum
    - GalleryError
      . GalleryNotFoundError
      . GalleryExistsError
      . GalleryModelMismatchError      the gallery was made by another model
      . FaceNotFoundError              no such face in the gallery
      . UserNotFoundError              no such user in the gallery
      . UserExistsError                a user of that id is there already
      . SubjectIdError                 a subject id the backend cannot carry
    - ModelError
      . ModelNotAvailableError         the model's files are not on this machine
      . ModelCorruptError              a model file is not what its hash says
      . LicenseNotAcceptedError        the weights' licence has to be accepted first
    - VideoJobNotFoundError            no such job on a stored video
    - ThresholdReportError             a report gives no threshold for what is asked of it
  + OutputError                        a run directory or file cannot be written
    - BrokenChainError                 a record of an audit log does not fit those before it
  + StoppedError                       the run was stopped before the request was sent
  + PriceCapError                      the request would have cost more than is allowed
  + BackendError                       the recognizer could not answer
    - BackendClosedError               used after close()
    - CredentialsError                 none, expired, or refused
    - AccessDeniedError                the identity may not do this
    - InvalidRequestError              the service refused the request as malformed
    - QuotaExceededError               an account limit; waiting does not help
    - ThrottledError                   retryable: slow down
    - ServiceUnavailableError          retryable: the service failed
    - ConnectionFailedError            retryable: no answer from the network
    - DeadlineExceededError            retries used up the time allowed
    - UnexpectedAnswerError            an answer rekadapter does not understand
"""

from __future__ import annotations

from typing import ClassVar


class RekadapterError(Exception):
    """Base of every error rekadapter raises.

    ``retryable`` says whether the same call may succeed later; ``exit_code`` is what the command
    line exits with.
    """

    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 3


class UsageError(RekadapterError):
    """The caller can put it right: another name, another file, another setting."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting is unknown, has no meaning, or contradicts another."""


class UnknownBackendError(UsageError):
    """No backend of that name is built in, installed, or described in the settings."""


class ScaleMismatchError(UsageError):
    """Two comparison scores of different scales met; they mean nothing to each other."""


class FeedError(UsageError):
    """A camera, video file or folder cannot be read."""


class ImageError(UsageError):
    """An image cannot be used."""


class InvalidImageError(ImageError):
    """The bytes are not a picture rekadapter reads, or they end too early."""


class ImageTooLargeError(ImageError):
    """The image has more bytes or pixels than the limit."""


class ImageTooSmallError(ImageError):
    """A side of the image is below the backend's minimum."""


class GalleryError(UsageError):
    """A gallery or a face in it is not what the call needs."""


class GalleryNotFoundError(GalleryError):
    """No gallery of that name."""


class GalleryExistsError(GalleryError):
    """A gallery of that name is there already."""


class GalleryModelMismatchError(GalleryError):
    """The gallery was made by another model; its templates mean nothing to this one."""


class FaceNotFoundError(GalleryError):
    """No face of that id in the gallery."""


class UserNotFoundError(GalleryError):
    """No user of that id in the gallery."""


class UserExistsError(GalleryError):
    """A user of that id is in the gallery already."""


class SubjectIdError(GalleryError):
    """A gallery name or subject id that the backend cannot carry."""


class ModelError(UsageError):
    """A model cannot be used."""


class ModelNotAvailableError(ModelError):
    """The model's files are not on this machine."""


class ModelCorruptError(ModelError):
    """A model file is not what its recorded hash says."""


class LicenseNotAcceptedError(ModelError):
    """The weights' licence has to be read and accepted first."""


class VideoJobNotFoundError(UsageError):
    """No job on a stored video of that id: never started, of another kind, or no longer kept."""


class ThresholdReportError(UsageError):
    """A report of an evaluation gives no threshold for this use: too little evidence, another
    model, a changed file. There is no falling back to a default."""


class OutputError(RekadapterError):
    """A file or directory cannot be written (permissions, disk full)."""


class BrokenChainError(OutputError):
    """A record of an audit log is not what those before it say; ``record`` is its number."""

    def __init__(self, record: int, why: str) -> None:
        super().__init__(f"record {record} of the audit log does not fit: {why}")
        self.record = record


class PriceCapError(RekadapterError):
    """A cap on the price is used up; the request was not sent."""


class StoppedError(RekadapterError):
    """The run was stopped before the request was sent: nothing went out, nothing is wrong."""

    exit_code = 130  # as after Ctrl-C, which is what stops a run


class BackendError(RekadapterError):
    """The recognizer could not answer."""


class BackendClosedError(BackendError):
    """The recognizer was used after ``close()``."""


class CredentialsError(BackendError):
    """Credentials are missing, expired, or refused."""


class AccessDeniedError(BackendError):
    """The identity is known but may not do this."""


class InvalidRequestError(BackendError):
    """The service refused the request as malformed."""


class QuotaExceededError(BackendError):
    """An account limit is reached; waiting does not help."""


class ThrottledError(BackendError):
    """The service asks to slow down.

    ``retry_after_seconds`` is the service's own hint, or None.
    """

    retryable = True

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class ServiceUnavailableError(BackendError):
    """The service failed on its side."""

    retryable = True


class ConnectionFailedError(BackendError):
    """The network gave no answer: name not found, refused, reset, timed out."""

    retryable = True


class DeadlineExceededError(BackendError):
    """Retries used up the time allowed; the last failure is the ``__cause__``."""


class UnexpectedAnswerError(BackendError):
    """An answer, or an error code, that rekadapter does not understand."""
