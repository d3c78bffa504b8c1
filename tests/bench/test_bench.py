"""The benchmarks' own parts: a figure that lies would be worse than none."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.bench import tables
from tests.bench.caller import Heard
from tests.bench.decisions import compared
from tests.bench.load import Target, measure
from tests.bench.override import last_of_old
from tests.bench.report import Figure
from websockets.sync.server import ServerConnection, serve

STEPS = 3


@pytest.mark.parametrize(
    ("value", "goal", "holds"),
    [
        pytest.param(3.0, ">= 3", True, id="at the bound"),
        pytest.param(2.9, ">= 3", False, id="too little"),
        pytest.param(251.0, "<= 250", False, id="too much"),
        pytest.param(None, "<= 250", False, id="a missing number meets no goal"),
        pytest.param(1.0, None, None, id="without a goal"),
    ],
)
def test_a_goal_is_met_or_missed(value: float | None, goal: str | None, holds: bool | None) -> None:
    assert Figure("x", value, "ms", goal).holds is holds


def test_figures_of_the_same_kind_share_a_table() -> None:
    found = [Figure("a: p50", 1, "ms"), Figure("a: p99", 300, "ms", "<= 250"), Figure("b: p50", 2, "ms")]
    machine = {"processor": "P", "cores": 2, "memory_gib": 8, "kernel": "6", "python": "3", "load_before": 0.1}
    document = {"figures": [f.dump() for f in found], "machine": machine, "commit": "c" * 40, "missing": {"d": "why"}}
    lines = tables.section(document).splitlines()
    assert lines[:4] == [
        "|  | p50 | p99 |",
        "| --- | --- | --- |",
        "| a | 1 ms | 300 ms (goal <= 250: **missed**) |",
        "| b | 2 ms |  |",
    ]
    assert "d is missing: why" in lines


def test_ours_is_compared_with_the_best_of_the_others() -> None:
    def server(requests: float, p99: float) -> dict[str, float]:
        return {f"{what} {n}": value for n in (1, 16) for what, value in (("requests", requests), ("p99", p99))}

    measured = {"checkrein": server(6000, 5), "MLServer": server(1000, 8), "BentoML": server(1500, 20)}
    ratios = {figure.name: (figure.value, figure.holds) for figure in compared(measured)}
    assert ratios["HTTP requests/s over the best peer's at 16"] == (4, True)
    assert ratios["HTTP p99 over the best peer's at 16"] == (0.625, False)


def test_an_old_regime_that_comes_back_counts() -> None:
    heard = [Heard(0, 1, "old"), Heard(1, 2, "new"), Heard(2, 3, "old"), Heard(3, 4, "new")]
    assert last_of_old(heard, "new") == 3
    assert last_of_old(heard[3:], "new") == 0


class Episodes:
    """Answers like an agent, one token after the other, and refuses a token that it did not give last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number = 0
        self._steps: dict[str, int] = {}
        self.ended: list[int] = []
        self.observations: set[float] = set()

    def answer(self, body: bytes | str) -> tuple[int, dict[str, Any]]:
        asked = json.loads(body)
        with self._lock:
            steps = self._steps.pop(asked["episode"], None) if "episode" in asked else 0
            if steps is None:
                return 400, {"detail": "not the last token"}
            if asked.get("terminated"):
                self.ended.append(steps)
                return 200, {"ended": "terminated", "steps": steps, "policy": "p"}
            self.observations.add(asked["observation"][0])
            self._number += 1
            token = f"t{self._number}"
            self._steps[token] = steps + 1
            return 200, {"action": 1, "episode": token, "decision": "d"}


@pytest.fixture
def episodes() -> Episodes:
    return Episodes()


@pytest.fixture
def over_http(episodes: Episodes) -> Iterator[Target]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            status, answer = episodes.answer(self.rfile.read(int(self.headers["content-length"])))
            body = json.dumps(answer).encode()
            self.send_response(status if self.headers["authorization"] == "Bearer t" else 401)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Target(server.server_port, "/v1/act", ["[0.1]", "[0.2]"], STEPS, "Bearer t")
    server.shutdown()


@pytest.fixture
def over_websocket(episodes: Episodes) -> Iterator[Target]:
    def talk(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(json.dumps(episodes.answer(message)[1]))

    server = serve(talk, "127.0.0.1", 0, compression=None)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Target(server.socket.getsockname()[1], "", ["[0.1]", "[0.2]"], STEPS, stream="/v1/stream")
    server.shutdown()


@pytest.mark.parametrize("way", ["over_http", "over_websocket"])
@pytest.mark.parametrize("connections", [1, 4])
def test_each_connection_plays_whole_episodes(
    episodes: Episodes, way: str, connections: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    target: Target = request.getfixturevalue(way)
    found = measure(target, connections, tmp_path, seconds=3, warm_up=0, stream=way == "over_websocket")
    assert (found["errors"], found["first_error"]) == (0, "")
    assert found["requests"] > 0
    assert 0 < found["p50"] <= found["p99"] <= found["max"]
    assert set(episodes.ended) == {STEPS}
    assert episodes.observations == {0.1, 0.2}


def test_a_refusal_is_counted_and_told(over_http: Target, tmp_path: Path) -> None:
    stranger = Target(over_http.port, "/v1/act", over_http.bodies, STEPS, "Bearer x")
    found = measure(stranger, 1, tmp_path, seconds=3, warm_up=0)
    assert found["errors"] > 0
    assert found["requests"] == 0
    assert "action" in found["first_error"]
