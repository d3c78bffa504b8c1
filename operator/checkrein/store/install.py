"""What an administrator of MinIO does once: the buckets, and the operator's own user with its rights.

`python -m checkrein.store.install --help`; run again, it ends the same. On another S3 service its own tools create a
user with the rights that `sessions.operator_policy` returns.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from minio.minioadmin import MinioAdmin

from checkrein.api.tasks import StoreCredentials, StoreLocation
from checkrein.store import buckets
from checkrein.store.client import Store, connection_pool
from checkrein.store.credentials import RenewingProvider, from_file
from checkrein.store.errors import translated
from checkrein.store.sessions import operator_policy

POLICY = "checkrein-operator"


def install(
    location: StoreLocation,
    administrator: StoreCredentials,
    operator: StoreCredentials,
    policies_bucket: str,
    decisions_bucket: str,
    *,
    retention_days: int = 1,
    authorities: Path | None = None,
) -> None:
    """Creates both, and `location.bucket` (runs), and lets `operator` in. Raises StoreError."""
    store = Store(location, lambda: administrator, authorities)
    buckets.ensure(store, policies_bucket, location.bucket, decisions_bucket, retention_days=retention_days)
    admin = MinioAdmin(
        endpoint=location.endpoint,
        credentials=RenewingProvider(lambda: administrator),
        region=location.region,
        secure=location.secure,
        http_client=connection_pool(authorities),
    )
    with translated(f"create the operator's user at {location.endpoint}"), TemporaryDirectory() as folder:
        policy = Path(folder, "policy.json")
        policy.write_text(json.dumps(operator_policy(policies_bucket, location.bucket, decisions_bucket)))
        admin.policy_add(POLICY, str(policy))
        admin.user_add(operator.access_key, operator.secret_key)
        admin.policy_set(POLICY, user=operator.access_key)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m checkrein.store.install", description=__doc__)
    parser.add_argument("--endpoint", required=True, help="host:port of MinIO")
    parser.add_argument("--insecure", action="store_true", help="plain HTTP")
    parser.add_argument(
        "--ca-bundle", type=Path, help="PEM file: who vouches for MinIO's certificate (default: the system's)"
    )
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--policies-bucket", required=True)
    parser.add_argument("--runs-bucket", required=True)
    parser.add_argument("--decisions-bucket", required=True)
    parser.add_argument(
        "--retention-days", type=int, default=1, help="how long nobody can delete what was published or logged"
    )
    parser.add_argument("--administrator", type=Path, required=True, help="file with accessKey and secretKey, JSON")
    parser.add_argument("--operator", type=Path, required=True, help="likewise, of the user to create")
    given = parser.parse_args()
    location = StoreLocation(
        endpoint=given.endpoint, secure=not given.insecure, region=given.region, bucket=given.runs_bucket
    )
    install(
        location,
        from_file(given.administrator)(),
        from_file(given.operator)(),
        given.policies_bucket,
        given.decisions_bucket,
        retention_days=given.retention_days,
        authorities=given.ca_bundle,
    )


if __name__ == "__main__":
    main()
