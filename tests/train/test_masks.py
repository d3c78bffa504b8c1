"""Actions that an environment forbids: MaskablePPO learns without them, and what is exported never takes them.

The environment fails where it is given a forbidden action, so that whoever plays it to the end has kept to its mask.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.train.conftest import environment, exported, job_spec, task

from checkrein.agent.exploration import actor
from checkrein.agent.policies import build as load
from checkrein.api.algorithms import misfit
from checkrein.api.deployment import PolicyPointer
from checkrein.api.digests import sha256
from checkrein.api.policy import Artifact
from checkrein.api.spaces import ACTION_MASK, Interface
from checkrein.api.tasks import ManifestFile, PolicyManifest, TrainingTask
from checkrein.train.algorithms import ALGORITHMS
from checkrein.train.evaluation import evaluate
from checkrein.train.export import OPSET, to_onnx
from checkrein.train.failures import Failed
from checkrein.train.learning import Seams, Stop, learn
from checkrein.train.model import build
from checkrein.train.observations import gather
from checkrein.train.policy import FILE, Turn
from checkrein.train.seeds import evaluation_seeds
from checkrein.train.verification import verify

MASK: dict[str, Any] = {"at": "Client", "actionMask": {}}
FLATTEN: dict[str, Any] = {"at": "Policy", "flatten": {}}
QUICK = {"n_steps": 16, "batch_size": 64, "n_epochs": 10, "learning_rate": 0.003, "gamma": 0.0}


def masked(id_: str, *wrappers: dict[str, Any], steps: int = 3000, **algorithm: Any) -> TrainingTask:
    algorithm = {"hyperparameters": QUICK, **algorithm}
    made = environment(id_, wrappers=list(wrappers or (MASK,)))
    return task(made, job_spec("MaskablePPO", steps, algorithm=algorithm, environments=8))


@pytest.mark.learning
@pytest.mark.parametrize("kind", ["Discrete", "MultiDiscrete"])
def test_learns_and_acts_within_the_mask(kind: str) -> None:
    made = masked(f"tiny/Guarded{kind}-v0", steps=3000 if kind == "Discrete" else 6000)
    model = build(made)
    learn(model, made.spec.budget.steps, Seams(1000, 0, Stop(), None, lambda: None))
    played = evaluate(made.environment, exported(made, model)[0], evaluation_seeds("u", 1, 50))
    assert sum(played.returns) / 50 >= 3.8


@pytest.mark.parametrize("kind", ["Discrete", "MultiDiscrete"])
def test_acts_like_the_library_and_never_draws_what_is_forbidden(kind: str) -> None:
    made = masked(f"tiny/Guarded{kind}-v0")
    model = build(made)
    observations = gather(made.environment, 100, seed=3)
    verify(to_onnx(model, ALGORITHMS["MaskablePPO"], made.interface), model, made.interface, observations)
    policy, _ = exported(made, model, "Stochastic")
    turns = [Turn(observation, np.random.default_rng(i)) for i, observation in enumerate(observations)]
    starts = np.arange(np.size(made.interface.action.nvec or 0)) * 4
    for observation, action in zip(observations, policy.act(turns), strict=True):
        assert observation[ACTION_MASK][starts + np.ravel(action)].all()


def test_a_mask_that_a_wrapper_hides_is_refused() -> None:
    with pytest.raises(Failed, match=r"spec\.wrappers: they take action_mask.*leave flatten out"):
        build(masked("tiny/GuardedDiscrete-v0", MASK, FLATTEN))


BITS = {"type": "MultiBinary", "dtype": "int8", "shape": [4]}
NUMBERS = {"name": "observation", "type": "Box", "dtype": "float32", "shape": [2], "low": ["0"], "high": ["1"]}


@pytest.mark.parametrize(
    ("observation", "action", "said"),
    [
        pytest.param({"type": "Dict", "members": [NUMBERS, {"name": "action_mask", **BITS}]}, 4, "", id="one bit each"),
        pytest.param(
            {"type": "Dict", "members": [NUMBERS, {"name": "action_mask", **BITS}]}, 3, "MultiBinary(3)", id="too wide"
        ),
        pytest.param({"type": "Dict", "members": [NUMBERS]}, 4, "the wrapper `actionMask: {}`", id="a Dict without"),
        pytest.param(BITS, 4, "the wrapper `actionMask: {}`", id="no Dict"),
    ],
)
def test_an_environment_without_a_mask_is_told_how_to_get_one(observation: Any, action: int, said: str) -> None:
    spaces = {"observation": observation, "action": {"type": "Discrete", "dtype": "int64", "n": action}}
    found = misfit("MaskablePPO", Interface.model_validate(spaces))
    assert said in found
    assert bool(found) is bool(said)


def test_actions_that_are_numbers_cannot_be_masked() -> None:
    box = {"type": "Box", "dtype": "float32", "shape": [1], "low": ["0"], "high": ["1"]}
    assert "cannot act in action space" in misfit(
        "MaskablePPO", Interface.model_validate({"observation": BITS, "action": box})
    )


def test_an_agent_takes_it_and_keeps_to_the_mask() -> None:
    made = masked("tiny/GuardedDiscrete-v0")
    _, onnx = exported(made, build(made), "Stochastic")
    file = ManifestFile(path=FILE, digest=sha256(onnx), size=len(onnx))
    manifest = PolicyManifest(
        files=[file], interface=made.interface, algorithm="MaskablePPO", opset=OPSET, acting="Stochastic"
    )
    artifact = Artifact(bucket="policies", key="k", version_id="v", digest=sha256(b""), size=1)
    policy = load(PolicyPointer(name="p-1", artifact=artifact, interface=made.interface), manifest, {FILE: onnx})
    chooser = actor(made.interface.action, "Stochastic", None)
    for seed, observation in enumerate(gather(made.environment, 100, seed=3)):
        proposal = chooser.propose(policy.infer(observation), np.random.default_rng(seed).random)
        assert observation[ACTION_MASK][int(proposal.action)]
        assert proposal.propensity == pytest.approx(0.5, abs=0.2)
