"""The public port: routes, checks who asks, and leaves decisions to the decider."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

from checkrein.agent import asgi, oip, openapi
from checkrein.agent.asgi import (
    Application,
    DisconnectedError,
    Header,
    Memory,
    Receive,
    Scope,
    Send,
    body,
    header,
    refuse,
    reply,
)
from checkrein.agent.auth import Caller
from checkrein.agent.decisions import Decider
from checkrein.agent.issuer import Gatekeeper
from checkrein.agent.lane import Lane
from checkrein.agent.messages import OUTCOME_LIMIT
from checkrein.agent.metrics import Metrics
from checkrein.agent.problems import (
    Problem,
    internal,
    not_found,
    not_ready,
    overloaded,
    upgrade_required,
    wrong_method,
)
from checkrein.agent.state import State
from checkrein.agent.stream import STREAM, Stream
from checkrein.api.deployment import AgentDeployment

ACT = "/v1/act"
OUTCOMES = "/v1/outcomes"
OPENAPI = "/openapi.json"
SERVED = f"{ACT}, {OUTCOMES}, {STREAM}, {OPENAPI}, {oip.ROOT}"
MOST_IN_FLIGHT = 512
"""Requests whose answer is worked on. Decisions take microseconds: so many wait only when something else is slow."""
BODY_MEMORY = 64 * 1024 * 1024
CLOSE: tuple[Header, ...] = ((b"connection", b"close"),)
T = TypeVar("T")
log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What a request gets."""

    content: bytes
    headers: tuple[Header, ...] = ()
    media_type: bytes = asgi.JSON


Handler = Callable[[Scope, Receive], Awaitable[Answer]]


class App:
    """The ASGI application of the public port."""

    def __init__(self, state: State, decider: Decider, gatekeeper: Gatekeeper, metrics: Metrics) -> None:
        self._state = state
        self._decider = decider
        self._gatekeeper = gatekeeper
        self._metrics = metrics
        self._memory = Memory(BODY_MEMORY)
        self._in_flight = 0
        self._stream = Stream(state, self, metrics)
        self._models = oip.Models(state, decider)
        self._document = openapi.Document()
        self._posts: dict[str, Handler] = {ACT: self._act, OUTCOMES: self._outcome}
        self._gets: dict[str, Handler] = {OPENAPI: self._describe, STREAM: self._stream_only}

    # --- for the connections

    def message_limit(self) -> int:
        """Bytes of the largest message of a stream. Raises Problem."""
        return self._decider.limit()

    def draining(self) -> bool:
        """Whether callers must move on."""
        return self._state.draining

    def refused(self, slug: str) -> None:
        """A connection was refused before it came here."""
        self._metrics.refused(slug)

    def lane(self, peer: str) -> Lane:
        """The short way to decisions, for a connection from this address."""
        return Lane(self._state, self._gatekeeper, self, peer)

    def act_now(self, content: bytes, caller: str) -> bytes | Awaitable[bytes]:
        """The answer to a message of `/v1/act` or `/v1/stream`, or who will have it. Raises Problem."""
        if self._in_flight >= MOST_IN_FLIGHT:
            raise overloaded()
        answer = self._decider.try_act(content, caller)
        return answer if isinstance(answer, bytes) else self._counted(answer)

    def later(self, answer: Awaitable[bytes]) -> Application:
        """An ASGI application that gives this answer."""

        async def told() -> Answer:
            return Answer(await answer)

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await self._reply(scope, send, told())

        return application

    # --- ASGI

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hold one conversation; every refusal is a problem document."""
        if scope["type"] == "websocket":
            await self._stream(scope, receive, send)
            return
        await self._reply(scope, send, self._answer(scope, receive))

    async def _reply(self, scope: Scope, send: Send, answering: Awaitable[Answer]) -> None:
        try:
            answer = await answering
        except Problem as problem:
            await self._refuse(scope, send, problem)
        except DisconnectedError:
            return
        except Exception:
            log.exception("a request failed")
            await self._refuse(scope, send, internal())
        else:
            await reply(send, answer.content, media_type=answer.media_type, headers=answer.headers + self._closing())

    async def _refuse(self, scope: Scope, send: Send, problem: Problem) -> None:
        self._metrics.refused(problem.slug)
        closing = () if "connection" in problem.headers else self._closing()
        await refuse(send, problem, closing, open_inference=scope["path"].startswith(oip.ROOT))

    def _closing(self) -> tuple[Header, ...]:
        """While stopping, callers that keep their connection open must move on."""
        return CLOSE if self._state.draining else ()

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        path, method = scope["path"], scope["method"]
        if method == "POST" and (handler := self._posts.get(path)):
            return await handler(scope, receive)
        return await self._seldom(path, method, scope, receive)

    async def _seldom(self, path: str, method: str, scope: Scope, receive: Receive) -> Answer:
        """Whatever is not a decision."""
        if path in self._posts:
            raise wrong_method(method, "POST")
        if path in self._gets:
            if method not in ("GET", "HEAD"):
                raise wrong_method(method, "GET, HEAD")
            return await self._gets[path](scope, receive)
        if path == oip.ROOT or path.startswith(oip.ROOT + "/"):
            return await self._open_inference(path, method, scope, receive)
        raise not_found(path, SERVED)

    # --- who asks

    async def admit(self, scope: Scope) -> Caller:
        """Who asks for decisions. Raises Problem."""
        authorization, auth, peer = (
            header(scope, b"authorization").decode("latin-1"),
            self._word().spec.auth,
            _peer(scope),
        )
        return self._gatekeeper.known(authorization, auth, peer) or await self._gatekeeper.admit(
            authorization, auth, peer
        )

    def _word(self) -> AgentDeployment:
        if self._state.word is None:
            raise not_ready("the AgentDeployment has not been read yet; try again")
        return self._state.word

    # --- handlers

    async def act(self, content: bytes, caller: Caller) -> bytes:
        """The answer to a message of `/v1/act` or `/v1/stream`. Raises Problem."""
        answer = self.act_now(content, caller.subject)
        return answer if isinstance(answer, bytes) else await answer

    async def _work(self, answer: Coroutine[Any, Any, T]) -> T:
        """Bounded in number; requests that have not arrived do not count, else slow callers would stop the others."""
        if self._in_flight >= MOST_IN_FLIGHT:
            answer.close()
            raise overloaded()
        return await self._counted(answer)

    async def _counted(self, answer: Awaitable[T]) -> T:
        self._in_flight += 1
        try:
            return await answer
        finally:
            self._in_flight -= 1

    async def _act(self, scope: Scope, receive: Receive) -> Answer:
        caller = await self.admit(scope)
        content = await body(scope, receive, self._decider.limit(), self._memory)
        return Answer(await self.act(content, caller))

    async def _outcome(self, scope: Scope, receive: Receive) -> Answer:
        authorization = header(scope, b"authorization").decode("latin-1")
        caller = await self._gatekeeper.admit_reporter(authorization, self._word().spec.auth)
        content = await body(scope, receive, OUTCOME_LIMIT, self._memory)
        return Answer(await self._work(self._decider.outcome(content, caller.subject)))

    async def _describe(self, scope: Scope, receive: Receive) -> Answer:
        await self.admit(scope)
        return Answer(self._document.of(self._word(), self._decider.interface, self._models.acting()))

    async def _stream_only(self, scope: Scope, receive: Receive) -> Answer:
        raise upgrade_required("websocket")

    async def _open_inference(self, path: str, method: str, scope: Scope, receive: Receive) -> Answer:
        request = oip.route(path)
        if method not in request.methods:
            raise wrong_method(method, ", ".join(request.methods))
        if request.public:
            return Answer(self._models.about_server(request))
        caller = await self.admit(scope)
        if request.verb != "infer":
            return Answer(self._models.about_model(request))
        self._models.require(request)
        content = await body(scope, receive, self._models.limit(), self._memory)
        result = await self._work(self._models.infer(content, header(scope, oip.JSON_LENGTH), caller.subject))
        return Answer(result.content, result.headers, result.media_type)


def _peer(scope: Scope) -> str:
    """The address at the other end, without its port: a client opens many connections."""
    client = scope.get("client")
    return str(client[0]) if client else ""
