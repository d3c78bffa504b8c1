"""Observe, plan, act: the one way in which anything happens, whatever woke it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from checkrein.api.meta import Model
from checkrein.control import metrics, reconciled
from checkrein.control.cache import Key, Raw, version_of
from checkrein.control.children import held_by
from checkrein.control.cluster import ApiError, Cluster
from checkrein.control.conditions import Transition, Writer, transitions
from checkrein.control.controllers import CONTROLLERS, Controller, Scope, concerned
from checkrein.control.events import event
from checkrein.control.plan import Answers, Plan, Unanswered
from checkrein.control.queue import WorkQueue
from checkrein.control.reconciled import Trouble
from checkrein.control.world import World

log = logging.getLogger("checkrein")
HELD_PATIENCE = timedelta(seconds=10)  # a deletion that takes no longer is nobody's news
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
        self._current: set[Key] = set()

    def saw(self, obj: Raw) -> bool:
        """An object as a watch, a list or the answer to a write shows it. Whether that is news."""
        news = self._scope.cache.put(obj)
        if news:
            self._wake(obj)
        return news

    def lost(self, key: Key, version: int) -> bool:
        """There is no such object at this version. Whether that is news.

        Whoever missed it may be gone as well, and another watch tell so later: it is read before it makes one anew.
        """
        obj = self._scope.cache.remove(key, version)
        if obj:
            self._queue.forget(key)
            self._current.difference_update(self._wake(obj))
        return obj is not None

    def _wake(self, obj: Raw) -> list[Key]:
        """Those whom it concerns."""
        woken = list(concerned(obj, self._scope.cache))
        for key in woken:
            self._queue.add(key)
        return woken

    async def work(self) -> None:
        """One worker: many of them may run, no two on the same object."""
        while True:
            key = await self._queue.get()
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
            self._current.discard(key)
            log.log(logging.INFO if error.status == 409 else logging.WARNING, "%s: %s", "/".join(key), error)
        except Trouble as trouble:
            log.warning("%s: %s", "/".join(key), trouble)
            await self._note(key, trouble)
        except Exception as error:
            log.exception("%s: a pass failed", "/".join(key))
            await self._note(key, reconciled.faulty(error))
        metrics.RECONCILES.labels(key.kind, outcome).inc()
        metrics.RECONCILE_SECONDS.labels(key.kind).observe(time.perf_counter() - begin)
        return outcome == "ok"

    async def _note(self, key: Key, trouble: Trouble) -> None:
        """Condition Reconciled says what keeps the object, beside the status as it stands; the pass is repeated."""
        raw = self._scope.cache.get(key)
        if raw is None:
            return
        status = reconciled.noted(raw, trouble, self._now())
        if status == raw.get("status"):
            return
        try:
            self.saw(await self._cluster.apply_status(raw, status))
        except ApiError as error:
            self._current.discard(key)
            log.warning("%s: %s", "/".join(key), error)
            return
        if reconciled.is_news(raw, trouble):
            await self._tell(raw, Transition("Warning", trouble.reason, trouble.message))

    async def _reconcile(self, key: Key) -> None:
        raw = self._scope.cache.get(key)
        if raw is None:
            return
        if "deletionTimestamp" in raw["metadata"]:
            self._await_end(key, raw)
            return
        controller = CONTROLLERS[key.kind]
        if key not in self._current:
            if plan := self._at_rest(controller, raw):
                self._look_again(key, plan)
                return
            await self._read(key, raw)
            await self._reconcile(key)
            return
        resource: Any = reconciled.read(controller.model, raw)
        plan = await self._plan(controller, resource)
        refusal = await self._act(key.namespace, plan)
        if refusal is None:
            await self._write(raw, resource, plan)
            self._look_again(key, plan)
            return
        metrics.REFUSALS.labels(key.kind, "child").inc()
        await self._write(raw, resource, _blocked(controller, resource, refusal.status, refusal.error, self._now()))
        raise ApiError(0, "Blocked", str(refusal.error)) from refusal.error

    def _at_rest(self, controller: Controller, raw: Raw) -> Plan | None:
        """The plan, where it is to do nothing; None where something is to be done, or asked."""
        try:
            resource: Any = reconciled.read(controller.model, raw)
            plan = controller.plan(resource, controller.observe(resource, self._scope), Answers(), self._now())
        except (Trouble, Unanswered):
            return None
        acts = plan.create or plan.apply or plan.delete or self._status(resource, plan) != resource.status
        return None if acts else plan

    async def _read(self, key: Key, known: Raw) -> None:
        """The object is now not older than this process' first act, its last write, the conflict that it met, or the
        end of what it owns or names.

        Lists and watches may be as old as the API server that gives them; a read by name, which no cache answers, may
        not. After it this process alone writes the status. So no stage that has ended is gone through again.
        """
        if found := await self._cluster.get(*key):
            self.saw(found)
            self._current.add(key)
        else:
            self.lost(key, version_of(known))

    def _look_again(self, key: Key, plan: Plan) -> None:
        if plan.after is not None:
            self._queue.add(key, max(plan.after.total_seconds(), 0.0))

    def _await_end(self, key: Key, raw: Raw) -> None:
        """Nothing is done any more for an object that is being deleted. Raises Trouble where it is kept from going."""
        left = HELD_PATIENCE - (self._now() - datetime.fromisoformat(raw["metadata"]["deletionTimestamp"]))
        if left > timedelta():
            self._queue.add(key, left.total_seconds())
            return
        held = [raw, *(c for c in self._scope.cache.children(raw["metadata"]["uid"]) if held_by(c))]
        said = "; ".join(f"{o['kind']} {o['metadata']['name']} {held_by(o)}" for o in held)
        raise Trouble("BeingDeleted", f"nothing is done for it any more: {said}")

    async def _plan(self, controller: Controller, resource: Any) -> Plan:
        """Call the planner until it has all its answers."""
        observed, answers, now = controller.observe(resource, self._scope), Answers(), self._now()
        for _ in range(MOST_ROUNDS):
            try:
                return controller.plan(resource, observed, answers, now)
            except Unanswered as asked:
                answers.known.update(await self._world.answer(asked.requests))
        raise RuntimeError(f"the planner of {type(resource).__name__} asks in circles: {answers.known}")

    async def _act(self, namespace: str, plan: Plan) -> _Refusal | None:
        """Creates, applies, deletes. What was refused for good, first of all. Raises ApiError where asking again helps.

        A status that follows a creation must not be told without it. What is applied stands beside the status: where
        one child is refused, the others and the status go on, a person's override among them. What is made is seen at
        once: a next pass that waited for the watch would make it again.
        """
        refusal: _Refusal | None = None
        for obj in plan.create:
            try:
                self.saw(await self._cluster.create(obj))
            except ApiError as error:
                return _Refusal(_lasting(error), None)
        for obj in plan.apply:
            try:
                self.saw(await self._cluster.apply(obj))
            except ApiError as error:
                refusal = refusal or _Refusal(_lasting(error), plan.status)
        for reference in plan.delete:
            try:
                await self._cluster.delete(reference.kind, namespace, reference.name, reference.uid)
            except ApiError as error:
                refusal = refusal or _Refusal(_lasting(error), None)
        return refusal

    def _status(self, resource: Any, plan: Plan) -> Any:
        return reconciled.recovered(plan.status or resource.status, resource.metadata, self._now())

    async def _write(self, raw: Raw, resource: Any, plan: Plan) -> None:
        """The status, once and last, only when changed; then an Event for each transition in it.

        Raises Trouble where the API server does not take it, ApiError.
        """
        status = self._status(resource, plan)
        if status == resource.status:
            return
        try:
            # Seen at once: a next pass that waited for the watch would be planned on the version before.
            self.saw(await self._cluster.apply_status(raw, status.dump()))
        except ApiError as error:
            if not reconciled.is_refusal(error):
                raise
            metrics.REFUSALS.labels(raw["kind"], "status").inc()
            raise reconciled.refused(error) from error
        for transition in (*transitions(resource.status.conditions, status.conditions), *plan.news):
            await self._tell(raw, transition)

    async def _tell(self, raw: Raw, transition: Transition) -> None:
        """An Event is news, not state: what cannot be told is logged only."""
        log.info("%s/%s: %s: %s", raw["kind"], raw["metadata"]["name"], transition.reason, transition.message)
        try:
            await self._cluster.create(event(raw, transition, self._now()))
        except ApiError as error:
            log.warning("event about %s/%s: %s", raw["kind"], raw["metadata"]["name"], error)


@dataclass(frozen=True)
class _Refusal:
    """What the API server refused; the status that may be told all the same, None: the one before."""

    error: ApiError
    status: Model | None


def _lasting(error: ApiError) -> ApiError:
    """The error, if asking again at once does not help. Raises it otherwise."""
    if error.temporary:
        raise error
    return error


def _blocked(controller: Controller, resource: Any, status: Model | None, error: ApiError, now: datetime) -> Plan:
    """The API server refuses what the plan needs (a quota, a right, a name): say so where people look."""
    write = Writer(resource.metadata, now)
    return Plan(status=write.put(status or resource.status, controller.main, False, error.reason, error.message))


async def run(reconciler: Reconciler, workers: int) -> None:
    """All workers, until cancelled."""
    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(reconciler.work())
