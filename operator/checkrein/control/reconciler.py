"""Observe, plan, act: the one way in which anything happens, whatever woke it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from checkrein.api.deployment import AgentDeploymentStatus
from checkrein.api.meta import Model
from checkrein.control import metrics
from checkrein.control.cache import Key, Raw, key_of
from checkrein.control.cluster import ApiError, Cluster
from checkrein.control.conditions import Transition, Writer, transitions
from checkrein.control.controllers import CONTROLLERS, Controller, Scope, concerned
from checkrein.control.events import event
from checkrein.control.plan import Answers, Plan, Unanswered
from checkrein.control.queue import WorkQueue
from checkrein.control.world import World

log = logging.getLogger("checkrein")
MOST_ROUNDS = 16  # of questions in one pass: more means a planner that asks in circles


def utcnow() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


class Reconciler:
    """Works through the queue until cancelled."""

    def __init__(
        self,
        scope: Scope,
        queue: WorkQueue[Key],
        cluster: Cluster,
        world: World,
        now: Callable[[], datetime] = utcnow,
    ) -> None:
        self._scope = scope
        self._queue = queue
        self._cluster = cluster
        self._world = world
        self._now = now

    def saw(self, obj: Raw) -> None:
        """An object as a watch or a list shows it."""
        if self._scope.cache.put(obj):
            self._wake(obj)

    def lost(self, key: Key) -> None:
        """An object is gone."""
        if obj := self._scope.cache.remove(key):
            self._queue.forget(key)
            if key.kind == "AgentDeployment":
                metrics.ROLLOUTS.forget(key.namespace, key.name)
            self._wake(obj)

    def _wake(self, obj: Raw) -> None:
        for key in concerned(obj, self._scope.cache):
            self._queue.add(key)

    async def work(self) -> None:
        """One worker: many of them may run, no two on the same object."""
        while True:
            key = await self._queue.get()
            metrics.QUEUE.set(len(self._queue))
            failed = True
            try:
                failed = not await self._timed(key)
            finally:
                self._queue.done(key, failed=failed)

    async def _timed(self, key: Key) -> bool:
        """One pass; False where it has to be repeated soon. One object's trouble never stops the others."""
        begin = time.perf_counter()
        outcome = "error"
        try:
            await self._reconcile(key)
            outcome = "ok"
        except ApiError as error:
            outcome = "conflict" if error.status == 409 else "error"
            log.log(logging.INFO if error.status == 409 else logging.WARNING, "%s: %s", "/".join(key), error)
        except Exception:
            log.exception("%s: a pass failed", "/".join(key))
        metrics.RECONCILES.labels(key.kind, outcome).inc()
        metrics.RECONCILE_SECONDS.labels(key.kind).observe(time.perf_counter() - begin)
        return outcome == "ok"

    async def _reconcile(self, key: Key) -> None:
        raw = self._scope.cache.get(key)
        if raw is None or "deletionTimestamp" in raw["metadata"]:
            return
        controller = CONTROLLERS[key.kind]
        resource = controller.model.model_validate(raw)
        plan = await self._plan(controller, resource)
        try:
            await self._act(key.namespace, plan)
        except ApiError as error:
            if error.temporary:
                raise
            plan = _blocked(controller, resource, error, self._now())
            await self._write(raw, resource, plan)
            raise ApiError(0, "Blocked", str(error)) from error
        await self._write(raw, resource, plan)
        if plan.after is not None:
            self._queue.add(key, max(plan.after.total_seconds(), 0.0))

    async def _plan(self, controller: Controller, resource: Any) -> Plan:
        """Call the planner until it has all its answers."""
        observed, answers, now = controller.observe(resource, self._scope), Answers(), self._now()
        for _ in range(MOST_ROUNDS):
            try:
                return controller.plan(resource, observed, answers, now)
            except Unanswered as asked:
                answers.known.update(await self._world.answer(asked.requests))
        raise RuntimeError(f"the planner of {type(resource).__name__} asks in circles: {answers.known}")

    async def _act(self, namespace: str, plan: Plan) -> None:
        for obj in plan.create:
            await self._cluster.create(obj)
        for obj in plan.apply:
            await self._cluster.apply(obj)
        for reference in plan.delete:
            await self._cluster.delete(reference.kind, namespace, reference.name)

    async def _write(self, raw: Raw, resource: Any, plan: Plan) -> None:
        """The status, once and last, only when changed; then an Event for each transition in it."""
        if plan.status is None or plan.status == resource.status:
            self._measure(key_of(raw), resource.status)
            return
        # Seen at once: a next pass that waited for the watch would be planned on the version before.
        self.saw(await self._cluster.apply_status(raw, plan.status.dump()))
        self._measure(key_of(raw), plan.status)
        before, after = resource.status.conditions, plan.status.conditions  # type: ignore[attr-defined]
        for transition in transitions(before, after):
            await self._tell(raw, transition)

    def _measure(self, key: Key, status: Model) -> None:
        """What metrics show of a status, for as long as its object is there."""
        if isinstance(status, AgentDeploymentStatus) and self._scope.cache.get(key) is not None:
            metrics.ROLLOUTS.tell(key.namespace, key.name, status)

    async def _tell(self, raw: Raw, transition: Transition) -> None:
        """An Event is news, not state: what cannot be told is logged only."""
        log.info("%s/%s: %s: %s", raw["kind"], raw["metadata"]["name"], transition.reason, transition.message)
        try:
            await self._cluster.create(event(raw, transition, self._now()))
        except ApiError as error:
            log.warning("event about %s/%s: %s", raw["kind"], raw["metadata"]["name"], error)


def _blocked(controller: Controller, resource: Any, error: ApiError, now: datetime) -> Plan:
    """The API server refuses what the plan needs (a quota, a right, a name): say so where people look."""
    status: Model = resource.status
    return Plan(status=Writer(resource.metadata, now).put(status, controller.main, False, error.reason, error.message))


async def run(reconciler: Reconciler, workers: int) -> None:
    """All workers, until cancelled."""
    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(reconciler.work())
