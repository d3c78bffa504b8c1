"""Publication: the artifact to its place for good, a number never used before, the PolicyVersion.

Every step meets its own earlier result, so that a kill between any two of them costs nothing.
"""

from __future__ import annotations

from checkrein.api import names
from checkrein.api.meta import API_VERSION
from checkrein.api.policy import Artifact, KeptRecording, PolicyVersionSpec, Provenance
from checkrein.api.training import TrainingJob
from checkrein.control.conditions import Writer
from checkrein.control.plan import Answers, Manifest, Plan, Unavailable
from checkrein.control.requests import PublishArtifact, PublishRecording, ReserveVersion
from checkrein.control.training.state import Observed, ready_environment, timestamp


def plan(job: TrainingJob, observed: Observed, answers: Answers, write: Writer) -> Plan:
    """Publish what passed its gates. Creating the PolicyVersion twice meets the first one."""
    assert job.status.artifact
    artifact = answers.ask(PublishArtifact(job.status.artifact))
    version = answers.ask(
        ReserveVersion(namespace=job.metadata.namespace, policy=job.spec.publish.policy, owner=job.metadata.uid)
    )
    recording = _recording(job, answers)
    name = names.policy_version(job.spec.publish.policy, version)
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
