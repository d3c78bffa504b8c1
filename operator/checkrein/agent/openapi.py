"""`GET /openapi.json`: what this replica answers, as OpenAPI 3.1, true for the spaces of the policy that acts."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Any, get_args

import msgspec

from checkrein.agent import tensors
from checkrein.agent.messages import ENDINGS, OUTCOME_ID_LENGTH, OUTCOMES, Regime
from checkrein.agent.oip import OUTPUTS
from checkrein.agent.problems import MEDIA_TYPE, not_ready
from checkrein.agent.schemas import JsonSchema, action_schema, observation_schema
from checkrein.api.deployment import AgentDeployment
from checkrein.api.spaces import Interface
from checkrein.api.tasks import AUDIENCE

CLIENT_WRAPPERS = "x-client-wrappers"
"""Digest of the wrappers that callers must run around their environment; null: none."""
EPISODE_FORMAT = "checkrein-episode"
_DESCRIPTION = """Decisions of one AgentDeployment. The same messages as of /v1/act go over a WebSocket at /v1/stream,
one JSON text each; problems come as messages there. Numbers are compared with a space's bounds after rounding to its
element type. Below /v2 is the Open Inference Protocol; there a problem has a member `error`, too."""
_NUMBER: JsonSchema = {
    "type": ["number", "null"],
    "minimum": -sys.float_info.max,
    "maximum": sys.float_info.max,
}
_EPISODE: JsonSchema = {
    "type": "string",
    "format": EPISODE_FORMAT,
    "description": "A token from an earlier answer of this deployment; the answer has the next one.",
}
_TEXT: JsonSchema = {"type": "string"}
_ASKED = {400, 401, 403, 408, 413, 431, 500, 503}
_REASONS = {
    400: "The request cannot be understood, or its observation or token does not belong here.",
    401: "No token, or none that can be verified.",
    403: "A token of an account that may not ask.",
    404: "No such model, or a version that does not act.",
    408: "The request did not arrive in time.",
    409: "A rule forbids every action, or the episode cannot go on at this replica.",
    413: "The body is larger than any valid request.",
    429: "More decisions than spec.limits grants.",
    431: "The headers are too large.",
    500: "The policy gave no action that may be executed, or the server failed.",
    503: "No decision can be taken now.",
}
_RETRIED = (429, 503)


class Document:
    """The document, made anew when what it tells has changed."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._content = b""

    def of(self, word: AgentDeployment, interface: Interface | None, acting: str) -> bytes:
        """For the deployment as it is. Raises Problem before there is an interface to describe."""
        if interface is None:
            raise not_ready("no policy has been loaded and verified yet; try again")
        key = (word.metadata.name, word.spec.auth.mode, interface, acting)
        if key != self._key:
            self._content = msgspec.json.encode(document(*key))
            self._key = key
        return self._content


def document(name: str, mode: str, interface: Interface, acting: str) -> dict[str, Any]:
    """The whole of it."""
    asked: list[dict[str, list[str]]] = [{"token": []}] if mode == "ServiceAccount" else []
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"AgentDeployment {name}",
            "version": version("checkrein"),
            "description": _DESCRIPTION,
            CLIENT_WRAPPERS: interface.client_wrappers,
        },
        "paths": _own_paths(asked) | _open_inference_paths(name, acting, asked),
        "components": {
            "schemas": _schemas(interface),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": f"A service account token for audience {AUDIENCE}.",
                }
            },
        },
    }


def _own_paths(asked: list[dict[str, list[str]]]) -> dict[str, Any]:
    act = _operation("act", "One decision, or the end of an episode", "ActAnswer", asked, {409, 429}, "Act")
    told = _operation("outcome", "What became known later", "Recorded", [{"token": []}], set(), "Outcome")
    described = _operation("openapi", "This document", "Any", asked, set())
    return {
        "/v1/act": {"post": act},
        "/v1/outcomes": {"post": told},
        "/openapi.json": {"get": described},
    }


def _open_inference_paths(name: str, acting: str, asked: list[dict[str, list[str]]]) -> dict[str, Any]:
    paths: dict[str, Any] = {
        "/v2": {"get": _operation("server", "Server metadata", "Server", [], set())},
        "/v2/health/live": {"get": _operation("live", "Whether the process lives", "Live", [], set())},
        "/v2/health/ready": {"get": _operation("ready", "Whether it can decide", "Ready", [], set())},
    }
    model = {"name": "model", "in": "path", "required": True, "schema": {"enum": [name]}}
    wanted = {"name": "version", "in": "path", "required": True, "schema": {"enum": [acting]} if acting else _TEXT}
    for path, suffix, parameters in (
        ("/v2/models/{model}", "", [model]),
        ("/v2/models/{model}/versions/{version}", "Version", [model, wanted]),
    ):
        about = _operation(f"model{suffix}", "Model metadata", "Model", asked, {404})
        ready = _operation(f"modelReady{suffix}", "Whether it can decide", "ModelReady", asked, {404})
        infer = _operation(f"infer{suffix}", "Decisions", "InferAnswer", asked, {404, 409, 429}, "Infer")
        paths[path] = {"parameters": parameters, "get": about}
        paths[f"{path}/ready"] = {"parameters": parameters, "get": ready}
        paths[f"{path}/infer"] = {"parameters": parameters, "post": infer}
    return paths


def _operation(
    name: str, summary: str, answer: str, asked: list[dict[str, list[str]]], more: set[int], request: str = ""
) -> dict[str, Any]:
    """One method of one path."""
    statuses = sorted((_ASKED if request else _ASKED - {413}) | more)
    responses: dict[str, Any] = {"200": {"description": "The answer.", "content": _content("application/json", answer)}}
    operation: dict[str, Any] = {"operationId": name, "summary": summary, "security": asked}
    if request:
        operation["requestBody"] = {"required": True, "content": _content("application/json", request)}
    return operation | {"responses": responses | {str(status): _problem(status) for status in statuses}}


def _problem(status: int) -> dict[str, Any]:
    retry = {"headers": {"Retry-After": {"schema": {"type": "string", "pattern": "^[0-9]+$"}}}}
    described = {"description": _REASONS[status], "content": _content(MEDIA_TYPE.decode(), "Problem")}
    return described | (retry if status in _RETRIED else {})


def _content(media_type: str, schema: str) -> dict[str, Any]:
    return {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _object(required: dict[str, JsonSchema], optional: dict[str, JsonSchema] | None = None) -> JsonSchema:
    properties = required | (optional or {})
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _schemas(interface: Interface) -> dict[str, JsonSchema]:
    reference = {"$ref": "#/components/schemas/Observation"}
    return {
        "Observation": observation_schema(interface.observation),
        "Action": action_schema(interface.action),
        "Act": {
            "oneOf": [
                _start(reference),
                _step(reference),
                *_ends(observation_schema(interface.observation, bounded=False)),
            ]
        },
        "ActAnswer": {"oneOf": [_decision(), _ended()]},
        "Outcome": _outcome(),
        "Recorded": _object({"recorded": {"const": True}}),
        "Problem": _problem_schema(),
        "Any": {"type": "object"},
        "Server": _object({"name": _TEXT, "version": _TEXT, "extensions": {"type": "array", "items": _TEXT}}),
        "Live": _object({"live": {"const": True}}),
        "Ready": _object({"ready": {"const": True}}),
        "ModelReady": _object({"name": _TEXT, "ready": {"const": True}}),
        **_open_inference_schemas(),
    }


def _start(observation: JsonSchema) -> JsonSchema:
    """No token: a new episode. What belongs to a previous action may not be there."""
    absent = {name: {"type": "null"} for name in ("episode", *OUTCOMES)}
    return _object({"observation": observation}, absent | {name: {"const": False} for name in ENDINGS})


def _step(observation: JsonSchema) -> JsonSchema:
    optional = dict.fromkeys(OUTCOMES, _NUMBER) | {name: {"const": False} for name in ENDINGS}
    return _object({"observation": observation, "episode": _EPISODE}, optional)


def _ends(observation: JsonSchema) -> list[JsonSchema]:
    """Exactly one ending. An observation is not used then; only its shape is looked at."""
    return [
        _object(
            {"episode": _EPISODE, ending: {"const": True}},
            {"observation": observation}
            | dict.fromkeys(OUTCOMES, _NUMBER)
            | {name: {"const": False} for name in ENDINGS if name != ending},
        )
        for ending in ENDINGS
    ]


def _decision() -> JsonSchema:
    flag = {"type": "boolean"}
    action = {"$ref": "#/components/schemas/Action"}
    decided = {"decision": {"type": "string", "pattern": "^[0-9a-f]{32}$"}, "policy": _TEXT}
    regime = {"enum": list(get_args(Regime))}
    return _object(
        {"action": action, "episode": _EPISODE, **decided, "regime": regime, "explored": flag, "shielded": flag}
    )


def _ended() -> JsonSchema:
    steps = {"type": "integer", "minimum": 0}
    return _object({"ended": {"enum": [*ENDINGS, "shield"]}, "steps": steps, "policy": _TEXT})


def _outcome() -> JsonSchema:
    """Of an episode or of one decision; with a number, or final. One with an id counts once."""
    by_episode = {"episode": _EPISODE}
    by_decision = {"decision": {"type": "string", "pattern": "^[0-9a-f]{32}$"}}
    number = {**_NUMBER, "type": "number"}
    numbers: dict[str, JsonSchema] = dict.fromkeys(OUTCOMES, _NUMBER)
    numbers["id"] = {"type": ["string", "null"], "minLength": 1, "maxLength": OUTCOME_ID_LENGTH}
    told: list[JsonSchema] = []
    for whose, other in ((by_episode, "decision"), (by_decision, "episode")):
        absent: dict[str, JsonSchema] = {other: {"type": "null"}}
        told.append(_object({**whose, "final": {"const": True}}, absent | numbers))
        told.extend(
            _object({**whose, name: number}, absent | numbers | {name: number, "final": {"type": "boolean"}})
            for name in OUTCOMES
        )
    return {"anyOf": told}


def _problem_schema() -> JsonSchema:
    status = {"type": "integer", "minimum": 400, "maximum": 599}
    required: dict[str, JsonSchema] = {"type": {"type": "string", "format": "uri"}, "title": _TEXT, "status": status}
    return _object(required | {"detail": _TEXT}, {"field": _TEXT, "error": _TEXT})


def _open_inference_schemas() -> dict[str, JsonSchema]:
    """What relates a tensor's shape to its data cannot be said in JSON Schema; the server checks it."""
    extents = {"type": "array", "items": {"type": "integer", "minimum": -1}}
    datatypes = {"enum": [*get_args(tensors.Datatype), tensors.BYTES]}
    described = {"type": "array", "items": _object({"name": _TEXT, "datatype": datatypes, "shape": extents})}
    data = {"type": "array"}
    tensor = _object(
        {"name": _TEXT, "shape": extents, "datatype": datatypes}, {"data": data, "parameters": {"type": "object"}}
    )
    several = {"type": "array", "items": tensor}
    wanted = {"type": "array", "items": _object({"name": {"enum": list(OUTPUTS)}}, {"parameters": {"type": "object"}})}
    parameters = {"type": "object"}
    versions = {"type": "array", "items": _TEXT}
    return {
        "Model": _object(
            {"name": _TEXT, "versions": versions, "platform": _TEXT, "inputs": described, "outputs": described}
        ),
        "Infer": _object({"inputs": several}, {"id": _TEXT, "parameters": parameters, "outputs": wanted}),
        "InferAnswer": _object(
            {"model_name": _TEXT, "model_version": _TEXT, "outputs": several},
            {"id": _TEXT, "parameters": parameters},
        ),
    }
