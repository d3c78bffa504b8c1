"""The oracle finds what must never have been in a history of writes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from multidict import CIMultiDict
from tests.faults.oracle import differences, violations
from tests.faults.proxy import Answer, Call, Exchange


def wrote(method: str, obj: dict[str, Any], status: int = 200) -> Exchange:
    """The operator did, and the API server took it."""
    call = Call("api", method, "/somewhere", CIMultiDict(), b"")
    return Exchange(call, Answer(status, CIMultiDict(), json.dumps(obj).encode()))


def job(owner: str) -> dict[str, Any]:
    return {"kind": "Job", "metadata": {"name": "a-train-1", "ownerReferences": [{"uid": owner}]}}


def version(digest: str = "x", verified: str = "True") -> dict[str, Any]:
    status = {"conditions": [{"type": "Verified", "status": verified}]}
    spec = {"artifact": {"digest": digest}, "provenance": {"uid": "a"}}
    return {"kind": "PolicyVersion", "metadata": {"name": "p-1"}, "spec": spec, "status": status}


def agent(stable: str, epoch: int, **status: Any) -> dict[str, Any]:
    whole = {"epoch": epoch, **({"stable": {"name": stable}} if stable else {}), **status}
    return {"kind": "AgentDeployment", "metadata": {"name": "a", "uid": "a"}, "spec": {}, "status": whole}


def at(version: int, obj: dict[str, Any]) -> dict[str, Any]:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}


VERIFIED = wrote("PATCH", version())


@pytest.mark.parametrize(
    ("history", "wrong"),
    [
        pytest.param([wrote("POST", job("a"), 201), wrote("POST", job("a"), 201)], "created twice", id="twice"),
        pytest.param([wrote("POST", job("a"), 201), wrote("POST", job("b"), 201)], "", id="for another owner"),
        pytest.param([wrote("POST", job("a"), 201), wrote("POST", job("a"), 409)], "", id="met"),
        pytest.param(
            [wrote("POST", version(), 201), wrote("POST", version("y"), 201)], "given out twice", id="other bytes"
        ),
        pytest.param([wrote("PATCH", agent("p-1", 1))], "never verified", id="unverified"),
        pytest.param(
            [wrote("PATCH", version(verified="False")), wrote("PATCH", agent("p-1", 1))], "never", id="refused"
        ),
        pytest.param(
            [wrote("PATCH", agent("", 0, candidate={"name": "p-1"}))], "is candidate", id="unverified candidate"
        ),
        pytest.param([VERIFIED, wrote("PATCH", agent("p-1", 1))], "", id="verified"),
        pytest.param(
            [wrote("PATCH", at(8, agent("p-1", 1))), wrote("PATCH", at(7, version()))], "", id="answered later"
        ),
        pytest.param(
            [wrote("PATCH", at(7, agent("p-1", 1))), wrote("PATCH", at(8, version()))], "never", id="verified later"
        ),
        pytest.param([VERIFIED, wrote("PATCH", agent("p-1", 0))], "epoch 0", id="acts without an epoch of its own"),
        pytest.param(
            [VERIFIED, wrote("PATCH", agent("p-1", 2)), wrote("PATCH", agent("p-1", 1))],
            "epoch 2",
            id="epoch goes back",
        ),
    ],
)
def test_what_must_never_have_been(history: list[Exchange], wrong: str) -> None:
    found = " ".join(violations(history))
    assert wrong in found
    assert bool(wrong) is bool(found)


def test_an_end_that_differs_is_told_by_where() -> None:
    assert list(differences({"a": {"b": 1}}, {"a": {"b": 2}, "c": []})) == [
        "a.b: 1 instead of 2",
        "c: null instead of []",
    ]
