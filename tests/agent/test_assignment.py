"""What starts are assigned as, at one replica."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from tests.agent.test_state import pointer, policy, state, word

from checkrein.agent.assignment import NO_UNIT, Assigner, Running
from checkrein.agent.episodes import Episode
from checkrein.agent.policies import key
from checkrein.agent.state import State
from checkrein.api.deployment import AgentDeployment
from checkrein.api.rollout import RolloutStatus, StepStatus
from checkrein.judge.assignment import KEYED, Unit, arms, is_shadowed, of_client, opened, shape

STREAM = "pod.uid.1-0"
GATES = [{"name": "cost", "metric": "cost", "test": "NotAbove", "limit": "1"}]
CANARY: dict[str, Any] = {"canary": {"steps": [{"weight": 25, "units": 1}], "gates": GATES}}
CANDIDATE = key(pointer("p-2"))


def rolling(
    kind: str = "Canary",
    *,
    weight: int = 25,
    concurrent: int | None = None,
    rollout: str = "p-2.1",
    strategy: dict[str, Any] | None = CANARY,
    epoch: int = 1,
    candidate: str = "p-2",
    stable: str = "p-1",
) -> AgentDeployment:
    made = word(stable=stable, candidate=candidate, epoch=epoch, **({"strategy": strategy} if strategy else {}))
    step = StepStatus.model_validate({"kind": kind, "weight": weight, "concurrent": concurrent})
    told = RolloutStatus.model_validate({"id": rollout, "seed": "5eed", "began": "2026-12-01T00:00:00Z"})
    return made.model_copy(update={"status": made.status.model_copy(update={"step": step, "rollout": told})})


def assigner(*words: AgentDeployment, stream: str = STREAM) -> tuple[State, Assigner]:
    made = state(*words)
    return made, Assigner(made, lambda: stream)


def test_starts_follow_the_blocks_and_a_new_weight_begins_with_the_next_one() -> None:
    known, made = assigner(rolling(weight=25))
    units = [made.start(0, "c") for _ in range(6)]
    known.accept(rolling(weight=50, epoch=2))
    units += [made.start(0, "c") for _ in range(6)]
    told = [Unit.parse(unit) for _, unit, _ in units]
    assert [(u.block, u.index, u.weight) for u in told] == [
        *((0, i, 25) for i in range(4)),
        *((1, i, 25) for i in range(4)),
        *((2, i, 50) for i in range(2)),
        *((3, i, 50) for i in range(2)),
    ]
    wanted = [arm for b, w in ((0, 25), (1, 25), (2, 50), (3, 50)) for arm in arms("5eed", STREAM, b, w)]
    assert [arm for arm, _, _ in units] == wanted
    assert [p for _, _, p in units] == [CANDIDATE if arm == "candidate" else "" for arm in wanted]


def test_arms_by_a_keyed_seed_take_the_key_and_nobody_is_assigned_without_it() -> None:
    told = rolling(weight=50)
    assert told.status.rollout
    keyed = told.status.rollout.model_copy(update={"seed": f"{KEYED}5eed"})
    key = b""
    made = Assigner(
        state(told.model_copy(update={"status": told.status.model_copy(update={"rollout": keyed})})),
        lambda: STREAM,
        lambda: key,
    )
    assert made.start(0, "c") == NO_UNIT
    key = b"k" * 32
    wanted = [arm for block in range(10) for arm in arms(opened(f"{KEYED}5eed", key), STREAM, block, 50)]
    assert [made.start(0, "c")[0] for _ in range(20)] == wanted
    assert wanted != [arm for block in range(10) for arm in arms(f"{KEYED}5eed", STREAM, block, 50)]


def test_another_stream_and_another_rollout_count_from_the_start() -> None:
    known, made = assigner(rolling())
    for _ in range(3):
        made.start(0, "c")
    known.accept(rolling(rollout="p-2.2", epoch=2))
    assert made.start(0, "c")[1] == f"episode/p-2.2/{STREAM}/0/0/25"
    assert assigner(rolling(), stream="pod.uid.2-1")[1].start(0, "c")[1] == "episode/p-2.1/pod.uid.2-1/0/0/25"


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(word(stable="p-1"), id="no strategy"),
        pytest.param(word(stable="p-1", strategy=CANARY), id="no rollout"),
        pytest.param(rolling("Loading", weight=0), id="the candidate is being loaded"),
        pytest.param(rolling("Approval", weight=0), id="a person is waited for, and the candidate has no share"),
        pytest.param(rolling(strategy=None), id="the strategy was taken away"),
    ],
)
def test_nothing_is_assigned(told: AgentDeployment) -> None:
    assert assigner(told)[1].start(0, "c") == NO_UNIT


def test_nothing_is_assigned_before_the_log_has_a_name_or_the_candidate_is_in_memory() -> None:
    assert assigner(rolling(), stream="")[1].start(0, "c") == NO_UNIT
    known = State()
    known.accept(rolling())
    known.add(policy("p-1"))
    made = Assigner(known, lambda: STREAM)
    assert made.start(0, "c") == NO_UNIT
    known.add(policy("p-2"))
    assert made.start(0, "c")[1].endswith("/0/0/25"), "and no index was used up"


def test_a_full_candidate_holds_its_place_in_the_block() -> None:
    _, made = assigner(rolling(weight=50, concurrent=1))
    seen: list[str] = []
    running: list[bytes] = []
    for number in range(40):
        arm, unit, _ = made.start(number, "c")
        seen.append(unit)
        if arm == "candidate":
            running.append(b"%d" % number)
            made.acted(Episode(running[-1], 0, CANDIDATE, 0.0, b"key!", "candidate", unit=unit), number)
        assert made.running.count(number) <= 1
        if number % 4 == 3 and running:
            made.running.ended(running[-1])
    assert "" in seen, "some starts found the candidate full"
    told = [Unit.parse(unit) for unit in seen if unit]
    assert [(u.block, u.index) for u in told] == [divmod(i, 2) for i in range(len(told))], "and used up no index"


def test_an_episode_that_fell_silent_is_not_held_any_more() -> None:
    running = Running()
    for now in (0, 10, 30):
        running.heard(b"slow", now)
    running.heard(b"once", 30)
    assert [running.count(now) for now in (90, 91, 230, 231)] == [2, 1, 1, 0]


def test_windows_change_hands_together() -> None:
    strategy = {**CANARY, "unit": "Window", "window": "60s"}
    first, second = (assigner(rolling(strategy=strategy), stream=s)[1] for s in ("one", "two"))
    starts = [(first.start(now, "c"), second.start(now + 59, "d")) for now in range(0, 24_000, 60)]
    assert all(a == b for a, b in starts)
    assert Counter(a[0] for a, _ in starts) == {"stable": 300, "candidate": 100}
    told = Unit.parse(first.start(60 * 7 + 1, "c")[1])
    assert (told.kind, told.block, told.index) == ("window", 1, 3)
    assert shape(25) == (4, 1)


def test_clients_keep_their_arm() -> None:
    known, made = assigner(rolling(strategy={**CANARY, "unit": "Client", "window": "1h"}, weight=5))
    before = {name: made.start(0, name) for name in map(str, range(300))}
    known.accept(rolling(strategy={**CANARY, "unit": "Client", "window": "1h"}, weight=50, epoch=2))
    after = {name: made.start(0, name) for name in before}
    assert all(after[name][0] == "candidate" for name, start in before.items() if start[0] == "candidate")
    client = Unit.parse(after["7"][1]).stream
    assert client != "7"
    assert after["7"][0] == of_client("5eed", client, 50)


def test_every_start_of_a_shadow_is_a_unit_and_a_share_of_them_is_shadowed() -> None:
    strategy = {"shadow": {"units": 50, "share": "0.25"}}
    _, made = assigner(rolling("Shadow", weight=0, strategy=strategy))
    starts = [made.start(0, "c") for _ in range(100)]
    assert {(arm, policy) for arm, _, policy in starts} == {("stable", "")}
    assert [unit for _, unit, _ in starts] == [f"shadow/p-2.1/{STREAM}/{n}" for n in range(100)]
    assert [made.shadowed(unit) for _, unit, _ in starts] == [is_shadowed("5eed", STREAM, n, 0.25) for n in range(100)]
    assert not made.shadowed(f"shadow/p-9.1/{STREAM}/0"), "of another rollout"


def test_stable_is_watched_while_there_is_no_rollout() -> None:
    known, made = assigner(word(stable="p-1", strategy={"watch": {}}, epoch=3))
    assert [made.start(0, "c")[1] for _ in range(2)] == [f"watch/p-1.e3/{STREAM}/{n}" for n in range(2)]
    known.accept(rolling("Loading", strategy={"watch": {}}, epoch=4))
    assert made.start(0, "c") == NO_UNIT


# --- who is in charge of an episode of the candidate


def of_candidate(rollout: str = "p-2.1", policy_key: str = CANDIDATE) -> Episode:
    return Episode(b"a" * 16, 3, policy_key, 0.0, b"key!", "candidate", unit=f"episode/{rollout}/{STREAM}/0/0/25")


def in_charge(known: State, episode: Episode) -> list[str]:
    standing, stands, behind = known.of_candidate(episode)
    acting = [f"{c.regime} {c.policy.name}" for c in known.choices(None, standing, behind) if c.policy]
    return [stands.partition("@")[0], *acting]


def test_an_episode_of_the_candidate_stays_with_it_and_stable_stands_behind() -> None:
    assert in_charge(state(rolling()), of_candidate()) == ["p-2", "Policy p-2", "Fallback p-1"]


def test_where_the_candidate_is_not_in_memory_stable_acts_and_the_episode_stays_with_the_candidate() -> None:
    known = State()
    known.accept(rolling())
    known.add(policy("p-1"))
    assert in_charge(known, of_candidate()) == ["p-2", "Fallback p-1"]


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(word(stable="p-1", epoch=2), id="it was aborted"),
        pytest.param(
            word(stable="p-1", epoch=2, fallback={"policyVersion": "p-2"}), id="and is in memory as a fallback"
        ),
        pytest.param(rolling(rollout="p-2.2", epoch=2), id="and is being tried once more"),
        pytest.param(rolling(rollout="p-3.1", candidate="p-3", epoch=2), id="another candidate came"),
    ],
)
def test_after_the_rollout_its_episodes_are_stables_at_once(told: AgentDeployment) -> None:
    known = state(rolling(), told)
    assert in_charge(known, of_candidate())[:2] == ["p-1", "Policy p-1"]


def test_a_version_that_was_stable_before_is_not_kept_for_the_episodes_of_its_aborted_rollout() -> None:
    known = state(
        word(stable="p-2", epoch=1), word(stable="p-1", epoch=2), rolling(epoch=3), word(stable="p-1", epoch=4)
    )
    assert CANDIDATE in known.loaded, "for episodes from when it was stable"
    assert in_charge(known, of_candidate())[:2] == ["p-1", "Policy p-1"]


def test_after_a_promotion_the_candidate_is_stable_and_after_a_rollback_its_episodes_stay_with_it() -> None:
    known = state(rolling(), word(stable="p-2", epoch=2))
    assert in_charge(known, of_candidate())[:2] == ["p-2", "Policy p-2"]
    known.accept(word(stable="p-1", epoch=3))
    assert in_charge(known, of_candidate())[:2] == ["p-2", "Policy p-2"]
