"""The management port: `/livez`, `/readyz`, `/metrics`, `/status`, `/evidence`.

For the kubelet, Prometheus and the operator; evidence for the operator alone.
"""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from checkrein.agent.asgi import Receive, Scope, Send, refuse, reply
from checkrein.agent.evidence import EvidenceDesk
from checkrein.agent.journal import Journal
from checkrein.agent.metrics import Contact, Metrics
from checkrein.agent.problems import Problem, not_found, not_ready, wrong_method
from checkrein.agent.state import State
from checkrein.api.evidence import EVIDENCE
from checkrein.api.meta import REASON_LIMIT, bounded
from checkrein.api.tasks import AgentReport

TEXT = b"text/plain; charset=utf-8"
PATHS = "/livez, /readyz, /metrics, /status, /evidence"
JSON = b"application/json"


class Management:
    """The ASGI application of the management port."""

    def __init__(
        self, state: State, journal: Journal, metrics: Metrics, contact: Contact, evidence: EvidenceDesk
    ) -> None:
        self._state = state
        self._journal = journal
        self._metrics = metrics
        self._contact = contact
        self._evidence = evidence

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            if scope["path"] == EVIDENCE:
                if scope["method"] != "GET":
                    raise wrong_method(scope["method"], "GET")
                media_type, content = JSON, await self._evidence.answer(scope)
            else:
                media_type, content = self._answer(scope["method"], scope["path"])
        except Problem as problem:
            await refuse(send, problem)
        else:
            await reply(send, content, media_type=media_type)

    def _answer(self, method: str, path: str) -> tuple[bytes, bytes]:
        if method not in ("GET", "HEAD"):
            raise wrong_method(method, "GET")
        match path:
            case "/livez":
                return TEXT, b"ok"
            case "/readyz":
                return TEXT, self._ready()
            case "/metrics":
                return CONTENT_TYPE_LATEST.encode(), self._exposition()
            case "/status":
                return JSON, self.report().model_dump_json(by_alias=True).encode()
        raise not_found(path, PATHS)

    def report(self) -> AgentReport:
        """For the operator."""
        state = self._state
        override = state.override()
        first = next(iter(state.choices(override, state.acting)), None)
        return AgentReport(
            epoch=state.acting_epoch,
            generation=state.word.metadata.generation if state.word else 0,
            acting=first.policy.name if first and first.policy else None,
            regime=first.regime if first else "",
            overridden=override is not None,
            logging=self._journal.healthy,
            logging_reason=bounded(self._journal.reason, REASON_LIMIT),
            storing=not self._journal.store_reason,
            storing_reason=bounded(self._journal.store_reason, REASON_LIMIT),
            problems=[bounded(f"{where}: {what}") for where, what in sorted(state.problems().items())],
            policies=state.reports(),
        )

    def _ready(self) -> bytes:
        if self._state.draining:
            raise not_ready("this replica is stopping")
        if not self._state.ready:
            raise not_ready("no stable policy has been loaded, verified and warmed up yet, and nobody else may act")
        return b"ok"

    def _exposition(self) -> bytes:
        metrics, policies = self._metrics, self._state.loaded.values()
        metrics.keep(policy.name for policy in policies)
        metrics.loaded.set(len(policies))
        metrics.epoch.set(self._state.acting_epoch)
        override = self._state.override()
        metrics.overridden.set(override is not None)
        metrics.override_ends.set(override.until.timestamp() if override and override.until else 0)
        metrics.ready.set(self._state.ready)
        first = next(iter(self._state.choices(override, self._state.acting)), None)
        metrics.acts(first.policy.name if first and first.policy else "", first.regime if first else "")
        metrics.watch_age.set(self._contact.age())
        metrics.counted.shield_errors = dict(self._state.drivers.failures())
        metrics.log_healthy.set(self._journal.healthy)
        metrics.log_storing.set(not self._journal.store_reason)
        metrics.counted.log_lost = self._journal.lost
        metrics.log_waiting.set(self._journal.waiting_bytes)
        for place, lag in zip(("disk", "store"), self._journal.lag(), strict=True):
            metrics.log_lag.labels(place).set(lag)
        return generate_latest(metrics.registry)
