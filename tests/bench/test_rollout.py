"""The callers of the rollouts' benchmark: who answered last must be who answered last."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests.bench.rollout_load import STEPS, AgentPlayer, AnswerError, Connection, Heard, Load, PagePlayer, last
from tests.bench.rollout_times import Times, UnendingError, quiet_since
from tests.cluster.steps import ClusterError, wait_until

PLACE = "127.0.0.1"
CALLERS = 4
PATIENCE = 60  # seconds; every wait ends by its condition


class Agent:
    """Answers episodes under `policy`, which the ones that have begun keep; refuses while `refusing`."""

    def __init__(self) -> None:
        self.policy = "first"
        self.refusing = False
        self.returns: dict[str, list[float]] = {"first": [], "second": []}

    def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.refusing:
            return 503, {"detail": "not now"}
        policy, _, step = body.get("episode", f"{self.policy}/0").partition("/")
        if body.get("terminated"):
            assert int(step) == STEPS
            self.returns[policy].append(body["reward"])
            return 200, {"ended": "terminated"}
        return 200, {"action": 1, "policy": policy, "episode": f"{policy}/{int(step) + 1}"}


@contextmanager
def served(agent: Agent) -> Iterator[int]:
    """Its port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.say(*agent.answer(json.loads(self.rfile.read(int(self.headers["content-length"])))))

        def do_GET(self) -> None:
            self.say(200, {"pod": "pod-1", "version": agent.policy})

        def say(self, status: int, told: dict[str, Any]) -> None:
            body = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer((PLACE, 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def agent() -> Agent:
    return Agent()


@pytest.fixture
def load(agent: Agent) -> Iterator[Load]:
    with served(agent) as port, Load([AgentPlayer(PLACE, port) for _ in range(CALLERS)], rate=200, best=500.0) as load:
        heard(load, "first")
        yield load


def heard(load: Load, who: str) -> None:
    since = len(load.heard)
    wait_until(lambda: PLACE in load.places(who, since), PATIENCE, otherwise=lambda: ClusterError(str(load.failed)))


def test_a_version_that_has_left_was_heard_last_before_the_other_was_alone(agent: Agent, load: Load) -> None:
    began = load.heard[-1].at
    agent.policy = "second"
    heard(load, "second")
    ended = quiet_since(load, "first", began, PATIENCE)
    assert ended is not None
    assert ended == max(h.at for h in load.heard if h.who == "first")
    assert quiet_since(load, "first", load.heard[-1].at, PATIENCE) is None
    assert load.failed == []


def test_a_version_that_goes_on_is_told_of(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.bench.rollout_times.QUIET", 60.0)  # else a halt of the machine looks like nobody there
    with pytest.raises(UnendingError, match="first still answers"):
        quiet_since(load, "first", load.heard[-1].at, 0.5)


def test_episodes_come_to_nothing_from_the_breach_on(agent: Agent, load: Load) -> None:
    wait_until(lambda: load.mean("first") == 500.0, PATIENCE, otherwise=lambda: ClusterError("no return"))
    load.spoil("first")
    wait_until(lambda: load.mean("first") == 0.0, PATIENCE, otherwise=lambda: ClusterError("still good"))
    agent.policy = "second"
    wait_until(lambda: load.mean("second") == 500.0, PATIENCE, otherwise=lambda: ClusterError("spoilt, too"))
    # A caller counts it before it tells it.
    wait_until(lambda: bool(agent.returns["second"]), PATIENCE, otherwise=lambda: ClusterError("it is not told"))
    assert set(agent.returns["second"]) == {500.0}
    came = agent.returns["first"]
    assert set(came) == {500.0, 0.0}
    # The other callers' last good ones may be on their way just then.
    assert came[came.index(0.0) :].count(500.0) <= CALLERS - 1


def test_an_answer_that_fails_is_counted_and_the_callers_go_on(agent: Agent, load: Load) -> None:
    agent.refusing = True
    wait_until(lambda: len(load.failed) > 0, PATIENCE, otherwise=lambda: ClusterError("no failure"))
    agent.refusing = False
    heard(load, "first")
    assert "503" in load.failed[0]
    assert "not now" in load.failed[0]


def test_nobody_there_is_a_failure(agent: Agent) -> None:
    with served(agent) as port:
        pass
    with pytest.raises(AnswerError, match="Connect"):
        asyncio.run(Connection(PLACE, port).ask("GET", "/"))


def test_a_page_tells_the_pod_that_answered(agent: Agent) -> None:
    with served(agent) as port, Load([PagePlayer(PLACE, port)], rate=100) as load:
        wait_until(
            lambda: load.places("first") == {"pod-1"}, PATIENCE, otherwise=lambda: ClusterError(str(load.failed))
        )
    assert load.failed == []


def test_running_episodes_are_told_from_new_ones() -> None:
    answers = [Heard(1, "a", "old", True), Heard(2, "b", "new", True), Heard(3, "a", "old", False)]
    assert last(answers, "old") == 3
    assert last(answers, "old", begins=True) == 1
    assert last(answers, "other") is None


def test_what_never_ended_leaves_no_percentile_and_misses_the_goal() -> None:
    times = Times()
    for ended in (11.0, 12.0, None):
        times.add(10.0, ended)
    figures = {f.name: f for f in times.figures("x", goal="<= 10")}
    assert (figures["x: max"].value, figures["x: p99"].holds) == (2.0, True)
    times.unending = 1
    figures = {f.name: f for f in times.figures("x", goal="<= 10")}
    assert (figures["x: p99"].value, figures["x: p99"].holds) == (None, False)
    assert figures["x: did not end"].holds is False
