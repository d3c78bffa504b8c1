"""The workflow for GitHub Actions, step by step, as its runner runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster.cache import REPOSITORY
from tests.e2e.world import API_VERSION, SMALL, World

WORKFLOW = yaml.safe_load((REPOSITORY / "manifests" / "ci" / "github-actions.yaml").read_text())
STEPS = [step for step in WORKFLOW["jobs"]["train-and-roll-out"]["steps"] if "run" in step]
INSTALL = "pip install 'checkrein[cli]'\n"  # from an index that has a release; here the command is in the PATH already


class Runner:
    """Runs steps one after the other, each in a bash of its own, with the variables that earlier ones left."""

    def __init__(self, folder: Path, world: World) -> None:
        self.folder = folder
        self._handed = folder / "github_env"
        self._handed.touch()
        shim = folder / "bin" / "kubectl"
        shim.parent.mkdir()
        shim.write_text(f'#!/bin/sh\nexec {world.cluster.kubectl.command[0]} kubectl "$@"\n')
        shim.chmod(0o755)
        path = os.pathsep.join([str(shim.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
        known = {"GITHUB_SHA": "0123456789abcdef" * 2, "GITHUB_ENV": str(self._handed), "RUNNER_TEMP": str(folder)}
        secrets = {"KUBECONFIG_TEXT": world.cluster.kubeconfig.read_text()}
        self._env = {**os.environ, **WORKFLOW["env"], **known, **secrets, "PATH": path, "NAMESPACE": world.name}

    def run(self, step: Mapping[str, Any]) -> str:
        """What the step said. Fails the test where the step fails."""
        handed = dict(line.split("=", 1) for line in self._handed.read_text().splitlines())
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"].replace(INSTALL, "")]
        env = self._env | handed | {"AGENT": "agent"}
        done = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{step['name']}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def runner(world: World, tmp_path: Path) -> Runner:
    """A checkout of somebody's policy, and an agent that decides by its first version."""
    world.cartpole()
    world.train("first", seed=21)
    world.deploy(world.trained("first"))
    world.deciding("cartpole-1")
    policy = tmp_path / "policy"
    policy.mkdir()
    _write(policy / "environment.yaml", "RLEnvironment", "cartpole", world.get("rlenvironment", "cartpole")["spec"])
    spec = world.get("trainingjob", "first")["spec"] | {"seed": 22, "template": {"resources": SMALL}}
    _write(policy / "training.yaml", "TrainingJob", "any", spec)
    return Runner(tmp_path, world)


def _write(path: Path, kind: str, name: str, spec: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump({"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}))


@pytest.mark.cluster
def test_a_commit_becomes_a_version_that_decides(runner: Runner, world: World) -> None:
    said = {step["name"]: runner.run(step) for step in STEPS}
    assert said["Let it earn its place"].endswith("cartpole-2 decides\n")
    assert world.deciding("cartpole-2")["spec"]["policyVersion"] == "cartpole-2"
    assert "PolicyVersion cartpole-2" in said["Say what happened"]
