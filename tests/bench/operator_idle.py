"""Ten thousand objects at rest: how long a start takes, what a pass over all costs, what is held, asked and written."""

from __future__ import annotations

import time
from collections import Counter

from tests.bench.operator_world import Mix, Raw, World, metrics, process, processor, requests
from tests.bench.report import Figure
from tests.cluster.steps import ClusterError, say, step, wait_until
from tests.control.audit import describe
from tests.control.conftest import Operator

PATIENCE = 1800.0
QUIET_SECONDS = 10.0
LOOK_SECONDS = 0.5
SCRAPE_SECONDS = 1.0
"""Between two looks at metrics: all objects' are many megabytes, which the operator has to make."""


def idle(world: World, mix: Mix, seconds: float) -> tuple[Operator, list[str], list[Figure]]:
    """The figures; the operator that was measured runs on. `seconds`: for how long the steady state is watched."""
    objects = mix.versions + mix.jobs + mix.environments + mix.agents
    with step(f"creating {objects} objects"):
        tenants = world.rest(mix)
    with step("letting an operator bring them to rest"):
        first = world.operator()
        at_rest(world, first, objects)
        first.stop()  # it lets go of the Lease: else the pass would begin when that has run out
    began = time.monotonic()
    operator = world.operator()
    ready = time.monotonic()
    wait_until(lambda: operator.leads, PATIENCE, otherwise=lambda: ClusterError("the operator does not lead"))
    took, passes = full_pass(operator, objects)
    computed = processor(operator)
    say(f"a pass over {passes:.0f} objects took {took:.1f} s")
    at_rest(world, operator, objects)
    watched, held = steady(world, operator, seconds)
    writes = [event for event in watched if is_write(event)]
    for event in writes[:5]:
        say(f"in the steady state: {describe(event)}")
    asked = Counter(str(event["verb"]) for event in watched if not is_lease(event))
    return operator, tenants, [
        Figure("objects at rest", objects, "objects"),
        Figure("objects that it keeps, children included", metrics(operator)["checkrein_cached_objects"], "objects"),
        Figure("start to ready (all lists read)", ready - began, "s"),
        Figure("first pass over all", passes / took, "reconciles/s", ">= 250"),
        Figure("processor for each, start included", computed / passes * 1e3, "ms"),
        Figure("memory at rest, resident, at most", max(held) / 2**20, "MiB", "<= 200"),
        Figure("writes in the steady state", len(writes), "writes", "<= 0"),
        Figure("the steady state was watched for", seconds, "s"),
        *(Figure(f"in the steady state, {verb}", asked[verb] / seconds, "requests/s") for verb in ("get", "list")),
    ]  # fmt: skip


def full_pass(operator: Operator, objects: int) -> tuple[float, float]:
    """Seconds until each object was reconciled once since the start, and how many reconciles that were."""
    began = time.monotonic()
    found: dict[str, float] = {}

    def through() -> bool:
        found.update(metrics(operator))
        done = found.get("checkrein_reconciles_total", 0.0)
        if done >= objects and found["checkrein_queue_overdue_objects"] == 0:
            return True
        time.sleep(SCRAPE_SECONDS)
        return False

    wait_until(through, PATIENCE, otherwise=lambda: ClusterError(f"no whole pass in {PATIENCE:.0f} s: {found}"))
    return time.monotonic() - began, found["checkrein_reconciles_total"]


def at_rest(world: World, operator: Operator, objects: int) -> None:
    """Returns once all were reconciled and nothing was written for some seconds."""
    full_pass(operator, objects)
    log = world.plane.audit_log
    since, quiet = log.stat().st_size, time.monotonic()

    def still() -> bool:
        nonlocal since, quiet
        size = log.stat().st_size
        if any(is_write(event) for event in requests(log, since)):
            quiet = time.monotonic()
        since = size
        return time.monotonic() - quiet > QUIET_SECONDS

    wait_until(still, PATIENCE, otherwise=lambda: ClusterError("the operator does not come to rest"))


def steady(world: World, operator: Operator, seconds: float) -> tuple[list[Raw], list[int]]:
    """What it asks of the API server, and the bytes that it holds, over this time."""
    running, log = process(operator), world.plane.audit_log
    since, end, held = log.stat().st_size, time.monotonic() + seconds, list[int]()
    busy = processor(operator)
    while time.monotonic() < end:
        held.append(running.memory_info().rss)
        time.sleep(LOOK_SECONDS)
    say(f"in the steady state it computes {(processor(operator) - busy) / seconds:.2f} s each second")
    return list(requests(log, since)), held


def is_lease(event: Raw) -> bool:
    """Its renewals of the Lease: two operators would not work without them."""
    return bool(event.get("objectRef", {}).get("resource") == "leases")


def is_write(event: Raw) -> bool:
    """Anything else than reading, but for the Lease."""
    return event["verb"] not in ("get", "list", "watch") and not is_lease(event)
