"""The ledger that gates read, as a fold over records."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.store.decisions.writer import AGENT, at
from tests.store.decisions.writer import decision as decided

from checkrein.api.evidence import Part
from checkrein.api.strategy import Strategy
from checkrein.store.decisions import parts as ledger
from checkrein.store.decisions.parts import Parts, fold, latencies, slow_names
from checkrein.store.decisions.records import EndRecord, GapRecord, OutcomeRecord, Record, ShadowRecord

UNIT = "episode/cartpole-2.1/pod.uid.1-0/0/3/25"


def decision(episode: str, step: int, **more: Any) -> Record:
    return decided(episode, step, **{"unit": UNIT, **more})


def end(episode: str, step: int, ending: Any = "terminated", **more: Any) -> Record:
    return EndRecord(
        **{"timestamp": at(step), "agent_id": AGENT, "episode": episode, "step": step, "ending": ending, "unit": UNIT}
        | more
    )


def outcome(**more: Any) -> Record:
    return OutcomeRecord(timestamp=at(30), agent_id=AGENT, **more)


def folded(*records: Record, slow: tuple[str, ...] = ()) -> Parts:
    return fold(enumerate(records, 2), slow)


def only(*records: Record, slow: tuple[str, ...] = ()) -> Part:
    [part] = folded(*records, slow=slow).after(0)
    return part


def test_an_episode_from_its_start_to_its_end() -> None:
    part = only(
        decision("a", 0, arm="candidate", policy="cartpole-2", groups=("steep",)),
        decision("a", 1, arm="candidate", policy="cartpole-2", reward=1.0, cost=0.5),
        decision("a", 2, arm="candidate", policy="cartpole-2", reward=2.0, objective=3.0, shield="slow-down"),
        end("a", 3, reward=4.0, arm="candidate"),
    )
    assert (part.unit, part.arm, part.policy, part.groups) == (UNIT, "candidate", "cartpole-2", ["steep"])
    assert (part.first, part.last, part.steps, part.rewarded) == (2, 5, [(0, 3)], [(0, 3)])
    assert (part.reward, part.cost, part.objective) == (7.0, 0.5, 3.0)
    assert (part.decided, part.shielded, part.failed, part.ended, part.length) == (3, 1, 0, "terminated", 3)
    assert part.ended_at is not None
    assert part.ended_at - part.started == 3.0
    assert not part.forked


def test_an_episode_that_nothing_assigned_is_no_evidence() -> None:
    assert len(folded(decided("a", 0), end("a", 1, unit=None), outcome(episode="a", reward=1.0))) == 0


@pytest.mark.parametrize(
    ("records", "steps", "reward", "forked", "findings"),
    [
        pytest.param(
            [decision("a", 0), decision("a", 1, reward=1.0), decision("a", 1, reward=1.0)],
            [(0, 2)],
            1.0,
            False,
            {"repeated": 1},
            id="a step asked again counts once",
        ),
        pytest.param(
            [decision("a", 0), decision("a", 1, reward=1.0), decision("a", 1, reward=9.0)],
            [(0, 2)],
            1.0,
            False,
            {"repeated": 1},
            id="its first reward counts",
        ),
        pytest.param(
            [decision("a", 0), decision("a", 0, observation_digest="other")],
            [(0, 1)],
            0.0,
            True,
            {"forked": 1},
            id="another observation is a fork",
        ),
        pytest.param(
            [decision("a", 0), decision("a", 1), decision("a", 0)],
            [(0, 2)],
            0.0,
            True,
            {"forked": 1},
            id="a step behind the last one is a fork",
        ),
        pytest.param(
            [decision("a", 0), decision("a", 1, forked=True)],
            [(0, 2)],
            0.0,
            True,
            {"forked": 1},
            id="what the replica saw as a fork stays one",
        ),
        pytest.param(
            [decision("a", 0), end("a", 1, reward=1.0), end("a", 1, reward=1.0)],
            [(0, 1)],
            1.0,
            False,
            {},
            id="an end told again counts once",
        ),
        pytest.param(
            [decision("a", 0), end("a", 1), end("a", 1, "truncated")],
            [(0, 1)],
            0.0,
            True,
            {"forked": 1},
            id="two ends are a fork",
        ),
        pytest.param(
            [decision("a", 0), decision("a", 1), end("a", 1)],
            [(0, 2)],
            0.0,
            True,
            {"forked": 1},
            id="an end before the last step is a fork",
        ),
        pytest.param(
            [decision("a", 0), end("a", 1), decision("a", 1)],
            [(0, 2)],
            0.0,
            True,
            {"forked": 1},
            id="a step after the end is a fork",
        ),
        pytest.param(
            [decision("a", 4, reward=1.0), decision("a", 7, reward=1.0), decision("a", 5, reward=1.0)],
            [(4, 6), (7, 8)],
            3.0,
            False,
            {},
            id="steps taken elsewhere leave holes",
        ),
    ],
)
def test_odd_callers(
    records: list[Record], steps: list[tuple[int, int]], reward: float, forked: bool, findings: dict[str, int]
) -> None:
    part = only(*records)
    assert (part.steps, part.reward, part.forked, part.findings) == (steps, reward, forked, findings)


@pytest.mark.parametrize(
    ("fields", "failed", "overridden"),
    [
        pytest.param({"regime": "Policy"}, 0, 0, id="the policy acted"),
        pytest.param({"regime": "Fallback"}, 1, 0, id="another acted for it: it failed"),
        pytest.param({"regime": "Fallback", "overridden": True}, 0, 1, id="a person wanted the fallback"),
        pytest.param({"regime": "Pin", "overridden": True}, 0, 1, id="a person wanted another one"),
        pytest.param({"regime": "Limit"}, 0, 0, id="its caller asked for too much"),
    ],
)
def test_who_acted(fields: dict[str, Any], failed: int, overridden: int) -> None:
    part = only(decision("a", 0, **fields))
    assert (part.decided, part.failed, part.overridden) == (1, failed, overridden)


def test_a_candidate_that_never_acted_still_stands_for_its_episode() -> None:
    part = only(decision("a", 0, arm="candidate", regime="Fallback", policy="cartpole-1"))
    assert (part.policy, part.failed) == ("cartpole-2", 1)


def test_a_start_at_which_nobody_could_decide_is_told() -> None:
    part = only(end("a", 0, "aborted", arm="candidate"))
    assert (part.arm, part.ended, part.length, part.decided, part.failed) == ("candidate", "aborted", 0, 0, 1)


def test_slow_decisions_are_counted_by_the_gates_latencies() -> None:
    records = [decision("a", step, latency_us=latency) for step, latency in enumerate([400, 600, 5000, 5001])]
    assert only(*records, slow=("500us", "5ms")).slow == {"500us": 3, "5ms": 1}
    gates = [
        {"name": name, "metric": "slowDecisions", "test": "NotAbove", "limit": "0.01", "above": above}
        for name, above in (("fast", "500us"), ("slow", "5ms"), ("again", "5000us"))
    ]
    strategy = Strategy.model_validate({"canary": {"steps": [{"weight": 5, "units": 1}], "gates": gates}})
    assert latencies(slow_names(strategy)) == {"500us": 500, "5ms": 5000}
    assert slow_names(None) == []


def test_late_outcomes_reach_their_episode_by_token_and_by_decision() -> None:
    part = only(
        decision("a", 0),
        outcome(episode="a", reward=5.0, unit=UNIT),
        outcome(decision="a-0", cost=2.0),
        outcome(decision="nobody's", reward=100.0),
        outcome(episode="a", final=True, unit=UNIT),
    )
    assert (part.late_reward, part.late_cost, part.final, part.reward, part.last) == (5.0, 2.0, True, 0.0, 6)


def test_a_late_outcome_with_an_id_counts_once_and_is_told_with_it() -> None:
    part = only(
        decision("a", 0),
        outcome(episode="a", reward=5.0, unit=UNIT, id="x"),
        outcome(episode="a", reward=5.0, unit=UNIT, id="x"),
        outcome(decision="a-0", cost=2.0, id="x"),
        outcome(decision="a-0", cost=2.0),
    )
    assert (part.late_reward, part.late_cost) == (5.0, 4.0)
    assert part.outcomes == {"x": (5.0, 0.0), "a-0/x": (0.0, 2.0)}


def test_an_outcome_at_a_replica_that_never_saw_the_episode_is_a_part_of_it() -> None:
    part = only(outcome(episode="a", reward=5.0, unit=UNIT, arm="candidate"))
    assert (part.episode, part.arm, part.steps, part.late_reward) == ("a", "candidate", [], 5.0)


def test_decisions_are_known_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "DECISIONS_KNOWN", 1)
    part = only(decision("a", 0), decision("a", 1), outcome(decision="a-0", reward=1.0))
    assert part.late_reward == 0.0


def test_the_shadow_is_told_beside() -> None:
    def shadow(step: int, **more: Any) -> ShadowRecord:
        told = {"timestamp": at(step), "agent_id": AGENT, "decision": f"a-{step}", "episode": "a", "step": step}
        return ShadowRecord(**{**told, "policy": "cartpole-2", "policy_digest": "d", **more})

    records = [
        *(decision("a", 0), shadow(0, agreed=True, latency_us=9)),
        *(decision("a", 1), shadow(1, outcome="failed"), decision("a", 2), shadow(2, outcome="dropped")),
    ]
    part = only(*records, slow=("5us",))
    assert part.shadow
    assert part.shadow.model_dump() == {
        "compared": 1,
        "agreed": 1,
        "failed": 1,
        "invalid": 0,
        "shielded": 0,
        "slow": {"5us": 1},
        "dropped": 1,
    }


def test_only_what_is_new_is_told_and_what_is_done_is_forgotten() -> None:
    parts = folded(decision("a", 0), end("a", 1), decision("b", 0), decision("c", 0), end("c", 1))
    assert [p.episode for p in parts.after(3)] == ["b", "c"]
    parts.forget(4, before=0)
    assert [p.episode for p in parts.after(0)] == ["b", "c"], "b has not ended"
    parts.forget(4, before=parts.after(0)[0].started + 1)
    assert [p.episode for p in parts.after(0)] == ["c"], "b's deadline has passed, c has news"


def test_the_oldest_go_where_there_are_too_many() -> None:
    parts = Parts(limit=2)
    for seq, name in enumerate("abc", 2):
        parts.add(seq, decision(name, 0))
    assert ([p.episode for p in parts.after(0)], parts.lost_before) == (["b", "c"], 2)


def test_a_gap_in_the_log_is_a_loss() -> None:
    gap = GapRecord(timestamp=at(1), lost=3, since=at(0), reason="the disk was full")
    assert folded(decision("a", 0), gap).lost_before == 3


def test_parts_of_other_rollouts_are_dropped() -> None:
    parts = folded(decision("a", 0), decision("b", 0, unit="watch/cartpole-1.e4/pod.uid.1-0/0"))
    parts.keep({"cartpole-1.e4"})
    assert [p.episode for p in parts.after(0)] == ["b"]


def test_what_a_replica_sends_is_the_part() -> None:
    parts = folded(decision("a", 0, reward=1.0, groups=("steep",)), end("a", 1, reward=2.0), slow=("5ms",))
    [tally] = parts.tallies(0)
    assert Part.model_validate_json(msgspec.json.encode(tally)) == parts.after(0)[0]
    told = set(parts.after(0)[0].model_dump(by_alias=True))
    assert told == set(msgspec.to_builtins(tally)), "no field is missing on either side"
