"""What the decision log proves, and what becomes of a copy in which one byte was changed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.cache import REPOSITORY
from tests.cluster.install import NAMESPACE
from tests.cluster.kubectl import Kubectl
from tests.cluster.steps import ClusterError, say
from tests.demo.reins import AGENT, forwarded

COPY = REPOSITORY / "build" / "demo" / "log"
BUCKET = "checkrein-decisions"
S3_PORT = 9000


def verified(kubectl: Kubectl) -> None:
    """The log in the store holds, a whole copy of it too, and a copy with one byte changed does not."""
    shutil.rmtree(COPY, ignore_errors=True)
    with forwarded(kubectl, "service/minio", S3_PORT, NAMESPACE) as address:
        store = ["--endpoint", address, "--insecure", "--bucket", BUCKET]
        _audit(["verify", *store, "--namespace", "default", "--name", AGENT], 0, _administrator(kubectl))
        _audit(["export", *store, "--raw", str(COPY)], 0, _administrator(kubectl))
    _audit(["verify", "--directory", str(COPY)], 0)
    changed = max((f for f in COPY.rglob("*") if f.is_file()), key=lambda file: file.stat().st_size)
    data = bytearray(changed.read_bytes())
    data[len(data) // 2] ^= 1
    changed.write_bytes(data)
    say(f"  one bit of {changed.relative_to(COPY)} in the copy is turned over")
    _audit(["verify", "--directory", str(COPY)], 1)


def _audit(arguments: list[str], expected: int, environment: Mapping[str, str] | None = None) -> None:
    """Runs `checkrein audit`, as a person would, and shows what it prints. Raises ClusterError on another exit code."""
    print(f"$ checkrein audit {' '.join(arguments)}", flush=True)
    program = Path(sys.executable).with_name("checkrein")
    run = subprocess.run(
        [program, "audit", *arguments],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    print(run.stdout.rstrip(), flush=True)
    if run.returncode != expected:
        raise ClusterError(f"checkrein audit ended with {run.returncode}, expected {expected}: {run.stderr.strip()}")


def _administrator(kubectl: Kubectl) -> Mapping[str, str]:
    """The development store's own credentials."""
    secret = kubectl.get("secret", "minio-administrator", namespace=NAMESPACE)["data"]
    pair = json.loads(base64.b64decode(secret["credentials.json"]))
    return {"AWS_ACCESS_KEY_ID": pair["accessKey"], "AWS_SECRET_ACCESS_KEY": pair["secretKey"]}
