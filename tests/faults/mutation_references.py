"""References to what is not there, is another namespace's, of another kind or oneself; fixed fields; absurd sizes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.api.objects import changed

Raw = dict[str, Any]
ELSEWHERE = "elsewhere"  # an RLEnvironment and a policy of this name are in another namespace only
DEEP: Any = 1
for _ in range(200):
    DEEP = {"d": DEEP}


def references(kind: str, good: Raw) -> Iterator[tuple[str, str, Raw]]:
    """Objects that the schema alone cannot judge: (path, what, object)."""
    for path, what, value in ROWS[kind]:
        obj = changed(good, path, value)
        # A volume is fixed after creation: here is an agent that begins with one.
        yield path, what, changed(obj, "metadata.name", "logged") if path == "spec.decisionLog" else obj


def _versions(path: str) -> list[tuple[str, str, Any]]:
    return [
        (path, "a version that does not exist", "nobody-1"),
        (path, "a version of another namespace", f"{ELSEWHERE}-1"),
        (path, "a TrainingJob's name", "cartpole-a"),
        (path, "its own name", "cartpole"),
    ]


def _template(path: str) -> list[tuple[str, str, Any]]:
    return [
        (f"{path}.nodeSelector", "a label that cannot be", {"Not A Label!": "x"}),
        (f"{path}.nodeSelector", "a label's value that cannot be", {"zone": "not a value!"}),
        (f"{path}.nodeSelector", "a label of 300 characters", {"x" * 300: "y"}),
        (f"{path}.resources", "a resource that cannot be", {"requests": {"not a resource": 1}}),
        (f"{path}.resources", "half a GPU", {"limits": {"example.com/gpu": "500m"}}),
        (f"{path}.resources", "more than any node has", {"requests": {"cpu": "999999", "memory": "999Pi"}}),
        (f"{path}.tolerations", "a key that cannot be", [{"key": "not a key!", "operator": "Exists"}]),
    ]


_OVERRIDE = {"mode": "Pin", "reason": "a fault", "by": "ops", "until": "2999-12-01T12:00:00Z"}
_REFERRED = {
    "canary": {
        "steps": [{"weight": 5, "units": 5}],
        "gates": [{"name": "e", "metric": "errors", "test": "NotAbove", "limit": "0.1"}],
    }
}
ROWS: dict[str, list[tuple[str, str, Any]]] = {
    "RLEnvironment": [
        ("spec.source.gymnasium.id", "an id that does not exist", "Nothing-v0"),
        ("spec.source.gymnasium.module", "a module that does not exist", "nothing.here"),
        ("spec.source.gymnasium.kwargs", "arguments of 60 kB", {"x": "y" * 60_000}),
        ("spec.source.gymnasium.kwargs", "arguments of 150 kB", {"x": "y" * 150_000}),
        ("spec.source.gymnasium.kwargs", "arguments of 1 MB", {"x": "y" * 1_000_000}),
        ("spec.source.gymnasium.kwargs", "arguments of 2 MB", {"x": "y" * 2_000_000}),
        ("spec.source.gymnasium.kwargs", "arguments 200 deep", DEEP),
        ("spec.source.gymnasium.kwargs", "64 arguments", {f"k{i}": i for i in range(64)}),
        ("spec.source.gymnasium.kwargs", "an empty name", {"": None}),
        ("spec.source.gymnasium.kwargs", "a huge number", {"x": 1e308}),
        ("spec.source.gymnasium.kwargs", "what a shell would expand", {"x": "$(HOME) `id` ${HOME}"}),
        ("spec.image", "an image that cannot be", "Not An Image!"),
        ("spec.safety.features", "a feature for 1024 elements", [f"f{i}" for i in range(1024)]),
        ("metadata.name", "a name of 41 characters", "x" * 41),
        ("metadata.name", "a name with dots", "cart.pole"),
        ("metadata.name", "a name of 40 characters", "x" * 40),
        (
            "metadata.labels",
            "labels that look like ours",
            {"checkrein.dev/kind": "TrainingJob", "checkrein.dev/name": "a"},
        ),
        ("metadata.labels", "a label of somebody who manages", {"app.kubernetes.io/managed-by": "checkrein"}),
    ],
    "TrainingJob": [
        ("spec.environmentRef.name", "an environment that does not exist", "nowhere"),
        ("spec.environmentRef.name", "an environment of another namespace", ELSEWHERE),
        ("spec.environmentRef.name", "its own name", "cartpole-a"),
        ("spec.algorithm.name", "an algorithm for other actions", "SAC"),
        ("spec.algorithm.hyperparameters", "hyperparameters of 150 kB", {"x": "y" * 150_000}),
        ("spec.algorithm.hyperparameters", "hyperparameters of 1 MB", {"x": "y" * 1_000_000}),
        ("spec.algorithm.hyperparameters", "hyperparameters of 2 MB", {"x": "y" * 2_000_000}),
        ("spec.algorithm.hyperparameters", "hyperparameters 200 deep", DEEP),
        ("spec.algorithm.hyperparameters", "a huge number", {"gamma": 1e308}),
        ("spec.algorithm.network.hidden", "sixteen wide layers", [65536] * 16),
        ("spec.gates.0.atLeast", "a bar beyond the bounds", "501"),
        ("spec.gates.0.atLeast", "a bar that no number holds", "999999999999999.999999999"),
        ("spec.activeDeadlineSeconds", "no time", 1),
        ("metadata.name", "a name of 41 characters", "x" * 41),
        ("metadata.name", "a name of 40 characters", "x" * 40),
        ("spec.publish.policy", "a policy of 30 characters", "p" * 30),
        ("spec.publish.policy", "a policy that ends like a number", "cartpole-1"),
        *_template("spec.template"),
    ],
    "PolicyVersion": [
        ("spec.artifact.bucket", "a bucket that does not exist", "nothing-here"),
        ("spec.artifact.bucket", "a bucket that cannot be", "!!!"),
        ("spec.artifact.key", "a key that does not exist", "sha256/00/nothing"),
        ("spec.artifact.key", "a way out", "../../etc/passwd"),
        ("spec.artifact.versionId", "a version that does not exist", "00000000-0000-0000-0000-000000000000"),
        ("spec.artifact.versionId", "no version", "null"),
        ("spec.artifact.digest", "another digest", "sha256:" + "0" * 64),
        ("spec.artifact.size", "no bytes", 0),
        ("spec.interface.action.n", "other spaces", 3),
        ("spec.environment.name", "an environment that does not exist", "nowhere"),
        ("spec.environment.digest", "another environment's digest", "sha256:" + "0" * 64),
    ],
    "AgentDeployment": [
        *_versions("spec.policyVersion"),
        *(
            ("spec.fallback", f"a fallback to {what}", {"policyVersion": name, "action": [0]})
            for what, name in (("nobody", "nobody-1"), ("another namespace", f"{ELSEWHERE}-1"), ("a job", "cartpole-a"))
        ),
        *(
            ("spec.override", f"a pin to {what}", {**_OVERRIDE, "policyVersion": name})
            for what, name in (("nobody", "nobody-1"), ("another namespace", f"{ELSEWHERE}-1"), ("itself", "cartpole"))
        ),
        *(
            ("spec.strategy", f"a reference to {what}", {**_REFERRED, "reference": name})
            for what, name in (("nobody", "nobody-1"), ("another namespace", f"{ELSEWHERE}-1"), ("itself", "cartpole"))
        ),
        ("spec.replicas", "as many as may be", 1000),
        ("spec.auth", "callers that do not exist", {"callers": ["system:serviceaccount:nowhere:nobody"]}),
        (
            "spec.decisionLog",
            "a volume of a class that cannot be",
            {"volume": {"size": "1Gi", "storageClassName": "No!"}},
        ),
        ("spec.decisionLog", "a volume of no bytes", {"volume": {"size": "0"}}),
        ("spec.decisionLog", "a volume", {"volume": {"size": "1Gi"}}),
        ("spec.shield", "a rule that does not compile", [{"name": "a", "require": "features.nothing > ("}]),
        ("metadata.name", "a name that starts with a number", "2048"),
        ("metadata.name", "a name of 40 characters", "x" * 40),
        *_template("spec.template"),
    ],
}
