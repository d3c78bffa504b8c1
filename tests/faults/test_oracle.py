"""The oracle finds what is wrong: a broken operator, and histories that must never be."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from multidict import CIMultiDict
from tests.faults.oracle import differences, violations
from tests.faults.points import Point
from tests.faults.proxy import Answer, Call, Exchange
from tests.faults.scenes import World
from tests.faults.trials import Outcome, Trial, play

from checkrein.store import reservations

PUT_NUMBER = "store PUT policies/versions/cartpole/1"


def forgets_its_numbers() -> None:
    """A version's number belongs to the process that reserved it: after a crash, to nobody."""
    reserve = reservations.reserve_version

    def reserved(store: Any, cluster: str, namespace: str, policy: str, owner: str) -> int:
        return reserve(store, cluster, namespace, policy, f"{owner}-{os.getpid()}")

    reservations.reserve_version = reserved


def test_an_operator_that_loses_a_number_in_a_crash_is_found(world: World, faultless: dict[str, Outcome]) -> None:
    wanted, point = faultless["suspended"].state, Point(PUT_NUMBER, 0)
    sound = play(world, Trial("sound", "suspended", [point.killed("after")]), wanted)
    broken = play(world, Trial("broken", "suspended", [point.killed("after")], 10, forgets_its_numbers), wanted)
    assert (sound.problems, sound.starts, broken.starts) == ([], 2, 2)
    assert any(problem.startswith("versions: ") for problem in broken.problems)


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
