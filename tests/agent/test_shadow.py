"""A candidate decides beside stable, and nobody notices: real decisions, real networks, a real log."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from prometheus_client import generate_latest
from tests.agent import graphs, networks
from tests.agent.graphs import CARTPOLE, CONTINUOUS, TRIGGER
from tests.agent.test_dense import Actor

from checkrein.agent import pilot
from checkrein.agent.clock import Clock
from checkrein.agent.decisions import Decider
from checkrein.agent.distance import Distance, flat, names
from checkrein.agent.episodes import Tokens
from checkrein.agent.journal import Identity, Journal
from checkrein.agent.kernel import Kernel, Observation, OnnxKernel, Outputs, States
from checkrein.agent.keyring import Key, Keyring
from checkrein.agent.limits import Limiter
from checkrein.agent.metrics import Metrics
from checkrein.agent.policies import Policy, build
from checkrein.agent.shadow import Shadow
from checkrein.agent.state import State
from checkrein.api.deployment import AgentDeployment, AgentDeploymentSpec, AgentDeploymentStatus, PolicyPointer
from checkrein.api.digests import sha256
from checkrein.api.evidence import ShadowPart, ShadowReport
from checkrein.api.meta import ObjectMeta
from checkrein.api.policy import Artifact
from checkrein.api.rollout import RolloutStatus, StepStatus
from checkrein.api.spaces import Interface, Member, Space
from checkrein.api.tasks import ManifestFile, PolicyManifest
from checkrein.store.decisions.parts import Parts, latencies

AGENT = "games/cartpole"
CALM = [0.0, 0.0, 0.0, 0.0]
RNG = np.random.default_rng(3)
Json = dict[str, Any]


def policy(name: str, model: bytes, interface: Interface = CARTPOLE, **said: Any) -> tuple[PolicyPointer, Policy]:
    artifact = Artifact(bucket="policies", key="k", version_id="v", digest=sha256(name.encode() + model), size=1)
    pointer = PolicyPointer(name=name, artifact=artifact, interface=interface)
    listed = [ManifestFile(path="policy.onnx", digest=sha256(model), size=len(model))]
    manifest = PolicyManifest(files=listed, interface=interface, algorithm="PPO", opset=17, **said)
    return pointer, build(pointer, manifest, {"policy.onnx": model})


class Stage:
    """A replica that shadows every episode. `slow` are latencies that the ledger counts."""

    def __init__(
        self,
        folder: Path,
        stable: tuple[PolicyPointer, Policy],
        candidate: tuple[PolicyPointer, Policy],
        keyring: Keyring,
        spec: Json,
    ) -> None:
        self.stable, self.candidate, self.spec = stable, candidate, spec
        self.state = State()
        self.folder, self._closed = folder, False
        self.journal = Journal(folder, Identity(AGENT, "pod-0", "uid-0"), None)
        self.parts, self.metrics, clock = Parts(latencies(["1us", "10s"])), Metrics(), Clock()
        tokens = Tokens(keyring)
        self.decider = Decider(
            self.state, tokens, Limiter(), self.journal, self.metrics, clock, self.parts, AGENT, "pod-0"
        )
        self._bounds = self.state, tokens, self.journal, self.parts, self.metrics, AGENT
        self.bound(seconds=60)  # a busy machine is no fault of the candidate's
        self.rollout("p-2.1")

    def rollout(self, name: str, epoch: int = 1) -> None:
        """The word that this one is under way."""
        began = datetime(2026, 12, 1, tzinfo=UTC)
        status = AgentDeploymentStatus(
            epoch=epoch,
            stable=self.stable[0],
            candidate=self.candidate[0],
            step=StepStatus(kind="Shadow", since=began),
            rollout=RolloutStatus(id=name, seed="ab", began=began),
        )
        strategy = {"shadow": {"units": 10}}
        made = AgentDeploymentSpec.model_validate({"policyVersion": "p-2", "strategy": strategy, **self.spec})
        metadata = ObjectMeta(name="cartpole", uid="uid", generation=1)
        assert self.state.accept(AgentDeployment(metadata=metadata, spec=made, status=status))
        for _, each in (self.stable, self.candidate):
            self.state.add(each)

    def bound(self, **bounds: Any) -> None:
        """Other bounds than a replica has."""
        self.decider.shadow.close()
        self.decider.shadow = Shadow(*self._bounds, **bounds)

    def hold(self) -> Held:
        """The candidate can be kept from deciding."""
        _, made = self.candidate
        held = Held(made.kernel)
        self.state.add(replace(made, kernel=held))
        return held

    async def act(self, observation: list[float], token: str | None = None, **more: Any) -> Json:
        """The answer to a request."""
        body = {"observation": observation, **more} | ({"episode": token} if token else {})
        made = self.decider.try_act(json.dumps(body).encode(), "somebody")
        found: Json = json.loads(made if isinstance(made, bytes) else await made)
        return found

    async def play(self, observations: list[list[float]]) -> list[Json]:
        """One episode."""
        answers: list[Json] = []
        for observation in observations:
            answers.append(await self.act(observation, answers[-1]["episode"] if answers else None))
        return answers

    async def close(self) -> None:
        """No more decisions."""
        if not self._closed:
            self._closed = True
            self.decider.close()
            await self.journal.close()

    def part(self) -> ShadowPart:
        """Of the only episode."""
        [part] = self.parts.after(0)
        return part.shadow or ShadowPart()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Waits for that."""
        async with asyncio.timeout(60):
            while not holds():  # noqa: ASYNC110 - a state that nobody announces
                await asyncio.sleep(0.005)

    async def told(self, count: int) -> ShadowReport:
        """The report on so many offers, once it has all of them."""

        def complete() -> bool:
            report = self.decider.shadow.report()
            return report is not None and sum((report.compared, report.failed, report.invalid, report.dropped)) == count

        await self.until(complete)
        await asyncio.sleep(0)  # the last opinion was told before it was published; now it is in log and ledger, too
        report = self.decider.shadow.report()
        assert report is not None
        return report

    async def records(self, kind: str = "shadow") -> list[Json]:
        """What the log holds; it is closed."""
        await self.close()
        files = sorted(f for f in self.folder.rglob("*") if f.suffix in (".open", ".sealed"))
        lines = [json.loads(line)["record"] for f in files for line in f.read_bytes().splitlines()[1:]]
        return [record for record in lines if record["kind"] == kind]


class Held:
    """Decides as another kernel does; on TRIGGER only once it is let go."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.begun, self.go = threading.Event(), threading.Event()

    @property
    def initial_state(self) -> States:
        return self._kernel.initial_state

    def run(self, observation: Observation, state: States = ()) -> Outputs:
        if np.array_equal(np.asarray(observation), TRIGGER):
            self.begun.set()
            assert self.go.wait(60)
        return self._kernel.run(observation, state)

    def twin(self) -> Held:
        return self

    def stop(self) -> None:
        self._kernel.stop()


@pytest.fixture
def keyring() -> Keyring:
    return Keyring([Key(0, b"k" * 32)], Clock())


@pytest.fixture
def staged(tmp_path: Path, keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A replica with a stable policy and a candidate, given as graphs."""
    monkeypatch.setattr(pilot, "DURABLE_SECONDS", 60)  # a busy disk is no reason not to explore

    @asynccontextmanager
    async def make(
        stable: bytes,
        candidate: bytes,
        interface: Interface = CARTPOLE,
        *,
        pod: str = "0",
        said: Json | None = None,
        **spec: Any,
    ) -> AsyncIterator[Stage]:
        policies = (policy(n, m, interface, **(said or {})) for n, m in (("p-1", stable), ("p-2", candidate)))
        stage = Stage(tmp_path / pod, *policies, keyring, spec)
        stage.journal.start()
        await stage.until(lambda: bool(stage.journal.stream))
        try:
            yield stage
        finally:
            await stage.close()

    return make


def drawn(count: int) -> list[list[float]]:
    """Observations of CartPole."""
    found: list[list[float]] = RNG.uniform(-0.2, 0.2, (count, 4)).astype(np.float32).tolist()
    return found


# --- what is told


async def test_agreement_is_that_by_hand(staged: Callable[..., Any]) -> None:
    observations = drawn(200)
    async with staged(graphs.always(0), graphs.balancing(), said={"features": ["x", "v", "lean", "turn"]}) as stage:
        answers = await stage.play(observations)
        report = await stage.told(200)
        records = await stage.records()
    assert {answer["action"] for answer in answers} == {0}
    seen = np.array(observations)
    right = seen @ np.array([0.0, 0.1, 1.0, 1.0]) > 0
    assert (report.compared, report.agreed, report.distance) == (200, 200 - right.sum(), right.mean())
    assert report.actions == {"0>0": 200 - right.sum(), "0>1": right.sum()}
    for feature in report.features:
        at = ["x", "v", "lean", "turn"].index(feature.name)
        means = seen[~right, at].mean(), seen[right, at].mean()
        assert (feature.agreed, feature.differed) == pytest.approx(means)
        assert feature.effect == pytest.approx((means[1] - means[0]) / seen[:, at].std())
    latest = [answer["decision"] for answer, differs in zip(answers, right, strict=True) if differs][:-9:-1]
    assert [example.decision for example in report.examples] == latest
    assert report.latency_p50_us is not None
    assert report.latency_p99_us is not None
    assert 0 < report.latency_p50_us <= report.latency_p99_us
    assert [(r["decision"], r["action"], r["agreed"]) for r in records] == [
        (answer["decision"], int(differs), not differs) for answer, differs in zip(answers, right, strict=True)
    ]
    assert {r["probability"] for r, differs in zip(records, right, strict=True) if differs} == {0.0}


@pytest.mark.parametrize(
    ("candidate", "agreed", "distance"),
    [
        pytest.param(0.5, True, 0.0, id="the same"),
        pytest.param(0.53, True, 0.0075, id="within a hundredth of the range"),
        pytest.param(-0.5, False, 0.25, id="a quarter of the range apart"),
    ],
)
async def test_actions_of_a_box(staged: Callable[..., Any], candidate: float, agreed: bool, distance: float) -> None:
    async with staged(graphs.steady(0.5), graphs.steady(candidate), CONTINUOUS) as stage:
        await stage.act([0.0, 0.0, 0.0])
        report = await stage.told(1)
        [record] = await stage.records()
    assert (report.agreed, report.distance) == (int(agreed), pytest.approx(distance, abs=1e-6))
    assert (record["unit"].split("/")[0], record["probability"]) == ("shadow", None)


def test_distances_of_the_other_spaces() -> None:
    several = Distance(Space(type="MultiDiscrete", dtype="int64", nvec=[3, 3, 3, 3]))
    assert several(np.array([0, 1, 2, 0]), np.array([0, 1, 0, 0])) == (False, 0.25)
    switches = Distance(Space(type="MultiBinary", dtype="int8", shape=[2]))
    assert switches(np.array([0, 1]), np.array([0, 1])) == (True, 0.0)
    wide = Distance(Space(type="Box", dtype="float64", shape=[2], low=["-inf", "0"], high=["inf", "0"]))
    assert wide(np.array([0.0, 0.0]), np.array([1.0, 0.0])) == (False, 0.25)


def test_elements_are_named_in_the_order_in_which_they_are_told() -> None:
    gear = Member(name="gear", type="Discrete", dtype="int64", n=4)
    speed = Member(name="speed", type="Box", dtype="float32", shape=[2], low=["0"], high=["1"])
    space = Space(type="Dict", members=[gear, speed])
    assert names(space, []) == ["observation.gear", "observation.speed[0]", "observation.speed[1]"]
    assert names(space, ["a", "b", "c"]) == ["a", "b", "c"]
    assert flat({"gear": np.array(3), "speed": np.array([0.5, 1.0], np.float32)}).tolist() == [3.0, 0.5, 1.0]


def stochastic() -> tuple[Actor, bytes]:
    torch.manual_seed(RNG.integers(1000).item())
    network = Actor("tanh", [8], [8]).eval()
    return network, networks.exported(network, {"observation": torch.zeros(2, 4)}, ["action", "logits", "value"])


async def test_the_probability_of_the_executed_action_is_the_candidates(staged: Callable[..., Any]) -> None:
    (one, stable), (other, candidate) = stochastic(), stochastic()
    observations = drawn(20)
    async with staged(stable, candidate, said={"acting": "Stochastic"}) as stage:
        answers = await stage.play(observations)
        report = await stage.told(20)
        records = await stage.records()
    _, logits, values = other(torch.tensor(observations))
    table = torch.softmax(logits, dim=1).detach().numpy()
    assert [r["probability"] for r in records] == pytest.approx(
        [row[answer["action"]] for row, answer in zip(table, answers, strict=True)], rel=1e-5
    )
    apart = (values - one(torch.tensor(observations))[2]).mean().item()
    assert report.value == pytest.approx(apart, abs=1e-5)
    assert [r["q_value"] for r in records] == pytest.approx(values.tolist(), abs=1e-5)


async def test_the_same_policy_agrees_in_all_even_where_both_explore(staged: Callable[..., Any]) -> None:
    _, graph = stochastic()
    async with staged(
        graph, graph, said={"acting": "Stochastic"}, exploration={"epsilonGreedy": {"epsilon": "0.5"}}
    ) as stage:
        answers = await stage.play(drawn(60))
        report = await stage.told(60)
        records = await stage.records()
    assert 10 < sum(answer["explored"] for answer in answers) < 50
    assert (report.compared, report.agreed) == (60, 60)
    assert all(0 < record["probability"] < 1 for record in records)


async def test_the_shield_holds_for_the_candidate_too(staged: Callable[..., Any]) -> None:
    shield = [{"name": "never-right", "forbid": [1]}]
    async with staged(graphs.always(0), graphs.always(1), shield=shield) as stage:
        await stage.play(drawn(5))
        report = await stage.told(5)
        part = stage.part()
        assert stage.state.drivers.failures() == {}
    assert (report.shielded, report.agreed) == (5, 5)
    assert (part.compared, part.agreed, part.shielded) == (5, 5, 5)


async def test_a_retry_counts_once_and_an_override_not_at_all(staged: Callable[..., Any]) -> None:
    person = {"mode": "Action", "action": [1], "reason": "r", "by": "b", "until": "2099-01-01T00:00:00Z"}
    async with staged(graphs.always(0), graphs.always(0)) as stage:
        first = await stage.act(CALM)
        for _ in range(3):
            await stage.act(CALM, first["episode"])
        assert (await stage.told(2)).compared == 2
        stage.spec["override"] = person
        stage.rollout("p-2.1")
        assert (await stage.act(CALM, first["episode"]))["action"] == 1
        assert (await stage.told(2)).compared == 2


async def test_the_ledger_has_it_by_episode(staged: Callable[..., Any]) -> None:
    async with staged(graphs.always(0), graphs.balancing()) as stage:
        await stage.play([[0.0, 0.0, lean, 0.0] for lean in (-0.1, 0.1, -0.1)])
        await stage.told(3)
        assert stage.part() == ShadowPart(compared=3, agreed=2, slow={"1us": 3, "10s": 0})
        assert 'shadow_total{outcome="agreed"} 2.0' in generate_latest(stage.metrics.registry).decode()


async def test_another_rollout_begins_with_nothing(staged: Callable[..., Any]) -> None:
    async with staged(graphs.always(0), graphs.always(0)) as stage:
        await stage.act(CALM)
        await stage.told(1)
        stage.rollout("p-2.2", epoch=2)
        assert stage.decider.shadow.report() is None
        await stage.act(CALM)
        assert (await stage.told(1)).compared == 1


async def test_what_the_candidate_was_never_shown_is_told(staged: Callable[..., Any]) -> None:
    async with staged(graphs.always(0), graphs.always(0)) as stage:
        assert not stage.decider.shadow.unseen(np.array(CALM, np.float32))
        await stage.play([[0.1] * 4, [-0.1] * 4])
        await stage.told(2)
        inside, outside = np.array(CALM, np.float32), np.array([0.0, 0.2, 0.0, 0.0], np.float32)
        assert (stage.decider.shadow.unseen(inside), stage.decider.shadow.unseen(outside)) == (False, True)


# --- networks that remember


async def test_a_network_remembers_episode_by_episode(staged: Callable[..., Any]) -> None:
    _, graph = networks.remembering()
    kernel, steps = OnnxKernel(graph, CONTINUOUS), RNG.normal(size=(2, 5, 3)).astype(np.float32)
    async with staged(graphs.steady(0.5), graph, CONTINUOUS) as stage:
        tokens: list[str | None] = [None, None]
        episodes: list[list[str]] = [[], []]
        for step in range(5):
            for i in range(2):
                answer = await stage.act(steps[i, step].tolist(), tokens[i])
                tokens[i] = answer["episode"]
                episodes[i].append(answer["decision"])
        await stage.told(10)
        said = {record["decision"]: record["action"] for record in await stage.records()}
    for i in range(2):
        state = kernel.initial_state
        for step in range(5):
            outputs = kernel.run(steps[i, step], state)
            state = outputs.state
            assert said[episodes[i][step]] == pytest.approx(outputs.action.tolist())


async def test_without_its_memory_a_network_is_not_asked(staged: Callable[..., Any]) -> None:
    _, graph = networks.remembering()
    still = [0.0, 0.0, 0.0]
    async with (
        staged(graphs.steady(0.5), graph, CONTINUOUS) as here,
        staged(graphs.steady(0.5), graph, CONTINUOUS, pod="1") as there,
    ):
        first = await here.act(still)
        second = await there.act(still, first["episode"])
        await here.act(still, second["episode"])
        report = await here.told(2)
        assert (report.compared, report.dropped) == (1, 1)
        assert here.part().dropped == 1


# --- candidates that misbehave


@pytest.mark.parametrize(
    ("stable", "candidate", "interface", "calm", "trigger", "outcome"),
    [
        pytest.param(graphs.always(1), graphs.sometimes_raises(), CARTPOLE, CALM, TRIGGER, "failed", id="it raises"),
        pytest.param(
            graphs.always(1),
            graphs.sometimes_invalid(),
            CARTPOLE,
            CALM,
            TRIGGER,
            "invalid",
            id="an action out of space",
        ),
        pytest.param(
            graphs.steady(1.0),
            graphs.sometimes_nan(),
            CONTINUOUS,
            [0.0, 0.0, 0.0],
            [2.0, 0.0, 0.0],
            "invalid",
            id="NaN",
        ),
    ],
)
async def test_nobody_sees_it_fail(
    staged: Callable[..., Any],
    stable: bytes,
    candidate: bytes,
    interface: Interface,
    calm: list[float],
    trigger: list[float],
    outcome: str,
) -> None:
    async with staged(stable, candidate, interface) as stage:
        answers = await stage.play([calm, trigger, calm])
        report = await stage.told(3)
        records = await stage.records()
        part = stage.part()
    assert [np.ravel(answer["action"]).tolist() for answer in answers] == [[1.0]] * 3
    assert {answer["policy"] for answer in answers} == {"p-1"}
    assert (report.compared, getattr(report, outcome), getattr(part, outcome)) == (2, 1, 1)
    assert [record["outcome"] for record in records] == ["decided", outcome, "decided"]
    assert records[1]["action"] is None
    assert records[1]["error"]


FOREVER = 2_000_000_000


async def test_one_that_hangs_disturbs_nobody_and_is_stopped(staged: Callable[..., Any]) -> None:
    async with staged(graphs.always(1), graphs.slow(0, FOREVER)) as stage:
        stage.bound(seconds=5)  # a busy machine decides and asks 20 times within it
        answers = await stage.play([CALM, TRIGGER, *[CALM] * 20])
        assert {answer["action"] for answer in answers} == {1}
        report = await stage.told(22)
        assert (report.compared, report.failed, report.dropped) == (1, 1, 20)
        assert stage.part().slow["1us"] == 2
        await stage.until(lambda: stage.decider.shadow.idle)
        again = await stage.play([CALM, CALM])
        assert {answer["action"] for answer in again} == {1}
        assert (await stage.told(24)).compared == 3


async def test_what_finds_no_room_is_dropped_and_counted(staged: Callable[..., Any]) -> None:
    async with staged(graphs.always(1), graphs.always(0)) as stage:
        stage.bound(room=3, seconds=60)
        held = stage.hold()
        first = await stage.act(CALM)
        await stage.told(1)
        answers = [await stage.act(TRIGGER, first["episode"])]
        await stage.until(held.begun.is_set)
        for _ in range(9):
            answers.append(await stage.act(CALM, answers[-1]["episode"]))
        held.go.set()
        report = await stage.told(11)
        records = await stage.records()
    assert {answer["action"] for answer in answers} == {1}
    assert report.dropped == 6, "one is being decided, three wait"
    assert report.compared == 11 - report.dropped
    assert sum(record["outcome"] == "dropped" for record in records) == report.dropped
    assert stage.part().dropped == report.dropped


def test_a_twin_answers_while_the_other_is_busy() -> None:
    kernel = OnnxKernel(graphs.slow(0, FOREVER), CARTPOLE)
    twin = kernel.twin()
    assert twin.run(np.zeros(4, np.float32)).action == 0
    failures: list[Exception] = []

    def hang() -> None:
        try:
            kernel.run(np.array(TRIGGER, np.float32))
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's own
            failures.append(error)

    thread = threading.Thread(target=hang, daemon=True)
    thread.start()
    while thread.is_alive():
        assert twin.run(np.zeros(4, np.float32)).action == 0
        kernel.stop()
        time.sleep(0.01)
    assert "terminate" in str(failures[0])
    assert kernel.run(np.zeros(4, np.float32)).action == 0
