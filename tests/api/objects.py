"""The four resources as a person would write them, and a way to change one field."""

from __future__ import annotations

import copy
from typing import Any

from checkrein.api.meta import API_VERSION

Raw = dict[str, Any]
DIGEST = "sha256:" + "0123456789abcdef" * 4
MISSING: Any = object()


def _object(kind: str, name: str, spec: Raw) -> Raw:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def environment(name: str = "cartpole") -> Raw:
    """An RLEnvironment with every field set."""
    gymnasium = {"id": "CartPole-v1", "kwargs": {"sutton_barto_reward": False, "deep": {"x": [1, 2]}}, "module": ""}
    spec = {
        "version": "1",
        "source": {"gymnasium": gymnasium},
        "image": "registry.example/envs:1",
        "reward": {"success": "475", "bounds": {"min": "0", "max": "500"}},
        "safety": {"maxEpisodeSteps": 500, "features": ["x", "v", "angle", "spin"], "shield": shield()},
    }
    return _object("RLEnvironment", name, spec)


def shield() -> list[Raw]:
    """One rule of each kind."""
    return [
        {"name": "no-push-at-the-edge", "when": "features.x > 2.0", "forbid": [1], "otherwise": "Terminate"},
        {"name": "narrow", "clip": {"low": ["-0.5"], "high": ["0.5"]}, "otherwise": "Replace"},
        {"name": "gently", "maxChange": ["0.1"], "otherwise": "Replace"},
        {"name": "upright", "require": "features.angle < 0.2 || action == 0", "otherwise": "Replace"},
    ]


def training(name: str = "cartpole") -> Raw:
    """A TrainingJob with every field set."""
    spec = {
        "environmentRef": {"name": "cartpole"},
        "algorithm": {
            "name": "PPO",
            "hyperparameters": {"n_steps": 1024, "deep": {"x": [1, 0.5]}},
            "network": {"hidden": [64, 64], "activation": "tanh"},
            "normalize": {"observation": True, "reward": False},
        },
        "budget": {"steps": 100_000, "duration": "1h30m"},
        "environments": 8,
        "seed": 1,
        "checkpoint": {"everySteps": 20_000, "keep": 2},
        "evaluation": {"episodes": 300},
        "gates": [{"metric": "return", "statistic": "mean", "atLeast": "475", "confidence": "0.95"}],
        "publish": {"policy": "cartpole"},
        "tracking": {
            "tensorboard": True,
            "mlflow": {"uri": "http://mlflow.ml:5000", "experiment": "cartpole", "secretRef": {"name": "mlflow"}},
            "wandb": {
                "mode": "Online",
                "project": "cartpole",
                "entity": "robots",
                "baseUrl": "https://wandb.example/",
                "secretRef": {"name": "wandb.key"},
            },
        },
        "template": {
            "resources": {"requests": {"cpu": 1, "memory": "512Mi"}, "limits": {"cpu": "1500m", "memory": "1Gi"}},
            "nodeSelector": {"kubernetes.io/arch": "amd64"},
            "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}],
        },
        "suspend": False,
        "backoffLimit": 3,
        "activeDeadlineSeconds": 3600,
        "ttlSecondsAfterFinished": 600,
    }
    return _object("TrainingJob", name, spec)


def policy_version(name: str = "cartpole-1", policy: str = "cartpole", version: int = 1) -> Raw:
    """A PolicyVersion with every field set."""
    box = {"type": "Box", "dtype": "float32", "shape": [4], "low": ["-inf"], "high": ["4.8e0"]}
    discrete = {"type": "Discrete", "dtype": "int64", "n": 2, "start": 0}
    spec = {
        "policy": policy,
        "version": version,
        "artifact": {
            "bucket": "policies",
            "key": f"sha256/01/{DIGEST[7:]}",
            "versionId": "8a1f",
            "digest": DIGEST,
            "size": 21_344,
            "format": "ONNX",
        },
        "interface": {"observation": box, "action": discrete},
        "environment": {"name": "cartpole", "digest": DIGEST},
        "provenance": {
            "trainingJob": "cartpole",
            "uid": "7a6f",
            "attempt": 1,
            "seed": 1,
            "image": f"registry.example/trainer@{DIGEST}",
            "algorithm": "PPO",
        },
        "evaluation": {
            "episodes": 300,
            "mean": "498.1",
            "lowerBound": "490.1",
            "evaluatedBefore": 0,
            "confidence": "0.95",
        },
        "recording": {"key": f"sha256/01/{DIGEST[7:]}", "versionId": "9b2e", "digest": DIGEST, "size": 80_168},
    }
    return _object("PolicyVersion", name, spec)


def gate(name: str, metric: str, **fields: Any) -> Raw:
    """A gate on a share of decisions, unless told otherwise."""
    usual: Raw = {"role": "Guard", "test": "NotAbove", "limit": "0.01", "alpha": "0.05"}
    return {key: value for key, value in {"name": name, "metric": metric, **usual, **fields}.items() if value != ""}


def proving(name: str, metric: str = "return", of: str = "StableMean", **fields: Any) -> Raw:
    """A gate that must pass: not worse by 5 %."""
    fields = {"role": "Prove", "test": "NonInferior", "limit": "", "margin": {"of": of, "value": "0.05"}} | fields
    return gate(name, metric, **fields)


def strategy() -> Raw:
    """One with every field but those that go with others than these."""
    slow = {"above": "5ms", "subgroup": {"name": "steep-start", "when": "features.angle > 0.04"}}
    return {
        "unit": "Client",
        "window": "10m",
        "outcomeDeadline": "10m",
        "shadow": {"units": 50, "share": "0.25"},
        "canary": {
            "steps": [
                {"weight": 5, "units": 20, "concurrent": 2},
                {"weight": 25, "units": 50, "pause": {"duration": "10m"}},
                {"weight": 50, "pause": {}},
            ],
            "gates": [
                proving("return"),
                proving("clipped", clip={"min": "-500", "max": "500"}),
                proving("wild", variance="100"),
                gate("cost", "cost", role="Prove", limit="25", maximum="100"),
                gate("errors", "errors"),
                gate("slow", "slowDecisions", **slow),
                gate("shielded", "shielded"),
                proving("people", "humanApproval", "Absolute", test="Superior"),
                proving("logged", "offPolicy", "Range"),
                proving("many", guarantee="Asymptotic"),
            ],
            "minUnits": 20,
            "maxDuration": "2h",
        },
        "reference": "cartpole-0",
        "watch": {
            "drop": "0.2",
            "alpha": "0.01",
            "errors": "0.05",
            "cost": {"rise": "5", "maximum": "100"},
            "onBreach": "Rollback",
        },
    }


def words(version: str = "cartpole-1") -> Raw:
    """All that a person can say to a rollout."""
    return {
        "paused": True,
        "approve": {"policyVersion": version, "step": 3, "by": "ops@example.com"},
        "abort": {"policyVersion": version, "by": "ops@example.com", "reason": "it wobbles"},
        "retry": {"policyVersion": version, "nonce": "2"},
        "reviews": [{"sample": "0001", "answer": "Left", "by": "ops@example.com"}],
    }


def agent(name: str = "cartpole", version: str = "cartpole-1") -> Raw:
    """An AgentDeployment with every field set, but for spec.rollout: whoever says something there needs a right."""
    spec = {
        "policyVersion": version,
        "replicas": 2,
        "strategy": strategy(),
        "approval": "Required",
        "fallback": {"policyVersion": "cartpole-0", "action": [0, -0.5]},
        "override": {
            "mode": "Pin",
            "policyVersion": "cartpole-0",
            "reason": "vendor reports a sensor fault",
            "by": "ops@example.com",
            "until": "2026-12-01T12:00:00Z",
        },
        "limits": {
            "decisionsPerSecond": 200,
            "burst": 50,
            "perClient": {"decisionsPerSecond": 20, "burst": 5},
            "exceeded": "Fallback",
        },
        "exploration": {"epsilonGreedy": {"epsilon": "0.1"}},
        "shield": shield(),
        "episodeDeadline": "5m",
        "decisionLog": {"observations": "Full", "volume": {"size": "1Gi", "storageClassName": "fast"}},
        "auth": {
            "mode": "ServiceAccount",
            "callers": ["system:serviceaccount:games:player"],
            "reporters": ["system:serviceaccount:games:reporter"],
        },
        "template": {"resources": {"requests": {"cpu": "100m"}}},
    }
    return _object("AgentDeployment", name, spec)


def pointer(name: str = "cartpole-1") -> Raw:
    """A policy as an AgentDeployment's status points to it."""
    spec = policy_version()["spec"]
    return {"name": name, "artifact": spec["artifact"], "interface": spec["interface"]}


def changed(obj: Raw, path: str, value: Any) -> Raw:
    """A copy with the field at the dotted path set, or taken out where the value is MISSING."""
    copied = copy.deepcopy(obj)
    parts: list[Any] = [int(part) if part.isdigit() else part for part in path.split(".")]
    *parents, last = parts
    at: Any = copied
    for part in parents:
        at = at[part] if isinstance(at, list) else at.setdefault(part, {})
    if value is MISSING:
        del at[last]
    else:
        at[last] = value
    return copied
