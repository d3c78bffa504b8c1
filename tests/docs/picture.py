"""The page of docs/reports.md's picture: CartPole trained twice, the second time longer, and held beside the first.

`python -m tests.docs.picture FILE` writes it; a browser takes the picture of its upper part (800 by 2560 pixels):
`chromium --headless --screenshot=docs/report.png --window-size=800,2560 FILE`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.api.objects import policy_version
from tests.train.conftest import exported, job_spec, sample, task

from checkrein.api.environment import RLEnvironmentSpec
from checkrein.api.policy import PolicyVersion
from checkrein.api.recording import Recording
from checkrein.cli.look.report import facts
from checkrein.report.page import Before, Subject, page
from checkrein.train.evaluation import evaluate
from checkrein.train.learning import Seams, Stop, learn
from checkrein.train.model import build
from checkrein.train.recording import Parent, record
from checkrein.train.seeds import evaluation_seeds

EPISODES = 300
FEATURES = ["position", "velocity", "angle", "angular_velocity"]
DIGEST = f"sha256:{'01' * 32}"


def version(number: int, steps: int, parent: Parent | None) -> tuple[Recording, Parent]:
    """One of the sample's policies."""
    spec = sample("environment.yaml")
    environment = RLEnvironmentSpec.model_validate({**spec, "safety": {**spec["safety"], "features": FEATURES}})
    algorithm = sample("training.yaml")["algorithm"]
    made = task(environment, job_spec(steps=steps, environments=16, algorithm=algorithm))
    model = build(made)
    learn(model, steps, Seams(10**9, 0, Stop(), None, lambda: None))
    policy, _ = exported(made, model)
    seeds = evaluation_seeds(f"cartpole-{number}", 1, EPISODES)
    played = evaluate(environment, policy, seeds)
    return record(environment, policy, DIGEST, seeds, played, parent), Parent(f"cartpole-{number}", DIGEST, policy)


def main() -> None:
    """`python -m tests.docs.picture FILE`."""
    first, parent = version(1, 6_000, None)
    second, _ = version(2, 60_000, parent)
    raw = policy_version("cartpole-2", version=2)
    raw["metadata"] |= {"namespace": "games", "uid": "u", "resourceVersion": "1", "generation": 1}
    mean = f"{sum(second.returns) / EPISODES:.2f}"
    raw["spec"]["evaluation"] = {"episodes": EPISODES, "mean": mean, "evaluatedBefore": 1}
    shown = PolicyVersion.model_validate(raw)
    subject = Subject(
        title="cartpole-2",
        what="PolicyVersion in namespace games",
        facts=list(facts(shown)),
        recording=second,
        before=Before("cartpole-1", first.returns),
    )
    Path(sys.argv[1]).write_text(page(subject), encoding="utf-8")


if __name__ == "__main__":
    main()
