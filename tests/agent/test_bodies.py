"""Ten thousand bodies that nobody should send: each is understood, or refused by a 4xx problem."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.agent.replica import OBSERVATION, Replica
from tests.agent.test_messages import JSON
from websockets.sync.client import connect

pytestmark = [pytest.mark.controlplane, pytest.mark.store]
BODIES = 10_000

FIELDS = ["reward", "cost", "objective", "episode", "terminated", "truncated", "aborted", "x"]
TENSOR = {"name": "observation", "shape": [1, 4], "datatype": "FP32", "data": OBSERVATION}
OBSERVATIONS = st.lists(st.floats() | st.integers(), min_size=3, max_size=5)
VALUES = JSON | st.sampled_from([10**400, -(2**63), 2**64, 1e308, "", "A" * 300, [], {}, [[]], True, None, -1])


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def broken(body: bytes, place: int, how: str) -> bytes:
    """Cut short, with one byte changed, or as it is."""
    place = min(place, len(body))
    return {"whole": body, "cut": body[:place], "changed": body[:place] + b"\xff" + body[place + 1 :]}[how]


def damaged(target: str, bodies: st.SearchStrategy[bytes]) -> st.SearchStrategy[tuple[str, bytes]]:
    """Bodies for this address, some of them broken."""
    given = st.binary(max_size=300) | JSON.map(encoded) | bodies
    how = st.sampled_from(["whole", "cut", "changed"])
    return st.tuples(st.just(target), st.builds(broken, given, st.integers(0, 300), how))


ACT = st.fixed_dictionaries({"observation": OBSERVATIONS | JSON}, optional=dict.fromkeys(FIELDS, VALUES)).map(encoded)
COLUMN = st.fixed_dictionaries({}, optional=dict.fromkeys(TENSOR, VALUES)).map(lambda changes: TENSOR | changes)
INFER = st.fixed_dictionaries(
    {"inputs": st.lists(COLUMN, max_size=2) | JSON},
    optional={
        "parameters": st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3) | JSON,
        "outputs": JSON,
    },
).map(encoded)


def judge(status: int, document: dict[str, Any]) -> None:
    assert status == 200 or 400 <= status < 500, document
    wanted = {"type", "title", "status", "detail"}
    assert status == 200 or (document.keys() >= wanted and document["status"] == status), document


@pytest.mark.timeout(1800)  # minutes, on a slow machine
def test_no_random_body_makes_the_server_fail(standing: Replica) -> None:
    counts: dict[str, int] = {}
    with connect(f"ws://127.0.0.1:{standing.port}/v1/stream", proxy=None) as stream:

        def send(target: str, body: bytes) -> None:
            if target == "stream":
                stream.send(body)
                document = json.loads(stream.recv(30))
                judge(document.get("status", 200), document)
                return
            answer = standing.post(content=body) if target == "act" else standing.infer("cartpole", body)
            judge(answer.status_code, answer.json())

        @settings(max_examples=BODIES, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
        @given(damaged("act", ACT) | damaged("stream", ACT) | damaged("infer", INFER))
        def try_one(request: tuple[str, bytes]) -> None:
            send(*request)
            counts[request[0]] = counts.get(request[0], 0) + 1

        try_one()
    assert sum(counts.values()) >= BODIES
    assert standing.act()["action"] == 0
    log = standing.process.log.read_text()
    assert "Traceback" not in log
