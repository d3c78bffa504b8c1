"""A driver whose wrappers are not those that the policy learnt behind plays nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import gymnasium
import pytest
from pydantic import TypeAdapter
from tests.agent import graphs
from tests.agent.conftest import StartReplica
from tests.agent.installation import Deployment, Library
from tests.agent.replica import OPERATOR, Replica

from checkrein.api.wrappers import Wrapper, client_digest
from checkrein.client import vector
from checkrein.client.agent import AgentClient
from checkrein.client.aio import AsyncAgentClient
from checkrein.client.gymnasium_driver import EpisodeResult, play
from checkrein.client.wrapping import WrapperMismatchError

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


async def side_by_side(url: str, wrappers: list[Wrapper]) -> list[EpisodeResult | vector.Failure]:
    told: list[EpisodeResult | vector.Failure] = []
    envs = [gymnasium.make("CartPole-v1") for _ in range(2)]
    await vector.play(lambda: AsyncAgentClient(url), envs, [1, 2], told.append, wrappers=wrappers)
    return told


async def test_every_driver_asks_before_it_plays(wrapped: Replica) -> None:
    wrappers = TypeAdapter(list[Wrapper])
    with AgentClient(wrapped.url) as client:
        [played] = play(client, gymnasium.make("CartPole-v1"), [1], wrappers=wrappers.validate_python([RESHAPE, STACK]))
        assert played.ending == "truncated"
        for others in ([], [WIDER]):
            ours = wrappers.validate_python(others)
            names = "no wrappers" if not others else r"the wrappers with digest sha256:\w+ \(DtypeObservation\)"
            said = rf"run the wrappers with digest sha256:\w+, and here are {names}; give spec.wrappers"
            with pytest.raises(WrapperMismatchError, match=said):
                next(play(client, gymnasium.make("CartPole-v1"), [1], wrappers=ours))
            with pytest.raises(WrapperMismatchError, match=said):
                await side_by_side(wrapped.url, ours)
    told = await side_by_side(wrapped.url, wrappers.validate_python([RESHAPE]))
    assert sorted(result.seed for result in told if isinstance(result, EpisodeResult)) == [1, 2]


def test_what_is_no_list_of_wrappers_is_refused() -> None:
    refused = played("http://127.0.0.1:9", [{"at": "Client", "gymnasium": {"name": "Blur"}}])
    assert refused.returncode == 2
    assert "--wrappers: is no spec.wrappers" in refused.stderr
