"""`checkrein doctor`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.charts.conftest import installed
from tests.cli.conftest import Said, called
from tests.cluster.controlplane import ControlPlane

from checkrein.cli.look.doctor import leader, operator

__all__ = ["installed"]
NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)


def lease(age: float) -> dict[str, Any]:
    renewed = (NOW - timedelta(seconds=age)).isoformat()
    return {"spec": {"holderIdentity": "operator-1", "renewTime": renewed, "leaseDurationSeconds": 15}}


@pytest.mark.parametrize(
    ("found", "verdict"), [(lease(3), "ok"), (lease(300), "fail"), (None, "fail"), ({"spec": {}}, "fail")]
)
def test_somebody_has_to_lead(found: dict[str, Any] | None, verdict: str) -> None:
    assert leader(found, NOW).verdict == verdict


@pytest.mark.parametrize(
    ("ready", "version", "verdicts"),
    [(2, "1.0", ["ok"]), (1, "1.0", ["no"]), (0, "1.0", ["fail"]), (2, "0.9", ["ok", "no"])],
)
def test_the_operator_runs_and_is_of_this_version(ready: int, version: str, verdicts: list[str]) -> None:
    labels = {"app.kubernetes.io/version": version}
    meta = {"namespace": "checkrein-system", "name": "checkrein-operator", "labels": labels}
    deployment = {"metadata": meta, "spec": {"replicas": 2}, "status": {"readyReplicas": ready}}
    assert [check.verdict for check in operator(deployment, "1.0")] == verdicts


@pytest.mark.controlplane
def test_without_an_installation_it_says_what_to_install(command: Callable[..., Said]) -> None:
    code, out, _ = command("doctor")
    assert code == 1
    assert "fail    no operator is installed: helm install checkrein charts/checkrein" in out
    assert "ok      you may override agents in default" in out


@pytest.mark.controlplane
def test_of_an_installation_whose_pods_do_not_start(
    installed: ControlPlane, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = called(installed.kubeconfig, capsys, "doctor")
    assert code == 1
    lines = {line[8:]: line[:8].strip() for line in out.splitlines()}
    assert lines["checkrein.dev/v1alpha1 serves all four kinds"] == "ok"
    assert any(verdict == "ok" and "admission policies are in force" in said for said, verdict in lines.items())
    assert any(verdict == "fail" and "none of 2 replicas is ready" in said for said, verdict in lines.items())
    code, out, _ = called(installed.kubeconfig, capsys, "doctor", "--as", "nobody@example.com")
    assert "no      you may not override agents in default (ClusterRole checkrein-override)" in out
    assert "unknown the API server refuses it (403)" in out
