"""A candidate in the shadow of stable: it decides on what stable has decided on, under the same decision id.

Nobody waits for it or sees it fail. Every decision that is offered leaves one record: what the candidate said, that it
failed, or that it was not asked, because it is behind (`understudy` has the thread and the bounds).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict

from checkrein.agent import distance
from checkrein.agent.episodes import Tokens
from checkrein.agent.execution import Execution
from checkrein.agent.journal import Journal
from checkrein.agent.metrics import Metrics
from checkrein.agent.policies import key
from checkrein.agent.scribe import action_hash, stamp
from checkrein.agent.state import State
from checkrein.agent.turn import Turn
from checkrein.agent.understudy import QUEUE, SECONDS, Offer, Opinion, Understudy
from checkrein.api.deployment import AgentDeployment
from checkrein.api.evidence import ShadowReport
from checkrein.shield.arrays import Observation
from checkrein.store.decisions.parts import Parts
from checkrein.store.decisions.records import ShadowRecord

EPISODES = 16_384
"""Episodes of which is known how far they were offered, so that a retry counts once."""
log = logging.getLogger(__name__)


class Shadow:
    """All of it belongs to the event loop. `agent_id` is namespace/name; `parts` is the ledger that gates read."""

    def __init__(
        self,
        state: State,
        tokens: Tokens,
        journal: Journal,
        parts: Parts,
        metrics: Metrics,
        agent_id: str,
        *,
        room: int = QUEUE,
        seconds: float = SECONDS,
    ) -> None:
        self._state = state
        self._tokens = tokens
        self._journal = journal
        self._parts = parts
        self._metrics = metrics
        self._agent_id = agent_id
        self._room = room
        self._seconds = seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._word: AgentDeployment | None = None
        self._rollout: tuple[str, str] = ("", "")  # its id, and the candidate's key
        self._understudy: Understudy | None = None
        self._offered: OrderedDict[bytes, int] = OrderedDict()  # by episode: the next step to offer
        self._counts: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._faulty = False

    @property
    def idle(self) -> bool:
        """Whether nothing that was offered is still being decided."""
        return self._understudy is None or not self._understudy.busy

    def offer(self, turn: Turn, execution: Execution) -> None:
        """A decision of a shadowed episode, once its record is appended. Never blocks, never raises."""
        try:
            self._offer(turn, execution)
        except Exception:
            if not self._faulty:
                log.exception("a decision could not be offered to the candidate; this is told once")
            self._faulty = True

    def report(self) -> ShadowReport | None:
        """Where candidate and stable differ, in the rollout under way; None before the first offer. Lags by 0.25 s."""
        self._settle()
        self._look()
        if not self._counts:
            return None
        told = self._understudy.report if self._understudy else {}
        counts = {name: self._counts[name] for name in ("failed", "invalid", "shielded", "dropped")}
        return ShadowReport.model_validate({**told, **counts})

    def unseen(self, observation: Observation) -> bool:
        """Whether an element lies outside all that the candidate was shown here in this rollout, where it was any."""
        seen = self._understudy.seen if self._understudy else None
        if seen is None:
            return False
        flat = distance.flat(observation)
        return bool(((flat < seen[0]) | (flat > seen[1])).any())

    def close(self) -> None:
        """No more offers are taken."""
        if self._timer is not None:
            self._timer.cancel()
        self._dismiss()

    # --- offering

    def _offer(self, turn: Turn, execution: Execution) -> None:
        self._loop = asyncio.get_running_loop()
        self._settle()
        word, episode = self._state.word, turn.episode
        pointer = word.status.candidate if word else None
        if word is None or pointer is None or execution.regime != "Policy" or execution.array is None:
            return  # by a person's word, a limit or in need: that says nothing of stable
        if episode.step < self._offered.get(episode.id, 0):
            return
        self._note(episode.id, episode.step + 1)
        offer = Offer(turn, execution.array, execution.value, pointer, word.spec, self._journal.healthy)
        understudy = self._understudy or self._engage()
        self._look()
        if understudy is None:
            self._take_down(Opinion(offer, "dropped"))
        elif understudy.hanging:
            self._take_down(_slow(offer, self._seconds))
        elif not understudy.take(offer):
            self._take_down(Opinion(offer, "dropped"))
        elif self._timer is None:
            self._timer = self._loop.call_later(self._seconds + 0.1, self._ring)

    def _note(self, episode: bytes, following: int) -> None:
        self._offered[episode] = following
        self._offered.move_to_end(episode)
        if len(self._offered) > EPISODES:
            self._offered.popitem(last=False)

    # --- who is engaged

    def _settle(self) -> None:
        """Another rollout, or another candidate, begins with nothing."""
        word = self._state.word
        if word is self._word:
            return
        self._word = word
        status = word.status if word else None
        candidate = key(status.candidate) if status and status.candidate else ""
        rollout = (status.rollout.id if status and status.rollout else "", candidate)
        if rollout != self._rollout:
            self._rollout = rollout
            self._counts.clear()
            self._dismiss()

    def _engage(self) -> Understudy | None:
        """The candidate, once it is loaded."""
        policy = self._state.loaded.get(self._rollout[1])
        if policy is None:
            return None
        understudy: Understudy

        def tell(opinion: Opinion) -> None:
            assert self._loop is not None, "it was offered something"
            try:
                self._loop.call_soon_threadsafe(self._heard, understudy, opinion)
            except RuntimeError:  # the loop is closed: nobody listens any more
                log.debug("an opinion came after the end")

        understudy = Understudy(policy, self._tokens, tell, room=self._room, seconds=self._seconds)
        self._understudy = understudy
        understudy.start()
        return understudy

    def _dismiss(self) -> None:
        if self._understudy is not None:
            self._understudy.close()
            self._understudy = None

    # --- what came of it

    def _ring(self) -> None:
        """Where nobody offers or asks any more, a candidate that hangs must be noticed, too."""
        self._timer = None
        self._look()
        if self._loop is not None and not self.idle:
            self._timer = self._loop.call_later(self._seconds, self._ring)

    def _look(self) -> None:
        """A decision that takes too long has failed, and what waits behind it is dropped."""
        understudy = self._understudy
        if understudy is None or not understudy.hanging:
            return
        late, waited = understudy.give_up()
        if late is not None:
            self._take_down(_slow(late, self._seconds))
        for offer in waited:
            self._take_down(Opinion(offer, "dropped"))

    def _heard(self, understudy: Understudy, opinion: Opinion) -> None:
        """What the thread says; too late for what was given up meanwhile."""
        if not opinion.offer.abandoned:
            self._take_down(opinion, current=understudy is self._understudy)

    def _take_down(self, opinion: Opinion, *, current: bool = True) -> None:
        """Counted where it is of the rollout under way, logged, and into the ledger."""
        record, outcome = self._record(opinion), opinion.outcome
        if current:
            self._counts[outcome] += 1
            self._counts["shielded"] += record.shield is not None
            if outcome in ("failed", "invalid") and self._counts[outcome] == 1:
                log.warning("the candidate %s in the shadow: %s: %s", record.policy, outcome, opinion.error)
        self._metrics.shadowed(("agreed" if opinion.agreed else "differed") if outcome == "decided" else outcome)
        number = self._journal.append(record)
        self._parts.shadowed(number or self._journal.position, record)

    def _record(self, opinion: Opinion) -> ShadowRecord:
        offer, execution = opinion.offer, opinion.execution
        turn, action = offer.turn, execution.action if execution else None
        return ShadowRecord(
            timestamp=stamp(turn.now),
            agent_id=self._agent_id,
            decision=turn.decision,
            episode=turn.episode.id.hex(),
            step=turn.episode.step,
            unit=turn.episode.unit or None,
            policy=offer.candidate.name,
            policy_digest=offer.candidate.artifact.digest,
            observation_digest=turn.digest,
            outcome=opinion.outcome,
            action=action,
            action_hash="" if action is None else action_hash(action),
            q_value=execution.value if execution else None,
            probability=opinion.probability,
            shield=execution.rule if execution else None,
            agreed=opinion.agreed,
            distance=opinion.distance,
            latency_us=round(opinion.latency_us),
            error=opinion.error,
        )


def _slow(offer: Offer, seconds: float) -> Opinion:
    return Opinion(offer, "failed", latency_us=seconds * 1e6, error=f"no answer within {seconds:g} s")
