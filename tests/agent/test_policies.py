"""Which artifacts may act."""

from __future__ import annotations

import numpy as np
import pytest
from tests.agent.graphs import CARTPOLE, CONTINUOUS, always, balancing, linear, steady

from checkrein.agent.kernel import Port, misfit
from checkrein.agent.policies import LoadError, Policy, build
from checkrein.api.deployment import PolicyPointer
from checkrein.api.digests import sha256
from checkrein.api.policy import Artifact
from checkrein.api.spaces import Interface, Space
from checkrein.api.tasks import ManifestFile, PolicyManifest


def load(files: dict[str, bytes], interface: Interface = CARTPOLE, manifest: Interface | None = None) -> Policy:
    artifact = Artifact(bucket="policies", key="k", version_id="v", digest=sha256(b""), size=1)
    listed = [ManifestFile(path=path, digest=sha256(data), size=len(data)) for path, data in files.items()]
    content = PolicyManifest(files=listed, interface=manifest or interface, algorithm="PPO", opset=17)
    return build(PolicyPointer(name="p-1", artifact=artifact, interface=interface), content, files)


def test_a_fitting_policy_acts() -> None:
    policy = load({"policy.onnx": balancing()})
    assert [policy.act(np.array([0, 0, lean, 0], np.float32)) for lean in (-0.1, 0.1)] == [0, 1]
    assert load({"policy.onnx": steady(0.5)}, CONTINUOUS).act(np.zeros(3, np.float32)) == [0.5]


@pytest.mark.parametrize(
    ("model", "interface", "manifest", "reason"),
    [
        pytest.param(b"not ONNX", CARTPOLE, None, "Unreadable", id="no model"),
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


BOX, ONE_OF = CONTINUOUS.observation, CARTPOLE.action
ENTRY, EXIT = Port("observation", "tensor(float)", ("batch", 3)), Port("action", "tensor(int64)", ("batch",))


@pytest.mark.parametrize(
    ("inputs", "outputs", "observation", "why"),
    [
        pytest.param([ENTRY], [EXIT], BOX, "", id="fits"),
        pytest.param([ENTRY], [Port("value", "tensor(float)", ("batch",)), EXIT], BOX, "", id="more outputs fit"),
        pytest.param([Port("observation", "tensor(float)", (1, 3))], [EXIT], BOX, "", id="a batch of one fits"),
        pytest.param([Port("observation", "tensor(float)", ("b", "n"))], [EXIT], BOX, "", id="any width fits"),
        pytest.param([Port("observation", "tensor(int64)", ("b", 1))], [EXIT], ONE_OF, "", id="a discrete in a column"),
        pytest.param([Port("observation", "tensor(int64)", ("b",))], [EXIT], ONE_OF, "", id="a discrete alone"),
        pytest.param([Port("obs", "tensor(float)", ("b", 3))], [EXIT], BOX, "named 'observation'", id="misnamed input"),
        pytest.param([ENTRY, ENTRY], [EXIT], BOX, "exactly one", id="two inputs"),
        pytest.param([ENTRY], [Port("a", "tensor(int64)", ("b",))], BOX, "named 'action'", id="misnamed output"),
        pytest.param([Port("observation", "tensor(string)", ("b", 3))], [EXIT], BOX, "tensor", id="strings"),
        pytest.param([Port("observation", "tensor(float)", (8, 3))], [EXIT], BOX, "hold Box", id="a batch of eight"),
        pytest.param([Port("observation", "tensor(float)", ("b", 4))], [EXIT], BOX, "hold Box", id="too wide"),
        pytest.param([Port("observation", "tensor(float)", ())], [EXIT], BOX, "hold Box", id="a scalar"),
    ],
)
def test_misfit(inputs: list[Port], outputs: list[Port], observation: Space, why: str) -> None:
    found = misfit(inputs, outputs, observation, ONE_OF)
    assert bool(found) == bool(why)
    assert why in found
