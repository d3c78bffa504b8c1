"""The hand on the reins: each override set with kubectl while episodes run, and how long it takes to take hold."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from tests.cluster.kubectl import Kubectl
from tests.cluster.steps import ClusterError, say, wait_until

AGENT = "cartpole"
OBSERVATION = [0.01, -0.02, 0.03, 0.04]
SERVING_PORT = 8080


class Conversation:
    """One episode without end at one replica: asks again and again, and keeps when the answers changed."""

    def __init__(self, address: str, token: str) -> None:
        self._http = httpx.Client(
            base_url=address, headers={"authorization": f"Bearer {token}"}, timeout=10, trust_env=False
        )
        self._over = threading.Event()
        self.now = ""  # who decides, as the last answer says
        self.last: dict[str, float] = {}  # by who decided: when that was last answered
        self._thread = threading.Thread(target=self._talk, daemon=True)

    def __enter__(self) -> Conversation:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._http.close()

    def _talk(self) -> None:
        episode = None
        while not self._over.is_set():
            message = {"observation": OBSERVATION} | ({"episode": episode} if episode else {})
            answer = self._http.post("/v1/act", json=message).json()
            episode = answer.get("episode", episode)
            who = f"{answer['regime']} {answer['policy']}".strip() if "regime" in answer else answer["type"]
            self.last[who] = time.monotonic()
            self.now = who


@contextmanager
def forwarded(kubectl: Kubectl, target: str, port: int, namespace: str = "default") -> Iterator[str]:
    """`host:port` on this machine that leads to a pod or Service."""
    command = [*kubectl.command, "-n", namespace, "port-forward", target, f":{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"(127\.0\.0\.1:[0-9]+)", line)
            if found is None:
                raise ClusterError(f"kubectl port-forward to {target} said {line!r}")
            threading.Thread(target=process.stdout.read, daemon=True).start()
            yield found[1]
        finally:
            process.terminate()


def overrides(kubectl: Kubectl, other: str) -> None:
    """Each mode in turn; `other` is a version that does not decide now."""
    person = json.loads(kubectl("auth", "whoami", "-o", "json"))["status"]["userInfo"]["username"]
    ends = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    modes: list[tuple[dict[str, Any], str]] = [
        ({"mode": "Action", "action": [1]}, "Action"),
        ({"mode": "Pin", "policyVersion": other}, f"Pin {other}"),
        ({"mode": "Fallback"}, "Fallback"),
        ({"mode": "Stop"}, "https://checkrein.dev/problems/stopped"),
    ]
    token = kubectl("create", "token", "player", "--audience", "checkrein.dev").strip()
    mine = f"app.kubernetes.io/component=agent,checkrein.dev/name={AGENT}"
    pods = kubectl("get", "pods", "-l", mine, "-o", "name").split()
    with ExitStack() as stack:
        talks = []
        for pod in pods:
            address = stack.enter_context(forwarded(kubectl, pod, SERVING_PORT))
            talks.append(stack.enter_context(Conversation(f"http://{address}", token)))
        for fields, wanted in modes:
            value = {**fields, "reason": "to see how it feels", "by": person, "until": ends}
            _change(kubectl, talks, {"op": "add", "path": "/spec/override", "value": value}, wanted)
        kubectl("wait", f"agentdeployment/{AGENT}", "--for=condition=Overridden", "--timeout=30s")
        print(f"\n$ kubectl get agents\n{kubectl('get', 'agents')}", flush=True)
        _change(kubectl, talks, {"op": "remove", "path": "/spec/override"}, "Policy")


def _change(kubectl: Kubectl, talks: list[Conversation], change: Mapping[str, Any], wanted: str) -> None:
    patch = json.dumps([change])
    print(f"$ kubectl patch agentdeployment {AGENT} --type json -p '{patch}'", flush=True)
    begun = time.monotonic()
    kubectl("patch", "agentdeployment", AGENT, "--type", "json", "-p", patch)
    written = time.monotonic()
    wait_until(
        lambda: all(talk.now.startswith(wanted) for talk in talks),
        30,
        otherwise=lambda: ClusterError(f"{wanted} does not take hold: {[talk.now for talk in talks]}"),
    )
    olds = [t for talk in talks for who, t in talk.last.items() if not who.startswith(wanted)]
    took = max((t for t in olds if t >= begun), default=begun) - begun
    hand_over, kubectl_took = (1000 * seconds for seconds in (took, written - begun))
    say(
        f"  {wanted.rpartition('/')[2]} on {len(talks)} replicas, within a running episode: the last decision of the "
        f"old regime came {hand_over:.0f} ms after kubectl was called, which itself took {kubectl_took:.0f} ms"
    )
