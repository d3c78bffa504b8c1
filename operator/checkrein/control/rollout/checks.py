"""What every version must pass before anything else: it exists, is verified, fits, and is loaded and warmed up."""

from __future__ import annotations

from dataclasses import dataclass

from checkrein.api import conditions
from checkrein.api.deployment import AgentDeploymentStatus, PolicyPointer, Rejection
from checkrein.api.meta import bounded
from checkrein.api.policy import PolicyVersion
from checkrein.api.tasks import LoadedPolicy
from checkrein.control import replicas
from checkrein.control.rollout import history
from checkrein.control.rollout.scene import Scene, kept


def refuse(scene: Scene, status: AgentDeploymentStatus) -> tuple[str, str] | None:
    """Why the wanted version may not even be loaded: reason and sentence."""
    wanted = scene.wanted
    if unfit := unusable(scene, status, wanted):
        return unfit
    version = scene.observed.versions[wanted]
    if status.stable and status.stable.interface != version.spec.interface:
        return "InterfaceMismatch", (
            f"spec.policyVersion: PolicyVersion {wanted} has other spaces than {status.stable.name}, "
            f"which callers know; create another AgentDeployment for it{kept(status)}"
        )
    if failed := history.refused(status, wanted, version.spec.artifact.digest):
        return failed.reason, failed.message
    for rejection in status.rejected:
        if (
            rejection.name == wanted
            and not rejection.attempt
            and rejection.generation == scene.agent.metadata.generation
        ):
            return rejection.reason, rejection.message
    return None


def unusable(scene: Scene, status: AgentDeploymentStatus, name: str) -> tuple[str, str] | None:
    """Why nobody may act by this version, whatever came before: it does not exist, or is not verified."""
    version = scene.observed.versions.get(name)
    if version is None:
        return "PolicyVersionNotFound", (
            f"spec.policyVersion: no PolicyVersion {name!r} in this namespace; it decides once it exists{kept(status)}"
        )
    verified = conditions.get(version.status.conditions, "Verified")
    if verified is None or verified.status != "True":
        said = f" ({verified.reason}: {verified.message})" if verified else ""
        return "PolicyNotVerified", f"spec.policyVersion: PolicyVersion {name} is not verified{said}{kept(status)}"
    return None


def pointer(version: PolicyVersion) -> PolicyPointer:
    """What replicas need to know of a version."""
    return PolicyPointer(name=version.metadata.name, artifact=version.spec.artifact, interface=version.spec.interface)


@dataclass(frozen=True)
class Loads:
    """How the running replicas stand with one version."""

    name: str
    loads: tuple[LoadedPolicy | None, ...]

    @property
    def everywhere(self) -> bool:
        """At least one runs, and all that run have loaded it and made warm-up decisions."""
        return bool(self.loads) and all(load and load.ready for load in self.loads)

    @property
    def refusal(self) -> LoadedPolicy | None:
        """A replica's word that these bytes will never do."""
        return next((load for load in self.loads if load and not load.ready and load.permanent), None)

    @property
    def message(self) -> str:
        ready = sum(bool(load and load.ready) for load in self.loads)
        trouble = next((f"; {load.reason}: {load.message}" for load in self.loads if load and load.reason), "")
        return f"{self.name} is loaded and warmed up on {ready} of {len(self.loads)} running replicas{trouble}"


def loads(scene: Scene, candidate: PolicyPointer) -> Loads:
    """What the replicas say of it, by digest."""
    told = (replicas.loaded(report, candidate.artifact.digest) for report in scene.reports.values())
    return Loads(candidate.name, tuple(told))


def rejected(scene: Scene, status: AgentDeploymentStatus, name: str, load: LoadedPolicy) -> AgentDeploymentStatus:
    """A version failed its checks: not tried again until the spec changes."""
    # A replica may know it by another name.
    message = bounded(f"spec.policyVersion: {name}: {load.message}{kept(status)}")
    entry = Rejection(name=name, reason=load.reason, message=message, generation=scene.agent.metadata.generation)
    status = history.rejected(status, entry)
    return scene.say(status, False, load.reason, message)
