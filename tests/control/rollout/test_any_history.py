"""Whatever happens in whatever order: no unverified, rejected or aborted version acts, and none acts unproved.

CHECKREIN_HISTORIES=10000 walks as many; by default some hundreds, so that the suite stays quick.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.control import builders as b
from tests.control.rollout.life import ERRORS, RETURN, Life, canary

from checkrein.api import conditions
from checkrein.api.deployment import AgentDeploymentStatus
from checkrein.control.rollout import history

HISTORIES = int(os.environ.get("CHECKREIN_HISTORIES", "300"))
EVENTS = 25
NAMES = [f"cartpole-{n}" for n in range(1, 7)]
GUARD = {**ERRORS, "limit": "0.2"}
WATCH = {"drop": "0.1", "alpha": "0.01", "onBreach": "Rollback"}
QUICK = {**RETURN, "margin": {"of": "StableMean", "value": "0.6"}, "alpha": "0.5"}
STRATEGIES: list[Any] = [
    None,
    {"canary": canary(gates=[QUICK])},
    {"canary": canary({"weight": 50, "units": 4}, gates=[QUICK, GUARD], maxDuration="30m")},
    {"canary": canary({"weight": 50, "pause": {}}, {"weight": 99, "units": 1}, gates=[RETURN])},
    {"canary": canary({"weight": 50, "units": 2, "pause": {"duration": "1m"}}, gates=[QUICK]), "watch": WATCH},
    {"shadow": {"units": 5}, "canary": canary({"weight": 50, "units": 2}, gates=[QUICK, GUARD])},
    {"shadow": {"units": 5}},
    {"watch": WATCH},
    {"unit": "Client", "window": "10s", "canary": canary({"weight": 50, "units": 2}, gates=[QUICK])},
    {"unit": "Window", "window": "10s", "canary": canary({"weight": 50, "units": 2}, gates=[QUICK])},
    {"canary": canary(gates=[QUICK]), "reference": "cartpole-1"},
]


class Story:
    """A life, what happens to it, and what it has been told by whom."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        strategy = self.random.choice(STRATEGIES)
        self.life = Life(self.random.choice(NAMES), {"strategy": strategy} if strategy else {}, fresh=seed % 3 == 0)
        self.refused: set[str] = set()
        self.promoted: tuple[str | None, int] | None = None
        self.was_stable: set[str] = {self.life.acting} if self.life.acting else set()
        self.nonces = 0
        self.worse = {name for name in NAMES if self.random.random() < 0.4}
        self.log: list[str] = []

    # --- what happens

    def happen(self) -> None:
        event: Callable[[], None] = self.random.choice(EVENTS_KNOWN).__get__(self)
        self.log.append(event.__name__)
        event()

    def asked(self) -> None:
        self.life.edit(policyVersion=self.random.choice(NAMES))

    def strategy_edited(self) -> None:
        self.life.edit(strategy=self.random.choice(STRATEGIES))

    def approval_edited(self) -> None:
        self.life.edit(approval=self.random.choice(["None", "Required"]))

    def word(self) -> None:
        name, who = self.random.choice([*NAMES, *[self.life.agent.spec.policy_version] * 6]), "eve@example.com"
        words: list[dict[str, Any]] = [
            {},
            {"paused": True},
            {"approve": {"policyVersion": name, "step": self.random.randrange(3), "by": who}},
            {"approve": {"policyVersion": name, "full": True, "by": who}},
            {"abort": {"policyVersion": name, "by": who}},
        ]
        self.life.say(**self.random.choice(words))

    def retried(self) -> None:
        self.nonces += 1
        name = self.random.choice([*NAMES, *[self.life.agent.spec.policy_version] * 6])
        self.life.say(retry={"policyVersion": name, "nonce": str(self.nonces)})
        self.refused.discard(name)  # it is heeded once that version is asked for; until then it may be refused still

    def overridden(self) -> None:
        self.life.edit(**(b.override(until=self.life.now + timedelta(minutes=5))))

    def lifted(self) -> None:
        self.life.edit(override=None)

    def played(self) -> None:
        candidate = self.life.status.candidate
        fields: dict[str, Any] = {"candidate": 0.0} if candidate and candidate.name in self.worse else {}
        fields |= self.random.choice([{}, {}, {}, {"stable": 0.0}, {"overridden": 1}, {"failed": 10}])
        for _ in range(self.random.choice([1, 3])):
            self.life.play(6, **fields)
            self.look(3)

    def begun(self) -> None:
        for replica in self.life.replicas:
            self.life.start(replica)

    def killed(self) -> None:
        if self.life.replicas:
            self.life.kill(self.random.choice(self.life.replicas))

    def booted(self) -> None:
        pods = {r.pod.name for r in self.life.replicas}
        for number in range(2):
            if f"cartpole-agent-{number}" not in pods:
                self.life.boot(f"cartpole-agent-{number}", self.random.choice(["123456", "123456", "1", "23"]))

    def loaded(self) -> None:
        for replica in self.life.replicas:
            replica.loaded = [(name, name[-1]) for name in NAMES]
            replica.silent = self.random.random() < 0.1

    def scaled(self) -> None:
        self.life.edit(replicas=self.random.choice([0, 2]))

    def version_changed(self) -> None:
        name = self.random.choice(NAMES)
        self.life.versions.pop(name, None)
        verified = self.random.choice([True, True, True, True, False, None, "gone"])
        if verified != "gone":
            self.life.versions[name] = b.version(name, letter=name[-1], verified=verified)  # type: ignore[arg-type]

    def environment_changed(self) -> None:
        self.life.environments.clear()
        if self.random.random() < 0.9:
            self.life.environments["cartpole"] = b.ready_environment()

    def store_changed(self) -> None:
        self.life.stored = self.random.random() < 0.6

    def time_passed(self) -> None:
        self.life.pass_(self.random.choice([1, 10, 60, 200, 7200]))

    def status_lost(self) -> None:
        if self.random.random() < 0.2:
            known = {e.policy for e in self.life.store if e.event in history.REFUSING}
            self.refused &= known  # what neither status nor store knows is known to nobody
            self.was_stable = set()
            agent = self.life.agent
            self.life.agent = agent.model_copy(update={"status": AgentDeploymentStatus(epoch=agent.status.epoch)})

    # --- what must hold

    def look(self, seconds: float = 0.0) -> None:
        before, spec = self.life.status, self.life.agent.spec
        after = self.life.look(seconds)
        self.log.append(
            f"-> {self.life.said()[0]} e{after.epoch} {self.life.acting} {after.candidate and after.candidate.name}"
        )
        words = spec.rollout
        goes_on = before.stable is None and (after.stable and after.stable.name, after.epoch) == self.promoted
        changed = _acts(before) != _acts(after) and not goes_on
        assert after.epoch == before.epoch + changed, "the epoch tells of each change of who acts, and of nothing else"
        if after.stable and before.stable != after.stable:
            self.promoted = (after.stable.name, after.epoch)
        held = self.life.agent.spec.override is not None and self.life.agent.spec.override.until > self.life.now  # type: ignore[operator]
        said = conditions.get(after.conditions, "Progressing")
        assert said
        self._remember(before, after)
        if self.life.weight:
            assert after.candidate
            self._may_act(after.candidate.name)
        if before.stable == after.stable:
            return
        assert after.stable is not None, "somebody decided; now nobody does"
        name = after.stable.name
        self._may_act(name)
        assert not held, "no version moves under an override"
        last = after.history[-1]
        assert (last.policy, last.event in history.ACTING) == (name, True)
        if last.event == "RolledBack":
            assert name in self.was_stable
        else:
            assert not words.paused
            if before.stable is not None and spec.strategy and spec.strategy.canary:
                by_word = words.approve and words.approve.full and words.approve.policy_version == name
                proved = after.gates and all(g.verdict == "Pass" for g in after.gates if g.role == "Prove")
                assert by_word or proved, "nobody has proved it, and nobody has said so"
                assert last.stored, "it is in the store before it shows"
        self.was_stable |= {n for n in (name, before.stable and before.stable.name) if n}

    def _may_act(self, name: str) -> None:
        version = self.life.versions.get(name)
        assert version, f"{name} is gone"
        assert conditions.is_true(version.status.conditions, "Verified"), f"{name} is not verified"
        assert name not in self.refused, f"{name} was refused"

    def _remember(self, before: AgentDeploymentStatus, after: AgentDeploymentStatus) -> None:
        known = {(e.event, e.policy, e.time) for e in before.history}
        for entry in after.history:
            if (entry.event, entry.policy, entry.time) in known:
                continue
            if entry.event in history.REFUSING:
                self.refused.add(entry.policy)
            elif entry.event == "Retried":
                self.refused.discard(entry.policy)
            else:
                self.was_stable.add(entry.policy)


def _acts(status: AgentDeploymentStatus) -> Any:
    """Who acts for which units."""
    step, rollout = status.step, status.rollout
    if step is None or status.candidate is None or rollout is None or step.kind == "Loading":
        return (status.stable,)
    return status.stable, status.candidate, rollout.id, step.kind, step.index, step.weight, step.concurrent


EVENTS_KNOWN: list[Any] = [
    *[Story.played] * 10,
    *[Story.asked] * 4,
    *[Story.loaded] * 3,
    *[Story.booted] * 3,
    *[Story.lifted] * 3,
    *[Story.time_passed] * 2,
    *[Story.retried] * 2,
    Story.strategy_edited,
    Story.approval_edited,
    Story.word,
    Story.word,
    Story.overridden,
    Story.begun,
    Story.killed,
    Story.scaled,
    Story.version_changed,
    Story.environment_changed,
    Story.store_changed,
    Story.status_lost,
]


@pytest.mark.parametrize("part", range(4))
def test_who_acts_may(part: int) -> None:
    for seed in range(part, HISTORIES, 4):
        story = Story(seed)
        try:
            for _ in range(EVENTS):
                story.happen()
                story.look(story.random.choice([0.0, 0.3, 2.5]))
        except Exception as error:
            raise AssertionError(f"history {seed}: {error}: {story.log[-60:]}") from error
