"""Publication: the artifact to its place for good, a number never used before, the PolicyVersion.

Every step meets its own earlier result, so that a kill between any two of them costs nothing.
"""

from __future__ import annotations

from datetime import timedelta

from checkrein.api import names
from checkrein.api.meta import API_VERSION
from checkrein.api.policy import Artifact, KeptRecording, PolicyVersionSpec, Provenance
from checkrein.api.training import TrainingJob
from checkrein.control.conditions import Writer
from checkrein.control.plan import Answers, Manifest, Plan, Unavailable
from checkrein.control.requests import PublishArtifact, PublishRecording, ReadVersion, ReserveVersion, VerifyArtifact
from checkrein.control.training.state import Observed, ready_environment, timestamp
from checkrein.store.errors import NotFound, StoreRefused

LOOK = timedelta(seconds=10)
UNKNOWN = (NotFound.reason, StoreRefused.reason)
"""Another kind of store may refuse the version id that the former one gave."""
_FORGOTTEN = (
    "PolicyVersion {} exists, but the store knows neither its artifact nor that its number is taken: the store has "
    "lost its data, or is another one. Bring back the data, or have the operator use the former store again; where it "
    "is gone for good, delete the PolicyVersions that are not Verified: this job then publishes under their numbers"
)


def plan(job: TrainingJob, observed: Observed, answers: Answers, write: Writer) -> Plan:
    """Publish what passed its gates. Creating the PolicyVersion twice meets the first one."""
    assert job.status.artifact
    artifact = answers.ask(PublishArtifact(job.status.artifact))
    version = answers.ask(
        ReserveVersion(namespace=job.metadata.namespace, policy=job.spec.publish.policy, owner=job.metadata.uid)
    )
    name = names.policy_version(job.spec.publish.policy, version)
    if _is_forgotten(job, name, answers):
        status = write.put(job.status, "Complete", False, "StoreLostData", _FORGOTTEN.format(name))
        return Plan(status=status, after=LOOK)
    recording = _recording(job, answers)
    status = write.put(
        job.status,
        "Complete",
        True,
        "Published",
        f"published as PolicyVersion {name}",
        phase="Succeeded",
        policy_version=name,
        completion_time=timestamp(write),
    )
    status = write.put(status, "Failed", False, "Published", "")
    return Plan(status=status, create=(_policy_version(job, name, version, artifact, recording, observed),))


def _is_forgotten(job: TrainingJob, name: str, answers: Answers) -> bool:
    """Whether the store gave out a number that an earlier version has, whose artifact it does not know either.

    A version of that name whose artifact is there is somebody's own: that the name is taken is then all there is to
    say. Raises Unavailable where the store does not tell.
    """
    existing = answers.ask(ReadVersion(job.metadata.namespace, name))
    if existing is None or existing.spec.provenance.uid == job.metadata.uid:
        return False
    try:
        answers.ask(VerifyArtifact(existing.spec.artifact))
    except Unavailable as no:
        if no.temporary:
            raise
        return no.reason in UNKNOWN
    return False


def _recording(job: TrainingJob, answers: Answers) -> KeptRecording | None:
    """What people look at keeps no policy back: one that is lost or damaged is left out. Raises Unavailable."""
    if job.status.recording is None:
        return None
    try:
        return answers.ask(PublishRecording(job.status.recording))
    except Unavailable as no:
        if no.temporary:
            raise
        return None


def _policy_version(
    job: TrainingJob,
    name: str,
    version: int,
    artifact: Artifact,
    recording: KeptRecording | None,
    observed: Observed,
) -> Manifest:
    """The object. It has no owner: deleting a TrainingJob never takes its policies along."""
    _, interface, image = ready_environment(observed)
    assert job.status.evaluation
    assert job.status.environment
    spec = PolicyVersionSpec(
        policy=job.spec.publish.policy,
        version=version,
        artifact=artifact,
        interface=interface,
        environment=job.status.environment,
        provenance=Provenance(
            training_job=job.metadata.name,
            uid=job.metadata.uid,
            attempt=job.status.attempt,
            seed=job.spec.seed,
            image=image,
            algorithm=job.spec.algorithm.name,
        ),
        evaluation=job.status.evaluation,
        recording=recording,
    )
    return {
        "apiVersion": API_VERSION,
        "kind": "PolicyVersion",
        "metadata": {"name": name, "namespace": job.metadata.namespace},
        "spec": spec.dump(),
    }
