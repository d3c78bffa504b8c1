"""Kinds of faults. Each strikes on some of the requests that it is about, told by their number: seeded, repeatable."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from multidict import CIMultiDict
from tests.faults.proxy import Answer, Call, Cut, Fault, Lines, Way

VERBS: dict[str, Callable[[Call], bool]] = {
    "any": lambda call: True,
    "read": lambda call: not call.writes,
    "write": lambda call: call.writes,
    "watch": lambda call: call.watches,
}
S3_CODES = {409: "ConditionalRequestConflict", 429: "SlowDown", 500: "InternalError", 503: "ServiceUnavailable"}


@dataclass
class Occasions(Fault):
    """Strikes `times` times, from the `first` (0: the very first) of the requests that it is about."""

    side: str
    verb: str = "any"
    about: str = ""  # a part of the path
    first: int = 0
    times: int = 1
    _seen: int = field(default=0, init=False, repr=False)

    def concerns(self, call: Call) -> bool:
        """Whether it is about this request."""
        return call.side == self.side and VERBS[self.verb](call) and self.about in call.path

    def strikes(self, call: Call) -> bool:
        """Whether to strike now. Counts."""
        return self.concerns(call) and self.counted()

    def counted(self) -> bool:
        """Whether the next occasion is one to strike on."""
        self._seen += 1
        return self.first < self._seen <= self.first + self.times


@dataclass
class Refused(Occasions):
    """The request never arrives; the answer is an error of the server, as one of its kind words it."""

    status: int = 500

    async def answer(self, call: Call, way: Way) -> Answer:
        return refusal(call, self.status) if self.strikes(call) else await way.forward(call)

    def opening(self, call: Call) -> Answer | None:
        return refusal(call, self.status) if self.strikes(call) else None


def refusal(call: Call, status: int) -> Answer:
    """An error in the words of the API server, or of S3."""
    headers: CIMultiDict[str] = CIMultiDict({"Content-Type": "application/json"})
    if call.side == "store":
        headers["Content-Type"] = "application/xml"
        code = S3_CODES[status]
        text = f"<Error><Code>{code}</Code><Message>a fault of the tests</Message><Resource>/</Resource></Error>"
        return Answer(status, headers, b"" if call.method == "HEAD" else text.encode())
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        headers["Retry-After"] = "1"
    return Answer(status, headers, json.dumps(_status(status)).encode())


def _status(code: int) -> dict[str, object]:
    reasons = {409: "Conflict", 410: "Expired", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}
    body = {"code": code, "reason": reasons[code], "message": "a fault of the tests", "status": "Failure"}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, **body}


@dataclass
class Unsent(Occasions):
    """The connection ends before the request arrives."""

    async def answer(self, call: Call, way: Way) -> Answer:
        if self.strikes(call):
            raise Cut
        return await way.forward(call)


@dataclass
class Unanswered(Occasions):
    """The request is served, and the connection ends before the answer."""

    async def answer(self, call: Call, way: Way) -> Answer:
        struck = self.strikes(call)
        answer = await way.forward(call)
        if struck:
            raise Cut
        return answer


@dataclass
class Late(Occasions):
    """The request arrives after `seconds`; what was sent after it may come before it."""

    seconds: float = 1.0

    async def answer(self, call: Call, way: Way) -> Answer:
        if self.strikes(call):
            await asyncio.sleep(self.seconds)
        return await way.forward(call)


@dataclass
class Signalled(Occasions):
    """At a request of the operator's own: pods use the store, too."""

    def concerns(self, call: Call) -> bool:
        return super().concerns(call) and call.by_operator


@dataclass
class Paused(Signalled):
    """The operator stands still for `seconds`, as in a machine that swaps; the world goes on."""

    seconds: float = 1.0

    async def answer(self, call: Call, way: Way) -> Answer:
        if self.strikes(call):
            way.signal(signal.SIGSTOP)
            await asyncio.sleep(self.seconds)
            way.signal(signal.SIGCONT)
        return await way.forward(call)


@dataclass
class Stopped(Signalled):
    """The operator is asked to end (SIGTERM), its request having been served."""

    async def answer(self, call: Call, way: Way) -> Answer:
        if self.strikes(call):
            way.signal(signal.SIGTERM)
        return await way.forward(call)


@dataclass
class Killed(Signalled):
    """The operator is killed (SIGKILL) `when` the request has not arrived yet (before), or was served (after)."""

    when: str = "before"

    async def answer(self, call: Call, way: Way) -> Answer:
        if not self.strikes(call):
            return await way.forward(call)
        if self.when == "after":
            await way.forward(call)
        way.signal(signal.SIGKILL)
        raise Cut


@dataclass
class Stale(Occasions):
    """A list as it was: one of an API server that lags, or that was asked before. `age`: how many answers ago."""

    age: int = 1
    _told: dict[tuple[str, str], list[Answer]] = field(default_factory=dict, init=False, repr=False)

    def concerns(self, call: Call) -> bool:
        return super().concerns(call) and call.method == "GET" and not call.watches and is_list(call)

    async def answer(self, call: Call, way: Way) -> Answer:
        if not self.concerns(call):
            return await way.forward(call)
        told = self._told.setdefault((call.target, call.headers.get("Accept", "")), [])
        if self.counted() and told:
            return told[-min(self.age, len(told))]
        answer = await way.forward(call)
        if answer.status == HTTPStatus.OK:
            told.append(answer)
        return answer


def is_list(call: Call) -> bool:
    """Whether the path names a resource type, in a namespace or not, and no object."""
    parts = call.path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    return len(parts) == 1 or (len(parts) == 3 and parts[0] == "namespaces")


# Of watches. An occasion is an event.


@dataclass
class Dropped(Occasions):
    """Events are never told."""

    async def _some(self, lines: Lines) -> Lines:
        async for line in lines:
            if not self.counted():
                yield line

    def lines(self, call: Call, lines: Lines) -> Lines:
        return self._some(lines) if self.concerns(call) else lines


@dataclass
class Repeated(Dropped):
    """Events are told twice."""

    async def _some(self, lines: Lines) -> Lines:
        async for line in lines:
            yield line
            if self.counted():
                yield line


@dataclass
class Delayed(Dropped):
    """Events, and what follows them, are told later."""

    seconds: float = 1.0

    async def _some(self, lines: Lines) -> Lines:
        async for line in lines:
            if self.counted():
                await asyncio.sleep(self.seconds)
            yield line


@dataclass
class Swapped(Dropped):
    """Events are told after the next one."""

    async def _some(self, lines: Lines) -> Lines:
        held: list[bytes] = []
        async for line in lines:
            if self.counted():
                held.append(line)
                continue
            yield line
            for late in held:
                yield late
            held.clear()


@dataclass
class Ended(Dropped):
    """The watch ends; `gone`: with the word that its version is too old (410)."""

    gone: bool = False

    async def _some(self, lines: Lines) -> Lines:
        async for line in lines:
            if self.counted():
                if self.gone:
                    yield json.dumps({"type": "ERROR", "object": _status(410)}).encode() + b"\n"
                return
            yield line
