"""The Open Inference Protocol, spoken by an existing client: tritonclient."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tests.agent.replica import OBSERVATION, Replica
from tritonclient.utils import InferenceServerException

pytestmark = [pytest.mark.controlplane, pytest.mark.store]
MODEL = "cartpole"
ROW = np.array([OBSERVATION], np.float32)


@pytest.fixture
def client(standing: Replica) -> triton.InferenceServerClient:
    return triton.InferenceServerClient(f"127.0.0.1:{standing.port}")


def tensor(values: np.ndarray[Any, Any], datatype: str = "FP32", *, binary: bool = False) -> triton.InferInput:
    made = triton.InferInput("observation", list(values.shape), datatype)
    made.set_data_from_numpy(values, binary_data=binary)
    return made


def wanted(*names: str, binary: bool = False) -> list[triton.InferRequestedOutput]:
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in names]


def parameters(result: triton.InferResult) -> dict[str, Any]:
    told: dict[str, Any] = result.get_response()["parameters"]
    return told


def test_metadata_and_health(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, "cartpole-1")
    assert not client.is_model_ready(MODEL, "cartpole-2")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["name"] == "checkrein-agent"
    model = client.get_model_metadata(MODEL)
    assert (model["name"], model["versions"]) == (MODEL, ["cartpole-1"])
    assert model["inputs"] == [{"name": "observation", "datatype": "FP32", "shape": [-1, 4]}]
    assert model["outputs"][0] == {"name": "action", "datatype": "INT64", "shape": [-1]}


@pytest.mark.parametrize("binary_in", [False, True], ids=["JSON in", "bytes in"])
@pytest.mark.parametrize("binary_out", [False, True], ids=["JSON out", "bytes out"])
def test_a_batch_is_as_many_episodes(client: triton.InferenceServerClient, binary_in: bool, binary_out: bool) -> None:
    given = [tensor(np.repeat(ROW, 3, axis=0), binary=binary_in)]
    result = client.infer(MODEL, given, outputs=wanted("action", "episode", "decision", binary=binary_out))
    assert result.get_response()["model_version"] == "cartpole-1"
    assert result.as_numpy("action").tolist() == [0, 0, 0]
    for name in ("episode", "decision"):
        assert len({bytes(v) if isinstance(v, bytes) else v for v in result.as_numpy(name)}) == 3


def test_an_episode_goes_on_by_parameters_and_ends(client: triton.InferenceServerClient, standing: Replica) -> None:
    first = parameters(client.infer(MODEL, [tensor(ROW)], model_version="cartpole-1"))
    assert (first["policy"], first["explored"], first["shielded"]) == ("cartpole-1", False, False)
    carried = {"episode": first["episode"], "reward": 1.0}
    second = parameters(client.infer(MODEL, [tensor(ROW)], parameters=carried))
    assert second["decision"] == standing.act(first["episode"])["decision"]
    last = {"episode": second["episode"], "terminated": True}
    result = client.infer(MODEL, [], parameters=last)
    assert parameters(result) == {"ended": "terminated", "steps": 2, "policy": "cartpole-1"}
    assert result.get_response()["outputs"] == []


@pytest.mark.parametrize("datatype", ["FP32", "FP64", "INT64", "INT32", "UINT8"])
@pytest.mark.parametrize("binary", [False, True], ids=["JSON", "bytes"])
def test_numbers_of_any_kind_fill_a_space_of_floats(
    client: triton.InferenceServerClient, datatype: str, binary: bool
) -> None:
    dtype = {"FP32": "f4", "FP64": "f8", "INT64": "i8", "INT32": "i4", "UINT8": "u1"}[datatype]
    result = client.infer(MODEL, [tensor(np.zeros((1, 4), dtype), datatype, binary=binary)], outputs=wanted("action"))
    assert result.as_numpy("action").tolist() == [0]


def test_a_version_that_does_not_act_is_told_which_does(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="cartpole-2 does not act; cartpole-1 does") as caught:
        client.infer(MODEL, [tensor(ROW)], model_version="cartpole-2")
    assert caught.value.status() == "404"


def test_an_infinity_in_bytes_is_refused(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="NaN and infinities") as caught:
        client.infer(MODEL, [tensor(np.full((1, 4), np.inf, np.float32), binary=True)])
    assert caught.value.status() == "400"


def body(**changes: Any) -> dict[str, Any]:
    column = {"name": "observation", "shape": [1, 4], "datatype": "FP32", "data": OBSERVATION}
    top = {name: changes.pop(name) for name in ("parameters", "outputs", "inputs", "more") if name in changes}
    return {"inputs": [column | changes]} | top


@pytest.mark.parametrize(
    ("bad", "slug", "field"),
    [
        pytest.param({"inputs": []}, "missing-field", "observation", id="no input"),
        pytest.param({}, "wrong-shape", "", id="no inputs"),
        pytest.param(body(more=1), "unknown-field", "more", id="an unknown member"),
        pytest.param(body(name="x"), "wrong-shape", "inputs", id="another input"),
        pytest.param({"inputs": body()["inputs"] * 2}, "wrong-shape", "inputs", id="one input twice"),
        pytest.param(body(shape=[4]), "wrong-shape", "observation", id="no batch dimension"),
        pytest.param(body(shape=[2, 4]), "wrong-shape", "observation", id="too little data"),
        pytest.param(body(shape=[0, 4], data=[]), "wrong-shape", "inputs", id="no row"),
        pytest.param(body(shape=[65, 4], data=[0.0] * 260), "wrong-shape", "inputs", id="too many rows"),
        pytest.param(body(data=[[0, 0], [0, 0]]), "wrong-shape", "observation", id="nested otherwise"),
        pytest.param(body(data=[0, 0, 0, "0"]), "wrong-shape", "observation", id="a string"),
        pytest.param(body(data=[0, 0, 0, True]), "wrong-shape", "observation", id="a boolean"),
        pytest.param(body(datatype="INT64"), "wrong-shape", "observation", id="fractions that are no integers"),
        pytest.param(body(datatype="INT32", data=[0, 0, 0, 2**40]), "wrong-shape", "observation", id="beyond INT32"),
        pytest.param(body(datatype="BOOL", data=[True] * 4), "wrong-shape", "observation", id="bits for numbers"),
        pytest.param(body(datatype="BYTES", data=["a"] * 4), "wrong-shape", "inputs[0].datatype", id="strings"),
        pytest.param(body(data=[5, 0, 0, 0]), "out-of-space", "observation[0]", id="outside the space"),
        pytest.param(body(data=[1e39, 0, 0, 0]), "out-of-space", "observation[0]", id="overflows"),
        pytest.param(body(parameters={"x": 1}), "unknown-field", "parameters.x", id="an unknown parameter"),
        pytest.param(body(parameters={"reward": 1}), "no-episode", "reward", id="a reward for no action"),
        pytest.param(body(parameters={"episode": "x"}), "unknown-episode", "episode", id="a forged token"),
        pytest.param(
            body(shape=[2, 4], data=OBSERVATION * 2, parameters={"episode": "x"}),
            "wrong-shape",
            "parameters.episode",
            id="a token for two rows",
        ),
        pytest.param(body(outputs=[{"name": "x"}]), "wrong-shape", "outputs", id="an unknown output"),
        pytest.param(
            body(parameters={"binary_data_output": 1}, data=[[[[]]]]), "wrong-shape", "observation", id="empty nests"
        ),
    ],
)
def test_a_bad_request_is_a_problem_with_an_error(standing: Replica, bad: Any, slug: str, field: str) -> None:
    answer = standing.infer(MODEL, json.dumps(bad).encode())
    document = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert (document["type"].rpartition("/")[2], document.get("field", "")) == (slug, field)
    assert document["error"] == document["detail"]


@pytest.mark.parametrize(
    ("size", "length", "tail"),
    [
        pytest.param(16, 10**6, b"\0" * 16, id="JSON longer than the body"),
        pytest.param(17, None, b"\0" * 16, id="more than follows"),
        pytest.param(12, None, b"\0" * 12, id="too little for the shape"),
        pytest.param(16, None, b"\0" * 20, id="bytes that belong to nothing"),
        pytest.param(-1, None, b"", id="less than nothing"),
        pytest.param("16", None, b"\0" * 16, id="no number"),
    ],
)
def test_bad_bytes_behind_the_json(standing: Replica, size: Any, length: int | None, tail: bytes) -> None:
    column = {"name": "observation", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [column]}).encode()
    answer = standing.infer(MODEL, head + tail, {"inference-header-content-length": str(length or len(head))})
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (400, "wrong-shape")


@pytest.mark.parametrize("path", ["/v2/", "/v2/models", "/v2/models/x", "/v2/models/cartpole/versions", "/v2/health"])
def test_paths_that_the_protocol_does_not_have(standing: Replica, path: str) -> None:
    answer = standing.request("GET", path)
    assert (answer.status_code, answer.json()["error"]) == (404, answer.json()["detail"])
