"""A cluster by kind (https://kind.sigs.k8s.io), for machines with Docker: CHECKREIN_CLUSTER=kind.

Images are built by Docker, tagged as on our own node, and loaded into kind's. Everything else is that cluster's own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.cluster import binaries
from tests.cluster.cache import folder, locked
from tests.cluster.cluster import Cluster
from tests.cluster.images import BASE_PACKAGES, BASE_SUITE, Recipe, recipes
from tests.cluster.processes import run
from tests.cluster.steps import ClusterError, step

# Of kind v0.30.0's release notes; other releases of kind run it as well as they can.
NODE_IMAGE = "kindest/node:v1.34.0@sha256:7416a61b42b1662ca6ca89f02028ac133a309a2a30ba309614e8ec94d976dc5a"
VARIABLE = "CHECKREIN_CLUSTER"
BASE = Path(__file__).with_name("base.Dockerfile")


def chosen() -> bool:
    """Whether CHECKREIN_CLUSTER asks for it. Raises ClusterError where that names nothing that we know."""
    name = os.environ.get(VARIABLE, "")
    if name not in ("", "node", "kind"):
        raise ClusterError(f"{VARIABLE} is {name!r}; it may be kind, or node (the default): a node without Docker.")
    return name == "kind"


def up(name: str) -> Cluster:
    """Brings up the cluster of that name with the images of this checkout, or finds it. Raises ClusterError."""
    if missing := [tool for tool in ("docker", "kind") if shutil.which(tool) is None]:
        raise ClusterError(f"{VARIABLE}=kind needs {' and '.join(missing)} on the PATH.")
    wanted = recipes()
    with locked(f"kind-{name}"):
        found = run("kind", ["kind", "get", "clusters"]).split()
        if cluster_name(name) not in found:
            with step(f"kind creates cluster {cluster_name(name)}"):
                run("kind", create(name))
        for recipe in wanted.values():
            with step(f"building image {recipe.name}"):
                run("docker", build(recipe, wanted))
        with step("loading the images"):
            run("kind", load(name, wanted))
    cluster = Cluster(kubeconfig(name))
    cluster.images = {recipe.name: recipe.reference for recipe in wanted.values()}
    return cluster


def down(name: str) -> None:
    """Deletes the cluster of that name, if there is one."""
    with step(f"kind deletes cluster {cluster_name(name)}"):
        run("kind", ["kind", "delete", "cluster", "--name", cluster_name(name), "--kubeconfig", str(kubeconfig(name))])


def cluster_name(name: str) -> str:
    """Among those of other projects."""
    return f"checkrein-{name}"


def kubeconfig(name: str) -> Path:
    """A file of its own: the person's stays as it is."""
    return folder("kind") / f"{name}.kubeconfig"


def create(name: str) -> list[str]:
    """The command that makes a cluster of one node."""
    target = ["--name", cluster_name(name), "--kubeconfig", str(kubeconfig(name))]
    return ["kind", "create", "cluster", *target, "--image", NODE_IMAGE, "--wait", "5m"]


def build(recipe: Recipe, wanted: Mapping[str, Recipe]) -> list[str]:
    """The command that builds one image."""
    if recipe.dockerfile is None:
        arguments = {"SUITE": BASE_SUITE, "PACKAGES": " ".join(BASE_PACKAGES)}
        dockerfile, context = BASE, BASE.parent
    else:
        arguments = {"BASE_IMAGE": wanted[recipe.base].reference}
        dockerfile, context = recipe.dockerfile, recipe.context
        if recipe.name == "minio":
            shutil.copy2(binaries.minio(), context / "minio")
    options = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
    return ["docker", "build", *options, "--file", str(dockerfile), "--tag", recipe.reference, str(context)]


def load(name: str, wanted: Mapping[str, Recipe]) -> list[str]:
    """The command that hands the images to the node."""
    references = [recipe.reference for recipe in wanted.values()]
    return ["kind", "load", "docker-image", "--name", cluster_name(name), *references]
