"""The commands by which kind and Docker are asked. Nothing here runs them: that needs a machine with Docker."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cluster import kind
from tests.cluster.images import recipes
from tests.cluster.steps import ClusterError


@pytest.mark.parametrize(("value", "wanted"), [("", False), ("node", False), ("kind", True)])
def test_it_is_used_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, value: str, wanted: bool) -> None:
    monkeypatch.setenv(kind.VARIABLE, value)
    assert kind.chosen() is wanted


def test_another_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kind.VARIABLE, "minikube")
    with pytest.raises(ClusterError, match="CHECKREIN_CLUSTER is 'minikube'; it may be kind"):
        kind.chosen()


def test_without_the_tools_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="needs docker and kind on the PATH"):
        kind.up("demo")


def test_the_node_is_pinned_and_the_person_s_kubeconfig_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CHECKREIN_CACHE", str(tmp_path))
    command = " ".join(kind.create("demo"))
    assert command.startswith("kind create cluster --name checkrein-demo --kubeconfig ")
    assert f"{tmp_path}/kind/demo.kubeconfig" in command
    assert "--image kindest/node:v1.34.0@sha256:" in command


def test_images_are_built_on_each_other_and_loaded_by_the_names_that_pods_use() -> None:
    wanted = recipes()
    base, agent = " ".join(kind.build(wanted["base"], wanted)), " ".join(kind.build(wanted["agent"], wanted))
    assert f"--tag {wanted['base'].reference} " in base
    assert "base.Dockerfile" in base
    assert "--build-arg SUITE=bookworm --build-arg PACKAGES=python3 python3-venv ca-certificates" in base
    assert f"--build-arg BASE_IMAGE={wanted['base'].reference}" in agent
    badenvs = " ".join(kind.build(wanted["badenvs"], wanted))
    assert f"--build-arg BASE_IMAGE={wanted['trainer'].reference}" in badenvs
    command = kind.load("demo", wanted)
    assert command[:5] == ["kind", "load", "docker-image", "--name", "checkrein-demo"]
    assert command[5:] == [recipe.reference for recipe in wanted.values()]
    assert list(wanted).index("trainer") < list(wanted).index("badenvs"), "built in this order"
