"""Which episodes of a log an off-policy estimate may count, and what it says of those that are not whole."""

from __future__ import annotations

from typing import Any

import pytest
from tests.store.decisions.writer import AGENT, at, decision

from checkrein.judge.offpolicy import Step
from checkrein.store.decisions.offpolicy import Gathering
from checkrein.store.decisions.records import DecisionRecord, EndRecord, OutcomeRecord, Record, ShadowRecord

CANDIDATE = "cartpole-2"
NOON = 1796126400.0  # 2026-12-01T12:00:00Z


def acted(step: int, episode: str = "a", **more: Any) -> DecisionRecord:
    return decision(episode, step, **{"propensity": 0.9, "q_value": 3.0, "reward": 1.0 if step else None} | more)


def shadow(step: int, episode: str = "a", **more: Any) -> ShadowRecord:
    known: dict[str, Any] = {
        "timestamp": at(step),
        "agent_id": AGENT,
        "decision": f"{episode}-{step}",
        "episode": episode,
        "step": step,
        "policy": CANDIDATE,
        "policy_digest": "sha256:cd",
        "probability": 1.0,
    }
    return ShadowRecord(**known | more)


def end(step: int, episode: str = "a", **more: Any) -> EndRecord:
    known: dict[str, Any] = {"timestamp": at(9), "agent_id": AGENT, "episode": episode, "step": step, "reward": 4.0}
    return EndRecord(**known | {"ending": "terminated"} | more)


def outcome(reward: float, **more: Any) -> OutcomeRecord:
    return OutcomeRecord(timestamp=at(20), agent_id=AGENT, reward=reward, **more)


WHOLE: list[Record] = [acted(0), shadow(0), acted(1, propensity=0.1, exploration_flag=True), shadow(1), end(2)]


def gathered(records: list[Record], **asked: Any) -> Gathering:
    gathering = Gathering(CANDIDATE, **asked)
    for record in records:
        gathering.add(record)
    return gathering


@pytest.mark.parametrize("order", [1, -1], ids=["as it happened", "the other way round, as from several streams"])
def test_a_whole_episode(order: int) -> None:
    [episode] = gathered(WHOLE[::order]).episodes()
    assert episode.steps == (
        Step(0.9, 1.0, reward=1.0, explored=False, value=3.0),
        Step(0.1, 1.0, reward=4.0, explored=True, value=3.0),
    )
    assert (episode.began, episode.ended, episode.worst, episode.missing) == (NOON, NOON + 9, False, "")


@pytest.mark.parametrize(
    ("records", "missing"),
    [
        pytest.param([*WHOLE, acted(1, propensity=0.1)], "", id="a retry adds nothing"),
        pytest.param(WHOLE[:-1], "its end", id="no end"),
        pytest.param([WHOLE[0], WHOLE[1], WHOLE[-1]], "some of its steps", id="the last step is lost"),
        pytest.param([*WHOLE[:2], acted(2), shadow(2), end(3)], "some of its steps", id="one in the middle is lost"),
        pytest.param([*WHOLE, acted(1, observation_digest="x")], "one answer to each step", id="a fork"),
        pytest.param([*WHOLE, acted(1, action=0)], "one answer to each step", id="an exploration that was given up"),
        pytest.param([*WHOLE[:2], acted(1, forked=True), end(2)], "one answer to each step", id="told to be a fork"),
        pytest.param([*WHOLE[:2], acted(1, regime="Limit"), end(2)], "one policy throughout", id="over the limit"),
        pytest.param([*WHOLE[:2], acted(1, regime="Fallback"), end(2)], "one policy throughout", id="fallen back"),
        pytest.param([*WHOLE[:2], acted(1, overridden=True), end(2)], "one policy throughout", id="overridden"),
        pytest.param([*WHOLE[:2], acted(1, policy="cartpole-3"), end(2)], "one policy throughout", id="switched"),
        pytest.param([*WHOLE[:-1], end(2, ending="shield")], "a rule of the shield", id="cut by the shield"),
        pytest.param([acted(0), shadow(0), end(1, reward=None)], "any reward", id="no reward was ever told"),
        pytest.param([acted(0), shadow(0), end(1, reward=None, ending="aborted")], "", id="an abort needs none"),
    ],
)
def test_what_an_episode_lacks(records: list[Record], missing: str) -> None:
    [episode] = gathered(records).episodes()
    assert missing in episode.missing
    assert bool(missing) == bool(episode.missing)


@pytest.mark.parametrize(
    ("opinion", "probability"),
    [
        pytest.param({}, 1.0, id="it would have done the same"),
        pytest.param({"probability": 0.0}, 0.0, id="it would have done something else"),
        pytest.param({"probability": 0.25}, 0.25, id="it is stochastic"),
        pytest.param({"outcome": "failed", "probability": None}, None, id="it failed"),
        pytest.param({"outcome": "dropped", "probability": None}, None, id="it was not asked"),
        pytest.param({"policy": "cartpole-9"}, None, id="that was another candidate"),
    ],
)
def test_what_the_candidate_said(opinion: dict[str, Any], probability: float | None) -> None:
    [episode] = gathered([*WHOLE[:3], shadow(1, **opinion), end(2)]).episodes()
    assert [step.candidate for step in episode.steps] == [1.0, probability]


def test_the_candidates_own_value_is_the_better_guess() -> None:
    [episode] = gathered([acted(0), shadow(0, q_value=7.0), end(1)]).episodes()
    assert episode.steps[0].value == 7.0


@pytest.mark.parametrize("ending", ["aborted", "deadline"])
def test_an_episode_that_was_cut_off_is_the_worst(ending: str) -> None:
    [episode] = gathered([*WHOLE[:-1], end(2, ending=ending)]).episodes()
    assert episode.worst


def test_late_rewards() -> None:
    """Of a decision, of the episode as a whole, and one that the reporter told twice."""
    told = [outcome(10.0, decision="a-0"), outcome(100.0, episode="a"), *[outcome(0.5, decision="a-1", id="x")] * 2]
    gathering = gathered([*told, *WHOLE])
    for _ in range(2):  # asked again it says the same
        [episode] = gathering.episodes()
        assert [step.reward for step in episode.steps] == [11.0, 104.5]


@pytest.mark.parametrize("action", [0.5, [0.5, 1.0], [[0.25]]], ids=str)
def test_a_density_is_no_propensity(action: Any) -> None:
    [episode] = gathered([acted(0, action=action, propensity=0.4), shadow(0), end(1)]).episodes()
    assert episode.steps[0].propensity is None


@pytest.mark.parametrize(
    ("records", "asked", "count"),
    [
        pytest.param(WHOLE, {}, 1, id="stable's, shadowed"),
        pytest.param([acted(0), end(1)], {}, 0, id="not shadowed"),
        pytest.param([acted(0, arm="candidate"), shadow(0), end(1)], {}, 0, id="of the candidate's arm"),
        pytest.param([acted(0, policy=CANDIDATE), shadow(0), end(1)], {}, 0, id="the candidate acted"),
        pytest.param([acted(0, regime="Pin"), shadow(0), end(1)], {}, 0, id="overridden from its start"),
        pytest.param(WHOLE, {"stable": "cartpole-1"}, 1, id="of the stable asked for"),
        pytest.param(WHOLE, {"stable": "cartpole-0"}, 0, id="of another stable"),
        pytest.param(WHOLE, {"since": NOON}, 1, id="since then"),
        pytest.param(WHOLE, {"since": NOON + 0.5}, 0, id="begun before"),
        pytest.param(WHOLE, {"until": NOON}, 0, id="begun later"),
        pytest.param(WHOLE[2:], {}, 0, id="its beginning is not there"),
    ],
)
def test_which_episodes_are_counted(records: list[Record], asked: dict[str, Any], count: int) -> None:
    assert len(gathered(records, **asked).episodes()) == count


def test_of_several_stables_the_latest_counts() -> None:
    older = [acted(0, "b", policy="cartpole-0"), shadow(0, "b"), end(1, "b")]
    newer = [acted(0, "c", timestamp=at(30)), shadow(0, "c"), end(1, "c")]
    assert [e.began for e in gathered([*newer, *older]).episodes()] == [NOON + 30]


def test_the_longest_episode_is_known_at_once() -> None:
    assert gathered([acted(6)]).longest == 7
