"""Wrappers from the spec to the artifact: what the network learnt behind them, the exported graph does by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from tests.train.conftest import environment, job_spec, task
from tests.train.test_export import FEW, OFF_POLICY

from checkrein.api.meta import FileReference
from checkrein.api.tasks import EvaluationResults, TrainingTask
from checkrein.api.wrappers import client_digest
from checkrein.store import artifacts
from checkrein.train.algorithms import ALGORITHMS
from checkrein.train.export import to_onnx
from checkrein.train.learning import Seams, Stop, learn
from checkrein.train.model import build
from checkrein.train.observations import gather
from checkrein.train.policy import inputs
from checkrein.train.stacking import as_learnt
from checkrein.train.verification import predict, verify
from checkrein.wrappers.environments import make_environment, make_for_learning

FLATTEN: dict[str, Any] = {"at": "Policy", "flatten": {}}
STACK: dict[str, Any] = {"at": "Policy", "stack": {"frames": 3}}
RESCALE = {"at": "Client", "gymnasium": {"name": "RescaleAction", "kwargs": {"min_action": -1.0, "max_action": 1.0}}}
CASES = [
    pytest.param("tiny/BoxDiscrete-v0", "PPO", [STACK], False, id="PPO, stack"),
    pytest.param("tiny/WideBox-v0", "PPO", [RESCALE, STACK], True, id="PPO, rescaled actions, stack of a table"),
    pytest.param("tiny/CameraDiscrete-v0", "PPO", [STACK], False, id="PPO, stack of images"),
    pytest.param("tiny/PlanesDiscrete-v0", "DQN", [STACK], False, id="DQN, stack of images, channels first"),
    pytest.param("tiny/DictShifted-v0", "DQN", [FLATTEN], False, id="DQN, flat Dict"),
    pytest.param("tiny/DictBox-v0", "PPO", [FLATTEN, STACK], True, id="PPO, stack of a flat Dict"),
    pytest.param("tiny/ShiftedDiscrete-v0", "PPO", [FLATTEN, STACK], False, id="PPO, stack of numbers, one-hot"),
    pytest.param("tiny/MultiDiscreteDiscrete-v0", "PPO", [FLATTEN], False, id="PPO, flat MultiDiscrete"),
    pytest.param("tiny/WideBox-v0", "SAC", [RESCALE, STACK], True, id="SAC, rescaled actions, stack of a table"),
    pytest.param("tiny/DictBox-v0", "TD3", [FLATTEN, STACK], True, id="TD3, stack of a flat Dict"),
]


def trained(id_: str, name: str, wrappers: list[dict[str, Any]], normalize: bool) -> tuple[TrainingTask, Any, bytes]:
    algorithm = {
        "hyperparameters": FEW.get(name, OFF_POLICY | {"buffer_size": 200}),
        "network": {"hidden": [16]},
        "normalize": {"observation": normalize, "reward": normalize},
    }
    made = task(environment(id_, wrappers=wrappers), job_spec(name, 64, algorithm=algorithm))
    model = build(made)
    learn(model, 64, Seams(10**9, 0, Stop(), None, lambda: None))
    spec = made.environment
    return made, model, to_onnx(model, ALGORITHMS[name], made.interface, spec.wrappers)


@pytest.mark.parametrize(("id_", "name", "wrappers", "normalize"), CASES)
def test_the_graph_acts_like_the_library_behind_the_wrappers(
    id_: str, name: str, wrappers: list[dict[str, Any]], normalize: bool
) -> None:
    made, model, onnx = trained(id_, name, wrappers, normalize)
    verify(onnx, model, made.interface, gather(made.environment, 40, seed=3), made.environment.wrappers)
    session = onnxruntime.InferenceSession(onnx)
    assert [p.name for p in session.get_inputs()][-1].startswith("state.0") is (STACK in wrappers)
    assert ("next_state.0" in [p.name for p in session.get_outputs()]) is (STACK in wrappers)


@pytest.mark.parametrize(("id_", "name", "wrappers", "normalize"), CASES)
def test_an_episode_played_by_the_graph_alone_is_the_one_seen_in_training(
    id_: str, name: str, wrappers: list[dict[str, Any]], normalize: bool
) -> None:
    made, model, onnx = trained(id_, name, wrappers, normalize)
    session = onnxruntime.InferenceSession(onnx)
    names = [output.name for output in session.get_outputs()]
    state = {
        port.name: np.zeros((1, *port.shape[1:]), np.float32)
        for port in session.get_inputs()
        if port.name.startswith("state.")
    }
    outside, inside = make_environment(made.environment), make_for_learning(made.environment)
    bare, learnt = outside.reset(seed=4)[0], inside.reset(seed=4)[0]
    for _ in range(4):
        feeds = inputs(made.interface.observation, [bare]) | state
        outputs = dict(zip(names, session.run(names, feeds), strict=True))
        state = {name: outputs[f"next_{name}"] for name in state}
        expected = library(model, learnt)
        first = made.interface.action.start or 0
        assert outputs["action"][0] == pytest.approx(expected + first, abs=1e-3)
        bare, learnt = outside.step(outputs["action"][0])[0], inside.step(expected)[0]


def library(model: Any, observation: Any) -> Any:
    """The library's own action for what the environment in training shows."""
    normalizer = model.get_vec_normalize_env()
    batch = np.asarray(observation)[None]
    action = model.predict(normalizer.normalize_obs(batch) if normalizer else batch, deterministic=True)[0]
    return action[0]


def test_a_graph_that_forgets_would_be_noticed() -> None:
    made, model, onnx = trained("tiny/BoxBox-v0", "PPO", [STACK], False)
    observations = gather(made.environment, 40, seed=3)
    session, wrappers = onnxruntime.InferenceSession(onnx), made.environment.wrappers
    expected, states = predict(model, made.interface, observations, wrappers)[0], np.zeros((80, 6), np.float32)
    for remembered in (states, as_learnt(made.interface.observation, wrappers, observations)[1]["state.0"]):
        feeds = inputs(made.interface.observation, observations) | {"state.0": remembered}
        found = session.run(["action"], feeds)[0]
        assert np.allclose(found, expected, atol=1e-5) is (remembered is not states)


def test_returns_are_told_unshaped_and_learnt_shaped() -> None:
    shaping = [{"at": "TrainingOnly", "scaleReward": {"factor": "100"}}]
    algorithm = {"hyperparameters": {"n_steps": 64, "batch_size": 64, "n_epochs": 1}}
    made = task(environment("bad/Fine-v0", wrappers=shaping), job_spec("PPO", 64, algorithm=algorithm))
    model = build(made)
    learn(model, 64, Seams(10**9, 0, Stop(), None, lambda: None))
    told = {episode["r"] for episode in model.ep_info_buffer or ()}
    assert told == {5.0}
    assert set(model.rollout_buffer.rewards.ravel().tolist()) == {100.0}  # type: ignore[attr-defined]


@pytest.mark.store
def test_a_job_with_wrappers_of_each_kind_trains_and_its_artifact_is_evaluated(make_job: Any) -> None:
    wrappers = [RESCALE, FLATTEN, STACK, {"at": "TrainingOnly", "scaleReward": {"factor": "0.5"}}]
    few = {"n_steps": 64, "batch_size": 64, "n_epochs": 1}
    job = make_job(
        environment("tiny/DictBox-v0", wrappers=wrappers), job_spec("PPO", 256, algorithm={"hyperparameters": few})
    )
    trained = job.train().end()
    assert trained.code == 0, trained.log
    evaluated = job.start("evaluator", job.evaluation(trained, 20)).end()
    assert evaluated.code == 0, evaluated.log
    loaded = artifacts.load_run(job.store, FileReference.model_validate(trained.report["manifest"]))
    assert list(loaded.files) == ["policy.onnx"]
    assert loaded.manifest.interface.client_wrappers == client_digest(job.environment.wrappers)
    assert loaded.manifest.interface.observation.type == "Dict"
    reference = evaluated.report["results"]
    results = EvaluationResults.model_validate_json(job.store.get(reference["key"], digest=reference["digest"]))
    assert set(results.returns) <= {0.0, 1.0, 2.0, 3.0, 4.0}, "unshaped: whole rewards"
    assert max(results.returns) > 2
