"""Which series an object of ours has: pure functions of the raw object, and the table of what there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

Raw = dict[str, Any]


class Family(NamedTuple):
    """One metric; all of these are gauges."""

    name: str
    help: str
    labels: tuple[str, ...]


Row = tuple[Family, tuple[str, ...], float]
FAMILIES: list[Family] = []


def _family(name: str, help_: str, *labels: str) -> Family:
    made = Family(f"checkrein_{name}", help_, labels)
    FAMILIES.append(made)
    return made


WHO = ("namespace", "name")
ANY = ("kind", *WHO)

RESOURCES = _family("resources", "Objects by phase.", "kind", "phase")
UNTOLD = _family("resources_untold", "Objects that are counted only, because there are very many.", "kind")
UNREADABLE = _family("resource_unreadable", "1 for an object whose fields are not as this version knows them.", *ANY)
CREATED = _family("resource_created_timestamp_seconds", "When the object was created, Unix time.", *ANY)
PHASE = _family("resource_phase", "1 for the object's phase.", *ANY, "phase")
CONDITION = _family(
    "resource_condition",
    "1 for each condition's status (True, False, Unknown) and reason.",
    *ANY,
    "type",
    "status",
    "reason",
)

ENVIRONMENT = _family("environment_info", "1 for each RLEnvironment.", *WHO, "version", "source")
ENVIRONMENT_SPEED = _family("environment_steps_per_second", "Speed of one copy, as probed.", *WHO)
ENVIRONMENT_CHECK = _family("environment_check_passed", "1 where the probe's check was passed.", *WHO, "check")

JOB = _family(
    "trainingjob_info",
    "1 for each TrainingJob: what learns where, and the PolicyVersion that came of it.",
    *(*WHO, "algorithm", "environment", "policy", "policyversion"),
)
JOB_STEPS = _family("trainingjob_steps", "Environment steps done, as last read from the trainer.", *WHO)
JOB_WANTED = _family("trainingjob_steps_wanted", "Environment steps of the budget.", *WHO)
JOB_ATTEMPT = _family("trainingjob_attempt", "Number of the latest attempt.", *WHO)
JOB_RETURN = _family("trainingjob_episode_return", "Mean return of the latest training episodes.", *WHO)
JOB_CHECKPOINT = _family("trainingjob_checkpoint_step", "Step of the newest complete checkpoint.", *WHO)
JOB_EVALUATED = _family("trainingjob_evaluation_return", "Mean return of the evaluation.", *WHO)
JOB_LOWER = _family(
    "trainingjob_evaluation_return_lower_bound", "Lower confidence bound of the evaluation's mean return.", *WHO
)
JOB_ENDED = _family("trainingjob_completion_timestamp_seconds", "When it succeeded or failed, Unix time.", *WHO)
JOB_GATE = _family("trainingjob_gate_return", "What the lower bound must reach: the strictest gate.", *WHO)

POLICY = _family(
    "policyversion_info",
    "1 for each PolicyVersion: the job and the environment that it comes from.",
    *(*WHO, "policy", "version", "trainingjob", "algorithm", "environment"),
)
POLICY_RETURN = _family("policyversion_evaluation_return", "Mean return of the evaluation before publication.", *WHO)
POLICY_LOWER = _family(
    "policyversion_evaluation_return_lower_bound", "Lower confidence bound of that mean return.", *WHO
)
POLICY_USERS = _family("policyversion_users", "AgentDeployments that want it or act by it.", *WHO)

AGENT = _family(
    "agentdeployment_info",
    "1 for each AgentDeployment: the PolicyVersion that is wanted, that decides, that is being checked.",
    *(*WHO, "wanted", "stable", "candidate"),
)
AGENT_WANTED = _family("agentdeployment_replicas_wanted", "Replicas that there should be.", *WHO)
AGENT_REPLICAS = _family("agentdeployment_replicas", "Replicas that exist.", *WHO)
AGENT_READY = _family("agentdeployment_replicas_ready", "Replicas that answer.", *WHO)
AGENT_EPOCH = _family("agentdeployment_epoch", "Grows with every change of who acts.", *WHO)
OVERRIDE_ENDS = _family(
    "agentdeployment_override_ends_timestamp_seconds", "When spec.override ends by itself, Unix time.", *WHO
)

ROLLOUT = _family("rollout_candidate", "1 while a version is being checked.", *WHO, "policy")
STEP = _family("rollout_step", "Number of the canary step; 0 in every other.", *WHO, "kind")
STEP_BEGAN = _family("rollout_step_began_timestamp_seconds", "When the step began, Unix time.", *WHO)
STEP_UNITS = _family("rollout_step_units", "Candidate units scored in this step.", *WHO)
WEIGHT = _family("rollout_weight_ratio", "Share of new units that the candidate gets, 0 to 1.", *WHO)
BEGAN = _family("rollout_began_timestamp_seconds", "When the rollout began, Unix time.", *WHO)
ATTEMPT = _family("rollout_attempt", "Rollouts of this candidate here, this one included.", *WHO)
SCORED = _family("rollout_scored_units", "Candidate units scored in the canary so far.", *WHO)
SCORED_AT = _family("rollout_scored_timestamp_seconds", "When evidence last changed anything, Unix time.", *WHO)
GATE = _family("rollout_gate", "1 for what each gate says.", *WHO, "gate", "role", "verdict")
GATE_STABLE = _family("rollout_gate_stable", "Stable's mean, in the gate's own unit.", *WHO, "gate")
GATE_CANDIDATE = _family("rollout_gate_candidate", "The candidate's mean, in the gate's own unit.", *WHO, "gate")
GATE_BOUND = _family(
    "rollout_gate_difference_bound",
    "Lower and upper bound of candidate minus stable, right at all times together.",
    *(*WHO, "gate", "metric", "bound"),
)
GATE_UNITS = _family("rollout_gate_units", "Candidate units that the gate has seen.", *WHO, "gate")
GATE_EXPECTED = _family("rollout_gate_expected_units", "Candidate units that it may still need, roughly.", *WHO, "gate")
SHADOWED = _family("rollout_shadow_episodes", "Episodes shadowed and complete.", *WHO)
SHADOW = _family(
    "rollout_shadow_decisions",
    "Decisions of this rollout's shadow: compared, and of them agreed, failed, invalid, shielded; dropped beside.",
    *(*WHO, "outcome"),
)
SHADOW_DISTANCE = _family(
    "rollout_shadow_distance_ratio", "Mean distance of the two actions, as a share of the action space.", *WHO
)
EVENT = _family(
    "rollout_event_timestamp_seconds",
    "When who acts last changed in this way (Promoted, Rejected, RolledBack, ...), Unix time.",
    *(*WHO, "event", "policy", "reason"),
)
WATCH = _family("rollout_watch_return", "Mean return of stable: its record (baseline), and lately.", *WHO, "of")
WATCH_EVIDENCE = _family("rollout_watch_evidence", "Of the change detector; it alarms at 1/alpha.", *WHO)

SHADOW_OUTCOMES = ("compared", "agreed", "failed", "invalid", "shielded", "dropped")


def of(kind: str, obj: Raw) -> Iterator[Row]:
    """All series of one object. Raises KeyError, TypeError, ValueError on one that is no object of this kind."""
    meta, status = obj["metadata"], obj.get("status", {})
    who = (meta["namespace"], meta["name"])
    if created := meta.get("creationTimestamp"):
        yield CREATED, (kind, *who), _time(created)
    yield PHASE, (kind, *who, status.get("phase", "Pending")), 1
    for condition in status.get("conditions", ()):
        yield CONDITION, (kind, *who, condition["type"], condition["status"], condition["reason"]), 1
    yield from _OF[kind](who, obj["spec"], status)


def _of_environment(who: tuple[str, str], spec: Raw, status: Raw) -> Iterator[Row]:
    yield ENVIRONMENT, (*who, spec.get("version", ""), spec["source"].get("gymnasium", {}).get("id", "")), 1
    findings = status.get("findings") or {}
    yield from _numbers(findings, who, {"stepsPerSecond": ENVIRONMENT_SPEED})
    for check in findings.get("checks", ()):
        yield ENVIRONMENT_CHECK, (*who, check["name"]), float(check["passed"])


def _of_training(who: tuple[str, str], spec: Raw, status: Raw) -> Iterator[Row]:
    about = (spec["algorithm"]["name"], spec["environmentRef"]["name"], spec["publish"]["policy"])
    yield JOB, (*who, *about, status.get("policyVersion") or ""), 1
    yield JOB_WANTED, who, float(spec["budget"]["steps"])
    yield from _numbers(status, who, {"attempt": JOB_ATTEMPT})
    yield from _numbers(status.get("progress") or {}, who, {"steps": JOB_STEPS, "episodeReturn": JOB_RETURN})
    yield from _numbers(status.get("checkpoint") or {}, who, {"step": JOB_CHECKPOINT})
    yield from _numbers(status.get("evaluation") or {}, who, {"mean": JOB_EVALUATED, "lowerBound": JOB_LOWER})
    if ended := status.get("completionTime"):
        yield JOB_ENDED, who, _time(ended)
    if gates := [float(gate["atLeast"]) for gate in spec.get("gates", ())]:
        yield JOB_GATE, who, max(gates)


def _of_policy(who: tuple[str, str], spec: Raw, status: Raw) -> Iterator[Row]:
    origin = spec["provenance"]
    about = (spec["policy"], str(spec["version"]), origin["trainingJob"], origin.get("algorithm", ""))
    yield POLICY, (*who, *about, spec["environment"]["name"]), 1
    yield from _numbers(spec.get("evaluation") or {}, who, {"mean": POLICY_RETURN, "lowerBound": POLICY_LOWER})
    yield POLICY_USERS, who, float(len(status.get("usedBy", ())))


def _of_agent(who: tuple[str, str], spec: Raw, status: Raw) -> Iterator[Row]:
    stable, candidate = ((status.get(key) or {}).get("name", "") for key in ("stable", "candidate"))
    yield AGENT, (*who, spec["policyVersion"], stable, candidate), 1
    yield AGENT_WANTED, who, float(spec.get("replicas", 1))
    counted = {"replicas": AGENT_REPLICAS, "readyReplicas": AGENT_READY, "epoch": AGENT_EPOCH}
    yield from _numbers({"replicas": 0, "readyReplicas": 0, "epoch": 0, **status}, who, counted)
    if ends := (spec.get("override") or {}).get("until"):
        yield OVERRIDE_ENDS, who, _time(ends)
    if candidate:
        yield ROLLOUT, (*who, candidate), 1
    yield from _of_step(who, status)
    yield from _of_rollout(who, status)
    for gate in status.get("gates", ()):
        yield from _of_gate(who, gate)
    last = {entry["event"]: entry for entry in status.get("history", ())}
    for event, entry in last.items():
        yield EVENT, (*who, event, entry["policy"], entry.get("reason", "")), _time(entry["time"])
    watch = status.get("watch") or {}
    for key in ("baseline", "recent"):
        if watch.get(key) is not None:
            yield WATCH, (*who, key), float(watch[key])
    yield from _numbers(watch, who, {"evidence": WATCH_EVIDENCE})


def _of_step(who: tuple[str, str], status: Raw) -> Iterator[Row]:
    step = status.get("step") or {}
    yield WEIGHT, who, step.get("weight", 0) / 100
    if step:
        yield STEP, (*who, step["kind"]), float(step.get("index", 0))
        yield STEP_UNITS, who, float(step.get("units", 0))
        if since := step.get("since"):
            yield STEP_BEGAN, who, _time(since)


def _of_rollout(who: tuple[str, str], status: Raw) -> Iterator[Row]:
    rollout = status.get("rollout") or {}
    if not rollout:
        return
    yield BEGAN, who, _time(rollout["began"])
    yield from _numbers(rollout, who, {"attempt": ATTEMPT, "scored": SCORED, "shadowed": SHADOWED})
    if scored_at := rollout.get("scoredAt"):
        yield SCORED_AT, who, _time(scored_at)
    if shadow := rollout.get("shadow"):
        for outcome in SHADOW_OUTCOMES:
            yield SHADOW, (*who, outcome), float(shadow.get(outcome, 0))
        yield from _numbers(shadow, who, {"distance": SHADOW_DISTANCE})


def _of_gate(who: tuple[str, str], gate: Raw) -> Iterator[Row]:
    name = (*who, gate["name"])
    yield GATE, (*name, gate["role"], gate["verdict"]), 1
    known = {"stable": GATE_STABLE, "candidate": GATE_CANDIDATE, "units": GATE_UNITS, "expected": GATE_EXPECTED}
    yield from _numbers(gate, name, known)
    for bound, value in zip(("lower", "upper"), gate.get("interval", ()), strict=False):
        yield GATE_BOUND, (*name, gate["metric"], bound), float(value)


def _numbers(found: Raw, labels: tuple[str, ...], wanted: dict[str, Family]) -> Iterator[Row]:
    """Of those fields that are there: what is unknown has no series, rather than a zero."""
    for key, family in wanted.items():
        if (value := found.get(key)) is not None:
            yield family, labels, float(value)


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


_OF: dict[str, Callable[[tuple[str, str], Raw, Raw], Iterator[Row]]] = {
    "RLEnvironment": _of_environment,
    "TrainingJob": _of_training,
    "PolicyVersion": _of_policy,
    "AgentDeployment": _of_agent,
}
