"""Prometheus and promtool: the machine's own, or from Debian's package."""

from __future__ import annotations

import json
import math
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from tests.cluster import debian
from tests.cluster.processes import State, free_port
from tests.cluster.steps import ClusterError

Raw = dict[str, Any]


def program(name: str) -> Path:
    """`prometheus` or `promtool`: the machine's own, else the package's. Raises ClusterError where there is neither."""
    if found := shutil.which(name):
        return Path(found)
    otherwise = "Install Prometheus, with promtool (https://prometheus.io/download): neither is on PATH."
    return debian.unpacked("prometheus", otherwise) / "usr" / "bin" / name


@dataclass(frozen=True)
class Target:
    """What is scraped, and the labels that the scrape adds."""

    address: str
    labels: Mapping[str, str]


@dataclass
class Series:
    """One series of an answer: values by Unix time, NaN left out."""

    labels: Mapping[str, str]
    values: list[tuple[float, float]] = field(default_factory=list)


def fixed(targets: Sequence[Target]) -> Raw:
    """A scrape configuration of targets that are known."""
    jobs = [{"targets": [target.address], "labels": dict(target.labels)} for target in targets]
    return {"static_configs": jobs}


def listed(file: Path) -> Raw:
    """One of the targets that a file lists, now and later: Debian's Prometheus does not ask Kubernetes itself."""
    return {"file_sd_configs": [{"files": [str(file)], "refresh_interval": "1s"}]}


class Prometheus:
    """A running Prometheus that asks once a second."""

    def __init__(self, state: State, scraped: Raw, rules: Path) -> None:
        address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{address}"
        content = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            # The operator's series have the namespace and name of the object that they are about.
            "scrape_configs": [{"job_name": "checkrein", "honor_labels": True, **scraped}],
        }
        config = state.path / "prometheus.yml"
        config.write_text(yaml.safe_dump(content))
        options = [
            f"--config.file={config}",
            f"--storage.tsdb.path={state.path / 'tsdb'}",
            f"--web.listen-address={address}",
        ]
        self.process = state.start("prometheus", [program("prometheus"), *options, "--log.level=warn"])
        self.process.wait_ready(self._ready)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def get(self, path: str, **query: Any) -> Any:
        """`data` of an answer of the HTTP API. Raises ClusterError with what it says of a bad query."""
        asked = urllib.parse.urlencode(query, doseq=True)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{asked}", timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ClusterError(f"{query}: {error.read().decode()}") from None

    def series(self, expression: str, start: float, end: float, step: float = 1.0) -> list[Series]:
        """What a query came to between two moments."""
        found = self.get("query_range", query=expression, start=start, end=end, step=step)["result"]
        told = (Series(s["metric"], [(float(t), float(v)) for t, v in s["values"]]) for s in found)
        known = (Series(s.labels, [(t, v) for t, v in s.values if not math.isnan(v)]) for s in told)
        return [series for series in known if series.values]

    def down(self) -> list[str]:
        """Targets whose last scrape failed, and why."""
        return [
            f"{t['scrapeUrl']}: {t['lastError'] or t['health']}"
            for t in self.get("targets", state="active")["activeTargets"]
            if t["health"] != "up"
        ]
