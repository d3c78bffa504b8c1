"""From an observation, already prepared, to scores, action and value: what is exported of each family of policies.

`forward` takes a batch as the library's policy gets it and gives a dict of tensors, batch first:
`action` (as the library's deterministic `predict` before it clips), `value` [batch], and what the action was chosen by
(`logits`, `q_values`, or `mean` and `log_std`).
"""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor, nn

Outputs = dict[str, Tensor]


class ActorCritic(nn.Module):
    """An actor-critic policy with its own value function (PPO)."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, observation: Tensor) -> Outputs:
        """Both heads on their own features."""
        policy = self.policy
        seen = policy.extract_features(observation, policy.pi_features_extractor)
        valued = policy.extract_features(observation, policy.vf_features_extractor)
        scores = policy.action_net(policy.mlp_extractor.forward_actor(seen))
        value = policy.value_net(policy.mlp_extractor.forward_critic(valued)).flatten()
        return {**self._act(scores), "value": value}

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


class QFunction(nn.Module):
    """A greedy policy over action values (DQN)."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.q_net = policy.q_net

    def forward(self, observation: Tensor) -> Outputs:
        """The best action and what it is worth."""
        q_values = self.q_net(observation)
        return {"action": q_values.argmax(dim=1), "value": q_values.amax(dim=1), "q_values": q_values}
