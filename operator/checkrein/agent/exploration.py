"""How an action is chosen from what a network says, and how probable that choice was.

Choosing happens here and not in the graph, because only a choice that is made here has a propensity and comes out the
same when a decision is asked for again. `docs/exploration.md` says what counts as explored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec
import numpy as np

from checkrein.agent.kernel import Outputs
from checkrein.api.deployment import Boltzmann, EpsilonGreedy, Exploration, Gaussian
from checkrein.api.spaces import ACTION_MASK, Space
from checkrein.judge import distributions as dist
from checkrein.shield.arrays import Array, bounds, element_shape

Draw = Callable[[int], Array]
"""n uniforms in [0, 1), the same ones each time within one decision: whoever proposes asks once."""
FEW = 256
"""Up to so many actions all that an epsilon-greedy decision needs is laid out beforehand."""


class Proposal(msgspec.Struct, frozen=True, gc=False):
    """An action before the shield.

    `propensity` is the probability (Box: the density) of `action`, None where it has none. `probabilities` are those
    of every action from `start` on, where a Discrete action was drawn.
    """

    action: Array
    explored: bool
    propensity: float | None
    probabilities: Array | None = None


class Actor(Protocol):
    """Chooses, for one policy of one deployment."""

    def propose(self, outputs: Outputs, draw: Draw) -> Proposal:
        """The action to put before the shield. Raises ValueError where the outputs give nothing to choose by."""


def actor(space: Space, acting: str, exploration: Exploration | None, example: Outputs | None = None) -> Actor:
    """The way to act that a policy and its deployment ask for; `example` is what its network said at warm-up.

    Raises ValueError, a sentence that names the field, where the space or the network cannot carry it.
    """
    stochastic = acting == "Stochastic"
    made = _plugin(space, stochastic, exploration) or (_sampled(space) if stochastic else _Greedy(space))
    if example is not None:
        made.propose(example, lambda count: np.full(count, 0.5))
    return made


def require_allowed(exploration: Exploration, observation: Space) -> None:
    """Raises ValueError where it would try actions that the observations' mask forbids."""
    if exploration.epsilon_greedy is not None and ACTION_MASK in observation.leaves:
        raise ValueError(
            f"spec.exploration.epsilonGreedy would try actions that {ACTION_MASK} forbids; use boltzmann instead"
        )


def _plugin(space: Space, stochastic: bool, exploration: Exploration | None) -> Actor | None:
    for name, make in PLUGINS.items():
        if (config := getattr(exploration, name, None)) is not None:
            return make(space, stochastic, config)
    return None


def _epsilon_greedy(space: Space, stochastic: bool, config: EpsilonGreedy) -> Actor:
    choices, epsilon = _Choices(space, "spec.exploration.epsilonGreedy"), float(config.epsilon)
    if space.type == "Discrete" and not stochastic and choices.kind.n <= FEW:
        return _QuickEpsilonGreedy(choices, epsilon)
    return _EpsilonGreedy(choices, epsilon, "acting: Stochastic" if stochastic else None)


def _boltzmann(space: Space, stochastic: bool, config: Boltzmann) -> Actor:
    field = "spec.exploration.boltzmann"
    return _Softmax(_Choices(space, field), float(config.temperature), field, explores=True)


def _gaussian(space: Space, stochastic: bool, config: Gaussian) -> Actor:
    return _Normal(space, "spec.exploration.gaussian", float(config.sigma), stochastic)


PLUGINS: dict[str, Callable[[Space, bool, Any], Actor]] = {
    "epsilon_greedy": _epsilon_greedy,
    "boltzmann": _boltzmann,
    "gaussian": _gaussian,
}
"""By the members of `Exploration`: an actor for a space, on top of a policy that is stochastic or not."""


def _sampled(space: Space) -> Actor:
    field = "acting: Stochastic"
    if space.type == "Box":
        return _Normal(space, field, 0.0, True)
    return _Softmax(_Choices(space, field), 1.0, field, explores=False)


class _Choices:
    """The finite actions of a space, as indices from 0 for `judge.distributions` and as the space's own values."""

    def __init__(self, space: Space, field: str) -> None:
        if space.type == "Box":
            raise ValueError(f"{field} needs a finite action space, this is {space.describe()}; use gaussian instead")
        self.kind: Any = _kind(space)
        self._low, self._shape = bounds(space)[0], element_shape(space)
        self._discrete = space.type == "Discrete"

    def indices(self, action: Array) -> Array:
        """Flat, but of shape () for Discrete."""
        found: Array = (action - self._low).astype(np.int64).reshape(() if self._discrete else -1)
        return found

    def values(self, indices: Array) -> Array:
        """As the space has them."""
        found: Array = indices.reshape(self._shape).astype(self._low.dtype) + self._low
        return np.asarray(found)

    def table(self, distribution: Any) -> Array | None:
        """The probability of every action, for Discrete."""
        return distribution if self._discrete else None


def _kind(space: Space) -> dist.Discrete | dist.MultiDiscrete | dist.MultiBinary:
    if space.type == "Discrete":
        return dist.Discrete(space.n or 1)
    return dist.MultiDiscrete(space.nvec) if space.type == "MultiDiscrete" else dist.MultiBinary(space.size)


def _scores(outputs: Outputs, field: str, *, values_too: bool = False) -> Array:
    if outputs.logits is not None:
        return outputs.logits
    if values_too and outputs.q_values is not None:
        return outputs.q_values
    wanted = "logits or q_values" if values_too else "logits"
    raise ValueError(f"{field} needs the network's {wanted}, which this policy's graph does not give; export it anew")


def probability(space: Space, acting: str, outputs: Outputs, action: Array) -> float | None:
    """Of an action under a policy that acts so and does not explore, before any rule; of a Box action a density.

    None: it has none. Raises ValueError where the outputs give nothing to choose by.
    """
    if acting != "Stochastic":
        return None if space.type == "Box" else float(np.array_equal(action, outputs.action))
    if space.type == "Box":
        return _density(space, outputs, action.ravel())
    choices = _Choices(space, "acting: Stochastic")
    distribution = choices.kind.softmax(_scores(outputs, "acting: Stochastic"))
    return float(choices.kind.probability(distribution, choices.indices(action)))


def distribution(space: Space, outputs: Outputs) -> Array:
    """Probabilities of the actions of a Discrete space under a policy that is stochastic and does not explore."""
    choices = _Choices(space, "acting: Stochastic")
    made: Array = choices.kind.softmax(_scores(outputs, "acting: Stochastic"))
    return made


def _density(space: Space, outputs: Outputs, action: Array) -> float | None:
    """None on a bound as well, which has a probability."""
    low, high = (bound.ravel() for bound in bounds(space))
    if outputs.mean is None or outputs.log_std is None or not ((low < action) & (action < high)).all():
        return None
    std = np.exp(outputs.log_std.astype(np.float64))
    return dist.normal_density(action.astype(np.float64), outputs.mean.astype(np.float64), std)


def _usable(propensity: float) -> float | None:
    """None for what float64 rounds to zero: in thousands of elements each action is that rare."""
    return propensity if propensity > 0 else None


class _Greedy:
    """What the graph itself says: certain, and in a Box without a density."""

    def __init__(self, space: Space) -> None:
        self._propensity = None if space.type == "Box" else 1.0

    def propose(self, outputs: Outputs, draw: Draw) -> Proposal:
        return Proposal(outputs.action, False, self._propensity)


class _Softmax:
    """By the scores' probabilities. As exploration it explores where the graph itself says something else."""

    def __init__(self, choices: _Choices, temperature: float, field: str, *, explores: bool) -> None:
        self._choices, self._temperature, self._field, self._explores = choices, temperature, field, explores

    def propose(self, outputs: Outputs, draw: Draw) -> Proposal:
        kind, scores = self._choices.kind, _scores(outputs, self._field, values_too=self._explores)
        distribution = kind.softmax(scores, self._temperature)
        indices = kind.pick(distribution, draw(kind.uniforms))
        action = self._choices.values(indices)
        explored = self._explores and not np.array_equal(action, outputs.action)
        propensity = _usable(kind.probability(distribution, indices))
        return Proposal(action, explored, propensity, self._choices.table(distribution))


class _EpsilonGreedy:
    """With probability epsilon any action evenly, else what the policy says: by its scores where `stochastic` names
    the field that asks for them.
    """

    def __init__(self, choices: _Choices, epsilon: float, stochastic: str | None) -> None:
        self._choices, self._epsilon, self._stochastic = choices, epsilon, stochastic

    def propose(self, outputs: Outputs, draw: Draw) -> Proposal:
        kind, epsilon = self._choices.kind, self._epsilon
        uniforms = draw(1 + kind.uniforms)
        explored = bool(uniforms[0] < epsilon)
        if self._stochastic:
            distribution = kind.softmax(_scores(outputs, self._stochastic))
        else:
            distribution = kind.point(self._choices.indices(outputs.action))
        indices = kind.evenly(uniforms[1:]) if explored else kind.pick(distribution, uniforms[1:])
        propensity = _usable((1 - epsilon) * kind.probability(distribution, indices) + epsilon / kind.count)
        table = self._choices.table(distribution)
        mixed = None if table is None else dist.mixed(table, epsilon)
        return Proposal(self._choices.values(indices), explored, propensity, mixed)


class _QuickEpsilonGreedy:
    """The same for a few discrete actions and a policy that is certain: a few lookups, 2 us instead of 8."""

    def __init__(self, choices: _Choices, epsilon: float) -> None:
        self._epsilon, self._n = epsilon, choices.kind.n
        self._actions = [choices.values(np.array(index)) for index in range(self._n)]
        self._start = int(self._actions[0])
        self._tables = dist.mixed(np.eye(self._n), epsilon)
        for array in (*self._actions, self._tables):
            array.flags.writeable = False  # they are handed out again and again

    def propose(self, outputs: Outputs, draw: Draw) -> Proposal:
        coin, choice = draw(2).tolist()
        own = int(outputs.action) - self._start
        if not 0 <= own < self._n:
            raise ValueError(f"the policy's action {outputs.action} is none of the {self._n} from {self._start} on")
        explored = coin < self._epsilon
        index = dist.pick_evenly(self._n, choice) if explored else own
        table = self._tables[own]
        return Proposal(self._actions[index], explored, table.item(index), table)


class _Normal:
    """A Box action by a normal distribution, moved into the Box: the network's own, noise (`sigma`, a share of each
    element's range) around its action, or both, whose variances add up.
    """

    def __init__(self, space: Space, field: str, sigma: float, stochastic: bool) -> None:
        if space.type != "Box" or not np.issubdtype(np.dtype(space.dtype), np.floating):
            raise ValueError(
                f"{field} needs a Box of floating-point actions, this is {space.describe()} ({space.dtype})"
            )
        self._low, self._high = (bound.ravel() for bound in bounds(space))
        with np.errstate(over="ignore", invalid="ignore"):
            self._noise = sigma * (self._high.astype(np.float64) - self._low) if sigma else np.zeros(space.size)
        if not np.isfinite(self._noise).all():
            raise ValueError(
                f"{field}.sigma is a share of each element's range, and {space.describe()} has an open side"
            )
        self._shape, self._field, self._stochastic, self._explores = element_shape(space), field, stochastic, sigma > 0

    def propose(self, outputs: Outputs, draw: Draw) -> Proposal:
        mean, std = self._parameters(outputs)
        uniforms = draw(dist.normal_uniforms(len(mean)))
        action, density = dist.normal_action(mean, std, self._low, self._high, uniforms)
        return Proposal(action.reshape(self._shape), self._explores, density)

    def _parameters(self, outputs: Outputs) -> tuple[Array, Array]:
        if not self._stochastic:
            return outputs.action.ravel().astype(np.float64), self._noise
        if outputs.mean is None or outputs.log_std is None:
            raise ValueError(f"{self._field} needs the network's mean and log_std; export the policy anew")
        own = np.exp(outputs.log_std.astype(np.float64))
        return outputs.mean.astype(np.float64), np.hypot(own, self._noise) if self._explores else own
