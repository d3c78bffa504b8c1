"""The chart: valid, complete, current, and its pods as restricted as Kubernetes can ask."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from tests.api.server import Refused, Server
from tests.charts.render import BASE, CHART, DEVELOPMENT, INSTALL, PRODUCTION, ChartError, helm, rendered, template
from tests.cluster.cache import REPOSITORY
from tests.cluster.controlplane import ControlPlane

from checkrein.api.crds import RESOURCES, definition
from checkrein.api.tasks import AUDIENCE, AUTHORITIES, CREDENTIALS_FILE, StoreCredentials
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


def test_what_is_rendered_from_the_chart_is_current() -> None:
    for path, text in rendered().items():
        assert path.read_text() == text, f"{path.name}: run `make generate`"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param(["--set", "minio.enabled=false"], "store.endpoint is required: host:port", id="no store"),
        pytest.param(["--set", "store.endpoint=http://s3:9000"], "store.endpoint", id="an endpoint with a scheme"),
        pytest.param(["--set", "store.endpoint=s3:9000"], "store.endpoint: leave it empty with minio", id="two stores"),
        pytest.param(["--set", "store.credentials.accessKey=a"], "set both accessKey and secretKey", id="half a key"),
        pytest.param(["--set", "store.bucket=a"], "bucket", id="an unknown value"),
        pytest.param(["--set", "store.caBundle=ca.pem"], "store.caBundle", id="the name of a bundle, not the bundle"),
        pytest.param(
            ["--set", "store.caConfigMap.name=authorities"], "set store.secure=true", id="a bundle for plain HTTP"
        ),
        pytest.param(["--set", "images.pullPolicy=Sometimes"], "pullPolicy", id="an unknown pull policy"),
        pytest.param(["--set", "images.registry=https://registry.example"], "images.registry", id="a registry's URL"),
        pytest.param(
            ["--set", "images.pullSecrets={registry}"], "images.pullSecrets", id="a name that is no reference"
        ),
        pytest.param(["--set", "timing.progress=0"], "timing.progress", id="no pause at all"),
        pytest.param(["--set", "watchNamespaces={Games}"], "watchNamespaces", id="no namespace's name"),
        pytest.param(["--set", "watchNamespaces={a,a}"], "watchNamespaces", id="a namespace twice"),
        pytest.param(["--set", "timing.tokenKey=60"], "timing.tokenKey", id="a new key each minute"),
        pytest.param(["--set", "minio.storage.size=much"], "minio.storage.size", id="a size that is none"),
        pytest.param(["--set", "operator.replica=3"], "replica", id="a misspelt value"),
        pytest.param(["--set", "operator.podDisruptionBudget.maxUnavailable=0"], "maxUnavailable", id="no drain ever"),
        pytest.param(
            ["--set", "networkPolicy.workloadNamespaces={checkrein-system}"],
            "the release's own namespace",
            id="agents beside the operator",
        ),
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


def test_with_namespaces_named_nothing_is_cluster_wide_but_identity_and_definitions() -> None:
    text = template("--set", "watchNamespaces={games,checkrein-system}")
    found = [obj for obj in yaml.safe_load_all(text) if obj and obj["kind"] in ("ClusterRole", "Role", "RoleBinding")]
    rules = {
        (obj["kind"], obj["metadata"]["name"], obj["metadata"].get("namespace")): obj.get("rules") for obj in found
    }
    wide = rules["ClusterRole", "checkrein-operator", None]
    assert [(rule["resources"], rule["verbs"]) for rule in wide] == [
        (["customresourcedefinitions"], ["get"]),
        (["namespaces"], ["get"]),
    ]
    assert all(rule["resourceNames"] for rule in wide)
    everywhere = objects(template())["ClusterRole", "checkrein-operator"]["rules"]
    for namespace in ("games", "checkrein-system"):
        assert [*rules["Role", "checkrein-operator-watched", namespace], *everywhere[-2:]] == everywhere
        assert ("RoleBinding", "checkrein-operator-watched", namespace) in rules
    assert ("Role", "checkrein-operator", "checkrein-system") in rules, "the Lease's"
    settings = Settings.model_validate_json(objects(text)["ConfigMap", "checkrein-operator"]["data"]["settings.json"])
    assert settings.watch_namespaces == ["games", "checkrein-system"]


def test_gitops_accounts_reach_admission_as_they_are() -> None:
    accounts = ["system:serviceaccount:argocd:argocd-application-controller", 'o"dd']
    rendered = objects(template("--set-json", f"override.gitopsAccounts={json.dumps(accounts)}"))
    policy = rendered["ValidatingAdmissionPolicy", "checkrein-agentdeployment-override"]
    expected = json.dumps(accounts, separators=(",", ":"))
    assert policy["spec"]["validations"][1]["expression"].endswith(f"request.userInfo.username in {expected}")


def mounted(*options: str) -> Raw:
    """What the operator's pod finds where: path -> source, of the folders that the chart fills."""
    pod = objects(template(*options, values=PRODUCTION))["Deployment", "checkrein-operator"]["spec"]["template"]["spec"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    found: Raw = {f"{mounts['settings']}/settings.json": pod["volumes"][0]["configMap"]["name"]}
    for volume in pod["volumes"]:
        for source in volume.get("projected", {}).get("sources", ()):
            if token := source.get("serviceAccountToken"):
                found[f"{mounts[volume['name']]}/{token['path']}"] = token["audience"]
                continue
            [(kind, what)] = source.items()
            for item in what["items"]:
                found[f"{mounts[volume['name']]}/{item['path']}"] = (kind, what["name"], item["key"])
    return found


def test_the_operators_pod_finds_its_files_where_it_looks() -> None:
    assert mounted() == {
        SETTINGS_FILE: "checkrein-operator",
        CREDENTIALS_FILE: ("secret", "checkrein-store", "credentials.json"),
        TOKEN_FILE: AUDIENCE,
    }


PEM = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("options", "source"),
    [
        pytest.param(
            ["--set-literal", f"store.caBundle={PEM}"], ("checkrein-store-authorities", "ca.crt"), id="written down"
        ),
        pytest.param(
            ["--set", "store.caConfigMap.name=trust,store.caConfigMap.key=bundle.pem"],
            ("trust", "bundle.pem"),
            id="of a ConfigMap that exists",
        ),
    ],
)
def test_who_vouches_for_the_store_lies_beside_the_credentials(options: list[str], source: tuple[str, str]) -> None:
    assert mounted(*options)[str(Path(CREDENTIALS_FILE).with_name(AUTHORITIES))] == ("configMap", *source)
    made = objects(template(*options, values=PRODUCTION))
    settings = Settings.model_validate_json(made["ConfigMap", "checkrein-operator"]["data"]["settings.json"])
    assert settings.store.private_authority
    if source[0] == "checkrein-store-authorities":
        assert made["ConfigMap", source[0]]["data"] == {source[1]: PEM}


def test_a_closed_registry_is_told_to_every_pod() -> None:
    options = ["--set", "images.registry=registry.example/rl/,images.pullSecrets[0].name=registry"]
    made = objects(template(*options))
    settings = Settings.model_validate_json(made["ConfigMap", "checkrein-operator"]["data"]["settings.json"])
    assert settings.images.trainer == "registry.example/rl/checkrein/trainer:0.1.0"
    assert settings.image_pull_secrets == ("registry",)
    for key in (("Deployment", "checkrein-operator"), ("StatefulSet", "minio")):
        pod = made[key]["spec"]["template"]["spec"]
        assert pod["imagePullSecrets"] == [{"name": "registry"}]
        assert all(container["image"].startswith("registry.example/rl/checkrein/") for container in pod["containers"])


def test_a_single_operator_has_no_budget_that_would_hold_up_a_drain() -> None:
    assert ("PodDisruptionBudget", "checkrein-operator") in objects(template())
    assert ("PodDisruptionBudget", "checkrein-operator") not in objects(template("--set", "operator.replicas=1"))


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
    "folder", ["manifests/base", "manifests/samples/cartpole", "manifests/samples/cartpole-canary"]
)
def test_kustomizations_are_accepted(installed: ControlPlane, folder: str) -> None:
    options = ("--server-side", "--force-conflicts", "--validate=strict", "--dry-run=server")
    assert installed.kubectl("apply", *options, "-k", str(REPOSITORY / folder))


@pytest.mark.controlplane
def test_an_overlay_brings_its_store_and_the_operator_starts_anew(installed: ControlPlane) -> None:
    (REPOSITORY / "build").mkdir(exist_ok=True)
    with TemporaryDirectory(dir=REPOSITORY / "build") as folder:  # kustomize takes relative paths only
        overlay = {
            "resources": ["../../manifests/base"],
            "configMapGenerator": [
                {
                    "name": "checkrein-operator",
                    "namespace": NAMESPACE,
                    "behavior": "replace",
                    "files": ["settings.json"],
                }
            ],
        }
        Path(folder, "kustomization.yaml").write_text(json.dumps(overlay))

        def built(endpoint: str) -> str:
            settings = json.loads(BASE.with_name("settings.json").read_text())
            settings["store"]["endpoint"] = endpoint
            Path(folder, "settings.json").write_text(json.dumps(settings))
            made = objects(installed.kubectl("kustomize", folder))
            pod = made["Deployment", "checkrein-operator"]["spec"]["template"]["spec"]
            name: str = pod["volumes"][0]["configMap"]["name"]
            assert json.loads(made["ConfigMap", name]["data"]["settings.json"])["store"]["endpoint"] == endpoint
            return name

        assert built("s3.one") != built("s3.another")


def pods() -> list[Any]:
    """Every pod that we ship, with the file that it is from."""
    files = [INSTALL, BASE, REPOSITORY / "manifests/samples/cartpole/play.yaml"]
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
