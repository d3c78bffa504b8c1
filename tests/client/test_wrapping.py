"""A driver whose wrappers are not those that the policy learnt behind plays nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import TypeAdapter
from tests.agent import graphs
from tests.agent.conftest import StartReplica
from tests.agent.installation import Deployment, Library
from tests.agent.replica import OPERATOR, Replica

from checkrein.api.wrappers import Wrapper, client_digest

pytestmark = [pytest.mark.controlplane, pytest.mark.store]

RESHAPE = {"at": "Client", "gymnasium": {"name": "ReshapeObservation", "kwargs": {"shape": [4]}}}
WIDER = {"at": "Client", "gymnasium": {"name": "DtypeObservation", "kwargs": {"dtype": "float64"}}}
STACK = {"at": "Policy", "stack": {"frames": 2}}


@pytest.fixture
def wrapped(deploy: Callable[..., Deployment], library: Library, start: StartReplica) -> Replica:
    """A replica whose policy learnt behind a wrapper at Client."""
    deployment = deploy(auth={"mode": "None"})
    digest = client_digest(TypeAdapter(list[Wrapper]).validate_python([RESHAPE]))
    interface = graphs.CARTPOLE.model_copy(update={"client_wrappers": digest})
    deployment.set_status(1, library.publish("cartpole-1", graphs.balancing(), interface))
    replica = start(deployment)
    replica.wait_acting("cartpole-1")
    return replica


def played(url: str, wrappers: list[dict[str, Any]] | None) -> subprocess.CompletedProcess[str]:
    options = [] if wrappers is None else ["--wrappers", json.dumps(wrappers)]
    command = [sys.executable, "-m", "checkrein.client.play", "--url", url, "--environment", "CartPole-v1", *options]
    return subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(OPERATOR)}, check=False)


def test_a_driver_must_run_the_wrappers_that_the_interface_names(wrapped: Replica) -> None:
    same = played(wrapped.url, [RESHAPE, STACK])
    assert same.returncode == 0, same.stderr
    assert "return" in same.stdout
    for others in (None, [WIDER], [RESHAPE, RESHAPE]):
        refused = played(wrapped.url, others)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "expects its callers to run the wrappers with digest sha256:" in refused.stderr
        assert "spec.wrappers" in refused.stderr


def test_what_is_no_list_of_wrappers_is_refused() -> None:
    refused = played("http://127.0.0.1:9", [{"at": "Client", "gymnasium": {"name": "Blur"}}])
    assert refused.returncode == 2
    assert "--wrappers: is no spec.wrappers" in refused.stderr
