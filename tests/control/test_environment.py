"""Plans for RLEnvironments: probed once for each generation, and what the digest depends on."""

from __future__ import annotations

from typing import Any

import pytest
from tests.control import builders as b
from tests.control.builders import NOW, Wanted

from checkrein.api.environment import Check, Findings, RLEnvironment
from checkrein.api.meta import Model
from checkrein.api.tasks import Failure, ProbeReport
from checkrein.control.children import JobView
from checkrein.control.environment import Observed, identity, plan
from checkrein.control.plan import Unavailable
from checkrein.control.requests import ReadJob, ReadWarning

PROBE = "cartpole-probe-1"
DEEP: Any = {}
for _ in range(101):
    DEEP = {"d": DEEP}
GOOD = ProbeReport(interface=b.CARTPOLE, packages=b.digest("9"), findings=Findings(deterministic=True))
CRASHED = ProbeReport(
    failure=Failure(reason="EnvironmentCrashed", message="spec.source.gymnasium.id: crashed in check Reset"),
    findings=Findings(checks=[Check(name="Import", passed=True)]),
)
FAILED = {"phase": "Failed", "conditions": b.condition("Stalled", True, "EnvironmentCrashed")}


@pytest.mark.parametrize(
    ("environment", "jobs", "wanted"),
    [
        pytest.param(
            b.environment(),
            [],
            Wanted(("Probing", "False"), phase="Probing", create=(f"Job/{PROBE}",), after=15),
            id="new -> probe",
        ),
        pytest.param(
            b.environment(source={"gymnasium": {"id": "CartPole-v1", "kwargs": {"x": "y" * 130_000}}}),
            [],
            Wanted(("TaskTooLarge", "False"), "a pod can be told at most 120,000", phase="Failed"),
            id="more arguments than a pod can be told -> said before one starts",
        ),
        pytest.param(
            b.environment(source={"gymnasium": {"id": "CartPole-v1", "kwargs": DEEP}}),
            [],
            Wanted(("TaskTooLarge", "False"), "nested more than 100 deep", phase="Failed"),
            id="arguments too deep to be read -> said before a pod starts",
        ),
        pytest.param(
            b.environment(),
            [JobView(PROBE, created_at=b.ago(1), held="is being deleted, and held by example.com/hold")],
            Wanted(("BeingDeleted", "False"), f"Job {PROBE} is being deleted, and held by example.com/hold", after=15),
            id="the Job's deletion is held up -> said",
        ),
        pytest.param(
            b.environment(),
            [b.running_job(PROBE, b.running_pod())],
            Wanted(("Probing", "False"), "is checking", after=15),
            id="probe runs -> wait",
        ),
        pytest.param(
            b.environment(),
            [b.running_job(PROBE, b.pod(problem=("ErrImagePull", "no such image registry.example/x")))],
            Wanted(("ErrImagePull", "False"), "no such image", after=15),
            id="image cannot be pulled -> said",
        ),
        pytest.param(
            b.environment(),
            [b.running_job(PROBE, created=b.ago(11))],
            Wanted(("PodNotCreated", "False"), f"kubectl describe job {PROBE}", after=15),
            id="no pod after 10 s -> said",
        ),
        pytest.param(
            b.environment(),
            [b.done_job(PROBE, GOOD, image="registry.example/trainer@sha256:1")],
            Wanted(
                ("Probed", "True"),
                "observation Box(4); action Discrete(2)",
                phase="Ready",
                status={"image": "registry.example/trainer@sha256:1", "spaces": b.CARTPOLE.dump()},
            ),
            id="report without failure -> Ready",
        ),
        pytest.param(
            b.environment(image="registry.example/own:2"),
            [b.done_job(PROBE, GOOD, image="sha256:1")],
            Wanted(("Probed", "True"), status={"image": "registry.example/own:2"}),
            id="image id without a repository -> the spec's image, which can be pulled",
        ),
        pytest.param(
            b.environment(),
            [
                b.done_job(
                    PROBE,
                    GOOD.model_copy(
                        update={
                            "findings": Findings(
                                checks=[_slow := Check(name="Speed", passed=False, message="2 steps/s")]
                            )
                        }
                    ),
                )
            ],
            Wanted(("Probed", "True"), "Speed: 2 steps/s", status={"findings": Findings(checks=[_slow]).dump()}),
            id="a check that is no obstacle -> Ready, and told",
        ),
        pytest.param(
            b.environment(),
            [b.failed_job(PROBE, CRASHED, exit_code=2)],
            Wanted(
                ("EnvironmentCrashed", "False"),
                "spec.source.gymnasium.id: crashed in check Reset",
                phase="Failed",
                status={"findings": CRASHED.findings.dump()},
            ),
            id="failure report -> Failed, with what was found before",
        ),
        pytest.param(
            b.environment(),
            [b.failed_job(PROBE, ended="OOMKilled", exit_code=137)],
            Wanted(("OOMKilled", "False"), "exit code 137", phase="Failed"),
            id="out of memory -> Failed by Kubernetes' word",
        ),
        pytest.param(
            b.environment(),
            [b.failed_job(PROBE, pod=None, failure="DeadlineExceeded")],
            Wanted(("PodLost", "False"), "DeadlineExceeded", phase="Failed"),
            id="nothing left of the pod -> Failed, with the Job's word",
        ),
        pytest.param(
            b.environment(),
            [b.done_job(PROBE, "no JSON")],
            Wanted(("ReportMissing", "False"), PROBE, phase="Failed"),
            id="succeeded without a report -> Failed",
        ),
        pytest.param(
            b.environment(),
            [b.done_job(PROBE, ProbeReport())],
            Wanted(("ReportMissing", "False"), phase="Failed"),
            id="report without spaces -> Failed",
        ),
        pytest.param(b.ready_environment(), [], Wanted(), id="Ready -> never probed again, though the Job is gone"),
        pytest.param(b.environment(status=FAILED), [], Wanted(), id="Failed -> not probed again"),
        pytest.param(
            b.environment(status=FAILED, generation=2),
            [b.failed_job(PROBE, CRASHED, exit_code=2)],
            Wanted(("Probing", "False"), create=("Job/cartpole-probe-2",), delete=(f"Job/{PROBE}",), after=15),
            id="Failed, then changed -> the old probe's Job goes, another one comes",
        ),
    ],
)
def test_plan(environment: RLEnvironment, jobs: list[JobView], wanted: Wanted) -> None:
    observed = Observed(jobs={j.name: j for j in jobs}, settings=b.SETTINGS)
    b.check(plan(environment, observed, b.answers({ReadJob: None, ReadWarning: ""}), NOW), wanted, "Ready")


@pytest.mark.parametrize(
    ("jobs", "ready", "stalled"),
    [
        pytest.param([], "Probing", "False", id="nothing is there"),
        pytest.param([b.running_job(PROBE, b.running_pod())], "Probing", "False", id="its Job is there already"),
        pytest.param([b.done_job(PROBE, GOOD)], "Probed", "False", id="its Job is over already"),
        pytest.param([b.failed_job(PROBE, CRASHED, exit_code=2)], "EnvironmentCrashed", "True", id="and failed"),
    ],
)
def test_stalled_is_always_told(jobs: list[JobView], ready: str, stalled: str) -> None:
    """Also where an operator died between the probe's Job and the status that follows it."""
    observed = Observed(jobs={j.name: j for j in jobs}, settings=b.SETTINGS)
    planned: Any = plan(b.environment(), observed, b.answers({ReadJob: None, ReadWarning: ""}), NOW).status
    told = {c.type: c for c in planned.conditions}
    assert (told["Ready"].reason, told["Stalled"].status) == (ready, stalled)


@pytest.mark.parametrize(
    ("known", "read", "wanted"),
    [
        pytest.param(
            JobView(name=PROBE, succeeded=True),
            b.done_job(PROBE, GOOD),
            Wanted(("Probed", "True")),
            id="the Job ended, its pod is not known yet -> read",
        ),
        pytest.param(
            JobView(name=PROBE, succeeded=True, pod=b.running_pod()),
            b.done_job(PROBE, GOOD),
            Wanted(("Probed", "True")),
            id="the Job ended, its pod is known as running -> read",
        ),
        pytest.param(
            JobView(name=PROBE, succeeded=True),
            Unavailable("Unreachable", "no answer"),
            Wanted(after=15),
            id="and cannot be read -> later",
        ),
    ],
)
def test_a_cache_that_is_behind_condemns_nothing(known: JobView, read: Any, wanted: Wanted) -> None:
    observed = Observed(jobs={PROBE: known}, settings=b.SETTINGS)
    b.check(plan(b.environment(), observed, b.answers({ReadJob: read}), NOW), wanted, "Ready")


def digest(image: str = "registry.example/trainer@sha256:1", report: ProbeReport = GOOD, **spec: Any) -> str:
    return identity(b.environment(**spec), image, report)


def variant(**fields: Any) -> ProbeReport:
    return GOOD.model_copy(update=fields)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        pytest.param(digest(bounds={"min": "0", "max": "200"}), False, id="spec"),
        pytest.param(digest("registry.example/trainer@sha256:2"), False, id="image"),
        pytest.param(digest(report=variant(packages=b.digest("8"))), False, id="packages"),
        pytest.param(digest(report=variant(interface=b.PENDULUM)), False, id="spaces"),
        pytest.param(digest("mirror.example/trainer@sha256:1"), True, id="where the same image was pulled from"),
        pytest.param(digest(report=variant(findings=Findings(steps_per_second=9))), True, id="measurements"),
        pytest.param(digest(bounds={"max": "500", "min": "0"}), True, id="order of fields"),
        pytest.param(digest(version="1", safety={}), True, id="a default that is written out"),
    ],
)
def test_the_digest_depends_on(other: str, same: bool) -> None:
    assert (other == digest()) is same


def test_a_new_optional_field_at_its_default_changes_no_digest() -> None:
    class Fog(Model):
        density: int = 0

    class LaterSpec(RLEnvironment.model_fields["spec"].annotation):  # type: ignore[misc]
        fog: Fog = Fog()

    known = b.environment()
    later = known.model_copy(update={"spec": LaterSpec.model_validate(known.spec.dump())})
    foggy = known.model_copy(update={"spec": LaterSpec.model_validate({**known.spec.dump(), "fog": {"density": 1}})})
    assert identity(later, "", GOOD) == identity(known, "", GOOD)
    assert identity(foggy, "", GOOD) != identity(known, "", GOOD)
