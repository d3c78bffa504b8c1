"""A new user's path: the code blocks of docs/install.md, typed as they stand there, on a node that has nothing yet."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster import binaries
from tests.cluster.cache import REPOSITORY
from tests.cluster.cluster import Cluster
from tests.cluster.fixtures import Seen, own_node
from tests.cluster.processes import free_port

PAGE = REPOSITORY / "docs" / "install.md"
STEPS = ("Five minutes", "Five more: the next version earns its place")
SECONDS = 1500
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]  # two whole trainings and a rollout


def typed(heading: str, port: int) -> str:
    """The commands of the first console block under a heading, with this port for 8080, which may be taken."""
    block = PAGE.read_text().split(f"\n## {heading}\n")[1].split("```console\n")[1].split("```")[0]
    return re.sub(r"^\$ ", "", block, flags=re.MULTILINE).replace("8080", str(port))


@pytest.fixture
def bare(swept: None, seen: Seen) -> Iterator[Cluster]:
    """A node of the test's own: what is typed installs Checkrein with other settings than those of other tests."""
    with own_node("user", seen) as found:
        yield found


def install_commands(folder: Path, cluster: Cluster) -> None:
    """helm and kubectl as a person has them; helm adds where this cluster's images are."""
    images = []
    for name in ("operator", "trainer", "agent", "minio"):
        registry, _, rest = cluster.images[name].partition("/")
        repository, _, tag = rest.rpartition(":")
        value = "minio.image" if name == "minio" else f"images.{name}"
        images += ["--set", f"images.registry={registry},{value}.repository={repository},{value}.tag={tag}"]
    helm = f'exec {binaries.helm()} "$@" {shlex.join(images)}'
    kubectl = f'exec {shlex.join(cluster.kubectl.command)} "$@"'
    for name, line in (("helm", helm), ("kubectl", kubectl)):
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)


def test_what_the_page_says_leads_to_a_promoted_policy(bare: Cluster, tmp_path: Path) -> None:
    commands, checkout = tmp_path / "bin", tmp_path / "checkout"
    for folder in (commands, checkout):
        folder.mkdir()
    install_commands(commands, bare)
    for name in ("charts", "manifests"):
        (checkout / name).symlink_to(REPOSITORY / name)
    path = os.pathsep.join([str(commands), str(Path(sys.executable).parent), os.environ["PATH"]])
    port = free_port()
    steps = [typed(heading, port) for heading in STEPS]
    script = ["set -e", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT", *steps]
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=checkout,
        env=os.environ | {"PATH": path, "KUBECONFIG": str(bare.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    answer = json.JSONDecoder().raw_decode(done.stdout[done.stdout.index('{"action"') :])[0]
    assert (answer["action"] in (0, 1), answer["policy"]) == (True, "cartpole-1")
    assert "cartpole-2 decides" in done.stdout
    agent = bare.kubectl.get("agentdeployment", "cartpole", namespace="games")
    assert agent["status"]["stable"]["name"] == "cartpole-2"
    assert agent["status"]["history"][-1]["reason"] == "GatesPassed"
