"""What the world answers of rollouts: by a real store, and by replicas that ask who it is."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.cluster.minio import Minio
from tests.store.decisions.writer import LogWriter, decision

from checkrein.api.evidence import EVIDENCE, Evidence, Part
from checkrein.api.rollout import HistoryEntry
from checkrein.api.tasks import MANAGEMENT_PORT, StoreCredentials, StoreLocation
from checkrein.control import account
from checkrein.control.plan import Request, Unavailable
from checkrein.control.requests import AppendHistory, DrawSeed, ReadEvidence, ReadHistory, ReadStoredEvidence
from checkrein.control.settings import Images, Settings, StoreSettings
from checkrein.control.stores import Stores
from checkrein.control.world import World
from checkrein.judge.assignment import KEYED, is_keyed
from checkrein.store.decisions.records import EndRecord
from checkrein.store.install import install

ADDRESS = "127.8.0.1"  # no stand-in's
Raw = dict[str, Any]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def ask(world: World, request: Request[Any]) -> Any:
    return asyncio.run(world.answer([request]))[request]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The replica is one of this process, and as slow as that."""
    monkeypatch.setattr("checkrein.control.world.HTTP_TIMEOUT", 60)


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """The file that the kubelet keeps fresh."""
    path = tmp_path / "token"
    path.write_text("first\n")
    return path


Replica = list[tuple[str, str]]


@pytest.fixture
def replica() -> Iterator[Replica]:
    """One that tells evidence to whoever shows the newest token; what it was asked: path and authorization."""
    asked: Replica = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            proof = self.headers.get("Authorization", "")
            asked.append((self.path, proof))
            part = Part(episode="e", unit="watch/r/s/1", arm="stable", started=1.0, first=8, last=9, steps=[(0, 2)])
            told = Evidence(stream="s", upto=9, now=2.0, parts=[part]).model_dump_json(by_alias=True).encode()
            body = told if proof in ("Bearer first", "Bearer second") else b'{"title": "Forbidden"}'
            self.send_response(200 if body is told else 403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer((ADDRESS, MANAGEMENT_PORT), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield asked
    server.shutdown()
    server.server_close()


def world(token: Path, stores: Any = None, clock: Callable[[], float] | None = None) -> World:
    """Without a cluster: none of these questions is the API server's."""
    nobody: Any = None
    return World(nobody, stores, httpx.AsyncClient(trust_env=False), {}, account.from_file(token), clock or Clock())


def test_evidence_is_asked_for_by_position_with_the_operators_token(token: Path, replica: Replica) -> None:
    answer = ask(world(token), ReadEvidence(ADDRESS, 7))
    assert (answer.stream, answer.upto, answer.parts[0].steps) == ("s", 9, [(0, 2)])
    assert replica == [(f"{EVIDENCE}?after=7", "Bearer first")]


def test_a_renewed_token_is_used_from_then_on(token: Path, replica: Replica) -> None:
    clock = Clock()

    async def twice() -> None:
        asking = world(token, clock=clock)
        await asking.answer([ReadEvidence(ADDRESS, 0)])
        await asyncio.to_thread(token.write_text, "second")
        clock.now = 2.0
        await asking.answer([ReadEvidence(ADDRESS, 0)])

    asyncio.run(twice())
    assert [proof for _, proof in replica] == ["Bearer first", "Bearer second"]


def test_evidence_is_believed_for_a_second(token: Path, replica: Replica) -> None:
    clock = Clock()

    async def thrice() -> None:
        asking = world(token, clock=clock)
        for now in (0.0, 0.9, 1.1):
            clock.now = now
            await asking.answer([ReadEvidence(ADDRESS, 0)])

    asyncio.run(thrice())
    assert len(replica) == 2


def test_a_replica_that_does_not_know_us_is_not_silent(token: Path, replica: Replica) -> None:
    token.write_text("strange")
    answer = ask(world(token), ReadEvidence(ADDRESS, 0))
    assert isinstance(answer, Unavailable)
    assert answer.reason == "PodRefuses"
    assert '403 {"title": "Forbidden"}' in answer.message
    assert answer.temporary


@pytest.mark.parametrize("content", [None, "", "\xff"], ids=["no file", "an empty one", "no token"])
def test_without_a_token_nobody_is_asked(token: Path, replica: Replica, content: str | None) -> None:
    token.unlink()
    if content is not None:
        token.write_text(content, encoding="latin-1")
    answer = ask(world(token), ReadEvidence(ADDRESS, 0))
    assert isinstance(answer, Unavailable)
    assert answer.reason == "NoToken"
    assert replica == []


def test_a_rollout_keeps_its_seed_for_the_life_of_the_process(token: Path) -> None:
    one = world(token)
    seed = ask(one, DrawSeed("uid", "cartpole-2.1"))
    assert is_keyed(seed)
    assert len(bytes.fromhex(seed.removeprefix(KEYED))) == 16
    assert ask(one, DrawSeed("uid", "cartpole-2.1")) == seed
    others = [ask(one, DrawSeed("uid", "cartpole-2.2")), ask(one, DrawSeed("other", "cartpole-2.1"))]
    assert len({seed, *others, ask(world(token), DrawSeed("uid", "cartpole-2.1"))}) == 4


@pytest.fixture
def stores(minio: Minio, tmp_path: Path) -> Stores:
    """As the operator's own user sees it, after an installation."""
    buckets = {"policies_bucket": "world-policies", "runs_bucket": "world-runs", "decisions_bucket": "world-decisions"}
    store = StoreSettings(endpoint=minio.endpoint, secure=False, **buckets)
    owner = StoreCredentials(access_key=minio.access_key, secret_key=minio.secret_key)
    user = StoreCredentials(access_key="operator-of-world", secret_key=minio.secret_key)
    install(store.location(store.runs_bucket), owner, user, store.policies_bucket, store.decisions_bucket)
    (tmp_path / "credentials.json").write_text(user.model_dump_json(by_alias=True, exclude_none=True))
    settings = Settings(store=store, images=Images(trainer="t", agent="a"))
    return Stores(settings, tmp_path.name, tmp_path / "credentials.json")


def entry(policy: str, event: Any) -> HistoryEntry:
    time = datetime(2026, 12, 1, 12, tzinfo=UTC)
    return HistoryEntry(seq=0, event=event, policy=policy, digest="sha256:" + "a" * 64, time=time)


@pytest.mark.store
def test_history_outlives_the_process(token: Path, stores: Stores) -> None:
    said = [entry("cartpole-2", "Promoted"), entry("cartpole-3", "Rejected")]
    requests = [AppendHistory("games", "cartpole", one) for one in said]
    numbers = [ask(world(token, stores), request) for request in (*requests, requests[0])]
    assert numbers == [1, 2, 1]
    told = ask(world(token, stores), ReadHistory("games", "cartpole"))
    assert [(e.seq, e.event, e.policy, e.stored) for e in told] == [
        (1, "Promoted", "cartpole-2", True),
        (2, "Rejected", "cartpole-3", True),
    ]
    assert ask(world(token, stores), ReadHistory("games", "another")) == ()


@pytest.fixture
def stored(minio: Minio, stores: Stores, tmp_path: Path) -> tuple[StoreLocation, str]:
    """Where a vanished replica's log lies: opened, five steps of one episode and its end, in three segments."""
    root = f"decisions/{tmp_path.name}/games/uid/"
    unit = {"unit": "episode/cartpole-2.1/s/0/1/25", "arm": "candidate", "policy": "cartpole-2"}
    steps = [decision("e", i, reward=1.0 if i else None, latency_us=100.0 * i, **unit) for i in range(5)]
    end = {"timestamp": "2026-12-01T12:00:06Z", "agent_id": "games/cartpole", "episode": "e", "step": 5}
    log = LogWriter(root=root)
    log.stream([*steps, EndRecord(**end, ending="terminated", reward=1.0, arm="candidate", unit=unit["unit"])])
    for key, data in log.objects.items():
        stores.decisions.put(key, data)
    location = stores.decisions.location.model_copy(update={"write_prefix": root})
    stream = next(key for key in log.objects if key.endswith("opened.json")).split("/")[-2]
    return location, stream


@pytest.mark.store
def test_a_vanished_replicas_log_answers_for_it(token: Path, stores: Stores, stored: tuple[StoreLocation, str]) -> None:
    location, stream = stored
    answer = ask(world(token, stores), ReadStoredEvidence(location, stream, 0, slow=("250us",)))
    assert (answer.stream, answer.upto, answer.lost_before) == (stream, 8, 0)
    [part] = answer.parts
    assert (part.episode, part.arm, part.policy) == ("e", "candidate", "cartpole-2")
    assert (part.steps, part.reward, part.ended, part.length) == ([(0, 5)], 5.0, "terminated", 5)
    assert part.slow == {"250us": 2}


@pytest.mark.store
def test_only_what_comes_after_the_position_is_told(
    token: Path, stores: Stores, stored: tuple[StoreLocation, str]
) -> None:
    location, stream = stored
    answer = ask(world(token, stores), ReadStoredEvidence(location, stream, 4))
    assert answer.parts[0].steps == [(3, 5)]
    answer = ask(world(token, stores), ReadStoredEvidence(location, stream, 8))
    assert (answer.upto, answer.parts) == (8, [])


@pytest.mark.store
@pytest.mark.parametrize(
    ("spoil", "reason", "temporary"),
    [
        pytest.param("../another", "Malformed", False, id="a name that leads elsewhere"),
        pytest.param("", "LogBroken", True, id="a segment that is none"),
    ],
)
def test_what_cannot_be_read_is_not_taken_for_nothing(
    token: Path, stores: Stores, stored: tuple[StoreLocation, str], spoil: str, reason: str, temporary: bool
) -> None:
    location, stream = stored
    if not spoil:
        stores.decisions.put(f"{location.write_prefix}{stream}/segments/{9:012d}.jsonl.gz", json.dumps(1).encode())
    answer = ask(world(token, stores), ReadStoredEvidence(location, spoil or stream, 0))
    assert isinstance(answer, Unavailable)
    assert (answer.reason, answer.temporary) == (reason, temporary)


@pytest.mark.store
def test_a_stream_of_which_nothing_is_stored_tells_nothing(
    token: Path, stores: Stores, stored: tuple[StoreLocation, str]
) -> None:
    location, stream = stored
    answer = ask(world(token, stores), ReadStoredEvidence(location, stream.replace("agent-0", "agent-7"), 3))
    assert (answer.upto, answer.parts) == (3, [])
