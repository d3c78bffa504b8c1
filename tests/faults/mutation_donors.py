"""Fuller objects than the samples: what a field looks like that the samples leave out."""

from __future__ import annotations

from typing import Any

from tests.api.objects import MISSING, agent, changed, environment, policy_version, training, words

Raw = dict[str, Any]
_BOX = {"type": "Box", "dtype": "float32", "shape": [2], "low": ["-1"], "high": ["1"]}
DICT = {"type": "Dict", "members": [{"name": "left", **_BOX}]}
WRAPPERS: list[Raw] = [
    {"at": "Client", "gymnasium": {"name": "RescaleAction", "kwargs": {"min_action": -1.0}}},
    {"at": "Policy", "stack": {"frames": 2}},
    {"at": "Policy", "flatten": {}},
    {"at": "TrainingOnly", "clipReward": {"min": "-1", "max": "1"}},
    {"at": "TrainingOnly", "scaleReward": {"factor": "2"}},
]
_BARE = changed(changed(agent(), "spec.override", MISSING), "spec.strategy.reference", MISSING)
_AGENTS = [
    _BARE,
    agent(),
    changed(_BARE, "spec.rollout", words()),
    changed(_BARE, "spec.exploration", {"boltzmann": {"temperature": "0.5"}}),
    changed(_BARE, "spec.exploration", {"gaussian": {"sigma": "0.1"}}),
    changed(_BARE, "spec.shield", [{"name": "narrow", "clip": {"low": ["-0.5"], "high": ["0.5"]}}]),
    changed(_BARE, "spec.shield", [{"name": "gently", "maxChange": ["0.1"]}]),
    changed(_BARE, "spec.shield", [{"name": "upright", "require": "action == 0"}]),
    changed(_BARE, "spec.override", {"mode": "Action", "action": [1], "reason": "a", "by": "b"}),
    changed(_BARE, "spec.template", training()["spec"]["template"]),
    changed(_BARE, "spec.strategy.canary.gates", list(reversed(_BARE["spec"]["strategy"]["canary"]["gates"]))),
    *(
        changed(_BARE, "spec.strategy.canary.gates", [gate, {**_BARE["spec"]["strategy"]["canary"]["gates"][0]}])
        for gate in _BARE["spec"]["strategy"]["canary"]["gates"]
    ),
    changed(_BARE, "spec.strategy.canary.steps", [{"weight": 25, "units": 50, "pause": {"duration": "10m"}}]),
]
DONORS: dict[str, list[Raw]] = {
    "RLEnvironment": [
        environment(),
        *(changed(environment(), "spec.wrappers", [wrapper]) for wrapper in WRAPPERS),
        *(changed(environment(), "spec.safety.shield", d["spec"]["shield"]) for d in _AGENTS[5:8]),
    ],
    "TrainingJob": [training()],
    "PolicyVersion": [
        policy_version(),
        changed(policy_version(), "spec.interface.observation", DICT),
    ],
    "AgentDeployment": _AGENTS,
}
