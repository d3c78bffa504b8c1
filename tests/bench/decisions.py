"""`make bench-decisions`: our agent with every extra on against the servers that people use for models today.

Same network, same load client, server and client on a core each, one run in which the servers take turns. Each is
started afresh in every round; a figure is the median over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families
from tests.bench.installation import Installation, installation, model_file, ours, shadowed
from tests.bench.load import measure
from tests.bench.report import Figure, write
from tests.bench.servers import Running, Server, asgi_echo, c_echo, peer, started
from tests.cluster.processes import State
from tests.cluster.steps import ClusterError, say, step

CONNECTIONS = (1, 16)
OURS, SHADOWED = "checkrein", "checkrein, with a shadow"
Samples = dict[str, dict[str, list[float]]]  # by server, by metric, one for each round

PEERS: dict[str, tuple[str, str, Any]] = {
    "MLServer": (
        "mlserver",
        "/v2/models/policy/infer",
        lambda o: {"inputs": [{"name": "observation", "shape": [1, 4], "datatype": "FP32", "data": o}]},
    ),
    "BentoML": ("bentoml", "/act", lambda o: {"observation": [o]}),
    "LitServe": ("litserve", "/predict", lambda o: {"observation": o}),
    "Ray Serve": ("ray", "/", lambda o: {"observation": o}),
}


def main() -> None:
    """`python -m tests.bench.decisions`."""
    parser = argparse.ArgumentParser("decisions")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--warm-up", type=float, default=1)
    parser.add_argument("--only", nargs="*", help="names of servers, for a quick look; the report is then not written")
    options = parser.parse_args()
    missing: dict[str, str] = {}
    with installation() as surroundings:
        servers = list(candidates(surroundings, missing, options.only or ()))
        samples: Samples = defaultdict(lambda: defaultdict(list))
        for number in range(options.rounds):
            for server in servers:
                with step(f"round {number + 1} of {options.rounds}: {server.name}"):
                    one_round(server, surroundings.state, options, samples, missing)
    found = figures({who: {what: statistics.median(v) for what, v in m.items()} for who, m in samples.items()})
    if options.only:
        print(*(f"{f.name}: {f.value:.5g} {f.unit}" for f in found if f.value is not None), *missing.items(), sep="\n")
        return
    write("decisions", found, missing=missing, rounds=options.rounds)


def candidates(surroundings: Installation, missing: dict[str, str], only: Collection[str]) -> Iterator[Server]:
    """Ours, the peers, the floors; of them `only` those of these names. A peer that cannot be installed is told in
    `missing`."""
    own = (ours(surroundings, surroundings.deployment()), shadowed(surroundings))
    floors = (c_echo(), asgi_echo())
    yield from (server for server in own if not only or server.name in only)
    yield from peers(surroundings, missing, only)
    yield from (server for server in floors if not only or server.name in only)


def peers(surroundings: Installation, missing: dict[str, str], only: Collection[str]) -> Iterator[Server]:
    """Others, as far as they can be installed."""
    model = model_file(surroundings.state.path)
    for name, (packages, path, body) in PEERS.items():
        if only and name not in only:
            continue
        try:
            with step(f"{name}'s environment"):
                made = peer(packages, f"{packages}_start.py", path, body, model)
            yield Server(name, made.start)
        except ClusterError as error:
            missing[name] = str(error)[-500:]
            say(f"{name} is missing: {error}")


def one_round(
    server: Server, state: State, options: argparse.Namespace, samples: Samples, missing: dict[str, str]
) -> None:
    """Start, measure, stop. What fails is told, never left out."""
    try:
        running = started(server, state)
    except RuntimeError as error:
        missing[server.name] = str(error)[-500:]
        say(str(error))
        return
    try:
        samples[server.name]["ready"].append(running.ready_seconds)
        for stream in (False, True) if running.target.stream else (False,):
            who = f"{server.name} WebSocket" if stream else server.name
            measured(who, running, state, options, samples, stream)
        if server.name == SHADOWED:
            samples[server.name]["shadowed"].append(100 * shadowed_share(running.management))
        samples[server.name]["memory"].append(running.megabytes())
    except RuntimeError as error:
        missing[server.name] = str(error)[-500:]
        say(str(error))
    finally:
        running.stop()


def shadowed_share(management: str) -> float:
    """Of all decisions those to which the candidate gave an answer that was compared; what it cannot keep up with is
    dropped."""
    counts: dict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(httpx.get(f"{management}/metrics", trust_env=False).text):
        for sample in family.samples:
            if sample.name == "checkrein_agent_shadow_total":
                counts[sample.labels["outcome"]] += sample.value
            elif sample.name == "checkrein_agent_decisions_total":
                counts["decisions"] += sample.value
    return (counts["agreed"] + counts["differed"]) / counts["decisions"]


def measured(
    who: str, running: Running, state: State, options: argparse.Namespace, samples: Samples, stream: bool
) -> None:
    """Throughput and latencies for each number of connections."""
    for connections in CONNECTIONS:
        before = running.cpu_seconds()
        found = measure(
            running.target, connections, state.path, seconds=options.seconds, warm_up=options.warm_up, stream=stream
        )
        if found["errors"]:
            raise RuntimeError(f"{who} answered {found['errors']} requests with errors, first: {found['first_error']}")
        samples[who][f"requests {connections}"].append(found["requests"] / found["seconds"])
        samples[who][f"processor {connections}"].append(1e6 * (running.cpu_seconds() - before) / found["answers"])
        for name in ("p50", "p99"):
            samples[who][f"{name} {connections}"].append(found[name])


def figures(measured: dict[str, dict[str, float]]) -> list[Figure]:
    """Every server's numbers, then ours against the best of the others."""
    units = {
        "requests": "requests/s",
        "p50": "us",
        "p99": "us",
        "processor": "us",
        "memory": "MB",
        "ready": "s",
        "shadowed": "%",
    }
    goals = {"checkrein: memory": "<= 100", "checkrein: ready": "<= 1"}
    found = []
    for who, metrics in measured.items():
        for what, value in metrics.items():
            kind, _, connections = what.partition(" ")
            name = f"{who}: {kind}{f' at {connections}' if connections else ''}"
            found.append(Figure(name, value, units[kind], goals.get(name)))
    return [*found, *compared(measured), *beside_a_shadow(measured)]


def beside_a_shadow(measured: dict[str, dict[str, float]]) -> Iterator[Figure]:
    """What a shadow costs those who wait for the stable policy."""
    alone, shadow = measured.get(OURS), measured.get(SHADOWED)
    if alone is None or shadow is None:
        return
    for connections in CONNECTIONS:
        for what in ("p50", "p99"):
            ratio = shadow[f"{what} {connections}"] / alone[f"{what} {connections}"]
            yield Figure(f"HTTP {what} with a shadow over that without, at {connections}", ratio, "times")


def compared(measured: dict[str, dict[str, float]]) -> Iterator[Figure]:
    """Against the best peer for each number."""
    for connections in CONNECTIONS:
        rate, late = f"requests {connections}", f"p99 {connections}"
        most = _best(measured, rate, max)
        least = _best(measured, late, min)
        for who, way, times in (("checkrein", "HTTP", 3), ("checkrein WebSocket", "WebSocket", 5)):
            if who not in measured:
                continue
            throughput, latency = measured[who].get(rate), measured[who].get(late)
            ratio = throughput / most if throughput and most else None
            yield Figure(f"{way} requests/s over the best peer's at {connections}", ratio, "times", f">= {times}")
            ratio = latency / least if latency and least else None
            yield Figure(f"{way} p99 over the best peer's at {connections}", ratio, "times", "<= 0.5")


def _best(measured: dict[str, dict[str, float]], metric: str, choose: Any) -> float | None:
    values: Sequence[float] = [measured[name][metric] for name in PEERS if metric in measured.get(name, {})]
    return float(choose(values)) if values else None


if __name__ == "__main__":
    main()
