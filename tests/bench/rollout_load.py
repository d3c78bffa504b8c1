"""Callers of `make bench-rollout`: short episodes without end, and who answered which of them when."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

STEPS = 2
OBSERVATION = [0.01, -0.02, 0.03, 0.04]
PATIENCE = 10.0  # seconds for an answer
WINDOW = 20  # episodes in `Load.mean`


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer: when it arrived (monotonic seconds), from where, under whom, and whether an episode began with it."""

    at: float
    place: str
    who: str
    begins: bool


class AnswerError(Exception):
    """An answer that a caller cannot use, or none."""


@dataclass
class Connection:
    """HTTP/1.1 over one connection, as far as the servers here speak it."""

    host: str
    port: int
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = field(default=None, repr=False)

    async def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """The answer's JSON. Raises AnswerError for all but a 200; the connection is then made anew."""
        try:
            async with asyncio.timeout(PATIENCE):
                status, content = await self._exchange(method, path, b"" if body is None else json.dumps(body).encode())
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            self.close()
            raise AnswerError(f"{self.host}: {type(error).__name__}: {error}") from error
        if status != 200:
            raise AnswerError(f"{self.host}: {status}: {content.decode(errors='replace')}")
        answer: dict[str, Any] = json.loads(content)
        return answer

    async def _exchange(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self.host, self.port)
        reader, writer = self._streams
        head = f"{method} {path} HTTP/1.1\r\nhost: {self.host}\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        content = await reader.readexactly(int(headers["content-length"]))
        if headers.get("connection") == "close":
            self.close()
        return int(lines[0].split()[1]), content

    def close(self) -> None:
        """The next question opens another one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Player(Protocol):
    """Plays one episode after the other."""

    async def play(self, load: Load) -> None:
        """One episode, each answer told by `load.hear`, its return by `load.came`. Raises AnswerError."""

    def close(self) -> None:
        """No more of them."""


class AgentPlayer:
    """Plays against one replica of an AgentDeployment, over a connection that it keeps."""

    def __init__(self, host: str, port: int = 8080) -> None:
        self._connection = Connection(host, port)

    async def play(self, load: Load) -> None:
        """The whole return comes with the episode's end, by whoever took its last decision."""
        token, who = None, ""
        for step in range(STEPS):
            message: dict[str, object] = {"observation": OBSERVATION}
            if token is not None:
                message |= {"episode": token, "reward": 0.0}
            answer = await self._connection.ask("POST", "/v1/act", message)
            token, who = answer["episode"], answer["policy"]
            load.hear(self._connection.host, who, begins=step == 0)
        end = {"episode": token, "reward": load.came(who), "terminated": True}
        await self._connection.ask("POST", "/v1/act", end)

    def close(self) -> None:
        self._connection.close()


class PagePlayer:
    """Asks a Service that spreads connections, not episodes: a request is an episode, over a connection of its own."""

    def __init__(self, host: str, port: int = 80) -> None:
        self._host, self._port = host, port

    async def play(self, load: Load) -> None:
        connection = Connection(self._host, self._port)
        try:
            answer = await connection.ask("GET", "/")
            load.hear(answer["pod"], answer["version"], begins=True)
            load.came(answer["version"])
        finally:
            connection.close()

    def close(self) -> None:
        pass


class Load(threading.Thread):
    """All players side by side, `rate` episodes a second together. A context manager: it plays within.

    Episodes come to `best`, and to 0 where whoever took their last decision has been `spoilt`.
    """

    def __init__(self, players: Sequence[Player], rate: float, best: float = 1.0) -> None:
        super().__init__(daemon=True)
        self._players, self._pause = players, len(players) / rate
        self._best, self._spoilt = best, ""
        self._returns: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=WINDOW))
        self._over = threading.Event()
        self.heard: list[Heard] = []
        self.failed: list[str] = []

    def __enter__(self) -> Load:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """Until left."""
        asyncio.run(self._all())

    def spoil(self, who: str) -> float:
        """From now on the episodes of this version come to nothing. Returns now."""
        self._spoilt = who
        return time.monotonic()

    def mean(self, who: str) -> float | None:
        """Of the returns of this version's last 20 episodes; None where it has played none."""
        returns = self._returns.get(who)
        return statistics.fmean(returns) if returns else None

    def hear(self, place: str, who: str, *, begins: bool) -> None:
        """A player tells an answer."""
        self.heard.append(Heard(time.monotonic(), place, who, begins))

    def came(self, who: str) -> float:
        """What an episode that ends now comes to; counted."""
        value = 0.0 if who == self._spoilt else self._best
        self._returns[who].append(value)
        return value

    def places(self, who: str, since: int = 0) -> set[str]:
        """From where this version has begun episodes, from the answer with this number on."""
        return {h.place for h in self.heard[since:] if h.who == who and h.begins}

    async def _all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number, player in enumerate(self._players):
                group.create_task(self._without_end(player, random.Random(number)))

    async def _without_end(self, player: Player, rng: random.Random) -> None:
        """Episodes begin at odd times, so that the players do not march in step."""
        try:
            due = time.monotonic()
            while not self._over.is_set():
                try:
                    await player.play(self)
                except AnswerError as failure:
                    self.failed.append(str(failure))
                due = max(time.monotonic(), due + self._pause * rng.uniform(0.5, 1.5))
                await asyncio.sleep(due - time.monotonic())
        finally:
            player.close()


def last(heard: Iterable[Heard], who: str, *, begins: bool = False) -> float | None:
    """When this version answered last, or last began an episode; None where it did not."""
    return max((h.at for h in heard if h.who == who and (h.begins or not begins)), default=None)
