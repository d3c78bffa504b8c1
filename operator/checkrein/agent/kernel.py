"""The forward pass. The rest of the agent knows only `Kernel`, so that a faster one can stand in (see `dense`)."""

from __future__ import annotations

from threading import Lock
from typing import Any, Protocol

import msgspec
import numpy as np

from checkrein.agent.operators import sampling
from checkrein.agent.ports import ACTION, DTYPES, NEXT, STATE, InterfaceError, Port, entries, key, misfit
from checkrein.api.spaces import Interface, Space
from checkrein.shield.arrays import Array as Array
from checkrein.shield.arrays import Observation as Observation
from checkrein.shield.arrays import element_shape

FLAT = ("logits", "q_values", "mean", "log_std")
States = tuple[Array, ...]
"""What a recurrent network hands on, in the order of the graph's inputs `state.0`, `state.1`, ..."""


class Outputs(msgspec.Struct, frozen=True, gc=False):
    """What a network says of one observation; the batch dimension is removed."""

    action: Array
    """The graph's own, deterministic one; element_shape(action space)."""
    value: float | None = None
    """Expected discounted return: the value head's, else the largest of q_values."""
    logits: Array | None = None
    """Discrete kinds; flat, part after part for MultiDiscrete."""
    q_values: Array | None = None
    """Discrete; flat."""
    mean: Array | None = None
    """Box; flat, in action units, before it is clipped."""
    log_std: Array | None = None
    """Box; flat."""
    state: States = ()
    """Recurrent or stacked state after this step."""


class Kernel(Protocol):
    """Computes one decision at a time; may be called from several threads."""

    def run(self, observation: Observation, state: States = ()) -> Outputs:
        """What the network says; `state` is that of the step before, () at the start of an episode."""

    @property
    def initial_state(self) -> States:
        """Zeros; () for a network without state."""

    def twin(self) -> Kernel:
        """Another one of the same network, for those who must not wait for each other. They share the weights."""

    def stop(self) -> None:
        """Have the run that is under way, in another thread, fail soon, where that can be done."""


def score_sizes(action: Space) -> dict[str, int]:
    """Number of elements of each optional output that a network for this action space may give."""
    if action.type == "Box":
        return {"value": 1, "mean": action.size, "log_std": action.size}
    if action.type == "Discrete":
        return {"value": 1, "logits": action.n or 1, "q_values": action.n or 1}
    return {"value": 1, "logits": sum(action.nvec) if action.type == "MultiDiscrete" else action.size}


class OnnxKernel:
    """ONNX Runtime on one thread: a decision is too short to share, and replicas share the node.

    Inputs and outputs are bound once to arrays of our own, which saves a third of a small network's time.
    Raises SamplingError where the graph draws random numbers, InterfaceError where it does not fit, and ONNX Runtime's
    own exceptions where it is none.
    """

    def __init__(self, model: bytes, interface: Interface) -> None:
        sampling(model)
        self._arrange(_session(model), interface)

    def _arrange(self, session: Any, interface: Interface) -> None:
        self._session, self._interface = session, interface
        inputs, outputs = (
            [Port(p.name, p.type, tuple(p.shape)) for p in ports]
            for ports in (self._session.get_inputs(), self._session.get_outputs())
        )
        if why := misfit(inputs, outputs, interface):
            raise InterfaceError(why)
        self._lock = Lock()
        spaces = entries(interface)
        self._action_shape = element_shape(interface.action)
        self._inputs: dict[str, Array] = {
            p.name: np.zeros((1, *p.inner(spaces.get(p.name))), DTYPES[p.type]) for p in inputs
        }
        self._observed = _views(self._inputs, interface.observation)
        self._states = [self._inputs[f"{STATE}{i}"] for i in range(len(inputs) - len(self._observed))]
        sizes = {ACTION: interface.action.size, **score_sizes(interface.action)}
        sizes |= {f"{NEXT}{i}": state.size for i, state in enumerate(self._states)}
        self._sizes = {p.name: sizes[p.name] for p in outputs if p.name in sizes}
        self._outputs: dict[str, Array] = {}
        self._binding = self._session.io_binding()
        self._options = _run_options()

    @property
    def initial_state(self) -> States:
        """Zeros."""
        return tuple(np.zeros(s.shape[1:], s.dtype) for s in self._states)

    def twin(self) -> OnnxKernel:
        """Another one with buffers of its own; sessions may run in several threads at once."""
        made = object.__new__(OnnxKernel)
        made._arrange(self._session, self._interface)
        return made

    def stop(self) -> None:
        """ONNX Runtime looks between two nodes, those of a loop's body included."""
        self._options.terminate = True

    def run(self, observation: Observation, state: States = ()) -> Outputs:
        """Raises InterfaceError where the state or an output has a wrong size, and ONNX Runtime's own exceptions."""
        with self._lock:
            self._fill(observation, state)
            self._options.terminate = False
            if not self._outputs:
                self._bind()
            self._session.run_with_iobinding(self._binding, self._options)
            return self._read()

    def _fill(self, observation: Observation, state: States) -> None:
        if isinstance(observation, dict):
            for name, view in self._observed.items():
                view[...] = observation[name]
        else:
            self._observed[""][...] = observation
        if state and [s.shape for s in state] != [s.shape[1:] for s in self._states]:
            raise InterfaceError(f"state has shapes {[s.shape for s in state]}; the network's differ")
        for i, buffer in enumerate(self._states):
            buffer[0] = state[i] if state else 0

    def _bind(self) -> None:
        """Run once to learn the outputs' shapes, which a graph need not declare; then keep arrays for them."""
        found = dict(zip(self._sizes, self._session.run(list(self._sizes), self._inputs, self._options), strict=True))
        for name, array in found.items():
            if array.size != self._sizes[name]:
                raise InterfaceError(f"{name} of the graph has {array.size} elements, {self._sizes[name]} belong there")
        for name, array in self._inputs.items():
            self._binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        self._outputs = {name: np.ascontiguousarray(array).copy() for name, array in found.items()}
        for name, array in self._outputs.items():
            self._binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        self._action = self._outputs[ACTION].reshape(self._action_shape)
        self._flat = {name: self._outputs[name].reshape(-1) for name in FLAT if name in self._outputs}
        self._following = [self._outputs[f"{NEXT}{i}"].reshape(s.shape[1:]) for i, s in enumerate(self._states)]

    def _read(self) -> Outputs:
        """Copies: the arrays are written again by the next run."""
        flat = {name: array.copy() for name, array in self._flat.items()}
        value: float | None = None
        if "value" in self._outputs:
            value = self._outputs["value"].item()
        elif "q_values" in flat:
            value = flat["q_values"].max().item()
        return Outputs(self._action.copy(), value, state=tuple(array.copy() for array in self._following), **flat)


def _session(model: bytes) -> Any:
    import onnxruntime as ort  # 30 MB, which are spared where numpy computes all networks (see `apart`)

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # What `operators` has read is what is loaded: without it, bytes of ONNX Runtime's own format would be taken too.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _run_options() -> Any:
    import onnxruntime as ort

    return ort.RunOptions()


def _views(inputs: dict[str, Array], observation: Space) -> dict[str, Array]:
    """The arrays that take an observation, by its keys, in the shapes that it comes in."""
    return {name: inputs[key(name)].reshape(element_shape(leaf)) for name, leaf in observation.leaves.items()}
