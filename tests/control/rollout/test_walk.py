"""The walk of a candidate that nobody disturbs: loading, shadow, canary step by step, approval, stable."""

from __future__ import annotations

from typing import Any

import pytest
from tests.control import builders as b
from tests.control.rollout.life import ERRORS, RETURN, Life, canary, strategy

from checkrein.api.deployment import AgentDeploymentStatus
from checkrein.api.evidence import ShadowReport

SHADOWED = strategy(shadow={"units": 6}, canary=canary(gates=[RETURN, ERRORS]))
ONE_STEP = {"weight": 50, "units": 4}


def walked(life: Life, most: int = 60, **returns: Any) -> list[tuple[Any, ...]]:
    """Where it was, once each: kind of step, its number, weight, epoch; and how it ended."""
    seen: list[tuple[Any, ...]] = []
    for _ in range(most):
        status = life.look(3)
        step = status.step
        at = (step.kind, step.index, step.weight, status.epoch) if step else (life.said()[0], status.epoch)
        if not seen or seen[-1] != at:
            seen.append(at)
        if step is None:
            return seen
        life.play(4, **returns)
    raise AssertionError(life.said())


@pytest.mark.parametrize(
    ("spec", "returns", "expected", "acting"),
    [
        pytest.param(
            strategy(),
            {},
            [("Canary", 1, 25, 4), ("Canary", 2, 50, 5), ("Complete", 6)],
            "cartpole-2",
            id="as good as stable -> it takes its place",
        ),
        pytest.param(
            SHADOWED,
            {},
            [("Shadow", 0, 0, 4), ("Canary", 1, 25, 5), ("Canary", 2, 50, 6), ("Complete", 7)],
            "cartpole-2",
            id="beside stable first",
        ),
        pytest.param(
            strategy(shadow={"units": 6}),
            {},
            [("Shadow", 0, 0, 4), ("Complete", 5)],
            "cartpole-2",
            id="nothing but a shadow",
        ),
        pytest.param(
            strategy(),
            {"candidate": 100.0},
            [("Canary", 1, 25, 4), ("Canary", 2, 50, 5), ("GateFailed", 6)],
            "cartpole-1",
            id="much worse -> stopped by its gate",
        ),
        pytest.param(
            SHADOWED,
            {"shadow": {"failed": 5}},
            [("Shadow", 0, 0, 4), ("GateFailed", 5)],
            "cartpole-1",
            id="it fails beside stable -> nobody ever meets it",
        ),
        pytest.param(
            SHADOWED,
            {"shadow": {"invalid": 5}},
            [("Shadow", 0, 0, 4), ("GateFailed", 5)],
            "cartpole-1",
            id="invalid actions are failures",
        ),
        pytest.param(
            strategy(canary=canary(ONE_STEP, gates=[ERRORS])),
            {},
            [("Canary", 1, 50, 4), ("Complete", 5)],
            "cartpole-2",
            id="guards are not proved",
        ),
        pytest.param(
            {**strategy(), "approval": "Required"},
            {},
            [("Canary", 1, 25, 4), ("Canary", 2, 50, 5), ("Approval", 2, 50, 6)],
            "cartpole-1",
            id="all shown, and a person is asked",
        ),
    ],
)
def test_walks(spec: dict[str, Any], returns: Any, expected: list[tuple[Any, ...]], acting: str) -> None:
    life = Life(spec=spec)
    if expected[-1][0] == "Approval":
        life.until(lambda s: s.step.kind == "Approval")
        assert life.said()[:2] == ("WaitingForPerson", "False")
        assert life.status.phase == "Paused"
        life.pass_(10**6)
        assert life.look().step
    else:
        assert walked(life, **returns) == expected
    assert life.acting == acting
    assert life.look(3).stable == life.look(3).stable


def test_nothing_is_shown_by_no_data() -> None:
    life = Life(spec=strategy())
    for _ in range(20):
        status = life.look(60)
    assert (status.step.kind, status.step.index) == ("Canary", 1)  # type: ignore[union-attr]
    assert life.said()[1:] == (
        "True",
        "cartpole-2: step 1 of 2, 25 % of new units: 0 of 5 units scored",
    )


def test_undecided_for_too_long_is_a_return_to_stable() -> None:
    life = Life(spec=strategy(canary=canary(ONE_STEP, maxDuration="10m")))
    life.look()
    life.play(4)
    life.look(599)
    assert life.status.candidate
    status = life.look(2)
    assert life.said()[:2] == ("Inconclusive", "False")
    assert "undecided after 10m" in life.said()[2]
    assert "return" in life.said()[2]
    assert [(r.name, r.reason, r.attempt) for r in status.rejected] == [("cartpole-2", "Inconclusive", 1)]
    assert [g.verdict for g in status.gates] == ["Inconclusive", "Inconclusive"]
    assert not any(g.state for g in status.gates)
    assert (life.look().candidate, life.status.epoch) == (None, status.epoch)


def test_a_timed_pause_ends_by_itself_and_is_no_time_lost() -> None:
    steps = [{**ONE_STEP, "pause": {"duration": "20m"}}, {"weight": 90, "units": 1}]
    life = Life(spec=strategy(canary=canary(*steps, maxDuration="10m")))
    life.until(lambda s: life.said()[0] == "Pausing")
    assert life.said()[1] == "True"
    assert life.plan.after
    assert life.plan.after.total_seconds() <= 2
    life.look(1199)
    assert life.weight == 50
    life.look(2)
    assert (life.weight, life.status.step.index) == (90, 2)  # type: ignore[union-attr]
    assert life.status.rollout
    assert 1199 <= life.status.rollout.idle_seconds <= 1202


def test_a_pause_without_an_end_waits_for_a_person() -> None:
    life = Life(spec=strategy(canary=canary({**ONE_STEP, "pause": {}}, {"weight": 90, "units": 1})))
    life.until(lambda s: life.said()[0] == "WaitingForPerson")
    assert life.said()[1] == "False"
    assert "spec.rollout.approve.step: 1" in life.said()[2]
    assert life.look(10**6).phase == "Paused"
    life.say(approve={"policyVersion": "cartpole-2", "step": 1, "by": "ops@example.com"})
    assert (life.look().step.index, life.weight) == (2, 90)  # type: ignore[union-attr]


def test_a_pause_is_no_reprieve() -> None:
    life = Life(spec=strategy(canary=canary({**ONE_STEP, "pause": {}})))
    life.until(lambda s: life.said()[0] == "WaitingForPerson")
    life.until(lambda s: s.candidate is None, candidate=0.0)
    assert life.said()[0] == "GateFailed"


def test_statistics_are_written_every_two_seconds_at_most() -> None:
    life = Life(spec=strategy(canary=canary({"weight": 50, "units": 500})))
    life.look()
    written = []
    for _ in range(20):
        life.play(1)
        written.append(life.look(0.5).rollout.scored_at)  # type: ignore[union-attr]
    assert len(set(written)) <= 6


def test_each_unit_is_counted_once_however_often_one_looks() -> None:
    life = Life(spec=strategy(canary=canary({"weight": 50, "units": 500})))
    life.look()
    played = 0
    for n in range(10):
        played += sum(p.arm == "candidate" for p in life.play(2 + 2 * (n % 2)))
        life.look(3)
        life.look(3)
    assert life.status.rollout
    assert life.status.rollout.scored == played
    assert {g.units for g in life.status.gates} == {played}


def test_positions_move_with_what_was_scored() -> None:
    life = Life(spec=strategy(canary=canary({"weight": 50, "units": 500})), replicas=1)
    life.look()
    [replica] = life.replicas
    life.play(6)
    open_ = life.start(replica)
    life.play(3)
    assert open_
    assert [s.position for s in life.look(3).streams] == [open_.first - 1]
    life.end(replica, open_)
    assert [s.position for s in life.look(3).streams] == [replica.upto]


def test_the_shadows_reports_become_one() -> None:
    life = Life(spec=SHADOWED)
    life.look()
    for replica in life.replicas:
        replica.report = ShadowReport(compared=10, agreed=5, latency_p50_us=20.0, latency_p99_us=30.0)
    life.play(2)
    life.look(3)
    assert life.status.rollout
    assert life.status.rollout.shadow
    assert (life.status.rollout.shadow.compared, life.status.rollout.shadow.agreed) == (20, 10)
    assert (life.status.rollout.shadow.latency_p50_us, life.status.rollout.shadow.latency_p99_us) == (20.0, 30.0)
    life.until(lambda s: s.candidate is None)
    assert life.status.rollout.shadow, "it is there to be read after the end"


@pytest.mark.parametrize("unit", ["Client", "Window"])
def test_other_units_come_to_a_verdict_as_well(unit: str) -> None:
    life = Life(spec=strategy(unit=unit, window="10s", canary=canary(ONE_STEP, gates=[RETURN])))
    life.until(lambda s: s.candidate is None, play=2)
    assert life.acting == "cartpole-2"
    worse = Life(spec=strategy(unit=unit, window="10s", canary=canary(ONE_STEP, gates=[RETURN])))
    worse.until(lambda s: s.candidate is None, play=2, candidate=50.0)
    assert worse.acting == "cartpole-1"


def test_a_first_policy_needs_its_checks_only() -> None:
    life = Life("cartpole-1", spec={**strategy(), "approval": "Required"}, fresh=True)
    assert life.look().stable
    assert (life.status.epoch, life.said()[0]) == (1, "Complete")


def test_a_replica_that_comes_later_loads_it_before_it_is_promoted() -> None:
    life = Life(spec=strategy())
    late = life.replicas[1]
    life.look()
    life.kill(late)
    slow = life.boot(late.pod.name, loaded="1")
    life.until(lambda s: life.said()[0] == "Loading")
    assert life.acting == "cartpole-1"
    assert "on 1 of 2 running replicas" in life.said()[2]
    slow.loaded = [("cartpole-1", "1"), ("cartpole-2", "2")]
    assert life.look(3).stable.name == "cartpole-2"  # type: ignore[union-attr]


def test_one_that_a_replica_refuses_for_good_is_taken_off_all(monkeypatch: pytest.MonkeyPatch) -> None:
    life = Life(spec=strategy())
    life.look()
    report = b.loaded(("cartpole-2", "2"), ready=False, reason="WarmUpFailed", message="NaN", permanent=True)
    monkeypatch.setattr(b, "loaded", lambda *_: report)
    status: AgentDeploymentStatus = life.look(1)
    assert (life.said()[0], status.candidate, status.epoch) == ("WarmUpFailed", None, 5)
    assert [r.attempt for r in status.rejected] == [0]


CLIENTS = {"unit": "Client", "window": "10s"}


def test_clients_whose_first_episode_nobody_knows_any_more_end_the_rollout_and_it_says_why() -> None:
    life = Life(spec=strategy(**CLIENTS, canary=canary(ONE_STEP, gates=[RETURN], maxDuration="5m")))
    life.look()
    life.play(4)
    life.look(3)
    life.replicas[0].lost_before = life.replicas[0].upto
    life.play(4)
    life.until(lambda s: s.rollout.findings.get("lost") == 1)
    assert "no unit can be scored any more: a replica has lost part of its evidence" in life.said()[2]
    life.until(lambda s: s.rejected, play=0)
    assert life.said()[0] == "Inconclusive"
    assert "it keeps 20,000 episodes" in life.said()[2]


def test_what_a_replica_lost_before_the_rollout_is_not_missed() -> None:
    life = Life(spec=strategy(**CLIENTS, watch={"drop": "0.1"}, canary=canary(ONE_STEP, gates=[RETURN])))
    for replica in life.replicas:
        life.play(4)
        replica.lost_before = 2
    life.edit(policyVersion="cartpole-1")
    for _ in range(3):
        life.look(3)
        life.play(4)
    life.edit(policyVersion="cartpole-2")
    life.until(lambda s: s.stable.name == "cartpole-2")
