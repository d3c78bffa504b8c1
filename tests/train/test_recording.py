"""What is kept of an evaluation to be looked at: real environments, real policies, nothing beyond its bounds."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.train.conftest import ROOT, environment, exported, interface_of
from tests.train.test_export import LSTM, trained

from checkrein.api.recording import MOST_EPISODES, MOST_STEPS, MOST_UNITS, Recording
from checkrein.api.tasks import TrainingTask
from checkrein.store import recordings
from checkrein.train import saliency
from checkrein.train.algorithms import ALGORITHMS
from checkrein.train.evaluation import evaluate
from checkrein.train.export import Graph
from checkrein.train.frames import MOST_FRAMES, NoFrames, Replay, rendered
from checkrein.train.policy import Policy, Turn
from checkrein.train.recording import Parent, chosen, record
from checkrein.train.saliency import CHOSEN, VALUE, Look
from checkrein.train.seeds import acting_generator, evaluation_seeds
from checkrein.train.shielding import Shielded

MANIFEST = f"sha256:{'a' * 64}"
SEEDS = evaluation_seeds("uid", 1, 12)


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a slow machine does not finish in time would be a remark."""
    monkeypatch.setattr("checkrein.train.recording.SECONDS", 600.0)
    monkeypatch.setattr("checkrein.train.recording.rendered", partial(rendered, seconds=600.0))


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the renderer's process, as the modules of an image are by the evaluator's."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'operator'}:{ROOT}")


def recorded(made: TrainingTask, policy: Policy, parent: Parent | None = None) -> Recording:
    shielded = Shielded(policy, made.environment.safety)
    played = evaluate(made.environment, shielded, SEEDS)
    found = record(made.environment, shielded, MANIFEST, SEEDS, played, parent)
    assert recordings.unpack(recordings.pack(found)) == found
    assert found.returns == played.returns
    return found


def policy_of(id_: str, algorithm: str = "PPO", **hyperparameters: Any) -> tuple[TrainingTask, Policy]:
    made, model = trained(id_, algorithm, False, hyperparameters)
    return made, exported(made, model)[0]


@pytest.mark.parametrize(
    ("id_", "algorithm", "elements", "scores"),
    [
        pytest.param("CartPole-v1", "PPO", (4, 1), {CHOSEN, VALUE}, id="CartPole"),
        pytest.param("Pendulum-v1", "TD3", (3, 1), {CHOSEN, VALUE}, id="measured actions"),
        pytest.param("Pendulum-v1", "SAC", (3, 1), {CHOSEN}, id="no value in the graph"),
        pytest.param("tiny/CameraMultiDiscrete-v0", "PPO", (0, 3), {CHOSEN, VALUE}, id="pictures"),
        pytest.param("tiny/DictMultiBinary-v0", "PPO", (0, 4), {CHOSEN, VALUE}, id="a large Dict"),
        pytest.param("tiny/ToldDiscrete-v0", "PPO", (3, 1), {CHOSEN, VALUE}, id="a small Dict"),
        pytest.param("tiny/ShiftedShifted-v0", "DQN", (1, 1), set(), id="nothing has a gradient"),
        pytest.param("tiny/BoxDiscrete-v0", "RecurrentPPO", (3, 1), {CHOSEN, VALUE}, id="a memory"),
        pytest.param("tiny/BoxTable-v0", "TD3", (3, 4), {CHOSEN, VALUE}, id="an action of two dimensions"),
    ],
)
def test_episodes_are_kept_as_they_were_counted(
    id_: str, algorithm: str, elements: tuple[int, int], scores: set[str]
) -> None:
    made, policy = policy_of(id_, algorithm, **(LSTM if algorithm == "RecurrentPPO" else {}))
    found = recorded(made, policy)
    assert len(found.episodes) == MOST_EPISODES
    for episode in found.episodes:
        assert episode.total == found.returns[int(episode.name)] == pytest.approx(sum(map(float, episode.rewards)))  # type: ignore[arg-type]
        assert len(episode.rewards) == len(episode.actions) == found.lengths[int(episode.name)]
        assert {len(row) for row in episode.actions} == {elements[1]}
        assert {len(row) for row in episode.observations} == ({elements[0]} if elements[0] else set())
        assert len(episode.values) == (len(episode.rewards) if algorithm != "SAC" else 0)
        assert episode.remark == ""
    assert {told.of for told in found.saliency} == scores
    for told in found.saliency:
        assert sum(len(part.labels) for part in told.inputs) <= MOST_UNITS
        assert any(gradient > 0 for part in told.inputs for gradient in part.gradients)


def test_an_episode_of_cartpole_is_animated_without_a_display() -> None:
    found = recorded(*policy_of("CartPole-v1"))
    image = Image.open(io.BytesIO(found.frames))
    steps = found.lengths[int(found.frames_of)]
    assert (image.format, image.size) == ("GIF", (300, 200))
    assert sum(durations(image)) == 20 * (steps + 1), "a step of CartPole takes 20 ms"
    assert found.remarks == []


def durations(image: Any) -> list[int]:
    """Of every frame, in ms; frames that are alike are one that lasts longer."""
    return [image.seek(i) or image.info["duration"] for i in range(image.n_frames)]


@pytest.mark.parametrize(
    ("id_", "said"),
    [
        pytest.param("pictures/Text-v0", "render() gave str", id="no array"),
        pytest.param("pictures/Blind-v0", "renders human, not rgb_array", id="needs a display"),
        pytest.param("pictures/Crashes-v0", "no picture", id="the renderer takes its process along"),
        pytest.param("tiny/BoxDiscrete-v0", "cannot be made with render_mode", id="cannot render"),
    ],
)
def test_what_cannot_be_shown_is_a_remark(id_: str, said: str) -> None:
    found = recorded(*policy_of(id_))
    assert (found.frames, found.frames_of, len(found.episodes)) == (b"", "", MOST_EPISODES)
    [remark] = found.remarks
    assert said in remark


def replay(name: str) -> Replay:
    spec = environment(f"pictures/{name}-v0")
    return Replay(environment=spec, action=interface_of(spec).action, seed=1, actions=[[0.0]] * 4)


def test_a_renderer_that_hangs_is_given_up() -> None:
    with pytest.raises(NoFrames, match="more than 3 s"):
        rendered(replay("Hangs"), seconds=3)


def test_a_library_s_greetings_are_no_part_of_the_picture() -> None:
    assert Image.open(io.BytesIO(rendered(replay("Chatty")))).size == (30, 20)


def test_an_environment_that_does_not_repeat_itself_is_told_of() -> None:
    found = recorded(*policy_of("pictures/Forgetful-v0"))
    assert all("does not repeat itself" in episode.remark for episode in found.episodes)


def test_playing_again_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("checkrein.train.recording.SECONDS", -1.0)
    found = recorded(*policy_of("CartPole-v1"))
    assert (found.episodes, found.saliency, found.frames) == ([], [], b"")
    assert found.remarks == ["only 0 episodes are kept: playing them took -1 s"]


def test_the_version_before_is_asked_about_the_same_observations() -> None:
    made, policy = policy_of("CartPole-v1")
    same = recorded(made, policy, Parent("cartpole-1", MANIFEST, policy)).parent
    assert same
    assert (same.name, same.agreed) == ("cartpole-1", 1.0)

    class Contrary(Policy):
        def __init__(self) -> None:
            self.interface = policy.interface

        def say(self, turns: Any) -> Any:
            return {"action": 1 - policy.say(turns)["action"]}

    other = recorded(made, policy, Parent("cartpole-1", MANIFEST, Contrary())).parent
    assert other
    assert (other.steps, other.agreed) == (same.steps, 0.0)


def test_the_version_before_of_another_interface_is_not_asked() -> None:
    _, pendulum = policy_of("Pendulum-v1")
    found = recorded(*policy_of("CartPole-v1"), parent=Parent("cartpole-1", MANIFEST, pendulum))
    assert found.parent is None
    assert found.remarks == ["cartpole-1 has another interface: what it would have done here cannot be asked"]


@pytest.mark.parametrize(
    ("returns", "expected"),
    [
        pytest.param([7.0], [("median", 0)], id="one"),
        pytest.param([1.0, 3.0, 2.0], [("median", 2), ("best", 1), ("worst", 0)], id="three"),
        pytest.param(
            [5.0, 1.0, 9.0, 5.0, 5.0, 5.0, 5.0],
            [("median", 4), ("best", 2), ("worst", 1), ("random", 0), ("random", 3)],
            id="the first others fill up",
        ),
    ],
)
def test_chosen(returns: list[float], expected: list[tuple[str, int]]) -> None:
    assert chosen(returns) == expected


@pytest.mark.parametrize("normalize", [False, True], ids=["as it comes", "normalised"])
def test_saliency_is_the_gradient_that_torch_finds(normalize: bool) -> None:
    made, model = trained("CartPole-v1", "PPO", normalize, {})
    policy, _ = exported(made, model)
    graph = Graph(model, ALGORITHMS["PPO"].network(model.policy), made.interface, []).to("cpu").eval()
    observation = np.array([0.3, -0.5, 0.05, 0.4], np.float32)
    action = policy.act([Turn(observation, acting_generator(0))])[0]
    looks = [Look(Turn(observation, acting_generator(0)), action)]
    found = {s.of: s for s in saliency.saliencies(policy, saliency.leaves(made.interface.observation, []), looks)}

    names = graph.names((torch.zeros(1, 4),))
    inputs = torch.from_numpy(observation[None]).requires_grad_()
    outputs = dict(zip(names, graph(inputs), strict=True))
    scores = {
        CHOSEN: outputs["logits"][0, int(action)] - outputs["logits"].mean(),
        VALUE: outputs["value"].sum(),
    }
    for of, score in scores.items():
        [gradient] = torch.autograd.grad(score, inputs, retain_graph=True)
        [told] = found[of].inputs
        assert told.gradients == pytest.approx(
            gradient[0].abs().tolist(), rel=0.02, abs=1e-3 * float(gradient.abs().max())
        )


@pytest.mark.parametrize("observation", ["Camera", "Planes", "Image", "Dict", "Wide", "MultiBinary"])
def test_every_element_belongs_to_one_unit(observation: str) -> None:
    space = interface_of(environment(f"tiny/{observation}Discrete-v0")).observation
    for leaf in saliency.leaves(space, []):
        elements = np.sort(np.concatenate([unit.elements for unit in leaf.units]))
        assert elements.tolist() == list(range(leaf.space.size))
        assert leaf.columns is None or len(leaf.units) % leaf.columns == 0


@pytest.mark.parametrize("steps", [7, 0])
def test_an_episode_that_a_rule_ended_is_kept_with_its_name(steps: int) -> None:
    made, policy = policy_of("CartPole-v1")
    rule = {"name": "early", "require": f"step < {steps}", "otherwise": "Terminate"}
    found = recorded(
        made.model_copy(update={"environment": environment("CartPole-v1", safety={"shield": [rule]})}), policy
    )
    assert {(e.ending, len(e.actions), e.remark) for e in found.episodes} == {("shield", steps, "its name is early")}
    decisions = (steps + 1) * len(SEEDS)
    assert found.remarks[0] == (
        f"rules of the shield had a say in {len(SEEDS)} of {decisions} decisions, and ended {len(SEEDS)} of "
        f"{len(SEEDS)} episodes"
    )


def test_a_long_episode_is_cut() -> None:
    made, policy = policy_of("pictures/Long-v0")
    spec = environment("pictures/Long-v0", safety={"features": ["left", "right"]})
    found = recorded(made.model_copy(update={"environment": spec}), policy)
    assert found.features == ["left", "right"]
    assert {(e.ending, len(e.actions), e.total, e.remark) for e in found.episodes} == {("cut", MOST_STEPS, 1000.0, "")}
    assert found.returns == [1500.0] * len(SEEDS)
    assert len(durations(Image.open(io.BytesIO(found.frames)))) <= MOST_FRAMES + 1
