"""One decision: request bytes in, answer bytes out. No network, no waiting."""

from __future__ import annotations

import logging
import time

from checkrein.agent import episodes
from checkrein.agent.episodes import Episode, TokenError, Tokens
from checkrein.agent.messages import Act, Decision, Ended, Ending, Reader, encode
from checkrein.agent.metrics import Metrics
from checkrein.agent.policies import Policy
from checkrein.agent.problems import invalid, not_ready, policy_failed
from checkrein.agent.state import State

log = logging.getLogger(__name__)


class Decider:
    """Answers `/v1/act`."""

    def __init__(self, state: State, tokens: Tokens, metrics: Metrics) -> None:
        self._state = state
        self._tokens = tokens
        self._metrics = metrics
        self._reader: tuple[Policy, Reader] | None = None

    def reader(self) -> Reader:
        """For the interface of the policy that acts. Raises Problem before there is one."""
        acting = self._state.acting
        if acting is None:
            raise not_ready("no policy has been loaded and verified yet; try again")
        if self._reader is None or self._reader[0] is not acting:
            self._reader = (acting, Reader(acting.interface.observation))
        return self._reader[1]

    def act(self, body: bytes) -> bytes:
        """The encoded answer. Raises Problem."""
        began = time.perf_counter()
        reader = self.reader()
        request = reader.request(body)
        episode = self._episode(request)
        policy = self._state.policy_for(episode.policy)
        assert policy is not None, "the reader exists only while a policy acts"
        if ending := request.ending:
            return self._end(episode, ending, policy)
        return self._decide(reader, request, episode, policy, began)

    def _episode(self, request: Act) -> Episode:
        if request.episode is None:
            return episodes.start()
        try:
            return self._tokens.open(request.episode, self._state.uid)
        except TokenError as error:
            detail = "episode: not a token of this deployment; send the one from the last answer, or none to start anew"
            raise invalid("unknown-episode", detail, "episode") from error

    def _decide(self, reader: Reader, request: Act, episode: Episode, policy: Policy, began: float) -> bytes:
        observation = reader.observation(request)
        meters = self._metrics.policy(policy.name)
        try:
            action = policy.act(observation)
        except Exception as error:  # the graph may fail in any way; its answer may be any number
            meters.failed.inc()
            log.warning("policy %s failed to decide: %.200s", policy.name, error)
            raise policy_failed(f"policy {policy.name} gave no action that may be executed") from error
        token = self._tokens.seal(episode.next(policy.key), self._state.uid)
        answer = encode(Decision(action, token, self._tokens.decision(episode), policy.name))
        meters.decided.inc()
        meters.latency.observe(time.perf_counter() - began)
        return answer

    def _end(self, episode: Episode, ending: Ending, policy: Policy) -> bytes:
        self._metrics.ended(ending)
        return encode(Ended(ending, episode.step, policy.name))
