"""What ONNX Runtime is given and what it says: networks of every kind against torch, one observation at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from tests.agent import networks
from tests.agent.graphs import CARTPOLE, CONTINUOUS, always, balancing

from checkrein.agent.kernel import OnnxKernel
from checkrein.agent.operators import MalformedError
from checkrein.agent.ports import InterfaceError, Port, misfit
from checkrein.api.spaces import Interface, Space
from checkrein.shield.arrays import samples


def close(found: np.ndarray | None, wanted: torch.Tensor) -> bool:
    assert found is not None
    return found.shape == wanted.shape and np.allclose(found, wanted.numpy(), atol=1e-5)


def test_a_convolutional_network_sees_what_the_camera_gives() -> None:
    network, graph = networks.seen()
    kernel = OnnxKernel(graph, networks.SEEN)
    for picture in samples(networks.CAMERA, 5, seed=1):
        outputs = kernel.run(picture)
        with torch.no_grad():
            action, logits = network(torch.as_tensor(picture)[None])
        assert close(outputs.logits, logits[0])
        assert (outputs.action.shape, outputs.action.item()) == ((), action.item())


def test_a_dict_is_given_by_its_keys() -> None:
    network, graph = networks.sensing()
    kernel = OnnxKernel(graph, networks.SENSED)
    for seen in samples(networks.SENSED.observation, 5, seed=1):
        assert isinstance(seen, dict)
        outputs = kernel.run(seen)
        with torch.no_grad():
            _, q_values = network(*(torch.as_tensor(seen[name])[None] for name in ("camera", "gear", "speed")))
        assert close(outputs.q_values, q_values[0])
        assert outputs.value == pytest.approx(q_values.max().item(), abs=1e-5)


def test_a_recurrent_network_goes_on_from_the_state_that_it_gave() -> None:
    network, graph = networks.remembering()
    kernel = OnnxKernel(graph, CONTINUOUS)
    assert [s.shape for s in kernel.initial_state] == [(8,), (8,)]
    state, theirs = kernel.initial_state, (torch.zeros(1, 8), torch.zeros(1, 8))
    for observation in samples(CONTINUOUS.observation, 6, seed=1):
        assert isinstance(observation, np.ndarray)
        outputs = kernel.run(observation, state)
        with torch.no_grad():
            action, mean, _, value, *theirs = network(torch.as_tensor(observation)[None], *theirs)  # type: ignore[assignment]
        assert close(outputs.action, action[0])
        assert close(outputs.mean, mean[0])
        assert close(outputs.log_std, torch.tensor([-0.5]))
        assert outputs.value == pytest.approx(value.item(), abs=1e-5)
        assert all(close(mine, other[0]) for mine, other in zip(outputs.state, theirs, strict=True))
        state = outputs.state


def test_no_state_given_is_the_state_at_an_episode_s_start() -> None:
    kernel = OnnxKernel(networks.remembering()[1], CONTINUOUS)
    first = kernel.run(np.ones(3, np.float32))
    assert kernel.run(np.ones(3, np.float32), first.state).mean != first.mean
    assert kernel.run(np.ones(3, np.float32)).mean == first.mean == kernel.run(np.ones(3), kernel.initial_state).mean


@pytest.mark.parametrize(
    "state",
    [
        pytest.param((np.zeros(8, np.float32),), id="too few"),
        pytest.param((np.zeros(8, np.float32), np.zeros(9, np.float32)), id="too wide"),
    ],
)
def test_a_state_of_another_network_is_refused(state: tuple[np.ndarray, ...]) -> None:
    with pytest.raises(InterfaceError, match="state has shapes"):
        OnnxKernel(networks.remembering()[1], CONTINUOUS).run(np.zeros(3, np.float32), state)


def test_what_a_decision_gave_stays_when_others_follow() -> None:
    kernel = OnnxKernel(networks.seen()[1], networks.SEEN)
    black, white = (kernel.run(np.full((8, 8, 3), shade, np.uint8)) for shade in (0, 255))
    again = kernel.run(np.zeros((8, 8, 3), np.uint8))
    assert black.logits is not None
    assert np.array_equal(black.logits, again.logits)
    assert not np.array_equal(black.logits, white.logits)


def test_decisions_in_many_threads_do_not_mix() -> None:
    kernel = OnnxKernel(networks.seen()[1], networks.SEEN)
    shades = [np.full((8, 8, 3), shade, np.uint8) for shade in range(0, 250, 10)]
    alone = [kernel.run(shade).logits for shade in shades]
    with ThreadPoolExecutor(8) as pool:
        together = [outputs.logits for outputs in pool.map(kernel.run, shades * 40)]
    assert all(np.array_equal(a, b) for a, b in zip(alone * 40, together, strict=True))


def test_a_graph_whose_scores_are_not_of_the_action_space_is_refused() -> None:
    three = Interface(observation=networks.CAMERA, action=Space(type="Discrete", dtype="int64", n=3))
    with pytest.raises(InterfaceError, match="logits of the graph has 2 elements, 3 belong there"):
        OnnxKernel(networks.seen()[1], three).run(np.zeros((8, 8, 3), np.uint8))


def test_the_runtime_s_own_format_is_refused(tmp_path: Path) -> None:
    """Nobody has looked for random operators in it."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "policy.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    ort.InferenceSession(balancing(), options)
    saved = (tmp_path / "policy.ort").read_bytes()
    assert ort.InferenceSession(saved).get_inputs()
    with pytest.raises(MalformedError):
        OnnxKernel(saved, CARTPOLE)


BOX, ONE_OF = CONTINUOUS.observation, CARTPOLE.action
ENTRY, EXIT = Port("observation", "tensor(float)", ("batch", 3)), Port("action", "tensor(int64)", ("batch",))
STATE, AFTER = Port("state.0", "tensor(float)", ("b", 8)), Port("next_state.0", "tensor(float)", ("b", 8))


@pytest.mark.parametrize(
    ("inputs", "outputs", "observation", "why"),
    [
        pytest.param([ENTRY], [EXIT], BOX, "", id="fits"),
        pytest.param([ENTRY], [Port("value", "tensor(float)", ("batch",)), EXIT], BOX, "", id="more outputs fit"),
        pytest.param([Port("observation", "tensor(float)", (1, 3))], [EXIT], BOX, "", id="a batch of one fits"),
        pytest.param([Port("observation", "tensor(float)", ("b", "n"))], [EXIT], BOX, "", id="any width fits"),
        pytest.param([Port("observation", "tensor(int64)", ("b", 1))], [EXIT], ONE_OF, "", id="a discrete in a column"),
        pytest.param([Port("observation", "tensor(int64)", ("b",))], [EXIT], ONE_OF, "", id="a discrete alone"),
        pytest.param([Port("obs", "tensor(float)", ("b", 3))], [EXIT], BOX, "exactly ['obser", id="misnamed input"),
        pytest.param([ENTRY, ENTRY], [EXIT], BOX, "exactly ['obser", id="two inputs"),
        pytest.param([ENTRY], [Port("a", "tensor(int64)", ("b",))], BOX, "['action'] too", id="misnamed output"),
        pytest.param([Port("observation", "tensor(string)", ("b", 3))], [EXIT], BOX, "tensor", id="strings"),
        pytest.param([Port("observation", "tensor(float)", (8, 3))], [EXIT], BOX, "hold Box", id="a batch of eight"),
        pytest.param([Port("observation", "tensor(float)", ("b", 4))], [EXIT], BOX, "hold Box", id="too wide"),
        pytest.param([Port("observation", "tensor(float)", ())], [EXIT], BOX, "hold Box", id="a scalar"),
        pytest.param([ENTRY, STATE], [EXIT, AFTER], BOX, "", id="a state fits"),
        pytest.param([ENTRY, STATE], [EXIT], BOX, "['next_state.0'] too", id="a state that is not handed on"),
        pytest.param(
            [ENTRY, Port("state.1", "tensor(float)", ("b", 8))], [EXIT], BOX, "exactly", id="a state without the first"
        ),
        pytest.param(
            [ENTRY, Port("state.0", "tensor(float)", ("b", "n"))], [EXIT, AFTER], BOX, "open", id="a state of any width"
        ),
        pytest.param(
            [ENTRY, STATE],
            [EXIT, Port("next_state.0", "tensor(double)", ("b", 8))],
            BOX,
            "must be alike",
            id="a state that changes its type",
        ),
    ],
)
def test_misfit(inputs: list[Port], outputs: list[Port], observation: Space, why: str) -> None:
    found = misfit(inputs, outputs, Interface(observation=observation, action=ONE_OF))
    assert bool(found) == bool(why)
    assert why in found


def test_a_dict_needs_an_input_for_each_key() -> None:
    with pytest.raises(InterfaceError, match=r"exactly \['observation.camera', 'observation.gear', 'observation.speed"):
        OnnxKernel(always(0), networks.SENSED)


def test_a_graph_alone_with_its_action_is_enough() -> None:
    outputs = OnnxKernel(balancing(), CARTPOLE).run(np.array([0, 0, 0.1, 0], np.float32))
    assert (outputs.action.item(), outputs.value, outputs.logits, outputs.state) == (1, None, None, ())
