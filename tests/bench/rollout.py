"""`make bench-rollout`: how soon a bad candidate is gone and an old version back, on a real cluster, beside Argo's.

Clocks start at the first episode that the breach makes worthless, or before the change is sent, and stop at the last
answer of the version that leaves, as its callers hear it. Callers are on this machine, which reaches pods by address.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx
from tests.bench import rollout_argo
from tests.bench.report import Figure, table, write
from tests.bench.rollout_api import Api
from tests.bench.rollout_argo import INTERVALS, Argo, Judge
from tests.bench.rollout_ours import VERSIONS, Ours
from tests.cluster import images, node
from tests.cluster.cluster import Cluster
from tests.cluster.install import install
from tests.cluster.processes import State, sweep
from tests.cluster.steps import ClusterError, say, step

BREACH_GOAL = "<= 10"
LOADED_GOAL = "<= 500"
STORED_GOAL = "<= 5"


@dataclass(frozen=True)
class Place:
    """A node of its own, a way to its API server, and where processes of this machine leave their logs."""

    cluster: Cluster
    api: Api
    state: State


def main() -> None:
    """`python -m tests.bench.rollout`."""
    parser = argparse.ArgumentParser("rollout")
    parser.add_argument("--rollouts", type=int, default=50, help="breaches, each in a rollout of its own")
    parser.add_argument("--rollbacks", type=int, default=50, help="to a version in memory, and to one in the store")
    parser.add_argument("--argo", type=int, default=5, help="repetitions of each of Argo's four")
    parser.add_argument("--rate", type=float, default=40, help="episodes a second, over all callers")
    parser.add_argument("--only", choices=("ours", "argo"), help="for a quick look; the report is then not written")
    options = parser.parse_args()
    found: list[Figure] = []
    missing: dict[str, str] = {}
    with place(whole=options.only != "argo") as where:
        if options.only != "argo":
            found += ours(where, options)
        if options.only != "ours":
            found += argo(where, options, missing)
    if options.only:
        print(table(found) if found else "", *missing.items(), sep="\n")
        return
    counts = {"rollouts": options.rollouts, "rollbacks": options.rollbacks, "argo": options.argo}
    write("rollout", found, missing=missing, episodes_per_second=options.rate, **counts)


@contextmanager
def place(*, whole: bool) -> Iterator[Place]:
    """Gone when left. Without the whole of it: no images but the base, which is all that Argo's pods need."""
    sweep()
    with ExitStack() as stack:
        name = node.free_name("bench")
        stack.callback(node.down, name)
        if whole:
            cluster = node.up(name, owned=True)
        else:
            cluster = node.start(name, owned=True)
            cluster.load({"base": images.references()["base"]})
        state = State.create(f"bench-rollout-{os.getpid()}", owned=True)
        stack.callback(state.remove)
        api = Api(state, cluster)
        stack.callback(api.close)
        yield Place(cluster, api, state)


def ours(where: Place, options: argparse.Namespace) -> list[Figure]:
    """Breaches, then rollbacks."""
    install(where.cluster.kubectl, where.cluster.images)
    rig = Ours(where.cluster, where.api, options.rate)
    with step(f"training {VERSIONS} versions"):
        rig.prepare(VERSIONS)
    stopped, told = rig.breaches(options.rollouts)
    loaded, loaded_running = rig.rollbacks(2, options.rollbacks)
    stored, stored_running = rig.rollbacks(VERSIONS, options.rollbacks)
    tell("breach", stopped.failed)
    tell("rollbacks", loaded.failed + stored.failed)
    return [
        *stopped.figures("Checkrein, breach", goal=BREACH_GOAL),
        *told.figures("Checkrein, breach until status.rejected", failures=False),
        *loaded.figures("Checkrein, rollback to a version in memory", unit="ms", goal=LOADED_GOAL),
        *loaded_running.figures("Checkrein, the same, running episodes too", unit="ms", failures=False),
        *stored.figures("Checkrein, rollback to a version in the store", goal=STORED_GOAL),
        *stored_running.figures("Checkrein, the same from the store, running episodes too", failures=False),
    ]


def argo(where: Place, options: argparse.Namespace, missing: dict[str, str]) -> list[Figure]:
    """The nearest that it does. What does not work is told, never left out."""
    found: list[Figure] = []
    try:
        with rollout_argo.running(where.state, where.cluster):
            judge = Judge()
            rig = Argo(where.cluster, where.api, judge, options.rate)
            rig.prepare()
            with rig.playing() as load:
                for interval in INTERVALS:
                    with step(f"Argo: {options.argo} breaches, analysis every {interval} s"):
                        times = rig.breaches(load, interval, options.argo)
                    found += times.figures(f"Argo Rollouts, breach, analysis every {interval} s")
                with step(f"Argo: {options.argo} aborts"):
                    found += rig.aborts(load, options.argo).figures("Argo Rollouts, abort in the canary")
                with step(f"Argo: {options.argo} rollbacks"):
                    found += rig.rollbacks(load, options.argo).figures("Argo Rollouts, undo within the rollback window")
                tell("Argo", load.failed)
            judge.shutdown()
    except (ClusterError, httpx.HTTPError) as error:
        missing["Argo Rollouts"] = str(error)[-500:]
        say(f"Argo Rollouts is missing: {error}")
    return found


def tell(what: str, failed: list[str]) -> None:
    """The first few, for whoever looks for the cause."""
    for failure in failed[:5]:
        say(f"{what}: a failed answer: {failure[:300]}")


if __name__ == "__main__":
    main()
