"""Objects that were deleted while nobody watched: no event tells of them, ever. When is each of them noticed?

The operator is frozen (SIGSTOP) and the API server started anew, which cuts its watches; AgentDeployments are deleted,
and the API server is started anew once more, so that it has forgotten these events. The operator wakes, and its watches
begin after the deletions. An AgentDeployment is noticed as gone when its PolicyVersion does not name it any more.
"""

from __future__ import annotations

import os
import signal
import time

from tests.bench.operator_world import World, metrics
from tests.bench.report import Figure
from tests.cluster.steps import ClusterError, step
from tests.control.conftest import Operator

from checkrein.control.kinds import KINDS

GHOSTS = 20
PATIENCE = 300.0
POLL_SECONDS = 0.2


def ghosts(world: World, operator: Operator, tenants: list[str]) -> list[Figure]:
    """Beside objects at rest, of which each agent uses the version of its own number."""
    gone = [(tenants[number % len(tenants)], number) for number in range(GHOSTS)]
    missed = metrics(operator)["checkrein_missed_changes_total"]
    pid = operator.process.identity.pid
    with step(f"deleting {GHOSTS} AgentDeployments while nobody watches"):
        os.kill(pid, signal.SIGSTOP)
        restart(world)
        for tenant, number in gone:
            world.server.send("DELETE", KINDS["AgentDeployment"].path(tenant, f"agent-{number}"))
        restart(world)
        os.kill(pid, signal.SIGCONT)
    began, waiting, seen = time.monotonic(), set(gone), dict[tuple[str, int], float]()
    while waiting:
        if time.monotonic() - began > PATIENCE:
            raise ClusterError(f"{len(waiting)} deleted AgentDeployments are still named after {PATIENCE:.0f} s")
        for tenant, number in list(waiting):
            version = world.server.send("GET", KINDS["PolicyVersion"].path(tenant, f"policy-{number + 1}"))
            if not version["status"].get("usedBy"):
                waiting.discard((tenant, number))
                seen[tenant, number] = time.monotonic() - began
        time.sleep(POLL_SECONDS)
    missed = metrics(operator)["checkrein_missed_changes_total"] - missed
    return [
        Figure("deleted while nobody watched, noticed within", max(seen.values()), "s", "<= 60"),
        Figure("of these, told by no watch", missed, f"of {GHOSTS}"),
    ]


def restart(world: World) -> None:
    """The API server as after a crash: its memory of events begins anew."""
    world.plane.apiserver.kill()
    world.plane.start_apiserver()
