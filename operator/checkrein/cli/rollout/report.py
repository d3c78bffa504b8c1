"""What shadow and gates found, to be read by a person who decides. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from checkrein.api.deployment import AgentDeployment
from checkrein.api.evidence import ShadowReport
from checkrein.cli.rollout import show
from checkrein.cli.text import number, plural, share, table

CAUTION = (
    "Divergence is not badness. It says where the two differ, never who is better: shadow sees only the states that "
    "stable leads to, and an equally good policy may differ in a quarter of them. Who is better is for the gates."
)


def report(agent: AgentDeployment) -> str:
    """All of it, in lines."""
    status, meta = agent.status, agent.metadata
    who = status.candidate.name if status.candidate else "no candidate now"
    stable = status.stable.name if status.stable else "-"
    title = f"{meta.namespace}/{meta.name}: {who}, against {stable}"
    shadow = status.rollout.shadow if status.rollout else None
    parts = [[title], list(_shadow(shadow) if shadow else _nothing(agent)), _findings(agent)]
    gates = list(show.gates(agent))
    parts.append(["GATES", *gates] if gates else ["GATES", "none has been asked yet"])
    return "\n\n".join("\n".join(part) for part in parts if part)


def _nothing(agent: AgentDeployment) -> Iterator[str]:
    asked = agent.spec.strategy.shadow if agent.spec.strategy else None
    yield "SHADOW"
    yield "nothing has been shadowed yet" if asked else "spec.strategy.shadow is not set: nothing is shadowed"


def _shadow(found: ShadowReport) -> Iterator[str]:
    yield "SHADOW"
    yield CAUTION
    yield ""
    yield f"compared   {plural(found.compared, 'decision')}; {found.dropped} more were dropped, lest anybody wait"
    yield f"agreement  {share(found.agreed, found.compared)} took the same action"
    yield f"distance   {number(found.distance)} of the action space, on average"
    yield f"value      candidate's minus stable's, on average: {number(found.value)}"
    yield (
        f"faults     {found.failed} failed, {found.invalid} not in the action space, "
        f"{found.shielded} changed by the shield ({share(found.shielded, found.compared)})"
    )
    yield f"latency    p50 {_latency(found.latency_p50_us)}, p99 {_latency(found.latency_p99_us)}"
    yield from _actions(found)
    yield from _features(found)
    yield from _examples(found)


def _actions(found: ShadowReport) -> Iterator[str]:
    if found.actions:
        pairs = sorted(found.actions.items(), key=lambda item: (-item[1], item[0]))
        rows = ((*pair.split(">", 1), str(count), share(count, found.compared)) for pair, count in pairs if ">" in pair)
        yield from ("", "by action", *table(("STABLE", "CANDIDATE", "TIMES", "SHARE"), rows))


def _features(found: ShadowReport) -> Iterator[str]:
    if found.features:
        ranked = sorted(found.features, key=lambda f: -abs(float(f.effect)))
        rows = ((f.name, number(f.agreed), number(f.differed), f"{float(f.effect):+.2f}") for f in ranked)
        header = ("FEATURE", "WHERE THEY AGREE", "WHERE THEY DIFFER", "IN STANDARD DEVIATIONS")
        yield from ("", "by feature of the observation (means)", *table(header, rows))


def _examples(found: ShadowReport) -> Iterator[str]:
    if found.examples:
        rows = (
            (e.decision, _numbers(e.stable), _numbers(e.candidate), number(e.distance), _numbers(e.observation))
            for e in found.examples
        )
        header = ("DECISION", "STABLE", "CANDIDATE", "DISTANCE", "OBSERVATION")
        yield from ("", "examples (checkrein audit query --decision ID shows the record)", *table(header, rows))


MEANINGS = {
    "forked": "episodes in which one step was asked for twice, with different observations",
    "lost": "replicas that could not keep count of all",
    "malformed": "pieces of evidence whose unit cannot be read",
    "notFinite": "rewards or outcomes that are no finite numbers",
    "unfinished": "episodes without an end, scored as the worst",
    "unknown": "units of which something is not known",
    "unseen": "decisions of the candidate outside of what its shadow saw",
}


def _findings(agent: AgentDeployment) -> list[str]:
    """What was odd in the evidence, and what the words mean."""
    found = agent.status.rollout.findings if agent.status.rollout else {}
    said = (f"{name}: {count}  {MEANINGS.get(name, '')}".rstrip() for name, count in sorted(found.items()))
    return ["ODD IN THE EVIDENCE", *said] if found else []


def _numbers(values: list[float]) -> str:
    return f"[{', '.join(map(number, values))}]" if values else "-"


def _latency(micros: float | None) -> str:
    return "-" if micros is None else f"{float(micros) / 1000:.3g} ms"
