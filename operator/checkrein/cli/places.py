"""Where something is read from, as a person says it: a store, or a log's copy in a directory."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from checkrein.api.tasks import StoreCredentials, StoreLocation
from checkrein.store.client import Store
from checkrein.store.credentials import from_file
from checkrein.store.decisions.sources import DirectorySource, Source, StoreSource

PREFIX = "decisions/"


class UsageError(Exception):
    """What was asked cannot be done as it was asked: a sentence with the mend."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say where, and whose."""
    add_location(parser)
    whose = parser.add_argument_group("whose log")
    whose.add_argument("--namespace", help="of the AgentDeployment; with --name")
    whose.add_argument("--name", help="of the AgentDeployment; default: every one's")


def add_location(parser: argparse.ArgumentParser) -> None:
    """The options that say where."""
    where = parser.add_argument_group("where the log lies")
    where.add_argument("--directory", type=Path, help="a copy, as `audit export --raw` makes it; or else:")
    where.add_argument("--bucket", default="decisions", help="default: %(default)s")
    where.add_argument("--prefix", default=PREFIX, help="only what lies below it (default: %(default)s)")
    _add_store(where)


def add_store(parser: argparse.ArgumentParser) -> None:
    """The options that say which store."""
    _add_store(parser.add_argument_group("which store"))


def _add_store(where: Any) -> None:
    where.add_argument("--endpoint", help="host:port of the store")
    where.add_argument("--region", default="us-east-1", help="default: %(default)s")
    where.add_argument("--insecure", action="store_true", help="plain HTTP")
    where.add_argument("--ca-bundle", type=Path, help="PEM file: who vouches for the store (default: the system's)")
    where.add_argument(
        "--credentials",
        type=Path,
        help="JSON file with accessKey, secretKey and perhaps sessionToken "
        "(default: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN)",
    )


def agent_id(options: argparse.Namespace) -> str | None:
    """NAMESPACE/NAME, or None for all. Raises UsageError."""
    if (options.namespace is None) != (options.name is None):
        raise UsageError("--namespace and --name go together: they name one AgentDeployment")
    return f"{options.namespace}/{options.name}" if options.name else None


def source(options: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> Source:
    """The log. Raises UsageError, StoreError."""
    if (options.directory is None) == (options.endpoint is None):
        raise UsageError("set --directory for a copy, or --endpoint for a store")
    if options.directory is None:
        return store_source(options, environ)
    if not options.directory.is_dir():
        raise UsageError(f"--directory: {options.directory} is not a directory")
    return DirectorySource(options.directory)


def store_source(options: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> StoreSource:
    """The log in a store. Raises UsageError, StoreError."""
    return StoreSource(store(options, options.bucket, environ), options.prefix)


def store(options: argparse.Namespace, bucket: str, environ: Mapping[str, str] = os.environ) -> Store:
    """A bucket of the store. Raises UsageError, StoreError."""
    if options.endpoint is None:
        raise UsageError("set --endpoint: the store to read from")
    location = StoreLocation(
        endpoint=options.endpoint, secure=not options.insecure, region=options.region, bucket=bucket
    )
    read = from_file(options.credentials) if options.credentials else _from_environment(environ)
    return Store(location, read, options.ca_bundle)


def _from_environment(environ: Mapping[str, str]) -> Callable[[], StoreCredentials]:
    try:
        given = StoreCredentials(
            access_key=environ["AWS_ACCESS_KEY_ID"],
            secret_key=environ["AWS_SECRET_ACCESS_KEY"],
            session_token=environ.get("AWS_SESSION_TOKEN"),
        )
    except KeyError as error:
        raise UsageError(f"set --credentials, or the variable {error.args[0]}") from None
    return lambda: given
