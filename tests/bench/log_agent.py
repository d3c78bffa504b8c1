"""`make bench-log`, the whole agent: decisions that are durable before they are answered, and kills while they run.

A replica between a real API server and a real store. Whoever got an explored answer from it must find it in the log,
whatever became of the process.
"""

from __future__ import annotations

import http.client
import json
import random
import secrets
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.agent.installation import Deployment
from tests.bench.installation import SPEC, Installation, ours
from tests.bench.load import Target, measure
from tests.bench.report import Figure
from tests.bench.servers import Running, started
from tests.cluster.steps import say

from checkrein.store.client import Store
from checkrein.store.decisions.records import DecisionRecord
from checkrein.store.decisions.sources import StoreSource
from checkrein.store.decisions.verify import Audit

CONNECTIONS = (1, 16)
PLAYERS = 4
MOST_LIFE = 0.6  # seconds of load before a kill
Answered = tuple[str, str]  # the decision and its action's JSON


def exploring(epsilon: str) -> dict[str, Any]:
    """Limits and shield on, and so much exploration; no fallback, so that nobody acts before the policy is loaded."""
    bounds = {name: rules for name, rules in SPEC.items() if name != "fallback"}
    return {**bounds, "exploration": {"epsilonGreedy": {"epsilon": epsilon}}}


# --- how fast


def speed(surroundings: Installation, folder: Path, *, seconds: float, warm_up: float) -> list[Figure]:
    """Every answer explored, so every answer waits for the disk."""
    deployment = surroundings.deployment(exploring("1"))
    running, found = started(ours(surroundings, deployment), surroundings.state), []
    for connections in CONNECTIONS:
        told = measure(running.target, connections, folder, seconds=seconds, warm_up=warm_up)
        who = f"durable decisions, {connections} at once"
        found += [
            Figure(f"{who}: requests", told["requests"] / seconds, "/s"),
            Figure(f"{who}: p50", told["p50"] / 1e3, "ms"),
            Figure(f"{who}: p99", told["p99"] / 1e3, "ms"),
            Figure(f"{who}: errors", told["errors"], "answers", "<= 0"),
        ]
    running.stop()
    kept = Kept.read(surroundings, deployment)
    return [*found, Figure("of all of them, answered without exploring", len(kept.greedy), "answers", "<= 0")]


# --- what kills take


@dataclass
class Player:
    """Plays one episode after the other over one connection. A replica's end is no end of an episode."""

    token: str = ""
    steps: int = 0
    explored: set[Answered] = field(default_factory=set)
    greedy: set[Answered] = field(default_factory=set)
    refusal: str = ""

    def play(self, target: Target) -> None:
        """Until the replica is gone, or refuses. What was in flight is asked again of the next one."""
        connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=10)
        headers = {"content-type": "application/json", "authorization": target.authorization}
        try:
            while not self.refusal:
                connection.request("POST", target.path, self._body(target), headers)
                response = connection.getresponse()
                self._hear(response.status, response.read(), target.episode_steps)
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()

    def _body(self, target: Target) -> str:
        observation = target.bodies[self.steps % len(target.bodies)]
        return f'{{"observation":{observation}' + (f',"reward":1.0,"episode":"{self.token}"}}' if self.token else "}")

    def _hear(self, status: int, content: bytes, episode_steps: int) -> None:
        if status != http.HTTPStatus.OK:
            self.refusal = f"{status}: {content[:200]!r}"
            return
        answer = json.loads(content)
        heard = self.explored if answer["explored"] else self.greedy
        heard.add((answer["decision"], json.dumps(answer["action"])))
        self.steps += 1
        self.token = answer["episode"] if self.steps % episode_steps else ""


@dataclass
class Kept:
    """What the store holds of a deployment's log."""

    audit: Audit
    explored: set[Answered] = field(default_factory=set)
    greedy: set[Answered] = field(default_factory=set)

    @classmethod
    def read(cls, surroundings: Installation, deployment: Deployment) -> Kept:
        """All of it."""
        library = surroundings.library
        location = library.decisions(deployment.namespace)
        made = cls(Audit(StoreSource(Store(location, lambda: library.credentials), location.write_prefix)))
        for entry in made.audit.entries():
            if isinstance(one := entry.record, DecisionRecord):
                (made.explored if one.exploration_flag else made.greedy).add((one.decision, json.dumps(one.action)))
        return made

    def errors(self) -> int:
        """How many findings are errors; they are told."""
        wrong = [f for f in self.audit.findings if f.severity == "error"]
        for finding in wrong:
            say(f"{finding.code}: {finding.stream}: {finding.message}")
        return len(wrong)


def kills(surroundings: Installation, folder: Path, count: int) -> list[Figure]:
    """The same log folder each time, as a restarted container has it."""
    deployment, rng = surroundings.deployment(exploring("0.5")), random.Random(0)
    server = ours(surroundings, deployment, token_key=secrets.token_bytes(32), log=folder)
    players, ready = [Player() for _ in range(PLAYERS)], []
    for number in range(count):
        running = started(server, surroundings.state)
        ready.append(running.ready_seconds)

        def kill(doomed: Running = running) -> None:
            doomed.process.kill()
            doomed.process.wait()

        life(running.target, players, rng.uniform(0.0, MOST_LIFE), kill)
        if number % 20 == 19:
            say(f"{number + 1} kills, {sum(len(p.explored) for p in players)} explored answers")
    began = time.monotonic()
    started(server, surroundings.state).stop()
    say(f"the last one recovered the log and closed it within {time.monotonic() - began:.1f} s")
    return _compared(players, Kept.read(surroundings, deployment), ready, left=len(list(folder.rglob("*.sealed"))))


def life(target: Target, players: Sequence[Player], seconds: float, kill: Callable[[], None]) -> None:
    """Load, then the end of it. Raises RuntimeError where an answer was a refusal."""
    threads = [threading.Thread(target=player.play, args=(target,)) for player in players]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    kill()
    for thread in threads:
        thread.join()
    if refusals := [player.refusal for player in players if player.refusal]:
        raise RuntimeError(f"a replica refused to decide: {refusals[0]}")


def _compared(players: Sequence[Player], kept: Kept, ready: Sequence[float], *, left: int) -> list[Figure]:
    explored: set[Answered] = set().union(*(player.explored for player in players))
    greedy: set[Answered] = set().union(*(player.greedy for player in players))
    return [
        Figure(f"SIGKILLs of a replica, {PLAYERS} callers", len(ready), "kills"),
        Figure("from its start to its first answer: median", 1e3 * statistics.median(ready), "ms"),
        Figure("from its start to its first answer: longest", 1e3 * max(ready), "ms"),
        Figure("explored answers", len(explored), "answers", ">= 1"),
        Figure("explored answers missing", len(explored - kept.explored), "answers", "<= 0"),
        Figure("explored decisions with two actions", _ambiguous(explored | kept.explored), "decisions", "<= 0"),
        Figure("greedy answers", len(greedy), "answers"),
        Figure("greedy answers missing", len(greedy - kept.greedy), "answers"),
        Figure("errors that the audit finds in the replicas' log", kept.errors(), "errors", "<= 0"),
        Figure("segments that never came into the store", left, "segments", "<= 0"),
    ]


def _ambiguous(explored: set[Answered]) -> int:
    """A retry, after a kill too, gets the action that the first try got."""
    return len(explored) - len({decision for decision, _ in explored})
