"""A wall clock that is set back, and one that leaps ahead, while a replica runs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from tests.agent import graphs
from tests.agent.conftest import StartReplica
from tests.agent.installation import Deployment, Library
from tests.agent.replica import OBSERVATION, Replica
from tests.agent.test_faults import metric, proved, terminated
from tests.agent.test_reins import OPEN, answers, logged, override, records, until
from tests.agent.wallclock import WallClock
from tests.cluster.processes import tail
from tests.cluster.steps import ClusterError, wait_until

pytestmark = [pytest.mark.controlplane, pytest.mark.store]

HOUR = 3600
RATE = BURST = 10
LIMITS = {"limits": {"decisionsPerSecond": RATE, "burst": BURST}}
STEER = {"action": 1}
POLICY = {"action": 0}
"""What cartpole-1 answers; an override under test answers 1."""


@pytest.fixture
def clock(tmp_path: Path) -> WallClock:
    return WallClock(tmp_path / "clock")


@pytest.fixture
def timed(
    deploy: Callable[..., Deployment], library: Library, start: StartReplica, clock: WallClock
) -> Callable[..., tuple[Deployment, Replica]]:
    """A replica that goes by `clock`, whose stable policy always answers 0."""

    def make(**spec: Any) -> tuple[Deployment, Replica]:
        deployment = deploy(**spec)
        deployment.set_status(1, library.publish("cartpole-1", graphs.always(0)))
        replica = start(deployment, env=clock.env)
        replica.wait_acting("cartpole-1")
        return deployment, replica

    return make


@contextmanager
def load(replica: Replica) -> Iterator[Counter[int]]:
    """Callers that never pause; how many answers they have got, by HTTP status."""
    over, got = Event(), Counter[int]()

    def ask() -> None:
        while not over.is_set():
            got[replica.post({"observation": OBSERVATION}).status_code] += 1

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        try:
            yield got
        finally:
            over.set()
    for caller in asking:
        caller.result()


def more(replica: Replica, got: Counter[int], status: int) -> None:
    """Until callers get another answer with this status."""
    before = got[status]
    wait_until(lambda: got[status] > before, 90, otherwise=lambda: ClusterError(f"{got}\n{tail(replica.process.log)}"))


def test_decisions_under_load_keep_their_limit_and_their_log_whatever_the_clock_does(
    timed: Callable[..., tuple[Deployment, Replica]], clock: WallClock, library: Library, tmp_path: Path
) -> None:
    _, replica = timed(**OPEN, **LIMITS)
    began = time.monotonic()
    with load(replica) as got:
        for ahead in (-HOUR, HOUR, 0):
            clock.set(ahead)
            more(replica, got, 429)
            more(replica, got, 200)
            replica.wait(lambda report, true=ahead == 0: report.storing is true)  # S3 refuses a clock that is wrong
        assert replica.get("/readyz").status_code == 200
    assert set(got) == {200, 429}
    assert got[200] <= BURST + RATE * (time.monotonic() - began), "a leap grants nothing"
    assert metric(replica, "decisions_total") == got[200]
    logged(replica, kind="decision", regime="Policy")
    terminated(replica)
    proved(library, replica.namespace, tmp_path / "keys.json")


def test_the_times_in_the_log_never_go_back(timed: Callable[..., tuple[Deployment, Replica]], clock: WallClock) -> None:
    _, replica = timed(**OPEN)
    for ahead in (0, HOUR, 0, -HOUR):
        clock.set(ahead)
        last = replica.act()["decision"]
    logged(replica, kind="decision", decision=last)
    times = [record["timestamp"] for record in records(replica)]
    assert times == sorted(times)


def test_an_override_that_has_ended_does_not_begin_again(
    timed: Callable[..., tuple[Deployment, Replica]], clock: WallClock
) -> None:
    deployment, replica = timed(**OPEN)
    deployment.set_spec(OPEN | override("Action", action=[1]))
    answers(replica, STEER)
    clock.set(-HOUR)
    assert replica.act()["action"] == 1, "its end has not come"
    clock.set(HOUR)
    assert replica.act()["action"] == 0, "its end has come"
    for ahead in (0, -HOUR):
        clock.set(ahead)
        assert replica.act()["action"] == 0, "it is over"


def test_an_override_ends_in_its_time_though_the_clock_is_set_back(
    timed: Callable[..., tuple[Deployment, Replica]], clock: WallClock
) -> None:
    deployment, replica = timed(**OPEN)
    deployment.set_spec(OPEN | override("Action", action=[1], until=until(30)))
    answers(replica, STEER)
    clock.set(-HOUR)
    answers(replica, POLICY)
    assert logged(replica, kind="override", mode="")


def test_an_override_takes_hold_after_the_clock_has_leapt_ahead_and_come_back(
    timed: Callable[..., tuple[Deployment, Replica]], clock: WallClock
) -> None:
    deployment, replica = timed(**OPEN)
    clock.set(HOUR)
    replica.act()
    clock.set(0)
    deployment.set_spec(OPEN | override("Action", action=[1]))
    answers(replica, STEER)


def test_a_good_token_is_taken_though_the_clock_is_set_back(
    timed: Callable[..., tuple[Deployment, Replica]], clock: WallClock
) -> None:
    deployment, replica = timed(auth={"mode": "ServiceAccount"})
    ask = {"observation": OBSERVATION}
    assert replica.post(ask, token=deployment.token()).status_code == 200
    clock.set(-HOUR)
    answer = replica.post(ask, token=deployment.token())
    assert answer.status_code == 200, answer.text


def test_a_leap_refuses_tokens_for_as_long_as_it_lasts(
    timed: Callable[..., tuple[Deployment, Replica]], clock: WallClock
) -> None:
    deployment, replica = timed(auth={"mode": "ServiceAccount"})
    ask, token = {"observation": OBSERVATION}, deployment.token()
    assert replica.post(ask, token=token).status_code == 200
    clock.set(2 * HOUR)
    refused = replica.post(ask, token=token)
    assert (refused.status_code, "expired" in refused.text) == (401, True), refused.text
    clock.set(0)
    assert replica.post(ask, token=token).status_code == 200


def test_a_leap_over_the_deadline_ends_episodes_and_later_ones_go_on(
    timed: Callable[..., tuple[Deployment, Replica]], clock: WallClock
) -> None:
    _, replica = timed(**OPEN, episodeDeadline="10m")
    episode = replica.act()["episode"]
    clock.set(-HOUR)
    episode = replica.act(episode)["episode"]
    clock.set(HOUR)
    expired = replica.post({"observation": OBSERVATION, "episode": episode})
    assert expired.json()["type"].endswith("/episode-expired")
    episode = replica.act()["episode"]
    for ahead in (0, -HOUR):
        clock.set(ahead)
        episode = replica.act(episode)["episode"]
