"""The Open Inference Protocol v2 (kserve.github.io, "Open Inference Protocol"), for clients that speak it already.

The one model is the AgentDeployment, its version the PolicyVersion that acts. A batch of n rows is n decisions of n new
episodes; a row alone may go on with an episode by the request's parameters, which are the fields of `/v1/act`.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, NamedTuple

import msgspec
import numpy as np

from checkrein.agent import asgi, tensors
from checkrein.agent.asgi import Header
from checkrein.agent.decisions import Decider
from checkrein.agent.messages import Act, Decision, Ended, encode, malformed, wrong_shape
from checkrein.agent.problems import invalid, not_acting, not_found, not_ready, shielded
from checkrein.agent.state import State
from checkrein.agent.tensors import BYTES, Input, Tail
from checkrein.api.spaces import Interface, Space
from checkrein.shield.arrays import element_shape

ROOT = "/v2"
JSON_LENGTH = b"inference-header-content-length"
BINARY_OUTPUT = "binary_data_output"
MOST_ROWS = 64
MOST_BYTES = 8 * 1024 * 1024
OUTPUTS = ("action", "episode", "decision")
_GET = ("GET", "HEAD")
_SERVED = "/v2, /v2/health/live, /v2/health/ready, /v2/models/NAME[/versions/VERSION][/ready|/infer]"
_SERVER = {ROOT: "server", f"{ROOT}/health/live": "live", f"{ROOT}/health/ready": "ready"}
_CARRIED = tuple(field for field in Act.__struct_fields__ if field != "observation")
_IGNORED = ("content_type", BINARY_OUTPUT)


class Route(NamedTuple):
    """What a path asks for. `public`: of whoever asks."""

    verb: str
    methods: tuple[str, ...] = _GET
    public: bool = False
    model: str = ""
    version: str = ""


class Result(NamedTuple):
    """What an inference request gets."""

    content: bytes
    headers: tuple[Header, ...] = ()
    media_type: bytes = asgi.JSON


class Requested(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One output that a request wants."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """An inference request."""

    inputs: list[Input]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[Requested] | None = None


_decode = msgspec.json.Decoder(InferRequest).decode


def route(path: str) -> Route:
    """Raises Problem where the protocol has no such path."""
    if verb := _SERVER.get(path):
        return Route(verb, public=True)
    match path.removeprefix(ROOT).split("/")[1:]:
        case ["models", model]:
            return Route("model", model=model)
        case ["models", model, "ready"]:
            return Route("model-ready", model=model)
        case ["models", model, "infer"]:
            return Route("infer", ("POST",), model=model)
        case ["models", model, "versions", wanted]:
            return Route("model", model=model, version=wanted)
        case ["models", model, "versions", wanted, "ready"]:
            return Route("model-ready", model=model, version=wanted)
        case ["models", model, "versions", wanted, "infer"]:
            return Route("infer", ("POST",), model=model, version=wanted)
    raise not_found(path, _SERVED)


def entries(interface: Interface) -> dict[str, Space]:
    """Input tensors by name: `observation`, or `observation.KEY` for each key of a Dict space."""
    leaves = interface.observation.leaves
    return {f"observation.{name}" if name else "observation": leaf for name, leaf in leaves.items()}


class Models:
    """Answers below `/v2`."""

    def __init__(self, state: State, decider: Decider) -> None:
        self._state = state
        self._decider = decider
        self._release = version("checkrein")

    def about_server(self, asked: Route) -> bytes:
        """Metadata and health. Raises Problem."""
        if asked.verb == "live":
            return encode({"live": True})
        if asked.verb == "ready":
            self._require_ready()
            return encode({"ready": True})
        return encode({"name": "checkrein-agent", "version": self._release, "extensions": ["binary_tensor_data"]})

    def about_model(self, asked: Route) -> bytes:
        """Metadata and readiness of a model. Raises Problem."""
        self.require(asked)
        if asked.verb == "model-ready":
            self._require_ready()
            return encode({"name": asked.model, "ready": True})
        interface = self._interface()
        inputs = [_metadata(name, tensors.datatype(s), tensors.shape(s)) for name, s in entries(interface).items()]
        action = _metadata("action", tensors.datatype(interface.action), tensors.shape(interface.action))
        outputs = [action, *(_metadata(name, BYTES, [-1]) for name in OUTPUTS[1:])]
        described = {"name": asked.model, "versions": [acting] if (acting := self.acting()) else [], "platform": "onnx"}
        return encode(described | {"inputs": inputs, "outputs": outputs})

    def require(self, asked: Route) -> None:
        """The model and the version must be those that act. Raises Problem."""
        name = self._state.word.metadata.name if self._state.word else ""
        if asked.model != name:
            raise not_found(f"model {asked.model}", f"model {name}")
        if asked.version and asked.version != (acting := self.acting()):
            raise not_acting(asked.version, acting or "no version")

    def limit(self) -> int:
        """Bytes of the largest request: many small observations, or one large one. Raises Problem."""
        one = self._decider.limit()
        return max(one, min(MOST_ROWS * one, MOST_BYTES))

    async def infer(self, content: bytes, json_length: bytes, caller: str) -> Result:
        """One decision for each row. Raises Problem; rows before the one at fault have been decided then."""
        asked, tail = _parse(content, json_length)
        requests = self._requests(asked, tail)
        wanted = _wanted(asked)
        answers = [await self._decider.answer(request, caller) for request in requests]
        return self._result(asked, wanted, answers)

    def _requests(self, asked: InferRequest, tail: Tail) -> list[Act]:
        """The rows as messages of `/v1/act`, checked alike."""
        carried = _carried(asked)
        observations = _observations(asked, self._interface(), tail)
        tail.end()
        if not observations:
            return [self._decider.request(encode(carried))]
        if len(observations) > 1 and carried:
            detail = f"parameters.{next(iter(carried))} belongs to one episode, and there are {len(observations)} rows"
            raise invalid("wrong-shape", detail, f"parameters.{next(iter(carried))}")
        return [self._decider.request(encode(carried | {"observation": o})) for o in observations]

    def _result(self, asked: InferRequest, wanted: dict[str, bool], answers: list[Decision | Ended]) -> Result:
        decisions = [answer for answer in answers if isinstance(answer, Decision)]
        if len(answers) > 1 and len(decisions) < len(answers):
            raise shielded("(it ends an episode of this batch at its first step)")
        parameters = msgspec.to_builtins(answers[0]) if len(answers) == 1 else {}
        parameters.pop("action", None)
        tail: list[bytes] = []
        outputs = self._outputs(decisions, wanted, tail) if decisions else []
        head: dict[str, Any] = {"model_name": self._state.word.metadata.name if self._state.word else ""}
        head |= {"model_version": answers[0].policy} | ({"id": asked.id} if asked.id else {})
        content = encode(head | {"parameters": parameters, "outputs": outputs})
        if not tail:
            return Result(content)
        headers = ((JSON_LENGTH, b"%d" % len(content)),)
        return Result(b"".join((content, *tail)), headers, b"application/octet-stream")

    def _outputs(self, decisions: list[Decision], wanted: dict[str, bool], tail: list[bytes]) -> list[dict[str, Any]]:
        space = self._interface().action
        shape = (len(decisions), *element_shape(space))
        values = {
            "action": np.array([d.action for d in decisions], space.dtype).reshape(shape),
            "episode": np.array([d.episode for d in decisions]),
            "decision": np.array([d.decision for d in decisions]),
        }
        kinds = {"action": tensors.datatype(space)}
        return [
            tensors.written(name, values[name], kinds.get(name, BYTES), binary, tail) for name, binary in wanted.items()
        ]

    def _require_ready(self) -> None:
        if not self._state.ready:
            raise not_ready("no policy has been loaded and verified yet, or this replica is stopping; try again")

    def _interface(self) -> Interface:
        if (interface := self._decider.interface) is None:
            raise not_ready("no policy has been loaded and verified yet; try again")
        return interface

    def acting(self) -> str:
        """Name of the policy that takes the next decision of a new episode; empty where it is none."""
        choices = self._state.choices(self._state.override(), self._state.acting)
        return next((choice.policy.name for choice in choices if choice.policy), "")


def _metadata(name: str, datatype: str, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape}


def _parse(content: bytes, json_length: bytes) -> tuple[InferRequest, Tail]:
    """Raises Problem."""
    length = int(json_length) if json_length.isdigit() else len(content)
    if length > len(content):
        raise invalid("wrong-shape", f"{JSON_LENGTH.decode()} is {length}, and the body has {len(content)} bytes")
    try:
        return _decode(content[:length]), Tail(content[length:])
    except msgspec.ValidationError as error:
        raise wrong_shape(str(error)) from error
    except (ValueError, RecursionError) as error:
        raise malformed(content[:length], error) from error


def _carried(asked: InferRequest) -> dict[str, Any]:
    """The parameters that are fields of `/v1/act`. Raises Problem for others: they would be ignored."""
    for name in asked.parameters:
        if name not in _CARRIED and name not in _IGNORED:
            detail = f"parameters.{name[:64]} is not known; there are {', '.join(_CARRIED)}"
            raise invalid("unknown-field", detail, f"parameters.{name[:64]}")
    return {name: asked.parameters[name] for name in _CARRIED if name in asked.parameters}


def _observations(asked: InferRequest, interface: Interface, tail: Tail) -> list[Any]:
    """The rows as values of the observation space; none where an ending needs none. Raises Problem."""
    spaces, given = entries(interface), {tensor.name: tensor for tensor in asked.inputs}
    if not given:
        return []
    if given.keys() != spaces.keys() or len(given) < len(asked.inputs):
        raise invalid("wrong-shape", f"inputs are {', '.join(spaces)}, each of them once", "inputs")
    columns = {tensor.name: tensors.rows(tensor, spaces[tensor.name], tail) for tensor in asked.inputs}
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1 or not 0 < max(lengths) <= MOST_ROWS:
        raise invalid("wrong-shape", f"inputs have between 1 and {MOST_ROWS} rows, all of them as many", "inputs")
    if interface.observation.type != "Dict":
        return columns["observation"]
    names = [name.removeprefix("observation.") for name in columns]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _wanted(asked: InferRequest) -> dict[str, bool]:
    """Outputs, each with whether it is wanted as raw bytes. Raises Problem."""
    default = asked.parameters.get(BINARY_OUTPUT) is True
    if asked.outputs is None:
        return dict.fromkeys(OUTPUTS, default)
    for output in asked.outputs:
        if output.name not in OUTPUTS:
            raise invalid("wrong-shape", f"there is no output {output.name[:64]}; there are {OUTPUTS}", "outputs")
    return {output.name: output.parameters.get("binary_data", default) is True for output in asked.outputs}
