"""The way in and the way out, as docs/install.md tells them: typed as they stand there, on a cluster that runs pods.

The last of the tests on the session's cluster: it takes Checkrein away.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
from tests.cluster import binaries
from tests.cluster.cache import REPOSITORY
from tests.cluster.cluster import Cluster
from tests.cluster.processes import free_port
from tests.cluster.steps import ClusterError, wait_until

DOCS = REPOSITORY / "docs" / "install.md"
pytestmark = pytest.mark.timeout(1800)  # a whole training, beside a node that starts
GAMES = "games"
SECONDS = 900
LOCAL_PORT = free_port()  # in the place of 8080, which may be taken


def typed(heading: str) -> str:
    """The commands of the first console block under a heading."""
    block = DOCS.read_text().split(f"\n## {heading}\n")[1].split("```console\n")[1].split("```")[0]
    return block.replace("\n$ ", "\n").removeprefix("$ ").replace("8080", str(LOCAL_PORT))


@pytest.fixture(scope="module")
def shell(checkrein: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with helm and kubectl as a person has them; helm adds where this cluster's images are."""
    folder = tmp_path_factory.mktemp("bin")
    images = []
    for name in ("operator", "trainer", "agent", "minio"):
        registry, _, rest = checkrein.images[name].rpartition("/")
        repository, _, tag = rest.partition(":")
        value = "minio.image" if name == "minio" else f"images.{name}"
        images += ["--set", f"images.registry={registry},{value}.repository={repository},{value}.tag={tag}"]
    script = f'exec {binaries.helm()} "$@" $([ "$1" = upgrade ] && echo {shlex.join(images)})'
    for name, line in (("helm", script), ("kubectl", shlex.join([*checkrein.kubectl.command]) + ' "$@"')):
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    return folder


def run(shell: Path, cluster: Cluster, commands: str) -> str:
    """Types them, stopping at the first that fails; what they said. Background jobs end with them."""
    done = subprocess.run(
        ["bash", "-c", f"set -e\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{commands}"],
        cwd=REPOSITORY,
        env=os.environ | {"PATH": f"{shell}:{os.environ['PATH']}", "KUBECONFIG": str(cluster.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def deciding(checkrein: Cluster, shell: Path) -> str:
    """What the five minutes show."""
    return run(shell, checkrein, typed("Five minutes"))


def answer(said: str) -> dict[str, object]:
    """The agent's, among what else was printed."""
    found: dict[str, object] = json.JSONDecoder().raw_decode(said[said.rindex('{"action"') :])[0]
    return found


def test_five_minutes_lead_to_a_decision(deciding: str) -> None:
    assert answer(deciding)["action"] in (0, 1)
    assert answer(deciding)["policy"] == "cartpole-1"


@pytest.mark.usefixtures("deciding")
def test_drains_take_one_replica_at_a_time(checkrein: Cluster) -> None:
    def allowed() -> bool:
        status = checkrein.kubectl.get("poddisruptionbudget", "cartpole-agent", namespace=GAMES).get("status", {})
        return bool(status.get("disruptionsAllowed") == 1 and status.get("expectedPods") == 2)

    wait_until(allowed, 60, otherwise=lambda: ClusterError("the budget does not see two replicas"))


@pytest.mark.usefixtures("deciding")
def test_agents_decide_on_when_the_release_is_gone(checkrein: Cluster, shell: Path) -> None:
    names = "rlenv,tj,polv,agentdeployment"
    before = checkrein.kubectl("-n", GAMES, "get", names, "-o", "name")
    run(shell, checkrein, typed("Uninstall"))
    left = checkrein.kubectl("-n", "checkrein-system", "get", "deployments,statefulsets", "-o", "name")
    assert left.strip() == ""
    assert checkrein.kubectl("-n", GAMES, "get", names, "-o", "name") == before
    commands = typed("Five minutes")
    said = run(shell, checkrein, commands[commands.index("kubectl -n games port-forward") :])
    assert answer(said)["policy"] == "cartpole-1"
