"""Which artifacts may act."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.agent import networks
from tests.agent.graphs import CARTPOLE, CONTINUOUS, always, balancing, linear, steady
from tests.agent.test_dense import Actor, file
from tests.agent.test_operators import drawing

from checkrein.agent.dense import DenseKernel
from checkrein.agent.kernel import Observation, OnnxKernel, Outputs, States
from checkrein.agent.policies import INLINE_SECONDS, LoadError, Policy, build, warm_up
from checkrein.agent.validation import SpaceError
from checkrein.api.deployment import PolicyPointer
from checkrein.api.digests import sha256
from checkrein.api.policy import Artifact
from checkrein.api.shield import ShieldRule
from checkrein.api.spaces import Interface
from checkrein.api.tasks import ManifestFile, PolicyManifest


def load(
    files: dict[str, bytes], interface: Interface = CARTPOLE, manifest: Interface | None = None, **said: Any
) -> Policy:
    artifact = Artifact(bucket="policies", key="k", version_id="v", digest=sha256(b""), size=1)
    listed = [ManifestFile(path=path, digest=sha256(data), size=len(data)) for path, data in files.items()]
    content = PolicyManifest(files=listed, interface=manifest or interface, algorithm="PPO", opset=17, **said)
    return build(PolicyPointer(name="p-1", artifact=artifact, interface=interface), content, files)


def test_a_fitting_policy_acts() -> None:
    policy = load({"policy.onnx": balancing()})
    seen = [policy.infer(np.array([0, 0, lean, 0], np.float32)).action for lean in (-0.1, 0.1)]
    assert [policy.action(action) for action in seen] == [0, 1]
    pushing = load({"policy.onnx": steady(0.5)}, CONTINUOUS)
    assert pushing.action(pushing.infer(np.zeros(3, np.float32)).action) == [0.5]


def test_an_action_of_another_space_is_refused() -> None:
    policy = load({"policy.onnx": balancing()})
    with pytest.raises(SpaceError, match="outside"):
        policy.action(np.array(2))


def test_it_keeps_what_its_manifest_says() -> None:
    rule = ShieldRule(name="never-right", forbid=[1])
    policy = load({"policy.onnx": always(0)}, shield=[rule], features=["x", "v", "lean", "turn"])
    assert (policy.acting, policy.shield, policy.features) == (
        "Deterministic",
        [rule],
        ["x", "v", "lean", "turn"],
    )


def test_a_network_with_state_is_warmed_up_and_says_how_large_that_is() -> None:
    policy = load({"policy.onnx": networks.remembering(width=32)[1]}, CONTINUOUS, acting="Stochastic")
    assert policy.state_bytes == 2 * 32 * 4
    first = policy.infer(np.ones(3, np.float32))
    assert policy.infer(np.ones(3, np.float32), first.state).mean != first.mean


def test_a_small_network_is_quick_enough_for_the_event_loop() -> None:
    assert load({"policy.onnx": balancing()}).inline
    with_slow_kernel = replace(load({"policy.onnx": balancing()}), kernel=Slow())
    assert warm_up(with_slow_kernel) > INLINE_SECONDS


class Slow:
    """Takes a while, then pushes left."""

    initial_state = ()

    def run(self, observation: Observation, state: States = ()) -> Outputs:
        time.sleep(2 * INLINE_SECONDS)
        return Outputs(np.array(0))


def dense(value: float = 0.0) -> tuple[bytes, bytes]:
    """A graph with logits and value of one layer each, and a file that says the same where `value` is 0."""
    torch.manual_seed(0)
    network = Actor("tanh", [], [])
    graph = networks.exported(network, {"observation": torch.zeros(2, 4)}, ["action", "logits", "value"])
    layers = {
        f"{tower}.0.{name}": parameter.detach().numpy()
        for tower in ("actor", "critic")
        for name, parameter in getattr(network, tower)[0].named_parameters()
    }
    layers["critic.0.bias"] = layers["critic.0.bias"] + np.float32(value)
    return graph, file({**layers, "value_scale": np.ones(1)}, {"head": "logits", "activation": "tanh"})


def test_numpy_decides_where_it_agrees_with_the_graph() -> None:
    graph, layers = dense()
    assert isinstance(load({"policy.onnx": graph, "policy.safetensors": layers}).kernel, DenseKernel)


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        pytest.param(dense(0.001)[1], "value is", id="other weights"),
        pytest.param(b"not safetensors", "not a file of the layout", id="no such file"),
    ],
)
def test_the_graph_decides_where_numpy_does_not_agree_and_that_is_said(
    layers: bytes, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    policy = load({"policy.onnx": dense()[0], "policy.safetensors": layers})
    assert isinstance(policy.kernel, OnnxKernel)
    assert f"p-1: ONNX Runtime decides; policy.safetensors is not used: {why}" in caplog.text


@pytest.mark.parametrize(
    ("outputs", "why"),
    [
        pytest.param(Outputs(np.array(0), value=math.nan), "the value is nan", id="a value that is no number"),
        pytest.param(Outputs(np.array(0), q_values=np.array([0, math.inf])), "q_values", id="an endless worth"),
        pytest.param(Outputs(np.array(0), logits=np.array([0, math.nan])), "logits", id="a score that is no number"),
        pytest.param(Outputs(np.array(0), logits=np.array([0, math.inf])), "logits", id="an endless score"),
        pytest.param(Outputs(np.array(0), logits=np.array([-math.inf] * 2)), "allows no action", id="all masked out"),
        pytest.param(Outputs(np.array(0), state=(np.array([math.nan]),)), "state", id="a state that is no number"),
        pytest.param(Outputs(np.array(2)), "outside", id="an action that does not exist"),
        pytest.param(Outputs(np.array(math.nan)), "outside", id="an action that is no number"),
    ],
)
def test_what_a_network_says_is_checked_at_each_decision(outputs: Outputs, why: str) -> None:
    policy = replace(load({"policy.onnx": balancing()}), kernel=Saying(outputs))
    with pytest.raises(SpaceError, match=why):
        policy.infer(np.zeros(4, np.float32))


@pytest.mark.parametrize(
    "outputs",
    [
        pytest.param(Outputs(np.array(0), logits=np.array([0, -math.inf])), id="an action that is masked out"),
        pytest.param(Outputs(np.array(0), logits=np.array([3e38, 1e38], np.float32)), id="scores of any size"),
    ],
)
def test_scores_may_be_extreme(outputs: Outputs) -> None:
    policy = replace(load({"policy.onnx": balancing()}), kernel=Saying(outputs))
    assert policy.infer(np.zeros(4, np.float32)) is outputs


class Saying:
    """Says the same of whatever it sees."""

    initial_state = ()

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs

    def run(self, observation: Observation, state: States = ()) -> Outputs:
        return self._outputs


def test_what_cannot_act_by_chance_is_refused_where_it_should() -> None:
    with pytest.raises(LoadError, match="acting: Stochastic needs the network's logits") as caught:
        load({"policy.onnx": balancing()}, acting="Stochastic")
    assert (caught.value.reason, caught.value.permanent) == ("WarmUpFailed", True)


@pytest.mark.parametrize(
    ("model", "interface", "manifest", "reason"),
    [
        pytest.param(b"not ONNX", CARTPOLE, None, "Unreadable", id="no model"),
        pytest.param(drawing("multinomial"), CARTPOLE, None, "SamplesInside", id="a graph that draws"),
        pytest.param(always(0, observations=5), CARTPOLE, None, "InterfaceMismatch", id="too many observations"),
        pytest.param(steady(0.5, 4), CARTPOLE, None, "WarmUpFailed", id="a score where an index belongs"),
        pytest.param(always(0), CARTPOLE, CONTINUOUS, "InterfaceMismatch", id="a manifest that says something else"),
        pytest.param(always(2, actions=3), CARTPOLE, None, "WarmUpFailed", id="an action that does not exist"),
        pytest.param(steady(float("nan")), CONTINUOUS, None, "WarmUpFailed", id="NaN as an action"),
        pytest.param(steady(2.5), CONTINUOUS, None, "WarmUpFailed", id="an action out of bounds"),
        pytest.param(
            linear(np.eye(3)[:, :1], [0.0], arg_max=False),
            CONTINUOUS,
            None,
            "WarmUpFailed",
            id="out of bounds only at the edge of the observations",
        ),
    ],
)
def test_what_may_not_act_is_refused_for_good(
    model: bytes, interface: Interface, manifest: Interface | None, reason: str
) -> None:
    with pytest.raises(LoadError) as caught:
        load({"policy.onnx": model}, interface, manifest)
    assert (caught.value.reason, caught.value.permanent) == (reason, True)
    assert str(caught.value).startswith("p-1: ")


def test_an_artifact_without_a_model_is_refused() -> None:
    with pytest.raises(LoadError, match=r"policy\.onnx"):
        load({"other.bin": b"1"})
