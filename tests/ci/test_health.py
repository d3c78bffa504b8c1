"""What Argo CD and Flux make of our resources: their scripts and expressions, run as they run them."""

from __future__ import annotations

from typing import Any

import lupa
import pytest
import yaml
from cel import evaluate
from pydantic import BaseModel
from tests.api.objects import pointer
from tests.cli import things
from tests.cluster.cache import REPOSITORY

CI = REPOSITORY / "manifests" / "ci"
SCRIPTS = yaml.safe_load((CI / "argocd-health.yaml").read_text())["data"]
EXPRESSIONS = {
    e["kind"]: e for e in yaml.safe_load((CI / "flux-kustomization.yaml").read_text())["spec"]["healthCheckExprs"]
}
NOT_YET = things.said("Ready", "False", "NotReady", "no version is stable yet")
OVERRIDDEN = things.said("Ready", "True", "Overridden") + things.said("Overridden", "True", "Stop", "by ops: a fault")
WAITS = things.said("Ready", "True", "Ready") + things.said("Progressing", "True", "Paused", "for a person")
REJECTED = [{"name": "cartpole-2", "reason": "GateFailed", "message": "the return is lower"}]


def case(obj: BaseModel, argo: str, flux: str, name: str) -> Any:
    return pytest.param(obj, argo, flux, id=name)


CASES = [
    case(things.env(), "Healthy", "current", "an environment that was probed"),
    case(things.env(phase="Probing", conditions=[]), "Progressing", "inProgress", "one that is being probed"),
    case(things.env(phase="Failed"), "Degraded", "failed", "one that failed"),
    case(things.env(observedGeneration=0), "Progressing", "inProgress", "one whose spec nobody has read"),
    case(things.job(), "Healthy", "current", "a job that is complete"),
    case(things.job(phase="Running"), "Progressing", "inProgress", "one that trains"),
    case(things.job(phase="Failed"), "Degraded", "failed", "one that failed its gate"),
    case(things.deployment(), "Healthy", "current", "an agent whose version decides"),
    case(
        things.deployment(wanted="cartpole-2", candidate=pointer("cartpole-2"), phase="Progressing"),
        "Progressing",
        "inProgress",
        "one whose candidate earns its place",
    ),
    case(
        things.deployment(wanted="cartpole-2", candidate=pointer("cartpole-2"), phase="Paused", conditions=WAITS),
        "Suspended",
        "inProgress",
        "one whose rollout waits for a person",
    ),
    case(things.deployment(wanted="cartpole-2", rejected=REJECTED), "Degraded", "failed", "one that rejected it"),
    case(things.deployment(phase="Overridden", conditions=OVERRIDDEN), "Suspended", "current", "an overridden one"),
    case(
        things.deployment(stable=None, phase="Pending", conditions=NOT_YET), "Progressing", "inProgress", "a new agent"
    ),
]


def raw(obj: BaseModel) -> dict[str, Any]:
    kind = {"apiVersion": "checkrein.dev/v1alpha1", "kind": type(obj).__name__}
    return kind | obj.model_dump(mode="json", by_alias=True, exclude_none=True)


@pytest.mark.parametrize(("obj", "argo", "flux"), CASES)
def test_argo_cd(obj: BaseModel, argo: str, flux: str) -> None:
    lua = lupa.LuaRuntime(unpack_returned_tuples=True)
    script = SCRIPTS[f"resource.customizations.health.checkrein.dev_{type(obj).__name__}"]
    lua.globals().obj = lua.table_from(raw(obj), recursive=True)
    health = lua.execute(script)
    assert health["status"] == argo
    assert health["message"]


@pytest.mark.parametrize(("obj", "argo", "flux"), CASES)
def test_flux(obj: BaseModel, argo: str, flux: str) -> None:
    """In the order in which Flux asks: what is in progress, then what failed, then what is current."""
    expressions, document = EXPRESSIONS[type(obj).__name__], raw(obj)
    found = next(
        (key for key in ("inProgress", "failed", "current") if evaluate(expressions[key], document)), "inProgress"
    )
    assert found == flux
