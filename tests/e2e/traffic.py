"""Callers whose episodes come to what a test wants them to: what a policy is worth is told by its name."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping

import httpx
from tests.e2e.world import World

OBSERVATION = [0.01, -0.02, 0.03, 0.04]
CALLERS = 4
STEPS = 2


class Traffic:
    """Plays short episodes against every replica until closed. The machine reaches the pods' addresses.

    `returns` holds the return of an episode by who decided its last step; 450 where it does not say.
    """

    def __init__(self, world: World, name: str = "agent", returns: Mapping[str, float] | None = None) -> None:
        self._world = world
        self._name = name
        self.returns = dict(returns or {})
        self.answers: Counter[str] = Counter()  # by who decided
        self.failed: list[str] = []
        self.last: dict[str, float] = {}  # by who decided: when that was last answered, time.monotonic()
        self._over = threading.Event()
        self._addresses: list[str] = []
        self._threads = [threading.Thread(target=self._play, args=(n,), daemon=True) for n in range(CALLERS)]

    def __enter__(self) -> Traffic:
        self.look()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def look(self) -> None:
        """Which replicas there are now."""
        found = self._world.items("pods", f"app.kubernetes.io/component=agent,checkrein.dev/name={self._name}")
        ready = [p for p in found if all(c["ready"] for c in p["status"].get("containerStatuses", ({"ready": False},)))]
        self._addresses = [p["status"]["podIP"] for p in ready if "deletionTimestamp" not in p["metadata"]]

    def _play(self, number: int) -> None:
        with httpx.Client(timeout=60, trust_env=False) as http:
            count = number
            while not self._over.is_set():
                count += 1
                if not (addresses := self._addresses):
                    time.sleep(0.1)
                    continue
                address = addresses[count % len(addresses)]
                try:
                    self._episode(http, f"http://{address}:8080/v1/act")
                except httpx.HTTPError as error:
                    self.failed.append(f"{address}: {type(error).__name__}: {error}")
                    time.sleep(0.1)

    def _episode(self, http: httpx.Client, url: str) -> None:
        token, who = None, ""
        for _ in range(STEPS):
            message = {"observation": OBSERVATION} | ({"episode": token, "reward": 0.0} if token else {})
            response = http.post(url, json=message)
            if response.status_code != 200:
                self.failed.append(f"{response.status_code}: {response.text}")
                return
            answer = response.json()
            token, who = answer["episode"], answer["policy"]
            self.answers[who] += 1
            self.last[who] = time.monotonic()
        http.post(url, json={"episode": token, "reward": self.returns.get(who, 450.0), "terminated": True})
