"""`python -m tests.demo` tells the story, `--pictures FOLDER` draws what dashboards show of it, `down` ends it all."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.cluster import kind, node
from tests.cluster.cluster import Cluster, external
from tests.cluster.install import install
from tests.cluster.steps import ClusterError
from tests.demo import audit, reins, rollouts, story
from tests.demo.watched import watched

NODE = "demo"


def main() -> None:
    """The command line."""
    try:
        match sys.argv[1:]:
            case ["down"]:
                (kind if kind.chosen() else node).down(NODE)
            case ["--pictures", folder]:
                tell(Path(folder))
            case _:
                tell()
    except ClusterError as error:
        sys.exit(f"\nThe demo stopped: {error}")


def tell(pictures: Path | None = None) -> None:
    """The whole story. `pictures`: where the dashboards' data of it are drawn, if at all."""
    phases = story.Phases()
    with phases.phase("A Kubernetes with Checkrein's images"):
        cluster = bring_up()
    kubectl = cluster.kubectl
    story.leave_kubectl(kubectl)
    with phases.phase("Installing MinIO and Checkrein"):
        install(kubectl, cluster.images)
    with watched(kubectl, pictures):
        _story(cluster, phases)
    print(f"\n== Done\n{phases.summary()}")
    print(story.NEXT)


def _story(cluster: Cluster, phases: story.Phases) -> None:
    kubectl = cluster.kubectl
    with phases.phase("An environment is probed"):
        story.environment(kubectl)
    with phases.phase("A first policy is trained, evaluated, judged and stored"):
        story.start_training(kubectl, "training.yaml")
        first = story.trained(kubectl, "cartpole-a")
    with phases.phase("It decides; a second one is trained meanwhile, and one that is made worse on purpose"):
        story.start_training(kubectl, "training-second.yaml")
        story.deploy(kubectl, first)
        second = story.trained(kubectl, "cartpole-b")
        story.start_training(kubectl, "training-worse.yaml")
        worse = story.trained(kubectl, "cartpole-c")
    with phases.phase("Clients play; the second one earns its place: shadow, canary, gates, promotion"):
        rollouts.start_traffic(cluster)
        rollouts.promoted(kubectl, second)
    with phases.phase("The worse one is stopped by its gate"):
        rollouts.stopped(kubectl, worse, second)
    with phases.phase("Rolled back to the first while the clients play on"):
        rollouts.rolled_back(kubectl, first)
        rollouts.stop_traffic(kubectl)
        story.show(kubectl)
    with phases.phase("A client's own account of its episodes"):
        story.start_playing(cluster)
        story.finish_playing(kubectl, first)
    with phases.phase("A hand on the reins, within running episodes"):
        reins.overrides(kubectl, second)
    with phases.phase("Every decision is in the log, and the log can be proved"):
        audit.verified(kubectl)


def bring_up() -> Cluster:
    """The cluster that CHECKREIN_KUBECONFIG names, else the one of kind where that is asked for, else a node here."""
    return external() or (kind if kind.chosen() else node).up(NODE)


if __name__ == "__main__":
    main()
