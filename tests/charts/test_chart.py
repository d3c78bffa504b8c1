"""The chart: valid, complete, current, and its pods as restricted as Kubernetes can ask."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from tests.api.server import Refused, Server
from tests.charts.render import CHART, DEVELOPMENT, INSTALL, ChartError, helm, install, template
from tests.cluster.cache import REPOSITORY
from tests.cluster.controlplane import ControlPlane

from checkrein.api.crds import RESOURCES, definition
from checkrein.api.tasks import AUDIENCE, CREDENTIALS_FILE, StoreCredentials
from checkrein.control.account import TOKEN_FILE
from checkrein.control.settings import SETTINGS_FILE, Settings

Raw = dict[str, Any]
NAMESPACE = "checkrein-system"


def objects(text: str) -> dict[tuple[str, str], Raw]:
    """The objects of a YAML text by kind and name."""
    found = [obj for obj in yaml.safe_load_all(text) if obj]
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in found}


def test_helm_finds_nothing_to_complain_about() -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", CHART, "--values", DEVELOPMENT)


def test_install_yaml_is_current() -> None:
    assert INSTALL.read_text() == install()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param(["--set", "store.endpoint="], "store.endpoint is required: host:port", id="no store"),
        pytest.param(["--set", "store.endpoint=http://s3:9000"], "store.endpoint", id="an endpoint with a scheme"),
        pytest.param(["--set", "store.credentials.accessKey=a"], "set both accessKey and secretKey", id="half a key"),
        pytest.param(["--set", "store.bucket=a"], "bucket", id="an unknown value"),
        pytest.param(["--set", "images.pullPolicy=Sometimes"], "pullPolicy", id="an unknown pull policy"),
        pytest.param(["--set", "timing.progress=0"], "timing.progress", id="no pause at all"),
        pytest.param(["--set", "timing.tokenKey=60"], "timing.tokenKey", id="a new key each minute"),
        pytest.param(
            ["--set", "override.gitopsAccounts=argo"], "override.gitopsAccounts", id="one account, not in a list"
        ),
    ],
)
def test_wrong_values_are_refused_by_name(options: list[str], says: str) -> None:
    with pytest.raises(ChartError, match=says):
        template(*options)


def test_settings_are_those_that_the_operator_reads() -> None:
    rendered = objects(template("--set-json", "timing.progress=0.5"))
    text = rendered["ConfigMap", "checkrein-operator"]["data"]["settings.json"]
    settings = Settings.model_validate_json(text)
    assert settings.store.endpoint == "minio.checkrein-system.svc:9000"
    assert settings.progress_seconds == 0.5
    assert settings.account == "system:serviceaccount:checkrein-system:checkrein-operator"
    assert json.loads(text) == settings.dump(), "every setting is rendered, and none that is not read"


def test_gitops_accounts_reach_admission_as_they_are() -> None:
    accounts = ["system:serviceaccount:argocd:argocd-application-controller", 'o"dd']
    rendered = objects(template("--set-json", f"override.gitopsAccounts={json.dumps(accounts)}"))
    policy = rendered["ValidatingAdmissionPolicy", "checkrein-agentdeployment-override"]
    expected = json.dumps(accounts, separators=(",", ":"))
    assert policy["spec"]["validations"][1]["expression"].endswith(f"request.userInfo.username in {expected}")


def test_the_operators_pod_finds_its_files_where_it_looks() -> None:
    pod = objects(template())["Deployment", "checkrein-operator"]["spec"]["template"]["spec"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert f"{mounts['settings']}/settings.json" == SETTINGS_FILE
    assert volumes["settings"]["configMap"]["name"] == "checkrein-operator"
    assert f"{mounts['store']}/credentials.json" == CREDENTIALS_FILE
    assert volumes["store"]["secret"]["secretName"] == "checkrein-store"
    token = volumes["account"]["projected"]["sources"][0]["serviceAccountToken"]
    assert f"{mounts['account']}/{token['path']}" == TOKEN_FILE
    assert token["audience"] == AUDIENCE


def test_changed_settings_restart_the_operator() -> None:
    def annotations(*options: str) -> Raw:
        pod = objects(template(*options))["Deployment", "checkrein-operator"]["spec"]["template"]
        found: Raw = pod["metadata"]["annotations"]
        return found

    assert annotations() == annotations()
    assert annotations() != annotations("--set", "timing.resync=31")


def test_given_credentials_become_the_secret_that_the_operator_reads() -> None:
    given = ["--set", "store.credentials.accessKey=a", "--set", 'store.credentials.secretKey=quote"d']
    secret = objects(template(*given))["Secret", "checkrein-store"]
    credentials = StoreCredentials.model_validate_json(secret["stringData"]["credentials.json"])
    assert (credentials.access_key, credentials.secret_key) == ("a", 'quote"d')
    assert not [kind for kind, _ in objects(template()) if kind == "Secret"]


def test_crds_are_kept_when_the_release_goes_and_can_be_left_out() -> None:
    rendered = objects(template())
    for resource in RESOURCES:
        crd = rendered["CustomResourceDefinition", f"{resource.plural}.checkrein.dev"]
        assert crd["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        assert crd == definition(resource)
    without = objects(template("--set", "crds.install=false"))
    assert set(rendered) - set(without) == {key for key in rendered if key[0] == "CustomResourceDefinition"}


def test_nothing_that_the_cluster_has_once_is_named_after_the_release() -> None:
    def names(release: str) -> set[tuple[str, str]]:
        arguments = (CHART, "--namespace", NAMESPACE, "--kube-version", "1.34.0", "--values", DEVELOPMENT)
        return set(objects(helm("template", release, *arguments)))

    assert names("one") == names("another")


@pytest.mark.controlplane
@pytest.mark.parametrize(
    "folder", ["manifests/minio", "manifests/samples/cartpole", "manifests/samples/cartpole-canary"]
)
def test_kustomizations_are_accepted(installed: ControlPlane, folder: str) -> None:
    options = ("--server-side", "--validate=strict", "--dry-run=server")
    assert installed.kubectl("apply", *options, "-k", str(REPOSITORY / folder))


def pods() -> list[Any]:
    """Every pod that we ship, with the file that it is from."""
    files = [INSTALL, REPOSITORY / "manifests/minio/minio.yaml", REPOSITORY / "manifests/samples/cartpole/play.yaml"]
    found = [(path.name, key, obj) for path in files for key, obj in objects(path.read_text()).items()]
    return [
        pytest.param(obj["spec"]["template"], id=f"{name}: {key[1]}")
        for name, key, obj in found
        if key[0] in ("Deployment", "StatefulSet", "Job")
    ]


def admitted(admin: Server, template: Raw) -> Raw:
    """The pod as the namespace's Pod Security admission takes it; its service account is left to the default."""
    spec = {key: value for key, value in template["spec"].items() if key != "serviceAccountName"}
    metadata = {"name": "probe", "namespace": NAMESPACE}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    return admin.send("POST", f"/api/v1/namespaces/{NAMESPACE}/pods", pod, dry_run=True)


@pytest.fixture(scope="module")
def default_account(admin: Server) -> None:
    """What the controller manager, absent here, would create in each namespace."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": NAMESPACE}}
    admin.send("POST", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", account)


@pytest.mark.controlplane
@pytest.mark.usefixtures("default_account")
@pytest.mark.parametrize("template", pods())
def test_every_pod_passes_pod_security_restricted(admin: Server, template: Raw) -> None:
    assert admitted(admin, template)


@pytest.mark.controlplane
@pytest.mark.usefixtures("default_account")
def test_the_namespace_would_refuse_a_pod_that_is_not_restricted(admin: Server) -> None:
    bare = {"spec": {"containers": [{"name": "a", "image": "a"}]}}
    with pytest.raises(Refused, match='violates PodSecurity "restricted'):
        admitted(admin, bare)
