"""A rollout while something else goes on, on a real cluster: the store is away, the operator is upgraded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from tests.cluster.install import NAMESPACE
from tests.cluster.kubectl import KubectlError
from tests.e2e.killer import Killer
from tests.e2e.rollouts import CANARY, FIRST, SECOND, Agent, slow
from tests.e2e.traffic import STEPS, Traffic
from tests.e2e.world import Object

OPERATORS = "app.kubernetes.io/component=operator"


@contextmanager
def store_away(agent: Agent, killer: Killer) -> Iterator[None]:
    """MinIO stands still with its connections open. Its data stay: the kubelet may end the container, not the pod."""
    kubectl = agent.world.cluster.kubectl
    pod = kubectl.get("pod", "minio-0", namespace=NAMESPACE)
    killer.stop(pod)
    try:
        yield
    finally:
        with suppress(KubectlError):  # its liveness probe has failed, and it was started anew
            killer.go_on(pod)
        kubectl("-n", NAMESPACE, "wait", "--for=condition=Ready", "pod/minio-0", "--timeout=300s", seconds=320)


def goes_on(agent: Agent, traffic: Traffic) -> None:
    """Waits for a hundred more decisions."""
    seen = traffic.answers.total()
    agent.until(lambda _: traffic.answers.total() > seen + 100, "deciding")


def events(status: Object, version: str) -> list[str]:
    """What the history says of a version."""
    return [e["event"] for e in status["history"] if e["policy"] == version]


def test_without_the_store_agents_decide_and_a_promotion_waits_until_its_history_is_kept(
    agent: Agent, killer: Killer
) -> None:
    with agent.traffic() as traffic:
        agent.patch(policyVersion=SECOND)
        agent.canary()
        with store_away(agent, killer):
            assert "once the store has it in its history" in agent.progressing("False", "HistoryUnavailable")
            goes_on(agent, traffic)
            status = agent.status
            assert status["stable"]["name"] == FIRST
            assert status["candidate"]["name"] == SECOND
            assert events(status, SECOND) == []
        status = agent.stable(SECOND)
        assert events(status, SECOND) == ["Promoted"]
        assert status["history"][-1]["stored"] is True
        assert traffic.failed == []


def test_without_the_store_an_abort_takes_effect_and_is_kept_later(agent: Agent, killer: Killer) -> None:
    agent.patch(strategy=slow())
    with agent.traffic() as traffic:
        agent.patch(policyVersion=SECOND)
        agent.until(lambda _: traffic.answers[SECOND] > 0, "acting")
        with store_away(agent, killer):
            agent.patch(rollout={"abort": {"policyVersion": SECOND, "reason": "enough seen"}})
            agent.rejected(SECOND)
            seen = traffic.answers[FIRST]
            agent.until(lambda _: traffic.answers[FIRST] > seen + 100, "deciding by stable")
        status = agent.until(lambda s: s["history"][-1].get("stored"), "kept")
        assert events(status, SECOND) == ["Aborted"]
        assert traffic.failed == []


def test_an_operator_upgraded_in_a_canary_goes_on_and_counts_nothing_twice(
    agent: Agent, upgraded: Callable[[Mapping[str, object]], None]
) -> None:
    agent.patch(strategy=slow())
    with agent.traffic() as traffic:
        agent.patch(policyVersion=SECOND)
        before = agent.until(lambda s: (s.get("rollout") or {}).get("scored", 0) >= 10, "scored")
        old = pods(agent)
        upgraded({"operator.podAnnotations": {"tests.checkrein.dev/release": "next"}})
        reached = agent.status["rollout"]["scored"]
        agent.until(lambda s: s["rollout"]["scored"] > reached and not old & pods(agent), "scored by the new pods")
    # Nobody plays any more: what is scored comes to rest at the episodes that were played. A block of two for each
    # replica may be begun and never end.
    played = traffic.answers[SECOND] // STEPS
    status = agent.until(lambda s: s["rollout"]["scored"] >= played - 2, f"scored {played} episodes less 2 at most")
    assert status["rollout"]["scored"] <= played
    assert (status["rollout"]["id"], status["rollout"]["began"]) == (
        before["rollout"]["id"],
        before["rollout"]["began"],
    )
    assert status["epoch"] == before["epoch"]
    assert traffic.failed == []
    agent.patch(strategy={"shadow": None, "canary": CANARY})
    with agent.traffic():
        assert events(agent.stable(SECOND), SECOND) == ["Promoted"]


def pods(agent: Agent) -> set[str]:
    """uids of the operator's pods."""
    named = "jsonpath={.items[*].metadata.uid}"
    return set(agent.world.cluster.kubectl("-n", NAMESPACE, "get", "pods", "-l", OPERATORS, "-o", named).split())
