"""Short-lived sessions with exactly the rights that a pod needs (STS AssumeRole with a session policy).

A session can never do more than the user that minted it, and dies with that user: mint with the operator's own user,
never with root, so that operator_policy bounds what a mistake here could grant.
"""

from __future__ import annotations

import json
import re
from datetime import UTC
from pathlib import Path
from typing import Any

from minio.credentials.providers import AssumeRoleProvider

from checkrein.api.tasks import StoreCredentials, StoreLocation
from checkrein.store.client import connection_pool
from checkrein.store.errors import AccessDenied, StoreUnavailable, translated

SHORTEST = 3600  # the client asks for no less
LONGEST = 7 * 24 * 3600

Policy = dict[str, Any]
READ = ["s3:GetObject"]
READ_VERSIONS = ["s3:GetObject", "s3:GetObjectVersion"]
WRITE = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
LIST = ["s3:ListBucket", "s3:ListBucketVersions"]


def mint(
    location: StoreLocation,
    minter: StoreCredentials,
    policy: Policy,
    seconds: int,
    authorities: Path | None = None,
) -> StoreCredentials:
    """A session of at least an hour and at most seven days. Raises AccessDenied, StoreUnavailable."""
    provider = AssumeRoleProvider(
        sts_endpoint=f"{'https' if location.secure else 'http'}://{location.endpoint}",
        access_key=minter.access_key,
        secret_key=minter.secret_key,
        duration_seconds=max(SHORTEST, min(seconds, LONGEST)),
        policy=json.dumps(policy),
        region=location.region,
        role_session_name="checkrein",
        http_client=connection_pool(authorities, hurried=True),  # who needs one says so, and asks again
    )
    with translated(f"mint a session at {location.endpoint}"):
        try:
            session = provider.retrieve()
        except ValueError as error:
            raise _refusal(location, error) from error
    return StoreCredentials(
        access_key=session.access_key,
        secret_key=session.secret_key,
        session_token=session.session_token,
        expiration=session.expiration and session.expiration.replace(tzinfo=UTC),  # the client drops the zone
    )


def _refusal(location: StoreLocation, error: ValueError) -> AccessDenied | StoreUnavailable:
    """The client tells an HTTP failure by a sentence only."""
    status = re.search(r"HTTP status code ([0-9]{3})$", str(error))
    if status and status[1].startswith("4"):
        return AccessDenied(
            f"cannot mint a session at {location.endpoint}: refused with HTTP status {status[1]}; "
            "the operator's store user must exist and have the rights of operator_policy"
        )
    return StoreUnavailable(f"cannot mint a session at {location.endpoint}: {error}")


def run_policy(location: StoreLocation, policies: StoreLocation | None = None) -> Policy:
    """Rights of a trainer or evaluator: read below `readPrefix`, write below `writePrefix`.

    An evaluator also reads what is published: by digest only, for it may not list `policies`.
    """
    if not location.read_prefix:
        raise ValueError("store.readPrefix must name the job's prefix: empty would mean every job's")
    statements = [
        _allow(READ, _objects(location.bucket, location.read_prefix)),
        _allow_listing(location.bucket, location.read_prefix),
    ]
    if location.write_prefix:
        statements.append(_allow(WRITE, _objects(location.bucket, location.write_prefix)))
    if policies is not None:
        if not policies.read_prefix:
            raise ValueError("policies.readPrefix must name what is published: empty would mean the history as well")
        statements.append(_allow(READ_VERSIONS, _objects(policies.bucket, policies.read_prefix)))
    return _policy(statements)


def agent_policy(policies: StoreLocation, decisions: StoreLocation | None = None) -> Policy:
    """Rights of an agent: read what is published, and add to its own decision log, below `decisions.writePrefix`."""
    statements = [_allow(READ_VERSIONS, _objects(policies.bucket, policies.read_prefix))]
    if decisions is not None:
        if not decisions.write_prefix:
            raise ValueError(
                "decisions.writePrefix must name the deployment's prefix: empty would mean everybody's log"
            )
        statements.append(_allow(WRITE, _objects(decisions.bucket, decisions.write_prefix)))
    return _policy(statements)


def operator_policy(policies_bucket: str, runs_bucket: str, decisions_bucket: str) -> Policy:
    """Rights of the operator's own user, which an installer grants; they bound every session that it mints.

    No deletion and no change of retention where policies and decisions are: publishing and logging only ever add.
    """
    buckets = (policies_bucket, runs_bucket, decisions_bucket)
    return _policy(
        [
            _allow([*READ_VERSIONS, *WRITE], _objects(policies_bucket, ""), _objects(decisions_bucket, "")),
            _allow([*READ_VERSIONS, *WRITE, "s3:DeleteObject"], _objects(runs_bucket, "")),
            _allow([*LIST, "s3:GetBucketObjectLockConfiguration"], *(f"arn:aws:s3:::{bucket}" for bucket in buckets)),
        ]
    )


def _policy(statements: list[dict[str, Any]]) -> Policy:
    return {"Version": "2012-10-17", "Statement": statements}


def _allow(actions: list[str], *resources: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": list(resources)}


def _objects(bucket: str, prefix: str) -> str:
    return f"arn:aws:s3:::{bucket}/{_plain(prefix)}*"


def _allow_listing(bucket: str, prefix: str) -> dict[str, Any]:
    condition = {"StringLike": {"s3:prefix": [f"{_plain(prefix)}*"]}}
    return {**_allow(LIST, f"arn:aws:s3:::{bucket}"), "Condition": condition}


def _plain(prefix: str) -> str:
    """Policies know wildcards and variables: in a prefix they would widen what it grants."""
    if set(prefix) & set("*?$"):
        raise ValueError(f"prefix {prefix!r} must not contain *, ? or $")
    return prefix
