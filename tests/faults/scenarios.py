"""What people do: each scenario goes through planners to an end that is always the same."""

from __future__ import annotations

from collections.abc import Callable

from tests.control.objects import ENVIRONMENT
from tests.control.rollout.life import RETURN, canary
from tests.control.standin import Ending
from tests.faults.scenes import PERSON, Scene

CANARY = {"canary": canary({"weight": 50, "units": 1000}, gates=[RETURN])}


def published(scene: Scene) -> None:
    """An environment is probed; a job is trained in a second attempt, evaluated and published."""
    scene.play.endings["a-train-1"] = Ending(None, 137)
    scene.create("RLEnvironment", ENVIRONMENT)
    scene.train()
    scene.until_said("TrainingJob", "a", "Complete", "Published")
    scene.until_said("PolicyVersion", "cartpole-1", "Verified", "Verified")


def refused(scene: Scene) -> None:
    """A job misses its gate, another one is killed too often: nothing is published."""
    scene.play.returns = 400.0
    scene.play.endings["b-train-1"] = Ending(None, 137)
    scene.create("RLEnvironment", ENVIRONMENT)
    scene.train()
    scene.train("b", backoffLimit=0)
    scene.until_said("TrainingJob", "a", "Failed", "GateNotMet")
    scene.until_said("TrainingJob", "b", "Failed", "BackoffLimitExceeded")


def suspended(scene: Scene) -> None:
    """A job is suspended in its training, and goes on."""
    scene.play.hold = {"trainer"}
    scene.create("RLEnvironment", ENVIRONMENT)
    scene.train()
    scene.until_said("TrainingJob", "a", "Complete", "Training")
    scene.edit("TrainingJob", "a", suspend=True)
    scene.until_said("TrainingJob", "a", "Complete", "Suspended")
    scene.edit("TrainingJob", "a", suspend=False)
    scene.play.hold = set()
    scene.until_said("TrainingJob", "a", "Complete", "Published")


def _two_versions(scene: Scene) -> None:
    """An agent acts by cartpole-1; cartpole-2 is there, too."""
    scene.create("RLEnvironment", ENVIRONMENT)
    scene.train()
    scene.deploy()
    scene.until_said("AgentDeployment", "cartpole", "Ready", "Deciding")
    scene.train("b", seed=1)
    scene.until_said("PolicyVersion", "cartpole-2", "Verified", "Verified")


def switched(scene: Scene) -> None:
    """Another version acts, then the first again; what never was verified is asked for and never acts."""
    _two_versions(scene)
    for name in ("cartpole-2", "cartpole-1"):
        scene.edit("AgentDeployment", "cartpole", policyVersion=name)
        scene.until(lambda: acts(scene) == name, f"{name} acts")  # noqa: B023 - called within this turn
    spec = scene.get("PolicyVersion", "cartpole-1")["spec"]
    spec["version"], spec["artifact"]["digest"] = 9, f"sha256:{'0' * 64}"
    spec["artifact"]["key"] = f"sha256/00/{'0' * 64}"
    scene.create("PolicyVersion", {"metadata": {"name": "cartpole-9"}, "spec": spec})
    scene.until_said("PolicyVersion", "cartpole-9", "Verified", "NotFound")
    scene.edit("AgentDeployment", "cartpole", policyVersion="cartpole-9")
    scene.until_said("AgentDeployment", "cartpole", "Progressing", "PolicyNotVerified")


def acts(scene: Scene) -> str:
    """Who acts; empty while anybody else is a candidate."""
    status = scene.get("AgentDeployment", "cartpole").get("status", {})
    return "" if "candidate" in status else str(status.get("stable", {}).get("name", ""))


def walked(scene: Scene) -> None:
    """A candidate is aborted in its canary; a person promotes it at its next try."""
    _two_versions(scene)
    scene.edit("AgentDeployment", "cartpole", policyVersion="cartpole-2", strategy=CANARY)
    scene.until_said("AgentDeployment", "cartpole", "Progressing", "Canary")
    scene.edit("AgentDeployment", "cartpole", rollout={"abort": {"policyVersion": "cartpole-2", "by": PERSON}})
    scene.until_said("AgentDeployment", "cartpole", "Progressing", "Aborted")
    words = {"retry": {"policyVersion": "cartpole-2", "nonce": "once-more"}, "abort": None}
    scene.edit("AgentDeployment", "cartpole", rollout=words)
    scene.until_said("AgentDeployment", "cartpole", "Progressing", "Canary")
    approve = {"policyVersion": "cartpole-2", "full": True, "by": PERSON}
    scene.edit("AgentDeployment", "cartpole", rollout={"approve": approve})
    scene.until(lambda: acts(scene) == "cartpole-2", "cartpole-2 acts")


def deleted(scene: Scene) -> None:
    """An agent and its job are deleted, and made anew by the same names: numbers go on."""
    for number in ("1", "2"):
        scene.create("RLEnvironment", ENVIRONMENT)
        scene.train(seed=int(number))
        scene.deploy(policyVersion=f"cartpole-{number}")
        scene.until_said("TrainingJob", "a", "Complete", "Published")
        scene.until_said("AgentDeployment", "cartpole", "Ready", "Deciding")
        if number == "1":
            for kind, name in (("AgentDeployment", "cartpole"), ("TrainingJob", "a"), ("RLEnvironment", "cartpole")):
                scene.delete(kind, name)


Scenario = Callable[[Scene], None]
SCENARIOS: dict[str, Scenario] = {s.__name__: s for s in (published, refused, suspended, switched, walked, deleted)}
