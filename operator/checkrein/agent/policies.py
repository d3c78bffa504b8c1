"""From a pointer to a policy that may act: read, verified, fitted, warmed up. Blocking; runs in a thread."""

from __future__ import annotations

import logging
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from checkrein.agent import apart, densefile
from checkrein.agent.dense import DenseKernel, difference
from checkrein.agent.densefile import DenseError
from checkrein.agent.exploration import actor
from checkrein.agent.kernel import Kernel, OnnxKernel, Outputs, States
from checkrein.agent.operators import SamplingError
from checkrein.agent.ports import InterfaceError
from checkrein.agent.validation import SHORT, SpaceError, action_reader
from checkrein.api.deployment import PolicyPointer
from checkrein.api.meta import bounded
from checkrein.api.shield import ShieldRule
from checkrein.api.spaces import Interface
from checkrein.api.tasks import LoadedPolicy, PolicyManifest
from checkrein.shield.arrays import Array, Observation, samples
from checkrein.store import artifacts
from checkrein.store.client import Store
from checkrein.store.errors import StoreError

MODEL_FILE = "policy.onnx"
WARM_UP_SAMPLES = 32
COMPARED_SAMPLES = 256
INLINE_SECONDS = 0.002
"""A network that takes longer than this would hold up everybody else on the event loop."""

log = logging.getLogger(__name__)


class LoadError(Exception):
    """Why a policy may not act. `permanent`: its bytes or its interface are at fault, not the way to them."""

    def __init__(self, reason: str, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.reason = reason
        self.permanent = permanent


def key(pointer: PolicyPointer) -> str:
    """What a loaded policy goes by: a name alone could be deleted and given again to other bytes."""
    return f"{pointer.name}@{pointer.artifact.digest.removeprefix('sha256:')[:16]}"


@dataclass(frozen=True)
class Policy:
    """A policy that may act."""

    key: str
    name: str
    digest: str
    interface: Interface
    acting: str
    """Deterministic or Stochastic: how it was evaluated, so how it acts."""
    shield: list[ShieldRule]
    """Rules of its environment."""
    features: list[str]
    """Names of the observation's elements, for those rules."""
    inline: bool
    """Whether a decision is short enough for the event loop."""
    kernel: Kernel
    _read: Callable[[Array], Any] = field(repr=False)

    @property
    def state_bytes(self) -> int:
        """Size of what a step hands to the next one; 0 for a network without state."""
        return sum(array.nbytes for array in self.kernel.initial_state)

    def infer(self, observation: Observation, state: States = ()) -> Outputs:
        """What the network says; `state` is that of the step before, () at the start of an episode.

        Raises SpaceError where an output is not a number or the action does not exist, and whatever the kernel raises.
        """
        outputs = self.run(observation, state)
        self._read(outputs.action)
        return outputs

    def run(self, observation: Observation, state: States = ()) -> Outputs:
        """As `infer`, for those who read the action themselves."""
        outputs = self.kernel.run(observation, state)
        _require_numbers(outputs)
        return outputs

    def twin(self) -> Policy:
        """The same policy for another thread: neither waits while the other decides."""
        return replace(self, kernel=self.kernel.twin())

    def action(self, array: Array) -> Any:
        """The JSON-ready form of an action. Raises SpaceError where the space has none such."""
        return self._read(array)

    def report(self) -> LoadedPolicy:
        """For the operator."""
        return LoadedPolicy(name=self.name, digest=self.digest, ready=True)


def load(store: Store, pointer: PolicyPointer, current: Interface | None) -> Policy:
    """The policy that `pointer` names, fit to act beside one with the interface `current`. Raises LoadError."""
    _require_same(pointer, current, "the policy that acts now; another interface needs an AgentDeployment of its own")
    try:
        loaded = artifacts.load(store, pointer.artifact)
    except StoreError as error:
        raise LoadError(error.reason, f"{pointer.name}: {error}", permanent=not error.temporary) from error
    return build(pointer, loaded.manifest, loaded.files)


def build(pointer: PolicyPointer, manifest: PolicyManifest, files: Mapping[str, bytes]) -> Policy:
    """The policy made of these verified files. Raises LoadError."""
    _require_same(pointer, manifest.interface, "the interface in its own manifest")
    made = partial(
        Policy,
        key=key(pointer),
        name=pointer.name,
        digest=pointer.artifact.digest,
        interface=pointer.interface,
        acting=manifest.acting,
        shield=manifest.shield,
        features=manifest.features,
        inline=True,
        _read=action_reader(pointer.interface.action),
    )
    dense = files.get(densefile.FILE)

    def judged() -> Policy:
        policy = made(kernel=_onnx(pointer, files))
        warm_up(policy)
        return replace(policy, kernel=_fastest(policy, dense))

    if dense is not None and apart.agreed(lambda: isinstance(judged().kernel, DenseKernel)):
        policy = made(kernel=DenseKernel(dense, pointer.interface))
    else:
        policy = judged()
    return replace(policy, inline=warm_up(policy) < INLINE_SECONDS)


def warm_up(policy: Policy) -> float:
    """Decide on the edges of the observation space and on drawn observations. Median seconds. Raises LoadError.

    Each decision is taken twice where there is a state: at an episode's start, and with the state that this gives.
    """
    times = []
    for observation in samples(policy.interface.observation, WARM_UP_SAMPLES, seed=0):
        try:
            began = time.perf_counter()
            outputs = policy.infer(observation)
            times.append(time.perf_counter() - began)
            if outputs.state:
                outputs = policy.infer(observation, outputs.state)
            actor(policy.interface.action, policy.acting, None, outputs)
        except Exception as error:  # a graph may fail in any way on an input it does not like
            message = bounded(f"{policy.name}: on observation {_shown(observation)}: {error}", 512)
            raise LoadError("WarmUpFailed", message, permanent=True) from error
    return statistics.median(times)


def _onnx(pointer: PolicyPointer, files: Mapping[str, bytes]) -> OnnxKernel:
    if MODEL_FILE not in files:
        raise LoadError("Unreadable", f"{pointer.name} has no file {MODEL_FILE}; export it anew", permanent=True)
    try:
        return OnnxKernel(files[MODEL_FILE], pointer.interface)
    except InterfaceError as error:
        raise LoadError("InterfaceMismatch", f"{pointer.name}: {error}", permanent=True) from error
    except SamplingError as error:
        raise LoadError("SamplesInside", f"{pointer.name}: {error}", permanent=True) from error
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise LoadError("Unreadable", bounded(f"{pointer.name}: {MODEL_FILE}: {error}", 512), permanent=True) from error


def _fastest(policy: Policy, dense: bytes | None) -> Kernel:
    """The numpy path where the artifact has one that says what the graph says, else the graph."""
    if dense is None:
        return policy.kernel
    try:
        kernel = DenseKernel(dense, policy.interface)
        observations = samples(policy.interface.observation, COMPARED_SAMPLES, seed=1)
        why = difference(kernel, policy.kernel, observations)
    except DenseError as error:
        why = str(error)
    if why:
        log.warning("policy %s: ONNX Runtime decides; %s is not used: %.300s", policy.name, densefile.FILE, why)
        return policy.kernel
    log.info("policy %s: numpy decides; it agrees with ONNX Runtime", policy.name)
    return kernel


def _require_numbers(outputs: Outputs) -> None:
    """Raises SpaceError where an output is NaN or infinite; logits may be -inf, of an action that is masked out."""
    if outputs.value is not None and not math.isfinite(outputs.value):
        raise SpaceError(f"the value is {outputs.value}")
    for name, array in (("q_values", outputs.q_values), ("mean", outputs.mean), ("log_std", outputs.log_std)):
        if array is not None and not _finite(array):
            raise SpaceError(f"{name} has an element that is not finite")
    if outputs.logits is not None and not _finite(outputs.logits):
        if not (outputs.logits < math.inf).all():
            raise SpaceError("logits has an element that is NaN or infinite")
        if np.isneginf(outputs.logits).all():
            raise SpaceError("the observation's mask allows no action")
    if not all(_finite(array) for array in outputs.state):
        raise SpaceError("the state has an element that is not finite")


def _finite(array: Array) -> bool:
    if array.size <= SHORT:
        return all(map(math.isfinite, array.ravel().tolist()))
    return bool(np.isfinite(array).all())


def _require_same(pointer: PolicyPointer, other: Interface | None, whose: str) -> None:
    if other is not None and other != pointer.interface:
        ours, theirs = (f"{i.observation.describe()} -> {i.action.describe()}" for i in (pointer.interface, other))
        message = f"{pointer.name}: interface {ours} is not {theirs} (type, shape, dtype and bounds) of {whose}"
        raise LoadError("InterfaceMismatch", message, permanent=True)


def _shown(observation: Observation) -> str:
    """Short, for a message."""
    if isinstance(observation, dict):
        return "{" + ", ".join(f"{name}: {_shown(value)}" for name, value in observation.items()) + "}"
    return np.array2string(observation, threshold=8, edgeitems=3)
