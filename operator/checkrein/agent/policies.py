"""From a pointer to a policy that may act: read, verified, fitted, warmed up. Blocking; runs in a thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from checkrein.agent.kernel import InterfaceError, Kernel, OnnxKernel
from checkrein.agent.validation import Array, action_reader, samples
from checkrein.api.deployment import PolicyPointer
from checkrein.api.meta import bounded
from checkrein.api.spaces import Interface
from checkrein.api.tasks import LoadedPolicy, PolicyManifest
from checkrein.store import artifacts
from checkrein.store.client import Store
from checkrein.store.errors import StoreError

MODEL_FILE = "policy.onnx"
WARM_UP_SAMPLES = 32


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
    kernel: Kernel
    _read: Callable[[Array], Any] = field(repr=False)

    def act(self, observation: Array) -> Any:
        """The JSON-ready action for one observation. Raises SpaceError where the network gives none that is allowed."""
        return self._read(self.kernel.act(observation))

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


def build(pointer: PolicyPointer, manifest: PolicyManifest, files: dict[str, bytes]) -> Policy:
    """The policy made of these verified files. Raises LoadError."""
    _require_same(pointer, manifest.interface, "the interface in its own manifest")
    interface = pointer.interface
    if MODEL_FILE not in files:
        raise LoadError("Unreadable", f"{pointer.name} has no file {MODEL_FILE}; export it anew", permanent=True)
    try:
        kernel = OnnxKernel(files[MODEL_FILE], interface.observation, interface.action)
    except InterfaceError as error:
        raise LoadError("InterfaceMismatch", f"{pointer.name}: {error}", permanent=True) from error
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise LoadError("Unreadable", bounded(f"{pointer.name}: {MODEL_FILE}: {error}", 512), permanent=True) from error
    reader = action_reader(interface.action)
    policy = Policy(key(pointer), pointer.name, pointer.artifact.digest, interface, kernel, reader)
    warm_up(policy)
    return policy


def warm_up(policy: Policy) -> None:
    """Decide on the edges of the observation space and on drawn observations. Raises LoadError."""
    for observation in samples(policy.interface.observation, WARM_UP_SAMPLES, seed=0):
        try:
            policy.act(observation)
        except Exception as error:  # a graph may fail in any way on an input it does not like
            shown = np.array2string(observation, threshold=8, edgeitems=3)
            message = bounded(f"{policy.name}: on observation {shown}: {error}", 512)
            raise LoadError("WarmUpFailed", message, permanent=True) from error


def _require_same(pointer: PolicyPointer, other: Interface | None, whose: str) -> None:
    if other is not None and other != pointer.interface:
        ours, theirs = (f"{i.observation.describe()} -> {i.action.describe()}" for i in (pointer.interface, other))
        message = f"{pointer.name}: interface {ours} is not {theirs} (type, shape, dtype and bounds) of {whose}"
        raise LoadError("InterfaceMismatch", message, permanent=True)
