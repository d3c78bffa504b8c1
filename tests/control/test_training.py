"""Plans for TrainingJobs: waiting, attempts, their ends, deadlines and cleaning up."""

from __future__ import annotations

from typing import Any

import pytest
from tests.control import builders as b
from tests.control.builders import NOW, Wanted, World

from checkrein.api.environment import RLEnvironment
from checkrein.api.tasks import Failure, TrainingProgress, TrainingReport, TrainingTask
from checkrein.api.training import CheckpointStatus, Progress, TrainingJob
from checkrein.control.children import JobView
from checkrein.control.plan import Answers, Unanswered, Unavailable
from checkrein.control.requests import EnsureSession, PruneCheckpoints, ReadJob, ReadProgress, ReadWarning
from checkrein.control.training.planner import plan
from checkrein.control.training.state import Observed

FIRST, SECOND = "a-train-1", "a-train-2"
SESSION = {EnsureSession: "a-train-1-store", PruneCheckpoints: 0, ReadWarning: ""}
AWAY = Unavailable("StoreUnavailable", "store:9000 does not answer")
REFUSED = Unavailable("StoreRefused", "NotImplemented", temporary=False)
GATE = {"atLeast": "475"}
PROGRESS = TrainingProgress(
    progress=Progress(steps=2500, total=5000, percent=50), checkpoint=CheckpointStatus(step=2000, digest=b.digest("c"))
)
TRAINED = TrainingReport(manifest=b.MANIFEST, progress=Progress(steps=5000, total=5000, percent=100))
CRASHED = TrainingReport(failure=Failure(reason="TrainingFailed", message="NaN in the loss"))
TOLD_TO_END = TrainingReport(failure=Failure(reason="Terminated", message="the pod was told to end at step 7"))
TAKEN_AWAY = "PodFailurePolicy: Pod games/pod-x has condition DisruptionTarget matching FailJob rule at index 0"
MISSPELT = TrainingReport(
    failure=Failure(
        reason="UnknownHyperparameter", message="spec.algorithm.hyperparameters.n_step: PPO has n_steps", permanent=True
    )
)


def observe(environment: RLEnvironment | None, *jobs: JobView) -> Observed:
    return Observed(environment, {j.name: j for j in jobs}, b.SETTINGS, b.CLUSTER)


def ready(*jobs: JobView) -> Observed:
    return observe(b.ready_environment(), *jobs)


BEFORE_THE_START = [
    pytest.param(
        b.job(),
        observe(None),
        Wanted(("EnvironmentNotFound", "False"), "spec.environmentRef.name: no RLEnvironment 'cartpole'", "Pending"),
        id="no environment -> waits",
    ),
    pytest.param(
        b.job(),
        observe(b.environment(status={"conditions": b.condition("Ready", False, "Probing", "the probe runs")})),
        Wanted(
            ("EnvironmentNotReady", "False"),
            "spec.environmentRef.name: RLEnvironment 'cartpole' is not Ready (Probing: the probe runs)",
            "Pending",
        ),
        id="environment is being probed -> waits",
    ),
    pytest.param(
        b.job(),
        observe(b.environment()),
        Wanted(("EnvironmentNotReady", "False"), phase="Pending"),
        id="environment was not even looked at -> waits",
    ),
    pytest.param(
        b.job(template={"nodeSelector": {f"{i:0{4000}}": "x" * 250 for i in range(31)}}),
        observe(b.ready_environment()),
        Wanted(("TaskTooLarge", "False"), "a pod can be told at most 120,000", "Failed"),
        id="more than a pod can be told -> Failed before one starts",
    ),
    pytest.param(
        b.job(algorithm="DQN"),
        observe(b.ready_environment(b.PENDULUM)),
        Wanted(
            ("UnsuitableAlgorithm", "False"),
            "spec.algorithm.name: DQN cannot act in action space Box(4); "
            "use PPO or A2C or SAC or TD3 or DDPG or TQC or RecurrentPPO",
            "Failed",
        ),
        id="DQN on continuous actions -> Failed before a pod starts",
    ),
    pytest.param(
        b.job(gates=[GATE]),
        observe(b.ready_environment(bounds=None)),
        Wanted(
            ("GateNotJudgeable", "False"),
            "spec.gates: a bound on the mean return needs RLEnvironment spec.reward.bounds",
            "Failed",
        ),
        id="gate without bounds of the return -> Failed before a pod starts",
    ),
    pytest.param(
        b.job(),
        observe(b.ready_environment(bounds=None)),
        Wanted(("Training", "False"), phase="Running", create=(f"Job/{FIRST}",), after=15, status={"attempt": 1}),
        id="no gate, no bounds -> first attempt",
    ),
    pytest.param(
        b.job(gates=[GATE]),
        ready(),
        Wanted(
            ("Training", "False"),
            "attempt 1 is starting",
            "Running",
            (f"Job/{FIRST}",),
            after=15,
            status={"attempt": 1, "startTime": NOW.isoformat(), "environment": b.PINNED},
        ),
        id="environment is Ready -> first attempt, with the environment's digest pinned",
    ),
]

WHILE_IT_RUNS = [
    pytest.param(
        b.job(b.started()),
        observe(b.ready_environment(digest_=b.digest("f")), b.running_job(FIRST, b.running_pod())),
        Wanted(
            ("EnvironmentChanged", "False"),
            "spec.environmentRef.name: RLEnvironment 'cartpole' has another digest",
            "Failed",
            delete=(f"Job/{FIRST}",),
        ),
        id="another environment under the same name -> Failed, the Job goes",
    ),
    pytest.param(
        b.job(b.started()),
        ready(b.running_job(FIRST, b.running_pod())),
        Wanted(("Training", "False"), "attempt 1 is training", after=2, status=PROGRESS.dump()),
        id="the trainer answers -> progress and checkpoint are shown",
    ),
    pytest.param(
        b.job(b.started()),
        ready(b.running_job(FIRST, b.running_pod(ready=False))),
        Wanted(("Training", "False"), after=2, status={"progress": None}),
        id="the trainer is not ready -> not asked",
    ),
    pytest.param(
        b.job(b.started()),
        ready(b.running_job(FIRST, b.pod(problem=("ImagePullBackOff", "back-off pulling registry.example/trainer:1")))),
        Wanted(("ImagePullBackOff", "False"), "registry.example/trainer:1", after=15),
        id="image cannot be pulled -> said",
    ),
    pytest.param(
        b.job(b.started()),
        ready(b.running_job(FIRST, created=b.ago(11))),
        Wanted(("PodNotCreated", "False"), f"kubectl describe job {FIRST}", after=15),
        id="no pod after 10 s -> said",
    ),
    pytest.param(
        b.job(b.started()),
        ready(b.running_job(FIRST, created=b.ago(9))),
        Wanted(("Training", "False"), after=2),
        id="no pod after 9 s -> patience",
    ),
    pytest.param(
        b.job(b.started()),
        ready(b.running_job(FIRST, b.pod(created_at=b.ago(59)))),
        Wanted(("Training", "False"), "attempt 1 is starting", after=2),
        id="the pod is being started -> not called training yet",
    ),
    pytest.param(
        b.job(b.started(), activeDeadlineSeconds=59),
        ready(b.running_job(FIRST, b.running_pod())),
        Wanted(("DeadlineExceeded", "False"), "spec.activeDeadlineSeconds: 59 s", "Failed", delete=(f"Job/{FIRST}",)),
        id="spec.activeDeadlineSeconds have passed -> Failed, the Job goes",
    ),
    pytest.param(
        b.job(b.started(), activeDeadlineSeconds=61),
        ready(b.running_job(FIRST, b.running_pod(ready=False))),
        Wanted(("Training", "False"), after=2),
        id="spec.activeDeadlineSeconds have not passed -> goes on",
    ),
]

WHEN_IT_ENDS = [
    pytest.param(
        b.job(b.started()),
        ready(b.done_job(FIRST, TRAINED)),
        Wanted(("Evaluating", "False"), phase="Evaluating", after=0, status={"artifact": b.MANIFEST.dump()}),
        id="exported -> evaluation",
    ),
    pytest.param(
        b.job(b.started()),
        ready(b.failed_job(FIRST, MISSPELT, exit_code=2)),
        Wanted(("UnknownHyperparameter", "False"), "spec.algorithm.hyperparameters.n_step", "Failed"),
        id="permanent failure -> Failed at once",
    ),
    pytest.param(
        b.job(b.started()),
        ready(b.failed_job(FIRST, CRASHED)),
        Wanted(("Retrying", "False"), "attempt 1 ended (TrainingFailed: NaN in the loss); attempt 2 goes on", after=4),
        id="failure that may pass -> another attempt after 5 s",
    ),
    pytest.param(
        b.job(b.started()),
        ready(b.failed_job(FIRST, exit_code=137, ended="OOMKilled")),
        Wanted(("Retrying", "False"), "pod-x ended with exit code 137 (OOMKilled)", "Running", after=4),
        id="killed without a report -> Kubernetes' word for it",
    ),
    pytest.param(
        b.job(b.started()),
        ready(b.done_job(FIRST)),
        Wanted(("Retrying", "False"), "(Completed)", after=4),
        id="exit 0 without a report -> another attempt",
    ),
    pytest.param(
        b.job(b.started()),
        ready(b.failed_job(FIRST, exit_code=137, at=b.ago(5))),
        Wanted(
            ("Training", "False"),
            "attempt 2 is starting",
            create=(f"Job/{SECOND}",),
            after=15,
            status={"attempt": 2, "startTime": b.ago(60).isoformat()},
        ),
        id="5 s after the end -> attempt 2",
    ),
    pytest.param(
        b.job(b.started(4), backoffLimit=9),
        ready(b.failed_job("a-train-4", CRASHED)),
        Wanted(("Retrying", "False"), after=39),
        id="fourth failure -> pause of 40 s",
    ),
    pytest.param(
        b.job(b.started(90), backoffLimit=100),
        ready(b.failed_job("a-train-90", CRASHED)),
        Wanted(("Retrying", "False"), after=299),
        id="ninetieth failure -> pause of 5 min, no more",
    ),
    pytest.param(
        b.job(b.started(2), backoffLimit=2),
        ready(b.failed_job(SECOND, CRASHED, at=b.ago(60))),
        Wanted(("Training", "False"), "attempt 3", create=("Job/a-train-3",), after=15),
        id="spec.backoffLimit 2: two failures -> third attempt",
    ),
    pytest.param(
        b.job(b.started(3), backoffLimit=2),
        ready(b.failed_job("a-train-3", CRASHED, at=b.ago(60))),
        Wanted(
            ("BackoffLimitExceeded", "False"),
            "attempt 3 was the last (spec.backoffLimit 2): TrainingFailed: NaN in the loss",
            "Failed",
        ),
        id="spec.backoffLimit 2: three failures -> Failed, with the last one's reason",
    ),
    pytest.param(
        b.job(b.started(), backoffLimit=0),
        ready(b.failed_job(FIRST, TOLD_TO_END, failure=TAKEN_AWAY)),
        Wanted(("Retrying", "False"), "(Disrupted: the pod of Job a-train-1 was evicted or preempted", after=4),
        id="spec.backoffLimit 0, evicted -> another attempt: the cluster ended it, not the job",
    ),
    pytest.param(
        b.job(b.started(4, disruptions=2), backoffLimit=2),
        ready(b.failed_job("a-train-4", CRASHED, at=b.ago(60))),
        Wanted(("Training", "False"), create=("Job/a-train-5",), after=15, status={"disruptions": 2}),
        id="two failures and two evictions, spec.backoffLimit 2 -> one more attempt",
    ),
    pytest.param(
        b.job(b.started(5, disruptions=2), backoffLimit=2),
        ready(b.failed_job("a-train-5", CRASHED, at=b.ago(60))),
        Wanted(("BackoffLimitExceeded", "False"), phase="Failed"),
        id="three failures and two evictions, spec.backoffLimit 2 -> Failed",
    ),
    pytest.param(
        b.job(b.started()),
        ready(b.failed_job(FIRST, TOLD_TO_END, ended="Evicted", message="ephemeral local storage exceeds 1Mi")),
        Wanted(("Retrying", "False"), "exceeds 1Mi; raise spec.template.resources.limits.ephemeral-storage", after=4),
        id="evicted for what it took itself -> that is said, not what the trainer made of it",
    ),
    pytest.param(
        b.job(b.started()),
        ready(b.failed_job(FIRST, CRASHED, at=b.ago(-3600))),
        Wanted(("Training", "False"), "attempt 2 is starting", create=(f"Job/{SECOND}",), after=15),
        id="the clock was set back by an hour -> the pause does not take an hour",
    ),
    pytest.param(
        b.job(b.started()),
        ready(b.failed_job(FIRST, CRASHED, at=b.ago(-2))),
        Wanted(("Retrying", "False"), after=7),
        id="another machine's clock is 2 s ahead -> the pause is kept",
    ),
    pytest.param(
        b.job(b.started(), backoffLimit=0),
        ready(b.failed_job(FIRST, CRASHED)),
        Wanted(("BackoffLimitExceeded", "False"), phase="Failed"),
        id="spec.backoffLimit 0 -> the first failure is the last",
    ),
]

AFTERWARDS = [
    pytest.param(b.job(b.ended("Complete", "Published")), ready(), Wanted(), id="Complete -> nothing, for good"),
    pytest.param(
        b.job(b.ended("Failed", "GateNotMet")), observe(None), Wanted(), id="Failed -> nothing, environment or not"
    ),
    pytest.param(
        b.job(b.ended("Failed", "GateNotMet"), ttlSecondsAfterFinished=90),
        ready(b.done_job(FIRST)),
        Wanted(after=30),
        id="spec.ttlSecondsAfterFinished has not passed -> the Jobs stay until then",
    ),
    pytest.param(
        b.job(b.ended("Complete", "Published"), ttlSecondsAfterFinished=60),
        ready(b.done_job(FIRST), b.done_job("a-evaluate-1")),
        Wanted(delete=(f"Job/{FIRST}", "Job/a-evaluate-1")),
        id="spec.ttlSecondsAfterFinished has passed -> the Jobs go",
    ),
    pytest.param(
        b.job(b.ended("Complete", "Published"), ttlSecondsAfterFinished=60), ready(), Wanted(), id="and once only"
    ),
]


@pytest.mark.parametrize(("job", "observed", "wanted"), [*BEFORE_THE_START, *WHILE_IT_RUNS, *WHEN_IT_ENDS, *AFTERWARDS])
def test_plan(job: TrainingJob, observed: Observed, wanted: Wanted) -> None:
    said = b.answers({**SESSION, ReadProgress("10.0.0.1"): PROGRESS})
    b.check(plan(job, observed, said, NOW), wanted, "Complete")


def test_a_finished_job_heeds_changes_that_change_nothing() -> None:
    job = b.job(b.ended("Complete", "Published"))
    edited = job.model_copy(update={"metadata": job.metadata.model_copy(update={"generation": 2})})
    planned = plan(edited, ready(), b.answers({}), NOW)
    assert planned.status == job.status.model_copy(update={"observed_generation": 2})


@pytest.mark.parametrize(
    ("known", "said", "wanted"),
    [
        pytest.param(
            [],
            {ReadJob("games", FIRST): None},
            Wanted(("Training", "False"), create=(f"Job/{SECOND}",), after=15, status={"attempt": 2}),
            id="the Job was deleted -> attempt 2 at once",
        ),
        pytest.param(
            [],
            {ReadJob("games", FIRST): b.running_job(FIRST, b.running_pod(ready=False))},
            Wanted(("Training", "False"), "attempt 1 is training", after=2),
            id="the cache does not know the Job yet -> it goes on",
        ),
        pytest.param(
            [JobView(name=FIRST, succeeded=True, finished_at=b.ago(60))],
            {ReadJob("games", FIRST): b.done_job(FIRST, TRAINED)},
            Wanted(("Evaluating", "False"), after=0),
            id="the cache does not know the pod's end yet -> no second attempt",
        ),
        pytest.param(
            [JobView(name=FIRST, failed=True, failure="DeadlineExceeded", finished_at=b.ago(1))],
            {ReadJob("games", FIRST): None},
            Wanted(("Retrying", "False"), "DeadlineExceeded", after=4),
            id="nothing left of the pod -> the Job's word for it",
        ),
        pytest.param(
            [JobView(name=FIRST, failed=True, failure=TAKEN_AWAY, finished_at=b.ago(5))],
            {ReadJob("games", FIRST): None},
            Wanted(
                ("Training", "False"),
                "attempt 2 is starting",
                create=(f"Job/{SECOND}",),
                after=15,
                status={"attempt": 2, "disruptions": 1},
            ),
            id="nothing left of an evicted pod -> counted as taken away, by the Job's word",
        ),
        pytest.param(
            [b.running_job(FIRST, b.running_pod())],
            {ReadProgress: Unavailable("PodSilent", "10.0.0.1:8080/progress: ReadTimeout")},
            Wanted(("Training", "False"), after=2, status={"progress": PROGRESS.progress.dump()}),
            id="a busy trainer does not answer -> the last progress stays",
        ),
        pytest.param(
            [b.running_job(FIRST, b.running_pod())],
            {ReadProgress: TrainingProgress(progress=Progress(steps=1))},
            Wanted(("Training", "False"), after=2, status={"checkpoint": {"step": 2000, "digest": b.digest("c")}}),
            id="no checkpoint in this attempt yet -> the earlier one stays",
        ),
        pytest.param(
            [b.running_job(FIRST, b.running_pod())],
            {ReadProgress: PROGRESS.model_copy(update={"failure": Failure(reason="StoreUnavailable", message="full")})},
            Wanted(("StoreUnavailable", "False"), "attempt 1 goes on and tries again: full", after=2),
            id="the trainer cannot store its checkpoints -> said, training goes on",
        ),
        pytest.param(
            [b.running_job(FIRST, created=b.ago(11))],
            {ReadWarning("games", f"{FIRST}-uid"): "exceeded quota: none, requested: pods=1"},
            Wanted(("PodRefused", "False"), f"Job {FIRST} cannot create its pod: exceeded quota: none", after=15),
            id="the Job's pods are refused -> what its Events say",
        ),
        pytest.param(
            [b.running_job(FIRST, b.pod(uid="pod-uid", created_at=b.ago(61)))],
            {ReadWarning("games", "pod-uid"): 'MountVolume.SetUp failed: secret "a-train-1-store" not found'},
            Wanted(
                ("PodNotStarted", "False"), "pod pod-x has not started yet: MountVolume.SetUp failed: secret", after=15
            ),
            id="the pod does not start -> what its Events say",
        ),
        pytest.param(
            [b.running_job(FIRST, created=b.ago(11))],
            {ReadWarning: Unavailable("Forbidden", "events is forbidden")},
            Wanted(("PodNotCreated", "False"), f"kubectl describe job {FIRST}", after=15),
            id="Events may not be read -> the general sentence",
        ),
        pytest.param(
            [b.running_job(FIRST, b.running_pod())],
            {EnsureSession: AWAY},
            Wanted(("StoreUnavailable", "False"), "store:9000", "Running", after=5),
            id="store does not answer -> said, asked again after 5 s",
        ),
        pytest.param(
            [b.running_job(FIRST, b.running_pod())],
            {EnsureSession: REFUSED},
            Wanted(("StoreRefused", "False"), "NotImplemented", "Failed", delete=(f"Job/{FIRST}",)),
            id="store refuses for good -> Failed",
        ),
        pytest.param(
            [],
            {ReadJob: Unavailable("Unreachable", "the API server is away")},
            Wanted(("Unreachable", "False"), after=5),
            id="nobody knows whether the Job exists -> no second attempt",
        ),
    ],
)
def test_what_the_world_says(known: list[JobView], said: dict[Any, Any], wanted: Wanted) -> None:
    job = b.job(b.started(**PROGRESS.dump()))
    b.check(plan(job, ready(*known), b.answers({**SESSION, **said}), NOW), wanted, "Complete")


def test_a_failure_sets_both_conditions() -> None:
    status: Any = plan(b.job(algorithm="DQN"), observe(b.ready_environment(b.PENDULUM)), b.answers(), NOW).status
    assert {c.type: c.status for c in status.conditions} == {"Complete": "False", "Failed": "True"}
    assert status.completion_time == NOW.isoformat()


def test_credentials_exist_before_the_job_that_mounts_them() -> None:
    with pytest.raises(Unanswered) as asked:
        plan(b.job(), ready(), Answers(), NOW)
    [request] = asked.value.requests
    assert isinstance(request, EnsureSession)
    assert (request.namespace, request.name, request.role) == ("games", "a-train-1-store", "run")
    assert request.location.read_prefix == "runs/cluster-uid/games/a-uid/"
    assert request.location.write_prefix == "runs/cluster-uid/games/a-uid/1/train/"
    assert dict(request.owner)["uid"] == "a-uid"


def test_the_session_is_kept_fresh_while_the_pod_runs() -> None:
    world = World({**SESSION, ReadProgress: PROGRESS})
    plan(b.job(b.started()), ready(b.running_job(FIRST, b.running_pod())), Answers(world), NOW)
    assert [type(r) for r in world.asked] == [EnsureSession, ReadProgress, PruneCheckpoints]


def test_the_attempt_gets_what_was_probed() -> None:
    [job] = plan(b.job(b.started(1)), ready(b.failed_job(FIRST, CRASHED, at=b.ago(9))), b.answers(SESSION), NOW).create
    [container] = job["spec"]["template"]["spec"]["containers"]
    task = TrainingTask.model_validate_json(next(e["value"] for e in container["env"] if e["name"] == "CHECKREIN_TASK"))
    assert container["image"] == "registry.example/trainer@sha256:1"
    assert (task.attempt, task.interface, task.spec) == (2, b.CARTPOLE, b.job().spec)
    assert (job["spec"]["backoffLimit"], job["metadata"]["ownerReferences"][0]["uid"]) == (0, "a-uid")


def test_a_trainer_takes_single_keys_of_the_trackers_secrets_and_starts_without_them() -> None:
    """A Secret of another purpose has none of these keys; one that is missing keeps no trainer from starting."""
    tracking = {
        "mlflow": {"uri": "http://mlflow.ml:5000", "secretRef": {"name": "ml"}},
        "wandb": {"mode": "Online", "secretRef": {"name": "wb"}},
    }
    [child] = plan(b.job(tracking=tracking), ready(), b.answers(SESSION), NOW).create
    container = child["spec"]["template"]["spec"]["containers"][0]
    taken = [e["valueFrom"]["secretKeyRef"] for e in container["env"] if "valueFrom" in e]
    assert [(key["name"], key["key"]) for key in taken] == [
        ("ml", "MLFLOW_TRACKING_TOKEN"),
        ("ml", "MLFLOW_TRACKING_USERNAME"),
        ("ml", "MLFLOW_TRACKING_PASSWORD"),
        ("wb", "WANDB_API_KEY"),
    ]
    assert all(key["optional"] for key in taken)
    assert "envFrom" not in container
