"""The OpenAPI document is true: schemathesis, with all its checks, holds a real replica against it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.agent import graphs, openapi_hooks
from tests.agent.conftest import StartReplica
from tests.agent.installation import CALLER, Library
from tests.agent.replica import OBSERVATION, OPERATOR
from tests.agent.test_server import Deploy

pytestmark = [pytest.mark.controlplane, pytest.mark.store, pytest.mark.timeout(1800)]
HERE = Path(__file__).parent
EXAMPLES = 60


def test_schemathesis_finds_nothing(deploy: Deploy, start: StartReplica, library: Library, tmp_path: Path) -> None:
    deployment = deploy()
    account = f"system:serviceaccount:{deployment.namespace}:{CALLER}"
    deployment.set_spec({"auth": {"mode": "ServiceAccount", "reporters": [account]}})
    deployment.set_status(1, library.publish("cartpole-1", graphs.always(0)))
    replica = start(deployment)
    replica.wait_acting("cartpole-1")
    token = deployment.token()
    episode = replica.post({"observation": OBSERVATION}, token=token).json()["episode"]
    command = [
        *(str(Path(sys.executable).parent / "st"), "--config-file", str(HERE / "schemathesis.toml")),
        *("run", f"{replica.url}/openapi.json", "--max-examples", str(EXAMPLES)),
        *("--header", f"Authorization: Bearer {token}", "--no-color", "--continue-on-failure", "--seed", "0"),
        *("--suppress-health-check", "too_slow"),
    ]
    paths = {"PYTHONPATH": f"{OPERATOR}:{HERE.parents[1]}", "SCHEMATHESIS_HOOKS": openapi_hooks.__name__}
    env = os.environ | paths | {openapi_hooks.TOKEN_VARIABLE: episode}
    result = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=1500, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Traceback" not in replica.process.log.read_text()
