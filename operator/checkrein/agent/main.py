"""Entry point of a replica: puts the parts together, runs until SIGTERM, then drains."""

from __future__ import annotations

import checkrein.lean  # noqa: F401 - before all that it makes lighter

# isort: split
import asyncio
import gc
import logging
import random
import signal
import sys
from functools import partial

import uvloop
from pydantic import ValidationError

from checkrein.agent import housekeeping, policies, settings
from checkrein.agent.apiserver import connect
from checkrein.agent.app import App
from checkrein.agent.clock import Clock
from checkrein.agent.decisions import Decider
from checkrein.agent.episodes import Tokens
from checkrein.agent.evidence import EvidenceDesk
from checkrein.agent.housekeeping import Reins
from checkrein.agent.issuer import Gatekeeper
from checkrein.agent.journal import Identity, Journal
from checkrein.agent.keyring import Keyring, read, read_assignment
from checkrein.agent.limits import Limiter
from checkrein.agent.loader import Loader
from checkrein.agent.management import Management
from checkrein.agent.metrics import Contact, Metrics
from checkrein.agent.resolver import Resolver
from checkrein.agent.server import listener
from checkrein.agent.settings import Settings
from checkrein.agent.state import State
from checkrein.agent.watch import Watcher
from checkrein.api.deployment import AgentDeployment
from checkrein.store.client import Store
from checkrein.store.decisions.parts import Parts
from checkrein.store.errors import StoreError

SWITCH_SECONDS = 0.00005  # for so long the log's writer may hold up a decision
log = logging.getLogger(__name__)


class Replica:
    """One running replica."""

    def __init__(self, chosen: Settings) -> None:
        self._settings = chosen
        self._stop = asyncio.Event()
        clock, contact, metrics, rng = Clock(), Contact(), Metrics(), random.Random()  # noqa: S311 - jitter
        self.state = State()
        task = chosen.task
        self._api_server = connect(chosen.api_server, chosen.service_account)
        self._keyring = Keyring(read(chosen.token_keys), clock, read_assignment(chosen.token_keys))
        self._journal = _journal(chosen, metrics)
        self._limiter = Limiter()
        parts = Parts()
        self._decider = Decider(
            self.state,
            Tokens(self._keyring),
            self._limiter,
            self._journal,
            metrics,
            clock,
            parts,
            f"{task.namespace}/{task.name}",
            chosen.pod,
        )
        self._reins = Reins(self.state, self._decider)
        resolver = Resolver(self._api_server, task.namespace)
        store = Store.from_file(task.store, chosen.credentials, metrics.store.observe)
        self._loader = Loader(self.state, partial(policies.load, store), resolver.pointer, rng)
        self._watcher = Watcher(self._api_server, task.namespace, task.name, self._heard, contact, rng)
        self._gatekeeper = Gatekeeper(self._api_server, task.namespace, now=clock)
        app = App(self.state, self._decider, self._gatekeeper, metrics)
        desk = EvidenceDesk(
            self.state,
            parts,
            self._journal,
            self._decider.assigner,
            self._decider.shadow,
            self._gatekeeper,
            task.operator,
            clock,
        )
        management = Management(self.state, self._journal, metrics, contact, desk)
        self._decisions = listener(app, chosen.host, chosen.port)
        self._management = listener(management, chosen.host, chosen.management_port)

    async def run(self) -> None:
        """Serve until told to stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        self._journal.start()
        async with asyncio.TaskGroup() as group:
            chores = housekeeping.run(self._reins, self._decider, self._keyring, self._settings.token_keys)
            helpers = [group.create_task(work) for work in (self._watcher.run(), self._gatekeeper.refresh(), chores)]
            management = group.create_task(self._management.serve())
            decisions = group.create_task(self._decisions.serve())
            await self._stop.wait()
            await self._drain()
            await decisions
            self._management.close()
            await management
            for helper in helpers:
                helper.cancel()
        await self._close()

    async def _drain(self) -> None:
        """Not ready from now on, but deciding until the routes to this replica are gone."""
        log.info("stopping: draining for %g s", self._settings.drain_seconds)
        self.state.draining = True
        await asyncio.sleep(self._settings.drain_seconds)
        self._decisions.close()

    async def _close(self) -> None:
        self._loader.close()
        self._decider.close()
        await self._api_server.aclose()
        if not await self._journal.close():
            log.warning("the store has not got all of the log: %s", self._journal.store_reason or self._journal.reason)

    def _heard(self, word: AgentDeployment) -> None:
        if not self.state.accept(word):
            log.warning("ignored an older word: generation %d, epoch %d", word.metadata.generation, word.status.epoch)
            return
        # By the replicas that there should be: while some are missing, less is granted in all, never more.
        self._limiter.configure(word.spec.limits, max(1, word.spec.replicas))
        self._decider.heard(word)
        self._reins.look()
        self._loader.reconcile()


def _journal(chosen: Settings, metrics: Metrics) -> Journal:
    task = chosen.task
    store = Store.from_file(task.decisions, chosen.credentials, metrics.store.observe) if task.decisions else None
    # By uid: a claim that outlived its deployment may meet a namesake.
    return Journal(chosen.log / task.uid, Identity(f"{task.namespace}/{task.name}", chosen.pod, chosen.pod_uid), store)


async def serve(chosen: Settings) -> None:
    """Run one replica to its end. Exits with a sentence where a mounted file is missing or useless."""
    try:
        replica = Replica(chosen)
    except (OSError, ValueError, StoreError) as error:
        sys.exit(f"checkrein-agent cannot start: {error}")
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()  # what start-up made lives for ever: collections that pause decisions need not look at it
    await replica.run()


def main() -> None:
    """`checkrein-agent`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # a store that is away is told once, by the log's shipper
    try:
        chosen = settings.load()
    except (KeyError, ValidationError) as error:
        sys.exit(f"checkrein-agent cannot start: the environment is incomplete: {error}")
    uvloop.run(serve(chosen))


if __name__ == "__main__":
    main()
