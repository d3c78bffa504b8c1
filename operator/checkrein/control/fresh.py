"""Where the cache may be behind, planners ask: Jobs and pods are watched apart, and never in step."""

from __future__ import annotations

from checkrein.control.children import JobView
from checkrein.control.plan import Answers
from checkrein.control.requests import ReadJob


def ended(job: JobView, namespace: str, answers: Answers) -> JobView:
    """The Job; a finished one with its pod's last words, if there are any. Raises Unanswered, Unavailable."""
    if not job.finished or (job.pod and job.pod.over):
        return job
    return answers.ask(ReadJob(namespace, job.name)) or job
