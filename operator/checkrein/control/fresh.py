"""Where the cache may be behind or knows too little, planners ask: Jobs and pods are watched apart, Events never."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from checkrein.control.children import NOT_STARTED, JobView, PodView
from checkrein.control.plan import Answers, Unavailable
from checkrein.control.requests import ReadJob, ReadWarning


def ended(job: JobView, namespace: str, answers: Answers) -> JobView:
    """The Job; a finished one with its pod's last words, if there are any. Raises Unanswered, Unavailable."""
    if not job.finished or (job.pod and job.pod.over):
        return job
    return answers.ask(ReadJob(namespace, job.name)) or job


def trouble(job: JobView, namespace: str, answers: Answers, now: datetime) -> tuple[str, str] | None:
    """What keeps the Job's pod from running: reason and sentence. Raises Unanswered."""
    if job.finished or job.held:  # whatever its pod does: no other one will come
        return job.problem(now)
    if job.pod:
        return pod_trouble(job.pod, namespace, answers, now)
    found = job.problem(now)
    return found and (refused(f"Job {job.name}", job.uid, namespace, answers) or found)


def pod_trouble(pod: PodView, namespace: str, answers: Answers, now: datetime) -> tuple[str, str] | None:
    """What keeps a pod from running. Of volumes that cannot be mounted only Events tell. Raises Unanswered."""
    found = pod.keeps(now)
    if found and found[0] == NOT_STARTED and (said := _warned(pod.uid, namespace, answers)):
        return NOT_STARTED, f"pod {pod.name} has not started yet: {said}"
    return found


def refused(owner: str, uid: str, namespace: str, answers: Answers) -> tuple[str, str] | None:
    """Why there is no pod: of a refusal (Pod Security, a webhook, a quota) only Events tell. Raises Unanswered."""
    said = _warned(uid, namespace, answers)
    return ("PodRefused", f"{owner} cannot create its pod: {said}") if said else None


def _warned(uid: str, namespace: str, answers: Answers) -> str:
    with suppress(Unavailable):  # without the right to read Events there is still a general sentence
        return answers.ask(ReadWarning(namespace, uid))
    return ""
