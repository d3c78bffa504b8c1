"""One caller that never stops asking, and remembers when it heard what."""

from __future__ import annotations

import http.client
import json
import threading
import time
from dataclasses import dataclass
from typing import Any

from tests.bench.load import Target


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer: when its request was sent and when it arrived (monotonic seconds), and under whom."""

    sent: float
    at: float
    regime: str


class Caller(threading.Thread):
    """Plays one episode without an end over one connection, so that each change comes within it."""

    def __init__(self, target: Target) -> None:
        super().__init__(daemon=True)
        self._target = target
        self._connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=10)
        self._headers = {"content-type": "application/json", "authorization": target.authorization}
        self._stopped = threading.Event()
        self.heard: list[Heard] = []
        self.failure: Exception | None = None
        self.episodes: set[str] = set()

    def run(self) -> None:
        """Until stopped; a failure is kept for whoever waits."""
        token: str | None = None
        number = 0
        try:
            while not self._stopped.is_set():
                observation = self._target.bodies[number % len(self._target.bodies)]
                body = f'{{"observation":{observation}' + (f',"reward":1.0,"episode":"{token}"}}' if token else "}")
                sent = time.monotonic()
                status, answer = self._ask(body)
                self.heard.append(Heard(sent, time.monotonic(), regime(status, answer)))
                if status == 200:
                    token, number = answer["episode"], number + 1
        except Exception as error:  # noqa: BLE001 - told by `until`
            self.failure = error

    def stop(self) -> None:
        """Ends it."""
        self._stopped.set()
        self.join(15)
        self._connection.close()

    def until(self, wanted: str, since: int, seconds: float = 10) -> None:
        """Returns once an answer from `since` on is of this regime. Raises RuntimeError."""
        deadline = time.monotonic() + seconds
        while not any(h.regime == wanted for h in self.heard[since:]):
            if self.failure:
                raise RuntimeError(f"the caller failed: {self.failure!r}")
            if time.monotonic() > deadline:
                last = self.heard[-1].regime if self.heard else "no answer"
                raise RuntimeError(f"{wanted!r} did not take hold within {seconds:.0f} s; the last answer was {last!r}")
            time.sleep(0.001)

    def _ask(self, body: str) -> tuple[int, dict[str, Any]]:
        self._connection.request("POST", self._target.path, body, self._headers)
        response = self._connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
        return response.status, answer


def regime(status: int, answer: dict[str, Any]) -> str:
    """Who decided, as one word to compare; a refusal is known by its problem."""
    if status != 200:
        return str(answer.get("type", status)).rpartition("/")[2]
    kind = answer.get("regime", "Policy")
    return f"{kind} {answer['action'] if kind in ('Action', 'Fallback') else answer['policy']}"
