"""Entry point of a replica: puts the parts together, runs until SIGTERM, then drains."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import signal
import sys
from functools import partial

import uvloop
from pydantic import ValidationError

from checkrein.agent import policies, settings
from checkrein.agent.apiserver import connect
from checkrein.agent.app import App
from checkrein.agent.decisions import Decider
from checkrein.agent.episodes import Tokens
from checkrein.agent.issuer import Gatekeeper
from checkrein.agent.loader import Loader
from checkrein.agent.management import Management
from checkrein.agent.metrics import Contact, Metrics
from checkrein.agent.server import listener
from checkrein.agent.settings import Settings
from checkrein.agent.state import State
from checkrein.agent.watch import Watcher
from checkrein.api.deployment import AgentDeployment
from checkrein.store.client import Store
from checkrein.store.errors import StoreError

log = logging.getLogger(__name__)


class Replica:
    """One running replica."""

    def __init__(self, chosen: Settings) -> None:
        self._settings = chosen
        self._stop = asyncio.Event()
        self.state, contact, metrics, rng = State(), Contact(), Metrics(), random.Random()  # noqa: S311 - jitter
        task = chosen.task
        self._api_server = connect(chosen.api_server, chosen.service_account)
        store = Store.from_file(task.store, chosen.credentials)
        self._loader = Loader(self.state, partial(policies.load, store), rng)
        self._watcher = Watcher(self._api_server, task.namespace, task.name, self._heard, contact, rng)
        self._gatekeeper = Gatekeeper(self._api_server, task.namespace)
        decider = Decider(self.state, Tokens.from_file(chosen.token_key), metrics)
        app = App(self.state, decider, self._gatekeeper, metrics)
        self._decisions = listener(app, chosen.host, chosen.port)
        self._management = listener(Management(self.state, metrics, contact), chosen.host, chosen.management_port)

    async def run(self) -> None:
        """Serve until told to stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        async with asyncio.TaskGroup() as group:
            helpers = [group.create_task(work) for work in (self._watcher.run(), self._gatekeeper.refresh())]
            management = group.create_task(self._management.serve())
            decisions = group.create_task(self._decisions.serve())
            await self._stop.wait()
            await self._drain()
            await decisions
            self._management.close()
            await management
            for helper in helpers:
                helper.cancel()
        self._loader.close()
        await self._api_server.aclose()

    async def _drain(self) -> None:
        """Not ready from now on, but deciding until the routes to this replica are gone."""
        log.info("stopping: draining for %g s", self._settings.drain_seconds)
        self.state.draining = True
        await asyncio.sleep(self._settings.drain_seconds)
        self._decisions.close()

    def _heard(self, word: AgentDeployment) -> None:
        if not self.state.accept(word):
            log.warning("ignored an older word: generation %d, epoch %d", word.metadata.generation, word.status.epoch)
        self._loader.reconcile()


async def serve(chosen: Settings) -> None:
    """Run one replica to its end. Exits with a sentence where a mounted file is missing or useless."""
    try:
        replica = Replica(chosen)
    except (OSError, ValueError, StoreError) as error:
        sys.exit(f"checkrein-agent cannot start: {error}")
    gc.freeze()  # what start-up made lives for ever: collections that pause decisions need not look at it
    await replica.run()


def main() -> None:
    """`checkrein-agent`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        chosen = settings.load()
    except (KeyError, ValidationError) as error:
        sys.exit(f"checkrein-agent cannot start: the environment is incomplete: {error}")
    uvloop.run(serve(chosen))


if __name__ == "__main__":
    main()
