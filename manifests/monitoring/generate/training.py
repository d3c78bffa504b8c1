"""One TrainingJob: how far, how good, how healthy."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from manifests.monitoring.generate.frame import TRAINING, WHO, begin, filled
from manifests.monitoring.generate.panels import QUARTER, THIRD, lines, number, row, word
from manifests.monitoring.generate.queries import most, only, per_second, rate


def training() -> builders.Dashboard:
    """One TrainingJob: how far, how good, how healthy."""
    job, pod = f"checkrein_trainingjob_%s{{{WHO}}}", f"checkrein_training_%s{{{WHO}}}"
    made = begin(TRAINING, "One TrainingJob: how far it is, how good, and how it learns.", "checkrein_trainingjob_info")
    condition = f'checkrein_resource_condition{{kind="TrainingJob",type="Complete",{WHO}}}'
    steps, wanted = most(job % "steps", "namespace", "name"), most(job % "steps_wanted", "namespace", "name")
    panels = (
        word("Algorithm", (most(job % "info", "algorithm"), "{{algorithm}}")),
        word("Environment", (most(job % "info", "environment"), "{{environment}}")),
        word("Where it stands", (most(condition, "reason"), "{{reason}}")),
        number("Done", "percentunit", (f"{steps} / {wanted}", "")),
        number("Attempt", "none", (most(job % "attempt", "namespace", "name"), "")),
        word("Policy version", (most(job % "info", "policyversion"), "{{policyversion}}")),
        lines(
            "Return of training episodes",
            "short",
            (most(pod % "episode_return", "namespace", "name"), "latest 100 episodes"),
            (most(job % "gate_return", "namespace", "name"), "gate"),
            about="The gate is judged by the evaluation's lower bound, not by this.",
        ),
        lines(
            "Steps",
            "none",
            (most(pod % "steps_total", "namespace", "name"), "done"),
            (most(pod % "steps_wanted", "namespace", "name"), "budget"),
        ),
        lines("Speed", "short", (per_second(pod % "steps_total", "namespace", "name"), "steps per second"), least=0),
        lines("Length of episodes", "none", (most(pod % "episode_steps", "namespace", "name"), "steps"), least=0),
        row("Updates, as the library reports them"),
        lines("Loss", "short", (most(pod % "loss", "term"), "{{term}}")),
        lines("Norm of the gradients", "short", (most(pod % "gradient_norm", "namespace", "name"), "norm"), least=0),
        lines("Else", "short", (most(pod % "logged", "key"), "{{key}}")),
        lines("Updates", "short", (per_second(pod % "updates_total", "namespace", "name"), "per second"), least=0),
        row("Checkpoints and evaluation"),
        lines(
            "Newest checkpoint",
            "none",
            (most(pod % "checkpoint_step", "namespace", "name"), "step of the checkpoint"),
            (most(pod % "steps_total", "namespace", "name"), "step of training"),
            span=THIRD,
        ),
        lines(
            "Age of the newest checkpoint",
            "s",
            (f"time() - {most(pod % 'checkpoint_timestamp_seconds', 'namespace', 'name')}", "age"),
            span=THIRD,
        ),
        lines(
            "Checkpoints lost", "none", (most(pod % "checkpoints_lost_total", "namespace", "name"), "lost"), span=THIRD
        ),
        lines(
            "Evaluation of every job for the same policy",
            "short",
            (_evaluated("evaluation_return"), "{{name}}: mean"),
            (_evaluated("evaluation_return_lower_bound"), "{{name}}: lower bound"),
            (_evaluated("gate_return"), "{{name}}: gate"),
            about="The lower bound must reach the gate. Each evaluation before makes the next one stricter.",
        ),
        lines(
            "Memory",
            "bytes",
            (
                most(only(f"process_resident_memory_bytes{{{WHO}}}", pod % "steps_wanted"), "pod"),
                "{{pod}}",
            ),
            span=QUARTER,
        ),
        lines(
            "Processors",
            "short",
            (
                rate(f"process_cpu_seconds_total{{{WHO}}}", "pod", of=pod % "steps_wanted"),
                "{{pod}}",
            ),
            span=QUARTER,
        ),
    )
    return filled(made, panels)


def _evaluated(what: str) -> str:
    """Of this job and its siblings: those that publish the same policy in the same namespace."""
    same = f"max by (namespace, policy) (checkrein_trainingjob_info{{{WHO}}})"
    siblings = f"checkrein_trainingjob_info * on (namespace, policy) group_left () {same}"
    return f"max by (name) (checkrein_trainingjob_{what} and on (namespace, name) ({siblings}))"
