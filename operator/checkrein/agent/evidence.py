"""What a replica tells the operator of the episodes that it had a part in (api.evidence), and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import parse_qs

import msgspec

from checkrein.agent.asgi import Scope, header
from checkrein.agent.assignment import Assigner
from checkrein.agent.clock import Clock
from checkrein.agent.issuer import Gatekeeper
from checkrein.agent.journal import Journal
from checkrein.agent.problems import invalid, not_ready
from checkrein.agent.shadow import Shadow
from checkrein.agent.state import State
from checkrein.api.evidence import PARTS_LIMIT, Evidence
from checkrein.store.decisions.parts import Parts

AT_ONCE = 256  # parts that are encoded before decisions have their turn
DURABLE_SECONDS = 1.0
POSITION_DIGITS = 16


class EvidenceDesk:
    """Answers `GET /evidence?after=N`. `operator` is the account that may ask; empty: nobody may."""

    def __init__(
        self,
        state: State,
        parts: Parts,
        journal: Journal,
        assigner: Assigner,
        shadow: Shadow,
        gatekeeper: Gatekeeper,
        operator: str,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._state = state
        self._parts = parts
        self._journal = journal
        self._assigner = assigner
        self._shadow = shadow
        self._gatekeeper = gatekeeper
        self._operator = operator
        self._clock = clock or Clock()

    async def answer(self, scope: Scope) -> bytes:
        """The evidence as JSON. Raises Problem."""
        await self._gatekeeper.admit_operator(header(scope, b"authorization").decode("latin-1"), self._operator)
        after = _position(scope.get("query_string", b""))
        if not self._journal.stream:
            raise not_ready("the decision log is not open yet, so there is nothing to number evidence by", "no-log")
        # What is told stands in the log, even if this replica is killed in the next moment; unless its disk is full or
        # slow, which must not keep a candidate's faults from the gates: condition Logging says so then.
        upto = self._journal.position
        await self._journal.durable(upto, DURABLE_SECONDS)
        content = await self._encoded(after, upto)
        self._forget(after)
        return content

    async def _encoded(self, after: int, upto: int) -> bytes:
        """Piece by piece: decisions go on meanwhile."""
        tallies = self._parts.tallies(after)[:PARTS_LIMIT]
        pieces: list[bytes] = []
        for start in range(0, len(tallies), AT_ONCE):
            pieces += [msgspec.json.encode(tally) for tally in tallies[start : start + AT_ONCE]]
            await asyncio.sleep(0)
        head = Evidence(
            stream=self._journal.stream,
            upto=upto,
            lost_before=self._parts.lost_before,
            now=self._clock(),
            rollout=self._assigner.plan.rollout,
            shadow=self._shadow.report(),
        )
        known = head.model_dump_json(by_alias=True, exclude={"parts"}).encode()
        return b"".join((known[:-1], b',"parts":[', b",".join(pieces), b"]}"))

    def _forget(self, after: int) -> None:
        word = self._state.word
        if word is None:
            return
        deadline = word.spec.episode_deadline.total_seconds()
        if word.spec.strategy is not None:
            deadline += word.spec.strategy.outcome_deadline.total_seconds()
        self._parts.forget(after, self._clock() - deadline)


def _position(query: bytes) -> int:
    """`after` in a query. Raises Problem."""
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    values = given.get("after", ["0"])
    if given.keys() - {"after"} or len(values) != 1:
        raise invalid("wrong-query", "ask with one after, the number of the last record that you know", "after")
    text = values[0]
    if not (text.isascii() and text.isdigit() and len(text) <= POSITION_DIGITS):
        raise invalid("wrong-query", "after is the number of a record: a whole number of at least 0", "after")
    return int(text)
