"""Parts of all streams become episodes, episodes become blocks; what is not known is said to be so."""

from __future__ import annotations

from typing import Any

import pytest

from checkrein.api.evidence import Evidence, Part
from checkrein.api.rollout import StreamStatus
from checkrein.control.rollout import ledger, ready
from checkrein.control.rollout.ledger import Clock, Episode, joined
from checkrein.judge import assignment
from checkrein.judge.assignment import Unit

SEED, ID, T0 = "5eed", "cartpole-2.1", 1_000_000.0
NOW = Clock(now=T0 + 100, episode_deadline=3600)
LATE = Clock(now=T0 + 100, episode_deadline=3600, outcome_deadline=60)


START = Unit("episode", ID, "a", 0, 0, 50)


def part(unit: Unit | str = START, **fields: Any) -> Part:
    """One whole episode of ten steps, seen by one replica."""
    text = str(unit)
    arm = _arm(unit) if isinstance(unit, Unit) else "stable"
    known = {
        "episode": f"e-{text}",
        "unit": text,
        "arm": arm,
        "started": T0,
        "first": 1,
        "last": 10,
        "steps": [(0, 10)],
        "rewarded": [(0, 10)],
        "reward": 10.0,
        "decided": 10,
        "ended": "terminated",
        "ended_at": T0 + 50,
        "length": 10,
    }
    return Part.model_validate({**known, **fields})


def _arm(unit: Unit) -> str:
    match unit.kind:
        case "episode":
            return assignment.arms(SEED, unit.stream, unit.block, unit.weight)[unit.index]
        case "window":
            return assignment.arms(SEED, "", unit.block, unit.weight)[unit.index]
        case "client":
            return assignment.of_client(SEED, unit.stream, unit.weight)
    return "stable"


def told(*parts: Part, stream: str = "a", **fields: Any) -> Evidence:
    return Evidence(stream=stream, upto=1000, now=NOW.now, parts=list(parts), **fields)


def one(*evidence: Evidence, clock: Clock = NOW) -> Episode:
    """The only episode in this evidence."""
    found = joined(evidence, frozenset({"episode"}), ID, clock)
    [[episode]] = found.episodes.values()
    return episode


UNFINISHED = {"ended": "", "ended_at": None, "length": None}


@pytest.mark.parametrize(
    ("evidence", "clock", "expected"),
    [
        pytest.param(
            [told(part())], NOW, {"finished": True, "known": True, "worst": False, "complete": True}, id="whole"
        ),
        pytest.param([told(part(**UNFINISHED))], NOW, {"finished": False}, id="still running -> waited for"),
        pytest.param(
            [told(part(**UNFINISHED))],
            Clock(T0 + 3600, 3600),
            {"finished": True, "worst": True},
            id="its deadline is over -> the worst",
        ),
        pytest.param(
            [told(part(ended="aborted"))], NOW, {"worst": True, "known": True}, id="its caller gave up -> the worst"
        ),
        pytest.param([told(part(ended="deadline"))], NOW, {"worst": True}, id="cut by its deadline -> the worst"),
        pytest.param(
            [told(part(ended="shield"))], NOW, {"worst": True, "known": True}, id="a rule ended it -> the worst"
        ),
        pytest.param([told(part(overridden=1))], NOW, {"known": False}, id="an override cut it -> unknown"),
        pytest.param([told(part(forked=True))], NOW, {"known": False}, id="played twice -> unknown"),
        pytest.param(
            [told(part(), lost_before=1)], NOW, {"known": False}, id="the replica has forgotten some of it -> unknown"
        ),
        pytest.param([told(part(rewarded=[(0, 9)]))], NOW, {"complete": False}, id="a reward was never told"),
        pytest.param(
            [
                told(part(steps=[(0, 4)], rewarded=[(0, 3)], reward=3, **UNFINISHED)),
                told(part(steps=[(4, 10)], rewarded=[(3, 10)], reward=7), stream="b"),
            ],
            NOW,
            {"finished": True, "known": True, "reward": 10.0, "decided": 20, "complete": True},
            id="it moved to another replica -> the sum",
        ),
        pytest.param(
            [told(part(steps=[(4, 10)], rewarded=[(3, 10)]), stream="b")],
            NOW,
            {"finished": False},
            id="some steps are not told yet -> waited for",
        ),
        pytest.param(
            [told(part(steps=[(4, 10)], rewarded=[(3, 10)]), stream="b")],
            Clock(T0 + 50 + ledger.PATIENCE, 3600),
            {"finished": True, "known": False},
            id="some steps are nobody's -> unknown",
        ),
        pytest.param(
            [told(part()), told(part(rewarded=[(3, 4)], steps=[(4, 5)], reward=1), stream="b")],
            NOW,
            {"known": False},
            id="two replicas have added one reward -> unknown",
        ),
        pytest.param([told(part(rewarded=[]))], LATE, {"finished": False}, id="late outcomes are waited for"),
        pytest.param(
            [told(part(rewarded=[], late_reward=7.0, reward=0, final=True))],
            LATE,
            {"finished": True, "reward": 7.0, "worst": False, "complete": True},
            id="nothing more will follow -> it is over",
        ),
        pytest.param(
            [
                told(part(late_reward=7.0, late_cost=1.0, outcomes={"a": (4.0, 1.0), "b": (3.0, 0.0)}, final=True)),
                told(part(rewarded=[], reward=0, late_reward=6.0, outcomes={"b": (3.0, 0.0)}), stream="b"),
            ],
            LATE,
            {"reward": 10.0 + 7.0 + 3.0, "cost": 1.0},
            id="an outcome that was told two replicas counts once, one without an id twice",
        ),
        pytest.param(
            [told(part(rewarded=[], reward=0))],
            Clock(T0 + 110, 3600, 60),
            {"finished": True, "worst": True},
            id="an outcome that never came -> the worst",
        ),
    ],
)
def test_an_episode(evidence: list[Evidence], clock: Clock, expected: dict[str, Any]) -> None:
    episode = one(*evidence, clock=clock)
    assert {name: getattr(episode, name) for name in expected} == expected


def test_evidence_of_other_rollouts_and_what_is_none_is_left_out() -> None:
    other = part(Unit("episode", "cartpole-2.2", "a", 0, 0, 50))
    watched = part(Unit("watch", "cartpole-1.e3", "a", 1))
    found = joined([told(other, watched, part("nonsense"))], frozenset({"episode"}), ID, NOW)
    assert (found.episodes, found.findings) == ({}, {"malformed": 1})


# --- blocks


def units(stream: str, block: int, weight: int = 50) -> list[Unit]:
    size, _ = assignment.shape(weight)
    return [Unit("episode", ID, stream, block, i, weight) for i in range(size)]


def harvest(*parts: Part, mark: int = 0, closing: bool = False) -> tuple[list[tuple[int, int]], int]:
    """(known candidate units, known stable units) of each block that is ready, and the mark behind them."""
    found = joined([told(*parts)], frozenset({"episode"}), ID, NOW)
    got = ready.episodes(found, [StreamStatus(name="a", block=mark)], frozenset({"a"} if closing else ()), SEED)
    shown = [(sum(u is not None for u in r.candidate), sum(u is not None for u in r.stable)) for r in got.blocks]
    return shown, got.marks["a"]


FIRST, SECOND, THIRD = ([part(u) for u in units("a", n)] for n in range(3))
RUNNING = part(units("a", 0)[0], **UNFINISHED)


@pytest.mark.parametrize(
    ("parts", "fields", "expected"),
    [
        pytest.param([], {}, ([], 0), id="nothing"),
        pytest.param(FIRST[:1], {}, ([], 0), id="half a block -> waited for"),
        pytest.param(FIRST, {}, ([(1, 1)], 1), id="a block"),
        pytest.param([*FIRST, *SECOND], {}, ([(1, 1), (1, 1)], 2), id="two blocks"),
        pytest.param(
            [RUNNING, FIRST[1], *SECOND], {}, ([], 0), id="the first one runs -> the second one waits behind it"
        ),
        pytest.param([*FIRST, *SECOND], {"mark": 1}, ([(1, 1)], 2), id="a block that was scored is not scored again"),
        pytest.param([FIRST[0], *SECOND], {}, None, id="a start that never reported -> unknown"),
        pytest.param([*SECOND], {}, ([(0, 0), (1, 1)], 2), id="a whole block that never reported -> unknown"),
        pytest.param(FIRST[:1], {"closing": True}, None, id="a vanished replica's half block -> the rest is unknown"),
        pytest.param([RUNNING, FIRST[1]], {"closing": True}, None, id="a vanished replica's running one -> unknown"),
        pytest.param([], {"closing": True}, ([], 0), id="a vanished replica without any -> nothing"),
        pytest.param(
            [FIRST[0], FIRST[1].model_copy(update={"arm": FIRST[0].arm})],
            {},
            None,
            id="an arm that was not assigned -> unknown",
        ),
    ],
)
def test_blocks(parts: list[Part], fields: dict[str, Any], expected: Any) -> None:
    shown, mark = harvest(*parts, **fields)
    if expected is None:
        assert shown[0] in ((0, 1), (1, 0))
        assert mark == len(shown)
    else:
        assert (shown, mark) == expected


def test_two_episodes_that_claim_one_start_are_both_unknown() -> None:
    double = FIRST[0].model_copy(update={"episode": "another"})
    assert harvest(*FIRST, double)[0][0] in ((0, 1), (1, 0))


def test_a_block_keeps_the_weight_that_it_began_with() -> None:
    """The step changes after one start: the block of four goes on, the next one is of two."""
    parts = [part(u) for u in (*units("a", 0, 25), *units("a", 1, 50))]
    assert harvest(*parts) == ([(1, 3), (1, 1)], 2)


# --- other designs


def windows(*parts: Part, counted: float = 0.0, now: float = 1_000_100.0, **fields: Any) -> tuple[int, float]:
    found = joined([told(*parts)], frozenset({"window"}), ID, NOW)
    times = ready.Times(**{"now": now, "window": 10.0, "since": 0.0, "counted_since": counted, **fields})
    got = ready.windows(found, times, SEED)
    return len(got.blocks), got.counted_since


def window(at: float, **fields: Any) -> Part:
    block, index = divmod(int(at // 10), 2)
    return part(Unit("window", ID, "", block, index, 50), started=at, episode=f"e{at}", **fields)


WINDOWS = [window(1_000_000.0), window(1_000_003.0), window(1_000_010.0)]


@pytest.mark.parametrize(
    ("parts", "fields", "expected"),
    [
        pytest.param(WINDOWS, {}, (1, 1_000_020.0), id="both windows are over"),
        pytest.param(WINDOWS, {"now": 1_000_019.0}, (0, 0.0), id="the second one is not"),
        pytest.param(WINDOWS, {"counted": 1_000_020.0}, (0, 1_000_020.0), id="scored before"),
        pytest.param([*WINDOWS, window(1_000_011.0, **UNFINISHED)], {}, (0, 0.0), id="one of its episodes runs"),
        pytest.param(WINDOWS, {"since": 1_000_005.0}, (0, 0.0), id="the step changed within it"),
    ],
)
def test_windows(parts: list[Part], fields: dict[str, Any], expected: tuple[int, float]) -> None:
    assert windows(*parts, **fields) == expected


def client(name: str, at: float, **fields: Any) -> Part:
    return part(Unit("client", ID, name, weight=50), started=at, episode=f"{name}{at}", **fields)


def clients(*parts: Part, counted: float = 0.0) -> tuple[list[int], float]:
    """Episodes of each client that is ready."""
    found = joined([told(*parts)], frozenset({"client"}), ID, NOW)
    got = ready.clients(found, ready.Times(now=NOW.now, window=50.0, since=0.0, counted_since=counted), SEED)
    assert all(r.probability == 0.5 for r in got.blocks)
    return [len(u or ()) for r in got.blocks for u in (*r.candidate, *r.stable)], got.counted_since


def test_a_client_is_one_unit_once() -> None:
    parts = [client("x", T0), client("x", T0 + 20), client("x", T0 + 51), client("y", T0 + 10)]
    counts, mark = clients(*parts)
    assert counts == [2, 1]
    assert T0 + 10 < mark < T0 + 10.1
    assert clients(*parts, counted=mark) == ([], mark)


def test_a_client_whose_window_is_open_holds_back_those_behind_it() -> None:
    assert clients(client("x", T0 + 70), client("y", T0 + 10))[0] == [1]


def test_shadowed_starts_come_in_order_and_others_are_not_waited_for() -> None:
    share = 0.5
    shadows = [Unit("shadow", ID, "a", n) for n in range(12)]
    chosen = [u.block for u in shadows if assignment.is_shadowed(SEED, "a", u.block, share)]
    running = next(n for n in range(12) if n not in chosen)
    parts = [part(u, **(UNFINISHED if u.block == running else {}), started=T0 + u.block) for u in shadows]
    found = joined([told(*parts)], frozenset({"shadow"}), ID, NOW)
    episodes, marks = ready.starts(found, [StreamStatus(name="a")], frozenset(), share, SEED)
    assert [e.unit.block for e in episodes] == chosen
    assert marks == {"a": 12}
