"""A release's life with helm: installed, upgraded from the version before, gone, and back; what people made stays."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.api.objects import MISSING, agent, changed, environment, policy_version, training
from tests.api.server import PLURALS, Server
from tests.charts.render import CHART, NAMESPACE, helm
from tests.cluster import binaries
from tests.cluster.controlplane import ControlPlane
from tests.cluster.processes import State

pytestmark = pytest.mark.controlplane
Raw = dict[str, Any]
PREVIOUS = Path(__file__).parent / "previous" / "checkrein-0.1.0.tgz"  # `helm package` of that version
STORE = ("--set", "store.endpoint=s3.example:9000,store.region=eu-central-1")
MINE = "app.kubernetes.io/managed-by=Helm"
OWNED = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings"
HERE = "all,serviceaccounts,configmaps,roles,rolebindings,networkpolicies,poddisruptionbudgets"


class Release:
    """A control plane that helm has to itself, and the release `checkrein` on it."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.server = Server(plane.kubeconfig)

    def helm(self, *arguments: str | Path) -> str:
        return helm(*arguments, "--kubeconfig", self.plane.kubeconfig, "--namespace", NAMESPACE)

    def settings(self) -> Raw:
        found = self.plane.kubectl.get("configmap", "checkrein-operator", namespace=NAMESPACE)
        settings: Raw = json.loads(found["data"]["settings.json"])
        return settings

    def left(self) -> set[str]:
        """What there is of the chart beside the CRDs."""
        everywhere = self.plane.kubectl("get", OWNED, "-l", MINE, "-o", "name")
        here = self.plane.kubectl("-n", NAMESPACE, "get", HERE, "-l", MINE, "-o", "name")
        return set(f"{everywhere}\n{here}".split())

    def crds(self) -> set[str]:
        return set(self.plane.kubectl("get", "crds", "-o", "name").split())


@pytest.fixture(scope="module")
def empty(swept: None) -> Iterator[Release]:
    state = State.create(f"controlplane-release-{os.getpid()}", owned=True)
    try:
        yield Release(ControlPlane(state))
    finally:
        state.remove()


UNKNOWN_BEFORE = {
    "TrainingJob": ("spec.suspend", "spec.tracking"),
    "PolicyVersion": ("spec.recording",),
    "AgentDeployment": ("spec.strategy.watch.errors", "spec.strategy.watch.cost"),
}
"""Fields that the packaged version before does not serve."""


@pytest.fixture
def release(empty: Release) -> Iterator[Release]:
    yield empty
    empty.helm("uninstall", "checkrein", "--ignore-not-found")


def people(release: Release, namespace: str) -> list[Raw]:
    """One of each kind, as people and, for PolicyVersions, the operator make them."""
    release.plane.kubectl.established()
    release.plane.kubectl("create", "namespace", namespace)
    wanted = (environment(), training(), policy_version(), changed(agent(), "spec.override", MISSING))
    return [release.server.create(changed(known(obj), "metadata.namespace", namespace)) for obj in wanted]


def known(obj: Raw) -> Raw:
    """Without what the version before does not know."""
    for field in UNKNOWN_BEFORE.get(obj["kind"], ()):
        obj = changed(obj, field, MISSING)
    return obj


def unchanged(release: Release, made: list[Raw]) -> bool:
    """Same objects, same words: no new uid, no deletion under way; fields that are new may have their defaults."""
    for obj in made:
        found = release.server.get(obj)
        assert found["metadata"]["uid"] == obj["metadata"]["uid"]
        assert found["spec"] | obj["spec"] == found["spec"]
        assert "deletionTimestamp" not in found["metadata"]
    return True


def test_the_version_before_is_upgraded_with_what_people_made_in_place(release: Release) -> None:
    release.helm("install", "checkrein", PREVIOUS, *STORE, "--set", "timing.resync=60", "--create-namespace")
    made = people(release, "games")
    assert not any("networkpolicy" in name for name in release.left())
    release.helm("upgrade", "checkrein", CHART, "--reset-then-reuse-values")
    assert unchanged(release, made)
    assert release.settings()["store"]["region"] == "eu-central-1"
    assert release.settings()["resyncSeconds"] == 60
    assert "networkpolicy.networking.k8s.io/checkrein-operator" in release.left()
    rules = release.plane.kubectl.get("clusterrole", "checkrein-operator")["rules"]
    assert any("poddisruptionbudgets" in rule["resources"] for rule in rules)
    release.helm("rollback", "checkrein", "1")
    assert unchanged(release, made)


def test_people_keep_what_they_made_when_the_release_goes_and_when_it_comes_back(release: Release) -> None:
    release.helm("install", "checkrein", CHART, *STORE, "--create-namespace")
    made = people(release, "robots")
    release.helm("uninstall", "checkrein")
    assert release.left() == set()
    assert {f"customresourcedefinition.apiextensions.k8s.io/{plural}.checkrein.dev" for plural in PLURALS.values()} == (
        release.crds()
    )
    assert unchanged(release, made)
    release.helm("install", "checkrein", CHART, *STORE)
    assert unchanged(release, made)


def test_minios_passwords_are_drawn_once(release: Release) -> None:
    def passwords() -> list[Raw]:
        names = ("minio-administrator", "checkrein-store")
        return [release.plane.kubectl.get("secret", name, namespace=NAMESPACE)["data"] for name in names]

    release.helm("install", "checkrein", CHART, "--set", "minio.enabled=true", "--create-namespace")
    first = passwords()
    assert first[0]["secretKey"] != first[1]["secretKey"]
    release.helm("upgrade", "checkrein", CHART, "--reuse-values", "--set", "timing.resync=60")
    assert passwords() == first
    assert release.settings()["store"]["endpoint"] == f"minio.{NAMESPACE}.svc:9000"


EVERYTHING = {
    "store": {
        "endpoint": "s3.example:9443",
        "caBundle": "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----",
    },
    "images": {"registry": "registry.example", "pullSecrets": [{"name": "registry"}]},
    "operator": {
        "replicas": 3,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "Exists"}]}]
                }
            }
        },
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
        ],
        "priorityClassName": "system-cluster-critical",
        "podAnnotations": {"a": "b"},
        "podLabels": {"team": "rl"},
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"}],
        "podDisruptionBudget": {"enabled": True, "maxUnavailable": "50%"},
    },
    "networkPolicy": {
        "workloadNamespaces": ["default"],
        "callers": [{"ipBlock": {"cidr": "192.0.2.0/24"}}],
        "jobEgress": [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}],
    },
    "monitors": {"enabled": True, "labels": {"release": "prometheus"}},
}
DEVELOPMENT = {"minio": {"enabled": True, "storage": {"size": "10Gi", "storageClassName": "fast"}}}


@pytest.mark.parametrize(
    "values", [pytest.param(EVERYTHING, id="everything"), pytest.param(DEVELOPMENT, id="MinIO with a volume")]
)
def test_what_every_switch_adds_is_valid_to_the_api_server(release: Release, tmp_path: Path, values: Raw) -> None:
    crds = binaries.prometheus_operator_crds()
    for kind in ("servicemonitors", "podmonitors"):
        release.plane.kubectl("apply", "--server-side", "-f", str(crds / f"monitoring.coreos.com_{kind}.yaml"))
    release.plane.kubectl.served("servicemonitors.monitoring.coreos.com", "podmonitors.monitoring.coreos.com")
    given = tmp_path / "values.yaml"
    given.write_text(yaml.safe_dump(values))
    release.plane.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    text = helm("template", "checkrein", CHART, "-n", NAMESPACE, "--kube-version", "1.34.0", "--values", given)
    made = [obj for obj in yaml.safe_load_all(text) if obj]
    strict = ("--server-side", "--force-conflicts", "--validate=strict", "--dry-run=server")
    assert release.plane.kubectl("apply", *strict, "-f", "-", stdin=text).count("serverside-applied") == len(made)
    wanted = {"ServiceMonitor", "PodMonitor"} if values is EVERYTHING else {"StatefulSet"}
    assert wanted <= {obj["kind"] for obj in made}
