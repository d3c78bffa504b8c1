"""The public port: `POST /v1/act`. Checks who asks, reads what is asked, and leaves the decision to the decider."""

from __future__ import annotations

import logging

from checkrein.agent.asgi import DisconnectedError, Header, Receive, Scope, Send, body, header, refuse, reply
from checkrein.agent.decisions import Decider
from checkrein.agent.issuer import Gatekeeper
from checkrein.agent.metrics import Metrics
from checkrein.agent.problems import Problem, internal, not_found, not_ready, wrong_method
from checkrein.agent.state import State

ACT = "/v1/act"
CLOSE: tuple[Header, ...] = ((b"connection", b"close"),)
log = logging.getLogger(__name__)


class App:
    """The ASGI application of the public port."""

    def __init__(self, state: State, decider: Decider, gatekeeper: Gatekeeper, metrics: Metrics) -> None:
        self._state = state
        self._decider = decider
        self._gatekeeper = gatekeeper
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every refusal is a problem document."""
        try:
            answer = await self._answer(scope, receive)
        except Problem as problem:
            self._metrics.refused(problem.slug)
            await refuse(send, problem, () if "connection" in problem.headers else self._closing())
        except DisconnectedError:
            return
        except Exception:
            log.exception("a request failed")
            self._metrics.refused("internal")
            await refuse(send, internal(), self._closing())
        else:
            await reply(send, answer, headers=self._closing())

    def _closing(self) -> tuple[Header, ...]:
        """While stopping, callers that keep their connection open must move on."""
        return CLOSE if self._state.draining else ()

    async def _answer(self, scope: Scope, receive: Receive) -> bytes:
        if scope["path"] != ACT:
            raise not_found(scope["path"], ACT)
        if scope["method"] != "POST":
            raise wrong_method(scope["method"], "POST")
        await self._admit(scope)
        content = await body(scope, receive, self._decider.reader().limit)
        return self._decider.act(content)

    async def _admit(self, scope: Scope) -> None:
        if self._state.word is None:
            raise not_ready("the AgentDeployment has not been read yet; try again")
        auth = self._state.word.spec.auth
        authorization = header(scope, b"authorization").decode("latin-1")
        if not self._gatekeeper.known(authorization, auth):
            await self._gatekeeper.admit(authorization, auth)
