"""From an observation, already prepared, to scores, action and value: what is exported of each family of policies.

`forward` takes a batch as the library's policy gets it and gives a dict of tensors, batch first:
`action` (as the library's deterministic `predict` before it clips or unscales), `value` [batch] where the algorithm
learns what the environment pays, and what the action was chosen by (`logits`, `q_values`, or `mean` and `log_std`).
"""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor, nn

from checkrein.api.spaces import ACTION_MASK

Outputs = dict[str, Tensor]


class ActorCritic(nn.Module):
    """An actor-critic policy with its own value function (PPO, A2C)."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, observation: Tensor) -> Outputs:
        """Both heads on their own features."""
        scores, value = self._heads(observation)
        return {**self._act(scores), "value": value}

    def _heads(self, observation: Any) -> tuple[Tensor, Tensor]:
        policy = self.policy
        seen = policy.extract_features(observation, policy.pi_features_extractor)
        valued = policy.extract_features(observation, policy.vf_features_extractor)
        scores = policy.action_net(policy.mlp_extractor.forward_actor(seen))
        return scores, policy.value_net(policy.mlp_extractor.forward_critic(valued)).flatten()

    def _act(self, scores: Tensor) -> Outputs:
        match self.policy.action_space:
            case spaces.Discrete():
                return {"action": scores.argmax(dim=1), "logits": scores}
            case spaces.MultiDiscrete(nvec=nvec):
                parts = torch.split(scores, nvec.tolist(), dim=1)
                return {"action": torch.stack([p.argmax(dim=1) for p in parts], dim=1), "logits": scores}
            case spaces.MultiBinary():
                return {"action": (scores > 0).long(), "logits": scores}
        if self.policy.use_sde:  # its spread depends on the state, and is no single tensor
            return {"action": torch.tanh(scores) if self.policy.squash_output else scores, "mean": scores}
        return {"action": scores, "mean": scores, "log_std": self.policy.log_std.expand_as(scores)}


class MaskedActorCritic(ActorCritic):
    """The same over the actions that the observation allows (MaskablePPO): the scores of others are minus infinity."""

    def forward(self, observation: Any) -> Outputs:
        """Both heads; `observation` is a dict with the member `action_mask`."""
        scores, value = self._heads(observation)
        forbidden = observation[ACTION_MASK].reshape(scores.shape) == 0
        return {**self._act(scores.masked_fill(forbidden, float("-inf"))), "value": value}


class RecurrentActorCritic(ActorCritic):
    """The same with LSTMs between features and heads (RecurrentPPO).

    `forward` takes what the step before gave as `next_state.0`, ...: hidden and cell state of the actor's LSTM, then of
    the critic's where it has one of its own; each [batch, layers, width].
    """

    def __init__(self, policy: Any) -> None:
        super().__init__(policy)
        self.lstms = [lstm for lstm in (policy.lstm_actor, policy.lstm_critic) if lstm is not None]

    def states(self, batch: int) -> list[Tensor]:
        """At an episode's start."""
        shapes = [(batch, lstm.num_layers, lstm.hidden_size) for lstm in self.lstms for _ in range(2)]
        return [torch.zeros(shape) for shape in shapes]

    def forward(self, observation: Tensor, *states: Tensor) -> Outputs:
        """Both heads, each behind its memory, and what they remember."""
        policy = self.policy
        seen = policy.extract_features(observation, policy.pi_features_extractor)
        valued = policy.extract_features(observation, policy.vf_features_extractor)
        seen, following = _remember(policy.lstm_actor, seen, states[:2])
        if policy.lstm_critic is not None:
            valued, judged = _remember(policy.lstm_critic, valued, states[2:])
            following += judged
        else:
            valued = seen if policy.shared_lstm else policy.critic(valued)
        scores = policy.action_net(policy.mlp_extractor.forward_actor(seen))
        value = policy.value_net(policy.mlp_extractor.forward_critic(valued)).flatten()
        return {**self._act(scores), "value": value, **{f"next_state.{i}": s for i, s in enumerate(following)}}


def _remember(lstm: nn.LSTM, features: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, list[Tensor]]:
    """One step: what comes out, [batch, width], and the state after it."""
    hidden, cell = (part.transpose(0, 1).contiguous() for part in state)
    output, following = lstm(features.unsqueeze(0), (hidden, cell))
    return output.squeeze(0), [part.transpose(0, 1) for part in following]


class QFunction(nn.Module):
    """A greedy policy over action values (DQN)."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.q_net = policy.q_net

    def forward(self, observation: Tensor) -> Outputs:
        """The best action and what it is worth."""
        q_values = self.q_net(observation)
        return {"action": q_values.argmax(dim=1), "value": q_values.amax(dim=1), "q_values": q_values}


class QuantileFunction(nn.Module):
    """A greedy policy over the means of the distributions of returns (QR-DQN)."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.quantile_net = policy.quantile_net

    def forward(self, observation: Tensor) -> Outputs:
        """The best action and what it is worth."""
        q_values = self.quantile_net(observation).mean(dim=1)
        return {"action": q_values.argmax(dim=1), "value": q_values.amax(dim=1), "q_values": q_values}


class SquashedActor(nn.Module):
    """The middle of a normal distribution squashed by tanh (SAC, TQC).

    Neither `mean` and `log_std`, which are of the numbers before tanh, nor a value: the critics count the
    entropy that is still to come beside what the environment pays.
    """

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.actor = policy.actor

    def forward(self, observation: Tensor) -> Outputs:
        """Within -1 and 1."""
        actor = self.actor
        mean = actor.mu(actor.latent_pi(actor.extract_features(observation, actor.features_extractor)))
        return {"action": torch.tanh(mean)}


class DeterministicActor(nn.Module):
    """An actor that gives one action, and critics that judge it (TD3, DDPG)."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.actor, self.critic = policy.actor, policy.critic

    def forward(self, observation: Tensor) -> Outputs:
        """The action, within -1 and 1, and what the most sceptical critic expects of it, as learning does."""
        critic, action = self.critic, self.actor(observation)
        judged = torch.cat([critic.extract_features(observation, critic.features_extractor), action], dim=1)
        values = torch.cat([network(judged) for network in critic.q_networks], dim=1)
        return {"action": action, "value": values.amin(dim=1)}
