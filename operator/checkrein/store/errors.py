"""What can go wrong with the store, as few errors: none of the S3 client or of urllib3 leaves this package.

StoreError
  StoreUnavailable   temporary: no answer, overload, no room, no bucket, an expired session that will be renewed
  AccessDenied       temporary: these credentials may not do this; rights and sessions are mended elsewhere
  StoreRefused       the service understood and refuses; asking again gives the same answer
  AlreadyExists      creation of a key that is taken
  NotFound           no such key or version
  DigestMismatch     bytes that are not the ones named
  TooLarge           more bytes than the reader is willing to hold
  InvalidArtifact    a manifest that contradicts itself or the reference to it
"""

# ruff: noqa: N818 - the names say what happened; all of them are a StoreError

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar
from xml.etree.ElementTree import ParseError

from minio.error import InvalidResponseError, MinioAdminException, MinioException, S3Error, ServerError
from urllib3.exceptions import HTTPError, MaxRetryError, SSLError

from checkrein.api.meta import bounded

TEXT_LIMIT = 512


class StoreError(Exception):
    """Base of this package's errors. `reason` fits a condition; `temporary` says whether trying again may help."""

    reason: ClassVar[str] = "StoreError"
    temporary: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(bounded(message, TEXT_LIMIT))


class StoreUnavailable(StoreError):
    """No usable answer; try again later."""

    reason = "StoreUnavailable"
    temporary = True


class StoreRefused(StoreError):
    """The service understood the request and refuses it."""

    reason = "StoreRefused"


class AccessDenied(StoreError):
    """These credentials may not do this. What was asked for is not at fault, so it must not be given up for good."""

    reason = "AccessDenied"
    temporary = True


class AlreadyExists(StoreError):
    """The key is taken."""

    reason = "AlreadyExists"


class NotFound(StoreError):
    """No such key or version."""

    reason = "NotFound"


class DigestMismatch(StoreError):
    """The bytes are not the ones that were named."""

    reason = "DigestMismatch"


class TooLarge(StoreError):
    """More bytes than the reader is willing to hold."""

    reason = "TooLarge"


class InvalidArtifact(StoreError):
    """A manifest that contradicts itself or the reference to it."""

    reason = "InvalidArtifact"


# Codes of S3 ("Error responses", List of error codes) and of MinIO (cmd/api-errors.go); all others: StoreRefused.
_CODES: dict[str, type[StoreError]] = {
    **dict.fromkeys(("NoSuchKey", "NoSuchVersion", "ResourceNotFound"), NotFound),
    **dict.fromkeys(("AccessDenied", "AllAccessDisabled", "InvalidAccessKeyId", "SignatureDoesNotMatch"), AccessDenied),
    **dict.fromkeys(("PreconditionFailed", "BucketAlreadyExists", "BucketAlreadyOwnedByYou"), AlreadyExists),
    **dict.fromkeys(("EntityTooLarge",), TooLarge),
    **dict.fromkeys(
        (
            "BadDigest",
            "ConditionalRequestConflict",
            "ExpiredToken",
            "IncompleteBody",
            "InternalError",
            "InvalidTokenId",
            "NoSuchBucket",  # a disk that is not mounted yet, or a mistake in the installation: not the caller's
            "OperationAborted",
            "QuotaExceeded",
            "RequestTimeout",
            "RequestTimeTooSkewed",
            "ServiceUnavailable",
            "SlowDown",
            "SlowDownRead",
            "SlowDownWrite",
            "XAmzContentSHA256Mismatch",
            "XMinioAdminBucketQuotaExceeded",
            "XMinioServerNotInitialized",
            "XMinioStorageFull",
        ),
        StoreUnavailable,
    ),
}

_CLIENT_ERRORS = (MinioException, MinioAdminException, HTTPError, ValueError, ParseError)


def twin(error: Exception) -> type[StoreError]:
    """Which of ours stands for an error of the S3 client, of urllib3 or of XML parsing."""
    if isinstance(error, S3Error):
        unknown = StoreUnavailable if error.response is not None and error.response.status >= 500 else StoreRefused
        return _CODES.get(error.code or "", unknown)
    if isinstance(error, (ServerError, InvalidResponseError, HTTPError, ParseError)):
        return StoreUnavailable
    return StoreRefused


def _words(error: Exception) -> str:
    if isinstance(error, S3Error):
        return f"{error.code}: {error.message}"
    # Of retries in vain the last one's words: the others' are a page of addresses.
    reason = getattr(error, "reason", None) if isinstance(error, MaxRetryError) else None
    if isinstance(reason, SSLError):
        return (
            f"TLS fails: {reason}; a certificate of an authority of one's own takes store.caBundle or "
            "store.caConfigMap of the chart (--ca-bundle of the commands)"
        )
    return str(reason or error)


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Raises what the S3 client raises inside as our own: "cannot ACTION: why"."""
    try:
        yield
    except _CLIENT_ERRORS as error:
        raise twin(error)(f"cannot {action}: {_words(error)}") from error
