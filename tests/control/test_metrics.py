"""What metrics show of rollouts: as the status says, and nothing of what is gone."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from tests.control import builders as b

from checkrein.control.metrics import Rollouts


def shown(rollouts: Rollouts) -> set[str]:
    registry = CollectorRegistry()
    registry.register(rollouts)
    return {line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")}


def test_a_rollout_is_shown_until_its_deployment_goes() -> None:
    rollouts = Rollouts()
    gates = [{"name": "errors", "metric": "errors", "role": "Guard", "verdict": "Continue"}]
    trying = b.agent(
        "cartpole-2",
        stable=b.pointer("cartpole-1"),
        candidate=b.pointer("cartpole-2").dump(),
        step={"kind": "Canary", "index": 2, "weight": 25},
        gates=gates,
    )
    rollouts.tell("games", "cartpole", trying.status)
    whose = 'deployment="cartpole",namespace="games"'
    assert shown(rollouts) == {
        f'checkrein_rollout_candidate{{{whose},policy="cartpole-2"}} 1.0',
        'checkrein_rollout_step{deployment="cartpole",kind="Canary",namespace="games"} 2.0',
        f"checkrein_rollout_weight{{{whose}}} 25.0",
        'checkrein_rollout_gate{deployment="cartpole",gate="errors",namespace="games",verdict="Continue"} 1.0',
    }
    rollouts.tell("games", "cartpole", b.agent("cartpole-2", stable=b.pointer("cartpole-2")).status)
    assert shown(rollouts) == {f"checkrein_rollout_weight{{{whose}}} 0.0"}
    rollouts.forget("games", "cartpole")
    assert shown(rollouts) == set()
