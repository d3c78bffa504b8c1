"""`checkrein top`: what is being decided and trained right now, and how fast."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from typing import Any

from checkrein.api.names import COMPONENT, OWNER_NAME
from checkrein.api.tasks import MANAGEMENT_PORT
from checkrein.api.training import TrainingJob
from checkrein.cli import kube, objects
from checkrein.cli.errors import Refusal
from checkrein.cli.kube import Kube
from checkrein.cli.look import rates
from checkrein.cli.look.rates import Rates, Reading
from checkrein.cli.style import bar
from checkrein.cli.text import number, table

Raw = dict[str, Any]
USAGE = "metrics.k8s.io/v1beta1"
AGENTS = ("AGENT", "REPLICA", "DECISIONS/S", "P50", "P99", "SHIELDED/S", "LIMITED/S", "REFUSED/S", "LOG LAG")
JOBS = ("TRAINING JOB", "ATTEMPT", "PROGRESS", "STEPS/S", "LEFT", "RETURN")


def add_parser(commands: Any) -> None:
    """`top`."""
    parser = commands.add_parser(
        "top",
        help="decisions and training steps in a second, latency, memory",
        description="Reads each replica's metrics twice, through the API server (right: get pods/proxy).",
    )
    parser.add_argument("--interval", type=float, default=2.0, metavar="SECONDS", help="default: %(default)s")
    kube.add_arguments(parser)
    parser.set_defaults(run=lambda options: _run(kube.connect(options), options))


def _run(cluster: Kube, options: argparse.Namespace) -> int:
    selector = {"labelSelector": f"{COMPONENT}=agent,app.kubernetes.io/managed-by=checkrein"}
    pods = [p for p in cluster.items(cluster.path("pods", api="v1"), selector) if _runs(p)]
    first = {pod["metadata"]["name"]: _reading(cluster, pod) for pod in pods}
    if pods:
        time.sleep(options.interval)
    usage = _usage(cluster)
    rows = []
    for pod in pods:
        name = pod["metadata"]["name"]
        rows.append((pod, rates.between(first[name], _reading(cluster, pod)), usage.get(name, ("-", "-"))))
    jobs = [j for j in objects.read(cluster).jobs if j.status.phase == "Running"]
    blocks = [block for block in (agents(rows), training(jobs)) if block]
    print("\n\n".join("\n".join(block) for block in blocks) or f"nothing runs in namespace {cluster.namespace}")
    return 0


def _runs(pod: Raw) -> bool:
    return pod.get("status", {}).get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]


def _reading(cluster: Kube, pod: Raw) -> Reading:
    path = f"{cluster.path('pods', pod['metadata']['name'], api='v1')}:{MANAGEMENT_PORT}/proxy/metrics"
    text = "\n".join(cluster.lines(path)) + "\n"
    return rates.read(text, time.monotonic())


def _usage(cluster: Kube) -> dict[str, tuple[str, str]]:
    """CPU and memory of each pod, where a metrics server tells them."""
    try:
        found = (cluster.read(cluster.path("pods", api=USAGE)) or {}).get("items", ())
    except Refusal:
        return {}
    return {p["metadata"]["name"]: _first(p["containers"]) for p in found}


def _first(containers: Sequence[Raw]) -> tuple[str, str]:
    usage = containers[0]["usage"] if containers else {}
    return usage.get("cpu", "-"), usage.get("memory", "-")


def agents(rows: Sequence[tuple[Raw, Rates, tuple[str, str]]]) -> list[str]:
    """A line for each replica; CPU and memory where they are known."""
    if not rows:
        return []
    known = any(usage != ("-", "-") for _, _, usage in rows)

    def cells() -> Iterator[tuple[str, ...]]:
        for pod, rate, usage in rows:
            meta = pod["metadata"]
            yield (
                *(meta["labels"].get(OWNER_NAME, "-"), meta["name"], number(rate.decisions)),
                *(_latency(rate.p50), _latency(rate.p99), number(rate.shielded), number(rate.limited)),
                *(number(rate.refused), number(rate.log_lag), *(usage if known else ())),
            )

    return table((*AGENTS, *(("CPU", "MEMORY") if known else ())), cells())


def _latency(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1e6:.0f}us" if seconds < 1e-3 else f"{seconds * 1e3:.1f}ms"


def training(jobs: Sequence[TrainingJob]) -> list[str]:
    """A line for each job that trains."""
    rows = []
    for job in jobs:
        progress = job.status.progress
        speed, left, got = ("-", "-", "-") if progress is None else _speed(progress)
        shown = bar(progress.percent if progress else 0)
        rows.append((job.metadata.name, str(job.status.attempt), shown, speed, left, got))
    return table(JOBS, rows) if rows else []


def _speed(progress: Any) -> tuple[str, str, str]:
    return str(progress.steps_per_second), progress.eta or "-", number(progress.episode_return)
