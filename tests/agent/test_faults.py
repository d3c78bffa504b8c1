"""What goes wrong around a replica, at a real one: disk, store, keys, tokens and API server fail; decisions do not."""

from __future__ import annotations

import base64
import json
import os
import random
import re
import resource
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.agent import graphs, networks, patient
from tests.agent.conftest import StartReplica
from tests.agent.installation import NAME, Deployment, Library
from tests.agent.proxy import Proxy
from tests.agent.replica import LONG_DRAIN, OBSERVATION, Replica
from tests.agent.test_reins import OPEN, Deployed, deployed, records
from tests.bench.load import Target
from tests.bench.log_agent import Player, life
from tests.cluster.minio import Minio
from tests.cluster.outage import Outage
from tests.cluster.processes import State, tail
from tests.cluster.steps import ClusterError, wait_until

from checkrein.agent.episodes import Tokens
from checkrein.agent.keyring import Key, Keyring, read
from checkrein.api.tasks import TOKEN_KEY_SETTLES
from checkrein.cli.main import main as checkrein
from checkrein.store.client import Store
from checkrein.store.decisions.records import ClosedRecord, DecisionRecord, EndRecord, OpenedRecord
from checkrein.store.decisions.sources import StoreSource
from checkrein.store.decisions.verify import Audit

__all__ = ["deployed"]

pytestmark = [pytest.mark.controlplane, pytest.mark.store]
Deploy = Callable[..., Deployment]

ALWAYS = {"exploration": {"epsilonGreedy": {"epsilon": "1"}}}
FORGERIES = 2000
LONG_AGO = 3600 * 24


def metric(replica: Replica, name: str) -> float:
    """The sum of a metric's series; labels may be given."""
    pattern = re.compile(rf"^checkrein_agent_{re.escape(name)}(?:{{.*}})? (\S+)$", re.MULTILINE)
    found = pattern.findall(replica.get("/metrics").text)
    assert found, name
    return sum(map(float, found))


def awaited(condition: Callable[[], bool], replica: Replica, seconds: float = 90) -> None:
    wait_until(condition, seconds, otherwise=lambda: ClusterError(tail(replica.process.log)))


def stored(library: Library, namespace: str) -> tuple[Audit, list[Any]]:
    """The audit of a namespace's log in the store, and its records in order."""
    store = Store(library.location.model_copy(update={"bucket": library.decisions_bucket}), lambda: library.credentials)
    audit = Audit(StoreSource(store, f"decisions/c/{namespace}/"))
    return audit, [entry.record for entry in audit.entries()]


def proved(library: Library, namespace: str, keys: Path) -> None:
    """`checkrein audit verify --strict` over the store says so."""
    keys.write_text(library.credentials.model_dump_json(by_alias=True))
    where = ["--endpoint", library.location.endpoint, "--insecure", "--bucket", library.decisions_bucket]
    whose = ["--namespace", namespace, "--name", NAME]
    with pytest.raises(SystemExit) as ended:
        checkrein(["audit", "verify", "--strict", *where, "--credentials", str(keys), *whose])
    assert ended.value.code == 0


def terminated(replica: Replica) -> None:
    """Ends it as the kubelet does, and waits for its end."""
    os.kill(replica.process.identity.pid, signal.SIGTERM)
    with pytest.raises(ClusterError, match="exit code 0"):
        replica.process.wait_ready(lambda: False)


def test_what_was_explored_is_in_the_log_whenever_the_replica_was_killed(
    deploy: Deploy, library: Library, start: StartReplica, tmp_path: Path
) -> None:
    deployment = deploy(**OPEN, exploration={"epsilonGreedy": {"epsilon": "0.5"}})
    deployment.set_status(1, library.publish("cartpole-1", graphs.always(0)))
    players = [Player() for _ in range(4)]
    lasting = {"token_key": secrets.token_bytes(32), "log": tmp_path / "log"}
    for seconds in (0.1, 0.3):
        replica = start(deployment, **lasting)
        replica.wait_acting("cartpole-1")
        before = explorations(players)

        def kill(doomed: Replica = replica, before: int = before) -> None:
            awaited(lambda: explorations(players) > before, doomed)  # a slow machine has none so soon
            doomed.process.kill()

        life(Target(replica.port, "/v1/act", [json.dumps(OBSERVATION)], 50), players, seconds, kill)
    last = start(deployment, **lasting)
    last.wait_acting("cartpole-1")
    terminated(last)
    audit, found = stored(library, last.namespace)
    explored = set().union(*(player.explored for player in players))
    assert explored
    assert explored <= {(r.decision, json.dumps(r.action)) for r in found if isinstance(r, DecisionRecord)}
    assert audit.proved


def explorations(players: list[Player]) -> int:
    return sum(len(player.explored) for player in players)


def uid(deployment: Deployment) -> str:
    """Tokens are bound to it."""
    found = deployment.kubectl.get("agentdeployment", NAME, namespace=deployment.namespace)
    return str(found["metadata"]["uid"])


def fill_disk(replica: Replica, *, full: bool) -> None:
    """No file of the process may grow while it is full; pipes and sockets go on."""
    pid = replica.process.identity.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0 if full else hard, hard))


def test_a_full_disk_ends_exploration_and_nothing_else(deployed: Deployed, library: Library, tmp_path: Path) -> None:
    _, replica = deployed(**ALWAYS)
    explored = [replica.act() for _ in range(20)]
    assert all(answer["explored"] for answer in explored)
    assert metric(replica, "unexplored_total") == 0

    fill_disk(replica, full=True)
    answers = [replica.act() for _ in range(50)]
    assert not any(answer["explored"] for answer in answers)
    report = replica.wait(lambda r: not r.logging)
    assert "cannot be written: " in report.logging_reason
    assert (metric(replica, "log_healthy"), report.acting) == (0, "cartpole-1")
    assert metric(replica, "unexplored_total") == 50, "each would have explored"
    assert metric(replica, 'log_lag_records{place="disk"}') >= 50
    assert replica.get("/readyz").status_code == 200

    fill_disk(replica, full=False)
    replica.wait(lambda r: r.logging)
    explored.append(replica.act())
    assert explored[-1]["explored"]
    terminated(replica)
    audit, found = stored(library, replica.namespace)
    kept = {(r.decision, r.action) for r in found if isinstance(r, DecisionRecord) and r.exploration_flag}
    assert {(answer["decision"], answer["action"]) for answer in explored} <= kept
    decided = {r.decision for r in found if isinstance(r, DecisionRecord)}
    assert {answer["decision"] for answer in answers} <= decided, "what waited in memory has found room"
    assert audit.findings == []
    proved(library, replica.namespace, tmp_path / "keys.json")


@pytest.fixture
def own_store(swept: None) -> Iterator[Library]:
    """A MinIO that may be stopped: nobody else uses it."""
    state = State.create(f"stopped-minio-{os.getpid()}", owned=True)
    try:
        yield Library(Minio(state))
    finally:
        state.remove()


@pytest.mark.outage
def test_a_store_that_is_away_holds_up_neither_decisions_nor_exploration(
    deploy: Deploy, own_store: Library, tmp_path: Path
) -> None:
    deployment = deploy(**OPEN, **ALWAYS)
    deployment.set_status(1, own_store.publish("cartpole-1", graphs.always(0)))
    replica = Replica(own_store.minio.state, own_store, deployment, program=patient.__name__)
    replica.wait_acting("cartpole-1")
    answers = [replica.act()]
    own_store.minio.stop()
    outage, lags = Outage(), []
    for _ in range(3):
        answers += [replica.act() for _ in range(20)]
        lags.append(metric(replica, 'log_lag_records{place="store"}'))
    report = replica.wait(lambda r: not r.storing)
    assert report.storing_reason
    assert (report.logging, metric(replica, "log_storing"), metric(replica, "log_healthy")) == (True, 0, 1)
    assert lags == sorted(set(lags))
    assert lags[0] >= 20
    answers += [replica.act() for _ in range(20)]
    outage.last(lambda: answers.append(replica.act()))
    assert all(answer["explored"] for answer in answers)
    on_disk = {r["decision"] for r in records(replica) if r["kind"] == "decision"}
    assert {answer["decision"] for answer in answers[1:]} <= on_disk

    own_store.minio.start()
    replica.wait(lambda r: r.storing)
    awaited(lambda: metric(replica, 'log_lag_records{place="store"}') == 0, replica)
    audit, found = stored(own_store, replica.namespace)
    kept = {r.decision for r in found if isinstance(r, DecisionRecord)}
    assert {answer["decision"] for answer in answers} <= kept
    assert {f.severity for f in audit.findings} <= {"note"}, "the stream is under way"
    terminated(replica)
    proved(own_store, replica.namespace, tmp_path / "keys.json")


def test_sigterm_within_an_episode_closes_the_stream_with_every_record(
    deploy: Deploy, start: StartReplica, library: Library, tmp_path: Path
) -> None:
    deployment = deploy(**OPEN)
    deployment.set_status(1, library.publish("cartpole-1", graphs.always(0)))
    replica = start(deployment, env=LONG_DRAIN)
    replica.wait_acting("cartpole-1")
    first = replica.act()
    second = replica.act(first["episode"], reward=1.0)
    ended = replica.act()
    replica.post({"episode": ended["episode"], "terminated": True, "reward": 2.0})
    os.kill(replica.process.identity.pid, signal.SIGTERM)
    last = replica.act(second["episode"], reward=3.0)  # it decides while it drains
    with pytest.raises(ClusterError, match="exit code 0"):
        replica.process.wait_ready(lambda: False)
    _, found = stored(library, replica.namespace)
    assert isinstance(found[0], OpenedRecord)
    assert isinstance(found[-1], ClosedRecord)
    decisions = [r.decision for r in found if isinstance(r, DecisionRecord)]
    assert decisions == [answer["decision"] for answer in (first, second, ended, last)]
    assert [r.reward for r in found if isinstance(r, EndRecord)] == [2.0]
    assert not list(Path(str(replica.log)).rglob("*.sealed"))
    proved(library, replica.namespace, tmp_path / "keys.json")


def forged(key: bytes, uid: str, token: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """How, and a token that nobody of this deployment has sealed."""
    sealed = base64.urlsafe_b64decode(token)
    own, other = Key(0, key), Key(0, rng.randbytes(32))
    ours, foreign = (Tokens(Keyring([k], time.time)) for k in (own, other))
    episode = ours.open(token, uid)

    def changed() -> bytes:
        data = bytearray(sealed)
        data[rng.randrange(len(data))] ^= rng.randrange(1, 256)
        return bytes(data)

    def of_another_key() -> str:
        return foreign.seal(foreign.start(time.time()), uid)

    def renamed() -> bytes:
        """Sealed with another key that says that it is ours."""
        data = base64.urlsafe_b64decode(of_another_key())
        return data[:1] + own.id + data[1 + len(own.id) :]

    ways: dict[str, Callable[[], bytes | str]] = {
        "a byte changed": changed,
        "cut": lambda: sealed[: rng.randrange(len(sealed))],
        "longer": lambda: sealed + rng.randbytes(rng.randrange(1, 40)),
        "random bytes": lambda: rng.randbytes(rng.randrange(200)),
        "the head of one, the rest of another": lambda: sealed[:37] + base64.urlsafe_b64decode(of_another_key())[37:],
        "of another key": of_another_key,
        "of another key under our key's id": renamed,
        "of another deployment with the same key": lambda: ours.seal(episode, rng.randbytes(4).hex()),
        "no base64": lambda: "".join(chr(rng.randrange(1, 0x2FFF)) for _ in range(rng.randrange(1, 100))),
        "signs that are no part of the alphabet": lambda: token[:20] + rng.choice("+/=.\n \x00") + token[21:],
    }
    while True:
        for how, make in ways.items():
            made = make()
            yield how, made if isinstance(made, str) else base64.urlsafe_b64encode(made).decode()


def test_forged_tokens_never_continue_an_episode(deployed: Deployed) -> None:
    deployment, replica = deployed()
    answer, wrong = replica.act(), []
    makes = forged(replica.token_key, uid(deployment), answer["episode"], random.Random(0))
    for number, (how, token) in zip(range(FORGERIES), makes, strict=False):
        body = {"observation": OBSERVATION} if number % 3 else {"terminated": True}
        response = replica.post(body | {"episode": token})
        problem = response.json()
        told = (response.status_code, problem.get("type", "").rpartition("/")[2], problem.get("field"))
        if told != (400, "unknown-episode", "episode"):
            wrong.append((how, token, told))
    assert wrong == []
    assert metric(replica, 'refusals_total{problem="unknown-episode"}') == FORGERIES
    assert metric(replica, "decisions_total") == 1
    assert replica.act(answer["episode"])["decision"] != answer["decision"], "the true one goes on"


def add_key(replica: Replica, secret: bytes, age: float) -> None:
    """A key made so many seconds ago comes into the mounted folder, as the kubelet brings it: whole."""
    made = str(int(time.time() - age))
    new = replica.keys.with_name(f"new-{made}")
    new.write_bytes(secret)
    new.rename(replica.keys / made)


def begun_with(replica: Replica, token: str, uid: str) -> bytes:
    """The key that an episode began with, of those in the replica's folder."""
    keyring = Keyring(read(replica.keys), time.time)
    key = keyring.find(Tokens(keyring).open(token, uid).key)
    assert key is not None
    return key.secret


def test_nobody_uses_a_new_key_before_every_replica_has_it(deployed: Deployed, start: StartReplica) -> None:
    deployment, slow = deployed()
    old, new, whose = slow.token_key, secrets.token_bytes(32), uid(deployment)
    quick = start(deployment, token_key=old, keys={str(int(time.time())): new})
    quick.wait_acting("cartpole-1")
    for _ in range(20):
        token = quick.act()["episode"]
        assert begun_with(quick, token, whose) == old, f"{TOKEN_KEY_SETTLES} s have not passed"
        assert slow.post({"observation": OBSERVATION, "episode": token}).status_code == 200

    settled = start(deployment, token_key=old, keys={str(int(time.time()) - LONG_AGO): new})
    settled.wait_acting("cartpole-1")
    token = settled.act()["episode"]
    assert begun_with(settled, token, whose) == new
    assert quick.act(token)["decision"] == settled.act(token)["decision"], "whoever has it understands it"
    running = settled.act(slow.act()["episode"])["episode"]
    assert begun_with(settled, running, whose) == old, "an episode keeps the key that it began with"
    assert slow.post({"observation": OBSERVATION, "episode": token}).status_code == 400
    add_key(slow, new, LONG_AGO)
    awaited(lambda: slow.post({"observation": OBSERVATION, "episode": token}).status_code == 200, slow)
    assert begun_with(slow, slow.act()["episode"], whose) == new


@pytest.fixture
def remembering(deploy: Deploy, library: Library, start: StartReplica) -> Callable[[int], Any]:
    """An LSTM of so many units, and two replicas that act by it."""

    def make(width: int) -> tuple[networks.Recurrent, Replica, Replica]:
        network, graph = networks.remembering(width)
        deployment = deploy(**OPEN)
        deployment.set_status(1, library.publish("lstm-1", graph, graphs.CONTINUOUS))
        one = start(deployment)
        other = start(deployment, token_key=one.token_key)
        for replica in (one, other):
            replica.wait_acting("lstm-1")
        return network, one, other

    return make


def played(network: networks.Recurrent, width: int, seen: np.ndarray) -> list[float]:
    """What torch itself does over an episode."""
    hidden, carried, actions = torch.zeros(1, width), torch.zeros(1, width), []
    with torch.no_grad():
        for observation in seen:
            action, *_, hidden, carried = network(torch.from_numpy(observation)[None], hidden, carried)
            actions.append(float(action))
    return actions


SEEN = np.random.default_rng(0).uniform(-2, 2, (8, 3)).astype(np.float32)


def test_a_little_memory_travels_and_any_replica_goes_on(remembering: Callable[[int], Any]) -> None:
    network, one, other = remembering(8)
    token, actions = None, []
    for step, observation in enumerate(SEEN):
        tries = [r.act(token, observation=observation.tolist()) for r in (one, other, one)[step % 2 :]]
        if token:
            assert len({(t["decision"], *t["action"]) for t in tries}) == 1, "a retry gets the same, anywhere"
        token, actions = tries[0]["episode"], [*actions, tries[0]["action"][0]]
    assert actions == pytest.approx(played(network, 8, SEEN), abs=1e-5)


def test_much_memory_stays_and_another_replica_says_where(remembering: Callable[[int], Any]) -> None:
    network, one, other = remembering(600)  # two states of 2,400 bytes
    token, actions = None, []
    for observation in SEEN:
        if token:
            refusal = other.post({"observation": observation.tolist(), "episode": token})
            assert (refusal.status_code, refusal.json()["type"].rpartition("/")[2]) == (409, "state-elsewhere")
            assert f"stays at replica cartpole-agent-{one.port}" in refusal.json()["detail"]
        tries = [one.act(token, observation=observation.tolist()) for _ in range(3 if token else 1)]
        assert len({(t["decision"], *t["action"]) for t in tries}) == 1
        token, actions = tries[-1]["episode"], [*actions, tries[-1]["action"][0]]
    assert actions == pytest.approx(played(network, 600, SEEN), abs=1e-5)
    assert other.post({"episode": token, "terminated": True}).status_code == 200, "anybody may end it"


def test_an_api_server_that_is_away_at_the_start_is_waited_for(
    deploy: Deploy, library: Library, start: StartReplica
) -> None:
    deployment = deploy(**OPEN)
    deployment.set_status(1, library.publish("cartpole-1", graphs.always(0)))
    config = json.loads(deployment.controlplane.kubeconfig.read_text())
    proxy = Proxy(config["clusters"][0]["cluster"]["server"])
    proxy.cut()
    replica = start(deployment, api_server=proxy.url)
    assert replica.wait(lambda r: True).generation == 0
    awaited(lambda: "watch interrupted" in replica.process.log.read_text(), replica)
    unready, refusal = replica.get("/readyz"), replica.post({"observation": OBSERVATION})
    assert (unready.status_code, refusal.status_code) == (503, 503)
    assert refusal.json()["type"].endswith("/not-ready")
    assert int(refusal.headers["retry-after"]) >= 1
    assert replica.get("/livez").status_code == 200
    proxy.open()
    replica.wait_acting("cartpole-1")
    assert replica.get("/readyz").status_code == 200
    assert replica.act()["action"] == 0
