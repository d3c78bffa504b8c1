"""A process that appends to a journal, to be killed: `python -m tests.agent.journaling FOLDER [STORE]`.

It prints `durable EPISODE STEP` for each record that the journal said was durable, and `unhealthy REASON`. STORE is
a StoreLocation and its credentials as a JSON list. LIMIT in the environment bounds the bytes of a file, as a full disk
would.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from itertools import count
from pathlib import Path
from typing import Any

from checkrein.agent.journal import Identity, Journal, Pace, utc
from checkrein.api.tasks import StoreCredentials, StoreLocation
from checkrein.store.client import Store
from checkrein.store.decisions.records import DecisionRecord

IDENTITY = Identity("games/cartpole", "cartpole-agent-0", "pod-uid")
QUICK = Pace(seal=0.2, anchor=0.1, sync=0.05)
WORKERS = 16


def record(episode: str, step: int, **more: Any) -> DecisionRecord:
    """One decision of an episode."""
    known: dict[str, Any] = {
        "timestamp": utc(),
        "agent_id": IDENTITY.agent_id,
        "decision": f"{episode}-{step}",
        "episode": episode,
        "step": step,
        "policy": "cartpole-1",
        "policy_digest": f"sha256:{'ab' * 32}",
        "observation_digest": "cd" * 32,
        "proposed": 1,
        "action": 1,
        "action_hash": "6b" * 32,
        "exploration_flag": True,
        "propensity": 0.05,
        "reward": 1.0,
        "latency_us": 80,
        "caller": "system:serviceaccount:games:player",
    }
    return DecisionRecord(**known | more)


def opened(folder: Path, store: Store | None, pace: Pace = QUICK) -> Journal:
    """A journal that runs."""
    journal = Journal(folder, IDENTITY, store, pace=pace)
    journal.start()
    return journal


async def work(journal: Journal, name: str) -> None:
    """One episode without end: every tenth record is waited for, as exploration is."""
    for step in count():
        sequence = journal.append(record(name, step))
        if step % 10 == 0:
            durable = await journal.durable(sequence, 60)
            print(f"durable {name} {step}" if durable else f"unhealthy {journal.reason}", flush=True)
        await asyncio.sleep(0)


async def main(folder: Path, store: Store | None) -> None:
    """Until somebody ends it."""
    journal = opened(folder, store)
    await asyncio.gather(*(work(journal, f"{os.getpid()}-{worker}") for worker in range(WORKERS)))


def connected(text: str) -> Store:
    """The store that the command line names."""
    location, keys = json.loads(text)
    credentials = StoreCredentials.model_validate(keys)
    return Store(StoreLocation.model_validate(location), lambda: credentials)


if __name__ == "__main__":
    if limit := os.environ.get("LIMIT"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    asyncio.run(main(Path(sys.argv[1]), connected(sys.argv[2]) if len(sys.argv) > 2 else None))
