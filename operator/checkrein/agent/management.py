"""The management port: `/livez`, `/readyz`, `/metrics`, `/status`. For the kubelet, Prometheus and the operator."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from checkrein.agent.asgi import Receive, Scope, Send, refuse, reply
from checkrein.agent.metrics import Contact, Metrics
from checkrein.agent.problems import Problem, not_found, not_ready, wrong_method
from checkrein.agent.state import State

TEXT = b"text/plain; charset=utf-8"
PATHS = "/livez, /readyz, /metrics, /status"


class Management:
    """The ASGI application of the management port."""

    def __init__(self, state: State, metrics: Metrics, contact: Contact) -> None:
        self._state = state
        self._metrics = metrics
        self._contact = contact

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
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
                return b"application/json", self._state.report().model_dump_json(by_alias=True).encode()
        raise not_found(path, PATHS)

    def _ready(self) -> bytes:
        if self._state.draining:
            raise not_ready("this replica is stopping")
        if not self._state.ready:
            raise not_ready("no stable policy has been loaded, verified and warmed up yet")
        return b"ok"

    def _exposition(self) -> bytes:
        policies = self._state.loaded.values()
        self._metrics.keep(policy.name for policy in policies)
        self._metrics.loaded.set(len(policies))
        self._metrics.epoch.set(self._state.acting_epoch)
        self._metrics.watch_age.set(self._contact.age())
        return generate_latest(self._metrics.registry)
