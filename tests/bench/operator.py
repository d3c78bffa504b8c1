"""`make bench-operator`: ten thousand objects at rest, leaders that are killed, what was deleted while nobody watched,
and a thousand TrainingJobs at once, beside KubeRay's RayJobs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from tests.api.server import Refused
from tests.bench.operator_ghosts import ghosts
from tests.bench.operator_idle import idle
from tests.bench.operator_jobs import KUBERAY, kuberay, ours
from tests.bench.operator_leaders import leaders
from tests.bench.operator_world import Mix, world
from tests.bench.report import Figure, table, write
from tests.cluster.steps import ClusterError, say

PARTS = ("idle", "leaders", "ghosts", "jobs")


def main() -> None:
    """`python -m tests.bench.operator`."""
    parser = argparse.ArgumentParser("operator", description=__doc__)
    parser.add_argument("--objects", type=int, default=10_000, help="that rest")
    parser.add_argument("--idle", type=float, default=180, help="seconds for which the steady state is watched")
    parser.add_argument("--kills", type=int, default=30, help="of leaders, and as many that stop gracefully")
    parser.add_argument("--kill-objects", type=int, default=1_000, help="that rest while leaders are killed")
    parser.add_argument("--jobs", type=int, default=1_000, help="TrainingJobs, and RayJobs, created at once")
    parser.add_argument("--only", choices=PARTS, action="append", help="for a quick look; the report is not written")
    options = parser.parse_args()
    parts = options.only or PARTS
    missing: dict[str, str] = {}
    found: list[Figure] = []
    if "idle" in parts or "ghosts" in parts:
        with _told("idle", missing), world() as where:
            operator, tenants, figures = idle(where, Mix.of(options.objects), options.idle if "idle" in parts else 0.5)
            found += figures if "idle" in parts else []
            found += ghosts(where, operator, tenants) if "ghosts" in parts else []
    if "leaders" in parts:
        with _told("leaders", missing), world() as where:
            found += leaders(where, options.kill_objects, options.kills)
    if "jobs" in parts:
        with _told("jobs", missing), world() as where:
            found += ours(where, options.jobs)
        with _told(KUBERAY, missing), world() as where:
            found += kuberay(where, options.jobs)
        found += compared(found)
    if options.only:
        print(table(found), *missing.items(), sep="\n")
        return
    counts = {"objects": options.objects, "idle_seconds": options.idle}
    counts |= {"kills": options.kills, "kill_objects": options.kill_objects, "jobs": options.jobs}
    write("operator", found, missing=missing, **counts)


def compared(found: list[Figure]) -> list[Figure]:
    """Our time over KubeRay's."""
    took = {figure.name.split(",")[0]: figure.value for figure in found if figure.name.endswith(": took")}
    mine, other = took.get("Checkrein"), took.get(KUBERAY)
    return [Figure(f"Checkrein's time over {KUBERAY}'s", mine / other if mine and other else None, "times", "<= 1")]


@contextmanager
def _told(name: str, missing: dict[str, str]) -> Iterator[None]:
    """What does not work is told, and costs no other part its figures."""
    try:
        yield
    except (ClusterError, Refused) as error:
        missing[name] = str(error)[-500:]
        say(f"{name} is missing: {error}")


if __name__ == "__main__":
    main()
