"""Where things lie in the store. Keys carry cluster, namespace and uid, so that namesakes never meet.

runs bucket       runs/CLUSTER/NAMESPACE/UID/ATTEMPT/{train,evaluate}/
                  .../train/checkpoints/STEP/                    complete once manifest.json is there
                  .../train/{tensorboard,wandb}/                 files of trackers, those of earlier attempts included
policies bucket   sha256/ab/ab12...                              content: files, manifests, recordings
                  versions/CLUSTER/NAMESPACE/POLICY/N            who holds number N of a policy's name
                  evaluations/CLUSTER/NAMESPACE/POLICY/ENV/K     who held the K-th evaluation
                  history/CLUSTER/NAMESPACE/NAME/N               who acted under an AgentDeployment's name
decisions bucket  decisions/CLUSTER/NAMESPACE/UID/               the decision log of one AgentDeployment
CLUSTER is the uid of the namespace kube-system.
"""

from __future__ import annotations

import re
from collections.abc import Iterable


def _folder(*parts: str) -> str:
    for part in parts:
        if not part or "/" in part or part in (".", ".."):
            raise ValueError(f"{part!r} cannot be part of a key: it must be a plain, non-empty name")
    return "/".join(parts) + "/"


def run_prefix(cluster: str, namespace: str, uid: str) -> str:
    """All of one TrainingJob."""
    return _folder("runs", cluster, namespace, uid)


def training_prefix(cluster: str, namespace: str, uid: str, attempt: int) -> str:
    """What one attempt's trainer may write."""
    return run_prefix(cluster, namespace, uid) + _folder(str(attempt), "train")


CHECKPOINT_MANIFEST = "manifest.json"
_CHECKPOINT = re.compile(rf"(?:.*/)?(?P<attempt>[0-9]+)/train/checkpoints/(?P<step>[0-9]{{12}})/{CHECKPOINT_MANIFEST}")


def checkpoint_prefix(training: str, step: int) -> str:
    """Where an attempt keeps its checkpoint of one step."""
    return training + _folder("checkpoints", f"{step:012d}")


def checkpoints(listed: Iterable[str]) -> list[str]:
    """Manifests of the complete checkpoints among the keys of one job, newest first: by step, then by attempt."""
    found = [m for key in listed if (m := _CHECKPOINT.fullmatch(key))]
    return [m[0] for m in sorted(found, key=lambda m: (int(m["step"]), int(m["attempt"])), reverse=True)]


def tracking_prefix(training: str, kind: str) -> str:
    """Where an attempt keeps the files of a kind of tracker."""
    return training + _folder(kind)


def tracked(key: str, kind: str) -> str | None:
    """Path of a tracker's file below its attempt's `tracking_prefix`; None where the key is of something else."""
    found = re.fullmatch(rf"(?:.*/)?[0-9]+/train/{re.escape(kind)}/(?P<path>.+)", key)
    return found["path"] if found and ".." not in found["path"].split("/") else None


def evaluation_prefix(cluster: str, namespace: str, uid: str, attempt: int) -> str:
    """What one attempt's evaluator may write."""
    return run_prefix(cluster, namespace, uid) + _folder(str(attempt), "evaluate")


def content(digest: str) -> str:
    """Key of the bytes with this digest (`sha256:<hex>`)."""
    algorithm, _, hexadecimal = digest.partition(":")
    return _folder(algorithm, hexadecimal[:2]) + hexadecimal


CONTENT = "sha256/"
"""All that is published. Who may read it lists nothing there, and nobody guesses a digest."""


def versions_prefix(cluster: str, namespace: str, policy: str) -> str:
    """Reservations of a policy's version numbers."""
    return _folder("versions", cluster, namespace, policy)


def evaluations_prefix(cluster: str, namespace: str, policy: str, environment_digest: str) -> str:
    """Reservations of evaluations of a policy's name in one environment."""
    return _folder("evaluations", cluster, namespace, policy, environment_digest.removeprefix("sha256:"))


def history_prefix(cluster: str, namespace: str, name: str) -> str:
    """What became of the versions under an AgentDeployment's name, whichever object bears it."""
    return _folder("history", cluster, namespace, name)


def decisions_prefix(cluster: str, namespace: str, uid: str) -> str:
    """All of one AgentDeployment's decision log."""
    return _folder("decisions", cluster, namespace, uid)
