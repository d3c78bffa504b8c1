"""No error of the S3 client leaves the package: each has a twin."""

from __future__ import annotations

import inspect
from xml.etree.ElementTree import ParseError

import minio.error
import pytest
import urllib3
import urllib3.exceptions
from minio.error import InvalidResponseError, S3Error

from checkrein.store import errors
from checkrein.store.errors import (
    AccessDenied,
    AlreadyExists,
    NotFound,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    TooLarge,
    translated,
)


def s3_error(code: str, message: str = "why", status: int | None = None) -> S3Error:
    response = None if status is None else urllib3.HTTPResponse(status=status)
    return S3Error(response, code, message, "/b/k", "request", "host")


def raised_by(module: object) -> list[type[Exception]]:
    """Every exception class that a module defines, warnings aside."""
    classes = [c for _, c in inspect.getmembers(module, inspect.isclass) if c.__module__ == module.__name__]  # type: ignore[attr-defined]
    return [c for c in classes if issubclass(c, Exception) and not issubclass(c, Warning)]


LOWER_LEVEL = [c for c in (*raised_by(minio.error), *raised_by(urllib3.exceptions)) if c is not S3Error]


def translate(error: Exception) -> StoreError:
    with pytest.raises(StoreError) as caught, translated("read s3://b/k"):
        raise error
    return caught.value


@pytest.mark.parametrize("lower", LOWER_LEVEL, ids=lambda c: c.__name__)
def test_every_exception_of_the_client_has_a_twin(lower: type[Exception]) -> None:
    # Constructors and texts differ; the class alone decides.
    anyhow = type(lower.__name__, (lower,), {"__init__": lambda self: None, "__str__": lambda self: "why"})
    assert str(translate(anyhow())) == "cannot read s3://b/k: why"


def test_the_walk_finds_the_exceptions() -> None:
    assert {"ServerError", "MinioAdminException", "ProtocolError", "MaxRetryError"} <= {c.__name__ for c in LOWER_LEVEL}


@pytest.mark.parametrize(
    ("error", "kind", "temporary"),
    [
        pytest.param(s3_error("NoSuchKey"), NotFound, False, id="no such key"),
        pytest.param(s3_error("NoSuchVersion"), NotFound, False, id="no such version"),
        pytest.param(s3_error("NoSuchBucket"), StoreUnavailable, True, id="no bucket: a disk that is not mounted yet"),
        pytest.param(s3_error("XMinioStorageFull"), StoreUnavailable, True, id="no room"),
        pytest.param(s3_error("QuotaExceeded"), StoreUnavailable, True, id="no room for this bucket"),
        pytest.param(s3_error("Novel", status=507), StoreUnavailable, True, id="a code of a server that is in trouble"),
        pytest.param(s3_error("Novel", status=400), StoreRefused, False, id="a code of a server that refuses"),
        pytest.param(s3_error("PreconditionFailed"), AlreadyExists, False, id="a taken key"),
        pytest.param(s3_error("EntityTooLarge"), TooLarge, False, id="too large for the service"),
        pytest.param(s3_error("AccessDenied"), AccessDenied, True, id="rights are mended elsewhere"),
        pytest.param(s3_error("InvalidTokenId"), StoreUnavailable, True, id="an ended session is renewed"),
        pytest.param(s3_error("SlowDown"), StoreUnavailable, True, id="overload"),
        pytest.param(s3_error("ObjectLocked"), StoreRefused, False, id="a code that says nothing to us"),
        pytest.param(InvalidResponseError(502, "text/html", "<html>"), StoreUnavailable, True, id="a proxy answered"),
        pytest.param(urllib3.exceptions.ProtocolError("cut off"), StoreUnavailable, True, id="cut off"),
        pytest.param(ParseError("no element"), StoreUnavailable, True, id="an answer that is no XML"),
        pytest.param(ValueError("invalid bucket name"), StoreRefused, False, id="refused by the client itself"),
    ],
)
def test_the_twin_says_whether_to_try_again(error: Exception, kind: type[StoreError], temporary: bool) -> None:
    twin = translate(error)
    assert (type(twin), twin.temporary) == (kind, temporary)
    assert twin.__cause__ is error


def test_reasons_are_the_names_of_the_classes() -> None:
    tree = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, StoreError)]
    assert [c.reason for c in tree] == [c.__name__ for c in tree]


def test_a_long_answer_is_cut() -> None:
    assert len(str(translate(s3_error("SlowDown", "x" * 10_000)))) == errors.TEXT_LIMIT


@pytest.mark.parametrize(
    "error",
    [pytest.param(KeyError("bug"), id="a bug stays a bug"), pytest.param(NotFound("gone"), id="ours stays ours")],
)
def test_what_is_not_the_clients_passes_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, translated("read"):
        raise error
    assert caught.value is error
