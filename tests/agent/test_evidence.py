"""A rollout at real replicas: who gets the candidate, and what they tell of it. The test plays the operator."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.agent import graphs
from tests.agent.conftest import StartReplica
from tests.agent.installation import NAME, Deployment, Library
from tests.agent.replica import OBSERVATION, Replica
from tests.agent.test_faults import metric, stored, terminated
from tests.agent.test_reins import OPEN, override, records, until
from tests.cluster.processes import tail
from tests.cluster.steps import ClusterError, wait_until

from checkrein.api.deployment import PolicyPointer
from checkrein.api.evidence import Evidence, Part
from checkrein.judge.assignment import KEYED, Unit, arms, opened
from checkrein.store.decisions.parts import fold
from checkrein.store.decisions.records import OpenedRecord

pytestmark = [pytest.mark.controlplane, pytest.mark.store]
Deploy = Callable[..., Deployment]

SEED = "5eed"
TRIGGER = [0.0, 2.0, 0.0, 0.0]
"""On it graphs.sometimes_invalid() takes an action that does not exist."""
GATES = [
    {"name": "cost", "metric": "cost", "test": "NotAbove", "limit": "1"},
    {
        "name": "slow",
        "metric": "slowDecisions",
        "test": "NotAbove",
        "limit": "0.01",
        "above": "1us",
        "subgroup": {"name": "leaning", "when": "observation[2] > 0.02"},
    },
]
STRATEGY: dict[str, Any] = {"canary": {"steps": [{"weight": 50, "units": 5}], "gates": GATES}}


class Rollout:
    """One AgentDeployment on the way from cartpole-1 (always 0) to cartpole-2 (always 1)."""

    def __init__(self, deployment: Deployment, library: Library, start: StartReplica, candidate: bytes) -> None:
        self.deployment = deployment
        self.operator = f"system:serviceaccount:{deployment.namespace}:caller"
        self.stable = library.publish("cartpole-1", graphs.always(0))
        self.candidate = library.publish("cartpole-2", candidate)
        self.epoch = 0
        self.start = start
        self.seed = SEED
        self.more_keys: dict[str, bytes] = {}
        self._keys = secrets.token_bytes(32)
        self._token = ""

    def say(self, kind: str = "Canary", *, weight: int = 50, rollout: str = "cartpole-2.1", **step: Any) -> None:
        """The next word of a rollout."""
        self.epoch += 1
        told = {"id": rollout, "seed": self.seed, "began": "2026-12-01T00:00:00Z"}
        where = {"kind": kind, "weight": weight, "concurrent": None, **step}
        self.deployment.set_status(self.epoch, self.stable, self.candidate, step=where, rollout=told)

    def over(self, stable: PolicyPointer) -> None:
        """It ended, and this one acts."""
        self.epoch += 1
        self.deployment.set_status(self.epoch, stable, None, step=None, rollout=None)

    def replica(self, log: Path | None = None) -> Replica:
        """Another one, once it holds both policies."""
        made = self.start(self.deployment, token_key=self._keys, keys=self.more_keys, operator=self.operator, log=log)
        made.wait(lambda report: len(report.policies) == 2 and all(p.ready for p in report.policies))
        self.assigning(made)
        return made

    def ask(self, replica: Replica, after: int | str = 0, token: str | None = None) -> httpx.Response:
        self._token = self._token or self.deployment.token()
        return replica.get(f"/evidence?after={after}", self._token if token is None else token)

    def evidence(self, replica: Replica, after: int = 0) -> Evidence:
        answer = self.ask(replica, after)
        assert answer.status_code == 200, answer.text
        return Evidence.model_validate_json(answer.content)

    def assigning(self, replica: Replica, rollout: str = "cartpole-2.1") -> None:
        """Until it assigns for this rollout."""
        awaited(replica, lambda: self.evidence(replica).rollout == rollout)

    def part(self, replica: Replica, unit: str) -> Part:
        """Of the one episode that was assigned as this."""
        [found] = [p for p in self.evidence(replica).parts if p.unit == unit]
        return found


Begin = Callable[..., Rollout]


@pytest.fixture
def begin(deploy: Deploy, library: Library, start: StartReplica) -> Begin:
    def make(candidate: bytes | None = None, strategy: dict[str, Any] | None = None, **spec: Any) -> Rollout:
        deployment = deploy(**{**OPEN, "strategy": strategy or STRATEGY, **spec})
        return Rollout(deployment, library, start, candidate or graphs.always(1))

    return make


def awaited(replica: Replica, condition: Callable[[], bool]) -> None:
    wait_until(condition, 90, otherwise=lambda: ClusterError(tail(replica.process.log)))


def unit_of(part: Part) -> Unit:
    return Unit.parse(part.unit)


def parts(rollout: Rollout, replica: Replica) -> list[Part]:
    return rollout.evidence(replica).parts


def begun(rollout: Rollout, replica: Replica, arm: str, observation: list[float] = OBSERVATION) -> dict[str, Any]:
    """A new episode's first answer, of a start that was assigned to this arm."""
    for _ in range(10):
        before = rollout.evidence(replica).upto
        answer = replica.act(observation=observation)
        [part] = [p for p in rollout.evidence(replica).parts if p.first > before]
        if part.arm == arm:
            return answer | {"unit": part.unit}
    raise AssertionError(f"no start of ten was assigned to {arm}")


def test_arms_follow_the_published_seed_and_the_mounted_key(begin: Begin) -> None:
    rollout = begin()
    rollout.seed, rollout.more_keys = f"{KEYED}{SEED}", {"assignment": b"a" * 32}
    rollout.say(weight=50)
    replica = rollout.replica()
    for _ in range(20):
        replica.act()
    told, seed = rollout.evidence(replica), opened(rollout.seed, b"a" * 32)
    assert [p.arm for p in told.parts] == [arm for b in range(10) for arm in arms(seed, told.stream, b, 50)]


def test_a_canary_stays_with_its_episode_over_replicas_a_restart_and_a_new_weight(begin: Begin, tmp_path: Path) -> None:
    rollout = begin()
    rollout.say(weight=50)
    first, second = rollout.replica(tmp_path / "log"), rollout.replica()
    answers = [first.act() for _ in range(12)]
    told = rollout.evidence(first)
    assert [(unit_of(p).block, unit_of(p).index) for p in told.parts] == [divmod(n, 2) for n in range(12)]
    assert [p.arm for p in told.parts] == [arm for b in range(6) for arm in arms(SEED, told.stream, b, 50)]
    assert [a["action"] for a in answers] == [int(p.arm == "candidate") for p in told.parts]
    assert [a["policy"] for a in answers] == [
        "cartpole-2" if p.arm == "candidate" else "cartpole-1" for p in told.parts
    ]

    rollout.say(weight=5)
    answers = [second.act(a["episode"], reward=1.0) for a in answers]  # whoever is next in line for this client
    assert [a["action"] for a in answers] == [int(p.arm == "candidate") for p in told.parts]
    elsewhere = rollout.evidence(second)
    assert [(p.episode, p.unit, p.arm) for p in elsewhere.parts] == [(p.episode, p.unit, p.arm) for p in told.parts]
    assert {(tuple(p.steps), p.reward, p.groups == []) for p in elsewhere.parts} == {(((1, 2),), 1.0, True)}

    first.process.kill()
    again = rollout.replica(tmp_path / "log")
    last = [again.act(a["episode"], reward=2.0) for a in answers]
    assert [a["action"] for a in last] == [int(p.arm == "candidate") for p in told.parts]
    fresh = [again.act() for _ in range(20)]
    assert sum(a["action"] for a in fresh) == 1, "5 per cent of a block of 20"
    anew = rollout.evidence(again)
    assert anew.stream != told.stream
    starts = [unit_of(p) for p in anew.parts if p.steps == [(0, 1)]]
    assert [(u.stream, u.block, u.index, u.weight) for u in starts] == [(anew.stream, 0, n, 5) for n in range(20)]


def test_metrics_tell_the_arms_apart(begin: Begin) -> None:
    rollout = begin()
    rollout.say()
    replica = rollout.replica()
    for _ in range(10):
        replica.act()
    series = 'decisions_total{arm="%s",outcome="decided",policy="%s",regime="Policy"}'
    assert metric(replica, series % ("candidate", "cartpole-2")) == 5
    assert metric(replica, series % ("stable", "cartpole-1")) == 5


def test_an_abort_sends_its_episodes_to_stable_within_the_episode(begin: Begin) -> None:
    rollout = begin()
    rollout.say()
    replica = rollout.replica()
    running = begun(rollout, replica, "candidate")
    assert (running["action"], running["policy"]) == (1, "cartpole-2")
    rollout.over(rollout.stable)
    replica.wait(lambda report: report.epoch == rollout.epoch)
    moved = replica.act(running["episode"])
    assert (moved["action"], moved["policy"], moved["regime"]) == (0, "cartpole-1", "Policy")
    assert replica.act()["action"] == 0
    awaited(replica, lambda: rollout.evidence(replica).parts == [])


def test_after_a_promotion_its_episodes_go_on_with_it(begin: Begin) -> None:
    rollout = begin()
    rollout.say()
    replica = rollout.replica()
    running, other = begun(rollout, replica, "candidate"), begun(rollout, replica, "stable")
    rollout.over(rollout.candidate)
    replica.wait_acting("cartpole-2")
    assert replica.act(running["episode"])["action"] == 1
    assert replica.act(other["episode"])["action"] == 0, "and one of stable's stays with the version before"
    assert replica.act()["action"] == 1


def test_where_the_candidate_fails_stable_acts_and_it_counts_against_the_candidate(begin: Begin) -> None:
    rollout = begin(graphs.sometimes_invalid(), fallback={"action": [1]})
    rollout.say()
    replica = rollout.replica()
    failed = begun(rollout, replica, "candidate", TRIGGER)
    assert (failed["action"], failed["policy"], failed["regime"]) == (0, "cartpole-1", "Fallback")
    back = replica.act(failed["episode"], reward=1.0)
    assert (back["policy"], back["regime"]) == ("cartpole-2", "Policy"), "it stays the candidate's"
    part = rollout.part(replica, failed["unit"])
    assert (part.arm, part.policy, part.decided, part.failed) == ("candidate", "cartpole-2", 2, 1)
    assert metric(replica, 'decisions_total{arm="candidate",outcome="failed",policy="cartpole-2",regime="Policy"}') == 1


def test_under_an_override_and_over_its_limits_a_start_is_no_unit_and_takes_no_place(begin: Begin) -> None:
    rollout = begin()
    rollout.say()
    replica = rollout.replica()
    replica.act()
    rollout.deployment.set_spec(OPEN | {"strategy": STRATEGY} | override("Action", action=[1], until=until(600)))
    replica.wait(lambda report: report.overridden)
    held = [replica.act() for _ in range(3)]
    limits = {"limits": {"decisionsPerSecond": 1, "exceeded": "Fallback"}, "fallback": {"action": [0]}}
    rollout.deployment.set_spec(OPEN | {"strategy": STRATEGY} | limits)
    replica.wait(lambda report: not report.overridden)
    awaited(replica, lambda: replica.act()["regime"] == "Limit")
    rollout.deployment.set_spec(OPEN | {"strategy": STRATEGY})
    awaited(replica, lambda: all(replica.act()["regime"] == "Policy" for _ in range(5)))
    told = [unit_of(p) for p in parts(rollout, replica)]
    assert [(u.block, u.index) for u in told] == [divmod(n, 2) for n in range(len(told))]
    assert not {a["decision"] for a in held} & {p.episode for p in parts(rollout, replica)}
    assert {p.overridden for p in parts(rollout, replica)} == {0}


def test_a_decision_under_an_override_is_told_in_an_episode_that_was_assigned_before(begin: Begin) -> None:
    rollout = begin()
    rollout.say()
    replica = rollout.replica()
    running = begun(rollout, replica, "candidate")
    rollout.deployment.set_spec(OPEN | {"strategy": STRATEGY} | override("Action", action=[0]))
    replica.wait(lambda report: report.overridden)
    assert replica.act(running["episode"], reward=1.0)["regime"] == "Action"
    part = rollout.part(replica, running["unit"])
    assert (part.decided, part.failed, part.overridden) == (2, 0, 1)


def test_no_more_candidates_run_at_once_than_the_step_allows(begin: Begin) -> None:
    rollout = begin()
    rollout.say(concurrent=1)
    replica = rollout.replica()
    answers = [replica.act() for _ in range(6)]
    [running] = [a for a in answers if a["action"] == 1]
    replica.post({"episode": running["episode"], "terminated": True})
    awaited(replica, lambda: replica.act()["action"] == 1)


def test_the_same_client_keeps_its_arm_and_windows_change_hands_together(begin: Begin) -> None:
    rollout = begin(strategy={**STRATEGY, "unit": "Client", "window": "1h"})
    rollout.say()
    replica = rollout.replica()
    by_client = {replica.act()["action"] for _ in range(8)}
    assert len(by_client) == 1, "one address is one client"
    assert {unit_of(p).kind for p in parts(rollout, replica)} == {"client"}
    rollout.deployment.set_spec(OPEN | {"strategy": {**STRATEGY, "unit": "Window", "window": "100h"}})
    awaited(replica, lambda: replica.act() is not None and unit_of(parts(rollout, replica)[-1]).kind == "window")
    assert len({replica.act()["action"] for _ in range(8)}) == 1


def test_starts_are_counted_while_the_candidate_is_shadowed_and_while_stable_is_watched(begin: Begin) -> None:
    rollout = begin(strategy={"shadow": {"units": 5}, "watch": {}})
    rollout.say("Shadow", weight=0)
    replica = rollout.replica()
    answers = [replica.act() for _ in range(3)]
    assert {a["policy"] for a in answers} == {"cartpole-1"}

    def compared() -> bool:
        return [p.shadow.compared if p.shadow else 0 for p in parts(rollout, replica)] == [1, 1, 1]

    awaited(replica, compared)
    told = rollout.evidence(replica)
    assert [p.unit for p in told.parts] == [f"shadow/cartpole-2.1/{told.stream}/{n}" for n in range(3)]
    awaited(replica, lambda: (report := rollout.evidence(replica).shadow) is not None and report.compared == 3)
    rollout.over(rollout.stable)
    rollout.assigning(replica, f"cartpole-1.e{rollout.epoch}")
    replica.act()
    assert [p.unit for p in parts(rollout, replica)] == [f"watch/cartpole-1.e{rollout.epoch}/{told.stream}/0"]


def test_what_was_told_stands_in_the_log_of_a_killed_replica(begin: Begin, library: Library, tmp_path: Path) -> None:
    rollout = begin(graphs.sometimes_invalid(), auth={"mode": "None", "reporters": []})
    account = {"mode": "None", "reporters": [rollout.operator]}
    rollout.deployment.set_spec({"strategy": STRATEGY, "auth": account})
    rollout.say()
    replica = rollout.replica(tmp_path / "log")
    awaited(replica, lambda: replica.post({}, path="/v1/outcomes", token=rollout.deployment.token()).status_code == 400)
    for number in range(6):
        answer = replica.act(observation=TRIGGER if number % 2 else OBSERVATION)
        replica.act(answer["episode"], reward=1.5, cost=0.25)
        replica.act(answer["episode"], reward=1.5, cost=0.25)
        if number < 3:
            replica.post({"episode": answer["episode"], "terminated": True, "reward": 0.1})
        late = {"decision": answer["decision"], "reward": 7.0, "id": "x"}
        assert replica.post(late, path="/v1/outcomes", token=rollout.deployment.token()).status_code == 200
    told = rollout.evidence(replica)
    replica.process.kill()
    assert len(told.parts) == 6
    assert {p.groups == ["leaning"] for p in told.parts} == {True, False}
    assert all(p.slow == {"1us": p.decided} for p in told.parts)
    assert {p.late_reward for p in told.parts} == {7.0}

    terminated(rollout.replica(tmp_path / "log"))
    audit, found = stored(library, replica.namespace)
    assert audit.proved
    own = [n for n, r in enumerate(found) if isinstance(r, OpenedRecord) and r.stream == told.stream]
    records = found[own[0] :]
    ends = [n for n, r in enumerate(records) if isinstance(r, OpenedRecord) and n]
    records = records[: ends[0]] if ends else records
    again = fold(enumerate(records, 1), ["1us"])
    assert [p for p in again.after(0) if p.first <= told.upto] == told.parts


def test_odd_callers_are_seen(begin: Begin) -> None:
    rollout = begin()
    rollout.say()
    replica = rollout.replica()
    first = replica.act()
    retried = [replica.act(first["episode"], reward=1.0) for _ in range(3)]
    assert len({a["decision"] for a in retried}) == 1
    replica.act(retried[0]["episode"], reward=2.0)
    forked = replica.act()
    for shift in (0.0, 0.1):
        replica.act(forked["episode"], reward=1.0, observation=[shift, 0.0, 0.0, 0.0])
    honest, twice = parts(rollout, replica)
    assert (honest.steps, honest.reward, honest.decided) == ([(0, 3)], 3.0, 3)
    assert (honest.forked, honest.findings["repeated"]) == (False, 2)
    assert (twice.forked, twice.findings["forked"], twice.reward) == (True, 1, 1.0)


def test_a_late_outcome_counts_once_however_often_it_is_told(begin: Begin) -> None:
    rollout = begin()
    rollout.deployment.set_spec({"strategy": STRATEGY, "auth": {"mode": "None", "reporters": [rollout.operator]}})
    rollout.say()
    replica = rollout.replica()
    answer = replica.act()
    token = rollout.deployment.token()

    def tell(**fields: Any) -> int:
        return replica.post(fields, path="/v1/outcomes", token=token).status_code

    awaited(replica, lambda: tell() == 400)
    for _ in range(3):
        assert tell(decision=answer["decision"], reward=1.0) == 200
        assert tell(decision=answer["decision"], reward=10.0, id="second") == 200
    later = replica.act(answer["episode"])
    for episode in (answer["episode"], later["episode"]):
        assert tell(episode=episode, cost=100.0, id="third") == 200, "a token of another step is of the same episode"
    assert tell(episode=answer["episode"], final=True) == 200
    [part] = parts(rollout, replica)
    assert (part.late_reward, part.late_cost, part.final, part.reward) == (11.0, 100.0, True, 0.0)
    assert tell(decision=answer["decision"], reward=1.0, id="x" * 65) == 400


def test_nobody_but_the_operator_may_ask(begin: Begin) -> None:
    rollout = begin()
    rollout.say()
    replica = rollout.replica()
    deployment = rollout.deployment
    problems = {
        401: [rollout.ask(replica, token=token) for token in ("", "no token", deployment.token(audience=""))],
        403: [rollout.ask(replica, token=deployment.token("cartpole-agent"))],
        400: [rollout.ask(replica, after) for after in ("-1", "x", "", "1&after=2", "0&other=1")],
        405: [httpx.post(f"{replica.management}/evidence", trust_env=False)],
    }
    for status, answers in problems.items():
        assert {a.status_code for a in answers} == {status}
        assert {a.headers["content-type"] for a in answers} == {"application/problem+json"}
    stranger = rollout.start(deployment)
    stranger.wait(lambda report: report.generation > 0)
    assert rollout.ask(stranger).status_code == 403, "a replica that was not told who the operator is tells nobody"


def test_only_news_is_told_and_what_the_operator_has_done_with_is_forgotten(begin: Begin) -> None:
    rollout = begin()
    rollout.say()
    replica = rollout.replica()
    first, second = replica.act(), replica.act()
    replica.post({"episode": first["episode"], "terminated": True, "reward": 1.0})
    told = rollout.evidence(replica)
    assert [p.ended for p in told.parts] == ["terminated", ""]
    assert (told.parts[0].length, told.parts[0].reward) == (1, 1.0)
    assert rollout.evidence(replica, told.upto).parts == []
    replica.act(second["episode"])
    assert [p.steps for p in rollout.evidence(replica, told.upto).parts] == [[(0, 2)]]
    assert [p.steps for p in rollout.evidence(replica).parts] == [[(0, 2)]], "the first one ended, and is forgotten"


def test_a_subgroup_that_cannot_be_understood_is_a_problem_and_nobody_is_in_it(begin: Begin) -> None:
    gates = [{**GATES[1], "subgroup": {"name": "odd", "when": "observation[9] > 0.0"}}]
    rollout = begin(strategy={"canary": {"steps": [{"weight": 50, "units": 1}], "gates": gates}})
    rollout.say()
    replica = rollout.replica()
    replica.act()
    [problem] = replica.report().problems
    assert problem.startswith("spec.strategy, subgroup odd: observation has no 9")
    assert [p.groups for p in parts(rollout, replica)] == [[]]


def test_the_log_names_arm_and_unit(begin: Begin) -> None:
    rollout = begin()
    rollout.say()
    replica = rollout.replica()
    answer = begun(rollout, replica, "candidate")
    replica.post({"episode": answer["episode"], "truncated": True})

    def told() -> list[tuple[str, str, str]]:
        found = [r for r in records(replica) if r.get("unit") == answer["unit"]]
        return [(r["kind"], r["arm"], r["agent_id"]) for r in found]

    name = f"{replica.namespace}/{NAME}"
    awaited(replica, lambda: told() == [("decision", "candidate", name), ("end", "candidate", name)])
