"""From a request to its answer: who decides, by which rules, and what the log keeps of it."""

from __future__ import annotations

import time
from collections.abc import Awaitable

from checkrein.agent import problems, scribe
from checkrein.agent.assignment import Assigner
from checkrein.agent.book import Book, Entry
from checkrein.agent.clock import Clock
from checkrein.agent.episodes import Episode, TokenError, Tokens
from checkrein.agent.execution import Execution
from checkrein.agent.journal import Journal
from checkrein.agent.limits import Limiter
from checkrein.agent.memory import Memory
from checkrein.agent.messages import Act, Decision, Ended, Ending, Reader, Recorded, encode, outcome
from checkrein.agent.metrics import Metrics
from checkrein.agent.outcomes import Told
from checkrein.agent.pilot import DURABLE_SECONDS, Pilot
from checkrein.agent.policies import Policy
from checkrein.agent.regime import Choice
from checkrein.agent.scribe import Scribe
from checkrein.agent.shadow import Shadow
from checkrein.agent.state import State
from checkrein.agent.turn import Turn
from checkrein.api.deployment import AgentDeployment, Override
from checkrein.api.spaces import Interface
from checkrein.store.decisions.parts import Parts, latencies, slow_names


class Decider:
    """Answers callers. `replica` is the pod's name; `parts` hears of the episodes that are assigned."""

    def __init__(
        self,
        state: State,
        tokens: Tokens,
        limiter: Limiter,
        journal: Journal,
        metrics: Metrics,
        clock: Clock,
        parts: Parts,
        agent_id: str,
        replica: str,
    ) -> None:
        self._state = state
        self._tokens = tokens
        self._limiter = limiter
        self._journal = journal
        self._metrics = metrics
        self._clock = clock
        self._parts = parts
        self.scribe = Scribe(journal, agent_id, parts)
        self.assigner = Assigner(state, lambda: journal.stream, lambda: tokens.assignment_key)
        self.shadow = Shadow(state, tokens, journal, parts, metrics, agent_id)
        self._told = Told()
        self._memory = Memory(tokens, replica)
        self._pilot = Pilot(state, tokens, self._memory, journal, metrics, self.scribe)
        self._book = Book()
        self._reader: tuple[Interface, Reader] | None = None

    @property
    def interface(self) -> Interface | None:
        """What callers send and get; None before anything is known of it."""
        return self._state.interface

    def limit(self) -> int:
        """Bytes of the largest valid request. Raises Problem before the interface is known."""
        return self._read().limit

    def request(self, body: bytes) -> Act:
        """A request's message. Raises Problem."""
        return self._read().request(body)

    def try_act(self, body: bytes, caller: str) -> bytes | Awaitable[bytes]:
        """The encoded answer, at once where nothing has to be waited for. Raises Problem."""
        begun = self._begin(self.request(body), caller)
        if isinstance(begun, Ended):
            return encode(begun)
        execution = self._pilot.quick(begun)
        if execution is None or execution.explored:
            return self._later(begun, execution)
        return encode(self._conclude(begun, execution))

    async def act(self, body: bytes, caller: str) -> bytes:
        """The encoded answer. Raises Problem."""
        return encode(await self.answer(self.request(body), caller))

    async def answer(self, request: Act, caller: str) -> Decision | Ended:
        """The answer. Raises Problem."""
        begun = self._begin(request, caller)
        if isinstance(begun, Ended):
            return begun
        execution = self._pilot.quick(begun)
        if execution is None or execution.explored:
            execution = await self._execute(begun, execution)
        return self._conclude(begun, execution)

    async def _later(self, turn: Turn, explored: Execution | None) -> bytes:
        return encode(self._conclude(turn, await self._execute(turn, explored)))

    async def _execute(self, turn: Turn, explored: Execution | None) -> Execution:
        try:
            return await self._pilot.execute(turn, explored)
        except BaseException:
            # The start was counted; without a word of what became of it, it would be waited for.
            if turn.episode.step == 0 and turn.episode.unit:
                self._over(turn.episode)
                self.scribe.end(turn.now, turn.episode, None, "aborted", "", turn.caller)
            raise

    async def outcome(self, body: bytes, caller: str) -> bytes:
        """Takes what became known later; answered once it is durable. Raises Problem."""
        told = outcome(body)
        episode = self._open(told.episode) if told.episode else None
        number = self._told.number(told, episode)
        if number is None:
            number = self.scribe.outcome(self._clock(), told, episode, caller)
            self._told.put(told, episode, number)
        if not await self._journal.durable(number, DURABLE_SECONDS):
            raise problems.not_ready("the log cannot keep the outcome now; tell it again", "log-unavailable")
        return encode(Recorded())

    def sweep(self) -> None:
        """Ends the episodes whose deadline has passed. To be called every few seconds."""
        if (word := self._state.word) is None:
            return
        now = self._clock()
        self.heard(word)
        for entry in self._book.overdue(now - word.spec.episode_deadline.total_seconds()):
            self._over(entry.episode)
            self._metrics.ended("deadline", None, entry.episode.step + 1)
            self.scribe.end(now, entry.episode, None, "deadline", entry.episode.policy.partition("@")[0], "")

    def heard(self, word: AgentDeployment) -> None:
        """A word has been accepted: the ledger counts what its gates ask for, and drops what nobody asks for."""
        self._parts.slow = latencies(slow_names(word.spec.strategy))
        self._parts.keep({self.assigner.plan.rollout, word.status.rollout.id if word.status.rollout else ""})

    def overridden(self, override: Override | None) -> None:
        """The hand on the reins has changed: into the log with it."""
        word = self._state.word
        assert word is not None, "overrides come with the word"
        named = [c.policy.name if c.policy else c.regime for c in self._state.choices(override, self._state.acting)]
        self.scribe.override(self._clock(), word.metadata.generation, override, named[0] if named else "nobody")

    def close(self) -> None:
        """No more decisions."""
        self.shadow.close()
        self._pilot.close()

    # --- before the decision

    def _begin(self, request: Act, caller: str) -> Turn | Ended:
        """All that comes before anybody decides. Raises Problem."""
        began, now, state = time.perf_counter(), self._clock(), self._state
        episode = None if request.episode is None else self._running(request.episode, now)
        if episode is not None and (ending := request.ending):
            return self._end(episode, request, ending, caller, now)
        override = state.override()
        if override and override.mode == "Stop":
            raise problems.stopped(override.by, override.reason)
        limited = self._within_limits(caller)
        observation = self._read().observation(request)
        groups: tuple[str, ...] = ()
        if episode is None:
            episode = self._start(now, caller, assigned=override is None and not limited)
            groups = state.subgroups.of(observation) if episode.unit else ()
        behind: Policy | None = None
        if episode.arm == "candidate":
            self.assigner.acted(episode, now)
            standing, stands, behind = state.of_candidate(episode)
        else:
            standing = state.standing(episode.policy)
            stands = standing.key if standing else ""
        choices = limited or state.choices(override, standing, behind)
        decision, digest = self._tokens.decision(episode), scribe.digest(observation)
        assert state.word is not None, "there is a reader, so there is a word"
        full, entry = state.word.spec.decision_log.observations == "Full", self._book.find(episode)
        return Turn(
            *(request, episode, decision, observation, digest, full, caller, now, began, entry, standing, choices),
            *(stands, override is not None, groups),
        )

    def _read(self) -> Reader:
        interface = self._state.interface
        if interface is None:
            raise problems.not_ready("no policy has been loaded and verified yet; try again")
        if self._reader is None or self._reader[0] is not interface:
            self._reader = (interface, Reader(interface.observation))
        return self._reader[1]

    def _start(self, now: float, caller: str, *, assigned: bool) -> Episode:
        if not assigned:
            return self._tokens.start(now)
        arm, unit, policy = self.assigner.start(now, caller)
        return self._tokens.start(now, arm, unit, policy)

    def _running(self, token: str, now: float) -> Episode:
        episode = self._open(token)
        assert self._state.word is not None, "there is a reader, so there is a word"
        if now - episode.started > self._state.word.spec.episode_deadline.total_seconds():
            raise problems.invalid(
                "episode-expired",
                "episode: it passed spec.episodeDeadline; start another one without a token",
                "episode",
            )
        return episode

    def _open(self, token: str) -> Episode:
        try:
            return self._tokens.open(token, self._state.uid)
        except TokenError as error:
            detail = "episode: not a token of this deployment; send the one from the last answer, or none to start anew"
            raise problems.invalid("unknown-episode", detail, "episode") from error

    def _within_limits(self, caller: str) -> tuple[Choice, ...]:
        """Who decides instead for a caller who asks for too much; nobody for one who does not. Raises Problem."""
        wait = self._limiter.admit(caller)
        if wait is None:
            return ()
        self._metrics.limited.inc()
        if instead := self._state.limited():
            return instead
        raise problems.too_many(wait)

    # --- after the decision

    def _conclude(self, turn: Turn, execution: Execution) -> Decision | Ended:
        policy = execution.policy
        name = policy.name if policy else ""
        if execution.rule:
            self._metrics.shielded(execution.rule)
        if execution.action is None:
            return self._cut(turn, execution, name)
        entry = self._book.decided(turn.episode, turn.digest, turn.request.reward)
        if not execution.explored:  # an explored one is there already
            self.scribe.decision(turn, execution, forked=entry.forked)
        if turn.episode.unit:
            self._beside(turn, execution)
        token = self._tokens.seal(self._following(turn, execution, entry), self._state.uid)
        self._metrics.policy(name, turn.episode.arm).count(execution, time.perf_counter() - turn.began)
        return Decision(
            execution.action,
            token,
            turn.decision,
            name,
            execution.regime,
            execution.explored,
            execution.rule is not None,
        )

    def _beside(self, turn: Turn, execution: Execution) -> None:
        """What else is done in an episode that was assigned."""
        episode = turn.episode
        if episode.arm == "candidate":
            if self.shadow.unseen(turn.observation):
                self._parts.found(episode.id.hex(), "unseen")
        elif self.assigner.shadowed(episode.unit):
            self.shadow.offer(turn, execution)

    def _following(self, turn: Turn, execution: Execution, entry: Entry) -> Episode:
        """Where the episode stands now. It stays with whom the rollout put in charge, whoever acted meanwhile."""
        episode, array = turn.episode, execution.array
        looks_back = array is not None and self._state.looks_back(turn.standing)
        following = Episode(
            episode.id,
            episode.step + 1,
            turn.stands,
            episode.started,
            episode.key,
            episode.arm,
            [float(x) for x in array.ravel()] if looks_back and array is not None else None,
            unit=episode.unit,
        )
        return self._memory.keep(following, execution.policy, execution.state, entry)

    def _end(self, episode: Episode, request: Act, ending: Ending, caller: str, now: float) -> Ended:
        entry = self._book.ended(episode, request.reward)
        self._over(episode)
        self._metrics.ended(ending, entry.returned if entry else None, episode.step)
        standing = self._in_charge(episode)
        name = standing.name if standing else ""
        self.scribe.end(now, episode, request, ending, name, caller)
        return Ended(ending, episode.step, name)

    def _cut(self, turn: Turn, execution: Execution, name: str) -> Ended:
        """A rule of the shield ends the episode."""
        entry = self._book.ended(turn.episode, turn.request.reward)
        self._over(turn.episode)
        self._metrics.ended("shield", entry.returned if entry else None, turn.episode.step)
        self.scribe.end(turn.now, turn.episode, turn.request, "shield", name, turn.caller, execution)
        return Ended("shield", turn.episode.step, name)

    def _in_charge(self, episode: Episode) -> Policy | None:
        if episode.arm == "candidate":
            return self._state.of_candidate(episode)[0]
        return self._state.standing(episode.policy)

    def _over(self, episode: Episode) -> None:
        if episode.arm == "candidate":
            self.assigner.running.ended(episode.id)
